//! `getUpdates`.

use local::telegram::LocalTelegram;
use serde_json::{Value, json};

use super::support::{Api, Hook};

fn ids(updates: &Value) -> Vec<i64> {
    updates.as_array().unwrap().iter().map(|update| update["update_id"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn a_text_wakes_a_waiting_poll_and_is_gone_when_confirmed() {
    let telegram = LocalTelegram::start().await.unwrap();
    let (api, user) = (Api::of(&telegram), telegram.user(7, "Ada"));
    let (updates, ()) = tokio::join!(api.ok("getUpdates", json!({ "timeout": 50 })), async {
        // Only when the poll is there does the user write.
        telegram.wait_until(|telegram| (telegram.polls() > 0).then_some(())).await.unwrap();
        user.send_text("hello /start").unwrap();
    });
    let message = &updates[0]["message"];
    assert_eq!(message["text"], "hello /start");
    assert_eq!(message["from"], json!({ "id": 7, "is_bot": false, "first_name": "Ada", "language_code": "en" }));
    assert_eq!(message["chat"], json!({ "id": 7, "type": "private", "first_name": "Ada" }));
    assert_eq!(message["entities"], json!([{ "type": "bot_command", "offset": 6, "length": 6 }]));

    let first = ids(&updates)[0];
    assert_eq!(ids(&api.ok("getUpdates", json!({})).await), [first], "not confirmed: it comes again");
    assert_eq!(ids(&api.ok("getUpdates", json!({ "offset": first + 1 })).await), [0; 0]);
    assert_eq!(telegram.pending(), 0);
}

#[tokio::test]
async fn of_two_pollers_the_older_one_ends() {
    let telegram = LocalTelegram::start().await.unwrap();
    let api = Api::of(&telegram);
    let (older, newer) = tokio::join!(api.refused("getUpdates", json!({ "timeout": 50 })), async {
        telegram.wait_until(|telegram| (telegram.polls() > 0).then_some(())).await.unwrap();
        api.ok("getUpdates", json!({ "timeout": 0 })).await
    });
    assert_eq!(older.0, 409);
    assert!(older.1.starts_with("Conflict: terminated by other getUpdates request"), "{}", older.1);
    assert_eq!(newer, json!([]));
}

#[tokio::test]
async fn polling_and_a_webhook_exclude_each_other() {
    let telegram = LocalTelegram::start().await.unwrap();
    let (api, hook) = (Api::of(&telegram), Hook::start().await);
    let (poll, _) = tokio::join!(api.refused("getUpdates", json!({ "timeout": 50 })), async {
        telegram.wait_until(|telegram| (telegram.polls() > 0).then_some(())).await.unwrap();
        api.ok("setWebhook", json!({ "url": hook.url })).await
    });
    assert_eq!(poll, (409, "Conflict: terminated by setWebhook request".to_owned()));
    let (status, description) = api.refused("getUpdates", json!({})).await;
    assert_eq!(status, 409);
    assert!(description.contains("can't use getUpdates method while webhook is active"), "{description}");
    api.ok("deleteWebhook", json!({})).await;
    assert_eq!(api.ok("getUpdates", json!({})).await, json!([]));
}

#[tokio::test]
async fn a_negative_offset_counts_from_the_end_and_kinds_not_asked_for_do_not_come() {
    let telegram = LocalTelegram::start().await.unwrap();
    let (api, user) = (Api::of(&telegram), telegram.user(7, "Ada"));
    let first = user.send_text("one").unwrap();
    user.send_text("two").unwrap();
    let last = api.ok("getUpdates", json!({ "offset": -1, "allowed_updates": ["message"] })).await;
    assert_eq!(last[0]["message"]["text"], "two");
    user.edit_text(first.id, "changed").unwrap();
    assert_eq!(api.ok("getUpdates", json!({})).await.as_array().unwrap().len(), 1);
}
