//! The message from polybot to yolo5: one picture to look at.

use crate::{MessageError, VERSION, check_version};
use serde::{Deserialize, Serialize};

/// The chat of load tests, which is nobody's: Telegram gives no chat this id. Polybot takes note of such answers and tells
/// nobody.
pub const NOBODY: i64 = 0;

/// One picture to look at. Times are epoch milliseconds; `confidence` is 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// [`VERSION`].
    pub v: u32,
    /// Key of the record this job writes. A job that came without one takes the SQS message id.
    pub prediction_id: String,
    /// Telegram's id of the chat; negative for groups.
    pub chat_id: i64,
    /// The user's message that holds the photo.
    pub message_id: i32,
    /// The bot's progress message, which the answer replaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_id: Option<i32>,
    /// S3 key of the picture.
    pub key: String,
    /// Least confidence; the worker's own setting where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f32>,
    /// When the job was sent.
    #[serde(default)]
    pub sent_at: u64,
}

/// The form that the system before this one sent: `{"chatId": "1", "imgName": "a.jpg"}`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OldJob {
    chat_id: serde_json::Value,
    img_name: String,
}

impl Job {
    /// The message body.
    pub fn to_json(&self) -> String {
        serde_json::json!(self).to_string()
    }

    /// Reads a message body in today's form or in the old one, whose object lies under `image_prefix`.
    pub fn parse(body: &str, sqs_message_id: &str, image_prefix: &str) -> Result<Self, MessageError> {
        let malformed = |e: serde_json::Error| MessageError::Malformed(e.to_string());
        let mut value: serde_json::Value = serde_json::from_str(body).map_err(malformed)?;
        check_version(&value)?;
        if value.get("imgName").is_some() && value.get("key").is_none() {
            let old: OldJob = serde_json::from_value(value).map_err(malformed)?;
            let chat_id = match &old.chat_id {
                serde_json::Value::String(s) => s.parse().ok(),
                other => other.as_i64(),
            };
            let chat_id = chat_id.ok_or_else(|| MessageError::Malformed(format!("chatId is {}", old.chat_id)))?;
            return Ok(Self {
                v: VERSION,
                prediction_id: sqs_message_id.to_owned(),
                chat_id,
                message_id: 0,
                reply_id: None,
                key: format!("{image_prefix}/{}", old.img_name),
                confidence: None,
                sent_at: 0,
            });
        }
        if let Some(fields) = value.as_object_mut() {
            fields.entry("predictionId").or_insert_with(|| sqs_message_id.into());
        }
        serde_json::from_value(value).map_err(malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_survives_the_queue() {
        let job = Job {
            v: VERSION,
            prediction_id: "p".into(),
            chat_id: -100,
            message_id: 7,
            reply_id: Some(8),
            key: "images/-100/7.jpg".into(),
            confidence: Some(0.5),
            sent_at: 9,
        };
        assert_eq!(Job::parse(&job.to_json(), "m", "images"), Ok(job));
    }

    #[test]
    fn the_old_form_is_read_with_a_number_or_a_string() {
        for chat in ["\"1\"", "1"] {
            let job = Job::parse(&format!(r#"{{"chatId": {chat}, "imgName": "a.jpg"}}"#), "m", "images").unwrap();
            assert_eq!((job.chat_id, job.key.as_str(), job.prediction_id.as_str()), (1, "images/a.jpg", "m"));
        }
    }

    #[test]
    fn unknown_fields_are_ignored_and_an_unknown_version_is_refused() {
        let body = r#"{"v":1,"chatId":1,"messageId":2,"key":"k","new":true}"#;
        assert_eq!(Job::parse(body, "m", "images").unwrap().prediction_id, "m");
        assert_eq!(Job::parse(r#"{"v":2}"#, "m", "images"), Err(MessageError::Version(2)));
        assert!(matches!(Job::parse("{", "m", "images"), Err(MessageError::Malformed(_))));
    }

    proptest::proptest! {
        #[test]
        fn any_job_survives_the_queue(
            id: String, chat_id: i64, message_id: i32, reply_id: Option<i32>, key: String, confidence in proptest::option::of(0.0_f32..=1.0),
            sent_at: u64,
        ) {
            let job = Job { v: VERSION, prediction_id: id, chat_id, message_id, reply_id, key, confidence, sent_at };
            proptest::prop_assert_eq!(Job::parse(&job.to_json(), "m", "images"), Ok(job));
        }

        /// Bytes that are no message at all, and messages that are spoilt in one place.
        #[test]
        fn whatever_the_body_reading_it_ends_in_a_job_or_a_reason(any: String, at in 0_usize..120, with: String, old: bool) {
            let _ = Job::parse(&any, "m", "images");
            let good = if old {
                r#"{"chatId": "5", "imgName": "old.jpg"}"#
            } else {
                r#"{"v":1,"predictionId":"p","chatId":-100,"messageId":7,"replyId":8,"key":"images/-100/7.jpg","confidence":0.5,"sentAt":9}"#
            };
            let at = at % good.len();
            for spoilt in [format!("{}{with}{}", &good[..at], &good[at..]), format!("{}{with}{}", &good[..at], &good[at + 1..])] {
                if let Ok(job) = Job::parse(&spoilt, "m", "images") {
                    proptest::prop_assert_eq!(Job::parse(&job.to_json(), "m", "images"), Ok(job));
                }
            }
        }
    }
}
