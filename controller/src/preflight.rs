//! What would stop an apply half-way, found before it begins. Reads only, but for one call that asks EC2 with `DryRun`
//! whether it would be allowed.

use crate::{
    aws::{Error, View},
    engine::{Owner, Plan},
    facts::Facts,
    kinds::{repository::Repository, secret::Secret, vpc::Vpc},
    permissions::policy,
    reconcile::Connection,
};
use aws_sdk_iam::types::PolicyEvaluationDecisionType as Decision;
use schemars::JsonSchema;
use serde::Serialize;
use std::{cmp::Reverse, fmt};

/// Quota of VPCs in a region.
const VPCS: &str = "L-F678F1CE";

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What was looked at.
    pub what: String,
    /// How it is.
    pub state: State,
    /// What was found, and how to mend it.
    pub text: String,
}

/// How a thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// As it must be.
    Ready,
    /// It could not be looked at.
    Unknown,
    /// An apply would not get past it.
    Problem,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.state {
            State::Ready => "ready",
            State::Unknown => "unknown",
            State::Problem => "problem",
        };
        write!(f, "{word:<8} {}: {}", self.what, self.text)
    }
}

fn finding(what: &str, verdict: Result<String, String>) -> Finding {
    let (state, text) = match verdict {
        Ok(text) => (State::Ready, text),
        Err(text) => (State::Problem, text),
    };
    Finding { what: what.to_owned(), state, text }
}

fn unknown(what: &str, text: impl fmt::Display) -> Finding {
    Finding { what: what.to_owned(), state: State::Unknown, text: text.to_string() }
}

/// Everything that an apply of this plan stands on.
pub async fn look(c: &Connection, plan: &Plan) -> Vec<Finding> {
    let view = View::new(&c.aws);
    let (facts, zone, bucket, vpcs, dry, permissions) = futures::join!(
        Facts::gather(&c.spec, &view),
        zone(c),
        bucket(c, plan),
        vpcs(c, plan),
        dry_run(c),
        permissions(c)
    );
    let mut all = vec![finding("account", Ok(format!("{} in {}", c.aws.account, c.aws.region))), zone];
    let short = |s: &String| s.clone();
    all.push(finding("machine image", facts.ami.as_ref().map(short).map_err(Clone::clone)));
    for (service, image) in &facts.images {
        let absent = *service == crate::stack::Service::Yolo5 && c.spec.spec.yolo5.is_none();
        if absent {
            continue;
        }
        let what = format!("image of {}", service.name());
        let repository =
            plan.found.iter().any(|f| f.state::<Repository>().is_some() && f.address.name == service.name());
        all.push(match image {
            // The first apply makes the repository that the image is then pushed to.
            Err(why) if !repository => unknown(&what, why),
            image => finding(&what, image.as_ref().map(short).map_err(Clone::clone)),
        });
    }
    all.push(finding("bot token", facts.token.map(|_| "of the right form".to_owned())));
    all.push(finding("Telegram", facts.telegram.map(|()| "it answers".to_owned())));
    all.extend([bucket, vpcs, dry, permissions]);
    let foreign = plan.found.iter().filter(|f| f.owner == Owner::Foreign);
    all.extend(foreign.map(|f| {
        let why = format!("{} stands there and is not of this stack; {}", f.id, c.aws.ownership.adopt_hint(&f.address));
        finding(&format!("name of {}", f.address), Err(why))
    }));
    let leaving = plan.found.iter().filter(|f| f.state::<Secret>().is_some_and(|s| s.scheduled_for_deletion));
    all.extend(leaving.map(|f| {
        finding(&f.address.to_string(), Ok("it is scheduled for deletion, and will be brought back".to_owned()))
    }));
    all.sort_by_key(|f| Reverse(f.state));
    all
}

async fn zone(c: &Connection) -> Finding {
    let name = &c.aws.known.hosted_zone;
    let call = c.aws.route53.list_hosted_zones_by_name().dns_name(format!("{name}.")).max_items(1);
    match call.send().await {
        Err(e) => unknown("hosted zone", Error::from(e)),
        Ok(found) => {
            let zone = found.hosted_zones().iter().find(|z| z.name().trim_end_matches('.') == name);
            let public = zone.map(|z| !z.config().is_some_and(aws_sdk_route53::types::HostedZoneConfig::private_zone));
            let mend = "create a public one, or correct spec.domain.hostedZone";
            finding(
                "hosted zone",
                match public {
                    Some(true) => Ok(name.clone()),
                    Some(false) => Err(format!("{name} is private, so Telegram cannot resolve it; {mend}")),
                    None => Err(format!("there is none called {name}; {mend}")),
                },
            )
        }
    }
}

/// Bucket names are shared by all accounts of the world.
async fn bucket(c: &Connection, plan: &Plan) -> Finding {
    let name = &c.aws.known.bucket;
    let what = "bucket name";
    if plan.found.iter().any(|f| f.id == *name) {
        return finding(what, Ok(format!("{name} is ours")));
    }
    match c.aws.s3.head_bucket().bucket(name).send().await {
        Err(e) => match e.raw_response().map(|r| r.status().as_u16()) {
            Some(404) => finding(what, Ok(format!("{name} is free"))),
            Some(403) => finding(what, Err(format!("{name} belongs to another account; choose another spec.prefix"))),
            _ => unknown(what, Error::from(e)),
        },
        Ok(_) => finding(
            what,
            Err(format!("{name} stands and is not of this stack; remove it, or choose another spec.prefix")),
        ),
    }
}

async fn vpcs(c: &Connection, plan: &Plan) -> Finding {
    let what = "room for a VPC";
    if plan.found.iter().any(|f| f.state::<Vpc>().is_some() && f.owner == Owner::Ours) {
        return finding(what, Ok("the stack has its own".to_owned()));
    }
    let quota = c.aws.quotas.get_service_quota().service_code("vpc").quota_code(VPCS).send();
    let (quota, used) = futures::join!(quota, c.aws.ec2.describe_vpcs().send());
    match (quota.map_err(Error::from), used.map_err(Error::from)) {
        (Ok(quota), Ok(used)) => {
            let most = quota.quota.and_then(|q| q.value).unwrap_or_default();
            let used = u32::try_from(used.vpcs().len()).unwrap_or(u32::MAX);
            let text = format!("{used} of {most} in {}", c.aws.region);
            let mend = format!("{text}; remove one, or raise quota {VPCS}");
            finding(what, if f64::from(used) < most { Ok(text) } else { Err(mend) })
        }
        (Err(e), _) | (_, Err(e)) => unknown(what, e),
    }
}

/// EC2 answers a dry run with one of two errors, which tell whether the call would be allowed.
async fn dry_run(c: &Connection) -> Finding {
    let what = "EC2";
    let cidr = c.spec.spec.network.cidr.to_string();
    match c.aws.ec2.create_vpc().cidr_block(cidr).dry_run(true).send().await.map_err(Error::from) {
        Err(e) if e.code == "DryRunOperation" => finding(what, Ok("a VPC may be created".to_owned())),
        Err(e) if e.code == "UnauthorizedOperation" => {
            finding(what, Err("a VPC may not be created; see `controller iam-policy`".to_owned()))
        }
        Err(e) => unknown(what, e),
        Ok(_) => unknown(what, "it does not know dry runs"),
    }
}

/// Asks IAM about every action of the policy that `iam-policy` prints.
async fn permissions(c: &Connection) -> Finding {
    let what = "permissions";
    let policy = policy(&c.spec, &c.aws.account, false);
    let statements = policy["Statement"].as_array().into_iter().flatten();
    let actions: Vec<String> = statements
        .flat_map(|s| s["Action"].as_array().into_iter().flatten())
        .filter_map(|a| Some(a.as_str()?.to_owned()))
        .collect();
    let call = c.aws.iam.simulate_principal_policy().policy_source_arn(principal(&c.aws.identity));
    let mut pages = call.set_action_names(Some(actions)).into_paginator().items().send();
    let mut denied = vec![];
    while let Some(result) = pages.next().await {
        match result {
            Ok(result) if *result.eval_decision() != Decision::Allowed => {
                denied.push(result.eval_action_name().to_owned());
            }
            Ok(_) => {}
            Err(e) => return unknown(what, Error::from(e)),
        }
    }
    let mend = "a role bound to this stack's resources may have them all the same: see `controller iam-policy`";
    match denied.len() {
        0 => finding(what, Ok("every action that is needed is allowed".to_owned())),
        n => unknown(what, format!("{n} are not allowed for every resource ({}); {mend}", denied.join(", "))),
    }
}

/// The role behind a session of it: simulations are of roles and users.
fn principal(arn: &str) -> String {
    match arn.strip_prefix("arn:aws:sts::").and_then(|rest| rest.split_once(":assumed-role/")) {
        Some((account, rest)) => {
            format!("arn:aws:iam::{account}:role/{}", rest.split('/').next().unwrap_or_default())
        }
        None => arn.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::principal;

    #[test]
    fn a_session_stands_for_its_role() {
        assert_eq!(principal("arn:aws:sts::1:assumed-role/ci/run-7"), "arn:aws:iam::1:role/ci");
        assert_eq!(principal("arn:aws:iam::1:user/ada"), "arn:aws:iam::1:user/ada");
    }
}
