//! A prediction as the predictions table holds it, and the names of its attributes.

use serde::{Deserialize, Serialize};

/// Partition key of the predictions table (S).
pub const PREDICTION_ID: &str = "predictionId";
/// Partition key of the index (N).
pub const CHAT_ID: &str = "chatId";
/// Name of the index by chat: partition `chatId`, sort `predictionId`.
pub const CHAT_INDEX: &str = "chatId-predictionId-index";
/// S3 key of the original picture (S).
pub const ORIGINAL_IMG_PATH: &str = "originalImgPath";
/// S3 key of the annotated picture (S).
pub const PREDICTED_IMG_PATH: &str = "predictedImgPath";
/// Detections (L of M), the best first.
pub const LABELS: &str = "labels";
/// Epoch seconds (N).
pub const TIME: &str = "time";

/// Partition key of the chats table (S).
pub const CHATS_PK: &str = "pk";
/// Sort key of the chats table (S).
pub const CHATS_SK: &str = "sk";
/// Time-to-live attribute of the chats table (N, epoch seconds).
pub const CHATS_TTL: &str = "expiresAt";

/// Key prefix of annotated pictures.
pub const PREDICTED_PREFIX: &str = "predicted";

/// One detection; position and size are fractions of the picture's width and height, 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Label {
    /// Name of the class, such as `dog`: one of COCO, or of what the detector's model was trained for. At most 100 bytes.
    pub class: String,
    /// Centre, from the left.
    pub cx: f32,
    /// Centre, from the top.
    pub cy: f32,
    /// Width of the box.
    pub width: f32,
    /// Height of the box.
    pub height: f32,
    /// Confidence, 0 to 1.
    pub score: f32,
}

/// One prediction. Both programs turn it into and out of DynamoDB items themselves, by the names above.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Prediction {
    /// See [`crate::prediction_id`].
    pub prediction_id: String,
    /// Telegram's id of the chat.
    pub chat_id: i64,
    /// S3 key of the original picture.
    pub original_img_path: String,
    /// S3 key of the annotated picture.
    pub predicted_img_path: String,
    /// Detections, the best first; at most 1000, which stay under DynamoDB's 400 KB an item.
    pub labels: Vec<Label>,
    /// Epoch seconds.
    pub time: u64,
}
