//! The VPC, with DNS on and its default security group emptied (CKV2_AWS_12).

use super::{VpcId, filter, gone, of_stack, tag_spec};
use crate::{
    aws::{Aws, Result, TagTarget, View, tags},
    engine::{Change, How, Live, Phase, Resource, Tags, differs},
};
use aws_sdk_ec2::types::{AttributeBooleanValue, ResourceType, Vpc as Ec2Vpc, VpcAttributeName};
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
        let vpcs = view.ec2.describe_vpcs().filters(of_stack(view)).send().await?;
        try_join_all(vpcs.vpcs().iter().map(|vpc| read(view, vpc))).await
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

async fn read(view: &View, vpc: &Ec2Vpc) -> Result<Live<Vpc>> {
    let id = vpc.vpc_id().unwrap_or_default();
    let attribute = |name| view.ec2.describe_vpc_attribute().vpc_id(id).attribute(name).send();
    let (support, hostnames, rules) = futures::try_join!(
        async { Ok::<_, crate::aws::Error>(attribute(VpcAttributeName::EnableDnsSupport).await?) },
        async { Ok(attribute(VpcAttributeName::EnableDnsHostnames).await?) },
        default_group_rules(view, id),
    )?;
    let on = |a: Option<&AttributeBooleanValue>| a.and_then(AttributeBooleanValue::value).unwrap_or(false);
    let tags = tags::read(vpc.tags().iter().map(|t| (t.key(), t.value())));
    let (owner, name) = view.ownership.of(Vpc::KIND, &tags, id);
    let state = Vpc {
        cidr: vpc.cidr_block().unwrap_or_default().to_owned(),
        dns: on(support.enable_dns_support()) && on(hostnames.enable_dns_hostnames()),
        default_group_rules: rules.iter().map(|(text, _)| text.clone()).collect(),
    };
    let phase = match vpc.state().map(aws_sdk_ec2::types::VpcState::as_str) {
        Some("pending") => Phase::Pending("AWS is making it".to_owned()),
        _ => Phase::Ready,
    };
    Ok(Live { phase, owner, tags: Some(tags), ..Live::ready(name, id, state, VpcId(id.to_owned())) })
}

/// The rules of a VPC's default group in words, with their ids and whether they are egress.
async fn default_group_rules(aws: &Aws, vpc: &str) -> Result<Vec<(String, (String, String, bool))>> {
    let groups = aws
        .ec2
        .describe_security_groups()
        .filters(filter("vpc-id", vpc))
        .filters(filter("group-name", "default"))
        .send()
        .await?;
    let Some(group) = groups.security_groups().first().and_then(|g| g.group_id()) else { return Ok(vec![]) };
    let rules = aws.ec2.describe_security_group_rules().filters(filter("group-id", group)).send().await?;
    let mut rules: Vec<_> = rules
        .security_group_rules()
        .iter()
        .map(|r| {
            let egress = r.is_egress().unwrap_or(false);
            let peer = r
                .cidr_ipv4()
                .or(r.cidr_ipv6())
                .or(r.prefix_list_id())
                .or_else(|| r.referenced_group_info().and_then(|g| g.group_id()))
                .unwrap_or("anything");
            let direction = if egress { "to" } else { "from" };
            let text = format!("{} {direction} {peer}", r.ip_protocol().unwrap_or("-1"));
            (text, (group.to_owned(), r.security_group_rule_id().unwrap_or_default().to_owned(), egress))
        })
        .collect();
    rules.sort();
    Ok(rules)
}

async fn revoke_default_group(aws: &Aws, vpc: &str) -> Result<()> {
    for (_, (group, rule, egress)) in default_group_rules(aws, vpc).await? {
        let done = if egress {
            let call = aws.ec2.revoke_security_group_egress().group_id(group).security_group_rule_ids(rule);
            call.send().await.map(drop).map_err(Into::into)
        } else {
            let call = aws.ec2.revoke_security_group_ingress().group_id(group).security_group_rule_ids(rule);
            call.send().await.map(drop).map_err(crate::aws::Error::from)
        };
        gone(done)?;
    }
    Ok(())
}
