//! The user's side over HTTP, under `/_local/`: for the chat page, for scripts, and for tests in other languages.
//!
//! | route | what it does |
//! |---|---|
//! | `POST users` `{id, name, language?}` | makes a person known |
//! | `GET users/ID` | profile, commands and all messages of the chat |
//! | `POST users/ID/text` `{text, reply_to?, chat?}` | sends a text |
//! | `POST users/ID/photos`, `documents` (form: files, `caption`, `reply_to`, `chat`) | one file, or 2-10 as an album |
//! | `POST users/ID/edit` `{message, text}` | edits an own text or caption |
//! | `POST users/ID/tap` `{message, button}` | taps the inline button of this label or data |
//! | `POST users/ID/delete` `{message}`, `blocked` `{blocked}` | deletes a message; blocks or unblocks the bot |
//! | `GET users/ID/next?after=MESSAGE&timeout=MS` | waits for the bot's next message |
//! | `POST groups` `{id, title}` | makes a group |
//! | `GET`, `POST`, `DELETE faults` | see [`super::Fault`]: `{"method": "sendPhoto", "fault": {"kind": "dropAfter"}}` |
//! | `POST updates` | `"hold"`, `{"release": "reversed"}`, `{"duplicate": 3}`, `{"redeliver": UPDATE}` |
//! | `GET calls?method=NAME`, `GET deliveries` | what was called and delivered |
//! | `GET events?chat=ID` | server-sent events |
//!
//! Only the first bot is reached from here. Other web sites must not drive it through a visitor's browser: what a
//! browser says of its origin is checked.

mod events;
mod page;
mod steer;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::{Multipart, Path, Query, Request, State as Extract};
use axum::http::header::{CONTENT_TYPE, HOST, ORIGIN};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::message::{Content, Message};
use super::state::{Chat, ChatKind, Shared, bot_id};
use super::user::{Attachment, User, UserError};

type Answer = Result<Json<Value>, UserError>;

pub(super) fn routes() -> Router<Arc<Shared>> {
    let control = Router::new()
        .route("/users", post(add_user))
        .route("/users/{id}", get(chat))
        .route("/users/{id}/text", post(send_text))
        .route("/users/{id}/photos", post(send_photos))
        .route("/users/{id}/documents", post(send_documents))
        .route("/users/{id}/edit", post(edit))
        .route("/users/{id}/tap", post(tap))
        .route("/users/{id}/delete", post(delete))
        .route("/users/{id}/blocked", post(set_blocked))
        .route("/users/{id}/next", get(next))
        .route("/groups", post(add_group))
        .route("/files/{unique}", get(file))
        .route("/faults", get(steer::faults).post(steer::add_fault).delete(steer::clear_faults))
        .route("/updates", post(steer::steer))
        .route("/calls", get(steer::calls))
        .route("/deliveries", get(steer::deliveries))
        .route("/events", get(events::stream));
    Router::new().merge(page::routes()).nest("/_local", control).layer(middleware::from_fn(own_origin_only))
}

async fn own_origin_only(request: Request, next: Next) -> Response {
    if is_own(request.headers()) {
        next.run(request).await
    } else {
        (StatusCode::FORBIDDEN, Json(json!({ "error": "only pages of this server may do that" }))).into_response()
    }
}

/// No browser, or a page of this server under a name that no foreign DNS can point here.
fn is_own(headers: &HeaderMap) -> bool {
    let value = |name| headers.get(name).and_then(|value: &axum::http::HeaderValue| value.to_str().ok());
    let host = value(HOST).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let local = name == "localhost" || name.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok();
    local && value(ORIGIN).is_none_or(|origin| origin.strip_prefix("http://") == Some(host))
}

impl IntoResponse for UserError {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Unknown(_) | Self::NoFile(_) => StatusCode::NOT_FOUND,
            Self::Refused(_) => StatusCode::BAD_REQUEST,
            Self::Late { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::File(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, Json(json!({ "error": self.to_string() }))).into_response()
    }
}

fn first_bot(shared: &Shared) -> i64 {
    bot_id(&shared.options.token).unwrap_or_default()
}

/// Where something is said, and what it answers.
#[derive(Debug, Default, Deserialize)]
struct Place {
    /// A group; else it is the private chat.
    chat: Option<i64>,
    reply_to: Option<i64>,
}

fn user_at(shared: &Arc<Shared>, id: i64, place: &Place) -> Result<User, UserError> {
    if !shared.state().users.contains_key(&id) {
        return Err(UserError::Unknown("user"));
    }
    let user = User::new(Arc::clone(shared), first_bot(shared), id, place.chat.unwrap_or(id));
    Ok(user.answering(place.reply_to))
}

fn shown(shared: &Shared, message: &Message) -> Value {
    shared.state().page_message(first_bot(shared), message)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewUser {
    id: i64,
    name: String,
    language: Option<String>,
}

async fn add_user(Extract(shared): Extract<Arc<Shared>>, Json(new): Json<NewUser>) -> Answer {
    if new.id <= 0 || new.name.trim().is_empty() {
        return Err(UserError::Refused("a user has a positive id and a name".into()));
    }
    shared.change(|state| state.know(new.id, &new.name));
    if let Some(language) = new.language {
        shared.change(|state| state.speak(new.id, &language));
    }
    Ok(Json(json!({ "id": new.id })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewGroup {
    id: i64,
    title: String,
}

async fn add_group(Extract(shared): Extract<Arc<Shared>>, Json(new): Json<NewGroup>) -> Answer {
    if new.id >= 0 {
        return Err(UserError::Refused("a group has a negative id".into()));
    }
    let kind = ChatKind::Group { title: new.title, supergroup: false };
    let bot = first_bot(&shared);
    shared.change(|state| state.bot(bot).map(|bot| bot.chats.insert(new.id, Chat::new(new.id, kind))))?;
    Ok(Json(json!({ "id": new.id })))
}

async fn chat(Extract(shared): Extract<Arc<Shared>>, Path(id): Path<i64>, Query(place): Query<Place>) -> Answer {
    let user = user_at(&shared, id, &place)?;
    let messages = user.messages();
    let bot = first_bot(&shared);
    let mut state = shared.state();
    let messages: Vec<Value> = messages.iter().map(|message| state.page_message(bot, message)).collect();
    let profile = json!(state.users.get(&id));
    let closed = state.chat(bot, user.chat_id()).is_ok_and(|chat| chat.closed);
    let bot = state.bot(bot)?;
    let commands = bot.texts.iter().find(|((subject, ..), _)| subject == "commands").map(|(_, commands)| commands);
    Ok(Json(json!({
        "user": profile,
        "bot": bot.wire(),
        "commands": commands,
        "messages": messages,
        "closed": closed,
    })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewText {
    text: String,
    chat: Option<i64>,
    reply_to: Option<i64>,
}

async fn send_text(Extract(shared): Extract<Arc<Shared>>, Path(id): Path<i64>, Json(new): Json<NewText>) -> Answer {
    let place = Place { chat: new.chat, reply_to: new.reply_to };
    let message = user_at(&shared, id, &place)?.send_text(&new.text)?;
    Ok(Json(shown(&shared, &message)))
}

/// Files, and the fields `caption`, `chat` and `reply_to`.
async fn upload(mut form: Multipart) -> Result<(Vec<Attachment>, String, Place), UserError> {
    let broken = |error: axum::extract::multipart::MultipartError| UserError::Refused(error.body_text());
    let (mut files, mut caption, mut place) = (Vec::new(), String::new(), Place::default());
    while let Some(field) = form.next_field().await.map_err(broken)? {
        let (name, file_name) = (field.name().unwrap_or_default().to_owned(), field.file_name().map(str::to_owned));
        if let Some(name) = file_name {
            files.push(Attachment { name, bytes: field.bytes().await.map_err(broken)? });
            continue;
        }
        let value = field.text().await.map_err(broken)?;
        let number = || value.parse().map(Some).map_err(|_| UserError::Refused(format!("{name} is no number")));
        match name.as_str() {
            "caption" => caption = value,
            "chat" => place.chat = number()?,
            "reply_to" => place.reply_to = number()?,
            _ => return Err(UserError::Refused(format!("there is no field {name}"))),
        }
    }
    Ok((files, caption, place))
}

async fn send_photos(Extract(shared): Extract<Arc<Shared>>, Path(id): Path<i64>, form: Multipart) -> Answer {
    let (mut files, caption, place) = upload(form).await?;
    let user = user_at(&shared, id, &place)?;
    let messages = match (files.len(), files.pop()) {
        (1, Some(file)) => vec![user.send_photo(file.bytes, &caption).await?],
        (_, last) => {
            let photos = files.into_iter().chain(last).map(|file| file.bytes).collect();
            user.send_album(photos, &caption).await?
        }
    };
    Ok(Json(messages.iter().map(|message| shown(&shared, message)).collect()))
}

async fn send_documents(Extract(shared): Extract<Arc<Shared>>, Path(id): Path<i64>, form: Multipart) -> Answer {
    let (mut files, caption, place) = upload(form).await?;
    let user = user_at(&shared, id, &place)?;
    let messages = match (files.len(), files.pop()) {
        (1, Some(file)) => vec![user.send_document(&file.name, file.bytes, &caption).await?],
        (_, last) => user.send_documents(files.into_iter().chain(last).collect(), &caption).await?,
    };
    Ok(Json(messages.iter().map(|message| shown(&shared, message)).collect()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Target {
    message: i64,
    chat: Option<i64>,
    /// The new text or caption.
    text: Option<String>,
    /// The button's label or data.
    button: Option<String>,
}

impl Target {
    fn user(&self, shared: &Arc<Shared>, id: i64) -> Result<User, UserError> {
        user_at(shared, id, &Place { chat: self.chat, reply_to: None })
    }
}

async fn edit(Extract(shared): Extract<Arc<Shared>>, Path(id): Path<i64>, Json(target): Json<Target>) -> Answer {
    let user = target.user(&shared, id)?;
    let text = target.text.unwrap_or_default();
    let old = user.message(target.message).ok_or(UserError::Unknown("message"))?;
    let message = match old.content {
        Content::Text(_) => user.edit_text(old.id, &text)?,
        _ => user.edit_caption(old.id, &text)?,
    };
    Ok(Json(shown(&shared, &message)))
}

async fn tap(Extract(shared): Extract<Arc<Shared>>, Path(id): Path<i64>, Json(target): Json<Target>) -> Answer {
    let tap = target.user(&shared, id)?.tap(target.message, target.button.as_deref().unwrap_or_default())?;
    Ok(Json(json!({ "tap": tap })))
}

async fn delete(Extract(shared): Extract<Arc<Shared>>, Path(id): Path<i64>, Json(target): Json<Target>) -> Answer {
    target.user(&shared, id)?.delete(target.message)?;
    Ok(Json(json!({})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Blocked {
    blocked: bool,
    chat: Option<i64>,
}

async fn set_blocked(Extract(shared): Extract<Arc<Shared>>, Path(id): Path<i64>, Json(wish): Json<Blocked>) -> Answer {
    let user = user_at(&shared, id, &Place { chat: wish.chat, reply_to: None })?;
    if wish.blocked {
        user.block()?;
    } else {
        user.unblock()?;
    }
    Ok(Json(json!({})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Awaited {
    chat: Option<i64>,
    /// Id of the newest message that the caller knows.
    #[serde(default)]
    after: i64,
    /// Milliseconds.
    #[serde(default = "ten_seconds")]
    timeout: u64,
}

fn ten_seconds() -> u64 {
    10_000
}

async fn next(Extract(shared): Extract<Arc<Shared>>, Path(id): Path<i64>, Query(awaited): Query<Awaited>) -> Answer {
    let user = user_at(&shared, id, &Place { chat: awaited.chat, reply_to: None })?;
    user.read.store(awaited.after, Ordering::SeqCst);
    let message = user.next_message(Duration::from_millis(awaited.timeout)).await?;
    Ok(Json(shown(&shared, &message)))
}

async fn file(Extract(shared): Extract<Arc<Shared>>, Path(unique): Path<String>) -> Result<Response, UserError> {
    let stored = shared.files.by_unique_id(&unique).ok_or(UserError::Unknown("file"))?;
    let bytes = shared.files.read(&unique).await?;
    Ok(([(CONTENT_TYPE, stored.mime.as_str()), page::NO_SNIFFING], bytes).into_response())
}
