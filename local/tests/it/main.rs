//! The stand-ins as their users meet them.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod telegram;
