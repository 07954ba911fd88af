//! The HTTP side: Telegram's deliveries, health, metrics. An update is acknowledged after it is handled, or durable.

use crate::{
    app::{App, Talk},
    schema::{self, Outcome},
    store::seen::Claim,
    talk,
    trouble::{Remedy, Trouble},
};
use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use dptree::Handler;
use std::{sync::Arc, time::Duration};
use teloxide::types::{ChatId, MessageId, Update, UpdateId, UpdateKind, User};

/// The largest update that Telegram sends is far smaller.
const MAX_BODY: usize = 1 << 20;
/// An update whose handling broke off so often is given up.
const MAX_TRIES: u32 = 5;

/// What the routes share.
#[derive(Clone)]
pub struct Shared {
    /// Everything.
    pub app: Arc<App>,
    /// What answers updates.
    pub schema: Handler<'static, Outcome>,
}

/// The routes.
pub fn routes(app: Arc<App>) -> Router {
    Router::new()
        .route("/telegram/{digest}", post(delivery))
        .route("/health", get(|| async { "ok\n" }))
        .route("/ready", get(ready))
        .route("/metrics", get(|State(shared): State<Shared>| async move { shared.app.metrics.render() }))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(Shared { app, schema: schema::schema() })
}

/// For people and alerts: what of all that the bot needs did not answer when it was last asked.
async fn ready(State(Shared { app, .. }): State<Shared>) -> Response {
    let store = app.store.ready().await;
    app.missing.note("chats table", store.is_ok());
    if let Err(trouble) = store {
        tracing::warn!("not ready: {}", trouble.chain());
    }
    match app.missing.line() {
        _ if app.is_stopping() => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response(),
        none if none.is_empty() => "ready\n".into_response(),
        missing => (StatusCode::SERVICE_UNAVAILABLE, format!("no answer from: {missing}\n")).into_response(),
    }
}

async fn delivery(
    State(shared): State<Shared>,
    Path(digest): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let identity = shared.app.identity.now();
    let given = headers.get(contract::webhook::SECRET_HEADER).map(HeaderValue::as_bytes).unwrap_or_default();
    if !same(given, identity.secret.as_bytes()) {
        metrics::counter!("polybot_deliveries_total", "outcome" => "forged").increment(1);
        shared.app.identity.doubt();
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let Ok(update) = update(&body) else {
        metrics::counter!("polybot_deliveries_total", "outcome" => "unreadable").increment(1);
        return StatusCode::BAD_REQUEST.into_response();
    };
    if identity.path.as_deref().is_some_and(|path| path.rsplit('/').next() != Some(&digest)) {
        // The webhook is of a certificate before this one, or after it: no reason to refuse, but worth to be seen.
        metrics::counter!("polybot_deliveries_of_other_path_total").increment(1);
    }
    // In a task of its own: a connection that breaks does not break off the work.
    match tokio::spawn(async move { take(&shared, update).await }).await {
        Ok(response) => response,
        Err(_) => later(Duration::from_secs(5)),
    }
}

/// An update without its entities: teloxide takes a whole message for an empty one for a single entity that is newer than
/// itself, and nothing here reads them.
fn update(body: &[u8]) -> serde_json::Result<Update> {
    fn without_entities(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(fields) => {
                fields.retain(|name, _| !matches!(name.as_str(), "entities" | "caption_entities"));
                fields.values_mut().for_each(without_entities);
            }
            serde_json::Value::Array(all) => all.iter_mut().for_each(without_entities),
            _ => {}
        }
    }
    let mut value = serde_json::from_slice(body)?;
    without_entities(&mut value);
    // By way of a text: teloxide reads an update from nothing else.
    serde_json::from_slice(&serde_json::to_vec(&value)?)
}

/// Compares without telling by the time where two strings differ.
fn same(given: &[u8], wanted: &[u8]) -> bool {
    let different = given.iter().zip(wanted).fold(0, |different, (a, b)| std::hint::black_box(different | (a ^ b)));
    given.len() == wanted.len() && different == 0
}

/// Handles an update, unless another instance does or did.
async fn take(shared: &Shared, update: Update) -> Response {
    let Shared { app, schema } = shared;
    let outcome = once(app, schema, update).await;
    let (name, response) = match outcome {
        Ok(Taken::Handled) => ("handled", StatusCode::OK.into_response()),
        Ok(Taken::Before) => ("repeated", StatusCode::OK.into_response()),
        Ok(Taken::InWork) => ("in work", later(Duration::from_secs(1))),
        Ok(Taken::Later(wait)) => ("later", later(wait)),
        Err(trouble) => {
            tracing::warn!("an update has to come again: {}", trouble.chain());
            ("failed", later(Duration::from_secs(2)))
        }
    };
    metrics::counter!("polybot_deliveries_total", "outcome" => name).increment(1);
    response
}

/// How it went with an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is answered.
    Handled,
    /// It was answered before.
    Before,
    /// Another is at work on it.
    InWork,
    /// It cannot be answered now.
    Later(Duration),
}

/// Handles an update once among all instances.
pub async fn once(app: &Arc<App>, schema: &Handler<'static, Outcome>, update: Update) -> Result<Taken, Trouble> {
    let id = update.id;
    if matches!(update.kind, UpdateKind::Error(_)) {
        // Of a kind, or with a field, that this program does not know: refusing it would block the chat's queue.
        return Ok(Taken::Handled);
    }
    let (tries, age) = match app.store.claim_update(id).await? {
        Claim::Ours { tries, age } => (tries, age),
        Claim::InWork => return Ok(Taken::InWork),
        Claim::Done => return Ok(Taken::Before),
    };
    if tries > 1 {
        // An instance died over it: what it sent last may be sent again.
        metrics::counter!("polybot_updates_repeated_total").increment(1);
    }
    let asked = Asked::of(&update);
    let started = std::time::Instant::now();
    let outcome = with_signs_of_life(app, id, schema::handle(schema, app, update)).await;
    metrics::histogram!("polybot_update_seconds").record(started.elapsed().as_secs_f64());
    if outcome.as_ref().is_err_and(Trouble::doubts_token) {
        app.identity.doubt();
    }
    if let Err(trouble) = &outcome {
        let again = match trouble.remedy() {
            Remedy::Nothing => None,
            // Telegram sends nothing else of the chat until this is done.
            Remedy::Again(wait) if age < app.config.timing.persistence => Some(wait),
            Remedy::GiveUp if tries < MAX_TRIES && matches!(trouble, Trouble::BrokenOff) => {
                Some(Duration::from_secs(1))
            }
            Remedy::Again(_) | Remedy::GiveUp => {
                tracing::error!("an update is given up: {}", trouble.chain());
                metrics::counter!("polybot_updates_given_up_total").increment(1);
                asked.give_up(app).await;
                None
            }
        };
        if let Some(wait) = again {
            tracing::warn!("an update has to come again: {}", trouble.chain());
            app.store.release_update(id).await?;
            return Ok(Taken::Later(wait));
        }
    }
    app.store.finish_update(id).await?;
    Ok(Taken::Handled)
}

/// Who is told where nothing comes of an update.
struct Asked {
    chat: Option<ChatId>,
    user: Option<User>,
    message: Option<MessageId>,
}

impl Asked {
    fn of(update: &Update) -> Self {
        let message = match &update.kind {
            UpdateKind::Message(message) | UpdateKind::EditedMessage(message) => Some(message.id),
            _ => None,
        };
        Self { chat: update.chat().map(|chat| chat.id), user: update.from().cloned(), message }
    }

    /// Tells that the bot failed, if that goes: it may be what did not go before.
    async fn give_up(&self, app: &Arc<App>) {
        let Some(chat) = self.chat else { return };
        let told = async { talk::give_up(&Talk::begin(app, chat, self.user.as_ref(), 0).await?, self.message).await };
        if let Err(trouble) = told.await {
            tracing::warn!("a chat cannot be told: {}", trouble.chain());
        }
    }
}

/// Renews the lease of an update while it is in work.
async fn with_signs_of_life(app: &Arc<App>, id: UpdateId, work: impl Future<Output = Outcome>) -> Outcome {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            outcome = &mut work => return outcome,
            () = tokio::time::sleep(app.store.lease() / 3) => {
                if let Err(trouble) = app.store.renew_update(id).await {
                    tracing::warn!("a lease cannot be renewed: {}", trouble.chain());
                }
            }
        }
    }
}

fn later(wait: Duration) -> Response {
    let mut response = StatusCode::SERVICE_UNAVAILABLE.into_response();
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
    response
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_the_same_secret_is_the_same() {
        assert!(super::same(b"abc", b"abc"));
        for other in [b"abd".as_slice(), b"ab", b"abcd", b""] {
            assert!(!super::same(other, b"abc"));
        }
    }

    /// As a newer Telegram than teloxide knows may send it, written by an admin without a name.
    #[test]
    fn an_entity_of_a_newer_telegram_and_a_hidden_admin_keep_nothing_back() {
        let body = serde_json::json!({ "update_id": 1, "message": {
            "message_id": 2, "date": 0, "text": "/help",
            "chat": { "id": -1_001_234_567_890_i64, "type": "supergroup", "title": "t" },
            "from": { "id": 1_087_968_824, "is_bot": true, "first_name": "Group" },
            "sender_chat": { "id": -1_001_234_567_890_i64, "type": "supergroup", "title": "t" },
            "entities": [{ "type": "bot_command", "offset": 0, "length": 5 }, { "type": "of_tomorrow", "offset": 0, "length": 5 }],
        } });
        let update = super::update(body.to_string().as_bytes()).unwrap();
        let teloxide::types::UpdateKind::Message(message) = update.kind else { panic!("{update:?}") };
        assert_eq!(message.text(), Some("/help"));
        assert!(!crate::talk::is_for_nobody(&message));
        assert!(super::update(b"{").is_err());
    }
}
