//! The controller: converges a whole Polybot stack on AWS from one declarative spec, and keeps it that way.

pub mod aws;
pub mod engine;
pub mod kinds;
pub mod ownership;
pub mod telegram;
