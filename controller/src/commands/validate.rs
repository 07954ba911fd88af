//! `validate`: everything that can be checked without AWS.

use super::{out, stacks, title};
use crate::cli::Specs;
use std::process::ExitCode;

pub(super) fn run(args: &Specs) -> anyhow::Result<ExitCode> {
    for stack in stacks(args)? {
        out(&format!("stack {}: valid\n", title(&stack)))?;
    }
    Ok(ExitCode::SUCCESS)
}
