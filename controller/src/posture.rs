//! How safe the stack is that a spec stands for, judged without AWS: each rule looks at the resources that would be made, so
//! it sees what the spec leaves to defaults too. Rules bear the identifiers of Checkov
//! (<https://www.checkov.io/5.Policy%20Index/cloudformation.html>) where it has the same one.

use crate::{
    engine::{Address, Resource, Slot, Wanted},
    facts::Facts,
    kinds::{
        alarm::Alarm,
        bucket::Bucket,
        launch_template_version::LaunchTemplateVersion,
        listener::Listener,
        load_balancer::{LoadBalancer, PROTECTION},
        queue::Queue,
        repository::Repository,
        role::Role,
        rollout::Rollout,
        scaling_group::ScalingGroup,
        security_group_rule::{Direction, Peer, SecurityGroupRule},
        table::Table,
        vpc::Vpc,
    },
    spec::{Cidr, PolybotStack},
    stack,
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use time::Date;

/// One rule judged on one resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Judgement {
    /// Identifier of the rule: Checkov's, or `POLYBOT_…` of our own.
    pub rule: String,
    /// What it asks for.
    pub title: String,
    /// Address of the resource, or `stack`.
    pub address: String,
    /// `pass`, `fail` or `waived`.
    pub outcome: Outcome,
    /// Why it fails, or why it is waived.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// How a rule was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// Kept.
    Pass,
    /// Not kept, for a reason that somebody gave.
    Waived,
    /// Not kept.
    Fail,
}

/// What costs money every month and is not built: told, so that nobody takes it for granted.
const NOT_BUILT: [(&str, &str, &str); 9] = [
    (
        "CKV_AWS_88",
        "Instances have no public address",
        "private subnets need a NAT gateway or endpoints, from 33 USD a month; no rule lets anything in from outside",
    ),
    (
        "CKV2_AWS_11",
        "VPC flow logs are kept",
        "they are paid by volume; security groups admit only Telegram and the load balancer",
    ),
    ("CKV_AWS_91", "The load balancer logs accesses", "logs are paid by volume; the bots log each update"),
    (
        "CKV2_AWS_28",
        "The load balancer is behind a web application firewall",
        "it answers Telegram's two address ranges only, and the bots check a secret header",
    ),
    (
        "CKV_AWS_149",
        "Secrets are encrypted with a key of one's own",
        "a key costs 1 USD a month; AWS's own key encrypts them",
    ),
    (
        "CKV_AWS_119",
        "Tables are encrypted with a key of one's own",
        "a key costs 1 USD a month; AWS's own key encrypts them",
    ),
    (
        "CKV_AWS_136",
        "Image repositories are encrypted with a key of one's own",
        "a key costs 1 USD a month; AWS's own key encrypts them",
    ),
    (
        "CKV_AWS_26",
        "Topics are encrypted",
        "needs a key of one's own; messages name instances and hold no data of users",
    ),
    (
        "CKV2_AWS_57",
        "Secrets rotate by themselves",
        "Telegram's tokens cannot be rotated by a program: a person asks BotFather",
    ),
];

/// Telegram's addresses (<https://core.telegram.org/bots/webhooks>).
const TELEGRAM: [Cidr; 2] = [Cidr::literal([149, 154, 160, 0], 20), Cidr::literal([91, 108, 4, 0], 22)];

struct Judge<'a> {
    wanted: &'a Wanted,
    all: Vec<Judgement>,
}

impl Judge<'_> {
    fn note(&mut self, rule: &str, title: &str, address: &str, verdict: Result<(), String>) {
        let (outcome, why) = match verdict {
            Ok(()) => (Outcome::Pass, String::new()),
            Err(why) => (Outcome::Fail, why),
        };
        let (rule, title, address) = (rule.to_owned(), title.to_owned(), address.to_owned());
        self.all.push(Judgement { rule, title, address, outcome, why });
    }

    fn waived(&mut self, rule: &str, title: &str, why: &str) {
        let (rule, title, address, why) = (rule.to_owned(), title.to_owned(), "stack".to_owned(), why.to_owned());
        self.all.push(Judgement { rule, title, address, outcome: Outcome::Waived, why });
    }

    fn each<R: Resource>(&mut self, rule: &str, title: &str, judge: impl Fn(&Address, &R) -> Result<(), String>) {
        let wanted = self.wanted;
        for (address, resource) in wanted.of::<R>() {
            self.note(rule, title, &address.to_string(), judge(address, resource));
        }
    }
}

fn must(kept: bool, why: &str) -> Result<(), String> {
    if kept { Ok(()) } else { Err(why.to_owned()) }
}

/// The rule that a rollout is watched for long enough.
pub const WATCHED: &str = "POLYBOT_8";

/// Judges a spec. Waivers count to their last day.
pub fn judge(stack: &PolybotStack, today: Date) -> Vec<Judgement> {
    let wanted = stack::stack(stack, &Facts::assumed(stack));
    let mut j = Judge { wanted: &wanted, all: vec![] };
    network(&mut j);
    data(&mut j);
    access(&mut j);
    rollouts(&mut j);
    of_the_spec(&mut j, stack);
    for (rule, title, why) in NOT_BUILT {
        j.waived(rule, title, why);
    }
    for judged in j.all.iter_mut().filter(|judged| judged.outcome == Outcome::Fail) {
        if let Some(waiver) = stack.spec.waivers.iter().find(|w| w.rule == judged.rule && w.until.date() >= today) {
            judged.outcome = Outcome::Waived;
            judged.why = format!("{} (until {}; {})", waiver.reason, waiver.until, judged.why);
        }
    }
    j.all.sort_by(|a, b| (b.outcome, &a.rule, &a.address).cmp(&(a.outcome, &b.rule, &b.address)));
    j.all
}

fn network(j: &mut Judge) {
    j.each::<Vpc>("CKV2_AWS_12", "The default security group lets nothing through", |_, v| {
        must(v.default_group_rules.is_empty(), "it has rules")
    });
    j.each::<SecurityGroupRule>("CKV_AWS_24", "No SSH from everywhere", |_, r| {
        let ssh = r.direction == Direction::In && r.ports.is_none_or(|(from, to)| from <= 22 && to >= 22);
        must(!ssh || !matches!(&r.peer, Peer::Cidr(cidr) if cidr == "0.0.0.0/0"), "port 22 is open to everyone")
    });
    j.each::<SecurityGroupRule>("CKV_AWS_23", "Every rule says what it is for", |_, r| {
        must(!r.description.is_empty(), "no description")
    });
    j.each::<SecurityGroupRule>("POLYBOT_1", "Only Telegram reaches the load balancer", |address, r| {
        let cidr = match (&r.peer, r.direction) {
            (Peer::Cidr(cidr), Direction::In) if address.name.starts_with("balancer-") => cidr,
            _ => return Ok(()),
        };
        let within = cidr.parse().is_ok_and(|c: Cidr| TELEGRAM.iter().any(|t| t.contains(c)));
        must(within, &format!("{cidr} is not Telegram's (149.154.160.0/20, 91.108.4.0/22)"))
    });
    j.each::<Listener>("CKV_AWS_2", "The load balancer speaks HTTPS", |_, l| {
        must(l.protocol == "HTTPS", &format!("it speaks {}", l.protocol))
    });
    j.each::<Listener>("CKV_AWS_103", "TLS 1.2 at least", |_, l| {
        must(l.tls_policy.contains("TLS13-1-2") || l.tls_policy.contains("TLS13-1-3"), &l.tls_policy)
    });
    let attribute = |rule: &str, title: &str, key: &'static str, value: &'static str, j: &mut Judge| {
        j.each::<LoadBalancer>(rule, title, |_, b| {
            must(b.attributes.get(key).is_some_and(|v| v == value), &format!("{key} is not {value}"))
        });
    };
    attribute("CKV_AWS_150", "The load balancer is protected against deletion", PROTECTION, "true", j);
    let drop_invalid = "routing.http.drop_invalid_header_fields.enabled";
    attribute("CKV_AWS_131", "Invalid headers are dropped", drop_invalid, "true", j);
    attribute(
        "CKV_AWS_328",
        "Requests that mean two things are refused",
        "routing.http.desync_mitigation_mode",
        "defensive",
        j,
    );
    j.each::<ScalingGroup>(
        "CKV_AWS_153",
        "A group behind the load balancer replaces what it finds unhealthy",
        |_, g| must(g.target_groups.is_empty() || g.health == "ELB", "it looks at EC2's checks only"),
    );
}

fn data(j: &mut Judge) {
    j.each::<Bucket>("CKV2_AWS_6", "The bucket is private", |_, b| must(b.private, "public access is not blocked"));
    j.each::<Bucket>("CKV2_AWS_65", "The bucket knows no access lists", |_, b| must(b.owner_enforced, "they are on"));
    j.each::<Bucket>("CKV_AWS_19", "The bucket is encrypted", |_, b| must(b.encrypted, "it is not"));
    j.each::<Bucket>("CKV_AWS_379", "The bucket is reached by TLS only", |_, b| {
        must(b.policy.to_string().contains("aws:SecureTransport"), "its policy does not say so")
    });
    j.each::<Bucket>("CKV_AWS_21", "The bucket keeps versions", |_, b| {
        must(b.versioning, "an overwritten picture is lost; spec.bucket.versioning: true")
    });
    j.each::<Bucket>("CKV_AWS_300", "Uploads that were broken off are removed", |_, b| {
        must(!b.lifecycle.is_empty(), "no rule does that")
    });
    j.each::<Queue>("CKV_AWS_27", "Queues are encrypted", |_, q| must(q.encrypted, "it is not"));
    j.each::<Queue>("CKV_AWS_168", "Queues are reached by TLS only", |_, q| {
        must(q.policy.to_string().contains("aws:SecureTransport"), "its policy does not say so")
    });
    j.each::<Queue>("POLYBOT_2", "What cannot be handled is kept", |address, q| {
        must(q.dead_letters.is_some() || address.name.ends_with("-dead"), "no dead-letter queue")
    });
    j.each::<Table>("CKV_AWS_28", "Tables can be put back to any second", |_, t| must(t.recovery, "they cannot"));
    j.each::<Table>("CKV_AWS_165", "Tables are protected against deletion", |_, t| must(t.protected, "they are not"));
    j.each::<Repository>("CKV_AWS_51", "A tag of an image never moves", |_, r| must(r.immutable, "it may"));
    j.each::<Repository>("CKV_AWS_163", "Images are scanned", |_, r| must(r.scan, "they are not"));
}

fn access(j: &mut Judge) {
    type V = LaunchTemplateVersion;
    j.each::<V>("CKV_AWS_79", "Instance metadata needs a token", |_, v| {
        must(v.metadata.tokens_required, "it does not")
    });
    j.each::<V>("CKV_AWS_341", "Instance metadata does not leave the instance", |_, v| {
        must(v.metadata.hop_limit == 1, &format!("it may go {} hops", v.metadata.hop_limit))
    });
    j.each::<V>("CKV_AWS_8", "Disks are encrypted", |_, v| must(v.volume.encrypted, "they are not"));
    j.each::<V>("CKV_AWS_46", "No secret is in user data", |_, v| {
        let named = |n: &str| n.contains("TOKEN") && !n.ends_with("_SECRET");
        must(!v.user_data.environment.iter().any(|(name, _)| named(name)), "a token is in the environment")
    });
    j.each::<Role>("CKV_AWS_355", "No role may do something to everything", |_, r| {
        let broad = statements(&r.policy).filter(|s| {
            let all = |v: &Value| listed(v).any(|w| w == "*");
            let harmless = listed(&s["Action"]).all(|a| a == "ecr:GetAuthorizationToken");
            all(&s["Resource"]) && !harmless
        });
        must(broad.count() == 0, "a statement is for every resource")
    });
    j.each::<Role>("CKV_AWS_290", "No role may do everything", |_, r| {
        let broad = |a: &str| a == "*" || a.ends_with(":*");
        must(!statements(&r.policy).any(|s| listed(&s["Action"]).any(broad)), "a statement allows every action")
    });
}

fn statements(policy: &Value) -> impl Iterator<Item = &Value> {
    policy["Statement"].as_array().into_iter().flatten().filter(|s| s["Effect"] == "Allow")
}

fn listed(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice).iter().filter_map(Value::as_str)
}

fn rollouts(j: &mut Judge) {
    let wanted = j.wanted;
    j.each::<Rollout>(WATCHED, "A new version is watched until its slowest alarm can ring", |_, r| {
        let of = |address: &Address| wanted.of::<Alarm>().find(|(a, _)| *a == address).map(|(_, alarm)| alarm);
        let alarms = r.alarms.iter().filter_map(|watch| of(watch.source()?));
        let Some(slowest) = alarms.max_by_key(|alarm| alarm.rings_after()) else { return Ok(()) };
        let (bakes, rings) = (r.pace.bake, slowest.rings_after());
        let why = format!(
            "rollout.bake is {bakes}s, and {} rings within {rings}s: a version that does nothing right may pass for a good one",
            slowest.name
        );
        must(bakes >= rings, &why)
    });
}

fn of_the_spec(j: &mut Judge, stack: &PolybotStack) {
    let spec = &stack.spec;
    let clear = !spec.telegram.api_url.starts_with("https://");
    j.note(
        "POLYBOT_3",
        "The token goes to Telegram encrypted",
        "webhook/bot",
        must(!clear, "spec.telegram.apiUrl is no https"),
    );
    let images = [Some(("polybot", &spec.polybot.image)), spec.yolo5.as_ref().map(|y| ("yolo5", &y.image))];
    for (service, image) in images.into_iter().flatten() {
        let fixed = image.uri.as_ref().is_none_or(|uri| uri.contains("@sha256:"));
        let why =
            "a uri with a tag may be another image tomorrow; give it by digest, or push it to the stack's registry";
        j.note(
            "POLYBOT_4",
            "An image is known by its digest",
            &format!("launch_template_version/{service}"),
            must(fixed, why),
        );
    }
    let purge = spec.on_delete.data == crate::spec::DataPolicy::Purge
        || spec.on_delete.addresses.values().any(|p| *p == crate::spec::DataPolicy::Purge);
    j.note("POLYBOT_5", "Data outlives its resource", "stack", must(!purge, "spec.onDelete lets data go"));
    let rollouts = [Some(&spec.polybot.rollout), spec.yolo5.as_ref().map(|y| &y.rollout)];
    let back = rollouts.into_iter().flatten().all(|r| r.auto_rollback);
    j.note("POLYBOT_6", "A bad image undoes itself", "stack", must(back, "spec.*.rollout.autoRollback is off"));
    if spec.account_id.is_none() {
        j.waived("POLYBOT_7", "Credentials of another account are refused", "spec.accountId is not given: any will do");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::date;

    const TODAY: Date = date!(2026 - 06 - 01);

    fn spec() -> PolybotStack {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../specs/prod.yaml");
        crate::spec::load::load(&[path.into()]).unwrap().remove(0)
    }

    fn failing(stack: &PolybotStack) -> Vec<String> {
        judge(stack, TODAY).into_iter().filter(|j| j.outcome == Outcome::Fail).map(|j| j.rule).collect()
    }

    #[test]
    fn production_fails_nothing_and_what_it_lacks_is_told() {
        assert_eq!(failing(&spec()), Vec::<String>::new());
        let waived = judge(&spec(), TODAY).into_iter().filter(|j| j.outcome == Outcome::Waived).count();
        assert!(waived >= NOT_BUILT.len());
    }

    #[test]
    fn each_loosening_that_a_spec_can_say_is_found() {
        type Loosen = fn(&mut PolybotStack);
        let loosen: [(&str, Loosen); 8] = [
            ("CKV_AWS_21", |s| s.spec.bucket.versioning = false),
            ("POLYBOT_1", |s| s.spec.telegram.sources.push(Cidr::literal([8, 8, 8, 0], 24))),
            ("POLYBOT_3", |s| s.spec.telegram.api_url = "http://api.example.com".into()),
            ("POLYBOT_4", |s| s.spec.polybot.image.uri = Some("registry.example.com/polybot:v1".into())),
            ("POLYBOT_5", |s| s.spec.on_delete.data = crate::spec::DataPolicy::Purge),
            ("POLYBOT_6", |s| s.spec.polybot.rollout.auto_rollback = false),
            (WATCHED, |s| s.spec.polybot.rollout.bake = "10m".parse().unwrap()),
            // A job is tried for longer than the new version is watched.
            (WATCHED, |s| s.spec.queues.identify.visibility_timeout = "3m".parse().unwrap()),
        ];
        for (rule, change) in loosen {
            let mut stack = spec();
            change(&mut stack);
            assert_eq!(failing(&stack), [rule]);
        }
    }

    #[test]
    fn a_waiver_has_a_reason_and_an_end() {
        let mut stack = spec();
        stack.spec.bucket.versioning = false;
        let waiver = crate::spec::Waiver {
            rule: "CKV_AWS_21".into(),
            reason: "pictures live a day".into(),
            until: "2026-06-01".parse().unwrap(),
        };
        stack.spec.waivers.push(waiver);
        assert_eq!(failing(&stack), Vec::<String>::new());
        let judged = judge(&stack, TODAY).into_iter().find(|j| j.rule == "CKV_AWS_21").unwrap();
        assert!(judged.outcome == Outcome::Waived && judged.why.starts_with("pictures live a day (until 2026-06-01"));
        stack.spec.waivers[0].until = "2026-05-31".parse().unwrap();
        assert_eq!(failing(&stack), ["CKV_AWS_21"]);
    }
}
