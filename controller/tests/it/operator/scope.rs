//! What an operator looks at, how often, and what it tells of itself.

use super::{Cluster, STACK, STACKS};
use crate::setting::TOKEN;
use serde_json::{Value, json};

const ELSEWHERE: &str = "apis/polybot.dev/v1alpha1/namespaces/elsewhere/polybotstacks";

/// The time of a field of the status, in seconds.
fn seconds(stack: &Value, field: &str) -> i64 {
    let text = stack["status"][field].as_str().unwrap();
    time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).unwrap().unix_timestamp()
}

#[tokio::test]
async fn it_looks_at_what_is_selected_as_often_as_it_is_asked_and_tells_how_it_fares() {
    let cluster = Cluster::new().await;
    cluster.create_secret();
    // Only looked at: nothing has to be made for this test.
    let mut stack = serde_json::to_value(cluster.stack()).unwrap();
    stack["spec"]["cluster"] = json!({ "managementPolicy": "Observe", "driftPeriod": "10m" });
    let labelled = |name: &str, team: &str| {
        let mut other = stack.clone();
        other["metadata"]["name"] = json!(name);
        other["metadata"]["labels"] = json!({ "team": team });
        other
    };
    cluster.kube.create(STACKS, labelled("local", "vision")).unwrap();
    cluster.kube.create(STACKS, labelled("of-another-team", "sound")).unwrap();
    cluster.kube.create(ELSEWHERE, labelled("elsewhere", "vision")).unwrap();
    let mut operator = cluster.operator(&["--namespace", "default", "--selector", "team=vision"]);
    let address = operator.address().await;
    let seen = cluster.until(STACK, "looked at", |s| s["status"]["lastPass"].is_string()).await;

    // The next look is due after the stack's own period, spread by a tenth.
    let wait = seconds(&seen, "nextPass") - seconds(&seen, "lastPass");
    assert!((539..=661).contains(&wait), "{wait} s");
    // A second wish is taken up after the first look at everything: whoever was to be looked at has been.
    cluster.annotate("polybot.dev/reconcile", "now");
    cluster.until(STACK, "told of the wish", |s| s["status"]["reconciled"] == "now").await;
    for (collection, name) in [(STACKS, "of-another-team"), (ELSEWHERE, "elsewhere")] {
        let other = cluster.kube.get(&format!("{collection}/{name}")).unwrap();
        assert!(other["status"].is_null() && other["metadata"]["finalizers"].is_null(), "{other:#}");
    }
    // One namespace is all that it asks for.
    let calls = cluster.kube.calls();
    let wide: Vec<_> = calls.iter().filter(|c| !c.contains("/namespaces/")).collect();
    assert_eq!(wide, Vec::<&String>::new());

    let get = async |path: &str| {
        let answer = reqwest::get(format!("http://{address}/{path}")).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(get("healthz").await.0, 200);
    assert_eq!(get(&crate::chart::tested()).await, (200, "leads\n".to_owned()), "what helm test asks for");
    let (code, metrics) = get("metrics").await;
    assert_eq!(code, 200);
    for name in
        ["polybot_passes_total{", "polybot_pass_seconds", "polybot_unsettled_seconds{", "polybot_aws_calls_total{"]
    {
        assert!(metrics.contains(name), "no {name} in\n{metrics}");
    }
    assert!(metrics.contains("stack=\"local\"") && !metrics.contains("of-another-team"), "{metrics}");
    assert!(!metrics.contains(TOKEN));
    assert!(operator.stop().await.success());
}
