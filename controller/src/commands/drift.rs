//! `drift`: did somebody change AWS, or does the spec say something new? Reads only: there is no way from here to a write.

use super::{connect, out, stacks};
use crate::{
    cli::{DriftArgs, DriftFormat},
    reconcile::{Allow, Goal, STACKS_AT_ONCE},
    report::{self, Document, Report, github, markdown, markdown::Topic, sarif},
};
use futures::{StreamExt, stream};
use std::process::ExitCode;
use tokio::time::Instant;

pub(super) async fn run(args: &DriftArgs) -> anyhow::Result<ExitCode> {
    let (connections, unreached) = connect(stacks(&args.specs)?).await;
    let now = Instant::now();
    let looks = connections.iter().map(|connection| async move {
        let (_, plan) = connection.look_since(now, Goal::Converge, &Allow::default()).await;
        Report::of(connection, &plan).into_drift(connection, &plan).await
    });
    let reports: Vec<Report> = stream::iter(looks).buffered(STACKS_AT_ONCE).collect().await;
    let code = if unreached.is_empty() { report::drift_code(reports.iter().flat_map(Report::verdicts)) } else { 1 };
    let file = args.specs.files.first().map(|f| f.display().to_string()).unwrap_or_default();
    let document = Document::new("drift", code, reports, unreached);
    let markdown = || markdown::markdown(Topic::Drift, &document, &[]);
    if args.github {
        github::write(&markdown(), &document)?;
    }
    match args.output {
        DriftFormat::Text => document.stacks.iter().try_for_each(|r| out(&r.drift_text()))?,
        DriftFormat::Markdown => out(&markdown())?,
        DriftFormat::Sarif => out(&format!("{:#}\n", sarif::document(&sarif::drift(&document.stacks), &file)))?,
        DriftFormat::Json => out(&document.json()?)?,
    }
    Ok(ExitCode::from(code))
}
