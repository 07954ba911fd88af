//! `destroy`: the plan of no stack at all. What holds data stays unless it is named.

use super::{
    apply::{End, ask, exit_code, passes},
    connect, name, out, plan, stacks, title, warn,
};
use crate::{
    cli::DestroyArgs,
    reconcile::{Allow, Goal},
    stop::Stop,
};
use anyhow::bail;
use std::process::ExitCode;

pub(super) async fn run(args: &DestroyArgs) -> anyhow::Result<ExitCode> {
    let allow = Allow { with_data: args.with_data.clone(), replace: vec![] };
    let stop = Stop::on_signal()?;
    let chosen = stacks(&args.specs)?;
    // A name that is typed, or given, stands for one stack and no other.
    for (n, stack) in chosen.iter().enumerate() {
        if let Some(other) = chosen[..n].iter().find(|other| name(other) == name(stack)) {
            bail!(
                "nothing was done: {} and {} have one name; give the file of one, or names of their own",
                title(other),
                title(stack)
            );
        }
    }
    let (connections, unreached) = connect(chosen).await;
    let mut ends = vec![if unreached.is_empty() { End::Converged } else { End::Failed }];
    for connection in &connections {
        let (_, plan) = connection.look(Goal::Destroy, &allow).await;
        out(&plan::text(&connection.spec, &plan))?;
        let asked = match &connection.aws.telegram {
            Some(telegram) => telegram.webhook_info().await.map(drop),
            None => Err("its token is not at hand".to_owned()),
        };
        if let Err(why) = asked {
            warn(&format!(
                "note: Telegram was not asked ({why}), so a webhook of this stack stays there; with the bot's token, `destroy` once \
                 more takes it back\n"
            ));
        }
        let name = name(&connection.spec);
        let agreed = args.confirm.contains(&name)
            || plan.summary().writes() == 0
            || ask(&format!("This removes stack {}. Type its name to go on: ", title(&connection.spec)), &[&name])?;
        if !agreed {
            warn("nothing was done\n");
            ends.push(End::Failed);
            continue;
        }
        ends.push(passes(connection, plan, Goal::Destroy, &allow, &args.pace, &stop).await?);
    }
    Ok(exit_code(ends))
}
