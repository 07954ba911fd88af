//! The detector's program.

use clap::Parser;
use std::process::ExitCode;
use yolo5::{cli::Cli, commands};

fn main() -> ExitCode {
    let cli = Cli::parse();
    commands::start_log(&cli);
    match commands::run(cli) {
        Ok(code) => code,
        Err(error) => {
            commands::warn(&format!("error: {error:#}\n"));
            ExitCode::FAILURE
        }
    }
}
