//! Workers as instances of an Auto Scaling group, with metadata of their own: they are killed, drained and taken back under load.

use crate::{
    sample,
    worker::{World, job, names, terminate},
};
use aws_sdk_autoscaling::types::LaunchTemplateSpecification;
use std::{collections::BTreeSet, time::Duration};
use tokio::process::{Child, Command};

const GROUP: &str = "fleet";
/// Longer than anything here takes.
const SOON: Duration = Duration::from_mins(2);

struct Fleet {
    world: World,
    autoscaling: aws_sdk_autoscaling::Client,
    instances: Vec<String>,
}

impl Fleet {
    async fn new(world: World, size: i32) -> Self {
        let config = world.aws.config("us-east-1");
        let (ec2, autoscaling) = (aws_sdk_ec2::Client::new(&config), aws_sdk_autoscaling::Client::new(&config));
        let images = ec2.describe_images().send().await.unwrap();
        let data = aws_sdk_ec2::types::RequestLaunchTemplateData::builder()
            .image_id(images.images()[0].image_id().unwrap())
            .instance_type(aws_sdk_ec2::types::InstanceType::T3Medium);
        let template = ec2.create_launch_template().launch_template_name(GROUP).launch_template_data(data.build());
        template.send().await.unwrap();
        let template = LaunchTemplateSpecification::builder().launch_template_name(GROUP).version("1").build();
        let group = autoscaling.create_auto_scaling_group().auto_scaling_group_name(GROUP).launch_template(template);
        let group = group.min_size(0).max_size(size).desired_capacity(size).availability_zones("us-east-1a");
        group.send().await.unwrap();
        let hook = autoscaling.put_lifecycle_hook().auto_scaling_group_name(GROUP).lifecycle_hook_name("leaving");
        let hook = hook.lifecycle_transition("autoscaling:EC2_INSTANCE_TERMINATING").heartbeat_timeout(300);
        hook.default_result("CONTINUE").send().await.unwrap();
        let mut fleet = Self { world, autoscaling, instances: vec![] };
        fleet.instances = fleet.living().await.into_iter().map(|(id, _)| id).collect();
        fleet
    }

    /// The instances of the group that are not terminated, and whether each is protected from scale-in.
    async fn living(&self) -> Vec<(String, bool)> {
        let got = self.autoscaling.describe_auto_scaling_groups().auto_scaling_group_names(GROUP).send().await.unwrap();
        let instances = got.auto_scaling_groups()[0].instances();
        let one = |i: &aws_sdk_autoscaling::types::Instance| {
            (i.instance_id().unwrap().to_owned(), i.protected_from_scale_in() == Some(true))
        };
        instances.iter().map(one).collect()
    }

    /// The instances and where in their lives they are.
    async fn states(&self) -> Vec<(String, String)> {
        let fleet = self.world.aws.fleet().await.unwrap();
        let text = |v: &serde_json::Value| v.as_str().unwrap().to_owned();
        fleet[GROUP]["instances"].as_array().unwrap().iter().map(|i| (text(&i["id"]), text(&i["state"]))).collect()
    }

    /// Waits until the group is as it should be.
    async fn until(&self, what: &str, is_so: impl Fn(&[(String, bool)]) -> bool) {
        let look = async {
            while !is_so(&self.living().await) {
                // Nothing tells when a group changes.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(SOON, look).await.unwrap_or_else(|_| panic!("{what} did not happen"));
    }

    fn worker(&self, instance: &str, args: &[&str]) -> Child {
        self.command(instance, args).spawn().unwrap()
    }

    fn command(&self, instance: &str, args: &[&str]) -> Command {
        let metadata = format!("{}/_local/imds/{instance}", self.world.aws.endpoint());
        let mut command = self.world.command();
        command.args(args).env("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata);
        command.env("SCALING_GROUP", GROUP).env("TERMINATION_HOOK", "leaving");
        command
    }

    async fn jobs(&self, name: &str, count: usize) -> BTreeSet<String> {
        let ids: BTreeSet<_> = (0..count).map(|n| format!("{name}-{n}")).collect();
        for id in &ids {
            self.world.send(job(id, "images/7/11.jpg").to_json()).await;
        }
        ids
    }
}

async fn picture(world: &World) {
    world.put("images/7/11.jpg", std::fs::read(sample("coffee.jpg")).unwrap()).await;
}

#[tokio::test]
async fn workers_killed_and_taken_back_under_load_answer_each_job_once() {
    let world = World::with_visibility(100, 5).await;
    picture(&world).await;
    let fleet = Fleet::new(world, 2).await;
    let [killed, taken] = &fleet.instances[..] else { panic!("{:?}", fleet.instances) };
    let mut all = fleet.jobs("load", 40).await;
    let mut first = fleet.worker(killed, &["--streams", "1"]);
    let mut other = fleet.worker(taken, &["--streams", "1"]);
    let mut answers = fleet.world.answers(names(&["load-0"])).await;
    assert!(answers.len() < 35, "the load is still there when it begins");

    fleet.world.aws.switch("spot_interrupted", serde_json::json!([taken])).await.unwrap();
    first.kill().await.unwrap();
    let mut first = fleet.worker(killed, &["--streams", "1"]);
    // What comes while one of them drains, and after it has.
    all.extend(fleet.jobs("late", 10).await);
    let missing = all.iter().filter(|id| !answers.contains_key(*id)).cloned().collect();
    for (id, more) in fleet.world.answers(missing).await {
        answers.entry(id).or_default().extend(more);
    }
    assert_eq!(answers.keys().cloned().collect::<BTreeSet<_>>(), all);
    let doubled: usize = answers.values().map(|all| all.len() - 1).sum();
    // Who is killed between the answer and the deletion of the job answers again; the bot takes an answer once.
    assert!(doubled <= 2, "{doubled} answers too many; at most those that the killed one had in hand");
    assert!(other.try_wait().unwrap().is_none(), "a drained worker waits for its instance's end");
    for worker in [&mut first, &mut other] {
        terminate(worker);
        assert!(tokio::time::timeout(SOON, worker.wait()).await.expect("an end").unwrap().success());
    }
}

#[tokio::test]
async fn a_worker_whose_instance_the_group_terminates_finishes_completes_the_hook_and_idles() {
    let world = World::with_visibility(100, 5).await;
    picture(&world).await;
    let fleet = Fleet::new(world, 2).await;
    let [leaving, staying] = &fleet.instances[..] else { panic!("{:?}", fleet.instances) };
    let mut all = fleet.jobs("load", 20).await;
    let mut drained = fleet.worker(leaving, &["--streams", "1"]);
    let mut answers = fleet.world.answers(names(&["load-0"])).await;
    let leave = fleet.autoscaling.terminate_instance_in_auto_scaling_group().instance_id(leaving);
    leave.should_decrement_desired_capacity(true).send().await.unwrap();
    fleet.until("the completion of the hook", |living| living.iter().all(|(id, _)| id != leaving)).await;
    let calls = fleet.world.aws.calls().await.unwrap();
    assert_eq!(calls.iter().filter(|call| *call == "autoscaling:CompleteLifecycleAction").count(), 1);
    assert!(drained.try_wait().unwrap().is_none(), "a drained worker waits for its instance's end");

    // What is left, and what comes now, is for the one that stays.
    all.extend(fleet.jobs("late", 3).await);
    let _other = fleet.worker(staying, &[]);
    let missing = all.iter().filter(|id| !answers.contains_key(*id)).cloned().collect();
    for (id, more) in fleet.world.answers(missing).await {
        answers.entry(id).or_default().extend(more);
    }
    assert_eq!(answers.keys().cloned().collect::<BTreeSet<_>>(), all);
    assert!(answers.values().all(|all| all.len() == 1), "each job is answered once");
    terminate(&drained);
    assert!(tokio::time::timeout(SOON, drained.wait()).await.expect("an end").unwrap().success());
}

#[tokio::test]
async fn an_instance_serves_when_its_worker_is_ready_and_one_without_a_worker_never_does() {
    let world = World::with_visibility(100, 5).await;
    picture(&world).await;
    let fleet = Fleet::new(world, 2).await;
    fleet.world.aws.switch("real_workers", true.into()).await.unwrap();
    let hook = fleet.autoscaling.put_lifecycle_hook().auto_scaling_group_name(GROUP).lifecycle_hook_name("arriving");
    let hook = hook.lifecycle_transition("autoscaling:EC2_INSTANCE_LAUNCHING").heartbeat_timeout(600);
    hook.default_result("ABANDON").send().await.unwrap();
    // Those that came before the hook are not held by it.
    let [first, lost] = &fleet.instances[..] else { panic!("{:?}", fleet.instances) };
    let _first = fleet.worker(first, &[]);
    let leave = fleet.autoscaling.terminate_instance_in_auto_scaling_group().instance_id(lost);
    leave.should_decrement_desired_capacity(false).send().await.unwrap();
    let comes = async {
        loop {
            let states = fleet.states().await;
            let new = states.iter().find(|(id, _)| !fleet.instances.contains(id));
            if let Some((id, state)) = new {
                assert_eq!(state, "Pending:Wait");
                return id.clone();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let new = tokio::time::timeout(SOON, comes).await.expect("another instance");
    let ready = || fleet.command(&new, &[]).env("LAUNCH_HOOK", "arriving").spawn().unwrap();
    let mut worker = ready();
    let serves = async {
        while !fleet.states().await.contains(&(new.clone(), "InService".to_owned())) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(SOON, serves).await.expect("the completion of the hook");
    // Its container is started again: there is nothing to complete any more, and it works.
    worker.kill().await.unwrap();
    let _worker = ready();
    let ids = fleet.jobs("after", 4).await;
    assert!(fleet.world.answers(ids).await.values().all(|all| !all.is_empty()));
}

#[tokio::test]
async fn what_cannot_be_finished_in_time_goes_back_to_the_queue_at_once() {
    // A message that were not given back would be seen again in ten minutes.
    let world = World::with_visibility(100, 600).await;
    picture(&world).await;
    let fleet = Fleet::new(world, 1).await;
    fleet.world.aws.switch("hold_before_call", "s3:GET".into()).await.unwrap();
    let ids = fleet.jobs("held", 1).await;
    let mut worker = fleet.worker(&fleet.instances[0], &["--deadline", "1"]);
    tokio::time::timeout(SOON, fleet.world.aws.held()).await.expect("a download").unwrap();
    // While it is in work its instance is not to be scaled in.
    fleet.until("the protection", |living| living[0].1).await;
    terminate(&worker);
    let ended = tokio::time::timeout(SOON, worker.wait()).await.expect("an end");
    assert!(ended.unwrap().success());

    let _next = fleet.worker(&fleet.instances[0], &[]);
    let answers = fleet.world.answers(ids).await;
    assert_eq!(answers["held-0"].len(), 1);
    fleet.until("the end of the protection", |living| !living[0].1).await;
}

#[tokio::test]
async fn a_worker_that_starts_on_an_instance_about_to_go_takes_no_job() {
    let world = World::with_visibility(100, 5).await;
    picture(&world).await;
    let fleet = Fleet::new(world, 2).await;
    let [going, staying] = &fleet.instances[..] else { panic!("{:?}", fleet.instances) };
    fleet.world.aws.switch("spot_interrupted", serde_json::json!([going])).await.unwrap();
    let mut idle = fleet.worker(going, &[]);
    let ids = fleet.jobs("new", 2).await;
    // It has come up when it has told the group that it is idle; were it to take a job, it would have asked for one by then or at its
    // end, and all calls are looked at.
    let mut calls = vec![];
    let told = async {
        while !calls.iter().any(|call| call == "autoscaling:SetInstanceProtection") {
            calls.extend(fleet.world.aws.calls().await.unwrap());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(SOON, told).await.expect("a start");
    terminate(&idle);
    assert!(tokio::time::timeout(SOON, idle.wait()).await.expect("an end").unwrap().success());
    calls.extend(fleet.world.aws.calls().await.unwrap());
    assert!(!calls.iter().any(|call| call == "sqs:ReceiveMessage"), "{calls:?}");
    let _worker = fleet.worker(staying, &[]);
    assert!(fleet.world.answers(ids).await.values().all(|all| all.len() == 1));
}
