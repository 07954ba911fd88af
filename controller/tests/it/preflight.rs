//! `plan --preflight`: what would stop an apply half-way is told before it begins.

use crate::setting::{TOKEN, World, both, local_spec, once, spec_file, telegram};
use controller::permissions::policy;
use local::aws::ACCOUNT;
use std::path::Path;
use tokio::process::Command;

async fn preflight(env: Vec<(String, String)>, spec: &Path, token: &str) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_controller"));
    command.args(["plan", "--preflight", "-f"]).arg(spec).envs(env).env("TELEGRAM_TOKEN", token);
    let output = command.output().await.unwrap();
    (output.status.code().unwrap(), both(&output))
}

#[tokio::test]
async fn it_tells_what_is_ready_what_is_not_and_how_to_mend_it() {
    let (world, telegram, folder) = (World::new().await, telegram().await, tempfile::tempdir().unwrap());
    let spec = spec_file(folder.path(), &telegram);
    let text = std::fs::read_to_string(&spec).unwrap();
    let admin = world.aws.env();

    // An empty account: all is ready but the images, which have no place yet.
    let (code, said) = preflight(admin.clone(), &spec, TOKEN).await;
    assert_eq!(code, 2, "{said}");
    for line in [
        "ready    account: 123456789012 in us-east-1",
        "ready    hosted zone: int-devops.click",
        "ready    bot token",
        "ready    Telegram: it answers",
        "ready    bucket name: talo-local-images-123456789012-us-east-1 is free",
        "ready    room for a VPC: 1 of 5 in us-east-1",
        "ready    EC2: a VPC may be created",
        "ready    permissions: every action that is needed is allowed",
        "unknown  image of polybot: no image",
    ] {
        assert!(said.contains(line), "{line} in:\n{said}");
    }

    // A zone that is not there, a token that is none, no room.
    std::fs::write(&spec, text.replace("int-devops.click", "example.org")).unwrap();
    let aws = world.aws.config("us-east-1");
    let ec2 = aws_sdk_ec2::Client::new(&aws);
    for _ in 0..4 {
        ec2.create_vpc().cidr_block("10.9.0.0/16").send().await.unwrap();
    }
    let c = world.connect(local_spec()).await;
    let (code, said) = preflight(admin.clone(), &spec, "none").await;
    assert_eq!(code, 1, "{said}");
    for line in [
        "problem  hosted zone: there is none called example.org; create a public one",
        "problem  bot token: the token is none that @BotFather gives",
        "problem  room for a VPC: 5 of 5 in us-east-1; remove one, or raise quota L-F678F1CE",
    ] {
        assert!(said.contains(line), "{line} in:\n{said}");
    }

    // A role that may only read, on a stack that stands: everything else is ready.
    std::fs::write(&spec, &text).unwrap();
    for _ in 0..4 {
        once(&c).await;
    }
    let iam = aws_sdk_iam::Client::new(&aws);
    iam.create_role().role_name("reader").assume_role_policy_document("{}").send().await.unwrap();
    let read = policy(&local_spec(), ACCOUNT, true).to_string();
    iam.put_role_policy().role_name("reader").policy_name("all").policy_document(read).send().await.unwrap();
    let (code, said) = preflight(world.aws.env_as("reader").await.unwrap(), &spec, TOKEN).await;
    assert_eq!(code, 1, "{said}");
    for line in [
        "problem  image of yolo5: no image talo-local-yolo5:v1.0.0 in the registry yet; push it:",
        "unknown  permissions: ",
        "sqs:CreateQueue",
        "ready    room for a VPC: the stack has its own",
    ] {
        assert!(said.contains(line), "{line} in:\n{said}");
    }
}
