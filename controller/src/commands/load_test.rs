//! `load-test`: sends jobs to the detector at a steady rate, as the bot would, and tells how long answers take, how the queue
//! fills and how the group grows. The jobs are of a chat that is nobody's; what was put into the stack goes again, also when the test is
//! interrupted.

use super::{connect, out, stacks, title, warn};
use crate::{
    cli::{LoadTestArgs, LoadTestFormat},
    reconcile::{Allow, Connection, Goal},
    stack::{self, Service},
    stop::Stop,
};
use anyhow::{Context, bail};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_sqs::types::{QueueAttributeName, SendMessageBatchRequestEntry};
use contract::{Job, VERSION, env, job::NOBODY, record};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant, SystemTime},
};

mod plot;

/// Pictures at most: jobs take turns on them.
const PICTURES: usize = 50;
/// Bytes of a picture at most, as Telegram delivers.
const PICTURE_BYTES: u64 = 20 << 20;
/// Messages of one call at most.
const BATCH: usize = 10;
/// Jobs at most, so that no slip of a finger fills a queue.
const JOBS: u64 = 100_000;
/// How long jobs in hand are waited for once their pictures are gone: longer than a worker takes for one.
const LAST: Duration = Duration::from_secs(30);

/// What the jobs go through.
struct Target<'a> {
    connection: &'a Connection,
    queue: String,
    bucket: String,
    table: String,
    group: String,
    /// Marks what is of this run: prefix of prediction ids and part of keys.
    run: String,
}

/// One look at the stack.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// Seconds since the first job.
    pub at: f64,
    /// Messages that wait in the queue or are being worked on.
    pub depth: u32,
    /// Workers in service.
    pub workers: usize,
    /// Jobs sent so far.
    pub sent: usize,
    /// Jobs answered so far.
    pub answered: usize,
    /// Median of the latest answers' latencies, seconds.
    pub latency: f64,
}

/// How it went.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    stack: String,
    rate: u32,
    /// Whether it was told to stop before its end.
    interrupted: bool,
    seconds: f64,
    sent: usize,
    answered: usize,
    /// Answers a second between the first and the last one.
    throughput: f64,
    /// Seconds from sending to the record, by percentile; to about a second.
    latency: BTreeMap<&'static str, f64>,
    deepest: u32,
    workers: (usize, usize),
    samples: Vec<Sample>,
}

pub(super) async fn run(args: &LoadTestArgs) -> anyhow::Result<ExitCode> {
    let chosen = stacks(&args.specs)?;
    if chosen.len() != 1 {
        bail!("a load test is of one stack; choose with --stack, or give the file of one");
    }
    let jobs = u64::from(args.rate) * args.duration.as_secs();
    if !(1..=JOBS).contains(&jobs) {
        bail!("{} a second for {} s is {jobs} jobs; 1 to {JOBS} are allowed", args.rate, args.duration.as_secs());
    }
    let pictures = pictures(&args.images)?;
    let stop = Stop::on_signal()?;
    let (connections, _) = connect(chosen).await;
    let Some(connection) = connections.first() else { return Ok(ExitCode::FAILURE) };
    let target = Target::find(connection).await?;
    let report = match target.upload(&pictures, &stop).await {
        Ok(keys) => target.load(args, &keys, &stop).await,
        Err(error) => Err(error),
    };
    if stop.is_asked() {
        warn(
            "interrupted: no more jobs are sent, what the test put into the stack is removed, and workers give up what is left\n",
        );
    }
    let patience = match &report {
        Ok(report) if report.answered == report.sent => Duration::ZERO,
        _ => LAST,
    };
    target.clear(pictures.len(), patience).await.context("what the test left behind could not be removed")?;
    let report = report?;
    if let Some(path) = &args.svg {
        std::fs::write(path, plot::svg(&report.samples))
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }
    match args.output {
        LoadTestFormat::Text => out(&report.text())?,
        LoadTestFormat::Json => out(&format!("{}\n", serde_json::to_string_pretty(&report)?))?,
    }
    let whole = report.answered == report.sent && !report.interrupted;
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::from(super::SOMETHING) })
}

/// The pictures of a folder, in order of their names.
fn pictures(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))?;
    let is_picture = |p: &PathBuf| {
        let ending = p.extension().map(|e| e.to_string_lossy().to_lowercase());
        ending.is_some_and(|e| ["jpg", "jpeg", "png", "webp"].contains(&e.as_str()))
            && p.metadata().is_ok_and(|m| m.len() <= PICTURE_BYTES)
    };
    let mut all: Vec<_> = entries.filter_map(|e| Some(e.ok()?.path())).filter(is_picture).collect();
    all.sort();
    all.truncate(PICTURES);
    if all.is_empty() {
        bail!("{} holds no picture (jpg, png, webp; up to 20 MB)", folder.display());
    }
    Ok(all)
}

impl<'a> Target<'a> {
    async fn find(connection: &'a Connection) -> anyhow::Result<Self> {
        let (_, plan) = connection.look(Goal::Converge, &Allow::default()).await;
        let known: BTreeMap<_, _> = stack::environment(connection, &plan, Service::Yolo5).into_iter().collect();
        let of = |name: &str| {
            known.get(name).cloned().with_context(|| format!("{} is not there yet; apply first", name.to_lowercase()))
        };
        let prefix = of(env::IMAGE_PREFIX)?;
        Ok(Self {
            queue: of(env::IDENTIFY_QUEUE_URL)?,
            bucket: of(env::IMAGES_BUCKET)?,
            table: of(env::PREDICTIONS_TABLE)?,
            group: stack::names(&connection.spec, &connection.aws.account).plain(Service::Yolo5.name(), 255),
            run: format!("{prefix}/load-test-{}", uuid::Uuid::new_v4()),
            connection,
        })
    }

    /// Prediction ids of this run begin with this.
    fn mark(&self) -> &str {
        self.run.rsplit('/').next().unwrap_or(&self.run)
    }

    async fn upload(&self, pictures: &[PathBuf], stop: &Stop) -> anyhow::Result<Vec<String>> {
        let mut keys = vec![];
        for (n, path) in pictures.iter().enumerate().take_while(|_| !stop.is_asked()) {
            let bytes = tokio::fs::read(path).await.with_context(|| format!("{} cannot be read", path.display()))?;
            let key = format!("{}/{n}.jpg", self.run);
            let put = self.connection.aws.s3.put_object().bucket(&self.bucket).key(&key).body(bytes.into());
            put.send().await.map_err(crate::aws::Error::from)?;
            keys.push(key);
        }
        Ok(keys)
    }

    /// Sends, looks once a second, and waits for the last answer.
    async fn load(&self, args: &LoadTestArgs, keys: &[String], stop: &Stop) -> anyhow::Result<Report> {
        let begun = Instant::now();
        let mut sent: BTreeMap<String, Instant> = BTreeMap::new();
        let mut latencies: BTreeMap<String, f64> = BTreeMap::new();
        let mut samples: Vec<Sample> = vec![];
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tokio::select! { _ = tick.tick() => {}, () = stop.asked() => {} }
            let passed = begun.elapsed();
            // The first job is due at once, and the last one when the time is up.
            let share = passed.min(args.duration).as_millis() * u128::from(args.rate) / 1000;
            let due = usize::try_from(share.max(1)).unwrap_or(usize::MAX);
            while !stop.is_asked() && sent.len() < due {
                let more = (due - sent.len()).min(BATCH);
                self.send(keys, &mut sent, more).await?;
            }
            let now = Instant::now();
            for id in self.answered().await? {
                if let Some(at) = sent.get(&id) {
                    latencies.entry(id).or_insert_with(|| (now - *at).as_secs_f64());
                }
            }
            let (depth, workers) = futures::try_join!(self.depth(), self.workers())?;
            let sample = Sample {
                at: passed.as_secs_f64(),
                depth,
                workers,
                sent: sent.len(),
                answered: latencies.len(),
                latency: recent(&sent, &latencies),
            };
            samples.push(sample);
            if samples.len() % 5 == 1 {
                warn(&sample.line());
            }
            let whole = passed >= args.duration || stop.is_asked();
            let waited = passed.saturating_sub(args.duration);
            if whole && (latencies.len() == sent.len() || stop.is_asked() || waited >= args.drain) {
                let report = self.report(args.rate, begun.elapsed(), sent.len(), &latencies, samples);
                return Ok(Report { interrupted: stop.is_asked(), ..report });
            }
        }
    }

    async fn send(&self, keys: &[String], sent: &mut BTreeMap<String, Instant>, more: usize) -> anyhow::Result<()> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        let ids: Vec<_> = (sent.len()..sent.len() + more).map(|n| (n, format!("{}-{n:06}", self.mark()))).collect();
        let mut batch = self.connection.aws.sqs.send_message_batch().queue_url(&self.queue);
        for (n, id) in &ids {
            let job = Job {
                v: VERSION,
                prediction_id: id.clone(),
                chat_id: NOBODY,
                message_id: 0,
                reply_id: None,
                key: keys[n % keys.len()].clone(),
                confidence: None,
                sent_at: u64::try_from(now).unwrap_or_default(),
            };
            let entry =
                SendMessageBatchRequestEntry::builder().id(format!("j{n}")).message_body(job.to_json()).build()?;
            batch = batch.entries(entry);
        }
        let answer = batch.send().await.map_err(crate::aws::Error::from)?;
        if let Some(refused) = answer.failed().first() {
            bail!("the queue refused a job: {}", refused.message().unwrap_or(refused.code()));
        }
        let at = Instant::now();
        sent.extend(ids.into_iter().map(|(_, id)| (id, at)));
        Ok(())
    }

    /// Ids of this run that have a record.
    async fn answered(&self) -> anyhow::Result<Vec<String>> {
        let call = self.connection.aws.dynamodb.query().table_name(&self.table).index_name(record::CHAT_INDEX);
        let call = call.key_condition_expression("#c = :c AND begins_with(#p, :p)").projection_expression("#p");
        let call = call
            .expression_attribute_names("#c", record::CHAT_ID)
            .expression_attribute_names("#p", record::PREDICTION_ID);
        let call = call.expression_attribute_values(":c", AttributeValue::N(NOBODY.to_string()));
        let call = call.expression_attribute_values(":p", AttributeValue::S(self.mark().to_owned()));
        let mut pages = call.into_paginator().items().send();
        let mut ids = vec![];
        while let Some(item) = pages.next().await {
            let item = item.map_err(crate::aws::Error::from)?;
            ids.extend(item.get(record::PREDICTION_ID).and_then(|v| v.as_s().ok()).cloned());
        }
        Ok(ids)
    }

    async fn depth(&self) -> anyhow::Result<u32> {
        use QueueAttributeName as Name;
        let call = self.connection.aws.sqs.get_queue_attributes().queue_url(&self.queue);
        let call = call.attribute_names(Name::ApproximateNumberOfMessages);
        let answer = call.attribute_names(Name::ApproximateNumberOfMessagesNotVisible).send().await;
        let answer = answer.map_err(crate::aws::Error::from)?;
        Ok(answer.attributes().into_iter().flatten().filter_map(|(_, n)| n.parse::<u32>().ok()).sum())
    }

    async fn workers(&self) -> anyhow::Result<usize> {
        let call = self.connection.aws.autoscaling.describe_auto_scaling_groups().auto_scaling_group_names(&self.group);
        let answer = call.send().await.map_err(crate::aws::Error::from)?;
        let serving =
            |i: &&aws_sdk_autoscaling::types::Instance| i.lifecycle_state().is_some_and(|s| s.as_str() == "InService");
        Ok(answer.auto_scaling_groups().first().map_or(0, |g| g.instances().iter().filter(serving).count()))
    }

    /// Removes pictures, annotated pictures and records of this run. For want of their pictures workers give up the jobs that wait; one that
    /// is in hand gets its record later, so the queue is watched for a while.
    async fn clear(&self, pictures: usize, patience: Duration) -> anyhow::Result<()> {
        let s3 = &self.connection.aws.s3;
        for n in 0..pictures {
            let delete = s3.delete_object().bucket(&self.bucket).key(format!("{}/{n}.jpg", self.run));
            delete.send().await.map_err(crate::aws::Error::from)?;
        }
        let begun = Instant::now();
        loop {
            // Before the records: a job that is not in the queue any more has its record.
            let depth = self.depth().await?;
            self.clear_records().await?;
            if depth == 0 || begun.elapsed() >= patience {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    async fn clear_records(&self) -> anyhow::Result<()> {
        let aws = &self.connection.aws;
        for id in self.answered().await? {
            let get =
                aws.dynamodb.delete_item().table_name(&self.table).key(record::PREDICTION_ID, AttributeValue::S(id));
            let old = get.return_values(aws_sdk_dynamodb::types::ReturnValue::AllOld).send().await;
            let old = old.map_err(crate::aws::Error::from)?.attributes.unwrap_or_default();
            let drawn = old.get(record::PREDICTED_IMG_PATH).and_then(|v| v.as_s().ok()).filter(|key| !key.is_empty());
            if let Some(key) = drawn {
                aws.s3.delete_object().bucket(&self.bucket).key(key).send().await.map_err(crate::aws::Error::from)?;
            }
        }
        Ok(())
    }

    fn report(
        &self,
        rate: u32,
        took: Duration,
        sent: usize,
        latencies: &BTreeMap<String, f64>,
        samples: Vec<Sample>,
    ) -> Report {
        let mut sorted: Vec<f64> = latencies.values().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let sizes = samples.iter().map(|s| s.workers);
        Report {
            stack: title(&self.connection.spec),
            rate,
            interrupted: false,
            seconds: took.as_secs_f64(),
            sent,
            answered: sorted.len(),
            throughput: real(sorted.len()) / took.as_secs_f64().max(1.0),
            latency: [("p50", 500), ("p90", 900), ("p99", 990), ("max", 1000)]
                .map(|(name, share)| (name, percentile(&sorted, share)))
                .into(),
            deepest: samples.iter().map(|s| s.depth).max().unwrap_or_default(),
            workers: (sizes.clone().min().unwrap_or_default(), sizes.max().unwrap_or_default()),
            samples,
        }
    }
}

/// The median of the hundred answers to the latest jobs.
fn recent(sent: &BTreeMap<String, Instant>, latencies: &BTreeMap<String, f64>) -> f64 {
    let mut last: Vec<f64> = sent.keys().rev().filter_map(|id| latencies.get(id)).take(100).copied().collect();
    last.sort_by(f64::total_cmp);
    percentile(&last, 500)
}

/// A count as a number for pictures and means.
fn real(n: usize) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}

/// The value below which so many of a thousand lie; nearest rank.
fn percentile(sorted: &[f64], of_thousand: usize) -> f64 {
    let rank = (sorted.len() * of_thousand).div_ceil(1000);
    sorted.get(rank.max(1) - 1).copied().unwrap_or(0.0)
}

impl Sample {
    fn line(&self) -> String {
        let Self { at, depth, workers, sent, answered, latency } = self;
        format!(
            "{at:>6.0} s  {sent} sent  {answered} answered  {depth} in the queue  {workers} workers  median {latency:.1} s\n"
        )
    }
}

impl Report {
    fn text(&self) -> String {
        let latency: Vec<_> =
            ["p50", "p90", "p99", "max"].iter().map(|p| format!("{p} {:.1} s", self.latency[p])).collect();
        format!(
            "stack {}{}: {} jobs in {:.0} s, {} answered ({:.1} a second)\n  latency  {}\n  queue    {} at most\n  workers  {} to {}\n",
            self.stack,
            if self.interrupted { ", interrupted" } else { "" },
            self.sent,
            self.seconds,
            self.answered,
            self.throughput,
            latency.join(", "),
            self.deepest,
            self.workers.0,
            self.workers.1
        )
    }
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!([500, 900, 990, 1000].map(|p| percentile(&values, p).to_string()), ["100", "180", "198", "200"]);
        assert!((percentile(&[7.0], 500) - 7.0).abs() < 1e-9 && percentile(&[], 500).abs() < 1e-9);
    }
}
