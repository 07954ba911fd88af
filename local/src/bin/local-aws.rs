//! A local AWS in the foreground, until interrupted.

use local::aws::LocalAws;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let aws = LocalAws::start().await?;
    for (name, value) in aws.env() {
        #[expect(clippy::print_stdout, reason = "this is the program's output: lines for a shell")]
        {
            println!("export {name}={value}");
        }
    }
    tokio::signal::ctrl_c().await?;
    Ok(())
}
