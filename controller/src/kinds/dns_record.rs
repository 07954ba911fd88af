//! The bot's host name: an alias of the load balancer, with a TXT record beside it that says whose it is, because records bear
//! no tags. The marks of a zone lie side by side under `polybot-owner.<zone>`, so one call lists them all, also those of host
//! names that the spec has since given up. In a zone that fits one page, that page says all of it.

use super::built;
use crate::{
    aws::{Aws, Error, Reason, Result, View},
    engine::{Change, How, Input, Live, Owner, Resource, Slot, Tags, differs},
};
use aws_sdk_route53::types::{
    AliasTarget, Change as RecordChange, ChangeAction, ChangeBatch, ResourceRecord, ResourceRecordSet, RrType,
};
use futures::future::try_join_all;

/// An alias record and its owner mark.
#[derive(Clone, Debug, PartialEq)]
pub struct DnsRecord {
    /// Host name.
    pub host: String,
    /// Name of the load balancer.
    pub target: Input<String>,
    /// Hosted zone of that name.
    pub target_zone: Input<String>,
}

/// The records as they are, which is how Route 53 wants them named to delete them.
#[derive(Clone, Debug)]
pub struct Records {
    /// Id of the hosted zone.
    pub zone: String,
    /// The alias.
    pub address: Option<ResourceRecordSet>,
    /// The TXT record beside it.
    pub mark: Option<ResourceRecordSet>,
}

const TTL: i64 = 300;

impl Resource for DnsRecord {
    const KIND: &'static str = "dns_record";
    type Output = Records;

    fn name(&self) -> Option<String> {
        Some(self.host.clone())
    }

    fn inputs(&mut self) -> Vec<&mut dyn Slot> {
        vec![&mut self.target, &mut self.target_zone]
    }

    fn changes(&self, live: &Self) -> Vec<Change> {
        let Self { host, target, target_zone } = self;
        [
            differs("host", host, &live.host, How::CreateFirst),
            differs("target", target, &live.target, How::InPlace),
            differs("target_zone", target_zone, &live.target_zone, How::InPlace),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    async fn list(view: &View) -> Result<Vec<Live<Self>>> {
        let zone = zone_id(view).await?;
        let name = &view.known.hosted_zone;
        let suffix = format!(".polybot-owner.{name}");
        let page = view.route53.list_resource_record_sets().hosted_zone_id(&zone).send().await?;
        let whole = if page.is_truncated { None } else { Some(page.resource_record_sets) };
        let records = if let Some(records) = &whole {
            records.clone()
        } else {
            // Zones are sorted by reversed labels: all marks follow each other.
            let call = view.route53.list_resource_record_sets().hosted_zone_id(&zone);
            let call = call.start_record_name(format!("polybot-owner.{name}")).start_record_type(RrType::Txt);
            call.send().await?.resource_record_sets
        };
        let marks: Vec<_> =
            records.into_iter().filter(|r| r.r#type == RrType::Txt && bare(&r.name).ends_with(&suffix)).collect();
        let mut hosts: Vec<(String, Option<ResourceRecordSet>)> = vec![];
        for mark in marks {
            let relative = bare(&mark.name).trim_end_matches(&suffix).to_owned();
            let host = if relative == APEX { name.clone() } else { format!("{relative}.{name}") };
            let ours = mark.resource_records().iter().any(|r| r.value() == identity(view));
            if ours || host == view.known.host {
                hosts.push((host, Some(mark)));
            }
        }
        if hosts.iter().all(|(host, _)| *host != view.known.host) {
            hosts.push((view.known.host.clone(), None));
        }
        let whole = whole.as_deref();
        let found = try_join_all(hosts.into_iter().map(|(host, mark)| read(view, &zone, whole, host, mark))).await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn create(&self, aws: &Aws, _: &Tags) -> Result<Records> {
        let zone = zone_id(aws).await?;
        let (address, mark) = (self.address()?, mark(aws, &self.host)?);
        // CREATE, never UPSERT: a record that appeared since we looked must not be overwritten.
        let changes = [(ChangeAction::Create, &address), (ChangeAction::Create, &mark)];
        submit(aws, &zone, &changes).await?;
        Ok(Records { zone, address: Some(address), mark: Some(mark) })
    }

    async fn update(&self, aws: &Aws, live: &Live<Self>, _: &[Change]) -> Result<Records> {
        let address = self.address()?;
        submit(aws, &live.output.zone, &[(ChangeAction::Upsert, &address)]).await?;
        Ok(Records { address: Some(address), ..live.output.clone() })
    }

    async fn delete(aws: &Aws, live: &Live<Self>) -> Result<()> {
        let Records { zone, address, mark } = &live.output;
        let changes: Vec<_> = [address, mark].into_iter().flatten().map(|r| (ChangeAction::Delete, r)).collect();
        match submit(aws, zone, &changes).await {
            Err(e) if e.message.contains("not found") => Ok(()),
            other => other,
        }
    }

    fn keys(output: &Records) -> Vec<String> {
        output.address.iter().map(|a| bare(&a.name)).collect()
    }
}

/// Stands for the zone's own name in a mark.
const APEX: &str = "apex";

impl DnsRecord {
    fn address(&self) -> Result<ResourceRecordSet> {
        let alias = AliasTarget::builder()
            .dns_name(self.target.get()?)
            .hosted_zone_id(self.target_zone.get()?)
            .evaluate_target_health(false)
            .build()
            .map_err(built)?;
        ResourceRecordSet::builder().name(&self.host).r#type(RrType::A).alias_target(alias).build().map_err(built)
    }
}

fn mark(aws: &Aws, host: &str) -> Result<ResourceRecordSet> {
    let zone = &aws.known.hosted_zone;
    let relative = host.strip_suffix(&format!(".{zone}")).unwrap_or(APEX);
    let value = ResourceRecord::builder().value(identity(aws)).build().map_err(built)?;
    ResourceRecordSet::builder()
        .name(format!("{relative}.polybot-owner.{zone}"))
        .r#type(RrType::Txt)
        .ttl(TTL)
        .resource_records(value)
        .build()
        .map_err(built)
}

/// Who owns a record: in quotes, as TXT values are.
fn identity(aws: &Aws) -> String {
    format!("\"polybot stack={} account={} region={}\"", aws.ownership.stack, aws.account, aws.region)
}

/// Names come back with a final dot, and AWS may write an alias with `dualstack.`.
fn bare(name: &str) -> String {
    name.trim_end_matches('.').trim_start_matches("dualstack.").to_lowercase()
}

async fn zone_id(aws: &Aws) -> Result<String> {
    let name = &aws.known.hosted_zone;
    let zones = aws.route53.list_hosted_zones_by_name().dns_name(name).max_items(10).send().await?;
    let is_it = |z: &&aws_sdk_route53::types::HostedZone| {
        bare(z.name()) == *name && !z.config().is_some_and(aws_sdk_route53::types::HostedZoneConfig::private_zone)
    };
    zones.hosted_zones().iter().find(is_it).map(|z| z.id().trim_start_matches("/hostedzone/").to_owned()).ok_or_else(
        || Error {
            service: "route53".to_owned(),
            operation: "ListHostedZonesByName".to_owned(),
            code: String::new(),
            message: format!(
                "account {} has no public hosted zone {name}; create it (aws route53 create-hosted-zone --name {name} \
             --caller-reference {name}) and delegate the domain to it, or correct spec.domain.hostedZone",
                aws.account
            ),
            reason: Reason::Refused,
        },
    )
}

/// Reads the records of one host, from the whole zone where that is at hand.
async fn read(
    view: &View,
    zone: &str,
    whole: Option<&[ResourceRecordSet]>,
    host: String,
    mark: Option<ResourceRecordSet>,
) -> Result<Option<Live<DnsRecord>>> {
    let records = if let Some(records) = whole {
        records.to_vec()
    } else {
        let call = view.route53.list_resource_record_sets().hosted_zone_id(zone);
        let call = call.start_record_name(&host).start_record_type(RrType::A).max_items(3);
        call.send().await?.resource_record_sets
    };
    let address = records
        .into_iter()
        .find(|r| bare(&r.name) == host && matches!(r.r#type, RrType::A | RrType::Cname | RrType::Aaaa));
    let ours = mark.as_ref().is_some_and(|m| m.resource_records().iter().any(|r| r.value() == identity(view)));
    if address.is_none() && !ours {
        return Ok(None);
    }
    let owner = if ours { Owner::Ours } else { Owner::Foreign };
    let alias = address.as_ref().and_then(|a| a.alias_target());
    let state = DnsRecord {
        host: host.clone(),
        target: Input::Known(alias.map(|a| bare(a.dns_name())).unwrap_or_default()),
        target_zone: Input::Known(alias.map(|a| a.hosted_zone_id().to_owned()).unwrap_or_default()),
    };
    // The stack has one host; a former one goes by its own name, which no wish has.
    let name = if host == view.known.host { "bot".to_owned() } else { host.clone() };
    let output = Records { zone: zone.to_owned(), address, mark };
    Ok(Some(Live { owner, ..Live::ready(name, host, state, output) }))
}

async fn submit(aws: &Aws, zone: &str, changes: &[(ChangeAction, &ResourceRecordSet)]) -> Result<()> {
    let changes = changes
        .iter()
        .map(|(action, record)| {
            RecordChange::builder().action(action.clone()).resource_record_set((*record).clone()).build().map_err(built)
        })
        .collect::<Result<Vec<_>>>()?;
    let batch = ChangeBatch::builder().set_changes(Some(changes)).build().map_err(built)?;
    aws.route53.change_resource_record_sets().hosted_zone_id(zone).change_batch(batch).send().await?;
    Ok(())
}
