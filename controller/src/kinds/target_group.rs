//! Where the load balancer sends requests, and how it finds out who is fit to take them.

use super::{Arn, VpcId, differing_attributes, gone, hashed_name, load_balancer::edge};
use crate::{
    aws::{Aws, Error, Result, TagTarget, View},
    engine::{Change, How, Input, Live, Resource, Slot, Tags, differs},
    sdk_tags,
};
use aws_sdk_elasticloadbalancingv2::types::{
    Matcher, ProtocolEnum, TargetGroup as ElbTargetGroup, TargetGroupAttribute, TargetTypeEnum,
};
use futures::future::try_join_all;
use std::collections::BTreeMap;

/// A target group of instances, over HTTP.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetGroup {
    /// What its name begins with; a hash of port and VPC follows, because neither can be changed.
    pub base_name: String,
    /// The VPC its targets are in.
    pub vpc: Input<VpcId>,
    /// Port of the targets.
    pub port: i32,
    /// Health check.
    pub health: HealthCheck,
    /// Attributes by AWS's names; others stay as they are.
    pub attributes: BTreeMap<String, String>,
}

/// How a target shows that it is fit. Times are in seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// Path of the request.
    pub path: String,
    /// HTTP codes that count as healthy: `200-399`.
    pub codes: String,
    /// Between two checks.
    pub interval: i32,
    /// How long an answer may take.
    pub timeout: i32,
    /// Successes in a row that make healthy.
    pub healthy: i32,
    /// Failures in a row that make unhealthy.
    pub unhealthy: i32,
}

impl Resource for TargetGroup {
    const KIND: &'static str = "target_group";
    type Output = Arn;

    fn inputs(&mut self) -> Vec<&mut dyn Slot> {
        vec![&mut self.vpc]
    }

    fn changes(&self, live: &Self) -> Vec<Change> {
        let Self { base_name: _, vpc, port, health, attributes } = self;
        let mut changes: Vec<_> = [
            differs("vpc", vpc, &live.vpc, How::CreateFirst),
            differs("port", port, &live.port, How::CreateFirst),
            differs("health", health, &live.health, How::InPlace),
        ]
        .into_iter()
        .flatten()
        .collect();
        changes.extend(differing_attributes(attributes, &live.attributes));
        changes
    }

    async fn list(view: &View) -> Result<Vec<Live<Self>>> {
        let edge = edge(view).await?;
        try_join_all(edge.groups.iter().map(|(group, tags)| read(view, group, tags.clone()))).await
    }

    async fn create(&self, aws: &Aws, tags: &Tags) -> Result<Arn> {
        let vpc = &self.vpc.get()?.0;
        let name = hashed_name(&self.base_name, 32, &[&self.port.to_string(), "HTTP", vpc, "instance"]);
        let h = &self.health;
        let call = aws
            .elb
            .create_target_group()
            .name(name)
            .vpc_id(vpc)
            .port(self.port)
            .protocol(ProtocolEnum::Http)
            .target_type(TargetTypeEnum::Instance)
            .health_check_enabled(true)
            .health_check_protocol(ProtocolEnum::Http)
            .health_check_path(&h.path)
            .health_check_interval_seconds(h.interval)
            .health_check_timeout_seconds(h.timeout)
            .healthy_threshold_count(h.healthy)
            .unhealthy_threshold_count(h.unhealthy)
            .matcher(Matcher::builder().http_code(&h.codes).build())
            .set_tags(Some(sdk_tags!(aws_sdk_elasticloadbalancingv2, tags)));
        let made = call.send().await?.target_groups.unwrap_or_default().into_iter().next();
        let arn = made.and_then(|g| g.target_group_arn).ok_or_else(|| Error::internal("AWS made no target group"))?;
        self.set_attributes(aws, &arn).await?;
        Ok(Arn(arn))
    }

    async fn update(&self, aws: &Aws, live: &Live<Self>, changes: &[Change]) -> Result<Arn> {
        if changes.iter().any(|c| c.field == "health") {
            let h = &self.health;
            aws.elb
                .modify_target_group()
                .target_group_arn(&live.output.0)
                .health_check_enabled(true)
                .health_check_protocol(ProtocolEnum::Http)
                .health_check_path(&h.path)
                .health_check_interval_seconds(h.interval)
                .health_check_timeout_seconds(h.timeout)
                .healthy_threshold_count(h.healthy)
                .unhealthy_threshold_count(h.unhealthy)
                .matcher(Matcher::builder().http_code(&h.codes).build())
                .send()
                .await?;
        }
        if changes.iter().any(|c| c.field == "attributes") {
            self.set_attributes(aws, &live.output.0).await?;
        }
        Ok(live.output.clone())
    }

    async fn delete(aws: &Aws, live: &Live<Self>) -> Result<()> {
        gone(aws.elb.delete_target_group().target_group_arn(&live.output.0).send().await)
    }

    fn keys(arn: &Arn) -> Vec<String> {
        vec![arn.0.clone()]
    }

    fn tag_target(arn: &Arn) -> Option<TagTarget> {
        Some(TagTarget::Elb(arn.0.clone()))
    }
}

impl TargetGroup {
    async fn set_attributes(&self, aws: &Aws, arn: &str) -> Result<()> {
        let attributes =
            self.attributes.iter().map(|(k, v)| TargetGroupAttribute::builder().key(k).value(v).build()).collect();
        let call = aws.elb.modify_target_group_attributes().target_group_arn(arn);
        call.set_attributes(Some(attributes)).send().await?;
        Ok(())
    }
}

async fn read(view: &View, group: &ElbTargetGroup, tags: Tags) -> Result<Live<TargetGroup>> {
    let arn = Arn::from(group.target_group_arn().unwrap_or_default());
    let read = || async { Ok(view.elb.describe_target_group_attributes().target_group_arn(&arn.0).send().await?) };
    let attributes = view.detail(&arn.0, read).await?;
    let name = group.target_group_name().unwrap_or_default();
    let (owner, logical) = view.ownership.of(TargetGroup::KIND, &tags, name);
    let state = TargetGroup {
        base_name: name.to_owned(),
        vpc: Input::Known(group.vpc_id().unwrap_or_default().into()),
        port: group.port().unwrap_or_default(),
        health: HealthCheck {
            path: group.health_check_path().unwrap_or_default().to_owned(),
            codes: group.matcher().and_then(|m| m.http_code()).unwrap_or_default().to_owned(),
            interval: group.health_check_interval_seconds().unwrap_or_default(),
            timeout: group.health_check_timeout_seconds().unwrap_or_default(),
            healthy: group.healthy_threshold_count().unwrap_or_default(),
            unhealthy: group.unhealthy_threshold_count().unwrap_or_default(),
        },
        attributes: attributes
            .attributes()
            .iter()
            .filter_map(|a| Some((a.key()?.to_owned(), a.value().unwrap_or_default().to_owned())))
            .collect(),
    };
    Ok(Live { owner, tags: Some(tags), ..Live::ready(logical, name, state, arn) })
}
