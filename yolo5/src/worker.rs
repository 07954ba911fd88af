//! The worker: takes jobs from the identify queue as it has streams free, and deletes each only when its answer is sent. Whatever
//! dies in between comes back by itself.

use crate::{
    config::Config,
    drain::{Fleet, Hooks, Wish},
    job::{Workshop, answer},
    model::Detector,
    queue::Queues,
    store::{Store, StoreError},
};
use anyhow::Context;
use aws_config::{BehaviorVersion, timeout::TimeoutConfig};
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
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

/// How long an answer that is on its way may take when everything else has been given back.
const GRACE: Duration = Duration::from_secs(5);
/// How long AWS may keep silent: longer than the long poll, and short enough that no job hangs on a peer that never answers.
const SILENCE: Duration = Duration::from_secs(30);

/// Runs until the process is asked to stop. `deadline` is how long jobs in hand may take from the wish to drain or to end until they
/// are given back to the queue.
pub async fn run(config: Config, streams: usize, deadline: Duration) -> anyhow::Result<()> {
    // Before all that takes time: the first process of a container is ended only by signals that it handles.
    let (raise, mut wish) = watch::channel(Wish::Work);
    end_on_signal(raise.clone())?;
    let seconds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 300.0];
    let builder = PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &seconds)?;
    let recorder = builder.build_recorder();
    let prometheus = recorder.handle();
    metrics::set_global_recorder(recorder).context("metrics")?;

    let listen = config.listen;
    let (worker, fleet) = tokio::select! {
        started = start(config, streams, deadline) => started?,
        _ = wish.wait_for(|wish| *wish == Wish::End) => return Ok(()),
    };
    if let Some(fleet) = fleet.clone() {
        fleet.look(&raise).await;
        let in_work = worker.busy.subscribe();
        tokio::spawn({
            let fleet = fleet.clone();
            async move { fleet.watch(&raise).await }
        });
        tokio::spawn(async move { fleet.protect(in_work).await });
    }

    let listener = tokio::net::TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    let listen = listener.local_addr()?;
    let routes = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/metrics", get(move || async move { prometheus.render() }));
    let mut heard = wish.clone();
    let server = axum::serve(listener, routes).with_graceful_shutdown(async move {
        drop(heard.wait_for(|wish| *wish == Wish::End).await);
    });
    let server = tokio::spawn(async move { server.await });
    tracing::info!(%listen, "ready for jobs");
    if let Some(fleet) = &fleet {
        tokio::select! {
            () = fleet.arrive() => {}
            _ = wish.wait_for(|wish| *wish > Wish::Work) => {}
        }
    }
    worker.take_jobs(streams, wish.clone()).await;
    if let Some(fleet) = fleet {
        fleet.let_go(&mut wish).await;
    }
    // Drained, but not told to end: an end of one's own would only be undone by whoever keeps the process running.
    server.await??;
    Ok(())
}

/// Loads the model and finds the worker's place: its queues, and its group if it belongs to one.
async fn start(
    config: Config,
    streams: usize,
    deadline: Duration,
) -> anyhow::Result<(Arc<Worker>, Option<Arc<Fleet>>)> {
    let (path, engine) = (config.model.clone(), config.engine);
    let begun = Instant::now();
    let detector = tokio::task::spawn_blocking(move || Detector::open(&path, &engine)).await??;
    tracing::info!(model = %config.model.display(), seconds = begun.elapsed().as_secs_f64(), streams, runner = detector.runner(), "model loaded");
    metrics::gauge!("yolo5_model_info", "path" => config.model.display().to_string()).set(1.0);

    let timeouts = TimeoutConfig::builder().read_timeout(SILENCE).build();
    let aws = aws_config::defaults(BehaviorVersion::latest()).timeout_config(timeouts).load().await;
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
    let (busy, _) = watch::channel(0);
    let worker = Worker { queues, workshop, image_prefix: config.image_prefix, deadline, busy };
    let fleet = match config.scaling_group {
        Some(group) => {
            let hooks = Hooks { launch: config.launch_hook, termination: config.termination_hook };
            Some(Arc::new(Fleet::join(&aws, group, hooks).await?))
        }
        None => None,
    };
    Ok((Arc::new(worker), fleet))
}

/// Raises the wish to [`Wish::End`] on SIGTERM and Ctrl-C.
fn end_on_signal(wish: watch::Sender<Wish>) -> std::io::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        Wish::End.raise(&wish);
        // Kept, so that who listens later still hears it.
        wish.closed().await;
    });
    Ok(())
}

struct Worker {
    queues: Queues,
    workshop: Workshop,
    image_prefix: String,
    deadline: Duration,
    /// Jobs in hand.
    busy: watch::Sender<u32>,
}

impl Worker {
    /// Takes jobs until there is another wish; then finishes what is in hand, or gives it back at the deadline.
    async fn take_jobs(self: &Arc<Self>, streams: usize, mut wish: watch::Receiver<Wish>) {
        let (give_back, given_back) = watch::channel(false);
        // One more than there are streams, so that a picture is there when a stream gets free.
        let hands = Arc::new(Semaphore::new(streams + 1));
        let mut running = JoinSet::new();
        let mut failures = 0_u32;
        while *wish.borrow() == Wish::Work {
            let permits = tokio::select! {
                permits = free(&hands) => permits,
                _ = wish.wait_for(|wish| *wish > Wish::Work) => break,
            };
            // Not dropped in the middle: messages that were received and forgotten would be late by their time-out.
            match self.receive(permits.len(), &mut wish).await {
                Ok(messages) => {
                    failures = 0;
                    for (message, permit) in messages.into_iter().zip(permits) {
                        let (worker, given_back) = (self.clone(), given_back.clone());
                        self.busy.send_modify(|jobs| *jobs += 1);
                        running.spawn(async move {
                            let _permit = permit;
                            worker.one(message, given_back).await;
                            worker.busy.send_modify(|jobs| *jobs -= 1);
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
                        _ = wish.wait_for(|wish| *wish > Wish::Work) => {}
                    }
                }
            }
        }
        tracing::info!(jobs = running.len(), "no more jobs are taken: finishing what is in hand");
        let mut all = std::pin::pin!(async { while running.join_next().await.is_some() {} });
        if tokio::time::timeout(self.deadline, &mut all).await.is_err() {
            tracing::warn!("the deadline has passed: what is in hand goes back to the queue");
            give_back.send_replace(true);
            // Whatever hangs even now is seen again when it is no longer kept hidden.
            drop(tokio::time::timeout(GRACE, all).await);
        }
    }

    /// Receives; when asked to stop meanwhile, what may have come goes back at once.
    async fn receive(
        self: &Arc<Self>,
        at_most: usize,
        wish: &mut watch::Receiver<Wish>,
    ) -> Result<Vec<Message>, StoreError> {
        let worker = self.clone();
        let mut call = tokio::spawn(async move { worker.queues.receive(at_most).await });
        tokio::select! {
            got = &mut call => got.unwrap_or(Ok(vec![])),
            _ = wish.wait_for(|wish| *wish > Wish::Work) => {
                // The long poll is not waited for; a message that it still catches comes back after its time-out.
                call.abort();
                Ok(vec![])
            }
        }
    }

    async fn one(&self, message: Message, given_back: watch::Receiver<bool>) {
        let attribute = |name| message.attributes().and_then(|a| a.get(&name)).and_then(|v| v.parse::<u64>().ok());
        let receives = attribute(MessageSystemAttributeName::ApproximateReceiveCount).unwrap_or(1);
        if let Some(sent) = attribute(MessageSystemAttributeName::SentTimestamp) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            metrics::histogram!("yolo5_queue_seconds").record(now.saturating_sub(Duration::from_millis(sent)));
        }
        let begun = Instant::now();
        let end = tokio::select! {
            end = self.handle(&message, receives, given_back) => end,
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
    async fn handle(&self, message: &Message, receives: u64, mut given_back: watch::Receiver<bool>) -> &'static str {
        let id = message.message_id().unwrap_or_default();
        let job = match Job::parse(message.body().unwrap_or_default(), id, &self.image_prefix) {
            Ok(job) => job,
            Err(error) => {
                // Nobody can be told, since it does not say whose it is; and it gets no better by waiting.
                tracing::error!(message = id, %error, "a message that is no job was deleted");
                return if self.queues.delete(message).await.is_ok() { "unreadable" } else { "retried" };
            }
        };
        // Whatever happens to it now, nobody receives it again.
        let last = self.queues.most_receives.is_some_and(|most| receives >= u64::from(most));
        // Given back before its answer is sent or not at all, or else it would be answered twice.
        let worked = tokio::select! {
            worked = self.workshop.work(&job) => worked.map_err(Some),
            _ = given_back.wait_for(|given_back| *given_back) => Err(None),
        };
        let (answer, end) = match worked {
            Ok(answer) => {
                let end = match &answer.outcome {
                    Outcome::Done => "done",
                    Outcome::NothingFound => "nothing",
                    Outcome::Failed(_) => "failed",
                };
                (answer, end)
            }
            Err(why) => {
                if let Some(error) = &why {
                    tracing::warn!(prediction = job.prediction_id, %error, receives, last, "the job did not work this time");
                }
                if last {
                    // The user is told; the job goes to the dead-letter queue for people to look at.
                    let failure = answer(&job, Outcome::Failed(Failure::Internal));
                    if let Err(error) = self.send(&failure, last, given_back).await {
                        tracing::error!(prediction = job.prediction_id, %error, "a job was given up, and its user not told");
                    }
                }
                let (wait, end) = match why {
                    _ if last => (0, "given up"),
                    // Sooner than its time-out, later each time.
                    Some(_) => (2_i32.pow(u32::try_from(receives).unwrap_or(6).min(6)), "retried"),
                    None => (0, "given back"),
                };
                drop(self.queues.hide(message, wait.min(self.queues.visibility)).await);
                return end;
            }
        };
        let sent = async {
            self.send(&answer, last, given_back).await?;
            // Last of all: until here everything can be repeated.
            self.queues.delete(message).await
        };
        match sent.await {
            Ok(()) => end,
            Err(error) => {
                tracing::warn!(prediction = job.prediction_id, %error, last, "the answer was not sent or the job not deleted; it comes back");
                drop(self.queues.hide(message, 2).await);
                "retried"
            }
        }
    }

    /// Sends an answer. That of a `last` receive again and again, until the job is given back: no other worker will.
    async fn send(&self, answer: &Answer, last: bool, mut given_back: watch::Receiver<bool>) -> Result<(), StoreError> {
        let mut wait = Duration::from_secs(1);
        loop {
            let sent = self.queues.send(answer).await;
            let Err(error) = &sent else { return sent };
            if !last || *given_back.borrow() {
                return sent;
            }
            tracing::warn!(prediction = answer.prediction_id, %error, "the answer was not sent; trying again");
            drop(tokio::time::timeout(wait, given_back.wait_for(|given_back| *given_back)).await);
            wait = (wait * 2).min(SILENCE);
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
