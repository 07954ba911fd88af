//! `graph`: the stack as a picture, from the spec alone.

use super::{out, stacks, title};
use crate::{
    cli::{GraphArgs, GraphFormat},
    engine::{Address, Wanted},
    facts::Facts,
    stack,
};
use std::{collections::BTreeMap, process::ExitCode};

pub(super) fn run(args: &GraphArgs) -> anyhow::Result<ExitCode> {
    for spec in stacks(&args.specs)? {
        let wanted = stack::stack(&spec, &Facts::assumed(&spec));
        let text = match args.output {
            GraphFormat::Mermaid => mermaid(&wanted),
            GraphFormat::Dot => dot(&title(&spec), &wanted),
        };
        out(&text)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn id(address: &Address) -> String {
    address.to_string().replace(|c: char| !c.is_ascii_alphanumeric(), "_")
}

fn by_kind(wanted: &Wanted) -> Vec<(&'static str, Vec<&Address>)> {
    let mut kinds: Vec<(&'static str, Vec<&Address>)> = vec![];
    let mut at = BTreeMap::new();
    for address in wanted.addresses() {
        let index = *at.entry(address.kind).or_insert_with(|| {
            kinds.push((address.kind, vec![]));
            kinds.len() - 1
        });
        kinds[index].1.push(address);
    }
    kinds
}

/// A box for each resource, an arrow from each to what it takes a value from. Rules of groups are left out: they would hide
/// the rest.
fn mermaid(wanted: &Wanted) -> String {
    let mut text = "graph LR\n".to_owned();
    for (kind, addresses) in by_kind(wanted).into_iter().filter(|(k, _)| *k != "security_group_rule") {
        text.push_str(&format!("  subgraph {kind}\n"));
        for address in addresses {
            text.push_str(&format!("    {}[\"{}\"]\n", id(address), address.name));
        }
        text.push_str("  end\n");
    }
    for (from, to) in references(wanted) {
        text.push_str(&format!("  {} --> {}\n", id(&from), id(&to)));
    }
    text
}

fn dot(title: &str, wanted: &Wanted) -> String {
    let mut text =
        format!("digraph \"{title}\" {{\n  rankdir=LR;\n  node [shape=box, style=rounded, fontname=\"sans-serif\"];\n");
    for (kind, addresses) in by_kind(wanted).into_iter().filter(|(k, _)| *k != "security_group_rule") {
        text.push_str(&format!("  subgraph cluster_{kind} {{\n    label=\"{kind}\";\n"));
        for address in addresses {
            text.push_str(&format!("    {} [label=\"{}\"];\n", id(address), address.name));
        }
        text.push_str("  }\n");
    }
    for (from, to) in references(wanted) {
        text.push_str(&format!("  {} -> {};\n", id(&from), id(&to)));
    }
    text.push_str("}\n");
    text
}

fn references(wanted: &Wanted) -> impl Iterator<Item = (Address, Address)> {
    wanted.references().into_iter().filter(|(from, _)| from.kind != "security_group_rule")
}
