//! Target tracking: how many instances a group has. AWS makes and owns the two alarms behind it; they are never touched.

use super::gone;
use crate::{
    aws::{Aws, Result, View},
    engine::{Change, How, Input, Live, Resource, Slot, Tags, differs},
};
use aws_sdk_autoscaling::types::{
    CustomizedMetricSpecification, Metric, MetricDimension, MetricType, PredefinedMetricSpecification,
    ScalingPolicy as AwsPolicy, TargetTrackingConfiguration, TargetTrackingMetricDataQuery, TargetTrackingMetricStat,
};
use std::collections::BTreeSet;

/// A target-tracking policy.
#[derive(Clone, Debug, PartialEq)]
pub struct ScalingPolicy {
    /// Its name, unique within the group; policies bear no tags.
    pub name: String,
    /// The group it scales.
    pub group: Input<String>,
    /// What it holds.
    pub target: Target,
}

/// What a policy holds at a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// Mean CPU of the group, percent.
    Cpu(f64),
    /// Messages that wait in a queue for each instance in service.
    Backlog {
        /// Name of the queue.
        queue: String,
        /// Messages for each instance.
        per_instance: f64,
    },
    /// Something we would not write.
    Other(String),
}

/// The scaling policies of the region.
struct Policies(Vec<AwsPolicy>);

impl Resource for ScalingPolicy {
    const KIND: &'static str = "scaling_policy";
    const PART_OF: Option<&'static str> = Some("scaling_group");
    type Output = String;

    fn inputs(&mut self) -> Vec<&mut dyn Slot> {
        vec![&mut self.group]
    }

    fn changes(&self, live: &Self) -> Vec<Change> {
        let Self { name, group, target } = self;
        [
            differs("name", name, &live.name, How::CreateFirst),
            differs("group", group, &live.group, How::CreateFirst),
            differs("target", target, &live.target, How::InPlace),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    async fn list(view: &View) -> Result<Vec<Live<Self>>> {
        // A policy bears no tags: it is ours as its group is.
        let prefix = format!("{}-", view.ownership.prefix);
        let groups = super::scaling_group::groups(view).await?;
        let ours: BTreeSet<_> = groups.0.iter().filter_map(|g| g.auto_scaling_group_name()).collect();
        if ours.is_empty() {
            return Ok(vec![]);
        }
        let read_all = || async {
            let pages = view.autoscaling.describe_policies().max_records(100).into_paginator().items().send();
            Ok(Policies(pages.collect::<Result<_, _>>().await?))
        };
        let all = view.shared(read_all).await?;
        let mine = all.0.iter().filter(|p| p.auto_scaling_group_name().is_some_and(|g| ours.contains(g)));
        Ok(mine.map(|policy| read(policy, &prefix)).collect())
    }

    async fn create(&self, aws: &Aws, _: &Tags) -> Result<String> {
        self.put(aws).await
    }

    async fn update(&self, aws: &Aws, _: &Live<Self>, _: &[Change]) -> Result<String> {
        self.put(aws).await
    }

    async fn delete(aws: &Aws, live: &Live<Self>) -> Result<()> {
        let group = live.state.group.get()?;
        let call = aws.autoscaling.delete_policy().auto_scaling_group_name(group).policy_name(&live.state.name);
        match call.send().await.map_err(crate::aws::Error::from) {
            // The group went meanwhile, and its policies with it.
            Err(e) if e.code == "ValidationError" && e.message.contains("not found") => Ok(()),
            other => gone(other),
        }
    }
}

impl ScalingPolicy {
    async fn put(&self, aws: &Aws) -> Result<String> {
        let group = self.group.get()?;
        let tracking = match &self.target {
            Target::Cpu(percent) => {
                let metric = PredefinedMetricSpecification::builder()
                    .predefined_metric_type(MetricType::AsgAverageCpuUtilization)
                    .build();
                TargetTrackingConfiguration::builder()
                    .predefined_metric_specification(metric)
                    .target_value(*percent)
                    .build()
            }
            Target::Backlog { queue, per_instance } => TargetTrackingConfiguration::builder()
                .customized_metric_specification(backlog(queue, group))
                .target_value(*per_instance)
                .build(),
            Target::Other(text) => return Err(crate::aws::Error::internal(format!("no policy is written for {text}"))),
        };
        let call = aws.autoscaling.put_scaling_policy().auto_scaling_group_name(group).policy_name(&self.name);
        call.policy_type("TargetTrackingScaling").target_tracking_configuration(tracking).send().await?;
        Ok(self.name.clone())
    }
}

/// Metric math over two metrics that AWS keeps itself, so nothing has to publish anything. No instance in service counts as
/// one, or the policy could never scale out from zero.
fn backlog(queue: &str, group: &str) -> CustomizedMetricSpecification {
    let metric = |namespace: &str, name: &str, dimension: (&str, &str), stat: &str| {
        let dimension = MetricDimension::builder().name(dimension.0).value(dimension.1).build();
        let metric = Metric::builder().namespace(namespace).metric_name(name).dimensions(dimension).build();
        TargetTrackingMetricStat::builder().metric(metric).stat(stat).build()
    };
    let query = TargetTrackingMetricDataQuery::builder;
    CustomizedMetricSpecification::builder()
        .metrics(
            query()
                .id("m1")
                .metric_stat(metric("AWS/SQS", "ApproximateNumberOfMessagesVisible", ("QueueName", queue), "Sum"))
                .return_data(false)
                .build(),
        )
        .metrics(
            query()
                .id("m2")
                .metric_stat(metric(
                    "AWS/AutoScaling",
                    "GroupInServiceInstances",
                    ("AutoScalingGroupName", group),
                    "Average",
                ))
                .return_data(false)
                .build(),
        )
        .metrics(query().id("e1").expression("IF(m2>0, m1/m2, m1)").return_data(true).build())
        .build()
}

fn read(policy: &AwsPolicy, prefix: &str) -> Live<ScalingPolicy> {
    let name = policy.policy_name().unwrap_or_default();
    let group = policy.auto_scaling_group_name().unwrap_or_default();
    let tracking = policy.target_tracking_configuration();
    let predefined =
        tracking.and_then(|t| t.predefined_metric_specification()).and_then(|p| p.predefined_metric_type());
    let queue = tracking
        .and_then(|t| t.customized_metric_specification())
        .filter(|c| c.metrics().iter().any(|m| m.expression() == Some("IF(m2>0, m1/m2, m1)")))
        .and_then(|c| c.metrics().iter().find_map(|m| m.metric_stat()?.metric()?.dimensions().first()?.value()));
    let value = tracking.and_then(TargetTrackingConfiguration::target_value).unwrap_or_default();
    let target = match (predefined, queue) {
        (Some(MetricType::AsgAverageCpuUtilization), _) => Target::Cpu(value),
        (None, Some(queue)) => Target::Backlog { queue: queue.to_owned(), per_instance: value },
        _ => Target::Other(policy.policy_type().unwrap_or("another policy").to_owned()),
    };
    let state = ScalingPolicy { name: name.to_owned(), group: Input::Known(group.to_owned()), target };
    let logical = name.strip_prefix(prefix).unwrap_or(name);
    Live::ready(logical, name, state, name.to_owned())
}
