//! Whose a stack in AWS is: a name there belongs to one object, and an object to one account.

use super::{Cluster, EVENTS, STACK, condition};
use serde_json::{Value, json};

const ELSEWHERE: &str = "apis/polybot.dev/v1alpha1/namespaces/elsewhere/polybotstacks";

#[tokio::test]
async fn a_second_object_of_a_name_comes_and_goes_without_touching_the_stack_of_the_first() {
    let cluster = Cluster::new().await;
    cluster.create_secret();
    cluster.create(&cluster.stack());
    let operator = cluster.operator(&[]);
    let first = cluster.says("Ready", "False", "Waiting").await;
    let made = cluster.world.aws.inventory().await.unwrap();
    cluster.world.aws.calls().await.unwrap();

    // Another team's, of which nothing but the name is the same, and which would take the data along.
    let mut second = serde_json::to_value(cluster.stack()).unwrap();
    second["spec"]["environment"] = json!("other");
    second["spec"]["domain"]["name"] = json!("other.int-devops.click");
    second["spec"]["onDelete"] = json!({ "data": "purge" });
    let path = format!("{ELSEWHERE}/local");
    let comes_and_goes = async |why: &str| {
        cluster.kube.create(ELSEWHERE, second.clone()).unwrap();
        let told = cluster.until(&path, "refused", |s| condition(s, "Stalled")["status"] == "True").await;
        let message = condition(&told, "Stalled")["message"].as_str().unwrap();
        assert!(message.contains(why), "{message}");
        cluster.kube.delete(&path).unwrap();
        cluster.until_gone(&path).await;
        let calls = cluster.world.aws.calls().await.unwrap();
        assert!(calls.iter().all(|c| local::aws::reads(c)), "{calls:?}");
        assert_eq!(cluster.world.aws.inventory().await.unwrap(), made);
    };
    comes_and_goes("a second stack called local in us-east-1").await;
    let events = cluster.kube.list(&EVENTS.replace("default", "elsewhere"));
    assert!(events.iter().any(|e| e["reason"] == "Orphaned"), "{events:#?}");

    // The first one has its name even while it cannot be read, and what is known of it stays known.
    cluster.kube.edit(STACK, |s| s["spec"]["polybot"]["replicas"] = json!("many")).unwrap();
    let unread = cluster.says("Stalled", "True", "InvalidSpec").await;
    for field in ["account", "resources", "outputs"] {
        assert!(!first["status"][field].is_null() && unread["status"][field] == first["status"][field], "{unread:#}");
    }
    comes_and_goes("the object default/local cannot be read, and may be the same stack").await;

    // So it does for an operator that has never been able to read it.
    assert!(operator.stop().await.success());
    let operator = cluster.operator(&[]);
    comes_and_goes("the object default/local cannot be read, and may be the same stack").await;
    cluster.kube.edit(STACK, |s| s["spec"]["polybot"]["replicas"] = json!(1)).unwrap();
    let again = cluster.says("Ready", "False", "Waiting").await;
    assert_eq!(again["status"]["account"], first["status"]["account"]);
    assert_eq!(cluster.world.aws.inventory().await.unwrap(), made);
    assert!(operator.stop().await.success());
}

/// The local AWS has one account: that the operator's credentials are of another one is shown by a stack that is in another.
async fn lives_in(cluster: &Cluster, account: &str) {
    let url = format!("{}/{STACK}/status", cluster.kube.url());
    let patch = json!({ "status": { "account": account } });
    let patched = reqwest::Client::new().patch(url).header("content-type", "application/merge-patch+json");
    patched.body(patch.to_string()).send().await.unwrap().error_for_status().unwrap();
}

#[tokio::test]
async fn a_stack_is_neither_built_nor_looked_for_in_another_account_than_its_own() {
    let cluster = Cluster::new().await;
    cluster.create_secret();
    cluster.create(&cluster.stack());
    let operator = cluster.operator(&[]);
    cluster.says("Ready", "False", "Waiting").await;
    let made = cluster.world.aws.inventory().await.unwrap();
    assert!(operator.stop().await.success());

    lives_in(&cluster, "210987654321").await;
    cluster.world.aws.calls().await.unwrap();
    let operator = cluster.operator(&[]);
    let stays = |stack: &Value| {
        let message = condition(stack, "Stalled")["message"].as_str().unwrap();
        assert!(message.contains("is in account 210987654321, but the credentials are of 123456789012"), "{message}");
        assert_eq!(stack["status"]["account"], "210987654321");
        assert_eq!(stack["metadata"]["finalizers"], json!(["polybot.dev/stack"]));
    };
    stays(&cluster.says("Stalled", "True", "WrongAccount").await);
    cluster.kube.delete(STACK).unwrap();
    stays(&cluster.says("Stalled", "True", "WrongAccount").await);
    let calls = cluster.world.aws.calls().await.unwrap();
    assert!(calls.iter().all(|c| c.starts_with("sts:")), "{calls:?}");
    assert_eq!(cluster.world.aws.inventory().await.unwrap(), made);
    assert!(operator.stop().await.success());

    // With credentials of its own account it goes.
    lives_in(&cluster, "123456789012").await;
    let operator = cluster.operator(&[]);
    cluster.until_gone(STACK).await;
    let left = crate::setting::live(&cluster.connect().await).await;
    assert!(!left.contains(&"vpc") && left.contains(&"table"), "{left:?}");
    assert!(operator.stop().await.success());
}
