//! For tests: faults, the queue of updates, and what was called and delivered.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::{Query, State as Extract};
use serde::Deserialize;
use serde_json::{Value, json};

use super::first_bot;
use crate::telegram::error::ApiError;
use crate::telegram::fault::Fault;
use crate::telegram::queue::Order;
use crate::telegram::state::Shared;

pub(super) async fn faults(Extract(shared): Extract<Arc<Shared>>) -> Json<Value> {
    Json(json!(shared.state().faults))
}

pub(super) async fn add_fault(Extract(shared): Extract<Arc<Shared>>, Json(fault): Json<Fault>) -> Json<Value> {
    shared.change(|state| state.faults.push(fault));
    Json(json!({}))
}

pub(super) async fn clear_faults(Extract(shared): Extract<Arc<Shared>>) -> Json<Value> {
    shared.change(|state| state.faults.clear());
    Json(json!({}))
}

/// What to do with the queue of updates.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) enum Steer {
    /// Deliver nothing until `release`.
    Hold,
    /// Deliver what was held back, in this order.
    Release(Order),
    /// Deliver so many coming updates twice.
    Duplicate(u32),
    /// Deliver this update again.
    Redeliver(i64),
}

pub(super) async fn steer(
    Extract(shared): Extract<Arc<Shared>>,
    Json(steer): Json<Steer>,
) -> Result<Json<Value>, ApiError> {
    let bot = first_bot(&shared);
    shared.change(|state| {
        let queue = &mut state.bot(bot)?.queue;
        match steer {
            Steer::Hold => queue.hold(),
            Steer::Release(order) => queue.release(order),
            Steer::Duplicate(count) => queue.duplicate_next(count),
            Steer::Redeliver(update) => {
                if !queue.redeliver(update, Instant::now()) {
                    return Err(ApiError::not_found(Some("no such update")));
                }
            }
        }
        Ok(Json(json!({ "pending": queue.len() })))
    })
}

#[derive(Deserialize)]
pub(super) struct Wanted {
    method: Option<String>,
}

pub(super) async fn calls(Extract(shared): Extract<Arc<Shared>>, Query(wanted): Query<Wanted>) -> Json<Value> {
    let fits = |method: &str| wanted.method.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method));
    let calls: Vec<_> = shared.state().calls.all().into_iter().filter(|call| fits(&call.method)).collect();
    Json(json!(calls))
}

pub(super) async fn deliveries(Extract(shared): Extract<Arc<Shared>>) -> Json<Value> {
    Json(json!(shared.state().deliveries.all()))
}
