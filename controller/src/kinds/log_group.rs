//! A group of logs: what the containers of one service print, kept for some days.

use crate::{
    aws::{Aws, Result, TagTarget, View},
    engine::{Change, How, Live, Resource, Tags, differs, differs_as},
};
use futures::future::try_join_all;
use serde_json::{Value, json};
use time::OffsetDateTime;

/// Days that CloudWatch can keep a log.
pub const DAYS: &[u32] =
    &[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

/// A log group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogGroup {
    /// Its name, unique in account and region: `/talo-prod/polybot`.
    pub name: String,
    /// How many days a line is kept; for ever where there is none.
    pub retention: Option<u32>,
}

impl Resource for LogGroup {
    const KIND: &'static str = "log_group";
    const HOLDS_DATA: bool = true;
    /// The ARN.
    type Output = String;

    fn name(&self) -> Option<String> {
        Some(self.name.clone())
    }

    fn changes(&self, live: &Self) -> Vec<Change> {
        let Self { name, retention } = self;
        let days = |d: Option<u32>| d.map_or_else(|| "for ever".to_owned(), |d| format!("{d} days"));
        let kept = (*retention != live.retention)
            .then(|| differs_as("retention", days(live.retention), days(*retention), How::InPlace));
        differs("name", name, &live.name, How::CreateFirst).into_iter().chain(kept).collect()
    }

    async fn list(view: &View) -> Result<Vec<Live<Self>>> {
        let mut ask = json!({ "logGroupNamePrefix": format!("/{}/", view.ownership.prefix) });
        let mut all = vec![];
        loop {
            let answer = view.logs.call("DescribeLogGroups", &ask).await?;
            all.extend(answer["logGroups"].as_array().cloned().unwrap_or_default());
            match answer["nextToken"].as_str() {
                Some(next) => ask["nextToken"] = next.into(),
                None => break,
            }
        }
        try_join_all(all.iter().map(|group| read(view, group))).await
    }

    async fn create(&self, aws: &Aws, tags: &Tags) -> Result<String> {
        aws.logs.call("CreateLogGroup", &json!({ "logGroupName": self.name, "tags": tags })).await?;
        self.keep(aws).await?;
        Ok(self.arn(aws))
    }

    async fn update(&self, aws: &Aws, live: &Live<Self>, _: &[Change]) -> Result<String> {
        self.keep(aws).await?;
        Ok(live.output.clone())
    }

    async fn delete(aws: &Aws, live: &Live<Self>) -> Result<()> {
        match aws.logs.call("DeleteLogGroup", &json!({ "logGroupName": live.id })).await {
            Err(e) if !e.is_not_found() => Err(e),
            _ => Ok(()),
        }
    }

    fn tag_target(arn: &String) -> Option<TagTarget> {
        Some(TagTarget::LogGroup(arn.clone()))
    }
}

impl LogGroup {
    async fn keep(&self, aws: &Aws) -> Result<Value> {
        match self.retention {
            Some(days) => {
                let ask = json!({ "logGroupName": self.name, "retentionInDays": days });
                aws.logs.call("PutRetentionPolicy", &ask).await
            }
            None => aws.logs.call("DeleteRetentionPolicy", &json!({ "logGroupName": self.name })).await,
        }
    }

    /// Tags are asked for, and set, by the ARN without the `:*` that stands for the streams.
    fn arn(&self, aws: &Aws) -> String {
        format!("arn:aws:logs:{}:{}:log-group:{}", aws.region, aws.account, self.name)
    }
}

async fn read(view: &View, group: &Value) -> Result<Live<LogGroup>> {
    let name = group["logGroupName"].as_str().unwrap_or_default().to_owned();
    let retention = group["retentionInDays"].as_u64().and_then(|days| u32::try_from(days).ok());
    let state = LogGroup { name: name.clone(), retention };
    let arn = state.arn(view);
    let answer = view.logs.call("ListTagsForResource", &json!({ "resourceArn": arn })).await?;
    let tags: Tags = serde_json::from_value(answer["tags"].clone()).unwrap_or_default();
    let (owner, logical) = view.ownership.of(LogGroup::KIND, &tags, &name);
    let made = group["creationTime"].as_i64().map(|ms| i128::from(ms) * 1_000_000);
    let since = made.and_then(|ns| OffsetDateTime::from_unix_timestamp_nanos(ns).ok());
    Ok(Live { owner, tags: Some(tags), since, ..Live::ready(logical, name, state, arn) })
}
