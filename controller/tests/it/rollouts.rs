//! Rollouts on a local AWS whose refreshes take time and fail: each ends in the right version, going back means the version
//! before, and at no moment fewer instances are healthy than the spec allows. The clock of its scaling groups stands but where
//! a test moves it on.

use crate::setting::{TOKEN, World, both, local_spec, once, plan};
use contract::env::LAUNCH_HOOK;
use controller::{
    aws::{Leeway, View},
    engine::{Action, Input, Resource, Tags},
    kinds::{launch_template_version::LaunchTemplateVersion, rollout::Rollout},
    ownership::RESOURCE,
    reconcile::{Allow, Connection},
    spec::PolybotStack,
    stack::Service,
};
use serde_json::{Value, json};
use std::{path::PathBuf, process::Stdio, time::Duration};
use tokio::process::Command;

/// The group that most tests look at: two bots, of which as many must stay healthy.
const GROUP: &str = "talo-local-polybot";
const REPLICAS: u32 = 2;
/// Logical seconds in which a good version has booted, and in which it has baked as well.
const BOOTED: u32 = 90;
const BAKED: u32 = 1020;
/// Logical seconds after which a version that does not get healthy has failed, and the way back is done.
const FAILED: u32 = 900;

/// A stack that runs version 2 (version 1 of a template is an empty one), with a clock that stands.
struct Scene {
    world: World,
    spec: PolybotStack,
    folder: tempfile::TempDir,
    service: Service,
}

impl Scene {
    async fn new() -> Self {
        Self::of(Service::Polybot).await
    }

    async fn of(service: Service) -> Self {
        let world = World::new().await;
        let mut spec = local_spec();
        spec.spec.yolo5.as_mut().unwrap().replicas.min = REPLICAS;
        world.converged(spec.clone()).await;
        world.aws.switch("clock_rate", json!(0)).await.unwrap();
        world.aws.advance(BOOTED).await.unwrap();
        Self { world, spec, folder: tempfile::tempdir().unwrap(), service }
    }

    fn group(&self) -> String {
        format!("talo-local-{}", self.service.name())
    }

    async fn connect(&self) -> Connection {
        self.world.connect(self.spec.clone()).await
    }

    /// Another image in the registry and in the spec.
    async fn want(&mut self, tag: &str) {
        self.world.push_images(&self.connect().await, tag).await;
        self.name(tag);
    }

    /// Another image in the spec alone.
    fn name(&mut self, tag: &str) {
        let image = match self.service {
            Service::Polybot => &mut self.spec.spec.polybot.image,
            Service::Yolo5 => &mut self.spec.spec.yolo5.as_mut().unwrap().image,
        };
        image.tag = Some(tag.to_owned());
    }

    /// The same, until it has reached every instance.
    async fn roll_out(&mut self, tag: &str) {
        self.want(tag).await;
        self.passes().await;
        self.wait(BOOTED + BAKED).await;
        self.wait(5).await;
        assert_eq!(self.step().await.0, "settled", "{tag}");
    }

    /// Passes until one writes nothing: what `run` does while AWS's clock stands.
    async fn passes(&self) {
        let connection = self.connect().await;
        for _ in 0..10 {
            if !once(&connection).await.wrote() {
                return;
            }
        }
        panic!("passes without end:\n{}", plan(&connection).await);
    }

    /// Time passes, and the controller with it.
    async fn wait(&self, seconds: u32) {
        self.world.aws.advance(seconds).await.unwrap();
        self.passes().await;
    }

    /// The group's version, and how many instances of which versions are in service.
    async fn state(&self) -> (i64, Vec<i64>) {
        let fleet = self.world.aws.fleet().await.unwrap();
        let group = &fleet[&self.group()];
        let serving = group["instances"].as_array().unwrap().iter().filter(|i| i["state"] == "InService");
        let mut versions: Vec<_> = serving.map(|i| i["version"].as_i64().unwrap()).collect();
        versions.sort_unstable();
        (group["version"].as_i64().unwrap(), versions)
    }

    /// How many refreshes there were.
    async fn refreshes(&self) -> usize {
        self.world.aws.fleet().await.unwrap()[&self.group()]["refreshes"].as_array().unwrap().len()
    }

    /// What the next pass says about the rollout.
    async fn step(&self) -> (&'static str, String) {
        let plan = plan(&self.connect().await).await;
        let address = format!("rollout/{}", self.service.name());
        let step = plan.steps.iter().find(|s| s.address.to_string() == address);
        step.map_or(("settled", String::new()), |s| (s.action.word(), s.action.reason().unwrap_or_default().to_owned()))
    }

    /// The law of every rollout: from the first moment at which the group was whole, it stayed so.
    async fn never_too_few(&self) {
        self.never_fewer_than(REPLICAS).await;
    }

    async fn never_fewer_than(&self, floor: u32) {
        let moments = self.world.aws.moments(&self.group()).await.unwrap();
        let whole = moments.iter().position(|m| m.healthy >= REPLICAS).unwrap();
        for moment in &moments[whole..] {
            assert!(moment.healthy >= floor, "{moment:?}");
        }
        assert!(moments.len() > whole + 5, "something happened");
    }

    async fn unhealthy(&self, versions: &[i64]) {
        self.world.aws.switch("unhealthy_versions", json!(versions)).await.unwrap();
    }

    async fn ring(&self, alarm: &str, state: &str) {
        let ask = json!({ "AlarmName": alarm, "StateValue": state, "StateReason": "a test" });
        self.connect().await.aws.cloudwatch.call("SetAlarmState", &ask).await.unwrap();
    }

    fn file(&self) -> PathBuf {
        let path = self.folder.path().join("local.yaml");
        std::fs::write(&path, serde_json::to_string(&json!(self.spec)).unwrap()).unwrap();
        path
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_controller"));
        command.args(args).arg("-f").arg(self.file()).envs(self.world.aws.env()).env("TELEGRAM_TOKEN", TOKEN);
        command.kill_on_drop(true);
        command
    }

    /// `controller rollout …`; what it printed.
    async fn rollout(&self, args: &[&str]) -> String {
        let output = self.command(&[&["rollout"], args].concat()).output().await.unwrap();
        assert!(output.status.success(), "{args:?}: {}", both(&output));
        String::from_utf8(output.stdout).unwrap()
    }
}

#[tokio::test]
async fn a_good_image_reaches_every_instance_and_only_then_the_group() {
    let mut scene = Scene::new().await;
    // The newest by its numbers, though another one was pushed later and letters would say otherwise.
    let connection = scene.connect().await;
    for tag in ["v1.10.0", "v1.9.0", "v2.0.0"] {
        scene.world.push_images(&connection, tag).await;
    }
    scene.spec.spec.polybot.image.tag = Some("v1.*".to_owned());
    let connection = scene.connect().await;
    let (old, new) = (scene.digest(&connection, "v1.0.0").await, scene.digest(&connection, "v1.10.0").await);
    let seen = plan(&connection).await;
    let version = seen.steps.iter().find(|s| s.address.to_string() == "launch_template_version/polybot").unwrap();
    let [change] = version.action.changes() else { panic!("{seen}") };
    assert!(change.field == "container" && change.from.ends_with(&old) && change.to.ends_with(&new), "{seen}");

    scene.passes().await;
    assert_eq!(scene.step().await.0, "wait");
    assert_eq!(scene.state().await, (2, vec![2, 2]), "AWS has not begun");
    scene.wait(BOOTED).await;
    assert_eq!(scene.state().await.0, 2, "it bakes");
    assert!(scene.step().await.1.contains("Baking"), "{:?}", scene.step().await);
    scene.wait(BAKED).await;
    assert_eq!(scene.state().await, (3, vec![3, 3]));
    assert_eq!(scene.step().await.0, "settled");
    assert_eq!(scene.refreshes().await, 1);
    scene.never_too_few().await;
}

#[tokio::test]
async fn an_image_that_never_gets_healthy_is_undone_and_blocked_until_somebody_says_so() {
    let mut scene = Scene::new().await;
    scene.unhealthy(&[3]).await;
    scene.want("v1.1.0").await;
    scene.passes().await;
    scene.wait(FAILED).await;
    assert_eq!(scene.state().await, (2, vec![2, 2]));
    let (word, why) = scene.step().await;
    assert!(word == "blocked" && why.contains("failed their health checks"), "{word}: {why}");
    for _ in 0..10 {
        scene.wait(BOOTED).await;
    }
    assert_eq!(scene.refreshes().await, 1, "ten more passes start nothing");

    // Sizes and all else of the group go on meanwhile.
    let status = scene.rollout(&["status"]).await;
    assert!(status.contains("RollbackSuccessful") && status.contains("its last rollout failed"), "{status}");
    // A version is known by its tag and its day.
    let runs = status.lines().find(|line| line.starts_with("  runs")).unwrap();
    assert!(runs.contains("/2  v1.0.0  sha256:"), "{runs}");
    assert_eq!(runs.rsplit("  ").next().unwrap().split('-').map(str::len).collect::<Vec<_>>(), [4, 2, 2], "{runs}");

    // It was the network: the same version, once more.
    scene.unhealthy(&[]).await;
    let told = scene.rollout(&["retry", "polybot"]).await;
    assert!(told.contains("an instance refresh has begun"), "{told}");
    scene.passes().await;
    scene.wait(BAKED + BOOTED).await;
    assert_eq!(scene.state().await, (3, vec![3, 3]));
    assert_eq!(scene.refreshes().await, 2);

    // The next bad one goes back to this one, not to the first.
    scene.unhealthy(&[4]).await;
    scene.want("v1.2.0").await;
    scene.passes().await;
    scene.wait(FAILED).await;
    assert_eq!(scene.state().await, (3, vec![3, 3]));
    assert_eq!(scene.step().await.0, "blocked");

    // And a spec that goes back is content with what runs.
    scene.spec.spec.polybot.image.tag = Some("v1.1.0".to_owned());
    scene.passes().await;
    assert_eq!(scene.step().await.0, "settled");

    // Whoever keeps a hundred stacks, and is content with what it was told of refreshes a while ago, sees one that another began.
    let one_of_many = scene.world.connect_beside(scene.spec.clone(), 99).await;
    let at_rest = async || {
        let leeway = Leeway { lists: Duration::ZERO, details: Duration::from_hours(1) };
        let plan = one_of_many.glance(leeway, &Allow::default()).await;
        let step = plan.steps.iter().find(|s| s.address.to_string() == "rollout/polybot");
        step.map_or("settled", |s| s.action.word())
    };
    assert_eq!(at_rest().await, "settled");
    scene.rollout(&["undo", "polybot"]).await;
    assert_eq!(at_rest().await, "wait");
    scene.never_too_few().await;
}

#[tokio::test]
async fn an_alarm_in_mid_bake_takes_it_back_and_one_that_rang_before_does_not() {
    let mut scene = Scene::new().await;
    scene.ring("talo-local-polybot-unhealthy", "ALARM").await;
    for (n, alarm) in ["errors", "unavailable"].into_iter().enumerate() {
        let alarm = format!("talo-local-polybot-{alarm}");
        scene.want(&format!("v1.{}.0", n + 1)).await;
        scene.passes().await;
        scene.wait(BOOTED).await;
        assert!(scene.step().await.1.contains("Baking"), "an alarm that rang before says nothing about this version");
        scene.ring(&alarm, "ALARM").await;
        scene.wait(BOOTED + BOOTED).await;
        assert_eq!(scene.state().await, (2, vec![2, 2]));
        let (word, why) = scene.step().await;
        assert!(word == "blocked" && why.contains(&alarm), "{word}: {why}");
    }
    scene.never_too_few().await;
}

#[tokio::test]
async fn a_spec_that_changes_in_mid_roll_supersedes_what_is_on_its_way() {
    let mut scene = Scene::new().await;
    // The first one would never get healthy; nobody waits for that.
    scene.unhealthy(&[3]).await;
    scene.want("v1.1.0").await;
    scene.passes().await;
    scene.wait(BOOTED).await;
    scene.want("v1.2.0").await;
    scene.passes().await;
    scene.wait(5).await;
    assert!(scene.step().await.1.contains("/4"), "{:?}", scene.step().await);
    scene.wait(BAKED + BOOTED).await;
    assert_eq!(scene.state().await, (4, vec![4, 4]));

    // A spec that goes back to what the group names in mid-roll takes the instances back as well.
    scene.want("v1.3.0").await;
    scene.passes().await;
    scene.wait(BOOTED).await;
    assert_eq!(scene.state().await, (4, vec![5, 5]), "it bakes");
    scene.spec.spec.polybot.image.tag = Some("v1.2.0".to_owned());
    scene.passes().await;
    scene.wait(BOOTED + BOOTED).await;
    assert_eq!(scene.state().await, (4, vec![4, 4]));
    assert_eq!(scene.step().await.0, "settled");

    // What was on its way then has not failed: it comes when the spec stands for it again.
    scene.spec.spec.polybot.image.tag = Some("v1.3.0".to_owned());
    scene.passes().await;
    scene.wait(BAKED + BOOTED).await;
    assert_eq!(scene.state().await, (5, vec![5, 5]));

    // A size that changes in mid-roll is no fight either.
    scene.want("v1.4.0").await;
    scene.passes().await;
    scene.wait(BOOTED / 2).await;
    scene.spec.spec.polybot.replicas = 3;
    scene.passes().await;
    scene.wait(BAKED + BOOTED).await;
    scene.wait(BAKED).await;
    assert_eq!(scene.state().await, (6, vec![6, 6, 6]));
    assert_eq!(scene.step().await.0, "settled");
    scene.never_too_few().await;
}

#[tokio::test]
async fn a_refresh_that_hands_have_started_is_joined() {
    let mut scene = Scene::new().await;
    let connection = scene.connect().await;
    // One that only replaces instances, with another image waiting behind it.
    let preferences = aws_sdk_autoscaling::types::RefreshPreferences::builder()
        .min_healthy_percentage(100)
        .max_healthy_percentage(200)
        .build();
    let start = connection.aws.autoscaling.start_instance_refresh().auto_scaling_group_name(GROUP);
    start.preferences(preferences).send().await.unwrap();
    scene.want("v1.1.0").await;
    scene.passes().await;
    let (word, _) = scene.step().await;
    assert_eq!((word, scene.refreshes().await), ("wait", 1), "waited for, not fought");
    scene.wait(BOOTED).await;
    assert_eq!(scene.refreshes().await, 2, "and then the spec's own");
    scene.wait(BAKED + BOOTED).await;
    assert_eq!(scene.state().await, (3, vec![3, 3]));

    // One that brings what the spec wants is as good as ours.
    scene.want("v1.2.0").await;
    let connection = scene.connect().await;
    let held = connection.aws.clone();
    let version = Rollout::list(&View::new(&held)).await.unwrap();
    let template =
        version.iter().find(|l| l.name == "polybot").unwrap().state.version.known().unwrap().template.clone();
    scene
        .world
        .aws
        .switch("refuse", json!({ "autoscaling:StartInstanceRefresh": "ResourceContention" }))
        .await
        .unwrap();
    scene.passes().await;
    scene.world.aws.switch("refuse", json!({})).await.unwrap();
    let to =
        aws_sdk_autoscaling::types::LaunchTemplateSpecification::builder().launch_template_id(template).version("4");
    let to = aws_sdk_autoscaling::types::DesiredConfiguration::builder().launch_template(to.build()).build();
    let start = held.autoscaling.start_instance_refresh().auto_scaling_group_name(GROUP).desired_configuration(to);
    let how = aws_sdk_autoscaling::types::RefreshPreferences::builder();
    let how = how.min_healthy_percentage(100).max_healthy_percentage(200).build();
    start.preferences(how).send().await.unwrap();
    scene.passes().await;
    assert_eq!(scene.refreshes().await, 3);
    scene.wait(BAKED).await;
    assert_eq!(scene.state().await, (4, vec![4, 4]));
    assert_eq!(scene.refreshes().await, 3);
    scene.never_too_few().await;
}

#[tokio::test]
async fn pause_resume_and_undo_hold_against_every_further_pass() {
    let mut scene = Scene::new().await;
    scene.want("v1.1.0").await;
    scene.passes().await;
    scene.wait(BOOTED / 2).await;
    let told = scene.rollout(&["pause", "polybot"]).await;
    assert!(told.contains("broken off"), "{told}");
    for _ in 0..5 {
        scene.wait(BOOTED).await;
    }
    assert_eq!((scene.refreshes().await, scene.state().await.0), (1, 2));
    assert!(scene.step().await.1.contains("paused"));

    let told = scene.rollout(&["resume"]).await;
    assert!(told.contains("`pause` is lifted; an instance refresh has begun"), "{told}");
    scene.passes().await;
    scene.wait(BOOTED + BAKED).await;
    assert_eq!(scene.state().await, (3, vec![3, 3]));

    // It is good, says AWS; people say otherwise. The spec still names it.
    let told = scene.rollout(&["undo", "polybot"]).await;
    assert!(told.contains("/3 to ") && told.contains("an instance refresh has begun"), "{told}");
    for _ in 0..13 {
        scene.wait(BOOTED).await;
    }
    assert_eq!(scene.state().await, (2, vec![2, 2]));
    assert!(scene.step().await.1.contains("was undone"), "{:?}", scene.step().await);
    let before = scene.refreshes().await;
    for _ in 0..5 {
        scene.wait(BOOTED).await;
    }
    assert_eq!(scene.refreshes().await, before);
    let told = scene.rollout(&["undo", "polybot"]).await;
    assert!(told.contains("undone already"), "{told}");

    // In mid-roll, undo goes back to what the group names.
    scene.want("v1.2.0").await;
    scene.passes().await;
    scene.wait(BOOTED).await;
    assert_eq!(scene.state().await, (2, vec![4, 4]), "another version than the one that was undone");
    let told = scene.rollout(&["undo", "polybot"]).await;
    assert!(told.contains("broken off"), "{told}");
    scene.wait(BOOTED + BOOTED).await;
    assert_eq!(scene.state().await, (2, vec![2, 2]));
    let status = scene.rollout(&["status", "-o", "json"]).await;
    let status: Value = serde_json::from_str(&status).unwrap();
    let bot = &status["stacks"][0]["services"][0];
    assert_eq!(bot["phase"], "blocked", "{bot}");
    assert!(bot["why"].as_str().unwrap().contains("was undone"), "{bot}");

    // AWS calls what was taken back "rolled back", as it does what has failed; who takes the word back means it all the same.
    let told = scene.rollout(&["resume", "polybot"]).await;
    assert!(told.contains("is lifted; an instance refresh has begun"), "{told}");
    scene.passes().await;
    scene.wait(BOOTED + BAKED).await;
    assert_eq!(scene.state().await, (4, vec![4, 4]));
    scene.never_too_few().await;
}

#[tokio::test]
async fn the_detectors_roll_out_and_undo_themselves_as_the_bots_do() {
    let mut scene = Scene::of(Service::Yolo5).await;
    scene.roll_out("v1.1.0").await;
    assert_eq!(scene.state().await, (3, vec![3, 3]));

    // A worker that never gets ready leaves its instance to the launch hook: EC2 has nothing against it.
    scene.unhealthy(&[4]).await;
    scene.want("v1.2.0").await;
    scene.passes().await;
    scene.wait(BOOTED).await;
    assert_eq!(scene.state().await, (3, vec![3, 3]), "those that come do not serve");
    scene.wait(FAILED).await;
    assert_eq!(scene.state().await, (3, vec![3, 3]));
    assert_eq!(scene.step().await.0, "blocked");

    for (tag, alarm) in [("v1.3.0", "talo-local-yolo5-age"), ("v1.3.1", "talo-local-yolo5-dead")] {
        scene.want(tag).await;
        scene.passes().await;
        scene.wait(BOOTED).await;
        assert!(scene.step().await.1.contains("Baking"), "{:?}", scene.step().await);
        scene.ring(alarm, "ALARM").await;
        scene.wait(BOOTED + BOOTED).await;
        assert_eq!(scene.state().await, (3, vec![3, 3]));
        assert!(scene.step().await.1.contains(alarm), "{:?}", scene.step().await);
        scene.ring(alarm, "OK").await;
    }

    scene.roll_out("v1.4.0").await;
    assert_eq!(scene.state().await, (7, vec![7, 7]));
    let told = scene.rollout(&["undo", "yolo5"]).await;
    assert!(told.contains("/7 to ") && told.contains("/3;"), "{told}");
    assert!(told.contains("/7  v1.4.0  sha256:") && told.contains("/3  v1.1.0  sha256:"), "{told}");
    scene.wait(BOOTED + BAKED).await;
    assert_eq!(scene.state().await, (3, vec![3, 3]));
    scene.never_too_few().await;
}

#[tokio::test]
async fn a_first_fleet_is_waited_for_until_it_serves_and_a_mended_image_need_not_wait() {
    let world = World::new().await;
    world.aws.switch("clock_rate", json!(0)).await.unwrap();
    world.aws.switch("unhealthy_versions", json!([2])).await.unwrap();
    let (spec, folder) = (local_spec(), tempfile::tempdir().unwrap());
    let mut scene = Scene { world, spec, folder, service: Service::Yolo5 };
    scene.passes().await;
    scene.want("v1.0.0").await;
    scene.passes().await;
    let (word, why) = scene.step().await;
    assert!(word == "wait" && why.starts_with("0 of 1 instances in service; "), "{word}: {why}");
    assert!(why.contains("the log of yolo5") && why.contains("an image without its model"), "{why}");
    let apply = scene.command(&["apply", "--yes", "--timeout", "1s"]).output().await.unwrap();
    assert_eq!(apply.status.code(), Some(2), "{}", both(&apply));
    assert!(both(&apply).contains("rollout/yolo5 waits: 0 of 1 instances in service"), "{}", both(&apply));
    // Its first instance was held by the hook as all others are, so that it does not pass for one that serves.
    scene.wait(FAILED).await;
    assert_eq!(scene.state().await, (2, vec![]));
    assert_eq!(scene.step().await.0, "wait");

    scene.want("v1.1.0").await;
    scene.passes().await;
    scene.wait(BOOTED + BAKED).await;
    assert_eq!(scene.state().await, (3, vec![3]));
    assert_eq!(scene.step().await.0, "settled");
    let told = scene.rollout(&["undo", "yolo5"]).await;
    assert!(told.contains("/2  v1.0.0") && told.contains("(nothing tells that it has served)"), "{told}");
}

#[tokio::test]
async fn what_failed_and_what_was_good_is_known_when_aws_has_forgotten() {
    let mut scene = Scene::new().await;
    scene.roll_out("v1.1.0").await;
    // Two that are taken back in mid-roll: neither has failed.
    for (n, tag) in [(4, "v1.2.0"), (5, "v1.3.0")] {
        scene.want(tag).await;
        scene.passes().await;
        scene.wait(BOOTED).await;
        assert_eq!(scene.state().await, (3, vec![n, n]), "it bakes");
        scene.name("v1.1.0");
        scene.passes().await;
        scene.wait(BOOTED + BOOTED).await;
        assert_eq!(scene.state().await, (3, vec![3, 3]));
    }
    for (n, tag) in [(4, "v1.2.0"), (5, "v1.3.0")] {
        scene.name(tag);
        scene.passes().await;
        scene.wait(BOOTED + BAKED).await;
        assert_eq!(scene.state().await, (n, vec![n, n]), "{:?}", scene.step().await);
    }
    scene.unhealthy(&[6]).await;
    scene.want("v1.4.0").await;
    scene.passes().await;
    scene.wait(FAILED).await;
    assert_eq!(scene.state().await, (5, vec![5, 5]));

    scene.world.aws.advance(42 * 86_400).await.unwrap();
    let before = scene.refreshes().await;
    for _ in 0..3 {
        scene.wait(BOOTED).await;
    }
    assert_eq!(scene.refreshes().await, before, "it does not begin again");
    let (word, why) = scene.step().await;
    assert!(word == "blocked" && why.contains("AWS no longer tells why"), "{word}: {why}");
    scene.name("v1.3.0");
    let told = scene.rollout(&["undo", "polybot"]).await;
    assert!(told.contains("/5 to ") && told.contains("/4;"), "{told}");
    scene.wait(BOOTED + BAKED).await;
    assert_eq!(scene.state().await, (4, vec![4, 4]));
    scene.name("v1.4.0");
    assert_eq!(scene.step().await.0, "blocked", "nor when others have come and gone");
    scene.never_too_few().await;
}

#[tokio::test]
async fn what_is_not_known_in_mid_roll_takes_nothing_back() {
    let mut scene = Scene::new().await;
    // A tag that is not pushed yet.
    scene.want("v1.1.0").await;
    scene.passes().await;
    scene.wait(BOOTED / 2).await;
    scene.name("v1.2.0");
    for _ in 0..3 {
        scene.wait(5).await;
    }
    let (word, why) = scene.step().await;
    assert!(word == "wait" && why.contains("InProgress"), "{word}: {why}");
    let status = scene.rollout(&["status"]).await;
    assert!(status.contains("wanted  not known: no image talo-local-polybot:v1.2.0"), "{status}");
    scene.wait(BOOTED + BAKED).await;
    assert_eq!((scene.state().await, scene.refreshes().await), ((3, vec![3, 3]), 1));
    // The group's sizes go on meanwhile.
    scene.spec.spec.polybot.replicas = 3;
    scene.wait(BOOTED).await;
    scene.spec.spec.polybot.replicas = REPLICAS;
    assert_eq!(scene.state().await, (3, vec![3, 3, 3]));

    // A list that is refused.
    scene.want("v1.2.0").await;
    scene.passes().await;
    scene.wait(BOOTED / 2).await;
    scene.world.aws.switch("deny", json!(["sqs:*"])).await.unwrap();
    for _ in 0..3 {
        scene.wait(5).await;
    }
    scene.world.aws.switch("deny", json!([])).await.unwrap();
    scene.wait(BOOTED + BAKED).await;
    assert_eq!((scene.state().await, scene.refreshes().await), ((4, vec![4, 4]), 2));

    // `undo` means what is on its way; and it holds when that is known to be wanted.
    scene.want("v1.3.0").await;
    scene.passes().await;
    scene.wait(BOOTED).await;
    assert_eq!(scene.state().await, (4, vec![5, 5]), "it bakes");
    scene.name("v9.0.0");
    let told = scene.rollout(&["undo", "polybot"]).await;
    assert!(told.contains("/5 to ") && told.contains("/4; what is on its way is broken off"), "{told}");
    scene.wait(BOOTED + BOOTED).await;
    scene.name("v1.3.0");
    scene.wait(BOOTED).await;
    assert_eq!((scene.state().await, scene.refreshes().await), ((4, vec![4, 4]), 3));
    assert!(scene.step().await.1.contains("was undone"), "{:?}", scene.step().await);

    // A digest is looked for too.
    scene.spec.spec.polybot.image.tag = None;
    scene.spec.spec.polybot.image.digest = Some(format!("sha256:{:064}", 0));
    let seen = plan(&scene.connect().await).await;
    let version = seen.steps.iter().find(|s| s.address.to_string() == "launch_template_version/polybot").unwrap();
    assert!(version.action.reason().is_some_and(|why| why.contains("in the registry")), "{seen}");
    assert_eq!(version.action.word(), "wait", "{seen}");
    scene.never_too_few().await;
}

#[tokio::test]
async fn undo_goes_to_what_has_run_whatever_was_made_since() {
    let mut scene = Scene::new().await;
    scene.rollout(&["pause", "polybot"]).await;
    for tag in ["v1.1.0", "v1.2.0", "v1.3.0", "v1.4.0", "v1.5.0"] {
        scene.want(tag).await;
        scene.passes().await;
    }
    scene.rollout(&["resume", "polybot"]).await;
    scene.wait(BOOTED + BAKED).await;
    scene.wait(5).await;
    assert_eq!(scene.state().await, (7, vec![7, 7]));
    let told = scene.rollout(&["undo", "polybot"]).await;
    assert!(told.contains("/7 to ") && told.contains("/2;"), "{told}");
    scene.wait(BOOTED + BAKED).await;
    assert_eq!(scene.state().await, (2, vec![2, 2]));

    // From a version that was come back to, to the one before it.
    scene.roll_out("v1.6.0").await;
    scene.rollout(&["resume", "polybot"]).await;
    scene.name("v1.5.0");
    scene.passes().await;
    scene.wait(BOOTED + BAKED).await;
    assert_eq!(scene.state().await, (7, vec![7, 7]));
    let told = scene.rollout(&["undo", "polybot"]).await;
    assert!(told.contains("/7 to ") && told.contains("/8;"), "{told}");
    scene.wait(BOOTED + BAKED).await;
    assert_eq!(scene.state().await, (8, vec![8, 8]));
    scene.never_too_few().await;
}

/// Its publisher's newest image is no reason to replace a fleet; where it is replaced anyway, it gets that.
#[tokio::test]
async fn a_rollout_brings_the_newest_system_along() {
    let scene = Scene::new().await;
    let versions = LaunchTemplateVersion::list(&View::new(&scene.connect().await.aws)).await.unwrap();
    let live = versions.into_iter().find(|live| live.name == "polybot").unwrap().state;
    let fields = |wish: &LaunchTemplateVersion, live: &LaunchTemplateVersion| {
        let mut wish = wish.clone();
        wish.keep(live);
        wish.changes(live).iter().map(|c| c.field).collect::<Vec<_>>()
    };
    let newest = LaunchTemplateVersion { image: Input::Known("ami-newest".to_owned()), ..live.clone() };
    assert_eq!(fields(&newest, &live), Vec::<&str>::new());
    let other = LaunchTemplateVersion { instance_type: "c7a.xlarge".to_owned(), ..newest.clone() };
    assert_eq!(fields(&other, &live), ["image", "instance_type"]);
    // Nobody knows the newest just now.
    let unknown = LaunchTemplateVersion { image: Input::Absent("denied".to_owned()), ..other };
    assert_eq!(fields(&unknown, &live), ["instance_type"]);
    let withdrawn = LaunchTemplateVersion { image_exists: false, ..live };
    assert_eq!(fields(&newest, &withdrawn), ["image"]);
}

#[tokio::test]
async fn undo_passes_over_a_version_whose_workers_do_not_answer_the_launch_hook() {
    let mut scene = Scene::of(Service::Yolo5).await;
    // A version as it was before there was that hook; it has run.
    let connection = scene.connect().await;
    let versions = LaunchTemplateVersion::list(&View::new(&connection.aws)).await.unwrap();
    let mut old = versions.into_iter().find(|live| live.name == "yolo5").unwrap().state;
    let lines = old.user_data.template.lines().filter(|line| !line.contains(LAUNCH_HOOK));
    old.user_data.template = lines.flat_map(|line| [line, "\n"]).collect();
    let address = (RESOURCE.to_owned(), "launch_template_version/yolo5".to_owned());
    let old = old.create(&connection.aws, &Tags::from([address])).await.unwrap();
    let to = aws_sdk_autoscaling::types::LaunchTemplateSpecification::builder().launch_template_id(&old.template);
    let to = to.version(old.number.to_string()).build();
    let to = aws_sdk_autoscaling::types::DesiredConfiguration::builder().launch_template(to).build();
    let start = connection.aws.autoscaling.start_instance_refresh().auto_scaling_group_name(scene.group());
    let how = aws_sdk_autoscaling::types::RefreshPreferences::builder();
    let how = how.min_healthy_percentage(100).max_healthy_percentage(200).build();
    start.desired_configuration(to).preferences(how).send().await.unwrap();
    scene.world.aws.advance(BOOTED + BAKED).await.unwrap();
    assert_eq!(scene.state().await, (3, vec![3, 3]));

    scene.roll_out("v1.1.0").await;
    let status = scene.rollout(&["status"]).await;
    assert!(status.contains("(no launch hook)"), "{status}");
    let told = scene.rollout(&["undo", "yolo5"]).await;
    assert!(told.contains("/4 to ") && told.contains("/2;"), "{told}");
}

#[tokio::test]
async fn words_do_not_take_each_others_place_and_what_is_on_its_way_back_is_left() {
    let mut scene = Scene::new().await;
    scene.roll_out("v1.1.0").await;
    scene.rollout(&["undo", "polybot"]).await;
    scene.wait(BOOTED + BAKED).await;
    assert_eq!(scene.state().await, (2, vec![2, 2]));
    scene.rollout(&["pause", "polybot"]).await;
    let told = scene.rollout(&["resume", "polybot"]).await;
    assert!(told.contains("`pause` is lifted") && told.contains("was undone"), "{told}");
    scene.wait(BOOTED + BAKED).await;
    assert_eq!(scene.state().await, (2, vec![2, 2]), "what was undone stays so");
    let told = scene.rollout(&["resume", "polybot"]).await;
    assert!(told.contains("`undo ") && told.contains("an instance refresh has begun"), "{told}");
    scene.wait(BOOTED + BAKED).await;
    assert_eq!(scene.state().await, (3, vec![3, 3]));

    // One that fails goes back by itself; `pause` would leave it half-way.
    scene.unhealthy(&[4]).await;
    scene.want("v1.2.0").await;
    scene.passes().await;
    scene.world.aws.advance(FAILED - 300).await.unwrap();
    let mut moments = 0;
    while !scene.step().await.1.contains("RollbackInProgress") {
        scene.world.aws.advance(5).await.unwrap();
        moments += 1;
        assert!(moments < 20, "{:?}", scene.step().await);
    }
    let told = scene.rollout(&["pause", "polybot"]).await;
    assert!(told.contains("ends by itself") && !told.contains("broken off"), "{told}");
    scene.wait(BOOTED).await;
    assert_eq!(scene.state().await, (3, vec![3, 3]));
    assert!(scene.rollout(&["status"]).await.contains("RollbackSuccessful"));
    scene.never_too_few().await;
}

#[tokio::test]
async fn an_undo_that_does_not_work_at_once_is_noted_and_can_be_tried_again() {
    let mut scene = Scene::new().await;
    scene.roll_out("v1.1.0").await;
    let refuse = async |what| scene.world.aws.switch("refuse", what).await.unwrap();
    refuse(json!({ "autoscaling:StartInstanceRefresh": "ResourceContention" })).await;
    let told = scene.rollout(&["undo", "polybot"]).await;
    assert!(told.contains("this is noted, and the next pass does it") && told.contains("ResourceContention"), "{told}");
    refuse(json!({})).await;
    scene.unhealthy(&[2]).await;
    scene.passes().await;
    assert_eq!(scene.refreshes().await, 2, "the next pass has done it");
    scene.wait(FAILED).await;
    assert_eq!(scene.state().await, (3, vec![3, 3]));
    assert!(scene.step().await.1.contains("its last rollout failed"), "{:?}", scene.step().await);
    scene.unhealthy(&[]).await;
    let told = scene.rollout(&["retry", "polybot"]).await;
    assert!(told.contains("an instance refresh has begun"), "{told}");
    scene.wait(BOOTED + BAKED).await;
    assert_eq!(scene.state().await, (2, vec![2, 2]));
    scene.never_too_few().await;
}

#[tokio::test]
async fn what_runs_and_what_may_be_gone_back_to_stays_in_the_registry() {
    let mut scene = Scene::new().await;
    scene.roll_out("v1.1.0").await;
    let connection = scene.connect().await;
    for n in 0..12 {
        scene.world.push_images(&connection, &format!("v0.{n}.0")).await;
    }
    scene.passes().await;
    let url = format!("{}/_local/expire", scene.world.aws.endpoint());
    let gone: Vec<String> = reqwest::Client::new().post(url).send().await.unwrap().json().await.unwrap();
    assert!(gone.contains(&format!("{GROUP}:v0.0.0")), "{gone:?}");
    let stored = controller::facts::stored(&connection.aws, GROUP).await.unwrap();
    for version in [2, 3] {
        assert!(stored.contains_key(&image_of(&connection, version).await), "{version} of {gone:?}");
    }
    assert_eq!(scene.step().await.0, "settled");
    scene.rollout(&["undo", "polybot"]).await;
    scene.wait(BOOTED + BAKED).await;
    assert_eq!(scene.state().await, (2, vec![2, 2]));

    // Registries are emptied by hand too. Nothing goes back to what cannot be pulled.
    scene.rollout(&["resume", "polybot"]).await;
    scene.wait(BOOTED + BAKED).await;
    assert_eq!(scene.state().await, (3, vec![3, 3]));
    let old = aws_sdk_ecr::types::ImageIdentifier::builder().image_tag("v1.0.0").build();
    let delete = connection.aws.ecr.batch_delete_image().repository_name(GROUP).image_ids(old);
    delete.send().await.unwrap();
    let status = scene.rollout(&["status"]).await;
    assert!(status.contains("(image gone)"), "{status}");
    let undo = scene.command(&["rollout", "undo", "polybot"]).output().await.unwrap();
    let told = both(&undo);
    assert!(!undo.status.success() && told.contains("no good version") && told.contains("nothing was done"), "{told}");
    assert!(told.contains("/2: image gone"), "{told}");
}

#[tokio::test]
async fn a_controller_killed_at_any_call_of_a_rollout_ends_in_the_right_version() {
    let mut scene = Scene::new().await;
    // The calls of a rollout: what keeps its image, the version, the refresh, and what remembers it.
    let mut killed = 0;
    for hold in ["hold_before", "hold_after"] {
        for n in 1.. {
            let tag = format!("v2.{n}.{}", u32::from(hold == "hold_after"));
            scene.want(&tag).await;
            let held = scene.killed_at(hold, n, &["apply", "--yes", "--once", "--lease", "1s"]).await;
            scene.ends_in(&tag, &format!("{hold} {n}")).await;
            if !held {
                break;
            }
            killed += 1;
        }
    }
    assert!(killed >= 8, "{killed}");
    scene.never_too_few().await;
}

#[tokio::test]
async fn a_controller_killed_before_a_call_by_which_one_version_supersedes_another_ends_in_the_right_one() {
    killed_while_superseding("hold_before").await;
}

#[tokio::test]
async fn a_controller_killed_after_a_call_by_which_one_version_supersedes_another_ends_in_the_right_one() {
    killed_while_superseding("hold_after").await;
}

async fn killed_while_superseding(hold: &str) {
    let mut scene = Scene::new().await;
    for n in 1.. {
        scene.want(&format!("v3.{n}.0")).await;
        scene.passes().await;
        scene.wait(BOOTED).await;
        assert!(scene.step().await.1.contains("Baking"), "{:?}", scene.step().await);
        let tag = format!("v3.{n}.1");
        scene.want(&tag).await;
        let held = scene.killed_at(hold, n, &["apply", "--yes", "--once", "--lease", "1s"]).await;
        scene.ends_in(&tag, &format!("{hold} {n}")).await;
        if !held {
            assert!(n > 3, "{n}");
            break;
        }
    }
    scene.never_too_few().await;
}

#[tokio::test]
async fn a_command_killed_while_it_undoes_has_undone_or_not() {
    let mut scene = Scene::new().await;
    scene.roll_out("v1.1.0").await;
    for hold in ["hold_before", "hold_after"] {
        for n in 1.. {
            let held = scene.killed_at(hold, n, &["rollout", "undo", "polybot"]).await;
            scene.passes().await;
            scene.wait(BOOTED + BAKED).await;
            let (version, serving) = scene.state().await;
            assert_eq!(serving, [version, version], "{hold} {n}");
            let (word, why) = scene.step().await;
            let undone = word == "blocked" && why.contains("/3 was undone");
            assert!(if version == 3 { word == "settled" } else { version == 2 && undone }, "{hold} {n}: {word} {why}");
            // Said again, it is done; then the spec has its way again.
            if version == 3 {
                scene.rollout(&["undo", "polybot"]).await;
                scene.wait(BOOTED + BAKED).await;
            }
            assert_eq!(scene.state().await, (2, vec![2, 2]), "{hold} {n}");
            scene.rollout(&["resume", "polybot"]).await;
            scene.wait(BOOTED + BAKED).await;
            assert_eq!(scene.state().await, (3, vec![3, 3]), "{hold} {n}");
            if !held {
                assert!(n > 2, "{n}");
                break;
            }
        }
    }
    scene.never_too_few().await;
}

#[tokio::test]
async fn a_rollout_that_may_do_with_half_the_instances_takes_no_more() {
    let mut scene = Scene::new().await;
    let rollout = &mut scene.spec.spec.polybot.rollout;
    (rollout.min_healthy_percent, rollout.max_healthy_percent) = (50, 100);
    scene.want("v1.1.0").await;
    scene.passes().await;
    scene.wait(BOOTED).await;
    scene.wait(BOOTED + BAKED).await;
    scene.wait(BAKED).await;
    assert_eq!(scene.state().await, (3, vec![3, 3]));
    scene.never_fewer_than(REPLICAS / 2).await;
    let moments = scene.world.aws.moments(GROUP).await.unwrap();
    assert!(moments.iter().any(|m| m.healthy < REPLICAS), "there is no room for one more");
}

impl Scene {
    /// Lets AWS hold the nth write of a command, before it has acted or after, and kills it there. Whether it came so far.
    async fn killed_at(&self, hold: &str, n: usize, command: &[&str]) -> bool {
        self.world.aws.switch(hold, json!(n)).await.unwrap();
        let mut child = self.command(command).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let held = tokio::select! {
            held = self.world.aws.held() => { held.unwrap(); true }
            ended = child.wait() => { ended.unwrap(); false }
        };
        // SIGKILL; what was held is lost for good.
        let _ = child.start_kill();
        child.wait().await.unwrap();
        self.world.aws.switch(hold, json!(0)).await.unwrap();
        held
    }

    /// After some passes, every instance runs the image of that tag, and nothing is left to be done.
    async fn ends_in(&self, tag: &str, when: &str) {
        self.passes().await;
        // What is on its way is broken off first, and what comes instead begins with the pass that sees it.
        for seconds in [5, BOOTED + BAKED, BOOTED + BAKED] {
            self.wait(seconds).await;
        }
        let connection = self.connect().await;
        let plan = plan(&connection).await;
        assert!(plan.steps.iter().all(|s| !matches!(s.action, Action::Blocked(..))), "{when}: {plan}");
        let (version, serving) = self.state().await;
        assert_eq!(serving, [version, version], "{when}");
        assert_eq!(self.step().await.0, "settled", "{when}");
        assert_eq!(image_of(&connection, version).await, self.digest(&connection, tag).await, "{when}");
    }

    async fn digest(&self, connection: &Connection, tag: &str) -> String {
        let id = aws_sdk_ecr::types::ImageIdentifier::builder().image_tag(tag).build();
        let call = connection.aws.ecr.describe_images().repository_name(GROUP).image_ids(id);
        call.send().await.unwrap().image_details()[0].image_digest().unwrap().to_owned()
    }
}

/// The digest of the image that a version runs.
async fn image_of(connection: &Connection, version: i64) -> String {
    let plan = plan(connection).await;
    let of = |f: &&controller::engine::Found| {
        f.address.to_string() == "launch_template_version/polybot" && f.id.ends_with(&format!("/{version}"))
    };
    let found = plan.found.iter().find(of).unwrap();
    let state = found.state::<controller::kinds::launch_template_version::LaunchTemplateVersion>().unwrap();
    let container = controller::kinds::launch_template_version::container(&state.user_data.template);
    container.unwrap().split('@').nth(1).unwrap().to_owned()
}
