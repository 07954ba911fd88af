//! What a load test does to a stack: puts pictures, sends jobs, looks, and removes it all. Its calls are those that
//! `permissions::load_test` allows.

use super::{LAST, passes, second};
use crate::{
    aws::{self, Error},
    commands::warn,
    permissions::load_test::{MARK, Touched},
    reconcile::Connection,
    stop::Stop,
};
use anyhow::Context;
use aws_sdk_dynamodb::types::{AttributeValue, DeleteRequest, WriteRequest};
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use aws_sdk_sqs::types::{QueueAttributeName, SendMessageBatchRequestEntry};
use contract::{Job, VERSION, job::NOBODY, record};
use futures::{StreamExt, TryStreamExt, stream};
use std::{
    ops::Range,
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

/// Messages of one call at most.
const MESSAGES: usize = 10;
/// Items of one call at most.
const ITEMS: usize = 25;
/// Calls at once that remove items.
const AT_ONCE: usize = 8;

/// What the jobs of one run go through.
pub(super) struct Target<'a> {
    connection: &'a Connection,
    touched: Touched,
    /// URL of the queue.
    queue: String,
    /// What everything of this run is called.
    pub(super) mark: String,
}

/// What has been removed so far.
struct Removed {
    records: usize,
    objects: usize,
    told: Instant,
}

impl Removed {
    fn tell(&mut self) {
        warn(&format!("removed: {} records, {} objects\n", self.records, self.objects));
        self.told = Instant::now();
    }

    /// Tells at times, for whoever waits.
    fn more(&mut self, records: usize, objects: usize) {
        self.records += records;
        self.objects += objects;
        if self.told.elapsed() >= Duration::from_secs(5) {
            self.tell();
        }
    }
}

impl<'a> Target<'a> {
    pub(super) async fn find(connection: &'a Connection) -> anyhow::Result<Self> {
        anyhow::ensure!(connection.spec.spec.yolo5.is_some(), "the spec has no yolo5 to send jobs to");
        let touched = Touched::of(&connection.spec, &connection.aws.account);
        let url = connection.aws.sqs.get_queue_url().queue_name(&touched.queue).send().await.map_err(Error::from);
        let url = url.with_context(|| format!("the queue {} cannot be used; apply first", touched.queue))?;
        let mark = format!("{MARK}{}", uuid::Uuid::new_v4());
        let target = Self { connection, touched, queue: url.queue_url.unwrap_or_default(), mark };
        // Whatever may not be looked at is found out before anything is there that would have to be found again.
        let versions = async |all: &str| target.versions(all).await.map(drop);
        let (depth, workers, answered) = (target.depth(), target.workers(), target.answered(0));
        let (pictures, drawn) = (versions(&target.touched.pictures), versions(&target.touched.drawn));
        futures::try_join!(depth, workers, answered, pictures, drawn)?;
        Ok(target)
    }

    /// Keys begin with this instead of what they begin with for all runs.
    fn ours(&self, all: &str) -> String {
        format!("{}{}", all.trim_end_matches(MARK), self.mark)
    }

    /// The prediction of the job of a number.
    fn id(&self, number: usize) -> String {
        format!("{}-{number:06}", self.mark)
    }

    pub(super) async fn upload(&self, pictures: &[PathBuf], stop: &Stop) -> anyhow::Result<Vec<String>> {
        let mut keys = vec![];
        for (n, path) in pictures.iter().enumerate().take_while(|_| !stop.is_asked()) {
            let bytes = tokio::fs::read(path).await.with_context(|| format!("{} cannot be read", path.display()))?;
            let key = format!("{}/{n}.jpg", self.ours(&self.touched.pictures));
            let put = self.connection.aws.s3.put_object().bucket(&self.touched.bucket).key(&key).body(bytes.into());
            put.send().await.map_err(Error::from)?;
            keys.push(key);
        }
        Ok(keys)
    }

    /// Sends at most so many jobs, numbered from `next`; the number after them, and those that the queue took.
    pub(super) async fn send(&self, keys: &[String], next: usize, most: usize) -> aws::Result<(usize, Vec<usize>)> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        let numbers: Range<usize> = next..next + most.min(MESSAGES);
        let mut batch = self.connection.aws.sqs.send_message_batch().queue_url(&self.queue);
        for n in numbers.clone() {
            let job = Job {
                v: VERSION,
                prediction_id: self.id(n),
                chat_id: NOBODY,
                message_id: 0,
                reply_id: None,
                key: keys[n % keys.len()].clone(),
                confidence: None,
                sent_at: u64::try_from(now).unwrap_or_default(),
            };
            let entry = SendMessageBatchRequestEntry::builder().id(n.to_string()).message_body(job.to_json()).build();
            batch = batch.entries(entry.map_err(|e| Error::internal(e.to_string()))?);
        }
        let answer = batch.send().await?;
        if let Some(refused) = answer.failed().iter().find(|one| one.sender_fault()) {
            let why = refused.message().unwrap_or(refused.code());
            return Err(Error::internal(format!("the queue refused a job: {why}")));
        }
        Ok((numbers.end, answer.successful().iter().filter_map(|one| one.id().parse().ok()).collect()))
    }

    /// Numbers of this run's jobs that have a record, from this one on.
    pub(super) async fn answered(&self, from: usize) -> aws::Result<Vec<usize>> {
        let call = self.connection.aws.dynamodb.query().table_name(&self.touched.table).index_name(record::CHAT_INDEX);
        let call = call.key_condition_expression("#c = :c AND #p BETWEEN :first AND :last").projection_expression("#p");
        let call = call
            .expression_attribute_names("#c", record::CHAT_ID)
            .expression_attribute_names("#p", record::PREDICTION_ID)
            .expression_attribute_values(":c", AttributeValue::N(NOBODY.to_string()))
            .expression_attribute_values(":first", AttributeValue::S(self.id(from)))
            .expression_attribute_values(":last", AttributeValue::S(self.id(999_999)));
        let mut pages = call.into_paginator().items().send();
        let mut numbers = vec![];
        while let Some(item) = pages.next().await {
            let item = item?;
            let id = item.get(record::PREDICTION_ID).and_then(|v| v.as_s().ok());
            numbers.extend(id.and_then(|id| id.rsplit('-').next()?.parse::<usize>().ok()));
        }
        Ok(numbers)
    }

    /// Messages that wait in the queue or are being worked on.
    pub(super) async fn depth(&self) -> aws::Result<u32> {
        use QueueAttributeName as Name;
        let call = self.connection.aws.sqs.get_queue_attributes().queue_url(&self.queue);
        let call = call.attribute_names(Name::ApproximateNumberOfMessages);
        let answer = call.attribute_names(Name::ApproximateNumberOfMessagesNotVisible).send().await?;
        Ok(answer.attributes().into_iter().flatten().filter_map(|(_, n)| n.parse::<u32>().ok()).sum())
    }

    /// Workers in service.
    pub(super) async fn workers(&self) -> aws::Result<usize> {
        let call = self.connection.aws.autoscaling.describe_auto_scaling_groups();
        let answer = call.auto_scaling_group_names(&self.touched.group).send().await?;
        let serving =
            |i: &&aws_sdk_autoscaling::types::Instance| i.lifecycle_state().is_some_and(|s| s.as_str() == "InService");
        Ok(answer.auto_scaling_groups().first().map_or(0, |g| g.instances().iter().filter(serving).count()))
    }

    /// Removes pictures, annotated pictures and records of this run. For want of their pictures workers give up the jobs that wait; one that
    /// is in hand gets its record later, so the queue is watched for a while.
    pub(super) async fn clear(&self, patience: Duration) -> aws::Result<()> {
        let begun = Instant::now();
        let mut removed = Removed { records: 0, objects: 0, told: begun };
        let mut second = second();
        loop {
            second.tick().await;
            match self.clear_once(&mut removed).await {
                Ok(depth) if depth > 0 && begun.elapsed() < patience => {}
                Err(error) if passes(&error) && begun.elapsed() < LAST => tracing::warn!(%error, "tried again"),
                done => {
                    removed.tell();
                    return done.map(drop);
                }
            }
        }
    }

    async fn clear_once(&self, removed: &mut Removed) -> aws::Result<u32> {
        self.clear_objects(&self.touched.pictures, removed).await?;
        // Before the records: a job that is not in the queue any more has its record, and what was drawn for it.
        let depth = self.depth().await?;
        self.clear_records(removed).await?;
        self.clear_objects(&self.touched.drawn, removed).await?;
        Ok(depth)
    }

    /// Objects of this run, in every version: at most so many as can be deleted at once.
    async fn versions(&self, all: &str) -> aws::Result<Vec<ObjectIdentifier>> {
        let list = self.connection.aws.s3.list_object_versions().bucket(&self.touched.bucket);
        let page = list.prefix(self.ours(all)).send().await?;
        let versions = page.versions().iter().map(|v| (v.key(), v.version_id()));
        let marks = page.delete_markers().iter().map(|m| (m.key(), m.version_id()));
        let built = versions.chain(marks).map(|(key, version)| {
            let object = ObjectIdentifier::builder().key(key.unwrap_or_default());
            object.set_version_id(version.map(ToOwned::to_owned)).build()
        });
        built.collect::<Result<_, _>>().map_err(|e| Error::internal(e.to_string()))
    }

    async fn clear_objects(&self, all: &str, removed: &mut Removed) -> aws::Result<()> {
        loop {
            let objects = self.versions(all).await?;
            if objects.is_empty() {
                return Ok(());
            }
            let count = objects.len();
            let delete = Delete::builder().set_objects(Some(objects)).quiet(true).build();
            let delete = delete.map_err(|e| Error::internal(e.to_string()))?;
            let call = self.connection.aws.s3.delete_objects().bucket(&self.touched.bucket);
            let answer = call.delete(delete).send().await?;
            if let Some(error) = answer.errors().first() {
                let (code, why) = (error.code().unwrap_or_default(), error.message().unwrap_or_default());
                return Err(Error::internal(format!("an object of the test cannot be deleted: {why} ({code})")));
            }
            removed.more(0, count);
        }
    }

    async fn clear_records(&self, removed: &mut Removed) -> aws::Result<()> {
        let numbers = self.answered(0).await?;
        let batches = stream::iter(numbers.chunks(ITEMS));
        let each = batches.map(|numbers| async move { self.clear_batch(numbers).await.map(|()| numbers.len()) });
        let mut cleared = each.buffer_unordered(AT_ONCE);
        while let Some(count) = cleared.try_next().await? {
            removed.more(count, 0);
        }
        Ok(())
    }

    async fn clear_batch(&self, numbers: &[usize]) -> aws::Result<()> {
        let built = numbers.iter().map(|&n| {
            let delete = DeleteRequest::builder().key(record::PREDICTION_ID, AttributeValue::S(self.id(n))).build()?;
            Ok(WriteRequest::builder().delete_request(delete).build())
        });
        let built = built.collect::<Result<Vec<_>, aws_sdk_dynamodb::error::BuildError>>();
        let mut left = Some((self.touched.table.clone(), built.map_err(|e| Error::internal(e.to_string()))?));
        let mut second = second();
        while let Some((table, items)) = left.take() {
            // At once at first; what the table had no capacity for, a second later.
            second.tick().await;
            let call = self.connection.aws.dynamodb.batch_write_item().request_items(table, items);
            let answer = call.send().await?;
            left = answer.unprocessed_items.into_iter().flatten().find(|(_, items)| !items.is_empty());
        }
        Ok(())
    }
}
