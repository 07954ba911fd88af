//! What a user sees when something fails for good, and that nobody else waits for it.

use super::setting::{World, jpeg, next, picture, plain};
use contract::Outcome;
use local::telegram::{Fault, FaultKind};
use serde_json::json;

const ORANGE: [u8; 3] = [230, 120, 20];
const SORRY: &str = "An error has occurred:\nSomething went wrong on our side.\nPlease try again.";

fn photo() -> Vec<u8> {
    jpeg(320, 240, ORANGE)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_cannot_be_answered_is_told_once_and_blocks_its_chat_for_a_while_only() {
    let mut world = World::without_bots().await;
    world.flags.extend(["--persistence", "1000"].map(str::to_owned));
    world.start_bots(2).await;
    world.set_webhook().await;
    let user = world.telegram.user(1, "Ada");
    // Telegram will never take this file.
    world.telegram.fault(Fault::next("sendPhoto", FaultKind::Status { code: 413 }));
    let sent = user.send_photo(photo(), "gray").await.unwrap();
    let told = next(&user).await;
    assert_eq!((plain(told.text()).as_str(), told.reply_to), (SORRY, Some(sent.id)));
    // It may take it later, but later is too late for what comes after it.
    world.telegram.fault(Fault::next("sendPhoto", FaultKind::TooManyRequests { retry_after: 6 }).times(100));
    user.send_photo(photo(), "gray").await.unwrap();
    user.send_text("and now?").unwrap();
    assert_eq!(plain(next(&user).await.text()), SORRY);
    assert_eq!(plain(next(&user).await.text()), "Your original message: and now?");
    assert_eq!(world.counted("polybot_updates_given_up_total").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_sent_is_not_sent_again_because_undo_fails() {
    let world = World::new().await;
    let user = world.telegram.user(1, "Ada");
    world.telegram.fault(Fault::next("sendPhoto", FaultKind::Slow { milliseconds: 3000 }));
    user.send_photo(photo(), "gray").await.unwrap();
    // The photo is there; the bot does not know yet.
    assert!(next(&user).await.photo().is_some());
    world.aws.switch("refuse", json!({ "dynamodb:GetItem": "AccessDeniedException" })).await.unwrap();
    world.telegram.settled().await.unwrap();
    world.aws.switch("refuse", json!({})).await.unwrap();
    user.send_text("and now?").unwrap();
    assert_eq!(plain(next(&user).await.text()), "Your original message: and now?");
    assert_eq!(world.calls("sendPhoto"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_the_detector_that_cannot_be_shown_are_told() {
    let world = World::new().await;
    let user = world.telegram.user(1, "Ada");
    let asked = async || {
        user.send_photo(photo(), "predict").await.unwrap();
        (next(&user).await.id, world.job().await)
    };
    // No record; a record whose picture is gone; a picture that is none.
    for case in 0..3 {
        let (progress, job) = asked().await;
        let key = format!("predicted/1/{}.jpg", job.prediction_id);
        if case > 0 {
            world.detect(&job).await;
        }
        let objects = &world.s3;
        if case == 1 {
            objects.delete_object().bucket("pictures").key(key).send().await.unwrap();
        } else if case == 2 {
            objects.put_object().bucket("pictures").key(key).body(b"?".to_vec().into()).send().await.unwrap();
        }
        world.answer(&job, Outcome::Done).await;
        let told = user.edited(progress, 1).await.unwrap();
        assert!(plain(told.text()).contains("The detector failed on this picture."), "{case}: {}", told.text());
    }
    // Nobody waits for more, and nothing is left over.
    world.empty(&world.results).await;

    // Telegram does not take the picture, however often: that is told, once, and takes no answer away from anybody.
    let (progress, job) = asked().await;
    world.detect(&job).await;
    world.telegram.fault(Fault::next("editMessageMedia", FaultKind::Status { code: 413 }).times(4));
    world.answer(&job, Outcome::Done).await;
    assert_eq!(plain(user.edited(progress, 1).await.unwrap().text()), SORRY);
    // The fifth try goes well.
    assert!(user.edited(progress, 2).await.unwrap().photo().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_too_much_is_told_so_once() {
    let world = World::new().await;
    let minute = || std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() / 60;
    for id in 1.. {
        let user = world.telegram.user(id, "Ada");
        let now = minute();
        // Sixty messages are answered in a minute.
        world
            .dynamodb
            .put_item()
            .table_name("chats")
            .item("pk", aws_sdk_dynamodb::types::AttributeValue::S(format!("user#{id}")))
            .item("sk", aws_sdk_dynamodb::types::AttributeValue::S(format!("rate#{now}")))
            .item("wishes", aws_sdk_dynamodb::types::AttributeValue::N("59".into()))
            .send()
            .await
            .unwrap();
        for text in ["one", "two", "three", "four"] {
            user.send_text(text).unwrap();
        }
        world.telegram.settled().await.unwrap();
        if minute() != now {
            // The minute ended meanwhile, and with it the count.
            continue;
        }
        let said: Vec<_> = user.messages().iter().filter(|m| m.is_from_bot()).map(|m| plain(m.text())).collect();
        assert_eq!(said, ["Your original message: one", "That was a lot in one minute. Please wait a moment."]);
        break;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_album_can_be_called_off_while_it_waits() {
    let world = World::with_quiet(10).await;
    let user = world.telegram.user(1, "Ada");
    user.send_album(vec![photo().into(), photo().into()], "concat").await.unwrap();
    world.telegram.settled().await.unwrap();
    user.send_text("/cancel").unwrap();
    assert_eq!(plain(next(&user).await.text()), "Called off one album.");
    world.empty(&world.work).await;
    // A photo that waits for the detector is no album, and is not called off.
    user.send_photo(photo(), "predict").await.unwrap();
    let progress = next(&user).await;
    let job = world.job().await;
    user.send_text("/cancel").unwrap();
    assert_eq!(plain(next(&user).await.text()), "No album is waiting.");
    world.detect(&job).await;
    world.answer(&job, Outcome::Done).await;
    assert!(user.edited(progress.id, 1).await.unwrap().photo().is_some());
    assert_eq!(world.calls("sendPhoto"), 0);
    // What the chat said is enough applies to the detector, too.
    user.send_text("/settings").unwrap();
    let shown = next(&user).await;
    user.tap(shown.id, "50 %").unwrap();
    user.edited(shown.id, 1).await.unwrap();
    user.send_photo(photo(), "predict").await.unwrap();
    next(&user).await;
    assert_eq!(world.job().await.confidence, Some(0.5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_that_has_to_wait_does_not_hold_up_another_when_polling() {
    let mut world = World::without_bots().await;
    world.flags.push("--polling".into());
    world.start_bots(1).await;
    let (ada, bert) = (world.telegram.user(1, "Ada"), world.telegram.user(2, "Bert"));
    world.telegram.fault(Fault::next("sendPhoto", FaultKind::TooManyRequests { retry_after: 20 }));
    ada.send_photo(photo(), "rotate").await.unwrap();
    ada.send_text("and then?").unwrap();
    let refused = |call: &local::telegram::Call| call.method == "sendPhoto" && call.status == Some(429);
    world.telegram.wait_until(|t| t.calls().iter().any(refused).then_some(())).await.unwrap();
    bert.send_text("hello?").unwrap();
    assert_eq!(plain(next(&bert).await.text()), "Your original message: hello?");
    assert_eq!(world.calls("sendPhoto"), 0);
    // In the order in which she said it.
    assert_eq!(picture(&ada, &next(&ada).await).await.width(), 240);
    assert_eq!(plain(next(&ada).await.text()), "Your original message: and then?");
    world.telegram.settled().await.unwrap();

    // Told to end in the middle of work, it finishes that first: another does not begin anew.
    world.telegram.fault(Fault::next("sendPhoto", FaultKind::Slow { milliseconds: 1500 }));
    ada.send_photo(photo(), "sepia").await.unwrap();
    let begun = |call: &local::telegram::Call| call.method == "sendPhoto" && call.status.is_none();
    world.telegram.wait_until(|t| t.calls().iter().any(begun).then_some(())).await.unwrap();
    assert!(world.bots[0].terminate().await.success());
    world.bots.clear();
    world.start_bots(1).await;
    ada.send_text("done").unwrap();
    assert!(next(&ada).await.photo().is_some());
    assert_eq!(plain(next(&ada).await.text()), "Your original message: done");
    assert_eq!(world.calls("sendPhoto"), 2);
}
