//! What the bot is told: from the environment, by the names of [`contract::env`], read once at the start.

use contract::env;
use std::{net::SocketAddr, time::Duration};

/// Where everything is. The token itself is not here: see [`crate::identity`].
#[derive(Debug, Clone)]
pub struct Config {
    /// Queue of jobs for the detector.
    pub identify_queue: String,
    /// Queue of its answers.
    pub results_queue: String,
    /// The bot's own queue.
    pub work_queue: String,
    /// Table of chats.
    pub chats_table: String,
    /// Table of predictions.
    pub predictions_table: String,
    /// Bucket of pictures.
    pub bucket: String,
    /// Key prefix of original pictures.
    pub image_prefix: String,
    /// Root of the Bot API.
    pub api_url: url::Url,
    /// Where the bot listens.
    pub listen: SocketAddr,
    /// Where the token comes from.
    pub token: TokenSource,
    /// The secret that holds the public certificate, where there is one.
    pub certificate_secret: Option<String>,
    /// How long things take.
    pub timing: Timing,
}

/// Where the token comes from.
#[derive(Clone)]
pub enum TokenSource {
    /// The environment itself: polling on a laptop.
    Given(String),
    /// A secret, by name or ARN.
    Secret(String),
}

/// How long things take. The defaults are right; tests make them shorter.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// How long no photo of an album must have come before the album counts as whole.
    pub quiet: Duration,
    /// How long work on an update is believed to go on without a sign of life.
    pub lease: Duration,
    /// How long the detector may take before the user is told.
    pub patience: Duration,
    /// How long an update that fails is tried again, before it is given up for those behind it.
    pub persistence: Duration,
    /// How often secrets are looked at.
    pub refresh: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            quiet: Duration::from_secs(2),
            lease: Duration::from_secs(15),
            patience: Duration::from_mins(5),
            persistence: Duration::from_mins(10),
            refresh: Duration::from_mins(5),
        }
    }
}

/// A variable that is missing or cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// Not set.
    #[error("{0} is not set")]
    Missing(&'static str),
    /// Set to what cannot be read.
    #[error("{name} is {given:?}: {why}")]
    Unreadable {
        /// The variable.
        name: &'static str,
        /// Its value.
        given: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Config {
    /// Reads the configuration through `variable`, which is `std::env::var(..).ok()` outside tests.
    pub fn read(variable: impl Fn(&str) -> Option<String>, timing: Timing) -> Result<Self, ConfigError> {
        let optional = |name: &'static str| variable(name).filter(|value| !value.trim().is_empty());
        let needed = |name: &'static str| optional(name).ok_or(ConfigError::Missing(name));
        let token = match (optional(env::TELEGRAM_TOKEN), optional(env::TELEGRAM_TOKEN_SECRET)) {
            (Some(token), _) => TokenSource::Given(token),
            (None, Some(secret)) => TokenSource::Secret(secret),
            (None, None) => return Err(ConfigError::Missing(env::TELEGRAM_TOKEN_SECRET)),
        };
        Ok(Self {
            identify_queue: needed(env::IDENTIFY_QUEUE_URL)?,
            results_queue: needed(env::RESULTS_QUEUE_URL)?,
            work_queue: needed(env::WORK_QUEUE_URL)?,
            chats_table: needed(env::CHATS_TABLE)?,
            predictions_table: needed(env::PREDICTIONS_TABLE)?,
            bucket: needed(env::IMAGES_BUCKET)?,
            image_prefix: optional(env::IMAGE_PREFIX).unwrap_or_else(|| "images".into()),
            api_url: parsed(env::TELEGRAM_API_URL, optional(env::TELEGRAM_API_URL), "https://api.telegram.org")?,
            listen: Self::listen(&variable)?,
            token,
            certificate_secret: optional(env::CERTIFICATE_SECRET),
            timing,
        })
    }

    /// Where the bot listens, alone.
    pub fn listen(variable: impl Fn(&str) -> Option<String>) -> Result<SocketAddr, ConfigError> {
        let given = variable(env::POLYBOT_LISTEN).filter(|value| !value.trim().is_empty());
        parsed(env::POLYBOT_LISTEN, given, "0.0.0.0:8443")
    }
}

impl std::fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Given(_) => write!(f, "Given(…)"),
            Self::Secret(name) => write!(f, "Secret({name})"),
        }
    }
}

fn parsed<T>(name: &'static str, value: Option<String>, default: &str) -> Result<T, ConfigError>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    let given = value.unwrap_or_else(|| default.to_owned());
    given.parse().map_err(|e: T::Err| ConfigError::Unreadable { name, why: e.to_string(), given })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [&str; 7] = [
        env::IDENTIFY_QUEUE_URL,
        env::RESULTS_QUEUE_URL,
        env::WORK_QUEUE_URL,
        env::CHATS_TABLE,
        env::PREDICTIONS_TABLE,
        env::IMAGES_BUCKET,
        env::TELEGRAM_TOKEN_SECRET,
    ];

    #[test]
    fn a_missing_variable_is_one_line_that_names_it() {
        for missing in ALL {
            let read =
                Config::read(|name| (name != missing && ALL.contains(&name)).then(|| "x".into()), Timing::default());
            assert_eq!(read.unwrap_err().to_string(), format!("{missing} is not set"));
        }
        assert!(Config::read(|name| ALL.contains(&name).then(|| "x".into()), Timing::default()).is_ok());
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_value() {
        let variable = |name: &str| Some(if name == env::POLYBOT_LISTEN { "here" } else { "http://x" }.into());
        let error = Config::read(variable, Timing::default()).unwrap_err().to_string();
        assert!(error.starts_with("POLYBOT_LISTEN is \"here\": "), "{error}");
    }

    #[test]
    fn the_token_is_not_shown() {
        let config = Config::read(|_| Some("http://secret".into()), Timing::default());
        assert!(config.is_err());
        assert_eq!(format!("{:?}", TokenSource::Given("secret".into())), "Given(…)");
    }
}
