//! The bot as its users meet it, and its filters on real files.

mod albums;
mod conversation;
mod filters;
mod kills;
mod pictures;
mod predictions;
mod setting;
mod webhook;
