//! `iam-policy`: what the controller itself must be allowed. Asks AWS nothing.

use super::{out, stacks, title, warn};
use crate::{
    cli::IamPolicyArgs,
    permissions::{load_test, parts, policy, to_take_roles},
};
use anyhow::bail;
use std::process::ExitCode;

pub(super) fn run(args: &IamPolicyArgs) -> anyhow::Result<ExitCode> {
    let stacks = stacks(&args.specs)?;
    if args.caller {
        out(&format!("{:#}\n", to_take_roles(&stacks)?))?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.part.is_some() && stacks.len() > 1 {
        bail!("parts are of one stack; choose with --stack");
    }
    for stack in stacks {
        let account = args.account.as_ref().or(stack.spec.account_id.as_ref()).map_or("*", String::as_str);
        let whole =
            if args.load_test { load_test::policy(&stack, account) } else { policy(&stack, account, args.read_only) };
        let parts = parts(&whole);
        let shown = match args.part {
            None => &whole,
            Some(n) => match n.checked_sub(1).and_then(|n| parts.get(n)) {
                Some(part) => part,
                None => bail!("there is no part {n}: the policy has {}", parts.len()),
            },
        };
        out(&format!("{shown:#}\n"))?;
        if args.part.is_none() && parts.len() > 1 {
            warn(&format!(
                "note: {} has {} characters, white space apart; a role's inline policies may have 10,240 together, a managed \
                 policy 6,144: `--part 1` to `--part {}` each fit into one\n",
                title(&stack),
                whole.to_string().len(),
                parts.len()
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}
