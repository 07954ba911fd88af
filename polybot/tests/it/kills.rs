//! A bot process dies in the middle: nothing is lost, and only what the promise names is said twice.

use super::setting::{World, jpeg, next, plain};
use contract::Outcome;
use local::telegram::{Fault, FaultKind, User};

const ORANGE: [u8; 3] = [230, 120, 20];

/// The next call of a method (or download: `file`) gets no answer, and the bot that waits for it dies. The other lives.
async fn kill_over(world: &mut World, method: &str, user_does: impl Future<Output = ()>) {
    world.telegram.fault(Fault::next(method, FaultKind::Hang));
    user_does.await;
    kill_who_hangs(world, method).await;
}

async fn kill_who_hangs(world: &mut World, method: &str) {
    world.telegram.hanging(method).await.unwrap();
    let such = |call: &str| match method {
        "file" => call.contains("/file/bot"),
        _ => call.to_lowercase().ends_with(&format!("/{}", method.to_lowercase())),
    };
    world.replace_who_waits(such).await;
}

async fn send(user: &User, caption: &str) {
    user.send_photo(jpeg(320, 240, ORANGE), caption).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_before_anything_is_sent_costs_nothing() {
    for over in ["getFile", "file"] {
        let mut world = World::watched(1).await;
        let user = world.telegram.user(1, "Ada");
        kill_over(&mut world, over, send(&user, "rotate")).await;
        assert!(next(&user).await.photo().is_some());
        world.telegram.settled().await.unwrap();
        assert_eq!(world.calls("sendPhoto"), 1, "{over}");
        assert_eq!(world.counted("polybot_updates_repeated_total").await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_a_send_and_its_record_may_double_it_and_is_counted() {
    let mut world = World::watched(1).await;
    let user = world.telegram.user(1, "Ada");
    kill_over(&mut world, "sendPhoto", send(&user, "gray")).await;
    for _ in 0..2 {
        assert!(next(&user).await.photo().is_some());
    }
    world.telegram.settled().await.unwrap();
    assert_eq!(user.messages().iter().filter(|m| m.is_from_bot()).count(), 2);
    assert_eq!(world.counted("polybot_updates_repeated_total").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_album_and_a_prediction_outlive_a_kill() {
    let mut world = World::watched(4).await;
    world.visibility(6).await;
    let user = world.telegram.user(1, "Ada");

    let album = async {
        let photos = vec![jpeg(120, 80, ORANGE).into(), jpeg(120, 80, ORANGE).into()];
        user.send_album(photos, "concat").await.unwrap();
    };
    kill_over(&mut world, "getFile", album).await;
    let joined = next(&user).await;
    assert_eq!(joined.photo().map(|p| p.width), Some(240));
    world.empty(&world.work).await;
    assert_eq!(world.calls("sendPhoto"), 1);

    // While its photo goes to the bucket: there is one progress message, and one job.
    world.aws.switch("hold_before_call", "s3:PUT".into()).await.unwrap();
    send(&user, "predict").await;
    world.aws.held().await.unwrap();
    world.replace_who_waits(|call| call.starts_with("PUT /pictures/")).await;
    let progress = next(&user).await;
    let job = world.job().await;
    assert_eq!(job.reply_id.map(i64::from), Some(progress.id));
    world.detect(&job).await;

    // While its answer is put into the chat: it is there once.
    world.telegram.fault(Fault::next("editMessageMedia", FaultKind::Hang));
    world.answer(&job, Outcome::Done).await;
    kill_who_hangs(&mut world, "editMessageMedia").await;
    user.edited(progress.id, 1).await.unwrap();
    user.send_text("done").unwrap();
    assert_eq!(plain(next(&user).await.text()), "Your original message: done");
    let found = user.messages().iter().filter(|m| m.text().contains("Detected objects")).count();
    assert_eq!(found, 1, "{}", user.transcript());
    // Whoever took the answer over has put it down, too: nothing waits any more.
    world.empty(&world.results).await;
}
