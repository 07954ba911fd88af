//! The chat page: four files that are part of the program; it loads nothing from anywhere else.

use std::sync::Arc;

use axum::Router;
use axum::http::HeaderName;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;

use crate::telegram::state::Shared;

pub(super) const NO_SNIFFING: (HeaderName, &str) = (X_CONTENT_TYPE_OPTIONS, "nosniff");
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob: data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/", get(|| async { Redirect::to("/_local/") }))
        .route("/_local/", get(|| async { part("text/html", include_str!("../page/index.html")) }))
        .route("/_local/chat.css", get(|| async { part("text/css", include_str!("../page/chat.css")) }))
        .route("/_local/chat.js", get(|| async { part("text/javascript", include_str!("../page/chat.js")) }))
        .route("/_local/bubble.js", get(|| async { part("text/javascript", include_str!("../page/bubble.js")) }))
}

fn part(kind: &'static str, content: &'static str) -> impl IntoResponse {
    let kind = format!("{kind}; charset=utf-8");
    let policy = (CONTENT_SECURITY_POLICY, POLICY);
    ([(CONTENT_TYPE, kind.as_str()), (CACHE_CONTROL, "no-cache"), policy, NO_SNIFFING], content).into_response()
}
