//! Albums: photos that come one by one, to whichever instance, and are answered together after a quiet time.

use crate::{
    app::{App, Talk},
    caption::{self, CaptionError, Request},
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
use teloxide::types::{ChatId, InputFile, InputMedia, InputMediaDocument, InputMediaPhoto, Message};

/// A photo of an album came: it is written down, and the album is looked at after the quiet time.
pub async fn join(talk: Talk, message: Message, Group(group, source): Group) -> Result<(), Trouble> {
    let part = Part { message: message.id, source };
    let wish = wish(&talk, &message);
    let version = talk.app.store.join_album(talk.chat, &group, &part, wish.as_ref()).await?;
    look(&talk, &group, version, talk.app.config.timing.quiet).await
}

/// A caption of an album was changed: the album is answered again.
pub async fn edited(talk: Talk, message: Message, Group(group, _): Group) -> Result<(), Trouble> {
    let Some(wish) = wish(&talk, &message) else { return Ok(()) };
    if talk.app.store.is_new_caption(talk.chat, message.id, &wish.caption, talk.update).await? {
        again(&talk, &group, &wish).await?;
    }
    Ok(())
}

/// Answers an album again, for another wish; false where it is gone.
pub async fn again(talk: &Talk, group: &str, wish: &Wish) -> Result<bool, Trouble> {
    match talk.app.store.reopen_album(talk.chat, group, wish).await? {
        Some(version) => look(talk, group, version, Duration::ZERO).await.map(|()| true),
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

/// Filters each photo and sends them as an album.
async fn each(talk: &Talk, group: &str, album: &Album, request: &Request) -> Result<(), Trouble> {
    let Some(first) = album.parts.first() else { return Ok(()) };
    let busy = talk.to().busy(photo::action(photo::wanted(&first.source)));
    let mut done = Vec::new();
    for part in &album.parts {
        let wanted = photo::wanted(&part.source);
        match photo::filtered(talk, &part.source, request.clone(), wanted).await? {
            Ok(file) => done.push((file, &part.source, part.message)),
            Err(refusal) => photo::refuse(talk, part.message, refusal).await?,
        }
        still_ours(talk, group, album).await?;
    }
    let alike = done.iter().all(|(file, source, _)| {
        use crate::picture::write::SentAs;
        match photo::wanted(source) {
            Wanted::Photo => file.sent_as == SentAs::Photo && photo::wanted(done[0].1) == Wanted::Photo,
            Wanted::Document => photo::wanted(done[0].1) == Wanted::Document,
        }
    });
    if done.len() < 2 || done.len() > MAX_PARTS || !alike {
        for (file, source, message) in done {
            photo::send(talk, file, source, Some(message), "").await?;
        }
        return Ok(());
    }
    let media = done.into_iter().map(|(file, source, _)| {
        let input = InputFile::memory(file.bytes).file_name(photo::name_of(source, file.format));
        match photo::wanted(source) {
            Wanted::Photo => InputMedia::Photo(InputMediaPhoto::new(input)),
            Wanted::Document => InputMedia::Document(InputMediaDocument::new(input)),
        }
    });
    let sent = talk.to().album(media.collect(), first.message).await?;
    drop(busy);
    let kept: Vec<_> = sent.iter().filter_map(crate::telegram::kept).collect();
    talk.app.store.push_undo(talk.chat, &kept).await
}

async fn still_ours(talk: &Talk, group: &str, album: &Album) -> Result<(), Trouble> {
    if talk.app.store.still_ours(talk.chat, group, album.version).await? { Ok(()) } else { Err(Trouble::TakenOver) }
}
