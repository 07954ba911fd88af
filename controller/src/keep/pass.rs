//! One pass over one stack: what it may do, what it saw, and what came of it.

use super::{End, Title};
use crate::{
    aws::Leeway,
    engine::{self, Action, Cause, Consent, Event, Outcome, Plan, Report, Summary},
    lease::{Lease, Table},
    reconcile::{Allow, Connection, Goal},
    report::inventory::{self, Row},
    stack,
    stop::Stop,
};
use std::{collections::BTreeMap, fmt, time::Duration};

/// Which plans a pass may carry out by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Permit {
    /// Any that keeps to the spec's limits.
    #[default]
    Limits,
    /// None that was not approved.
    Approval,
    /// None at all.
    Nothing,
}

/// What a pass may do.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// What it is for.
    pub goal: Goal,
    /// Which plans it may carry out by itself.
    pub permit: Permit,
    /// Digest of a plan that a person has approved.
    pub approved: Option<String>,
    /// What is left of a plan that was approved earlier and begun.
    pub agreed: Option<Consent>,
    /// How long this controller may be silent before another one takes over, where they take turns by a lease in the account.
    pub lease: Option<Duration>,
    /// How old that may be in which it sees that there is nothing to do.
    pub leeway: Leeway,
}

/// Why a plan that would write something was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Withheld {
    /// This stack is only looked at.
    Observed,
    /// It waits for a person's word.
    Unapproved,
    /// It deletes or replaces more than the spec allows at once: these, of so many allowed.
    TooManyDeletions(Vec<String>, usize),
}

impl fmt::Display for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Observed => f.write_str("this stack is only observed"),
            Self::Unapproved => f.write_str("the plan waits for approval"),
            Self::TooManyDeletions(which, cap) => {
                let (n, which) = (which.len(), which.join(", "));
                write!(f, "the plan deletes or replaces {n} resources ({which}), more than the {cap} allowed at once")
            }
        }
    }
}

/// What a pass saw before it did anything.
pub struct Seen {
    /// What the plan came to.
    pub summary: Summary,
    /// Its digest.
    pub digest: String,
    /// The steps of it that write, as people read them.
    pub steps: Vec<String>,
    /// Addresses of what was changed in AWS by somebody else.
    pub drift: Vec<String>,
    /// Every resource.
    pub rows: Vec<Row>,
    /// What the stack offers to others.
    pub outputs: Vec<(String, serde_json::Value)>,
}

/// One pass: what it saw, what came of it, and how it ended.
pub struct Pass {
    /// How it ended.
    pub end: End,
    /// What it saw before it did anything.
    pub seen: Seen,
    /// Why nothing was done, where something was to be done.
    pub withheld: Option<Withheld>,
    /// The approved plan that it carried out; a later pass goes on with what is left of it.
    pub agreed: Option<Consent>,
    /// What came of each step.
    pub report: Report,
}

/// What keeps a pass from its end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Obstacle {
    /// Where.
    pub address: String,
    /// What is the matter: `failed`.
    pub what: &'static str,
    /// Why.
    pub why: String,
    /// What to do about it, where that is known.
    pub hint: Option<String>,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.address, self.what, self.why)?;
        self.hint.iter().try_for_each(|hint| write!(f, " ({hint})"))
    }
}

impl Pass {
    /// What stands in the way: what failed, what only a person can settle, what could not be looked at.
    pub fn obstacles(&self) -> Vec<Obstacle> {
        let mut all = vec![];
        if let Some(why @ Withheld::TooManyDeletions(which, _)) = &self.withheld {
            let hint = Some(format!("if that is meant, run `controller apply --max-deletions {}`", which.len()));
            all.push(Obstacle { address: "plan".to_owned(), what: "nothing was done", why: why.to_string(), hint });
        }
        for (step, outcome) in &self.report.steps {
            let (what, why, hint) = match (&step.action, outcome) {
                (_, Outcome::Failed(error)) => ("failed", error.to_string(), error.hint()),
                (Action::Unknown(why), _) => ("could not be looked at", why.clone(), None),
                (_, Outcome::Blocked(why)) => ("blocked", why.clone(), None),
                _ => continue,
            };
            all.push(Obstacle { address: step.address.to_string(), what, why, hint });
        }
        all
    }
}

/// Who wants to hear that an approved plan is about to be carried out.
pub trait Witness: Sync {
    /// Hears it before the first write, so that the approval outlives a process that dies in the middle.
    fn begins(&self, consent: &Consent, digest: &str) -> impl Future<Output = ()> + Send;
}

/// Nobody.
impl Witness for () {
    async fn begins(&self, _: &Consent, _: &str) {}
}

/// One pass: looks, and does what is needed within its terms. Asks nobody: data goes only where the spec says so.
pub async fn pass(connection: &Connection, terms: &Terms, witness: &impl Witness, stop: &Stop) -> Pass {
    let title = &Title::of(&connection.spec);
    let (allow, goal) = (Allow::default(), terms.goal);
    let mut plan = match goal {
        Goal::Converge => connection.glance(terms.leeway, &allow).await,
        Goal::Destroy => connection.look(goal, &allow).await.1,
    };
    // What was told a while ago may be asked in vain for details: of what has gone since.
    if terms.leeway.details > Duration::ZERO && plan.steps.iter().any(|s| matches!(s.action, Action::Unknown(_))) {
        plan = connection.look(goal, &allow).await.1;
    }
    findings(title, &plan);
    let seen = see(connection, &plan);
    if seen.summary.writes() == 0 {
        let report = engine::apply(&connection.aws, plan, None, stop, &|_| ()).await;
        return Pass { end: end_of(&report), seen, withheld: None, agreed: None, report };
    }
    let mut lease: Option<Lease<Table>> = None;
    // Whoever would only learn that nothing may be done needs no lease.
    if let Some(time_to_live) = terms.lease.filter(|_| consent(connection, terms, &plan).is_ok()) {
        let told = |holder: &crate::lease::Record| tracing::debug!(stack = %title, holder = holder.owner, "waits for the lease");
        lease = tokio::select! {
            taken = connection.lease(time_to_live, told) => taken.map_err(|error| tracing::warn!(stack = %title, %error, "goes on without a lease")).ok(),
            () = stop.asked() => {
                let report = engine::left(plan, "for the next run: this one was stopped");
                return Pass { end: End::Waiting, seen, withheld: None, agreed: None, report };
            }
        };
    }
    // Whoever held it may have done the work meanwhile, and a glance is nothing to act on.
    let (_, plan) = connection.look(goal, &allow).await;
    findings(title, &plan);
    let seen = see(connection, &plan);
    let (agreed, asked) = match consent(connection, terms, &plan) {
        Ok(consented) => consented,
        Err(why) => {
            let report = engine::left(plan, &why.to_string());
            let end = end_of(&report).max(End::Blocked);
            return Pass { end, seen, withheld: Some(why), agreed: None, report };
        }
    };
    if asked {
        witness.begins(&agreed, &seen.digest).await;
    }
    let stop = lease.as_ref().map_or_else(|| stop.clone(), |lease| stop.or(lease.lost()));
    let report = engine::apply(&connection.aws, plan, Some(&agreed), &stop, &|event| tell(title, event)).await;
    if let Some(lease) = lease {
        lease.give_back().await;
    }
    Pass { end: end_of(&report), seen, withheld: None, agreed: asked.then_some(agreed), report }
}

/// What of a plan may be done, and whether a person was asked for it.
fn consent(connection: &Connection, terms: &Terms, plan: &Plan) -> Result<(Consent, bool), Withheld> {
    if terms.permit == Permit::Nothing {
        return Err(Withheld::Observed);
    }
    if terms.approved.as_ref().is_some_and(|digest| *digest == plan.digest()) {
        return Ok((Consent::to(plan), true));
    }
    // Of a plan that was approved and begun, the rest may be done, and nothing else.
    let mut writes = plan.steps.iter().filter(|s| s.action.writes());
    if let Some(agreed) = terms.agreed.as_ref().filter(|agreed| writes.any(|s| agreed.covers(s))) {
        return Ok((agreed.clone(), true));
    }
    let cap = usize::try_from(connection.spec.spec.safety.max_deletions).unwrap_or(usize::MAX);
    let deletions: Vec<_> = plan.deletions().map(|s| s.address.to_string()).collect();
    match terms.permit {
        Permit::Approval => Err(Withheld::Unapproved),
        // Who removes a stack wants its resources removed.
        Permit::Limits if deletions.len() > cap && terms.goal == Goal::Converge => {
            Err(Withheld::TooManyDeletions(deletions, cap))
        }
        Permit::Limits | Permit::Nothing => Ok((Consent::to(plan), false)),
    }
}

fn see(connection: &Connection, plan: &Plan) -> Seen {
    let writes = || plan.steps.iter().filter(|s| s.action.writes());
    Seen {
        summary: plan.summary(),
        digest: plan.digest(),
        steps: writes().map(ToString::to_string).collect(),
        drift: writes().filter(|s| s.cause == Cause::Drift).map(|s| s.address.to_string()).collect(),
        rows: inventory::rows(plan),
        outputs: stack::outputs(connection, plan),
    }
}

/// Kinds of findings, each with a gauge so that an alert can be set on it.
const CAUSES: [Cause; 4] = [Cause::Drift, Cause::Pending, Cause::Follows, Cause::Unclear];

fn findings(title: &Title, plan: &engine::Plan) {
    let mut counts: BTreeMap<_, u32> = CAUSES.iter().map(|c| (c.word(), 0)).collect();
    for step in plan.steps.iter().filter(|s| s.action.writes()) {
        *counts.entry(step.cause.word()).or_default() += 1;
    }
    for (cause, n) in counts {
        metrics::gauge!("polybot_findings", title.labels_and("cause", cause)).set(f64::from(n));
    }
}

/// For a stack that is kept no more.
pub(super) fn no_findings(title: &Title) {
    for cause in CAUSES {
        metrics::gauge!("polybot_findings", title.labels_and("cause", cause.word())).set(0.0);
    }
}

/// Each change in the world is a line at info.
fn tell(title: &Title, event: &Event) {
    let Event::Ended(step, outcome) = event else { return };
    let (word, address) = (step.action.word(), &step.address);
    let (kind, end) = (address.kind, outcome_name(outcome));
    match outcome {
        Outcome::Done(took) => {
            tracing::info!(stack = %title, action = word, %address, seconds = took.as_secs_f64(), "done");
        }
        Outcome::Failed(error) => {
            metrics::counter!("polybot_errors_total", "service" => error.service.clone(), "code" => error.code.clone())
                .increment(1);
        }
        Outcome::Waiting(why) => tracing::debug!(stack = %title, action = word, %address, why, "waits"),
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

fn end_of(report: &Report) -> End {
    let unknown = report.steps.iter().any(|(s, _)| matches!(s.action, Action::Unknown(_)));
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
