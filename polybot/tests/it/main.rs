//! The bot as its users meet it, and its filters on real files.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot be set up has failed")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "pictures of some dozen pixels"
)]

mod albums;
mod browser;
mod conversation;
mod filters;
mod groups;
mod kills;
mod load;
mod pictures;
mod predictions;
mod random;
mod setting;
mod trouble;
mod webhook;
