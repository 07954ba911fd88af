//! The commands: what each does with specs, AWS and the terminal.

mod apply;
mod check;
mod cost;
mod crd;
mod destroy;
mod drift;
mod graph;
mod iam_policy;
mod image;
mod load_test;
mod monitor;
mod operate;
mod plan;
mod rollout;
mod run;
mod schema;
mod status;
mod validate;

use crate::{
    aws,
    cli::{Cli, Command, LogFormat, Specs},
    reconcile::Connection,
    report::Unreached,
    spec::{PolybotStack, load},
};
use anyhow::Context;
use clap::CommandFactory;
use std::{io::Write, process::ExitCode, sync::Arc};
use tracing_subscriber::EnvFilter;

/// Exit code of a plan or an apply that leaves something to do.
const SOMETHING: u8 = 2;

/// Starts the log, on standard error.
pub fn start_log(cli: &Cli) {
    // What works by itself tells what it does; what a person waits for prints it.
    let usual = if matches!(cli.command, Command::Run(_) | Command::Operate(_)) { "info" } else { "warn" };
    let filter = EnvFilter::new(cli.log.as_deref().unwrap_or(usual));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match cli.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}

/// Runs a command.
pub async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Validate(args) => validate::run(&args),
        Command::Plan(args) => plan::run(&args).await,
        Command::Drift(args) => drift::run(&args).await,
        Command::Apply(args) => apply::run(&args).await,
        Command::Run(args) => run::run(&args).await,
        Command::Operate(args) => operate::run(&args).await,
        Command::Destroy(args) => destroy::run(&args).await,
        Command::Status(args) => status::run(&args).await,
        Command::Graph(args) => graph::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Cost(args) => cost::run(&args),
        Command::Image(args) => image::run(&args),
        Command::LoadTest(args) => load_test::run(&args).await,
        Command::Rollout(args) => rollout::run(&args).await,
        Command::IamPolicy(args) => iam_policy::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Crd => crd::run(),
        Command::Completions { shell } => {
            let mut script = vec![];
            clap_complete::generate(shell, &mut Cli::command(), "controller", &mut script);
            out(&String::from_utf8_lossy(&script))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Prints an error with its chain, and a hint where one of its causes has one.
pub fn print_error(error: &anyhow::Error) {
    if error.is::<load::LoadError>() {
        return warn(&format!("{error}\n"));
    }
    let mut text = format!("error: {error}\n");
    for cause in error.chain().skip(1) {
        text.push_str(&format!("  because: {cause}\n"));
    }
    if let Some(hint) = hint(error) {
        text.push_str(&format!("hint: {hint}\n"));
    }
    warn(&text);
}

fn hint(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|c| c.downcast_ref::<aws::Error>()).and_then(aws::Error::hint)
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
fn warn(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// The stacks that the arguments name, or their faults.
fn stacks(args: &Specs) -> anyhow::Result<Vec<Arc<PolybotStack>>> {
    Ok(picked(load::load(&args.files)?, args)?.into_iter().map(Arc::new).collect())
}

/// Those of the stacks that the arguments name.
fn picked(all: Vec<PolybotStack>, args: &Specs) -> anyhow::Result<Vec<PolybotStack>> {
    let (picked, others): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|s| args.stack.is_empty() || args.stack.contains(&name(s)));
    if picked.is_empty() {
        let names: Vec<_> = others.iter().map(name).collect();
        anyhow::bail!("no stack is called {}; the files hold {}", args.stack.join(" or "), names.join(", "));
    }
    Ok(picked)
}

fn name(stack: &PolybotStack) -> String {
    stack.metadata.name.clone().unwrap_or_default()
}

/// `prod in us-east-1`.
fn title(stack: &PolybotStack) -> String {
    format!("{} in {}", name(stack), stack.spec.region)
}

/// Connects to every stack's account and region. Each stack has an outcome of its own: one that cannot be reached is
/// reported and does not keep the others from going on.
async fn connect(stacks: Vec<Arc<PolybotStack>>) -> (Vec<Connection>, Vec<Unreached>) {
    let regions = aws::Regions::default();
    let mut connections = vec![];
    let mut unreached = vec![];
    for stack in stacks {
        match Connection::open(Arc::clone(&stack), &regions).await {
            Ok(connection) => connections.push(connection),
            Err(error) => {
                let error = anyhow::Error::new(error);
                let hint = hint(&error).map(|h| format!(" ({h})")).unwrap_or_default();
                let why = format!("{error:#}{hint}");
                unreached.push(Unreached { stack: name(&stack), region: stack.spec.region.to_string(), why });
                print_error(&error.context(format!("{}: cannot start", title(&stack))));
            }
        }
    }
    (connections, unreached)
}

/// `1 s`, `2 min 5 s`.
fn elapsed(time: std::time::Duration) -> String {
    match time.as_secs() {
        0 => format!("{} ms", time.as_millis()),
        s @ 1..60 => format!("{s} s"),
        s => format!("{} min {} s", s / 60, s % 60),
    }
}
