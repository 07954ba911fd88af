//! `image set`: another image in a spec, everything else as it stands.

use super::out;
use crate::{
    cli::{ImageArgs, ImageCommand},
    spec::edit::set_image,
};
use anyhow::Context;
use std::{io::Write, process::ExitCode};

pub(super) fn run(args: &ImageArgs) -> anyhow::Result<ExitCode> {
    let ImageCommand::Set { file, stack, service, image } = &args.command;
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).with_context(|| format!("{name} cannot be read"))?;
    let picked = |name: &str| stack.is_empty() || stack.iter().any(|s| s == name);
    let (edited, before) = set_image(&name, &text, service.name(), image, picked)?;
    // Whole or not at all: a new file takes the place of the old one.
    let folder = file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| std::path::Path::new("."));
    let beside = folder.join(format!(".{}.new", file.file_name().unwrap_or_default().to_string_lossy()));
    let written = std::fs::File::create(&beside).and_then(|mut f| {
        f.write_all(edited.as_bytes())?;
        f.sync_all()
    });
    written.and_then(|()| std::fs::rename(&beside, file)).with_context(|| format!("{name} cannot be written"))?;
    for old in before {
        out(&format!("{name}: {} {old} -> {image}\n", service.name()))?;
    }
    Ok(ExitCode::SUCCESS)
}
