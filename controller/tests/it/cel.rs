//! The rules in the CRD, judged as an API server judges them: which specs it takes, and what it says of the others.

use crate::setting::local_spec;
use controller::spec::{PolybotStack, check};
use kube::CustomResourceExt;
use serde_json::{Value, json};

fn verdict(new: &Value, old: Option<&Value>) -> String {
    let crd = serde_json::to_value(PolybotStack::crd()).unwrap();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    match kube_cel::Validator::new().validate(schema, new, old) {
        Ok(()) => String::new(),
        Err(errors) => errors.to_string(),
    }
}

fn stack(change: impl FnOnce(&mut Value)) -> Value {
    let mut stack = serde_json::to_value(local_spec()).unwrap();
    change(&mut stack);
    stack
}

/// A change of a good spec, and what is said of it; nothing where it is taken.
type Case = (&'static str, fn(&mut Value), &'static str);

#[test]
fn the_api_server_takes_good_specs_and_says_what_is_wrong_with_bad_ones() {
    let cases: &[Case] = &[
        ("the demo's", |_| (), ""),
        ("a long name", |s| s["metadata"]["name"] = json!("a".repeat(64)), "at most 63 characters"),
        ("a dotted name", |s| s["metadata"]["name"] = json!("a.b"), "no dots"),
        ("an upper-case prefix", |s| s["spec"]["prefix"] = json!("Talo"), "lower-case letters"),
        ("a dash at the end", |s| s["spec"]["environment"] = json!("prod-"), "no dash at an end"),
        ("an account", |s| s["spec"]["accountId"] = json!("123456789012"), ""),
        ("half an account", |s| s["spec"]["accountId"] = json!("1234"), "twelve digits"),
        ("a host outside its zone", |s| s["spec"]["domain"]["name"] = json!("bot.example.com"), "within hostedZone"),
        ("a host that ends alike", |s| s["spec"]["domain"]["name"] = json!("botint-devops.click"), "within hostedZone"),
        ("the zone itself", |s| s["spec"]["domain"]["name"] = s["spec"]["domain"]["hostedZone"].clone(), ""),
        (
            "two certificates",
            |s| {
                s["spec"]["domain"]["certificate"] =
                    json!({ "arn": "a", "selfSigned": { "validDays": 90, "renewBeforeDays": 9 } });
            },
            "either selfSigned or arn",
        ),
        (
            "renewed for ever",
            |s| {
                s["spec"]["domain"]["certificate"] =
                    json!({ "selfSigned": { "validDays": 30, "renewBeforeDays": 30 } });
            },
            "less than validDays",
        ),
        ("a token from nowhere", |s| s["spec"]["telegram"]["token"] = json!({}), "exactly one of env, file"),
        (
            "a token from two places",
            |s| s["spec"]["telegram"]["token"] = json!({ "env": "A", "file": "b" }),
            "exactly one of env, file",
        ),
        (
            "a token from a Secret",
            |s| s["spec"]["telegram"]["token"] = json!({ "kubernetesSecret": { "name": "t", "key": "k" } }),
            "",
        ),
        ("no image", |s| s["spec"]["polybot"]["image"] = json!({}), "exactly one of tag, digest and uri"),
        (
            "tag and digest",
            |s| s["spec"]["polybot"]["image"] = json!({ "tag": "a", "digest": "b" }),
            "exactly one of tag, digest and uri",
        ),
        (
            "uri and repository",
            |s| s["spec"]["yolo5"]["image"] = json!({ "uri": "a", "repository": "b" }),
            "names its repository itself",
        ),
        (
            "min over max",
            |s| s["spec"]["yolo5"]["replicas"] = json!({ "min": 5, "max": 2 }),
            "min has to be at most max",
        ),
        ("min is max", |s| s["spec"]["yolo5"]["replicas"] = json!({ "min": 2, "max": 2 }), ""),
        ("none at all", |s| s["spec"]["yolo5"]["replicas"] = json!({ "min": 0, "max": 0 }), "max has to be at least 1"),
        (
            "two targets",
            |s| {
                s["spec"]["yolo5"]["scaling"] =
                    json!({ "cpu": { "target": 20 }, "backlog": { "latencyTarget": "60s", "secondsPerMessage": 1.0 } });
            },
            "either cpu or backlog",
        ),
        (
            "no room to roll out",
            |s| {
                s["spec"]["polybot"]["rollout"] =
                    json!({ "minHealthyPercent": 100, "maxHealthyPercent": 100, "bake": "5m", "autoRollback": true });
            },
            "no room to replace",
        ),
        (
            "too much room",
            |s| {
                s["spec"]["polybot"]["rollout"] =
                    json!({ "minHealthyPercent": 50, "maxHealthyPercent": 200, "bake": "5m", "autoRollback": true });
            },
            "at most 100 between",
        ),
        (
            "capacity without billing",
            |s| {
                s["spec"]["tables"]["chats"] =
                    json!({ "billing": "payPerRequest", "provisioned": { "read": 1, "write": 1 } });
            },
            "goes with billing",
        ),
        (
            "SSH from everywhere",
            |s| s["spec"]["access"]["ssh"] = json!({ "cidrs": ["0.0.0.0/0"], "keyName": "k" }),
            "SSH from everywhere",
        ),
        (
            "SSH with no key",
            |s| s["spec"]["access"]["ssh"] = json!({ "cidrs": ["203.0.113.0/24"] }),
            "either publicKey or keyName",
        ),
        (
            "a private key",
            |s| {
                s["spec"]["access"]["ssh"] =
                    json!({ "cidrs": ["203.0.113.0/24"], "publicKey": "-----BEGIN OPENSSH PRIVATE KEY-----" });
            },
            "this is a private key",
        ),
        (
            "SSH from an office",
            |s| s["spec"]["access"]["ssh"] = json!({ "cidrs": ["203.0.113.0/24"], "keyName": "k" }),
            "",
        ),
    ];
    for (name, change, says) in cases {
        let said = verdict(&stack(change), None);
        assert!(if says.is_empty() { said.is_empty() } else { said.contains(says) }, "{name}: {said:?}");
    }
}

#[test]
fn roles_periods_and_names_are_judged_alike_by_the_api_server_and_by_the_program() {
    let cases: &[Case] = &[
        ("a role", |s| s["spec"]["assumeRole"] = json!({ "arn": "arn:aws:iam::123456789012:role/a/path/polybot" }), ""),
        (
            "a role of China",
            |s| s["spec"]["assumeRole"] = json!({ "arn": "arn:aws-cn:iam::123456789012:role/p", "externalId": "word" }),
            "",
        ),
        ("a role's name", |s| s["spec"]["assumeRole"] = json!({ "arn": "polybot" }), "the ARN of a role"),
        (
            "a user",
            |s| s["spec"]["assumeRole"] = json!({ "arn": "arn:aws:iam::123456789012:user/polybot" }),
            "the ARN of a role",
        ),
        (
            "no account",
            |s| s["spec"]["assumeRole"] = json!({ "arn": "arn:aws:iam:::role/polybot" }),
            "the ARN of a role",
        ),
        (
            "a session of a role",
            |s| s["spec"]["assumeRole"] = json!({ "arn": "arn:aws:sts::123456789012:assumed-role/polybot/s" }),
            "the ARN of a role",
        ),
        (
            "any role",
            |s| s["spec"]["assumeRole"] = json!({ "arn": "arn:aws:iam::123456789012:role/*" }),
            "the ARN of a role",
        ),
        ("half a minute", |s| s["spec"]["cluster"] = json!({ "driftPeriod": "30s" }), ""),
        ("a day", |s| s["spec"]["cluster"] = json!({ "driftPeriod": "1d" }), ""),
        ("a day in minutes", |s| s["spec"]["cluster"] = json!({ "driftPeriod": "1440m" }), ""),
        ("too often", |s| s["spec"]["cluster"] = json!({ "driftPeriod": "29s" }), "every 30s to 1d"),
        ("no rest at all", |s| s["spec"]["cluster"] = json!({ "driftPeriod": "0d" }), "every 30s to 1d"),
        ("too seldom", |s| s["spec"]["cluster"] = json!({ "driftPeriod": "25h" }), "every 30s to 1d"),
        ("days", |s| s["spec"]["cluster"] = json!({ "driftPeriod": "2d" }), "every 30s to 1d"),
        ("a ConfigMap", |s| s["spec"]["cluster"] = json!({ "outputsTo": "outputs-of.prod.1" }), ""),
        ("an upper-case one", |s| s["spec"]["cluster"] = json!({ "outputsTo": "Outputs" }), "the name of a ConfigMap"),
        ("one of two", |s| s["spec"]["cluster"] = json!({ "outputsTo": "a..b" }), "the name of a ConfigMap"),
        ("a dash before a dot", |s| s["spec"]["cluster"] = json!({ "outputsTo": "a-.b" }), "the name of a ConfigMap"),
        (
            "one elsewhere",
            |s| s["spec"]["cluster"] = json!({ "outputsTo": "other/outputs" }),
            "the name of a ConfigMap",
        ),
        ("one of no name", |s| s["spec"]["cluster"] = json!({ "outputsTo": "" }), "the name of a ConfigMap"),
    ];
    for (name, change, says) in cases {
        let stack = stack(change);
        let said = verdict(&stack, None);
        assert!(if says.is_empty() { said.is_empty() } else { said.contains(says) }, "{name}: {said:?}");
        // Files, and objects from before a rule, are judged by the program alone.
        let checked = check::check(&serde_json::from_value(stack).unwrap());
        assert_eq!(checked.is_empty(), said.is_empty(), "{name}: {checked:?}");
    }
}

#[test]
fn what_names_hang_on_cannot_be_changed_and_all_else_can() {
    let old = stack(|s| s["spec"]["accountId"] = json!("123456789012"));
    let cases: &[Case] = &[
        ("prefix", |s| s["spec"]["prefix"] = json!("other"), "prefix cannot be changed"),
        ("environment", |s| s["spec"]["environment"] = json!("other"), "environment cannot be changed"),
        ("region", |s| s["spec"]["region"] = json!("us-east-2"), "region cannot be changed"),
        ("account", |s| s["spec"]["accountId"] = json!("210987654321"), "accountId cannot be changed"),
        ("replicas", |s| s["spec"]["polybot"]["replicas"] = json!(4), ""),
        ("no detector", |s| drop(s["spec"].as_object_mut().unwrap().remove("yolo5")), ""),
        ("a bad edit", |s| s["spec"]["yolo5"]["replicas"] = json!({ "min": 9, "max": 2 }), "min has to be at most max"),
    ];
    for (name, change, says) in cases {
        let mut new = old.clone();
        change(&mut new);
        let said = verdict(&new, Some(&old));
        assert!(if says.is_empty() { said.is_empty() } else { said.contains(says) }, "{name}: {said:?}");
    }
}
