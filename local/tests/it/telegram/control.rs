//! The user's side over HTTP, as scripts and the chat page use it.

use futures::StreamExt;
use image::ImageFormat::Png;
use local::telegram::LocalTelegram;
use reqwest::multipart::{Form, Part};
use reqwest::{Client, Method};
use serde_json::{Value, json};

use super::support::{Api, picture};

struct Control {
    base: String,
    client: Client,
}

impl Control {
    fn of(telegram: &LocalTelegram) -> Self {
        Self { base: format!("{}/_local", telegram.url()), client: Client::new() }
    }

    async fn send(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let response = self.client.request(method, format!("{}/{path}", self.base)).json(&body).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.send(Method::POST, path, body).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    async fn get(&self, path: &str) -> Value {
        self.client.get(format!("{}/{path}", self.base)).send().await.unwrap().json().await.unwrap()
    }

    async fn upload(&self, path: &str, caption: &str, count: usize) -> Value {
        let mut form = Form::new().text("caption", caption.to_owned());
        for _ in 0..count {
            form = form.part("file", Part::bytes(picture(40, 30, Png)).file_name("p.png"));
        }
        let response = self.client.post(format!("{}/{path}", self.base)).multipart(form).send().await.unwrap();
        response.json().await.unwrap()
    }
}

#[tokio::test]
async fn a_script_plays_a_user() {
    let telegram = LocalTelegram::start().await.unwrap();
    let (api, control) = (Api::of(&telegram), Control::of(&telegram));
    control.post("users", json!({ "id": 7, "name": "Ada", "language": "he" })).await;
    let text = control.post("users/7/text", json!({ "text": "helo" })).await;
    control.post("users/7/edit", json!({ "message": text["message_id"], "text": "hello" })).await;
    let photo = control.upload("users/7/photos", "blur", 1).await;
    control.upload("users/7/photos", "concat", 3).await;
    control.upload("users/7/documents", "gray", 1).await;
    control.post("users/7/text", json!({ "text": "again", "reply_to": photo[0]["message_id"] })).await;

    let updates = api.ok("getUpdates", json!({})).await;
    let updates = updates.as_array().unwrap();
    assert_eq!(updates.len(), 8);
    assert_eq!(updates[0]["message"]["from"]["language_code"], "he");
    assert_eq!(updates[1]["edited_message"]["text"], "hello");
    assert!(updates[3]["message"]["media_group_id"].is_string());
    assert_eq!(updates[6]["message"]["document"]["file_name"], "p.png");
    assert_eq!(updates[7]["message"]["reply_to_message"]["caption"], "blur");

    let keyboard = json!({ "inline_keyboard": [[{ "text": "Blur", "callback_data": "b" }]] });
    let (next, _) = tokio::join!(
        control.get("users/7/next?after=0&timeout=20000"),
        api.ok("sendMessage", json!({ "chat_id": 7, "text": "choose", "reply_markup": keyboard }))
    );
    assert_eq!(next["text"], "choose");
    control.post("users/7/tap", json!({ "message": next["message_id"], "button": "Blur" })).await;
    let last = api.ok("getUpdates", json!({ "offset": -1 })).await;
    assert_eq!(last[0]["callback_query"]["data"], "b");
    let chat = control.get("users/7").await;
    assert_eq!(chat["messages"].as_array().unwrap().len(), 8);
    assert_eq!(control.get("calls?method=sendmessage").await.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn faults_and_the_queue_are_steered_over_http() {
    let telegram = LocalTelegram::start().await.unwrap();
    let (api, control) = (Api::of(&telegram), Control::of(&telegram));
    control.post("faults", json!({ "method": "getMe", "fault": { "kind": "tooManyRequests", "retryAfter": 1 } })).await;
    assert_eq!(api.refused("getMe", json!({})).await.0, 429);
    api.ok("getMe", json!({})).await;
    control.post("faults", json!({ "method": "*", "fault": { "kind": "status", "code": 502 } })).await;
    assert_eq!(control.get("faults").await.as_array().unwrap().len(), 1);
    control.send(Method::DELETE, "faults", json!({})).await;
    api.ok("getMe", json!({})).await;

    control.post("updates", json!("hold")).await;
    telegram.user(7, "Ada").send_text("held").unwrap();
    assert_eq!(api.ok("getUpdates", json!({})).await, json!([]));
    assert_eq!(control.post("updates", json!({ "release": "asQueued" })).await["pending"], 1);
    assert_eq!(api.ok("getUpdates", json!({})).await[0]["message"]["text"], "held");
}

#[tokio::test]
async fn mistakes_of_a_script_are_told_in_words() {
    let telegram = LocalTelegram::start().await.unwrap();
    let control = Control::of(&telegram);
    let (status, answer) = control.send(Method::POST, "users/7/text", json!({ "text": "hi" })).await;
    assert_eq!((status, answer), (404, json!({ "error": "there is no such user" })));
    control.post("users", json!({ "id": 7, "name": "Ada" })).await;
    let (status, answer) = control.send(Method::POST, "users/7/text", json!({ "text": "" })).await;
    assert_eq!(status, 400, "{answer}");
    let (status, answer) = control.send(Method::GET, "users/7/next?timeout=10", json!({})).await;
    assert_eq!(status, 408, "{answer}");
}

#[tokio::test]
async fn the_page_hears_of_messages_and_edits_as_they_come() {
    let telegram = LocalTelegram::start().await.unwrap();
    let (api, control, user) = (Api::of(&telegram), Control::of(&telegram), telegram.user(7, "Ada"));
    let other = telegram.user(8, "Bob");
    let response = control.client.get(format!("{}/events?chat=7", control.base)).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut stream = response.bytes_stream();
    other.send_text("not for this page").unwrap();
    user.send_text("hi").unwrap();
    api.ok("sendMessage", json!({ "chat_id": 7, "text": "one" })).await;
    api.ok("editMessageText", json!({ "chat_id": 7, "message_id": 3, "text": "two" })).await;
    let mut heard = String::new();
    while !heard.contains("\"two\"") {
        heard.push_str(std::str::from_utf8(&stream.next().await.unwrap().unwrap()).unwrap());
    }
    let events: Vec<Value> = heard
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    let told: Vec<_> = events.iter().map(|event| (event["event"].as_str(), event["data"]["text"].as_str())).collect();
    assert_eq!(told, [(Some("message"), Some("hi")), (Some("message"), Some("one")), (Some("edited"), Some("two"))]);
}

#[tokio::test]
async fn other_web_sites_cannot_drive_the_users_and_the_page_loads_nothing_from_outside() {
    let telegram = LocalTelegram::start().await.unwrap();
    let control = Control::of(&telegram);
    let page = control.client.get(telegram.url()).send().await.unwrap();
    assert_eq!(page.url().path(), "/_local/");
    assert!(page.headers()["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
    let page = page.text().await.unwrap();
    for part in ["chat.css", "chat.js"] {
        assert!(page.contains(&format!("\"/_local/{part}\"")));
        let response = control.client.get(format!("{}/{part}", control.base)).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let links = response.text().await.unwrap().matches("//").count();
        assert!(part == "chat.js" || links == 0, "a stylesheet that loads from elsewhere");
    }
    let calls = || control.client.get(format!("{}/calls", control.base));
    assert_eq!(calls().header("origin", "http://evil.example").send().await.unwrap().status(), 403);
    assert_eq!(calls().header("host", "evil.example").send().await.unwrap().status(), 403);
    assert_eq!(calls().header("origin", telegram.url()).send().await.unwrap().status(), 200);
}
