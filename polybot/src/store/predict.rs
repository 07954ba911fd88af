//! Photos that wait for the detector.

use super::{Store, Written, chat::pk, conditional, ends_after, millis, n, now, number, s, seconds, text};
use crate::{texts::Language, trouble::Trouble};
use teloxide::types::{ChatId, MessageId};

const KEPT_HOURS: u64 = 24 * 7;

/// A photo that waits for the detector, or did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// The progress message, which the answer replaces.
    pub reply: Option<MessageId>,
    /// The language of the user who asked.
    pub language: Option<Language>,
    /// Whether the job is on its queue.
    pub sent: bool,
    /// Whether the user has the answer.
    pub answered: bool,
}

impl Store {
    /// A photo that waits, or did.
    pub async fn waiting(&self, chat: ChatId, prediction: &str) -> Result<Option<Waiting>, Trouble> {
        let item = self.item(&pk(chat), &sk(prediction)).await?;
        Ok(item.map(|item| Waiting {
            reply: number(&item, "reply").map(MessageId),
            language: text(&item, "lang").and_then(Language::of_code),
            sent: text(&item, "progress").is_some_and(|p| p != "shown"),
            answered: text(&item, "progress") == Some("answered"),
        }))
    }

    /// Writes down the progress message.
    pub async fn shown(
        &self,
        chat: ChatId,
        prediction: &str,
        reply: MessageId,
        language: Language,
    ) -> Result<(), Trouble> {
        let update = self
            .update(&pk(chat), &sk(prediction))
            .update_expression("SET reply = :reply, lang = :lang, progress = :shown, since = :now, expiresAt = :end")
            .expression_attribute_values(":reply", n(reply))
            .expression_attribute_values(":lang", s(language.code()))
            .expression_attribute_values(":shown", s("shown"))
            .expression_attribute_values(":now", n(seconds(now())))
            .expression_attribute_values(":end", ends_after(KEPT_HOURS));
        conditional(update).await.map(drop)
    }

    /// Writes down that the job is on its queue; an answer may have been quicker.
    pub async fn sent(&self, chat: ChatId, prediction: &str) -> Result<(), Trouble> {
        let update = self
            .update(&pk(chat), &sk(prediction))
            .update_expression("SET progress = :sent")
            .condition_expression("progress = :shown")
            .expression_attribute_values(":sent", s("sent"))
            .expression_attribute_values(":shown", s("shown"));
        conditional(update).await.map(drop)
    }

    /// Takes the right to show the answer; false where another instance has it, or the user has the answer.
    pub async fn claim_answer(&self, chat: ChatId, prediction: &str) -> Result<bool, Trouble> {
        let update = self
            .update(&pk(chat), &sk(prediction))
            .update_expression("SET leaseEnd = :end, expiresAt = :kept")
            .condition_expression(
                "(attribute_not_exists(progress) OR progress <> :answered) AND (attribute_not_exists(leaseEnd) OR leaseEnd < :now)",
            )
            .expression_attribute_values(":answered", s("answered"))
            .expression_attribute_values(":end", millis(now() + self.lease))
            .expression_attribute_values(":kept", ends_after(KEPT_HOURS))
            .expression_attribute_values(":now", millis(now()));
        Ok(matches!(conditional(update).await?, Written::Yes(_)))
    }

    /// Lets another try show the answer at once.
    pub async fn release_answer(&self, chat: ChatId, prediction: &str) -> Result<(), Trouble> {
        let update = self.update(&pk(chat), &sk(prediction)).update_expression("REMOVE leaseEnd");
        // The user may have had everything deleted meanwhile: that stays so.
        let update = update.condition_expression("attribute_exists(pk)");
        conditional(update).await.map(drop)
    }

    /// Writes down that the user has the answer; false where that was written before.
    pub async fn answered(&self, chat: ChatId, prediction: &str) -> Result<bool, Trouble> {
        let update = self
            .update(&pk(chat), &sk(prediction))
            .update_expression("SET progress = :answered, expiresAt = :end")
            .condition_expression("attribute_not_exists(progress) OR progress <> :answered")
            .expression_attribute_values(":answered", s("answered"))
            .expression_attribute_values(":end", ends_after(KEPT_HOURS));
        Ok(matches!(conditional(update).await?, Written::Yes(_)))
    }
}

fn sk(prediction: &str) -> String {
    format!("predict#{prediction}")
}
