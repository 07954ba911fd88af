//! What a bot calls, and what the user then sees.

use image::ImageFormat::{Jpeg, Png};
use local::telegram::LocalTelegram;
use serde_json::json;

use super::support::{Api, SOON, get, picture};

#[tokio::test]
async fn get_me_and_calls_in_every_form() {
    let telegram = LocalTelegram::start().await.unwrap();
    let (api, user) = (Api::of(&telegram), telegram.user(7, "Ada"));
    user.send_text("hi").unwrap();
    assert_eq!(api.ok("GetMe", json!({})).await["is_bot"], true);

    api.ok("sendMessage", json!({ "chat_id": 7, "text": "as JSON" })).await;
    get(&format!("{}/SENDMESSAGE", api.base), &[("chat_id", "7"), ("text", "as query")].into()).await;
    api.upload("sendMessage", &[("chat_id", "7"), ("text", "as form")], &[]).await;
    for text in ["as JSON", "as query", "as form"] {
        assert_eq!(user.next_message(SOON).await.unwrap().text(), text);
    }
    let methods: Vec<_> = telegram.calls().into_iter().map(|call| (call.method, call.status)).collect();
    let send = || ("sendMessage".to_owned(), Some(200));
    assert_eq!(methods, [("getMe".to_owned(), Some(200)), send(), send(), send()]);
}

#[tokio::test]
async fn a_photo_comes_in_several_sizes_and_goes_back() {
    let telegram = LocalTelegram::start().await.unwrap();
    let (api, user) = (Api::of(&telegram), telegram.user(7, "Ada"));
    user.send_photo(picture(1600, 1200, Png), "blur 5").await.unwrap();
    let update = api.ok("getUpdates", json!({})).await;
    let message = &update[0]["message"];
    assert_eq!(message["caption"], "blur 5");
    let sizes: Vec<_> =
        message["photo"].as_array().unwrap().iter().map(|size| size["width"].as_u64().unwrap()).collect();
    assert_eq!(sizes, [90, 320, 800, 1280]);

    let largest = &message["photo"][3];
    let bytes = api.fetch(&largest["file_id"]).await;
    assert_eq!(bytes.len() as u64, largest["file_size"].as_u64().unwrap());
    assert_eq!(image::guess_format(&bytes).unwrap(), Jpeg);
    let photo = image::load_from_memory(&bytes).unwrap();
    assert_eq!((photo.width(), photo.height()), (1280, 960));

    let (status, body) = api
        .upload("sendPhoto", &[("chat_id", "7"), ("caption", "done")], &[("photo", "p.png", picture(64, 48, Png))])
        .await;
    assert_eq!(status, 200, "{body}");
    let seen = user.next_message(SOON).await.unwrap();
    assert_eq!((seen.text(), seen.photo().unwrap().width), ("done", 64));
    let pixels = image::load_from_memory(&user.download(&seen).await.unwrap()).unwrap();
    assert_eq!((pixels.width(), pixels.height()), (64, 48));

    // By id: nothing is uploaded again.
    api.ok("sendPhoto", json!({ "chat_id": 7, "photo": largest["file_id"] })).await;
    assert_eq!(user.next_message(SOON).await.unwrap().photo().unwrap().width, 1280);
}
