//! Which of tract's settings is fastest on this machine, measured on the model itself.
//!
//! tract reads its settings from the environment when it is first used, so each is measured in a process of its own, and this
//! process starts itself again with the fastest. It keeps its process id.

use crate::cli::Tuning;
use anyhow::Context;
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
    let kept = match tuning {
        Tuning::File(path) => std::fs::read_to_string(path).ok(),
        Tuning::Auto | Tuning::Off => None,
    };
    let known = kept.and_then(|name| SETTINGS.into_iter().find(|(n, _)| *n == name.trim()));
    let (name, setting) = match known {
        Some(known) => known,
        None => measure(model)?,
    };
    if let (Tuning::File(path), true) = (tuning, known.is_none()) {
        std::fs::write(path, format!("{name}\n")).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let mut again = Command::new(std::env::current_exe()?);
    again.args(std::env::args_os().skip(1)).env(DONE, name).envs(setting.iter().copied());
    Err(again.exec()).context("the program could not be started again")
}

/// The fastest setting.
fn measure(model: &Path) -> anyhow::Result<(&'static str, Setting)> {
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
        // A model that cannot be loaded is told by whoever loads it next.
        let Ok(row) = serde_json::from_slice::<serde_json::Value>(&output.stdout) else { return Ok(SETTINGS[0]) };
        let Some(time) = row["one_stream_ms"].as_f64() else { continue };
        told.push(format!("{name} {time:.0} ms"));
        if best.is_none_or(|(least, _)| time < least) {
            best = Some((time, (name, setting)));
        }
    }
    let (_, (name, setting)) = best.context("no setting could be measured")?;
    tracing::info!(fastest = name, "measured: {}", told.join(", "));
    Ok((name, setting))
}
