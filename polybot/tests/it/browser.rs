//! Two bots, and a user who sees them in a browser.

use super::setting::{World, jpeg};
use local::telegram::browser::{self, Browser};
use std::path::{Path, PathBuf};

const BOX: &str = ".phone textarea";
const INPUT: &str = ".phone input[type=file]";

fn photo(folder: &Path, name: &str, width: u32) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, jpeg(width, 240, [230, 120, 20])).unwrap();
    path
}

async fn send(page: &mut Browser, files: &[PathBuf], caption: &str) {
    page.focus(BOX).await.unwrap();
    page.attach(INPUT, files).await.unwrap();
    page.wait_for(&format!("document.querySelectorAll('.thumb').length === {}", files.len())).await.unwrap();
    page.write(caption).await.unwrap();
    page.press_enter().await.unwrap();
}

/// Width and height of the bot's picture of that number, once it is seen; all others were seen before.
async fn shown(page: &mut Browser, number: usize) -> String {
    let all = "[...document.querySelectorAll('.msg:not(.mine) .photos img')]";
    page.wait_for(&format!("{all}.length === {number}")).await.unwrap();
    let size =
        format!("{all}.at(-1).decode().then(() => [{all}.at(-1).naturalWidth, {all}.at(-1).naturalHeight].join())");
    page.evaluate(&size).await.unwrap().as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_photo_comes_back_filtered_an_album_as_one_picture_and_a_tap_is_a_wish() {
    let (world, folder) = (World::new().await, tempfile::tempdir().unwrap());
    let Some(mut page) = browser::chat(&world.telegram, "Ada:7").await.unwrap() else { return };
    let (one, other) = (photo(folder.path(), "one.jpg", 320), photo(folder.path(), "other.jpg", 300));

    send(&mut page, std::slice::from_ref(&one), "rotate").await;
    assert_eq!(shown(&mut page, 1).await, "240,320");

    send(&mut page, &[one.clone(), other], "concat").await;
    assert_eq!(shown(&mut page, 2).await, "620,240");

    // Without a caption the bot asks, and a tap answers.
    send(&mut page, &[one], "").await;
    page.wait_for("[...document.querySelectorAll('.buttons button')].some((b) => b.textContent === 'rotate')")
        .await
        .unwrap();
    page.evaluate("[...document.querySelectorAll('.buttons button')].find((b) => b.textContent === 'rotate').click()")
        .await
        .unwrap();
    assert_eq!(shown(&mut page, 3).await, "240,320");
    page.close().await.unwrap();
}
