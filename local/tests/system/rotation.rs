//! The certificate is renewed and the token rotated while users write: nothing is lost, and nobody restarts anything.

use super::{
    pictures::plain,
    setting::{SOON, Shape, System, said},
};
use local::telegram::User;
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

const NEW_TOKEN: &str = "123456:the-token-after-the-rotation-000000000";

/// Writes and sends photos until told to stop; how many answers each kind has to have.
async fn traffic(user: &User, stop: &AtomicBool) -> (usize, usize) {
    let (mut texts, mut photos) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        user.send_text(&format!("text {texts}")).unwrap();
        texts += 1;
        if texts % 4 == 0 {
            user.send_photo(plain(64, 48, [9, 99, 199]), "gray").await.unwrap();
            photos += 1;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    (texts, photos)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_and_a_rotation_under_traffic_lose_nothing() {
    let mut system = System::converged(Shape { queues: "", time_scale: 4.0 }).await;
    system.start(0, &[]).await;
    let user = system.telegram.user(1, "Ada");
    let stop = AtomicBool::new(false);
    let changes = async {
        // Another name in the certificate: a new one is made, imported, written down for the bots, told to Telegram.
        system.edit_spec(
            "local-polybot.int-devops.click\n",
            "local-polybot.int-devops.click\n    certificate: { selfSigned: { organization: Renewed } }\n",
        );
        let renewed = system.apply(system.telegram.token()).await;
        assert!(renewed.status.success(), "{}", said(&renewed));
        told(&user, 2).await;
        // BotFather gives a new token, and the one before it is dead at once.
        system.telegram.change_token(NEW_TOKEN);
        let rotated = system.apply(NEW_TOKEN).await;
        assert!(rotated.status.success(), "{}", said(&rotated));
        told(&user, 2).await;
        stop.store(true, Ordering::Relaxed);
    };
    let ((texts, photos), ()) = tokio::join!(traffic(&user, &stop), changes);
    system.settled().await;
    let answers = user.messages().into_iter().filter(local::telegram::Message::is_from_bot).collect::<Vec<_>>();
    for number in 0..texts {
        let words = format!("text {number}");
        let count = answers.iter().filter(|m| m.text().trim_end_matches('\u{2069}').ends_with(&words)).count();
        assert_eq!(count, 1, "{words}");
    }
    assert_eq!(answers.iter().filter(|m| m.photo().is_some()).count(), photos);
    system.stop().await;
}

/// Waits for so many more answers.
async fn told(user: &User, more: usize) {
    let answers = |all: &[local::telegram::Message]| all.iter().filter(|m| m.is_from_bot()).count();
    let before = answers(&user.messages());
    let enough = |all: &[local::telegram::Message]| (answers(all) >= before + more).then_some(());
    user.wait_for_at_most(SOON, "more answers", enough).await.unwrap();
}
