//! Reading specs from files, folders and standard input.

use super::PolybotStack;
use std::{
    io::Read,
    path::{Path, PathBuf},
};

/// Why specs could not be loaded; the text is complete, with places and hints.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct LoadError(pub String);

/// A spec over this size is no spec.
const MOST_BYTES: u64 = 1 << 20;

/// All stacks in these files, in order. A folder stands for its `.yaml` and `.yml` files, `-` for standard input.
pub fn load(paths: &[PathBuf]) -> Result<Vec<PolybotStack>, LoadError> {
    let mut stacks = vec![];
    for path in paths {
        for file in files(path)? {
            let text = read(&file)?;
            let name = file.display();
            let found: Vec<PolybotStack> =
                serde_saphyr::from_multiple(&text).map_err(|e| LoadError(format!("{name}: {e}")))?;
            if found.is_empty() {
                return Err(LoadError(format!("{name}: the file holds no document")));
            }
            stacks.extend(found);
        }
    }
    Ok(stacks)
}

fn files(path: &Path) -> Result<Vec<PathBuf>, LoadError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).map_err(|e| LoadError(format!("{}: {e}", path.display())))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|e| Some(e.ok()?.path()))
        .filter(|p| p.extension().is_some_and(|e| e == "yaml" || e == "yml"))
        .collect();
    files.sort();
    if files.is_empty() {
        Err(LoadError(format!("{}: the folder holds no .yaml file", path.display())))
    } else {
        Ok(files)
    }
}

fn read(path: &Path) -> Result<String, LoadError> {
    let fail = |e: std::io::Error| LoadError(format!("{}: {e}", path.display()));
    let mut bytes = vec![];
    let mut limited: Box<dyn Read> = if path.as_os_str() == "-" {
        Box::new(std::io::stdin().take(MOST_BYTES + 1))
    } else {
        Box::new(std::fs::File::open(path).map_err(fail)?.take(MOST_BYTES + 1))
    };
    limited.read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(LoadError(format!("{}: over 1 MiB; this is no spec", path.display())));
    }
    String::from_utf8(bytes).map_err(|_| LoadError(format!("{}: not UTF-8 text; this is no spec", path.display())))
}
