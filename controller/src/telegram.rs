//! The few Bot API calls that the controller makes: it owns the webhook.

use crate::{facts::Fact, secret::Secret};

/// The Bot API and a token.
#[derive(Clone, Debug)]
pub struct Telegram {
    /// Root of the Bot API.
    pub api_url: String,
    /// The bot's token, or why there is none.
    pub token: Fact<Secret<String>>,
}

impl Telegram {
    /// A client; asks nothing.
    pub fn new(api_url: &str, token: Fact<Secret<String>>) -> Self {
        Self { api_url: api_url.trim_end_matches('/').to_owned(), token }
    }
}
