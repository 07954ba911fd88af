//! The updates of one bot that wait for delivery, whichever way the bot takes them. Pure: no clock, no network.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Kinds that a bot gets only if it asks for them by name.
const ON_REQUEST: [&str; 3] = ["chat_member", "message_reaction", "message_reaction_count"];
/// Updates that stay known after delivery, so that a test may have one delivered again.
const REMEMBERED: usize = 10_000;
/// An update is dropped so long after it was made.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Longest `Retry-After` that is obeyed.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);
/// A webhook that answers 410 for so long is closed.
const GONE_TIME: Duration = Duration::from_secs(23 * 60 * 60);

/// In what order updates that were held back go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Order {
    /// As they came, a chat's next one after the answer to the one before: Telegram's own way.
    AsQueued,
    /// Newest first and all at once, as no Telegram does: what a bot must bear after retries through two instances.
    Reversed,
    /// As they came, but all at once.
    Together,
}

/// An update.
#[derive(Debug, Clone)]
pub(super) struct Update {
    pub id: i64,
    /// The chat whose queue it is in.
    pub chat: i64,
    pub body: Value,
}

#[derive(Debug)]
struct Pending {
    update: Update,
    made: Instant,
    attempts: u32,
    not_before: Option<Instant>,
    in_flight: bool,
    /// Goes out without regard to the order of its chat.
    out_of_order: bool,
}

/// Where the updates go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Webhook {
    pub url: String,
    /// Counts `setWebhook` calls, so that an answer to an older one is not taken for the present one's.
    pub generation: u64,
    pub certificate: Option<String>,
    pub secret: Option<String>,
    pub ip_address: Option<String>,
    pub fixed_ip: bool,
    pub max_connections: usize,
}

/// `last_error_date` and `last_error_message`.
#[derive(Debug, Clone)]
pub(super) struct LastError {
    pub date: i64,
    pub message: String,
}

/// What came of an attempt.
#[derive(Debug, Clone)]
pub(super) enum Outcome {
    Done,
    Failed { retry_after: Option<Duration>, gone: bool, message: String },
}

/// What the dispatcher does next.
#[derive(Debug)]
pub(super) enum Next {
    Deliver { webhook: Webhook, update: Update, attempt: u32 },
    Wait(Instant),
    Idle,
}

/// The queue of one bot.
#[derive(Debug)]
pub(super) struct Queue {
    next_id: i64,
    pending: VecDeque<Pending>,
    recent: VecDeque<Update>,
    scale: f64,
    generations: u64,
    gone_since: Option<Instant>,
    held: bool,
    duplicates: u32,
    allowed: Option<Vec<String>>,
    pub webhook: Option<Webhook>,
    pub last_error: Option<LastError>,
    /// Number of the newest `getUpdates` call, which ends all older ones.
    pub poll: u64,
}

impl Queue {
    pub(super) fn new(first_id: i64, time_scale: f64) -> Self {
        Self {
            next_id: first_id,
            pending: VecDeque::new(),
            recent: VecDeque::new(),
            scale: time_scale.max(f64::MIN_POSITIVE),
            generations: 0,
            gone_since: None,
            held: false,
            duplicates: 0,
            allowed: None,
            webhook: None,
            last_error: None,
            poll: 0,
        }
    }

    fn scaled(&self, time: Duration) -> Duration {
        time.div_f64(self.scale)
    }

    /// Queues an update; nothing if the bot did not ask for this kind.
    pub(super) fn push(&mut self, chat: i64, kind: &'static str, content: Value, now: Instant) -> Option<i64> {
        let wanted = match &self.allowed {
            Some(kinds) => kinds.iter().any(|wanted| wanted == kind),
            None => !ON_REQUEST.contains(&kind),
        };
        if !wanted {
            return None;
        }
        let id = self.next_id;
        self.next_id += 1;
        let mut body = serde_json::Map::new();
        body.insert("update_id".into(), id.into());
        body.insert(kind.into(), content);
        let update = Update { id, chat, body: Value::Object(body) };
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(update.clone());
        self.enqueue(update.clone(), now, false);
        if self.duplicates > 0 {
            self.duplicates -= 1;
            self.enqueue(update, now, true);
        }
        Some(id)
    }

    fn enqueue(&mut self, update: Update, now: Instant, out_of_order: bool) {
        let pending = Pending { update, made: now, attempts: 0, not_before: None, in_flight: false, out_of_order };
        self.pending.push_back(pending);
    }

    /// Delivers each of the next `count` updates twice, the second one without regard to the order.
    pub(super) fn duplicate_next(&mut self, count: u32) {
        self.duplicates = count;
    }

    /// Queues an update again that was delivered already.
    pub(super) fn redeliver(&mut self, id: i64, now: Instant) -> bool {
        let known = self.recent.iter().find(|update| update.id == id).cloned();
        known.map(|update| self.enqueue(update, now, true)).is_some()
    }

    /// Queues updates, but delivers none until `release`.
    pub(super) fn hold(&mut self) {
        self.held = true;
    }

    pub(super) fn release(&mut self, order: Order) {
        self.held = false;
        if order != Order::AsQueued {
            self.pending.iter_mut().for_each(|pending| pending.out_of_order = true);
        }
        if order == Order::Reversed {
            self.pending.make_contiguous().reverse();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    pub(super) fn clear(&mut self) {
        self.pending.clear();
    }

    /// `allowed_updates` as given; an empty list stands for the default.
    pub(super) fn allow(&mut self, kinds: Vec<String>) {
        self.allowed = if kinds.is_empty() { None } else { Some(kinds) };
    }

    pub(super) fn allowed(&self) -> Option<&[String]> {
        self.allowed.as_deref()
    }

    /// Replaces the webhook. Deliveries on their way are not called back, but their failure counts no more.
    pub(super) fn set_webhook(&mut self, webhook: Option<Webhook>) {
        self.generations += 1;
        self.webhook = webhook.map(|webhook| Webhook { generation: self.generations, ..webhook });
        self.last_error = None;
        self.gone_since = None;
        for pending in &mut self.pending {
            pending.not_before = None;
            pending.attempts = 0;
        }
    }

    /// The next thing to do for the webhook.
    pub(super) fn next(&mut self, now: Instant) -> Next {
        let lifetime = self.scaled(LIFETIME);
        self.pending.retain(|pending| pending.in_flight || now.duration_since(pending.made) < lifetime);
        let Some(webhook) = self.webhook.clone().filter(|_| !self.held) else { return Next::Idle };
        if self.pending.iter().filter(|pending| pending.in_flight).count() >= webhook.max_connections {
            return Next::Idle;
        }
        let mut busy = HashSet::new();
        let mut wake: Option<Instant> = None;
        for pending in &mut self.pending {
            let free = pending.out_of_order || busy.insert(pending.update.chat);
            if !free || pending.in_flight {
                continue;
            }
            if let Some(time) = pending.not_before.filter(|time| *time > now) {
                wake = Some(wake.map_or(time, |wake| wake.min(time)));
                continue;
            }
            pending.in_flight = true;
            pending.attempts += 1;
            return Next::Deliver { webhook, update: pending.update.clone(), attempt: pending.attempts };
        }
        wake.map_or(Next::Idle, Next::Wait)
    }

    /// Takes note of what came of an attempt; `attempt` tells copies of one update apart.
    pub(super) fn finish(&mut self, update: i64, generation: u64, outcome: Outcome, now: Instant, date: i64) {
        let Some(index) = self.pending.iter().position(|pending| pending.in_flight && pending.update.id == update)
        else {
            return;
        };
        let present = self.webhook.as_ref().is_some_and(|webhook| webhook.generation == generation);
        match outcome {
            Outcome::Done => {
                self.pending.remove(index);
                if present {
                    self.gone_since = None;
                }
            }
            Outcome::Failed { retry_after, gone, message } => {
                let pause = retry_after
                    .map_or_else(|| pause(self.pending[index].attempts), |time| time.min(LONGEST_RETRY_AFTER));
                let not_before = now + self.scaled(pause);
                let pending = &mut self.pending[index];
                pending.in_flight = false;
                if present {
                    pending.not_before = Some(not_before);
                    self.last_error = Some(LastError { date, message });
                    self.note_gone(gone, now);
                }
            }
        }
    }

    fn note_gone(&mut self, gone: bool, now: Instant) {
        if !gone {
            self.gone_since = None;
            return;
        }
        let since = *self.gone_since.get_or_insert(now);
        if now.duration_since(since) >= self.scaled(GONE_TIME) {
            self.set_webhook(None);
        }
    }

    /// `getUpdates`: confirms what is below `offset` and returns what follows. A negative offset counts from the end.
    pub(super) fn poll(&mut self, offset: i64, limit: usize) -> Vec<Value> {
        if self.held {
            return Vec::new();
        }
        if offset > 0 {
            self.pending.retain(|pending| pending.update.id >= offset);
        } else if offset < 0 {
            let keep = usize::try_from(offset.unsigned_abs()).unwrap_or(usize::MAX);
            let surplus = self.pending.len().saturating_sub(keep);
            self.pending.drain(..surplus);
        }
        self.pending.iter().take(limit).map(|pending| pending.update.body.clone()).collect()
    }
}

/// The pause after this many failures: none after the first, then 2, 4, 8... seconds.
fn pause(failures: u32) -> Duration {
    match failures {
        0 | 1 => Duration::ZERO,
        more => Duration::from_secs(1 << (more - 1).min(6)).min(LONGEST_PAUSE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn queue() -> Queue {
        let mut queue = Queue::new(1, 1.0);
        queue.set_webhook(Some(Webhook { url: "https://a/".into(), max_connections: 40, ..Webhook::default() }));
        queue
    }

    fn delivered(queue: &mut Queue, now: Instant) -> Option<i64> {
        match queue.next(now) {
            Next::Deliver { update, .. } => Some(update.id),
            _ => None,
        }
    }

    fn failed() -> Outcome {
        Outcome::Failed { retry_after: None, gone: false, message: "no".into() }
    }

    #[test]
    fn a_chat_waits_for_its_answer_and_other_chats_do_not() {
        let (mut queue, now) = (queue(), Instant::now());
        for chat in [7, 7, 8] {
            queue.push(chat, "message", json!({}), now);
        }
        assert_eq!(delivered(&mut queue, now), Some(1));
        assert_eq!(delivered(&mut queue, now), Some(3));
        assert_eq!(delivered(&mut queue, now), None);
        queue.finish(1, 1, Outcome::Done, now, 0);
        assert_eq!(delivered(&mut queue, now), Some(2));
    }

    #[test]
    fn a_failure_is_tried_at_once_and_then_after_two_four_eight_seconds() {
        let (mut queue, mut now) = (queue(), Instant::now());
        queue.push(7, "message", json!({}), now);
        for pause in [0, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(delivered(&mut queue, now), Some(1));
            queue.finish(1, 1, failed(), now, 0);
            if pause > 0 {
                assert!(matches!(queue.next(now), Next::Wait(time) if time == now + Duration::from_secs(pause)));
            }
            now += Duration::from_secs(pause);
        }
    }

    #[test]
    fn retry_after_is_obeyed_up_to_an_hour() {
        let (mut queue, now) = (queue(), Instant::now());
        queue.push(7, "message", json!({}), now);
        for (asked, given) in [(5, 5), (7200, 3600)] {
            queue.set_webhook(queue.webhook.clone());
            let generation = queue.generations;
            assert_eq!(delivered(&mut queue, now), Some(1));
            let retry_after = Some(Duration::from_secs(asked));
            queue.finish(1, generation, Outcome::Failed { retry_after, gone: false, message: String::new() }, now, 0);
            assert!(matches!(queue.next(now), Next::Wait(time) if time == now + Duration::from_secs(given)));
        }
    }

    #[test]
    fn an_update_is_dropped_after_a_day_and_a_webhook_after_23_hours_of_410() {
        let (mut queue, now) = (queue(), Instant::now());
        queue.push(7, "message", json!({}), now);
        let gone = || Outcome::Failed { retry_after: None, gone: true, message: String::new() };
        assert_eq!(delivered(&mut queue, now), Some(1));
        queue.finish(1, 1, gone(), now, 0);
        let later = now + GONE_TIME;
        assert_eq!(delivered(&mut queue, later), Some(1));
        queue.finish(1, 1, gone(), later, 0);
        assert!(queue.webhook.is_none());
        assert_eq!(queue.len(), 1);
        assert!(matches!(queue.next(now + LIFETIME), Next::Idle));
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn no_more_than_max_connections_at_once() {
        let (mut queue, now) = (queue(), Instant::now());
        queue.set_webhook(Some(Webhook { max_connections: 2, ..Webhook::default() }));
        for chat in 1..=3 {
            queue.push(chat, "message", json!({}), now);
        }
        assert!(delivered(&mut queue, now).is_some());
        assert!(delivered(&mut queue, now).is_some());
        assert_eq!(delivered(&mut queue, now), None);
    }

    #[test]
    fn held_updates_go_out_in_the_order_that_a_test_asks_for() {
        let (mut queue, now) = (queue(), Instant::now());
        queue.hold();
        for _ in 0..3 {
            queue.push(7, "message", json!({}), now);
        }
        assert_eq!(delivered(&mut queue, now), None);
        queue.release(Order::Reversed);
        let order: Vec<_> = std::iter::from_fn(|| delivered(&mut queue, now)).collect();
        assert_eq!(order, [3, 2, 1]);
    }

    #[test]
    fn duplicates_go_out_twice() {
        let (mut queue, now) = (queue(), Instant::now());
        queue.duplicate_next(1);
        queue.push(7, "message", json!({}), now);
        queue.push(7, "message", json!({}), now);
        let order: Vec<_> = std::iter::from_fn(|| delivered(&mut queue, now)).collect();
        assert_eq!(order, [1, 1]);
        queue.finish(1, 1, Outcome::Done, now, 0);
        assert_eq!(delivered(&mut queue, now), Some(2));
    }

    #[test]
    fn kinds_on_request_come_only_when_asked_for() {
        let (mut queue, now) = (queue(), Instant::now());
        assert_eq!(queue.push(7, "chat_member", json!({}), now), None);
        queue.allow(vec!["message".into()]);
        assert_eq!(queue.push(7, "callback_query", json!({}), now), None);
        assert_eq!(queue.push(7, "message", json!({}), now), Some(1));
        queue.allow(Vec::new());
        assert_eq!(queue.push(7, "callback_query", json!({}), now), Some(2));
    }

    #[test]
    fn polling_confirms_by_offset() {
        let (mut queue, now) = (Queue::new(10, 1.0), Instant::now());
        for _ in 0..4 {
            queue.push(7, "message", json!({}), now);
        }
        let ids = |updates: Vec<Value>| -> Vec<i64> {
            updates.iter().map(|update| update["update_id"].as_i64().unwrap()).collect()
        };
        assert_eq!(ids(queue.poll(0, 2)), [10, 11]);
        assert_eq!(ids(queue.poll(12, 100)), [12, 13]);
        assert_eq!(ids(queue.poll(-1, 100)), [13]);
        assert_eq!(queue.len(), 1);
    }
}
