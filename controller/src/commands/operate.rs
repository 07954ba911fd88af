//! `operate`: keeps the stacks that a Kubernetes cluster holds as objects.

use super::monitor;
use crate::{
    cli::OperateArgs,
    operator::{self, Settings, Standing},
    stop::Stop,
};
use anyhow::Context;
use std::process::ExitCode;

pub(super) async fn run(args: &OperateArgs) -> anyhow::Result<ExitCode> {
    let metrics = monitor::metrics()?;
    let stop = Stop::on_signal()?;
    let client = kube::Client::try_default()
        .await
        .context("no Kubernetes cluster is to be found; set KUBECONFIG, or run in a cluster with a service account")?;
    let standing = Standing::default();
    let heard = standing.clone();
    let server = monitor::serve(args.listen, metrics, move || heard.ready(), &stop).await?;
    tracing::info!(listen = %server.address, namespace = args.namespace.as_deref().unwrap_or("(all)"), "operating");
    let settings = Settings {
        namespace: args.namespace.clone(),
        selector: args.selector.clone(),
        roles: args.allow_role.clone(),
        interval: args.interval,
        concurrency: args.concurrency,
        lease: (args.lease_namespace.clone(), args.lease_name.clone(), args.lease),
    };
    let done = operator::run(client, settings, standing, stop.clone()).await;
    stop.ask();
    server.ended().await?;
    done.map(|()| ExitCode::SUCCESS)
}
