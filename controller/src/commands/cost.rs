//! `cost`: what a stack costs a month, as far as that is paid by the hour. Asks AWS nothing.

use super::{name, out, stacks, title};
use crate::{
    cli::{CostArgs, CostFormat},
    cost::{self, Cost},
    spec::PolybotStack,
};
use serde_json::json;
use std::process::ExitCode;

/// Version of the JSON form.
const VERSION: u32 = 1;

pub(super) fn run(args: &CostArgs) -> anyhow::Result<ExitCode> {
    let stacks = stacks(&args.specs)?;
    match args.output {
        CostFormat::Text => stacks.iter().try_for_each(|s| out(&text(s, &cost::of(s))))?,
        CostFormat::Json => {
            let all: Vec<_> = stacks
                .iter()
                .map(|s| json!({ "stack": name(s), "region": s.spec.region, "cost": cost::of(s) }))
                .collect();
            out(&format!("{:#}\n", json!({ "version": VERSION, "stacks": all })))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn text(stack: &PolybotStack, cost: &Cost) -> String {
    let mut text = format!("stack {}: {} (prices of {}, without tax)\n", title(stack), cost.range(), cost.as_of);
    for line in &cost.lines {
        let price = match (line.least, line.most) {
            (Some(least), Some(most)) if (least - most).abs() < 0.005 => format!("{most:>9.2}"),
            (Some(least), Some(most)) => format!("{least:>9.2} to {most:.2}"),
            _ => "  unknown".to_owned(),
        };
        text.push_str(&format!("{price:<20} {}\n", line.what));
    }
    text.push_str(&format!("besides, by use: {}\n", cost.by_use.join("; ")));
    text
}
