//! The detector with the real weights, on real photos, from files and from a queue.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot be set up has failed")]

mod cli;
mod drain;
mod faults;
mod memory;
mod models;
mod samples;
mod worker;

use std::path::{Path, PathBuf};

/// The model, which is made first where it is missing (some 20 seconds, once).
fn model() -> PathBuf {
    let made = std::process::Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tools/model.sh")).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    PathBuf::from(String::from_utf8(made.stdout).unwrap().trim())
}

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("samples").join(name)
}
