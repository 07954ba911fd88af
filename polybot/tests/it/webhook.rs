//! Deliveries as Telegram and others make them, faults of Telegram, and the process itself.

use super::setting::{Bot, SOON, World, jpeg, plain};
use contract::{env, webhook::SECRET_HEADER};
use local::telegram::{Fault, FaultKind};
use serde_json::json;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn only_telegram_is_heard_and_each_update_once() {
    let mut world = World::new().await;
    let client = reqwest::Client::new();
    let secret = contract::webhook::secret(world.telegram.token());
    let text = |id: u32| {
        let chat = json!({"id": 7, "type": "private", "first_name": "Eve"});
        let from = json!({"id": 7, "is_bot": false, "first_name": "Eve"});
        json!({"update_id": id, "message": {"message_id": 1, "date": 1, "chat": chat, "from": from, "text": "hello"}})
    };
    let post = async |at: &str, secret: Option<&str>, body: String| {
        let mut request = client.post(format!("{}{at}", world.balancer.url)).body(body);
        if let Some(secret) = secret {
            request = request.header(SECRET_HEADER, secret);
        }
        request.send().await.unwrap().status().as_u16()
    };
    let good = Some(secret.as_str());
    // Forged, or of the system before this one.
    assert_eq!(post("/telegram/abc", None, text(900_001).to_string()).await, 401);
    assert_eq!(post("/telegram/abc", Some("wrong"), text(900_001).to_string()).await, 401);
    assert_eq!(post("/loadTest/", good, text(900_001).to_string()).await, 404);
    assert_eq!(world.calls("sendMessage"), 0);
    // No update; an update of a kind that this bot does not know; a body that nobody sends.
    assert_eq!(post("/telegram/abc", good, "{}".into()).await, 400);
    assert_eq!(post("/telegram/abc", good, "[".into()).await, 400);
    assert_eq!(post("/telegram/abc", good, json!({"update_id": 1, "sunrise": {"at": 6}}).to_string()).await, 200);
    assert_eq!(post("/telegram/abc", good, json!({"update_id": 2, "message": {"odd": 1}}).to_string()).await, 200);
    assert_eq!(post("/telegram/abc", good, "x".repeat(2 << 20)).await, 413);

    // Updates come again and again, at both instances: one answer.
    let user = world.telegram.user(1, "Ada");
    world.telegram.duplicate_next(3);
    for word in ["one", "two", "three"] {
        user.send_text(word).unwrap();
        assert_eq!(plain(user.next_message(SOON).await.unwrap().text()), format!("Your original message: {word}"));
    }
    world.telegram.settled().await.unwrap();
    for delivery in world.telegram.deliveries() {
        world.telegram.redeliver(delivery.update);
    }
    world.telegram.settled().await.unwrap();
    assert_eq!(world.calls("sendMessage"), 3);

    // Telegram asks to wait, breaks the connection, sends nonsense: each is tried again.
    world.telegram.fault(Fault::next("sendMessage", FaultKind::TooManyRequests { retry_after: 1 }));
    world.telegram.fault(Fault::next("sendPhoto", FaultKind::DropBefore));
    world.telegram.fault(Fault::next("file", FaultKind::DropAfter));
    user.send_text("four").unwrap();
    assert_eq!(plain(user.next_message(SOON).await.unwrap().text()), "Your original message: four");
    user.send_photo(jpeg(320, 240, [9, 99, 199]), "gray").await.unwrap();
    assert!(user.next_message(SOON).await.unwrap().photo().is_some());

    // Telegram asks to wait for longer than a delivery may take: it delivers again.
    world.telegram.fault(Fault::next("sendMessage", FaultKind::TooManyRequests { retry_after: 7 }));
    user.send_text("five").unwrap();
    assert_eq!(plain(user.next_message(SOON).await.unwrap().text()), "Your original message: five");
    assert!(world.telegram.deliveries().iter().any(|delivery| delivery.status == Some(503)));

    for bot in &world.bots {
        for (path, says) in [("/health", "ok"), ("/ready", "ready"), ("/metrics", "polybot_deliveries_total")] {
            let answer = reqwest::get(format!("{}{path}", bot.url)).await.unwrap();
            assert!(answer.status().is_success() && answer.text().await.unwrap().contains(says), "{path}");
        }
    }

    // Told to end in the middle of work, a bot finishes it first.
    world.telegram.fault(Fault::next("sendPhoto", FaultKind::Slow { milliseconds: 1500 }));
    user.send_photo(jpeg(320, 240, [9, 99, 199]), "sepia").await.unwrap();
    world
        .telegram
        .wait_until(|t| t.calls().iter().rev().find(|c| c.method == "sendPhoto" && c.status.is_none()).map(drop))
        .await
        .unwrap();
    for bot in &mut world.bots {
        assert!(bot.terminate().await.success());
    }
    assert!(user.next_message(SOON).await.unwrap().photo().is_some());
    world.telegram.settled().await.unwrap();
    assert_eq!(world.calls("sendPhoto"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_variable_is_one_line_and_a_wrong_token_too() {
    let world = World::without_bots().await;
    let said = async |mut command: tokio::process::Command| {
        let output = command.output().await.unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let mut command = world.command();
    command.env_remove(env::WORK_QUEUE_URL);
    assert_eq!(said(command).await, "error: WORK_QUEUE_URL is not set\n");
    let mut command = world.command();
    command.env(env::TELEGRAM_TOKEN, "123456:a-token-that-telegram-does-not-know");
    let words = said(command).await;
    assert!(words.starts_with("error: Telegram did not take getMe\n"), "{words}");
    assert!(!words.contains("a-token-that"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_bot_does_not_get_is_told_by_ready_and_it_lives_on() {
    let mut world = World::without_bots().await;
    world.aws.switch("deny", json!(["sqs:ReceiveMessage"])).await.unwrap();
    world.start_bots(1).await;
    let asked = async |path: &str| {
        let answer = reqwest::get(format!("{}{path}", world.bots[0].url)).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let until = async |expected: (u16, &str)| {
        let told = async {
            while asked("/ready").await != (expected.0, expected.1.to_owned()) {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(SOON, told).await.unwrap_or_else(|_| panic!("never {expected:?}"));
    };
    until((503, "no answer from: results queue, work queue\n")).await;
    assert_eq!(asked("/health").await.0, 200);
    world.aws.switch("deny", json!([])).await.unwrap();
    until((200, "ready\n")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pollers_take_turns() {
    let mut world = World::without_bots().await;
    world.flags.push("--polling".into());
    world.start_bots(2).await;
    let user = world.telegram.user(1, "Ada");
    for word in ["one", "two"] {
        user.send_text(word).unwrap();
        assert_eq!(plain(user.next_message(SOON).await.unwrap().text()), format!("Your original message: {word}"));
    }
    world.telegram.settled().await.unwrap();
    // The one that polls dies, whichever it is: the other goes on.
    world.replace(0).await;
    user.send_text("three").unwrap();
    assert_eq!(plain(user.next_message(SOON).await.unwrap().text()), "Your original message: three");
    world.telegram.settled().await.unwrap();
    world.replace(1).await;
    user.send_text("four").unwrap();
    assert_eq!(plain(user.next_message(SOON).await.unwrap().text()), "Your original message: four");
    world.telegram.settled().await.unwrap();
    assert_eq!(world.calls("sendMessage"), 4);
    for bot in &mut world.bots {
        assert!(bot.terminate().await.success());
    }

    // A bot with a webhook is not polled unless that is said.
    world.set_webhook().await;
    let output = world.command().output().await.unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(words.contains("--take-over"), "{words}");
    world.flags.push("--take-over".into());
    let mut bot = Bot::start(world.command()).await;
    user.send_text("five").unwrap();
    assert_eq!(plain(user.next_message(SOON).await.unwrap().text()), "Your original message: five");
    assert!(bot.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_token_is_taken_up_without_a_restart() {
    let mut world = World::without_bots().await;
    world.flags.extend(["--refresh", "200"].map(str::to_owned));
    world.start_bots(1).await;
    let token = "222222:another-token-of-another-bot";
    world.telegram.add_bot(token).unwrap();
    let status = async |token: &str| {
        let post = reqwest::Client::new().post(format!("{}/telegram/abc", world.bots[0].url)).body("{}");
        post.header(SECRET_HEADER, contract::webhook::secret(token)).send().await.unwrap().status().as_u16()
    };
    assert_eq!((status(world.telegram.token()).await, status(token).await), (400, 401));
    let secret = json!({ env::TELEGRAM_TOKEN: token }).to_string();
    world.secrets.put_secret_value().secret_id("token").secret_string(secret).send().await.unwrap();
    let taken_up = async {
        while status(token).await != 400 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(SOON, taken_up).await.unwrap();
    assert_eq!(status(world.telegram.token()).await, 401);
}
