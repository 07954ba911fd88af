//! The bot's own queue: albums that gather, and reminders for jobs that nobody answered.

use crate::{
    albums,
    app::{App, Talk},
    predict, talk,
    texts::Language,
    trouble::{Remedy, Trouble},
};
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use futures::{FutureExt, future::BoxFuture};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};
use teloxide::types::ChatId;

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

/// What is done with the messages of a queue.
#[derive(Clone, Copy)]
pub struct Consumer {
    /// The queue's name in logs and metrics.
    pub name: &'static str,
    /// Handles the body of a message.
    pub handle: fn(Arc<App>, String) -> BoxFuture<'static, Result<(), Trouble>>,
    /// Tells the chat of a message that nothing comes of it.
    pub give_up: fn(Arc<App>, String) -> BoxFuture<'static, Result<(), Trouble>>,
}

/// The bot's own queue.
pub const CONSUMER: Consumer = Consumer {
    name: "work",
    handle: |app, body| async move { answer(&app, &body).await }.boxed(),
    give_up: |app, body| async move { give_up(&app, &body).await }.boxed(),
};

/// Messages in work at once.
const AT_ONCE: usize = 4;
/// Longest time that a message waits for its next try.
const LONGEST_WAIT: Duration = Duration::from_mins(5);
/// The try after whose failure the chat is told, once. A spec sets how many tries a queue allows, and five is its default: should one
/// more go well, its answer comes all the same.
const TOLD_AFTER: u32 = 4;

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

/// Receives from a queue until the process is to end. A message is deleted after it is handled; one that fails comes again, and goes
/// to the dead-letter queue in the end.
pub async fn consume(app: Arc<App>, queue: String, consumer: Consumer) {
    let name = consumer.name;
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
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount);
        let received = tokio::select! {
            received = receive.send() => received,
            () = app.stopped() => break,
        };
        app.missing.note(&format!("{name} queue"), received.is_ok());
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
            one(&app, &queue, consumer, &message).await;
            drop(permit);
        });
    }
    // What is in work is finished.
    let _ = room.acquire_many(all).await;
}

async fn one(app: &Arc<App>, queue: &str, Consumer { name, handle, give_up }: Consumer, message: &Message) {
    let Some(receipt) = &message.receipt_handle else { return };
    let body = message.body.clone().unwrap_or_default();
    let mut handled = handle(Arc::clone(app), body.clone());
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
            let tries = tries_of(message);
            if let Err(trouble) = &outcome {
                tracing::warn!("a message of the {name} queue failed: {}", trouble.chain());
            }
            let taken_over = matches!(outcome, Err(Trouble::TakenOver));
            if tries == TOLD_AFTER
                && !taken_over
                && let Err(trouble) = give_up(Arc::clone(app), body).await
            {
                tracing::warn!("a chat cannot be told: {}", trouble.chain());
            }
            let least = if taken_over { app.store.lease() } else { Duration::ZERO };
            hide(app, queue, receipt, wait_of(remedy, tries).max(least)).await;
        }
    }
}

/// How often a message was received, this time counted.
fn tries_of(message: &Message) -> u32 {
    let counts = message.attributes.as_ref();
    let count = counts.and_then(|all| all.get(&MessageSystemAttributeName::ApproximateReceiveCount));
    count.and_then(|count| count.parse().ok()).unwrap_or(1)
}

/// How long a message waits for its next try: longer each time, so that it outlives what is over in minutes. What would fail again only
/// goes through its tries, to the dead-letter queue.
fn wait_of(remedy: Remedy, tries: u32) -> Duration {
    match remedy {
        Remedy::Again(wait) => {
            let longer = Duration::from_secs(2 * 3_u64.saturating_pow(tries.clamp(1, 9) - 1));
            longer.min(LONGEST_WAIT).max(wait)
        }
        Remedy::Nothing | Remedy::GiveUp => Duration::from_secs(1),
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

async fn answer(app: &Arc<App>, body: &str) -> Result<(), Trouble> {
    match serde_json::from_str(body).map_err(|_| Trouble::Unreadable("a message of the work queue"))? {
        Work::Album { chat_id, group, version, language } => {
            albums::answer(app, chat_id, &group, version, &language).await
        }
        Work::Reminder { chat_id, prediction_id } => predict::remind(app, chat_id, &prediction_id).await,
    }
}

/// An album that cannot be answered. Of a reminder there is nothing to tell: its job may be answered yet.
async fn give_up(app: &Arc<App>, body: &str) -> Result<(), Trouble> {
    let Ok(Work::Album { chat_id, language, .. }) = serde_json::from_str(body) else { return Ok(()) };
    let mut talk = Talk::begin(app, ChatId(chat_id), None, 0).await?;
    if talk.settings.language.is_none() {
        talk.language = Language::of_code(&language).unwrap_or(talk.language);
    }
    talk::give_up(&talk, None).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_try_waits_longer_and_what_cannot_go_well_does_not_wait() {
        let again = Remedy::Again(Duration::from_secs(2));
        let waits: Vec<u64> = [1, 2, 3, 4, 5, 6, 1000].map(|tries| wait_of(again, tries).as_secs()).to_vec();
        assert_eq!(waits, [2, 6, 18, 54, 162, 300, 300]);
        // Telegram says how long.
        assert_eq!(wait_of(Remedy::Again(Duration::from_mins(10)), 1), Duration::from_mins(10));
        assert_eq!(wait_of(Remedy::GiveUp, 4), Duration::from_secs(1));
    }
}
