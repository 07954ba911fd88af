//! Chats and messages in the Bot API's JSON, and in the chat page's.

use serde_json::{Map, Value, json};

use super::message::{Author, Markup, Message, Profile};
use super::state::{Bot, ChatKind, State};

impl State {
    /// A chat as bots see it.
    pub(super) fn chat_wire(&self, bot: i64, id: i64) -> Value {
        let kind = self.bots.get(&bot).and_then(|bot| bot.chats.get(&id)).map(|chat| &chat.kind);
        match kind {
            Some(ChatKind::Group { title, supergroup }) => {
                json!({ "id": id, "type": if *supergroup { "supergroup" } else { "group" }, "title": title })
            }
            _ => {
                json!({ "id": id, "type": "private", "first_name": self.users.get(&id).map_or("", |user| &user.name) })
            }
        }
    }

    /// A message as bots see it; the message that it answers is shown without its own.
    pub(super) fn wire(&self, bot: i64, message: &Message) -> Value {
        let mut wire = self.bare_wire(bot, message);
        let chat = self.bots.get(&bot).and_then(|bot| bot.chats.get(&message.chat));
        let answered = message.reply_to.and_then(|id| chat?.messages.get(&id));
        if let Some(answered) = answered {
            wire.insert("reply_to_message".into(), self.bare_wire(bot, answered).into());
        }
        Value::Object(wire)
    }

    fn bare_wire(&self, bot: i64, message: &Message) -> Map<String, Value> {
        let mut wire = message.content_wire();
        let from = match message.author {
            Author::Bot => self.bots.get(&bot).map(Bot::wire),
            Author::User(id) => self.users.get(&id).map(Profile::wire),
        };
        wire.insert("message_id".into(), message.id.into());
        wire.insert("from".into(), from.unwrap_or_default());
        wire.insert("chat".into(), self.chat_wire(bot, message.chat));
        wire.insert("date".into(), message.date.into());
        if let Some(edited) = message.edited {
            wire.insert("edit_date".into(), edited.into());
        }
        if let Some(album) = &message.album {
            wire.insert("media_group_id".into(), album.clone().into());
        }
        if let Some(Markup::Inline(rows)) = &message.markup {
            wire.insert("reply_markup".into(), json!({ "inline_keyboard": rows }));
        }
        wire
    }

    /// A message as the chat page sees it: the bot's view and what only users see.
    pub(super) fn page_message(&self, bot: i64, message: &Message) -> Value {
        let mut shown = self.bare_wire(bot, message);
        shown.insert("edits".into(), message.edits.into());
        shown.insert("reply_to".into(), message.reply_to.into());
        shown.insert("reactions".into(), message.reactions.clone().into());
        if let Some(Markup::Reply(keyboard)) = &message.markup {
            shown.insert("keyboard".into(), keyboard.clone());
        }
        Value::Object(shown)
    }
}
