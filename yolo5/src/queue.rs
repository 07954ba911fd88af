//! The worker's two queues: jobs come from the one, answers go into the other.

use crate::store::{StoreError, fault};
use anyhow::Context;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName, QueueAttributeName};
use contract::Answer;

/// How long one call waits for messages, in seconds; the longest SQS knows.
const WAIT: i32 = 20;

/// Both queues.
pub struct Queues {
    sqs: aws_sdk_sqs::Client,
    identify: String,
    results: String,
    /// Seconds that a message stays hidden; kept alive while its job is in work.
    pub visibility: i32,
    /// After so many receives the queue gives a message up.
    pub most_receives: Option<u32>,
}

impl Queues {
    /// Looks up how the identify queue is set up.
    pub async fn open(sqs: aws_sdk_sqs::Client, identify: String, results: String) -> anyhow::Result<Self> {
        let call = sqs.get_queue_attributes().queue_url(&identify).attribute_names(QueueAttributeName::All);
        let got = call.send().await.with_context(|| format!("the identify queue {identify} cannot be read"))?;
        let value = |name| got.attributes().and_then(|a| a.get(&name)).map(String::as_str);
        let visibility = value(QueueAttributeName::VisibilityTimeout).and_then(|v| v.parse().ok()).unwrap_or(30);
        let redrive: Option<serde_json::Value> =
            value(QueueAttributeName::RedrivePolicy).and_then(|p| serde_json::from_str(p).ok());
        let most_receives = redrive.and_then(|p| {
            let most = &p["maxReceiveCount"];
            most.as_u64().and_then(|n| u32::try_from(n).ok()).or_else(|| most.as_str()?.parse().ok())
        });
        Ok(Self { sqs, identify, results, visibility, most_receives })
    }

    /// The next jobs, as soon as there are any; none after a while.
    pub async fn receive(&self, at_most: usize) -> Result<Vec<Message>, StoreError> {
        let call = self.sqs.receive_message().queue_url(&self.identify).wait_time_seconds(WAIT);
        let call = call
            .max_number_of_messages(i32::try_from(at_most.min(10)).unwrap_or(1))
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp);
        Ok(call.send().await.map_err(fault("SQS ReceiveMessage"))?.messages.unwrap_or_default())
    }

    /// Keeps a message from other receivers for so many seconds from now; 0 gives it back.
    pub async fn hide(&self, message: &Message, seconds: i32) -> Result<(), StoreError> {
        let call = self.sqs.change_message_visibility().queue_url(&self.identify).visibility_timeout(seconds);
        let call = call.set_receipt_handle(message.receipt_handle.clone());
        call.send().await.map(drop).map_err(fault("SQS ChangeMessageVisibility"))
    }

    /// Takes a message off the queue for good.
    pub async fn delete(&self, message: &Message) -> Result<(), StoreError> {
        let call = self.sqs.delete_message().queue_url(&self.identify);
        let call = call.set_receipt_handle(message.receipt_handle.clone());
        call.send().await.map(drop).map_err(fault("SQS DeleteMessage"))
    }

    /// Sends an answer.
    pub async fn send(&self, answer: &Answer) -> Result<(), StoreError> {
        let call = self.sqs.send_message().queue_url(&self.results).message_body(answer.to_json());
        call.send().await.map(drop).map_err(fault("SQS SendMessage"))
    }
}
