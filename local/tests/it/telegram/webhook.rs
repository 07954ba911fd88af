//! Deliveries to a webhook.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::IntoResponse;
use local::telegram::{LocalTelegram, Options, Order};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::support::{Api, Hook};

#[tokio::test]
async fn a_delivery_carries_the_secret_and_chats_do_not_wait_for_each_other() {
    let telegram = LocalTelegram::start().await.unwrap();
    let (api, mut hook) = (Api::of(&telegram), Hook::start().await);
    api.ok("setWebhook", json!({ "url": hook.url, "secret_token": "s3cret_-" })).await;
    let (ada, bob) = (telegram.user(7, "Ada"), telegram.user(8, "Bob"));
    ada.send_text("one").unwrap();
    let first = hook.next().await;
    assert_eq!(first.headers["x-telegram-bot-api-secret-token"], "s3cret_-");
    assert_eq!(first.headers["content-type"], "application/json");
    assert_eq!(first.text(), "one");

    ada.send_text("two").unwrap();
    bob.send_text("three").unwrap();
    let third = hook.next().await;
    assert_eq!(third.text(), "three", "Ada's second message waits for the answer to her first, Bob's does not");
    assert!(hook.is_quiet());
    first.answer(200);
    let second = hook.next().await;
    assert_eq!(second.text(), "two");
    second.answer(204);
    third.answer(200);
    telegram.settled().await.unwrap();
    assert_eq!(telegram.deliveries().len(), 3);
}

fn fast() -> Options {
    // A day of Telegram's patience is 86 seconds, two seconds of its pause are two milliseconds.
    Options { time_scale: 1000.0, ..Options::default() }
}

#[tokio::test]
async fn a_failed_delivery_is_tried_again_and_told_in_the_webhook_info() {
    let telegram = LocalTelegram::start_with(fast()).await.unwrap();
    let (api, mut hook) = (Api::of(&telegram), Hook::start().await);
    api.ok("setWebhook", json!({ "url": hook.url, "max_connections": 3, "allowed_updates": ["message"] })).await;
    telegram.user(7, "Ada").send_text("one").unwrap();
    for status in [500, 503, 302] {
        hook.next().await.answer(status);
    }
    let last = hook.next().await;
    assert_eq!(last.text(), "one");
    let info = api.ok("getWebhookInfo", json!({})).await;
    assert_eq!(info["last_error_message"], "Wrong response from the webhook: 302 Found");
    assert!(info["last_error_date"].is_i64());
    assert_eq!((&info["url"], &info["pending_update_count"]), (&json!(hook.url), &json!(1)));
    assert_eq!((&info["max_connections"], &info["allowed_updates"]), (&json!(3), &json!(["message"])));
    last.answer(200);
    telegram.settled().await.unwrap();
    let attempts: Vec<_> = telegram.deliveries().iter().map(|delivery| (delivery.attempt, delivery.status)).collect();
    assert_eq!(attempts, [(1, Some(500)), (2, Some(503)), (3, Some(302)), (4, Some(200))]);
}

#[tokio::test]
async fn retry_after_is_obeyed() {
    let telegram = LocalTelegram::start_with(fast()).await.unwrap();
    let (api, mut hook) = (Api::of(&telegram), Hook::start().await);
    api.ok("setWebhook", json!({ "url": hook.url })).await;
    telegram.user(7, "Ada").send_text("one").unwrap();
    let refused = hook.next().await;
    let started = Instant::now();
    refused.answer_with((StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "200")]).into_response());
    hook.next().await.answer(200);
    // Without the header the second try comes at once.
    assert!(started.elapsed() >= Duration::from_millis(200), "{:?}", started.elapsed());
}

#[tokio::test]
async fn an_unreachable_webhook_keeps_its_updates_until_it_is_back() {
    let telegram = LocalTelegram::start_with(fast()).await.unwrap();
    let (api, mut hook) = (Api::of(&telegram), Hook::start().await);
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    api.ok("setWebhook", json!({ "url": format!("http://{closed}/") })).await;
    telegram.user(7, "Ada").send_text("one").unwrap();
    telegram.wait_until(|telegram| (!telegram.deliveries().is_empty()).then_some(())).await.unwrap();
    let info = api.ok("getWebhookInfo", json!({})).await;
    assert_eq!(info["last_error_message"], "Connection refused");
    api.ok("setWebhook", json!({ "url": hook.url })).await;
    let delivered = hook.next().await;
    assert_eq!(delivered.text(), "one");
    assert!(api.ok("getWebhookInfo", json!({})).await.get("last_error_message").is_none());
}

#[tokio::test]
async fn no_more_connections_than_the_bot_allows() {
    let telegram = LocalTelegram::start().await.unwrap();
    let (api, mut hook) = (Api::of(&telegram), Hook::start().await);
    api.ok("setWebhook", json!({ "url": hook.url, "max_connections": 2 })).await;
    for id in 1..=3 {
        telegram.user(id, "Ada").send_text(&id.to_string()).unwrap();
    }
    let (first, second) = (hook.next().await, hook.next().await);
    assert!(hook.is_quiet());
    first.answer(200);
    let third = hook.next().await;
    assert_eq!(third.text(), "3");
    second.answer(200);
    third.answer(200);
    telegram.settled().await.unwrap();
}

#[tokio::test]
async fn updates_are_held_reordered_doubled_and_delivered_again() {
    let telegram = LocalTelegram::start().await.unwrap();
    let (api, mut hook, user) = (Api::of(&telegram), Hook::start().await, telegram.user(7, "Ada"));
    api.ok("setWebhook", json!({ "url": hook.url })).await;
    telegram.hold();
    for text in ["one", "two"] {
        user.send_text(text).unwrap();
    }
    telegram.release(Order::Reversed);
    let mut ids = Vec::new();
    let mut texts = Vec::new();
    for _ in 0..2 {
        let delivered = hook.next().await;
        ids.push(delivered.update["update_id"].as_i64().unwrap());
        texts.push(delivered.text().to_owned());
        delivered.answer(200);
    }
    // They go out together, so they may arrive in either order; both come.
    texts.sort_unstable();
    assert_eq!(texts, ["one", "two"]);
    telegram.settled().await.unwrap();

    telegram.duplicate_next(1);
    user.send_text("three").unwrap();
    let (one, other) = (hook.next().await, hook.next().await);
    assert_eq!(one.update, other.update, "both are on their way at once");
    one.answer(200);
    other.answer(200);
    telegram.settled().await.unwrap();

    assert!(telegram.redeliver(ids[0]));
    let again = hook.next().await;
    assert_eq!(again.update["update_id"], ids[0]);
    again.answer(200);
    assert!(!telegram.redeliver(1));
}

#[tokio::test]
async fn a_webhook_is_checked_repeated_and_deleted_as_telegram_does() {
    let telegram = LocalTelegram::start_with(Options { allow_http: false, any_port: false, ..Options::default() });
    let telegram = telegram.await.unwrap();
    let api = Api::of(&telegram);
    let why = async |arguments: Value| api.refused("setWebhook", arguments).await.1;
    let bad = "Bad Request: bad webhook:";
    let url = "https://bot.example/hook";
    assert_eq!(
        why(json!({ "url": "http://bot.example/" })).await,
        format!("{bad} An HTTPS URL must be provided for webhook")
    );
    let port = format!("{bad} Webhook can be set up only on ports 80, 88, 443 or 8443");
    assert_eq!(why(json!({ "url": "https://bot.example:444/" })).await, port);
    assert_eq!(why(json!({ "url": "nonsense" })).await, format!("{bad} invalid webhook URL specified"));
    let secret = json!({ "url": url, "secret_token": "a b" });
    assert_eq!(why(secret).await, "Bad Request: secret token contains unallowed characters");
    let text = json!({ "url": url, "certificate": "-----BEGIN" });
    assert_eq!(why(text).await, format!("{bad} certificate must be uploaded as a file"));

    let set = async |arguments: Value| api.call("setWebhook", arguments).await.1["description"].clone();
    assert_eq!(set(json!({ "url": url })).await, "Webhook was set");
    assert_eq!(set(json!({ "url": url })).await, "Webhook is already set");
    assert_eq!(set(json!({ "url": url, "secret_token": "new" })).await, "Webhook was set");
    let delete = async || api.call("deleteWebhook", json!({})).await.1["description"].clone();
    assert_eq!(delete().await, "Webhook was deleted");
    assert_eq!(delete().await, "Webhook is already deleted");
    assert_eq!(api.ok("getWebhookInfo", json!({})).await["url"], "");

    telegram.user(7, "Ada").send_text("waits").unwrap();
    api.ok("deleteWebhook", json!({ "drop_pending_updates": true })).await;
    assert_eq!(telegram.pending(), 0);
}
