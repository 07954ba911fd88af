//! A service's instances: how many, where, and who looks after them. Which version they run is the rollout's concern.

use super::{
    Arn, SubnetId, gone, launch_template_version::Version, lifecycle_hook::LifecycleHook, of_any_stack_asg, rollout,
    same_set,
};
use crate::{
    aws::{Aws, Result, TagTarget, View, tags},
    engine::{Change, How, Input, Live, Phase, Resource, Slot, Tags, differs, differs_as},
};
use aws_sdk_autoscaling::types::{AutoScalingGroup, NotificationConfiguration};
use std::collections::{BTreeMap, BTreeSet};

/// A scaling group.
#[derive(Clone, Debug, PartialEq)]
pub struct ScalingGroup {
    /// Its name, unique in account and region.
    pub name: String,
    /// Least instances.
    pub min: i32,
    /// Most instances.
    pub max: i32,
    /// Instances now. The autoscaler owns it: kept as it is while within the limits.
    pub desired: i32,
    /// Where its instances are.
    pub subnets: Vec<Input<SubnetId>>,
    /// Target groups that its instances join; exact.
    pub target_groups: Vec<Input<Arn>>,
    /// `ELB` or `EC2`: who says that an instance is healthy.
    pub health: String,
    /// Seconds that a new instance has until its health counts.
    pub grace: i32,
    /// What its first instances are made from. Not compared: other versions come by a [`rollout::Rollout`].
    pub version: Input<Version>,
    /// What its first instances are held by, too. Not compared: each is a [`LifecycleHook`] by itself.
    pub hooks: Vec<LifecycleHook>,
    /// Who hears of scaling events.
    pub notify: Option<Input<Arn>>,
    /// Whether the group's own metrics are on (free, and what backlog scaling reads).
    pub metrics: bool,
    /// Processes that somebody suspended; none are wanted.
    pub suspended: BTreeSet<String>,
}

/// The events that are told of.
const EVENTS: [&str; 4] = [
    "autoscaling:EC2_INSTANCE_LAUNCH",
    "autoscaling:EC2_INSTANCE_LAUNCH_ERROR",
    "autoscaling:EC2_INSTANCE_TERMINATE",
    "autoscaling:EC2_INSTANCE_TERMINATE_ERROR",
];

/// The scaling groups that bear a stack's tag.
pub(crate) struct Groups(pub Vec<AutoScalingGroup>);

/// Those of this stack, out of the list that all stacks of the region share.
pub(crate) async fn groups(view: &View) -> Result<Groups> {
    let read = || async {
        let call = view.autoscaling.describe_auto_scaling_groups().filters(of_any_stack_asg()).max_records(100);
        Ok(Groups(call.into_paginator().items().send().collect::<Result<_, _>>().await?))
    };
    let all = view.shared(read).await?;
    let ours = |g: &&AutoScalingGroup| {
        let tags = tags::read(g.tags().iter().map(|t| (t.key(), t.value())));
        view.ownership.owns(&tags)
    };
    Ok(Groups(all.0.iter().filter(ours).cloned().collect()))
}

/// Who is told of what by every group of the region.
struct Notifications(Vec<NotificationConfiguration>);

impl Resource for ScalingGroup {
    const KIND: &'static str = "scaling_group";
    const AFTER: &'static [&'static str] = &["internet_gateway", "route_table", "log_group"];
    type Output = String;

    fn name(&self) -> Option<String> {
        Some(self.name.clone())
    }

    fn inputs(&mut self) -> Vec<&mut dyn Slot> {
        let mut slots: Vec<&mut dyn Slot> = vec![&mut self.version];
        slots.extend(self.subnets.iter_mut().map(|s| s as &mut dyn Slot));
        slots.extend(self.target_groups.iter_mut().map(|t| t as &mut dyn Slot));
        slots.extend(self.notify.iter_mut().map(|n| n as &mut dyn Slot));
        slots
    }

    fn keep(&mut self, live: &Self) {
        self.desired = live.desired.clamp(self.min, self.max);
    }

    fn changes(&self, live: &Self) -> Vec<Change> {
        let Self {
            name,
            min,
            max,
            desired,
            subnets,
            target_groups,
            health,
            grace,
            version: _,
            hooks: _,
            notify,
            metrics,
            suspended,
        } = self;
        let mut changes: Vec<_> = [
            differs("name", name, &live.name, How::CreateFirst),
            differs("min", min, &live.min, How::InPlace),
            differs("max", max, &live.max, How::InPlace),
            differs("desired", desired, &live.desired, How::InPlace),
            differs("health", health, &live.health, How::InPlace),
            differs("grace", grace, &live.grace, How::InPlace),
            differs("notify", notify, &live.notify, How::InPlace),
            differs("metrics", metrics, &live.metrics, How::InPlace),
            differs("suspended", suspended, &live.suspended, How::InPlace),
        ]
        .into_iter()
        .flatten()
        .collect();
        if !same_set(subnets, &live.subnets) {
            changes.push(differs_as("subnets", format!("{:?}", live.subnets), format!("{subnets:?}"), How::InPlace));
        }
        if !same_set(target_groups, &live.target_groups) {
            let (from, to) = (format!("{:?}", live.target_groups), format!("{target_groups:?}"));
            changes.push(differs_as("target_groups", from, to, How::InPlace));
        }
        changes
    }

    fn intent(&self) -> String {
        let Self { name, min, max, subnets, target_groups, health, grace, notify, metrics, .. } = self;
        format!("{name} {min} {max} {subnets:?} {target_groups:?} {health} {grace} {notify:?} {metrics}")
    }

    async fn list(view: &View) -> Result<Vec<Live<Self>>> {
        let groups = &groups(view).await?.0;
        if groups.is_empty() {
            return Ok(vec![]);
        }
        let read_all = || async {
            let call = view.autoscaling.describe_notification_configurations().max_records(100);
            let pages = call.into_paginator().items().send();
            Ok(Notifications(pages.collect::<Result<_, _>>().await?))
        };
        let notifications = view.shared(read_all).await?;
        Ok(groups.iter().map(|g| read(view, g, &notifications.0)).collect())
    }

    async fn create(&self, aws: &Aws, tags: &Tags) -> Result<String> {
        let hooks: Vec<_> = self.hooks.iter().map(LifecycleHook::specification).collect();
        let hooks = (!hooks.is_empty()).then_some(hooks);
        let call = aws
            .autoscaling
            .create_auto_scaling_group()
            .auto_scaling_group_name(&self.name)
            .min_size(self.min)
            .max_size(self.max)
            .desired_capacity(self.desired)
            .vpc_zone_identifier(self.zones()?)
            .set_target_group_arns(Some(arns(&self.target_groups)?))
            .health_check_type(&self.health)
            .health_check_grace_period(self.grace)
            .launch_template(rollout::specification(self.version.get()?))
            .set_lifecycle_hook_specification_list(hooks)
            .set_tags(Some(tags::scaling_group_tags(&self.name, tags)));
        call.send().await?;
        self.set_metrics(aws).await?;
        self.set_notify(aws, None).await?;
        Ok(self.name.clone())
    }

    async fn update(&self, aws: &Aws, live: &Live<Self>, changes: &[Change]) -> Result<String> {
        let of = |fields: &[&str]| changes.iter().any(|c| fields.contains(&c.field));
        if of(&["min", "max", "desired", "health", "grace", "subnets"]) {
            let mut call = aws
                .autoscaling
                .update_auto_scaling_group()
                .auto_scaling_group_name(&self.name)
                .min_size(self.min)
                .max_size(self.max)
                .health_check_type(&self.health)
                .health_check_grace_period(self.grace)
                .vpc_zone_identifier(self.zones()?);
            // The size is the autoscaler's; it is sent only when it lies outside the limits.
            if of(&["desired"]) {
                call = call.desired_capacity(self.desired);
            }
            call.send().await?;
        }
        if of(&["target_groups"]) {
            let (want, have) = (arns(&self.target_groups)?, arns(&live.state.target_groups)?);
            let missing: Vec<_> = want.iter().filter(|a| !have.contains(a)).cloned().collect();
            let extra: Vec<_> = have.iter().filter(|a| !want.contains(a)).cloned().collect();
            if !missing.is_empty() {
                let call = aws.autoscaling.attach_load_balancer_target_groups().auto_scaling_group_name(&self.name);
                call.set_target_group_arns(Some(missing)).send().await?;
            }
            if !extra.is_empty() {
                let call = aws.autoscaling.detach_load_balancer_target_groups().auto_scaling_group_name(&self.name);
                call.set_target_group_arns(Some(extra)).send().await?;
            }
        }
        if of(&["metrics"]) {
            self.set_metrics(aws).await?;
        }
        if of(&["notify"]) {
            self.set_notify(aws, live.state.notify.as_ref()).await?;
        }
        if of(&["suspended"]) {
            let processes = live.state.suspended.iter().cloned().collect();
            let call = aws.autoscaling.resume_processes().auto_scaling_group_name(&self.name);
            call.set_scaling_processes(Some(processes)).send().await?;
        }
        Ok(live.output.clone())
    }

    async fn delete(aws: &Aws, live: &Live<Self>) -> Result<()> {
        let call = aws.autoscaling.delete_auto_scaling_group().auto_scaling_group_name(&live.id);
        gone(call.force_delete(true).send().await)
    }

    fn tag_target(name: &String) -> Option<TagTarget> {
        Some(TagTarget::ScalingGroup(name.clone()))
    }
}

impl ScalingGroup {
    fn zones(&self) -> Result<String> {
        let ids: Vec<String> = self.subnets.iter().map(|s| s.get().map(ToString::to_string)).collect::<Result<_>>()?;
        Ok(ids.join(","))
    }

    async fn set_metrics(&self, aws: &Aws) -> Result<()> {
        if self.metrics {
            let call = aws.autoscaling.enable_metrics_collection().auto_scaling_group_name(&self.name);
            call.granularity("1Minute").send().await?;
        } else {
            aws.autoscaling.disable_metrics_collection().auto_scaling_group_name(&self.name).send().await?;
        }
        Ok(())
    }

    async fn set_notify(&self, aws: &Aws, had: Option<&Input<Arn>>) -> Result<()> {
        if let Some(topic) = &self.notify {
            let events = EVENTS.iter().map(ToString::to_string).collect();
            let call = aws.autoscaling.put_notification_configuration().auto_scaling_group_name(&self.name);
            call.topic_arn(&topic.get()?.0).set_notification_types(Some(events)).send().await?;
        }
        if let Some(Input::Known(had)) = had
            && self.notify.as_ref().and_then(Input::known) != Some(had)
        {
            let call = aws.autoscaling.delete_notification_configuration().auto_scaling_group_name(&self.name);
            gone(call.topic_arn(&had.0).send().await)?;
        }
        Ok(())
    }
}

fn arns(inputs: &[Input<Arn>]) -> Result<Vec<String>> {
    inputs.iter().map(|a| a.get().map(ToString::to_string)).collect()
}

fn read(view: &View, group: &AutoScalingGroup, notifications: &[NotificationConfiguration]) -> Live<ScalingGroup> {
    let name = group.auto_scaling_group_name().unwrap_or_default();
    let tags: Tags = tags::read(group.tags().iter().map(|t| (t.key(), t.value())));
    let (owner, logical) = view.ownership.of(ScalingGroup::KIND, &tags, name);
    let mut events: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for n in notifications.iter().filter(|n| n.auto_scaling_group_name() == Some(name)) {
        events.entry(n.topic_arn().unwrap_or_default()).or_default().extend(n.notification_type());
    }
    let all: BTreeSet<&str> = EVENTS.into_iter().collect();
    let whole = events.iter().find(|(_, e)| **e == all).or(events.iter().next());
    // A topic that hears of other events than ours counts as another one.
    let notify = whole.map(|(topic, e)| {
        let mark = if *e == all && events.len() == 1 { "" } else { " (other events)" };
        Input::Known(Arn(format!("{topic}{mark}")))
    });
    let state = ScalingGroup {
        name: name.to_owned(),
        min: group.min_size().unwrap_or_default(),
        max: group.max_size().unwrap_or_default(),
        desired: group.desired_capacity().unwrap_or_default(),
        subnets: group
            .vpc_zone_identifier()
            .unwrap_or_default()
            .split(',')
            .filter(|s| !s.is_empty())
            .map(|s| Input::Known(s.into()))
            .collect(),
        target_groups: group.target_group_arns().iter().map(|a| Input::Known(a.as_str().into())).collect(),
        health: group.health_check_type().unwrap_or_default().to_owned(),
        grace: group.health_check_grace_period().unwrap_or_default(),
        version: Input::Absent("told by the rollout".to_owned()),
        hooks: vec![],
        notify,
        metrics: !group.enabled_metrics().is_empty(),
        suspended: group.suspended_processes().iter().filter_map(|p| p.process_name().map(ToOwned::to_owned)).collect(),
    };
    let phase = group.status().map_or(Phase::Ready, |status| Phase::Deleting(status.to_owned()));
    let since = group.created_time().and_then(|t| time::OffsetDateTime::from_unix_timestamp(t.secs()).ok());
    // A version is part of its template, and the template must outlive the group.
    let refs =
        group.launch_template().and_then(|v| v.launch_template_id()).map(ToOwned::to_owned).into_iter().collect();
    Live { phase, owner, tags: Some(tags), since, refs, ..Live::ready(logical, name, state, name.to_owned()) }
}
