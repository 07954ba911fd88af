//! Every kind of resource, in order of creation. Adding one touches its file, a line here and one in `stack.rs`.

pub mod queue;
pub mod vpc;

use crate::{
    aws::{Aws, Error, Result},
    engine::{Kind, Of, Tags},
    ownership::STACK,
    sdk_tags,
};
use aws_sdk_ec2::types::{Filter, ResourceType, TagSpecification};
use std::marker::PhantomData;

macro_rules! kinds {
    ($($kind:ty),* $(,)?) => { &[$(&Of::<$kind>(PhantomData)),*] };
}

/// Every kind in order of creation.
pub const KINDS: &[&dyn Kind] = kinds![vpc::Vpc, queue::Queue];

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

/// `Name=tag:polybot.dev/stack,Values=<stack>`.
fn of_stack(aws: &Aws) -> Filter {
    filter(format!("tag:{STACK}"), aws.ownership.stack.clone())
}

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
