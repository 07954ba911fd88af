//! `iam-policy`: what the controller itself must be allowed. Asks AWS nothing.

use super::{out, stacks};
use crate::{cli::IamPolicyArgs, permissions::policy};
use std::process::ExitCode;

pub(super) fn run(args: &IamPolicyArgs) -> anyhow::Result<ExitCode> {
    for stack in stacks(&args.specs)? {
        let account = args.account.as_ref().or(stack.spec.account_id.as_ref()).map_or("*", String::as_str);
        out(&format!("{:#}\n", policy(&stack, account, args.read_only)))?;
    }
    Ok(ExitCode::SUCCESS)
}
