//! Texts: echoed, unless they ask for help or apply a filter to the photo that they reply to.

use super::photo::Wish;
use crate::{
    app::Talk,
    caption::{self, CaptionError},
    source::Source,
    trouble::Trouble,
};
use teloxide::types::Message;

/// A text that replies to a picture and looks like a filter.
pub fn filter_of_reply(message: &Message) -> Option<Wish> {
    let text = message.text()?;
    let replied = message.reply_to_message()?;
    let source = Source::of_message(replied)?;
    // Whatever is said about a picture is a wish, if it begins like one; the rest is talk.
    match caption::parse(text) {
        Ok(_)
        | Err(
            CaptionError::BadArgument { .. }
            | CaptionError::UnknownWord { nearest: Some(_), .. }
            | CaptionError::PredictNotLast
            | CaptionError::ConcatTwice,
        ) => {}
        // A long sentence has commas, too.
        Err(CaptionError::TooManySteps) if caption::parse(text.split(',').next()?).is_ok() => {}
        Err(_) => return None,
    }
    Some(Wish { source, caption: text.to_owned(), message: message.id })
}

/// Says what the user said.
pub async fn echo(talk: Talk, message: Message) -> Result<(), Trouble> {
    let said = message.text().unwrap_or_default();
    let reply_to = message.reply_to_message().map(|_| message.id);
    let (key, argument) = match caption::parse(said) {
        Ok(_) if reply_to.is_none() => ("filter-needs-photo", "caption"),
        _ => ("echo", "text"),
    };
    let text = talk.language.text(key, &[(argument, said.into())]);
    talk.to().text(&text, reply_to, None).await.map(drop)
}
