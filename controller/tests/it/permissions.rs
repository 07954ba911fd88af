//! The controller with exactly the policy that it prints, and without each of its statements.

use crate::setting::{Synced, World, local_spec, once, plan, settle, settle_for, writes};
use controller::{
    engine::Outcome,
    permissions::policy,
    reconcile::{Allow, Connection, Goal},
    spec::{Logs, PolybotStack},
};
use local::aws::ACCOUNT;
use serde_json::Value;
use std::sync::Arc;

/// What may be missing: it only explains, or is for what the local AWS does not ask for.
const SPARE: [&str; 4] = ["Explain", "Preflight", "ServiceLinkedRoles", "Lease"];

/// A connection that acts as a role with this policy.
async fn connect_with(world: &World, stack: PolybotStack, role: &str, policy: &Value) -> Connection {
    world.give(role, policy).await;
    let config = world.aws.config_as(role, stack.spec.region.as_str()).await.unwrap();
    Connection::with_config(Arc::new(stack), &config).await.unwrap()
}

/// A policy without one statement.
pub fn without(policy: &Value, sid: &str) -> Value {
    let mut policy = policy.clone();
    policy["Statement"].as_array_mut().unwrap().retain(|s| s["Sid"] != sid);
    policy
}

fn sids(policy: &Value) -> Vec<String> {
    let all = policy["Statement"].as_array().unwrap().iter().map(|s| s["Sid"].as_str().unwrap().to_owned());
    all.filter(|sid| !SPARE.contains(&sid.as_str())).collect()
}

#[tokio::test]
async fn the_policy_that_is_printed_is_enough_to_converge_repair_and_destroy() {
    let world = World::new().await;
    let mut spec = local_spec();
    spec.spec.logs = Logs::CloudWatch;
    let full = policy(&spec, ACCOUNT, false);
    let c = connect_with(&world, spec.clone(), "controller", &full).await;
    once(&c).await;
    world.push_images(&world.connect(local_spec()).await, "v1.0.0").await;
    settle(&c).await;

    // A change of many kinds, and a hand's work.
    spec.spec.network.zones = 3;
    spec.spec.queues.identify.max_receives = 9;
    spec.spec.notifications[0].email = "other@example.com".into();
    spec.spec.bucket.versioning = false;
    let hands = world.connect(local_spec()).await;
    hands.aws.autoscaling.suspend_processes().auto_scaling_group_name("talo-local-yolo5").send().await.unwrap();
    let c = connect_with(&world, spec, "controller", &full).await;
    settle(&c).await;
    assert_eq!(writes(&plan(&c).await), Vec::<String>::new());

    let all = Allow { with_data: vec!["all".into()], ..Allow::default() };
    settle_for(&c, Goal::Destroy, &all).await;
}

#[tokio::test]
async fn no_statement_of_the_policy_can_be_left_out() {
    let world = World::new().await;
    let mut spec = local_spec();
    spec.spec.logs = Logs::CloudWatch;
    // What exists already is an account's zone; each try is a stack of its own.
    for (n, sid) in sids(&policy(&spec, ACCOUNT, false)).into_iter().filter(|s| !s.starts_with("Read")).enumerate() {
        let mut spec = spec.clone();
        spec.metadata.name = Some(format!("try{n}"));
        spec.spec.environment = format!("try{n}");
        spec.spec.domain.name = format!("try{n}.int-devops.click");
        let c = connect_with(&world, spec.clone(), "partial", &without(&policy(&spec, ACCOUNT, false), &sid)).await;
        let mut refused = false;
        for pass in 0..12 {
            if pass == 1 {
                world.push_images(&world.connect(spec.clone()).await, "v1.0.0").await;
            }
            let report = once(&c).await;
            refused |= report.steps.iter().any(|(_, o)| matches!(o, Outcome::Failed(e) if e.to_string().contains("not authorized") || e.to_string().contains("AccessDenied")));
            if refused {
                break;
            }
        }
        assert!(refused, "{sid} is not needed");
    }
}

#[tokio::test]
async fn drift_needs_every_statement_of_the_reading_policy_and_no_other() {
    let stack = Synced::new().await;
    let read = policy(&local_spec(), ACCOUNT, true);
    let drift = async |policy: &Value| {
        stack.world.give("reader", policy).await;
        let env = stack.world.aws.env_as("reader").await.unwrap();
        let output = stack.command(&["drift"]).envs(env).output().await.unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, text) = drift(&read).await;
    assert_eq!(code, Some(0), "{text}");
    // The image of a template that stands is not asked for again.
    for sid in sids(&read).into_iter().filter(|sid| sid != "ReadImageId") {
        let (code, text) = drift(&without(&read, &sid)).await;
        assert_eq!(code, Some(5), "without {sid}:\n{text}");
    }
    // What may not be listed around the stack is told, and never taken for nothing.
    let (_, text) = drift(&without(&read, "ReadSurroundings")).await;
    for kind in ["NAT gateway", "VPC endpoint", "instance", "running instance"] {
        let told = format!("unchecked ? unknown {kind}/*: what else is there cannot be looked for: ec2 Describe");
        assert!(text.contains(&told), "{told}\n{text}");
    }
    assert_eq!(drift(&without(&read, "Explain")).await.0, Some(0));

    // Without a token the webhook and the secret cannot be checked; everything else is.
    stack.world.give("reader", &read).await;
    let env = stack.world.aws.env_as("reader").await.unwrap();
    let output = stack.command(&["drift"]).envs(env).env_remove("TELEGRAM_TOKEN").output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(5), "{text}");
    assert_eq!(text.lines().filter(|l| l.starts_with("unchecked")).count(), 2, "{text}");
}
