//! How many photos a second the whole pipeline answers, with one detector and with two, and where the time goes.

use super::{
    pictures::sample,
    setting::{SOON, Shape, System},
};
use local::telegram::{Message, User};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

const USERS: i64 = 8;
const PHOTOS: usize = 5;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures; `make bench` runs it"]
async fn photos_a_second() {
    for workers in [1, 2] {
        let mut system = System::converged(Shape { queues: "", time_scale: 1.0 }).await;
        system.start(workers, &[]).await;
        let users: Vec<User> = (1..=USERS).map(|id| system.telegram.user(id, "Ada")).collect();
        // Nothing is cold any more.
        burst(&users, 1).await;
        let before = stages(&system).await;
        let begun = Instant::now();
        let waited = burst(&users, PHOTOS).await;
        let seconds = begun.elapsed().as_secs_f64();
        let photos = waited.len();
        println!(
            "{photos} photos of {USERS} users at once, {workers} detector(s): {:.2} a second",
            photos as f64 / seconds
        );
        println!("{:32}{:>9}", "where the time goes", "ms/photo");
        for (stage, sum) in stages(&system).await {
            let spent = sum - before.get(&stage).copied().unwrap_or_default();
            println!("{stage:32}{:9.1}", spent * 1000.0 / photos as f64);
        }
        let mean = waited.iter().sum::<Duration>().as_secs_f64() * 1000.0 / photos as f64;
        println!("{:32}{mean:9.1}\n", "from sending to the answer");
        system.stop().await;
    }
}

/// So many photos of each user, all at once; how long each answer took.
async fn burst(users: &[User], photos: usize) -> Vec<Duration> {
    let picture = sample("grace_hopper");
    let each = users.iter().map(|user| {
        let picture = picture.clone();
        async move {
            let mut sent = Vec::new();
            for _ in 0..photos {
                sent.push((Instant::now(), user.send_photo(picture.clone(), "predict").await.unwrap().id));
            }
            let mut waited = Vec::new();
            for (begun, id) in sent {
                let shown = |all: &[Message]| {
                    all.iter().any(|m| m.is_from_bot() && m.reply_to == Some(id) && m.photo().is_some()).then_some(())
                };
                user.wait_for_at_most(SOON, "the photo with what was found", shown).await.unwrap();
                waited.push(begun.elapsed());
            }
            waited
        }
    });
    futures::future::join_all(each).await.into_iter().flatten().collect()
}

/// The seconds that every stage has taken so far, over all processes.
async fn stages(system: &System) -> BTreeMap<String, f64> {
    let mut sums = BTreeMap::new();
    for service in system.bots.iter().chain(&system.workers) {
        for line in service.metrics().await.lines() {
            let Some((name, value)) = line.split_once("_seconds_sum").and_then(|(name, rest)| {
                let (labels, value) = rest.rsplit_once(' ')?;
                Some((format!("{name}{labels}"), value.parse::<f64>().ok()?))
            }) else {
                continue;
            };
            *sums.entry(name).or_default() += value;
        }
    }
    sums
}
