//! A role of IAM, with its one inline policy and the AWS-managed policies attached to it. Both sets are exact.

use super::{gone, policy_differs};
use crate::{
    aws::{Aws, Error, Result, TagTarget, View, tags},
    engine::{Change, How, Live, Resource, Tags, differs},
    sdk_tags,
};
use futures::future::try_join_all;
use serde_json::Value;
use std::collections::BTreeSet;

/// Name of the one inline policy.
const INLINE: &str = "polybot";

/// A role.
#[derive(Clone, Debug, PartialEq)]
pub struct Role {
    /// Its name, unique in the account whatever the case.
    pub name: String,
    /// Who may take it.
    pub trust: Value,
    /// What it may do; `Null` where the policy is missing.
    pub policy: Value,
    /// Inline policies beside ours, by name; none are wanted.
    pub other_policies: BTreeSet<String>,
    /// ARNs of attached policies.
    pub managed: BTreeSet<String>,
}

impl Resource for Role {
    const KIND: &'static str = "role";
    type Output = String;

    fn name(&self) -> Option<String> {
        Some(self.name.clone())
    }

    fn changes(&self, live: &Self) -> Vec<Change> {
        let Self { name, trust, policy, other_policies, managed } = self;
        let mut changes: Vec<_> = [
            differs("name", name, &live.name, How::CreateFirst),
            differs("other_policies", other_policies, &live.other_policies, How::InPlace),
            differs("managed", managed, &live.managed, How::InPlace),
        ]
        .into_iter()
        .flatten()
        .collect();
        changes.extend(policy_differs("trust", trust, &live.trust));
        changes.extend(policy_differs("policy", policy, &live.policy));
        changes
    }

    async fn list(view: &View) -> Result<Vec<Live<Self>>> {
        let mut pages = view.iam.list_roles().path_prefix(super::iam_path(view)).into_paginator().items().send();
        let mut names = vec![];
        while let Some(role) = pages.next().await {
            names.push(role?.role_name);
        }
        let roles = try_join_all(names.iter().map(|name| read(view, name))).await?;
        Ok(roles.into_iter().flatten().collect())
    }

    async fn create(&self, aws: &Aws, tags: &Tags) -> Result<String> {
        let call = aws.iam.create_role().role_name(&self.name).path(super::iam_path(aws));
        let call = call.assume_role_policy_document(self.trust.to_string());
        call.set_tags(Some(sdk_tags!(aws_sdk_iam, tags, fallible))).send().await?;
        self.put_policy(aws).await?;
        self.attach(aws, &BTreeSet::new()).await?;
        Ok(self.name.clone())
    }

    async fn update(&self, aws: &Aws, live: &Live<Self>, changes: &[Change]) -> Result<String> {
        for change in changes {
            match change.field {
                "trust" => {
                    let call = aws.iam.update_assume_role_policy().role_name(&self.name);
                    call.policy_document(self.trust.to_string()).send().await?;
                }
                "policy" => self.put_policy(aws).await?,
                "other_policies" => remove_inline(aws, &self.name, &live.state.other_policies).await?,
                _ => self.attach(aws, &live.state.managed).await?,
            }
        }
        Ok(live.output.clone())
    }

    async fn delete(aws: &Aws, live: &Live<Self>) -> Result<()> {
        let Self { name, policy, other_policies, managed, trust: _ } = &live.state;
        let mut inline = other_policies.clone();
        if !policy.is_null() {
            inline.insert(INLINE.to_owned());
        }
        remove_inline(aws, name, &inline).await?;
        for arn in managed {
            gone(aws.iam.detach_role_policy().role_name(name).policy_arn(arn).send().await)?;
        }
        gone(aws.iam.delete_role().role_name(name).send().await)
    }

    fn tag_target(name: &String) -> Option<TagTarget> {
        Some(TagTarget::Role(name.clone()))
    }
}

impl Role {
    async fn put_policy(&self, aws: &Aws) -> Result<()> {
        let call = aws.iam.put_role_policy().role_name(&self.name).policy_name(INLINE);
        call.policy_document(self.policy.to_string()).send().await?;
        Ok(())
    }

    async fn attach(&self, aws: &Aws, have: &BTreeSet<String>) -> Result<()> {
        for arn in self.managed.difference(have) {
            aws.iam.attach_role_policy().role_name(&self.name).policy_arn(arn).send().await?;
        }
        for arn in have.difference(&self.managed) {
            gone(aws.iam.detach_role_policy().role_name(&self.name).policy_arn(arn).send().await)?;
        }
        Ok(())
    }
}

async fn remove_inline(aws: &Aws, role: &str, policies: &BTreeSet<String>) -> Result<()> {
    for policy in policies {
        gone(aws.iam.delete_role_policy().role_name(role).policy_name(policy).send().await)?;
    }
    Ok(())
}

/// ListRoles gives neither tags nor policies.
async fn read(view: &View, name: &str) -> Result<Option<Live<Role>>> {
    let calls = async {
        let (role, inline, attached, ours) = futures::join!(
            view.iam.get_role().role_name(name).send(),
            view.iam.list_role_policies().role_name(name).send(),
            view.iam.list_attached_role_policies().role_name(name).send(),
            view.iam.get_role_policy().role_name(name).policy_name(INLINE).send(),
        );
        let ours = match ours.map_err(Error::from) {
            Ok(policy) => document(&policy.policy_document),
            Err(e) if e.is_not_found() => Value::Null,
            Err(e) => return Err(e),
        };
        Ok((role?, inline?, attached?, ours))
    };
    let (role, inline, attached, policy) = match calls.await {
        Ok(all) => all,
        Err(e) if e.is_not_found() => return Ok(None),
        Err(e) => return Err(e),
    };
    let Some(role) = role.role else { return Ok(None) };
    let tags = tags::read(role.tags().iter().map(|t| (Some(t.key()), Some(t.value()))));
    let (owner, logical) = view.ownership.of(Role::KIND, &tags, name);
    let state = Role {
        name: name.to_owned(),
        trust: document(role.assume_role_policy_document().unwrap_or_default()),
        policy,
        other_policies: inline.policy_names.into_iter().filter(|n| n != INLINE).collect(),
        managed: attached.attached_policies.unwrap_or_default().into_iter().filter_map(|p| p.policy_arn).collect(),
    };
    let since = time::OffsetDateTime::from_unix_timestamp(role.create_date.secs()).ok();
    Ok(Some(Live { owner, tags: Some(tags), since, ..Live::ready(logical, name, state, name.to_owned()) }))
}

/// IAM returns documents URL-encoded.
fn document(encoded: &str) -> Value {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.bytes();
    while let Some(b) = rest.next() {
        let hex = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
        match b {
            b'%' => {
                let (high, low) = (rest.next().and_then(hex), rest.next().and_then(hex));
                if let (Some(high), Some(low)) = (high, low) {
                    bytes.push(high * 16 + low);
                }
            }
            b => bytes.push(b),
        }
    }
    serde_json::from_slice(&bytes).unwrap_or(Value::Null)
}
