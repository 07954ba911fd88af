//! A security group. Its rules are kinds of their own, because groups refer to each other.

use super::{
    FILTER_VALUES, GroupId, VpcId, filter, gone, hashed_name, route_table::Tables, subnet::Subnets, tag_spec, vpc::Vpcs,
};
use crate::{
    aws::{Aws, Error, Result, TagTarget, View, tags},
    engine::{Change, How, Input, Live, Resource, Slot, Tags, differs},
    ownership::STACK,
};
use aws_sdk_ec2::types::{Filter, ResourceType, SecurityGroup as Ec2Group};
use futures::future::try_join_all;
use std::{collections::BTreeSet, sync::Arc};

/// A security group.
#[derive(Clone, Debug, PartialEq)]
pub struct SecurityGroup {
    /// What its name begins with; a hash of the description follows, so that a new one may stand beside the old.
    pub base_name: String,
    /// What it is for; cannot be changed.
    pub description: String,
    /// The VPC it is in.
    pub vpc: Input<VpcId>,
}

/// The groups of every VPC that holds something of a stack, whoever made them: the default groups bear no tags.
pub(super) struct Groups(Vec<(Ec2Group, Tags)>);

impl Groups {
    pub(super) async fn read(view: &View) -> Result<Arc<Self>> {
        let read = || async {
            // A VPC whose own tags somebody took away is still found by what is in it.
            let (vpcs, subnets, tables) =
                futures::try_join!(Vpcs::of_any(view), Subnets::of_any(view), Tables::of_any(view))?;
            let holding = vpcs.0.iter().map(|(v, _)| v.vpc_id());
            let holding = holding.chain(subnets.0.iter().map(|(s, _)| s.vpc_id()));
            let holding = holding.chain(tables.0.iter().map(|(t, _)| t.vpc_id()));
            let ids: BTreeSet<&str> = holding.flatten().collect();
            let ids: Vec<String> = ids.into_iter().map(ToOwned::to_owned).collect();
            let of_some = async |some: &[String]| {
                let of_some = Filter::builder().name("vpc-id").set_values(Some(some.to_vec())).build();
                let pages = view.ec2.describe_security_groups().filters(of_some).into_paginator().items().send();
                let groups: Vec<Ec2Group> = pages.collect::<Result<_, _>>().await?;
                Ok::<_, Error>(groups)
            };
            let groups = try_join_all(ids.chunks(FILTER_VALUES).map(of_some)).await?.concat();
            let tags = |g: &Ec2Group| tags::read(g.tags().iter().map(|t| (t.key(), t.value())));
            Ok(Self(groups.iter().map(|g| (g.clone(), tags(g))).collect()))
        };
        view.shared(read).await
    }

    /// What is any stack's.
    pub(super) fn of_any(&self) -> impl Iterator<Item = &Ec2Group> {
        self.0.iter().filter(|(_, tags)| tags.contains_key(STACK)).map(|(group, _)| group)
    }

    /// What is this stack's.
    pub(super) fn of_stack<'a>(&'a self, view: &'a View) -> impl Iterator<Item = &'a (Ec2Group, Tags)> {
        self.0.iter().filter(|(_, tags)| view.ownership.owns(tags))
    }

    /// The group that a VPC is born with.
    pub(super) fn default_of(&self, vpc: &str) -> Option<&Ec2Group> {
        self.0.iter().map(|(g, _)| g).find(|g| g.vpc_id() == Some(vpc) && g.group_name() == Some("default"))
    }
}

impl Resource for SecurityGroup {
    const KIND: &'static str = "security_group";
    type Output = GroupId;

    fn inputs(&mut self) -> Vec<&mut dyn Slot> {
        vec![&mut self.vpc]
    }

    fn changes(&self, live: &Self) -> Vec<Change> {
        // The name follows from the description and is used to create, never compared.
        let Self { base_name: _, description, vpc } = self;
        [
            differs("description", description, &live.description, How::CreateFirst),
            differs("vpc", vpc, &live.vpc, How::CreateFirst),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    async fn list(view: &View) -> Result<Vec<Live<Self>>> {
        let groups = Groups::read(view).await?;
        let live = groups.of_stack(view).map(|(g, tags)| {
            let id = g.group_id().unwrap_or_default();
            let (owner, name) = view.ownership.of(Self::KIND, tags, id);
            let state = Self {
                base_name: g.group_name().unwrap_or_default().to_owned(),
                description: g.description().unwrap_or_default().to_owned(),
                vpc: Input::Known(g.vpc_id().unwrap_or_default().into()),
            };
            Live { owner, tags: Some(tags.clone()), ..Live::ready(name, id, state, GroupId::from(id)) }
        });
        Ok(live.collect())
    }

    async fn create(&self, aws: &Aws, tags: &Tags) -> Result<GroupId> {
        let name = hashed_name(&self.base_name, 255, &[&self.description]);
        let call = aws.ec2.create_security_group().group_name(name).description(&self.description);
        let spec = tag_spec(ResourceType::SecurityGroup, tags);
        let made = call.vpc_id(&self.vpc.get()?.0).tag_specifications(spec).send().await?;
        let id = made.group_id().unwrap_or_default().to_owned();
        // AWS opens all egress of a new group. Rules are exact, so what stays of this the next pass would remove anyway;
        // doing it here saves that pass.
        let all = aws_sdk_ec2::types::IpPermission::builder()
            .ip_protocol("-1")
            .ip_ranges(aws_sdk_ec2::types::IpRange::builder().cidr_ip("0.0.0.0/0").build())
            .build();
        match aws.ec2.revoke_security_group_egress().group_id(&id).ip_permissions(all).send().await.map_err(Error::from)
        {
            Err(e) if !e.is_not_found() => return Err(e),
            _ => {}
        }
        Ok(GroupId(id))
    }

    async fn update(&self, _: &Aws, live: &Live<Self>, _: &[Change]) -> Result<GroupId> {
        Ok(live.output.clone())
    }

    async fn delete(aws: &Aws, live: &Live<Self>) -> Result<()> {
        match aws.ec2.delete_security_group().group_id(&live.id).send().await.map_err(Error::from) {
            // Whoever holds it is worth naming: it is what an operator would look for next.
            Err(mut e) if e.code == "DependencyViolation" => {
                let call = aws.ec2.describe_network_interfaces().filters(filter("group-id", &live.id));
                if let Ok(found) = call.send().await {
                    let holders: Vec<_> = found
                        .network_interfaces()
                        .iter()
                        .map(|n| {
                            format!("{} ({})", n.network_interface_id().unwrap_or("?"), n.description().unwrap_or("?"))
                        })
                        .collect();
                    e.message = format!("{}; held by {}", e.message, holders.join(", "));
                }
                Err(e)
            }
            other => gone(other),
        }
    }

    fn tag_target(id: &GroupId) -> Option<TagTarget> {
        Some(TagTarget::Ec2(id.0.clone()))
    }
}
