//! Detection, with the test in the detector's place.

use super::setting::{SOON, World, jpeg, plain};
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use contract::{Outcome, result::Failure};
use local::telegram::User;
use std::collections::HashSet;

const ORANGE: [u8; 3] = [230, 120, 20];

/// The next message is the progress message; waits until the answer has replaced it.
async fn answered(user: &User) -> String {
    let progress = user.next_message(SOON).await.unwrap();
    let edited = user.edited(progress.id, 1).await.unwrap();
    plain(edited.text())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_photo_becomes_a_job_and_the_answer_replaces_the_progress_message() {
    let world = World::new().await;
    // As the controller makes it: what is deleted stays as a version.
    let versioned = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    let put = world.s3.put_bucket_versioning().bucket("pictures").versioning_configuration(versioned);
    put.send().await.unwrap();
    let user = world.telegram.user(1, "Ada");
    let sent = user.send_photo(jpeg(320, 240, ORANGE), "predict 0.4").await.unwrap();
    let progress = user.next_message(SOON).await.unwrap();
    assert_eq!((progress.text(), progress.reply_to), ("Looking at the picture…", Some(sent.id)));
    let job = world.job().await;
    assert_eq!((job.chat_id, i64::from(job.message_id), job.confidence), (1, sent.id, Some(0.4)));
    assert_eq!(
        (job.reply_id.map(i64::from), job.key.clone()),
        (Some(progress.id), format!("images/1/{}-{}.jpg", sent.id, &job.prediction_id[..8]))
    );

    // The same answer three times, and one that nobody can read between them.
    world.detect(&job).await;
    world.answer(&job, Outcome::Done).await;
    world.send_result("{ this is no result").await;
    world.answer(&job, Outcome::Done).await;
    let edited = user.edited(progress.id, 1).await.unwrap();
    assert_eq!(plain(edited.text()), "Detected objects:\nDog: 2 (91 %, 80 %)\nPerson: 1 (60 %)");
    assert_eq!(edited.photo().map(|p| (p.width, p.height)), Some((64, 48)));
    world.answer(&job, Outcome::Done).await;

    // Each failure is told in words; another user's job is not held up by the message that cannot be read.
    for (outcome, words) in [
        (Outcome::NothingFound, "I found no object in this picture that I know."),
        (Outcome::Failed(Failure::NoObject), "The picture got lost on its way."),
        (Outcome::Failed(Failure::NoImage), "The detector cannot read this picture."),
        (Outcome::Failed(Failure::Internal), "The detector failed on this picture."),
    ] {
        user.send_photo(jpeg(32, 24, ORANGE), "predict").await.unwrap();
        let job = world.job().await;
        world.answer(&job, outcome.clone()).await;
        assert!(answered(&user).await.contains(words), "{outcome:?}");
    }

    // An answer to a job of the system before this one has no progress message: it is a photo, once.
    let old = contract::Job { prediction_id: "old".into(), reply_id: None, ..job.clone() };
    world.detect(&old).await;
    world.answer(&old, Outcome::Done).await;
    world.answer(&old, Outcome::Done).await;
    let photo = user.next_message(SOON).await.unwrap();
    assert!(photo.photo().is_some() && photo.reply_to == Some(sent.id));

    // What nobody can read ends on the dead-letter queue.
    let receive = || world.sqs.receive_message().queue_url(&world.results_dead).wait_time_seconds(20).send();
    let dead = receive().await.unwrap().messages.unwrap_or_default();
    assert_eq!(dead[0].body.as_deref(), Some("{ this is no result"));
    assert_eq!(user.message(progress.id).unwrap().edits, 1);
    assert_eq!((world.calls("editMessageMedia"), world.calls("sendPhoto")), (1, 1));

    // Everything of this chat goes, what was deleted before included, and nothing of another's.
    world.s3.delete_object().bucket("pictures").key(&job.key).send().await.unwrap();
    let other = world.telegram.user(2, "Bert");
    other.send_photo(jpeg(32, 24, ORANGE), "predict").await.unwrap();
    let others = world.job().await;
    world.detect(&others).await;
    user.send_text("/privacy").unwrap();
    let asked = user.next_message(SOON).await.unwrap();
    user.tap(asked.id, "Delete everything").unwrap();
    let done = user.edited(asked.id, 1).await.unwrap();
    assert!(done.text().contains("is deleted"));
    let kept = world.s3.list_object_versions().bucket("pictures").send().await.unwrap();
    let keys: HashSet<_> = kept.versions.unwrap_or_default().into_iter().filter_map(|version| version.key).collect();
    assert!(kept.delete_markers.unwrap_or_default().is_empty());
    assert_eq!(keys, HashSet::from([others.key.clone(), format!("predicted/2/{}.jpg", others.prediction_id)]));
    let left = world.dynamodb.scan().table_name("predictions").send().await.unwrap();
    assert_eq!(left.items().len(), 1);
    let chat = world.dynamodb.scan().table_name("chats").send().await.unwrap();
    assert!(chat.items().iter().all(|item| item["pk"].as_s().unwrap() != "chat#1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_album_is_predicted_photo_by_photo_and_a_late_detector_is_told() {
    let mut world = World::without_bots().await;
    world.flags.extend(["--patience", "3000"].map(str::to_owned));
    world.start_bots(2).await;
    world.set_webhook().await;
    let user = world.telegram.user(1, "Ada").speaking("he");
    let photos = (0..3).map(|_| jpeg(120, 80, ORANGE).into()).collect();
    let sent = user.send_album(photos, "predict").await.unwrap();
    let mut messages = HashSet::new();
    let mut jobs = Vec::new();
    for _ in &sent {
        let job = world.job().await;
        messages.insert(i64::from(job.message_id));
        jobs.push(job);
    }
    assert_eq!(messages, sent.iter().map(|m| m.id).collect());
    // Two are answered, one is not.
    for job in &jobs[..2] {
        world.detect(job).await;
        world.answer(job, Outcome::Done).await;
    }
    let late = i64::from(jobs[2].reply_id.unwrap());
    let told = user.edited(late, 1).await.unwrap();
    assert!(told.text().starts_with("זה לוקח יותר מהרגיל"), "{}", told.text());
    // The answer comes after all.
    world.detect(&jobs[2]).await;
    world.answer(&jobs[2], Outcome::Done).await;
    for job in &jobs {
        let reply = i64::from(job.reply_id.unwrap());
        let words = "the photo with what was found";
        let found =
            user.wait_for(words, |all| all.iter().find(|m| m.id == reply && m.photo().is_some()).cloned()).await;
        assert!(plain(found.unwrap().text()).contains("כלב: 2"));
    }
}
