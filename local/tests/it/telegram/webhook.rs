//! Deliveries to a webhook.

use local::telegram::LocalTelegram;
use serde_json::json;

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
