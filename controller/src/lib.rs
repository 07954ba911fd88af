//! The controller: converges a whole Polybot stack on AWS from one declarative spec, and keeps it that way.

pub mod aws;
pub mod cli;
pub mod commands;
pub mod cost;
pub mod engine;
pub mod facts;
pub mod keep;
pub mod kinds;
pub mod lease;
pub mod operator;
pub mod ownership;
pub mod permissions;
pub mod posture;
pub mod preflight;
pub mod reconcile;
pub mod report;
pub mod secret;
pub mod spec;
pub mod stack;
pub mod stop;
pub mod telegram;
