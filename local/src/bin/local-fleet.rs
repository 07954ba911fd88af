//! A process for each instance of a scaling group of the local AWS, until told to end.

use clap::Parser;
use local::fleet::Fleet;
use tokio::{
    process::Command,
    signal::unix::{SignalKind, signal},
};

/// Keeps a program running for each instance of a scaling group of the local AWS.
#[derive(Debug, Parser)]
struct Arguments {
    /// Endpoint of the local AWS.
    #[arg(long, env = "AWS_ENDPOINT_URL")]
    aws: String,
    /// Name of the group.
    #[arg(long)]
    group: String,
    /// Processes at once, at most, however many instances there are.
    #[arg(long, default_value_t = 3)]
    most: usize,
    /// The program and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    program: Vec<String>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let Arguments { aws, group, most, program } = Arguments::parse();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let fleet = Fleet::start(&aws, &group, most, move || {
        let mut command = Command::new(&program[0]);
        command.args(&program[1..]);
        command
    });
    tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    anyhow::ensure!(fleet.stop().await?, "a process did not end in order");
    Ok(())
}
