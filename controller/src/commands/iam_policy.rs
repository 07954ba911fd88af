//! `iam-policy`: what the controller itself must be allowed. Asks AWS nothing.

use super::{out, stacks};
use crate::{
    cli::IamPolicyArgs,
    permissions::{policy, to_take_roles},
};
use std::process::ExitCode;

pub(super) fn run(args: &IamPolicyArgs) -> anyhow::Result<ExitCode> {
    let stacks = stacks(&args.specs)?;
    if args.caller {
        out(&format!("{:#}\n", to_take_roles(&stacks)?))?;
        return Ok(ExitCode::SUCCESS);
    }
    for stack in stacks {
        let account = args.account.as_ref().or(stack.spec.account_id.as_ref()).map_or("*", String::as_str);
        out(&format!("{:#}\n", policy(&stack, account, args.read_only)))?;
    }
    Ok(ExitCode::SUCCESS)
}
