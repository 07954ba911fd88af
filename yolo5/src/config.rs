//! What the worker is told by its environment; names in `contract::env`.

use crate::model::Options;
use contract::env;
use std::{net::SocketAddr, path::PathBuf};

/// The configuration of a worker.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where jobs come from.
    pub identify_queue: String,
    /// Where answers go.
    pub results_queue: String,
    /// Where records go.
    pub table: String,
    /// Where pictures are.
    pub bucket: String,
    /// Key prefix of pictures named by jobs of the old form.
    pub image_prefix: String,
    /// The model's file.
    pub model: PathBuf,
    /// Least score where the job says none.
    pub confidence: f32,
    /// Address of the health routes.
    pub listen: SocketAddr,
    /// What runs the model; of the command line.
    pub engine: Options,
    /// The Auto Scaling group that this instance belongs to; none on a laptop.
    pub scaling_group: Option<String>,
    /// The group's launch hook.
    pub launch_hook: Option<String>,
    /// The group's termination hook.
    pub termination_hook: Option<String>,
}

/// A setting that is missing or wrong.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Not there.
    #[error("the environment variable {0} is not set; `controller status -o env --service yolo5` prints all of them")]
    Missing(&'static str),
    /// Not what it should be.
    #[error("the environment variable {name} is {value:?}, which is no {what}")]
    Wrong {
        /// Which.
        name: &'static str,
        /// What it is.
        value: String,
        /// What it should be.
        what: &'static str,
    },
}

impl Config {
    /// Reads the environment, given as a function from a name to its value.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let get = |name: &'static str| variable(name).filter(|v| !v.is_empty());
        let need = |name| get(name).ok_or(ConfigError::Missing(name));
        let confidence = match get(env::CONFIDENCE) {
            None => 0.25,
            Some(value) => value.parse().ok().filter(|c| (0.0..=1.0).contains(c)).ok_or(ConfigError::Wrong {
                name: env::CONFIDENCE,
                value,
                what: "number from 0 to 1",
            })?,
        };
        Ok(Self {
            identify_queue: need(env::IDENTIFY_QUEUE_URL)?,
            results_queue: need(env::RESULTS_QUEUE_URL)?,
            table: need(env::PREDICTIONS_TABLE)?,
            bucket: need(env::IMAGES_BUCKET)?,
            image_prefix: get(env::IMAGE_PREFIX).unwrap_or_else(|| "images".to_owned()),
            model: get(env::YOLO5_MODEL).unwrap_or_else(|| crate::cli::DEFAULT_MODEL.to_owned()).into(),
            confidence,
            engine: Options::default(),
            listen: Self::listen(&variable)?,
            scaling_group: get(env::SCALING_GROUP),
            launch_hook: get(env::LAUNCH_HOOK),
            termination_hook: get(env::TERMINATION_HOOK),
        })
    }

    /// Address of the health routes alone.
    pub fn listen(variable: impl Fn(&str) -> Option<String>) -> Result<SocketAddr, ConfigError> {
        let value = variable(env::YOLO5_LISTEN).filter(|v| !v.is_empty()).unwrap_or_else(|| "0.0.0.0:8080".to_owned());
        value.parse().map_err(|_| ConfigError::Wrong {
            name: env::YOLO5_LISTEN,
            value,
            what: "address with a port, such as 0.0.0.0:8080",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_or_wrong_variable_is_named() {
        let all = |name: &str| (name != env::CONFIDENCE && name != env::YOLO5_LISTEN).then(|| "x".to_owned());
        assert!(Config::read(all).is_ok());
        let error = Config::read(|n| all(n).filter(|_| n != env::IMAGES_BUCKET)).unwrap_err();
        assert_eq!(error, ConfigError::Missing("IMAGES_BUCKET"));
        let error = Config::read(|n| if n == env::CONFIDENCE { Some("25%".into()) } else { all(n) }).unwrap_err();
        assert_eq!(error.to_string(), "the environment variable CONFIDENCE is \"25%\", which is no number from 0 to 1");
    }
}
