//! Polling, for a machine without a public address: getUpdates instead of a webhook. One process polls, others stand by.

use crate::{
    app::App,
    schema::{ALLOWED, schema},
    server::{Taken, once},
    telegram::call,
    trouble::Trouble,
};
use std::{collections::HashMap, sync::Arc, time::Duration};
use teloxide::{
    payloads::GetUpdatesSetters,
    prelude::{Request, Requester},
    types::{ChatId, Update},
};
use tokio::time::Instant;

/// Whether a webhook that is set may be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakeOver {
    /// Yes: this bot is to be polled from now on.
    Yes,
    /// No: it may be the webhook of the real bot.
    No,
}

/// How long Telegram holds a question for updates.
const HELD: u32 = 10;

/// A webhook is set: polling would take the updates away from the instances behind it.
#[derive(Debug, thiserror::Error)]
pub enum CannotPoll {
    /// See above.
    #[error("this bot has a webhook, so its updates go there; with --take-over it is removed and they come here")]
    Webhook,
    /// Telegram or AWS failed.
    #[error(transparent)]
    Trouble(#[from] Trouble),
}

/// Polls until the process is to end.
pub async fn poll(app: Arc<App>, take_over: TakeOver) -> Result<(), CannotPoll> {
    let bot = app.identity.now().bot.clone();
    let info = call("getWebhookInfo", || bot.get_webhook_info().send()).await?;
    if info.is_some_and(|info| info.url.is_some()) {
        match take_over {
            TakeOver::No => return Err(CannotPoll::Webhook),
            TakeOver::Yes => call("deleteWebhook", || bot.delete_webhook().send()).await.map(drop)?,
        }
    }
    let schema = schema();
    let mut blocked = Blocked::new();
    while !app.is_stopping() {
        let asked = async {
            let Some(position) = app.store.lead().await? else {
                tokio::time::sleep(app.store.lease() / 3).await;
                return Ok(Vec::new());
            };
            ask(&app, position, &blocked).await
        };
        // Only what waits is broken off: an update in work is finished.
        let updates = tokio::select! {
            updates = asked => updates,
            () = app.stopped() => break,
        };
        let taken = match updates {
            Ok(updates) => take(&app, &schema, updates, &mut blocked).await,
            Err(trouble) => Err(trouble),
        };
        if let Err(trouble) = taken {
            if trouble.doubts_token() {
                app.identity.doubt();
            }
            tracing::warn!("polling: {}", trouble.chain());
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
    app.store.resign().await?;
    Ok(())
}

/// Chats whose next update cannot be answered before that time.
type Blocked = HashMap<Option<ChatId>, Instant>;

/// Asks Telegram for updates from this one on.
async fn ask(app: &Arc<App>, position: u32, blocked: &Blocked) -> Result<Vec<Update>, Trouble> {
    let bot = app.identity.now().bot.clone();
    // While something is undone, the answer comes at once and has it again.
    if let Some(soonest) = blocked.values().min() {
        tokio::time::sleep_until((*soonest).min(Instant::now() + Duration::from_secs(1))).await;
    }
    let offset = i32::try_from(position).unwrap_or_default();
    let updates = call("getUpdates", || {
        bot.get_updates().offset(offset).timeout(HELD.min(wait_of(app))).allowed_updates(ALLOWED).send()
    });
    Ok(updates.await?.unwrap_or_default())
}

/// Works on updates, those of a chat in their order and the chats beside each other. An update that cannot be answered now holds
/// up what comes after it in its chat, as with a webhook, and comes again.
async fn take(
    app: &Arc<App>,
    schema: &dptree::Handler<'static, crate::schema::Outcome>,
    updates: Vec<Update>,
    blocked: &mut Blocked,
) -> Result<(), Trouble> {
    let Some(end) = updates.last().map(|last| last.id.0 + 1) else { return Ok(()) };
    let mut chats: HashMap<Option<ChatId>, Vec<Update>> = HashMap::new();
    for update in updates {
        chats.entry(update.chat().map(|chat| chat.id)).or_default().push(update);
    }
    blocked.retain(|_, until| *until > Instant::now());
    let waiting = &*blocked;
    let taken = chats.into_iter().map(|(chat, updates)| async move {
        let until = waiting.get(&chat).copied();
        for update in updates {
            let id = update.id.0;
            if let Some(until) = until {
                return Some((id, chat, until));
            }
            let wait = match once(app, schema, update).await {
                Ok(Taken::Handled | Taken::Before) => continue,
                Ok(Taken::InWork) => Duration::from_secs(1),
                Ok(Taken::Later(wait)) => wait,
                Err(trouble) => {
                    tracing::warn!("an update has to come again: {}", trouble.chain());
                    Duration::from_secs(2)
                }
            };
            return Some((id, chat, Instant::now() + wait));
        }
        None
    });
    let mut undone = end;
    for (id, chat, until) in futures::future::join_all(taken).await.into_iter().flatten() {
        undone = undone.min(id);
        blocked.insert(chat, until);
    }
    app.store.advance(undone).await
}

/// A question must not be held for longer than the lease lasts.
fn wait_of(app: &App) -> u32 {
    u32::try_from(app.store.lease().as_secs() / 2).unwrap_or(HELD)
}
