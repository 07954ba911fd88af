//! Keeps stacks as their specs say, pass after pass, until told to stop.

use crate::{
    aws::Regions,
    engine::{self, Action, Cause, Consent, Event, Outcome, Report},
    lease::{Lease, Table},
    reconcile::{Allow, ConnectError, Connection, Goal},
    spec::PolybotStack,
    stop::Stop,
};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// How one pass ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// Lists of a region that another stack's pass has read this long ago are good enough to see that there is nothing to do: a
/// tenth of the usual interval.
const RECENT: Duration = Duration::from_secs(30);

/// Keeps one stack: a pass, a wait, a pass. Takes up each new spec at once. Returns when asked to stop, after the steps that run
/// have ended.
pub async fn keep(
    mut specs: watch::Receiver<Arc<PolybotStack>>,
    regions: Regions,
    interval: Duration,
    lease: Duration,
    stop: Stop,
    told: impl Fn(&str, End),
) {
    let mut pace = Pace::new(interval);
    let mut unsettled_since: Option<Instant> = None;
    while !stop.is_asked() {
        let spec = specs.borrow_and_update().clone();
        let name = spec.metadata.name.clone().unwrap_or_default();
        let begun = Instant::now();
        let end = match Connection::open(spec.clone(), &regions).await {
            Ok(connection) => pass(&connection, lease, &stop).await,
            Err(error) => {
                report_connect_error(&name, &error);
                End::Failed
            }
        };
        metrics::counter!("polybot_passes_total", "stack" => name.clone(), "end" => end.name()).increment(1);
        metrics::histogram!("polybot_pass_seconds", "stack" => name.clone()).record(begun.elapsed());
        match (end, unsettled_since) {
            (End::Quiet, Some(since)) => {
                metrics::histogram!("polybot_converge_seconds", "stack" => name.clone()).record(since.elapsed());
                unsettled_since = None;
            }
            (End::Quiet, None) | (_, Some(_)) => {}
            (_, None) => unsettled_since = Some(begun),
        }
        metrics::gauge!("polybot_unsettled_seconds", "stack" => name.clone())
            .set(unsettled_since.map_or(0.0, |since| since.elapsed().as_secs_f64()));
        told(&name, end);
        let wait = pace.next(end, rand::random());
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

/// One pass: looks, and does what is needed within the limits of the spec. Asks nobody: data never goes, and no more is deleted
/// at once than the spec allows.
pub async fn pass(connection: &Connection, lease: Duration, stop: &Stop) -> End {
    let name = &connection.aws.ownership.stack;
    let allow = Allow::default();
    let plan = connection.glance(RECENT, &allow).await;
    drift_seen(name, &plan);
    if plan.summary().writes() == 0 {
        let report = engine::apply(&connection.aws, plan, None, stop, &|_| ()).await;
        return end_of(name, &report);
    }
    let cap = usize::try_from(connection.spec.spec.safety.max_deletions).unwrap_or(usize::MAX);
    let deletions: Vec<_> = plan.deletions().map(|s| s.address.to_string()).collect();
    if deletions.len() > cap {
        tracing::error!(
            stack = name,
            "the plan deletes or replaces {} resources ({}), more than the {cap} allowed at once; nothing was done. If that is \
             meant, run `controller apply --max-deletions {}`",
            deletions.len(),
            deletions.join(", "),
            deletions.len()
        );
        return End::Blocked;
    }
    let told =
        |holder: &crate::lease::Record| tracing::debug!(stack = name, holder = holder.owner, "waits for the lease");
    let lease: Option<Lease<Table>> = tokio::select! {
        taken = connection.lease(lease, told) => taken.map_err(|error| tracing::warn!(stack = name, %error, "goes on without a lease")).ok(),
        () = stop.asked() => return End::Waiting,
    };
    // Whoever held it may have done the work meanwhile, and a glance is nothing to act on.
    let (_, plan) = connection.look(Goal::Converge, &allow).await;
    let consent = Consent::to(&plan);
    let stop = lease.as_ref().map_or_else(|| stop.clone(), |lease| stop.or(lease.lost()));
    let report = engine::apply(&connection.aws, plan, Some(&consent), &stop, &|event| tell(name, event)).await;
    if let Some(lease) = lease {
        lease.give_back().await;
    }
    end_of(name, &report)
}

/// A gauge for each kind of finding, so that an alert can be set on it.
fn drift_seen(stack: &str, plan: &engine::Plan) {
    let causes = [Cause::Drift, Cause::Pending, Cause::Follows, Cause::Unclear];
    let mut counts: BTreeMap<_, u32> = causes.iter().map(|c| (c.word(), 0)).collect();
    for step in plan.steps.iter().filter(|s| s.action.writes()) {
        *counts.entry(step.cause.word()).or_default() += 1;
    }
    for (cause, n) in counts {
        metrics::gauge!("polybot_findings", "stack" => stack.to_owned(), "cause" => cause).set(f64::from(n));
    }
}

/// Each change in the world is a line at info.
fn tell(stack: &str, event: &Event) {
    let Event::Ended(step, outcome) = event else { return };
    let (word, address) = (step.action.word(), &step.address);
    let (kind, end) = (address.kind, outcome_name(outcome));
    match outcome {
        Outcome::Done(took) => {
            tracing::info!(stack, action = word, %address, seconds = took.as_secs_f64(), "done");
        }
        Outcome::Failed(error) => {
            tracing::error!(stack, action = word, %address, %error, hint = error.hint(), "failed");
            metrics::counter!("polybot_errors_total", "service" => error.service.clone(), "code" => error.code.clone())
                .increment(1);
        }
        Outcome::Waiting(why) => tracing::debug!(stack, action = word, %address, why, "waits"),
        Outcome::Blocked(_) | Outcome::Retained => return,
    }
    metrics::counter!("polybot_steps_total", "kind" => kind, "action" => word, "end" => end).increment(1);
}

fn outcome_name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Done(_) => "done",
        Outcome::Waiting(_) => "waiting",
        Outcome::Blocked(_) => "blocked",
        Outcome::Failed(_) => "failed",
        Outcome::Retained => "retained",
    }
}

fn end_of(stack: &str, report: &Report) -> End {
    let unknown = report.steps.iter().any(|(s, _)| matches!(s.action, Action::Unknown(_)));
    for (step, outcome) in &report.steps {
        match (&step.action, outcome) {
            (Action::Unknown(why), _) => tracing::debug!(stack, address = %step.address, why, "could not be looked at"),
            (_, Outcome::Blocked(why)) => tracing::debug!(stack, address = %step.address, why, "blocked"),
            _ => {}
        }
    }
    if report.failed() || unknown {
        End::Failed
    } else if report.wrote() {
        End::Wrote
    } else if report.waiting() {
        End::Waiting
    } else if report.blocked() {
        End::Blocked
    } else {
        End::Quiet
    }
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
