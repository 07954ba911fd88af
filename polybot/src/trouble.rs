//! What can go wrong outside the bot: Telegram, AWS, a file. What a user did wrong is no trouble but an answer.

use std::{error::Error, time::Duration};
use teloxide::{ApiError, RequestError, types::ChatId};

/// A call that failed.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// Telegram refused, or could not be reached.
    #[error("Telegram did not take {call}")]
    Telegram {
        /// The method.
        call: &'static str,
        /// Its answer.
        source: RequestError,
    },
    /// A file could not be fetched from Telegram.
    #[error("a file could not be fetched from Telegram")]
    Download(#[source] reqwest::Error),
    /// AWS refused, or could not be reached.
    #[error("AWS did not take {call}")]
    Aws {
        /// The operation.
        call: &'static str,
        /// Its answer.
        source: Box<dyn Error + Send + Sync>,
    },
    /// What is stored is not what this program stores.
    #[error("{0} cannot be read")]
    Unreadable(&'static str),
    /// Work on a picture ended without a result.
    #[error("work on a picture broke off")]
    BrokenOff,
    /// Another instance has taken over.
    #[error("another instance has taken over")]
    TakenOver,
}

/// What is to be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// The same again, not before this time has passed.
    Again(Duration),
    /// Nothing: the user has left, or the message is gone. It is no error.
    Nothing,
    /// The same again would fail again.
    GiveUp,
}

impl Trouble {
    /// For `map_err` of an AWS call.
    pub fn aws<E: Error + Send + Sync + 'static>(call: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Aws { call, source: Box::new(source) }
    }

    /// For `map_err` of a Bot API call.
    pub fn telegram(call: &'static str) -> impl FnOnce(RequestError) -> Self {
        move |source| Self::Telegram { call, source }
    }

    /// What is to be done about it.
    pub fn remedy(&self) -> Remedy {
        match self {
            // The token is a new one, which this process will have soon; a queue gives a message up after some more tries.
            Self::Telegram { .. } if self.doubts_token() => Remedy::Again(Duration::from_secs(15)),
            Self::Telegram { source, .. } => remedy(source),
            Self::Download(_) | Self::Aws { .. } | Self::TakenOver => Remedy::Again(Duration::from_secs(2)),
            Self::Unreadable(_) | Self::BrokenOff => Remedy::GiveUp,
        }
    }

    /// Whether Telegram does not know the token.
    pub fn doubts_token(&self) -> bool {
        matches!(self, Self::Telegram { source: RequestError::Api(ApiError::InvalidToken), .. })
    }

    /// The id of the supergroup that the group has become.
    pub fn moved(&self) -> Option<ChatId> {
        match self {
            Self::Telegram { source: RequestError::MigrateToChatId(new), .. } => Some(*new),
            _ => None,
        }
    }

    /// The message and its causes in one line.
    pub fn chain(&self) -> String {
        let causes = std::iter::successors(self.source(), |&e| e.source()).map(|e| format!(": {e}"));
        std::iter::once(self.to_string()).chain(causes).collect()
    }
}

/// What Telegram calls it, with status 400, where the rights of a group's members do not go so far.
const FORBIDDEN: [&str; 5] =
    ["not enough rights to send", "have no rights to send", "CHAT_WRITE_FORBIDDEN", "CHAT_RESTRICTED", "TOPIC_CLOSED"];

/// What is to be done about Telegram's answer.
pub fn remedy(error: &RequestError) -> Remedy {
    match error {
        RequestError::RetryAfter(seconds) => Remedy::Again(seconds.duration()),
        RequestError::Network(_) | RequestError::InvalidJson { .. } | RequestError::Io(_) => {
            Remedy::Again(Duration::from_secs(1))
        }
        RequestError::MigrateToChatId(_) => Remedy::GiveUp,
        RequestError::Api(error) => match error {
            ApiError::BotBlocked
            | ApiError::BotKicked
            | ApiError::BotKickedFromSupergroup
            | ApiError::BotKickedFromChannel
            | ApiError::UserDeactivated
            | ApiError::CantInitiateConversation
            | ApiError::ChatNotFound
            | ApiError::GroupDeactivated
            | ApiError::MessageIdInvalid
            | ApiError::MessageNotModified
            | ApiError::MessageToEditNotFound
            | ApiError::MessageToDeleteNotFound => Remedy::Nothing,
            ApiError::Unknown(text) if text.starts_with("Forbidden:") || text.contains("not modified") => {
                Remedy::Nothing
            }
            // A group that lets nobody write, or not this: it is as if it had blocked the bot.
            ApiError::Unknown(text) if FORBIDDEN.iter().any(|why| text.contains(why)) => Remedy::Nothing,
            // "wrong file_id or the file is temporarily unavailable" is said of good ones as well; of a wrong one "invalid file_id".
            ApiError::Unknown(text) if text.contains("temporarily unavailable") => {
                Remedy::Again(Duration::from_secs(3))
            }
            ApiError::Unknown(text) if text.contains("Internal Server Error") || text.contains("Bad Gateway") => {
                Remedy::Again(Duration::from_secs(1))
            }
            _ => Remedy::GiveUp,
        },
    }
}
