//! `drift`: did somebody change AWS, or does the spec say something new? Reads only: there is no way from here to a write.

use super::{connect, out, stacks, title};
use crate::{
    cli::{DriftArgs, PlanFormat},
    engine::{Action, Cause, Step},
    reconcile::{Allow, Goal},
};
use serde_json::json;
use std::process::ExitCode;

/// Version of the JSON form.
const FORMAT: u32 = 1;

/// What one step of a plan means here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Finding {
    /// AWS was changed by someone else.
    Drift,
    /// The spec says something that was not applied yet.
    Pending,
    /// AWS differs, and nothing tells who made it so.
    Unclear,
    /// It could not be looked at. Never counts as in sync.
    Unchecked,
}

/// What a step means; nothing for what is only in progress or left on purpose.
pub(super) fn finding(step: &Step) -> Option<Finding> {
    match &step.action {
        Action::Retain => None,
        Action::Unknown(_) => Some(Finding::Unchecked),
        Action::Wait(..) => step.lacks_input().then_some(Finding::Unchecked),
        // Something in our groups and tables that bears no mark of ours was put there by hand.
        Action::Delete(_) => Some(if step.counted { Finding::Pending } else { Finding::Drift }),
        // Missing: deleted by hand, or new in the spec.
        Action::Create => Some(Finding::Unclear),
        Action::Update(_) | Action::Replace(_) | Action::Blocked(..) => Some(match step.cause {
            Cause::Drift => Finding::Drift,
            Cause::Pending => Finding::Pending,
            Cause::Follows | Cause::Unclear => Finding::Unclear,
        }),
    }
}

/// 0 in sync, 3 drift, 2 pending only, 4 both, 5 not everything could be checked. What is unclear counts as drift: a false
/// alarm costs a look, a missed one an outage.
pub(super) fn code(findings: &[Finding]) -> u8 {
    let has = |f: &[Finding]| findings.iter().any(|x| f.contains(x));
    match (has(&[Finding::Unchecked]), has(&[Finding::Drift, Finding::Unclear]), has(&[Finding::Pending])) {
        (true, _, _) => 5,
        (false, true, true) => 4,
        (false, true, false) => 3,
        (false, false, true) => 2,
        (false, false, false) => 0,
    }
}

pub(super) async fn run(args: &DriftArgs) -> anyhow::Result<ExitCode> {
    let (connections, failed) = connect(stacks(&args.specs)?).await;
    let (mut all, mut documents) = (vec![], vec![]);
    for connection in &connections {
        let (_, plan) = connection.look(Goal::Converge, &Allow::default()).await;
        let found: Vec<(&Step, Finding)> = plan.steps.iter().filter_map(|s| Some((s, finding(s)?))).collect();
        let count = |f| found.iter().filter(|(_, x)| *x == f).count();
        let summary = [
            (count(Finding::Drift), "changed in AWS"),
            (count(Finding::Pending), "changed in the spec"),
            (count(Finding::Unclear), "different, nobody knows why"),
            (count(Finding::Unchecked), "not to be checked"),
        ];
        let words: Vec<_> = summary.iter().filter(|(n, _)| *n > 0).map(|(n, w)| format!("{n} {w}")).collect();
        let words = if words.is_empty() { "in sync".to_owned() } else { words.join(", ") };
        if args.output == PlanFormat::Text {
            let lines: String = found.iter().fold(String::new(), |text, (step, f)| {
                let word = format!("{f:?}").to_lowercase();
                text + &format!("{word:<9} {step}\n")
            });
            out(&format!("stack {}: {words}\n{lines}", title(&connection.spec)))?;
        }
        documents.push(json!({
            "stack": connection.spec.metadata.name,
            "region": connection.aws.region,
            "findings": found.iter().map(|(step, f)| json!({
                "address": step.address.to_string(),
                "id": step.id,
                "finding": format!("{f:?}").to_lowercase(),
                "reason": step.action.reason(),
                "fields": step.action.changes().iter()
                    .map(|c| json!({ "field": c.field, "live": c.from, "wanted": c.to })).collect::<Vec<_>>(),
            })).collect::<Vec<_>>(),
        }));
        all.extend(found.into_iter().map(|(_, f)| f));
    }
    if args.output == PlanFormat::Json {
        out(&format!("{}\n", serde_json::to_string_pretty(&json!({ "version": FORMAT, "stacks": documents }))?))?;
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::from(code(&all)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hole_never_counts_as_in_sync_and_unclear_counts_as_drift() {
        use Finding::{Drift, Pending, Unchecked, Unclear};
        for (findings, expected) in [
            (&[][..], 0),
            (&[Drift], 3),
            (&[Unclear], 3),
            (&[Pending], 2),
            (&[Pending, Drift], 4),
            (&[Unchecked], 5),
            (&[Unchecked, Drift], 5),
        ] {
            assert_eq!(code(findings), expected, "{findings:?}");
        }
    }
}
