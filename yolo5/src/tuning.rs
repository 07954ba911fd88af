//! Which of tract's settings is fastest on this machine, measured on the model itself.
//!
//! tract reads its settings from the environment when it is first used, so each is measured in a process of its own, and this
//! process starts itself again with the fastest. It keeps its process id.
//!
//! A file remembers what was measured, a line for each model and processor: the setting, the model's hash, the processor's name.

use crate::cli::Tuning;
use anyhow::Context;
use std::{
    fs, io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
};

/// Set in a process that has been started again.
const DONE: &str = "YOLO5_TUNED";

/// A name, and names and values for the environment.
type Setting = (&'static str, &'static [(&'static str, &'static str)]);

/// What is tried. The direct convolution of tract is slower than its matrix form on many processors, and its AVX-512 kernels
/// than those of AVX2 on some.
const SETTINGS: [Setting; 4] = [
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
    let chosen = match (tuning, key(model)) {
        (Tuning::File(path), Ok(key)) => remembered(path, &key, || measure(model))?,
        _ => measure(model)?,
    };
    // A model that cannot be measured is told of by whoever loads it next.
    let Some((name, setting)) = chosen else { return Ok(()) };
    tracing::debug!(setting = name, "tract is set up");
    let mut again = Command::new(std::env::current_exe()?);
    again.args(std::env::args_os().skip(1)).env(DONE, name).envs(setting.iter().copied());
    Err(again.exec()).context("the program could not be started again")
}

/// What a setting is good for: a model on a processor.
fn key(model: &Path) -> io::Result<String> {
    use sha2::Digest;
    let hash = hex::encode(sha2::Sha256::digest(fs::read(model)?));
    let about = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let said =
        |name| Some(about.lines().find_map(|line| line.strip_prefix(name))?.trim_start_matches([':', ' ', '\t']));
    let processor = said("model name").or_else(|| said("CPU part")).unwrap_or(std::env::consts::ARCH);
    Ok(format!("{hash} {processor}"))
}

/// The setting that a file has for a key; where it has none, the measured one, which the file then has. A file that cannot be used
/// is told of and left as it is: it may be something else, and measuring again costs some seconds.
fn remembered(
    path: &Path,
    key: &str,
    measure: impl FnOnce() -> anyhow::Result<Option<Setting>>,
) -> anyhow::Result<Option<Setting>> {
    let text = match fs::read_to_string(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(e) => Err(e.to_string()),
        Ok(text)
            if text.split_terminator('\n').all(|line| line_of(line).is_some()) && !text.ends_with(|c| c != '\n') =>
        {
            Ok(text)
        }
        Ok(_) => Err("it has lines that are no settings of tract".to_owned()),
    };
    let known = text.iter().flat_map(|text| text.lines()).filter_map(line_of).find(|(_, k)| *k == key);
    if let Some((setting, _)) = known {
        return Ok(Some(setting));
    }
    let measured = measure()?;
    if let Some((name, _)) = measured {
        let written = text.and_then(|text| write(path, &format!("{text}{name} {key}\n")).map_err(|e| e.to_string()));
        if let Err(why) = written {
            tracing::warn!(
                "what was measured is not kept in {} of --tuning: {why}; name another file, or delete that one",
                path.display()
            );
        }
    }
    Ok(measured)
}

/// A line of such a file: the setting, and what it is good for.
fn line_of(line: &str) -> Option<(Setting, &str)> {
    let (name, key) = line.split_once(' ')?;
    let hash = key.split_once(' ')?.0;
    let setting = SETTINGS.into_iter().find(|(known, _)| *known == name)?;
    (hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit())).then_some((setting, key))
}

/// Writes a file all at once: whoever reads it, or is interrupted, finds the old or the new one.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let part = PathBuf::from(format!("{}.{}.part", path.display(), std::process::id()));
    let written = fs::write(&part, text).and_then(|()| fs::rename(&part, path));
    // It is not there if it could not be written.
    written.inspect_err(|_| drop(fs::remove_file(&part)))
}

/// The fastest setting, if any can be measured.
fn measure(model: &Path) -> anyhow::Result<Option<Setting>> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_a_line_a_model_and_processor_and_no_other_file_is_touched() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("settings");
        // What is chosen, whether that was measured, and what the file holds then.
        let ask = |path: &Path, key: &str, fastest: usize| {
            let mut measured = false;
            let chosen = remembered(path, key, || {
                measured = true;
                Ok(Some(SETTINGS[fastest]))
            });
            (chosen.unwrap().unwrap().0, measured, fs::read_to_string(path).ok())
        };
        let [one, other] = ["a", "b"].map(|model| format!("{} Some Processor @ 3 GHz", model.repeat(64)));
        let first = format!("no-direct {one}\n");
        assert_eq!(ask(&file, &one, 1), ("no-direct", true, Some(first.clone())));
        assert_eq!(ask(&file, &one, 2), ("no-direct", false, Some(first.clone())));
        let both = format!("{first}no-avx512 {other}\n");
        assert_eq!(ask(&file, &other, 2), ("no-avx512", true, Some(both.clone())));
        assert_eq!(ask(&file, &one, 0), ("no-direct", false, Some(both.clone())));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");

        // Cut off, of another kind, a folder, in a folder that is not there.
        for text in [&both[..both.len() - 1], &both[..both.len() - 40], "notes of mine\n", "\u{0}"] {
            fs::write(&file, text).unwrap();
            assert_eq!(ask(&file, &other, 3), ("no-direct-no-avx512", true, Some(text.to_owned())));
        }
        assert_eq!(ask(folder.path(), &one, 1), ("no-direct", true, None));
        assert_eq!(ask(&folder.path().join("none/settings"), &one, 1), ("no-direct", true, None));
    }
}
