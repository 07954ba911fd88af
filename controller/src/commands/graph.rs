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
            GraphFormat::Mermaid => mermaid(&wanted, &BTreeMap::new()),
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
/// the rest. `marks` tells what is to happen to an address, which colours it.
pub(super) fn mermaid(wanted: &Wanted, marks: &BTreeMap<String, String>) -> String {
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
    // Colours that can be told apart without colour vision, by their lightness.
    for (word, style) in [
        ("create", "fill:#d4f4dd,stroke:#1a7f37,color:#0b3d1c"),
        ("update", "fill:#fff3bf,stroke:#9a6700,color:#4d3300"),
        ("replace", "fill:#ffd8a8,stroke:#bc4c00,color:#5c2500"),
        ("blocked", "fill:#ffc9c9,stroke:#cf222e,color:#67060c"),
        ("wait", "fill:#e7f0ff,stroke:#0969da,color:#0a3069"),
    ] {
        let marked: Vec<String> = wanted
            .addresses()
            .filter(|a| a.kind != "security_group_rule" && marks.get(&a.to_string()).is_some_and(|m| m == word))
            .map(id)
            .collect();
        if !marked.is_empty() {
            text.push_str(&format!("  classDef {word} {style}\n  class {} {word}\n", marked.join(",")));
        }
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
