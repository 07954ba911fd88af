//! What `plan` and `drift` tell people, pull requests and programs, by the program as it is typed.

use crate::setting::{Synced, World, both, local_spec, once, plan};
use aws_sdk_ec2::types::{IpPermission, IpRange};
use controller::report::{Verdict, verdict};
use serde_json::Value;
use std::path::Path;

#[tokio::test]
async fn drift_tells_hands_from_edits_who_it_was_and_what_is_not_ours() {
    let stack = Synced::new().await;
    assert_eq!(stack.drift(&[]).await, (0, "stack local in us-east-1: in sync\n".to_owned()));

    // An edit: a new resource, and a changed one.
    let original = std::fs::read_to_string(&stack.spec).unwrap();
    stack.edit(|t| {
        t.replace("  notifications:\n", "  queues: { work: { visibilityTimeout: 70s } }\n  notifications:\n")
            + "    - email: new@example.com\n"
    });
    let (code, text) = stack.drift(&[]).await;
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("pending   ~ update  queue/work"), "{text}");
    assert!(text.contains("pending   + create  subscription/email-new@example.com"), "{text}");
    std::fs::write(&stack.spec, &original).unwrap();

    // Hands: a hole, a resource that is gone, one whose kind bears no tags.
    let mallory = stack.world.aws.config_by("mallory", "us-east-1");
    let (ec2, sns, sqs) =
        (aws_sdk_ec2::Client::new(&mallory), aws_sdk_sns::Client::new(&mallory), aws_sdk_sqs::Client::new(&mallory));
    let groups = ec2.describe_security_groups().send().await.unwrap();
    let balancer = groups.security_groups().iter().find(|g| g.group_name().unwrap().contains("balancer")).unwrap();
    let group = balancer.group_id().unwrap();
    let everyone = IpRange::builder().cidr_ip("0.0.0.0/0").build();
    let hole = IpPermission::builder().ip_protocol("tcp").from_port(22).to_port(22).ip_ranges(everyone).build();
    ec2.authorize_security_group_ingress().group_id(group).ip_permissions(hole).send().await.unwrap();
    let all = sns.list_subscriptions().send().await.unwrap();
    let arn = all.subscriptions()[0].subscription_arn().unwrap();
    sns.unsubscribe().subscription_arn(arn).send().await.unwrap();
    let url = sqs.get_queue_url().queue_name("talo-local-work").send().await.unwrap().queue_url.unwrap();
    let weak = aws_sdk_sqs::types::QueueAttributeName::VisibilityTimeout;
    sqs.set_queue_attributes().queue_url(&url).attributes(weak, "1").send().await.unwrap();
    let (code, text) = stack.drift(&[]).await;
    assert_eq!(code, 3, "{text}");
    for part in [
        "3 changed in AWS",
        "drift     ~ update  queue/work",
        "visibility_timeout: the spec wants 60, AWS has 1",
        "by mallory: SetQueueAttributes at 20",
        "drift     + create  subscription/email-ops@example.com",
        &format!("drift     - delete  security_group_rule/{group}-in-tcp-22-0.0.0.0/0"),
        "by mallory: AuthorizeSecurityGroupIngress",
    ] {
        assert!(text.contains(part), "{part} in:\n{text}");
    }

    // Both at once, in all forms.
    stack.edit(|t| t + "    - email: new@example.com\n");
    let (code, text) = stack.drift(&["-o", "json"]).await;
    assert_eq!(code, 4, "{text}");
    let document: Value = serde_json::from_str(&text).unwrap();
    let steps = document["stacks"][0]["steps"].as_array().unwrap();
    let of = |verdict: &str| steps.iter().filter(|s| s["verdict"] == verdict).count();
    assert_eq!((of("drift"), of("pending"), document["exitCode"].as_u64()), (3, 1, Some(4)), "{text}");
    let (_, sarif) = stack.drift(&["-o", "sarif"]).await;
    let sarif: Value = serde_json::from_str(&sarif).unwrap();
    assert_eq!(sarif["runs"][0]["results"].as_array().unwrap().len(), 4);
    std::fs::write(&stack.spec, &original).unwrap();

    // Left alone for a while: neither told nor mended. After the day it is drift again.
    stack.apply().await;
    let (code, text) = stack.drift(&[]).await;
    assert_eq!((code, text.as_str()), (0, "stack local in us-east-1: in sync\n"));
    let group_name = "talo-local-yolo5";
    let autoscaling = aws_sdk_autoscaling::Client::new(&mallory);
    autoscaling.update_auto_scaling_group().auto_scaling_group_name(group_name).max_size(9).send().await.unwrap();
    let entry = |until: &str| {
        let entry = "{ address: scaling_group/yolo5, field: max, reason: load tests, until: ";
        format!("{original}  ignoreDrift:\n    - {entry}{until} }}\n")
    };
    std::fs::write(&stack.spec, entry("2999-12-31")).unwrap();
    let (code, text) = stack.drift(&[]).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("in sync, 1 ignored\nignored   scaling_group/yolo5 max: load tests"), "{text}");
    stack.apply().await;
    let live = autoscaling.describe_auto_scaling_groups().auto_scaling_group_names(group_name).send().await.unwrap();
    assert_eq!(live.auto_scaling_groups()[0].max_size(), Some(9));
    std::fs::write(&stack.spec, entry("2020-01-01")).unwrap();
    let (code, text) = stack.drift(&[]).await;
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("ended 2020-01-01: it is reported again"), "{text}");

    // What is not ours is told, and does not count.
    std::fs::write(&stack.spec, &original).unwrap();
    stack.apply().await;
    let vpc = balancer.vpc_id().unwrap();
    ec2.create_security_group().group_name("theirs").description("d").vpc_id(vpc).send().await.unwrap();
    let (code, text) = stack.drift(&[]).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("in sync, 1 unmanaged\nunmanaged security group sg-"), "{text}");

    // A stopped instance: its group replaces it, and somebody should know.
    let running = ec2.describe_instances().send().await.unwrap();
    let instance = running.reservations()[0].instances()[0].instance_id().unwrap().to_owned();
    ec2.stop_instances().instance_ids(&instance).send().await.unwrap();
    let (code, text) = stack.drift(&[]).await;
    assert_eq!(code, 3, "{text}");
    let line = format!("drift     … wait    instance/{instance}: it was stopped; its scaling group replaces it");
    assert!(text.contains(&line) && text.contains("by mallory: StopInstances"), "{text}");

    // One that is gone for good is told until its group has noticed.
    stack.world.aws.switch("clock_rate", 0.into()).await.unwrap();
    ec2.terminate_instances().instance_ids(&instance).send().await.unwrap();
    let (code, text) = stack.drift(&[]).await;
    assert_eq!(code, 3, "{text}");
    let line = format!("drift     … wait    instance/{instance}: it was terminated; its scaling group replaces it");
    assert!(text.contains(&line) && text.contains("TerminateInstances"), "{text}");
    stack.world.aws.advance(60).await.unwrap();
    let (code, text) = stack.drift(&[]).await;
    assert_eq!(code, 0, "{text}");
}

#[tokio::test]
async fn a_stack_that_waits_for_images_knows_what_was_applied_all_the_same() {
    let world = World::new().await;
    let c = world.connect(local_spec()).await;
    for _ in 0..4 {
        once(&c).await;
    }
    let mut spec = local_spec();
    spec.spec.notifications[0].email = "other@example.com".into();
    let plan = plan(&world.connect(spec).await).await;
    let told: Vec<_> = plan.steps.iter().map(|s| (s.address.to_string(), verdict(s).unwrap())).collect();
    assert_eq!(
        told,
        [
            ("launch_template_version/polybot", Verdict::Unchecked),
            ("scaling_group/polybot", Verdict::Pending),
            ("subscription/email-other@example.com", Verdict::Pending),
            ("rollout/polybot", Verdict::Pending),
            ("launch_template_version/yolo5", Verdict::Unchecked),
            ("scaling_group/yolo5", Verdict::Pending),
            ("rollout/yolo5", Verdict::Pending),
            ("lifecycle_hook/yolo5-launch", Verdict::Pending),
            ("lifecycle_hook/yolo5-termination", Verdict::Pending),
            ("scaling_policy/yolo5-tracking", Verdict::Pending),
            ("webhook/bot", Verdict::Unchecked),
            ("subscription/email-ops@example.com", Verdict::Pending),
        ]
        .map(|(address, verdict)| (address.to_owned(), verdict)),
        "{plan}"
    );
}

#[tokio::test]
async fn a_plan_is_one_comment_and_the_outputs_of_a_job() {
    let stack = Synced::new().await;
    let actions = |folder: &Path| ["GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"].map(|name| (name, folder.join(name)));
    let run = async |args: &[&str]| {
        let output = stack.command(args).envs(actions(stack.folder.path())).output().await.unwrap();
        let read = |name: &str| std::fs::read_to_string(stack.folder.path().join(name)).unwrap();
        let files = (read("GITHUB_OUTPUT"), read("GITHUB_STEP_SUMMARY"));
        for (_, path) in &actions(stack.folder.path()) {
            std::fs::remove_file(path).unwrap();
        }
        (output, files)
    };
    let (output, (outputs, _)) = run(&["plan", "--github"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    assert_eq!(outputs, "exit-code=0\nchanges=false\ndigests=\nsummary=local in us-east-1: nothing to do\n");

    stack.edit(|t| t.replace("v1.0.0", "v1.1.0").replace("max: 3", "max: 4"));
    let connection = stack.world.connect(local_spec()).await;
    stack.world.push_images(&connection, "v1.1.0").await;
    let (output, (outputs, summary)) = run(&["plan", "--github", "-o", "markdown"]).await;
    assert_eq!(output.status.code(), Some(2));
    let comment = String::from_utf8(output.stdout).unwrap();
    assert_eq!(comment, summary);
    for part in [
        "<!-- polybot-controller: plan -->",
        "none; instances are replaced a few at a time",
        "| `launch_template_version/yolo5` | replace | spec | **restart**",
        "```mermaid\ngraph LR\n",
        "class repository_polybot,repository_yolo5,rollout_polybot,scaling_group_yolo5,rollout_yolo5 update",
    ] {
        assert!(comment.contains(part), "{part} in:\n{comment}");
    }
    let digest = outputs.lines().find_map(|l| l.strip_prefix("digests=")).unwrap();
    assert!(comment.contains(&format!("`{digest}`")) && digest.len() == 16, "{outputs}");
    assert!(outputs.contains("exit-code=2\nchanges=true\n"));

    // What was reviewed is what is applied.
    let refused = stack.run(&["apply", "--expect", "0000"]).await;
    assert_eq!(refused.status.code(), Some(1));
    let applied = stack.run(&["apply", "--expect", "0000", "--expect", digest, "--poll", "50ms"]).await;
    assert_eq!(applied.status.code(), Some(0), "{}", both(&applied));

    // Not in a job.
    let alone = stack.command(&["plan", "--github"]).env_remove("GITHUB_OUTPUT").output().await.unwrap();
    assert_eq!(alone.status.code(), Some(1));
    assert!(both(&alone).contains("is not set; --github is for GitHub Actions"), "{}", both(&alone));
}
