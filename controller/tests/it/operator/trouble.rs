//! What goes wrong, and how it is told: specs that are none, an AWS that is not there, credentials of another account.

use super::{Cluster, EVENTS, STACK, STACKS, condition};
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn bad_specs_stall_until_they_change_and_an_absent_aws_is_tried_again() {
    let cluster = Cluster::new().await;
    cluster.create_secret();
    // The account is another one's: nothing can be made, so each of these is told at once.
    let mut stack = cluster.stack();
    stack.spec.account_id = Some("210987654321".to_owned());
    stack.spec.domain.name = "bot.elsewhere.org".to_owned();
    cluster.create(&stack);
    // An object that no CRD of ours would let in does not keep the others from being looked at.
    let nonsense = json!({
        "apiVersion": "polybot.dev/v1alpha1", "kind": "PolybotStack", "metadata": { "name": "nonsense" },
        "spec": { "prefix": 7 },
    });
    cluster.kube.create(STACKS, nonsense).unwrap();
    let operator = cluster.operator(&[]);
    let nonsense = format!("{STACKS}/nonsense");
    let told = cluster.until(&nonsense, "told", |s| condition(s, "Stalled")["status"] == "True").await;
    assert_eq!(condition(&told, "Ready")["reason"], "InvalidSpec");
    let told = cluster.says("Stalled", "True", "InvalidSpec").await;
    let message = condition(&told, "Stalled")["message"].as_str().unwrap();
    assert!(message.contains("spec.domain.name: bot.elsewhere.org is not within"), "{message}");
    // It waits for a change, and for nothing else.
    let pass = told["status"].get("nextPass").cloned();
    assert_eq!(pass, None);
    assert!(cluster.events().iter().filter(|e| e.starts_with("InvalidSpec")).count() >= 2, "{:?}", cluster.events());

    cluster.kube.edit(STACK, |s| s["spec"]["domain"]["name"] = json!("bot.int-devops.click")).unwrap();
    let told = cluster.says("Stalled", "True", "WrongAccount").await;
    assert!(condition(&told, "Synced")["message"].as_str().unwrap().contains("spec says 210987654321"));
    // A second stack with the same host name is the one that is refused, not the first.
    let mut second = cluster.stack();
    second.metadata.name = Some("second".to_owned());
    second.spec.environment = "second".to_owned();
    second.spec.domain.name = "bot.int-devops.click".to_owned();
    cluster.create(&second);
    let path = format!("{STACKS}/second");
    let told = cluster.until(&path, "refused", |s| condition(s, "Stalled")["status"] == "True").await;
    assert!(
        condition(&told, "Ready")["message"].as_str().unwrap().contains("another stack has the host name"),
        "{told}"
    );
    for path in [STACK, &path] {
        // Nothing was ever made for them, so they go at once when nobody has to be asked.
        let orphan = json!({ "deletionPolicy": "Orphan" });
        cluster.kube.edit(path, |s| s["spec"]["cluster"] = orphan.clone()).unwrap();
        cluster.kube.delete(path).unwrap();
        cluster.until_gone(path).await;
    }
    assert!(operator.stop().await.success());

    // An AWS that does not answer.
    let mut env = cluster.world.aws.env();
    env.retain(|(name, _)| name != "AWS_ENDPOINT_URL");
    env.push(("AWS_ENDPOINT_URL".to_owned(), "http://127.0.0.1:9".to_owned()));
    env.push(("AWS_MAX_ATTEMPTS".to_owned(), "1".to_owned()));
    let operator = cluster.operator_with(&env, &[]);
    cluster.create(&cluster.stack());
    let told = cluster.says("Synced", "False", "AwsUnreachable").await;
    assert_eq!(condition(&told, "Ready")["status"], "Unknown");
    assert!(operator.stop().await.success());
    // Back again, it is as if nothing had been.
    let _operator = cluster.operator(&[]);
    let told = cluster.says("Ready", "False", "Waiting").await;
    assert_eq!(condition(&told, "Synced")["status"], "True");
}

#[tokio::test]
async fn a_role_is_taken_only_for_a_namespace_that_it_is_allowed_to_and_with_its_external_id() {
    let cluster = Cluster::new().await;
    cluster.create_secret();
    let trust = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": { "AWS": "*" }, "Action": "sts:AssumeRole",
        "Condition": { "StringEquals": { "sts:ExternalId": "an-agreed-word" } },
    }] });
    let iam = &cluster.connect().await.aws.iam;
    let made = iam.create_role().role_name("polybot").assume_role_policy_document(trust.to_string()).send();
    made.await.unwrap();
    cluster.world.aws.calls().await.unwrap();
    let role = |name: &str| json!({ "arn": format!("arn:aws:iam::123456789012:role/{name}") });
    let mut stack = serde_json::to_value(cluster.stack()).unwrap();
    stack["spec"]["assumeRole"] = role("of-another-team");
    cluster.kube.create(STACKS, stack).unwrap();
    let allowed = "default=arn:aws:iam::123456789012:role/polybot";
    let operator =
        cluster.operator(&["--allow-role", allowed, "--allow-role", "elsewhere=arn:aws:iam::123456789012:role/*"]);
    let told = cluster.says("Stalled", "True", "RoleNotAllowed").await;
    let message = condition(&told, "Ready")["message"].as_str().unwrap();
    assert!(message.contains("--allow-role default=arn:aws:iam::123456789012:role/of-another-team"), "{message}");
    assert!(cluster.events().contains(&"RoleNotAllowed look".to_owned()), "{:?}", cluster.events());
    // Not to remove anything either: it stays, unless AWS is not to be asked.
    cluster.kube.delete(STACK).unwrap();
    cluster.says("Stalled", "True", "RoleNotAllowed").await;
    assert_eq!(cluster.world.aws.calls().await.unwrap(), Vec::<String>::new());
    cluster.kube.edit(STACK, |s| s["spec"]["cluster"] = json!({ "deletionPolicy": "Orphan" })).unwrap();
    cluster.until_gone(STACK).await;

    // One that is allowed is taken before anything is asked, with what its trust asks for.
    let mut stack = serde_json::to_value(cluster.stack()).unwrap();
    stack["spec"]["assumeRole"] = role("polybot");
    stack["spec"]["cluster"] = json!({ "managementPolicy": "Observe" });
    cluster.kube.create(STACKS, stack).unwrap();
    let told = cluster.says("Synced", "False", "CredentialsRefused").await;
    let message = condition(&told, "Synced")["message"].as_str().unwrap();
    assert!(message.contains("role/polybot cannot be taken"), "{message}");
    cluster.world.aws.calls().await.unwrap();
    cluster.kube.edit(STACK, |s| s["spec"]["assumeRole"]["externalId"] = json!("an-agreed-word")).unwrap();
    cluster.says("Ready", "False", "Differs").await;
    let calls = cluster.world.aws.calls().await.unwrap();
    assert_eq!(calls[..2], ["sts:AssumeRole", "sts:GetCallerIdentity"], "{calls:?}");
    assert!(operator.stop().await.success());
}

#[tokio::test]
async fn an_object_that_cannot_be_read_tells_what_its_deletion_waits_for() {
    let cluster = Cluster::new().await;
    // As an older CRD may have let in; what is wrong with it takes more words than a condition has.
    let mut stack = serde_json::to_value(cluster.stack()).unwrap();
    stack["metadata"]["finalizers"] = json!(["polybot.dev/stack"]);
    stack["spec"]["polybot"]["replicas"] = json!("many".repeat(500));
    cluster.kube.create(STACKS, stack.clone()).unwrap();
    let mut operator = cluster.operator(&[]);
    let address = operator.address().await;
    cluster.says("Stalled", "True", "InvalidSpec").await;
    // An API server may refuse every change of such an object, its status as well.
    cluster.kube.refuse("PATCH /apis/polybot.dev/v1alpha1/namespaces/default/polybotstacks/local/status", 422, 1);
    cluster.kube.delete(STACK).unwrap();
    operator.logs("it is being deleted, but").await;
    let told = cluster.says("Stalled", "True", "DeletionBlocked").await;
    let events = cluster.kube.list(EVENTS);
    let event = events.iter().find(|e| e["reason"] == "DeletionBlocked").unwrap();
    for told in [&condition(&told, "Ready")["message"], &event["note"]] {
        let told = told.as_str().unwrap();
        assert!(told.contains("kubectl -n default edit pbs local"), "{told}");
        assert!(told.contains("remove the finalizer polybot.dev/stack"), "{told}");
    }
    assert_eq!(cluster.world.aws.calls().await.unwrap(), Vec::<String>::new());

    // Mended, it goes the way of all others.
    let mend = |stack: &mut serde_json::Value| {
        stack["spec"]["polybot"]["replicas"] = json!(1);
        stack["spec"]["cluster"] = json!({ "deletionPolicy": "Orphan" });
    };
    cluster.kube.edit(STACK, mend).unwrap();
    cluster.until_gone(STACK).await;

    // Or it is freed by hand: what others hold it for is not ours to say, and no alarm goes on for it.
    let metrics = async || reqwest::get(format!("http://{address}/metrics")).await.unwrap().text().await.unwrap();
    let stalled = "polybot_stack_condition{namespace=\"default\",stack=\"local\",type=\"Stalled\"}";
    let held = ["polybot.dev/stack", "example.com/another"];
    stack["metadata"]["finalizers"] = json!(held);
    cluster.kube.create(STACKS, stack).unwrap();
    cluster.says("Stalled", "True", "InvalidSpec").await;
    cluster.kube.delete(STACK).unwrap();
    cluster.says("Stalled", "True", "DeletionBlocked").await;
    assert!(metrics().await.contains(&format!("{stalled} 1")));
    cluster.kube.edit(STACK, |s| s["metadata"]["finalizers"] = json!(held[1..])).unwrap();
    cluster.kube.edit(STACK, |s| s["metadata"]["finalizers"] = json!([])).unwrap();
    cluster.until_gone(STACK).await;
    let taken_back = async {
        while !metrics().await.contains(&format!("{stalled} -1")) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), taken_back).await.expect("its gauges are taken back");
    assert!(operator.stop().await.success());
}
