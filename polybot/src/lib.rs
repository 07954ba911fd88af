//! Polybot: a Telegram bot that filters pictures and has objects found in them, on any number of instances.
//!
//! Start at [`schema`]: which update goes where. Filters and captions are pure; [`store`] is what the instances know
//! together; [`work`] and [`results`] receive from the queues.

pub mod albums;
pub mod app;
pub mod caption;
pub mod config;
pub mod filters;
pub mod identity;
pub mod picture;
pub mod polling;
pub mod predict;
pub mod privacy;
pub mod results;
pub mod schema;
pub mod server;
pub mod service;
pub mod source;
pub mod store;
pub mod studio;
pub mod talk;
pub mod telegram;
pub mod texts;
pub mod trouble;
pub mod work;
