//! The methods that send.

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use super::{entities, markup, open_chat};
use crate::telegram::error::ApiError;
use crate::telegram::files::FileKind;
use crate::telegram::message::{Author, Content, FileRef, Text};
use crate::telegram::params::{Params, Upload};
use crate::telegram::photo::PhotoError;
use crate::telegram::state::{Draft, Shared, State};
use crate::telegram::user::blocking;

const CHAT_ACTIONS: [&str; 11] = [
    "typing",
    "upload_photo",
    "record_video",
    "upload_video",
    "record_voice",
    "upload_voice",
    "upload_document",
    "choose_sticker",
    "find_location",
    "record_video_note",
    "upload_video_note",
];

pub(super) fn message(shared: &Arc<Shared>, bot: i64, params: &Params) -> Result<Value, ApiError> {
    let text = params.text("text").ok_or_else(|| ApiError::bad("message text is empty"))?;
    let text = entities::text(&text, params.text("parse_mode").as_deref(), params.nested("entities")?)?;
    send(shared, bot, params, Content::Text(text))
}

pub(super) async fn photo(shared: &Arc<Shared>, bot: i64, params: &Params) -> Result<Value, ApiError> {
    may_write(shared, bot, params)?;
    let caption = caption(params)?;
    let source = Source::of(params, "photo")?;
    let content = photo_content(shared, bot, source, caption).await?;
    send(shared, bot, params, content)
}

pub(super) async fn document(shared: &Arc<Shared>, bot: i64, params: &Params) -> Result<Value, ApiError> {
    may_write(shared, bot, params)?;
    let caption = caption(params)?;
    let source = Source::of(params, "document")?;
    let content = document_content(shared, bot, source, caption).await?;
    send(shared, bot, params, content)
}

pub(super) async fn media_group(shared: &Arc<Shared>, bot: i64, params: &Params) -> Result<Value, ApiError> {
    may_write(shared, bot, params)?;
    let media: Vec<Value> = params.nested("media")?.unwrap_or_default();
    if media.len() < 2 {
        return Err(ApiError::bad("there are too few messages to send as an album"));
    }
    if media.len() > 10 {
        return Err(ApiError::bad("too many messages to send as an album"));
    }
    let mut contents = Vec::new();
    for item in &media {
        contents.push(input_media(shared, bot, params, item).await?);
    }
    let photos = contents.iter().filter(|content| matches!(content, Content::Photo { .. })).count();
    if photos != 0 && photos != contents.len() {
        return Err(ApiError::bad("document can't be mixed with other media types"));
    }
    shared.change(|state| {
        let album = state.new_album();
        let post = |content| post(state, bot, params, content, Some(album.clone()));
        contents.into_iter().map(post).collect::<Result<Vec<_>, _>>().map(Value::from)
    })
}

pub(super) fn chat_action(shared: &Arc<Shared>, bot: i64, params: &Params) -> Result<Value, ApiError> {
    let action = params.text("action").unwrap_or_default();
    if !CHAT_ACTIONS.contains(&action.as_str()) {
        return Err(ApiError::bad("wrong parameter action in request"));
    }
    shared.change(|state| {
        let chat = open_chat(state, bot, params)?;
        chat.action = Some((action.clone(), Instant::now()));
        let id = chat.id;
        state.emit(bot, id, "action", json!({ "action": action }));
        Ok(json!(true))
    })
}

/// Refuses before a picture is worked on.
fn may_write(shared: &Shared, bot: i64, params: &Params) -> Result<(), ApiError> {
    open_chat(&mut shared.state(), bot, params).map(drop)
}

fn send(shared: &Shared, bot: i64, params: &Params, content: Content) -> Result<Value, ApiError> {
    shared.change(|state| post(state, bot, params, content, None))
}

fn post(
    state: &mut State,
    bot: i64,
    params: &Params,
    content: Content,
    album: Option<String>,
) -> Result<Value, ApiError> {
    let markup = markup(params)?;
    let (wanted, optional) = reply_target(params)?;
    let chat = open_chat(state, bot, params)?;
    let reply_to = wanted.filter(|id| chat.messages.contains_key(id));
    if wanted.is_some() && reply_to.is_none() && !optional {
        return Err(ApiError::bad("message to be replied not found"));
    }
    let id = chat.id;
    let draft = Draft { reply_to, album, markup, ..Draft::new(Author::Bot, content) };
    let message = state.post(bot, id, draft)?;
    Ok(state.wire(bot, &message))
}

/// The message that the new one answers, and whether it may be gone.
fn reply_target(params: &Params) -> Result<(Option<i64>, bool), ApiError> {
    match params.nested::<Value>("reply_parameters")? {
        Some(reply) => Ok((reply["message_id"].as_i64(), reply["allow_sending_without_reply"] == true)),
        None => {
            let id = params.integer("reply_to_message_id")?.filter(|id| *id != 0);
            Ok((id, params.flag("allow_sending_without_reply")))
        }
    }
}

pub(super) fn caption(params: &Params) -> Result<Text, ApiError> {
    let text = params.text("caption").unwrap_or_default();
    entities::caption(&text, params.text("parse_mode").as_deref(), params.nested("caption_entities")?)
}

/// What `InputMediaPhoto` or `InputMediaDocument` describes.
pub(super) async fn input_media(
    shared: &Arc<Shared>,
    bot: i64,
    params: &Params,
    item: &Value,
) -> Result<Content, ApiError> {
    let style = item["caption_entities"].as_array().cloned();
    let caption = entities::caption(item["caption"].as_str().unwrap_or(""), item["parse_mode"].as_str(), style)?;
    let media = item["media"].as_str().filter(|media| !media.is_empty());
    let media = media.ok_or_else(|| ApiError::bad("can't parse InputMedia: media not found"))?;
    let source = Source::named(params, media)?;
    match item["type"].as_str() {
        Some("photo") => photo_content(shared, bot, source, caption).await,
        Some("document") => document_content(shared, bot, source, caption).await,
        _ => Err(ApiError::bad("can't parse InputMedia: type must be photo or document")),
    }
}

/// Where a file comes from.
pub(super) enum Source {
    New(Upload),
    Known(String),
}

impl Source {
    fn of(params: &Params, field: &str) -> Result<Self, ApiError> {
        if let Some(upload) = params.file(field) {
            return Ok(Self::New(upload.clone()));
        }
        let id = params.text(field).filter(|id| !id.is_empty());
        let id = id.ok_or_else(|| ApiError::bad(format_args!("there is no {field} in the request")))?;
        Self::named(params, &id)
    }

    fn named(params: &Params, name: &str) -> Result<Self, ApiError> {
        if name.starts_with("attach://") {
            let upload = params.attached(name).cloned();
            return upload.map(Self::New).ok_or_else(|| ApiError::bad("attached file not found"));
        }
        if name.starts_with("http://") || name.starts_with("https://") {
            return Err(ApiError::bad("failed to get HTTP URL content"));
        }
        Ok(Self::Known(name.to_owned()))
    }
}

impl From<PhotoError> for ApiError {
    fn from(error: PhotoError) -> Self {
        match error {
            PhotoError::Io(_) => Self::server(500),
            other => Self::bad(other),
        }
    }
}

fn wrong_kind(from: &str, to: &str) -> ApiError {
    ApiError::bad(format_args!("can't use file of type {from} as {to}"))
}

fn wrong_id() -> ApiError {
    ApiError::bad("wrong file identifier/HTTP URL specified")
}

async fn photo_content(shared: &Arc<Shared>, bot: i64, source: Source, caption: Text) -> Result<Content, ApiError> {
    let sizes = match source {
        Source::New(upload) if upload.bytes.is_empty() => return Err(ApiError::bad("file must be non-empty")),
        Source::New(upload) => {
            let shared = Arc::clone(shared);
            let work = blocking(move || shared.files.add_photo(bot, &upload.bytes));
            work.await.map_err(|_| ApiError::server(500))??
        }
        Source::Known(id) => match shared.files.by_id(bot, &id).ok_or_else(wrong_id)?.1 {
            stored if stored.kind == FileKind::Photo => stored.sizes,
            _ => return Err(wrong_kind("Document", "Photo")),
        },
    };
    Ok(Content::Photo { sizes, caption })
}

async fn document_content(shared: &Arc<Shared>, bot: i64, source: Source, caption: Text) -> Result<Content, ApiError> {
    let file = match source {
        Source::New(upload) if upload.bytes.is_empty() => return Err(ApiError::bad("file must be non-empty")),
        Source::New(upload) => {
            let shared = Arc::clone(shared);
            let work = blocking(move || shared.files.add_document(bot, &upload.name, &upload.bytes));
            work.await.and_then(|added| added).map_err(|_| ApiError::server(500))?
        }
        Source::Known(id) => match shared.files.by_id(bot, &id).ok_or_else(wrong_id)? {
            (unique_id, stored) if stored.kind == FileKind::Document => FileRef { id, unique_id, size: stored.size },
            _ => return Err(wrong_kind("Photo", "Document")),
        },
    };
    let stored = shared.files.by_unique_id(&file.unique_id).ok_or_else(wrong_id)?;
    Ok(Content::Document { file, name: stored.name, mime: stored.mime, thumbnail: stored.thumbnail, caption })
}
