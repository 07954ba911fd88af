//! Who the bot is: its token, the secret of its webhook, its certificate. They come from Secrets Manager, are looked at
//! again from time to time, and are logged nowhere.

use crate::{
    config::{Config, TokenSource},
    trouble::Trouble,
};
use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use teloxide::{Bot, prelude::Requester};

/// One bot, as Telegram knows it.
pub struct Identity {
    /// The client.
    pub bot: Bot,
    /// Its user id.
    pub id: u64,
    /// Its name, without the `@`.
    pub username: String,
    /// What a delivery must carry in [`contract::webhook::SECRET_HEADER`].
    pub secret: String,
    /// Where the controller tells Telegram to deliver; unknown without a certificate.
    pub path: Option<String>,
}

/// The identity of now.
pub struct Current {
    now: RwLock<Arc<Identity>>,
    secrets: aws_sdk_secretsmanager::Client,
    doubts: tokio::sync::Notify,
}

impl Identity {
    async fn load(config: &Config, secrets: &aws_sdk_secretsmanager::Client) -> Result<Self, Trouble> {
        let token = match &config.token {
            TokenSource::Given(token) => token.clone(),
            TokenSource::Secret(name) => token_of(&secret(secrets, name).await?)?,
        };
        let certificate = match &config.certificate_secret {
            Some(name) => Some(secret(secrets, name).await?),
            None => None,
        };
        let client = teloxide::net::default_reqwest_settings()
            .timeout(Duration::from_mins(1))
            .build()
            .map_err(|e| Trouble::Download(e.without_url()))?;
        let bot = Bot::with_client(&token, client).set_api_url(config.api_url.clone());
        let me = bot.get_me().await.map_err(Trouble::telegram("getMe"))?;
        let secret = contract::webhook::secret(&token);
        let path = certificate.map(|pem| contract::webhook::path(&pem, &secret));
        Ok(Self { bot, id: me.id.0, username: me.username().to_owned(), secret, path })
    }
}

impl Current {
    /// Loads the identity. Telegram is asked who the bot is: a wrong token is found out here.
    pub async fn load(config: &Config, secrets: aws_sdk_secretsmanager::Client) -> Result<Self, Trouble> {
        let identity = Identity::load(config, &secrets).await?;
        Ok(Self { now: RwLock::new(Arc::new(identity)), secrets, doubts: tokio::sync::Notify::new() })
    }

    /// The identity of now.
    pub fn now(&self) -> Arc<Identity> {
        self.now.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says that the secrets may have changed: a delivery bore another one, or Telegram refused the token.
    pub fn doubt(&self) {
        self.doubts.notify_one();
    }

    /// Comes back when somebody has doubts.
    pub async fn doubted(&self) {
        self.doubts.notified().await;
    }

    /// Looks at the secrets again, and asks Telegram who the bot is; the identity stays where either fails.
    pub async fn refresh(&self, config: &Config) -> Result<(), Trouble> {
        let new = Identity::load(config, &self.secrets).await?;
        let old = self.now();
        if new.secret != old.secret || new.path != old.path {
            tracing::info!("the token or the certificate has changed");
            *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        }
        Ok(())
    }
}

async fn secret(client: &aws_sdk_secretsmanager::Client, name: &str) -> Result<String, Trouble> {
    let answer = client.get_secret_value().secret_id(name).send().await.map_err(Trouble::aws("GetSecretValue"))?;
    answer.secret_string.ok_or(Trouble::Unreadable("the secret"))
}

/// The token in `{"TELEGRAM_TOKEN": "…"}`.
fn token_of(secret: &str) -> Result<String, Trouble> {
    let value: serde_json::Value =
        serde_json::from_str(secret).map_err(|_| Trouble::Unreadable("the token's secret"))?;
    let token = value.get(contract::env::TELEGRAM_TOKEN).and_then(serde_json::Value::as_str);
    token.map(str::to_owned).ok_or(Trouble::Unreadable("the token's secret"))
}
