//! `plan`: what `apply` would do. Reads only.

use super::{SOMETHING, connect, out, stacks, title};
use crate::{
    cli::{PlanArgs, PlanFormat},
    engine::{Action, Plan, Step},
    reconcile::{Allow, Goal},
    spec::PolybotStack,
};
use serde_json::{Value, json};
use std::process::ExitCode;

/// Version of the JSON form.
const FORMAT: u32 = 1;

pub(super) async fn run(args: &PlanArgs) -> anyhow::Result<ExitCode> {
    let goal = if args.destroy { Goal::Destroy } else { Goal::Converge };
    let allow = Allow { with_data: args.allow.with_data.clone(), replace: args.allow.replace.clone() };
    let (connections, mut failed) = connect(stacks(&args.specs)?).await;
    let mut something = false;
    let mut documents = vec![];
    let allow = &allow;
    let looks = connections.iter().map(|c| async move { (c, c.look(goal, allow).await.1) });
    for (connection, plan) in futures::future::join_all(looks).await {
        let summary = plan.summary();
        failed |= summary.unknown > 0;
        something |= summary.writes() > 0;
        match args.output {
            PlanFormat::Text => out(&text(&connection.spec, &plan))?,
            PlanFormat::Json => documents.push(json_form(&connection.spec, &plan)),
        }
    }
    if args.output == PlanFormat::Json {
        out(&format!("{}\n", serde_json::to_string_pretty(&json!({ "version": FORMAT, "stacks": documents }))?))?;
    }
    Ok(match (failed, something) {
        (true, _) => ExitCode::FAILURE,
        (false, true) => ExitCode::from(SOMETHING),
        (false, false) => ExitCode::SUCCESS,
    })
}

/// A plan as people read it: title, steps, summary, digest.
pub(super) fn text(stack: &PolybotStack, plan: &Plan) -> String {
    let summary = plan.summary();
    let digest = if summary.writes() > 0 { format!("digest {}\n", plan.digest()) } else { String::new() };
    let steps = if plan.steps.is_empty() { String::new() } else { format!("{plan}\n") };
    format!("stack {}: {summary}\n{steps}{digest}", title(stack))
}

fn json_form(stack: &PolybotStack, plan: &Plan) -> Value {
    let s = plan.summary();
    json!({
        "stack": stack.metadata.name,
        "region": stack.spec.region.to_string(),
        "digest": plan.digest(),
        "summary": {
            "create": s.create, "update": s.update, "replace": s.replace, "delete": s.delete,
            "retain": s.retain, "blocked": s.blocked, "wait": s.wait, "unknown": s.unknown,
        },
        "steps": plan.steps.iter().map(step).collect::<Vec<_>>(),
    })
}

fn step(step: &Step) -> Value {
    json!({
        "address": step.address.to_string(),
        "id": step.id,
        "action": step.action.word(),
        "reason": step.action.reason(),
        "cause": match &step.action {
            Action::Update(_) | Action::Replace(_) => Some(format!("{:?}", step.cause).to_lowercase()),
            _ => None,
        },
        "changes": step.action.changes().iter().map(|c| json!({
            "field": c.field, "from": c.from, "to": c.to, "how": format!("{:?}", c.how),
        })).collect::<Vec<_>>(),
    })
}
