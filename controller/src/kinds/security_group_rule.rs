//! A rule of a security group. Rules belong to a group by the group's id and not by their own tags, so one that somebody
//! added by hand is found, and goes at once.

use super::{FILTER_VALUES, GroupId, gone, security_group::Groups, tag_spec};
use crate::{
    aws::{Aws, Error, Reason, Result, TagTarget, View, tags},
    engine::{Change, How, Input, Live, Resource, Slot, Tags, differs},
    ownership::RESOURCE,
};
use aws_sdk_ec2::types::{
    Filter, IpPermission, IpRange, Ipv6Range, PrefixListId, ResourceType, SecurityGroupRule as Ec2Rule, UserIdGroupPair,
};
use futures::future::try_join_all;
use std::{collections::BTreeSet, sync::Arc};

/// Which way traffic goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Into the group.
    In,
    /// Out of the group.
    Out,
}

/// Who is at the other end.
#[derive(Clone, Debug, PartialEq)]
pub enum Peer {
    /// A block of addresses, or a prefix list.
    Cidr(String),
    /// The members of a group.
    Group(Input<GroupId>),
}

/// A rule.
#[derive(Clone, Debug, PartialEq)]
pub struct SecurityGroupRule {
    /// The group it is of.
    pub group: Input<GroupId>,
    /// Which way.
    pub direction: Direction,
    /// `tcp`, `udp`, or `-1` for everything.
    pub protocol: String,
    /// First and last port; none for everything.
    pub ports: Option<(i32, i32)>,
    /// The other end.
    pub peer: Peer,
    /// What it is for.
    pub description: String,
}

/// A rule by the id of its group and its own.
#[derive(Clone, Debug)]
pub struct RuleOut {
    /// Id of the group.
    pub group: String,
    /// Its own id.
    pub id: String,
    /// Which way, for the calls differ.
    pub direction: Direction,
}

/// The rules of the groups of all stacks.
struct Rules(Vec<Ec2Rule>);

impl Rules {
    async fn read(view: &View) -> Result<Arc<Self>> {
        let read = || async {
            let groups = Groups::read(view).await?;
            let ids: Vec<String> = groups.of_any().filter_map(|g| g.group_id.clone()).collect();
            let of_groups = async |some: &[String]| {
                let of_groups = Filter::builder().name("group-id").set_values(Some(some.to_vec())).build();
                let pages = view.ec2.describe_security_group_rules().filters(of_groups).into_paginator().items().send();
                let rules: Vec<Ec2Rule> = pages.collect::<Result<_, _>>().await?;
                Ok::<_, Error>(rules)
            };
            Ok(Self(try_join_all(ids.chunks(FILTER_VALUES).map(of_groups)).await?.concat()))
        };
        view.shared(read).await
    }
}

impl Resource for SecurityGroupRule {
    const KIND: &'static str = "security_group_rule";
    type Output = RuleOut;

    fn inputs(&mut self) -> Vec<&mut dyn Slot> {
        let mut slots: Vec<&mut dyn Slot> = vec![&mut self.group];
        if let Peer::Group(peer) = &mut self.peer {
            slots.push(peer);
        }
        slots
    }

    fn changes(&self, live: &Self) -> Vec<Change> {
        let Self { group, direction, protocol, ports, peer, description } = self;
        [
            differs("group", group, &live.group, How::CreateFirst),
            differs("direction", direction, &live.direction, How::CreateFirst),
            differs("protocol", protocol, &live.protocol, How::CreateFirst),
            differs("ports", ports, &live.ports, How::CreateFirst),
            differs("peer", peer, &live.peer, How::CreateFirst),
            differs("description", description, &live.description, How::InPlace),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    async fn list(view: &View) -> Result<Vec<Live<Self>>> {
        let (rules, groups) = futures::try_join!(Rules::read(view), Groups::read(view))?;
        let ours: BTreeSet<_> = groups.of_stack(view).filter_map(|(g, _)| g.group_id()).collect();
        Ok(rules.0.iter().filter(|r| r.group_id().is_some_and(|g| ours.contains(g))).map(read).collect())
    }

    async fn create(&self, aws: &Aws, tags: &Tags) -> Result<RuleOut> {
        let group = &self.group.get()?.0;
        let permission = self.permission()?;
        let spec = tag_spec(ResourceType::SecurityGroupRule, tags);
        let made = match self.direction {
            Direction::In => {
                let call = aws.ec2.authorize_security_group_ingress().group_id(group).ip_permissions(permission);
                call.tag_specifications(spec).send().await.map(|o| o.security_group_rules).map_err(Error::from)
            }
            Direction::Out => {
                let call = aws.ec2.authorize_security_group_egress().group_id(group).ip_permissions(permission);
                call.tag_specifications(spec).send().await.map(|o| o.security_group_rules).map_err(Error::from)
            }
        };
        let id = match made {
            Ok(rules) => rules.unwrap_or_default().first().and_then(|r| r.security_group_rule_id.clone()),
            // The rule stands already, which is what was wanted; the next pass reads its id and mends its tags.
            Err(e) if e.reason == Reason::Exists => None,
            Err(e) => return Err(e),
        };
        Ok(RuleOut { group: group.clone(), id: id.unwrap_or_default(), direction: self.direction })
    }

    async fn update(&self, aws: &Aws, live: &Live<Self>, _: &[Change]) -> Result<RuleOut> {
        let description = aws_sdk_ec2::types::SecurityGroupRuleDescription::builder()
            .security_group_rule_id(&live.output.id)
            .description(&self.description)
            .build();
        let group = &live.output.group;
        match self.direction {
            Direction::In => {
                let call = aws.ec2.update_security_group_rule_descriptions_ingress().group_id(group);
                call.security_group_rule_descriptions(description).send().await?;
            }
            Direction::Out => {
                let call = aws.ec2.update_security_group_rule_descriptions_egress().group_id(group);
                call.security_group_rule_descriptions(description).send().await?;
            }
        }
        Ok(live.output.clone())
    }

    async fn delete(aws: &Aws, live: &Live<Self>) -> Result<()> {
        let RuleOut { group, id, direction } = &live.output;
        let done = match direction {
            Direction::In => {
                let call = aws.ec2.revoke_security_group_ingress().group_id(group).security_group_rule_ids(id);
                call.send().await.map(drop).map_err(Error::from)
            }
            Direction::Out => {
                let call = aws.ec2.revoke_security_group_egress().group_id(group).security_group_rule_ids(id);
                call.send().await.map(drop).map_err(Error::from)
            }
        };
        gone(done)
    }

    fn tag_target(output: &RuleOut) -> Option<TagTarget> {
        Some(TagTarget::Ec2(output.id.clone()))
    }
}

impl SecurityGroupRule {
    fn permission(&self) -> Result<IpPermission> {
        let permission = IpPermission::builder()
            .ip_protocol(&self.protocol)
            .set_from_port(self.ports.map(|p| p.0))
            .set_to_port(self.ports.map(|p| p.1));
        let description = &self.description;
        Ok(match &self.peer {
            Peer::Cidr(cidr) if cidr.starts_with("pl-") => permission
                .prefix_list_ids(PrefixListId::builder().prefix_list_id(cidr).description(description).build()),
            Peer::Cidr(cidr) if cidr.contains(':') => {
                permission.ipv6_ranges(Ipv6Range::builder().cidr_ipv6(cidr).description(description).build())
            }
            Peer::Cidr(cidr) => permission.ip_ranges(IpRange::builder().cidr_ip(cidr).description(description).build()),
            Peer::Group(id) => permission.user_id_group_pairs(
                UserIdGroupPair::builder().group_id(&id.get()?.0).description(description).build(),
            ),
        }
        .build())
    }
}

/// A rule that bears no address of ours goes by its own id, which no wish will ever have.
fn read(rule: &Ec2Rule) -> Live<SecurityGroupRule> {
    let id = rule.security_group_rule_id().unwrap_or_default();
    let tags = tags::read(rule.tags().iter().map(|t| (t.key(), t.value())));
    let group = rule.group_id().unwrap_or_default();
    let direction = if rule.is_egress().unwrap_or(false) { Direction::Out } else { Direction::In };
    let protocol = rule.ip_protocol().unwrap_or_default().to_owned();
    let peer = match rule.referenced_group_info().and_then(|g| g.group_id()) {
        Some(peer) => Peer::Group(Input::Known(peer.into())),
        None => {
            Peer::Cidr(rule.cidr_ipv4().or(rule.cidr_ipv6()).or(rule.prefix_list_id()).unwrap_or_default().to_owned())
        }
    };
    let ports = rule.from_port().zip(rule.to_port()).filter(|_| protocol != "-1");
    let state = SecurityGroupRule {
        group: Input::Known(group.into()),
        direction,
        protocol,
        ports,
        peer,
        description: rule.description().unwrap_or_default().to_owned(),
    };
    let address = tags.get(RESOURCE).and_then(|a| a.strip_prefix(SecurityGroupRule::KIND)?.strip_prefix('/'));
    let name = address.map_or_else(|| format!("{group}-{}", words(&state)), ToOwned::to_owned);
    let output = RuleOut { group: group.to_owned(), id: id.to_owned(), direction };
    Live { tags: Some(tags), ..Live::ready(name, id, state, output) }
}

/// `in-tcp-8443-0.0.0.0/0`.
fn words(rule: &SecurityGroupRule) -> String {
    let direction = if rule.direction == Direction::In { "in" } else { "out" };
    let protocol = if rule.protocol == "-1" { "all" } else { &rule.protocol };
    let ports = match rule.ports {
        None => String::new(),
        Some((a, b)) if a == b => format!("-{a}"),
        Some((a, b)) => format!("-{a}-{b}"),
    };
    let peer = match &rule.peer {
        Peer::Cidr(cidr) => cidr.clone(),
        Peer::Group(id) => format!("{id:?}"),
    };
    format!("{direction}-{protocol}{ports}-{}", peer.replace('"', ""))
}

/// The name of a rule within the stack, given the logical name of its group and of its peer.
pub fn rule_name(group: &str, direction: Direction, ports: Option<(i32, i32)>, peer: &str) -> String {
    let way = if direction == Direction::In { "in" } else { "out" };
    match ports {
        None => format!("{group}-{way}-all-{peer}"),
        Some((a, b)) if a == b => format!("{group}-{way}-{a}-{peer}"),
        Some((a, b)) => format!("{group}-{way}-{a}-{b}-{peer}"),
    }
}
