//! A laptop's stand-ins for what Polybot runs on, for the demo and the tests.

pub mod aws;
pub mod chaos;
mod cut;
pub mod fleet;
pub mod front;
pub mod kube;
pub mod python;
pub mod telegram;
