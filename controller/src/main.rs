//! The `controller` program: reads the command line, runs a command, prints an error's chain once.

use clap::Parser;
use controller::{cli::Cli, commands};
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    commands::start_log(&cli);
    // Two TLS back ends are linked in (the Bot API client's and the SDK's); rustls wants to be told which to use.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match commands::run(cli).await {
        Ok(code) => code,
        Err(error) => {
            commands::print_error(&error);
            ExitCode::FAILURE
        }
    }
}
