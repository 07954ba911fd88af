//! What a group waits for before an instance serves, and before it takes one away: the worker on it gets ready, or finishes or hands
//! back the job in hand, and says so. Without an answer the group goes on when the time is up.

use super::gone;
use crate::{
    aws::{Aws, Error, Result, View},
    engine::{Change, How, Input, Live, Resource, Slot, Tags, differs},
};
use aws_sdk_autoscaling::types::LifecycleHookSpecification;
use futures::future::try_join_all;

/// A lifecycle hook.
#[derive(Clone, Debug, PartialEq)]
pub struct LifecycleHook {
    /// Its name, unique within the group; hooks bear no tags.
    pub name: String,
    /// The group whose instances it holds.
    pub group: Input<String>,
    /// When it holds them.
    pub transition: String,
    /// Seconds without an answer (or a heartbeat) after which the group goes on, 30 to 7200.
    pub timeout: i32,
    /// What then becomes of the instance; for one that ends, both values say the same.
    pub default_result: String,
}

/// The transition of an instance that comes.
pub const LAUNCHING: &str = "autoscaling:EC2_INSTANCE_LAUNCHING";
/// The transition of an instance that the group takes away.
pub const TERMINATING: &str = "autoscaling:EC2_INSTANCE_TERMINATING";

/// The hooks of one group.
struct Hooks(Vec<aws_sdk_autoscaling::types::LifecycleHook>);

impl Resource for LifecycleHook {
    const KIND: &'static str = "lifecycle_hook";
    const PART_OF: Option<&'static str> = Some("scaling_group");
    type Output = String;

    fn inputs(&mut self) -> Vec<&mut dyn Slot> {
        vec![&mut self.group]
    }

    fn changes(&self, live: &Self) -> Vec<Change> {
        let Self { name, group, transition, timeout, default_result } = self;
        [
            differs("name", name, &live.name, How::CreateFirst),
            differs("group", group, &live.group, How::CreateFirst),
            differs("transition", transition, &live.transition, How::InPlace),
            differs("timeout", timeout, &live.timeout, How::InPlace),
            differs("default_result", default_result, &live.default_result, How::InPlace),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    async fn list(view: &View) -> Result<Vec<Live<Self>>> {
        // A hook bears no tags: it is ours as its group is.
        let prefix = format!("{}-", view.ownership.prefix);
        let groups = super::scaling_group::groups(view).await?;
        let of_each = groups.0.iter().filter_map(|g| g.auto_scaling_group_name()).map(|group| {
            view.detail(group, move || async move {
                let call = view.autoscaling.describe_lifecycle_hooks().auto_scaling_group_name(group);
                match call.send().await.map_err(Error::from) {
                    Ok(found) => Ok(Hooks(found.lifecycle_hooks.unwrap_or_default())),
                    // The group went meanwhile, and its hooks with it.
                    Err(e) if e.code == "ValidationError" && e.message.contains("not found") => Ok(Hooks(vec![])),
                    Err(e) => Err(e),
                }
            })
        });
        let found = try_join_all(of_each).await?;
        let hooks = found.iter().flat_map(|hooks| &hooks.0).map(|hook| {
            let name = hook.lifecycle_hook_name().unwrap_or_default().to_owned();
            let text = |v: Option<&str>| v.unwrap_or_default().to_owned();
            let state = Self {
                group: Input::Known(text(hook.auto_scaling_group_name())),
                transition: text(hook.lifecycle_transition()),
                timeout: hook.heartbeat_timeout().unwrap_or_default(),
                default_result: text(hook.default_result()),
                name: name.clone(),
            };
            Live::ready(name.strip_prefix(&prefix).unwrap_or(&name), name.clone(), state, name.clone())
        });
        Ok(hooks.collect())
    }

    async fn create(&self, aws: &Aws, _: &Tags) -> Result<String> {
        self.put(aws).await
    }

    async fn update(&self, aws: &Aws, _: &Live<Self>, _: &[Change]) -> Result<String> {
        self.put(aws).await
    }

    async fn delete(aws: &Aws, live: &Live<Self>) -> Result<()> {
        let call = aws.autoscaling.delete_lifecycle_hook().auto_scaling_group_name(live.state.group.get()?);
        match call.lifecycle_hook_name(&live.state.name).send().await.map_err(Error::from) {
            Err(e) if e.code == "ValidationError" && e.message.contains("not found") => Ok(()),
            other => gone(other),
        }
    }
}

impl LifecycleHook {
    /// The same, for the call that makes its group: the first instances come at once, before a call of its own could.
    pub(super) fn specification(&self) -> LifecycleHookSpecification {
        let Self { name, group: _, transition, timeout, default_result } = self;
        let hook = LifecycleHookSpecification::builder().lifecycle_hook_name(name).lifecycle_transition(transition);
        hook.heartbeat_timeout(*timeout).default_result(default_result).build()
    }

    async fn put(&self, aws: &Aws) -> Result<String> {
        let call = aws.autoscaling.put_lifecycle_hook().auto_scaling_group_name(self.group.get()?);
        let call = call.lifecycle_hook_name(&self.name).lifecycle_transition(&self.transition);
        call.heartbeat_timeout(self.timeout).default_result(&self.default_result).send().await?;
        Ok(self.name.clone())
    }
}
