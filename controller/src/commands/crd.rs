//! `crd`: the Kubernetes CustomResourceDefinition.

use super::out;
use crate::spec::PolybotStack;
use kube::CustomResourceExt;
use std::process::ExitCode;

pub(super) fn run() -> anyhow::Result<ExitCode> {
    out(&serde_saphyr::to_string(&PolybotStack::crd())?)?;
    Ok(ExitCode::SUCCESS)
}
