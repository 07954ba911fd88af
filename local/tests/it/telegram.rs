//! The local Telegram through HTTP, as a bot's library talks to it, and through the user's side.

mod control;
mod edits;
mod faults;
mod limits;
mod methods;
mod page;
mod polling;
mod support;
mod teloxide;
mod tls;
mod webhook;
