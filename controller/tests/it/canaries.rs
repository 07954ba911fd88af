//! Secrets are in no output of any command, at any log level, nor anywhere in AWS but where they belong.

use crate::setting::{Synced, both, local_spec};
use base64::Engine;
use controller::secret::Secret;
use std::process::Output;
use tokio::process::Command;

/// What must not be seen: each stands in the environment under a name that secrets have.
const CANARIES: [(&str, &str); 4] = [
    ("AWS_SECRET_ACCESS_KEY", "canary-of-the-secret-key"),
    ("AWS_SESSION_TOKEN", "canary-of-the-session-token"),
    ("DATABASE_PASSWORD", "canary-of-a-password"),
    ("TELEGRAM_TOKEN", crate::setting::TOKEN),
];

fn clean(what: &str, text: &str) {
    for (name, canary) in CANARIES {
        assert!(!text.contains(canary), "{what} shows {name}:\n{text}");
    }
    assert!(!text.contains("PRIVATE KEY"), "{what} shows a private key:\n{text}");
}

async fn run(stack: &Synced, args: &[&str], with_spec: bool) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_controller"));
    command.args(["--log", "trace"]).args(args).envs(stack.world.aws.env()).envs(CANARIES);
    if with_spec {
        command.arg("-f").arg(&stack.spec);
    }
    command.output().await.unwrap()
}

#[tokio::test]
async fn no_output_of_any_command_at_any_level_shows_a_secret() {
    let stack = Synced::new().await;
    // Something to tell: a change, a hand's work, a rotated token.
    stack.edit(|t| t.replace("max: 3", "max: 4"));
    let aws = stack.world.aws.config("us-east-1");
    let secrets = aws_sdk_secretsmanager::Client::new(&aws);
    let token = "talo-local-telegram-token";
    secrets.put_secret_value().secret_id(token).secret_string("another").send().await.unwrap();
    for args in [
        &["validate"][..],
        &["plan"],
        &["plan", "-o", "json"],
        &["plan", "-o", "markdown"],
        &["plan", "--destroy"],
        &["drift"],
        &["drift", "-o", "json"],
        &["drift", "-o", "sarif"],
        &["status"],
        &["status", "-o", "json"],
        &["status", "-o", "yaml"],
        &["status", "-o", "env"],
        &["graph"],
        &["graph", "-o", "dot"],
        &["--log-format", "json", "apply", "--yes", "--poll", "50ms"],
        &["destroy"],
    ] {
        let output = run(&stack, args, true).await;
        clean(&args.join(" "), &both(&output));
        let asks_aws = !matches!(args[0], "validate" | "graph");
        assert!(!asks_aws || output.stderr.len() > 10_000, "a trace tells much: {}", both(&output));
    }
    // What programs show when they are used wrongly, or when AWS fails.
    for args in [&["apply"][..], &["nonsense"], &["--help"], &["run", "--listen", "nowhere"]] {
        clean(&args.join(" "), &both(&run(&stack, args, false).await));
    }
    for code in ["AccessDenied", "ThrottlingException", "InternalFailure"] {
        stack.world.aws.switch("refuse", serde_json::json!({ "secretsmanager:*": code, "sts:*": code })).await.unwrap();
        clean(code, &both(&run(&stack, &["plan"], true).await));
    }
    stack.world.aws.switch("refuse", serde_json::json!({})).await.unwrap();

    // What instances are started with, and all tags.
    let connection = stack.world.connect(local_spec()).await;
    let plan = crate::setting::plan(&connection).await;
    for found in &plan.found {
        clean(&found.address.to_string(), &format!("{:?}", found.tags));
    }
    let versions = connection.aws.ec2.describe_launch_template_versions().versions("$Latest").send().await.unwrap();
    for version in versions.launch_template_versions() {
        let data = version.launch_template_data().and_then(|d| d.user_data()).unwrap();
        let text = base64::engine::general_purpose::STANDARD.decode(data).unwrap();
        clean("user data", &String::from_utf8_lossy(&text));
    }
}

/// A panic prints what the program holds: the type of secrets shows nothing.
#[test]
fn a_crash_shows_no_secret() {
    let secret = Secret::new(CANARIES[3].1.to_owned());
    let crash = std::panic::catch_unwind(|| panic!("{secret:?}")).unwrap_err();
    clean("a panic", crash.downcast_ref::<String>().unwrap());
}
