//! Stacks that are only looked at, and plans that wait for a person's word.

use super::{Cluster, Operator, STACK, condition};
use crate::setting::live;
use aws_sdk_sqs::types::QueueAttributeName;
use serde_json::json;

#[tokio::test]
async fn a_plan_waits_for_its_digest_and_an_observed_stack_is_never_touched() {
    let cluster = Cluster::new().await;
    cluster.create_secret();
    let mut stack = cluster.stack();
    stack.spec.cluster = Some(serde_json::from_value(json!({ "managementPolicy": "ObserveAndPlan" })).unwrap());
    cluster.create(&stack);
    let mut operator = cluster.operator(&[]);
    let address = operator.address().await;
    let told = cluster.says("Ready", "False", "AwaitingApproval").await;
    assert_eq!(live(&cluster.connect().await).await, Vec::<&str>::new());
    let shown = &told["status"]["plan"];
    assert!(shown["steps"][0].as_str().unwrap().contains("create  vpc/main"), "{shown}");
    let digest = shown["digest"].as_str().unwrap().to_owned();
    assert!(condition(&told, "Ready")["message"].as_str().unwrap().contains(&digest));

    // Another digest is no approval; the right one is, for all the passes that it takes, whoever carries them out.
    cluster.annotate("polybot.dev/approve", "0123456789abcdef");
    cluster.annotate("polybot.dev/reconcile", "again");
    cluster.until(STACK, "looked at again", |s| s["status"]["reconciled"] == "again").await;
    assert_eq!(live(&cluster.connect().await).await, Vec::<&str>::new());
    cluster.annotate("polybot.dev/approve", &digest);
    cluster.says("Ready", "False", "Waiting").await;
    cluster.push_images().await;
    cluster.annotate("polybot.dev/reconcile", "images");
    let ready = cluster.says("Ready", "True", "Converged").await;
    assert_eq!(ready["status"]["approved"]["done"], true, "an approval is spent");
    assert_eq!(ready["status"].get("plan"), None);

    // What changes later needs a word of its own.
    cluster.kube.edit(STACK, |s| s["spec"]["queues"]["work"]["maxReceives"] = json!(9)).unwrap();
    let told = cluster.says("Ready", "False", "AwaitingApproval").await;
    assert_eq!(told["status"]["plan"]["summary"], "1 to update");
    let digest = told["status"]["plan"]["digest"].as_str().unwrap().to_owned();
    cluster.annotate("polybot.dev/approve", &digest);
    cluster.says("Ready", "True", "Converged").await;

    // What hands change needs one, too, and another one when they change the same again.
    let sqs = cluster.connect().await.aws.sqs.clone();
    let queue = sqs.get_queue_url().queue_name("talo-local-work").send().await.unwrap().queue_url.unwrap();
    let dead = "arn:aws:sqs:us-east-1:123456789012:talo-local-work-dead";
    let policy = format!(r#"{{"deadLetterTargetArn":"{dead}","maxReceiveCount":"5"}}"#);
    let by_hand = async |n: usize| {
        let change = sqs.set_queue_attributes().queue_url(&queue);
        change.attributes(QueueAttributeName::RedrivePolicy, &policy).send().await.unwrap();
        cluster.annotate("polybot.dev/reconcile", &format!("by hand {n}"));
        let told = cluster.says("Ready", "False", "AwaitingApproval").await;
        told["status"]["plan"]["digest"].as_str().unwrap().to_owned()
    };
    // Meanwhile a gauge tells how long it has stood so. It follows the status, which is written first.
    let stands = async |as_said: fn(f64) -> bool| {
        let name = "polybot_drift_seconds{namespace=\"default\",stack=\"local\"} ";
        loop {
            let metrics = Operator::metrics(&address).await;
            let seconds = metrics.lines().find_map(|line| line.strip_prefix(name)).and_then(|s| s.parse().ok());
            if seconds.is_some_and(as_said) {
                break;
            }
        }
    };
    let digest = by_hand(1).await;
    stands(|seconds| seconds > 0.0).await;
    cluster.annotate("polybot.dev/approve", &digest);
    cluster.says("Drifted", "False", "InSync").await;
    stands(|seconds| seconds <= 0.0).await;
    cluster.says("Ready", "True", "Converged").await;
    assert_eq!(by_hand(2).await, digest, "the same plan, and the annotation still names it");
    // Said anew, it is good once more.
    let annotations = |s: &mut serde_json::Value| {
        drop(s["metadata"]["annotations"].as_object_mut().unwrap().remove("polybot.dev/approve"));
    };
    cluster.kube.edit(STACK, annotations).unwrap();
    cluster.until(STACK, "the approval forgotten", |s| s["status"].get("approved").is_none()).await;
    cluster.annotate("polybot.dev/approve", &digest);
    cluster.says("Ready", "True", "Converged").await;
    cluster.kube.edit(STACK, |s| s["spec"]["queues"]["work"]["maxReceives"] = json!(5)).unwrap();
    let told = cluster.says("Ready", "False", "AwaitingApproval").await;
    cluster.annotate("polybot.dev/approve", told["status"]["plan"]["digest"].as_str().unwrap());
    cluster.says("Ready", "True", "Converged").await;
    cluster.kube.edit(STACK, |s| s["spec"]["queues"]["work"]["maxReceives"] = json!(8)).unwrap();
    cluster.says("Ready", "False", "AwaitingApproval").await;

    // Only observed, it is told what differs, and nothing is written, not even when the object goes.
    cluster.kube.edit(STACK, |s| s["spec"]["cluster"]["managementPolicy"] = json!("Observe")).unwrap();
    let observed = cluster.says("Ready", "False", "Differs").await;
    let digest = observed["status"]["plan"]["digest"].as_str().unwrap();
    cluster.world.aws.calls().await.unwrap();
    cluster.annotate("polybot.dev/approve", digest);
    cluster.annotate("polybot.dev/reconcile", "observed");
    cluster.until(STACK, "looked at", |s| s["status"]["reconciled"] == "observed").await;
    cluster.kube.delete(STACK).unwrap();
    cluster.until_gone(STACK).await;
    let calls = cluster.world.aws.calls().await.unwrap();
    assert!(calls.iter().all(|c| local::aws::reads(c)), "{calls:?}");
    assert_eq!(cluster.writes().await, Vec::<String>::new(), "AWS is as it was before the last edit");

    // Taken up again, a plan that takes away too much waits as well, and the rest of the stack is left alone meanwhile.
    let mut stack = cluster.stack();
    stack.spec.yolo5 = None;
    cluster.create(&stack);
    let told = cluster.says("Ready", "False", "TooManyDeletions").await;
    assert_eq!(condition(&told, "Stalled")["status"], "True");
    cluster.annotate("polybot.dev/approve", told["status"]["plan"]["digest"].as_str().unwrap());
    cluster.says("Ready", "True", "Converged").await;
    assert!(!live(&cluster.connect().await).await.contains(&"scaling_policy"));

    // Nor does it go without a word where words are asked for.
    cluster.kube.edit(STACK, |s| s["spec"]["cluster"] = json!({ "managementPolicy": "ObserveAndPlan" })).unwrap();
    cluster.says("Ready", "True", "Converged").await;
    let before = live(&cluster.connect().await).await;
    cluster.kube.delete(STACK).unwrap();
    let told = cluster.says("Ready", "False", "AwaitingApproval").await;
    assert_eq!(live(&cluster.connect().await).await, before);
    let steps = told["status"]["plan"]["steps"].as_array().unwrap();
    assert!(steps.iter().all(|step| step.as_str().unwrap().contains("delete")), "{steps:?}");
    cluster.annotate("polybot.dev/approve", told["status"]["plan"]["digest"].as_str().unwrap());
    cluster.until_gone(STACK).await;
    let left = live(&cluster.connect().await).await;
    assert_eq!(left, ["bucket", "repository", "repository", "secret", "secret", "table", "table"], "what holds data");
    assert!(operator.stop().await.success());
}
