//! Everything goes wrong at once, by a schedule that follows from a seed: calls to AWS and Telegram are delayed, lost, throttled,
//! failed and garbled, our own processes are killed, never the stand-ins, and the detector's instances are terminated by their group
//! and taken back by EC2. At the end nothing is lost, every prediction is answered once, and only what BOT.md names is there twice.
//!
//! A minute of it runs with the other tests; `make chaos` runs ten. `CHAOS_SEED` repeats a run, as far as time allows.

use super::{
    pictures::{plain, sample},
    service::resident,
    setting::{Shape, System},
};
use bytes::Bytes;
use local::{
    chaos::{Chaos, Voice},
    fleet::Fleet,
    telegram::{Message, User},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

const RED: [u8; 3] = [220, 30, 30];
const USERS: i64 = 6;
const WORKERS: i32 = 2;
/// Bots handle so many messages of each queue at once: what a kill may interrupt, beside each chat's update.
const AT_ONCE: u64 = 8;

/// How long it lasts, and how much happens.
struct Plan {
    seed: u64,
    traffic: Duration,
    /// Between two kills.
    kills: Duration,
    /// Between two wishes of all users together.
    wishes: Duration,
}

impl Plan {
    fn from_environment() -> Self {
        let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().expect(name));
        let seconds = number("CHAOS_SECONDS");
        Self {
            seed: number("CHAOS_SEED").unwrap_or(7),
            traffic: Duration::from_secs(seconds.unwrap_or(45)),
            kills: Duration::from_secs(if seconds.is_some() { 20 } else { 7 }),
            wishes: Duration::from_millis(number("CHAOS_WISH_EVERY").unwrap_or(1500)),
        }
    }
}

/// What a user is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Owed {
    Text,
    Filtered,
    Joined,
    Prediction,
}

impl Owed {
    /// Whether a message of the bot, which replies to the user's, is the answer.
    fn is(self, answer: &Message) -> bool {
        match self {
            Self::Text => answer.text().contains("Your original message"),
            Self::Filtered => answer.photo().is_some(),
            // An album that was answered before its second photo came is answered again, with both.
            Self::Joined => answer.photo().is_some_and(|photo| photo.width == 240),
            Self::Prediction => answer.photo().is_some() && answer.text().contains("Detected objects"),
        }
    }
}

/// A wish: who had it, which answer fits, what is owed.
struct Wish {
    user: usize,
    /// The words of a text, which its echo repeats.
    words: Option<String>,
    message: i64,
    owed: Owed,
}

impl Wish {
    fn answers(&self, chat: &[Message]) -> usize {
        let ours = |m: &Message| match &self.words {
            Some(words) => m.text().replace(['\u{2068}', '\u{2069}'], "").ends_with(words),
            None => m.reply_to == Some(self.message),
        };
        chat.iter().filter(|m| m.is_from_bot() && ours(m) && self.owed.is(m)).count()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chaos_loses_nothing() {
    let plan = Plan::from_environment();
    eprintln!("chaos of seed {}, {:?}", plan.seed, plan.traffic);
    let queues = "  queues:\n    identify: { visibilityTimeout: 8s, maxReceives: 20 }\n    \
                  results: { visibilityTimeout: 8s, maxReceives: 20 }\n    work: { visibilityTimeout: 8s, maxReceives: 20 }\n";
    let mut system = System::converged(Shape { queues, time_scale: 8.0 }).await;
    let aws = Chaos::start(system.aws.endpoint(), Voice::Aws, plan.seed).await.unwrap();
    let telegram = Chaos::start(&system.telegram.url(), Voice::Telegram, plan.seed + 1).await.unwrap();
    let flags = ["--lease", "3000", "--patience", "10000"];
    system.start_through(0, &flags, aws.url(), telegram.url()).await;
    let fleet = system.fleet(WORKERS, aws.url()).await;
    let users: Vec<User> = (1..=USERS).map(|id| system.telegram.user(id, "Ada")).collect();

    let end = Instant::now() + plan.traffic;
    let (wishes, (harm, memory)) = tokio::join!(traffic(&plan, &users, end), harm(&plan, &system, &fleet, end));
    let kills = harm.kills;

    // The storm is over; what it left behind is cleared up without anybody's hand.
    aws.calm();
    telegram.calm();
    let quiet = Instant::now();
    for wish in &wishes {
        let user = &users[wish.user];
        let answered = |chat: &[Message]| (wish.answers(chat) > 0).then_some(());
        let got = user.wait_for(&format!("{:?} for message {}", wish.owed, wish.message), answered).await;
        got.unwrap_or_else(|error| panic!("{error}"));
    }
    system.settled().await;
    eprintln!("settled {:.1} s after the storm", quiet.elapsed().as_secs_f64());

    let mut sums: BTreeMap<Owed, (usize, usize)> = BTreeMap::new();
    for wish in &wishes {
        let answers = wish.answers(&users[wish.user].messages());
        let (asked, doubled) = sums.entry(wish.owed).or_default();
        *asked += 1;
        *doubled += answers - 1;
        assert!(wish.owed != Owed::Prediction || answers == 1, "a prediction was answered {answers} times");
    }
    let hidden: u64 = [&aws, &telegram].iter().flat_map(|chaos| chaos.hidden().into_values()).sum();
    let doubled: usize = sums.values().map(|(_, doubled)| doubled).sum();
    eprintln!("(asked, doubled): {sums:?}; {harm:?}, {hidden} calls acted without an answer");
    eprintln!("AWS: {:?}\nTelegram: {:?}", aws.struck(), telegram.struck());
    // Each has a cause: a process that died between a send and its record, or an answer that was lost on its way.
    assert!(doubled as u64 <= kills * AT_ONCE + hidden, "{doubled} doubled answers");
    assert!(kills > 0 && harm.drained > 0 && harm.taken_back > 0 && wishes.len() > 10, "{harm:?}");
    for (name, samples) in &memory {
        eprintln!("memory of {name} in MiB: {samples:?}");
    }
    flat(&memory);
    system.stop().await;
    assert!(fleet.stop().await.unwrap(), "a detector did not end in order");
    let left: Vec<_> = std::fs::read_dir(system.temporary.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Users have wishes, one in four a prediction, and do not wait for the answers.
async fn traffic(plan: &Plan, users: &[User], end: Instant) -> Vec<Wish> {
    let mut random = StdRng::seed_from_u64(plan.seed + 2);
    let samples: Vec<Bytes> = ["grace_hopper", "chelsea", "astronaut"].map(sample).to_vec();
    let mut wishes = Vec::new();
    while Instant::now() < end {
        let at = random.random_range(0..users.len());
        let user = &users[at];
        let mut words = None;
        // The first ones are predictions: a detector takes most of its memory with the first picture it looks at.
        let kind = if wishes.len() < 2 { 0 } else { random.random_range(0..8) };
        let (owed, message) = match kind {
            0 | 1 => {
                let photo = samples[random.random_range(0..samples.len())].clone();
                (Owed::Prediction, user.send_photo(photo, "predict").await.unwrap().id)
            }
            2 => {
                let photos = vec![plain(120, 80, RED), plain(120, 80, RED)];
                (Owed::Joined, user.send_album(photos, "concat").await.unwrap()[0].id)
            }
            3 => {
                words = Some(format!("text number {}", wishes.len()));
                (Owed::Text, user.send_text(words.as_deref().unwrap_or_default()).unwrap().id)
            }
            _ => (Owed::Filtered, user.send_photo(plain(160, 120, RED), "blur 5, rotate 90").await.unwrap().id),
        };
        wishes.push(Wish { user: at, words, message, owed });
        tokio::time::sleep(plan.wishes.mul_f64(random.random_range(0.5..1.5))).await;
    }
    wishes
}

/// What befell our processes and their instances.
#[derive(Debug, Default)]
struct Harm {
    kills: u64,
    /// Detectors whose group took them away.
    drained: u64,
    /// Detectors on spot instances that EC2 took back, after a notice.
    taken_back: u64,
}

/// Harms one after the other; what it did, and what memory each service held meanwhile.
async fn harm(plan: &Plan, system: &System, fleet: &Fleet, end: Instant) -> (Harm, BTreeMap<String, Vec<u64>>) {
    let mut random = StdRng::seed_from_u64(plan.seed + 3);
    let (autoscaling, ec2) = (system.autoscaling(), aws_sdk_ec2::Client::new(&system.aws.config("us-east-1")));
    let mut memory: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let mut harm = Harm::default();
    let mut noticed: Option<String> = None;
    let mut next = Instant::now() + plan.kills;
    for turn in 0.. {
        while Instant::now() < next.min(end) {
            tokio::time::sleep(Duration::from_secs(1)).await;
            for bot in &system.bots {
                memory.entry(bot.name.clone()).or_default().extend(bot.memory());
            }
            memory
                .entry("detector".to_owned())
                .or_default()
                .extend(fleet.processes().into_values().filter_map(resident));
        }
        if Instant::now() >= end {
            break;
        }
        next += plan.kills;
        // An instance that has got its notice goes before another one does.
        if let Some(instance) = noticed.take() {
            ec2.terminate_instances().instance_ids(instance).send().await.unwrap();
            harm.taken_back += 1;
        }
        let detectors: Vec<_> = fleet.processes().into_iter().collect();
        let any = (!detectors.is_empty()).then(|| &detectors[random.random_range(0..detectors.len())]);
        match (turn % 4, any) {
            (1, Some((instance, _))) => {
                let leave = autoscaling.terminate_instance_in_auto_scaling_group().instance_id(instance);
                leave.should_decrement_desired_capacity(false).send().await.unwrap();
                harm.drained += 1;
            }
            (3, Some((instance, _))) => {
                system.aws.switch("spot_interrupted", serde_json::json!([instance])).await.unwrap();
                noticed = Some(instance.clone());
            }
            (0, Some((_, process))) => {
                kill(*process).await;
                harm.kills += 1;
            }
            _ => {
                system.bots[random.random_range(0..system.bots.len())].kill().await;
                harm.kills += 1;
            }
        }
    }
    (harm, memory)
}

async fn kill(process: u32) {
    tokio::process::Command::new("kill").args(["-KILL", &process.to_string()]).status().await.unwrap();
}

/// No service grows: the most that one of its processes takes in the last third is not much more than the most before it. By
/// service and not by process: which of them gets the first picture after a kill is chance.
fn flat(memory: &BTreeMap<String, Vec<u64>>) {
    let mut most: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for (name, samples) in memory {
        let (before, after) = samples.split_at(samples.len() * 2 / 3);
        let of = |part: &[u64]| part.iter().max().copied().unwrap_or_default();
        let service = most.entry(name.split(' ').next().unwrap_or(name)).or_default();
        *service = (service.0.max(of(before)), service.1.max(of(after)));
    }
    for (service, (before, after)) in most {
        assert!(after <= before * 5 / 4 + 32, "{service} grew from {before} to {after} MiB");
    }
}
