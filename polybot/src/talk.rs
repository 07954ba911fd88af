//! The conversation: what each kind of message is answered with.

pub mod button;
pub mod command;
pub mod group;
pub mod photo;
pub mod text;

use crate::{
    app::{App, Talk},
    trouble::Trouble,
};
use std::sync::Arc;
use teloxide::types::{Message, MessageId, MessageKind, User};

/// How many messages of a user are answered in a minute.
pub const WISHES_A_MINUTE: u32 = 60;

/// Whether a user asks for too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// No.
    Within,
    /// This is the first message too much.
    JustOver,
    /// That was told before.
    Over,
}

/// Counts a message of a user.
pub async fn count(app: &Arc<App>, user: Option<&User>) -> Result<Rate, Trouble> {
    let Some(user) = user else { return Ok(Rate::Within) };
    let wishes = app.store.count_wish(user.id).await?;
    if wishes <= WISHES_A_MINUTE {
        return Ok(Rate::Within);
    }
    metrics::counter!("polybot_over_rate_total").increment(1);
    Ok(if wishes == WISHES_A_MINUTE + 1 { Rate::JustOver } else { Rate::Over })
}

/// Tells a user to wait.
pub async fn over_rate(talk: &Talk) -> Result<(), Trouble> {
    talk.to().text(&talk.language.text("rate-limit", &[]), None, None).await.map(drop)
}

/// Tells a chat that the bot failed, in reply to the message that nothing comes of.
pub async fn give_up(talk: &Talk, message: Option<MessageId>) -> Result<(), Trouble> {
    let text = talk.language.error(talk.language.text("error-internal", &[]));
    talk.to().text(&text, message, None).await.map(drop)
}

/// Somebody joined, a title changed, another bot speaks: messages that want no answer. Who writes as a group (an admin without a
/// name) or as a channel has a bot's name in `from`.
pub fn is_for_nobody(message: &Message) -> bool {
    let bot = message.sender_chat.is_none() && message.from.as_ref().is_some_and(|user| user.is_bot);
    !matches!(message.kind, MessageKind::Common(_)) || bot
}

/// A sticker, a voice message, a file that is no picture.
pub async fn not_understood(talk: Talk, message: Message) -> Result<(), Trouble> {
    // In a group, people send such things to each other.
    if message.chat.is_private() {
        let what = talk.language.text("error-not-understood", &[]);
        talk.to().text(&talk.language.error(what), Some(message.id), None).await?;
    }
    Ok(())
}
