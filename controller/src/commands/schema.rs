//! `schema`: the JSON schema of a spec, for editors, or of the reports, for programs.

use super::out;
use crate::{
    cli::{SchemaArgs, SchemaOf},
    report::Document,
    spec::json_schema,
};
use std::process::ExitCode;

pub(super) fn run(args: &SchemaArgs) -> anyhow::Result<ExitCode> {
    let schema = match args.of {
        SchemaOf::Spec => json_schema(),
        SchemaOf::Report => serde_json::to_value(schemars::schema_for!(Document))?,
    };
    out(&format!("{}\n", serde_json::to_string_pretty(&schema)?))?;
    Ok(ExitCode::SUCCESS)
}
