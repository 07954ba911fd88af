//! Groups: what the bot answers there, what it leaves to the people, and what a group takes along to its new id.

use super::setting::{World, jpeg, next, picture, plain};
use contract::Outcome;

const ORANGE: [u8; 3] = [230, 120, 20];

fn photo() -> Vec<u8> {
    jpeg(320, 240, ORANGE)
}

#[tokio::test(flavor = "multi_thread")]
async fn people_talk_to_each_other_and_the_bot_answers_what_is_meant_for_it() {
    let world = World::with_quiet(4).await;
    world.telegram.group(-77, "Friends");
    let jon = world.telegram.user(10, "Jon").in_group(-77);
    let kim = world.telegram.user(11, "Kim").in_group(-77);
    // What people say and show to each other; what they want of another bot.
    for text in ["how are you?", "hello", "help", "blur 5", "/help@another_bot", "/dice"] {
        jon.send_text(text).unwrap();
    }
    let shown = kim.send_photo(photo(), "").await.unwrap();
    kim.send_photo(photo(), "my holiday, at last").await.unwrap();
    kim.send_album(vec![photo().into(), photo().into()], "").await.unwrap();
    kim.send_album(vec![photo().into(), photo().into()], "rotat").await.unwrap();
    jon.reply(&shown, "how nice, it is so blurred").unwrap();
    world.telegram.settled().await.unwrap();
    world.empty(&world.work).await;
    assert_eq!((world.calls("sendMessage"), world.calls("sendPhoto"), world.calls("sendMediaGroup")), (0, 0, 0));

    // Its commands, filters that can be read, answers to what it said.
    jon.send_text("/help").unwrap();
    assert!(plain(next(&jon).await.text()).starts_with("I filter photos"));
    jon.send_photo(photo(), "rotate").await.unwrap();
    let rotated = next(&jon).await;
    assert_eq!(picture(&jon, &rotated).await.width(), 240);
    jon.reply(&shown, "resize 50%").unwrap();
    assert_eq!(picture(&jon, &next(&jon).await).await.width(), 160);
    jon.reply(&rotated, "thank you").unwrap();
    assert_eq!(plain(next(&jon).await.text()), "Your original message: thank you");
    kim.send_album(vec![photo().into(), photo().into()], "concat").await.unwrap();
    assert_eq!(picture(&jon, &next(&jon).await).await.width(), 640);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_and_undo_go_along_when_a_group_gets_another_id() {
    let world = World::new().await;
    world.telegram.group(-77, "Friends");
    let old = world.telegram.user(10, "Jon").in_group(-77);
    old.send_photo(photo(), "rotate").await.unwrap();
    assert_eq!(picture(&old, &next(&old).await).await.width(), 240);
    old.send_text("/settings").unwrap();
    let shown = next(&old).await;
    old.tap(shown.id, "עברית").unwrap();
    old.edited(shown.id, 1).await.unwrap();
    world.telegram.migrate(-77, -1_000_077).unwrap();
    world.telegram.settled().await.unwrap();

    let new = world.telegram.user(10, "Jon").in_group(-1_000_077);
    // Telegram's own message about it.
    new.skip_to_end();
    new.send_text("/undo").unwrap();
    let original = next(&new).await;
    assert_eq!((picture(&new, &original).await.width(), original.text()), (320, "התמונה הקודמת."));
    let items = world.dynamodb.scan().table_name("chats").send().await.unwrap();
    assert!(items.items().iter().all(|item| item["pk"].as_s().unwrap() != "chat#-77"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_finds_a_group_that_got_another_id_meanwhile() {
    let world = World::new().await;
    world.telegram.group(-77, "Friends");
    let old = world.telegram.user(10, "Jon").in_group(-77);
    old.send_photo(photo(), "predict").await.unwrap();
    let job = world.job().await;
    world.telegram.migrate(-77, -1_000_077).unwrap();
    world.telegram.settled().await.unwrap();
    let new = world.telegram.user(10, "Jon").in_group(-1_000_077);
    // What is said meanwhile has the numbers that the photo and its progress message had in the old group.
    new.skip_to_end();
    for text in ["one", "two", "three", "four"] {
        new.send_text(text).unwrap();
    }
    world.detect(&job).await;
    world.answer(&job, Outcome::Done).await;
    let found = next(&new).await;
    assert!(found.photo().is_some() && plain(found.text()).contains("Dog: 2"), "{found:?}");
    assert_eq!(found.reply_to, None);
}
