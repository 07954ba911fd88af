//! Keeps stacks as their specs say, pass after pass, until told to stop.

mod pass;

pub use pass::{Pass, Permit, Seen, Terms, Withheld, pass};

use crate::{
    aws::Regions,
    reconcile::{ConnectError, Connection},
    spec::PolybotStack,
    stop::Stop,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{Semaphore, watch};

/// How one pass ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// AWS was as the spec says.
    Quiet,
    /// Something was changed.
    Wrote,
    /// AWS is at work on something.
    Waiting,
    /// Only a person can go on; until then the rest is kept.
    Blocked,
    /// Something failed.
    Failed,
}

impl End {
    /// Its name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::Wrote => "wrote",
            Self::Waiting => "waiting",
            Self::Blocked => "blocked",
            Self::Failed => "failed",
        }
    }
}

/// When to look again. A stack at work is looked at often, one that fails with growing patience, one that has been quiet for
/// long less often.
#[derive(Clone, Debug)]
pub struct Pace {
    interval: Duration,
    quiet: u32,
    busy: u32,
    failed: u32,
}

impl Pace {
    const SHORTEST: Duration = Duration::from_secs(5);

    /// A quiet stack is looked at once an interval.
    pub fn new(interval: Duration) -> Self {
        Self { interval, quiet: 0, busy: 0, failed: 0 }
    }

    /// How long to wait after a pass that ended so. `chance` is a number from 0 to 1 that spreads passes of many stacks.
    pub fn next(&mut self, end: End, chance: f64) -> Duration {
        let count = |same: u32, is: bool| if is { same + 1 } else { 0 };
        self.quiet = count(self.quiet, matches!(end, End::Quiet | End::Blocked));
        self.busy = count(self.busy, end == End::Waiting);
        self.failed = count(self.failed, end == End::Failed);
        let wait = match end {
            // The next pass sees whether that was all.
            End::Wrote => Duration::from_millis(500),
            End::Waiting => {
                Self::SHORTEST.mul_f64(1.3_f64.powi(self.busy.min(12).cast_signed() - 1)).min(Duration::from_mins(1))
            }
            End::Failed => Self::SHORTEST * 2_u32.pow(self.failed.min(10) - 1),
            // After an hour or so of quiet, half as often; after two, a quarter.
            End::Quiet | End::Blocked => self.interval * (1 << (self.quiet / 12).min(2)),
        };
        let longest = if end == End::Failed { self.interval } else { wait };
        wait.min(longest).min(self.interval * 4).mul_f64(0.9 + 0.2 * chance.clamp(0.0, 1.0))
    }
}

/// How one stack has fared from pass to pass: what its pace and its metrics are made of.
#[derive(Clone, Debug)]
pub struct Course {
    pace: Pace,
    unsettled_since: Option<Instant>,
}

impl Course {
    /// A stack that is looked at once an interval when it is at rest.
    pub fn new(interval: Duration) -> Self {
        Self { pace: Pace::new(interval), unsettled_since: None }
    }

    /// Takes another interval; how long the stack has been quiet or failing still counts.
    pub fn every(&mut self, interval: Duration) {
        self.pace.interval = interval;
    }

    /// Notes a pass, and tells when the next one is due.
    pub fn passed(&mut self, stack: &str, end: End, begun: Instant) -> Duration {
        let label = || stack.to_owned();
        metrics::counter!("polybot_passes_total", "stack" => label(), "end" => end.name()).increment(1);
        metrics::histogram!("polybot_pass_seconds", "stack" => label()).record(begun.elapsed());
        match (end, self.unsettled_since) {
            (End::Quiet, Some(since)) => {
                metrics::histogram!("polybot_converge_seconds", "stack" => label()).record(since.elapsed());
                self.unsettled_since = None;
            }
            (End::Quiet, None) | (_, Some(_)) => {}
            (_, None) => self.unsettled_since = Some(begun),
        }
        metrics::gauge!("polybot_unsettled_seconds", "stack" => label())
            .set(self.unsettled_since.map_or(0.0, |since| since.elapsed().as_secs_f64()));
        self.pace.next(end, rand::random())
    }
}

/// Keeps one stack: a pass, a wait, a pass, each when it is its turn. Takes up each new spec at once. Returns when asked to stop, after the steps that run
/// have ended.
pub async fn keep(
    mut specs: watch::Receiver<Arc<PolybotStack>>,
    regions: Regions,
    interval: Duration,
    lease: Duration,
    turns: Arc<Semaphore>,
    stop: Stop,
    told: impl Fn(&str, End),
) {
    let mut course = Course::new(interval);
    let terms = Terms { lease: Some(lease), ..Terms::default() };
    while !stop.is_asked() {
        let spec = specs.borrow_and_update().clone();
        let name = spec.metadata.name.clone().unwrap_or_default();
        let turn = tokio::select! {
            turn = turns.acquire() => turn,
            () = stop.asked() => return,
        };
        let begun = Instant::now();
        let end = match Connection::open(spec.clone(), &regions).await {
            Ok(connection) => pass(&connection, &terms, &stop).await.end,
            Err(error) => {
                report_connect_error(&name, &error);
                End::Failed
            }
        };
        drop(turn);
        told(&name, end);
        let wait = course.passed(&name, end, begun);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            changed = specs.changed() => if changed.is_err() { return },
            () = stop.asked() => return,
        }
    }
}

fn report_connect_error(name: &str, error: &ConnectError) {
    let cause = std::error::Error::source(error).map(|e| format!(": {e}")).unwrap_or_default();
    tracing::error!(stack = name, "cannot start: {error}{cause}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_stacks_are_looked_at_less_and_failing_ones_with_growing_patience() {
        let mut pace = Pace::new(Duration::from_mins(5));
        assert_eq!(pace.next(End::Quiet, 0.5), Duration::from_mins(5));
        let day: Duration = (0..40).map(|_| pace.next(End::Quiet, 0.5)).sum();
        assert!(day > Duration::from_hours(8), "{day:?}");
        assert_eq!(pace.next(End::Quiet, 0.5), Duration::from_mins(20));
        assert_eq!(pace.next(End::Wrote, 0.5), Duration::from_millis(500));
        assert_eq!(pace.next(End::Quiet, 0.5), Duration::from_mins(5), "a change wakes it");
        let fails: Vec<_> = (0..8).map(|_| pace.next(End::Failed, 0.5).as_secs()).collect();
        assert_eq!(fails, [5, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(pace.next(End::Failed, 1.0), Duration::from_secs(330), "spread");
    }
}
