//! The way out of a VPC and into it.

use super::{GatewayId, VpcId, gone, shared_list, tag_spec};
use crate::{
    aws::{Aws, Reason, Result, TagTarget, View},
    engine::{Change, How, Input, Live, Resource, Slot, Tags, differs},
};
use aws_sdk_ec2::types::{InternetGateway as Ec2Gateway, ResourceType};

/// An internet gateway; a VPC has at most one.
#[derive(Clone, Debug, PartialEq)]
pub struct InternetGateway {
    /// The VPC it is attached to; none is a difference that an update mends.
    pub vpc: Option<Input<VpcId>>,
}

shared_list!(Gateways(Ec2Gateway), describe_internet_gateways);

impl Resource for InternetGateway {
    const KIND: &'static str = "internet_gateway";
    type Output = GatewayId;

    fn inputs(&mut self) -> Vec<&mut dyn Slot> {
        self.vpc.iter_mut().map(|v| v as &mut dyn Slot).collect()
    }

    fn changes(&self, live: &Self) -> Vec<Change> {
        let Self { vpc } = self;
        // Made but not attached: the create call was interrupted between its two halves.
        let how = if live.vpc.is_none() { How::InPlace } else { How::CreateFirst };
        differs("vpc", vpc, &live.vpc, how).into_iter().collect()
    }

    async fn list(view: &View) -> Result<Vec<Live<Self>>> {
        let live = Gateways::of_stack(view).await?.into_iter().map(|(g, tags)| {
            let id = g.internet_gateway_id().unwrap_or_default();
            let (owner, name) = view.ownership.of(Self::KIND, &tags, id);
            let vpc = g.attachments().first().and_then(|a| a.vpc_id()).map(|v| Input::Known(VpcId::from(v)));
            Live { owner, tags: Some(tags), ..Live::ready(name, id, Self { vpc }, GatewayId::from(id)) }
        });
        Ok(live.collect())
    }

    async fn create(&self, aws: &Aws, tags: &Tags) -> Result<GatewayId> {
        let spec = tag_spec(ResourceType::InternetGateway, tags);
        let made = aws.ec2_once.create_internet_gateway().tag_specifications(spec).send().await?;
        let id = made.internet_gateway().and_then(|g| g.internet_gateway_id()).unwrap_or_default().to_owned();
        self.attach(aws, &id).await?;
        Ok(GatewayId(id))
    }

    async fn update(&self, aws: &Aws, live: &Live<Self>, _: &[Change]) -> Result<GatewayId> {
        self.attach(aws, &live.id).await?;
        Ok(live.output.clone())
    }

    async fn delete(aws: &Aws, live: &Live<Self>) -> Result<()> {
        if let Some(Input::Known(vpc)) = &live.state.vpc {
            let call = aws.ec2.detach_internet_gateway().internet_gateway_id(&live.id).vpc_id(&vpc.0);
            match call.send().await.map_err(crate::aws::Error::from) {
                Err(e) if e.code == "Gateway.NotAttached" || e.reason == Reason::NotFound => {}
                other => drop(other?),
            }
        }
        gone(aws.ec2.delete_internet_gateway().internet_gateway_id(&live.id).send().await)
    }

    fn tag_target(id: &GatewayId) -> Option<TagTarget> {
        Some(TagTarget::Ec2(id.0.clone()))
    }
}

impl InternetGateway {
    async fn attach(&self, aws: &Aws, id: &str) -> Result<()> {
        if let Some(vpc) = &self.vpc {
            aws.ec2.attach_internet_gateway().internet_gateway_id(id).vpc_id(&vpc.get()?.0).send().await?;
        }
        Ok(())
    }
}
