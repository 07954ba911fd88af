//! What a change does: each file in `tests/plans` says what stands, what somebody did to it and what is wanted, and holds the
//! plan that comes of it. `BLESS=1` writes the plans anew; the difference is then for people to judge.

use crate::{
    setting::local_spec,
    twin::{OTHERS, TWINS, Wish, account, cloud, converge, facts, restore, twins},
};
use controller::{
    aws::View,
    engine::{Tags, Wanted, observe},
    ownership::{INTENT, STACK},
    reconcile::{Allow, Goal},
    report::{Report, Verdict},
    spec::PolybotStack,
    stack::{self, Service},
};
use serde::Deserialize;
use serde_json::Value;
use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

/// One scenario. Specs are merged into `specs/local.yaml` (RFC 7396).
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Scenario {
    /// A sentence for the reader.
    #[serde(rename = "about")]
    _about: String,
    /// Nothing stands yet.
    #[serde(default)]
    empty: bool,
    /// What was applied.
    #[serde(default)]
    applied: Value,
    /// What somebody did to it since.
    #[serde(default)]
    hands: Hands,
    /// Kinds whose list is denied.
    #[serde(default)]
    unread: Vec<String>,
    /// What is wanted now.
    #[serde(default)]
    wanted: Value,
    /// Or that nothing is.
    #[serde(default)]
    destroy: bool,
    /// Arguments `--with-data` and `--replace`.
    #[serde(default)]
    with_data: Vec<String>,
    #[serde(default)]
    replace: Vec<String>,
    /// Of the world outside: images that were pushed meanwhile, and what is not there.
    #[serde(default)]
    pushed: Vec<String>,
    #[serde(default)]
    missing: Vec<String>,
    /// What must come of it.
    plan: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Hands {
    /// Everything looks as this spec would have it, and nobody applied it.
    changed: Value,
    removed: Vec<String>,
    /// Tags were taken away.
    untagged: Vec<String>,
    /// They bear another stack's name.
    taken: Vec<String>,
}

fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        if !patch.is_null() {
            *into = patch.clone();
        }
        return;
    };
    for (key, value) in fields {
        match (value.is_null(), into.as_object_mut()) {
            (true, Some(object)) => drop(object.remove(key)),
            _ => merge(&mut into[key], value),
        }
    }
}

fn spec(patches: &[&Value]) -> PolybotStack {
    let mut tree = serde_json::to_value(local_spec()).unwrap();
    for patch in patches {
        merge(&mut tree, patch);
    }
    serde_json::from_value(tree).unwrap()
}

/// What stands, and what somebody did to it.
async fn stand(scenario: &Scenario) {
    restore(&[], 0, BTreeMap::new(), 0);
    if scenario.empty {
        return;
    }
    converge(&Wish::of(spec(&[&scenario.applied]))).await;
    let hands = &scenario.hands;
    if !hands.changed.is_null() {
        let tags: BTreeMap<String, Tags> =
            cloud(|c| c.things.iter().map(|thing| (thing.address(), thing.tags.clone())).collect());
        converge(&Wish::of(spec(&[&scenario.applied, &hands.changed]))).await;
        // Hands leave the tags as they were.
        cloud(|c| {
            for thing in &mut c.things {
                thing.tags = tags.get(&thing.address()).unwrap_or(&thing.tags).clone();
            }
        });
    }
    cloud(|c| {
        let there = |address: &String| c.things.iter().any(|t| t.address() == *address);
        let all = [&hands.removed, &hands.untagged, &hands.taken];
        assert!(all.iter().flat_map(|list| list.iter()).all(there), "hands touch what is not there");
        c.things.retain(|t| !hands.removed.contains(&t.address()));
        for thing in &mut c.things {
            let address = thing.address();
            if hands.untagged.contains(&address) {
                thing.tags.remove("Name");
            }
            if hands.taken.contains(&address) {
                thing.tags.insert(STACK.to_owned(), OTHERS.to_owned());
            }
        }
    });
}

/// The plan as a table: what it means to `drift`, what is done, to what, and which fields.
async fn planned(scenario: &Scenario) -> String {
    let spec = spec(&[&scenario.applied, &scenario.wanted]);
    let connection = account(&spec);
    let mut facts = facts(&spec);
    for service in &scenario.pushed {
        let service = [Service::Polybot, Service::Yolo5].into_iter().find(|s| s.name() == service).unwrap();
        facts.images.insert(service, Ok(format!("registry/{}@sha256:{:064}", service.name(), 2)));
    }
    for what in &scenario.missing {
        let why = || format!("no {what}");
        match what.as_str() {
            "token" => facts.token = Err(why()),
            "telegram" => facts.telegram = Err(why()),
            "ami" => facts.ami = Err(why()),
            "yolo5" => drop(facts.images.insert(Service::Yolo5, Err(why()))),
            other => panic!("{other} cannot be missing"),
        }
    }
    cloud(|c| c.pass += 1);
    let mut observed = observe(&View::new(&connection.aws), TWINS).await;
    for kind in &scenario.unread {
        let kind = TWINS.iter().map(|k| k.kind()).find(|k| k == kind).unwrap();
        observed.found.retain(|f| f.address.kind != kind);
        observed.unknown.insert(kind, "denied".to_owned());
    }
    let (goal, wanted) = if scenario.destroy {
        (Goal::Destroy, Wanted::default())
    } else {
        (Goal::Converge, twins(&stack::stack(&spec, &facts)))
    };
    let allow = Allow { with_data: scenario.with_data.clone(), replace: scenario.replace.clone() };
    let report = Report::of(&connection, &connection.plan_of(goal, &allow, &wanted, &observed));
    let mut text = format!("{}\n", report.summary);
    for i in &report.ignored {
        writeln!(text, "ignored            {} {}: {} -> {} ({})", i.address, i.field, i.live, i.wanted, i.reason)
            .unwrap();
    }
    for step in &report.steps {
        // A plan to destroy is no drift.
        let verdict = step.verdict.filter(|_| !scenario.destroy).map_or("-", Verdict::word);
        let reason = step.reason.as_ref().map(|r| format!(": {r}")).unwrap_or_default();
        writeln!(text, "{verdict:<9} {:<8} {}{reason}", step.action, step.address).unwrap();
        // Digests of what was applied would change with every field of a kind.
        for change in step.changes.iter().filter(|c| !c.wanted.starts_with(INTENT)) {
            writeln!(text, "    {}: {} -> {} ({})", change.field, change.live, change.wanted, change.how).unwrap();
        }
    }
    without_numbers(&text)
}

/// The text with `N` for the numbers of things, which tell nothing but how many were made before.
fn without_numbers(text: &str) -> String {
    let mut text = text.to_owned();
    for kind in TWINS.iter().map(|kind| format!("{}-", kind.kind())) {
        let parts: Vec<&str> = text.split(kind.as_str()).collect();
        let digits = |part: &str| part.bytes().take_while(u8::is_ascii_digit).count();
        let rest = parts[1..].iter().map(|part| match digits(part) {
            0 => format!("{kind}{part}"),
            n => format!("{kind}N{}", &part[n..]),
        });
        text = parts[0].to_owned() + &rest.collect::<String>();
    }
    text
}

#[tokio::test(start_paused = true)]
async fn each_scenario_comes_to_its_plan() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut wrong = String::new();
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let scenario: Scenario = serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        stand(&scenario).await;
        let plan = planned(&scenario).await;
        if plan == scenario.plan {
            continue;
        }
        if std::env::var_os("BLESS").is_some() {
            let (head, _) = text.split_once("plan: |\n").unwrap();
            let plan = plan.trim_end().replace('\n', "\n  ");
            fs::write(&path, format!("{head}plan: |\n  {plan}\n")).unwrap();
        }
        writeln!(wrong, "{name} should come to\n{}\nand comes to\n{plan}", scenario.plan).unwrap();
    }
    assert!(wrong.is_empty(), "{wrong}");
}
