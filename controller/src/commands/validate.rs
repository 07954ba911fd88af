//! `validate`: everything that can be checked without AWS.

use super::{out, stacks, title};
use crate::{
    cli::Specs,
    facts::Facts,
    posture::{self, Outcome},
    stack,
};
use std::process::ExitCode;
use time::OffsetDateTime;

pub(super) fn run(args: &Specs) -> anyhow::Result<ExitCode> {
    for stack in stacks(args)? {
        let wanted = stack::stack(&stack, &Facts::assumed(&stack));
        let names: Vec<_> = wanted.names().map(|(address, name)| (address.to_string(), name)).collect();
        let wide = names.iter().map(|(address, _)| address.len()).max().unwrap_or(0);
        let table: String =
            names.iter().fold(String::new(), |text, (address, name)| text + &format!("  {address:<wide$}  {name}\n"));
        out(&format!("stack {}: valid; its names in AWS\n{table}", title(&stack)))?;
        if stack.spec.cluster.is_some() {
            out(
                "  note: spec.cluster is for `controller operate`; it has no effect on a stack that is applied from a file\n",
            )?;
        }
        let judged = posture::judge(&stack, OffsetDateTime::now_utc().date());
        for j in judged.iter().filter(|j| j.rule == posture::WATCHED && j.outcome == Outcome::Fail) {
            out(&format!("  warning: {}: {}\n", j.address, j.why))?;
        }
        if stack.spec.telegram.token.kubernetes_secret.is_some() {
            out("  note: spec.telegram.token is in a Kubernetes Secret, which only `controller operate` can read\n")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
