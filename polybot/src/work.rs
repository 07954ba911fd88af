//! The bot's own queue: albums that gather, and reminders for jobs that nobody answered.

use crate::{
    albums,
    app::App,
    predict,
    trouble::{Remedy, Trouble},
};
use aws_sdk_sqs::types::Message;
use futures::{FutureExt, future::BoxFuture};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};

/// One piece of waiting work. Unknown fields are ignored; an unknown kind goes to the dead-letter queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "kind")]
pub enum Work {
    /// An album may be whole: nothing came since this version, unless there is a newer one.
    Album {
        /// The chat.
        chat_id: i64,
        /// Telegram's id of the album.
        group: String,
        /// The version.
        version: u64,
        /// Code of the language of the answer, where the chat has no setting.
        language: String,
    },
    /// A job should have been answered by now.
    Reminder {
        /// The chat.
        chat_id: i64,
        /// The job.
        prediction_id: String,
    },
}

/// What handles the body of a message.
pub type Handle = fn(Arc<App>, String) -> BoxFuture<'static, Result<(), Trouble>>;

/// Messages in work at once.
const AT_ONCE: usize = 4;

impl App {
    /// Puts work on the queue, not to be done before the delay has passed.
    pub async fn later(&self, work: &Work, delay: Duration) -> Result<(), Trouble> {
        // Whole seconds, at most 15 minutes: SQS knows no others.
        let seconds = delay.as_millis().div_ceil(1000).min(900);
        let send = self
            .sqs
            .send_message()
            .queue_url(&self.config.work_queue)
            .message_body(serde_json::json!(work).to_string())
            .delay_seconds(i32::try_from(seconds).unwrap_or(900));
        send.send().await.map(drop).map_err(Trouble::aws("SendMessage"))
    }
}

/// Receives from a queue until the process is to end, and hands each message's body to `handle`. A message is deleted after
/// it is handled; one that fails comes again, and goes to the dead-letter queue in the end.
pub async fn consume(app: Arc<App>, queue: String, name: &'static str, handle: Handle) {
    let room = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
    let all = u32::try_from(AT_ONCE).unwrap_or(1);
    while !app.is_stopping() {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { break };
        let receive = app
            .sqs
            .receive_message()
            .queue_url(&queue)
            .max_number_of_messages(1)
            .wait_time_seconds(20)
            .message_system_attribute_names(aws_sdk_sqs::types::MessageSystemAttributeName::ApproximateReceiveCount);
        let received = tokio::select! {
            received = receive.send() => received,
            () = app.stopped() => break,
        };
        let message = match received {
            Ok(received) => received.messages.unwrap_or_default().pop(),
            Err(error) => {
                tracing::warn!(
                    "nothing can be received from the {name} queue: {}",
                    Trouble::aws("ReceiveMessage")(error).chain()
                );
                tokio::time::sleep(Duration::from_secs(2)).await;
                continue;
            }
        };
        let Some(message) = message else { continue };
        let (app, queue) = (Arc::clone(&app), queue.clone());
        tokio::spawn(async move {
            one(&app, &queue, name, &message, handle).await;
            drop(permit);
        });
    }
    // What is in work is finished.
    let _ = room.acquire_many(all).await;
}

async fn one(app: &Arc<App>, queue: &str, name: &'static str, message: &Message, handle: Handle) {
    let Some(receipt) = &message.receipt_handle else { return };
    let body = message.body.clone().unwrap_or_default();
    let mut handled = handle(Arc::clone(app), body);
    let outcome = loop {
        tokio::select! {
            outcome = &mut handled => break outcome,
            // The message stays invisible while it is in work.
            () = tokio::time::sleep(Duration::from_secs(20)) => hide(app, queue, receipt, Duration::from_mins(1)).await,
        }
    };
    if outcome.as_ref().is_err_and(Trouble::doubts_token) {
        app.identity.doubt();
    }
    match outcome.as_ref().map_err(Trouble::remedy) {
        Ok(()) | Err(Remedy::Nothing) => {
            let delete = app.sqs.delete_message().queue_url(queue).receipt_handle(receipt);
            if let Err(error) = delete.send().await {
                // It comes again, and is found to be done.
                tracing::warn!("a message stays on the {name} queue: {}", Trouble::aws("DeleteMessage")(error).chain());
            }
            metrics::counter!("polybot_messages_total", "queue" => name, "outcome" => "done").increment(1);
        }
        Err(remedy) => {
            metrics::counter!("polybot_messages_total", "queue" => name, "outcome" => "failed").increment(1);
            if let Err(trouble) = &outcome {
                tracing::warn!("a message of the {name} queue failed: {}", trouble.chain());
            }
            let wait = if let Remedy::Again(wait) = remedy { wait } else { Duration::from_secs(1) };
            hide(app, queue, receipt, wait).await;
        }
    }
}

async fn hide(app: &App, queue: &str, receipt: &str, time: Duration) {
    let seconds = i32::try_from(time.as_secs()).unwrap_or(60).clamp(1, 43_200);
    let change =
        app.sqs.change_message_visibility().queue_url(queue).receipt_handle(receipt).visibility_timeout(seconds);
    if let Err(error) = change.send().await {
        tracing::warn!("a message may come twice: {}", Trouble::aws("ChangeMessageVisibility")(error).chain());
    }
}

/// Does one piece of waiting work.
pub fn work(app: Arc<App>, body: String) -> BoxFuture<'static, Result<(), Trouble>> {
    async move { answer(&app, &body).await }.boxed()
}

async fn answer(app: &Arc<App>, body: &str) -> Result<(), Trouble> {
    match serde_json::from_str(body).map_err(|_| Trouble::Unreadable("a message of the work queue"))? {
        Work::Album { chat_id, group, version, language } => {
            albums::answer(app, chat_id, &group, version, &language).await
        }
        Work::Reminder { chat_id, prediction_id } => predict::remind(app, chat_id, &prediction_id).await,
    }
}
