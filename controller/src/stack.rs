//! The whole stack, read top to bottom: what a spec stands for. Pure: time, account, images and the token come in as facts.

pub mod policy;
pub mod user_data;

use crate::{
    aws::KnownNames,
    engine::{Address, Found, Handle, Input, Owner, Phase, Plan, Resource, Wanted},
    facts::{Fact, Facts},
    kinds::{
        Arn, GroupId, SubnetId, VpcId,
        alarm::{Alarm, Metric},
        bucket::{Bucket, Expiry},
        certificate::{self, Certificate},
        dns_record::DnsRecord,
        instance_profile::InstanceProfile,
        internet_gateway::InternetGateway,
        key_pair::KeyPair,
        launch_template::LaunchTemplate,
        launch_template_version::{LaunchTemplateVersion, Metadata, UserData, Volume},
        lifecycle_hook::{self, LifecycleHook},
        listener::Listener,
        load_balancer::{LoadBalancer, PROTECTION},
        log_group::LogGroup,
        queue::Queue,
        repository::{Repository, keep_newest},
        role::Role,
        rollout::{Pace, Rollout, Seen},
        route_table::RouteTable,
        scaling_group::ScalingGroup,
        scaling_policy::{ScalingPolicy, Target},
        secret::{self, Secret},
        security_group::SecurityGroup,
        security_group_rule::{Direction, Peer, SecurityGroupRule, rule_name},
        subnet::Subnet,
        subscription::{Subscription, subscription_name},
        table::Table,
        target_group::{HealthCheck, TargetGroup},
        topic::Topic,
        vpc::Vpc,
        webhook::{Token, Webhook},
    },
    ownership::STACK,
    reconcile::Connection,
    secret::Secret as Hidden,
    spec::{self, DataPolicy, ImageRef, PolybotStack, names::Names},
};
use aws_sdk_dynamodb::types::ScalarAttributeType as Type;
use clap::ValueEnum;
use contract::{env, record};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use time::Duration;

/// The two services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Service {
    /// The bot.
    Polybot,
    /// The detector.
    Yolo5,
}

impl Service {
    /// Its name in addresses and names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Polybot => "polybot",
            Self::Yolo5 => "yolo5",
        }
    }
}

/// The physical names of a stack.
pub fn names(stack: &PolybotStack, account: &str) -> Names {
    Names::new(&stack.spec, account)
}

/// What the names of the load balancer and of its target group begin with: of their 32 characters, seven tell one that replaces
/// another from it.
pub fn edge_names(names: &Names) -> (String, String) {
    (names.plain("bot", 25), names.plain(Service::Polybot.name(), 25))
}

/// The names of what AWS lists neither by tag nor by prefix, or without its tags.
pub fn known_names(stack: &PolybotStack, account: &str) -> KnownNames {
    let names = names(stack, account);
    KnownNames {
        secrets: vec![
            ("telegram-token".to_owned(), names.plain("telegram-token", 255)),
            ("certificate".to_owned(), names.plain("certificate", 255)),
        ],
        hosted_zone: stack.spec.domain.hosted_zone.trim_end_matches('.').to_owned(),
        host: stack.spec.domain.name.trim_end_matches('.').to_lowercase(),
        bucket: names.bucket("images"),
        topic: names.plain("scaling", 256),
        tables: ["predictions", "chats"].map(|name| names.plain(name, 255)).to_vec(),
        profiles: [Service::Polybot, Service::Yolo5].map(|service| names.iam(service.name())).to_vec(),
    }
}

/// Whether the spec lets data at this address go.
pub fn purges(stack: &PolybotStack, address: &Address) -> bool {
    let on_delete = &stack.spec.on_delete;
    on_delete.addresses.get(&address.to_string()).unwrap_or(&on_delete.data) == &DataPolicy::Purge
}

/// What so many subnets are called: `a`, `b`, and on.
pub fn subnet_names(count: usize) -> impl Iterator<Item = String> {
    ('a'..='z').take(count).map(String::from)
}

/// Host of the account's image registry in a region.
pub fn registry(account: &str, region: &str) -> String {
    format!("{account}.dkr.ecr.{region}.amazonaws.com")
}

/// A service's container image, as far as the spec says it.
pub enum Image {
    /// To be used as it is.
    Exact(String),
    /// By its digest in the service's repository.
    Digest(String),
    /// By a tag there, to be resolved by the registry.
    Tag(String),
}

fn image_ref(spec: &spec::PolybotStackSpec, service: Service) -> Option<&ImageRef> {
    match service {
        Service::Polybot => Some(&spec.polybot.image),
        Service::Yolo5 => spec.yolo5.as_ref().map(|yolo5| &yolo5.image),
    }
}

/// Name of the repository of a service's images within the stack.
fn repository_name(spec: &spec::PolybotStackSpec, service: Service) -> &str {
    image_ref(spec, service).and_then(|image| image.repository.as_deref()).unwrap_or(service.name())
}

/// Its physical name.
pub fn repository(stack: &PolybotStack, account: &str, service: Service) -> String {
    names(stack, account).plain(repository_name(&stack.spec, service), 256)
}

/// Which image the spec wants for a service.
pub fn image(stack: &PolybotStack, service: Service) -> Fact<Image> {
    let wish = image_ref(&stack.spec, service).ok_or_else(|| "the spec has no yolo5".to_owned())?;
    match (&wish.uri, &wish.digest, &wish.tag) {
        (Some(uri), ..) => Ok(Image::Exact(uri.clone())),
        (None, Some(digest), _) => Ok(Image::Digest(digest.clone())),
        (None, None, Some(tag)) => Ok(Image::Tag(tag.clone())),
        (None, None, None) => Err(format!("the spec gives neither tag nor digest for the image of {}", service.name())),
    }
}

/// Port on which the load balancer answers Telegram, and on which polybot answers the load balancer.
const PORT: i32 = 8443;

/// The hook on workers that come.
const LAUNCH: &str = "yolo5-launch";
/// The hook on workers that the group takes away.
const TERMINATION: &str = "yolo5-termination";
/// Seconds that an instance has until it serves: packages, the image, the model.
const BOOT: i32 = 600;
/// Seconds that a job may wait. With the minutes that it does so before anybody is told, as long as a new worker takes to come.
const AGE: i32 = 300;

/// The whole stack.
pub fn stack(stack: &PolybotStack, facts: &Facts) -> Wanted {
    let b = Builder { stack, spec: &stack.spec, facts, names: names(stack, &facts.account) };
    let mut w = Wanted::default();

    let network = b.network(&mut w);
    let groups = b.access(&mut w, &network);
    let queues = b.queues(&mut w);
    let data = b.data(&mut w);
    let certificate = b.certificate(&mut w);
    let secrets = b.secrets(&mut w, &certificate);
    b.repositories(&mut w);
    let (balancer, target_group) = b.edge(&mut w, &network, &groups, &certificate);

    let environment = Environment { queues: &queues, data: &data, secrets: &secrets };
    let key = b.key(&mut w);
    let version = b.version(&mut w, Service::Polybot, &groups.polybot, key.as_ref(), environment.polybot(&b));
    let group = w.add(
        "polybot",
        ScalingGroup {
            min: count(b.spec.polybot.replicas),
            max: count(b.spec.polybot.replicas),
            desired: count(b.spec.polybot.replicas),
            target_groups: vec![target_group.out(Clone::clone)],
            health: "ELB".to_owned(),
            ..b.group(Service::Polybot, &network, &version, None)
        },
    );
    let topic = b.topic(&mut w);
    let alarms = b.alarms_of_polybot(&mut w, &topic, &balancer, &target_group);
    w.add("polybot", rollout(&group, &version, &b.spec.polybot.rollout, &alarms));
    if let Some(yolo5) = &b.spec.yolo5 {
        let version = b.version(&mut w, Service::Yolo5, &groups.yolo5, key.as_ref(), environment.yolo5(&b));
        let hooks = b.hooks();
        let group = w.add(
            "yolo5",
            ScalingGroup {
                min: count(yolo5.replicas.min),
                max: count(yolo5.replicas.max),
                desired: count(yolo5.replicas.min),
                hooks: hooks.to_vec(),
                ..b.group(Service::Yolo5, &network, &version, Some(topic.out(Clone::clone)))
            },
        );
        let alarms = b.alarms_of_yolo5(&mut w, &topic, &queues);
        w.add("yolo5", rollout(&group, &version, &yolo5.rollout, &alarms));
        for (name, hook) in [LAUNCH, TERMINATION].into_iter().zip(hooks) {
            w.add(name, LifecycleHook { group: group.out(Clone::clone), ..hook });
        }
        let target = match (&yolo5.scaling.cpu, &yolo5.scaling.backlog) {
            (_, Some(backlog)) => Target::Backlog {
                queue: b.names.plain("identify", 80),
                per_instance: (f64::from(backlog.latency_target.as_seconds()) / f64::from(backlog.seconds_per_message))
                    .max(1.0),
            },
            (Some(cpu), None) => Target::Cpu(f64::from(cpu.target)),
            (None, None) => Target::Cpu(20.0),
        };
        let name = b.names.plain("yolo5-tracking", 255);
        w.add("yolo5-tracking", ScalingPolicy { name, group: group.out(Clone::clone), target });
    }
    b.webhook(&mut w, &certificate);
    w
}

/// A count of instances as AWS wants it.
fn count(n: u32) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

fn rollout(
    group: &Handle<ScalingGroup>,
    version: &Handle<LaunchTemplateVersion>,
    r: &spec::Rollout,
    alarms: &[Handle<Alarm>],
) -> Rollout {
    Rollout {
        group: group.out(Clone::clone),
        // Not the one at hand while it is not known which one is wanted.
        version: version.volatile(Clone::clone),
        pace: Pace {
            min_healthy: count(r.min_healthy_percent),
            max_healthy: count(r.max_healthy_percent),
            bake: count(r.bake.as_seconds()),
            auto_rollback: r.auto_rollback,
        },
        alarms: alarms.iter().map(|a| a.out(Clone::clone)).collect(),
        seen: Seen::default(),
    }
}

struct Builder<'a> {
    stack: &'a PolybotStack,
    spec: &'a spec::PolybotStackSpec,
    facts: &'a Facts,
    names: Names,
}

struct Network {
    vpc: Handle<Vpc>,
    subnets: Vec<Handle<Subnet>>,
}

impl Network {
    fn vpc(&self) -> Input<VpcId> {
        self.vpc.out(Clone::clone)
    }
    fn subnets(&self) -> Vec<Input<SubnetId>> {
        self.subnets.iter().map(|s| s.out(Clone::clone)).collect()
    }
}

struct Groups {
    balancer: Handle<SecurityGroup>,
    polybot: Handle<SecurityGroup>,
    yolo5: Handle<SecurityGroup>,
}

struct Queues {
    identify: Handle<Queue>,
    identify_dead: Handle<Queue>,
    results: Handle<Queue>,
    work: Handle<Queue>,
}

struct Data {
    predictions: Handle<Table>,
    chats: Handle<Table>,
    bucket: Handle<Bucket>,
}

struct Secrets {
    token: Handle<Secret>,
    certificate: Option<Handle<Secret>>,
}

/// The certificate on the load balancer: one of ours, or one that exists.
enum Shown {
    Own(Handle<Certificate>),
    Given(String),
}

impl Shown {
    fn arn(&self) -> Input<Arn> {
        match self {
            Self::Own(handle) => handle.out(|o| o.arn.clone()),
            Self::Given(arn) => Input::Known(Arn(arn.clone())),
        }
    }
    /// The certificate that Telegram has to be told of; empty where a public authority has signed it.
    fn pem(&self) -> Input<String> {
        match self {
            Self::Own(handle) => handle.volatile(|o| o.pem.clone()),
            Self::Given(_) => Input::Known(String::new()),
        }
    }
}

impl Builder<'_> {
    /// A VPC with a public /24 subnet in each zone, all behind one route table with the gateway as the way out.
    fn network(&self, w: &mut Wanted) -> Network {
        let network = &self.spec.network;
        let vpc = w.add("main", Vpc { cidr: network.cidr.to_string(), dns: true, default_group_rules: vec![] });
        let gateway = w.add("main", InternetGateway { vpc: Some(vpc.out(Clone::clone)) });
        let wanted = if network.zone_names.is_empty() {
            usize::try_from(network.zones).unwrap_or(usize::MAX)
        } else {
            network.zone_names.len()
        };
        let subnets: Vec<_> = subnet_names(wanted)
            .enumerate()
            .filter_map(|(i, name)| {
                let block = network
                    .cidr
                    .part(24, u32::try_from(i).ok()? + 1)
                    .or_else(|| network.cidr.part(24, u32::try_from(i).ok()?))?;
                let subnet = Subnet {
                    vpc: vpc.out(Clone::clone),
                    cidr: block.to_string(),
                    zone: self.zone(i).into(),
                    public_ips: true,
                };
                Some(w.add(name, subnet))
            })
            .collect();
        w.add(
            "public",
            RouteTable {
                vpc: vpc.out(Clone::clone),
                default_route: Some(gateway.out(Clone::clone)),
                other_routes: BTreeMap::new(),
                subnets: subnets.iter().map(|s| s.out(Clone::clone)).collect(),
            },
        );
        Network { vpc, subnets }
    }

    fn zone(&self, index: usize) -> Fact<String> {
        if let Some(name) = self.spec.network.zone_names.get(index) {
            return Ok(name.clone());
        }
        let zones = self.facts.zones.as_ref().map_err(Clone::clone)?;
        let region = &self.spec.region;
        zones
            .get(index)
            .cloned()
            .ok_or_else(|| format!("{region} has no zone for a subnet number {}; lower spec.network.zones", index + 1))
    }

    /// Who may reach whom: Telegram the load balancer, the load balancer polybot, and nobody yolo5.
    fn access(&self, w: &mut Wanted, network: &Network) -> Groups {
        let mut group = |name: &str, what: &str| {
            let base_name = self.names.plain(name, 255);
            let description = format!("{what} of stack {}", self.stack.metadata.name.as_deref().unwrap_or_default());
            w.add(name, SecurityGroup { base_name, description, vpc: network.vpc() })
        };
        let groups = Groups {
            balancer: group("balancer", "Load balancer"),
            polybot: group("polybot", "Instances of polybot"),
            yolo5: group("yolo5", "Instances of yolo5"),
        };
        let mut rule = |of: &Handle<SecurityGroup>,
                        direction: Direction,
                        ports: Option<(i32, i32)>,
                        peer: Peer,
                        peer_name: &str,
                        why: &str| {
            let protocol = if ports.is_none() { "-1" } else { "tcp" };
            w.add(
                rule_name(&of.address().name, direction, ports, peer_name),
                SecurityGroupRule {
                    group: of.out(Clone::clone),
                    direction,
                    protocol: protocol.to_owned(),
                    ports,
                    peer,
                    description: why.to_owned(),
                },
            );
        };
        let port = Some((PORT, PORT));
        for source in &self.spec.telegram.sources {
            let cidr = source.to_string();
            rule(&groups.balancer, Direction::In, port, Peer::Cidr(cidr.clone()), &cidr, "Telegram");
        }
        let (balancer, polybot): (Input<GroupId>, Input<GroupId>) =
            (groups.balancer.out(Clone::clone), groups.polybot.out(Clone::clone));
        rule(&groups.balancer, Direction::Out, port, Peer::Group(polybot), "polybot", "To polybot");
        rule(&groups.polybot, Direction::In, port, Peer::Group(balancer), "balancer", "From the load balancer");
        let everywhere = "0.0.0.0/0";
        for of in [&groups.polybot, &groups.yolo5] {
            rule(of, Direction::Out, None, Peer::Cidr(everywhere.to_owned()), everywhere, "AWS and Telegram");
        }
        for cidr in self.spec.access.ssh.iter().flat_map(|ssh| &ssh.cidrs).map(ToString::to_string) {
            for of in [&groups.polybot, &groups.yolo5] {
                rule(of, Direction::In, Some((22, 22)), Peer::Cidr(cidr.clone()), &cidr, "SSH");
            }
        }
        groups
    }

    fn queues(&self, w: &mut Wanted) -> Queues {
        let mut queue = |name: &str, q: &spec::Queue| {
            let arn = |n: &str| format!("arn:aws:sqs:{}:{}:{n}", self.spec.region, self.facts.account);
            let (name, dead_name) = (name.to_owned(), format!("{name}-dead"));
            let (queue_name, dead_queue_name) = (self.names.plain(&name, 80), self.names.plain(&dead_name, 80));
            let dead = w.add(
                dead_name,
                Queue {
                    visibility_timeout: 30,
                    // As long as SQS keeps anything, so that there is time to look.
                    retention: 1_209_600,
                    dead_letters: None,
                    max_receives: 0,
                    encrypted: true,
                    policy: policy::queue(&arn(&dead_queue_name)),
                    name: dead_queue_name,
                },
            );
            let queue = w.add(
                name,
                Queue {
                    visibility_timeout: q.visibility_timeout.as_seconds(),
                    retention: q.retention.as_seconds(),
                    dead_letters: Some(dead.out(|o| o.arn.clone())),
                    max_receives: q.max_receives,
                    encrypted: true,
                    policy: policy::queue(&arn(&queue_name)),
                    name: queue_name,
                },
            );
            (queue, dead)
        };
        let q = &self.spec.queues;
        let (identify, identify_dead) = queue("identify", &q.identify);
        Queues { identify, identify_dead, results: queue("results", &q.results).0, work: queue("work", &q.work).0 }
    }

    fn data(&self, w: &mut Wanted) -> Data {
        let key = |name: &str, kind| (name.to_owned(), kind);
        let provisioned = |t: &spec::Table| t.provisioned.as_ref().map(|c| (i64::from(c.read), i64::from(c.write)));
        let tables = &self.spec.tables;
        let predictions = w.add(
            "predictions",
            Table {
                name: self.names.plain("predictions", 255),
                partition: key(record::PREDICTION_ID, Type::S),
                sort: None,
                indexes: BTreeMap::from([(
                    record::CHAT_INDEX.to_owned(),
                    (key(record::CHAT_ID, Type::N), key(record::PREDICTION_ID, Type::S)),
                )]),
                provisioned: provisioned(&tables.predictions),
                ttl: None,
                recovery: true,
                protected: true,
            },
        );
        let chats = w.add(
            "chats",
            Table {
                name: self.names.plain("chats", 255),
                partition: key(record::CHATS_PK, Type::S),
                sort: Some(key(record::CHATS_SK, Type::S)),
                indexes: BTreeMap::new(),
                provisioned: provisioned(&tables.chats),
                ttl: Some(record::CHATS_TTL.to_owned()),
                recovery: true,
                protected: true,
            },
        );
        let bucket = &self.spec.bucket;
        let name = self.names.bucket("images");
        let mut lifecycle = BTreeSet::from([Expiry::Uploads(7)]);
        if bucket.versioning {
            lifecycle.insert(Expiry::OldVersions(30));
        }
        if bucket.expire_images_after_days > 0 {
            for prefix in [bucket.image_prefix.as_str(), record::PREDICTED_PREFIX] {
                lifecycle.insert(Expiry::Objects(format!("{prefix}/"), count(bucket.expire_images_after_days)));
            }
        }
        let bucket = w.add(
            "images",
            Bucket {
                private: true,
                owner_enforced: true,
                encrypted: true,
                policy: policy::bucket(&name),
                versioning: bucket.versioning,
                lifecycle,
                name,
            },
        );
        Data { predictions, chats, bucket }
    }

    fn certificate(&self, w: &mut Wanted) -> Shown {
        let source = &self.spec.domain.certificate;
        if let Some(arn) = &source.arn {
            return Shown::Given(arn.clone());
        }
        let wish = source.self_signed.clone().unwrap_or_default();
        let subject = [("C", wish.country), ("ST", wish.state), ("L", wish.locality), ("O", wish.organization)];
        Shown::Own(w.add(
            "bot",
            Certificate {
                host: self.host(),
                subject: subject.into_iter().filter_map(|(k, v)| Some((k.to_owned(), v?))).collect(),
                key: certificate::wanted_key(),
                valid_days: wish.valid_days,
                until: self.facts.now + Duration::days(i64::from(wish.renew_before_days)),
            },
        ))
    }

    fn host(&self) -> String {
        self.spec.domain.name.trim_end_matches('.').to_lowercase()
    }

    /// The token as the services read it, and the public certificate.
    fn secrets(&self, w: &mut Wanted, certificate: &Shown) -> Secrets {
        let value = self
            .facts
            .token
            .as_ref()
            .map(|t| secret::Value::Wanted(Hidden::new(json!({ env::TELEGRAM_TOKEN: t.expose() }).to_string())))
            .map_err(Clone::clone);
        let token = w.add(
            "telegram-token",
            Secret {
                name: self.names.plain("telegram-token", 255),
                description: "Token of the Telegram bot".to_owned(),
                value: value.into(),
                scheduled_for_deletion: false,
            },
        );
        let certificate = match certificate {
            Shown::Given(_) => None,
            Shown::Own(handle) => Some(w.add(
                "certificate",
                Secret {
                    name: self.names.plain("certificate", 255),
                    description: "Public certificate of the bot's address (PEM)".to_owned(),
                    value: handle.volatile(|o| secret::Value::Wanted(Hidden::new(o.pem.clone()))),
                    scheduled_for_deletion: false,
                },
            )),
        };
        Secrets { token, certificate }
    }

    fn services(&self) -> impl Iterator<Item = Service> {
        [Service::Polybot, Service::Yolo5].into_iter().filter(|s| *s == Service::Polybot || self.spec.yolo5.is_some())
    }

    /// One for each service, or one for both where the spec says so. One of another name is another one: what is in the former
    /// stays with it.
    fn repositories(&self, w: &mut Wanted) {
        let mut all: BTreeMap<&str, Option<BTreeSet<String>>> = BTreeMap::new();
        for service in self.services() {
            let pins = self.facts.pins.get(&service).and_then(|p| p.clone().ok());
            let shared = all.entry(repository_name(self.spec, service)).or_insert_with(|| Some(BTreeSet::new()));
            *shared = shared.take().zip(pins).map(|(a, b)| &a | &b);
        }
        for (name, pins) in all {
            let lifecycle = keep_newest(self.spec.registry.keep_images);
            let physical = self.names.plain(name, 256);
            w.add(name, Repository { name: physical, immutable: true, scan: true, lifecycle, pins });
        }
    }

    /// Errors that users see, the bot's and those of a load balancer that no bot answers, and instances that do not come up. A new
    /// instance has ten minutes for its boot.
    fn alarms_of_polybot(
        &self,
        w: &mut Wanted,
        topic: &Handle<Topic>,
        balancer: &Handle<LoadBalancer>,
        targets: &Handle<TargetGroup>,
    ) -> [Handle<Alarm>; 3] {
        // CloudWatch names both by what follows in their ARNs.
        fn part(arn: &Arn, after: &str) -> String {
            arn.0.split_once(after).map_or_else(String::new, |(_, part)| part.to_owned())
        }
        let bot = [
            ("LoadBalancer".to_owned(), balancer.out(|o| part(&o.arn, ":loadbalancer/"))),
            ("TargetGroup".to_owned(), targets.out(|arn| format!("targetgroup/{}", part(arn, ":targetgroup/")))),
        ];
        // What the load balancer answers itself is of no target group.
        let edge = &bot[..1];
        let mut alarm =
            |name: &str, description: &str, of: &[_], metric: &str, statistic: &str, limit: f64, minutes: i32| {
                let metric = Metric {
                    namespace: "AWS/ApplicationELB".to_owned(),
                    name: metric.to_owned(),
                    dimensions: of.to_vec(),
                    statistic: statistic.to_owned(),
                };
                let alarm = Alarm {
                    name: self.names.plain(name, 255),
                    description: description.to_owned(),
                    metric,
                    limit,
                    minutes,
                    // The load balancer asks a bot every half minute.
                    rise: 60,
                    tells: Some(topic.out(Clone::clone)),
                };
                w.add(name, alarm)
            };
        [
            alarm(
                "polybot-errors",
                "The bot answers Telegram with errors",
                &bot,
                "HTTPCode_Target_5XX_Count",
                "Sum",
                5.0,
                2,
            ),
            alarm(
                "polybot-unavailable",
                "No bot answers, so Telegram gets errors of the load balancer's own",
                edge,
                "HTTPCode_ELB_5XX_Count",
                "Sum",
                5.0,
                2,
            ),
            alarm(
                "polybot-unhealthy",
                "An instance of the bot does not get healthy",
                &bot,
                "UnHealthyHostCount",
                "Maximum",
                0.0,
                10,
            ),
        ]
    }

    /// Jobs that wait too long, and jobs that nobody could do.
    ///
    /// SQS leaves jobs that were taken three times out of the age: those whose workers die end as dead letters, and ring there. It
    /// is their number that rings, until somebody has looked at them and emptied the queue, and not its growth: a queue that nobody
    /// has touched for six hours has no numbers, so the first letters would have nothing to have grown from.
    fn alarms_of_yolo5(&self, w: &mut Wanted, topic: &Handle<Topic>, queues: &Queues) -> [Handle<Alarm>; 2] {
        let mut alarm =
            |name: &str, description: &str, queue: &Handle<Queue>, metric: &str, limit: i32, minutes, rise| {
                // The last part of an ARN of a queue is its name.
                let of = queue.out(|o| o.arn.0.rsplit(':').next().unwrap_or_default().to_owned());
                let metric = Metric {
                    namespace: "AWS/SQS".to_owned(),
                    name: metric.to_owned(),
                    dimensions: vec![("QueueName".to_owned(), of)],
                    statistic: "Maximum".to_owned(),
                };
                let alarm = Alarm {
                    name: self.names.plain(name, 255),
                    description: description.to_owned(),
                    metric,
                    limit: f64::from(limit),
                    minutes,
                    rise,
                    tells: Some(topic.out(Clone::clone)),
                };
                w.add(name, alarm)
            };
        let spec::Queue { visibility_timeout, max_receives, .. } = &self.spec.queues.identify;
        [
            alarm(
                "yolo5-age",
                "Jobs wait for more than five minutes",
                &queues.identify,
                "ApproximateAgeOfOldestMessage",
                AGE,
                5,
                AGE,
            ),
            alarm(
                "yolo5-dead",
                "Jobs have ended as dead letters, which wait for somebody to look at them",
                &queues.identify_dead,
                "ApproximateNumberOfMessagesVisible",
                0,
                1,
                count(visibility_timeout.as_seconds().saturating_mul(*max_receives)),
            ),
        ]
    }

    /// The load balancer over all zones, its one listener and target group, and the host name.
    fn edge(
        &self,
        w: &mut Wanted,
        network: &Network,
        groups: &Groups,
        certificate: &Shown,
    ) -> (Handle<LoadBalancer>, Handle<TargetGroup>) {
        let text = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let balancer = w.add(
            "bot",
            LoadBalancer {
                base_name: edge_names(&self.names).0,
                internet_facing: true,
                vpc: network.vpc(),
                subnets: network.subnets(),
                groups: vec![groups.balancer.out(Clone::clone)],
                attributes: text(&[
                    (PROTECTION, "true"),
                    ("routing.http.drop_invalid_header_fields.enabled", "true"),
                    ("routing.http.desync_mitigation_mode", "defensive"),
                    ("idle_timeout.timeout_seconds", "75"),
                ]),
            },
        );
        let targets = w.add(
            "polybot",
            TargetGroup {
                base_name: edge_names(&self.names).1,
                vpc: network.vpc(),
                port: PORT,
                health: HealthCheck {
                    path: "/health".to_owned(),
                    codes: "200-399".to_owned(),
                    interval: 30,
                    timeout: 5,
                    healthy: 5,
                    unhealthy: 2,
                },
                attributes: text(&[("deregistration_delay.timeout_seconds", "30")]),
            },
        );
        w.add(
            "https",
            Listener {
                load_balancer: balancer.out(|o| o.arn.clone()),
                port: PORT,
                protocol: "HTTPS".to_owned(),
                certificate: certificate.arn(),
                // TLS 1.2 and 1.3, forward secrecy.
                tls_policy: "ELBSecurityPolicy-TLS13-1-2-2021-06".to_owned(),
                target_group: targets.out(Clone::clone),
                extra_certificates: BTreeSet::new(),
                extra_rules: BTreeSet::new(),
            },
        );
        w.add(
            "bot",
            DnsRecord {
                host: self.host(),
                target: balancer.out(|o| o.dns_name.to_lowercase()),
                target_zone: balancer.out(|o| o.zone.clone()),
            },
        );
        (balancer, targets)
    }

    fn key(&self, w: &mut Wanted) -> Option<Input<String>> {
        let ssh = self.spec.access.ssh.as_ref()?;
        if let Some(name) = &ssh.key_name {
            return Some(Input::Known(name.clone()));
        }
        let public_key = ssh.public_key.clone()?;
        let pair = w.add("ssh", KeyPair { base_name: self.names.plain("ssh", 255), public_key });
        Some(pair.out(|o| o.name.clone()))
    }

    fn topic(&self, w: &mut Wanted) -> Handle<Topic> {
        let topic =
            w.add("scaling", Topic { name: self.names.plain("scaling", 256), display_name: self.names.prefix() });
        for n in &self.spec.notifications {
            w.add(
                subscription_name("email", &n.email),
                Subscription {
                    topic: topic.out(Clone::clone),
                    protocol: "email".to_owned(),
                    endpoint: n.email.clone(),
                    pending: false,
                },
            );
        }
        topic
    }

    fn arns(&self, service: Service) -> policy::Arns {
        let known = known_names(self.stack, &self.facts.account);
        policy::Arns {
            account: self.facts.account.clone(),
            region: self.spec.region.to_string(),
            identify: self.names.plain("identify", 80),
            results: self.names.plain("results", 80),
            work: self.names.plain("work", 80),
            predictions: self.names.plain("predictions", 255),
            chats: self.names.plain("chats", 255),
            bucket: known.bucket,
            image_prefix: self.spec.bucket.image_prefix.clone(),
            secrets: known.secrets.into_iter().map(|(_, name)| name).collect(),
            repository: repository(self.stack, &self.facts.account, service),
            log_group: self.log_group(service),
            group: self.names.plain(service.name(), 255),
        }
    }

    fn log_group(&self, service: Service) -> Option<String> {
        let group = || format!("/{}/{}", self.names.prefix(), service.name());
        (self.spec.logs == spec::Logs::CloudWatch).then(group)
    }

    /// What a service's instances are made from: role, profile, template, version.
    fn version(
        &self,
        w: &mut Wanted,
        service: Service,
        group: &Handle<SecurityGroup>,
        key: Option<&Input<String>>,
        environment: Vec<(String, Input<String>)>,
    ) -> Handle<LaunchTemplateVersion> {
        let name = service.name();
        let arns = self.arns(service);
        let role = w.add(
            name,
            Role {
                name: self.names.iam(name),
                trust: policy::trust(),
                policy: match service {
                    Service::Polybot => policy::polybot(&arns),
                    Service::Yolo5 => policy::yolo5(&arns),
                },
                other_policies: BTreeSet::new(),
                managed: BTreeSet::from(["arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore".to_owned()]),
            },
        );
        let profile = w.add(name, InstanceProfile { name: self.names.iam(name), role: Some(role.out(Clone::clone)) });
        let template = w.add(name, LaunchTemplate { name: self.names.plain(name, 128) });
        let log_group = self.log_group(service);
        if let Some(group) = &log_group {
            w.add(name, LogGroup { name: group.clone(), retention: Some(self.spec.log_retention_days) });
        }
        let boot = user_data::Boot {
            service: name,
            registry: &registry(&self.facts.account, self.spec.region.as_str()),
            stop_seconds: 60,
            logs: log_group.as_deref().map_or(user_data::Logs::Journald, |group| user_data::Logs::CloudWatch {
                region: self.spec.region.as_str(),
                group,
            }),
        };
        let image = self.facts.images.get(&service).cloned().unwrap_or_else(|| Err("no image".to_owned()));
        let instance_type = match service {
            Service::Polybot => self.spec.polybot.instance_type.clone(),
            Service::Yolo5 => self.spec.yolo5.as_ref().map(|y| y.instance_type.clone()).unwrap_or_default(),
        };
        let mut instance_tags = self.spec.tags.clone();
        instance_tags.extend([
            ("Name".to_owned(), self.names.plain(name, 255)),
            ("App".to_owned(), name.to_owned()),
            (STACK.to_owned(), self.stack.metadata.name.clone().unwrap_or_default()),
        ]);
        w.add(
            name,
            LaunchTemplateVersion {
                template: template.out(Clone::clone),
                image: self.facts.ami.clone().into(),
                image_exists: true,
                instance_type,
                user_data: UserData { template: user_data::template(&boot), image: Some(image.into()), environment },
                groups: vec![group.out(Clone::clone)],
                profile: profile.out(|o| o.arn.clone()),
                key_name: key.cloned(),
                metadata: Metadata { tokens_required: true, hop_limit: 1 },
                volume: Volume { gib: 16, kind: "gp3".to_owned(), encrypted: true },
                instance_tags,
            },
        )
    }

    /// What both groups have in common.
    fn group(
        &self,
        service: Service,
        network: &Network,
        version: &Handle<LaunchTemplateVersion>,
        notify: Option<Input<Arn>>,
    ) -> ScalingGroup {
        ScalingGroup {
            name: self.names.plain(service.name(), 255),
            min: 0,
            max: 0,
            desired: 0,
            subnets: network.subnets(),
            target_groups: vec![],
            health: "EC2".to_owned(),
            grace: BOOT,
            version: version.out(Clone::clone),
            hooks: vec![],
            notify,
            metrics: true,
            suspended: BTreeSet::new(),
        }
    }

    /// What holds a worker that comes until it is ready, and one that is to go until it is done.
    fn hooks(&self) -> [LifecycleHook; 2] {
        let hook = |name: &str, transition: &str, timeout, default_result: &str| LifecycleHook {
            name: self.names.plain(name, 255),
            group: Input::Known(self.names.plain(Service::Yolo5.name(), 255)),
            transition: transition.to_owned(),
            timeout,
            default_result: default_result.to_owned(),
        };
        // A job that takes longer is another worker's by then; a minute more, for the container to stop.
        let finish = count((self.spec.queues.identify.visibility_timeout.as_seconds() + 60).clamp(30, 7200));
        [
            // EC2 is content with an instance on which no worker runs; a rollout of such a version must fail.
            hook(LAUNCH, lifecycle_hook::LAUNCHING, BOOT, "ABANDON"),
            // The instance goes in any case: it is only asked to be done first.
            hook(TERMINATION, lifecycle_hook::TERMINATING, finish, "CONTINUE"),
        ]
    }

    fn webhook(&self, w: &mut Wanted, certificate: &Shown) {
        // Without the token or Telegram there is nothing to compare with: then the webhook waits.
        let reachable = self.facts.telegram.clone().and_then(|()| self.facts.token.clone());
        let token = reachable.map(|t| Token(Some(t)));
        let options = &self.spec.telegram.webhook;
        w.add(
            "bot",
            Webhook {
                base_url: format!("https://{}:{PORT}", self.host()),
                certificate: certificate.pem(),
                token: token.into(),
                path: None,
                allowed_updates: ["message", "edited_message", "callback_query"]
                    .iter()
                    .map(ToString::to_string)
                    .collect(),
                max_connections: options.max_connections,
                ip_address: options.ip_address.map(|a| a.to_string()),
            },
        );
    }
}

/// The environments of the services, as inputs.
struct Environment<'a> {
    queues: &'a Queues,
    data: &'a Data,
    secrets: &'a Secrets,
}

impl Environment<'_> {
    fn polybot(&self, b: &Builder) -> Vec<(String, Input<String>)> {
        let mut all = vec![
            (env::IDENTIFY_QUEUE_URL, self.queues.identify.out(|o| o.url.clone())),
            (env::RESULTS_QUEUE_URL, self.queues.results.out(|o| o.url.clone())),
            (env::WORK_QUEUE_URL, self.queues.work.out(|o| o.url.clone())),
            (env::CHATS_TABLE, self.data.chats.out(|o| o.name.clone())),
            (env::TELEGRAM_TOKEN_SECRET, self.secrets.token.out(|o| o.name.clone())),
            (env::TELEGRAM_API_URL, Input::Known(b.spec.telegram.api_url.clone())),
        ];
        all.extend(self.secrets.certificate.iter().map(|c| (env::CERTIFICATE_SECRET, c.out(|o| o.name.clone()))));
        self.with_common(b, all)
    }

    fn yolo5(&self, b: &Builder) -> Vec<(String, Input<String>)> {
        let confidence = b.spec.yolo5.as_ref().map_or(0.25, |y| y.confidence);
        let all = vec![
            (env::IDENTIFY_QUEUE_URL, self.queues.identify.out(|o| o.url.clone())),
            (env::RESULTS_QUEUE_URL, self.queues.results.out(|o| o.url.clone())),
            (env::CONFIDENCE, Input::Known(confidence.to_string())),
            // Names that follow from the spec: the group and its hooks come after what its instances are made from.
            (env::SCALING_GROUP, Input::Known(b.names.plain(Service::Yolo5.name(), 255))),
            (env::LAUNCH_HOOK, Input::Known(b.names.plain(LAUNCH, 255))),
            (env::TERMINATION_HOOK, Input::Known(b.names.plain(TERMINATION, 255))),
        ];
        self.with_common(b, all)
    }

    fn with_common(&self, b: &Builder, mut all: Vec<(&str, Input<String>)>) -> Vec<(String, Input<String>)> {
        all.extend([
            (env::AWS_REGION, Input::Known(b.spec.region.to_string())),
            (env::PREDICTIONS_TABLE, self.data.predictions.out(|o| o.name.clone())),
            (env::IMAGES_BUCKET, self.data.bucket.out(Clone::clone)),
            (env::IMAGE_PREFIX, Input::Known(b.spec.bucket.image_prefix.clone())),
        ]);
        all.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
    }
}

/// The live one at an address, with its outputs.
fn live<'a, R: Resource>(plan: &'a Plan, name: &str) -> Option<(&'a Found, &'a R::Output)> {
    let is_it = |f: &&Found| {
        f.address.kind == R::KIND
            && f.address.name == name
            && f.owner == Owner::Ours
            && !matches!(f.phase, Phase::Deleting(_))
    };
    plan.found.iter().filter(is_it).find_map(|f| Some((f, f.output::<R>()?)))
}

/// The variables of a service, as its instances get them. Those of resources that do not exist yet are left out.
pub fn environment(connection: &Connection, plan: &Plan, service: Service) -> Vec<(&'static str, String)> {
    let spec = &connection.spec.spec;
    let queue = |name: &str| live::<Queue>(plan, name).map(|(_, o)| o.url.clone());
    let table = |name: &str| live::<Table>(plan, name).map(|(_, o)| o.name.clone());
    let secret = |name: &str| live::<Secret>(plan, name).map(|(_, o)| o.name.clone());
    let mut all = vec![
        (env::AWS_REGION, Some(spec.region.to_string())),
        (env::IDENTIFY_QUEUE_URL, queue("identify")),
        (env::RESULTS_QUEUE_URL, queue("results")),
        (env::PREDICTIONS_TABLE, table("predictions")),
        (env::IMAGES_BUCKET, live::<Bucket>(plan, "images").map(|(_, o)| o.clone())),
        (env::IMAGE_PREFIX, Some(spec.bucket.image_prefix.clone())),
    ];
    match service {
        Service::Polybot => all.extend([
            (env::WORK_QUEUE_URL, queue("work")),
            (env::CHATS_TABLE, table("chats")),
            (env::TELEGRAM_TOKEN_SECRET, secret("telegram-token")),
            (env::CERTIFICATE_SECRET, secret("certificate")),
            (env::TELEGRAM_API_URL, Some(spec.telegram.api_url.clone())),
        ]),
        Service::Yolo5 => {
            let confidence = spec.yolo5.as_ref().map(|y| y.confidence.to_string());
            all.push((env::CONFIDENCE, confidence));
        }
    }
    all.into_iter().filter_map(|(k, v)| Some((k, v?))).collect()
}

/// What the stack offers to people and programs.
pub fn outputs(connection: &Connection, plan: &Plan) -> Vec<(String, Value)> {
    let spec = &connection.spec.spec;
    let mut all = vec![("botUrl".to_owned(), json!(format!("https://{}:{PORT}", connection.aws.known.host)))];
    let mut add = |name: &str, value: Option<String>| all.extend(value.map(|v| (name.to_owned(), json!(v))));
    add("loadBalancer", live::<LoadBalancer>(plan, "bot").map(|(_, o)| o.dns_name.clone()));
    add("certificateArn", live::<Certificate>(plan, "bot").map(|(_, o)| o.arn.0.clone()));
    for name in ["identify", "results", "work"] {
        add(&format!("{name}QueueUrl"), live::<Queue>(plan, name).map(|(_, o)| o.url.clone()));
    }
    for name in ["predictions", "chats"] {
        add(&format!("{name}Table"), live::<Table>(plan, name).map(|(_, o)| o.name.clone()));
    }
    add("imagesBucket", live::<Bucket>(plan, "images").map(|(_, o)| o.clone()));
    for service in [Service::Polybot, Service::Yolo5] {
        let repository = live::<Repository>(plan, repository_name(spec, service));
        add(&format!("{}Repository", service.name()), repository.map(|(_, o)| o.uri.clone()));
    }
    all
}
