//! The `controller` program: reads the command line, runs a command, prints an error's chain once.

use clap::Parser;
use controller::{cli::Cli, commands};
use std::process::ExitCode;

/// Exit code of a command line that cannot be read: `EX_USAGE` of sysexits.h.
const USAGE: u8 = 64;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(told) => {
            let _ = told.print();
            // Not 2, as others have it: that says of a plan that there is something to do.
            return if told.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
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
