//! The message from yolo5 to polybot: how a job ended.

use crate::{MessageError, check_version};
use serde::{Deserialize, Serialize};

/// How a job ended. The detections themselves are in the [`crate::Prediction`] record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// [`crate::VERSION`].
    pub v: u32,
    /// Key of the record.
    pub prediction_id: String,
    /// Telegram's id of the chat.
    pub chat_id: i64,
    /// The user's message that holds the photo.
    pub message_id: i32,
    /// The bot's progress message, which the answer replaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_id: Option<i32>,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind", content = "reason")]
pub enum Outcome {
    /// Something was found; the record tells what, and where the annotated picture is.
    Done,
    /// The picture was looked at and nothing was found.
    NothingFound,
    /// The picture could not be looked at.
    Failed(Failure),
}

/// Why a picture could not be looked at. Polybot has words for each in every language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Failure {
    /// The object is not in the bucket.
    NoObject,
    /// The object is no picture, or a damaged one.
    NoImage,
    /// The picture is over the size limit in bytes or pixels.
    TooLarge,
    /// The detector failed again and again.
    Internal,
    /// A reason that a newer worker knows and this program does not.
    #[serde(other)]
    Unknown,
}

impl Answer {
    /// The message body.
    pub fn to_json(&self) -> String {
        serde_json::json!(self).to_string()
    }

    /// Reads a message body.
    pub fn parse(body: &str) -> Result<Self, MessageError> {
        let malformed = |e: serde_json::Error| MessageError::Malformed(e.to_string());
        let value: serde_json::Value = serde_json::from_str(body).map_err(malformed)?;
        check_version(&value)?;
        serde_json::from_value(value).map_err(malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(outcome: Outcome) -> Answer {
        Answer { v: 1, prediction_id: "p".into(), chat_id: 1, message_id: 2, reply_id: None, outcome }
    }

    #[test]
    fn every_outcome_survives_the_queue() {
        for outcome in [Outcome::Done, Outcome::NothingFound, Outcome::Failed(Failure::NoImage)] {
            let answer = answer(outcome);
            assert_eq!(Answer::parse(&answer.to_json()), Ok(answer));
        }
    }

    #[test]
    fn the_form_on_the_wire_is_fixed() {
        assert_eq!(
            serde_json::to_value(answer(Outcome::Failed(Failure::NoObject))).unwrap(),
            serde_json::json!({"v": 1, "predictionId": "p", "chatId": 1, "messageId": 2,
                "outcome": {"kind": "failed", "reason": "noObject"}})
        );
    }

    #[test]
    fn a_reason_of_a_newer_worker_is_still_a_failure() {
        let body =
            r#"{"v":1,"predictionId":"p","chatId":1,"messageId":2,"outcome":{"kind":"failed","reason":"eclipse"}}"#;
        assert_eq!(Answer::parse(body).unwrap().outcome, Outcome::Failed(Failure::Unknown));
    }
}
