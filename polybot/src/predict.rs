//! Detection: a photo goes to the bucket and a job to the detector; the answer replaces the progress message.

use crate::{
    app::{App, Talk},
    caption::{Predict, Request},
    filters::Filter,
    picture::write::File,
    source::Source,
    store::predict::Waiting,
    studio::Wanted,
    talk::photo,
    texts::Language,
    trouble::Trouble,
    work::Work,
};
use contract::{Job, VERSION, prediction_id};
use std::{sync::Arc, time::SystemTime};
use teloxide::types::{ChatAction, ChatId, MessageId};

/// Asks the detector about a picture, filtered first where that is wanted. Asking the same again does no harm: the
/// prediction's id follows from the update and the `part`.
pub async fn ask(
    talk: &Talk,
    source: &Source,
    message: MessageId,
    filters: &[Filter],
    predict: Predict,
    part: u32,
) -> Result<(), Trouble> {
    let id = prediction_id(talk.identity.id, talk.update, part);
    let Some(reply) = progress(talk, &id, message).await? else { return Ok(()) };
    let busy = talk.to().busy(ChatAction::UploadPhoto);
    // What is not worked on here goes to the bucket as it came.
    let room = talk.app.studio.room_for(filters.is_empty().then_some(source)).await?;
    let picture = match filters {
        [] => original(talk, source).await?,
        filters => {
            let request = Request { each: filters.to_vec(), joined: None, predict: None };
            let file = photo::filtered(talk, source, request, Wanted::Photo).await?;
            file.map(|file| (bytes::Bytes::from(file.bytes), file.format))
        }
    };
    drop(busy);
    match picture {
        Ok((bytes, format)) => {
            send(talk, &id, message, reply, bytes, format, predict).await?;
            drop(room);
            Ok(())
        }
        Err(refusal) => {
            talk.to().edit_text(reply, &refusal, None).await?;
            talk.app.store.answered(talk.chat, &id).await.map(drop)
        }
    }
}

/// Asks the detector about a picture that was made here.
pub async fn ask_about(
    talk: &Talk,
    file: File,
    message: MessageId,
    predict: Predict,
    part: u32,
) -> Result<(), Trouble> {
    let id = prediction_id(talk.identity.id, talk.update, part);
    let Some(reply) = progress(talk, &id, message).await? else { return Ok(()) };
    send(talk, &id, message, reply, file.bytes.into(), file.format, predict).await
}

/// The progress message of a prediction; none where the job was sent before, or the user has left.
async fn progress(talk: &Talk, id: &str, message: MessageId) -> Result<Option<MessageId>, Trouble> {
    match talk.app.store.waiting(talk.chat, id).await? {
        Some(Waiting { sent: true, .. } | Waiting { answered: true, .. }) => return Ok(None),
        Some(Waiting { reply: Some(reply), .. }) => return Ok(Some(reply)),
        Some(_) | None => {}
    }
    let text = talk.language.text("working", &[]);
    let Some(reply) = talk.to().text(&text, Some(message), None).await? else { return Ok(None) };
    talk.app.store.shown(talk.chat, id, reply.id, talk.language).await?;
    Ok(Some(reply.id))
}

/// The picture as it came, if it is one that can be read.
async fn original(talk: &Talk, source: &Source) -> Result<Result<(bytes::Bytes, image::ImageFormat), String>, Trouble> {
    let bytes = match talk.fetch(source).await? {
        Ok(bytes) => bytes,
        Err(none) => return Ok(Err(photo::no_file(talk.language, none))),
    };
    if let Err(error) = crate::picture::read::size(&bytes) {
        return Ok(Err(talk.language.read_error(&error)));
    }
    let format = image::guess_format(&bytes).unwrap_or(image::ImageFormat::Jpeg);
    Ok(Ok((bytes, format)))
}

async fn send(
    talk: &Talk,
    id: &str,
    message: MessageId,
    reply: MessageId,
    bytes: bytes::Bytes,
    format: image::ImageFormat,
    predict: Predict,
) -> Result<(), Trouble> {
    let app = &talk.app;
    let ending = format.extensions_str().first().copied().unwrap_or("jpg");
    // A message may be asked about again, after an edit, before the first job has read its picture.
    let mark: String = id.chars().take(8).collect();
    let key = format!("{}/{}/{message}-{mark}.{ending}", app.config.image_prefix, talk.chat);
    let put = app.s3.put_object().bucket(&app.config.bucket).key(&key).content_type(format.to_mime_type());
    put.body(bytes.into()).send().await.map_err(Trouble::aws("PutObject"))?;
    let job = Job {
        v: VERSION,
        prediction_id: id.to_owned(),
        chat_id: talk.chat.0,
        message_id: message.0,
        reply_id: Some(reply.0),
        key,
        confidence: predict.confidence.or(talk.settings.confidence),
        sent_at: SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX)),
    };
    let send = app.sqs.send_message().queue_url(&app.config.identify_queue).message_body(job.to_json());
    send.send().await.map_err(Trouble::aws("SendMessage"))?;
    metrics::counter!("polybot_jobs_total").increment(1);
    let reminder = Work::Reminder { chat_id: talk.chat.0, prediction_id: id.to_owned() };
    app.later(&reminder, app.config.timing.patience).await?;
    app.store.sent(talk.chat, id).await
}

/// Tells the user where a job should have been answered and was not. The answer still replaces that message if it comes.
pub async fn remind(app: &Arc<App>, chat: i64, prediction: &str) -> Result<(), Trouble> {
    let chat = ChatId(chat);
    match app.store.waiting(chat, prediction).await? {
        Some(Waiting { answered: false, reply: Some(reply), language, .. }) => {
            let talk = Talk::begin(app, chat, None, 0).await?;
            let language = talk.settings.language.or(language).unwrap_or(Language::English);
            metrics::counter!("polybot_jobs_late_total").increment(1);
            talk.to().edit_text(reply, &language.text("predict-slow", &[]), None).await
        }
        _ => Ok(()),
    }
}
