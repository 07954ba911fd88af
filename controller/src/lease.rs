//! Who works on a stack right now: a lease in the table `polybot-leases` of the account and region, outside every stack.
//!
//! It spares two controllers from tripping over each other; nothing depends on it for being right, since every pass starts
//! from what AWS has. It ends by itself, so there is no command to unlock: a holder that stops beating for the time to live
//! is succeeded. Whoever waits judges that by its own clock, watching whether the beat moves; only a lease whose stated end
//! lies more than one time to live in the past is taken at once, so clocks that differ by less than that do no harm. The time
//! to live is the holder's where that is the longer one: it beats at a pace of its own.

use crate::{
    aws::{Aws, Error, Result},
    stop::Stop,
};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TableStatus,
};
use std::{collections::HashMap, future::Future, sync::Arc, time::Duration};
use time::OffsetDateTime;
use tokio::{task::JoinHandle, time::Instant};

/// Name of the table.
pub const TABLE: &str = "polybot-leases";

/// A lease as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Who holds it; empty when it was given back.
    pub owner: String,
    /// Counts the holders: a number that a later holder never shares with an earlier one.
    pub fence: u64,
    /// Counts the signs of life.
    pub beat: u64,
    /// How many seconds it lasts without a sign of life.
    pub lasts: i64,
    /// When it ends if no further sign of life comes, in seconds since 1970, by the holder's clock.
    pub ends: i64,
}

/// Where leases are kept: a conditional store of one record a name.
pub trait Store: Send + Sync + 'static {
    /// The record, if there is one.
    fn read(&self, name: &str) -> impl Future<Output = Result<Option<Record>>> + Send;
    /// Writes a record if what is there still has this fence and beat (or nothing is there). Tells whether it did.
    fn write(&self, name: &str, seen: Option<(u64, u64)>, record: &Record)
    -> impl Future<Output = Result<bool>> + Send;
    /// Seconds since 1970.
    fn now(&self) -> i64 {
        OffsetDateTime::now_utc().unix_timestamp()
    }
}

/// How a lease is held.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Who wants it; shown to those who wait.
    pub owner: String,
    /// How long it lasts without a sign of life.
    pub time_to_live: Duration,
    /// How often one who waits looks again.
    pub poll: Duration,
}

impl Terms {
    /// Those of this process.
    pub fn of_this_process(time_to_live: Duration) -> Self {
        let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "this-machine".to_owned());
        let owner = format!("{host}/{}/{}", std::process::id(), uuid::Uuid::new_v4().simple());
        Self { owner, time_to_live, poll: Duration::from_secs(2).min(time_to_live / 4) }
    }

    /// How long it may be relied on after a sign of life was sent: it is let go before anybody else may take over, even if the
    /// store answers late or never.
    fn holds(&self) -> Duration {
        self.time_to_live * 3 / 4
    }

    fn record(&self, fence: u64, beat: u64, now: i64) -> Record {
        let lasts = i64::try_from(self.time_to_live.as_secs()).unwrap_or(i64::MAX);
        Record { owner: self.owner.clone(), fence, beat, lasts, ends: now.saturating_add(lasts) }
    }

    /// How long another's lease has to be silent before it is taken over.
    fn patience(&self, other: &Record) -> Duration {
        self.time_to_live.max(Duration::from_secs(other.lasts.try_into().unwrap_or(0)))
    }
}

/// A lease that is held; its beat goes on until it is given back or dropped.
#[derive(Debug)]
pub struct Lease<S: Store> {
    store: Arc<S>,
    name: String,
    fence: u64,
    lost: Stop,
    beating: JoinHandle<u64>,
    ended: Stop,
}

impl<S: Store> Lease<S> {
    /// Takes the lease, waiting while another holds it. `told` hears once of each holder that is waited for.
    pub async fn take(store: Arc<S>, name: &str, terms: &Terms, told: impl Fn(&Record)) -> Result<Self> {
        let mut watched: Option<(Record, Instant)> = None;
        loop {
            let seen = store.read(name).await?;
            let free = match &seen {
                None => true,
                Some(record) => {
                    let now = store.now();
                    let patience = terms.patience(record);
                    let lasts = i64::try_from(patience.as_secs()).unwrap_or(i64::MAX);
                    let still = match &watched {
                        Some((before, since)) if before == record => since.elapsed() > patience,
                        _ => {
                            let other = watched.as_ref().is_none_or(|(before, _)| before.owner != record.owner);
                            if other && !record.owner.is_empty() {
                                told(record);
                            }
                            watched = Some((record.clone(), Instant::now()));
                            false
                        }
                    };
                    record.owner.is_empty() || still || record.ends.saturating_add(lasts) < now
                }
            };
            if free {
                let fence = seen.as_ref().map_or(0, |r| r.fence) + 1;
                let record = terms.record(fence, 0, store.now());
                let of = seen.map(|r| (r.fence, r.beat));
                let begun = Instant::now();
                if store.write(name, of, &record).await? || own(&*store, name, terms, fence).await?.is_some() {
                    return Ok(Self::held(store, name, terms.clone(), fence, begun));
                }
                continue;
            }
            tokio::time::sleep(terms.poll).await;
        }
    }

    fn held(store: Arc<S>, name: &str, terms: Terms, fence: u64, begun: Instant) -> Self {
        let (lost, ended) = (Stop::default(), Stop::default());
        let beating = tokio::spawn({
            let (store, name, lost, ended) = (store.clone(), name.to_owned(), lost.clone(), ended.clone());
            async move {
                // The beat that is stored, and when it was sent: others count from no earlier than that.
                let (mut beat, mut last) = (0, begun);
                loop {
                    tokio::select! {
                        () = tokio::time::sleep(terms.time_to_live / 4) => {}
                        () = ended.asked() => return beat,
                    }
                    let (sent, end) = (Instant::now(), last + terms.holds());
                    match tokio::time::timeout_at(end, beaten(&*store, &name, &terms, (fence, beat))).await {
                        Ok(Ok(Some(stored))) => (beat, last) = (stored, sent),
                        Ok(Ok(None)) | Err(_) => break,
                        // A store that cannot be reached for a while is no reason to stop.
                        Ok(Err(error)) => tracing::debug!(%error, lease = name, "no beat"),
                    }
                }
                tracing::warn!(
                    lease = name,
                    "the lease was lost: another controller has it, or it could not be kept up"
                );
                lost.ask();
                beat
            }
        });
        Self { store, name: name.to_owned(), fence, lost, beating, ended }
    }

    /// Asked to stop when the lease is lost, or soon will be.
    pub fn lost(&self) -> &Stop {
        &self.lost
    }

    /// The number of this holder.
    pub fn fence(&self) -> u64 {
        self.fence
    }

    /// Gives it back, so that nobody has to wait for its end.
    pub async fn give_back(mut self) {
        self.ended.ask();
        if let Ok(beat) = (&mut self.beating).await
            && !self.lost.is_asked()
        {
            let free = Record { owner: String::new(), fence: self.fence, beat: beat + 1, lasts: 0, ends: 0 };
            // Otherwise it ends by itself.
            drop(self.store.write(&self.name, Some((self.fence, beat)), &free).await);
        }
    }
}

/// Writes the next beat, and tells which it was; `None` where the lease is another's. A write whose answer was lost has acted
/// and is refused when it is repeated: it goes on from what is stored.
async fn beaten<S: Store>(store: &S, name: &str, terms: &Terms, (fence, mut beat): (u64, u64)) -> Result<Option<u64>> {
    loop {
        if store.write(name, Some((fence, beat)), &terms.record(fence, beat + 1, store.now())).await? {
            return Ok(Some(beat + 1));
        }
        let Some(stored) = own(store, name, terms, fence).await? else { return Ok(None) };
        beat = stored;
    }
}

/// The beat that is stored, if the lease is this holder's.
async fn own<S: Store>(store: &S, name: &str, terms: &Terms, fence: u64) -> Result<Option<u64>> {
    let stored = store.read(name).await?;
    Ok(stored.filter(|r| r.owner == terms.owner && r.fence == fence).map(|r| r.beat))
}

impl<S: Store> Drop for Lease<S> {
    fn drop(&mut self) {
        self.beating.abort();
    }
}

/// Leases in DynamoDB.
#[derive(Debug)]
pub struct Table(aws_sdk_dynamodb::Client);

impl Table {
    /// The table of the account and region, which is made if it is not there.
    pub async fn open(aws: &Aws) -> Result<Self> {
        let client = &aws.dynamodb;
        let made = client
            .create_table()
            .table_name(TABLE)
            .billing_mode(BillingMode::PayPerRequest)
            .attribute_definitions(definition()?)
            .key_schema(key()?);
        loop {
            let status = match client.describe_table().table_name(TABLE).send().await.map_err(Error::from) {
                Ok(found) => found.table.and_then(|t| t.table_status),
                Err(e) if e.is_not_found() => {
                    match made.clone().send().await.map_err(Error::from) {
                        Ok(_) => {}
                        Err(e) if e.reason == crate::aws::Reason::Exists || e.is_transient() => {}
                        Err(e) => return Err(e),
                    }
                    None
                }
                Err(e) => return Err(e),
            };
            if status == Some(TableStatus::Active) {
                return Ok(Self(client.clone()));
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }
}

fn key() -> Result<KeySchemaElement> {
    let key = KeySchemaElement::builder().attribute_name("name").key_type(KeyType::Hash);
    key.build().map_err(|e| Error::internal(e.to_string()))
}

fn definition() -> Result<AttributeDefinition> {
    let name = AttributeDefinition::builder().attribute_name("name").attribute_type(ScalarAttributeType::S);
    name.build().map_err(|e| Error::internal(e.to_string()))
}

impl Store for Table {
    async fn read(&self, name: &str) -> Result<Option<Record>> {
        let key = AttributeValue::S(name.to_owned());
        let got = self.0.get_item().table_name(TABLE).key("name", key).consistent_read(true).send().await?;
        Ok(got.item.map(|item| Record {
            owner: item.get("owner").and_then(|v| v.as_s().ok()).cloned().unwrap_or_default(),
            fence: number(&item, "fence"),
            beat: number(&item, "beat"),
            lasts: number(&item, "lasts"),
            ends: number(&item, "ends"),
        }))
    }

    async fn write(&self, name: &str, seen: Option<(u64, u64)>, record: &Record) -> Result<bool> {
        let n = |n: &dyn ToString| AttributeValue::N(n.to_string());
        let mut call = self
            .0
            .put_item()
            .table_name(TABLE)
            .item("name", AttributeValue::S(name.to_owned()))
            .item("owner", AttributeValue::S(record.owner.clone()))
            .item("fence", n(&record.fence))
            .item("beat", n(&record.beat))
            .item("lasts", n(&record.lasts))
            .item("ends", n(&record.ends));
        call = match seen {
            None => call.condition_expression("attribute_not_exists(#n)").expression_attribute_names("#n", "name"),
            Some((fence, beat)) => call
                .condition_expression("fence = :f AND beat = :b")
                .expression_attribute_values(":f", n(&fence))
                .expression_attribute_values(":b", n(&beat)),
        };
        match call.send().await.map_err(Error::from) {
            Ok(_) => Ok(true),
            Err(e) if e.code == "ConditionalCheckFailedException" => Ok(false),
            Err(e) => Err(e),
        }
    }
}

fn number<N: std::str::FromStr + Default>(item: &HashMap<String, AttributeValue>, name: &str) -> N {
    item.get(name).and_then(|v| v.as_n().ok()?.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Debug, Default)]
    struct Memory {
        all: Mutex<HashMap<String, Record>>,
        /// Writes from now that act and are never answered, as by a network that loses the answer.
        unanswered: Mutex<u32>,
    }

    impl Store for Memory {
        async fn read(&self, name: &str) -> Result<Option<Record>> {
            Ok(self.all.lock().unwrap().get(name).cloned())
        }
        async fn write(&self, name: &str, seen: Option<(u64, u64)>, record: &Record) -> Result<bool> {
            let matches = {
                let mut all = self.all.lock().unwrap();
                let matches = all.get(name).map(|r| (r.fence, r.beat)) == seen;
                if matches {
                    all.insert(name.to_owned(), record.clone());
                }
                matches
            };
            let lost = {
                let mut left = self.unanswered.lock().unwrap();
                let lost = *left > 0;
                *left = left.saturating_sub(1);
                lost
            };
            // The SDK repeats a call that is not answered, and the repeat finds what the call has done.
            Ok(matches && !lost)
        }
    }

    fn terms(owner: &str) -> Terms {
        Terms { owner: owner.to_owned(), time_to_live: Duration::from_mins(1), poll: Duration::from_secs(2) }
    }

    #[tokio::test(start_paused = true)]
    async fn a_holder_that_dies_is_succeeded_within_the_time_to_live_a_thousand_times() {
        let store = Arc::new(Memory::default());
        let mut holder = Lease::take(store.clone(), "s", &terms("0"), |_| ()).await.unwrap();
        for n in 1..=1000 {
            // It lives for a while, whatever part of its beat that ends in.
            tokio::time::sleep(Duration::from_millis(n * 137 % 90_000)).await;
            assert!(!holder.lost().is_asked());
            let fence = holder.fence();
            drop(holder);
            let died = Instant::now();
            holder = Lease::take(store.clone(), "s", &terms(&n.to_string()), |_| ()).await.unwrap();
            assert!(died.elapsed() <= Duration::from_secs(64), "{:?}", died.elapsed());
            assert!(holder.fence() > fence);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_holder_does_not_lose_it_to_itself_when_an_answer_is_lost() {
        let store = Arc::new(Memory::default());
        *store.unanswered.lock().unwrap() = 1;
        let begun = Instant::now();
        let holder = Lease::take(store.clone(), "s", &terms("first"), |_| ()).await.unwrap();
        assert_eq!(begun.elapsed(), Duration::ZERO, "it does not wait for itself");
        for _ in 0..20 {
            *store.unanswered.lock().unwrap() = 1;
            tokio::time::sleep(Duration::from_secs(16)).await;
            assert!(!holder.lost().is_asked());
        }
        holder.give_back().await;
        assert_eq!(store.read("s").await.unwrap().unwrap().owner, "", "its beat is known to the end");
    }

    /// A store that stops answering at some time.
    #[derive(Debug, Default)]
    struct Silent(Memory, Stop);

    impl Store for Silent {
        async fn read(&self, name: &str) -> Result<Option<Record>> {
            self.0.read(name).await
        }
        async fn write(&self, name: &str, seen: Option<(u64, u64)>, record: &Record) -> Result<bool> {
            if self.1.is_asked() {
                std::future::pending::<()>().await;
            }
            self.0.write(name, seen, record).await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_holder_whose_store_is_silent_lets_go_before_anybody_else_may_take_over() {
        for later in 0..60 {
            let store = Arc::new(Silent::default());
            let begun = Instant::now();
            let holder = Lease::take(store.clone(), "s", &terms("first"), |_| ()).await.unwrap();
            tokio::time::sleep(Duration::from_secs(later)).await;
            store.1.ask();
            let beats = store.read("s").await.unwrap().unwrap().beat;
            holder.lost().asked().await;
            // A beat comes every 15 s, and whoever waits takes over 60 s after the last one.
            let last = begun + Duration::from_secs(15) * u32::try_from(beats).unwrap();
            assert!(last.elapsed() <= Duration::from_secs(45), "{later}: {:?}", last.elapsed());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_at_a_time_holds_it_and_what_is_given_back_is_free_at_once() {
        let store = Arc::new(Memory::default());
        let first = Lease::take(store.clone(), "s", &terms("first"), |_| ()).await.unwrap();
        let told = Arc::new(Mutex::new(vec![]));
        let second = tokio::spawn({
            let (store, told) = (store.clone(), told.clone());
            async move {
                let hear = |r: &Record| told.lock().unwrap().push(r.owner.clone());
                Lease::take(store, "s", &terms("second"), hear).await.unwrap()
            }
        });
        tokio::time::sleep(Duration::from_hours(1)).await;
        assert!(!second.is_finished(), "a living holder is not robbed");
        assert_eq!(*told.lock().unwrap(), ["first"]);
        first.give_back().await;
        let begun = Instant::now();
        let second = second.await.unwrap();
        assert!(begun.elapsed() <= Duration::from_secs(2));
        assert_eq!(second.fence(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_holder_that_beats_more_slowly_is_given_its_own_time() {
        let store = Arc::new(Memory::default());
        let slow = Lease::take(store.clone(), "s", &terms("slow"), |_| ()).await.unwrap();
        let hasty = Terms { time_to_live: Duration::from_secs(6), ..terms("hasty") };
        let begun = Instant::now();
        let taken = Lease::take(store.clone(), "s", &hasty, |_| ());
        // It beats every 15 s.
        tokio::time::timeout(Duration::from_mins(10), taken).await.expect_err("a living holder is not robbed");
        drop(slow);
        let _taken = Lease::take(store.clone(), "s", &hasty, |_| ()).await.unwrap();
        assert!(begun.elapsed() > Duration::from_mins(11), "nor one that may only be late: {:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_asleep_too_long_learns_that_it_lost() {
        let store = Arc::new(Memory::default());
        let first = Lease::take(store.clone(), "s", &terms("first"), |_| ()).await.unwrap();
        // Another one took over while this process was stopped.
        let seen = store.read("s").await.unwrap().unwrap();
        let usurper = terms("second").record(seen.fence + 1, 0, 0);
        assert!(store.write("s", Some((seen.fence, seen.beat)), &usurper).await.unwrap());
        first.lost().asked().await;
        first.give_back().await;
        assert_eq!(store.read("s").await.unwrap().unwrap().owner, "second", "it takes nothing from the new holder");
    }
}
