//! The user's side: what a person does in the app, and waiting for what the bot answers.

mod seen;

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use axum::body::Bytes;
use serde_json::json;

use super::error::ApiError;
use super::marks::user_text;
use super::message::{Author, Content, Message, Text};
use super::photo::PhotoError;
use super::state::{Chat, ChatKind, Draft, Shared, State, Tap, TapAnswer, unix_time};

/// Why a user cannot do that.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// There is no such bot, chat or message.
    #[error("there is no such {0}")]
    Unknown(&'static str),
    /// The message holds no file.
    #[error("the message holds no file, it says: {0}")]
    NoFile(String),
    /// The app would not send this.
    #[error("the app would not send this: {0}")]
    Refused(String),
    /// What was waited for did not come.
    #[error("{what} did not come within {waited:?}; the chat is:\n{transcript}")]
    Late {
        /// What was waited for.
        what: String,
        /// For how long.
        waited: Duration,
        /// The chat, a line a message.
        transcript: String,
    },
    /// The file could not be kept or read.
    #[error("the file could not be kept or read")]
    File(#[from] std::io::Error),
}

impl From<ApiError> for UserError {
    fn from(error: ApiError) -> Self {
        Self::Refused(error.description)
    }
}

impl From<PhotoError> for UserError {
    fn from(error: PhotoError) -> Self {
        match error {
            PhotoError::Io(error) => Self::File(error),
            other => Self::Refused(other.to_string()),
        }
    }
}

/// A file that a user sends.
#[derive(Debug, Clone)]
pub struct Attachment {
    /// File name.
    pub name: String,
    /// Content.
    pub bytes: Bytes,
}

/// One person in one chat with one bot. Clones share the place up to which `next_message` has read.
#[derive(Debug, Clone)]
pub struct User {
    shared: Arc<Shared>,
    bot: i64,
    id: i64,
    chat: i64,
    reply_to: Option<i64>,
    pub(super) read: Arc<AtomicI64>,
}

impl User {
    pub(super) fn new(shared: Arc<Shared>, bot: i64, id: i64, chat: i64) -> Self {
        Self { shared, bot, id, chat, reply_to: None, read: Arc::new(AtomicI64::new(0)) }
    }

    /// The user's id, which is also that of the private chat.
    pub fn id(&self) -> i64 {
        self.id
    }

    /// The chat's id.
    pub fn chat_id(&self) -> i64 {
        self.chat
    }

    /// The same person, whose app speaks this language (an IETF tag such as `he`).
    #[must_use]
    pub fn speaking(self, language: &str) -> Self {
        self.shared.change(|state| state.speak(self.id, language));
        self
    }

    /// The same person in a group.
    #[must_use]
    pub fn in_group(&self, chat: i64) -> Self {
        Self { chat, reply_to: None, read: Arc::new(AtomicI64::new(0)), ..self.clone() }
    }

    /// The same person, whose next message answers this one.
    #[must_use]
    pub fn replying_to(&self, message: &Message) -> Self {
        self.answering(Some(message.id))
    }

    pub(super) fn answering(&self, reply_to: Option<i64>) -> Self {
        Self { reply_to, ..self.clone() }
    }

    /// Sends a text.
    pub fn send_text(&self, text: &str) -> Result<Message, UserError> {
        if text.is_empty() || text.encode_utf16().count() > 4096 {
            return Err(UserError::Refused("a text has 1 to 4096 characters".into()));
        }
        self.post(Content::Text(user_text(text)), None)
    }

    /// Answers a message with a text.
    pub fn reply(&self, message: &Message, text: &str) -> Result<Message, UserError> {
        self.replying_to(message).send_text(text)
    }

    /// Sends a photo, which Telegram scales and compresses.
    pub async fn send_photo(&self, bytes: impl Into<Bytes>, caption: &str) -> Result<Message, UserError> {
        let content = self.photo_content(bytes.into(), caption).await?;
        self.post(content, None)
    }

    /// Sends 2-10 photos at once; the caption is the first one's.
    pub async fn send_album(&self, photos: Vec<Bytes>, caption: &str) -> Result<Vec<Message>, UserError> {
        let mut contents = Vec::new();
        for bytes in photos {
            contents.push(self.photo_content(bytes, if contents.is_empty() { caption } else { "" }).await?);
        }
        self.post_album(contents)
    }

    /// Sends a file as it is.
    pub async fn send_document(
        &self,
        name: &str,
        bytes: impl Into<Bytes>,
        caption: &str,
    ) -> Result<Message, UserError> {
        let content = self.document_content(Attachment { name: name.into(), bytes: bytes.into() }, caption).await?;
        self.post(content, None)
    }

    /// Sends 2-10 files at once; the caption is the last one's, as the apps do it for files.
    pub async fn send_documents(&self, files: Vec<Attachment>, caption: &str) -> Result<Vec<Message>, UserError> {
        let (count, mut contents) = (files.len(), Vec::new());
        for file in files {
            let last = contents.len() + 1 == count;
            contents.push(self.document_content(file, if last { caption } else { "" }).await?);
        }
        self.post_album(contents)
    }

    /// Sends a sticker.
    pub fn send_sticker(&self, emoji: &str) -> Result<Message, UserError> {
        let sticker = json!({
            "file_id": "sticker", "file_unique_id": "sticker", "type": "regular", "width": 512, "height": 512,
            "is_animated": false, "is_video": false, "emoji": emoji,
        });
        self.post(Content::Other("sticker", sticker), None)
    }

    /// Sends a voice message.
    pub fn send_voice(&self, seconds: u32) -> Result<Message, UserError> {
        let voice = json!({
            "file_id": "voice", "file_unique_id": "voice", "duration": seconds, "mime_type": "audio/ogg",
        });
        self.post(Content::Other("voice", voice), None)
    }

    /// Sends a place on the map.
    pub fn send_location(&self, latitude: f64, longitude: f64) -> Result<Message, UserError> {
        self.post(Content::Other("location", json!({ "latitude": latitude, "longitude": longitude })), None)
    }

    /// Edits an own text.
    pub fn edit_text(&self, message: i64, text: &str) -> Result<Message, UserError> {
        self.edit(message, |content| match content {
            Content::Text(old) => {
                *old = user_text(text);
                Some(())
            }
            _ => None,
        })
    }

    /// Edits the caption of an own photo or document.
    pub fn edit_caption(&self, message: i64, caption: &str) -> Result<Message, UserError> {
        self.edit(message, |content| match content {
            Content::Photo { caption: old, .. } | Content::Document { caption: old, .. } => {
                *old = user_text(caption);
                Some(())
            }
            _ => None,
        })
    }

    /// Taps the inline button with this label or data; the returned id names the tap for `tap_answer`.
    pub fn tap(&self, message: i64, button: &str) -> Result<String, UserError> {
        self.shared.change(|state| {
            let message = state.message(self.bot, self.chat, message).cloned().ok_or(UserError::Unknown("message"))?;
            let data = message.button(button).and_then(|button| button.callback_data.clone());
            let data = data.ok_or(UserError::Unknown("button"))?;
            let tap = state.new_tap(self.bot, Tap { user: self.id, chat: self.chat, answer: None })?;
            let query = json!({
                "id": tap,
                "from": state.users.get(&self.id).map(super::message::Profile::wire),
                "message": state.wire(self.bot, &message),
                "chat_instance": format!("{}", self.chat.unsigned_abs() + 1),
                "data": data,
            });
            state.push_update(self.bot, self.chat, "callback_query", query);
            Ok(tap)
        })
    }

    /// Waits until the bot answers a tap: until then the button shows a spinner.
    pub async fn tap_answer(&self, tap: &str) -> Result<TapAnswer, UserError> {
        self.wait("an answer to the tap", self.shared.options.deadline, |state| {
            state.bots.get(&self.bot)?.taps.get(tap)?.answer.clone()
        })
        .await
    }

    /// Deletes a message for both sides; Telegram tells a bot nothing of it.
    pub fn delete(&self, message: i64) -> Result<(), UserError> {
        self.shared.change(|state| {
            let chat = state.chat(self.bot, self.chat).map_err(|_| UserError::Unknown("chat"))?;
            chat.messages.remove(&message).ok_or(UserError::Unknown("message"))?;
            state.emit(self.bot, self.chat, "deleted", &json!({ "message_id": message }));
            Ok(())
        })
    }

    /// Blocks the bot, or in a group throws it out.
    pub fn block(&self) -> Result<(), UserError> {
        self.set_closed(true)
    }

    /// Unblocks the bot, or takes it into the group again.
    pub fn unblock(&self) -> Result<(), UserError> {
        self.set_closed(false)
    }

    fn set_closed(&self, closed: bool) -> Result<(), UserError> {
        self.shared.change(|state| {
            self.open(state)?;
            let chat = state.chat(self.bot, self.chat)?;
            if chat.closed == closed {
                return Ok(());
            }
            chat.closed = closed;
            let private = chat.kind == ChatKind::Private;
            let bot = state.bot(self.bot)?.wire();
            let out = json!({ "status": "kicked", "user": bot, "until_date": 0 });
            let member = json!({ "status": "member", "user": bot });
            let (old, new) = if closed { (member, out) } else { (out, member) };
            let change = json!({
                "chat": state.chat_wire(self.bot, self.chat),
                "from": state.users.get(&self.id).map(super::message::Profile::wire),
                "date": unix_time(),
                "old_chat_member": old,
                "new_chat_member": new,
            });
            state.push_update(self.bot, self.chat, "my_chat_member", change);
            state.emit(self.bot, self.chat, "chat", &json!({ "closed": closed, "private": private }));
            Ok(())
        })
    }

    async fn photo_content(&self, bytes: Bytes, caption: &str) -> Result<Content, UserError> {
        let (shared, bot) = (Arc::clone(&self.shared), self.bot);
        let sizes = blocking(move || shared.files.add_photo(bot, &bytes)).await??;
        Ok(Content::Photo { sizes, caption: user_caption(caption)? })
    }

    async fn document_content(&self, file: Attachment, caption: &str) -> Result<Content, UserError> {
        let (shared, bot) = (Arc::clone(&self.shared), self.bot);
        let name = file.name.clone();
        let added = blocking(move || shared.files.add_document(bot, &file.name, &file.bytes)).await??;
        let stored = self.shared.files.by_unique_id(&added.unique_id).ok_or(UserError::Unknown("file"))?;
        let caption = user_caption(caption)?;
        Ok(Content::Document { file: added, name, mime: stored.mime, thumbnail: stored.thumbnail, caption })
    }

    fn post_album(&self, contents: Vec<Content>) -> Result<Vec<Message>, UserError> {
        if !(2..=10).contains(&contents.len()) {
            return Err(UserError::Refused("an album has 2 to 10 parts".into()));
        }
        let album = self.shared.change(State::new_album);
        contents.into_iter().map(|content| self.post(content, Some(album.clone()))).collect()
    }

    fn post(&self, content: Content, album: Option<String>) -> Result<Message, UserError> {
        self.shared.change(|state| {
            self.open(state)?;
            if state.chat(self.bot, self.chat)?.closed {
                return Err(UserError::Refused("the bot is blocked".into()));
            }
            let draft = Draft { reply_to: self.reply_to, album, ..Draft::new(Author::User(self.id), content) };
            let message = state.post(self.bot, self.chat, draft)?;
            let wire = state.wire(self.bot, &message);
            state.push_update(self.bot, self.chat, "message", wire);
            Ok(message)
        })
    }

    /// The private chat begins with the first thing a user does in it.
    fn open(&self, state: &mut State) -> Result<(), UserError> {
        let bot = state.bot(self.bot).map_err(|_| UserError::Unknown("bot"))?;
        if self.chat == self.id {
            bot.chats.entry(self.chat).or_insert_with(|| Chat::new(self.chat, ChatKind::Private));
        } else if bot.chats.get(&self.chat).is_none_or(|chat| chat.migrated_to.is_some()) {
            return Err(UserError::Unknown("group"));
        }
        Ok(())
    }

    fn edit(&self, id: i64, edit: impl FnOnce(&mut Content) -> Option<()>) -> Result<Message, UserError> {
        self.shared.change(|state| {
            let message = state.message(self.bot, self.chat, id).ok_or(UserError::Unknown("message"))?;
            if message.author != Author::User(self.id) {
                return Err(UserError::Refused("only an own message can be edited".into()));
            }
            edit(&mut message.content).ok_or_else(|| UserError::Refused("this message has no such text".into()))?;
            let message = state.note_edit(self.bot, self.chat, id, true).ok_or(UserError::Unknown("message"))?;
            let wire = state.wire(self.bot, &message);
            state.push_update(self.bot, self.chat, "edited_message", wire);
            Ok(message)
        })
    }
}

fn user_caption(caption: &str) -> Result<Text, UserError> {
    if caption.encode_utf16().count() > 1024 {
        return Err(UserError::Refused("a caption has at most 1024 characters".into()));
    }
    Ok(user_text(caption))
}

/// Runs work that would hold up an async thread.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)
}
