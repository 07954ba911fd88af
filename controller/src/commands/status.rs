//! `status`: every resource with its id and phase, and what the stack offers to others. Reads only.

use super::{connect, name, out, stacks, title};
use crate::{
    cli::{StatusArgs, StatusFormat},
    engine::{Action, Found, Owner, Phase, Plan},
    reconcile::{Allow, Connection, Goal},
    stack,
};
use serde_json::{Value, json};
use std::process::ExitCode;

pub(super) async fn run(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let (connections, mut failed) = connect(stacks(&args.specs)?).await;
    let mut documents = vec![];
    for connection in &connections {
        let (_, plan) = connection.look(Goal::Converge, &Allow::default()).await;
        failed |= plan.summary().unknown > 0;
        match args.output {
            StatusFormat::Table => out(&table(connection, &plan))?,
            StatusFormat::Env => {
                for (key, value) in stack::environment(connection, &plan, args.service) {
                    out(&format!("export {key}={}\n", quoted(&value)))?;
                }
            }
            StatusFormat::Json | StatusFormat::Yaml => documents.push(document(connection, &plan)),
        }
    }
    match args.output {
        StatusFormat::Json => out(&format!("{}\n", serde_json::to_string_pretty(&json!({ "stacks": documents }))?))?,
        StatusFormat::Yaml => out(&serde_saphyr::to_string(&json!({ "stacks": documents }))?)?,
        StatusFormat::Table | StatusFormat::Env => {}
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Single quotes, as a shell reads them back.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

fn ours(plan: &Plan) -> impl Iterator<Item = &Found> {
    plan.found.iter().filter(|f| f.owner == Owner::Ours)
}

/// The phase in one word, and why. A live thing that the plan would touch says so.
fn phase(plan: &Plan, found: &Found) -> (&'static str, String) {
    match &found.phase {
        Phase::Pending(why) => return ("pending", why.clone()),
        Phase::Deleting(why) => return ("deleting", why.clone()),
        Phase::Failed(why) => return ("failed", why.clone()),
        Phase::Ready => {}
    }
    let step = plan.steps.iter().find(|s| s.id.as_ref() == Some(&found.id) && s.address == found.address);
    match step.map(|s| &s.action) {
        Some(Action::Update(changes) | Action::Replace(changes)) => {
            let mut fields: Vec<_> = changes.iter().map(|c| c.field).collect();
            fields.dedup();
            ("differs", fields.join(", "))
        }
        Some(Action::Delete(why)) => ("surplus", why.clone()),
        Some(Action::Blocked(why, _)) => ("blocked", why.clone()),
        Some(Action::Wait(why, _)) => ("waiting", why.clone()),
        _ => ("ready", String::new()),
    }
}

fn table(connection: &Connection, plan: &Plan) -> String {
    let since = |f: &Found| f.since.map_or_else(|| "-".to_owned(), short_time);
    let mut rows: Vec<[String; 5]> = ours(plan)
        .map(|f| {
            let (word, why) = phase(plan, f);
            [f.address.to_string(), f.id.clone(), word.to_owned(), since(f), why]
        })
        .collect();
    for step in plan.steps.iter().filter(|s| s.id.is_none()) {
        let why = step.action.reason().unwrap_or_default().to_owned();
        let word = if matches!(step.action, Action::Unknown(_)) { "unknown" } else { "missing" };
        rows.push([step.address.to_string(), "-".to_owned(), word.to_owned(), "-".to_owned(), why]);
    }
    let head = ["ADDRESS", "ID", "PHASE", "SINCE", "WHY"].map(ToOwned::to_owned);
    let all: Vec<_> = std::iter::once(&head).chain(&rows).collect();
    let width = |column: usize| all.iter().map(|r| r[column].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2), width(3)];
    let mut text = format!("stack {}: {}\n", title(&connection.spec), plan.summary());
    for row in all {
        let line = (0..4).fold(String::new(), |line, c| line + &format!("{:<w$}  ", row[c], w = widths[c]));
        text.push_str(format!("{line}{}", row[4]).trim_end());
        text.push('\n');
    }
    text.push_str("\nOUTPUTS\n");
    let outputs = stack::outputs(connection, plan);
    let wide = outputs.iter().map(|(k, _)| k.len()).max().unwrap_or(0);
    for (key, value) in outputs {
        let value = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        text.push_str(&format!("{key:<wide$}  {value}\n"));
    }
    text
}

fn document(connection: &Connection, plan: &Plan) -> Value {
    json!({
        "stack": name(&connection.spec),
        "account": connection.aws.account,
        "region": connection.aws.region,
        "inSync": plan.is_settled(),
        "resources": ours(plan).map(|f| {
            let (word, why) = phase(plan, f);
            json!({ "address": f.address.to_string(), "id": f.id, "phase": word, "why": why, "since": f.since.map(short_time) })
        }).collect::<Vec<_>>(),
        "missing": plan.steps.iter().filter(|s| s.id.is_none()).map(|s| {
            json!({ "address": s.address.to_string(), "action": s.action.word(), "why": s.action.reason() })
        }).collect::<Vec<_>>(),
        "outputs": stack::outputs(connection, plan).into_iter().collect::<serde_json::Map<_, _>>(),
    })
}

fn short_time(t: time::OffsetDateTime) -> String {
    t.format(time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z")).unwrap_or_default()
}
