//! How fast a service may be called: no faster than its limit, and slower for a while after it has throttled.
//!
//! The wait stands before the call is sent, below the SDK's own retries, so that every attempt counts. All stacks of an account
//! and region share it, whatever roles they take, because AWS counts by account and region; those of an account, where a service
//! has no regions.

use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
    },
    orchestrator::HttpRequest,
    runtime_components::RuntimeComponents,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, sleep_until};

/// How many calls a service takes.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Calls at once after a time of rest.
    pub burst: u32,
    /// Calls a second in the long run; zero is no limit.
    pub per_second: u32,
}

/// Limits by the SDK's names of services; a service without one is called as fast as it answers, until it throttles. Clones share
/// what has been called and what throttling has taught.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    rates: Vec<(&'static str, Rate)>,
    paces: Arc<Mutex<BTreeMap<Whose, Pace>>>,
}

/// Account, region and service.
type Whose = (String, String, &'static str);

/// Services that count the calls of an account in all regions together.
const GLOBAL: [&str; 2] = ["iam", "route53"];

impl Limits {
    /// What AWS allows. Route 53 takes five calls a second for an account, whoever makes them; two are left for others
    /// (<https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/DNSLimitations.html>).
    pub fn of_aws() -> Self {
        Self::new([("route53", Rate { burst: 3, per_second: 3 })])
    }

    /// Limits of one's own.
    pub fn new(limits: impl IntoIterator<Item = (&'static str, Rate)>) -> Self {
        Self { rates: limits.into_iter().collect(), paces: Arc::default() }
    }

    pub(super) fn of(&self, account: &str, region: &str, service: &'static str) -> Pace {
        let region = if GLOBAL.contains(&service) { "" } else { region };
        let mut paces = self.paces.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            let rate = self.rates.iter().find(|(name, _)| *name == service).map(|(_, rate)| *rate);
            Pace(Arc::new(Mutex::new(State::new(rate.unwrap_or(Rate { burst: 1, per_second: 0 })))))
        };
        paces.entry((account.to_owned(), region.to_owned(), service)).or_insert_with(new).clone()
    }
}

/// The pace of one service.
#[derive(Clone, Debug)]
pub(super) struct Pace(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// Time between two calls in the long run by the limit.
    least: Duration,
    /// And now, with what throttling has taught.
    gap: Duration,
    burst: u32,
    /// When the next call would be due if none came in a burst.
    due: Instant,
    /// When it last throttled.
    throttled: Option<Instant>,
}

/// The gap after the first throttling, and the longest one.
const FIRST_GAP: Duration = Duration::from_millis(50);
const LONGEST_GAP: Duration = Duration::from_secs(2);
/// Refusals within this time answer calls that were sent together: they are one throttling.
const TOGETHER: Duration = Duration::from_millis(100);

impl State {
    fn new(Rate { burst, per_second }: Rate) -> Self {
        let least = Duration::from_secs(1).checked_div(per_second).unwrap_or_default();
        let now = Instant::now();
        let rested = now.checked_sub(least * burst).unwrap_or(now);
        Self { least, gap: least, burst, due: rested, throttled: None }
    }

    /// When the next call may go, which is then taken.
    fn take(&mut self) -> Instant {
        let now = Instant::now();
        // A rest is saved up as a burst, but for a service that has just throttled.
        let burst = if self.gap > self.least { 1 } else { self.burst };
        let saved = self.gap * burst.saturating_sub(1);
        self.due = self.due.max(now.checked_sub(saved).unwrap_or(now));
        let turn = self.due.max(now);
        self.due += self.gap;
        turn
    }
}

impl Pace {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a turn.
    pub(super) async fn turn(&self) {
        let at = self.lock().take();
        sleep_until(at).await;
    }

    /// The service had too many calls: half as fast from now on.
    pub(super) fn throttled(&self) {
        let (mut state, now) = (self.lock(), Instant::now());
        if state.throttled.replace(now).is_some_and(|last| now - last < TOGETHER) {
            return;
        }
        state.gap = (state.gap * 2).clamp(FIRST_GAP, LONGEST_GAP.max(state.least));
        state.due = state.due.max(now + state.gap);
    }

    /// The service answered: a little faster again.
    pub(super) fn answered(&self) {
        let mut state = self.lock();
        let eased = state.gap.mul_f64(0.9);
        state.gap = if eased < FIRST_GAP / 10 { state.least } else { eased.max(state.least) };
    }

    /// An HTTP client that keeps this pace.
    pub(super) fn client(&self, http: SharedHttpClient) -> SharedHttpClient {
        SharedHttpClient::new(Paced { http, pace: self.clone() })
    }
}

#[derive(Debug)]
struct Paced {
    http: SharedHttpClient,
    pace: Pace,
}

impl HttpClient for Paced {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let connector = self.http.http_connector(settings, components);
        SharedHttpConnector::new(PacedConnector { connector, pace: self.pace.clone() })
    }
}

#[derive(Debug)]
struct PacedConnector {
    connector: SharedHttpConnector,
    pace: Pace,
}

impl HttpConnector for PacedConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (connector, pace) = (self.connector.clone(), self.pace.clone());
        HttpConnectorFuture::new(async move {
            pace.turn().await;
            connector.call(request).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn took(pace: &Pace, calls: u32) -> Duration {
        let begun = Instant::now();
        let turns = (0..calls).map(|_| pace.turn());
        futures::future::join_all(turns).await;
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_holds_after_a_burst_whoever_calls() {
        let pace = Limits::of_aws().of("1", "us-east-1", "route53");
        assert_eq!(took(&pace, 3).await, Duration::ZERO);
        let more = took(&pace.clone(), 30).await;
        assert!(more > Duration::from_millis(9_900) && more < Duration::from_millis(10_100), "{more:?}");
        tokio::time::advance(Duration::from_mins(1)).await;
        assert_eq!(took(&pace, 3).await, Duration::ZERO, "a rest is a burst of three and no more");
        assert!(took(&pace, 1).await > Duration::from_millis(300));
    }

    #[test]
    fn what_an_account_may_do_is_one_whatever_region_or_role_it_is_seen_through() {
        let limits = Limits::of_aws();
        let same = |a: &Pace, b: &Pace| Arc::ptr_eq(&a.0, &b.0);
        let of = |account, region, service| limits.clone().of(account, region, service);
        assert!(same(&of("1", "us-east-1", "ec2"), &of("1", "us-east-1", "ec2")));
        assert!(same(&of("1", "us-east-1", "route53"), &of("1", "eu-west-1", "route53")), "it has no regions");
        assert!(!same(&of("1", "us-east-1", "ec2"), &of("1", "eu-west-1", "ec2")));
        assert!(!same(&of("1", "us-east-1", "ec2"), &of("2", "us-east-1", "ec2")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_throttles_is_called_more_slowly_until_it_answers_again() {
        let pace = Limits::of_aws().of("1", "us-east-1", "ec2");
        assert_eq!(took(&pace, 1000).await, Duration::ZERO, "no limit");
        for _ in 0..3 {
            (0..10).for_each(|_| pace.throttled());
            tokio::time::advance(TOGETHER).await;
        }
        let slow = took(&pace, 10).await;
        assert!(slow >= Duration::from_millis(1_800), "200 ms between two: {slow:?}");
        for _ in 0..100 {
            pace.throttled();
            tokio::time::advance(TOGETHER).await;
        }
        assert!(took(&pace, 2).await <= LONGEST_GAP * 2, "patience has an end");
        for _ in 0..100 {
            pace.answered();
        }
        tokio::time::advance(LONGEST_GAP * 2).await;
        assert_eq!(took(&pace, 1000).await, Duration::ZERO);
    }
}
