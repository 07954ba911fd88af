//! What monitors ask a controller that keeps running: /healthz, /readyz and /metrics.

use crate::stop::Stop;
use anyhow::Context;
use axum::{Router, http::StatusCode, routing::get};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::net::SocketAddr;
use tokio::task::JoinHandle;

/// Upper ends of the buckets of everything that is measured in seconds.
const SECONDS: [f64; 12] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0];

/// Starts to count. Once a process.
pub(super) fn metrics() -> anyhow::Result<PrometheusHandle> {
    let builder = PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?;
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).context("metrics")?;
    Ok(handle)
}

/// A server that answers until the stop is asked for.
pub(super) struct Server {
    /// Where it listens.
    pub(super) address: SocketAddr,
    task: JoinHandle<std::io::Result<()>>,
}

impl Server {
    /// Returns when it has answered the last request.
    pub(super) async fn ended(self) -> anyhow::Result<()> {
        Ok(self.task.await??)
    }
}

/// Answers. `ready` tells whether this process does its work, and how far it is.
pub(super) async fn serve(
    listen: SocketAddr,
    metrics: PrometheusHandle,
    ready: impl Fn() -> (bool, String) + Clone + Send + Sync + 'static,
    stop: &Stop,
) -> anyhow::Result<Server> {
    let readyz = async move || {
        let (ready, text) = ready();
        (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, text)
    };
    let routes = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(async move || metrics.render()));
    let listener = tokio::net::TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    let address = listener.local_addr()?;
    let stop = stop.clone();
    let server = axum::serve(listener, routes).with_graceful_shutdown(async move { stop.asked().await });
    Ok(Server { address, task: tokio::spawn(async move { server.await }) })
}
