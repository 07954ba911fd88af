//! The user's side over HTTP, under `/_local/`: for the chat page, for scripts and for tests in other languages.

use std::sync::Arc;

use axum::Router;

use super::state::Shared;

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
}
