//! A process that dies in the middle: whatever it had done, the next run finishes, and there is one of everything.

use crate::setting::{Synced, World, local_spec, plan, settle, settle_for, writes};
use controller::{
    engine::apply,
    reconcile::{Allow, Goal},
    stop::Stop,
};
use std::{
    collections::BTreeMap,
    process::Stdio,
    sync::atomic::{AtomicUsize, Ordering},
};
use tokio::io::{AsyncBufReadExt, BufReader};

/// Drops a pass after its k-th step has begun, as when the process is killed: the call may be on its way, done, or not sent.
#[tokio::test]
async fn a_pass_dropped_at_any_step_heals() {
    let world = World::new().await;
    let mut spec = local_spec();
    for (round, k) in [1, 3, 7, 12, 18, 25, 31, 38].into_iter().enumerate() {
        // A stack of its own each round, in the same account.
        spec.metadata.name = Some(format!("round{round}"));
        spec.spec.environment = format!("r{round}");
        spec.spec.domain.name = format!("r{round}.int-devops.click");
        let connection = world.connect(spec.clone()).await;
        let first = plan(&connection).await;
        let begun = AtomicUsize::new(0);
        let killed = tokio::sync::Notify::new();
        let watch = |event: &controller::engine::Event| {
            if matches!(event, controller::engine::Event::Started(_)) && begun.fetch_add(1, Ordering::SeqCst) + 1 == k {
                killed.notify_one();
            }
        };
        let stop = Stop::default();
        tokio::select! {
            () = killed.notified() => {}
            _ = apply(&connection.aws, first, None, &stop, &watch) => panic!("the pass ended before step {k}"),
        }

        // A new process: nothing is known but the spec.
        let connection = world.connect(spec.clone()).await;
        for _ in 0..3 {
            crate::setting::once(&connection).await;
        }
        world.push_images(&connection, "v1.0.0").await;
        settle(&connection).await;
        let healed = plan(&connection).await;
        assert_eq!(writes(&healed), Vec::<String>::new(), "killed at step {k}");
        let mut count: BTreeMap<String, usize> = BTreeMap::new();
        for found in &healed.found {
            *count.entry(found.address.to_string()).or_default() += 1;
        }
        let twins: Vec<_> = count.iter().filter(|(_, n)| **n > 1).collect();
        assert!(twins.is_empty(), "killed at step {k}: {twins:?}");

        let all = Allow { with_data: vec!["all".to_owned()], replace: vec![] };
        settle_for(&connection, Goal::Destroy, &all).await;
        let (_, left) = connection.look(Goal::Destroy, &all).await;
        assert_eq!(left.steps.len(), 0, "killed at step {k}: {left}");
    }
}

/// A call that fails in one look makes images look as if nobody had pushed them.
#[tokio::test]
async fn what_cannot_be_read_for_a_moment_is_not_left_to_a_person() {
    let synced = Synced::new().await;
    synced.world.aws.switch("refuse", serde_json::json!({ "ecr:DescribeImages": "ServerException" })).await.unwrap();
    let mut apply = synced.command(&["apply", "--yes", "--poll", "5s"]);
    let mut apply = apply.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(apply.stderr.take().unwrap()).lines();
    while !said.next_line().await.unwrap().expect("it ended without waiting").contains("waiting for") {}
    synced.world.aws.switch("refuse", serde_json::json!({})).await.unwrap();
    assert_eq!(apply.wait().await.unwrap().code(), Some(0));
}
