//! Each rule of real AWS that the local one adds, seen through the SDK.

use aws_sdk_autoscaling::types::{LaunchTemplateSpecification as Template, LifecycleHookSpecification};
use aws_sdk_ec2::{error::ProvideErrorMetadata, types::RequestLaunchTemplateData};
use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, Certificate, LoadBalancerAttribute, LoadBalancerSchemeEnum, ProtocolEnum,
};
use aws_sdk_route53::types::{Change, ChangeAction, ChangeBatch, ResourceRecord, ResourceRecordSet, RrType};
use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName};
use local::aws::{LocalAws, ZONE};
use serde_json::json;
use std::fmt::Debug;

/// The code of the error that this must end with.
fn code<T: Debug, E: ProvideErrorMetadata + Debug>(result: Result<T, E>) -> String {
    result.unwrap_err().code().unwrap_or("none").to_owned()
}

struct Net {
    aws: LocalAws,
    ec2: aws_sdk_ec2::Client,
    elb: aws_sdk_elasticloadbalancingv2::Client,
    vpc: String,
    subnets: Vec<String>,
    group: String,
}

/// A VPC with two subnets, a gateway and a group.
async fn net() -> Net {
    let aws = LocalAws::start().await.unwrap();
    let config = aws.config("us-east-1");
    let ec2 = aws_sdk_ec2::Client::new(&config);
    let vpc = ec2.create_vpc().cidr_block("10.0.0.0/16").send().await.unwrap().vpc.unwrap().vpc_id.unwrap();
    let mut subnets = vec![];
    for (zone, cidr) in [("us-east-1a", "10.0.1.0/24"), ("us-east-1b", "10.0.2.0/24")] {
        let made = ec2.create_subnet().vpc_id(&vpc).availability_zone(zone).cidr_block(cidr).send().await.unwrap();
        subnets.push(made.subnet.unwrap().subnet_id.unwrap());
    }
    let group = ec2.create_security_group().vpc_id(&vpc).group_name("g").description("d").send().await.unwrap();
    let elb = aws_sdk_elasticloadbalancingv2::Client::new(&config);
    Net { aws, ec2, elb, vpc, subnets, group: group.group_id.unwrap() }
}

impl Net {
    async fn balancer(&self, name: &str) -> String {
        let call = self.elb.create_load_balancer().name(name).scheme(LoadBalancerSchemeEnum::InternetFacing);
        let call = call.set_subnets(Some(self.subnets.clone())).security_groups(&self.group);
        call.send().await.unwrap().load_balancers()[0].load_balancer_arn().unwrap().to_owned()
    }
}

#[tokio::test]
async fn what_is_in_use_is_not_deleted() {
    let net = net().await;
    let gateway = net.ec2.create_internet_gateway().send().await.unwrap().internet_gateway.unwrap();
    let gateway = gateway.internet_gateway_id.unwrap();
    let attach = |id: &str| net.ec2.attach_internet_gateway().vpc_id(&net.vpc).internet_gateway_id(id).send();
    attach(&gateway).await.unwrap();
    let second = net.ec2.create_internet_gateway().send().await.unwrap().internet_gateway.unwrap();
    assert_eq!(code(attach(second.internet_gateway_id().unwrap()).await), "InvalidParameterValue", "a VPC has one");

    let balancer = net.balancer("b").await;
    assert_eq!(code(net.ec2.delete_vpc().vpc_id(&net.vpc).send().await), "DependencyViolation");
    assert_eq!(code(net.ec2.delete_subnet().subnet_id(&net.subnets[0]).send().await), "DependencyViolation");
    assert_eq!(code(net.ec2.delete_security_group().group_id(&net.group).send().await), "DependencyViolation");
    let detach = || net.ec2.detach_internet_gateway().vpc_id(&net.vpc).internet_gateway_id(&gateway).send();
    assert_eq!(code(detach().await), "DependencyViolation", "public addresses are mapped");

    let protect = |on: &str| {
        let on = LoadBalancerAttribute::builder().key("deletion_protection.enabled").value(on).build();
        net.elb.modify_load_balancer_attributes().load_balancer_arn(&balancer).attributes(on).send()
    };
    let delete = || net.elb.delete_load_balancer().load_balancer_arn(&balancer).send();
    protect("true").await.unwrap();
    assert_eq!(code(delete().await), "OperationNotPermitted");
    protect("false").await.unwrap();
    delete().await.unwrap();
    detach().await.unwrap();
}

#[tokio::test]
async fn a_certificate_on_a_listener_stays_and_keeps_its_tags_when_it_is_renewed() {
    let net = net().await;
    let acm = aws_sdk_acm::Client::new(&net.aws.config("us-east-1"));
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["a.example.com".to_owned()]).unwrap();
    let pem = certificate.self_signed(&key).unwrap().pem();
    let import = || {
        let call = acm.import_certificate().certificate(aws_sdk_acm::primitives::Blob::new(pem.clone()));
        call.private_key(aws_sdk_acm::primitives::Blob::new(key.serialize_pem()))
    };
    let tag = aws_sdk_acm::types::Tag::builder().key("k").value("v").build().unwrap();
    let arn = import().tags(tag.clone()).send().await.unwrap().certificate_arn.unwrap();
    let renewed = import().certificate_arn(&arn).tags(tag).send().await;
    assert_eq!(code(renewed), "ValidationException", "no tags with a renewal");
    import().certificate_arn(&arn).send().await.unwrap();
    assert_eq!(acm.list_tags_for_certificate().certificate_arn(&arn).send().await.unwrap().tags().len(), 1);

    let balancer = net.balancer("b").await;
    let call = net.elb.create_target_group().name("t").vpc_id(&net.vpc).port(1).protocol(ProtocolEnum::Http);
    let group = call.send().await.unwrap().target_groups()[0].target_group_arn().unwrap().to_owned();
    let forward = Action::builder().r#type(ActionTypeEnum::Forward).target_group_arn(group).build();
    let listener = net.elb.create_listener().load_balancer_arn(balancer).port(8443).protocol(ProtocolEnum::Https);
    let listener = listener.certificates(Certificate::builder().certificate_arn(&arn).build()).default_actions(forward);
    listener.send().await.unwrap();
    assert_eq!(code(acm.delete_certificate().certificate_arn(&arn).send().await), "ResourceInUseException");
}

#[tokio::test]
async fn names_are_unique_and_within_their_limits() {
    let net = net().await;
    let config = net.aws.config("us-east-1");
    net.balancer("b").await;
    let call = || net.elb.create_load_balancer().set_subnets(Some(net.subnets.clone()));
    let internal = call().name("b").scheme(LoadBalancerSchemeEnum::Internal).send().await;
    assert_eq!(code(internal), "DuplicateLoadBalancerName");
    assert_eq!(code(call().name("x".repeat(33)).send().await), "ValidationError");
    let group =
        |name: &str| net.elb.create_target_group().name(name).vpc_id(&net.vpc).port(1).protocol(ProtocolEnum::Http);
    assert_eq!(code(group("-t").send().await), "ValidationError");

    let template = |name: &str| {
        let data = RequestLaunchTemplateData::builder().instance_type("t3.micro".into()).build();
        net.ec2.create_launch_template().launch_template_name(name).launch_template_data(data).send()
    };
    assert_eq!(code(template("ab").await), "InvalidLaunchTemplateName.MalformedException");
    let iam = aws_sdk_iam::Client::new(&config);
    let role = iam.create_role().role_name("r".repeat(65)).assume_role_policy_document("{}").send().await;
    assert_eq!(code(role), "ValidationError");
    assert_eq!(
        code(iam.create_instance_profile().instance_profile_name("p".repeat(129)).send().await),
        "ValidationError"
    );
    let sqs = aws_sdk_sqs::Client::new(&config);
    assert_eq!(code(sqs.create_queue().queue_name("q".repeat(81)).send().await), "InvalidParameterValue");
    let missing = net.ec2.run_instances().image_id("ami-00000000000000000").min_count(1).max_count(1).send().await;
    assert_eq!(code(missing), "InvalidAMIID.NotFound");
}

/// A launch template with the seeded image, and a group of it.
async fn fleet(net: &Net) -> (aws_sdk_autoscaling::Client, String) {
    let image = ubuntu(&net.aws).await;
    let data = RequestLaunchTemplateData::builder().image_id(image).instance_type("t3.micro".into());
    let data = data.security_group_ids(&net.group).user_data("aGVsbG8=").build();
    let call = net.ec2.create_launch_template().launch_template_name("fleet").launch_template_data(data);
    let template = call.send().await.unwrap().launch_template.unwrap().launch_template_id.unwrap();
    let autoscaling = aws_sdk_autoscaling::Client::new(&net.aws.config("us-east-1"));
    create_group(net, &autoscaling, &template, None).await.unwrap();
    (autoscaling, template)
}

async fn create_group(
    net: &Net,
    autoscaling: &aws_sdk_autoscaling::Client,
    template: &str,
    hook: Option<&str>,
) -> Result<(), aws_sdk_autoscaling::Error> {
    let of = Template::builder().launch_template_id(template).version("1").build();
    let call = autoscaling.create_auto_scaling_group().auto_scaling_group_name("fleet").min_size(1).max_size(4);
    let hook = hook.map(|name| {
        let hook = LifecycleHookSpecification::builder().lifecycle_hook_name(name).heartbeat_timeout(600);
        hook.lifecycle_transition("autoscaling:EC2_INSTANCE_LAUNCHING").default_result("ABANDON").build()
    });
    let call = call.health_check_type("ELB").set_lifecycle_hook_specification_list(hook.map(|hook| vec![hook]));
    call.vpc_zone_identifier(net.subnets.join(",")).launch_template(of).send().await?;
    Ok(())
}

async fn ubuntu(aws: &LocalAws) -> String {
    let ssm = aws_sdk_ssm::Client::new(&aws.config("us-east-1"));
    let name = "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id";
    ssm.get_parameter().name(name).send().await.unwrap().parameter.unwrap().value.unwrap()
}

#[tokio::test]
async fn a_group_is_one_of_its_name_and_its_instances_are_what_its_template_says() {
    let net = net().await;
    let (autoscaling, template) = fleet(&net).await;
    let again = create_group(&net, &autoscaling, &template, None).await.unwrap_err();
    assert_eq!(again.code(), Some("AlreadyExists"));
    let instances = net.ec2.describe_instances().send().await.unwrap();
    let instance = &instances.reservations()[0].instances()[0];
    assert_eq!(instance.security_groups()[0].group_id(), Some(net.group.as_str()));

    let sns = aws_sdk_sns::Client::new(&net.aws.config("us-east-1"));
    let topic = sns.create_topic().name("t").send().await.unwrap().topic_arn.unwrap();
    let put = autoscaling.put_notification_configuration().auto_scaling_group_name("fleet").topic_arn(&topic);
    put.notification_types("autoscaling:EC2_INSTANCE_LAUNCH").send().await.unwrap();
    let told = autoscaling.describe_notification_configurations().send().await.unwrap();
    assert_eq!(told.notification_configurations()[0].topic_arn(), Some(topic.as_str()));
    let delete = autoscaling.delete_notification_configuration().auto_scaling_group_name("fleet").topic_arn(topic);
    delete.send().await.unwrap();
    let told = autoscaling.describe_notification_configurations().send().await.unwrap();
    assert!(told.notification_configurations().is_empty());

    let tracking = aws_sdk_autoscaling::types::TargetTrackingConfiguration::builder().target_value(20.0);
    let metric = aws_sdk_autoscaling::types::PredefinedMetricSpecification::builder();
    let metric =
        metric.predefined_metric_type(aws_sdk_autoscaling::types::MetricType::AsgAverageCpuUtilization).build();
    let tracking = tracking.predefined_metric_specification(metric).build();
    let put = autoscaling.put_scaling_policy().auto_scaling_group_name("fleet").policy_name("p");
    let made = put.policy_type("TargetTrackingScaling").target_tracking_configuration(tracking).send().await.unwrap();
    assert_eq!(made.alarms().len(), 2, "AWS makes two alarms");
}

#[tokio::test]
async fn versions_of_a_template_keep_their_user_data_and_their_numbers() {
    let net = net().await;
    let (_, template) = fleet(&net).await;
    let version = |from: &str| {
        let data = RequestLaunchTemplateData::builder().instance_type("t3.small".into()).build();
        let call = net.ec2.create_launch_template_version().launch_template_id(&template).source_version(from);
        call.launch_template_data(data).send()
    };
    version("1").await.unwrap();
    let read = net.ec2.describe_launch_template_versions().launch_template_id(&template).versions("2");
    let two = read.send().await.unwrap().launch_template_versions.unwrap().remove(0).launch_template_data.unwrap();
    assert_eq!((two.user_data(), two.instance_type().unwrap().as_str()), (Some("aGVsbG8="), "t3.small"));
    net.ec2.delete_launch_template_versions().launch_template_id(&template).versions("2").send().await.unwrap();
    let next = version("1").await.unwrap().launch_template_version.unwrap();
    assert_eq!(next.version_number(), Some(3), "a number is never used again");
}

#[tokio::test]
async fn a_refresh_takes_time_fails_goes_back_is_cancelled_and_keeps_as_many_healthy_as_it_must() {
    let net = net().await;
    net.aws.switch("clock_rate", json!(0)).await.unwrap();
    let (autoscaling, template) = fleet(&net).await;
    let data = RequestLaunchTemplateData::builder().instance_type("t3.small".into()).build();
    let next = net.ec2.create_launch_template_version().launch_template_id(&template).source_version("1");
    next.launch_template_data(data).send().await.unwrap();
    net.aws.advance(60).await.unwrap();
    let start = || {
        let to = Template::builder().launch_template_id(&template).version("2").build();
        let to = aws_sdk_autoscaling::types::DesiredConfiguration::builder().launch_template(to).build();
        let how = aws_sdk_autoscaling::types::RefreshPreferences::builder().auto_rollback(true).skip_matching(true);
        let how = how.min_healthy_percentage(100).max_healthy_percentage(200).bake_time(300).build();
        let call = autoscaling.start_instance_refresh().auto_scaling_group_name("fleet").preferences(how);
        call.desired_configuration(to).send()
    };
    // The status, the version that the group names, and those of its instances.
    let state = async || {
        let all = autoscaling.describe_instance_refreshes().auto_scaling_group_name("fleet").send().await.unwrap();
        let status = all.instance_refreshes()[0].status().unwrap().as_str().to_owned();
        let all = autoscaling.describe_auto_scaling_groups().send().await.unwrap();
        let group = &all.auto_scaling_groups()[0];
        let of = |t: Option<&Template>| t.unwrap().version().unwrap().to_owned();
        let instances: Vec<_> = group.instances().iter().map(|i| of(i.launch_template())).collect();
        format!("{status} {} [{}]", of(group.launch_template()), instances.join(" "))
    };
    let advance = async |seconds| drop(net.aws.advance(seconds).await.unwrap());

    start().await.unwrap();
    assert_eq!(code(start().await), "InstanceRefreshInProgress");
    advance(5).await;
    assert_eq!(state().await, "InProgress 1 [1 2]");
    let update = autoscaling.update_auto_scaling_group().auto_scaling_group_name("fleet");
    let same = Template::builder().launch_template_id(&template).version("1").build();
    assert_eq!(code(update.launch_template(same).send().await), "ValidationError");
    advance(60).await;
    autoscaling.cancel_instance_refresh().auto_scaling_group_name("fleet").send().await.unwrap();
    advance(10).await;
    assert_eq!(state().await, "Cancelled 1 [2]", "what was done stays; the group is as it was");
    let nothing = autoscaling.cancel_instance_refresh().auto_scaling_group_name("fleet").send().await;
    assert_eq!(code(nothing), "ActiveInstanceRefreshNotFound");

    start().await.unwrap();
    advance(10).await;
    assert_eq!(state().await, "Baking 1 [2]", "what matches is left");
    autoscaling.rollback_instance_refresh().auto_scaling_group_name("fleet").send().await.unwrap();
    assert_eq!(state().await, "RollbackInProgress 1 [2]");
    advance(100).await;
    assert_eq!(state().await, "RollbackSuccessful 1 [1]");

    net.aws.switch("unhealthy_versions", json!([2])).await.unwrap();
    start().await.unwrap();
    advance(590).await;
    assert_eq!(state().await, "InProgress 1 [1 2]");
    advance(100).await;
    assert_eq!(state().await, "RollbackSuccessful 1 [1]");
    net.aws.switch("unhealthy_versions", json!([])).await.unwrap();
    start().await.unwrap();
    advance(400).await;
    assert_eq!(state().await, "Successful 2 [2]");
    let refreshes = async || {
        let all = autoscaling.describe_instance_refreshes().auto_scaling_group_name("fleet").send().await.unwrap();
        all.instance_refreshes().len()
    };
    advance(42 * 86_400 - 1_000).await;
    assert_eq!(refreshes().await, 1, "the others began earlier");
    advance(1_000).await;
    assert_eq!(refreshes().await, 0, "and after six weeks each is forgotten");

    let moments = net.aws.moments("fleet").await.unwrap();
    assert!(moments.iter().skip_while(|m| m.healthy < 1).all(|m| m.healthy >= m.desired), "{moments:?}");
}

#[tokio::test]
async fn a_hook_holds_an_instance_until_it_is_answered_and_tracking_moves_the_size() {
    let net = net().await;
    net.aws.switch("clock_rate", json!(0)).await.unwrap();
    let (autoscaling, _) = fleet(&net).await;
    let hook = autoscaling.put_lifecycle_hook().auto_scaling_group_name("fleet").lifecycle_hook_name("h");
    let hook = hook.lifecycle_transition("autoscaling:EC2_INSTANCE_TERMINATING").heartbeat_timeout(300);
    hook.send().await.unwrap();
    let tracking = aws_sdk_autoscaling::types::TargetTrackingConfiguration::builder().target_value(20.0);
    let cpu = aws_sdk_autoscaling::types::MetricType::AsgAverageCpuUtilization;
    let cpu = aws_sdk_autoscaling::types::PredefinedMetricSpecification::builder().predefined_metric_type(cpu).build();
    let put = autoscaling.put_scaling_policy().auto_scaling_group_name("fleet").policy_name("p");
    let put = put.policy_type("TargetTrackingScaling");
    put.target_tracking_configuration(tracking.predefined_metric_specification(cpu).build()).send().await.unwrap();

    net.aws.switch("tracking", json!(true)).await.unwrap();
    net.aws.cpu("fleet", 70.0).await.unwrap();
    // A minute until it is looked at, and a moment until the instances are there.
    let fleet = net.aws.advance(70).await.unwrap();
    assert_eq!((&fleet["fleet"]["desired"], fleet["fleet"]["instances"].as_array().unwrap().len()), (&json!(4), 4));
    net.aws.cpu("fleet", 5.0).await.unwrap();
    let fleet = net.aws.advance(60 * 16).await.unwrap();
    assert_eq!(fleet["fleet"]["desired"], json!(1));
    let leaving: Vec<_> =
        fleet["fleet"]["instances"].as_array().unwrap().iter().filter(|i| i["state"] == "Terminating:Wait").collect();
    assert_eq!(leaving.len(), 3, "{fleet}");
    let answer = |id: &str| {
        let call = autoscaling.complete_lifecycle_action().auto_scaling_group_name("fleet").lifecycle_hook_name("h");
        call.instance_id(id).lifecycle_action_result("CONTINUE").send()
    };
    let first = leaving[0]["id"].as_str().unwrap();
    answer(first).await.unwrap();
    assert_eq!(code(answer(first).await), "ValidationError", "it is gone");
    assert_eq!(net.aws.fleet().await.unwrap()["fleet"]["instances"].as_array().unwrap().len(), 3);
    let fleet = net.aws.advance(305).await.unwrap();
    assert_eq!(
        fleet["fleet"]["instances"].as_array().unwrap().len(),
        1,
        "without an answer they go when the time is up"
    );
}

#[tokio::test]
async fn a_hook_that_comes_with_a_group_holds_its_first_instances() {
    let net = net().await;
    let (autoscaling, template) = fleet(&net).await;
    let force = autoscaling.delete_auto_scaling_group().auto_scaling_group_name("fleet").force_delete(true);
    force.send().await.unwrap();
    net.aws.switch("clock_rate", json!(0)).await.unwrap();
    create_group(&net, &autoscaling, &template, Some("h")).await.unwrap();
    let states = async || {
        let fleet = net.aws.fleet().await.unwrap();
        fleet["fleet"]["instances"].as_array().unwrap().iter().map(|i| i["state"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(states().await, ["Pending:Wait"]);
    net.aws.advance(60).await.unwrap();
    assert_eq!(states().await, ["InService"]);

    // A group that is refused brings nothing.
    let again = create_group(&net, &autoscaling, &template, Some("other")).await.unwrap_err();
    assert_eq!(again.code(), Some("AlreadyExists"));
    let hooks = autoscaling.describe_lifecycle_hooks().auto_scaling_group_name("fleet").send().await.unwrap();
    let hooks: Vec<_> =
        hooks.lifecycle_hooks().iter().map(|h| (h.lifecycle_hook_name(), h.heartbeat_timeout())).collect();
    assert_eq!(hooks, [(Some("h"), Some(600))]);
}

#[tokio::test]
async fn records_are_created_once_and_deleted_as_they_are() {
    let aws = LocalAws::start().await.unwrap();
    let route53 = aws_sdk_route53::Client::new(&aws.config("us-east-1"));
    let zones = route53.list_hosted_zones_by_name().dns_name(ZONE).send().await.unwrap();
    let zone = zones.hosted_zones()[0].id().to_owned();
    let submit = |action: ChangeAction, name: &str| {
        let value = ResourceRecord::builder().value("\"x\"").build().unwrap();
        let set = ResourceRecordSet::builder().name(format!("{name}.{ZONE}")).r#type(RrType::Txt).ttl(60);
        let set = set.resource_records(value).build().unwrap();
        let change = Change::builder().action(action).resource_record_set(set).build().unwrap();
        let batch = ChangeBatch::builder().changes(change).build().unwrap();
        route53.change_resource_record_sets().hosted_zone_id(&zone).change_batch(batch).send()
    };
    submit(ChangeAction::Create, "a").await.unwrap();
    assert_eq!(code(submit(ChangeAction::Create, "a").await), "InvalidChangeBatch");
    assert_eq!(code(submit(ChangeAction::Delete, "b").await), "InvalidChangeBatch");
    submit(ChangeAction::Delete, "a").await.unwrap();
}

#[tokio::test]
async fn a_secret_on_its_way_out_holds_its_name_and_the_current_version_is_the_one_with_the_stage() {
    let aws = LocalAws::start().await.unwrap();
    let secrets = aws_sdk_secretsmanager::Client::new(&aws.config("us-east-1"));
    let create = || secrets.create_secret().name("s").secret_string("one").send();
    let first = create().await.unwrap().version_id.unwrap();
    let second =
        secrets.put_secret_value().secret_id("s").secret_string("two").send().await.unwrap().version_id.unwrap();
    let back = secrets.update_secret_version_stage().secret_id("s").version_stage("AWSCURRENT");
    back.remove_from_version_id(second).move_to_version_id(first).send().await.unwrap();
    assert_eq!(secrets.get_secret_value().secret_id("s").send().await.unwrap().secret_string(), Some("one"));
    secrets.delete_secret().secret_id("s").recovery_window_in_days(7).send().await.unwrap();
    assert_eq!(code(create().await), "InvalidRequestException");
}

#[tokio::test]
async fn queues_have_ranges_a_cool_down_and_receive_as_fast_from_a_long_one() {
    let aws = LocalAws::start().await.unwrap();
    let sqs = aws_sdk_sqs::Client::new(&aws.config("us-east-1"));
    let create = || sqs.create_queue().queue_name("q");
    for (name, value) in [
        (QueueAttributeName::VisibilityTimeout, "43201"),
        (QueueAttributeName::MessageRetentionPeriod, "59"),
        (QueueAttributeName::DelaySeconds, "901"),
    ] {
        assert_eq!(code(create().attributes(name, value).send().await), "InvalidAttributeValue");
    }
    let url = create().send().await.unwrap().queue_url.unwrap();
    let set = sqs.set_queue_attributes().queue_url(&url).attributes(QueueAttributeName::VisibilityTimeout, "-1");
    assert_eq!(code(set.send().await), "InvalidAttributeValue");

    // What is received is not received again, and everything comes out once.
    for n in 0..30 {
        sqs.send_message().queue_url(&url).message_body(n.to_string()).send().await.unwrap();
    }
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let got = sqs.receive_message().queue_url(&url).max_number_of_messages(10).send().await.unwrap();
        seen.extend(got.messages().iter().map(|m| m.body().unwrap().to_owned()));
    }
    assert_eq!(seen.len(), 30);
    assert!(sqs.receive_message().queue_url(&url).send().await.unwrap().messages().is_empty());

    // Who died while it waited takes nothing: the message is not hidden, nor counted as received.
    let wait = sqs.receive_message().queue_url(&url).wait_time_seconds(20);
    aws.calls().await.unwrap();
    let waiting = tokio::spawn(wait.send());
    while !aws.calls().await.unwrap().iter().any(|call| call == "sqs:ReceiveMessage") {}
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    sqs.send_message().queue_url(&url).message_body("late").send().await.unwrap();
    let count = MessageSystemAttributeName::ApproximateReceiveCount;
    let got = sqs.receive_message().queue_url(&url).message_system_attribute_names(count.clone()).wait_time_seconds(20);
    let got = got.send().await.unwrap();
    assert_eq!(got.messages()[0].attributes().unwrap()[&count], "1");

    aws.switch("queue_cooldown", json!(3600)).await.unwrap();
    sqs.delete_queue().queue_url(&url).send().await.unwrap();
    assert!(code(create().send().await).ends_with("QueueDeletedRecently"));
}

#[tokio::test]
async fn instances_are_made_once_a_token_and_a_profile_is_not_known_at_once() {
    let net = net().await;
    let image = ubuntu(&net.aws).await;
    let run = || net.ec2.run_instances().image_id(&image).min_count(1).max_count(1).client_token("t").send();
    let first = run().await.unwrap().instances()[0].instance_id().unwrap().to_owned();
    assert_eq!(run().await.unwrap().instances()[0].instance_id(), Some(first.as_str()));

    let (autoscaling, template) = fleet(&net).await;
    let force = autoscaling.delete_auto_scaling_group().auto_scaling_group_name("fleet").force_delete(true);
    force.send().await.unwrap();
    let iam = aws_sdk_iam::Client::new(&net.aws.config("us-east-1"));
    iam.create_instance_profile().instance_profile_name("young").send().await.unwrap();
    net.aws.switch("profile_delay", json!(3600)).await.unwrap();
    let early = create_group(&net, &autoscaling, &template, None).await.unwrap_err();
    assert!(early.message().unwrap().contains("Invalid IAM Instance Profile name"));
    net.aws.switch("profile_delay", json!(0)).await.unwrap();
    create_group(&net, &autoscaling, &template, None).await.unwrap();
}

#[tokio::test]
async fn a_table_changes_one_index_at_a_time_and_lists_are_in_order() {
    use aws_sdk_dynamodb::types::{
        AttributeDefinition, BillingMode, CreateGlobalSecondaryIndexAction as Create, GlobalSecondaryIndexUpdate,
        KeySchemaElement, KeyType, Projection, ProjectionType, ScalarAttributeType,
    };
    let aws = LocalAws::start().await.unwrap();
    let dynamodb = aws_sdk_dynamodb::Client::new(&aws.config("us-east-1"));
    let key = || KeySchemaElement::builder().attribute_name("k").key_type(KeyType::Hash).build().unwrap();
    let attribute =
        || AttributeDefinition::builder().attribute_name("k").attribute_type(ScalarAttributeType::S).build().unwrap();
    for name in ["bbb", "aaa", "ccc"] {
        let call = dynamodb.create_table().table_name(name).billing_mode(BillingMode::PayPerRequest);
        call.key_schema(key()).attribute_definitions(attribute()).send().await.unwrap();
    }
    let list = dynamodb.list_tables().exclusive_start_table_name("aab").send().await.unwrap();
    assert_eq!(list.table_names(), ["bbb", "ccc"]);
    let index = |name: &str| {
        let all = Projection::builder().projection_type(ProjectionType::All).build();
        let create = Create::builder().index_name(name).key_schema(key()).projection(all).build().unwrap();
        GlobalSecondaryIndexUpdate::builder().create(create).build()
    };
    let two = dynamodb.update_table().table_name("aaa").attribute_definitions(attribute());
    let two = two.global_secondary_index_updates(index("one")).global_secondary_index_updates(index("two"));
    assert_eq!(code(two.send().await), "LimitExceededException");
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_of_one_item_at_once_all_count_and_a_condition_holds_for_one() {
    use aws_sdk_dynamodb::types::{
        AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ReturnValue, ScalarAttributeType,
    };
    let aws = LocalAws::start().await.unwrap();
    let dynamodb = aws_sdk_dynamodb::Client::new(&aws.config("us-east-1"));
    let key = KeySchemaElement::builder().attribute_name("k").key_type(KeyType::Hash).build().unwrap();
    let attribute = AttributeDefinition::builder().attribute_name("k").attribute_type(ScalarAttributeType::S);
    let create = dynamodb.create_table().table_name("t").billing_mode(BillingMode::PayPerRequest).key_schema(key);
    create.attribute_definitions(attribute.build().unwrap()).send().await.unwrap();
    aws.switch("thread_switch", 0.000_001.into()).await.unwrap();
    // A new item each time: the first writes are those that got lost.
    for item in 0..8 {
        let update = |number: usize| {
            let update = dynamodb.update_item().table_name("t").key("k", AttributeValue::S(item.to_string()));
            let update = update.update_expression("SET #p = :p ADD v :one").return_values(ReturnValue::AllNew);
            update
                .expression_attribute_names("#p", format!("part{number}"))
                .expression_attribute_values(":p", AttributeValue::S("here".into()))
                .expression_attribute_values(":one", AttributeValue::N("1".into()))
                .send()
        };
        let mut written = futures::future::try_join_all((0..8).map(update)).await.unwrap();
        written.sort_by_key(|w| w.attributes().unwrap().len());
        // Key, version, and one more part in each answer.
        for (before, answer) in written.iter().enumerate() {
            let attributes = answer.attributes().unwrap();
            assert_eq!(attributes.len(), before + 3);
            assert_eq!(attributes["v"], AttributeValue::N((before + 1).to_string()));
        }
    }
    let claim = |_| {
        let put = dynamodb.put_item().table_name("t").item("k", AttributeValue::S("lease".into()));
        put.condition_expression("attribute_not_exists(k)").send()
    };
    let claims = futures::future::join_all((0..16).map(claim)).await;
    assert_eq!(claims.iter().filter(|claim| claim.is_ok()).count(), 1);
}

#[tokio::test]
async fn rules_of_groups_have_descriptions_of_their_own_and_scanning_can_be_turned_off() {
    let net = net().await;
    let peer = aws_sdk_ec2::types::UserIdGroupPair::builder().group_id(&net.group).description("one").build();
    let rule = aws_sdk_ec2::types::IpPermission::builder().ip_protocol("tcp").from_port(1).to_port(1);
    let rule = rule.user_id_group_pairs(peer).build();
    let call = net.ec2.authorize_security_group_ingress().group_id(&net.group).ip_permissions(rule);
    let id = call.send().await.unwrap().security_group_rules()[0].security_group_rule_id().unwrap().to_owned();
    let wish =
        aws_sdk_ec2::types::SecurityGroupRuleDescription::builder().security_group_rule_id(&id).description("two");
    let call = net.ec2.update_security_group_rule_descriptions_ingress().group_id(&net.group);
    call.security_group_rule_descriptions(wish.build()).send().await.unwrap();
    let rules = net.ec2.describe_security_group_rules().security_group_rule_ids(id).send().await.unwrap();
    assert_eq!(rules.security_group_rules()[0].description(), Some("two"));

    let ecr = aws_sdk_ecr::Client::new(&net.aws.config("us-east-1"));
    let scan = |on| aws_sdk_ecr::types::ImageScanningConfiguration::builder().scan_on_push(on).build();
    ecr.create_repository().repository_name("rr").image_scanning_configuration(scan(true)).send().await.unwrap();
    let call = ecr.put_image_scanning_configuration().repository_name("rr");
    call.image_scanning_configuration(scan(false)).send().await.unwrap();
    let all = ecr.describe_repositories().send().await.unwrap();
    assert!(!all.repositories()[0].image_scanning_configuration().unwrap().scan_on_push());

    let s3 = aws_sdk_s3::config::Builder::from(&net.aws.config("us-east-1")).force_path_style(true).build();
    let s3 = aws_sdk_s3::Client::from_conf(s3);
    s3.create_bucket().bucket("b-one").send().await.unwrap();
    assert_eq!(s3.get_bucket_versioning().bucket("b-one").send().await.unwrap().status(), None);
}

#[tokio::test]
async fn a_profile_is_found_by_its_path_with_its_tags() {
    let aws = LocalAws::start().await.unwrap();
    let iam = aws_sdk_iam::Client::new(&aws.config("us-east-1"));
    for (name, path) in [("one", "/a/"), ("two", "/b/")] {
        iam.create_instance_profile().instance_profile_name(name).path(path).send().await.unwrap();
    }
    let found = iam.list_instance_profiles().path_prefix("/a/").send().await.unwrap();
    assert_eq!(
        found
            .instance_profiles()
            .iter()
            .map(aws_sdk_iam::types::InstanceProfile::instance_profile_name)
            .collect::<Vec<_>>(),
        ["one"]
    );
    let tag = aws_sdk_iam::types::Tag::builder().key("k").value("v").build().unwrap();
    iam.tag_instance_profile().instance_profile_name("one").tags(tag).send().await.unwrap();
    let one = iam.get_instance_profile().instance_profile_name("one").send().await.unwrap();
    assert_eq!(one.instance_profile().unwrap().tags().len(), 1);
    let managed = iam.get_policy().policy_arn("arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore").send().await;
    assert!(managed.unwrap().policy().is_some(), "the policies that AWS manages are there");
}

#[tokio::test]
async fn a_role_is_taken_with_the_external_id_that_its_trust_asks_for() {
    let aws = LocalAws::start().await.unwrap();
    let (iam, sts) =
        (aws_sdk_iam::Client::new(&aws.config("us-east-1")), aws_sdk_sts::Client::new(&aws.config("us-east-1")));
    let make = async |name: &str, condition: serde_json::Value| {
        let trust = json!({ "Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": { "AWS": "*" }, "Action": "sts:AssumeRole", "Condition": condition,
        }] });
        let call = iam.create_role().role_name(name).assume_role_policy_document(trust.to_string());
        call.send().await.unwrap().role.unwrap().arn
    };
    let guarded = make("guarded", json!({ "StringEquals": { "sts:ExternalId": ["a-word", "another"] } })).await;
    let open = make("open", json!({})).await;
    let take = |role: &str, word: Option<&str>| {
        let call = sts.assume_role().role_arn(role).role_session_name("s").set_external_id(word.map(ToOwned::to_owned));
        call.send()
    };
    assert_eq!(code(take(&guarded, None).await), "AccessDenied");
    assert_eq!(code(take(&guarded, Some("a-wor")).await), "AccessDenied");
    take(&guarded, Some("another")).await.unwrap();
    take(&open, None).await.unwrap();
}
