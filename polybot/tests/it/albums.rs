//! Albums, whose photos come to either of two bot processes.

use super::setting::{World, alike, colour_at, encoded, jpeg, next, picture, plain};
use image::ImageFormat;
use local::telegram::{Attachment, Content, Fault, FaultKind, Order, User};
use rand::{RngCore, SeedableRng};

const RED: [u8; 3] = [220, 30, 30];
const GREEN: [u8; 3] = [30, 200, 40];
const BLUE: [u8; 3] = [40, 60, 220];

fn photos(colours: &[[u8; 3]]) -> Vec<bytes::Bytes> {
    colours.iter().map(|colour| jpeg(120, 80, *colour).into()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn albums_are_answered_whole_whichever_instance_gets_which_photo() {
    let world = World::with_quiet(6).await;
    // Two users at once, with different directions: neither sees the other's.
    tokio::join!(
        across(world.telegram.user(1, "Ada")),
        below(world.telegram.user(2, "Bert")),
        sizes(world.telegram.user(3, "Cem")),
        filtered(world.telegram.user(4, "Dina")),
        documents(world.telegram.user(5, "Emil")),
        buttons(world.telegram.user(6, "Finn")),
        edited(world.telegram.user(7, "Gil")),
        too_much(world.telegram.user(8, "Hana")),
    );
    // Both had photos of albums to work on.
    for bot in &world.bots {
        let text = reqwest::get(format!("{}/metrics", bot.url)).await.unwrap().text().await.unwrap();
        assert!(text.contains("polybot_deliveries_total{outcome=\"handled\"}"));
    }
    assert_eq!(world.counted("polybot_albums_repeated_total").await, 0);
}

async fn across(user: User) {
    user.send_album(photos(&[RED, GREEN, BLUE]), "concat").await.unwrap();
    let found = picture(&user, &next(&user).await).await;
    assert_eq!((found.width(), found.height()), (360, 80));
    for (x, colour) in [(60, RED), (180, GREEN), (300, BLUE)] {
        assert!(alike(colour_at(&found, x, 60), colour), "{x}: {:?}", colour_at(&found, x, 60));
    }
}

async fn below(user: User) {
    user.send_album(photos(&[RED, GREEN]), "sepia, concat vertical above, mirror").await.unwrap();
    let found = picture(&user, &next(&user).await).await;
    assert_eq!((found.width(), found.height()), (120, 160));
    // The second lies above the first, and the dark corners are on the right.
    assert!(alike(colour_at(&found, 110, 5), [0, 0, 0]) && alike(colour_at(&found, 110, 85), [0, 0, 0]));
}

async fn sizes(user: User) {
    let files = vec![jpeg(120, 80, RED).into(), jpeg(300, 160, GREEN).into(), jpeg(20, 20, BLUE).into()];
    user.send_album(files, "concat").await.unwrap();
    let answer = next(&user).await;
    let found = picture(&user, &answer).await;
    assert_eq!((found.width(), found.height()), (120 + 150 + 20, 80));
    assert!(answer.text().contains("scaled down") && answer.text().contains("white around"), "{}", answer.text());
}

async fn filtered(user: User) {
    let sent = user.send_album(photos(&[RED, GREEN]), "rotate").await.unwrap();
    for _ in &sent {
        let answer = next(&user).await;
        assert_eq!((picture(&user, &answer).await.width(), answer.album.is_some()), (80, true));
    }
    user.send_album(photos(&[RED, GREEN]), "rotat").await.unwrap();
    assert!(plain(next(&user).await.text()).contains("Did you mean “rotate”?"));
}

async fn documents(user: User) {
    let file = |name: &str, colour| Attachment {
        name: name.into(),
        bytes: encoded(3000, 40, colour, ImageFormat::Png).into(),
    };
    user.send_documents(vec![file("a.png", RED), file("b.png", GREEN)], "concat vertical").await.unwrap();
    let answer = next(&user).await;
    assert!(matches!(answer.content, Content::Document { .. }));
    assert_eq!(picture(&user, &answer).await.height(), 80);
}

async fn buttons(user: User) {
    let sent = user.send_album(photos(&[RED, GREEN]), "").await.unwrap();
    let asked = next(&user).await;
    assert_eq!(
        (plain(asked.text()).as_str(), asked.reply_to),
        ("What shall I do with these 2 photos?", Some(sent[0].id))
    );
    user.tap(asked.id, "concat").unwrap();
    assert_eq!(picture(&user, &next(&user).await).await.width(), 240);
    // Two taps one after the other: neither calls the other off.
    user.tap(asked.id, "concat").unwrap();
    user.tap(asked.id, "concat vertical").unwrap();
    let mut widths =
        [picture(&user, &next(&user).await).await.width(), picture(&user, &next(&user).await).await.width()];
    widths.sort_unstable();
    assert_eq!(widths, [120, 240]);
}

/// What would not fit into memory is refused, and not made first.
async fn too_much(user: User) {
    let album = vec![bytes::Bytes::from(jpeg(1200, 900, RED)); 10];
    user.send_album(album, "resize 500%, concat").await.unwrap();
    assert!(plain(next(&user).await.text()).contains("The result would have 60000×4500 pixels"));
    user.send_album(photos(&[RED, GREEN]), "concat, resize 1000%, resize 1000%").await.unwrap();
    assert!(plain(next(&user).await.text()).contains("The result would have 24000×8000 pixels"));
}

async fn edited(user: User) {
    let sent = user.send_album(photos(&[RED, GREEN]), "concat").await.unwrap();
    assert_eq!(picture(&user, &next(&user).await).await.width(), 240);
    user.edit_caption(sent[0].id, "concat vertical").unwrap();
    assert_eq!(picture(&user, &next(&user).await).await.width(), 120);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_telegram_does_not_take_at_once_are_sent_in_several_albums() {
    let world = World::with_quiet(4).await;
    let user = world.telegram.user(1, "Ada");
    // Noise, which no format makes smaller: 12 MB each.
    let mut random = rand::rngs::StdRng::seed_from_u64(1);
    let mut noise = image::RgbImage::new(2000, 2000);
    random.fill_bytes(&mut noise);
    let mut bytes = std::io::Cursor::new(Vec::new());
    noise.write_to(&mut bytes, ImageFormat::Png).unwrap();
    let bytes = bytes::Bytes::from(bytes.into_inner());
    let file = |name: usize| Attachment { name: format!("{name}.png"), bytes: bytes.clone() };
    user.send_documents((0..5).map(file).collect(), "mirror").await.unwrap();
    let mut albums = Vec::new();
    for _ in 0..5 {
        let answer = next(&user).await;
        assert!(matches!(answer.content, Content::Document { .. }));
        albums.push(answer.album.unwrap());
    }
    albums.dedup();
    assert_eq!(albums.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_of_an_album_is_not_said_again_when_the_rest_fails() {
    let world = World::with_quiet(4).await;
    let user = world.telegram.user(1, "Ada");
    let good = Attachment { name: "a.png".into(), bytes: encoded(60, 40, RED, ImageFormat::Png).into() };
    let broken = Attachment { name: "b.png".into(), bytes: b"\x89PNG\r\n\x1a\nbroken".to_vec().into() };
    // Every try of the first call.
    world.telegram.fault(Fault::next("sendDocument", FaultKind::DropBefore).times(3));
    user.send_documents(vec![broken, good], "rotate").await.unwrap();
    assert!(next(&user).await.text().contains("damaged"));
    assert_eq!(picture(&user, &next(&user).await).await.width(), 40);
    world.empty(&world.work).await;
    assert_eq!((world.calls("sendMessage"), world.calls("sendDocument")), (1, 1));
    assert!(world.counted("polybot_albums_repeated_total").await > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_and_reordered_photos_end_in_one_picture() {
    // Three photos of four users, twice and backwards, on a slow machine: longer than they can take.
    let world = World::with_quiet(20).await;
    let users: Vec<User> = (1..=4).map(|id| world.telegram.user(id, "Ada")).collect();
    world.telegram.hold();
    world.telegram.duplicate_next(8);
    for user in &users {
        user.send_album(photos(&[RED, GREEN, BLUE]), "concat").await.unwrap();
    }
    world.telegram.release(Order::Reversed);
    for user in &users {
        let found = picture(user, &next(user).await).await;
        assert_eq!(found.width(), 360, "{:#?}", world.telegram.deliveries());
        // In the order in which they were sent, not in which they came.
        assert!(alike(colour_at(&found, 60, 60), RED) && alike(colour_at(&found, 300, 60), BLUE));
    }
    world.telegram.settled().await.unwrap();
    // Everything that an update left on the queue has been looked at when a text's answer comes after it.
    for user in &users {
        user.send_text("and now?").unwrap();
        assert!(next(user).await.text().starts_with("Your original message"));
    }
    assert_eq!(world.calls("sendPhoto"), users.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_photo_that_comes_late_is_not_lost() {
    let world = World::with_quiet(1).await;
    let user = world.telegram.user(1, "Ada");
    let secret = contract::webhook::secret(world.telegram.token());
    let sent = user.send_album(photos(&[RED, GREEN]), "concat").await.unwrap();
    assert_eq!(picture(&user, &next(&user).await).await.width(), 240);
    // Telegram delivers the third photo of the album after the bot has answered it.
    let file = user.message(sent[0].id).unwrap().file().unwrap().clone();
    let person = serde_json::json!({"id": 1, "is_bot": false, "first_name": "Ada", "type": "private"});
    let size =
        serde_json::json!({"file_id": file.id, "file_unique_id": "u", "width": 120, "height": 80, "file_size": 1});
    let late = serde_json::json!({"update_id": 77_777, "message": {
        "message_id": sent[1].id + 1, "date": 1, "chat": person, "from": person, "photo": [size],
        "media_group_id": sent[0].album}});
    let deliver = async |update: &serde_json::Value| {
        let post = reqwest::Client::new().post(format!("{}/telegram/x", world.balancer.url)).json(update);
        post.header(contract::webhook::SECRET_HEADER, &secret).send().await.unwrap()
    };
    assert!(deliver(&late).await.status().is_success());
    assert_eq!(picture(&user, &next(&user).await).await.width(), 360);

    // The same photo comes once more, under another number: it was answered.
    world.empty(&world.work).await;
    let mut again = late.clone();
    again["update_id"] = 77_778.into();
    assert!(deliver(&again).await.status().is_success());
    world.empty(&world.work).await;
    assert_eq!(world.calls("sendPhoto"), 2);
}
