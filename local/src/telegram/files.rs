//! Files of photos and documents, kept on disk in a folder that goes with the server.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use axum::body::Bytes;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::message::{FileRef, PhotoSize};
use super::photo::{self, PhotoError};

/// `getFile` refuses what is larger.
pub(super) const DOWNLOAD_LIMIT: u64 = 20 * 1024 * 1024;

/// What a file was sent as; a `file_id` works for its own kind only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileKind {
    Photo,
    Document,
}

/// A file that was sent once.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub kind: FileKind,
    pub name: String,
    pub mime: String,
    pub size: u64,
    /// `file_path` of `getFile`.
    pub path: String,
    /// All sizes, if it is a photo.
    pub sizes: Vec<PhotoSize>,
    /// A small picture, if it is a document that shows one.
    pub thumbnail: Option<PhotoSize>,
}

/// All files.
#[derive(Debug)]
pub(super) struct Files {
    folder: tempfile::TempDir,
    stored: Mutex<HashMap<String, Stored>>,
}

impl Files {
    pub(super) fn new() -> std::io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("local-telegram-").tempdir()?;
        Ok(Self { folder, stored: Mutex::default() })
    }

    fn table(&self) -> std::sync::MutexGuard<'_, HashMap<String, Stored>> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, bytes: &[u8], mut stored: Stored) -> std::io::Result<(String, u64)> {
        let mut table = self.table();
        let number = table.len() + 1;
        let (letter, place) = match stored.kind {
            FileKind::Photo => ("AQAD", "photos"),
            FileKind::Document => ("AgAD", "documents"),
        };
        let unique = format!("{letter}{}", URL_SAFE_NO_PAD.encode(format!("{number:06}")));
        let ending = stored.name.rsplit_once('.').map_or("bin", |(_, ending)| ending).to_lowercase();
        stored.path = format!("{place}/file_{number}.{ending}");
        stored.size = bytes.len() as u64;
        std::fs::write(self.folder.path().join(&unique), bytes)?;
        table.insert(unique.clone(), stored);
        Ok((unique, bytes.len() as u64))
    }

    /// Scales a picture as Telegram does and keeps each size. Takes a while: not for an async thread.
    pub(super) fn add_photo(&self, bot: i64, bytes: &[u8]) -> Result<Vec<PhotoSize>, PhotoError> {
        let mut sizes = Vec::new();
        for scaled in photo::scale(bytes)? {
            sizes.push(self.add_size(bot, scaled)?);
        }
        if let Some(largest) = sizes.last() {
            let mut table = self.table();
            for size in &sizes {
                if let Some(stored) = table.get_mut(&size.file.unique_id) {
                    stored.sizes.clone_from(&sizes);
                }
            }
            tracing::trace!(width = largest.width, height = largest.height, "photo kept");
        }
        Ok(sizes)
    }

    fn add_size(&self, bot: i64, scaled: photo::Scaled) -> Result<PhotoSize, PhotoError> {
        let (unique_id, size) = self.add(&scaled.jpeg, blank(FileKind::Photo, "photo.jpg", "image/jpeg"))?;
        let file = FileRef { id: file_id(bot, &unique_id), unique_id, size };
        Ok(PhotoSize { file, width: scaled.width, height: scaled.height })
    }

    /// Keeps a file as it is, with a small picture if it is one. Takes a while: not for an async thread.
    pub(super) fn add_document(&self, bot: i64, name: &str, bytes: &[u8]) -> std::io::Result<FileRef> {
        let mut stored = blank(FileKind::Document, name, mime_of(name));
        if stored.mime.starts_with("image/") {
            let small = photo::thumbnail(bytes).ok();
            stored.thumbnail = small.and_then(|small| self.add_size(bot, small).ok());
        }
        let (unique_id, size) = self.add(bytes, stored)?;
        Ok(FileRef { id: file_id(bot, &unique_id), unique_id, size })
    }

    /// The file that a bot's `file_id` stands for.
    pub(super) fn by_id(&self, bot: i64, id: &str) -> Option<(String, Stored)> {
        let decoded = URL_SAFE_NO_PAD.decode(id).ok()?;
        let decoded = std::str::from_utf8(&decoded).ok()?;
        let (owner, unique) = decoded.strip_prefix("file:")?.split_once(':')?;
        (owner == bot.to_string()).then(|| self.by_unique_id(unique).map(|stored| (unique.to_owned(), stored)))?
    }

    pub(super) fn by_unique_id(&self, unique: &str) -> Option<Stored> {
        self.table().get(unique).cloned()
    }

    /// The file at a `file_path`.
    pub(super) fn by_path(&self, path: &str) -> Option<String> {
        self.table().iter().find(|(_, stored)| stored.path == path).map(|(unique, _)| unique.clone())
    }

    /// Where the content lies.
    pub(super) fn location(&self, unique: &str) -> PathBuf {
        self.folder.path().join(unique)
    }

    /// The content.
    pub(super) async fn read(&self, unique: &str) -> std::io::Result<Bytes> {
        tokio::fs::read(self.location(unique)).await.map(Bytes::from)
    }
}

fn blank(kind: FileKind, name: &str, mime: &str) -> Stored {
    Stored {
        kind,
        name: name.to_owned(),
        mime: mime.to_owned(),
        size: 0,
        path: String::new(),
        sizes: Vec::new(),
        thumbnail: None,
    }
}

/// A `file_id`: each bot has its own.
pub(super) fn file_id(bot: i64, unique: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("file:{bot}:{unique}"))
}

/// Media type by the ending of a name.
fn mime_of(name: &str) -> &'static str {
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending).to_lowercase();
    match ending.as_str() {
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "bmp" => "image/bmp",
        "heic" => "image/heic",
        "heif" => "image/heif",
        "tif" | "tiff" => "image/tiff",
        "txt" => "text/plain",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        "json" => "application/json",
        "mp4" => "video/mp4",
        _ => "application/octet-stream",
    }
}
