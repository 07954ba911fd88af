//! Two replicas: one leads, the other follows when the first dies, wherever it was.

use super::{Cluster, EVENTS, STACK};
use std::collections::BTreeSet;

const LEASE: &str = "apis/coordination.k8s.io/v1/namespaces/default/leases/polybot-controller";

#[tokio::test]
async fn a_leader_that_is_killed_in_mid_pass_is_followed_and_one_of_everything_is_made() {
    let cluster = Cluster::new().await;
    cluster.create_secret();
    cluster.create(&cluster.stack());
    cluster.world.aws.switch("hold_after", 20.into()).await.unwrap();
    let mut first = cluster.operator(&[]);
    first.logs("leads").await;
    let mut second = cluster.operator(&[]);
    second.logs("stands by").await;
    let leader = cluster.kube.get(LEASE).unwrap()["spec"]["holderIdentity"].clone();
    // In the middle of its work, after AWS has done something that it will never hear of.
    cluster.world.aws.held().await.unwrap();
    first.child.kill().await.unwrap();
    second.logs("leads").await;
    let lease = cluster.kube.get(LEASE).unwrap();
    assert_ne!(lease["spec"]["holderIdentity"], leader);
    assert_eq!(lease["spec"]["leaseTransitions"], 2);
    cluster.says("Ready", "False", "Waiting").await;
    cluster.push_images().await;
    cluster.annotate("polybot.dev/reconcile", "images");
    let told = cluster.says("Ready", "True", "Converged").await;
    assert_eq!(cluster.writes().await, Vec::<String>::new(), "there is neither too much nor too little");
    let rows = told["status"]["resources"].as_array().unwrap();
    let addresses: BTreeSet<_> = rows.iter().map(|r| r["address"].as_str().unwrap()).collect();
    assert_eq!(addresses.len(), rows.len(), "one of everything");
    // What the first had made before it died, it could not tell of. All else was made once, and nothing was taken away.
    let events = cluster.kube.list(EVENTS);
    let of = |reason: &str| events.iter().filter(|e| e["reason"] == reason).collect::<Vec<_>>();
    let (created, made) = (of("Created"), rows.iter().filter(|row| row["state"] == "ready").count());
    assert!(created.iter().all(|e| e["series"].is_null()), "{created:#?}");
    // Twenty calls were answered, and each of the ten steps that can be at work may have been in another one.
    assert!((made - 20 - 10..made).contains(&created.len()), "{} of {made}", created.len());
    assert_eq!([of("Deleted").len(), of("Replaced").len(), of("StepFailed").len()], [0; 3], "{events:#?}");

    // A leader that is robbed of its Lease stops, and says so; of what it was at, it tells nothing any more.
    cluster.world.aws.switch("hold_after_call", "sqs:SetQueueAttributes".into()).await.unwrap();
    cluster.kube.edit(STACK, |s| s["spec"]["queues"]["work"]["maxReceives"] = 9.into()).unwrap();
    cluster.world.aws.held().await.unwrap();
    let (stack, events) = (cluster.kube.get(STACK), cluster.kube.list(EVENTS));
    let rob = |lease: &mut serde_json::Value| {
        lease["spec"]["holderIdentity"] = "somebody-else".into();
        lease["spec"]["leaseTransitions"] = 3.into();
    };
    cluster.kube.edit(LEASE, rob).unwrap();
    let ended = tokio::time::timeout(super::PATIENCE, second.child.wait()).await.expect("it stops").unwrap();
    assert!(!ended.success());
    assert_eq!((cluster.kube.get(STACK), cluster.kube.list(EVENTS)), (stack, events));

    // One that is told to stop gives it back, so the next one leads at once.
    let mut third = cluster.operator(&[]);
    third.logs("leads").await;
    assert!(third.stop().await.success());
    assert!(cluster.kube.get(LEASE).unwrap()["spec"].get("holderIdentity").is_none());
    let mut fourth = cluster.operator(&["--lease", "60s"]);
    fourth.logs("leads").await;
    cluster.kube.delete(STACK).unwrap();
    cluster.until_gone(STACK).await;
}
