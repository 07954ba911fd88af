//! HTTP: the Bot API and file downloads, with the faults that a test ordered.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::connect_info::ConnectInfo;
use axum::extract::{DefaultBodyLimit, Path, Request, State as Extract};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use futures::{StreamExt, stream};
use serde_json::json;
use tokio::net::TcpListener;

use super::error::ApiError;
use super::fault::{self, FaultKind};
use super::files::DOWNLOAD_LIMIT;
use super::log::Call;
use super::methods::Reply;
use super::params::Params;
use super::state::{Hanging, Shared, bot_id};
use super::{control, methods};
use crate::cut::{CutListener, Scissors};

/// Serves until the task is aborted.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) -> io::Result<()> {
    let app = Router::new()
        .route("/{bot}/{method}", any(call))
        .route("/file/{bot}/{*path}", get(download))
        .merge(control::routes())
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), cut_when_stopped))
        .layer(DefaultBodyLimit::disable())
        .with_state(shared);
    axum::serve(CutListener(listener), app.into_make_service_with_connect_info::<Scissors>()).await
}

/// A connection outlives the task that accepted it; a stand-in that was dropped must look gone all the same.
async fn cut_when_stopped(
    Extract(shared): Extract<Arc<Shared>>,
    ConnectInfo(scissors): ConnectInfo<Scissors>,
    request: Request,
    next: Next,
) -> Response {
    let response = if shared.stopped() { ApiError::server(503).into_response() } else { next.run(request).await };
    if shared.stopped() {
        scissors.cut();
    }
    response
}

fn bot_of(shared: &Shared, segment: &str) -> Result<i64, ApiError> {
    let token = segment.strip_prefix("bot").ok_or_else(|| ApiError::not_found(None))?;
    let id = bot_id(token).ok_or_else(|| ApiError::not_found(None))?;
    let known = shared.state().bots.get(&id).is_some_and(|bot| bot.token == token);
    if known { Ok(id) } else { Err(ApiError::unauthorized()) }
}

async fn call(
    Extract(shared): Extract<Arc<Shared>>,
    ConnectInfo(scissors): ConnectInfo<Scissors>,
    Path((segment, method)): Path<(String, String)>,
    request: Request,
) -> Result<Response, ApiError> {
    let bot = bot_of(&shared, &segment)?;
    let method = methods::canonical(&method).ok_or_else(|| ApiError::not_found(Some("method not found")))?;
    let params = Params::read(request).await?;
    let (number, fault) = shared.change(|state| {
        let fault = fault::take(&mut state.faults, method);
        let (method, params) = (method.to_owned(), params.summary());
        let number = state.calls.push(|number| Call { number, bot, method, params, status: None, error: None });
        (number, fault)
    });
    let result = match &fault {
        Some(FaultKind::DropBefore) => {
            scissors.cut();
            return Err(ApiError::server(502));
        }
        Some(FaultKind::TooManyRequests { retry_after }) => Err(ApiError::too_many_requests(*retry_after)),
        Some(FaultKind::Status { code }) => Err(ApiError::server(*code)),
        Some(FaultKind::Garbage) => return Ok("<html>no JSON</html>".into_response()),
        // In a task of its own: Telegram acts even if the client has gone meanwhile.
        Some(FaultKind::DropAfter | FaultKind::Slow { .. } | FaultKind::Hang) | None => {
            let work = methods::call(Arc::clone(&shared), bot, method, params);
            tokio::spawn(work).await.unwrap_or_else(|_| Err(ApiError::server(500)))
        }
    };
    match &fault {
        Some(FaultKind::Slow { milliseconds }) => tokio::time::sleep(Duration::from_millis(*milliseconds)).await,
        Some(FaultKind::Hang) => {
            let _hanging = Hanging::new(&shared, method);
            std::future::pending::<()>().await;
        }
        _ => {}
    }
    if fault == Some(FaultKind::DropAfter) {
        scissors.cut();
    } else {
        shared.change(|state| {
            if let Some(entry) = state.calls.entry(number) {
                entry.status = Some(result.as_ref().err().map_or(200, |error| error.code));
                entry.error = result.as_ref().err().map(|error| error.description.clone());
            }
        });
    }
    let Reply { result, description } = result?;
    let mut body = json!({ "ok": true, "result": result });
    if let Some(description) = description {
        body["description"] = description.into();
    }
    Ok(Json(body).into_response())
}

async fn download(
    Extract(shared): Extract<Arc<Shared>>,
    ConnectInfo(scissors): ConnectInfo<Scissors>,
    Path((segment, path)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    bot_of(&shared, &segment)?;
    let fault = shared.change(|state| fault::take(&mut state.faults, "file"));
    match &fault {
        Some(FaultKind::Status { code }) => return Err(ApiError::server(*code)),
        Some(FaultKind::TooManyRequests { retry_after }) => return Err(ApiError::too_many_requests(*retry_after)),
        Some(FaultKind::DropBefore) => scissors.cut(),
        Some(FaultKind::Garbage) => return Ok("garbage".into_response()),
        Some(FaultKind::Slow { milliseconds }) => tokio::time::sleep(Duration::from_millis(*milliseconds)).await,
        Some(FaultKind::DropAfter | FaultKind::Hang) | None => {}
    }
    let unique = shared.files.by_path(&path).ok_or_else(|| ApiError::not_found(None))?;
    let stored = shared.files.by_unique_id(&unique).ok_or_else(|| ApiError::not_found(None))?;
    if stored.size > DOWNLOAD_LIMIT {
        return Err(ApiError::not_found(None));
    }
    let bytes = shared.files.read(&unique).await.map_err(|_| ApiError::server(500))?;
    if matches!(fault, Some(FaultKind::DropAfter | FaultKind::Hang)) {
        let half = stream::iter([Ok(bytes.slice(..bytes.len() / 2))]);
        let hanging = (fault == Some(FaultKind::Hang)).then(|| Hanging::new(&shared, "file"));
        // What was sent goes out only when the body makes a pause; the error comes behind it.
        let broken = stream::once(async move {
            if hanging.is_some() {
                std::future::pending::<()>().await;
            }
            tokio::task::yield_now().await;
            Err(io::Error::from(io::ErrorKind::ConnectionReset))
        });
        return Ok(([(CONTENT_LENGTH, bytes.len().to_string())], Body::from_stream(half.chain(broken))).into_response());
    }
    Ok(([(CONTENT_TYPE, stored.mime)], bytes).into_response())
}
