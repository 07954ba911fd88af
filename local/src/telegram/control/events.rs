//! What happens in a chat, as server-sent events for the page.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{Query, State as Extract};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;

use super::first_bot;
use crate::telegram::state::Shared;

#[derive(Deserialize)]
pub(super) struct Wanted {
    chat: i64,
}

/// Events of one chat, and those that concern all (chat 0). A page that was too slow is told to load anew.
pub(super) async fn stream(
    Extract(shared): Extract<Arc<Shared>>,
    Query(wanted): Query<Wanted>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let (events, bot) = (shared.events(), first_bot(&shared));
    let stream = futures::stream::unfold(events, move |mut events| async move {
        loop {
            match events.recv().await {
                Ok(event) if concerns(&event, bot, wanted.chat) => {
                    return Some((Ok(Event::default().data(event.to_string())), events));
                }
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => {
                    let reload = json!({ "event": "reload" });
                    return Some((Ok(Event::default().data(reload.to_string())), events));
                }
                Err(RecvError::Closed) => return None,
            }
        }
    });
    Sse::new(stream).keep_alive(KeepAlive::default())
}

fn concerns(event: &Value, bot: i64, chat: i64) -> bool {
    event["bot"] == bot && (event["chat"] == chat || event["chat"] == 0)
}
