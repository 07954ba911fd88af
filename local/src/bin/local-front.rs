//! The load balancer's stand-in in the foreground, until interrupted.

use clap::Parser;
use local::front::{Front, serve};
use std::net::SocketAddr;

/// TLS with a stack's own certificate in front of several instances.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where it listens.
    #[arg(long, default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
    /// Endpoint of the local AWS that holds the certificate.
    #[arg(long, env = "AWS_ENDPOINT_URL")]
    aws: String,
    /// Host name of the certificate.
    #[arg(long)]
    host: String,
    /// An instance, such as http://127.0.0.1:9001; may be repeated.
    #[arg(long = "to", required = true)]
    instances: Vec<String>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Arguments { listen, aws, host, instances } = Arguments::parse();
    let (address, server) = serve(Front { listen, aws, host, instances }).await?;
    #[expect(clippy::print_stdout, reason = "this is the program's output")]
    {
        println!("ready https://{address}");
    }
    server.await?;
    Ok(())
}
