//! The outputs and the summary of a job in GitHub Actions
//! (<https://docs.github.com/actions/reference/workflow-commands-for-github-actions>).

use super::Document;
use anyhow::Context;
use std::{env, fs::OpenOptions, io::Write};

/// Writes the job's summary and its outputs: `exit-code`, `changes` (true or false), `digests` (those to be reviewed,
/// separated by spaces), `summary`.
///
/// # Errors
/// Where GitHub's variables are missing, or their files cannot be written.
pub fn write(markdown: &str, document: &Document) -> anyhow::Result<()> {
    let Document { stacks: reports, unreached, exit_code, .. } = document;
    append("GITHUB_STEP_SUMMARY", markdown)?;
    let digests: Vec<&str> = reports.iter().filter_map(|r| r.digest.as_deref()).collect();
    let summary = reports.iter().map(|r| format!("{}: {}", r.title(), r.summary));
    let summary: Vec<String> =
        summary.chain(unreached.iter().map(|u| format!("{} in {}: not reached", u.stack, u.region))).collect();
    let changes = reports.iter().any(|r| !r.steps.is_empty());
    append(
        "GITHUB_OUTPUT",
        &format!(
            "exit-code={exit_code}\nchanges={changes}\ndigests={}\nsummary={}\n",
            digests.join(" "),
            summary.join("; ").replace(['\n', '\r'], " ")
        ),
    )
}

fn append(variable: &str, text: &str) -> anyhow::Result<()> {
    let path = env::var_os(variable).with_context(|| {
        format!("{variable} is not set; --github is for GitHub Actions, elsewhere use -o markdown or -o json")
    })?;
    let file = OpenOptions::new().append(true).create(true).open(&path);
    file.and_then(|mut f| f.write_all(text.as_bytes())).with_context(|| format!("cannot write to {variable}"))
}
