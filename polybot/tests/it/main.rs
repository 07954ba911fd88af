//! The bot as its users meet it, and its filters on real files.

mod filters;
mod pictures;
