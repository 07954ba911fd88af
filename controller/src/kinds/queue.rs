//! SQS queues: encrypted by SQS, reachable over TLS only, with a dead-letter queue behind each.

use super::{Arn, gone, policy_differs};
use crate::{
    aws::{Aws, Result, TagTarget, View},
    engine::{Change, How, Input, Live, Resource, Slot, Tags, differs},
};
use aws_sdk_sqs::types::QueueAttributeName as Attribute;
use futures::future::try_join_all;
use serde_json::{Value, json};
use std::collections::HashMap;

/// A queue. Times are in seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Queue {
    /// Its name, unique in account and region.
    pub name: String,
    /// How long a message that was received stays hidden; 0 to 43 200.
    pub visibility_timeout: u32,
    /// How long a message is kept; 60 to 1 209 600.
    pub retention: u32,
    /// Where messages go that were received too often: ARN of the dead-letter queue.
    pub dead_letters: Option<Input<Arn>>,
    /// After how many receives they go there.
    pub max_receives: u32,
    /// SSE-SQS.
    pub encrypted: bool,
    /// Policy document, compared as a document.
    pub policy: Value,
}

/// What a queue offers to others.
#[derive(Clone, Debug)]
pub struct QueueOut {
    /// Its URL, by which it is used.
    pub url: String,
    /// Its ARN, by which others name it.
    pub arn: Arn,
}

impl Resource for Queue {
    const KIND: &'static str = "queue";
    type Output = QueueOut;

    fn name(&self) -> Option<String> {
        Some(self.name.clone())
    }

    fn inputs(&mut self) -> Vec<&mut dyn Slot> {
        self.dead_letters.iter_mut().map(|d| d as &mut dyn Slot).collect()
    }

    fn changes(&self, live: &Self) -> Vec<Change> {
        let Self { name, visibility_timeout, retention, dead_letters, max_receives, encrypted, policy } = self;
        let mut changes: Vec<_> = [
            differs("name", name, &live.name, How::CreateFirst),
            differs("visibility_timeout", visibility_timeout, &live.visibility_timeout, How::InPlace),
            differs("retention", retention, &live.retention, How::InPlace),
            differs("max_receives", max_receives, &live.max_receives, How::InPlace),
            differs("encrypted", encrypted, &live.encrypted, How::InPlace),
            differs("dead_letters", dead_letters, &live.dead_letters, How::InPlace),
        ]
        .into_iter()
        .flatten()
        .collect();
        changes.extend(policy_differs("policy", policy, &live.policy));
        changes
    }

    async fn list(view: &View) -> Result<Vec<Live<Self>>> {
        let prefix = format!("{}-", view.ownership.prefix);
        let mut urls = vec![];
        let mut pages = view.sqs.list_queues().queue_name_prefix(prefix).max_results(1000).into_paginator().send();
        while let Some(page) = pages.next().await {
            urls.extend(page?.queue_urls.unwrap_or_default());
        }
        let queues = try_join_all(urls.iter().map(|url| read(view, url))).await?;
        Ok(queues.into_iter().flatten().collect())
    }

    async fn create(&self, aws: &Aws, tags: &Tags) -> Result<QueueOut> {
        let call = aws.sqs.create_queue().queue_name(&self.name).set_attributes(Some(self.attributes()?));
        let made = call.set_tags(Some(tags.clone().into_iter().collect())).send().await?;
        let url = made.queue_url.unwrap_or_default();
        let arn = format!("arn:aws:sqs:{}:{}:{}", aws.region, aws.account, self.name);
        Ok(QueueOut { url, arn: Arn(arn) })
    }

    async fn update(&self, aws: &Aws, live: &Live<Self>, _: &[Change]) -> Result<QueueOut> {
        let mut attributes = self.attributes()?;
        if self.dead_letters.is_none() {
            attributes.insert(Attribute::RedrivePolicy, String::new());
        }
        aws.sqs.set_queue_attributes().queue_url(&live.output.url).set_attributes(Some(attributes)).send().await?;
        Ok(live.output.clone())
    }

    async fn delete(aws: &Aws, live: &Live<Self>) -> Result<()> {
        gone(aws.sqs.delete_queue().queue_url(&live.output.url).send().await)
    }

    fn keys(output: &QueueOut) -> Vec<String> {
        vec![output.arn.0.clone()]
    }

    fn tag_target(output: &QueueOut) -> Option<TagTarget> {
        Some(TagTarget::Queue(output.url.clone()))
    }
}

impl Queue {
    fn attributes(&self) -> Result<HashMap<Attribute, String>> {
        let mut attributes = HashMap::from([
            (Attribute::VisibilityTimeout, self.visibility_timeout.to_string()),
            (Attribute::MessageRetentionPeriod, self.retention.to_string()),
            (Attribute::SqsManagedSseEnabled, self.encrypted.to_string()),
            (Attribute::Policy, self.policy.to_string()),
        ]);
        if let Some(target) = &self.dead_letters {
            let redrive = json!({ "deadLetterTargetArn": target.get()?.0, "maxReceiveCount": self.max_receives });
            attributes.insert(Attribute::RedrivePolicy, redrive.to_string());
        }
        Ok(attributes)
    }
}

/// A queue of this URL, or nothing if it went between the list and here.
async fn read(view: &View, url: &str) -> Result<Option<Live<Queue>>> {
    let (attributes, tags) = futures::join!(
        view.sqs.get_queue_attributes().queue_url(url).attribute_names(Attribute::All).send(),
        view.sqs.list_queue_tags().queue_url(url).send(),
    );
    let (attributes, tags) = match (attributes.map_err(crate::aws::Error::from), tags.map_err(crate::aws::Error::from))
    {
        (Ok(a), Ok(t)) => (a.attributes.unwrap_or_default(), t.tags.unwrap_or_default()),
        (Err(e), _) | (_, Err(e)) if e.is_not_found() => return Ok(None),
        (Err(e), _) | (_, Err(e)) => return Err(e),
    };
    let text = |name: &Attribute| attributes.get(name).map(String::as_str);
    let number = |name| text(&name).and_then(|v| v.parse().ok()).unwrap_or(0);
    let document = |name| text(&name).and_then(|v| serde_json::from_str::<Value>(v).ok()).unwrap_or(Value::Null);
    let redrive = document(Attribute::RedrivePolicy);
    let name = url.rsplit('/').next().unwrap_or_default().to_owned();
    let tags: Tags = tags.into_iter().collect();
    let (owner, logical) = view.ownership.of(Queue::KIND, &tags, &name);
    let arn = Arn(text(&Attribute::QueueArn).unwrap_or_default().to_owned());
    let state = Queue {
        name: name.clone(),
        visibility_timeout: number(Attribute::VisibilityTimeout),
        retention: number(Attribute::MessageRetentionPeriod),
        dead_letters: redrive["deadLetterTargetArn"].as_str().map(|a| Input::Known(Arn(a.to_owned()))),
        // AWS returns the count as a number or as a string, as it was given.
        max_receives: match &redrive["maxReceiveCount"] {
            Value::String(s) => s.parse().unwrap_or(0),
            other => other.as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
        },
        encrypted: text(&Attribute::SqsManagedSseEnabled) == Some("true"),
        policy: document(Attribute::Policy),
    };
    let since = text(&Attribute::CreatedTimestamp)
        .and_then(|t| t.parse().ok())
        .and_then(|t| time::OffsetDateTime::from_unix_timestamp(t).ok());
    let output = QueueOut { url: url.to_owned(), arn };
    Ok(Some(Live { owner, tags: Some(tags), since, ..Live::ready(logical, name, state, output) }))
}
