//! The stand-ins behave as what they stand for, where it matters to this project.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod access;
mod rules;
mod telegram;
