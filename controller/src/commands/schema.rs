//! `schema`: the JSON schema of a spec, for editors.

use super::out;
use crate::spec::json_schema;
use std::process::ExitCode;

pub(super) fn run() -> anyhow::Result<ExitCode> {
    out(&format!("{}\n", serde_json::to_string_pretty(&json_schema())?))?;
    Ok(ExitCode::SUCCESS)
}
