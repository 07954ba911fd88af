//! The whole system at once, as programs: a stack that the controller made on the local AWS, two bots behind the stack's
//! certificate, detectors, and users of the local Telegram.
//!
//! The programs are taken from the folder that cargo builds into; `make test` and `cargo build --workspace` put them there.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot be set up has failed")]
#![expect(clippy::cast_precision_loss, reason = "counts and seconds of a test")]

mod chaos;
mod fleet;
mod load;
mod pictures;
mod rotation;
mod screens;
mod service;
mod setting;
mod story;
