//! Changing what is there, from both sides, and taps on buttons.

use image::ImageFormat::{Jpeg, Png};
use local::telegram::LocalTelegram;
use serde_json::{Value, json};

use super::support::{Api, SOON, picture};

#[tokio::test]
async fn a_progress_text_becomes_a_photo_and_a_repetition_is_not_modified() {
    let telegram = LocalTelegram::start().await.unwrap();
    let (api, user) = (Api::of(&telegram), telegram.user(7, "Ada"));
    let question = user.send_photo(picture(320, 240, Jpeg), "predict").await.unwrap();
    let reply = json!({ "chat_id": 7, "text": "Looking…", "reply_parameters": { "message_id": question.id } });
    let sent = api.ok("sendMessage", reply).await;
    assert_eq!(sent["reply_to_message"]["message_id"], question.id);
    let id = sent["message_id"].as_i64().unwrap();
    assert_eq!(user.next_message(SOON).await.unwrap().reply_to, Some(question.id));

    let target = [("chat_id", "7"), ("message_id", &id.to_string())];
    let media = json!({ "type": "photo", "media": "attach://new", "caption": "a dog" }).to_string();
    let texts = [target[0], target[1], ("media", media.as_str())];
    let (status, body) = api.upload("editMessageMedia", &texts, &[("new", "p.jpg", picture(320, 240, Jpeg))]).await;
    assert_eq!(status, 200, "{body}");
    let edited = user.edited(id, 1).await.unwrap();
    assert_eq!((edited.text(), edited.photo().map(|size| size.width)), ("a dog", Some(320)));

    // The same file by its id is the same message.
    let media = json!({ "type": "photo", "media": edited.file().unwrap().id, "caption": "a dog" });
    let (status, why) =
        api.refused("editMessageMedia", json!({ "chat_id": 7, "message_id": id, "media": media })).await;
    assert_eq!(status, 400);
    assert!(why.starts_with("Bad Request: message is not modified"), "{why}");
}

#[tokio::test]
async fn texts_captions_and_keyboards_are_edited_and_messages_deleted() {
    let telegram = LocalTelegram::start().await.unwrap();
    let (api, user) = (Api::of(&telegram), telegram.user(7, "Ada"));
    let own = user.send_text("hi").unwrap();
    let sent = api.ok("sendMessage", json!({ "chat_id": 7, "text": "one" })).await;
    let id = sent["message_id"].as_i64().unwrap();
    let edited = api.ok("editMessageText", json!({ "chat_id": 7, "message_id": id, "text": "two" })).await;
    assert_eq!((&edited["text"], edited["edit_date"].is_i64()), (&json!("two"), true));
    let keyboard = json!({ "inline_keyboard": [[{ "text": "Blur", "callback_data": "b" }]] });
    let arguments = json!({ "chat_id": 7, "message_id": id, "reply_markup": keyboard });
    assert_eq!(api.ok("editMessageReplyMarkup", arguments.clone()).await["reply_markup"], keyboard);
    assert_eq!(user.message(id).unwrap().button("Blur").unwrap().callback_data.as_deref(), Some("b"));

    let refused = async |method: &str, arguments: Value| api.refused(method, arguments).await.1;
    let not_modified = refused("editMessageReplyMarkup", arguments).await;
    assert!(not_modified.contains("message is not modified"), "{not_modified}");
    let text = |id: i64| json!({ "chat_id": 7, "message_id": id, "text": "x" });
    assert_eq!(refused("editMessageText", text(99)).await, "Bad Request: message to edit not found");
    assert_eq!(refused("editMessageText", text(own.id)).await, "Bad Request: message can't be edited");
    let caption = json!({ "chat_id": 7, "message_id": id, "caption": "x" });
    assert_eq!(refused("editMessageCaption", caption).await, "Bad Request: there is no caption in the message to edit");

    api.ok("deleteMessage", json!({ "chat_id": 7, "message_id": id })).await;
    assert!(user.message(id).is_none());
    let gone = refused("deleteMessage", json!({ "chat_id": 7, "message_id": id })).await;
    assert_eq!(gone, "Bad Request: message to delete not found");
}

#[tokio::test]
async fn a_tap_reaches_the_bot_and_its_answer_the_user_once() {
    let telegram = LocalTelegram::start().await.unwrap();
    let (api, user) = (Api::of(&telegram), telegram.user(7, "Ada"));
    user.send_text("hi").unwrap();
    let keyboard = json!({ "inline_keyboard": [[{ "text": "Blur", "callback_data": "blur 16" }]] });
    api.ok("sendMessage", json!({ "chat_id": 7, "text": "choose", "reply_markup": keyboard })).await;
    let question = user.next_message(SOON).await.unwrap();
    let tap = user.tap(question.id, "Blur").unwrap();
    let update = api.ok("getUpdates", json!({ "offset": -1 })).await[0].clone();
    let query = &update["callback_query"];
    assert_eq!((&query["data"], &query["from"]["id"]), (&json!("blur 16"), &json!(7)));
    assert_eq!(query["message"]["text"], "choose");

    let answer = json!({ "callback_query_id": query["id"], "text": "Working", "show_alert": true });
    api.ok("answerCallbackQuery", answer.clone()).await;
    let shown = user.tap_answer(&tap).await.unwrap();
    assert_eq!((shown.text.as_str(), shown.alert), ("Working", true));
    let (_, twice) = api.refused("answerCallbackQuery", answer).await;
    assert!(twice.contains("query is too old"), "{twice}");
    assert!(user.tap(question.id, "No such button").is_err());
}

#[tokio::test]
async fn a_users_edit_comes_as_an_edited_message() {
    let telegram = LocalTelegram::start().await.unwrap();
    let (api, user) = (Api::of(&telegram), telegram.user(7, "Ada"));
    let photo = user.send_photo(picture(64, 64, Png), "blur").await.unwrap();
    user.edit_caption(photo.id, "rotate").unwrap();
    let updates = api.ok("getUpdates", json!({})).await;
    let edited = &updates[1]["edited_message"];
    assert_eq!((&edited["caption"], &edited["message_id"]), (&json!("rotate"), &json!(photo.id)));
    assert!(edited["edit_date"].is_i64());
    assert_eq!(edited["photo"], updates[0]["message"]["photo"]);
}

#[tokio::test]
async fn a_reply_carries_the_message_that_it_answers() {
    let telegram = LocalTelegram::start().await.unwrap();
    let (api, user) = (Api::of(&telegram), telegram.user(7, "Ada"));
    let photo = user.send_photo(picture(64, 64, Png), "").await.unwrap();
    user.reply(&photo, "blur 3").unwrap();
    let reply = api.ok("getUpdates", json!({})).await[1]["message"].clone();
    assert_eq!(reply["text"], "blur 3");
    assert_eq!(reply["reply_to_message"]["message_id"], photo.id);
    assert!(reply["reply_to_message"]["photo"][0]["file_id"].is_string());
}

#[tokio::test]
async fn albums_go_both_ways() {
    let telegram = LocalTelegram::start().await.unwrap();
    let (api, user) = (Api::of(&telegram), telegram.user(7, "Ada"));
    let parts = vec![picture(64, 64, Png).into(), picture(32, 64, Png).into(), picture(64, 32, Png).into()];
    user.send_album(parts, "concat").await.unwrap();
    let updates = api.ok("getUpdates", json!({})).await;
    let messages: Vec<&Value> = updates.as_array().unwrap().iter().map(|update| &update["message"]).collect();
    let captions: Vec<_> = messages.iter().map(|message| message["caption"].as_str()).collect();
    assert_eq!(captions, [Some("concat"), None, None]);
    assert!(messages[0]["media_group_id"].is_string());
    assert!(messages.iter().all(|message| message["media_group_id"] == messages[0]["media_group_id"]));

    let known = &messages[1]["photo"][0]["file_id"];
    let media = json!([
        { "type": "photo", "media": "attach://a", "caption": "both" }, { "type": "photo", "media": known },
    ]);
    let texts = [("chat_id", "7"), ("media", &media.to_string())];
    let (_, body) = api.upload("sendMediaGroup", &texts, &[("a", "a.png", picture(48, 48, Png))]).await;
    assert_eq!(body["result"].as_array().map(Vec::len), Some(2), "{body}");
    let (one, two) = (user.next_message(SOON).await.unwrap(), user.next_message(SOON).await.unwrap());
    assert_eq!((one.text(), two.text()), ("both", ""));
    assert!(one.album.is_some() && one.album == two.album);
}
