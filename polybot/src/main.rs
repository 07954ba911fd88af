//! The `polybot` program: reads the environment, runs the service until SIGTERM, prints an error's chain once.

use anyhow::Context;
use clap::{Parser, ValueEnum};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use polybot::{
    app::App,
    config::{Config, Timing},
    polling::TakeOver,
    service::{self, Mode},
};
use std::{process::ExitCode, time::Duration};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// A Telegram bot that filters pictures and has objects found in them. It is configured by environment variables, which
/// `controller status -o env` prints.
#[derive(Parser)]
#[command(version, disable_help_subcommand = true)]
struct Cli {
    /// Ask the bot on this machine whether it is alive and end: for the health check of a container
    #[arg(long)]
    health: bool,
    /// Ask Telegram for updates instead of having them delivered: for a machine without a public address
    #[arg(long)]
    polling: bool,
    /// Polling: remove the webhook that the bot has
    #[arg(long, requires = "polling")]
    take_over: bool,
    /// The form of the log on standard error
    #[arg(long, env = contract::env::LOG_FORMAT, default_value = "text", value_enum)]
    log_format: LogFormat,
    /// Milliseconds without another photo after which an album counts as whole
    #[arg(long, hide = true, default_value_t = 2000)]
    quiet: u64,
    /// Milliseconds after which work without a sign of life counts as broken off
    #[arg(long, hide = true, default_value_t = 15_000)]
    lease: u64,
    /// Milliseconds after which a user is told that the detector is late
    #[arg(long, hide = true, default_value_t = 300_000)]
    patience: u64,
    /// Milliseconds for which an update that fails is tried again
    #[arg(long, hide = true, default_value_t = 600_000)]
    persistence: u64,
    /// Milliseconds after which the secrets are looked at again
    #[arg(long, hide = true, default_value_t = 300_000)]
    refresh: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    start_log(cli.log_format);
    // Two TLS back ends are linked in (the Bot API client's and the SDK's); rustls wants to be told which to use.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match run(cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_error(&error);
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    let variable = |name: &str| std::env::var(name).ok();
    if cli.health {
        return Ok(contract::health::ask(Config::listen(variable)?, "/health")?);
    }
    let timing = Timing {
        quiet: Duration::from_millis(cli.quiet),
        lease: Duration::from_millis(cli.lease),
        patience: Duration::from_millis(cli.patience),
        persistence: Duration::from_millis(cli.persistence),
        refresh: Duration::from_millis(cli.refresh),
    };
    let config = Config::read(variable, timing)?;
    let mode = match (cli.polling, cli.take_over) {
        (false, _) => Mode::Webhook,
        (true, true) => Mode::Polling(TakeOver::Yes),
        (true, false) => Mode::Polling(TakeOver::No),
    };
    let seconds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];
    let builder = PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &seconds)?;
    let metrics = builder.install_recorder().context("metrics")?;
    let (stop, stopping) = watch::channel(false);
    let aws = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
    let listener =
        TcpListener::bind(config.listen).await.with_context(|| format!("cannot listen on {}", config.listen))?;
    let address = listener.local_addr()?;
    let app = App::connect(config, &aws, metrics, stopping).await?;
    let (mut terminated, mut interrupted) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! { _ = terminated.recv() => (), _ = interrupted.recv() => () }
        tracing::info!("no more updates are taken; what is in work is finished");
        // The receivers are gone only when everything has ended.
        let _ = stop.send(true);
    });
    tracing::info!(%address, bot = app.identity.now().username, "polybot serves");
    service::run(app, listener, mode).await?;
    tracing::info!("everything is done");
    Ok(())
}

fn start_log(format: LogFormat) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}

#[expect(clippy::print_stderr, reason = "what a user sees when the program cannot start")]
fn print_error(error: &anyhow::Error) {
    let causes = error.chain().skip(1).map(|cause| format!("\n  because: {cause}"));
    eprintln!("error: {error}{}", causes.collect::<String>());
}
