//! A public subnet in one zone.

use super::{SubnetId, VpcId, gone, shared_list, tag_spec};
use crate::{
    aws::{Aws, Result, TagTarget, View},
    engine::{Change, How, Input, Live, Phase, Resource, Slot, Tags, differs},
};
use aws_sdk_ec2::types::{AttributeBooleanValue, ResourceType, Subnet as Ec2Subnet, SubnetState};
use std::collections::BTreeMap;

/// A subnet.
#[derive(Clone, Debug, PartialEq)]
pub struct Subnet {
    /// The VPC it is in.
    pub vpc: Input<VpcId>,
    /// IPv4 block within the VPC's.
    pub cidr: String,
    /// Availability zone by name; may be unknown for want of the list of zones.
    pub zone: Input<String>,
    /// Whether instances get a public address.
    pub public_ips: bool,
}

shared_list!(Subnets(Ec2Subnet), describe_subnets);

impl Resource for Subnet {
    const KIND: &'static str = "subnet";
    type Output = SubnetId;

    fn inputs(&mut self) -> Vec<&mut dyn Slot> {
        vec![&mut self.vpc, &mut self.zone]
    }

    fn changes(&self, live: &Self) -> Vec<Change> {
        let Self { vpc, cidr, zone, public_ips } = self;
        // Two subnets of a VPC may not overlap, so a new zone with the same block means an outage.
        let moved = if *cidr == live.cidr && *vpc == live.vpc { How::DeleteFirst } else { How::CreateFirst };
        [
            differs("vpc", vpc, &live.vpc, How::CreateFirst),
            differs("cidr", cidr, &live.cidr, How::CreateFirst),
            differs("zone", zone, &live.zone, moved),
            differs("public_ips", public_ips, &live.public_ips, How::InPlace),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    async fn list(view: &View) -> Result<Vec<Live<Self>>> {
        let live = Subnets::of_stack(view).await?.into_iter().map(|(s, tags)| {
            let id = s.subnet_id().unwrap_or_default();
            let (owner, name) = view.ownership.of(Self::KIND, &tags, id);
            let state = Self {
                vpc: Input::Known(s.vpc_id().unwrap_or_default().into()),
                cidr: s.cidr_block().unwrap_or_default().to_owned(),
                zone: Input::Known(s.availability_zone().unwrap_or_default().to_owned()),
                public_ips: s.map_public_ip_on_launch().unwrap_or(false),
            };
            let phase = match s.state() {
                Some(SubnetState::Pending) => Phase::Pending("AWS is making it".to_owned()),
                _ => Phase::Ready,
            };
            Live { phase, owner, tags: Some(tags), ..Live::ready(name, id, state, SubnetId::from(id)) }
        });
        Ok(live.collect())
    }

    async fn create(&self, aws: &Aws, tags: &Tags) -> Result<SubnetId> {
        let call = aws.ec2_once.create_subnet().vpc_id(&self.vpc.get()?.0).cidr_block(&self.cidr);
        let call = call.availability_zone(self.zone.get()?).tag_specifications(tag_spec(ResourceType::Subnet, tags));
        let made = call.send().await?;
        let id = made.subnet().and_then(|s| s.subnet_id()).unwrap_or_default().to_owned();
        self.set_public_ips(aws, &id).await?;
        Ok(SubnetId(id))
    }

    async fn update(&self, aws: &Aws, live: &Live<Self>, _: &[Change]) -> Result<SubnetId> {
        self.set_public_ips(aws, &live.id).await?;
        Ok(live.output.clone())
    }

    async fn delete(aws: &Aws, live: &Live<Self>) -> Result<()> {
        gone(aws.ec2.delete_subnet().subnet_id(&live.id).send().await)
    }

    fn tag_target(id: &SubnetId) -> Option<TagTarget> {
        Some(TagTarget::Ec2(id.0.clone()))
    }
}

impl Subnet {
    /// The zones of this stack's subnets, by the subnets' names.
    pub async fn zones(view: &View) -> Result<BTreeMap<String, String>> {
        let ours = Subnets::of_stack(view).await?;
        let zone = |(s, tags): (Ec2Subnet, Tags)| {
            Some((view.ownership.of(Self::KIND, &tags, s.subnet_id()?).1, s.availability_zone?))
        };
        Ok(ours.into_iter().filter_map(zone).collect())
    }

    async fn set_public_ips(&self, aws: &Aws, id: &str) -> Result<()> {
        let on = AttributeBooleanValue::builder().value(self.public_ips).build();
        aws.ec2.modify_subnet_attribute().subnet_id(id).map_public_ip_on_launch(on).send().await?;
        Ok(())
    }
}
