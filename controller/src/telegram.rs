//! The few Bot API calls that the controller makes: it owns the webhook.

use crate::{facts::Fact, secret::Secret};
use reqwest::multipart::{Form, Part};
use serde::Deserialize;
use std::time::Duration;

/// The Bot API and a token.
#[derive(Clone, Debug)]
pub struct Telegram {
    /// Root of the Bot API.
    pub api_url: String,
    /// The bot's token, or why there is none.
    pub token: Fact<Secret<String>>,
    http: reqwest::Client,
}

/// What Telegram says of the webhook.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct WebhookInfo {
    /// Where updates go; empty where there is no webhook.
    #[serde(default)]
    pub url: String,
    /// Whether Telegram trusts a certificate that was uploaded.
    #[serde(default)]
    pub has_custom_certificate: bool,
    /// Deliveries at once.
    pub max_connections: Option<u32>,
    /// Fixed address.
    pub ip_address: Option<String>,
    /// Kinds of updates.
    pub allowed_updates: Option<Vec<String>>,
    /// Why the last delivery failed.
    pub last_error_message: Option<String>,
}

#[derive(Deserialize)]
struct Reply<T> {
    ok: bool,
    description: Option<String>,
    result: Option<T>,
}

/// An HTTP client that does not wait long for a Telegram that is not there.
pub fn client() -> reqwest::Client {
    let builder = reqwest::Client::builder().connect_timeout(Duration::from_secs(3)).timeout(Duration::from_secs(10));
    builder.build().unwrap_or_default()
}

impl Telegram {
    /// A bot by its token; asks nothing.
    pub fn new(api_url: &str, token: Fact<Secret<String>>, http: reqwest::Client) -> Self {
        Self { api_url: api_url.trim_end_matches('/').to_owned(), token, http }
    }

    /// `getWebhookInfo`.
    pub async fn webhook_info(&self) -> Fact<WebhookInfo> {
        self.call("getWebhookInfo", None).await
    }

    /// `setWebhook`. With a certificate it is never a no-op.
    pub async fn set_webhook(&self, fields: Vec<(&'static str, String)>, certificate: Option<String>) -> Fact<bool> {
        let mut form = fields.into_iter().fold(Form::new(), |form, (k, v)| form.text(k, v));
        if let Some(pem) = certificate {
            form = form.part("certificate", Part::text(pem).file_name("certificate.pem"));
        }
        self.call("setWebhook", Some(form)).await
    }

    /// `deleteWebhook`.
    pub async fn delete_webhook(&self) -> Fact<bool> {
        self.call("deleteWebhook", None).await
    }

    /// The token is part of the URL, so no error carries the URL.
    async fn call<T: for<'de> Deserialize<'de>>(&self, method: &str, form: Option<Form>) -> Fact<T> {
        let token = self.token.as_ref().map_err(Clone::clone)?.expose();
        let url = format!("{}/bot{token}/{method}", self.api_url);
        let fail = |e: reqwest::Error| {
            format!("Telegram cannot be reached at {}: {}", self.api_url, innermost(&e.without_url()))
        };
        let call = self.http.post(url);
        // A form without a part is no form.
        let call = match form {
            Some(form) => call.multipart(form),
            None => call,
        };
        let reply = call.send().await.map_err(fail)?;
        let reply: Reply<T> = reply.json().await.map_err(fail)?;
        match reply {
            Reply { ok: true, result: Some(result), .. } => Ok(result),
            Reply { description, .. } => Err(format!(
                "Telegram refuses {method}: {}",
                description.unwrap_or_else(|| "no reason given".to_owned())
            )),
        }
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(next) = last.source() {
        last = next;
    }
    last.to_string()
}
