//! What is known of a chat: its settings, what was sent to it last, how much its users ask for.

use super::{Store, conditional, ends_after, n, now, number, s, seconds, text};
use crate::{texts::Language, trouble::Trouble};
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use contract::record::{CHATS_PK, CHATS_SK};
use teloxide::types::{ChatId, MessageId, UserId};

/// How many file ids `/undo` reaches back.
pub const UNDO_DEPTH: usize = 10;
/// How long a caption is kept.
pub const CAPTION_HOURS: u64 = 48;
/// A chat that is silent for so long is forgotten.
const KEPT_HOURS: u64 = 24 * 90;

/// The settings of a chat.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Settings {
    /// The language, where the user chose one.
    pub language: Option<Language>,
    /// Least confidence of a detection, where the user chose one.
    pub confidence: Option<f32>,
}

/// A file that Telegram keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// A photo, by its file id.
    Photo(String),
    /// A document, by its file id.
    Document(String),
}

impl Store {
    /// The settings of a chat.
    pub async fn settings(&self, chat: ChatId) -> Result<Settings, Trouble> {
        let item = self.item(&pk(chat), "settings").await?.unwrap_or_default();
        Ok(Settings {
            language: text(&item, "lang").and_then(Language::of_code),
            confidence: number(&item, "confidence"),
        })
    }

    /// Changes the language of a chat.
    pub async fn set_language(&self, chat: ChatId, language: Language) -> Result<(), Trouble> {
        self.set(chat, "lang", s(language.code())).await
    }

    /// Changes the least confidence of a chat.
    pub async fn set_confidence(&self, chat: ChatId, confidence: f32) -> Result<(), Trouble> {
        self.set(chat, "confidence", n(confidence)).await
    }

    async fn set(&self, chat: ChatId, name: &str, value: AttributeValue) -> Result<(), Trouble> {
        let update = self
            .update(&pk(chat), "settings")
            .update_expression("SET #name = :value, expiresAt = :end")
            .expression_attribute_names("#name", name)
            .expression_attribute_values(":value", value)
            .expression_attribute_values(":end", ends_after(KEPT_HOURS));
        conditional(update).await.map(drop)
    }

    /// Adds files to what `/undo` goes back over; what is on top already is not added again.
    pub async fn push_undo(&self, chat: ChatId, files: &[Kept]) -> Result<(), Trouble> {
        self.change_undo(chat, |stack| {
            for file in files {
                if stack.last() != Some(file) {
                    stack.push(file.clone());
                }
            }
            stack.drain(..stack.len().saturating_sub(UNDO_DEPTH));
        })
        .await
    }

    /// Takes a file away from what `/undo` goes back over.
    pub async fn pop_undo(&self, chat: ChatId, undone: &Kept) -> Result<(), Trouble> {
        self.change_undo(chat, |stack| {
            if let Some(at) = stack.iter().rposition(|file| file == undone) {
                stack.remove(at);
            }
        })
        .await
    }

    /// What `/undo` goes back over, the last at the end.
    pub async fn undo_stack(&self, chat: ChatId) -> Result<Vec<Kept>, Trouble> {
        Ok(undo_of(&self.item(&pk(chat), "undo").await?.unwrap_or_default()))
    }

    /// Changes what `/undo` goes back over. Another instance may change it meanwhile: then once more, from what it wrote.
    async fn change_undo(&self, chat: ChatId, change: impl Fn(&mut Vec<Kept>)) -> Result<(), Trouble> {
        loop {
            let item = self.item(&pk(chat), "undo").await?.unwrap_or_default();
            let mut stack = undo_of(&item);
            change(&mut stack);
            let files = stack.iter().map(|file| s(file.written())).collect();
            let update = self
                .update(&pk(chat), "undo")
                .update_expression("SET files = :files, expiresAt = :end, ver = :next")
                .expression_attribute_values(":files", AttributeValue::L(files))
                .expression_attribute_values(":end", ends_after(KEPT_HOURS));
            let update = match number::<u64>(&item, "ver") {
                Some(ver) => update
                    .condition_expression("ver = :ver")
                    .expression_attribute_values(":ver", n(ver))
                    .expression_attribute_values(":next", n(ver + 1)),
                // There is none, or one that is over or of a program before this one.
                None => update
                    .condition_expression("attribute_not_exists(ver) OR expiresAt <= :now")
                    .expression_attribute_values(":now", n(seconds(now())))
                    .expression_attribute_values(":next", n(1)),
            };
            if let super::Written::Yes(_) = conditional(update).await? {
                return Ok(());
            }
        }
    }

    /// Whether a message's caption was not answered before, by another update than this: Telegram reports edits of other
    /// things, too.
    pub async fn is_new_caption(
        &self,
        chat: ChatId,
        message: MessageId,
        caption: &str,
        update: u32,
    ) -> Result<bool, Trouble> {
        let write = self
            .update(&pk(chat), &format!("edit#{message}"))
            .update_expression("SET wish = :wish, run = :run, expiresAt = :end")
            .condition_expression("attribute_not_exists(wish) OR wish <> :wish OR run = :run")
            .expression_attribute_values(":wish", s(caption))
            .expression_attribute_values(":run", n(update))
            .expression_attribute_values(":end", ends_after(CAPTION_HOURS));
        Ok(matches!(conditional(write).await?, super::Written::Yes(_)))
    }

    /// Counts a wish of a user; returns how many there were in this minute.
    pub async fn count_wish(&self, user: UserId) -> Result<u32, Trouble> {
        let update = self
            .update(&format!("user#{user}"), &format!("rate#{}", seconds(now()) / 60))
            .update_expression("SET expiresAt = :end ADD wishes :one")
            .expression_attribute_values(":end", ends_after(1))
            .expression_attribute_values(":one", n(1))
            .return_values(ReturnValue::AllNew);
        match conditional(update).await? {
            super::Written::Yes(item) => Ok(item.and_then(|i| number(&i, "wishes")).unwrap_or(1)),
            super::Written::ConditionFailed => Ok(1),
        }
    }

    /// Deletes everything that is known of a chat.
    pub async fn forget(&self, chat: ChatId) -> Result<(), Trouble> {
        for item in self.query(&pk(chat), "").await? {
            if let Some(sk) = text(&item, CHATS_SK) {
                self.delete(&pk(chat), sk).await?;
            }
        }
        Ok(())
    }

    /// Takes settings and undo along when a group becomes a supergroup, which has another id.
    pub async fn migrate(&self, from: ChatId, to: ChatId) -> Result<(), Trouble> {
        for sk in ["settings", "undo"] {
            let Some(mut item) = self.item(&pk(from), sk).await? else { continue };
            item.retain(|name, _| name != CHATS_PK && name != CHATS_SK);
            // By the call that writes all items: the role of the bot has no other.
            let mut update = self.update(&pk(to), sk);
            let mut set = Vec::new();
            for (i, (name, value)) in item.into_iter().enumerate() {
                set.push(format!("#n{i} = :v{i}"));
                update = update
                    .expression_attribute_names(format!("#n{i}"), name)
                    .expression_attribute_values(format!(":v{i}"), value);
            }
            conditional(update.update_expression(format!("SET {}", set.join(", ")))).await?;
        }
        self.forget(from).await
    }
}

impl Kept {
    fn of(written: &str) -> Option<Self> {
        let (kind, id) = written.split_once(':')?;
        match kind {
            "photo" => Some(Self::Photo(id.to_owned())),
            "document" => Some(Self::Document(id.to_owned())),
            _ => None,
        }
    }

    fn written(&self) -> String {
        match self {
            Self::Photo(id) => format!("photo:{id}"),
            Self::Document(id) => format!("document:{id}"),
        }
    }
}

fn undo_of(item: &super::Item) -> Vec<Kept> {
    let files = item.get("files").and_then(|files| files.as_l().ok()).into_iter().flatten();
    files.filter_map(|file| Kept::of(file.as_s().ok()?)).collect()
}

/// The partition of a chat.
pub(super) fn pk(chat: ChatId) -> String {
    format!("chat#{chat}")
}
