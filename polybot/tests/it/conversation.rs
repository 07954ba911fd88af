//! What a user writes, and what comes back: two bot processes, deliveries to either in turn.

use super::setting::{SOON, World, alike, colour_at, encoded, jpeg, next, picture, plain};
use image::ImageFormat;
use local::telegram::{Content, User};
use polybot::store::{Store, chat::Kept};
use teloxide::types::ChatId;

const ORANGE: [u8; 3] = [230, 120, 20];

async fn says(user: &User) -> String {
    plain(next(user).await.text())
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_photos_files_buttons_and_commands() {
    let world = World::new().await;
    // Each is another user, so that they do not wait for each other.
    tokio::join!(
        texts(world.telegram.user(1, "Ada")),
        replies(world.telegram.user(2, "Bert")),
        filters(world.telegram.user(3, "Cem")),
        errors(world.telegram.user(4, "Dina")),
        buttons(world.telegram.user(5, "Emil")),
        files(world.telegram.user(6, "Finn")),
        edits(world.telegram.user(7, "Gil")),
        settings(world.telegram.user(8, "Hana").speaking("he")),
        undo(world.telegram.user(9, "Ida")),
        leaves(&world),
    );
    assert!(world.calls("setMyCommands") >= 2);
    assert_eq!(world.counted("polybot_updates_given_up_total").await, 0);
}

async fn texts(user: User) {
    for text in ["/start", "/help", "help", "Hello"] {
        user.send_text(text).unwrap();
        assert!(says(&user).await.starts_with("I filter photos"), "{text}");
    }
    user.send_text("please restart").unwrap();
    assert_eq!(says(&user).await, "Your original message: please restart");
    user.send_text("blur 5").unwrap();
    assert!(says(&user).await.contains("needs a photo"));
}

async fn replies(user: User) {
    user.send_text("one").unwrap();
    let echo = next(&user).await;
    for text in ["two", "Please don't quote me", "four"] {
        let mine = user.reply(&echo, text).unwrap();
        let answer = next(&user).await;
        assert_eq!(plain(answer.text()), format!("Your original message: {text}"));
        assert_eq!(answer.reply_to, Some(mine.id));
    }
}

async fn filters(user: User) {
    for (caption, width, height) in [
        ("blur", 320, 240),
        ("Blur 10", 320, 240),
        ("contour", 320, 240),
        ("segment", 320, 240),
        ("rotate", 240, 320),
        ("rotate anti-clockwise 90", 240, 320),
        ("salt and pepper 0.2", 320, 240),
        ("resize 50%", 160, 120),
        ("blur 5, rotate 90, sepia", 240, 320),
    ] {
        let sent = user.send_photo(jpeg(320, 240, ORANGE), caption).await.unwrap();
        let answer = next(&user).await;
        let found = picture(&user, &answer).await;
        assert_eq!((found.width(), found.height(), answer.reply_to), (width, height, Some(sent.id)), "{caption}");
    }
    // The corner that is dark goes from the upper left to the upper right.
    user.send_photo(jpeg(320, 240, ORANGE), "mirror").await.unwrap();
    let found = picture(&user, &next(&user).await).await;
    assert!(alike(colour_at(&found, 300, 20), [0, 0, 0]) && alike(colour_at(&found, 20, 20), ORANGE));
    // A picture without colours.
    let gray = image::load_from_memory(&jpeg(320, 240, ORANGE)).unwrap().to_luma8();
    let mut bytes = std::io::Cursor::new(Vec::new());
    gray.write_to(&mut bytes, ImageFormat::Jpeg).unwrap();
    user.send_photo(bytes.into_inner(), "blur 3").await.unwrap();
    assert_eq!(picture(&user, &next(&user).await).await.width(), 320);
}

async fn errors(user: User) {
    for (caption, says_so) in [
        ("blurr", "Did you mean “blur”?"),
        ("make it nice", "Please refer to the 'help' for assistance."),
        ("blur 0", "blur: N is “0”, but may be: 1–1000. For example: blur 10"),
        ("rotate 45", "90, 180, 270"),
        ("concat", "You need to upload more than one image in order to concat."),
    ] {
        user.send_photo(jpeg(32, 24, ORANGE), caption).await.unwrap();
        let text = says(&user).await;
        assert!(text.starts_with("An error has occurred:\n") && text.contains(says_so), "{caption}: {text}");
    }
    user.send_sticker("🦆").unwrap();
    assert!(says(&user).await.contains("I understand text, photos"));
    user.send_voice(3).unwrap();
    assert!(says(&user).await.contains("I understand text, photos"));
    user.send_document("notes.txt", b"nothing to see".to_vec(), "blur").await.unwrap();
    assert!(says(&user).await.contains("I understand text, photos"));
    user.send_document("broken.png", b"\x89PNG\r\n\x1a\nbroken".to_vec(), "blur").await.unwrap();
    assert!(says(&user).await.contains("damaged"));
    user.send_document("iphone.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic".to_vec(), "blur").await.unwrap();
    assert!(says(&user).await.contains("HEIC"));
    user.send_document("large.jpg", vec![0xff; 20_000_001], "blur").await.unwrap();
    assert!(says(&user).await.contains("larger than 20 MB"));
}

async fn buttons(user: User) {
    let sent = user.send_photo(jpeg(320, 240, ORANGE), "").await.unwrap();
    let asked = next(&user).await;
    assert_eq!((plain(asked.text()).as_str(), asked.reply_to), ("What shall I do with it?", Some(sent.id)));
    let tap = user.tap(asked.id, "rotate").unwrap();
    user.tap_answer(&tap).await.unwrap();
    let answer = next(&user).await;
    assert_eq!((picture(&user, &answer).await.width(), answer.reply_to), (240, Some(sent.id)));
    // The same button again is another wish.
    user.tap(asked.id, "gray").unwrap();
    assert_eq!(picture(&user, &next(&user).await).await.width(), 320);
}

async fn files(user: User) {
    for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP] {
        let ending = format.extensions_str()[0];
        let bytes = encoded(500, 400, ORANGE, format);
        user.send_document(&format!("holiday.{ending}"), bytes, "rotate").await.unwrap();
        let answer = next(&user).await;
        let Content::Document { name, .. } = &answer.content else { panic!("{answer:?}") };
        assert_eq!(name, &format!("holiday-filtered.{ending}"));
        let bytes = user.download(&answer).await.unwrap();
        assert_eq!(image::guess_format(&bytes).unwrap(), format);
        assert_eq!(image::load_from_memory(&bytes).unwrap().width(), 400);
    }
    // A photo whose result is longer than a photo may be.
    user.send_photo(jpeg(390, 20, ORANGE), "resize 6%").await.unwrap();
    let answer = next(&user).await;
    assert!(matches!(answer.content, Content::Document { .. }) && answer.text().contains("too long and thin"));
}

async fn edits(user: User) {
    let sent = user.send_photo(jpeg(320, 240, ORANGE), "rotat").await.unwrap();
    assert!(says(&user).await.contains("Did you mean “rotate”?"));
    user.edit_caption(sent.id, "rotate").unwrap();
    assert_eq!(picture(&user, &next(&user).await).await.width(), 240);
    // The same caption once more is no other wish, nor is the first one; the text after it shows that nothing came between.
    user.edit_caption(sent.id, "rotate").unwrap();
    let sent = user.send_photo(jpeg(320, 240, ORANGE), "gray").await.unwrap();
    assert_eq!(picture(&user, &next(&user).await).await.width(), 320);
    user.edit_caption(sent.id, "gray").unwrap();
    user.send_text("done").unwrap();
    assert_eq!(says(&user).await, "Your original message: done");
}

async fn settings(user: User) {
    user.send_text("/settings").unwrap();
    let shown = next(&user).await;
    assert!(plain(shown.text()).contains("שפה: עברית"), "{}", shown.text());
    user.tap(shown.id, "English").unwrap();
    let shown = user.edited(shown.id, 1).await.unwrap();
    assert!(plain(shown.text()).starts_with("Language: English"));
    user.tap(shown.id, "50 %").unwrap();
    let shown = user.edited(shown.id, 2).await.unwrap();
    assert!(plain(shown.text()).contains("Confidence: 50 %"));
    user.send_text("/help").unwrap();
    assert!(says(&user).await.starts_with("I filter photos"));
    user.send_text("/cancel").unwrap();
    assert_eq!(says(&user).await, "No album is waiting.");
}

async fn undo(user: User) {
    user.send_text("/undo").unwrap();
    assert!(says(&user).await.contains("nothing to go back to"));
    user.send_photo(jpeg(320, 240, ORANGE), "rotate").await.unwrap();
    let rotated = next(&user).await;
    // A filter said in reply to a photo applies to that photo.
    user.reply(&rotated, "resize 50%").unwrap();
    assert_eq!(picture(&user, &next(&user).await).await.width(), 120);
    // What begins like one and cannot be followed is explained; talk is not.
    for (text, says_so) in [
        ("predict, blur 5", "predict has to be the last step"),
        ("concat, concat", "only once"),
        ("gray, gray, gray, gray, gray, gray, gray, gray, gray", "At most 8 steps"),
        ("so, so, so, so, so, so, so, so, so", "Your original message"),
    ] {
        user.reply(&rotated, text).unwrap();
        let said = says(&user).await;
        assert!(said.contains(says_so), "{text}: {said}");
    }
    user.send_text("/undo").unwrap();
    assert_eq!(picture(&user, &next(&user).await).await.width(), 240);
    user.send_text("/undo").unwrap();
    let original = picture(&user, &next(&user).await).await;
    assert_eq!(original.width(), 320);
    user.send_text("/undo").unwrap();
    assert!(says(&user).await.contains("nothing to go back to"));
}

async fn leaves(world: &World) {
    // A user who blocks the bot: no error, and nothing is tried again.
    let leaver = world.telegram.user(11, "Kim");
    leaver.send_text("hello").unwrap();
    next(&leaver).await;
    world.telegram.hold();
    leaver.send_text("bye").unwrap();
    leaver.block().unwrap();
    world.telegram.release(local::telegram::Order::AsQueued);
    world.telegram.settled().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn undo_finds_what_instances_sent_at_the_same_time() {
    let world = World::without_bots().await;
    let store = || Store::new(world.dynamodb.clone(), "chats".into(), SOON);
    let files: Vec<Kept> = (0..8).map(|i| Kept::Photo(format!("photo-{i}"))).collect();
    let pushes = files.iter().map(|file| async { store().push_undo(ChatId(1), std::slice::from_ref(file)).await });
    assert!(futures::future::join_all(pushes).await.iter().all(Result::is_ok));
    let stack = store().undo_stack(ChatId(1)).await.unwrap();
    assert!(files.iter().all(|file| stack.contains(file)), "{stack:?}");
}
