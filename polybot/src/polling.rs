//! Polling, for a machine without a public address: getUpdates instead of a webhook. One process polls, others stand by.

use crate::{
    app::App,
    schema::{ALLOWED, schema},
    server::{Taken, once},
    telegram::call,
    trouble::Trouble,
};
use std::{sync::Arc, time::Duration};
use teloxide::{
    payloads::GetUpdatesSetters,
    prelude::{Request, Requester},
    types::Update,
};

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
    while !app.is_stopping() {
        let bot = app.identity.now().bot.clone();
        let turn = async {
            let Some(position) = app.store.lead().await? else {
                tokio::time::sleep(app.store.lease() / 3).await;
                return Ok::<_, Trouble>(());
            };
            let offset = i32::try_from(position).unwrap_or_default();
            let updates = call("getUpdates", || {
                bot.get_updates().offset(offset).timeout(HELD.min(wait_of(&app))).allowed_updates(ALLOWED).send()
            });
            for update in updates.await?.unwrap_or_default() {
                let next = update.id.0 + 1;
                until_taken(&app, &schema, update).await?;
                app.store.advance(next).await?;
            }
            Ok(())
        };
        tokio::select! {
            outcome = turn => if let Err(trouble) = outcome {
                if trouble.doubts_token() {
                    app.identity.doubt();
                }
                tracing::warn!("polling: {}", trouble.chain());
                tokio::time::sleep(Duration::from_secs(1)).await;
            },
            () = app.stopped() => break,
        }
    }
    app.store.resign().await?;
    Ok(())
}

/// A question must not be held for longer than the lease lasts.
fn wait_of(app: &App) -> u32 {
    u32::try_from(app.store.lease().as_secs() / 2).unwrap_or(HELD)
}

/// Works on an update until it is done: updates that come after it wait, as with a webhook.
async fn until_taken(
    app: &Arc<App>,
    schema: &dptree::Handler<'static, crate::schema::Outcome>,
    update: Update,
) -> Result<(), Trouble> {
    loop {
        match once(app, schema, update.clone()).await? {
            Taken::Handled | Taken::Before => return Ok(()),
            Taken::InWork => tokio::time::sleep(Duration::from_secs(1)).await,
            Taken::Later(wait) => tokio::time::sleep(wait).await,
        }
        app.store.lead().await?;
    }
}
