//! The chats table: what the instances know together. Every item carries its own end; DynamoDB deletes late, so that end
//! is looked at here, too.
//!
//! | pk | sk | what |
//! |---|---|---|
//! | `update#ID` | `seen` | an update in work, or done |
//! | `chat#ID` | `settings` | language, confidence |
//! | `chat#ID` | `undo` | the last file ids that were sent |
//! | `chat#ID` | `album#GROUP` | the parts of an album |
//! | `chat#ID` | `album#GROUP/UPDATE` | the same, asked about with a button |
//! | `chat#ID` | `edit#MESSAGE` | the caption that a photo was answered for last |
//! | `chat#ID` | `predict#PREDICTION` | a photo that waits for the detector |
//! | `user#ID` | `rate#MINUTE` | how much a user asked for in a minute |
//! | `poller` | `lease` | who polls |

pub mod album;
pub mod chat;
pub mod predict;
pub mod seen;

use crate::trouble::Trouble;
use aws_sdk_dynamodb::{
    Client,
    error::SdkError,
    operation::update_item::{UpdateItemError, builders::UpdateItemFluentBuilder},
    types::AttributeValue,
};
use contract::record::{CHATS_PK, CHATS_SK, CHATS_TTL};
use std::{
    collections::HashMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// An item.
pub type Item = HashMap<String, AttributeValue>;

/// The chats table.
#[derive(Clone)]
pub struct Store {
    client: Client,
    table: String,
    /// This instance, as the leases name it.
    holder: String,
    /// How long a lease lasts without a sign of life.
    lease: Duration,
}

impl Store {
    /// The table, for an instance of a name of its own.
    pub fn new(client: Client, table: String, lease: Duration) -> Self {
        Self { client, table, holder: uuid::Uuid::new_v4().to_string(), lease }
    }

    /// How long a lease lasts without a sign of life.
    pub fn lease(&self) -> Duration {
        self.lease
    }

    /// Whether the table answers.
    pub async fn ready(&self) -> Result<(), Trouble> {
        self.item("poller", "lease").await.map(drop)
    }

    async fn item(&self, pk: &str, sk: &str) -> Result<Option<Item>, Trouble> {
        let get = self.client.get_item().table_name(&self.table).key(CHATS_PK, s(pk)).key(CHATS_SK, s(sk));
        let answer = get.consistent_read(true).send().await.map_err(Trouble::aws("GetItem"))?;
        Ok(answer.item.filter(|item| number(item, CHATS_TTL).is_none_or(|end: u64| end > seconds(now()))))
    }

    fn update(&self, pk: &str, sk: &str) -> UpdateItemFluentBuilder {
        self.client.update_item().table_name(&self.table).key(CHATS_PK, s(pk)).key(CHATS_SK, s(sk))
    }

    async fn delete(&self, pk: &str, sk: &str) -> Result<(), Trouble> {
        let delete = self.client.delete_item().table_name(&self.table).key(CHATS_PK, s(pk)).key(CHATS_SK, s(sk));
        delete.send().await.map(drop).map_err(Trouble::aws("DeleteItem"))
    }

    /// The items of a partition whose sort key begins so.
    async fn query(&self, pk: &str, sk_prefix: &str) -> Result<Vec<Item>, Trouble> {
        let query = self.client.query().table_name(&self.table).consistent_read(true);
        let condition = match sk_prefix {
            "" => query.key_condition_expression("pk = :pk"),
            prefix => query
                .key_condition_expression("pk = :pk AND begins_with(sk, :sk)")
                .expression_attribute_values(":sk", s(prefix)),
        };
        let pages = condition.expression_attribute_values(":pk", s(pk)).into_paginator().items().send();
        pages.collect::<Result<Vec<_>, _>>().await.map_err(Trouble::aws("Query"))
    }
}

/// How a conditional write ended.
enum Written {
    Yes(Option<Item>),
    ConditionFailed,
}

async fn conditional(update: UpdateItemFluentBuilder) -> Result<Written, Trouble> {
    match update.send().await {
        Ok(answer) => Ok(Written::Yes(answer.attributes)),
        Err(SdkError::ServiceError(e)) if matches!(e.err(), UpdateItemError::ConditionalCheckFailedException(_)) => {
            Ok(Written::ConditionFailed)
        }
        Err(e) => Err(Trouble::aws("UpdateItem")(e)),
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn seconds(time: Duration) -> u64 {
    time.as_secs()
}

fn millis(time: Duration) -> AttributeValue {
    n(time.as_millis())
}

fn ends_after(hours: u64) -> AttributeValue {
    n(seconds(now()) + hours * 3600)
}

fn s(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

fn n(number: impl std::fmt::Display) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

fn number<T: std::str::FromStr>(item: &Item, name: &str) -> Option<T> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

fn text<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}
