//! Keeps stacks as their specs say, pass after pass, until told to stop.

mod pass;

pub use pass::{Obstacle, Pass, Permit, Seen, Terms, Withheld, Witness, pass};

use crate::{
    aws::{Leeway, Regions, STACKS_IN_FULL},
    reconcile::{ConnectError, Connection},
    spec::PolybotStack,
    stop::Stop,
};
use kube::ResourceExt;
use metrics::Label;
use std::{
    collections::BTreeSet,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{Semaphore, watch};

/// Which stack: what tells it from all others that a process may keep, in metrics, in logs, and for people.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Title {
    /// In a cluster, the namespace of its object.
    pub namespace: Option<String>,
    /// Its name.
    pub stack: String,
    /// Its region.
    pub region: String,
    /// Its account, where the spec names one.
    pub account: Option<String>,
}

impl Title {
    /// That of a stack.
    pub fn of(stack: &PolybotStack) -> Self {
        let account = stack.spec.account_id.as_ref().map(ToString::to_string);
        Self { namespace: stack.namespace(), stack: stack.name_any(), region: stack.spec.region.to_string(), account }
    }

    /// The labels of its metrics.
    pub fn labels(&self) -> Vec<Label> {
        let mut labels = vec![Label::new("stack", self.stack.clone()), Label::new("region", self.region.clone())];
        labels.extend(self.namespace.iter().map(|n| Label::new("namespace", n.clone())));
        labels.extend(self.account.iter().map(|a| Label::new("account", a.clone())));
        labels
    }

    /// The same, and one more.
    fn labels_and(&self, name: &'static str, value: &'static str) -> Vec<Label> {
        let mut labels = self.labels();
        labels.push(Label::from_static_parts(name, value));
        labels
    }
}

impl fmt::Display for Title {
    /// `prod in us-east-1`, and what else there is to it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        write!(f, "{} in {}", self.stack, self.region)?;
        self.account.iter().try_for_each(|account| write!(f, " of {account}"))
    }
}

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
    /// The interval of stacks for which nobody has set one.
    usual: Duration,
    /// Whether a person has set the interval: then it is kept.
    fixed: bool,
    /// How long the last pass let the stack alone.
    wait: Duration,
    /// Whether the last pass found nothing to do, and nothing for a person to do.
    rests: bool,
    quiet: u32,
    wrote: u32,
    busy: u32,
    failed: u32,
}

/// The longest that any stack is left alone where passes are to come once in that interval.
pub fn longest_wait(interval: Duration) -> Duration {
    const LONGEST_SET: Duration = Duration::from_hours(24);
    let wait = interval.saturating_mul(4).max(LONGEST_SET);
    wait.saturating_add(wait / 10)
}

impl Pace {
    const SHORTEST: Duration = Duration::from_secs(5);
    /// Passes in a row that change something, after which somebody else must be changing it back.
    const FIGHT: u32 = 6;

    /// A quiet stack is looked at once an interval.
    pub fn new(interval: Duration) -> Self {
        Self {
            interval,
            usual: interval,
            fixed: false,
            wait: interval,
            rests: false,
            quiet: 0,
            wrote: 0,
            busy: 0,
            failed: 0,
        }
    }

    /// How old that may be in which the next pass sees that there is nothing to do. Of lists of the region, half of what lies
    /// between two passes; of details, where the stack is at rest and nobody has set how often to look, so much that all stacks
    /// together ask for them about as often as ten do.
    pub fn leeway(&self) -> Leeway {
        let details = if self.rests && !self.fixed { self.usual / STACKS_IN_FULL } else { Duration::ZERO };
        Leeway { lists: self.wait.min(self.usual) / 2, details }
    }

    /// How long to wait after a pass that ended so. `chance` is a number from 0 to 1 that spreads passes of many stacks.
    pub fn next(&mut self, end: End, chance: f64) -> Duration {
        self.rests = end == End::Quiet;
        let count = |same: u32, is: bool| if is { same + 1 } else { 0 };
        self.quiet = count(self.quiet, matches!(end, End::Quiet | End::Blocked));
        self.wrote = count(self.wrote, end == End::Wrote);
        self.busy = count(self.busy, end == End::Waiting);
        self.failed = count(self.failed, end == End::Failed);
        let growing = |times: u32| Self::SHORTEST * 2_u32.pow(times.min(10));
        let wait = match end {
            // The next pass sees whether that was all.
            End::Wrote if self.wrote < Self::FIGHT => Duration::from_millis(500),
            End::Wrote => growing(self.wrote - Self::FIGHT).min(self.interval),
            End::Waiting => {
                Self::SHORTEST.mul_f64(1.3_f64.powi(self.busy.min(12).cast_signed() - 1)).min(Duration::from_mins(1))
            }
            End::Failed => growing(self.failed - 1),
            End::Quiet | End::Blocked if self.fixed => self.interval,
            // After twelve quiet passes, half as often; after twelve more, a quarter.
            End::Quiet | End::Blocked => self.interval * (1 << (self.quiet / 12).min(2)),
        };
        let longest = if end == End::Failed { self.interval } else { wait };
        self.wait = wait.min(longest).min(self.interval * 4).mul_f64(0.9 + 0.2 * chance.clamp(0.0, 1.0));
        self.wait
    }
}

/// How one stack has fared from pass to pass: what its pace, its metrics and its log are made of.
#[derive(Clone, Debug)]
pub struct Course {
    title: Title,
    pace: Pace,
    unsettled_since: Option<Instant>,
    drift_since: Option<Instant>,
    obstacles: BTreeSet<Obstacle>,
}

impl Course {
    /// A stack that is looked at once an interval when it is at rest.
    pub fn new(title: Title, interval: Duration) -> Self {
        let pace = Pace::new(interval);
        Self { title, pace, unsettled_since: None, drift_since: None, obstacles: BTreeSet::new() }
    }

    /// Takes an interval that a person has set for this stack, or the usual one; how long it has been quiet or failing still
    /// counts.
    pub fn every(&mut self, set: Option<Duration>, usual: Duration) {
        (self.pace.interval, self.pace.usual, self.pace.fixed) = (set.unwrap_or(usual), usual, set.is_some());
    }

    /// How old that may be in which the next pass sees that there is nothing to do.
    pub fn leeway(&self) -> Leeway {
        self.pace.leeway()
    }

    /// Forgets that the stack was at rest: somebody may have been at it.
    pub fn stirred(&mut self) {
        (self.pace.rests, self.pace.quiet) = (false, 0);
    }

    /// Notes a pass, and tells when the next one is due. What stands in the way is logged when it comes up, not in each pass.
    pub fn passed(&mut self, end: End, begun: Instant, obstacles: Vec<Obstacle>) -> Duration {
        let title = &self.title;
        metrics::counter!("polybot_passes_total", title.labels_and("end", end.name())).increment(1);
        metrics::histogram!("polybot_pass_seconds", title.labels()).record(begun.elapsed());
        match (end, self.unsettled_since) {
            (End::Quiet, Some(since)) => {
                metrics::histogram!("polybot_converge_seconds", title.labels()).record(since.elapsed());
                self.unsettled_since = None;
            }
            (End::Quiet, None) | (_, Some(_)) => {}
            (_, None) => self.unsettled_since = Some(begun),
        }
        since("polybot_unsettled_seconds", title, self.unsettled_since);
        let obstacles = BTreeSet::from_iter(obstacles);
        for obstacle in obstacles.difference(&self.obstacles) {
            let Obstacle { address, what, why, hint } = obstacle;
            tracing::warn!(stack = %title, address, why, hint, "{what}");
        }
        if obstacles.is_empty() && !self.obstacles.is_empty() {
            tracing::info!(stack = %title, "nothing stands in the way any more");
        }
        self.obstacles = obstacles;
        let wait = self.pace.next(end, rand::random());
        if self.pace.wrote == Pace::FIGHT {
            tracing::warn!(
                stack = %title,
                "each of the last {} passes changed something: somebody changes it back, or AWS keeps another value than it \
                 is given; `controller drift` tells who",
                Pace::FIGHT
            );
        }
        wait
    }

    /// Notes whether a pass has found drift.
    fn drifted(&mut self, drift: bool, begun: Instant) {
        self.drift_since = drift.then(|| self.drift_since.unwrap_or(begun));
        since("polybot_drift_seconds", &self.title, self.drift_since);
    }

    /// Takes back what its gauges say: nobody keeps the stack any more, so that no alarm may ring for it.
    pub fn ended(&self) {
        since("polybot_unsettled_seconds", &self.title, None);
        pass::no_findings(&self.title);
    }
}

/// A gauge of how long something has lasted; 0 where it does not.
fn since(name: &'static str, title: &Title, since: Option<Instant>) {
    metrics::gauge!(name, title.labels()).set(since.map_or(0.0, |since| since.elapsed().as_secs_f64()));
}

/// Keeps one stack: a pass, a wait, a pass, each when it is its turn. Takes up each new spec at once. Returns when asked to
/// stop, after the steps that run have ended. `told` hears of each pass how it ended and what stands in the way.
pub async fn keep(
    mut specs: watch::Receiver<Arc<PolybotStack>>,
    regions: Regions,
    interval: Duration,
    lease: Duration,
    turns: Arc<Semaphore>,
    stop: Stop,
    told: impl Fn(End, &[Obstacle]),
) {
    let mut course = Course::new(Title::of(&specs.borrow()), interval);
    while !stop.is_asked() {
        let spec = specs.borrow_and_update().clone();
        let turn = tokio::select! {
            turn = turns.acquire() => turn,
            () = stop.asked() => break,
        };
        let begun = Instant::now();
        let (end, obstacles) = match Connection::open(spec.clone(), &regions).await {
            Ok(connection) => {
                let terms = Terms { lease: Some(lease), leeway: course.leeway(), ..Terms::default() };
                let passed = pass(&connection, &terms, &(), &stop).await;
                course.drifted(!passed.seen.drift.is_empty(), begun);
                (passed.end, passed.obstacles())
            }
            Err(error) => (End::Failed, vec![unreached(&error)]),
        };
        drop(turn);
        told(end, &obstacles);
        let wait = course.passed(end, begun, obstacles);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            changed = specs.changed() => match changed {
                Ok(()) => course.stirred(),
                Err(_) => break,
            },
            () = stop.asked() => break,
        }
    }
    course.ended();
    course.drifted(false, Instant::now());
}

fn unreached(error: &ConnectError) -> Obstacle {
    let cause = std::error::Error::source(error).map(|e| format!(": {e}")).unwrap_or_default();
    Obstacle { address: "AWS".to_owned(), what: "cannot be reached", why: format!("{error}{cause}"), hint: None }
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
        let mut pace = Pace::new(Duration::from_hours(12));
        let longest = (0..40).map(|_| pace.next(End::Quiet, 1.0)).max().unwrap();
        assert_eq!(longest.as_secs(), longest_wait(Duration::from_hours(12)).as_secs());
    }

    #[test]
    fn a_stack_that_somebody_changes_back_is_not_fought_for_at_full_speed() {
        let mut pace = Pace::new(Duration::from_mins(5));
        let waits: Vec<_> = (0..14).map(|_| pace.next(End::Wrote, 0.5).as_millis()).collect();
        assert_eq!(waits[..5], [500; 5], "an apply takes some passes");
        assert_eq!(waits[5..12], [5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000]);
        assert_eq!(waits[12..], [300_000; 2], "no less often than a quiet one");
        pace.next(End::Quiet, 0.5);
        assert_eq!(pace.next(End::Wrote, 0.5), Duration::from_millis(500), "peace");
    }

    #[test]
    fn a_stack_at_rest_is_content_with_details_of_a_while_ago_and_one_at_work_is_not() {
        let mut pace = Pace::new(Duration::from_mins(5));
        let leeway = |lists: f64, details| Leeway {
            lists: Duration::from_secs_f64(lists),
            details: Duration::from_secs(details),
        };
        assert_eq!(pace.leeway(), leeway(150.0, 0), "at first nothing is known of it");
        for (end, then) in [
            (End::Quiet, leeway(150.0, 30)),
            (End::Wrote, leeway(0.25, 0)),
            (End::Waiting, leeway(2.5, 0)),
            (End::Failed, leeway(2.5, 0)),
            (End::Blocked, leeway(150.0, 0)),
        ] {
            pace.next(end, 0.5);
            assert_eq!(pace.leeway(), then, "{end:?}");
        }
        (pace.interval, pace.fixed) = (Duration::from_hours(1), true);
        pace.next(End::Quiet, 0.5);
        assert_eq!(pace.leeway(), leeway(150.0, 0), "a person wants it looked at just that often");
    }

    #[test]
    fn an_interval_that_a_person_has_set_is_kept() {
        let mut course = Course::new(
            Title { namespace: None, stack: "s".into(), region: "r".into(), account: None },
            Duration::from_mins(5),
        );
        course.every(Some(Duration::from_hours(1)), Duration::from_mins(5));
        assert!(
            longest_wait(Duration::from_mins(5)) >= Duration::from_hours(26),
            "a day is the longest that may be set"
        );
        for _ in 0..40 {
            let wait = course.passed(End::Quiet, Instant::now(), vec![]);
            assert!(wait <= Duration::from_mins(66), "{wait:?}");
        }
    }
}
