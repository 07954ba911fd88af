//! The commands.

mod bench;
mod detect;

use crate::{
    cli::{Cli, Command, Engine, Model, ModelCommand, Tuning},
    config::Config,
    model::{Backend, Detector, Layout},
    tuning, worker,
};
use anyhow::Context;
use std::{io::Write, process::ExitCode, time::Duration};
use tracing_subscriber::EnvFilter;

/// Starts the log, on standard error.
pub fn start_log(cli: &Cli) {
    let filter = EnvFilter::try_new(&cli.log).unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Told on standard error too, which panics where nobody reads that any more: a job would die of it.
    let log = log.log_internal_errors(false);
    if cli.log_format == "json" { log.json().init() } else { log.init() }
}

/// Runs a command.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Detect(args) => {
            tune(&args.engine, &args.tuning, &args.model.model)?;
            detect::run(&args)
        }
        Command::Bench(args) => {
            tune(&args.engine, &args.tuning, &args.model.model)?;
            bench::run(&args)
        }
        Command::Model { command: ModelCommand::Info { model: Model { model }, engine } } => info(&model, &engine),
        Command::Health => {
            contract::health::ask(Config::listen(|name| std::env::var(name).ok())?, "/healthz")?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Worker { streams, tuning, deadline, engine } => {
            let config = Config { engine: engine.options(), ..Config::read(|name| std::env::var(name).ok())? };
            tune(&engine, &tuning, &config.model)?;
            let streams = streams.unwrap_or_else(cores).max(1);
            let runtime = tokio::runtime::Runtime::new()?;
            let worked = runtime.block_on(worker::run(config, streams, Duration::from_secs(deadline)));
            // A model that is still being loaded, or a picture that was given back, is not waited for.
            runtime.shutdown_background();
            worked.map(|()| ExitCode::SUCCESS)
        }
    }
}

/// Sets tract up where it alone runs the network.
fn tune(engine: &Engine, tuning: &Tuning, model: &std::path::Path) -> anyhow::Result<()> {
    if engine.backend == Backend::Tract { tuning::ensure(tuning, model) } else { Ok(()) }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn info(path: &std::path::Path, engine: &Engine) -> anyhow::Result<ExitCode> {
    let begun = std::time::Instant::now();
    let detector = Detector::open(path, &engine.options())?;
    let loaded = begun.elapsed();
    let bytes = std::fs::read(path)?;
    let names = detector.names();
    let layout = match detector.layout() {
        Layout::Heads => "three raw heads",
        Layout::Rows => "one output of decoded boxes",
    };
    let size = detector.fixed().map_or("any height and width".to_owned(), |(h, w)| format!("{w}x{h} only"));
    let digest = {
        use sha2::Digest;
        hex::encode(sha2::Sha256::digest(&bytes))
    };
    out(&format!(
        "{}\n  YOLOv5 for {} classes ({}), {layout}, input {size}\n  {} bytes, sha256 {digest}\n  loaded in {} ms, run by {}\n",
        path.display(),
        names.len(),
        names[..names.len().min(3)].join(", ") + if names.len() > 3 { ", …" } else { "" },
        bytes.len(),
        loaded.as_millis(),
        detector.runner()
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes to standard output: results.
fn out(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // Whoever reads has seen enough.
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to standard output"),
    }
}

/// Writes to standard error: what is not the result.
pub fn warn(text: &str) {
    // Nobody is left to tell if this fails.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}
