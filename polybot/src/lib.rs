//! Polybot: a Telegram bot that filters pictures and has objects found in them, on any number of instances.

pub mod caption;
pub mod filters;
pub mod picture;
