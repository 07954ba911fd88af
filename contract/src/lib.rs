//! What polybot, yolo5 and controller agree on: the messages between them, the records they share, and the names of
//! the environment variables that configure them. Serde only: no AWS client and no image code.

pub mod env;
pub mod health;
pub mod id;
pub mod job;
pub mod record;
pub mod result;
pub mod webhook;

pub use id::prediction_id;
pub use job::Job;
pub use record::{Label, Prediction};
pub use result::{Answer, Outcome};

/// The version of [`Job`] and [`Answer`] that this code speaks. A message with another `v` is refused.
pub const VERSION: u32 = 1;

/// Why a message from a queue could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MessageError {
    /// The body is no JSON, or a field is missing or of the wrong type.
    Malformed(String),
    /// The body says it is of a version that this code does not speak.
    Version(u32),
}

impl std::fmt::Display for MessageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Malformed(why) => write!(f, "the message cannot be read: {why}"),
            Self::Version(v) => write!(f, "the message is of version {v}; this program speaks version {VERSION}"),
        }
    }
}

impl std::error::Error for MessageError {}

/// Refuses a message of another version before its fields are looked at, so that the error names the real cause.
fn check_version(value: &serde_json::Value) -> Result<(), MessageError> {
    match value.get("v") {
        None => Ok(()),
        Some(v) => match v.as_u64().and_then(|v| u32::try_from(v).ok()) {
            Some(VERSION) => Ok(()),
            Some(other) => Err(MessageError::Version(other)),
            None => Err(MessageError::Malformed(format!("v is {v}, expected a number"))),
        },
    }
}
