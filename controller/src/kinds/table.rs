//! DynamoDB tables: on demand or provisioned, encrypted, with point-in-time recovery and deletion protection.

use super::{built, gone};
use crate::{
    aws::{Aws, Error, Result, TagTarget, View, tags},
    engine::{Change, How, Live, Phase, Resource, Tags, differs},
    sdk_tags,
};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, CreateGlobalSecondaryIndexAction, DeleteGlobalSecondaryIndexAction,
    GlobalSecondaryIndex, GlobalSecondaryIndexUpdate, IndexStatus, KeySchemaElement, KeyType,
    PointInTimeRecoverySpecification, PointInTimeRecoveryStatus, Projection, ProjectionType, ProvisionedThroughput,
    ScalarAttributeType, TableDescription, TableStatus, TimeToLiveSpecification, TimeToLiveStatus,
    UpdateGlobalSecondaryIndexAction,
};
use futures::future::try_join_all;
use std::collections::{BTreeMap, BTreeSet};

/// A key attribute and its type.
pub type Key = (String, ScalarAttributeType);

/// A table.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// Its name, unique in account and region.
    pub name: String,
    /// Partition key.
    pub partition: Key,
    /// Sort key.
    pub sort: Option<Key>,
    /// Indexes by name: partition and sort key; all attributes are projected.
    pub indexes: BTreeMap<String, (Key, Key)>,
    /// Read and write capacity units; none is on demand.
    pub provisioned: Option<(i64, i64)>,
    /// Attribute by which items expire.
    pub ttl: Option<String>,
    /// Point-in-time recovery.
    pub recovery: bool,
    /// Deletion protection.
    pub protected: bool,
}

/// What a table offers to others.
#[derive(Clone, Debug)]
pub struct TableOut {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
}

impl Resource for Table {
    const KIND: &'static str = "table";
    const HOLDS_DATA: bool = true;
    type Output = TableOut;

    fn name(&self) -> Option<String> {
        Some(self.name.clone())
    }

    fn changes(&self, live: &Self) -> Vec<Change> {
        let Self { name, partition, sort, indexes, provisioned, ttl, recovery, protected } = self;
        [
            differs("name", name, &live.name, How::CreateFirst),
            differs("partition", partition, &live.partition, How::DeleteFirst),
            differs("sort", sort, &live.sort, How::DeleteFirst),
            differs("indexes", indexes, &live.indexes, How::InPlace),
            differs("provisioned", provisioned, &live.provisioned, How::InPlace),
            differs("ttl", ttl, &live.ttl, How::InPlace),
            differs("recovery", recovery, &live.recovery, How::InPlace),
            differs("protected", protected, &live.protected, How::InPlace),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    async fn list(view: &View) -> Result<Vec<Live<Self>>> {
        let tables = try_join_all(view.known.tables.iter().map(|name| read(view, name))).await?;
        Ok(tables.into_iter().flatten().collect())
    }

    async fn create(&self, aws: &Aws, tags: &Tags) -> Result<TableOut> {
        let mut call = aws
            .dynamodb
            .create_table()
            .table_name(&self.name)
            .set_attribute_definitions(Some(self.attributes()?))
            .set_key_schema(Some(keys(&self.partition, self.sort.as_ref())?))
            .deletion_protection_enabled(self.protected)
            .set_tags(Some(sdk_tags!(aws_sdk_dynamodb, tags, fallible)));
        for (name, (partition, sort)) in &self.indexes {
            let index = GlobalSecondaryIndex::builder()
                .index_name(name)
                .set_key_schema(Some(keys(partition, Some(sort))?))
                .projection(Projection::builder().projection_type(ProjectionType::All).build())
                .set_provisioned_throughput(self.throughput()?);
            call = call.global_secondary_indexes(index.build().map_err(built)?);
        }
        call = match self.throughput()? {
            None => call.billing_mode(BillingMode::PayPerRequest),
            Some(t) => call.billing_mode(BillingMode::Provisioned).provisioned_throughput(t),
        };
        // TTL and recovery can be set only when the table is active; a later pass finds them missing and sets them.
        let made = call.send().await?;
        let arn = made.table_description.and_then(|d| d.table_arn).unwrap_or_default();
        Ok(TableOut { name: self.name.clone(), arn })
    }

    async fn update(&self, aws: &Aws, live: &Live<Self>, changes: &[Change]) -> Result<TableOut> {
        let table = || aws.dynamodb.update_table().table_name(&self.name);
        for change in changes {
            match change.field {
                "indexes" => self.next_index(aws, &live.state).await?,
                "provisioned" => {
                    let call = match self.throughput()? {
                        None => table().billing_mode(BillingMode::PayPerRequest),
                        Some(t) => {
                            // Each index has a throughput of its own, and AWS wants all of them at once.
                            let index = |name: &String| {
                                let update = UpdateGlobalSecondaryIndexAction::builder().index_name(name);
                                let update = update.provisioned_throughput(t.clone()).build().map_err(built)?;
                                Ok(GlobalSecondaryIndexUpdate::builder().update(update).build())
                            };
                            let indexes = live.state.indexes.keys().map(index).collect::<Result<Vec<_>>>()?;
                            let call = table().billing_mode(BillingMode::Provisioned).provisioned_throughput(t);
                            call.set_global_secondary_index_updates((!indexes.is_empty()).then_some(indexes))
                        }
                    };
                    call.send().await?;
                }
                "protected" => {
                    table().deletion_protection_enabled(self.protected).send().await?;
                }
                "recovery" => {
                    let wish = PointInTimeRecoverySpecification::builder()
                        .point_in_time_recovery_enabled(self.recovery)
                        .build()
                        .map_err(built)?;
                    let call = aws.dynamodb.update_continuous_backups().table_name(&self.name);
                    call.point_in_time_recovery_specification(wish).send().await?;
                }
                _ => {
                    // An attribute is named even to turn expiry off.
                    let attribute = self.ttl.as_ref().or(live.state.ttl.as_ref());
                    let wish = TimeToLiveSpecification::builder()
                        .enabled(self.ttl.is_some())
                        .attribute_name(attribute.map_or("expiresAt", String::as_str))
                        .build()
                        .map_err(built)?;
                    let call = aws.dynamodb.update_time_to_live().table_name(&self.name);
                    call.time_to_live_specification(wish).send().await?;
                }
            }
        }
        Ok(live.output.clone())
    }

    async fn delete(aws: &Aws, live: &Live<Self>) -> Result<()> {
        if live.state.protected {
            let call = aws.dynamodb.update_table().table_name(&live.id);
            gone(call.deletion_protection_enabled(false).send().await)?;
        }
        gone(aws.dynamodb.delete_table().table_name(&live.id).send().await)
    }

    fn keys(output: &TableOut) -> Vec<String> {
        vec![output.arn.clone()]
    }

    fn tag_target(output: &TableOut) -> Option<TagTarget> {
        Some(TagTarget::Table(output.arn.clone()))
    }
}

impl Table {
    fn throughput(&self) -> Result<Option<ProvisionedThroughput>> {
        self.provisioned
            .map(|(read, write)| {
                ProvisionedThroughput::builder()
                    .read_capacity_units(read)
                    .write_capacity_units(write)
                    .build()
                    .map_err(built)
            })
            .transpose()
    }

    /// DynamoDB wants a type for each attribute that is a key somewhere, and for no other.
    fn attributes(&self) -> Result<Vec<AttributeDefinition>> {
        let index_keys = self.indexes.values().flat_map(|(p, s)| [p, s]);
        let all = std::iter::once(&self.partition).chain(&self.sort).chain(index_keys);
        let mut seen = BTreeSet::new();
        all.filter(|(name, _)| seen.insert(name.clone()))
            .map(|(name, kind)| {
                AttributeDefinition::builder().attribute_name(name).attribute_type(kind.clone()).build().map_err(built)
            })
            .collect()
    }

    /// DynamoDB makes or drops one index at a time, so one step does one and later passes the rest: drops first.
    async fn next_index(&self, aws: &Aws, live: &Self) -> Result<()> {
        let stale = live.indexes.iter().find(|(name, keys)| self.indexes.get(*name) != Some(*keys));
        let update = if let Some((name, _)) = stale {
            let drop = DeleteGlobalSecondaryIndexAction::builder().index_name(name).build().map_err(built)?;
            GlobalSecondaryIndexUpdate::builder().delete(drop).build()
        } else if let Some((name, (partition, sort))) =
            self.indexes.iter().find(|(n, _)| !live.indexes.contains_key(*n))
        {
            let make = CreateGlobalSecondaryIndexAction::builder()
                .index_name(name)
                .set_key_schema(Some(keys(partition, Some(sort))?))
                .projection(Projection::builder().projection_type(ProjectionType::All).build())
                .set_provisioned_throughput(self.throughput()?)
                .build()
                .map_err(built)?;
            GlobalSecondaryIndexUpdate::builder().create(make).build()
        } else {
            return Ok(());
        };
        let call = aws.dynamodb.update_table().table_name(&self.name).global_secondary_index_updates(update);
        call.set_attribute_definitions(Some(self.attributes()?)).send().await?;
        Ok(())
    }
}

fn keys(partition: &Key, sort: Option<&Key>) -> Result<Vec<KeySchemaElement>> {
    let element =
        |key: &Key, kind| KeySchemaElement::builder().attribute_name(&key.0).key_type(kind).build().map_err(built);
    let mut keys = vec![element(partition, KeyType::Hash)?];
    if let Some(sort) = sort {
        keys.push(element(sort, KeyType::Range)?);
    }
    Ok(keys)
}

async fn read(view: &View, name: &str) -> Result<Option<Live<Table>>> {
    let arn = format!("arn:aws:dynamodb:{}:{}:table/{name}", view.region, view.account);
    let calls = async {
        let (table, tags, ttl, backups) = futures::join!(
            view.dynamodb.describe_table().table_name(name).send(),
            view.dynamodb.list_tags_of_resource().resource_arn(&arn).send(),
            view.dynamodb.describe_time_to_live().table_name(name).send(),
            view.dynamodb.describe_continuous_backups().table_name(name).send(),
        );
        Ok::<_, Error>((table?, tags?, ttl?, backups?))
    };
    let (table, tags, ttl, backups) = match calls.await {
        Ok(all) => all,
        Err(e) if e.is_not_found() => return Ok(None),
        Err(e) => return Err(e),
    };
    let Some(table) = table.table else { return Ok(None) };
    let tags = tags::read(tags.tags().iter().map(|t| (Some(t.key()), Some(t.value()))));
    let (owner, logical) = view.ownership.of(Table::KIND, &tags, name);
    let ttl = ttl.time_to_live_description;
    let ttl_on = matches!(
        ttl.as_ref().and_then(|t| t.time_to_live_status()),
        Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)
    );
    let recovery = backups
        .continuous_backups_description
        .and_then(|b| b.point_in_time_recovery_description)
        .and_then(|p| p.point_in_time_recovery_status);
    let (partition, sort) = key_pair(&table, table.key_schema());
    let on_demand = table.billing_mode_summary().and_then(|b| b.billing_mode()) == Some(&BillingMode::PayPerRequest);
    let state = Table {
        name: name.to_owned(),
        partition: partition.unwrap_or_else(|| (String::new(), ScalarAttributeType::S)),
        sort,
        indexes: table
            .global_secondary_indexes()
            .iter()
            .filter_map(|i| {
                let (partition, sort) = key_pair(&table, i.key_schema());
                Some((i.index_name()?.to_owned(), (partition?, sort?)))
            })
            .collect(),
        provisioned: table
            .provisioned_throughput()
            .filter(|_| !on_demand)
            .and_then(|t| Some((t.read_capacity_units()?, t.write_capacity_units()?))),
        ttl: ttl.filter(|_| ttl_on).and_then(|t| t.attribute_name),
        recovery: recovery == Some(PointInTimeRecoveryStatus::Enabled),
        protected: table.deletion_protection_enabled().unwrap_or(false),
    };
    let since = table.creation_date_time().and_then(|t| time::OffsetDateTime::from_unix_timestamp(t.secs()).ok());
    let output = TableOut { name: name.to_owned(), arn };
    let phase = phase(&table);
    Ok(Some(Live { phase, owner, tags: Some(tags), since, ..Live::ready(logical, name, state, output) }))
}

fn phase(table: &TableDescription) -> Phase {
    let busy = table.global_secondary_indexes().iter().find(|i| i.index_status() != Some(&IndexStatus::Active));
    match (table.table_status(), busy) {
        (Some(TableStatus::Deleting), _) => Phase::Deleting("AWS is deleting the table".to_owned()),
        (Some(TableStatus::Active) | None, None) => Phase::Ready,
        (Some(TableStatus::Active) | None, Some(index)) => Phase::Pending(format!(
            "index {} is {}",
            index.index_name().unwrap_or("?"),
            index.index_status().map_or("busy", IndexStatus::as_str)
        )),
        (Some(other), _) => Phase::Pending(format!("the table is {other}")),
    }
}

fn key_pair(table: &TableDescription, schema: &[KeySchemaElement]) -> (Option<Key>, Option<Key>) {
    let find = |kind: KeyType| {
        let name = schema.iter().find(|k| *k.key_type() == kind)?.attribute_name();
        let typed = table.attribute_definitions().iter().find(|a| a.attribute_name() == name)?;
        Some((name.to_owned(), typed.attribute_type().clone()))
    };
    (find(KeyType::Hash), find(KeyType::Range))
}
