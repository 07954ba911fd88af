//! The committed specs, and specs that are wrong.

use crate::setting::{SSH_KEY, World, local_spec, plan, writes};
use controller::{
    report::{Verdict, verdict},
    spec::load::load,
};

fn root() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn every_committed_spec_is_valid_and_can_be_planned() {
    let stacks = load(&[root().join("specs")]).unwrap();
    assert!(stacks.len() >= 6);
    for stack in &stacks {
        let wanted = controller::stack::stack(stack, &controller::facts::Facts::assumed(stack));
        assert!(wanted.addresses().count() > 30);
    }
}

/// The gate against noise: whatever a spec may say, what was just applied is no difference.
#[tokio::test]
async fn right_after_an_apply_of_any_committed_spec_there_is_no_drift() {
    let world = World::new().await;
    let route53 = aws_sdk_route53::Client::new(&world.aws.config("us-east-1"));
    route53.create_hosted_zone().name("example.com").caller_reference("a test").send().await.unwrap();
    for mut stack in load(&[root().join("specs")]).unwrap() {
        // Neither a token nor Telegram is needed for the rest.
        stack.spec.telegram = local_spec().spec.telegram;
        // The example's key is nobody's, and AWS takes only what is one.
        if let Some(ssh) = &mut stack.spec.access.ssh {
            ssh.public_key = ssh.public_key.as_ref().map(|_| SSH_KEY.to_owned());
        }
        // Nor is its digest that of an image.
        let images = [Some(&mut stack.spec.polybot.image), stack.spec.yolo5.as_mut().map(|y| &mut y.image)];
        for image in images.into_iter().flatten().filter(|image| image.digest.is_some()) {
            *image = controller::spec::ImageRef { tag: Some("v1.0.0".to_owned()), digest: None, ..image.clone() };
        }
        let title = format!("{} in {}", stack.metadata.name.as_deref().unwrap_or_default(), stack.spec.region);
        let connection = world.converged(stack).await;
        let plan = plan(&connection).await;
        assert_eq!(writes(&plan), Vec::<String>::new(), "{title}:\n{plan}");
        let drift: Vec<_> = plan.steps.iter().filter(|s| verdict(s) == Some(Verdict::Drift)).collect();
        assert!(drift.is_empty(), "{title}:\n{plan}");
    }
}

#[test]
fn the_committed_schema_is_the_one_the_program_prints() {
    let path = root().join("specs/polybotstack.schema.json");
    let current = format!("{}\n", serde_json::to_string_pretty(&controller::spec::json_schema()).unwrap());
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&path, &current).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == current, "run UPDATE_SCHEMA=1 cargo test -p controller the_committed_schema");
}

#[test]
fn validate_tells_what_has_no_effect_on_a_file() {
    let spec = root().join("specs/full.yaml");
    let done =
        std::process::Command::new(env!("CARGO_BIN_EXE_controller")).arg("validate").arg("-f").arg(spec).output();
    let said = String::from_utf8(done.unwrap().stdout).unwrap();
    assert!(said.contains("spec.cluster is for `controller operate`"), "{said}");
}

#[test]
fn validate_warns_of_a_rollout_that_is_over_before_its_alarms_can_ring() {
    let validate = |file: &str| {
        let spec = root().join("specs").join(file);
        let done =
            std::process::Command::new(env!("CARGO_BIN_EXE_controller")).arg("validate").arg("-f").arg(spec).output();
        String::from_utf8(done.unwrap().stdout).unwrap()
    };
    let said = validate("dev.yaml");
    let warning = "warning: rollout/polybot: rollout.bake is 0s, and talo-dev-polybot-unhealthy rings within 780s";
    assert!(said.contains(warning) && !said.contains("rollout/yolo5:"), "{said}");
    assert!(!validate("minimal.yaml").contains("warning"), "what is there by default fits together");
}
