//! Groups: one that becomes a supergroup gets another id.

use crate::{app::Talk, trouble::Trouble};
use teloxide::types::Message;

/// Takes what is known of a group along to its new id.
pub async fn migrated(talk: Talk, message: Message) -> Result<(), Trouble> {
    match message.migrate_to_chat_id() {
        Some(new) => talk.app.store.migrate(message.chat.id, *new).await,
        None => Ok(()),
    }
}
