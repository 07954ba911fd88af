//! Groups: people there talk to each other, and the bot answers what is meant for it. Also: a group that becomes a supergroup gets
//! another id.

use super::command;
use crate::{app::Talk, caption, identity::Identity, trouble::Trouble};
use teloxide::types::{Message, Update, UpdateKind};

/// Whether an update is meant for the bot: everything in a private chat, every tap on a button of its own; in a group its commands,
/// answers to what it said, and wishes that can be read.
pub fn concerns(me: &Identity, update: &Update) -> bool {
    match &update.kind {
        UpdateKind::Message(message) | UpdateKind::EditedMessage(message) => {
            message.chat.is_private() || message.migrate_to_chat_id().is_some() || is_meant(me, message)
        }
        _ => true,
    }
}

fn is_meant(me: &Identity, message: &Message) -> bool {
    let replied = message.reply_to_message();
    let to_us = replied.and_then(|m| m.from.as_ref()).is_some_and(|user| user.id.0 == me.id);
    // Which photo of an album bears its caption is not known before all of them are there.
    to_us || message.media_group_id().is_some() || command::named(me, message).is_some() || has_wish(message)
}

/// Whether a photo's caption, or what is said of a photo, can be read.
fn has_wish(message: &Message) -> bool {
    let said = match message.reply_to_message().and_then(crate::source::Source::of_message) {
        Some(_) => message.text().or(message.caption()),
        None => message.caption(),
    };
    said.is_some_and(|said| caption::parse(said).is_ok())
}

/// Takes what is known of a group along to its new id.
pub async fn migrated(talk: Talk, message: Message) -> Result<(), Trouble> {
    match message.migrate_to_chat_id() {
        Some(new) => talk.app.store.migrate(message.chat.id, *new).await,
        None => Ok(()),
    }
}
