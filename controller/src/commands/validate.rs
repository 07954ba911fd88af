//! `validate`: everything that can be checked without AWS.

use super::{out, stacks, title};
use crate::{cli::Specs, facts::Facts, stack};
use std::process::ExitCode;

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
        if stack.spec.telegram.token.kubernetes_secret.is_some() {
            out("  note: spec.telegram.token is in a Kubernetes Secret, which only `controller operate` can read\n")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
