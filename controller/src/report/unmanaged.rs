//! What lives in our VPC or bears our names and is not ours, and instances of ours that somebody ended. Both are told and
//! never touched: the first are others', the second are replaced by their scaling group.

use crate::{
    aws::{Aws, Result, View},
    engine::{Owner, Plan},
    kinds::{FILTER_VALUES, filter, iam_path, scaling_group, vpc::Vpc},
    ownership::STACK,
};
use aws_sdk_autoscaling::types::{AutoScalingGroup, LifecycleState::InService};
use aws_sdk_ec2::types::{Filter, InstanceStateName};
use schemars::JsonSchema;
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// A thing that is not ours.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Unmanaged {
    /// What it is.
    pub kind: String,
    /// Its id or name.
    pub id: String,
    /// Why it is told.
    pub why: String,
}

impl fmt::Display for Unmanaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.kind, self.id, self.why)
    }
}

/// What somebody did to an instance behind its group's back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It may be started again.
    Stopped,
    /// It is gone for good.
    Terminated,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stopped => "stopped",
            Self::Terminated => "terminated",
        })
    }
}

/// What was found around the stack.
#[derive(Debug, Default)]
pub struct Around {
    /// What is not ours.
    pub unmanaged: Vec<Unmanaged>,
    /// Our instances that somebody ended, and what became of them: their groups replace them.
    pub ended: Vec<(String, Ended)>,
    /// What could not be looked for, and why.
    pub unseen: Vec<(&'static str, String)>,
}

/// Everything of that sort.
pub async fn around(aws: &Aws, plan: &Plan) -> Around {
    let ours: BTreeSet<&str> = plan.found.iter().filter(|f| f.owner == Owner::Ours).map(|f| f.id.as_str()).collect();
    let foreign = plan.found.iter().filter(|f| f.owner == Owner::Foreign);
    let mut all: BTreeSet<Unmanaged> = foreign
        .map(|f| Unmanaged {
            kind: f.address.kind.to_owned(),
            id: f.id.clone(),
            why: "it bears our prefix and not our tag".to_owned(),
        })
        .collect();
    let mut unseen = vec![];
    let mut seen = |kind: &'static str, list: Result<Vec<String>>| {
        list.unwrap_or_else(|error| {
            unseen.push((kind, error.to_string()));
            vec![]
        })
    };
    let vpcs = plan
        .found
        .iter()
        .filter(|f| f.owner == Owner::Ours && f.address.kind == <Vpc as crate::engine::Resource>::KIND);
    for vpc in vpcs {
        let lists = futures::join!(
            groups(aws, &vpc.id),
            subnets(aws, &vpc.id),
            route_tables(aws, &vpc.id),
            gateways(aws, &vpc.id),
            endpoints(aws, &vpc.id),
            balancers(aws, &vpc.id),
            instances(aws, &vpc.id)
        );
        let lists = [
            ("security group", lists.0),
            ("subnet", lists.1),
            ("route table", lists.2),
            ("NAT gateway", lists.3),
            ("VPC endpoint", lists.4),
            ("load balancer", lists.5),
            ("instance", lists.6),
        ];
        for (kind, list) in lists {
            let others = seen(kind, list).into_iter().filter(|id| !ours.contains(id.as_str()));
            let why = format!("it is in {} and not of this stack", vpc.id);
            all.extend(others.map(|id| Unmanaged { kind: kind.to_owned(), id, why: why.clone() }));
        }
    }
    let (tables, profiles) = futures::join!(tables(aws), profiles(aws));
    for (kind, list) in [("table", tables), ("instance profile", profiles)] {
        let found = |id: &String| plan.found.iter().any(|f| f.id == *id);
        let why = "it bears our prefix, and no part of the stack is called that";
        all.extend(seen(kind, list).into_iter().filter(|id| !found(id)).map(|id| Unmanaged {
            kind: kind.to_owned(),
            id,
            why: why.to_owned(),
        }));
    }
    let ended = ended(aws).await.unwrap_or_else(|error| {
        unseen.push(("running instance", error.to_string()));
        vec![]
    });
    Around { unmanaged: all.into_iter().collect(), ended, unseen }
}

async fn groups(aws: &Aws, vpc: &str) -> Result<Vec<String>> {
    let mut pages = aws.ec2.describe_security_groups().filters(filter("vpc-id", vpc)).into_paginator().items().send();
    let mut ids = vec![];
    while let Some(group) = pages.next().await {
        let group = group?;
        // Every VPC has one; the VPC kind sees to it that it is empty.
        if group.group_name() != Some("default") {
            ids.extend(group.group_id);
        }
    }
    Ok(ids)
}

async fn subnets(aws: &Aws, vpc: &str) -> Result<Vec<String>> {
    let answer = aws.ec2.describe_subnets().filters(filter("vpc-id", vpc)).send().await?;
    Ok(answer.subnets.unwrap_or_default().into_iter().filter_map(|s| s.subnet_id).collect())
}

async fn route_tables(aws: &Aws, vpc: &str) -> Result<Vec<String>> {
    let answer = aws.ec2.describe_route_tables().filters(filter("vpc-id", vpc)).send().await?;
    let main = |t: &aws_sdk_ec2::types::RouteTable| t.associations().iter().any(|a| a.main() == Some(true));
    Ok(answer.route_tables().iter().filter(|t| !main(t)).filter_map(|t| t.route_table_id.clone()).collect())
}

async fn gateways(aws: &Aws, vpc: &str) -> Result<Vec<String>> {
    let answer = aws.ec2.describe_nat_gateways().filter(filter("vpc-id", vpc)).send().await?;
    Ok(answer.nat_gateways.unwrap_or_default().into_iter().filter_map(|g| g.nat_gateway_id).collect())
}

async fn endpoints(aws: &Aws, vpc: &str) -> Result<Vec<String>> {
    let answer = aws.ec2.describe_vpc_endpoints().filters(filter("vpc-id", vpc)).send().await?;
    Ok(answer.vpc_endpoints.unwrap_or_default().into_iter().filter_map(|e| e.vpc_endpoint_id).collect())
}

async fn balancers(aws: &Aws, vpc: &str) -> Result<Vec<String>> {
    let mut pages = aws.elb.describe_load_balancers().into_paginator().items().send();
    let mut ids = vec![];
    while let Some(balancer) = pages.next().await {
        let balancer = balancer?;
        if balancer.vpc_id() == Some(vpc) {
            ids.extend(balancer.load_balancer_name);
        }
    }
    Ok(ids)
}

/// Those with our prefix. The list goes in alphabetical order, so it can begin right before our names.
async fn tables(aws: &Aws) -> Result<Vec<String>> {
    let prefix = format!("{}-", aws.ownership.prefix);
    let mut names = vec![];
    let mut start = aws.ownership.prefix.clone();
    loop {
        let page = aws.dynamodb.list_tables().exclusive_start_table_name(&start).send().await?;
        names.extend(page.table_names.unwrap_or_default().into_iter().filter(|n| n.starts_with(&prefix)));
        match page.last_evaluated_table_name {
            Some(last) if last.starts_with(&prefix) || last < prefix => start = last,
            _ => return Ok(names),
        }
    }
}

/// Those on this stack's path.
async fn profiles(aws: &Aws) -> Result<Vec<String>> {
    let mut pages = aws.iam.list_instance_profiles().path_prefix(iam_path(aws)).into_paginator().items().send();
    let mut names = vec![];
    while let Some(profile) = pages.next().await {
        names.push(profile?.instance_profile_name);
    }
    Ok(names)
}

/// Those that no group of ours has made.
async fn instances(aws: &Aws, vpc: &str) -> Result<Vec<String>> {
    let there = Filter::builder().name("instance-state-name");
    let there = there.values("pending").values("running").values("stopping").values("stopped").build();
    let call = aws.ec2.describe_instances().filters(filter("vpc-id", vpc)).filters(there);
    let mut pages = call.into_paginator().items().send();
    let tagged = |t: &aws_sdk_ec2::types::Tag| t.key() == Some(STACK) && t.value() == Some(&*aws.ownership.stack);
    let mut others = vec![];
    while let Some(reservation) = pages.next().await {
        let instances = reservation?.instances.unwrap_or_default().into_iter();
        others.extend(instances.filter(|i| !i.tags().iter().any(tagged)).filter_map(|i| i.instance_id));
    }
    Ok(others)
}

/// Instances that a group of ours takes for serving and that do not run: a group notices within minutes, and one that it takes
/// away itself it takes for serving no more.
async fn ended(aws: &Aws) -> Result<Vec<(String, Ended)>> {
    let groups = scaling_group::groups(&View::new(aws)).await?;
    let serving =
        groups.0.iter().flat_map(AutoScalingGroup::instances).filter(|i| i.lifecycle_state() == Some(&InService));
    let serving: Vec<String> = serving.filter_map(|i| i.instance_id.clone()).collect();
    let mut ended = vec![];
    for some in serving.chunks(FILTER_VALUES) {
        let these = Filter::builder().name("instance-id").set_values(Some(some.to_vec())).build();
        let mut pages = aws.ec2.describe_instances().filters(these).into_paginator().items().send();
        let mut states = BTreeMap::new();
        while let Some(reservation) = pages.next().await {
            let instances = reservation?.instances.unwrap_or_default().into_iter();
            states.extend(instances.filter_map(|i| Some((i.instance_id?, i.state?.name?))));
        }
        ended.extend(some.iter().filter_map(|id| match states.get(id) {
            Some(InstanceStateName::Pending | InstanceStateName::Running) => None,
            Some(InstanceStateName::Stopping | InstanceStateName::Stopped) => Some((id.clone(), Ended::Stopped)),
            // AWS forgets an instance an hour after its end.
            _ => Some((id.clone(), Ended::Terminated)),
        }));
    }
    Ok(ended)
}
