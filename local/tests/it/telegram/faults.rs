//! Faults that a test orders.

use std::time::Duration;

use image::ImageFormat::Png;
use local::telegram::{Fault, FaultKind, LocalTelegram};
use serde_json::json;

use super::support::{Api, SOON, picture};

#[tokio::test]
async fn refusals_do_not_act_and_are_counted_down() {
    let telegram = LocalTelegram::start().await.unwrap();
    let (api, user) = (Api::of(&telegram), telegram.user(7, "Ada"));
    user.send_text("hi").unwrap();
    telegram.fault(Fault::next("sendMessage", FaultKind::TooManyRequests { retry_after: 3 }));
    telegram.fault(Fault::next("sendMessage", FaultKind::Status { code: 500 }));
    let send = || api.call("sendMessage", json!({ "chat_id": 7, "text": "x" }));
    let (status, body) = send().await;
    let expected = json!({
        "ok": false, "error_code": 429, "description": "Too Many Requests: retry after 3", "parameters": { "retry_after": 3 },
    });
    assert_eq!((status, body), (429, expected));
    assert_eq!(send().await.0, 500);
    assert_eq!(send().await.0, 200);
    assert_eq!(user.messages().iter().filter(|message| message.is_from_bot()).count(), 1);
    let statuses: Vec<_> = telegram.calls().iter().map(|call| call.status).collect();
    assert_eq!(statuses, [Some(429), Some(500), Some(200)]);
}

#[tokio::test]
async fn a_connection_is_cut_before_or_after_the_call_acts() {
    let telegram = LocalTelegram::start().await.unwrap();
    let (api, user) = (Api::of(&telegram), telegram.user(7, "Ada"));
    user.send_text("hi").unwrap();
    let send = |text: &str| api.try_call("sendMessage", json!({ "chat_id": 7, "text": text }));
    for (kind, text) in [(FaultKind::DropBefore, "lost"), (FaultKind::DropAfter, "acted")] {
        telegram.fault(Fault::next("sendMessage", kind));
        let error = send(text).await.unwrap_err();
        assert!(error.is_request(), "no answer at all came: {error:?}");
    }
    assert_eq!(user.next_message(SOON).await.unwrap().text(), "acted");
    send("after").await.unwrap();
    assert_eq!(user.next_message(SOON).await.unwrap().text(), "after");
}

#[tokio::test]
async fn a_slow_call_acts_even_if_the_client_goes() {
    let telegram = LocalTelegram::start().await.unwrap();
    let (api, user) = (Api::of(&telegram), telegram.user(7, "Ada"));
    user.send_text("hi").unwrap();
    telegram.fault(Fault::next("sendMessage", FaultKind::Slow { milliseconds: 60_000 }));
    let call = api.call("sendMessage", json!({ "chat_id": 7, "text": "slow" }));
    let seen = tokio::select! {
        _ = call => panic!("the answer is a minute late"),
        seen = user.next_message(SOON) => seen.unwrap(),
    };
    assert_eq!(seen.text(), "slow");
}

#[tokio::test]
async fn a_call_that_hangs_is_seen_until_its_caller_goes() {
    let telegram = LocalTelegram::start().await.unwrap();
    let (api, user) = (Api::of(&telegram), telegram.user(7, "Ada"));
    user.send_text("hi").unwrap();
    telegram.fault(Fault::next("sendMessage", FaultKind::Hang));
    tokio::select! {
        _ = api.call("sendMessage", json!({ "chat_id": 7, "text": "acted" })) => panic!("there is no answer"),
        hangs = telegram.hanging("sendMessage") => hangs.unwrap(),
    }
    assert_eq!(user.next_message(SOON).await.unwrap().text(), "acted");
    // The caller above has gone: another that hangs is a new one.
    let photo = user.send_photo(picture(320, 240, Png), "").await.unwrap();
    let file = api.ok("getFile", json!({ "file_id": photo.file().unwrap().id })).await;
    let url = format!("{}/{}", api.files, file["file_path"].as_str().unwrap());
    telegram.fault(Fault::next("file", FaultKind::Hang));
    tokio::select! {
        _ = async { reqwest::get(&url).await.unwrap().bytes().await } => panic!("half of it is missing"),
        hangs = telegram.hanging("file") => hangs.unwrap(),
    }
}

#[tokio::test]
async fn a_download_fails_or_breaks_off() {
    let telegram = LocalTelegram::start().await.unwrap();
    let (api, user) = (Api::of(&telegram), telegram.user(7, "Ada"));
    let photo = user.send_photo(picture(320, 240, Png), "").await.unwrap();
    let file = api.ok("getFile", json!({ "file_id": photo.file().unwrap().id })).await;
    let url = format!("{}/{}", api.files, file["file_path"].as_str().unwrap());
    telegram.fault(Fault::next("file", FaultKind::Status { code: 502 }));
    telegram.fault(Fault::next("file", FaultKind::DropAfter));
    assert_eq!(reqwest::get(&url).await.unwrap().status(), 502);
    assert!(reqwest::get(&url).await.unwrap().bytes().await.is_err(), "half a file is no file");
    assert!(!reqwest::get(&url).await.unwrap().bytes().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_dropped_stand_in_is_gone_even_on_an_open_connection() {
    let telegram = LocalTelegram::start().await.unwrap();
    let api = Api::of(&telegram);
    api.ok("getMe", json!({})).await;
    drop(telegram);
    assert!(api.try_call("getMe", json!({})).await.is_err());
}

#[tokio::test]
async fn a_wait_that_fails_tells_what_the_chat_shows() {
    let telegram = LocalTelegram::start().await.unwrap();
    let user = telegram.user(7, "Ada");
    user.send_text("anybody there?").unwrap();
    let error = user.next_message(Duration::from_millis(20)).await.unwrap_err();
    assert!(error.to_string().contains("1 user anybody there?"), "{error}");
}
