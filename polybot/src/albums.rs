//! Albums: photos that come one by one, to whichever instance, and are answered together after a quiet time.

use crate::{
    app::{App, Talk},
    caption::{self, CaptionError, Request},
    picture::write::{File, SentAs},
    predict,
    store::album::{Album, Part, Wish},
    studio::{Combined, MAX_PARTS, Wanted},
    talk::{
        button,
        photo::{self, Group},
    },
    texts::Language,
    trouble::Trouble,
    work::Work,
};
use std::{sync::Arc, time::Duration};
use teloxide::types::{ChatId, InputFile, InputMedia, InputMediaDocument, InputMediaPhoto, Message, MessageId};

/// A photo of an album came: it is written down, and the album is looked at after the quiet time.
pub async fn join(talk: Talk, message: Message, Group(group, source): Group) -> Result<(), Trouble> {
    let part = Part { message: message.id, source };
    let wish = wish(&talk, &message);
    if let Some(wish) = &wish {
        // An edit that changes something else is no other wish.
        talk.app.store.is_new_caption(talk.chat, message.id, &wish.caption, talk.update).await?;
    }
    let version = talk.app.store.join_album(talk.chat, &group, &part, wish.as_ref()).await?;
    look(&talk, &group, version, talk.app.config.timing.quiet).await
}

/// A caption of an album was changed: the album is answered again.
pub async fn edited(talk: Talk, message: Message, Group(group, _): Group) -> Result<(), Trouble> {
    let Some(wish) = wish(&talk, &message) else { return Ok(()) };
    let store = &talk.app.store;
    if store.is_new_caption(talk.chat, message.id, &wish.caption, talk.update).await?
        && let Some(version) = store.reopen_album(talk.chat, &group, &wish).await?
    {
        look(&talk, &group, version, Duration::ZERO).await?;
    }
    Ok(())
}

/// Answers an album again, for a button; false where it is gone.
pub async fn tapped(talk: &Talk, group: &str, wish: &Wish) -> Result<bool, Trouble> {
    match talk.app.store.copy_album(talk.chat, group, wish).await? {
        Some((own, version)) => look(talk, &own, version, Duration::ZERO).await.map(|()| true),
        None => Ok(false),
    }
}

fn wish(talk: &Talk, message: &Message) -> Option<Wish> {
    let caption = message.caption()?.to_owned();
    Some(Wish { caption, run: talk.update, user: message.from.as_ref().map(|user| user.id) })
}

async fn look(talk: &Talk, group: &str, version: u64, delay: Duration) -> Result<(), Trouble> {
    let work = Work::Album {
        chat_id: talk.chat.0,
        group: group.to_owned(),
        version,
        language: talk.language.code().to_owned(),
    };
    talk.app.later(&work, delay).await
}

/// Answers an album that may be whole.
pub async fn answer(app: &Arc<App>, chat: i64, group: &str, version: u64, language: &str) -> Result<(), Trouble> {
    let chat = ChatId(chat);
    let Some(album) = app.store.claim_album(chat, group, version).await? else {
        // A newer version has a message of its own; what another instance works on may still be left behind by it.
        return match app.store.waiting_album(chat, group).await? {
            Some(album) if album.version == version => Err(Trouble::TakenOver),
            _ => Ok(()),
        };
    };
    if album.tries > 1 {
        metrics::counter!("polybot_albums_repeated_total").increment(1);
    }
    let mut talk = Talk::begin(app, chat, None, album.wish.as_ref().map_or(0, |wish| wish.run)).await?;
    if talk.settings.language.is_none() {
        talk.language = Language::of_code(language).unwrap_or(talk.language);
    }
    let outcome = answer_claimed(&talk, group, &album).await;
    match &outcome {
        Ok(()) => app.store.finish_album(chat, group, version).await?,
        Err(Trouble::TakenOver) => return Ok(()),
        Err(_) => app.store.release_album(chat, group, version).await?,
    }
    outcome
}

async fn answer_claimed(talk: &Talk, group: &str, album: &Album) -> Result<(), Trouble> {
    let language = talk.language;
    let Some(first) = album.parts.first() else { return Ok(()) };
    let request = match album.wish.as_ref().map(|wish| caption::parse(&wish.caption)) {
        // In a group, people show each other their photos.
        None | Some(Err(_)) if !talk.chat.is_user() => return Ok(()),
        None | Some(Err(CaptionError::Empty)) => {
            let text = language.text("choose-album", &[("count", album.parts.len().into())]);
            let buttons = button::album_filters(group);
            return talk.to().text(&text, Some(first.message), Some(&buttons)).await.map(drop);
        }
        Some(Err(error)) => return photo::refuse(talk, first.message, language.caption_error(error)).await,
        Some(Ok(request)) => request,
    };
    match (&request.joined, request.predict) {
        (Some(_), _) if album.parts.len() < 2 => {
            let what = language.text("error-concat-one", &[]);
            photo::refuse(talk, first.message, language.error(what)).await
        }
        (Some(_), predict) => combine(talk, group, album, request, predict).await,
        (None, Some(predict)) => {
            for part in &album.parts {
                let number = part.message.0.cast_unsigned();
                predict::ask(talk, &part.source, part.message, &request.each, predict, number).await?;
                still_ours(talk, group, album).await?;
            }
            Ok(())
        }
        (None, None) => each(talk, group, album, &request).await,
    }
}

/// Puts the photos together and sends the one picture.
async fn combine(
    talk: &Talk,
    group: &str,
    album: &Album,
    request: Request,
    predict: Option<caption::Predict>,
) -> Result<(), Trouble> {
    let parts = &album.parts[..album.parts.len().min(MAX_PARTS)];
    let Some(first) = parts.first() else { return Ok(()) };
    let wanted = photo::wanted(&first.source);
    let busy = talk.to().busy(photo::action(wanted));
    let room = talk.app.studio.room_for(parts.iter().map(|part| &part.source)).await?;
    let files = futures::future::try_join_all(parts.iter().map(|part| talk.fetch(&part.source))).await?;
    let files = match files.into_iter().collect::<Result<Vec<_>, _>>() {
        Ok(files) => files,
        Err(none) => return photo::refuse(talk, first.message, photo::no_file(talk.language, none)).await,
    };
    let seed = u64::from(talk.update);
    let Combined { file, scaled, padded } = match talk.app.studio.combine(files, request, wanted, seed).await? {
        Ok(combined) => combined,
        Err(none) => return photo::refuse(talk, first.message, photo::no_result(talk.language, &none)).await,
    };
    drop(room);
    let notes = [
        scaled.then(|| talk.language.text("note-joined-scaled", &[])),
        padded.then(|| talk.language.text("note-joined-padded", &[])),
        (parts.len() < album.parts.len()).then(|| talk.language.text("note-more", &[("most", MAX_PARTS.into())])),
    ];
    let notes: Vec<String> = notes.into_iter().flatten().collect();
    still_ours(talk, group, album).await?;
    let sent = match predict {
        Some(predict) => predict::ask_about(talk, file, first.message, predict, 0).await,
        None => photo::send(talk, file, &first.source, Some(first.message), &notes.join("\n")).await,
    };
    drop(busy);
    sent
}

/// Filters each photo and sends them, as albums where they go together. What was sent before an earlier try broke off is not
/// sent again.
async fn each(talk: &Talk, group: &str, album: &Album, request: &Request) -> Result<(), Trouble> {
    let Some(first) = album.parts.first() else { return Ok(()) };
    let busy = talk.to().busy(photo::action(photo::wanted(&first.source)));
    let mut batch: Vec<(File, &Part)> = Vec::new();
    for part in album.parts.iter().filter(|part| !album.sent.contains(&part.message)) {
        let wanted = photo::wanted(&part.source);
        match photo::filtered(talk, &part.source, request.clone(), wanted).await? {
            Ok(file) => {
                if !fits(&batch, &file) {
                    send(talk, group, album, std::mem::take(&mut batch)).await?;
                }
                batch.push((file, part));
            }
            Err(refusal) => {
                photo::refuse(talk, part.message, refusal).await?;
                sent(talk, group, album, &[part.message]).await?;
            }
        }
        still_ours(talk, group, album).await?;
    }
    send(talk, group, album, batch).await?;
    drop(busy);
    Ok(())
}

/// The most bytes that are sent as one album: Telegram takes 50 MB in one call.
const ALBUM_BYTES: usize = 45_000_000;

/// Whether a file can go into one album with these. What needs words of its own goes alone.
fn fits(batch: &[(File, &Part)], file: &File) -> bool {
    let bytes: usize = batch.iter().map(|(file, _)| file.bytes.len()).sum();
    let alike = matches!(file.sent_as, SentAs::Photo | SentAs::Document)
        && batch.iter().all(|(other, _)| other.sent_as == file.sent_as);
    batch.is_empty() || (alike && batch.len() < MAX_PARTS && bytes + file.bytes.len() <= ALBUM_BYTES)
}

/// Sends results that go together.
async fn send(talk: &Talk, group: &str, album: &Album, mut batch: Vec<(File, &Part)>) -> Result<(), Trouble> {
    let parts: Vec<_> = batch.iter().map(|(_, part)| part.message).collect();
    let Some(&to) = parts.first() else { return Ok(()) };
    if let [_] = batch.as_slice()
        && let Some((file, part)) = batch.pop()
    {
        photo::send(talk, file, &part.source, Some(to), "").await?;
        return sent(talk, group, album, &parts).await;
    }
    let media = batch.into_iter().map(|(file, part)| {
        let input = InputFile::memory(file.bytes).file_name(photo::name_of(&part.source, file.format));
        match photo::wanted(&part.source) {
            Wanted::Photo => InputMedia::Photo(InputMediaPhoto::new(input)),
            Wanted::Document => InputMedia::Document(InputMediaDocument::new(input)),
        }
    });
    let messages = talk.to().album(media.collect(), to).await?;
    let kept: Vec<_> = messages.iter().filter_map(crate::telegram::kept).collect();
    photo::remember(talk, &kept).await;
    sent(talk, group, album, &parts).await
}

/// Writes down that photos are answered. They are: where that fails, going on is less than sending them twice.
async fn sent(talk: &Talk, group: &str, album: &Album, parts: &[MessageId]) -> Result<(), Trouble> {
    match talk.app.store.sent_of_album(talk.chat, group, album.version, parts).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Trouble::TakenOver),
        Err(trouble) => {
            tracing::warn!("an answer may be doubled: {}", trouble.chain());
            Ok(())
        }
    }
}

async fn still_ours(talk: &Talk, group: &str, album: &Album) -> Result<(), Trouble> {
    if talk.app.store.still_ours(talk.chat, group, album.version).await? { Ok(()) } else { Err(Trouble::TakenOver) }
}
