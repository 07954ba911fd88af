//! The controller against a local AWS: real parts, real calls.

mod cli;
mod drift;
mod faults;
mod life;
mod pure;
mod setting;
mod specs;
