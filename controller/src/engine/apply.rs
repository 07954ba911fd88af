//! Carries out a plan, and nothing but the plan.

use super::{
    Action, How, Plan, Step, Tags,
    erased::{Output, fill},
};
use crate::{
    aws::{Aws, Error},
    stop::Stop,
};
use futures::stream::{FuturesUnordered, StreamExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Steps that run at once; AWS throttles writes of one account harder than reads.
const WRITES_AT_ONCE: usize = 10;

/// How one step ended.
#[derive(Debug)]
pub enum Outcome {
    /// Done.
    Done(Duration),
    /// Left for a later pass; the text says what for.
    Waiting(String),
    /// Not without a person; the text says why.
    Blocked(String),
    /// Refused by AWS.
    Failed(Error),
    /// Left as it is, on purpose.
    Retained,
}

/// What a watcher is told while a plan is carried out.
pub enum Event<'a> {
    /// A step begins.
    Started(&'a Step),
    /// A step has ended.
    Ended(&'a Step, &'a Outcome),
}

/// Someone who watches.
pub type Progress<'a> = &'a (dyn Fn(&Event) + Send + Sync);

/// What came of a plan, step by step.
#[derive(Default)]
pub struct Report {
    /// Each step with its outcome, in the order of the plan.
    pub steps: Vec<(Step, Outcome)>,
}

impl Report {
    /// Whether a step failed.
    pub fn failed(&self) -> bool {
        self.steps.iter().any(|(_, o)| matches!(o, Outcome::Failed(_)))
    }
    /// Whether something was written.
    pub fn wrote(&self) -> bool {
        self.steps.iter().any(|(_, o)| matches!(o, Outcome::Done(_)))
    }
    /// Whether a later pass has something to do.
    pub fn waiting(&self) -> bool {
        self.steps.iter().any(|(_, o)| matches!(o, Outcome::Waiting(_)))
    }
    /// Whether a person is needed.
    pub fn blocked(&self) -> bool {
        self.steps.iter().any(|(_, o)| matches!(o, Outcome::Blocked(_)))
    }
}

/// What a person has agreed to: the first plan of an `apply`. Its later passes may do what that plan announced and nothing
/// else. Each address that may be written, and whether what lives there may go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Consent(BTreeMap<String, bool>);

impl Consent {
    /// Consent to all that a plan announces.
    pub fn to(plan: &Plan) -> Self {
        let mut addresses = BTreeMap::new();
        for step in plan.steps.iter().filter(|s| s.action != Action::Retain) {
            let removes = matches!(step.action, Action::Delete(_) | Action::Replace(_));
            *addresses.entry(step.address.to_string()).or_insert(false) |= removes;
        }
        Self(addresses)
    }

    /// Whether a step is covered. Writing down what was applied always is.
    pub fn covers(&self, step: &Step) -> bool {
        if step.remembers {
            return true;
        }
        match (self.0.get(&step.address.to_string()), &step.action) {
            (None, _) => false,
            (Some(removes), Action::Delete(_) | Action::Replace(_)) => *removes,
            (Some(_), _) => true,
        }
    }
}

/// Carries out the plan. A step that fails stops those that need it, and nothing else. `consent` limits what may be
/// written; `None` allows the whole plan. Once `stop` is asked for, no step begins and those that run are waited for.
pub async fn apply(aws: &Aws, plan: Plan, consent: Option<&Consent>, stop: &Stop, progress: Progress<'_>) -> Report {
    let Plan { steps, mut known, .. } = plan;
    let steps: Vec<Step> = steps;
    let mut outcomes: Vec<Option<Outcome>> = steps
        .iter()
        .map(|step| match unwritten(step) {
            None if consent.is_some_and(|c| !c.covers(step)) => {
                Some(Outcome::Blocked("the plan that was agreed to does not announce this; apply again".to_owned()))
            }
            outcome => outcome,
        })
        .collect();
    let mut running = FuturesUnordered::new();
    let mut started = vec![false; steps.len()];
    loop {
        for i in 0..steps.len() {
            if outcomes[i].is_some() || started[i] {
                continue;
            }
            match readiness(&steps, &outcomes, i) {
                _ if stop.is_asked() => {
                    outcomes[i] = Some(Outcome::Waiting("for the next run: this one was stopped".to_owned()));
                }
                Readiness::Ready if running.len() < WRITES_AT_ONCE => {
                    started[i] = true;
                    let step = &steps[i];
                    progress(&Event::Started(step));
                    let mut node = step.node.as_ref().map(|n| n.clone_box());
                    if let Some(node) = &mut node {
                        fill(node.as_mut(), &known);
                    }
                    running.push(async move {
                        let begun = Instant::now();
                        let result = carry_out(aws, step, node).await;
                        (i, begun.elapsed(), result)
                    });
                }
                Readiness::Never(why) => {
                    let outcome = Outcome::Waiting(why);
                    progress(&Event::Ended(&steps[i], &outcome));
                    outcomes[i] = Some(outcome);
                }
                Readiness::Ready | Readiness::NotYet => {}
            }
        }
        let Some((i, took, result)) = running.next().await else {
            if outcomes.iter().all(Option::is_some) {
                break;
            }
            continue;
        };
        // Even what failed may have come half-way.
        aws.wrote(&aws.ownership.stack);
        let outcome = match result {
            Ok(output) => {
                if let Some(output) = output {
                    known.insert(steps[i].address.clone(), output, false);
                }
                Outcome::Done(took)
            }
            Err(error) if error.is_transient() => Outcome::Waiting(error.to_string()),
            Err(error) => Outcome::Failed(error),
        };
        progress(&Event::Ended(&steps[i], &outcome));
        outcomes[i] = Some(outcome);
    }
    drop(running);
    let outcomes = outcomes.into_iter().map(|o| o.unwrap_or_else(|| Outcome::Waiting("not reached".to_owned())));
    Report { steps: steps.into_iter().zip(outcomes).collect() }
}

/// What comes of a plan that is not carried out, for this reason.
pub fn left(plan: Plan, why: &str) -> Report {
    let outcome = |step: &Step| unwritten(step).unwrap_or_else(|| Outcome::Waiting(why.to_owned()));
    Report { steps: plan.steps.into_iter().map(|step| (outcome(&step), step)).map(|(o, s)| (s, o)).collect() }
}

/// How a step that writes nothing ends.
fn unwritten(step: &Step) -> Option<Outcome> {
    match &step.action {
        Action::Blocked(why, _) => Some(Outcome::Blocked(why.clone())),
        Action::Wait(why, _) => Some(Outcome::Waiting(why.clone())),
        Action::Unknown(why) => Some(Outcome::Waiting(format!("it could not be looked at: {why}"))),
        Action::Retain => Some(Outcome::Retained),
        Action::Create | Action::Update(_) | Action::Replace(_) | Action::Delete(_) => None,
    }
}

enum Readiness {
    Ready,
    NotYet,
    Never(String),
}

fn readiness(steps: &[Step], outcomes: &[Option<Outcome>], i: usize) -> Readiness {
    let mut ready = Readiness::Ready;
    for j in &steps[i].needs {
        let address = &steps[*j].address;
        match &outcomes[*j] {
            None => ready = Readiness::NotYet,
            Some(Outcome::Done(_)) => {
                let unsettled = matches!(steps[*j].action, Action::Create | Action::Replace(_))
                    && steps[*j].node.as_ref().is_some_and(|n| n.kind().settles());
                if unsettled {
                    return Readiness::Never(format!("for {address} to become ready"));
                }
            }
            Some(_) => return Readiness::Never(format!("for {address}")),
        }
    }
    ready
}

async fn carry_out(
    aws: &Aws,
    step: &Step,
    node: Option<Box<dyn super::erased::Node>>,
) -> Result<Option<Output>, Error> {
    match (&step.action, node, &step.found) {
        // A value that was to be known later has turned out as it was. What goes when it is replaced was promised to go.
        (Action::Replace(_), Some(node), Some(found))
            if node.kind().spares() > 0 && node.changes(&*found.live).is_empty() =>
        {
            Ok(Some(found.output.clone()))
        }
        (Action::Create | Action::Replace(_), Some(node), _) => node.create(aws, &step.tags).await.map(Some),
        (Action::Update(changes), Some(node), Some(found)) => {
            let still: Vec<_> = node.changes(&*found.live).iter().map(|c| c.field).collect();
            let fields: Vec<_> =
                changes.iter().filter(|c| still.contains(&c.field) && c.how == How::InPlace).cloned().collect();
            let output =
                if fields.is_empty() { found.output.clone() } else { node.update(aws, found, &fields).await? };
            let wrong: Tags = step
                .tags
                .iter()
                .filter(|(k, v)| found.tags.as_ref().is_some_and(|have| have.get(*k) != Some(*v)))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect();
            if let (Some(target), false) = (&found.tag_target, wrong.is_empty()) {
                aws.tag(target, &wrong).await?;
            }
            Ok(Some(output))
        }
        (Action::Delete(_), _, Some(found)) => found.kind.delete(aws, found).await.map(|()| None),
        _ => Err(Error::internal(format!("{} is no step that writes", step.address))),
    }
}
