//! Answers of the detector: each replaces the progress message of its photo, and is deleted from its queue after that.

use crate::{
    app::{App, Talk},
    picture::{read, write},
    store::Item,
    studio::Wanted,
    texts::Language,
    trouble::Trouble,
    work::Consumer,
};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_s3::{error::SdkError, operation::get_object::GetObjectError};
use bytes::Bytes;
use contract::{
    Answer, Label, Outcome, Prediction,
    record::{LABELS, ORIGINAL_IMG_PATH, PREDICTED_IMG_PATH, PREDICTION_ID},
    result::Failure,
};
use futures::FutureExt;
use std::sync::Arc;
use teloxide::types::{ChatId, InputFile, MessageId};

/// The queue of the detector's answers.
pub const CONSUMER: Consumer = Consumer {
    name: "results",
    handle: |app, body| {
        async move {
            let answer = Answer::parse(&body).map_err(|_| Trouble::Unreadable("a message of the results queue"))?;
            show(&app, &answer).await
        }
        .boxed()
    },
    give_up: |app, body| async move { give_up(&app, &body).await }.boxed(),
};

async fn show(app: &Arc<App>, answer: &Answer) -> Result<(), Trouble> {
    if answer.chat_id == contract::job::NOBODY {
        metrics::counter!("polybot_results_of_load_tests_total").increment(1);
        return Ok(());
    }
    let (chat, id) = (ChatId(answer.chat_id), &answer.prediction_id);
    if !app.store.claim_answer(chat, id).await? {
        return match app.store.waiting(chat, id).await? {
            // Another instance shows it, or died over it: the message has to come again.
            Some(waiting) if !waiting.answered => Err(Trouble::TakenOver),
            _ => {
                metrics::counter!("polybot_results_repeated_total").increment(1);
                Ok(())
            }
        };
    }
    let shown = show_claimed(app, chat, answer).await;
    if shown.is_err() {
        app.store.release_answer(chat, id).await?;
    }
    shown
}

/// The chat of an answer, in the language of whoever asked, and the progress message that it replaces.
async fn begin(app: &Arc<App>, answer: &Answer) -> Result<(Talk, Option<MessageId>), Trouble> {
    let chat = ChatId(answer.chat_id);
    let waiting = app.store.waiting(chat, &answer.prediction_id).await?;
    let mut talk = Talk::begin(app, chat, None, 0).await?;
    if talk.settings.language.is_none() {
        talk.language = waiting.as_ref().and_then(|waiting| waiting.language).unwrap_or(talk.language);
    }
    let reply = answer.reply_id.map(MessageId).or(waiting.and_then(|waiting| waiting.reply));
    Ok((talk, reply))
}

/// Tells the user that an answer cannot be shown. If it can in the end, it takes the place of that.
async fn give_up(app: &Arc<App>, body: &str) -> Result<(), Trouble> {
    let Ok(answer) = Answer::parse(body) else { return Ok(()) };
    if answer.chat_id == contract::job::NOBODY {
        return Ok(());
    }
    let (talk, reply) = begin(app, &answer).await?;
    let text = talk.language.error(talk.language.text("error-internal", &[]));
    match reply {
        Some(reply) => talk.to().edit_text(reply, &text, None).await,
        None => talk.to().text(&text, to(&answer), None).await.map(drop),
    }
}

async fn show_claimed(app: &Arc<App>, chat: ChatId, answer: &Answer) -> Result<(), Trouble> {
    let (talk, reply) = begin(app, answer).await?;
    let said = match &answer.outcome {
        Outcome::Done => Said::found(&talk, &answer.prediction_id).await?,
        Outcome::NothingFound => Said::Text(talk.language.text("predict-nothing", &[])),
        Outcome::Failed(failure) => Said::Text(talk.language.error(failed(talk.language, *failure))),
    };
    if let Some(reply) = reply {
        // An edit can be repeated: it is done first, and written down after that.
        match said {
            Said::Photo(photo, caption) => talk.to().edit_photo(reply, photo, &caption).await?,
            Said::Text(text) => talk.to().edit_text(reply, &text, None).await?,
        }
        return app.store.answered(chat, &answer.prediction_id).await.map(drop);
    }
    // A new message cannot: it is written down first.
    if !app.store.answered(chat, &answer.prediction_id).await? {
        return Ok(());
    }
    match said {
        Said::Photo(photo, caption) => talk.to().photo(InputFile::memory(photo), &caption, to(answer)).await.map(drop),
        Said::Text(text) => talk.to().text(&text, to(answer), None).await.map(drop),
    }
}

/// The message that a job was about; a job of the system before this one does not say.
fn to(answer: &Answer) -> Option<MessageId> {
    (answer.message_id != 0).then_some(MessageId(answer.message_id))
}

enum Said {
    Photo(Bytes, String),
    Text(String),
}

impl Said {
    async fn found(talk: &Talk, id: &str) -> Result<Self, Trouble> {
        let app = &talk.app;
        let get = app.dynamodb.get_item().table_name(&app.config.predictions_table).consistent_read(true);
        let get = get.key(PREDICTION_ID, AttributeValue::S(id.to_owned()));
        let item = get.send().await.map_err(Trouble::aws("GetItem"))?.item;
        let Some(prediction) = item.as_ref().and_then(record) else {
            return Ok(Self::lost(talk, "the record of a prediction is missing, or cannot be read"));
        };
        if prediction.labels.is_empty() {
            return Ok(Self::Text(talk.language.text("predict-nothing", &[])));
        }
        let key = &prediction.predicted_img_path;
        let object = match app.s3.get_object().bucket(&app.config.bucket).key(key).send().await {
            Ok(object) => object,
            Err(SdkError::ServiceError(e)) if matches!(e.err(), GetObjectError::NoSuchKey(_)) => {
                return Ok(Self::lost(talk, "an annotated picture is missing"));
            }
            Err(error) => return Err(Trouble::aws("GetObject")(error)),
        };
        let bytes = object.body.collect().await.map_err(Trouble::aws("GetObject"))?.into_bytes();
        Ok(match fitting(talk, bytes).await? {
            Some(photo) => Self::Photo(photo, summary(talk.language, &prediction.labels)),
            None => Self::lost(talk, "an annotated picture cannot be read"),
        })
    }

    /// What the detector wrote is not there: another try would not find it either.
    fn lost(talk: &Talk, what: &str) -> Self {
        tracing::error!("an answer of the detector cannot be shown: {what}");
        metrics::counter!("polybot_results_lost_total").increment(1);
        Self::Text(talk.language.error(failed(talk.language, Failure::Internal)))
    }
}

/// The annotated picture within the limits of a photo; none where it cannot be read.
async fn fitting(talk: &Talk, bytes: Bytes) -> Result<Option<Bytes>, Trouble> {
    let fits = bytes.len() <= write::PHOTO_BYTES
        && read::size(&bytes).is_ok_and(|(width, height)| (width + height) as usize <= write::PHOTO_SIDES);
    if fits {
        return Ok(Some(bytes));
    }
    Ok(talk.app.studio.filter(bytes, Vec::new(), Wanted::Photo, 0).await?.ok().map(|file| file.bytes.into()))
}

/// What was found, class by class, the surest first.
pub fn summary(language: Language, labels: &[Label]) -> String {
    let mut classes: Vec<(&str, Vec<f32>)> = Vec::new();
    for label in labels {
        match classes.iter_mut().find(|(class, _)| *class == label.class) {
            Some((_, scores)) => scores.push(label.score),
            None => classes.push((&label.class, vec![label.score])),
        }
    }
    for (_, scores) in &mut classes {
        scores.sort_by(|a, b| b.total_cmp(a));
    }
    classes.sort_by(|(_, a), (_, b)| b[0].total_cmp(&a[0]));
    let lines: Vec<String> = classes
        .iter()
        .map(|(class, scores)| {
            const SHOWN: usize = 5;
            let mut shown: Vec<String> = scores.iter().take(SHOWN).map(|s| format!("{:.0} %", s * 100.0)).collect();
            if scores.len() > SHOWN {
                shown.push("…".into());
            }
            let arguments = [
                ("class", language.class(class).into()),
                ("count", scores.len().to_string().into()),
                ("scores", shown.join(", ").into()),
            ];
            language.text("predict-line", &arguments)
        })
        .collect();
    // Not as an argument: an argument is isolated, and what isolates ends with its line.
    format!("{}\n{}", language.text("predict-found", &[]), lines.join("\n"))
}

fn failed(language: Language, failure: Failure) -> String {
    let key = match failure {
        Failure::NoObject => "predict-failed-object",
        Failure::NoImage => "predict-failed-image",
        Failure::TooLarge => "predict-failed-large",
        Failure::Internal | Failure::Unknown => "predict-failed-internal",
    };
    language.text(key, &[])
}

/// The parts of a prediction that a user sees, and the objects that belong to it.
pub fn record(item: &Item) -> Option<Prediction> {
    let text = |name: &str| item.get(name)?.as_s().ok().cloned();
    let number = |map: &Item, name: &str| map.get(name)?.as_n().ok()?.parse::<f32>().ok();
    let labels = item.get(LABELS)?.as_l().ok()?.iter().map(|label| {
        let label = label.as_m().ok()?;
        Some(Label {
            class: label.get("class")?.as_s().ok()?.clone(),
            cx: number(label, "cx")?,
            cy: number(label, "cy")?,
            width: number(label, "width")?,
            height: number(label, "height")?,
            score: number(label, "score")?,
        })
    });
    Some(Prediction {
        prediction_id: text(PREDICTION_ID)?,
        chat_id: item.get(contract::record::CHAT_ID)?.as_n().ok()?.parse().ok()?,
        original_img_path: text(ORIGINAL_IMG_PATH)?,
        predicted_img_path: text(PREDICTED_IMG_PATH)?,
        labels: labels.collect::<Option<_>>()?,
        time: item.get(contract::record::TIME).and_then(|t| t.as_n().ok()?.parse().ok()).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(class: &str, score: f32) -> Label {
        Label { class: class.into(), cx: 0.5, cy: 0.5, width: 0.1, height: 0.1, score }
    }

    #[test]
    fn a_summary_counts_classes_and_shows_scores_in_the_users_language() {
        let labels = [label("dog", 0.8), label("traffic light", 0.95), label("dog", 0.91)];
        let plain = |language| summary(language, &labels).replace(['\u{2068}', '\u{2069}', '\u{200f}'], "");
        assert_eq!(plain(Language::English), "Detected objects:\nTraffic light: 1 (95 %)\nDog: 2 (91 %, 80 %)");
        assert_eq!(plain(Language::Hebrew), "עצמים שנמצאו:\nרמזור: 1 (95 %)\nכלב: 2 (91 %, 80 %)");
    }

    #[test]
    fn a_thousand_boxes_fit_into_a_caption() {
        let labels: Vec<Label> = (0..1000).map(|_| label("person", 0.5)).collect();
        assert!(summary(Language::English, &labels).encode_utf16().count() < 200);
    }
}
