//! Pictures in S3 and records in DynamoDB.

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_types::error::{display::DisplayErrorContext, metadata::ProvideErrorMetadata};
use contract::{
    Label, Prediction,
    record::{CHAT_ID, LABELS, ORIGINAL_IMG_PATH, PREDICTED_IMG_PATH, PREDICTION_ID, TIME},
};
use std::collections::HashMap;

/// Largest picture that is fetched, in bytes; what Telegram hands out to bots at most.
pub const MOST_BYTES: u64 = 20 * 1024 * 1024;

/// What a download came to.
pub enum Object {
    /// The bytes.
    Here(Vec<u8>),
    /// There is none of that key.
    Missing,
    /// It is too large to look at.
    TooLarge,
}

/// AWS did not do what was asked; another time it may.
#[derive(Debug, thiserror::Error)]
#[error("{operation}: {message}")]
pub struct StoreError {
    operation: &'static str,
    message: String,
}

/// Makes the error of an operation.
pub(crate) fn fault<E: std::error::Error>(operation: &'static str) -> impl Fn(E) -> StoreError {
    move |e| StoreError { operation, message: DisplayErrorContext(&e).to_string() }
}

/// The bucket and the table.
#[derive(Clone)]
pub struct Store {
    /// The client of S3.
    pub s3: aws_sdk_s3::Client,
    /// The client of DynamoDB.
    pub dynamodb: aws_sdk_dynamodb::Client,
    /// Name of the bucket.
    pub bucket: String,
    /// Name of the table.
    pub table: String,
}

impl Store {
    /// Fetches a picture.
    pub async fn get(&self, key: &str) -> Result<Object, StoreError> {
        let got = match self.s3.get_object().bucket(&self.bucket).key(key).send().await {
            Ok(got) => got,
            // Not whatever is 404: a bucket that is missing is a mistake of ours, and the picture is there when that is mended.
            Err(e) if e.code() == Some("NoSuchKey") => return Ok(Object::Missing),
            Err(e) => return Err(fault("S3 GetObject")(e)),
        };
        let mut body = got.body;
        let mut bytes = vec![];
        if got.content_length.and_then(|n| u64::try_from(n).ok()).is_some_and(|n| n > MOST_BYTES) {
            return Ok(Object::TooLarge);
        }
        while let Some(chunk) = body.try_next().await.map_err(fault("S3 GetObject"))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() as u64 > MOST_BYTES {
                return Ok(Object::TooLarge);
            }
        }
        Ok(Object::Here(bytes))
    }

    /// Stores a picture.
    pub async fn put(&self, key: &str, bytes: Vec<u8>, content_type: &str) -> Result<(), StoreError> {
        let call = self.s3.put_object().bucket(&self.bucket).key(key).content_type(content_type);
        call.body(ByteStream::from(bytes)).send().await.map_err(fault("S3 PutObject"))?;
        Ok(())
    }

    /// Whether there is a record of a prediction, and if so whether it has labels.
    pub async fn labelled(&self, prediction_id: &str) -> Result<Option<bool>, StoreError> {
        let call = self.dynamodb.get_item().table_name(&self.table).consistent_read(true);
        let got = call.key(PREDICTION_ID, AttributeValue::S(prediction_id.to_owned())).send().await;
        let item = got.map_err(fault("DynamoDB GetItem"))?.item;
        Ok(item.map(|item| item.get(LABELS).and_then(|l| l.as_l().ok()).is_some_and(|l| !l.is_empty())))
    }

    /// Writes the record, unless there is one: the first stays.
    pub async fn record(&self, prediction: &Prediction) -> Result<(), StoreError> {
        let call = self.dynamodb.put_item().table_name(&self.table).set_item(Some(item(prediction)));
        let call =
            call.condition_expression("attribute_not_exists(#id)").expression_attribute_names("#id", PREDICTION_ID);
        match call.send().await {
            Ok(_) => Ok(()),
            Err(e) if e.code() == Some("ConditionalCheckFailedException") => Ok(()),
            Err(e) => Err(fault("DynamoDB PutItem")(e)),
        }
    }
}

/// The record as the table holds it.
pub fn item(prediction: &Prediction) -> HashMap<String, AttributeValue> {
    let Prediction { prediction_id, chat_id, original_img_path, predicted_img_path, labels, time } = prediction;
    let s = |v: &str| AttributeValue::S(v.to_owned());
    let label = |l: &Label| {
        let Label { class, cx, cy, width, height, score } = l;
        // Four digits place a box to a pixel of any picture, and keep 1000 boxes far below 400 KB.
        let n = |v: &f32| AttributeValue::N(format!("{v:.4}"));
        AttributeValue::M(HashMap::from([
            ("class".to_owned(), s(class)),
            ("cx".to_owned(), n(cx)),
            ("cy".to_owned(), n(cy)),
            ("width".to_owned(), n(width)),
            ("height".to_owned(), n(height)),
            ("score".to_owned(), n(score)),
        ]))
    };
    HashMap::from([
        (PREDICTION_ID.to_owned(), s(prediction_id)),
        (CHAT_ID.to_owned(), AttributeValue::N(chat_id.to_string())),
        (ORIGINAL_IMG_PATH.to_owned(), s(original_img_path)),
        (PREDICTED_IMG_PATH.to_owned(), s(predicted_img_path)),
        (LABELS.to_owned(), AttributeValue::L(labels.iter().map(label).collect())),
        (TIME.to_owned(), AttributeValue::N(time.to_string())),
    ])
}
