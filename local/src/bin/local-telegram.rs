//! A local Telegram in the foreground, until interrupted.

use std::net::SocketAddr;

use clap::Parser;
use local::telegram::{LocalTelegram, Options};

/// A stand-in for Telegram's Bot API on this machine, with a chat page for the browser.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where it listens; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8081")]
    listen: SocketAddr,
    /// The bot's token, NUMBER:SECRET.
    #[arg(long, default_value = "123456:local-telegram-token", hide_default_value = true)]
    token: String,
    /// How many times faster than real time the retries of deliveries pass.
    #[arg(long, default_value_t = 1.0)]
    time_scale: f64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Arguments { listen: address, token, time_scale } = Arguments::parse();
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let telegram = LocalTelegram::start_with(Options { address, token, time_scale, ..Options::default() }).await?;
    #[expect(clippy::print_stdout, reason = "this is the program's output: lines for a shell and a person")]
    {
        println!("export TELEGRAM_API_URL={}", telegram.url());
        println!("# the chat page: {}/", telegram.url());
    }
    tokio::signal::ctrl_c().await?;
    Ok(())
}
