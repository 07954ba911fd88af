//! What happened, for tests and for `GET /control/calls` and `/control/deliveries`. Old entries fall off.

use std::collections::VecDeque;

use serde::Serialize;
use serde_json::Value;

/// A call of the Bot API.
#[derive(Debug, Clone, Serialize)]
pub struct Call {
    /// Number of the call, from 1.
    pub number: u64,
    /// The bot's id.
    pub bot: i64,
    /// Method in Telegram's spelling, such as `sendPhoto`.
    pub method: String,
    /// Arguments; a file is described in words.
    pub params: Value,
    /// HTTP status of the answer; none if the connection was dropped or the call is still in work.
    pub status: Option<u16>,
    /// `description` of a refusal.
    pub error: Option<String>,
}

/// One attempt to deliver an update to the webhook.
#[derive(Debug, Clone, Serialize)]
pub struct Delivery {
    /// The bot's id.
    pub bot: i64,
    /// `update_id`.
    pub update: i64,
    /// Where it went.
    pub url: String,
    /// 1 for the first try.
    pub attempt: u32,
    /// HTTP status of the answer, if there was one.
    pub status: Option<u16>,
    /// What `last_error_message` says, if it failed.
    pub error: Option<String>,
    /// How long it took.
    pub milliseconds: u64,
}

/// A list that keeps its newest entries.
#[derive(Debug)]
pub(super) struct Log<T> {
    entries: VecDeque<T>,
    limit: usize,
    total: u64,
}

impl<T: Clone> Log<T> {
    pub(super) fn new(limit: usize) -> Self {
        Self { entries: VecDeque::new(), limit, total: 0 }
    }

    /// Adds an entry and returns its number, from 1.
    pub(super) fn push(&mut self, entry: impl FnOnce(u64) -> T) -> u64 {
        self.total += 1;
        if self.entries.len() == self.limit {
            self.entries.pop_front();
        }
        self.entries.push_back(entry(self.total));
        self.total
    }

    /// The entry of this number, unless it fell off.
    pub(super) fn entry(&mut self, number: u64) -> Option<&mut T> {
        let first = self.total - self.entries.len() as u64 + 1;
        let index = usize::try_from(number.checked_sub(first)?).ok()?;
        self.entries.get_mut(index)
    }

    pub(super) fn all(&self) -> Vec<T> {
        self.entries.iter().cloned().collect()
    }
}
