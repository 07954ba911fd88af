//! The life of a stack in a cluster, from its creation to its end.

use super::{Cluster, EVENTS, Operator, SECRETS, STACK, condition, secret};
use crate::setting::{TOKEN, live};
use serde_json::json;

const LEASE: &str = "apis/coordination.k8s.io/v1/namespaces/default/leases/polybot-controller";
const OUTPUTS: &str = "api/v1/namespaces/default/configmaps/outputs";

#[tokio::test]
async fn a_stack_is_made_told_of_edited_mended_paused_and_removed() {
    let cluster = Cluster::new().await;
    let mut stack = cluster.stack();
    stack.spec.cluster = Some(serde_json::from_value(json!({ "outputsTo": "outputs" })).unwrap());
    cluster.create(&stack);
    // Somebody else writes the object at the moment in which it gets its finalizer, and the Lease while it is held.
    cluster.kube.refuse(&format!("PATCH /{STACK}"), 409, 1);
    cluster.kube.refuse(&format!("PUT /{LEASE}"), 409, 1);
    let mut operator = cluster.operator(&[]);
    let address = operator.address().await;

    // Without the Secret and the images everything else is made, and what is missing is told.
    let waiting = cluster.says("Ready", "False", "Waiting").await;
    assert_eq!(waiting["metadata"]["finalizers"], json!(["polybot.dev/stack"]));
    let message = condition(&waiting, "Ready")["message"].as_str().unwrap();
    assert!(message.contains("kubectl -n default create secret generic telegram"), "{message}");
    cluster.push_images().await;
    // The Secret is watched, made or changed: nobody has to wait for the next pass.
    cluster.kube.create(SECRETS, secret("no token")).unwrap();
    cluster
        .until(STACK, "told of the token", |s| {
            condition(s, "Ready")["message"].as_str().unwrap_or_default().contains("the token is none")
        })
        .await;
    cluster.kube.edit(&format!("{SECRETS}/telegram"), |s| s["data"] = secret(TOKEN)["data"].clone()).unwrap();
    let ready = cluster.says("Ready", "True", "Converged").await;
    assert_eq!(cluster.writes().await, Vec::<String>::new(), "AWS is as the status says");
    for (kind, status) in [("Synced", "True"), ("Drifted", "False"), ("Stalled", "False"), ("Paused", "False")] {
        assert_eq!(condition(&ready, kind)["status"], status, "{kind}");
    }
    let vpc = ready["status"]["resources"].as_array().unwrap().iter().find(|r| r["address"] == "vpc/main").unwrap();
    assert!(vpc["id"].as_str().unwrap().starts_with("vpc-") && vpc["state"] == "ready", "{vpc}");
    assert_eq!(cluster.kube.get(OUTPUTS).unwrap()["data"]["botUrl"], "https://local-polybot.int-devops.click:8443");
    let created = cluster.events().into_iter().filter(|e| e.starts_with("Created ")).count();
    assert!(created > 40, "one for each thing that was made: {:?}", cluster.events());

    // Its own writes of the status make nothing due: it rests.
    cluster.kube.calls();
    cluster.world.aws.calls().await.unwrap();
    cluster.annotate("polybot.dev/reconcile", "one");
    cluster.until(STACK, "told of the pass", |s| s["status"]["reconciled"] == "one").await;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let calls = cluster.kube.calls();
    let statuses = calls.iter().filter(|c| c.ends_with("/status")).count();
    assert_eq!(statuses, 1, "{calls:?}");
    let calls = cluster.world.aws.calls().await.unwrap();
    assert!(calls.len() < 150 && calls.iter().all(|c| local::aws::reads(c)), "{calls:?}");

    // An edit is taken up, and drift is mended and told.
    cluster.kube.edit(STACK, |s| s["spec"]["queues"]["identify"]["visibilityTimeout"] = json!("90s")).unwrap();
    cluster.says("Ready", "True", "Converged").await;
    assert!(cluster.events().contains(&"Updated update queue/identify".to_owned()));
    // What fails again and again is one event that is counted.
    cluster.world.aws.switch("deny", json!(["sqs:SetQueueAttributes"])).await.unwrap();
    cluster.kube.edit(STACK, |s| s["spec"]["queues"]["identify"]["visibilityTimeout"] = json!("95s")).unwrap();
    for n in 0..3 {
        cluster.annotate("polybot.dev/reconcile", &format!("denied {n}"));
        cluster.until(STACK, "passed", |s| s["status"]["reconciled"] == format!("denied {n}")).await;
    }
    let failed: Vec<_> = cluster.kube.list(EVENTS).into_iter().filter(|e| e["reason"] == "StepFailed").collect();
    assert!(failed.len() == 1 && failed[0]["series"]["count"].as_i64() >= Some(3), "{failed:#?}");
    cluster.world.aws.switch("deny", json!([])).await.unwrap();
    cluster.says("Ready", "True", "Converged").await;
    let c = cluster.connect().await;
    let topic = c.aws.sns.set_topic_attributes().topic_arn("arn:aws:sns:us-east-1:123456789012:talo-local-scaling");
    topic.attribute_name("DisplayName").attribute_value("other").send().await.unwrap();
    // Paused, nothing is done about it.
    cluster.annotate("polybot.dev/paused", "true");
    cluster.until(STACK, "paused", |s| condition(s, "Paused")["status"] == "True").await;
    cluster.world.aws.calls().await.unwrap();
    cluster.annotate("polybot.dev/reconcile", "two");
    cluster.until(STACK, "told of the wish", |s| s["status"]["reconciled"] == "two").await;
    assert_eq!(cluster.world.aws.calls().await.unwrap(), Vec::<String>::new());
    cluster.annotate("polybot.dev/paused", "false");
    cluster
        .until(STACK, "mended", |s| {
            condition(s, "Drifted")["reason"] == "InSync" && condition(s, "Paused")["status"] == "False"
        })
        .await;
    assert_eq!(cluster.writes().await, Vec::<String>::new());
    assert!(cluster.events().contains(&"DriftFound look".to_owned()), "{:?}", cluster.events());

    // Watches that end, and a history that is forgotten, lose nothing; refusals and conflicts are tried again.
    cluster.kube.end_watches(true);
    cluster.kube.refuse(&format!("PATCH /{STACK}/status"), 409, 1);
    cluster.kube.refuse(&format!("PATCH /{STACK}/status"), 500, 1);
    cluster.kube.refuse("GET /apis/polybot.dev/v1alpha1/polybotstacks", 500, 1);
    cluster.kube.edit(STACK, |s| s["spec"]["queues"]["identify"]["maxReceives"] = json!(7)).unwrap();
    cluster.says("Ready", "True", "Converged").await;
    assert_eq!(cluster.writes().await, Vec::<String>::new());

    // It goes without its Secret; what holds data stays, and the webhook, for which the token would be needed.
    cluster.kube.delete(&format!("{SECRETS}/telegram")).unwrap();
    cluster.kube.refuse(&format!("PATCH /{STACK}"), 409, 1);
    cluster.kube.delete(STACK).unwrap();
    cluster.until_gone(STACK).await;
    let left = live(&cluster.connect().await).await;
    assert_eq!(left, ["bucket", "repository", "repository", "secret", "secret", "table", "table", "webhook"]);
    assert!(cluster.kube.list(EVENTS).iter().any(|e| e["reason"] == "Removed"));
    let metrics = Operator::metrics(&address).await;
    assert!(metrics.contains("polybot_deletion_seconds_count "), "{metrics}");
    assert!(operator.stop().await.success());

    // The chart's roles allow what was asked, and nothing else. Only a real API server asks for the right to own things.
    let mut allowed = crate::chart::allowed();
    assert!(allowed.remove("update polybot.dev/polybotstacks/finalizers"));
    assert_eq!(cluster.kube.uses(), allowed);
}
