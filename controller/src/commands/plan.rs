//! `plan`: what `apply` would do. Reads only.

use super::{SOMETHING, connect, graph, out, stacks, title};
use crate::{
    cli::{PlanArgs, PlanFormat},
    cost,
    engine::Plan,
    posture::{Outcome, judge},
    preflight::{self, State},
    reconcile::{Allow, Goal, STACKS_AT_ONCE},
    report::{Document, Report, github, markdown, markdown::Topic},
    spec::{PolybotStack, load},
};
use futures::{StreamExt, stream};
use std::process::ExitCode;
use time::OffsetDateTime;
use tokio::time::Instant;

pub(super) async fn run(args: &PlanArgs) -> anyhow::Result<ExitCode> {
    let goal = if args.destroy { Goal::Destroy } else { Goal::Converge };
    let allow = &Allow { with_data: args.allow.with_data.clone(), replace: args.allow.replace.clone() };
    let (connections, unreached) = connect(stacks(&args.specs)?).await;
    let now = Instant::now();
    let looks = connections.iter().map(|c| async move {
        let (wanted, plan) = c.look_since(now, goal, allow).await;
        let mut report = Report::of(c, &plan);
        report.graph = Some(graph::mermaid(&wanted, &report.marks()));
        let mut text = text(&c.spec, &plan);
        if args.preflight {
            report.preflight = preflight::look(c, &plan).await;
            report.preflight.iter().for_each(|f| text.push_str(&format!("{f}\n")));
        }
        (text, report)
    });
    let (texts, reports): (Vec<_>, Vec<_>) = stream::iter(looks).buffered(STACKS_AT_ONCE).unzip().await;
    let problem = |r: &Report| r.preflight.iter().any(|f| f.state == State::Problem);
    let failed = !unreached.is_empty() || reports.iter().any(|r| r.counts.unknown > 0 || problem(r));
    let code = match (failed, reports.iter().any(|r| r.counts.writes() > 0)) {
        (true, _) => 1,
        (false, true) => SOMETHING,
        (false, false) => 0,
    };
    let before = args.base.as_ref().map(|path| load::load(std::slice::from_ref(path))).transpose()?;
    let notes: Vec<String> = connections.iter().flat_map(|c| notes(&c.spec, before.as_deref())).collect();
    let document = Document::new("plan", code, reports, unreached);
    let markdown = || markdown::markdown(Topic::Plan, &document, &notes);
    if args.github {
        github::write(&markdown(), &document)?;
    }
    match args.output {
        PlanFormat::Text => texts.iter().try_for_each(|text| out(text))?,
        PlanFormat::Markdown => out(&markdown())?,
        PlanFormat::Json => out(&document.json()?)?,
    }
    Ok(ExitCode::from(code))
}

/// What a reviewer wants to know besides: cost and its difference, and rules that are broken.
fn notes(stack: &PolybotStack, before: Option<&[PolybotStack]>) -> Vec<String> {
    let cost = cost::of(stack);
    let same = |s: &&PolybotStack| s.metadata.name == stack.metadata.name && s.spec.region == stack.spec.region;
    let delta = before.map(|all| {
        let was = all.iter().find(same).map(cost::of);
        was.map_or_else(|| " (new)".to_owned(), |was| format!(" ({})", cost.delta(&was)))
    });
    let delta = delta.unwrap_or_default();
    let mut notes = vec![format!(
        "**Cost** of {}: {}{delta}, besides what is paid by use; prices of {}.",
        title(stack),
        cost.range(),
        cost.as_of
    )];
    let judged = judge(stack, OffsetDateTime::now_utc().date());
    let broken: Vec<String> = judged
        .iter()
        .filter(|j| j.outcome == Outcome::Fail)
        .map(|j| format!("- {} `{}`: {} ({})", j.rule, j.address, j.title, j.why))
        .collect();
    let waived = judged.iter().filter(|j| j.outcome == Outcome::Waived).count();
    notes.push(match broken.len() {
        0 => format!("**Security** of {}: no rule is broken, {waived} are waived.", title(stack)),
        n => format!("**Security** of {}: {n} broken, {waived} waived\n\n{}", title(stack), broken.join("\n")),
    });
    notes
}

/// A plan as people read it: title, steps, summary, digest.
pub(super) fn text(stack: &PolybotStack, plan: &Plan) -> String {
    let summary = plan.summary();
    let digest = if summary.writes() > 0 { format!("digest {}\n", plan.digest()) } else { String::new() };
    let steps = if plan.steps.is_empty() { String::new() } else { format!("{plan}\n") };
    format!("stack {}: {summary}\n{steps}{digest}", title(stack))
}
