//! The rules in the CRD, judged as an API server judges them: which specs it takes, and what it says of the others.

use crate::setting::local_spec;
use controller::spec::{PolybotStack, check};
use kube::CustomResourceExt;
use serde_json::{Value, json};

/// The schema of an object.
pub fn schema() -> Value {
    let mut crd = serde_json::to_value(PolybotStack::crd()).unwrap();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].take()
}

fn verdict(new: &Value, old: Option<&Value>) -> String {
    match kube_cel::Validator::new().validate(&schema(), new, old) {
        Ok(()) => String::new(),
        Err(errors) => errors.to_string(),
    }
}

/// What of a value its schema does not know, which an API server would drop, or does not allow, which it would refuse.
pub fn strange(schema: &Value, value: &Value, path: &str) -> Vec<String> {
    let kind = schema["type"].as_str().unwrap_or_default();
    match (kind, value) {
        ("object", Value::Object(fields)) => {
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let missing = required.filter(|name| !fields.contains_key(*name)).map(|name| format!("no {path}.{name}"));
            let of_any = Some(&schema["additionalProperties"]).filter(|any| any.is_object());
            let within = fields.iter().flat_map(|(name, value)| match schema["properties"].get(name).or(of_any) {
                Some(schema) => strange(schema, value, &format!("{path}.{name}")),
                None => vec![format!("{path}.{name} is unknown")],
            });
            missing.chain(within).collect()
        }
        ("array", Value::Array(items)) => {
            items.iter().flat_map(|item| strange(&schema["items"], item, &format!("{path}[]"))).collect()
        }
        (_, Value::Null) if schema["nullable"] == true => vec![],
        ("string", Value::String(_)) if schema["enum"].as_array().is_none_or(|all| all.contains(value)) => vec![],
        ("boolean", Value::Bool(_)) | ("number", Value::Number(_)) => vec![],
        ("integer", Value::Number(n)) if n.is_i64() || n.is_u64() => vec![],
        _ => vec![format!("{path} is no {kind}: {value}")],
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
        ("a zone with its dot", |s| s["spec"]["domain"]["hostedZone"] = json!("int-devops.click."), ""),
        (
            "a host with its dot",
            |s| s["spec"]["domain"]["name"] = json!(format!("{}.", s["spec"]["domain"]["name"].as_str().unwrap())),
            "",
        ),
        (
            "a host that ends alike in a zone with its dot",
            |s| s["spec"]["domain"] = json!({ "name": "botint-devops.click", "hostedZone": "int-devops.click." }),
            "within hostedZone",
        ),
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
            "none to scale on",
            |s| s["spec"]["yolo5"]["replicas"] = json!({ "min": 0, "max": 2 }),
            "min 0 needs scaling.backlog",
        ),
        (
            "none while nothing waits",
            |s| {
                s["spec"]["yolo5"]["replicas"] = json!({ "min": 0, "max": 2 });
                s["spec"]["yolo5"]["scaling"] =
                    json!({ "backlog": { "latencyTarget": "60s", "secondsPerMessage": 1.0 } });
            },
            "",
        ),
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
        let stack = stack(change);
        let said = verdict(&stack, None);
        assert!(if says.is_empty() { said.is_empty() } else { said.contains(says) }, "{name}: {said:?}");
        if says.is_empty() {
            assert_eq!(check::check(&serde_json::from_value(stack).unwrap()), [], "{name}: files are judged alike");
        }
    }
}

/// What a case is called, and what it changes in the least spec.
type Filled = (&'static str, fn(&mut Value));

#[test]
fn what_is_filled_in_by_the_api_server_is_what_the_program_would_fill_in_and_keeps_to_the_rules() {
    let bare = json!({ "apiVersion": "polybot.dev/v1alpha1", "kind": "PolybotStack", "metadata": { "name": "bare" }, "spec": {
        "prefix": "my", "environment": "prod", "region": "us-east-1",
        "domain": { "hostedZone": "example.com", "name": "bot.example.com" },
        "polybot": { "image": { "tag": "v1.0.0" } },
    } });
    let cases: &[Filled] = &[
        ("the least", |_| ()),
        ("a detector", |s| s["spec"]["yolo5"] = json!({ "image": { "tag": "v1.0.0" } })),
        ("a certificate", |s| s["spec"]["domain"]["certificate"] = json!({ "selfSigned": {} })),
        ("a token", |s| s["spec"]["telegram"] = json!({ "token": { "kubernetesSecret": { "name": "telegram" } } })),
        ("maps with nothing in them", |s| {
            for name in [
                "cluster", "network", "telegram", "queues", "tables", "bucket", "registry", "access", "onDelete",
                "safety",
            ] {
                s["spec"][name] = json!({});
            }
        }),
    ];
    let schema = schema();
    for (name, change) in cases {
        let mut bare = bare.clone();
        change(&mut bare);
        // What is filled in is looked at for what is missing in it, in turn.
        let mut filled = kube_cel::apply_defaults(&schema, &bare);
        while let more = kube_cel::apply_defaults(&schema, &filled)
            && more != filled
        {
            filled = more;
        }
        assert_ne!(filled, bare, "{name}");
        assert_eq!(strange(&schema["properties"]["spec"], &filled["spec"], "spec"), Vec::<String>::new(), "{name}");
        assert_eq!(verdict(&filled, None), "", "{name}");
        let read = |stack: &Value| serde_json::from_value::<PolybotStack>(stack.clone()).unwrap();
        assert_eq!(read(&filled), read(&bare), "{name}");
    }
}

#[test]
fn what_a_newer_crd_fills_in_keeps_no_older_program_from_reading_an_object() {
    let read = |stack: Value| serde_json::from_value::<PolybotStack>(stack).unwrap();
    let newer = stack(|s| {
        for path in
            ["/spec", "/spec/queues/work", "/spec/domain/certificate", "/spec/polybot/image", "/spec/yolo5/replicas"]
        {
            s.pointer_mut(path).unwrap()["ofTheFuture"] = json!({ "enabled": true });
        }
    });
    assert_eq!(read(newer), read(stack(|_| ())));
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
    let without = stack(|_| ());
    assert_eq!(verdict(&old, Some(&without)), "", "an account may be named later");
    let cases: &[Case] = &[
        ("prefix", |s| s["spec"]["prefix"] = json!("other"), "prefix cannot be changed"),
        ("environment", |s| s["spec"]["environment"] = json!("other"), "environment cannot be changed"),
        ("region", |s| s["spec"]["region"] = json!("us-east-2"), "region cannot be changed"),
        ("account", |s| s["spec"]["accountId"] = json!("210987654321"), "accountId cannot be changed"),
        (
            "no account",
            |s| drop(s["spec"].as_object_mut().unwrap().remove("accountId")),
            "accountId cannot be taken away",
        ),
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
