//! Buttons: filters under a photo without a caption, settings, privacy. A button's data is a letter for what it does, and
//! its argument.

use super::photo;
use crate::{
    albums, app::Talk, caption::PREDICT, filters::FILTERS, privacy, source::Source, store::album::Wish, telegram::call,
    texts::Language, trouble::Trouble,
};
use teloxide::{
    prelude::{Request, Requester},
    types::{CallbackQuery, InlineKeyboardButton, InlineKeyboardMarkup},
};

/// Confidences to choose from.
const CONFIDENCES: [f32; 4] = [0.1, 0.25, 0.5, 0.75];
/// What the detector takes where nobody chose.
const DEFAULT_CONFIDENCE: f32 = 0.25;
const IN_A_ROW: usize = 3;

/// The filters that can be chosen for one photo. Resize has no button: it needs a number.
pub fn filters() -> InlineKeyboardMarkup {
    let names = FILTERS.iter().map(|entry| entry.name).filter(|name| !["concat", "resize"].contains(name));
    rows(names.chain([PREDICT]).map(|name| (name.to_owned(), format!("f:{name}"))))
}

/// The filters that can be chosen for an album.
pub fn album_filters(group: &str) -> InlineKeyboardMarkup {
    let chosen = ["concat", "concat vertical", PREDICT, "gray", "sepia", "segment"];
    rows(chosen.into_iter().map(|name| (name.to_owned(), format!("a:{group}:{name}"))))
}

/// The settings of a chat, with buttons that change them.
pub fn settings(talk: &Talk) -> (String, InlineKeyboardMarkup) {
    let confidence = talk.settings.confidence.unwrap_or(DEFAULT_CONFIDENCE);
    let percent = |confidence: f32| format!("{:.0}", confidence * 100.0);
    let arguments = [("language", talk.language.name().into()), ("confidence", percent(confidence).into())];
    let languages = Language::ALL.map(|l| InlineKeyboardButton::callback(l.name(), format!("l:{}", l.code())));
    let confidences =
        CONFIDENCES.map(|c| InlineKeyboardButton::callback(format!("{} %", percent(c)), format!("c:{c}")));
    let buttons = InlineKeyboardMarkup::new([languages.to_vec(), confidences.to_vec()]);
    (talk.language.text("settings", &arguments), buttons)
}

/// The button that deletes everything.
pub fn privacy(language: Language) -> InlineKeyboardMarkup {
    rows([(language.text("privacy-button", &[]), "p:delete".to_owned())].into_iter())
}

/// Answers a tap.
pub async fn tapped(mut talk: Talk, query: CallbackQuery) -> Result<(), Trouble> {
    // The button stops glowing, whatever comes.
    let bot = &talk.identity.bot;
    let answered = call("answerCallbackQuery", || bot.answer_callback_query(query.id.clone()).send()).await;
    if let Err(trouble) = answered {
        // A query that is some minutes old cannot be answered any more: the work is done all the same.
        tracing::debug!("{}", trouble.chain());
    }
    let (Some(data), Some(message)) = (query.data.as_deref(), query.message.as_ref()) else { return Ok(()) };
    let (kind, argument) = data.split_once(':').unwrap_or((data, ""));
    match kind {
        "f" => {
            let original = message.regular_message().and_then(|message| message.reply_to_message());
            let Some((original, source)) = original.and_then(|o| Some((o, Source::of_message(o)?))) else {
                return too_old(&talk).await;
            };
            let wish = photo::Wish { source, caption: argument.to_owned(), message: original.id };
            photo::answer(talk, wish).await
        }
        "a" => {
            let Some((group, caption)) = argument.split_once(':') else { return Ok(()) };
            let wish = Wish { caption: caption.to_owned(), run: talk.update, user: Some(query.from.id) };
            if albums::tapped(&talk, group, &wish).await? { Ok(()) } else { too_old(&talk).await }
        }
        "l" | "c" => {
            if let Some(language) = Language::of_code(argument).filter(|_| kind == "l") {
                talk.app.store.set_language(talk.chat, language).await?;
                talk.language = language;
            }
            if let Some(confidence) = argument.parse().ok().filter(|c| kind == "c" && CONFIDENCES.contains(c)) {
                talk.app.store.set_confidence(talk.chat, confidence).await?;
                talk.settings.confidence = Some(confidence);
            }
            let (text, buttons) = settings(&talk);
            talk.to().edit_text(message.id(), &text, Some(&buttons)).await
        }
        "p" => {
            privacy::forget(&talk).await?;
            talk.to().edit_text(message.id(), &talk.language.text("privacy-done", &[]), None).await
        }
        _ => Ok(()),
    }
}

async fn too_old(talk: &Talk) -> Result<(), Trouble> {
    talk.to().text(&talk.language.text("tap-old", &[]), None, None).await.map(drop)
}

fn rows(buttons: impl Iterator<Item = (String, String)>) -> InlineKeyboardMarkup {
    let buttons: Vec<_> = buttons.map(|(text, data)| InlineKeyboardButton::callback(text, data)).collect();
    InlineKeyboardMarkup::new(buttons.chunks(IN_A_ROW).map(<[_]>::to_vec))
}

#[cfg(test)]
mod tests {
    use super::*;
    use teloxide::types::InlineKeyboardButtonKind;

    #[test]
    fn data_of_buttons_fits_into_telegrams_64_bytes() {
        for markup in [filters(), album_filters("12345678901234567890"), privacy(Language::Hebrew)] {
            for button in markup.inline_keyboard.iter().flatten() {
                let InlineKeyboardButtonKind::CallbackData(data) = &button.kind else { panic!() };
                assert!(data.len() <= 64, "{data}");
            }
        }
    }

    #[test]
    fn every_button_is_a_caption_that_can_be_read() {
        for button in filters().inline_keyboard.iter().chain(&album_filters("1").inline_keyboard).flatten() {
            assert!(crate::caption::parse(&button.text).is_ok(), "{}", button.text);
        }
    }
}
