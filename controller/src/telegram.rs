//! The few Bot API calls that the controller makes: it owns the webhook.

/// The Bot API and a token.
#[derive(Clone, Debug)]
pub struct Telegram;
