//! The detector's group grows under a load test and shrinks after it, as after `make up`: real processes come and go with its
//! instances.

use super::{
    service::program,
    setting::{Detector, GROUP, SOON, Shape, System, said},
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, process::Stdio, time::Duration};
use tokio::process::Command;

/// The detectors that a process has started and that run.
fn detectors(of: u32) -> BTreeSet<u32> {
    // Each thread has its own children.
    let threads = std::fs::read_dir(format!("/proc/{of}/task")).unwrap();
    let children =
        threads.map(|thread| std::fs::read_to_string(thread.unwrap().path().join("children")).unwrap_or_default());
    let children: String = children.collect();
    children.split_whitespace().map(|pid| pid.parse().unwrap()).filter(|pid| runs(*pid)).collect()
}

/// Whether it is a detector that has not ended.
fn runs(process: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    status.contains(" (yolo5) ") && !status.contains(") Z ")
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_come_and_go_with_the_instances_that_a_load_test_makes() {
    let system = System::converged(Shape { queues: "", time_scale: 1.0 }).await;
    system.edit_spec("cpu: { target: 20 }", "backlog: { latencyTarget: 4s, secondsPerMessage: 1 }");
    let applied = system.apply(system.telegram.token()).await;
    assert!(applied.status.success(), "{}", said(&applied));
    for (name, value) in [("clock_rate", json!(60)), ("real_workers", json!(true)), ("tracking", json!(true))] {
        system.aws.switch(name, value).await.unwrap();
    }
    let mut keeper = system.detector(system.aws.endpoint()).await.command(program("local-fleet"));
    keeper.args(["--group", GROUP]).arg(program("yolo5")).args(Detector::ARGUMENTS);
    let mut keeper = keeper.kill_on_drop(true).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let id = keeper.id().unwrap();

    let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/../yolo5/samples");
    let mut load = Command::new(program("controller"));
    load.args(["load-test", "--images", samples, "--rate", "50", "--duration", "6s", "-o", "json", "-f"]);
    load.arg(system.spec()).envs(system.aws.env()).kill_on_drop(true);
    let mut seen = BTreeSet::new();
    let watch = async {
        loop {
            seen.extend(detectors(id));
            // Nothing tells when a process starts.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let output = tokio::select! {
        output = load.output() => output.unwrap(),
        () = watch => unreachable!(),
    };
    assert!(output.status.success(), "{}", said(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["sent"], &report["answered"], &report["workers"][1]), (&json!(300), &json!(300), &json!(3)));
    assert_eq!(seen.len(), 3, "a process for each instance, and each of them once");

    // Nothing waits any more: the group takes two of them away, which complete the hook and end.
    let shrinks = async {
        while detectors(id).len() > 1 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(SOON, shrinks).await.expect("two processes end");
    let fleet = system.aws.fleet().await.unwrap();
    assert_eq!(fleet[GROUP]["instances"].as_array().unwrap().len(), 1, "{fleet}");
    let drained = system.aws.moments(GROUP).await.unwrap().iter().filter(|moment| moment.what == "drained").count();
    assert_eq!(drained, 2);

    // Whoever ends the keeper ends them all.
    Command::new("kill").args(["-TERM", &id.to_string()]).status().await.unwrap();
    let ended = tokio::time::timeout(SOON, keeper.wait()).await.expect("an end").unwrap();
    assert!(ended.success());
    assert_eq!(seen.into_iter().filter(|pid| runs(*pid)).collect::<Vec<_>>(), Vec::<u32>::new());
}
