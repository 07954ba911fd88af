//! The local Telegram through HTTP, as a bot's library talks to it, and through the user's side.

mod methods;
mod polling;
mod support;
mod webhook;
