//! The VPC, with DNS on and its default security group emptied (CKV2_AWS_12).

use super::{VpcId, filter, gone, security_group::Groups, shared_list, tag_spec};
use crate::{
    aws::{Aws, Result, TagTarget, View},
    engine::{Change, How, Live, Phase, Resource, Tags, differs},
};
use aws_sdk_ec2::{
    operation::describe_vpc_attribute::DescribeVpcAttributeOutput,
    types::{AttributeBooleanValue, IpPermission, ResourceType, SecurityGroup, Vpc as Ec2Vpc, VpcAttributeName},
};
use futures::future::try_join_all;

/// A VPC.
#[derive(Clone, Debug, PartialEq)]
pub struct Vpc {
    /// IPv4 block.
    pub cidr: String,
    /// Instances get host names, and names resolve (both needed for public DNS names).
    pub dns: bool,
    /// Rules of the default security group, which nothing uses: none are wanted.
    pub default_group_rules: Vec<String>,
}

shared_list!(Vpcs(Ec2Vpc), describe_vpcs);

impl Resource for Vpc {
    const KIND: &'static str = "vpc";
    type Output = VpcId;

    fn changes(&self, live: &Self) -> Vec<Change> {
        let Self { cidr, dns, default_group_rules } = self;
        let blocked = How::Blocked("everything in the stack moves into a new VPC; consent with --replace vpc/main");
        [
            differs("cidr", cidr, &live.cidr, blocked),
            differs("dns", dns, &live.dns, How::InPlace),
            differs("default_group_rules", default_group_rules, &live.default_group_rules, How::InPlace),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    async fn list(view: &View) -> Result<Vec<Live<Self>>> {
        let vpcs = Vpcs::of_stack(view).await?;
        try_join_all(vpcs.into_iter().map(|(vpc, tags)| read(view, vpc, tags))).await
    }

    async fn create(&self, aws: &Aws, tags: &Tags) -> Result<VpcId> {
        let spec = tag_spec(ResourceType::Vpc, tags);
        let made = aws.ec2_once.create_vpc().cidr_block(&self.cidr).tag_specifications(spec).send().await?;
        let id = made.vpc().and_then(Ec2Vpc::vpc_id).unwrap_or_default().to_owned();
        self.set_dns(aws, &id).await?;
        revoke_default_group(aws, &id).await?;
        Ok(VpcId(id))
    }

    async fn update(&self, aws: &Aws, live: &Live<Self>, changes: &[Change]) -> Result<VpcId> {
        let id = &live.output.0;
        if changes.iter().any(|c| c.field == "dns") {
            self.set_dns(aws, id).await?;
        }
        if changes.iter().any(|c| c.field == "default_group_rules") {
            revoke_default_group(aws, id).await?;
        }
        Ok(live.output.clone())
    }

    async fn delete(aws: &Aws, live: &Live<Self>) -> Result<()> {
        gone(aws.ec2.delete_vpc().vpc_id(&live.output.0).send().await)
    }

    fn tag_target(id: &VpcId) -> Option<TagTarget> {
        Some(TagTarget::Ec2(id.0.clone()))
    }
}

impl Vpc {
    /// AWS takes one attribute a call.
    async fn set_dns(&self, aws: &Aws, id: &str) -> Result<()> {
        let value = AttributeBooleanValue::builder().value(self.dns).build();
        aws.ec2.modify_vpc_attribute().vpc_id(id).enable_dns_support(value.clone()).send().await?;
        aws.ec2.modify_vpc_attribute().vpc_id(id).enable_dns_hostnames(value).send().await?;
        Ok(())
    }
}

/// The attributes of a VPC.
struct Dns((DescribeVpcAttributeOutput, DescribeVpcAttributeOutput));

async fn read(view: &View, vpc: Ec2Vpc, tags: Tags) -> Result<Live<Vpc>> {
    let id = vpc.vpc_id().unwrap_or_default();
    let dns = || async move {
        let attribute = |name| view.ec2.describe_vpc_attribute().vpc_id(id).attribute(name).send();
        let support = attribute(VpcAttributeName::EnableDnsSupport);
        Ok(Dns(futures::try_join!(support, attribute(VpcAttributeName::EnableDnsHostnames))?))
    };
    let (dns, groups) = futures::try_join!(view.detail(id, dns), Groups::read(view))?;
    let Dns((support, hostnames)) = &*dns;
    let on = |a: Option<&AttributeBooleanValue>| a.and_then(AttributeBooleanValue::value).unwrap_or(false);
    let (owner, name) = view.ownership.of(Vpc::KIND, &tags, id);
    let state = Vpc {
        cidr: vpc.cidr_block().unwrap_or_default().to_owned(),
        dns: on(support.enable_dns_support()) && on(hostnames.enable_dns_hostnames()),
        default_group_rules: groups.default_of(id).map(words).unwrap_or_default(),
    };
    let phase = match vpc.state().map(aws_sdk_ec2::types::VpcState::as_str) {
        Some("pending") => Phase::Pending("AWS is making it".to_owned()),
        _ => Phase::Ready,
    };
    Ok(Live { phase, owner, tags: Some(tags), ..Live::ready(name, id, state, VpcId(id.to_owned())) })
}

/// The rules of a group in words.
fn words(group: &SecurityGroup) -> Vec<String> {
    let words = |direction: &str, p: &IpPermission| {
        let peers = p.ip_ranges().iter().filter_map(|r| r.cidr_ip());
        let peers = peers.chain(p.ipv6_ranges().iter().filter_map(|r| r.cidr_ipv6()));
        let peers = peers.chain(p.user_id_group_pairs().iter().filter_map(|g| g.group_id()));
        let peers: Vec<&str> = peers.chain(p.prefix_list_ids().iter().filter_map(|l| l.prefix_list_id())).collect();
        format!("{} {direction} {}", p.ip_protocol().unwrap_or("-1"), peers.join(" "))
    };
    let mut rules: Vec<String> = group.ip_permissions().iter().map(|p| words("from", p)).collect();
    rules.extend(group.ip_permissions_egress().iter().map(|p| words("to", p)));
    rules.sort();
    rules
}

async fn revoke_default_group(aws: &Aws, vpc: &str) -> Result<()> {
    let call = aws.ec2.describe_security_groups().filters(filter("vpc-id", vpc));
    let found = call.filters(filter("group-name", "default")).send().await?;
    let Some(group) = found.security_groups().first() else { return Ok(()) };
    let id = group.group_id().unwrap_or_default();
    if !group.ip_permissions().is_empty() {
        let call = aws.ec2.revoke_security_group_ingress().group_id(id);
        gone(call.set_ip_permissions(Some(group.ip_permissions().to_vec())).send().await)?;
    }
    if !group.ip_permissions_egress().is_empty() {
        let call = aws.ec2.revoke_security_group_egress().group_id(id);
        gone(call.set_ip_permissions(Some(group.ip_permissions_egress().to_vec())).send().await)?;
    }
    Ok(())
}
