//! Updates that came: each is worked on by one instance at a time, and once. Also the lease of who polls.

use super::{Store, Written, conditional, ends_after, millis, n, now, number, s, seconds, text};
use crate::trouble::Trouble;
use std::time::Duration;
use teloxide::types::UpdateId;

/// Telegram drops an update after 24 hours.
const KEPT_HOURS: u64 = 26;

/// Whose an update is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// This caller's.
    Ours {
        /// The claims so far, this one counted.
        tries: u32,
        /// The time since the first.
        age: Duration,
    },
    /// Another's, who is at work on it.
    InWork,
    /// Nobody's any more.
    Done,
}

impl Store {
    /// Claims an update for this instance.
    pub async fn claim_update(&self, UpdateId(id): UpdateId) -> Result<Claim, Trouble> {
        let pk = format!("update#{id}");
        let update = self
            .update(&pk, "seen")
            .update_expression(
                "SET progress = :work, holder = :me, leaseEnd = :end, expiresAt = :kept, since = if_not_exists(since, :now) ADD tries :one",
            )
            .condition_expression(
                "attribute_not_exists(pk) OR expiresAt < :seconds OR (progress = :work AND leaseEnd < :now)",
            )
            .expression_attribute_values(":work", s("work"))
            .expression_attribute_values(":me", s(&self.holder))
            .expression_attribute_values(":end", millis(now() + self.lease))
            .expression_attribute_values(":kept", ends_after(KEPT_HOURS))
            .expression_attribute_values(":one", n(1))
            .expression_attribute_values(":seconds", n(seconds(now())))
            .expression_attribute_values(":now", millis(now()))
            .return_values(aws_sdk_dynamodb::types::ReturnValue::AllNew);
        match conditional(update).await? {
            Written::Yes(item) => {
                let item = item.unwrap_or_default();
                let since = number(&item, "since").map_or(now(), Duration::from_millis);
                Ok(Claim::Ours { tries: number(&item, "tries").unwrap_or(1), age: now().saturating_sub(since) })
            }
            Written::ConditionFailed => match self.item(&pk, "seen").await? {
                Some(item) if text(&item, "progress") == Some("done") => Ok(Claim::Done),
                _ => Ok(Claim::InWork),
            },
        }
    }

    /// Says that this instance still works on an update.
    pub async fn renew_update(&self, UpdateId(id): UpdateId) -> Result<(), Trouble> {
        let update = self.mine(id).update_expression("SET leaseEnd = :end");
        conditional(update.expression_attribute_values(":end", millis(now() + self.lease))).await.map(drop)
    }

    /// Says that an update is done.
    pub async fn finish_update(&self, UpdateId(id): UpdateId) -> Result<(), Trouble> {
        let update = self.mine(id).update_expression("SET progress = :done");
        conditional(update.expression_attribute_values(":done", s("done"))).await.map(drop)
    }

    /// Gives an update back: whoever gets it next may work on it at once.
    pub async fn release_update(&self, UpdateId(id): UpdateId) -> Result<(), Trouble> {
        let update = self.mine(id).update_expression("SET leaseEnd = :zero");
        conditional(update.expression_attribute_values(":zero", n(0))).await.map(drop)
    }

    fn mine(&self, id: u32) -> aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder {
        self.update(&format!("update#{id}"), "seen")
            .condition_expression("holder = :me")
            .expression_attribute_values(":me", s(&self.holder))
    }

    /// Takes or renews the right to poll; false where another instance has it. Returns the offset to go on from.
    pub async fn lead(&self) -> Result<Option<u32>, Trouble> {
        let update = self
            .update("poller", "lease")
            .update_expression("SET holder = :me, leaseEnd = :end")
            .condition_expression("attribute_not_exists(pk) OR holder = :me OR leaseEnd < :now")
            .expression_attribute_values(":me", s(&self.holder))
            .expression_attribute_values(":end", millis(now() + self.lease))
            .expression_attribute_values(":now", millis(now()))
            .return_values(aws_sdk_dynamodb::types::ReturnValue::AllNew);
        match conditional(update).await? {
            Written::Yes(item) => Ok(Some(item.and_then(|i| number(&i, "position")).unwrap_or(0))),
            Written::ConditionFailed => Ok(None),
        }
    }

    /// Says that every update below this one is done.
    pub async fn advance(&self, position: u32) -> Result<(), Trouble> {
        let update = self
            .update("poller", "lease")
            .update_expression("SET #p = :p")
            .condition_expression("holder = :me")
            .expression_attribute_names("#p", "position")
            .expression_attribute_values(":p", n(position))
            .expression_attribute_values(":me", s(&self.holder));
        match conditional(update).await? {
            Written::Yes(_) => Ok(()),
            Written::ConditionFailed => Err(Trouble::TakenOver),
        }
    }

    /// Lets another instance poll at once.
    pub async fn resign(&self) -> Result<(), Trouble> {
        let update = self
            .update("poller", "lease")
            .update_expression("SET leaseEnd = :zero")
            .condition_expression("holder = :me")
            .expression_attribute_values(":zero", n(0))
            .expression_attribute_values(":me", s(&self.holder));
        conditional(update).await.map(drop)
    }
}
