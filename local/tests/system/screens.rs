//! The pictures of the README: the chat page in English and Hebrew, as a browser shows it.

use super::{
    pictures::{plain, sample},
    setting::{SOON, Shape, System},
};
use image::{ImageFormat, imageops::FilterType};
use local::telegram::{
    Message, User,
    browser::{self, Browser},
};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes docs/; `make pictures` runs it, and needs Chromium"]
async fn the_chat_in_two_languages() {
    let chromium = browser::find().expect("Chromium, in PATH or named by CHROMIUM");
    let mut system = System::converged(Shape { queues: "", time_scale: 4.0 }).await;
    system.start(1, &[]).await;
    for (number, name, language, file) in [(1, "Ada", "en", "english"), (2, "דב", "he", "hebrew")] {
        let user = system.telegram.user(number, name).speaking(language);
        talk(&user, language).await;
        let url = format!("{}/_local/?users={name}:{number}", system.telegram.url());
        let mut page = Browser::open(&chromium, &url).await.unwrap();
        page.wait_for("document.querySelectorAll('.msg .photos img').length >= 4").await.unwrap();
        let loaded = "Promise.all([...document.querySelectorAll('.phone .photos img')].map((image) => image.decode())).then(() => true)";
        page.evaluate(loaded).await.unwrap();
        page.evaluate("document.querySelector('.log').scrollTo(0, 1e6)").await.unwrap();
        let phone = "JSON.stringify(document.querySelector('.phone').getBoundingClientRect())";
        let place: serde_json::Value =
            serde_json::from_str(page.evaluate(phone).await.unwrap().as_str().unwrap()).unwrap();
        let shot = image::load_from_memory(&page.screenshot().await.unwrap()).unwrap();
        page.close().await.unwrap();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place on a small page")]
        let at = |name: &str| place[name].as_f64().unwrap() as u32;
        let shot = shot.crop_imm(at("x"), at("y"), at("width"), at("height"));
        let path = format!("{}/../docs/chat-{file}.png", env!("CARGO_MANIFEST_DIR"));
        let shot = shot.resize(380, 900, FilterType::Lanczos3).to_rgb8();
        shot.save_with_format(&path, ImageFormat::Png).unwrap();
    }
    system.stop().await;
}

async fn talk(user: &User, language: &str) {
    user.send_photo(sample("chelsea"), "pixelate 16").await.unwrap();
    assert!(user.next_message(SOON).await.unwrap().photo().is_some());
    let words = if language == "he" { "predict" } else { "predict 0.4" };
    user.send_photo(sample("grace_hopper"), words).await.unwrap();
    let found = |all: &[Message]| all.last().is_some_and(|m| m.is_from_bot() && m.photo().is_some()).then_some(());
    user.wait_for("the photo with what was found", found).await.unwrap();
    user.send_photo(plain(64, 48, [200, 60, 60]), "rotat").await.unwrap();
    user.next_message(SOON).await.unwrap();
    user.next_message(SOON).await.unwrap();
}
