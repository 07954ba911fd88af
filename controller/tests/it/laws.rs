//! The laws that every kind keeps: each field that can be changed in place, changed behind our back, is found as exactly
//! that and mended; whatever is created twice ends as one; what belongs to others is never touched.
//!
//! Most fields are spoilt by the kind's own `update`, asked for something else; the rest by calls of the SDK.

use crate::setting::{SSH_KEY, TOKEN, World, local_spec, once, plan, settle, settle_for, writes};
use aws_sdk_acm::primitives::Blob;
use aws_sdk_ec2::types::{IpPermission, IpRange};
use aws_sdk_elasticloadbalancingv2::types::{Action, ActionTypeEnum, Certificate as Shown, RuleCondition};
use aws_sdk_s3::types::{
    ServerSideEncryption, ServerSideEncryptionByDefault, ServerSideEncryptionConfiguration, ServerSideEncryptionRule,
};
use controller::{
    aws::{Aws, View},
    engine::{Address, Input, Live, Owner, Plan, Resource},
    kinds::{
        Arn, KINDS,
        alarm::Alarm,
        bucket::Bucket,
        certificate::Certificate,
        dns_record::DnsRecord,
        instance_profile::InstanceProfile,
        internet_gateway::InternetGateway,
        key_pair::KeyPair,
        launch_template::LaunchTemplate,
        launch_template_version::LaunchTemplateVersion,
        lifecycle_hook::LifecycleHook,
        listener::Listener,
        load_balancer::LoadBalancer,
        log_group::LogGroup,
        queue::Queue,
        repository::Repository,
        role::Role,
        rollout::Rollout,
        route_table::RouteTable,
        scaling_group::ScalingGroup,
        scaling_policy::{ScalingPolicy, Target},
        secret::Secret,
        security_group::SecurityGroup,
        security_group_rule::SecurityGroupRule,
        subnet::Subnet,
        subscription::Subscription,
        table::Table,
        target_group::TargetGroup,
        topic::Topic,
        vpc::Vpc,
        webhook::Webhook,
    },
    reconcile::{Allow, Connection, Goal},
    report::{Verdict, verdict},
    spec::{Access, Logs, PolybotStack},
};
use futures::{FutureExt, future::LocalBoxFuture};
use local::telegram::{LocalTelegram, Options};
use std::collections::{BTreeMap, BTreeSet};

/// The demo's stack with everything that a spec can ask for, so that no kind is left out.
fn full_spec() -> PolybotStack {
    let mut stack = local_spec();
    stack.spec.network.zones = 3;
    stack.spec.logs = Logs::CloudWatch;
    let key = SSH_KEY;
    let access = serde_json::json!({ "ssh": { "cidrs": ["203.0.113.0/24"], "publicKey": key } });
    stack.spec.access = serde_json::from_value::<Access>(access).unwrap();
    stack
}

/// The one of this kind and name.
async fn live<R: Resource>(c: &Connection, name: &str) -> Live<R> {
    let all = R::list(&View::new(&c.aws)).await.unwrap();
    all.into_iter().find(|l| l.name == name).unwrap_or_else(|| panic!("no {}/{name}", R::KIND))
}

/// What a round spoils: each as `kind/name field`.
type Spoilt = BTreeSet<String>;

/// Spoils one field by the kind's own hand. Boxed: there are many, and each is large.
fn spoil<'a, R: Resource>(
    c: &'a Connection,
    spoilt: &'a mut Spoilt,
    name: &'a str,
    field: &'a str,
    other: impl FnOnce(&mut R) + 'a,
) -> LocalBoxFuture<'a, ()> {
    let spoil = async move {
        let before = live::<R>(c, name).await;
        let mut state = before.state.clone();
        other(&mut state);
        let changes = state.changes(&before.state);
        let changed: BTreeSet<_> = changes.iter().map(|c| c.field).collect();
        assert_eq!(changed, BTreeSet::from([field]), "{}/{name}", R::KIND);
        let done = state.update(&c.aws, &before, &changes).await;
        done.unwrap_or_else(|e| panic!("{}/{name} {field}: {e}", R::KIND));
        assert!(spoilt.insert(format!("{}/{name} {field}", R::KIND)));
    };
    spoil.boxed_local()
}

fn fields(plan: &Plan) -> Spoilt {
    let writes = plan.steps.iter().filter(|s| s.action.writes());
    writes.flat_map(|s| s.action.changes().iter().map(move |c| format!("{} {}", s.address, c.field))).collect()
}

/// Finds exactly what was spoilt, mends it, and is content.
async fn mended(c: &Connection, all: &mut Spoilt, mut spoilt: Spoilt, in_train: &[&str]) {
    let seen = plan(c).await;
    let expected: Spoilt = spoilt.iter().cloned().chain(in_train.iter().map(|s| (*s).to_owned())).collect();
    assert_eq!(fields(&seen), expected, "{seen}");
    // And it is told as what it is: no hand's work passes for a change of the spec.
    for step in seen.steps.iter().filter(|s| s.action.writes()) {
        let verdict = verdict(step).unwrap();
        let due = step.action.changes().iter().all(|c| c.due);
        assert!(matches!(verdict, Verdict::Drift | Verdict::Follows) || due, "{}: {verdict:?}", step.address);
    }
    settle(c).await;
    assert_eq!(writes(&plan(c).await), Vec::<String>::new());
    all.append(&mut spoilt);
}

#[tokio::test]
async fn each_field_that_hands_can_change_is_found_as_exactly_that_and_mended() {
    let world = World::new().await;
    let c = world.converged(full_spec()).await;
    assert_eq!(writes(&plan(&c).await), Vec::<String>::new());
    let aws = &c.aws;
    let mut all = Spoilt::new();
    let far = time::OffsetDateTime::now_utc() + time::Duration::days(3650);

    let mut s = Spoilt::new();
    spoil::<Vpc>(&c, &mut s, "main", "dns", |v| v.dns = false).await;
    spoil::<Subnet>(&c, &mut s, "a", "public_ips", |v| v.public_ips = false).await;
    spoil::<RouteTable>(&c, &mut s, "public", "subnets", |v| drop(v.subnets.pop())).await;
    spoil::<SecurityGroupRule>(&c, &mut s, "polybot-in-8443-balancer", "description", |v| {
        v.description = "other".into();
    })
    .await;
    spoil::<Role>(&c, &mut s, "yolo5", "trust", |v| {
        v.trust["Statement"][0]["Principal"]["Service"] = "ec2.amazonaws.com.cn".into();
    })
    .await;
    let role = live::<Role>(&c, "polybot").await.output;
    spoil::<InstanceProfile>(&c, &mut s, "yolo5", "role", |v| v.role = Some(Input::Known(role))).await;
    spoil::<Topic>(&c, &mut s, "scaling", "display_name", |v| v.display_name = "other".into()).await;
    spoil::<Queue>(&c, &mut s, "identify", "visibility_timeout", |v| v.visibility_timeout = 7).await;
    spoil::<Queue>(&c, &mut s, "results", "dead_letters", |v| v.dead_letters = None).await;
    spoil::<Table>(&c, &mut s, "predictions", "indexes", |v| v.indexes.clear()).await;
    spoil::<Bucket>(&c, &mut s, "images", "private", |v| v.private = false).await;
    spoil::<Certificate>(&c, &mut s, "bot", "host", |v| (v.host, v.valid_days) = ("elsewhere.example.com".into(), 365))
        .await;
    let token = live::<Secret>(&c, "telegram-token").await.state.name;
    aws.secrets.update_secret().secret_id(&token).description("other").send().await.unwrap();
    s.insert("secret/telegram-token description".into());
    spoil::<Repository>(&c, &mut s, "polybot", "immutable", |v| v.immutable = false).await;
    spoil::<LogGroup>(&c, &mut s, "yolo5", "retention", |v| v.retention = None).await;
    spoil::<LogGroup>(&c, &mut s, "polybot", "retention", |v| v.retention = Some(1)).await;
    spoil::<LoadBalancer>(&c, &mut s, "bot", "subnets", |v| drop(v.subnets.pop())).await;
    spoil::<TargetGroup>(&c, &mut s, "polybot", "health", |v| v.health.path = "/other".into()).await;
    spoil::<Listener>(&c, &mut s, "https", "port", |v| v.port = 9443).await;
    spoil::<DnsRecord>(&c, &mut s, "bot", "target", |v| v.target = Input::Known("elsewhere.example.com".into())).await;
    spoil::<ScalingGroup>(&c, &mut s, "yolo5", "max", |v| v.max = 9).await;
    spoil::<Alarm>(&c, &mut s, "yolo5-age", "limit", |v| v.limit = 9999.0).await;
    spoil::<Alarm>(&c, &mut s, "polybot-errors", "minutes", |v| v.minutes = 60).await;
    spoil::<Alarm>(&c, &mut s, "polybot-unhealthy", "description", |v| v.description = "other".into()).await;
    spoil::<Alarm>(&c, &mut s, "yolo5-dead", "metric", |v| v.metric.statistic = "Minimum".into()).await;
    spoil::<Alarm>(&c, &mut s, "polybot-unavailable", "tells", |v| v.tells = None).await;
    spoil::<LifecycleHook>(&c, &mut s, "yolo5-termination", "timeout", |v| v.timeout = 7200).await;
    spoil::<ScalingPolicy>(&c, &mut s, "yolo5-tracking", "target", |v| v.target = Target::Cpu(77.0)).await;
    mended(&c, &mut all, s, &["secret/certificate value", "queue/results max_receives"]).await;

    let mut s = Spoilt::new();
    let group = aws.ec2.describe_security_groups().filters(controller::kinds::filter("group-name", "default"));
    let vpc = live::<Vpc>(&c, "main").await.output;
    let group = group.filters(controller::kinds::filter("vpc-id", &vpc.0)).send().await.unwrap();
    let group = group.security_groups()[0].group_id().unwrap().to_owned();
    let hole = IpPermission::builder().ip_protocol("tcp").from_port(22).to_port(22);
    let hole = hole.ip_ranges(IpRange::builder().cidr_ip("0.0.0.0/0").build()).build();
    aws.ec2.authorize_security_group_ingress().group_id(group).ip_permissions(hole).send().await.unwrap();
    s.insert("vpc/main default_group_rules".into());
    let table = live::<RouteTable>(&c, "public").await.output.id.0;
    let gateway = live::<InternetGateway>(&c, "main").await.output;
    let route = aws.ec2.create_route().route_table_id(&table).gateway_id(&gateway.0);
    route.destination_cidr_block("198.51.100.0/24").send().await.unwrap();
    s.insert("route_table/public other_routes".into());
    let role = live::<Role>(&c, "yolo5").await.output;
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;
    aws.iam.put_role_policy().role_name(role).policy_name("extra").policy_document(policy).send().await.unwrap();
    s.insert("role/yolo5 other_policies".into());
    spoil::<Queue>(&c, &mut s, "identify", "retention", |v| v.retention = 60).await;
    spoil::<Table>(&c, &mut s, "predictions", "provisioned", |v| v.provisioned = Some((2, 3))).await;
    spoil::<Bucket>(&c, &mut s, "images", "owner_enforced", |v| v.owner_enforced = false).await;
    spoil::<Certificate>(&c, &mut s, "bot", "subject", |v| {
        (v.subject, v.valid_days) = (BTreeMap::from([("O".into(), "Other".into())]), 365);
    })
    .await;
    aws.secrets.put_secret_value().secret_id(&token).secret_string("another").send().await.unwrap();
    s.insert("secret/telegram-token value".into());
    spoil::<Repository>(&c, &mut s, "polybot", "scan", |v| v.scan = false).await;
    let other = live::<SecurityGroup>(&c, "polybot").await.output;
    spoil::<LoadBalancer>(&c, &mut s, "bot", "groups", |v| v.groups = vec![Input::Known(other)]).await;
    spoil::<TargetGroup>(&c, &mut s, "polybot", "attributes", |v| {
        v.attributes.insert("deregistration_delay.timeout_seconds".into(), "7".into());
    })
    .await;
    let listener = live::<Listener>(&c, "https").await.output.0;
    let modify = aws.elb.modify_listener().listener_arn(&listener);
    modify.protocol(aws_sdk_elasticloadbalancingv2::types::ProtocolEnum::Http).send().await.unwrap();
    s.insert("listener/https protocol".into());
    spoil::<DnsRecord>(&c, &mut s, "bot", "target_zone", |v| v.target_zone = Input::Known("Z3DZXE0Q79N41H".into()))
        .await;
    spoil::<ScalingGroup>(&c, &mut s, "yolo5", "min", |v| v.min = 0).await;
    spoil::<LifecycleHook>(&c, &mut s, "yolo5-termination", "default_result", |v| v.default_result = "ABANDON".into())
        .await;
    spoil::<ScalingGroup>(&c, &mut s, "polybot", "health", |v| v.health = "EC2".into()).await;
    mended(&c, &mut all, s, &["secret/certificate value"]).await;

    let mut s = Spoilt::new();
    spoil::<RouteTable>(&c, &mut s, "public", "default_route", |v| v.default_route = None).await;
    spoil::<Role>(&c, &mut s, "yolo5", "managed", |v| {
        v.managed.extend(["arn:aws:iam::aws:policy/AdministratorAccess".to_owned()]);
    })
    .await;
    spoil::<Queue>(&c, &mut s, "identify", "max_receives", |v| v.max_receives = 99).await;
    spoil::<Table>(&c, &mut s, "chats", "ttl", |v| v.ttl = None).await;
    let kms = ServerSideEncryptionByDefault::builder().sse_algorithm(ServerSideEncryption::AwsKms).build().unwrap();
    let kms = ServerSideEncryptionRule::builder().apply_server_side_encryption_by_default(kms).build();
    let kms = ServerSideEncryptionConfiguration::builder().rules(kms).build().unwrap();
    let put = aws.s3.put_bucket_encryption().bucket(&aws.known.bucket);
    put.server_side_encryption_configuration(kms).send().await.unwrap();
    s.insert("bucket/images encrypted".into());
    aws.secrets.delete_secret().secret_id(&token).recovery_window_in_days(7).send().await.unwrap();
    s.insert("secret/telegram-token scheduled_for_deletion".into());
    spoil::<Repository>(&c, &mut s, "polybot", "lifecycle", |v| {
        v.lifecycle["rules"][0]["selection"]["countNumber"] = 3.into();
    })
    .await;
    spoil::<LoadBalancer>(&c, &mut s, "bot", "attributes", |v| {
        v.attributes.insert("routing.http.drop_invalid_header_fields.enabled".into(), "false".into());
    })
    .await;
    let rogue = rogue_certificate(aws).await;
    spoil::<Listener>(&c, &mut s, "https", "certificate", |v| v.certificate = Input::Known(rogue.clone())).await;
    spoil::<ScalingGroup>(&c, &mut s, "yolo5", "notify", |v| v.notify = None).await;
    spoil::<LifecycleHook>(&c, &mut s, "yolo5-termination", "transition", |v| {
        v.transition = "autoscaling:EC2_INSTANCE_LAUNCHING".into();
    })
    .await;
    spoil::<ScalingGroup>(&c, &mut s, "polybot", "grace", |v| v.grace = 7).await;
    mended(&c, &mut all, s, &[]).await;

    let mut s = Spoilt::new();
    spoil::<Role>(&c, &mut s, "yolo5", "policy", |v| v.policy["Statement"][0]["Resource"] = "*".into()).await;
    spoil::<Repository>(&c, &mut s, "polybot", "pins", |v| v.pins = Some(BTreeSet::from(["v0".to_owned()]))).await;
    spoil::<Queue>(&c, &mut s, "identify", "encrypted", |v| v.encrypted = false).await;
    spoil::<Table>(&c, &mut s, "chats", "recovery", |v| v.recovery = false).await;
    spoil::<Bucket>(&c, &mut s, "images", "versioning", |v| v.versioning = false).await;
    spoil::<Listener>(&c, &mut s, "https", "tls_policy", |v| v.tls_policy = "ELBSecurityPolicy-2016-08".into()).await;
    spoil::<ScalingGroup>(&c, &mut s, "yolo5", "metrics", |v| v.metrics = false).await;
    spoil::<ScalingGroup>(&c, &mut s, "polybot", "subnets", |v| drop(v.subnets.pop())).await;
    mended(&c, &mut all, s, &[]).await;

    let mut s = Spoilt::new();
    let fleet = live::<ScalingGroup>(&c, "polybot").await.state.name;
    let suspend = aws.autoscaling.suspend_processes().auto_scaling_group_name(&fleet);
    suspend.scaling_processes("HealthCheck").send().await.unwrap();
    s.insert("scaling_group/polybot suspended".into());
    spoil::<Queue>(&c, &mut s, "identify", "policy", |v| v.policy["Statement"][0]["Effect"] = "Allow".into()).await;
    spoil::<Table>(&c, &mut s, "chats", "protected", |v| v.protected = false).await;
    spoil::<Bucket>(&c, &mut s, "images", "policy", |v| v.policy["Statement"][0]["Action"] = "s3:GetObject".into())
        .await;
    let other = other_target_group(aws, &vpc.0).await;
    spoil::<Listener>(&c, &mut s, "https", "target_group", |v| v.target_group = Input::Known(other)).await;
    spoil::<Certificate>(&c, &mut s, "bot", "until", |v| (v.valid_days, v.until) = (5, far)).await;
    mended(&c, &mut all, s, &["secret/certificate value"]).await;

    let mut s = Spoilt::new();
    spoil::<Bucket>(&c, &mut s, "images", "lifecycle", |v| v.lifecycle.clear()).await;
    let group = live::<TargetGroup>(&c, "polybot").await.output;
    spoil::<ScalingGroup>(&c, &mut s, "yolo5", "target_groups", |v| {
        v.target_groups = vec![Input::Known(group.clone())];
    })
    .await;
    let add = aws.elb.add_listener_certificates().listener_arn(&listener);
    add.certificates(Shown::builder().certificate_arn(&rogue.0).build()).send().await.unwrap();
    s.insert("listener/https extra_certificates".into());
    let to = Action::builder().r#type(ActionTypeEnum::Forward).target_group_arn(&group.0).build();
    let when = RuleCondition::builder().field("path-pattern").values("/rogue").build();
    let rule = aws.elb.create_rule().listener_arn(&listener).priority(7).conditions(when).actions(to);
    rule.send().await.unwrap();
    s.insert("listener/https extra_rules".into());
    import_ec(aws, &live::<Certificate>(&c, "bot").await.output.arn, &c.spec.spec.domain.name).await;
    s.insert("certificate/bot key".into());
    mended(&c, &mut all, s, &["secret/certificate value"]).await;

    // Beyond the limits of the spec, and a former version: by the calls of those who would do it.
    let mut s = Spoilt::new();
    let fleet = live::<ScalingGroup>(&c, "yolo5").await.state.name;
    let beyond = aws.autoscaling.update_auto_scaling_group().auto_scaling_group_name(&fleet);
    beyond.max_size(9).desired_capacity(8).send().await.unwrap();
    s.insert("scaling_group/yolo5 desired".into());
    mended(&c, &mut all, s, &["scaling_group/yolo5 max"]).await;

    let missed: Vec<_> =
        in_place_fields().difference(&all.iter().map(|s| kind_and_field(s)).collect()).cloned().collect();
    // The webhook has a test with a Telegram of its own, and rollouts have theirs.
    assert_eq!(
        missed.into_iter().filter(|m| !m.starts_with("webhook ") && !m.starts_with("rollout ")).collect::<Vec<_>>(),
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn tags_that_hands_change_on_a_thing_of_any_kind_are_found_and_mended() {
    let world = World::new().await;
    let mut stack = full_spec();
    stack.spec.tags.insert("team".to_owned(), "vision".to_owned());
    let c = world.converged(stack).await;
    let before = plan(&c).await;
    assert_eq!(writes(&before), Vec::<String>::new());

    let ours: Vec<_> = before.found.iter().filter(|f| f.owner == Owner::Ours).collect();
    let bear = |kind: &str| ours.iter().find(|f| f.address.kind == kind && f.tag_target.is_some());
    let without: Vec<_> = KINDS.iter().map(|k| k.kind()).filter(|k| bear(k).is_none()).collect();
    // AWS has no tags for these, but for the version's; the webhook is Telegram's, which is not there in this world.
    let none = ["dns_record", "launch_template_version", "lifecycle_hook", "rollout", "scaling_policy", "subscription"];
    let none: BTreeSet<_> = none.into_iter().chain(["webhook"]).collect();
    assert_eq!(without.into_iter().collect::<BTreeSet<_>>(), none);

    let mut spoilt = Spoilt::new();
    for found in KINDS.iter().filter_map(|k| bear(k.kind())) {
        let other = BTreeMap::from([("team".to_owned(), "other".to_owned())]);
        c.aws
            .tag(found.tag_target.as_ref().unwrap(), &other)
            .await
            .unwrap_or_else(|e| panic!("{}: {e}", found.address));
        spoilt.insert(format!("{} tags", found.address));
    }
    mended(&c, &mut Spoilt::new(), spoilt, &[]).await;

    // And an edit of the spec reaches each.
    let mut stack = PolybotStack::clone(&c.spec);
    stack.spec.tags.insert("team".to_owned(), "sight".to_owned());
    let c = world.connect(stack).await;
    let all: Spoilt = ours.iter().filter(|f| f.tag_target.is_some()).map(|f| format!("{} tags", f.address)).collect();
    let edited = plan(&c).await;
    assert_eq!(fields(&edited).intersection(&all).cloned().collect::<Spoilt>(), all);
    for step in edited.steps.iter().filter(|s| s.action.writes()) {
        assert!(matches!(verdict(step), Some(Verdict::Pending | Verdict::Follows)), "{edited}");
    }
    settle(&c).await;
    assert_eq!(writes(&plan(&c).await), Vec::<String>::new());
}

/// Kinds that cannot be deleted while others hang on them: AWS sees to that.
const HELD: [&str; 13] = [
    "vpc",
    "subnet",
    "internet_gateway",
    "security_group",
    "role",
    "instance_profile",
    "certificate",
    "target_group",
    "launch_template",
    "launch_template_version",
    "key_pair",
    "route_table",
    // A group's own: it goes with it.
    "rollout",
];

#[tokio::test]
async fn what_hands_delete_is_found_as_deleted_by_hand_and_made_again() {
    let world = World::new().await;
    let c = world.converged(full_spec()).await;
    let before = plan(&c).await;
    assert_eq!(writes(&before), Vec::<String>::new());
    let mut deleted = BTreeSet::new();
    for kind in KINDS.iter().rev().filter(|k| !HELD.contains(&k.kind()) && k.kind() != "webhook") {
        let found = before.found.iter().find(|f| f.address.kind == kind.kind() && f.owner == Owner::Ours);
        let found = found.unwrap_or_else(|| panic!("no {}", kind.kind()));
        kind.delete(&c.aws, found).await.unwrap_or_else(|e| panic!("{}: {e}", found.address));
        deleted.insert(found.address.to_string());
    }
    assert!(deleted.len() >= 13, "{deleted:?}");
    let seen = plan(&c).await;
    for address in &deleted {
        let step = seen
            .steps
            .iter()
            .find(|s| s.address.to_string() == *address)
            .unwrap_or_else(|| panic!("{address}:\n{seen}"));
        assert_eq!(verdict(step), Some(Verdict::Drift), "{address}:\n{seen}");
    }
    // The repository is there before the images, and the fleets after them.
    once(&c).await;
    world.push_images(&c, "v1.0.0").await;
    settle(&c).await;
    let after = plan(&c).await;
    assert_eq!(writes(&after), Vec::<String>::new());
    let addresses = |p: &Plan| p.found.iter().map(|f| f.address.to_string()).collect::<BTreeSet<_>>();
    assert_eq!(addresses(&before), addresses(&after));
}

/// The webhook, at a Telegram of its own: each field changed by another tool is found and mended.
#[tokio::test]
async fn each_field_of_the_webhook_is_found_and_mended() {
    let world = World::new().await;
    let options = Options { token: TOKEN.to_owned(), ..Options::default() };
    let telegram = LocalTelegram::start_with(options).await.unwrap();
    let mut stack = local_spec();
    stack.spec.telegram.api_url = telegram.url();
    let c = world.converged(stack).await;
    assert!(plan(&c).await.is_settled());
    let set = async |fields: &[(&str, &str)]| {
        let url = format!("{}/bot{TOKEN}/setWebhook", telegram.url());
        let answer = reqwest::Client::new().post(url).form(fields).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    };
    let ours = live::<Webhook>(&c, "bot").await.state;
    let path = ours.path.clone().unwrap();
    let url = format!("{}{path}", ours.base_url);
    let updates = serde_json::to_string(&ours.allowed_updates).unwrap();
    let most = ours.max_connections.to_string();
    let plain =
        [("url", url.as_str()), ("allowed_updates", &updates), ("max_connections", &most), ("ip_address", "127.0.0.1")];
    for (field, value, found) in [
        ("max_connections", "3", "max_connections"),
        ("allowed_updates", r#"["poll"]"#, "allowed_updates"),
        ("ip_address", "127.0.0.2", "ip_address"),
        ("url", &format!("https://elsewhere.example.com:8443{path}"), "base_url"),
        ("url", &format!("{}/telegram/other", ours.base_url), "path"),
    ] {
        set(&plain.map(|(name, own)| (name, if name == field { value } else { own }))).await;
        let seen = plan(&c).await;
        assert_eq!(fields(&seen), BTreeSet::from([format!("webhook/bot {found}")]), "{seen}");
        settle(&c).await;
        assert!(plan(&c).await.is_settled());
    }
    reqwest::get(format!("{}/bot{TOKEN}/deleteWebhook", telegram.url())).await.unwrap();
    assert_eq!(writes(&plan(&c).await), ["create webhook/bot"]);
    settle(&c).await;
    assert!(plan(&c).await.is_settled());
}

fn kind_and_field(spoilt: &str) -> String {
    let (address, field) = spoilt.split_once(' ').unwrap();
    format!("{} {field}", address.split_once('/').unwrap().0)
}

/// Every field that some kind says can be changed in place, read from the sources, so that a new one cannot be forgotten.
fn in_place_fields() -> BTreeSet<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/kinds");
    let mut all = BTreeSet::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let kind = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text: String = std::fs::read_to_string(&path).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        for call in ["differs(", "differs_as(", "policy_differs("] {
            for rest in text.split(call).skip(1) {
                let rest = rest.trim_start();
                let Some((field, rest)) = rest.strip_prefix('"').and_then(|r| r.split_once('"')) else { continue };
                // Up to the next such call.
                let this = rest.split("differs").next().unwrap_or_default();
                if call == "policy_differs(" || this.contains("How::InPlace") {
                    all.insert(format!("{kind} {field}"));
                }
            }
        }
        if text.contains("differing_attributes(") && kind != "kinds" {
            all.insert(format!("{kind} attributes"));
        }
    }
    all
}

async fn rogue_certificate(aws: &Aws) -> Arn {
    let (certificate, key) = ec_certificate("rogue.example.com");
    let import = aws.acm.import_certificate().certificate(Blob::new(certificate)).private_key(Blob::new(key));
    Arn(import.send().await.unwrap().certificate_arn.unwrap())
}

/// Someone renews the certificate by hand, with a key of another kind.
async fn import_ec(aws: &Aws, arn: &Arn, host: &str) {
    let (certificate, key) = ec_certificate(host);
    let import = aws.acm.import_certificate().certificate_arn(&arn.0);
    import.certificate(Blob::new(certificate)).private_key(Blob::new(key)).send().await.unwrap();
}

fn ec_certificate(host: &str) -> (String, String) {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let mut params = rcgen::CertificateParams::new(vec![host.to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, host);
    params.not_after = time::OffsetDateTime::now_utc() + time::Duration::days(300);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

async fn other_target_group(aws: &Aws, vpc: &str) -> Arn {
    let call = aws.elb.create_target_group().name("somebody-elses").vpc_id(vpc).port(1);
    let made = call.protocol(aws_sdk_elasticloadbalancingv2::types::ProtocolEnum::Http).send().await.unwrap();
    Arn(made.target_groups()[0].target_group_arn().unwrap().to_owned())
}

/// A statement for every kind of the stack.
macro_rules! each_kind {
    ($kind:ident => $do:expr) => {
        each_kind!(@ $kind => $do; Vpc InternetGateway Subnet RouteTable SecurityGroup SecurityGroupRule Role InstanceProfile
            Topic Subscription Queue Table Bucket Certificate Secret Repository LogGroup LoadBalancer TargetGroup Listener
            DnsRecord KeyPair LaunchTemplate LaunchTemplateVersion Alarm ScalingGroup Rollout LifecycleHook ScalingPolicy)
    };
    (@ $kind:ident => $do:expr; $($k:ident)*) => { $({ type $kind = $k; $do })* };
}

/// Creates everything again, as a process does whose first call had been answered to nobody.
async fn create_again<R: Resource>(c: &Connection, done: &mut BTreeSet<&'static str>) {
    for live in R::list(&View::new(&c.aws)).await.unwrap() {
        let tags = live.tags.clone().unwrap_or_else(|| {
            c.aws.ownership.tags(&Address::new(R::KIND, &live.name), live.state.name().as_deref(), "")
        });
        // A refusal is one way to make no second one. A secret cannot be made from what is read of it.
        let again = live.state.create(&c.aws, &tags).await;
        tracing::debug!(kind = R::KIND, ok = again.is_ok(), "created again");
        done.insert(R::KIND);
    }
}

#[tokio::test]
async fn what_is_created_twice_ends_as_one() {
    let world = World::new().await;
    let c = world.converged(full_spec()).await;
    let before = addresses(&c).await;
    let mut done = BTreeSet::new();
    each_kind!(R => create_again::<R>(&c, &mut done).await);
    let kinds: BTreeSet<_> = controller::kinds::KINDS.iter().map(|k| k.kind()).filter(|k| *k != "webhook").collect();
    assert_eq!(done, kinds);
    settle(&c).await;
    assert_eq!(writes(&plan(&c).await), Vec::<String>::new());
    let after = addresses(&c).await;
    assert_eq!(after, before);
}

async fn addresses(c: &Connection) -> Vec<String> {
    // Former versions are kept on purpose.
    let plan = plan(c).await;
    let found = plan.found.iter().filter(|f| f.address.kind != "launch_template_version");
    found.map(|f| f.address.to_string()).collect()
}

/// Everything of a stack, to the last field.
async fn portrait(c: &Connection) -> Vec<String> {
    let view = View::new(&c.aws);
    let mut all = vec![];
    each_kind!(R => for live in R::list(&view).await.unwrap() {
        if live.owner == Owner::Ours {
            all.push(format!("{}/{} {} {:?} {:?}", R::KIND, live.name, live.id, live.state, live.tags));
        }
    });
    all
}

fn assert_same(before: &[String], after: &[String]) {
    let only = |a: &[String], b: &[String]| a.iter().filter(|l| !b.contains(l)).cloned().collect::<Vec<_>>().join("\n");
    let (lost, new) = (only(before, after), only(after, before));
    assert!(lost.is_empty() && new.is_empty(), "lost:\n{lost}\nnew:\n{new}");
}

#[tokio::test]
async fn what_belongs_to_another_stack_is_never_touched_even_where_its_names_are_in_the_way() {
    let world = World::new().await;
    let c = world.converged(full_spec()).await;
    let before = portrait(&c).await;
    assert!(before.len() > 40);

    // Another identity that wants the very same names.
    let mut thief = full_spec();
    thief.metadata.name = Some("thief".to_owned());
    let other = world.connect(thief).await;
    for _ in 0..6 {
        crate::setting::once(&other).await;
    }
    let stuck = plan(&other).await;
    let blocked: Vec<_> =
        stuck.steps.iter().filter(|s| s.action.word() == "blocked").map(|s| s.address.to_string()).collect();
    for address in
        ["bucket/images", "queue/identify", "table/chats", "topic/scaling", "repository/polybot", "dns_record/bot"]
    {
        assert!(blocked.iter().any(|b| b == address), "{address} should be blocked: {stuck}");
    }
    assert_same(&before, &portrait(&c).await);
    let all = Allow { with_data: vec!["all".to_owned()], replace: vec![] };
    settle_for(&other, Goal::Destroy, &all).await;
    assert_same(&before, &portrait(&c).await);
    assert_eq!(writes(&plan(&c).await), Vec::<String>::new());

    // And everything of ours goes, of every kind.
    settle_for(&c, Goal::Destroy, &all).await;
    let left: Vec<_> = portrait(&c).await.into_iter().filter(|l| !l.starts_with("secret/")).collect();
    assert_eq!(left, Vec::<String>::new());
    let (_, rest) = c.look(Goal::Destroy, &all).await;
    assert_eq!(rest.steps.len(), 0, "{rest}");
}
