//! A process that dies in the middle: whatever it had done, the next run finishes, and there is one of everything.

use crate::setting::{World, local_spec, plan, settle, settle_for, writes};
use controller::{
    engine::apply,
    reconcile::{Allow, Goal},
    stop::Stop,
};
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

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

/// The real program, killed (SIGKILL) at its k-th write call: before AWS has acted, or after it has and before the answer
/// came. The next run ends in one stack, whole, with nothing beside it.
#[tokio::test]
async fn a_program_killed_at_a_call_is_finished_by_the_next_run() {
    let world = World::new().await;
    let whole = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../specs/local.yaml")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let kills = [("hold_before", 1), ("hold_after", 1), ("hold_after", 5), ("hold_before", 17)];
    let more = [("hold_after", 24), ("hold_after", 33), ("hold_before", 42), ("hold_after", 58)];
    for (round, (switch, k)) in kills.into_iter().chain(more).enumerate() {
        let text = whole
            .replace("name: local\n", &format!("name: kill{round}\n"))
            .replace("environment: local", &format!("environment: k{round}"))
            .replace("name: local-polybot", &format!("name: k{round}"));
        let spec = folder.path().join(format!("{round}.yaml"));
        std::fs::write(&spec, text).unwrap();
        let start = || {
            let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_controller"));
            command.args(["apply", "--yes", "--once", "--lease", "1s", "-f"]).arg(&spec).envs(world.aws.env());
            command.env("TELEGRAM_TOKEN", crate::setting::TOKEN).kill_on_drop(true);
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
            command.spawn().unwrap()
        };
        world.aws.switch(switch, k.into()).await.unwrap();
        let mut killed = start();
        let held = tokio::time::timeout(std::time::Duration::from_secs(20), world.aws.held());
        held.await.unwrap_or_else(|_| panic!("no call {k}")).unwrap();
        killed.kill().await.unwrap();

        for _ in 0..3 {
            start().wait().await.unwrap();
        }
        let mut stack = controller::spec::load::load(&[spec]).unwrap().remove(0);
        stack.spec.telegram = local_spec().spec.telegram;
        let connection = world.connect(stack).await;
        world.push_images(&connection, "v1.0.0").await;
        settle(&connection).await;
        let healed = plan(&connection).await;
        assert_eq!(writes(&healed), Vec::<String>::new(), "{switch} {k}");
        let mut addresses: Vec<_> = healed.found.iter().map(|f| f.address.to_string()).collect();
        let all = addresses.len();
        addresses.dedup();
        assert_eq!(addresses.len(), all, "{switch} {k}: twins\n{addresses:?}");
        let all = Allow { with_data: vec!["all".to_owned()], replace: vec![] };
        settle_for(&connection, Goal::Destroy, &all).await;
    }
}
