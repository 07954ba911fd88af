//! The worker: takes jobs from the identify queue as it has streams free, and deletes each only when its answer is sent. Whatever
//! dies in between comes back by itself.

use crate::{
    config::Config,
    job::{Workshop, answer},
    model::Detector,
    store::{Store, StoreError, fault},
};
use anyhow::Context;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName, QueueAttributeName};
use axum::{Router, routing::get};
use contract::{Answer, Job, Outcome, result::Failure};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
};

/// How long one call waits for messages, in seconds; the longest SQS knows.
const WAIT: i32 = 20;
/// How long jobs in hand may take after the wish to stop, before they are given back.
const DEADLINE: Duration = Duration::from_secs(20);

/// A queue's sides of the worker.
struct Queues {
    sqs: aws_sdk_sqs::Client,
    identify: String,
    results: String,
    /// Seconds that a message stays hidden; kept alive while its job is in work.
    visibility: i32,
    /// After so many receives the queue gives a message up.
    most_receives: Option<u32>,
}

/// Runs until the process is asked to stop.
pub async fn run(config: Config, streams: usize) -> anyhow::Result<()> {
    let seconds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 300.0];
    let builder = PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &seconds)?;
    let recorder = builder.build_recorder();
    let prometheus = recorder.handle();
    metrics::set_global_recorder(recorder).context("metrics")?;

    let (path, engine) = (config.model.clone(), config.engine);
    let begun = Instant::now();
    let detector = tokio::task::spawn_blocking(move || Detector::open(&path, &engine)).await??;
    tracing::info!(model = %config.model.display(), seconds = begun.elapsed().as_secs_f64(), streams, runner = detector.runner(), "model loaded");
    metrics::gauge!("yolo5_model_info", "path" => config.model.display().to_string()).set(1.0);

    let aws = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
    let path_style = aws.endpoint_url().is_some();
    let s3 = aws_sdk_s3::config::Builder::from(&aws).force_path_style(path_style).build();
    let sqs = aws_sdk_sqs::Client::new(&aws);
    let store = Store {
        s3: aws_sdk_s3::Client::from_conf(s3),
        dynamodb: aws_sdk_dynamodb::Client::new(&aws),
        bucket: config.bucket,
        table: config.table,
    };
    let permits = Arc::new(Semaphore::new(streams));
    let workshop = Workshop { store, detector: Arc::new(detector), streams: permits, confidence: config.confidence };
    let queues = Queues::open(sqs, config.identify_queue, config.results_queue).await?;
    let worker = Arc::new(Worker { queues, workshop, image_prefix: config.image_prefix });

    let stop = stop_on_signal()?;
    let listener = tokio::net::TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("cannot listen on {}", config.listen))?;
    let routes = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/metrics", get(move || async move { prometheus.render() }));
    let mut heard = stop.clone();
    let server = axum::serve(listener, routes).with_graceful_shutdown(async move {
        drop(heard.wait_for(|asked| *asked).await);
    });
    let server = tokio::spawn(async move { server.await });
    tracing::info!("ready for jobs");
    worker.take_jobs(streams, stop).await;
    server.await??;
    Ok(())
}

fn stop_on_signal() -> std::io::Result<watch::Receiver<bool>> {
    let (sender, receiver) = watch::channel(false);
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        sender.send_replace(true);
        // Kept, so that who listens later still hears it.
        sender.closed().await;
    });
    Ok(receiver)
}

impl Queues {
    async fn open(sqs: aws_sdk_sqs::Client, identify: String, results: String) -> anyhow::Result<Self> {
        let call = sqs.get_queue_attributes().queue_url(&identify).attribute_names(QueueAttributeName::All);
        let got = call.send().await.with_context(|| format!("the identify queue {identify} cannot be read"))?;
        let value = |name| got.attributes().and_then(|a| a.get(&name)).map(String::as_str);
        let visibility = value(QueueAttributeName::VisibilityTimeout).and_then(|v| v.parse().ok()).unwrap_or(30);
        let redrive: Option<serde_json::Value> =
            value(QueueAttributeName::RedrivePolicy).and_then(|p| serde_json::from_str(p).ok());
        let most_receives = redrive.and_then(|p| {
            let most = &p["maxReceiveCount"];
            most.as_u64().and_then(|n| u32::try_from(n).ok()).or_else(|| most.as_str()?.parse().ok())
        });
        Ok(Self { sqs, identify, results, visibility, most_receives })
    }

    async fn receive(&self, at_most: usize) -> Result<Vec<Message>, StoreError> {
        let call = self.sqs.receive_message().queue_url(&self.identify).wait_time_seconds(WAIT);
        let call = call
            .max_number_of_messages(i32::try_from(at_most.min(10)).unwrap_or(1))
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp);
        Ok(call.send().await.map_err(fault("SQS ReceiveMessage"))?.messages.unwrap_or_default())
    }

    async fn hide(&self, message: &Message, seconds: i32) -> Result<(), StoreError> {
        let call = self.sqs.change_message_visibility().queue_url(&self.identify).visibility_timeout(seconds);
        let call = call.set_receipt_handle(message.receipt_handle.clone());
        call.send().await.map(drop).map_err(fault("SQS ChangeMessageVisibility"))
    }

    async fn delete(&self, message: &Message) -> Result<(), StoreError> {
        let call = self.sqs.delete_message().queue_url(&self.identify);
        let call = call.set_receipt_handle(message.receipt_handle.clone());
        call.send().await.map(drop).map_err(fault("SQS DeleteMessage"))
    }

    async fn send(&self, answer: &Answer) -> Result<(), StoreError> {
        let call = self.sqs.send_message().queue_url(&self.results).message_body(answer.to_json());
        call.send().await.map(drop).map_err(fault("SQS SendMessage"))
    }
}

struct Worker {
    queues: Queues,
    workshop: Workshop,
    image_prefix: String,
}

impl Worker {
    /// Takes jobs until asked to stop; then finishes what is in hand, or gives it back at the deadline.
    async fn take_jobs(self: &Arc<Self>, streams: usize, mut stop: watch::Receiver<bool>) {
        // One more than there are streams, so that a picture is there when a stream gets free.
        let hands = Arc::new(Semaphore::new(streams + 1));
        let mut running = JoinSet::new();
        let mut failures = 0_u32;
        while !*stop.borrow() {
            let permits = tokio::select! {
                permits = free(&hands) => permits,
                _ = stop.wait_for(|asked| *asked) => break,
            };
            // Not dropped in the middle: messages that were received and forgotten would be late by their time-out.
            match self.receive(permits.len(), &mut stop).await {
                Ok(messages) => {
                    failures = 0;
                    for (message, permit) in messages.into_iter().zip(permits) {
                        let worker = self.clone();
                        running.spawn(async move {
                            let _permit = permit;
                            worker.one(message).await;
                        });
                    }
                    while running.try_join_next().is_some() {}
                }
                Err(error) => {
                    failures += 1;
                    let wait = Duration::from_millis(200 * 2_u64.pow(failures.min(7)));
                    tracing::warn!(%error, seconds = wait.as_secs_f64(), "no jobs to be had; trying again");
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        _ = stop.wait_for(|asked| *asked) => {}
                    }
                }
            }
        }
        tracing::info!(jobs = running.len(), "stopping: finishing what is in hand");
        let all = async { while running.join_next().await.is_some() {} };
        if tokio::time::timeout(DEADLINE, all).await.is_err() {
            // Their messages are seen again as soon as they are no longer kept alive.
            tracing::warn!("the deadline has passed; what is in hand goes back to the queue");
        }
    }

    /// Receives; when asked to stop meanwhile, what may have come goes back at once.
    async fn receive(
        self: &Arc<Self>,
        at_most: usize,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<Vec<Message>, StoreError> {
        let worker = self.clone();
        let mut call = tokio::spawn(async move { worker.queues.receive(at_most).await });
        tokio::select! {
            got = &mut call => got.unwrap_or(Ok(vec![])),
            _ = stop.wait_for(|asked| *asked) => {
                // The long poll is not waited for; a message that it still catches comes back after its time-out.
                call.abort();
                Ok(vec![])
            }
        }
    }

    async fn one(&self, message: Message) {
        let attribute = |name| message.attributes().and_then(|a| a.get(&name)).and_then(|v| v.parse::<u64>().ok());
        let receives = attribute(MessageSystemAttributeName::ApproximateReceiveCount).unwrap_or(1);
        if let Some(sent) = attribute(MessageSystemAttributeName::SentTimestamp) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            metrics::histogram!("yolo5_queue_seconds").record(now.saturating_sub(Duration::from_millis(sent)));
        }
        let begun = Instant::now();
        let end = tokio::select! {
            end = self.handle(&message, receives) => end,
            () = self.keep_hidden(&message) => "lost",
        };
        metrics::counter!("yolo5_jobs_total", "end" => end).increment(1);
        metrics::histogram!("yolo5_job_seconds").record(begun.elapsed());
    }

    /// Keeps the message hidden while its job is in work. Returns when it cannot any more.
    async fn keep_hidden(&self, message: &Message) {
        let every = Duration::from_secs(u64::try_from(self.queues.visibility / 3).unwrap_or(1).max(1));
        let mut last = Instant::now();
        loop {
            tokio::time::sleep(every).await;
            match self.queues.hide(message, self.queues.visibility).await {
                Ok(()) => last = Instant::now(),
                Err(error) => tracing::debug!(%error, "the message could not be kept hidden"),
            }
            if last.elapsed() > every * 6 {
                return;
            }
        }
    }

    /// Works on a message to its end. What it came to, for the metrics.
    async fn handle(&self, message: &Message, receives: u64) -> &'static str {
        let id = message.message_id().unwrap_or_default();
        let job = match Job::parse(message.body().unwrap_or_default(), id, &self.image_prefix) {
            Ok(job) => job,
            Err(error) => {
                // Nobody can be told, since it does not say whose it is; and it gets no better by waiting.
                tracing::error!(message = id, %error, "a message that is no job was deleted");
                return if self.queues.delete(message).await.is_ok() { "unreadable" } else { "retried" };
            }
        };
        let (answer, end) = match self.workshop.work(&job).await {
            Ok(answer) => {
                let end = match &answer.outcome {
                    Outcome::Done => "done",
                    Outcome::NothingFound => "nothing",
                    Outcome::Failed(_) => "failed",
                };
                (answer, end)
            }
            Err(error) => {
                let last = self.queues.most_receives.is_some_and(|most| receives >= u64::from(most));
                tracing::warn!(prediction = job.prediction_id, %error, receives, last, "the job did not work this time");
                if last {
                    // The user is told; the job goes to the dead-letter queue for people to look at.
                    drop(self.queues.send(&answer(&job, Outcome::Failed(Failure::Internal))).await);
                }
                // Sooner than its time-out, later each time.
                let wait = if last { 0 } else { 2_i32.pow(u32::try_from(receives).unwrap_or(6).min(6)) };
                drop(self.queues.hide(message, wait.min(self.queues.visibility)).await);
                return if last { "given up" } else { "retried" };
            }
        };
        let sent = async {
            self.queues.send(&answer).await?;
            // Last of all: until here everything can be repeated.
            self.queues.delete(message).await
        };
        match sent.await {
            Ok(()) => end,
            Err(error) => {
                tracing::warn!(prediction = job.prediction_id, %error, "the answer was not sent or the job not deleted; it comes back");
                drop(self.queues.hide(message, 2).await);
                "retried"
            }
        }
    }
}

/// All hands that are free, at least one.
async fn free(hands: &Arc<Semaphore>) -> Vec<OwnedSemaphorePermit> {
    let Ok(first) = hands.clone().acquire_owned().await else { return vec![] };
    let mut all = vec![first];
    while all.len() < 10
        && let Ok(next) = hands.clone().try_acquire_owned()
    {
        all.push(next);
    }
    all
}
