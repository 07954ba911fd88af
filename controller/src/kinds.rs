//! Every kind of resource, in order of creation. Adding one touches its file, a line here and one in `stack.rs`.

pub mod alarm;
pub mod bucket;
pub mod certificate;
pub mod dns_record;
pub mod instance_profile;
pub mod internet_gateway;
pub mod key_pair;
pub mod launch_template;
pub mod launch_template_version;
pub mod lifecycle_hook;
pub mod listener;
pub mod load_balancer;
pub mod log_group;
pub mod queue;
pub mod repository;
pub mod role;
pub mod rollout;
pub mod route_table;
pub mod scaling_group;
pub mod scaling_policy;
pub mod secret;
pub mod security_group;
pub mod security_group_rule;
pub mod subnet;
pub mod subscription;
pub mod table;
pub mod target_group;
pub mod topic;
pub mod vpc;
pub mod webhook;

use crate::{
    aws::{Aws, Error, Result},
    engine::{Change, How, Kind, Of, Tags, differs_as},
    ownership::STACK,
    sdk_tags,
};
use aws_sdk_ec2::types::{Filter, ResourceType, TagSpecification};
use std::marker::PhantomData;

macro_rules! kinds {
    ($($kind:ty),* $(,)?) => { &[$(&Of::<$kind>(PhantomData)),*] };
}

/// Every kind in order of creation.
pub const KINDS: &[&dyn Kind] = kinds![
    vpc::Vpc,
    internet_gateway::InternetGateway,
    subnet::Subnet,
    route_table::RouteTable,
    security_group::SecurityGroup,
    security_group_rule::SecurityGroupRule,
    role::Role,
    instance_profile::InstanceProfile,
    topic::Topic,
    subscription::Subscription,
    queue::Queue,
    table::Table,
    bucket::Bucket,
    certificate::Certificate,
    secret::Secret,
    repository::Repository,
    log_group::LogGroup,
    load_balancer::LoadBalancer,
    target_group::TargetGroup,
    listener::Listener,
    dns_record::DnsRecord,
    key_pair::KeyPair,
    launch_template::LaunchTemplate,
    launch_template_version::LaunchTemplateVersion,
    alarm::Alarm,
    scaling_group::ScalingGroup,
    rollout::Rollout,
    lifecycle_hook::LifecycleHook,
    scaling_policy::ScalingPolicy,
    webhook::Webhook,
];

/// The kind of that name.
pub fn kind(name: &str) -> Option<&'static dyn Kind> {
    KINDS.iter().find(|k| k.kind() == name).copied()
}

/// A newtype of a string, so that one id cannot stand where another belongs.
macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub String);
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl From<&str> for $name {
            fn from(s: &str) -> Self {
                Self(s.to_owned())
            }
        }
    )*};
}

ids! {
    /// Id of a VPC.
    VpcId,
    /// Id of a subnet.
    SubnetId,
    /// Id of an internet gateway.
    GatewayId,
    /// Id of a route table.
    RouteTableId,
    /// Id of a security group.
    GroupId,
    /// Id of a launch template.
    TemplateId,
    /// ARN of anything; the kinds that hand one out say of what.
    Arn,
}

/// What bears the tag of any stack. Lists of EC2 are read for a whole region at once, and each stack takes its own out.
fn of_any_stack() -> Filter {
    filter("tag-key", STACK)
}

/// A list of EC2 that the stacks of a region share.
macro_rules! shared_list {
    ($name:ident($item:ty), $call:ident) => {
        pub(super) struct $name(pub(super) Vec<($item, crate::engine::Tags)>);

        impl $name {
            /// What is any stack's.
            pub(super) async fn of_any(view: &crate::aws::View) -> crate::aws::Result<std::sync::Arc<Self>> {
                let read = || async {
                    let pages = view.ec2.$call().filters(super::of_any_stack()).into_paginator().items().send();
                    let items: Vec<$item> = pages.collect::<Result<_, _>>().await?;
                    let tags = |i: &$item| crate::aws::tags::read(i.tags().iter().map(|t| (t.key(), t.value())));
                    Ok(Self(
                        items
                            .into_iter()
                            .map(|i| {
                                let t = tags(&i);
                                (i, t)
                            })
                            .collect(),
                    ))
                };
                view.shared(read).await
            }

            /// What is this stack's.
            pub(super) async fn of_stack(
                view: &crate::aws::View,
            ) -> crate::aws::Result<Vec<($item, crate::engine::Tags)>> {
                let all = Self::of_any(view).await?;
                Ok(all.0.iter().filter(|(_, tags)| view.ownership.owns(tags)).cloned().collect())
            }
        }
    };
}
use shared_list;

/// Values that one filter of EC2 takes.
pub const FILTER_VALUES: usize = 200;

/// One filter of a Describe call of EC2.
pub fn filter(name: impl Into<String>, value: impl Into<String>) -> Filter {
    Filter::builder().name(name).values(value).build()
}

/// Tags for the create call itself, so that nothing exists without them even for a moment.
fn tag_spec(kind: ResourceType, tags: &Tags) -> TagSpecification {
    TagSpecification::builder().resource_type(kind).set_tags(Some(sdk_tags!(aws_sdk_ec2, tags))).build()
}

/// Gone already is as good as gone.
fn gone<T, E: Into<Error>>(result: Result<T, E>) -> Result<()> {
    match result.map_err(Into::into) {
        Ok(_) => Ok(()),
        Err(e) if e.is_not_found() => Ok(()),
        Err(e) => Err(e),
    }
}

/// Whether two policy documents say the same: key order, the order of lists, and one value or a list of it do not matter.
fn same_policy(a: &serde_json::Value, b: &serde_json::Value) -> bool {
    canonical(a) == canonical(b)
}

fn canonical(value: &serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Array(items) => {
            let mut items: Vec<_> = items.iter().map(canonical).collect();
            items.sort_by_key(ToString::to_string);
            items.dedup();
            match <[Value; 1]>::try_from(items) {
                Ok([one]) => one,
                Err(items) => Value::Array(items),
            }
        }
        Value::Object(fields) => {
            // A statement without an id and one with an empty id are the same, and so is an absent one.
            fields.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), canonical(v))).collect()
        }
        Value::Bool(b) => Value::String(b.to_string()),
        other => other.clone(),
    }
}

/// Whether two lists hold the same values, in whatever order. A value that is not known yet is in no list.
fn same_set<T: Clone + Ord>(a: &[crate::engine::Input<T>], b: &[crate::engine::Input<T>]) -> bool {
    let known = |list: &[crate::engine::Input<T>]| {
        list.iter().map(|i| i.known().cloned()).collect::<Option<std::collections::BTreeSet<T>>>()
    };
    matches!((known(a), known(b)), (Some(a), Some(b)) if a == b)
}

/// A physical name that carries a hash of the fields that cannot be changed, so that a replacement may stand beside the old
/// one. Used to create, never compared.
fn hashed_name(base: &str, limit: usize, fixed: &[&str]) -> String {
    let hash = crate::spec::names::short_hash(&fixed.join("\n"));
    format!("{}-{hash}", crate::spec::names::fit(base, limit - hash.len() - 1))
}

/// Whether a name of Elastic Load Balancing may be ours. Names are cut to 32 characters, so only the first part is compared;
/// the tags decide.
fn elb_mine(aws: &Aws, name: Option<&str>) -> bool {
    let head: String = aws.ownership.prefix.chars().take(16).collect();
    name.is_some_and(|n| n.starts_with(&head))
}

/// Tags of things of Elastic Load Balancing by ARN.
struct ElbTags(std::collections::BTreeMap<String, Tags>);

/// Reads them; AWS takes 20 ARNs a call.
async fn elb_tags(aws: &Aws, arns: &[String]) -> Result<ElbTags> {
    let mut all = std::collections::BTreeMap::new();
    for some in arns.chunks(20) {
        let answer = aws.elb.describe_tags().set_resource_arns(Some(some.to_vec())).send().await?;
        for described in answer.tag_descriptions() {
            let tags = crate::aws::tags::read(described.tags().iter().map(|t| (t.key(), t.value())));
            all.insert(described.resource_arn().unwrap_or_default().to_owned(), tags);
        }
    }
    Ok(ElbTags(all))
}

/// The path of the stack's roles and profiles, by which they are listed. IAM is global, so the region is in it.
pub(crate) fn iam_path(aws: &Aws) -> String {
    format!("/polybot/{}/{}/", aws.ownership.stack, aws.region)
}

/// What bears the tag of any stack, as Auto Scaling wants it said.
fn of_any_stack_asg() -> aws_sdk_autoscaling::types::Filter {
    aws_sdk_autoscaling::types::Filter::builder().name("tag-key").values(STACK).build()
}

/// The change of a policy document, if the two do not say the same.
fn policy_differs(field: &'static str, want: &serde_json::Value, live: &serde_json::Value) -> Option<Change> {
    (!same_policy(want, live)).then(|| differs_as(field, live.to_string(), want.to_string(), How::InPlace))
}

/// A change for each attribute that is wanted and has another value. Attributes that nobody wished for stay as they are.
fn differing_attributes(want: &Attributes, live: &Attributes) -> Vec<Change> {
    let have = |key: &str| live.get(key).map_or("", String::as_str);
    let wrong = want.iter().filter(|(key, value)| have(key) != *value);
    let change = |(key, value): (&String, &String)| {
        differs_as("attributes", format!("{key}={}", have(key)), format!("{key}={value}"), How::InPlace)
    };
    wrong.map(change).collect()
}

type Attributes = std::collections::BTreeMap<String, String>;

/// A builder of the SDK that lacks a field: a fault of this program.
fn built(error: impl std::fmt::Display) -> Error {
    Error::internal(error.to_string())
}
