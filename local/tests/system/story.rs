//! A day of two users, each service with its own role's permissions and no more.

use super::{
    pictures::{plain, sample},
    setting::{SOON, Shape, System},
};
use aws_sdk_dynamodb::types::AttributeValue;
use local::telegram::{Message, User};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const RED: [u8; 3] = [220, 30, 30];
const GREEN: [u8; 3] = [30, 200, 40];

/// Every filter as a caption, and the size that a picture of 320 by 240 comes back with.
const FILTERS: [(&str, u32, u32); 12] = [
    ("blur 5", 320, 240),
    ("contour", 320, 240),
    ("rotate 90", 240, 320),
    ("salt and pepper 0.1", 320, 240),
    ("segment", 320, 240),
    ("gray", 320, 240),
    ("sharpen", 320, 240),
    ("sepia", 320, 240),
    ("pixelate 12", 320, 240),
    ("resize 50%", 160, 120),
    ("mirror", 320, 240),
    ("blur 5, rotate 90", 240, 320),
];

/// What happens on instances only: Docker pulls the image, and a detector drains before it goes (yolo5 tests that).
const ON_INSTANCES: [&str; 7] = [
    "autoscaling:CompleteLifecycleAction",
    "autoscaling:RecordLifecycleActionHeartbeat",
    "autoscaling:SetInstanceProtection",
    "ecr:BatchCheckLayerAvailability",
    "ecr:BatchGetImage",
    "ecr:GetAuthorizationToken",
    "ecr:GetDownloadUrlForLayer",
];

#[tokio::test(flavor = "multi_thread")]
async fn two_users_have_every_wish_answered_with_no_permission_to_spare() {
    let mut system = System::converged(Shape { queues: "", time_scale: 4.0 }).await;
    system.start(1, &["--quiet", "4000"]).await;
    let ada = system.telegram.user(1, "Ada");
    let dov = system.telegram.user(2, "דב").speaking("he");
    let (found, ()) = tokio::join!(english(&ada), hebrew(&dov));
    assert!(found.contains("Person: "), "{found}");

    // What the bot cannot read is put back, and comes again, until the queue gives it up.
    let sqs = aws_sdk_sqs::Client::new(&system.aws.config("us-east-1"));
    let queue = async |name: &str| sqs.get_queue_url().queue_name(name).send().await.unwrap().queue_url.unwrap();
    sqs.send_message().queue_url(queue("talo-local-results").await).message_body("{ no answer").send().await.unwrap();
    let dead = queue("talo-local-results-dead").await;
    let receive = || sqs.receive_message().queue_url(&dead).wait_time_seconds(20).send();
    let given_up = async { while receive().await.unwrap().messages.unwrap_or_default().is_empty() {} };
    tokio::time::timeout(SOON, given_up).await.expect("a message on the dead-letter queue");

    // S3 fails: the detector puts its job back and answers it later.
    system.aws.switch("refuse", serde_json::json!({ "s3:GET": "InternalError" })).await.unwrap();
    let late = tokio::spawn({
        let ada = ada.clone();
        async move { predicted(&ada, "coffee").await }
    });
    let put_back = async {
        while !system.aws.asked().await.unwrap()["allowed"]["talo-local-yolo5-us-east-1"]
            .as_array()
            .is_some_and(|all| all.contains(&"sqs:ChangeMessageVisibility".into()))
        {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(SOON, put_back).await.expect("a job that is put back");
    system.aws.switch("refuse", serde_json::json!({})).await.unwrap();
    assert!(late.await.unwrap().contains("Cup: "));

    // A picture that is gone before the detector gets to it: the user is told.
    let job = serde_json::json!({
        "v": contract::VERSION, "predictionId": "gone", "chatId": 1, "messageId": 1, "key": "images/1/none.jpg", "sentAt": 0,
    });
    sqs.send_message()
        .queue_url(queue("talo-local-identify").await)
        .message_body(job.to_string())
        .send()
        .await
        .unwrap();
    assert!(next(&ada).await.text().contains("got lost on its way"));

    // The annotated picture is gone before it is shown: the user is told.
    lost(&system, &queue("talo-local-results").await).await;
    assert!(next(&ada).await.text().contains("The detector failed"));

    // A group becomes a supergroup, which has another id, and keeps its language.
    system.telegram.group(-77, "Friends");
    let group = system.telegram.user(1, "Ada").in_group(-77);
    group.send_text("/settings").unwrap();
    let shown = next(&group).await;
    group.tap(shown.id, "עברית").unwrap();
    group.edited(shown.id, 1).await.unwrap();
    system.telegram.migrate(-77, -1_000_077).unwrap();
    system.telegram.settled().await.unwrap();
    let group = system.telegram.user(1, "Ada").in_group(-1_000_077);
    group.skip_to_end();
    group.send_text("/help").unwrap();
    assert!(next(&group).await.text().contains("תמונות"));

    // Everything of one chat goes, and nothing of the other's.
    ada.send_text("/privacy").unwrap();
    let asked = ada.next_message(SOON).await.unwrap();
    ada.tap(asked.id, "Delete everything").unwrap();
    ada.edited(asked.id, 1).await.unwrap();
    let left = everything(&system).await;
    assert!(left.iter().all(|thing| !thing.contains("/1/") && !thing.contains("chat#1")), "{left:?}");
    assert!(left.iter().any(|thing| thing.contains("/2/")) && left.iter().any(|thing| thing.contains("chat#2")));

    system.stop().await;
    permissions(&system).await;
}

async fn next(user: &User) -> Message {
    user.next_message(SOON).await.unwrap()
}

async fn english(user: &User) -> String {
    user.send_text("/start").unwrap();
    assert!(next(user).await.text().contains("I filter photos"));
    for (caption, width, height) in FILTERS {
        user.send_photo(plain(320, 240, RED), caption).await.unwrap();
        let answer = next(user).await;
        let photo = answer.photo().unwrap_or_else(|| panic!("{caption}: {}", answer.text()));
        assert_eq!((photo.width, photo.height), (width, height), "{caption}");
    }
    // Every filter that the keyboard offers was among them.
    user.send_photo(plain(320, 240, RED), "").await.unwrap();
    let keyboard = next(user).await;
    for button in keyboard.buttons().iter().flatten().filter(|button| button.text != "predict") {
        assert!(FILTERS.iter().any(|(caption, ..)| caption.starts_with(&button.text)), "{}", button.text);
    }
    user.send_album(vec![plain(120, 80, RED), plain(120, 80, GREEN)], "concat").await.unwrap();
    assert_eq!(next(user).await.photo().map(|photo| (photo.width, photo.height)), Some((240, 80)));
    predicted(user, "grace_hopper").await
}

async fn hebrew(user: &User) {
    user.send_text("/start").unwrap();
    assert!(next(user).await.text().contains("תמונות"));
    user.send_photo(plain(320, 240, GREEN), "rotat").await.unwrap();
    assert!(next(user).await.text().contains("rotate"));
    user.send_album(vec![plain(120, 80, RED), plain(60, 80, GREEN)], "concat vertical").await.unwrap();
    assert!(next(user).await.photo().is_some());
    let found = predicted(user, "chelsea").await;
    assert!(found.contains("חתול: 1"), "{found}");
}

/// Sends a sample to the detector; what it says in the end.
async fn predicted(user: &User, name: &str) -> String {
    user.send_photo(sample(name), "predict").await.unwrap();
    let progress = next(user).await;
    let shown = |all: &[Message]| all.iter().find(|m| m.id == progress.id && m.photo().is_some()).cloned();
    let answer = user.wait_for("the photo with what was found", shown).await.unwrap();
    answer.text().replace(['\u{2068}', '\u{2069}'], "")
}

/// An answer of the detector whose picture is gone.
async fn lost(system: &System, results: &str) {
    let config = system.aws.config("us-east-1");
    let (text, number) = (|s: &str| AttributeValue::S(s.into()), |n: &str| AttributeValue::N(n.into()));
    let mut label = ["cx", "cy", "width", "height", "score"].map(|name| (name.to_owned(), number("0.5"))).to_vec();
    label.push(("class".to_owned(), text("dog")));
    let put = aws_sdk_dynamodb::Client::new(&config).put_item().table_name("talo-local-predictions");
    put.item("predictionId", text("lost"))
        .item("chatId", number("1"))
        .item("originalImgPath", text("images/1/none.jpg"))
        .item("predictedImgPath", text("predicted/1/none.jpg"))
        .item("labels", AttributeValue::L(vec![AttributeValue::M(label.into_iter().collect())]))
        .item("time", number("1"))
        .send()
        .await
        .unwrap();
    let answer = serde_json::json!({
        "v": contract::VERSION, "predictionId": "lost", "chatId": 1, "messageId": 1, "outcome": { "kind": "done" },
    });
    let send = aws_sdk_sqs::Client::new(&config).send_message().queue_url(results);
    send.message_body(answer.to_string()).send().await.unwrap();
}

/// The keys of all objects, old versions and marks of deletions included, and of all items.
async fn everything(system: &System) -> Vec<String> {
    let config = system.aws.config("us-east-1");
    let s3 = aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build();
    let s3 = aws_sdk_s3::Client::from_conf(s3);
    let bucket = s3.list_buckets().send().await.unwrap().buckets()[0].name().unwrap().to_owned();
    let kept = s3.list_object_versions().bucket(bucket).send().await.unwrap();
    let versions = kept.versions().iter().filter_map(|version| version.key());
    let marks = kept.delete_markers().iter().filter_map(|mark| mark.key());
    let mut all: Vec<String> = versions.chain(marks).map(str::to_owned).collect();
    let dynamodb = aws_sdk_dynamodb::Client::new(&config);
    for table in ["talo-local-chats", "talo-local-predictions"] {
        let items = dynamodb.scan().table_name(table).send().await.unwrap();
        for item in items.items() {
            let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok().cloned()).unwrap_or_default();
            all.push(format!("{} {} {}", text("pk"), text("sk"), text("originalImgPath")));
        }
    }
    all
}

/// Every action that a role allows was called, and nothing was refused: without any one of them, this test would fail.
async fn permissions(system: &System) {
    let asked: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> =
        serde_json::from_value(system.aws.asked().await.unwrap()).unwrap();
    assert_eq!(asked["refused"], BTreeMap::new());
    let iam = aws_sdk_iam::Client::new(&system.aws.config("us-east-1"));
    for service in ["polybot", "yolo5"] {
        let role = format!("talo-local-{service}-us-east-1");
        let names = iam.list_role_policies().role_name(&role).send().await.unwrap().policy_names;
        let mut allowed = BTreeSet::new();
        for name in names {
            let got = iam.get_role_policy().role_name(&role).policy_name(name).send().await.unwrap();
            let text = url::form_urlencoded::parse(format!("d={}", got.policy_document).as_bytes())
                .map(|(_, value)| value.into_owned())
                .collect::<String>();
            let document: Value = serde_json::from_str(&text).unwrap();
            let statements = document["Statement"].as_array().unwrap().clone();
            let actions = statements.iter().flat_map(|statement| statement["Action"].as_array().unwrap().clone());
            allowed.extend(actions.map(|action| action.as_str().unwrap().to_owned()));
        }
        allowed.retain(|action| !ON_INSTANCES.contains(&action.as_str()));
        assert_eq!(asked["allowed"][&role], allowed, "{service}: left what was called, right what its role allows");
    }
}
