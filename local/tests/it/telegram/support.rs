//! A bot's end of the wire: raw HTTP, and a webhook that a test answers by hand.

use std::collections::HashMap;
use std::io::Cursor;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use image::{ImageFormat, Rgb, RgbImage};
use local::telegram::LocalTelegram;
use reqwest::multipart::{Form, Part};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

/// Longer than anything here takes; a test that waits so long has failed.
pub const SOON: Duration = Duration::from_secs(20);

/// The Bot API as a bot's library uses it.
pub struct Api {
    pub base: String,
    pub files: String,
    client: reqwest::Client,
}

impl Api {
    pub fn of(telegram: &LocalTelegram) -> Self {
        let (url, token) = (telegram.url(), telegram.token());
        Self {
            base: format!("{url}/bot{token}"),
            files: format!("{url}/file/bot{token}"),
            client: reqwest::Client::new(),
        }
    }

    /// Status and whole body of a call with JSON arguments.
    pub async fn call(&self, method: &str, arguments: Value) -> (u16, Value) {
        self.try_call(method, arguments).await.expect("an answer")
    }

    pub async fn try_call(&self, method: &str, arguments: Value) -> reqwest::Result<(u16, Value)> {
        let response = self.client.post(format!("{}/{method}", self.base)).json(&arguments).send().await?;
        Ok((response.status().as_u16(), response.json().await?))
    }

    /// `result` of a call that succeeds.
    pub async fn ok(&self, method: &str, arguments: Value) -> Value {
        let (status, body) = self.call(method, arguments).await;
        assert_eq!((status, &body["ok"]), (200, &Value::Bool(true)), "{method}: {body}");
        body["result"].clone()
    }

    /// Status and `description` of a call that is refused.
    pub async fn refused(&self, method: &str, arguments: Value) -> (u16, String) {
        let (status, body) = self.call(method, arguments).await;
        assert_eq!(body["ok"], false, "{method}: {body}");
        assert_eq!(body["error_code"], status);
        (status, body["description"].as_str().expect("a description").to_owned())
    }

    /// Status and body of a call with files.
    pub async fn upload(&self, method: &str, texts: &[(&str, &str)], files: &[(&str, &str, Vec<u8>)]) -> (u16, Value) {
        let mut form = Form::new();
        for (name, value) in texts {
            form = form.text((*name).to_owned(), (*value).to_owned());
        }
        for (name, file_name, bytes) in files {
            form = form.part((*name).to_owned(), Part::bytes(bytes.clone()).file_name((*file_name).to_owned()));
        }
        let response = self.client.post(format!("{}/{method}", self.base)).multipart(form).send().await;
        let response = response.expect("an answer");
        (response.status().as_u16(), response.json().await.expect("JSON"))
    }

    /// A file by its id, as a bot fetches it: `getFile`, then the path.
    pub async fn fetch(&self, file_id: &Value) -> Vec<u8> {
        let file = self.ok("getFile", serde_json::json!({ "file_id": file_id })).await;
        let path = file["file_path"].as_str().expect("a path");
        let response = self.client.get(format!("{}/{path}", self.files)).send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        response.bytes().await.expect("content").to_vec()
    }
}

/// One delivery, and the means to answer it.
pub struct Delivered {
    pub headers: HeaderMap,
    pub update: Value,
    answer: oneshot::Sender<Response>,
}

impl Delivered {
    pub fn answer(self, status: u16) {
        self.answer_with(StatusCode::from_u16(status).expect("a status").into_response());
    }

    pub fn answer_with(self, response: Response) {
        self.answer.send(response).expect("the delivery still waits");
    }

    pub fn text(&self) -> &str {
        self.update["message"]["text"].as_str().unwrap_or_default()
    }
}

/// A bot's webhook, whose answers the test gives.
pub struct Hook {
    pub url: String,
    deliveries: mpsc::UnboundedReceiver<Delivered>,
}

impl Hook {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
        let (app, deliveries) = Self::app();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, deliveries }
    }

    pub fn app() -> (Router, mpsc::UnboundedReceiver<Delivered>) {
        let (sender, deliveries) = mpsc::unbounded_channel();
        (Router::new().fallback(receive).with_state(sender), deliveries)
    }

    pub async fn next(&mut self) -> Delivered {
        let next = tokio::time::timeout(SOON, self.deliveries.recv()).await;
        next.expect("a delivery in time").expect("the webhook lives")
    }

    /// Whether nothing has come, without waiting.
    pub fn is_quiet(&mut self) -> bool {
        self.deliveries.try_recv().is_err()
    }
}

async fn receive(State(sender): State<mpsc::UnboundedSender<Delivered>>, request: Request) -> Response {
    let headers = request.headers().clone();
    let body = axum::body::to_bytes(request.into_body(), usize::MAX).await.expect("a body");
    let update = serde_json::from_slice(&body).expect("JSON");
    let (answer, answered) = oneshot::channel();
    let _ = sender.send(Delivered { headers, update, answer });
    answered.await.unwrap_or_else(|_| StatusCode::SERVICE_UNAVAILABLE.into_response())
}

/// A picture in which every corner differs.
pub fn picture(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
    let shade = |part: u32, whole: u32| u8::try_from(part * 255 / whole).unwrap_or(255);
    let picture = RgbImage::from_fn(width, height, |x, y| Rgb([shade(x, width), shade(y, height), 90]));
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).expect("a picture");
    bytes.into_inner()
}

/// Arguments as a query, for the GET way of calling.
pub async fn get(url: &str, query: &HashMap<&str, &str>) -> Value {
    let response = reqwest::Client::new().get(url).query(query).send().await.expect("an answer");
    response.json().await.expect("JSON")
}
