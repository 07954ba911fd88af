//! The stack and the planner without AWS.

use crate::setting::local_spec;
use controller::{
    engine::{Observed, Policy, plan},
    facts::Facts,
    kinds::{KINDS, repository::Repository, role::Role},
    ownership::Ownership,
    spec::Logs,
    stack::{self, Service},
};
use std::collections::{BTreeMap, BTreeSet};

fn ownership() -> Ownership {
    Ownership { stack: "local".into(), prefix: "talo-local".into(), extra: BTreeMap::new() }
}

#[test]
fn every_kind_of_the_stack_is_in_the_list_of_kinds_and_added_in_its_order() {
    let mut spec = local_spec();
    spec.spec.logs = Logs::CloudWatch;
    let wanted = stack::stack(&spec, &Facts::assumed(&spec));
    let kinds: BTreeSet<_> = KINDS.iter().map(|k| k.kind()).collect();
    for address in wanted.addresses() {
        assert!(kinds.contains(address.kind), "{address}");
    }
    let used: BTreeSet<_> = wanted.addresses().map(|a| a.kind).collect();
    assert_eq!(kinds.difference(&used).collect::<Vec<_>>(), [&"key_pair"], "the demo opens no SSH");
}

#[test]
fn a_kind_that_could_not_be_read_never_looks_missing() {
    let spec = local_spec();
    let wanted = stack::stack(&spec, &Facts::assumed(&spec));
    let mut observed = Observed { kinds: KINDS, ..Observed::default() };
    for kind in KINDS {
        observed.unknown.insert(kind.kind(), "denied".to_owned());
    }
    let plan = plan(&wanted, &observed, &ownership(), &Policy::CAREFUL);
    assert_eq!(plan.summary().writes(), 0, "{plan}");
    // Those that nothing is wanted of are holes too.
    let used: BTreeSet<_> = wanted.addresses().map(|a| a.kind).collect();
    assert_eq!(plan.summary().unknown, wanted.addresses().count() + KINDS.len() - used.len());
}

#[test]
fn the_plan_of_nothing_names_every_resource_once_and_needs_only_what_comes_before() {
    let spec = local_spec();
    let wanted = stack::stack(&spec, &Facts::assumed(&spec));
    let observed = Observed { kinds: KINDS, ..Observed::default() };
    let plan = plan(&wanted, &observed, &ownership(), &Policy::CAREFUL);
    let addresses: Vec<_> = plan.steps.iter().map(|s| s.address.to_string()).collect();
    assert_eq!(addresses.iter().collect::<BTreeSet<_>>().len(), addresses.len());
    for (i, step) in plan.steps.iter().enumerate() {
        assert!(step.needs.iter().all(|j| *j < i), "{} needs something that comes later", step.address);
    }
}

#[test]
fn a_repository_of_another_name_is_made_pulled_from_and_asked() {
    let mut spec = local_spec();
    spec.spec.polybot.image.repository = Some("bots".to_owned());
    let wanted = stack::stack(&spec, &Facts::assumed(&spec));
    let made: Vec<_> = wanted.of::<Repository>().map(|(_, r)| r.name.clone()).collect();
    assert_eq!(made, ["talo-local-bots", "talo-local-yolo5"]);
    let (_, role) = wanted.of::<Role>().find(|(a, _)| a.name == "polybot").unwrap();
    assert!(role.policy.to_string().contains("repository/talo-local-bots"), "{}", role.policy);
    assert_eq!(stack::repository(&spec, "123456789012", Service::Polybot), "talo-local-bots");
    // One for both services.
    spec.spec.yolo5.as_mut().unwrap().image.repository = Some("bots".to_owned());
    let wanted = stack::stack(&spec, &Facts::assumed(&spec));
    assert_eq!(wanted.of::<Repository>().count(), 1);
}

/// What is pure asks nobody: neither the planner nor the stack's modules use a client.
#[test]
fn what_is_pure_does_not_know_aws() {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in [
        "engine/plan.rs",
        "engine/wanted.rs",
        "engine/input.rs",
        "engine/show.rs",
        "stack/policy.rs",
        "stack/user_data.rs",
    ] {
        let text = std::fs::read_to_string(source.join(file)).unwrap();
        for word in ["Aws,", "View", "aws_sdk", "async fn", ".await"] {
            assert!(!text.contains(word), "{file} uses {word}");
        }
    }
    let stack = std::fs::read_to_string(source.join("stack.rs")).unwrap();
    assert!(!stack.contains(".send()") && !stack.contains("async fn") && !stack.contains(".await"));
}
