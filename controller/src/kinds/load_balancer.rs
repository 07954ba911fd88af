//! The load balancer that Telegram reaches.

use super::{Arn, GroupId, SubnetId, VpcId, differing_attributes, elb_mine, elb_tags, gone, hashed_name, same_set};
use crate::{
    aws::{Aws, Error, Result, TagTarget, View},
    engine::{Change, How, Input, Live, Phase, Resource, Slot, Tags, differs, differs_as},
    sdk_tags,
};
use aws_sdk_elasticloadbalancingv2::types::{
    Listener as ElbListener, LoadBalancer as ElbLoadBalancer, LoadBalancerAttribute, LoadBalancerSchemeEnum,
    LoadBalancerStateEnum, TargetGroup as ElbTargetGroup,
};
use futures::future::try_join_all;
use std::{collections::BTreeMap, sync::Arc};

/// An application load balancer.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadBalancer {
    /// What its name begins with; a hash of scheme and VPC follows.
    pub base_name: String,
    /// Reachable from the internet; cannot be changed.
    pub internet_facing: bool,
    /// The VPC, by its subnets; cannot be changed.
    pub vpc: Input<VpcId>,
    /// A subnet in each zone, at least two.
    pub subnets: Vec<Input<SubnetId>>,
    /// Who may reach it and what it may reach.
    pub groups: Vec<Input<GroupId>>,
    /// Attributes by AWS's names; others stay as they are.
    pub attributes: BTreeMap<String, String>,
}

/// What a load balancer offers to others.
#[derive(Clone, Debug)]
pub struct LoadBalancerOut {
    /// Its ARN.
    pub arn: Arn,
    /// Its host name.
    pub dns_name: String,
    /// Hosted zone of that name, for alias records.
    pub zone: String,
}

/// The load balancers of the region.
struct Balancers(Vec<ElbLoadBalancer>);

/// The target groups of the region.
struct Groups(Vec<ElbTargetGroup>);

/// The listeners of one load balancer.
struct Listeners(Vec<ElbListener>);

/// The stack's load balancers, their listeners and the target groups with their tags: one call for the tags of all.
pub(super) struct Edge {
    pub balancers: Vec<(ElbLoadBalancer, Tags)>,
    pub groups: Vec<(ElbTargetGroup, Tags)>,
    pub listeners: Vec<(ElbListener, Tags)>,
}

pub(super) async fn edge(view: &View) -> Result<Arc<Edge>> {
    view.once(|| async {
        let (balancers, groups) = futures::try_join!(list_balancers(view), list_groups(view))?;
        let listeners = list_listeners(view, &balancers).await?;
        let arns = balancers.iter().filter_map(|b| b.load_balancer_arn.clone());
        let arns = arns.chain(groups.iter().filter_map(|g| g.target_group_arn.clone()));
        let arns: Vec<String> = arns.chain(listeners.iter().filter_map(|l| l.listener_arn.clone())).collect();
        let tags = view.detail(&arns.join(" "), || elb_tags(view, &arns)).await?;
        let of = |arn: &str| tags.0.get(arn).cloned().unwrap_or_default();
        Ok(Edge {
            balancers: balancers
                .into_iter()
                .map(|b| (b.clone(), of(b.load_balancer_arn().unwrap_or_default())))
                .collect(),
            groups: groups.into_iter().map(|g| (g.clone(), of(g.target_group_arn().unwrap_or_default()))).collect(),
            listeners: listeners.into_iter().map(|l| (l.clone(), of(l.listener_arn().unwrap_or_default()))).collect(),
        })
    })
    .await
}

async fn list_balancers(view: &View) -> Result<Vec<ElbLoadBalancer>> {
    let read = || async {
        let pages = view.elb.describe_load_balancers().into_paginator().items().send();
        Ok(Balancers(pages.collect::<Result<_, _>>().await?))
    };
    let all = view.shared(read).await?;
    Ok(all.0.iter().filter(|b| elb_mine(view, b.load_balancer_name())).cloned().collect())
}

async fn list_listeners(view: &View, balancers: &[ElbLoadBalancer]) -> Result<Vec<ElbListener>> {
    let of_each = balancers.iter().filter_map(|b| b.load_balancer_arn()).map(|arn| {
        view.detail(arn, move || async move {
            let pages = view.elb.describe_listeners().load_balancer_arn(arn).into_paginator().items().send();
            match pages.collect::<Result<_, _>>().await.map_err(Error::from) {
                Ok(all) => Ok(Listeners(all)),
                // The load balancer went meanwhile, and its listeners with it.
                Err(e) if e.is_not_found() => Ok(Listeners(vec![])),
                Err(e) => Err(e),
            }
        })
    });
    Ok(try_join_all(of_each).await?.iter().flat_map(|all| all.0.clone()).collect())
}

async fn list_groups(view: &View) -> Result<Vec<ElbTargetGroup>> {
    let read = || async {
        let pages = view.elb.describe_target_groups().into_paginator().items().send();
        Ok(Groups(pages.collect::<Result<_, _>>().await?))
    };
    let all = view.shared(read).await?;
    Ok(all.0.iter().filter(|g| elb_mine(view, g.target_group_name())).cloned().collect())
}

impl Resource for LoadBalancer {
    const KIND: &'static str = "load_balancer";
    const AFTER: &'static [&'static str] = &["internet_gateway", "route_table"];
    type Output = LoadBalancerOut;

    fn inputs(&mut self) -> Vec<&mut dyn Slot> {
        let mut slots: Vec<&mut dyn Slot> = vec![&mut self.vpc];
        slots.extend(self.subnets.iter_mut().map(|s| s as &mut dyn Slot));
        slots.extend(self.groups.iter_mut().map(|g| g as &mut dyn Slot));
        slots
    }

    fn changes(&self, live: &Self) -> Vec<Change> {
        let Self { base_name: _, internet_facing, vpc, subnets, groups, attributes } = self;
        let mut changes: Vec<_> = [
            differs("internet_facing", internet_facing, &live.internet_facing, How::CreateFirst),
            differs("vpc", vpc, &live.vpc, How::CreateFirst),
        ]
        .into_iter()
        .flatten()
        .collect();
        if !same_set(subnets, &live.subnets) {
            changes.push(differs_as("subnets", format!("{:?}", live.subnets), format!("{subnets:?}"), How::InPlace));
        }
        if !same_set(groups, &live.groups) {
            changes.push(differs_as("groups", format!("{:?}", live.groups), format!("{groups:?}"), How::InPlace));
        }
        changes.extend(differing_attributes(attributes, &live.attributes));
        changes
    }

    async fn list(view: &View) -> Result<Vec<Live<Self>>> {
        let edge = edge(view).await?;
        try_join_all(edge.balancers.iter().map(|(b, tags)| read(view, b, tags))).await
    }

    async fn create(&self, aws: &Aws, tags: &Tags) -> Result<LoadBalancerOut> {
        let scheme = if self.internet_facing {
            LoadBalancerSchemeEnum::InternetFacing
        } else {
            LoadBalancerSchemeEnum::Internal
        };
        let name = hashed_name(&self.base_name, 32, &[scheme.as_str(), &self.vpc.get()?.0]);
        let call = aws.elb.create_load_balancer().name(name).scheme(scheme).set_subnets(Some(self.subnet_ids()?));
        let call = call.set_security_groups(Some(self.group_ids()?));
        let call = call.set_tags(Some(sdk_tags!(aws_sdk_elasticloadbalancingv2, tags)));
        let made = call.send().await?.load_balancers.unwrap_or_default().into_iter().next();
        let made = made.ok_or_else(|| Error::internal("AWS made no load balancer"))?;
        let output = output(&made);
        self.set_attributes(aws, &output.arn).await?;
        Ok(output)
    }

    async fn update(&self, aws: &Aws, live: &Live<Self>, changes: &[Change]) -> Result<LoadBalancerOut> {
        let arn = &live.output.arn;
        if changes.iter().any(|c| c.field == "subnets") {
            aws.elb.set_subnets().load_balancer_arn(&arn.0).set_subnets(Some(self.subnet_ids()?)).send().await?;
        }
        if changes.iter().any(|c| c.field == "groups") {
            let call = aws.elb.set_security_groups().load_balancer_arn(&arn.0);
            call.set_security_groups(Some(self.group_ids()?)).send().await?;
        }
        if changes.iter().any(|c| c.field == "attributes") {
            self.set_attributes(aws, arn).await?;
        }
        Ok(live.output.clone())
    }

    async fn delete(aws: &Aws, live: &Live<Self>) -> Result<()> {
        let arn = &live.output.arn.0;
        if live.state.attributes.get(PROTECTION).is_some_and(|v| v == "true") {
            let off = LoadBalancerAttribute::builder().key(PROTECTION).value("false").build();
            gone(aws.elb.modify_load_balancer_attributes().load_balancer_arn(arn).attributes(off).send().await)?;
        }
        gone(aws.elb.delete_load_balancer().load_balancer_arn(arn).send().await)
    }

    fn keys(output: &LoadBalancerOut) -> Vec<String> {
        vec![output.arn.0.clone(), output.dns_name.clone()]
    }

    fn tag_target(output: &LoadBalancerOut) -> Option<TagTarget> {
        Some(TagTarget::Elb(output.arn.0.clone()))
    }
}

/// Attribute that guards against deletion.
pub const PROTECTION: &str = "deletion_protection.enabled";

impl LoadBalancer {
    fn subnet_ids(&self) -> Result<Vec<String>> {
        self.subnets.iter().map(|s| s.get().map(ToString::to_string)).collect()
    }
    fn group_ids(&self) -> Result<Vec<String>> {
        self.groups.iter().map(|g| g.get().map(ToString::to_string)).collect()
    }
    async fn set_attributes(&self, aws: &Aws, arn: &Arn) -> Result<()> {
        let attributes =
            self.attributes.iter().map(|(k, v)| LoadBalancerAttribute::builder().key(k).value(v).build()).collect();
        let call = aws.elb.modify_load_balancer_attributes().load_balancer_arn(&arn.0);
        call.set_attributes(Some(attributes)).send().await?;
        Ok(())
    }
}

fn output(balancer: &ElbLoadBalancer) -> LoadBalancerOut {
    LoadBalancerOut {
        arn: balancer.load_balancer_arn().unwrap_or_default().into(),
        dns_name: balancer.dns_name().unwrap_or_default().to_owned(),
        zone: balancer.canonical_hosted_zone_id().unwrap_or_default().to_owned(),
    }
}

async fn read(view: &View, balancer: &ElbLoadBalancer, tags: &Tags) -> Result<Live<LoadBalancer>> {
    let output = output(balancer);
    let read =
        || async { Ok(view.elb.describe_load_balancer_attributes().load_balancer_arn(&output.arn.0).send().await?) };
    let attributes = view.detail(&output.arn.0, read).await?;
    let name = balancer.load_balancer_name().unwrap_or_default();
    let (owner, logical) = view.ownership.of(LoadBalancer::KIND, tags, name);
    let state = LoadBalancer {
        base_name: name.to_owned(),
        internet_facing: balancer.scheme() == Some(&LoadBalancerSchemeEnum::InternetFacing),
        vpc: Input::Known(balancer.vpc_id().unwrap_or_default().into()),
        subnets: balancer
            .availability_zones()
            .iter()
            .filter_map(|z| z.subnet_id().map(|s| Input::Known(s.into())))
            .collect(),
        groups: balancer.security_groups().iter().map(|g| Input::Known(g.as_str().into())).collect(),
        attributes: attributes
            .attributes()
            .iter()
            .filter_map(|a| Some((a.key()?.to_owned(), a.value().unwrap_or_default().to_owned())))
            .collect(),
    };
    let phase = match balancer.state().and_then(|s| s.code()) {
        Some(LoadBalancerStateEnum::Provisioning) => Phase::Pending("AWS is provisioning it".to_owned()),
        Some(LoadBalancerStateEnum::Failed) => {
            let why = balancer.state().and_then(|s| s.reason()).unwrap_or("AWS gave no reason");
            Phase::Failed(why.to_owned())
        }
        _ => Phase::Ready,
    };
    let since = balancer.created_time().and_then(|t| time::OffsetDateTime::from_unix_timestamp(t.secs()).ok());
    Ok(Live { phase, owner, tags: Some(tags.clone()), since, ..Live::ready(logical, name, state, output) })
}
