//! `status`: every resource with its id and phase, and what the stack offers to others. Reads only.

use super::{connect, name, out, stacks, title};
use crate::{
    cli::{StatusArgs, StatusFormat},
    engine::Plan,
    reconcile::{Allow, Connection, Goal},
    report::inventory::rows,
    stack,
};
use serde_json::{Value, json};
use std::process::ExitCode;
use tokio::time::Instant;

pub(super) async fn run(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let (connections, unreached) = connect(stacks(&args.specs)?).await;
    let mut failed = !unreached.is_empty();
    let (now, mut documents) = (Instant::now(), vec![]);
    for connection in &connections {
        let (_, plan) = connection.look_since(now, Goal::Converge, &Allow::default()).await;
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

fn table(connection: &Connection, plan: &Plan) -> String {
    let or_dash = |text: &str| if text.is_empty() { "-" } else { text }.to_owned();
    let rows: Vec<[String; 5]> = rows(plan)
        .into_iter()
        .map(|r| [r.address, or_dash(&r.id), r.state.to_owned(), or_dash(&r.since.unwrap_or_default()), r.message])
        .collect();
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
        "resources": rows(plan).iter().filter(|r| !r.id.is_empty()).map(|r| {
            json!({ "address": r.address, "id": r.id, "phase": r.state, "why": r.message, "since": r.since })
        }).collect::<Vec<_>>(),
        "missing": plan.steps.iter().filter(|s| s.id.is_none()).map(|s| {
            json!({ "address": s.address.to_string(), "action": s.action.word(), "why": s.action.reason() })
        }).collect::<Vec<_>>(),
        "outputs": stack::outputs(connection, plan).into_iter().collect::<serde_json::Map<_, _>>(),
    })
}
