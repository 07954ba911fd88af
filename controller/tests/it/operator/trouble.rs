//! What goes wrong, and how it is told: specs that are none, an AWS that is not there, credentials of another account.

use super::{Cluster, EVENTS, Operator, STACK, STACKS, condition};
use serde_json::json;
use std::{net::SocketAddr, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

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
        // Nothing was ever made for them, so they go at once.
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

/// A way to AWS, closed when this is dropped.
struct Road {
    at: SocketAddr,
    _traffic: JoinSet<()>,
}

impl Road {
    async fn open(at: SocketAddr, cluster: &Cluster) -> Self {
        let listener = TcpListener::bind(at).await.unwrap();
        let (at, aws) = (listener.local_addr().unwrap(), cluster.world.aws.endpoint().replace("http://", ""));
        let mut traffic = JoinSet::new();
        traffic.spawn(async move {
            let mut under_way = JoinSet::new();
            loop {
                let (mut from, _) = listener.accept().await.unwrap();
                let mut to = TcpStream::connect(&aws).await.unwrap();
                under_way.spawn(async move { drop(tokio::io::copy_bidirectional(&mut from, &mut to).await) });
            }
        });
        Self { at, _traffic: traffic }
    }
}

#[tokio::test]
async fn an_aws_that_is_away_for_a_while_leaves_a_stack_and_what_is_told_of_it_as_they_were() {
    let cluster = Cluster::new().await;
    cluster.create_secret();
    let mut stack = cluster.stack();
    stack.spec.cluster = Some(serde_json::from_value(json!({ "outputsTo": "outputs" })).unwrap());
    cluster.create(&stack);
    let road = Road::open(([127, 0, 0, 1], 0).into(), &cluster).await;
    let at = road.at;
    let mut env = cluster.world.aws.env();
    env.retain(|(name, _)| name != "AWS_ENDPOINT_URL");
    env.push(("AWS_ENDPOINT_URL".to_owned(), format!("http://{at}")));
    let operator = cluster.operator_with(&env, &[]);
    cluster.says("Ready", "False", "Waiting").await;
    cluster.push_images().await;
    cluster.annotate("polybot.dev/reconcile", "images");
    let before = cluster.says("Ready", "True", "Converged").await;
    let outputs = "api/v1/namespaces/default/configmaps/outputs";
    let (events, offered) = (cluster.events(), cluster.kube.get(outputs).unwrap()["data"].clone());
    let made = cluster.world.aws.inventory().await.unwrap();

    drop(road);
    cluster.annotate("polybot.dev/reconcile", "away");
    let told = cluster.until(STACK, "looked for", |s| s["status"]["reconciled"] == "away").await;
    assert_eq!(condition(&told, "Synced")["status"], "False", "{told:#}");
    assert_eq!(condition(&told, "Drifted")["status"], "Unknown", "{told:#}");
    assert_eq!(told["status"]["outputs"], before["status"]["outputs"], "whoever lives on them goes on");
    assert_eq!(cluster.kube.get(outputs).unwrap()["data"], offered);

    let _road = Road::open(at, &cluster).await;
    cluster.annotate("polybot.dev/reconcile", "back");
    cluster.until(STACK, "found", |s| s["status"]["reconciled"] == "back").await;
    cluster.says("Ready", "True", "Converged").await;
    assert_eq!(cluster.events(), events);
    assert_eq!(cluster.world.aws.inventory().await.unwrap(), made);
    assert!(operator.stop().await.success());
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
    // Nothing was made as that role, so nothing has to be removed as it.
    cluster.kube.delete(STACK).unwrap();
    cluster.until_gone(STACK).await;
    assert_eq!(cluster.world.aws.calls().await.unwrap(), Vec::<String>::new());

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
    cluster.kube.refuse(&format!("PATCH /{STACK}/status"), 422, 1);
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
    cluster.kube.edit(STACK, |s| s["spec"]["polybot"]["replicas"] = json!(1)).unwrap();
    cluster.until_gone(STACK).await;

    // Or it is freed by hand: what others hold it for is not ours to say, and no alarm goes on for it.
    let metrics = async || Operator::metrics(&address).await;
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
