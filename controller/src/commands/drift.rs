//! `drift`: did somebody change AWS, or does the spec say something new? Reads only: there is no way from here to a write.

use super::{connect, out, plan::json, stacks};
use crate::{
    cli::{DriftArgs, DriftFormat},
    reconcile::{Allow, Goal, STACKS_AT_ONCE},
    report::{self, Report, github, markdown, markdown::Topic, sarif},
};
use futures::{StreamExt, stream};
use std::process::ExitCode;
use tokio::time::Instant;

pub(super) async fn run(args: &DriftArgs) -> anyhow::Result<ExitCode> {
    let (connections, failed) = connect(stacks(&args.specs)?).await;
    let now = Instant::now();
    let looks = connections.iter().map(|connection| async move {
        let (_, plan) = connection.look_since(now, Goal::Converge, &Allow::default()).await;
        Report::of(connection, &plan).into_drift(connection, &plan).await
    });
    let reports: Vec<Report> = stream::iter(looks).buffered(STACKS_AT_ONCE).collect().await;
    let code = if failed { 1 } else { report::drift_code(reports.iter().flat_map(Report::verdicts)) };
    let file = args.specs.files.first().map(|f| f.display().to_string()).unwrap_or_default();
    let markdown = || markdown::markdown(Topic::Drift, &reports, &[]);
    if args.github {
        github::write(&markdown(), &reports, code)?;
    }
    match args.output {
        DriftFormat::Text => reports.iter().try_for_each(|r| out(&r.drift_text()))?,
        DriftFormat::Markdown => out(&markdown())?,
        DriftFormat::Sarif => out(&format!("{:#}\n", sarif::document(&sarif::drift(&reports), &file)))?,
        DriftFormat::Json => out(&json("drift", code, reports)?)?,
    }
    Ok(ExitCode::from(code))
}
