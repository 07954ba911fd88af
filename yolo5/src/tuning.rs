//! Which of tract's settings is fastest on this machine, measured on the model itself.
//!
//! tract reads its settings from the environment when it is first used, so each is measured in a process of its own, and this
//! process starts itself again with the fastest. It keeps its process id.

use crate::cli::Tuning;
use anyhow::{Context, bail};
use std::{os::unix::process::CommandExt, path::Path, process::Command};

/// Set in a process that has been started again.
const DONE: &str = "YOLO5_TUNED";

/// Names and values for the environment.
type Setting = &'static [(&'static str, &'static str)];

/// What is tried. The direct convolution of tract is slower than its matrix form on many processors, and its AVX-512 kernels
/// than those of AVX2 on some.
const SETTINGS: [(&str, Setting); 4] = [
    ("default", &[]),
    ("no-direct", &[("TRACT_DISABLE_DIRECT_SPATIAL", "1")]),
    ("no-avx512", &[("TRACT_CPU_ISA", "-avx512f")]),
    ("no-direct-no-avx512", &[("TRACT_DISABLE_DIRECT_SPATIAL", "1"), ("TRACT_CPU_ISA", "-avx512f")]),
];

/// Returns in a process that has the settings it shall have: this one, or itself started again.
pub fn ensure(tuning: &Tuning, model: &Path) -> anyhow::Result<()> {
    let touched = SETTINGS.iter().flat_map(|(_, s)| *s).any(|(name, _)| std::env::var_os(name).is_some());
    // Who sets tract's own variables knows better.
    if *tuning == Tuning::Off || touched || std::env::var_os(DONE).is_some() {
        return Ok(());
    }
    let file = match tuning {
        Tuning::File(path) => Some(path),
        Tuning::Auto | Tuning::Off => None,
    };
    let known = file.map_or(Ok(None), |path| kept(path))?;
    let chosen = if known.is_some() { known } else { measure(model)? };
    // A model that cannot be measured is told of by whoever loads it next.
    let Some((name, setting)) = chosen else { return Ok(()) };
    if let (Some(path), None) = (file, known) {
        std::fs::write(path, format!("{name}\n"))
            .with_context(|| format!("the setting of tract cannot be written to {}", path.display()))?;
    }
    tracing::debug!(setting = name, "tract is set up");
    let mut again = Command::new(std::env::current_exe()?);
    again.args(std::env::args_os().skip(1)).env(DONE, name).envs(setting.iter().copied());
    Err(again.exec()).context("the program could not be started again")
}

/// The setting that a file names, if it is there and names any yet.
fn kept(path: &Path) -> anyhow::Result<Option<(&'static str, Setting)>> {
    let text = match std::fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).trim().to_owned(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e).with_context(|| format!("{} of --tuning cannot be read", path.display())),
    };
    match SETTINGS.into_iter().find(|(name, _)| *name == text) {
        None if !text.is_empty() => bail!(
            "{} of --tuning is there and names no setting of tract ({}); name another file, or delete it to have it measured",
            path.display(),
            SETTINGS.map(|(name, _)| name).join(", ")
        ),
        found => Ok(found),
    }
}

/// The fastest setting, if any can be measured.
fn measure(model: &Path) -> anyhow::Result<Option<(&'static str, Setting)>> {
    let mut best = None;
    let mut told = vec![];
    for (name, setting) in SETTINGS {
        let mut bench = Command::new(std::env::current_exe()?);
        bench
            .args([
                "bench",
                "--json",
                "--runs",
                "2",
                "--streams",
                "0",
                "--tuning",
                "off",
                "--backend",
                "tract",
                "--model",
            ])
            .arg(model);
        let output = bench.env("RUST_LOG", "off").envs(setting.iter().copied()).output()?;
        let row: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let Some(time) = row["one_stream_ms"].as_f64() else { continue };
        told.push(format!("{name} {time:.0} ms"));
        if best.is_none_or(|(least, _)| time < least) {
            best = Some((time, (name, setting)));
        }
    }
    Ok(best.map(|(_, (name, setting))| {
        tracing::info!(fastest = name, "measured: {}", told.join(", "));
        (name, setting)
    }))
}
