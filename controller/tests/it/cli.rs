//! The program as its user types it.

use crate::setting::TOKEN;
use local::aws::LocalAws;
use std::process::{Command, Output};

fn controller(aws: Option<&LocalAws>, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_controller"));
    command.args(args).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).env("TELEGRAM_TOKEN", TOKEN);
    if let Some(aws) = aws {
        command.envs(aws.env());
    }
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn plan_apply_status_and_destroy_tell_by_their_exit_codes() {
    let aws = LocalAws::start().await.unwrap();
    let spec = ["-f", "specs/local.yaml"];
    let run = |first: &[&str]| controller(Some(&aws), &[first, &spec].concat());

    let planned = run(&["plan"]);
    assert_eq!(planned.status.code(), Some(2), "{}", text(&planned.stdout));
    let out = text(&planned.stdout);
    let digest = out.lines().find_map(|l| l.strip_prefix("digest ")).unwrap().to_owned();
    assert!(out.contains("+ create  vpc/main"));

    let refused = run(&["apply", "--expect", "0000"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("not 0000 as expected"), "{}", text(&refused.stderr));

    // The images are missing and Telegram is not there: the rest is done, and that is said.
    let applied = run(&["apply", "--expect", &digest, "--poll", "100ms"]);
    assert_eq!(applied.status.code(), Some(2), "{}", text(&applied.stdout));
    assert!(text(&applied.stdout).contains("not there yet"));

    let status = run(&["status", "-o", "env"]);
    let env = text(&status.stdout);
    assert!(env.contains("export IDENTIFY_QUEUE_URL='http://127.0.0.1"), "{env}");

    // Without a Telegram the webhook cannot be checked, and that is never called in sync; a hole made by hand is seen beside it.
    let sqs = aws_sdk_sqs::Client::new(&aws.config("us-east-1"));
    let queue = sqs.get_queue_url().queue_name("talo-local-work").send().await.unwrap().queue_url.unwrap();
    let weak = aws_sdk_sqs::types::QueueAttributeName::VisibilityTimeout;
    sqs.set_queue_attributes().queue_url(queue).attributes(weak, "1").send().await.unwrap();
    let drift = run(&["drift"]);
    assert_eq!(drift.status.code(), Some(5), "{}", text(&drift.stdout));
    let out = text(&drift.stdout);
    assert!(out.contains("drift     ~ update  queue/work") && out.contains("unchecked … wait    webhook/bot"), "{out}");

    let unconfirmed = run(&["destroy"]);
    assert_eq!(unconfirmed.status.code(), Some(1), "nobody can be asked here");
    let told = text(&unconfirmed.stderr);
    assert!(
        told.contains("note: Telegram was not asked") && told.contains("a webhook of this stack stays there"),
        "{told}"
    );
    let destroyed = run(&["destroy", "--confirm", "local", "--with-data", "all", "--poll", "100ms"]);
    assert_eq!(destroyed.status.code(), Some(0), "{}{}", text(&destroyed.stdout), text(&destroyed.stderr));

    for output in [&planned, &applied, &status, &destroyed] {
        let all = text(&output.stdout) + &text(&output.stderr);
        assert!(!all.contains(TOKEN), "the token is in no output");
    }
}

#[tokio::test]
async fn a_spec_that_loses_a_fleet_is_stopped_by_the_cap_on_deletions() {
    let aws = LocalAws::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let spec = folder.path().join("spec.yaml");
    let whole = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../specs/local.yaml")).unwrap();
    let run = |args: &[&str]| controller(Some(&aws), &[args, &["-f", spec.to_str().unwrap()]].concat());
    std::fs::write(&spec, &whole).unwrap();
    run(&["apply", "--yes", "--once"]);

    let start = whole.find("  yolo5:").unwrap();
    let end = whole.find("  notifications:").unwrap();
    std::fs::write(&spec, format!("{}{}", &whole[..start], &whole[end..])).unwrap();
    let stopped = run(&["apply", "--yes", "--once"]);
    assert_eq!(stopped.status.code(), Some(1));
    let said = text(&stopped.stderr);
    assert!(said.contains("more than the 3 allowed at once; nothing was done"), "{said}");
    assert!(said.contains("--max-deletions"), "{said}");
    aws.calls().await.unwrap();
    let still = text(&run(&["status"]).stdout);
    assert!(still.contains("role/yolo5"), "{still}");
}

#[test]
fn an_unreachable_aws_and_a_missing_file_are_one_clear_error() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_controller"));
    command.args(["plan", "-f", "specs/local.yaml"]).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    for (name, value) in [
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_MAX_ATTEMPTS", "1"),
    ] {
        command.env(name, value);
    }
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("local in us-east-1: cannot start") && said.contains("hint: check the network"), "{said}");

    // 2 would say of a plan that there is something to do.
    let codes = [&["plan", "--typo"][..], &["--help"], &["--version"]].map(|args| controller(None, args).status.code());
    assert_eq!(codes, [Some(64), Some(0), Some(0)]);

    let output = controller(None, &["validate", "-f", "specs/none.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("specs/none.yaml"), "{}", text(&output.stderr));
}

/// Whoever types a name means one stack.
#[test]
fn two_stacks_of_one_name_are_not_destroyed_by_it() {
    let folder = tempfile::tempdir().unwrap();
    let good = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../specs/local.yaml")).unwrap();
    std::fs::write(folder.path().join("a.yaml"), &good).unwrap();
    std::fs::write(
        folder.path().join("b.yaml"),
        good.replacen("us-east-1", "us-east-2", 1).replace("local-polybot.", "other."),
    )
    .unwrap();
    let output = controller(None, &["destroy", "-f", folder.path().to_str().unwrap(), "--confirm", "local"]);
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(told.contains("nothing was done: local in us-east-1 and local in us-east-2 have one name"), "{told}");
}

/// Whatever is wrong with the account or the credentials: one clear message that names the call and the mend.
#[test]
fn a_pattern_of_tags_that_follows_nothing_is_refused_where_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.yaml");
    let good = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../specs/local.yaml")).unwrap();
    let line = good.lines().position(|l| l.contains("image: { tag: v1.0.0 }")).unwrap() + 1;
    std::fs::write(&path, good.replacen("tag: v1.0.0", "tag: \"v1*\"", 1)).unwrap();
    let output = controller(None, &["validate", "-f", path.to_str().unwrap()]);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(told.contains(&format!("bad.yaml:{line}:19  spec.polybot.image.tag")), "{told}");
    assert!(told.contains("hint: a star stands for the last numbers"), "{told}");
}

#[tokio::test]
async fn each_trouble_with_aws_is_told_with_the_call_and_the_mend() {
    let aws = LocalAws::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../specs/local.yaml")).unwrap();
    let plan_of = |text: &str| {
        let spec = folder.path().join("spec.yaml");
        std::fs::write(&spec, text).unwrap();
        let output = controller(Some(&aws), &["plan", "-f", spec.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1), "{}", text_of(&output));
        text_of(&output)
    };

    let said = plan_of(&whole.replace("  region: us-east-1\n", "  region: us-east-1\n  accountId: \"999999999999\"\n"));
    assert!(said.contains("of account 123456789012, but the spec says 999999999999; choose others"), "{said}");
    let said = plan_of(&whole.replace("int-devops.click", "nowhere.example"));
    assert!(
        said.contains("? unknown dns_record/bot") && said.contains("create it (aws route53 create-hosted-zone"),
        "{said}"
    );
    for (call, code, words) in [
        ("sts:*", "ExpiredToken", "sts GetCallerIdentity: refused by a switch: ExpiredToken (ExpiredToken)"),
        ("sts:*", "ExpiredToken", "hint: set AWS_PROFILE"),
        ("dynamodb:DescribeTable", "AccessDeniedException", "? unknown table/chats: dynamodb DescribeTable"),
        ("dynamodb:DescribeTable", "AccessDeniedException", "; allow dynamodb:DescribeTable to the identity"),
        ("sqs:*", "ThrottlingException", "? unknown queue/work: sqs ListQueues"),
        ("sqs:*", "ThrottlingException", "the next pass goes on"),
    ] {
        aws.switch("refuse", serde_json::json!({ call: code })).await.unwrap();
        let said = plan_of(&whole);
        assert!(said.contains(words), "{words}: {said}");
    }
    aws.switch("refuse", serde_json::json!({})).await.unwrap();

    // Nobody is signed in.
    let stranger = |form: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_controller"));
        command.args(["plan", "-f", "specs/local.yaml", "-o", form]);
        command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        command.env_clear().env("AWS_EC2_METADATA_DISABLED", "true").env("AWS_ENDPOINT_URL", aws.endpoint());
        command.output().unwrap()
    };
    let said = text_of(&stranger("text"));
    assert!(said.contains("no credentials that work") && said.contains("hint: set AWS_PROFILE"), "{said}");
    // Who reads a comment or a program's form has no terminal beside it.
    let comment = text(&stranger("markdown").stdout);
    assert!(comment.contains("| **local in us-east-1** | **not reached**: ") && comment.contains("set AWS_PROFILE"));
    let form: serde_json::Value = serde_json::from_slice(&stranger("json").stdout).unwrap();
    assert!(form["unreached"][0]["why"].as_str().unwrap().contains("no credentials that work"), "{form}");
}

fn text_of(output: &Output) -> String {
    text(&output.stdout) + &text(&output.stderr)
}

#[test]
fn schema_crd_graph_and_completions_need_no_aws() {
    for args in [
        &["schema"][..],
        &["crd"],
        &["graph", "-f", "specs/local.yaml"],
        &["graph", "-f", "specs/local.yaml", "-o", "dot"],
        &["completions", "bash"],
    ] {
        let output = controller(None, args);
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        assert!(output.stdout.len() > 500, "{args:?}");
    }
}
