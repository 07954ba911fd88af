//! One photo, or one picture sent as a file, and what is wanted of it.

use super::button;
use crate::{
    app::Talk,
    caption::{self, CaptionError, Request},
    picture::write::{File, SentAs},
    predict,
    source::Source,
    store::chat::Kept,
    studio::{NoResult, Wanted},
    telegram::{self, NoFile},
    texts::Language,
    trouble::Trouble,
};
use teloxide::types::{ChatAction, InputFile, Message, MessageId};

/// The most megabytes that Telegram takes, as it says itself.
const MOST_MB: u32 = 50;

/// A picture and what is wanted of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Wish {
    /// The picture.
    pub source: Source,
    /// What the user wrote.
    pub caption: String,
    /// The message that is answered.
    pub message: MessageId,
}

/// The album that a message belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group(pub String, pub Source);

/// The album that a message's picture belongs to.
pub fn album_of(message: &Message) -> Option<Group> {
    Some(Group(message.media_group_id()?.0.clone(), Source::of_message(message)?))
}

/// The picture of a message.
pub fn of(message: &Message) -> Option<Wish> {
    let source = Source::of_message(message)?;
    Some(Wish { source, caption: message.caption().unwrap_or_default().to_owned(), message: message.id })
}

/// Answers a photo that came.
pub async fn came(talk: Talk, wish: Wish) -> Result<(), Trouble> {
    // An edit that changes something else is no other wish.
    talk.app.store.is_new_caption(talk.chat, wish.message, &wish.caption, talk.update).await?;
    answer(talk, wish).await
}

/// Answers an edited caption, once for each caption.
pub async fn edited(talk: Talk, wish: Wish) -> Result<(), Trouble> {
    if talk.app.store.is_new_caption(talk.chat, wish.message, &wish.caption, talk.update).await? {
        answer(talk, wish).await?;
    }
    Ok(())
}

/// Does what is wanted of a picture.
pub async fn answer(talk: Talk, wish: Wish) -> Result<(), Trouble> {
    let language = talk.language;
    let request = match caption::parse(&wish.caption) {
        Ok(request) => request,
        Err(CaptionError::Empty) => {
            let buttons = button::filters();
            return talk.to().text(&language.text("choose", &[]), Some(wish.message), Some(&buttons)).await.map(drop);
        }
        Err(error) => return refuse(&talk, wish.message, language.caption_error(error)).await,
    };
    if request.joined.is_some() {
        return refuse(&talk, wish.message, language.error(language.text("error-concat-one", &[]))).await;
    }
    if let Some(predict) = request.predict {
        return predict::ask(&talk, &wish.source, wish.message, &request.each, predict, 0).await;
    }
    let wanted = wanted(&wish.source);
    let busy = talk.to().busy(action(wanted));
    let file = match filtered(&talk, &wish.source, request, wanted).await? {
        Ok(file) => file,
        Err(refusal) => return refuse(&talk, wish.message, refusal).await,
    };
    let sent = send(&talk, file, &wish.source, Some(wish.message), "").await;
    drop(busy);
    sent
}

/// Fetches a picture and applies filters to it; an answer for the user where that is not possible.
pub async fn filtered(
    talk: &Talk,
    source: &Source,
    request: Request,
    wanted: Wanted,
) -> Result<Result<File, String>, Trouble> {
    let room = talk.app.studio.room_for([source]).await?;
    let bytes = match talk.fetch(source).await? {
        Ok(bytes) => bytes,
        Err(none) => return Ok(Err(no_file(talk.language, none))),
    };
    let result = talk.app.studio.filter(bytes, request.each, wanted, u64::from(talk.update)).await?;
    drop(room);
    Ok(result.map_err(|none| no_result(talk.language, &none)))
}

/// Sends a result, and remembers it for `/undo`.
pub async fn send(talk: &Talk, file: File, source: &Source, to: Option<MessageId>, notes: &str) -> Result<(), Trouble> {
    let note = match file.sent_as {
        SentAs::ScaledPhoto => talk.language.text("note-scaled", &[]),
        SentAs::ThinDocument => talk.language.text("note-thin", &[]),
        SentAs::LossyDocument => talk.language.text("note-lossy", &[("most", MOST_MB.into())]),
        SentAs::Photo | SentAs::Document => String::new(),
    };
    let notes: Vec<&str> = [notes, &note].into_iter().filter(|note| !note.is_empty()).collect();
    let as_photo = matches!(file.sent_as, SentAs::Photo | SentAs::ScaledPhoto);
    let input = InputFile::memory(file.bytes).file_name(name_of(source, file.format));
    let notes = notes.join("\n");
    let sent = if as_photo {
        talk.to().photo(input, &notes, to).await?
    } else {
        talk.to().document(input, &notes, to).await?
    };
    let stack: Vec<Kept> =
        [Some(source.kept.clone()), sent.as_ref().and_then(telegram::kept)].into_iter().flatten().collect();
    remember(talk, &stack).await;
    Ok(())
}

/// Remembers for `/undo` what was sent. It is sent: where this fails, doing everything again would send it twice.
pub async fn remember(talk: &Talk, files: &[Kept]) {
    if let Err(trouble) = talk.app.store.push_undo(talk.chat, files).await {
        tracing::warn!("/undo will not find a picture: {}", trouble.chain());
    }
}

/// Tells the user what is wrong.
pub async fn refuse(talk: &Talk, message: MessageId, why: String) -> Result<(), Trouble> {
    metrics::counter!("polybot_refusals_total").increment(1);
    talk.to().text(&why, Some(message), None).await.map(drop)
}

/// How the result of a picture goes back: as it came.
pub fn wanted(source: &Source) -> Wanted {
    match source.kept {
        Kept::Photo(_) => Wanted::Photo,
        Kept::Document(_) => Wanted::Document,
    }
}

/// What the chat shows meanwhile.
pub fn action(wanted: Wanted) -> ChatAction {
    match wanted {
        Wanted::Photo => ChatAction::UploadPhoto,
        Wanted::Document => ChatAction::UploadDocument,
    }
}

/// Why there is no file, in the user's words.
pub fn no_file(language: Language, none: NoFile) -> String {
    let most = (crate::picture::read::MAX_BYTES / 1_000_000).to_string();
    language.error(match none {
        NoFile::TooLarge => language.text("error-file-large", &[("most", most.into())]),
        NoFile::Gone => language.text("error-gone", &[]),
    })
}

/// Why there is no result, in the user's words.
pub fn no_result(language: Language, none: &NoResult) -> String {
    match none {
        NoResult::Read(error) => language.read_error(error),
        NoResult::TooLarge(error) => language.result_error(*error),
        NoResult::TooHeavy => language.error(language.text("error-result-heavy", &[("most", MOST_MB.into())])),
        NoResult::Slow => language.error(language.text("error-slow", &[])),
    }
}

/// The name of a result: the document's own with a mark, and the ending of its format.
pub fn name_of(source: &Source, format: image::ImageFormat) -> String {
    let ending = format.extensions_str().first().copied().unwrap_or("png");
    let stem = source.name.as_deref().map_or("picture", |name| name.rsplit_once('.').map_or(name, |(stem, _)| stem));
    format!("{stem}-filtered.{ending}")
}
