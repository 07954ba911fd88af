//! The life of a stack: from nothing to converged, rolled out, destroyed, brought back.

use crate::setting::{World, local_spec, once, plan, settle, settle_for, writes};
use controller::{
    aws::{Leeway, Region},
    engine::{Outcome, Owner},
    keep::{End, Permit, Terms, pass},
    reconcile::{Allow, Connection, Goal},
    spec::{PolybotStack, WebhookOptions},
    stop::Stop,
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

#[tokio::test]
async fn an_account_without_images_gets_everything_but_the_fleets_and_is_told_what_to_push() {
    let world = World::new().await;
    let connection = world.connect(local_spec()).await;
    for _ in 0..4 {
        once(&connection).await;
    }
    let before = plan(&connection).await;
    let waits: Vec<_> = before.steps.iter().filter(|s| s.action.word() == "wait").collect();
    let reason = waits.iter().find(|s| s.address.to_string() == "launch_template_version/polybot").unwrap();
    assert!(reason.action.reason().unwrap().contains("docker push"), "{before}");
    assert_eq!(
        writes(&before),
        [
            "create scaling_group/polybot",
            "create rollout/polybot",
            "create scaling_group/yolo5",
            "create rollout/yolo5",
            "create lifecycle_hook/yolo5-launch",
            "create lifecycle_hook/yolo5-termination",
            "create scaling_policy/yolo5-tracking"
        ]
    );

    world.push_images(&connection, "v1.0.0").await;
    settle(&connection).await;
    assert_eq!(writes(&plan(&connection).await), Vec::<String>::new());
}

#[tokio::test]
async fn a_new_image_is_rolled_out_by_a_refresh_and_a_bad_one_is_not_tried_twice() {
    let world = World::new().await;
    let connection = world.converged(local_spec()).await;
    world.push_images(&connection, "v1.1.0").await;
    let mut spec = local_spec();
    spec.spec.polybot.image.tag = Some("v1.1.0".to_owned());
    let connection = world.connect(spec.clone()).await;
    assert_eq!(
        writes(&plan(&connection).await),
        ["update repository/polybot", "replace launch_template_version/polybot", "update rollout/polybot"],
        "the new image is kept in the registry, and reaches the instances"
    );
    settle(&connection).await;

    // Version 1 is empty, 2 and 3 are live and former: the next is 4, and it never gets healthy.
    world.push_images(&connection, "v1.2.0").await;
    world.aws.switch("unhealthy_versions", serde_json::json!([4])).await.unwrap();
    spec.spec.polybot.image.tag = Some("v1.2.0".to_owned());
    let connection = world.connect(spec).await;
    let blocked = loop {
        let report = once(&connection).await;
        if report.blocked() {
            break report;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    };
    let (step, outcome) = blocked.steps.iter().find(|(_, o)| matches!(o, Outcome::Blocked(_))).unwrap();
    assert_eq!(step.address.to_string(), "rollout/polybot");
    assert!(matches!(outcome, Outcome::Blocked(why) if why.contains("last rollout failed")), "{outcome:?}");
    for _ in 0..10 {
        assert!(!once(&connection).await.wrote(), "a version that failed is not tried again by itself");
    }
}

#[tokio::test]
async fn destroy_keeps_data_and_the_next_apply_takes_it_back() {
    let world = World::new().await;
    let connection = world.converged(local_spec()).await;
    let s3 = &connection.aws.s3;
    let bucket = connection.aws.known.bucket.clone();
    s3.put_object().bucket(&bucket).key("images/1/1.jpg").body(b"picture".to_vec().into()).send().await.unwrap();

    settle_for(&connection, Goal::Destroy, &Allow::default()).await;
    let (_, left) = connection.look(Goal::Destroy, &Allow::default()).await;
    let kinds: std::collections::BTreeSet<_> = left.found.iter().map(|f| f.address.kind).collect();
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["bucket", "repository", "secret", "table"]);

    settle(&connection).await;
    s3.get_object().bucket(&bucket).key("images/1/1.jpg").send().await.unwrap();

    let all = Allow { with_data: vec!["all".to_owned()], replace: vec![] };
    settle_for(&connection, Goal::Destroy, &all).await;
    let (_, left) = connection.look(Goal::Destroy, &all).await;
    assert_eq!(left.steps.len(), 0, "{left}");

    // The secrets are in their recovery window now, and the names of the queues may be: an apply takes both in its stride.
    // The registry is empty again, so the fleets need their images once more.
    once(&connection).await;
    world.push_images(&connection, "v1.0.0").await;
    settle(&connection).await;
}

#[tokio::test]
async fn an_address_that_nobody_confirms_is_no_work_without_end() {
    let world = World::new().await;
    let mut spec = local_spec();
    world.converged(spec.clone()).await;
    // AWS lists it for days, and has no way to end it.
    world.aws.switch("unconfirmed", true.into()).await.unwrap();
    spec.spec.notifications[0].email = "other@example.com".to_owned();
    let c = world.connect(spec).await;
    settle(&c).await;
    let plan = plan(&c).await;
    assert_eq!(writes(&plan), Vec::<String>::new());
    let asked: Vec<_> = plan.found.iter().filter(|f| f.address.kind == "subscription").map(|f| f.id.clone()).collect();
    assert_eq!(asked, ["ops@example.com, not confirmed yet", "other@example.com, not confirmed yet"]);
}

/// Both stacks of production as they stand, but for where the tokens come from.
fn prod() -> Vec<PolybotStack> {
    let files = ["prod", "prod-ohio"].map(|name| format!("../specs/{name}.yaml").into());
    let mut stacks = controller::spec::load::load(&files).unwrap();
    for stack in &mut stacks {
        stack.spec.telegram = local_spec().spec.telegram;
        stack.spec.telegram.webhook = WebhookOptions::default();
    }
    stacks
}

#[tokio::test]
async fn both_stacks_of_production_live_in_one_account_and_go_one_by_one() {
    let world = World::new().await;
    let [east, ohio] = <[_; 2]>::try_from(prod()).unwrap();
    let east = world.converged(east).await;
    let ohio = world.converged(ohio).await;
    assert_eq!(writes(&plan(&east).await), Vec::<String>::new());
    assert_eq!(writes(&plan(&ohio).await), Vec::<String>::new());

    let all = Allow { with_data: vec!["all".to_owned()], replace: vec![] };
    for (gone, stays) in [(&ohio, &east), (&east, &ohio)] {
        settle_for(gone, Goal::Destroy, &all).await;
        let (_, left) = gone.look(Goal::Destroy, &all).await;
        assert_eq!(left.steps.len(), 0, "{left}");
        if gone.aws.region == "us-east-2" {
            assert_eq!(writes(&plan(stays).await), Vec::<String>::new(), "the other stack is untouched");
        }
    }
}

/// `run` and the operator read the lists of a region once for all its stacks: neither may see another's as its own.
#[tokio::test]
async fn two_stacks_that_share_the_lists_of_a_region_are_made_and_removed_side_by_side() {
    let world = World::new().await;
    let region = Arc::new(Region::with_config(&world.aws.config("us-east-1")).await.unwrap());
    let stack = async |name: &str| {
        let mut stack = local_spec();
        stack.metadata.name = Some(name.to_owned());
        name.clone_into(&mut stack.spec.environment);
        stack.spec.domain.name = format!("{name}.int-devops.click");
        Connection::within(Arc::new(stack), region.clone()).await.unwrap()
    };
    let converge = async |stack: &Connection| {
        once(stack).await;
        world.push_images(stack, "v1.0.0").await;
        settle(stack).await;
    };
    // Each thing by where its tags are, which no other thing has.
    let own = async |stack: &Connection| -> BTreeSet<String> {
        let (_, plan) = stack.look(Goal::Destroy, &Allow::default()).await;
        let ours = plan.found.iter().filter(|found| found.owner == Owner::Ours);
        ours.filter_map(|found| Some(format!("{} {:?}", found.address, found.tag_target.as_ref()?))).collect()
    };
    let (one, other) = (stack("one").await, stack("other").await);
    tokio::join!(converge(&one), converge(&other));
    let (ones, others) = tokio::join!(own(&one), own(&other));
    assert!(ones.len() > 30 && ones.len() == others.len(), "{} and {}", ones.len(), others.len());
    assert_eq!(ones.intersection(&others).collect::<Vec<_>>(), Vec::<&String>::new());

    let removed = async {
        let all = Allow { with_data: vec!["all".to_owned()], replace: vec![] };
        settle_for(&one, Goal::Destroy, &all).await;
    };
    let looked_at = async {
        for _ in 0..20 {
            let leeway = Leeway { lists: Duration::from_mins(5), details: Duration::from_mins(5) };
            let plan = other.glance(leeway, &Allow::default()).await;
            assert_eq!(writes(&plan), Vec::<String>::new());
        }
    };
    tokio::join!(removed, looked_at);
    assert_eq!(own(&other).await, others);
}

/// What AWS tells only of one resource at a time is asked by many stacks no more often than by few.
#[tokio::test]
async fn one_of_a_hundred_stacks_at_rest_is_content_with_what_it_was_told_a_while_ago() {
    let world = World::new().await;
    world.converged(local_spec()).await;
    let (now, hour) = (Duration::ZERO, Duration::from_hours(1));
    // What a glance with that much leeway finds to be done, and how many calls it makes of what stacks share and of the rest.
    let glance = async |c: &Connection, lists, details| {
        world.aws.calls().await.unwrap();
        let plan = c.glance(Leeway { lists, details }, &Allow::default()).await;
        let calls = world.aws.calls().await.unwrap();
        let shared = ["ec2:", "autoscaling:", "elasticloadbalancing:"];
        let (shared, own): (Vec<_>, Vec<_>) = calls.into_iter().partition(|c| shared.iter().any(|s| c.starts_with(s)));
        (writes(&plan), shared.len(), own.len())
    };
    let nothing = Vec::<String>::new;
    let few = world.connect_beside(local_spec(), 9).await;
    let (_, all, _) = glance(&few, now, hour).await;
    let (found, details, own) = glance(&few, hour, hour).await;
    assert_eq!(found, nothing());
    assert!(details > 5 && details < all, "one of ten asks for details each time: {details} of {all}");

    let many = world.connect_beside(local_spec(), 99).await;
    assert_eq!(glance(&many, now, hour).await.1, all);
    assert_eq!(glance(&many, hour, hour).await, (nothing(), 0, own));
    let by_hand = async || {
        let gone = many.aws.autoscaling.delete_lifecycle_hook().auto_scaling_group_name("talo-local-yolo5");
        gone.lifecycle_hook_name("talo-local-yolo5-termination").send().await.unwrap();
    };
    by_hand().await;
    assert_eq!(glance(&many, hour, hour).await, (nothing(), 0, own), "not yet");
    let mended = vec!["create lifecycle_hook/yolo5-termination".to_owned()];
    assert_eq!(glance(&many, hour, now).await, (mended.clone(), details, own), "when its turn comes");

    // What it has changed itself it sees at once; and all that is there, when it is to be carried out.
    settle(&many).await;
    assert_eq!(glance(&many, hour, hour).await.0, nothing());
    by_hand().await;
    assert_eq!(writes(&plan(&many).await), mended);
}

/// A detail that is asked for in vain, because what it is of has gone since the list was read, is no trouble.
#[tokio::test]
async fn what_went_since_the_list_was_read_is_looked_for_anew() {
    let world = World::new().await;
    let c = world.connect_beside(local_spec(), 99).await;
    once(&c).await;
    world.push_images(&c, "v1.0.0").await;
    settle(&c).await;
    let leeway = Leeway { lists: Duration::from_hours(1), details: Duration::from_secs(1) };
    let terms = Terms { leeway, permit: Permit::Nothing, ..Terms::default() };
    assert_eq!(pass(&c, &terms, &(), &Stop::default()).await.seen.summary.writes(), 0);
    let found = c.aws.elb.describe_target_groups().send().await.unwrap();
    let group = found.target_groups()[0].target_group_arn().unwrap();
    let listeners = c.aws.elb.describe_load_balancers().send().await.unwrap();
    let balancer = listeners.load_balancers()[0].load_balancer_arn().unwrap();
    for listener in c.aws.elb.describe_listeners().load_balancer_arn(balancer).send().await.unwrap().listeners() {
        c.aws.elb.delete_listener().listener_arn(listener.listener_arn().unwrap()).send().await.unwrap();
    }
    c.aws.elb.delete_target_group().target_group_arn(group).send().await.unwrap();
    let terms = Terms { leeway: Leeway { details: Duration::from_nanos(1), ..leeway }, ..terms };
    let seen = pass(&c, &terms, &(), &Stop::default()).await.seen;
    assert!(seen.rows.iter().all(|row| row.state != "unknown"), "{:?}", seen.summary);
    assert!(seen.steps.iter().any(|step| step.contains("target_group/polybot")), "{:?}", seen.steps);
}

#[tokio::test]
async fn a_queue_cool_down_and_a_denied_service_hold_up_nothing_else() {
    let world = World::new().await;
    let connection = world.converged(local_spec()).await;
    settle_for(&connection, Goal::Destroy, &Allow::default()).await;
    world.aws.switch("queue_cooldown", serde_json::json!(3600.0)).await.unwrap();
    world.aws.switch("deny", serde_json::json!(["sns:*"])).await.unwrap();
    let pass_three_times = async || {
        for _ in 0..3 {
            once(&connection).await;
        }
        let plan = plan(&connection).await;
        let unknown = plan.steps.iter().filter(|s| s.action.word() == "unknown").map(|s| s.address.to_string());
        (unknown.collect::<Vec<_>>(), plan)
    };
    // However soon the passes come, the queues cannot be made again yet. What has their addresses waits for them.
    let (unknown, plan) = pass_three_times().await;
    assert_eq!(unknown, ["topic/scaling", "subscription/email-ops@example.com"], "{plan}");
    assert!(writes(&plan).iter().any(|write| write.contains("queue/identify")), "{plan}");
    assert!(plan.found.iter().any(|f| f.address.to_string() == "load_balancer/bot"), "the rest went on");

    world.aws.switch("queue_cooldown", serde_json::json!(0.0)).await.unwrap();
    let (unknown, plan) = pass_three_times().await;
    // Alarms tell the topic, and a rollout is watched by alarms.
    assert_eq!(unknown, ["topic/scaling", "subscription/email-ops@example.com", "rollout/polybot"], "{plan}");

    world.aws.switch("deny", serde_json::json!([])).await.unwrap();
    settle(&connection).await;
}

/// The fleet's templates hold the queue's address. It is known only when the queue is there again, and is the same then.
#[tokio::test]
async fn a_queue_deleted_by_hand_comes_back_and_rolls_no_fleet() {
    let world = World::new().await;
    let c = world.converged(local_spec()).await;
    let state = async || {
        let versions = c.aws.ec2.describe_launch_template_versions().launch_template_name("talo-local-yolo5");
        let refreshes = c.aws.autoscaling.describe_instance_refreshes().auto_scaling_group_name("talo-local-yolo5");
        let (versions, refreshes) = (versions.send().await.unwrap(), refreshes.send().await.unwrap());
        (versions.launch_template_versions().len(), refreshes.instance_refreshes().len())
    };
    let before = state().await;
    let queue = c.aws.sqs.get_queue_url().queue_name("talo-local-identify").send().await.unwrap();
    c.aws.sqs.delete_queue().queue_url(queue.queue_url.unwrap()).send().await.unwrap();
    let told = plan(&c).await.to_string();
    assert!(told.contains("IDENTIFY_QUEUE_URL=(known after queue/identify)"), "{told}");
    settle(&c).await;
    assert_eq!(writes(&plan(&c).await), Vec::<String>::new());
    assert_eq!(state().await, before);
}

#[tokio::test]
async fn a_hundred_passes_beside_an_autoscaler_at_work_write_nothing_and_a_hand_is_mended_in_one() {
    let world = World::new().await;
    let c = world.converged(local_spec()).await;
    let terms = Terms { lease: Some(std::time::Duration::from_mins(1)), ..Terms::default() };
    let (stop, fleet) = (controller::stop::Stop::default(), "talo-local-yolo5");
    world.aws.calls().await.unwrap();
    for n in 0..100 {
        let size = c.aws.autoscaling.set_desired_capacity().auto_scaling_group_name(fleet);
        size.desired_capacity(1 + n % 3).send().await.unwrap();
        world.aws.calls().await.unwrap();
        // The webhook waits for a Telegram that is not there.
        assert_eq!(pass(&c, &terms, &(), &stop).await.end, End::Waiting);
        let writes: Vec<_> =
            world.aws.calls().await.unwrap().into_iter().filter(|call| !local::aws::reads(call)).collect();
        assert_eq!(writes, Vec::<String>::new(), "pass {n}");
    }
    c.aws
        .sns
        .set_topic_attributes()
        .topic_arn("arn:aws:sns:us-east-1:123456789012:talo-local-scaling")
        .attribute_name("DisplayName")
        .attribute_value("other")
        .send()
        .await
        .unwrap();
    assert_eq!(pass(&c, &terms, &(), &stop).await.end, End::Wrote);
    assert_eq!(writes(&plan(&c).await), Vec::<String>::new());
}
