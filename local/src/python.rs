//! Virtual environments for the Python programs that stand beside ours, made on first use from pinned, hashed requirements.

use anyhow::{Context, bail};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The folder of the programs of a virtual environment, which is made first where it is missing or of other requirements. One process at
/// a time makes it; the others wait for it.
pub fn programs(venv: &Path, requirements: &Path) -> anyhow::Result<PathBuf> {
    let wanted = fs::read_to_string(requirements).with_context(|| requirements.display().to_string())?;
    let stamp = venv.join("requirements.txt");
    let programs = venv.join("bin");
    let lock = fs::File::create(venv.with_extension("lock"))?;
    lock.lock()?;
    if fs::read_to_string(&stamp).is_ok_and(|have| have == wanted) {
        return Ok(programs);
    }
    let run = |program: &Path, args: &[&str]| -> anyhow::Result<()> {
        let output = std::process::Command::new(program).args(args).output().context("python3 is needed")?;
        if !output.status.success() {
            bail!("{} {}: {}", program.display(), args.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    };
    let path = |p: &Path| p.to_string_lossy().into_owned();
    run(Path::new("python3"), &["-m", "venv", "--clear", &path(venv)])?;
    let pip = ["-m", "pip", "install", "--quiet", "--require-hashes", "--requirement", &path(requirements)];
    run(&programs.join("python"), &pip)?;
    fs::write(&stamp, wanted)?;
    Ok(programs)
}
