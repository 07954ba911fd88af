//! A proxy in front of AWS or Telegram that does to calls what networks and busy services do to them: it delays, loses,
//! throttles, fails and garbles them, by a schedule that follows from a seed.
//!
//! It invents nothing that TLS and checksums rule out: bodies of pictures are never changed, only kept back.

use crate::cut::{CutListener, Scissors};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{ConnectInfo, DefaultBodyLimit, State},
    http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::json;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{net::TcpListener, task::AbortHandle};

/// In whose words a refusal is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Voice {
    /// AWS: a JSON or XML error, as the call is made.
    Aws,
    /// The Bot API.
    Telegram,
}

/// What happens to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mishap {
    /// It arrives late.
    Delay,
    /// The connection closes before the call arrives.
    DropBefore,
    /// The call arrives and acts, and the connection closes without an answer.
    DropAfter,
    /// It is refused: too many calls.
    Throttle,
    /// It is refused: an internal error.
    Fail,
    /// It arrives and acts, and what comes back is no answer.
    Garbage,
}

impl Mishap {
    /// Every kind, and how many calls of a thousand it strikes.
    pub const ODDS: [(Self, u32); 6] = [
        (Self::Delay, 40),
        (Self::DropBefore, 15),
        (Self::DropAfter, 10),
        (Self::Throttle, 15),
        (Self::Fail, 15),
        (Self::Garbage, 5),
    ];

    /// Whether the call acted, and whoever called does not know.
    fn hides(self) -> bool {
        matches!(self, Self::DropAfter | Self::Garbage)
    }
}

/// A running proxy; it ends when this is dropped.
pub struct Chaos {
    shared: Arc<Shared>,
    url: String,
    server: AbortHandle,
}

struct Shared {
    target: String,
    voice: Voice,
    client: reqwest::Client,
    random: Mutex<StdRng>,
    struck: Mutex<BTreeMap<Mishap, u64>>,
    hidden: Mutex<BTreeMap<String, u64>>,
    calm: AtomicBool,
}

impl Drop for Chaos {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Chaos {
    /// Starts one on a free port of 127.0.0.1, in front of a service at `http://…`.
    pub async fn start(target: &str, voice: Voice, seed: u64) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let shared = Arc::new(Shared {
            target: target.to_owned(),
            voice,
            client: reqwest::Client::builder().no_proxy().build()?,
            random: Mutex::new(StdRng::seed_from_u64(seed)),
            struck: Mutex::default(),
            hidden: Mutex::default(),
            calm: AtomicBool::new(false),
        });
        let routes = Router::new().fallback(forward).layer(DefaultBodyLimit::disable()).with_state(Arc::clone(&shared));
        let service = routes.into_make_service_with_connect_info::<Scissors>();
        let server = tokio::spawn(async move { axum::serve(CutListener(listener), service).await });
        Ok(Self { shared, url, server: server.abort_handle() })
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// From now on every call arrives and is answered.
    pub fn calm(&self) {
        self.shared.calm.store(true, Ordering::Relaxed);
    }

    /// How often each mishap has struck.
    pub fn struck(&self) -> BTreeMap<Mishap, u64> {
        locked(&self.shared.struck).clone()
    }

    /// How often a call acted and whoever called was not told, by the call's name.
    pub fn hidden(&self) -> BTreeMap<String, u64> {
        locked(&self.shared.hidden).clone()
    }
}

impl Shared {
    /// What happens to the next call, and how long it takes if it is late.
    fn next(&self) -> Option<(Mishap, Duration)> {
        let (roll, late) = {
            let mut random = locked(&self.random);
            (random.random_range(0..1000_u32), random.random_range(50..1500_u64))
        };
        if self.calm.load(Ordering::Relaxed) {
            return None;
        }
        let mut from = 0;
        let hit = Mishap::ODDS.into_iter().find(|(_, odds)| {
            from += odds;
            roll < from
        });
        hit.map(|(mishap, _)| (mishap, Duration::from_millis(late)))
    }

    fn note(&self, mishap: Mishap, name: &str) {
        *locked(&self.struck).entry(mishap).or_default() += 1;
        if mishap.hides() {
            *locked(&self.hidden).entry(name.to_owned()).or_default() += 1;
        }
    }

    /// A refusal in the words of the service.
    fn refusal(&self, mishap: Mishap, headers: &HeaderMap) -> Response {
        let throttled = mishap == Mishap::Throttle;
        if self.voice == Voice::Telegram {
            let (code, body) = if throttled {
                let told = json!({"ok": false, "error_code": 429, "description": "Too Many Requests: retry after 1", "parameters": {"retry_after": 1}});
                (StatusCode::TOO_MANY_REQUESTS, told)
            } else {
                let told = json!({"ok": false, "error_code": 500, "description": "Internal Server Error"});
                (StatusCode::INTERNAL_SERVER_ERROR, told)
            };
            return (code, axum::Json(body)).into_response();
        }
        if headers.contains_key("x-amz-target") {
            let (code, kind) = if throttled {
                (StatusCode::BAD_REQUEST, "ThrottlingException")
            } else {
                (StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError")
            };
            return (code, axum::Json(json!({"__type": kind, "message": "chaos"}))).into_response();
        }
        let (code, kind) = if throttled {
            (StatusCode::SERVICE_UNAVAILABLE, "SlowDown")
        } else {
            (StatusCode::INTERNAL_SERVER_ERROR, "InternalError")
        };
        (code, format!("<Error><Code>{kind}</Code><Message>chaos</Message></Error>")).into_response()
    }
}

async fn forward(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(scissors): ConnectInfo<Scissors>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let name = name(&method, &uri, &headers);
    // A picture that comes with 200 is the picture.
    let next = shared.next().map(|(mishap, late)| match mishap {
        Mishap::Garbage if method == Method::GET => (Mishap::Fail, late),
        other => (other, late),
    });
    if let Some((mishap, late)) = next {
        shared.note(mishap, &name);
        match mishap {
            Mishap::Delay => tokio::time::sleep(late).await,
            Mishap::DropBefore => {
                scissors.cut();
                return StatusCode::BAD_GATEWAY.into_response();
            }
            Mishap::Throttle | Mishap::Fail => return shared.refusal(mishap, &headers),
            Mishap::DropAfter | Mishap::Garbage => {}
        }
    }
    let answer = pass(&shared, method, &uri, headers, body).await;
    match next {
        Some((Mishap::DropAfter, _)) => {
            scissors.cut();
            StatusCode::BAD_GATEWAY.into_response()
        }
        Some((Mishap::Garbage, _)) => "<html>no answer</html>".into_response(),
        _ => answer,
    }
}

async fn pass(shared: &Shared, method: Method, uri: &Uri, mut headers: HeaderMap, body: Bytes) -> Response {
    for own in [header::HOST, header::CONTENT_LENGTH, header::CONNECTION, header::TRANSFER_ENCODING] {
        headers.remove(own);
    }
    let call =
        shared.client.request(method, format!("{}{uri}", shared.target)).headers(headers).body(body).send().await;
    let Ok(answer) = call else { return StatusCode::BAD_GATEWAY.into_response() };
    let (status, mut headers) = (answer.status(), answer.headers().clone());
    for own in [header::CONNECTION, header::TRANSFER_ENCODING, HeaderName::from_static("keep-alive")] {
        headers.remove(own);
    }
    match answer.bytes().await {
        Ok(bytes) => (status, headers, Body::from(bytes)).into_response(),
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

/// `UpdateItem`, `sendPhoto`; the method where the call has no other name.
fn name(method: &Method, uri: &Uri, headers: &HeaderMap) -> String {
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    if let Some((_, operation)) = target.and_then(|target| target.rsplit_once('.')) {
        return operation.to_owned();
    }
    let last = uri.path().rsplit('/').next().unwrap_or_default();
    if uri.path().starts_with("/bot") { last.to_owned() } else { method.to_string() }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
