//! A stand-in for a Kubernetes API server, in memory and over HTTP on 127.0.0.1: any kind of object in its collection, with
//! list and watch, resource versions and generations, finalizers, the status subresource, JSON patch, merge patch and
//! server-side apply, conflicts where a client's view is stale.
//!
//! It knows no schemas, admits everything, and has one user. Lists that have keys are replaced whole by an apply, and two
//! appliers of one field do not conflict.

mod store;

use anyhow::Context;
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use store::{Change, Store, failure};
use tokio::{sync::broadcast, task::JoinHandle};

/// Where a request leads.
#[derive(Clone, Debug)]
struct Target {
    /// The collection over all namespaces, such as `apis/polybot.dev/v1alpha1/polybotstacks`.
    collection: String,
    namespace: Option<String>,
    name: Option<String>,
    /// `status`, where it is the subresource.
    sub: Option<String>,
    /// Labels that an object must have to be in a list or a watch.
    labels: Vec<(String, String)>,
}

impl Target {
    /// `/apis/GROUP/VERSION[/namespaces/NS]/PLURAL[/NAME[/SUB]]`, or `/api/v1/…`.
    fn parse(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (base, rest) = parts.split_at_checked(if parts[0] == "api" { 2 } else { 3 })?;
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some((*namespace).to_owned()), rest),
            rest => (None, rest),
        };
        let at = |i: usize| rest.get(i).map(|s| (*s).to_owned());
        Some(Self {
            collection: format!("{}/{}", base.join("/"), rest.first()?),
            namespace,
            name: at(1),
            sub: at(2),
            labels: vec![],
        })
    }

    /// What a request asks for, in the words of RBAC.
    fn asks(&self, method: &Method, watches: bool) -> String {
        let verb = match *method {
            Method::GET if watches => "watch",
            Method::GET if self.name.is_none() => "list",
            Method::GET => "get",
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            _ => "delete",
        };
        let parts: Vec<&str> = self.collection.split('/').collect();
        let group = if parts[0] == "apis" { parts[1] } else { "" };
        let sub = self.sub.as_ref().map(|s| format!("/{s}")).unwrap_or_default();
        format!("{verb} {group}/{}{sub}", parts[parts.len() - 1])
    }

    /// The same with a selector of labels that have to be equal: `a=b,c=d`.
    fn selecting(mut self, selector: &str) -> Self {
        let parts = selector.split(',').filter_map(|part| part.split_once('='));
        self.labels = parts.map(|(k, v)| (k.to_owned(), v.trim_start_matches('=').to_owned())).collect();
        self
    }

    fn selects(&self, object: &Value) -> bool {
        self.labels.iter().all(|(k, v)| object["metadata"]["labels"][k] == v.as_str())
    }

    fn holds(&self, change: &Change) -> bool {
        change.collection == self.collection
            && self.selects(&change.object)
            && (self.namespace.is_none()
                || change.object["metadata"]["namespace"].as_str() == self.namespace.as_deref())
    }
}

/// A refusal that a test has asked for.
#[derive(Clone, Debug)]
struct Refusal {
    /// `METHOD /path`.
    call: String,
    code: u16,
    times: u32,
}

#[derive(Debug, Default)]
struct Control {
    calls: Vec<String>,
    uses: BTreeSet<String>,
    refusals: Vec<Refusal>,
}

#[derive(Debug)]
struct Inner {
    store: Mutex<Store>,
    control: Mutex<Control>,
    /// Every change, to whoever watches; `None` ends all watches.
    changes: broadcast::Sender<Option<Change>>,
}

impl Inner {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running stand-in. It ends when this is dropped.
#[derive(Debug)]
pub struct LocalKube {
    inner: Arc<Inner>,
    url: String,
    serving: JoinHandle<()>,
}

impl Drop for LocalKube {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl LocalKube {
    /// Starts one on a free port of 127.0.0.1.
    pub async fn start() -> anyhow::Result<Self> {
        let inner = Arc::new(Inner {
            store: Mutex::default(),
            control: Mutex::default(),
            changes: broadcast::channel(16_384).0,
        });
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.context("cannot listen")?;
        let url = format!("http://{}", listener.local_addr()?);
        let routes = Router::new().fallback(answer).with_state(inner.clone());
        let serving = tokio::spawn(async move {
            // It ends by being aborted.
            drop(axum::serve(listener, routes).await);
        });
        Ok(Self { inner, url, serving })
    }

    /// Where it answers.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Writes a kubeconfig that leads here.
    pub fn write_kubeconfig(&self, path: &Path) -> anyhow::Result<()> {
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "local",
            "clusters": [{ "name": "local", "cluster": { "server": self.url } }],
            "users": [{ "name": "local", "user": {} }],
            "contexts": [{ "name": "local", "context": { "cluster": "local", "user": "local", "namespace": "default" } }],
        });
        std::fs::write(path, config.to_string()).with_context(|| path.display().to_string())
    }

    /// Makes an object in a collection, such as `apis/polybot.dev/v1alpha1/namespaces/default/polybotstacks`.
    pub fn create(&self, collection: &str, object: Value) -> anyhow::Result<Value> {
        let target = Target::parse(collection).context("no path of a collection")?;
        self.act(&Method::POST, &target, object)
    }

    /// Changes an object as `kubectl edit` would, with nobody in between.
    pub fn edit(&self, path: &str, change: impl FnOnce(&mut Value)) -> anyhow::Result<Value> {
        let target = Target::parse(path).context("no path of an object")?;
        let mut store = self.inner.store();
        let mut object = store.get(&target).cloned().with_context(|| format!("there is no {path}"))?;
        change(&mut object);
        let ((code, answer), changed) = store.act(&Method::PUT, &target, "", "", object);
        drop(store);
        self.inner.tell(changed);
        anyhow::ensure!(code < 300, "{path}: {answer}");
        Ok(answer)
    }

    /// Deletes an object, or marks it as going where it has finalizers.
    pub fn delete(&self, path: &str) -> anyhow::Result<Value> {
        let target = Target::parse(path).context("no path of an object")?;
        self.act(&Method::DELETE, &target, Value::Null)
    }

    fn act(&self, method: &Method, target: &Target, body: Value) -> anyhow::Result<Value> {
        let ((code, answer), changed) = self.inner.store().act(method, target, "", "", body);
        self.inner.tell(changed);
        anyhow::ensure!(code < 300, "{method} {target:?}: {answer}");
        Ok(answer)
    }

    /// An object.
    pub fn get(&self, path: &str) -> Option<Value> {
        self.inner.store().get(&Target::parse(path)?).cloned()
    }

    /// All objects of a collection.
    pub fn list(&self, path: &str) -> Vec<Value> {
        Target::parse(path).map(|target| self.inner.store().list(&target)).unwrap_or_default()
    }

    /// Waits until an object is as asked; `None` when it is not there.
    pub async fn until(&self, path: &str, mut is: impl FnMut(Option<&Value>) -> bool) -> Option<Value> {
        let mut changes = self.inner.changes.subscribe();
        loop {
            let now = self.get(path);
            if is(now.as_ref()) {
                return now;
            }
            // Whoever is told late only looks again.
            if matches!(changes.recv().await, Err(broadcast::error::RecvError::Closed)) {
                return now;
            }
        }
    }

    /// The calls since this was last asked, as `METHOD /path`; a watch is a `WATCH`.
    pub fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.inner.control().calls)
    }

    /// What was ever asked, in the words of RBAC: `patch polybot.dev/polybotstacks/status`.
    pub fn uses(&self) -> BTreeSet<String> {
        self.inner.control().uses.clone()
    }

    /// Refuses the next calls that are this `METHOD /path`, with this HTTP status.
    pub fn refuse(&self, call: &str, code: u16, times: u32) {
        self.inner.control().refusals.push(Refusal { call: call.to_owned(), code, times });
    }

    /// Calls that were to be refused and have not come.
    pub fn unrefused(&self) -> Vec<String> {
        self.inner.control().refusals.iter().filter(|r| r.times > 0).map(|r| r.call.clone()).collect()
    }

    /// Every object of a plural that was ever stored, each as it was each time.
    pub fn stored(&self, plural: &str) -> Vec<Value> {
        let store = self.inner.store();
        let those = store.log().iter().filter(|c| c.collection.rsplit('/').next() == Some(plural));
        those.map(|change| change.object.clone()).collect()
    }

    /// Ends all watches. With `forget`, what happened before cannot be watched any more: 410, and clients list again.
    pub fn end_watches(&self, forget: bool) {
        if forget {
            self.inner.store().forget();
        }
        let _ = self.inner.changes.send(None);
    }
}

impl Inner {
    fn tell(&self, changed: Option<Change>) {
        if changed.is_some() {
            // Nobody may be watching.
            let _ = self.changes.send(changed);
        }
    }

    /// Whether a test has asked for this call to be refused.
    fn refused(&self, call: &str) -> Option<u16> {
        let mut control = self.control();
        control.calls.push(call.to_owned());
        let refusal = control.refusals.iter_mut().find(|r| r.times > 0 && call == r.call)?;
        refusal.times -= 1;
        Some(refusal.code)
    }
}

async fn answer(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let query: BTreeMap<String, String> =
        url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let head = |name| parts.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let Some(target) = Target::parse(&path) else { return reply(failure(404, "NotFound", &path)) };
    let target = target.selecting(query.get("labelSelector").map_or("", String::as_str));
    let watches = target.name.is_none() && query.get("watch").is_some_and(|w| w != "false");
    let verb = if watches { "WATCH" } else { parts.method.as_str() };
    inner.control().uses.insert(target.asks(&parts.method, watches));
    if let Some(code) = inner.refused(&format!("{verb} {path}")) {
        let reason = if code == 409 { "Conflict" } else { "InternalError" };
        return reply(failure(code, reason, "refused for a test"));
    }
    let bare = head(header::ACCEPT).contains("as=PartialObjectMetadata");
    if watches {
        let since = query.get("resourceVersion").and_then(|v| v.parse().ok()).unwrap_or(0);
        return watch(&inner, target, since, bare);
    }
    let Ok(body) = axum::body::to_bytes(body, 4 << 20).await else {
        return reply(failure(413, "RequestEntityTooLarge", "over 4 MiB"));
    };
    let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap_or(Value::Null) };
    let by = query.get("fieldManager").map_or("", String::as_str);
    let ((code, mut answer), changed) = inner.store().act(&parts.method, &target, head(header::CONTENT_TYPE), by, body);
    inner.tell(changed);
    // What an apply makes has to be allowed to be created, too.
    if code == 201 {
        inner.control().uses.insert(target.asks(&Method::POST, false));
    }
    if bare && code < 300 {
        answer = match answer["items"].as_array() {
            Some(items) => json!({
                "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList", "metadata": answer["metadata"],
                "items": items.iter().map(only_metadata).collect::<Vec<_>>(),
            }),
            None => only_metadata(&answer),
        };
    }
    reply((code, answer))
}

fn only_metadata(object: &Value) -> Value {
    json!({ "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object["metadata"] })
}

/// The changes since a resource version, one JSON object a line, until the client or a test ends it.
fn watch(inner: &Inner, target: Target, since: u64, bare: bool) -> Response {
    let (old, mut changes) = {
        let store = inner.store();
        let Some(old) = store.since(since) else {
            // As a real one: the watch begins, and its first event is that it cannot.
            let event = json!({ "type": "ERROR", "object": failure(410, "Expired", "too old resource version").1 });
            return reply((200, event));
        };
        (old, inner.changes.subscribe())
    };
    let line = move |change: &Change| {
        let object = if bare { only_metadata(&change.object) } else { change.object.clone() };
        format!("{}\n", json!({ "type": change.kind, "object": object }))
    };
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<String, std::io::Error>>(64);
    tokio::spawn(async move {
        let mut seen = since;
        for change in old {
            seen = change.version;
            if target.holds(&change) && sender.send(Ok(line(&change))).await.is_err() {
                return;
            }
        }
        loop {
            tokio::select! {
                change = changes.recv() => match change {
                    Ok(Some(change)) if change.version > seen && target.holds(&change) => {
                        if sender.send(Ok(line(&change))).await.is_err() {
                            return;
                        }
                    }
                    Ok(Some(_)) => {}
                    // A watcher that is told to start again, or that is too slow.
                    Ok(None) | Err(_) => return,
                },
                () = sender.closed() => return,
            }
        }
    });
    let lines = futures::stream::unfold(receiver, |mut r| async { r.recv().await.map(|line| (line, r)) });
    ([(header::CONTENT_TYPE, "application/json")], Body::from_stream(lines)).into_response()
}

fn reply((code, answer): (u16, Value)) -> Response {
    let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (code, [(header::CONTENT_TYPE, "application/json")], answer.to_string()).into_response()
}
