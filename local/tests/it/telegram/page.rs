//! The chat page in a real browser, without a bot.

use std::path::{Path, PathBuf};

use image::ImageFormat::Png;
use local::telegram::LocalTelegram;
use local::telegram::browser;
use serde_json::json;

use super::support::{Api, picture};

const BOX: &str = ".phone textarea";
const INPUT: &str = ".phone input[type=file]";

fn pictures(folder: &Path, count: u32) -> Vec<PathBuf> {
    let file = |number: u32| {
        let path = folder.join(format!("{number}.png"));
        std::fs::write(&path, picture(120 + number, 90, Png)).unwrap();
        path
    };
    (0..count).map(file).collect()
}

#[tokio::test]
async fn a_user_types_sends_a_photo_and_sees_the_answer_change_in_place() {
    let telegram = LocalTelegram::start().await.unwrap();
    let Some(mut page) = browser::chat(&telegram, "Ada:7,Bob:8").await.unwrap() else { return };
    let (api, folder) = (Api::of(&telegram), tempfile::tempdir().unwrap());
    page.focus(BOX).await.unwrap();
    page.write("hello").await.unwrap();
    page.press_enter().await.unwrap();
    page.wait_for("document.querySelector('.msg.mine .text')?.textContent.startsWith('hello')").await.unwrap();

    page.attach(INPUT, &pictures(folder.path(), 1)).await.unwrap();
    page.wait_for("document.querySelector('.thumb img')").await.unwrap();
    page.write("blur 5").await.unwrap();
    page.press_enter().await.unwrap();
    page.wait_for("document.querySelector('.msg.mine .photos.one img')").await.unwrap();
    let updates = api.ok("getUpdates", json!({})).await;
    assert_eq!(updates[0]["message"]["text"], "hello");
    assert_eq!(updates[1]["message"]["caption"], "blur 5");

    let sent = api.ok("sendMessage", json!({ "chat_id": 7, "text": "Working" })).await;
    page.wait_for("document.querySelector('.msg:not(.mine) .text')?.textContent.startsWith('Working')").await.unwrap();
    let photo = updates[1]["message"]["photo"].as_array().unwrap().last().unwrap()["file_id"].clone();
    let media = json!({ "type": "photo", "media": photo, "caption": "Done" });
    let edit = json!({ "chat_id": 7, "message_id": sent["message_id"], "media": media });
    api.ok("editMessageMedia", edit).await;
    let shown = "document.querySelector('.msg:not(.mine) .photos img')";
    page.wait_for(shown).await.unwrap();
    let loaded = page.evaluate(&format!("{shown}.decode().then(() => {shown}.naturalWidth)")).await.unwrap();
    assert_eq!(loaded, 120, "the picture itself is there");
    assert_eq!(page.evaluate("document.querySelectorAll('.msg').length").await.unwrap(), 3, "edited, not added");
    page.close().await.unwrap();
}

#[tokio::test]
async fn an_album_is_one_bubble_and_a_tap_waits_for_its_answer() {
    let telegram = LocalTelegram::start().await.unwrap();
    let Some(mut page) = browser::chat(&telegram, "Ada:7,Bob:8").await.unwrap() else { return };
    let (api, folder) = (Api::of(&telegram), tempfile::tempdir().unwrap());
    page.focus(BOX).await.unwrap();
    page.attach(INPUT, &pictures(folder.path(), 3)).await.unwrap();
    page.wait_for("document.querySelectorAll('.thumb').length === 3").await.unwrap();
    page.write("concat").await.unwrap();
    page.press_enter().await.unwrap();
    page.wait_for("document.querySelectorAll('.msg .photos.many img').length === 3").await.unwrap();
    assert_eq!(page.evaluate("document.querySelectorAll('.msg').length").await.unwrap(), 1);
    assert_eq!(api.ok("getUpdates", json!({})).await.as_array().unwrap().len(), 3);

    let keyboard = json!({ "inline_keyboard": [[{ "text": "Blur", "callback_data": "b" }]] });
    api.ok("sendMessage", json!({ "chat_id": 7, "text": "choose", "reply_markup": keyboard })).await;
    page.wait_for("document.querySelector('.buttons button')").await.unwrap();
    page.click(".buttons button").await.unwrap();
    page.wait_for("document.querySelector('.buttons [aria-busy=true]')").await.unwrap();
    telegram.wait_until(|telegram| (telegram.pending() == 4).then_some(())).await.unwrap();
    let query = api.ok("getUpdates", json!({ "offset": -1 })).await[0]["callback_query"]["id"].clone();
    api.ok("answerCallbackQuery", json!({ "callback_query_id": query, "text": "On it" })).await;
    page.wait_for("!document.querySelector('[aria-busy=true]')").await.unwrap();
    let toast = page.wait_for("document.querySelector('.toast:not([hidden])')").await.unwrap();
    assert_eq!(toast, "On it");
    assert_eq!(
        page.evaluate("document.querySelectorAll('.phone')[1].querySelectorAll('.msg').length").await.unwrap(),
        0
    );
    page.close().await.unwrap();
}
