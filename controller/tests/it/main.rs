//! The controller against a local AWS: real parts, real calls.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod boot;
mod canaries;
mod cel;
mod chart;
mod cli;
mod drift;
mod faults;
mod kills;
mod laws;
mod life;
mod load;
mod operator;
mod permissions;
mod plans;
mod preflight;
mod pure;
mod reports;
mod rollouts;
mod run;
mod setting;
mod specs;
mod twin;
mod workflows;
