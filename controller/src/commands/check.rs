//! `check`: how safe the stack is that a spec stands for. Asks AWS nothing.

use super::{SOMETHING, name, out, stacks, title};
use crate::{
    cli::{CheckArgs, CheckFormat},
    posture::{Judgement, Outcome, judge},
    report::sarif,
    spec::PolybotStack,
};
use serde_json::json;
use std::process::ExitCode;
use time::OffsetDateTime;

/// Version of the JSON form.
const VERSION: u32 = 1;

pub(super) fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let today = OffsetDateTime::now_utc().date();
    let all: Vec<_> = stacks(&args.specs)?.into_iter().map(|s| (judge(&s, today), s)).collect();
    let failed = all.iter().flat_map(|(judged, _)| judged).any(|j| j.outcome == Outcome::Fail);
    match args.output {
        CheckFormat::Text => all.iter().try_for_each(|(judged, stack)| out(&text(stack, judged)))?,
        CheckFormat::Json => {
            let stacks: Vec<_> = all
                .iter()
                .map(|(judged, s)| json!({ "stack": name(s), "region": s.spec.region, "rules": judged }))
                .collect();
            out(&format!("{:#}\n", json!({ "version": VERSION, "stacks": stacks })))?;
        }
        CheckFormat::Sarif => {
            let file = args.specs.files.first().map(|f| f.display().to_string()).unwrap_or_default();
            let findings: Vec<_> = all.iter().flat_map(|(judged, stack)| findings(stack, judged)).collect();
            out(&format!("{:#}\n", sarif::document(&findings, &file)))?;
        }
    }
    Ok(if failed { ExitCode::from(SOMETHING) } else { ExitCode::SUCCESS })
}

fn text(stack: &PolybotStack, judged: &[Judgement]) -> String {
    let count = |o| judged.iter().filter(|j| j.outcome == o).count();
    let (fail, waived, pass) = (count(Outcome::Fail), count(Outcome::Waived), count(Outcome::Pass));
    let mut text = format!("stack {}: {fail} failed, {waived} waived, {pass} passed\n", title(stack));
    for j in judged.iter().filter(|j| j.outcome != Outcome::Pass) {
        let word = if j.outcome == Outcome::Fail { "fail" } else { "waived" };
        text.push_str(&format!("{word:<7} {:<12} {}: {}\n        {}\n", j.rule, j.address, j.title, j.why));
    }
    text
}

fn findings(stack: &PolybotStack, judged: &[Judgement]) -> Vec<sarif::Finding> {
    let kept = judged.iter().filter(|j| j.outcome != Outcome::Pass);
    kept.map(|j| sarif::Finding {
        rule: j.rule.clone(),
        title: j.title.clone(),
        level: "error",
        message: format!("{}: {}: {} ({})", title(stack), j.address, j.title, j.why),
        fingerprint: format!("{}/{}/{}", stack.spec.region, name(stack), j.address),
        suppressed: (j.outcome == Outcome::Waived).then(|| j.why.clone()),
    })
    .collect()
}
