//! What a person sees in the chat, and waiting for it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Bytes;
use serde_json::Value;

use super::{User, UserError};
use crate::telegram::message::{Content, Markup, Message};
use crate::telegram::state::State;

impl User {
    /// All messages of the chat, oldest first.
    pub fn messages(&self) -> Vec<Message> {
        let state = self.shared.state();
        let chat = state.bots.get(&self.bot).and_then(|bot| bot.chats.get(&self.chat));
        chat.map(|chat| chat.messages.values().cloned().collect()).unwrap_or_default()
    }

    /// A message as it is now.
    pub fn message(&self, id: i64) -> Option<Message> {
        self.shared.state().message(self.bot, self.chat, id).cloned()
    }

    /// The bot's chat action while it lasts.
    pub fn action(&self) -> Option<String> {
        let state = self.shared.state();
        let chat = state.bots.get(&self.bot)?.chats.get(&self.chat)?;
        chat.action
            .as_ref()
            .filter(|(_, since)| since.elapsed() < Duration::from_secs(5))
            .map(|(action, _)| action.clone())
    }

    /// The content of a message's photo (its largest size) or document.
    pub async fn download(&self, message: &Message) -> Result<Bytes, UserError> {
        let file = message.file().ok_or_else(|| UserError::NoFile(message.text().to_owned()))?;
        Ok(self.shared.files.read(&file.unique_id).await?)
    }

    /// Waits at most this long for the bot's next message that this was not called for yet.
    pub async fn next_message(&self, deadline: Duration) -> Result<Message, UserError> {
        let read = self.read.load(Ordering::SeqCst);
        let next = self
            .wait("the bot's next message", deadline, |state| {
                let chat = state.bots.get(&self.bot)?.chats.get(&self.chat)?;
                chat.messages
                    .range(read + 1..)
                    .map(|(_, message)| message)
                    .find(|message| message.is_from_bot())
                    .cloned()
            })
            .await?;
        self.read.store(next.id, Ordering::SeqCst);
        Ok(next)
    }

    /// Lets `next_message` begin after what is there now.
    pub fn skip_to_end(&self) {
        self.read.store(self.messages().last().map_or(0, |message| message.id), Ordering::SeqCst);
    }

    /// Waits until `find` returns something for the chat's messages; `what` names it in the error.
    pub async fn wait_for<T>(&self, what: &str, find: impl FnMut(&[Message]) -> Option<T>) -> Result<T, UserError> {
        self.wait_for_at_most(self.shared.options.deadline, what, find).await
    }

    /// `wait_for` with a deadline of its own.
    pub async fn wait_for_at_most<T>(
        &self,
        deadline: Duration,
        what: &str,
        mut find: impl FnMut(&[Message]) -> Option<T>,
    ) -> Result<T, UserError> {
        self.wait(what, deadline, |state| {
            let chat = state.bots.get(&self.bot).and_then(|bot| bot.chats.get(&self.chat));
            let messages: Vec<Message> = chat.map(|chat| chat.messages.values().cloned().collect()).unwrap_or_default();
            find(&messages)
        })
        .await
    }

    /// Waits until the message has this many edits or more.
    pub async fn edited(&self, message: i64, edits: u32) -> Result<Message, UserError> {
        self.wait("the edit", self.shared.options.deadline, |state| {
            let message = state.bots.get(&self.bot)?.chats.get(&self.chat)?.messages.get(&message)?;
            (message.edits >= edits).then(|| message.clone())
        })
        .await
    }

    pub(super) async fn wait<T>(
        &self,
        what: &str,
        deadline: Duration,
        mut find: impl FnMut(&State) -> Option<T>,
    ) -> Result<T, UserError> {
        let mut changes = self.shared.changes();
        let found = tokio::time::timeout(deadline, async {
            loop {
                changes.borrow_and_update();
                if let Some(found) = find(&self.shared.state()) {
                    return found;
                }
                // The sender lives in `self.shared`: it cannot be gone.
                let _ = changes.changed().await;
            }
        });
        found.await.map_err(|_| UserError::Late {
            what: what.to_owned(),
            waited: deadline,
            transcript: self.transcript(),
        })
    }

    /// The chat as text, a line a message.
    pub fn transcript(&self) -> String {
        let line = |message: &Message| {
            let who = if message.is_from_bot() { "bot " } else { "user" };
            let kind = match &message.content {
                Content::Text(_) => "",
                Content::Photo { .. } => "[photo] ",
                Content::Document { .. } => "[document] ",
                Content::Other(kind, _) => kind,
            };
            format!("  {:>4} {who} {kind}{}", message.id, message.text())
        };
        self.messages().iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// The reply keyboard that the chat shows.
    pub fn keyboard(&self) -> Option<Value> {
        let newest = self.messages().into_iter().rev().find_map(|message| match message.markup {
            Some(Markup::Reply(keyboard)) => Some(keyboard),
            _ => None,
        });
        newest.filter(|keyboard| keyboard.get("keyboard").is_some())
    }
}
