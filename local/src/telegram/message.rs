//! Users, chats and messages as the stand-in keeps them, and as the Bot API shows them to a bot.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// A person who uses the chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Profile {
    /// Telegram's id of the user; also of the private chat with a bot.
    pub id: i64,
    /// First name.
    pub name: String,
    /// IETF language tag of the user's app.
    pub language: String,
}

impl Profile {
    pub(super) fn wire(&self) -> Value {
        json!({ "id": self.id, "is_bot": false, "first_name": self.name, "language_code": self.language })
    }
}

/// Who wrote a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Author {
    /// A person, by id.
    User(i64),
    /// The bot of the chat.
    Bot,
}

/// Text with its formatting, as `entities` of the Bot API.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Text {
    /// The plain text.
    pub text: String,
    /// Entities; offsets count UTF-16 code units.
    pub entities: Vec<Value>,
}

/// A file that the stand-in holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRef {
    /// What a bot passes to `getFile` or sends again.
    pub id: String,
    /// The same for all bots, and for ever.
    pub unique_id: String,
    /// Bytes.
    pub size: u64,
}

impl FileRef {
    fn wire(&self) -> Map<String, Value> {
        let mut wire = Map::new();
        wire.insert("file_id".into(), self.id.clone().into());
        wire.insert("file_unique_id".into(), self.unique_id.clone().into());
        wire.insert("file_size".into(), self.size.into());
        wire
    }
}

/// One of the sizes of a photo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhotoSize {
    /// The JPEG.
    pub file: FileRef,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
}

impl PhotoSize {
    fn wire(&self) -> Value {
        let mut wire = self.file.wire();
        wire.insert("width".into(), self.width.into());
        wire.insert("height".into(), self.height.into());
        Value::Object(wire)
    }
}

/// What a message holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// A text message.
    Text(Text),
    /// A photo, scaled and compressed by Telegram; smallest size first.
    Photo {
        /// Smallest first.
        sizes: Vec<PhotoSize>,
        /// Caption.
        caption: Text,
    },
    /// A file as it is.
    Document {
        /// The file.
        file: FileRef,
        /// Its name.
        name: String,
        /// Its media type.
        mime: String,
        /// A small picture of it, if it is one.
        thumbnail: Option<PhotoSize>,
        /// Caption.
        caption: Text,
    },
    /// A kind that bots of pictures do not take: `sticker`, `voice`, `location`, or a service message; as on the wire.
    Other(&'static str, Value),
}

impl Content {
    pub(super) fn words(&self) -> Option<&Text> {
        match self {
            Self::Text(text) => Some(text),
            Self::Photo { caption, .. } | Self::Document { caption, .. } => Some(caption),
            Self::Other(..) => None,
        }
    }
}

/// An inline button.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Button {
    /// The label.
    pub text: String,
    /// What the bot gets when it is tapped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback_data: Option<String>,
    /// What the app opens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// `reply_markup`.
#[derive(Debug, Clone, PartialEq)]
pub enum Markup {
    /// Buttons under the message.
    Inline(Vec<Vec<Button>>),
    /// A keyboard in place of the user's own, its removal, or a forced reply.
    Reply(Value),
}

/// One message of a chat.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Its number; larger is later.
    pub id: i64,
    /// The chat.
    pub chat: i64,
    /// Who wrote it.
    pub author: Author,
    /// Seconds since 1970.
    pub date: i64,
    /// When it was edited last.
    pub edited: Option<i64>,
    /// How often it was edited.
    pub edits: u32,
    /// The message that it answers.
    pub reply_to: Option<i64>,
    /// `media_group_id`, the same for all parts of an album.
    pub album: Option<String>,
    /// What it holds.
    pub content: Content,
    /// Buttons.
    pub markup: Option<Markup>,
    /// The bot's reactions.
    pub reactions: Vec<String>,
}

impl Message {
    /// The text, or the caption of a photo or document; "" without one.
    pub fn text(&self) -> &str {
        self.content.words().map_or("", |text| &text.text)
    }

    /// Whether the bot wrote it.
    pub fn is_from_bot(&self) -> bool {
        self.author == Author::Bot
    }

    /// The largest size, if it is a photo.
    pub fn photo(&self) -> Option<&PhotoSize> {
        match &self.content {
            Content::Photo { sizes, .. } => sizes.last(),
            _ => None,
        }
    }

    /// The file of a photo (its largest size) or document.
    pub fn file(&self) -> Option<&FileRef> {
        match &self.content {
            Content::Document { file, .. } => Some(file),
            _ => self.photo().map(|size| &size.file),
        }
    }

    /// Inline buttons, row by row.
    pub fn buttons(&self) -> &[Vec<Button>] {
        match &self.markup {
            Some(Markup::Inline(rows)) => rows,
            _ => &[],
        }
    }

    /// The button with this label or data.
    pub fn button(&self, label: &str) -> Option<&Button> {
        let mut buttons = self.buttons().iter().flatten();
        buttons.find(|button| button.text == label || button.callback_data.as_deref() == Some(label))
    }

    pub(super) fn content_wire(&self) -> Map<String, Value> {
        let mut wire = Map::new();
        let mut words = |text: &Text, name: &str, entities: &str| {
            if !text.text.is_empty() {
                wire.insert(name.into(), text.text.clone().into());
            }
            if !text.entities.is_empty() {
                wire.insert(entities.into(), text.entities.clone().into());
            }
        };
        match &self.content {
            Content::Text(text) => words(text, "text", "entities"),
            Content::Photo { sizes, caption } => {
                words(caption, "caption", "caption_entities");
                wire.insert("photo".into(), sizes.iter().map(PhotoSize::wire).collect());
            }
            Content::Document { file, name, mime, thumbnail, caption } => {
                words(caption, "caption", "caption_entities");
                let mut document = file.wire();
                document.insert("file_name".into(), name.clone().into());
                document.insert("mime_type".into(), mime.clone().into());
                if let Some(thumbnail) = thumbnail {
                    document.insert("thumbnail".into(), thumbnail.wire());
                }
                wire.insert("document".into(), document.into());
            }
            Content::Other(kind, value) => {
                wire.insert((*kind).into(), value.clone());
            }
        }
        wire
    }
}
