//! What Telegram refuses, in its own words.

use image::ImageFormat::Png;
use local::telegram::LocalTelegram;
use serde_json::{Value, json};

use super::support::{Api, SOON, picture};

#[tokio::test]
async fn texts_and_captions_have_a_longest_length() {
    let telegram = LocalTelegram::start().await.unwrap();
    let (api, user) = (Api::of(&telegram), telegram.user(7, "Ada"));
    user.send_text("hi").unwrap();
    let text = |text: &str| json!({ "chat_id": 7, "text": text });
    let why = async |arguments: Value| api.refused("sendMessage", arguments).await;
    api.ok("sendMessage", text(&"x".repeat(4096))).await;
    assert_eq!(why(text(&"x".repeat(4097))).await, (400, "Bad Request: message is too long".into()));
    assert_eq!(why(text("  ")).await, (400, "Bad Request: message text is empty".into()));
    assert_eq!(why(json!({ "text": "x" })).await, (400, "Bad Request: chat_id is empty".into()));
    assert_eq!(why(json!({ "chat_id": 8, "text": "x" })).await, (400, "Bad Request: chat not found".into()));
    let reply = json!({ "chat_id": 7, "text": "x", "reply_to_message_id": 99 });
    assert_eq!(why(reply).await, (400, "Bad Request: message to be replied not found".into()));
    let data = json!({ "inline_keyboard": [[{ "text": "x", "callback_data": "d".repeat(65) }]] });
    let keyboard = json!({ "chat_id": 7, "text": "x", "reply_markup": data });
    assert_eq!(why(keyboard).await, (400, "Bad Request: BUTTON_DATA_INVALID".into()));
    let photo = picture(8, 8, Png);
    let texts = [("chat_id", "7"), ("caption", &"x".repeat(1025))];
    let (_, body) = api.upload("sendPhoto", &texts, &[("photo", "p.png", photo)]).await;
    assert_eq!(body["description"], "Bad Request: message caption is too long");
}

#[tokio::test]
async fn photos_have_a_largest_size() {
    let telegram = LocalTelegram::start().await.unwrap();
    let (api, user) = (Api::of(&telegram), telegram.user(7, "Ada"));
    user.send_text("hi").unwrap();
    let send = async |bytes: Vec<u8>| {
        let (status, body) = api.upload("sendPhoto", &[("chat_id", "7")], &[("photo", "p.png", bytes)]).await;
        (status, body["description"].as_str().unwrap_or("accepted").to_owned())
    };
    let dimensions = (400, "Bad Request: PHOTO_INVALID_DIMENSIONS".to_owned());
    assert_eq!(send(picture(9990, 500, Png)).await, dimensions, "width and height are over 10000 in sum");
    assert_eq!(send(picture(210, 10, Png)).await, dimensions, "more than 20 times as wide as high");
    assert_eq!(send(picture(200, 10, Png)).await.0, 200);
    assert_eq!(send(b"no picture".to_vec()).await, (400, "Bad Request: IMAGE_PROCESS_FAILED".into()));
    let (status, why) = send(vec![0; 10 * 1024 * 1024 + 1]).await;
    assert_eq!(status, 400);
    assert!(why.contains("too big for a photo; the maximum size is 10485760 bytes"), "{why}");
    let nothing = api.refused("sendPhoto", json!({ "chat_id": 7 })).await;
    assert_eq!(nothing, (400, "Bad Request: there is no photo in the request".into()));
    let unknown = api.refused("sendPhoto", json!({ "chat_id": 7, "photo": "abc" })).await;
    assert_eq!(unknown, (400, "Bad Request: wrong file identifier/HTTP URL specified".into()));
}

#[tokio::test]
async fn documents_stay_as_they_are_and_large_ones_cannot_be_fetched() {
    let telegram = LocalTelegram::start().await.unwrap();
    let (api, user) = (Api::of(&telegram), telegram.user(7, "Ada"));
    let original = picture(600, 300, Png);
    user.send_document("a.png", original.clone(), "gray").await.unwrap();
    let message = api.ok("getUpdates", json!({})).await[0]["message"].clone();
    let document = &message["document"];
    assert_eq!((&document["file_name"], &document["mime_type"]), (&json!("a.png"), &json!("image/png")));
    assert_eq!(document["thumbnail"]["width"], 320);
    assert_eq!(api.fetch(&document["file_id"]).await, original);

    let (_, body) = api.upload("sendDocument", &[("chat_id", "7")], &[("document", "b.png", original.clone())]).await;
    assert_eq!(body["ok"], true, "{body}");
    let seen = user.next_message(SOON).await.unwrap();
    assert_eq!(user.download(&seen).await.unwrap(), original);
    let as_photo = api.refused("sendPhoto", json!({ "chat_id": 7, "photo": document["file_id"] })).await;
    assert_eq!(as_photo, (400, "Bad Request: can't use file of type Document as Photo".into()));

    let large = user.send_document("large.bin", vec![0; 20 * 1024 * 1024 + 1], "").await.unwrap();
    let refused = api.refused("getFile", json!({ "file_id": large.file().unwrap().id })).await;
    assert_eq!(refused, (400, "Bad Request: file is too big".into()));
    assert_eq!(api.refused("getFile", json!({ "file_id": "x" })).await, (400, "Bad Request: invalid file_id".into()));
}

#[tokio::test]
async fn strangers_are_turned_away() {
    let telegram = LocalTelegram::start().await.unwrap();
    let api = Api::of(&telegram);
    let status = async |path: &str| reqwest::get(format!("{}{path}", telegram.url())).await.unwrap().status().as_u16();
    assert_eq!(status("/bot999:abc/getMe").await, 401);
    assert_eq!(status("/bot123456:wrong/getMe").await, 401);
    assert_eq!(status("/botnonsense/getMe").await, 404);
    let (code, why) = api.refused("noSuchMethod", json!({})).await;
    assert_eq!((code, why.as_str()), (404, "Not Found: method not found"));
}

#[tokio::test]
async fn a_user_who_blocked_the_bot_and_a_group_that_moved_are_told_apart() {
    let telegram = LocalTelegram::start().await.unwrap();
    let (api, user) = (Api::of(&telegram), telegram.user(7, "Ada"));
    user.send_text("hi").unwrap();
    user.block().unwrap();
    let text = |chat: i64| json!({ "chat_id": chat, "text": "x" });
    let blocked = api.refused("sendMessage", text(7)).await;
    assert_eq!(blocked, (403, "Forbidden: bot was blocked by the user".into()));
    let update = api.ok("getUpdates", json!({ "offset": -1 })).await;
    assert_eq!(update[0]["my_chat_member"]["new_chat_member"]["status"], "kicked");
    user.unblock().unwrap();
    api.ok("sendMessage", text(7)).await;

    telegram.group(-5, "Friends");
    let member = user.in_group(-5);
    member.send_text("hi all").unwrap();
    api.ok("sendMessage", text(-5)).await;
    telegram.migrate(-5, -1_000_000_000_005).unwrap();
    let (status, body) = api.call("sendMessage", text(-5)).await;
    assert_eq!((status, &body["parameters"]["migrate_to_chat_id"]), (400, &json!(-1_000_000_000_005_i64)));
    let moved = api.ok("sendMessage", text(-1_000_000_000_005)).await;
    assert_eq!(moved["chat"]["type"], "supergroup");
}

#[tokio::test]
async fn commands_and_descriptions_are_kept_by_language() {
    let telegram = LocalTelegram::start().await.unwrap();
    let api = Api::of(&telegram);
    let commands = json!([{ "command": "help", "description": "What I can do" }]);
    api.ok("setMyCommands", json!({ "commands": commands })).await;
    api.ok("setMyCommands", json!({ "commands": [], "language_code": "he" })).await;
    assert_eq!(api.ok("getMyCommands", json!({})).await, commands);
    assert_eq!(api.ok("getMyCommands", json!({ "language_code": "he" })).await, json!([]));
    let wrong = json!({ "commands": [{ "command": "Help!", "description": "x" }] });
    assert_eq!(api.refused("setMyCommands", wrong).await, (400, "Bad Request: BOT_COMMAND_INVALID".into()));
    api.ok("setMyDescription", json!({ "description": "Filters photos" })).await;
    assert_eq!(api.ok("getMyDescription", json!({})).await, json!({ "description": "Filters photos" }));
}
