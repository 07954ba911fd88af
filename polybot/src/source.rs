//! Where the bytes of a picture are: a photo or a document at Telegram, by its file id.

use crate::store::chat::Kept;
use teloxide::types::{Message, PhotoSize};

/// A picture at Telegram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// How it came, which is how the result goes back.
    pub kept: Kept,
    /// The name of a document.
    pub name: Option<String>,
    /// Its length in bytes, as far as Telegram says.
    pub bytes: u32,
}

impl Source {
    /// The picture of a message: its largest photo, or a document that may be a picture.
    pub fn of_message(message: &Message) -> Option<Self> {
        if let Some(photo) = message.photo().and_then(largest) {
            let kept = Kept::Photo(photo.file.id.0.clone());
            return Some(Self { kept, name: None, bytes: photo.file.size });
        }
        let document = message.document()?;
        let is_picture = match (&document.mime_type, &document.file_name) {
            (Some(mime), _) if mime.type_() == "image" => true,
            (_, Some(name)) => {
                let name = name.to_lowercase();
                [".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".heic", ".heif", ".avif"]
                    .iter()
                    .any(|e| name.ends_with(e))
            }
            _ => false,
        };
        let kept = Kept::Document(document.file.id.0.clone());
        is_picture.then(|| Self { kept, name: document.file_name.clone(), bytes: document.file.size })
    }

    /// Its file id.
    pub fn file_id(&self) -> &str {
        match &self.kept {
            Kept::Photo(id) | Kept::Document(id) => id,
        }
    }

    /// One line that [`Self::of`] reads.
    pub fn written(&self) -> String {
        let kind = if matches!(self.kept, Kept::Photo(_)) { "photo" } else { "document" };
        format!("{kind}\n{}\n{}\n{}", self.file_id(), self.bytes, self.name.as_deref().unwrap_or_default())
    }

    /// Reads what [`Self::written`] wrote.
    pub fn of(written: &str) -> Option<Self> {
        let mut fields = written.splitn(4, '\n');
        let kind = fields.next()?;
        let id = fields.next()?.to_owned();
        let bytes = fields.next()?.parse().ok()?;
        let name = fields.next().filter(|name| !name.is_empty()).map(str::to_owned);
        let kept = if kind == "photo" { Kept::Photo(id) } else { Kept::Document(id) };
        Some(Self { kept, name, bytes })
    }
}

fn largest(sizes: &[PhotoSize]) -> Option<&PhotoSize> {
    sizes.iter().max_by_key(|size| u64::from(size.width) * u64::from(size.height))
}
