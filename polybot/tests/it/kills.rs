//! A bot process dies in the middle: nothing is lost, and only what the promise names is said twice.

use super::setting::{SOON, World, jpeg, plain};
use contract::Outcome;
use local::telegram::{Fault, FaultKind};

const ORANGE: [u8; 3] = [230, 120, 20];

/// Which bot is at work cannot be seen from outside: both die, and two others take their place.
async fn kill_during(world: &mut World, method: &str) {
    let at_work = |calls: &[local::telegram::Call]| calls.iter().any(|c| c.method == method && c.status.is_none());
    world.telegram.wait_until(|telegram| at_work(&telegram.calls()).then_some(())).await.unwrap();
    world.replace(0).await;
    world.replace(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_loses_nothing_and_doubles_at_most_what_was_just_sent() {
    let mut world = World::with_quiet(4).await;
    world.visibility(6).await;
    let user = world.telegram.user(1, "Ada");

    // Before anything is sent: one answer.
    world.telegram.fault(Fault::next("getFile", FaultKind::Slow { milliseconds: 2500 }));
    user.send_photo(jpeg(320, 240, ORANGE), "rotate").await.unwrap();
    kill_during(&mut world, "getFile").await;
    assert!(user.next_message(SOON).await.unwrap().photo().is_some());
    world.telegram.settled().await.unwrap();
    assert_eq!(world.calls("sendPhoto"), 1);
    assert_eq!(world.counted("polybot_updates_repeated_total").await, 1);

    // Between a send and its record: the one case in which an answer may come twice, and it is counted.
    world.telegram.fault(Fault::next("sendPhoto", FaultKind::Slow { milliseconds: 2500 }));
    user.send_photo(jpeg(320, 240, ORANGE), "gray").await.unwrap();
    kill_during(&mut world, "sendPhoto").await;
    assert!(user.next_message(SOON).await.unwrap().photo().is_some());
    world.telegram.settled().await.unwrap();
    let sent = user.messages().iter().filter(|m| m.is_from_bot() && m.photo().is_some()).count();
    assert!((2..=3).contains(&sent), "{sent}");
    assert_eq!(world.counted("polybot_updates_repeated_total").await, 1);
    user.skip_to_end();

    // An album, while its one picture is sent.
    world.telegram.fault(Fault::next("getFile", FaultKind::Slow { milliseconds: 2500 }));
    let album = vec![jpeg(120, 80, ORANGE).into(), jpeg(120, 80, ORANGE).into()];
    user.send_album(album, "concat").await.unwrap();
    kill_during(&mut world, "getFile").await;
    let joined = user.next_message(SOON).await.unwrap();
    assert_eq!(joined.photo().map(|p| p.width), Some(240));

    // A prediction, while its answer is put into the chat: it is there once.
    user.send_photo(jpeg(320, 240, ORANGE), "predict").await.unwrap();
    let progress = user.next_message(SOON).await.unwrap();
    let job = world.job().await;
    world.detect(&job).await;
    world.telegram.fault(Fault::next("editMessageMedia", FaultKind::Slow { milliseconds: 2500 }));
    world.answer(&job, Outcome::Done).await;
    kill_during(&mut world, "editMessageMedia").await;
    user.edited(progress.id, 1).await.unwrap();
    user.send_text("done").unwrap();
    assert_eq!(plain(user.next_message(SOON).await.unwrap().text()), "Your original message: done");
    let found = user.messages().iter().filter(|m| m.text().contains("Detected objects")).count();
    assert_eq!(found, 1);
}
