//! Albums, which come photo by photo to whichever instance. Each photo is written down and raises the album's version; the
//! instance that gets the version's message after the quiet time claims it, if it is still the newest.

use super::{
    Item, Store, Written,
    chat::{CAPTION_HOURS, pk},
    conditional, ends_after, millis, n, now, number, s, text,
};
use crate::{source::Source, trouble::Trouble};
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use contract::record::CHATS_SK;
use teloxide::types::{ChatId, MessageId, UserId};

const PART: &str = "part:";

/// One photo of an album.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Its message.
    pub message: MessageId,
    /// Where its bytes are.
    pub source: Source,
}

/// What is wanted of an album.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// The caption, or the button's filter.
    pub caption: String,
    /// The update that brought it.
    pub run: u32,
    /// Who wants it.
    pub user: Option<UserId>,
}

/// An album as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct Album {
    /// Its version.
    pub version: u64,
    /// Its photos, by message.
    pub parts: Vec<Part>,
    /// What is wanted of it, if a caption came.
    pub wish: Option<Wish>,
    /// How often this version was claimed.
    pub tries: u32,
    /// The photos of this version that are answered already, by message.
    pub sent: Vec<MessageId>,
}

impl Store {
    /// Adds a photo, and perhaps the caption that came with it; returns the album's version, which is a new one unless the photo was
    /// there before. A photo that comes after its album was answered opens it again: the next answer has all photos.
    pub async fn join_album(
        &self,
        chat: ChatId,
        group: &str,
        part: &Part,
        wish: Option<&Wish>,
    ) -> Result<u64, Trouble> {
        let name = format!("{PART}{}", part.message);
        let mut set = "SET #part = :part, expiresAt = :end, progress = :open, tries = :zero".to_owned();
        let mut update = self
            .update(&pk(chat), &sk(group))
            .condition_expression("attribute_not_exists(#part)")
            .expression_attribute_names("#part", name)
            .expression_attribute_values(":part", s(part.source.written()))
            .expression_attribute_values(":end", ends_after(CAPTION_HOURS))
            .expression_attribute_values(":open", s("open"))
            .expression_attribute_values(":zero", n(0))
            .expression_attribute_values(":one", n(1))
            .return_values(ReturnValue::AllNew);
        if let Some(wish) = wish {
            set += WISH;
            update = with_wish(update, wish);
        }
        let item = match conditional(update.update_expression(set + AGAIN)).await? {
            Written::Yes(item) => item,
            // Whoever wrote it down may have died before anybody was told to look.
            Written::ConditionFailed => self.item(&pk(chat), &sk(group)).await?,
        };
        item.and_then(|i| number(&i, "ver")).ok_or(Trouble::Unreadable("an album"))
    }

    /// Opens an album again for another wish: an edited caption, a button. None where there is no such album any more.
    pub async fn reopen_album(&self, chat: ChatId, group: &str, wish: &Wish) -> Result<Option<u64>, Trouble> {
        let update = self
            .update(&pk(chat), &sk(group))
            .update_expression(format!("SET progress = :open, tries = :zero{WISH}{AGAIN}"))
            .condition_expression("attribute_exists(pk)")
            .expression_attribute_values(":open", s("open"))
            .expression_attribute_values(":zero", n(0))
            .expression_attribute_values(":one", n(1))
            .return_values(ReturnValue::AllNew);
        match conditional(with_wish(update, wish)).await? {
            Written::Yes(item) => Ok(item.and_then(|i| number(&i, "ver"))),
            Written::ConditionFailed => Ok(None),
        }
    }

    /// Asks once more of an album, for a button: as an album of its own, whose name this returns, so that two taps do not call each
    /// other off. None where there is no such album any more.
    pub async fn copy_album(&self, chat: ChatId, group: &str, wish: &Wish) -> Result<Option<(String, u64)>, Trouble> {
        let Some(item) = self.item(&pk(chat), &sk(group)).await? else { return Ok(None) };
        let own = format!("{group}/{}", wish.run);
        let mut update = self
            .update(&pk(chat), &sk(&own))
            .condition_expression("attribute_not_exists(pk)")
            .expression_attribute_values(":end", ends_after(CAPTION_HOURS))
            .expression_attribute_values(":open", s("open"))
            .expression_attribute_values(":one", n(1));
        let mut set = format!("SET progress = :open, ver = :one, expiresAt = :end{WISH}");
        for (i, (name, part)) in item.into_iter().filter(|(name, _)| name.starts_with(PART)).enumerate() {
            set += &format!(", #p{i} = :p{i}");
            update = update
                .expression_attribute_names(format!("#p{i}"), name)
                .expression_attribute_values(format!(":p{i}"), part);
        }
        // The same tap may come twice.
        conditional(with_wish(update.update_expression(set), wish)).await?;
        Ok(Some((own, 1)))
    }

    /// Claims an album of this version; none where there is a newer one, or another instance is at work on it.
    pub async fn claim_album(&self, chat: ChatId, group: &str, version: u64) -> Result<Option<Album>, Trouble> {
        let update = self
            .update(&pk(chat), &sk(group))
            .update_expression("SET progress = :work, holder = :me, leaseEnd = :end ADD tries :one")
            .condition_expression("ver = :ver AND (progress = :open OR (progress = :work AND leaseEnd < :now))")
            .expression_attribute_values(":ver", n(version))
            .expression_attribute_values(":open", s("open"))
            .expression_attribute_values(":work", s("work"))
            .expression_attribute_values(":me", s(&self.holder))
            .expression_attribute_values(":end", millis(now() + self.lease))
            .expression_attribute_values(":now", millis(now()))
            .expression_attribute_values(":one", n(1))
            .return_values(ReturnValue::AllNew);
        match conditional(update).await? {
            Written::Yes(item) => Ok(item.map(|item| album(&item))),
            Written::ConditionFailed => Ok(None),
        }
    }

    /// An album as it is; none where it is answered or gone.
    pub async fn waiting_album(&self, chat: ChatId, group: &str) -> Result<Option<Album>, Trouble> {
        let item = self.item(&pk(chat), &sk(group)).await?;
        Ok(item.filter(|item| text(item, "progress") != Some("done")).map(|item| album(&item)))
    }

    /// Whether an album is still this instance's and of this version; renews the lease where it is.
    pub async fn still_ours(&self, chat: ChatId, group: &str, version: u64) -> Result<bool, Trouble> {
        let update = self.my_album(chat, group, version).update_expression("SET leaseEnd = :end");
        let update = update.expression_attribute_values(":end", millis(now() + self.lease));
        Ok(matches!(conditional(update).await?, Written::Yes(_)))
    }

    /// Writes down that these photos of an album are answered; false where it is not this instance's any more. Renews the lease.
    pub async fn sent_of_album(
        &self,
        chat: ChatId,
        group: &str,
        version: u64,
        parts: &[MessageId],
    ) -> Result<bool, Trouble> {
        let parts = parts.iter().map(ToString::to_string).collect();
        let update = self
            .my_album(chat, group, version)
            .update_expression("SET leaseEnd = :end ADD sent :parts")
            .expression_attribute_values(":end", millis(now() + self.lease))
            .expression_attribute_values(":parts", AttributeValue::Ns(parts));
        Ok(matches!(conditional(update).await?, Written::Yes(_)))
    }

    /// Says that an album is answered.
    pub async fn finish_album(&self, chat: ChatId, group: &str, version: u64) -> Result<(), Trouble> {
        let update = self.my_album(chat, group, version).update_expression("SET progress = :done");
        conditional(update.expression_attribute_values(":done", s("done"))).await.map(drop)
    }

    /// Gives an album back: the next message about it may claim it at once.
    pub async fn release_album(&self, chat: ChatId, group: &str, version: u64) -> Result<(), Trouble> {
        let update = self.my_album(chat, group, version).update_expression("SET progress = :open");
        conditional(update.expression_attribute_values(":open", s("open"))).await.map(drop)
    }

    fn my_album(
        &self,
        chat: ChatId,
        group: &str,
        version: u64,
    ) -> aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder {
        self.update(&pk(chat), &sk(group))
            .condition_expression("ver = :ver AND holder = :me AND progress = :work")
            .expression_attribute_values(":ver", n(version))
            .expression_attribute_values(":me", s(&self.holder))
            .expression_attribute_values(":work", s("work"))
    }

    /// Calls off every album of a chat that waits; returns how many there were.
    pub async fn cancel_albums(&self, chat: ChatId) -> Result<usize, Trouble> {
        let mut cancelled = 0;
        for item in self.query(&pk(chat), "album#").await? {
            let Some(sk) = text(&item, CHATS_SK).filter(|_| text(&item, "progress") != Some("done")) else { continue };
            let update = self
                .update(&pk(chat), sk)
                .update_expression("SET progress = :done ADD ver :one")
                .condition_expression("attribute_exists(pk) AND progress <> :done")
                .expression_attribute_values(":done", s("done"))
                .expression_attribute_values(":one", n(1));
            let Written::Yes(_) = conditional(update).await? else { continue };
            cancelled += 1;
        }
        Ok(cancelled)
    }
}

/// A new version, of which nothing is sent yet.
const AGAIN: &str = " REMOVE sent ADD ver :one";
const WISH: &str = ", wish = :wish, run = :run, wisher = :wisher";

fn with_wish(
    update: aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder,
    wish: &Wish,
) -> aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder {
    update
        .expression_attribute_values(":wish", s(&wish.caption))
        .expression_attribute_values(":run", n(wish.run))
        .expression_attribute_values(":wisher", n(wish.user.map_or(0, |user| user.0)))
}

fn album(item: &Item) -> Album {
    let mut parts: Vec<Part> = item
        .iter()
        .filter_map(|(name, value)| {
            let message = MessageId(name.strip_prefix(PART)?.parse().ok()?);
            Some(Part { message, source: Source::of(value.as_s().ok()?)? })
        })
        .collect();
    parts.sort_by_key(|part| part.message.0);
    let wish = text(item, "wish").map(|caption| Wish {
        caption: caption.to_owned(),
        run: number(item, "run").unwrap_or_default(),
        user: number(item, "wisher").filter(|id| *id != 0).map(UserId),
    });
    Album {
        version: number(item, "ver").unwrap_or_default(),
        parts,
        wish,
        tries: number(item, "tries").unwrap_or_default(),
        sent: item
            .get("sent")
            .and_then(|sent| sent.as_ns().ok())
            .into_iter()
            .flatten()
            .filter_map(|message| message.parse().ok().map(MessageId))
            .collect(),
    }
}

fn sk(group: &str) -> String {
    format!("album#{group}")
}
