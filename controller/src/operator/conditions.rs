//! The conditions of a stack: five, always all of them. Pure.

use super::PAUSED;
use crate::keep::{End, Pass, Withheld};
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use kube::ResourceExt;

/// Their types.
pub(super) const KINDS: [&str; 5] = ["Ready", "Synced", "Drifted", "Stalled", "Paused"];
/// Longest message of a condition.
const LONGEST: usize = 1000;

/// What a condition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Says {
    kind: &'static str,
    /// `None` is `Unknown`.
    is: Option<bool>,
    reason: &'static str,
    message: String,
}

pub(super) fn says(
    kind: &'static str,
    is: impl Into<Option<bool>>,
    reason: &'static str,
    message: impl Into<String>,
) -> Says {
    Says { kind, is: is.into(), reason, message: message.into() }
}

/// Whether a person has stopped all work on a stack.
pub(super) fn is_paused(stack: &impl ResourceExt) -> bool {
    stack.annotations().get(PAUSED).is_some_and(|v| v == "true")
}

/// The same as a condition.
pub(super) fn paused(stack: &impl ResourceExt) -> Says {
    if is_paused(stack) {
        says("Paused", true, "Annotated", format!("remove the annotation {PAUSED} to go on"))
    } else {
        says("Paused", false, "NotPaused", "")
    }
}

/// Puts what is said now over what was said before. A condition that nothing is said of stays, or is unknown; one that says the
/// same keeps the time of its last transition.
pub(super) fn over(before: &[Condition], now: &[Says], generation: Option<i64>) -> Vec<Condition> {
    let moment = Time(Timestamp::now());
    KINDS
        .iter()
        .map(|kind| {
            let old = before.iter().find(|c| c.type_ == *kind);
            let unknown = says(kind, None, "NotYetKnown", "");
            let new = match (now.iter().find(|s| s.kind == *kind), old) {
                (None, Some(old)) => return old.clone(),
                (new, _) => new.unwrap_or(&unknown),
            };
            let status = new.is.map_or("Unknown", |is| if is { "True" } else { "False" });
            let since = old.filter(|c| c.status == status).map(|c| c.last_transition_time.clone());
            Condition {
                type_: (*kind).to_owned(),
                status: status.to_owned(),
                reason: new.reason.to_owned(),
                message: short(&new.message),
                observed_generation: generation,
                last_transition_time: since.unwrap_or_else(|| moment.clone()),
            }
        })
        .collect()
}

/// No longer than a condition or an event should be, in whole characters.
pub(super) fn short(text: &str) -> String {
    let mut short: String = text.chars().take(LONGEST).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// What a pass means.
pub(super) fn of_pass(pass: &Pass, deleting: bool) -> Vec<Says> {
    let problems = problems(pass);
    let seen = &pass.seen;
    let waits = || format!("{}; {problems}", seen.summary).trim_end_matches("; ").to_owned();
    let ready = match (&pass.withheld, pass.end) {
        (Some(Withheld::Unapproved), _) => says(
            "Ready",
            false,
            "AwaitingApproval",
            format!("{}; approve it by its digest {}", seen.summary, seen.digest),
        ),
        _ if deleting => says("Ready", false, "Deleting", waits()),
        (Some(Withheld::Observed), _) => says("Ready", false, "Differs", format!("only observed: {}", seen.summary)),
        (Some(why @ Withheld::TooManyDeletions(..)), _) => says(
            "Ready",
            false,
            "TooManyDeletions",
            format!("{why}; if that is meant, approve it by its digest {}", seen.digest),
        ),
        (None, End::Quiet) => says("Ready", true, "Converged", "AWS is as the spec says"),
        (None, End::Wrote) => says("Ready", false, "Converging", seen.summary.to_string()),
        (None, End::Waiting) => says("Ready", false, "Waiting", waits()),
        (None, End::Blocked) => says("Ready", false, "Blocked", waits()),
        (None, End::Failed) => says("Ready", false, "Failed", waits()),
    };
    let synced = match pass.end {
        End::Failed => says("Synced", false, "StepsFailed", problems.clone()),
        _ => says("Synced", true, "PassDone", ""),
    };
    let drift = &seen.drift;
    let mended = pass.withheld.is_none() && pass.end == End::Wrote;
    let drifted = match drift.len() {
        _ if deleting => says("Drifted", false, "Deleting", ""),
        0 if seen.summary.unknown > 0 => says("Drifted", None, "NotEverythingRead", problems.clone()),
        0 => says("Drifted", false, "InSync", ""),
        n => {
            let reason = if mended { "Mended" } else { "ChangedInAws" };
            says("Drifted", true, reason, format!("{n} changed in AWS: {}", drift.join(", ")))
        }
    };
    let stalled = match (&pass.withheld, pass.end) {
        (Some(Withheld::TooManyDeletions(..)), _) => says("Stalled", true, "TooManyDeletions", "needs a person"),
        (None, End::Blocked) => says("Stalled", true, "Blocked", problems),
        _ => says("Stalled", false, "Progressing", ""),
    };
    vec![ready, synced, drifted, stalled]
}

/// Every step that did not come to its end, and why.
fn problems(pass: &Pass) -> String {
    use crate::engine::Outcome::{Blocked, Done, Failed, Retained, Waiting};
    let problem = |(step, outcome): &(crate::engine::Step, crate::engine::Outcome)| match outcome {
        Failed(error) => {
            let hint = error.hint().map(|h| format!(" (hint: {h})")).unwrap_or_default();
            Some(format!("{} failed: {error}{hint}", step.address))
        }
        Blocked(why) => Some(format!("{} is blocked: {why}", step.address)),
        Waiting(why) if pass.withheld.is_none() => Some(format!("{} waits: {why}", step.address)),
        Waiting(_) | Done(_) | Retained => None,
    };
    let all: Vec<String> = pass.report.steps.iter().filter_map(problem).collect();
    all.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_moves_when_its_status_does_and_only_then() {
        let first =
            over(&[], &[says("Ready", false, "Converging", "a"), says("Paused", false, "NotPaused", "")], Some(1));
        let told: Vec<_> = first.iter().map(|c| (c.type_.as_str(), c.status.as_str())).collect();
        let unknown = |kind| (kind, "Unknown");
        let all = [("Ready", "False"), unknown("Synced"), unknown("Drifted"), unknown("Stalled"), ("Paused", "False")];
        assert_eq!(told, all, "always all of them");
        let long_ago: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let aged: Vec<_> = first.into_iter().map(|c| Condition { last_transition_time: Time(long_ago), ..c }).collect();
        let same = over(&aged, &[says("Ready", false, "Waiting", "b")], Some(2));
        assert_eq!((same[0].reason.as_str(), same[0].observed_generation), ("Waiting", Some(2)));
        assert_eq!(same[0].last_transition_time.0, long_ago, "it is as false as before");
        assert_eq!(same[4].observed_generation, Some(1), "nothing is said of Paused");
        let other = over(&aged, &[says("Ready", true, "Converged", "c".repeat(5000))], Some(2));
        assert!(other[0].last_transition_time.0 > long_ago);
        assert_eq!(other[0].message.chars().count(), LONGEST + 1);
        assert_eq!(over(&aged, &[says("Ready", None, "Unreachable", "")], None)[0].status, "Unknown");
    }
}
