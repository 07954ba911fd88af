//! The status that a pass leaves behind. Pure.

use super::{APPROVE, RECONCILE, conditions};
use crate::{
    engine::{Action, Consent, Outcome},
    keep::{End, Pass},
    spec::{Approved, PlanStatus, PolybotStack, PolybotStackStatus, ResourceStatus},
};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::ResourceExt;
use std::{collections::BTreeMap, time::Duration};

/// Steps of a plan that are told one by one.
const STEPS: usize = 50;

/// The status without a pass: that of the object, with the conditions as they are said now.
pub(super) fn with(stack: &PolybotStack, says: &[conditions::Says]) -> PolybotStackStatus {
    let before = stack.status.clone().unwrap_or_default();
    let generation = stack.metadata.generation;
    PolybotStackStatus {
        observed_generation: generation,
        conditions: conditions::over(&before.conditions, &[says, &[conditions::paused(stack)]].concat(), generation),
        reconciled: stack.annotations().get(RECONCILE).cloned(),
        next_pass: None,
        ..before
    }
}

/// The status after a pass, of which the next one is due after `wait`.
pub(super) fn after(stack: &PolybotStack, pass: &Pass, wait: Duration) -> PolybotStackStatus {
    let deleting = stack.metadata.deletion_timestamp.is_some();
    let now = Timestamp::now();
    PolybotStackStatus {
        resources: resources(pass),
        outputs: outputs(stack, pass),
        plan: pass.withheld.as_ref().map(|_| plan(pass)),
        approved: approved(stack, pass),
        last_pass: Some(Time(now)),
        next_pass: now.checked_add(wait).ok().map(Time),
        ..with(stack, &conditions::of_pass(pass, deleting))
    }
}

/// What the stack offers. What could not be read is as it was when it could be: whoever lives on it shall not suffer from that.
fn outputs(stack: &PolybotStack, pass: &Pass) -> BTreeMap<String, String> {
    let before = stack.status.iter().filter(|_| pass.seen.summary.unknown > 0).flat_map(|s| s.outputs.clone());
    let text = |v: &serde_json::Value| v.as_str().map_or_else(|| v.to_string(), ToOwned::to_owned);
    before.chain(pass.seen.outputs.iter().map(|(name, value)| (name.clone(), text(value)))).collect()
}

/// The status before the first pass: where the stack is, so that this is known before anything is made there.
pub(super) fn claimed(stack: &PolybotStack, account: &str) -> PolybotStackStatus {
    PolybotStackStatus { account: Some(account.to_owned()), ..meanwhile(stack) }
}

/// The status before an approved plan is carried out, so that whoever goes on after this process knows of the approval.
pub(super) fn begun(stack: &PolybotStack, consent: &Consent, digest: &str) -> PolybotStackStatus {
    let approved = Some(under(stack, consent, digest));
    PolybotStackStatus { approved, ..meanwhile(stack) }
}

/// The status in the middle of something: whoever has asked for a pass has to wait for its end.
fn meanwhile(stack: &PolybotStack) -> PolybotStackStatus {
    let before = stack.status.clone().unwrap_or_default();
    let (observed_generation, reconciled) = (before.observed_generation, before.reconciled);
    PolybotStackStatus { observed_generation, reconciled, ..with(stack, &[]) }
}

/// The approval under which this consent is carried out. What goes on under an earlier one keeps its digest.
fn under(stack: &PolybotStack, consent: &Consent, digest: &str) -> Approved {
    let before = stack.status.as_ref().and_then(|s| s.approved.clone()).filter(|b| !b.done && b.consent == *consent);
    let digest = before.map_or_else(|| digest.to_owned(), |b| b.digest);
    let generation = stack.metadata.generation.unwrap_or(0);
    Approved { digest, generation, consent: consent.clone(), done: false }
}

/// What a person has approved: while it is being carried out, and after that until the annotation says something else.
fn approved(stack: &PolybotStack, pass: &Pass) -> Option<Approved> {
    let before = stack.status.as_ref().and_then(|s| s.approved.clone());
    let now = pass.agreed.as_ref().map(|consent| under(stack, consent, &pass.seen.digest)).or(before)?;
    let over = pass.end == End::Quiet || (pass.agreed.is_none() && pass.withheld.is_some());
    let done = now.done || over;
    let now = Approved { done, consent: if done { Consent::default() } else { now.consent }, ..now };
    (!now.done || stack.annotations().get(APPROVE) == Some(&now.digest)).then_some(now)
}

fn plan(pass: &Pass) -> PlanStatus {
    let (seen, steps) = (&pass.seen, &pass.seen.steps);
    PlanStatus {
        summary: seen.summary.to_string(),
        digest: seen.digest.clone(),
        steps: steps.iter().take(STEPS).cloned().collect(),
        more: u32::try_from(steps.len().saturating_sub(STEPS)).unwrap_or(u32::MAX),
    }
}

/// Every resource as the pass left it.
fn resources(pass: &Pass) -> Vec<ResourceStatus> {
    let mut rows: BTreeMap<(String, String), ResourceStatus> = BTreeMap::new();
    for row in &pass.seen.rows {
        let step = pass.report.steps.iter().find(|(step, _)| {
            step.address.to_string() == row.address && step.id.as_deref().unwrap_or_default() == row.id
        });
        let (state, message) = match step {
            Some((_, Outcome::Failed(error))) => ("failed", error.to_string()),
            Some((step, Outcome::Done(_))) => match step.action {
                Action::Delete(_) => ("deleting", "just now".to_owned()),
                _ => ("pending", "changed just now".to_owned()),
            },
            Some((step, Outcome::Waiting(why))) if pass.withheld.is_none() && step.action.writes() => {
                (row.state, format!("waits {why}"))
            }
            _ => (row.state, row.message.clone()),
        };
        let resource = ResourceStatus {
            address: row.address.clone(),
            id: row.id.clone(),
            kind: row.kind.to_owned(),
            state: state.to_owned(),
            since: row.since.clone(),
            message: conditions::short(&message),
        };
        // A list map takes each key once; of several missing ones at an address the first says enough.
        rows.entry((resource.address.clone(), resource.id.clone())).or_insert(resource);
    }
    rows.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn whoever_asks_for_a_pass_is_answered_at_its_end() {
        let stack: PolybotStack = serde_json::from_value(json!({
            "apiVersion": "polybot.dev/v1alpha1", "kind": "PolybotStack",
            "metadata": { "name": "s", "generation": 2, "annotations": { RECONCILE: "second" } },
            "spec": {
                "prefix": "my", "environment": "prod", "region": "us-east-1", "polybot": { "image": { "tag": "v1.0.0" } },
                "domain": { "hostedZone": "example.com", "name": "bot.example.com" },
            },
            "status": { "reconciled": "first", "observedGeneration": 1 },
        }))
        .unwrap();
        for early in [claimed(&stack, "123456789012"), begun(&stack, &Consent::default(), "0123456789abcdef")] {
            assert_eq!((early.reconciled.as_deref(), early.observed_generation), (Some("first"), Some(1)));
        }
        let told = with(&stack, &[]);
        assert_eq!((told.reconciled.as_deref(), told.observed_generation), (Some("second"), Some(2)));
    }
}
