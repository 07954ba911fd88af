//! The worker as a process, on a local AWS: what it writes, what it answers, and that nothing is lost when it is killed.

use crate::{model, sample};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_sqs::types::QueueAttributeName;
use contract::{Answer, Job, Outcome, record, result::Failure};
use local::aws::LocalAws;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    process::Stdio,
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStderr, Command},
};

/// What a worker works on.
pub struct World {
    pub aws: LocalAws,
    pub sqs: aws_sdk_sqs::Client,
    s3: aws_sdk_s3::Client,
    dynamodb: aws_sdk_dynamodb::Client,
    pub identify: String,
    dead: String,
    results: String,
    model: PathBuf,
}

impl World {
    pub async fn new(most_receives: u32) -> Self {
        Self::with_visibility(most_receives, 3).await
    }

    /// A message that is not kept hidden or given back is seen again after so many seconds.
    pub async fn with_visibility(most_receives: u32, seconds: u32) -> Self {
        let model = tokio::task::spawn_blocking(model).await.unwrap();
        let aws = LocalAws::start().await.unwrap();
        let config = aws.config("us-east-1");
        let sqs = aws_sdk_sqs::Client::new(&config);
        let s3 = aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build();
        let s3 = aws_sdk_s3::Client::from_conf(s3);
        let dynamodb = aws_sdk_dynamodb::Client::new(&config);
        s3.create_bucket().bucket("pictures").send().await.unwrap();
        let key =
            KeySchemaElement::builder().attribute_name(record::PREDICTION_ID).key_type(KeyType::Hash).build().unwrap();
        let id = AttributeDefinition::builder()
            .attribute_name(record::PREDICTION_ID)
            .attribute_type(ScalarAttributeType::S)
            .build()
            .unwrap();
        let table = dynamodb.create_table().table_name("predictions").billing_mode(BillingMode::PayPerRequest);
        table.key_schema(key).attribute_definitions(id).send().await.unwrap();
        let queue = async |name: &str| sqs.create_queue().queue_name(name).send().await.unwrap().queue_url.unwrap();
        let (results, dead) = (queue("results").await, queue("dead").await);
        let redrive = serde_json::json!({
            "deadLetterTargetArn": "arn:aws:sqs:us-east-1:123456789012:dead", "maxReceiveCount": most_receives,
        });
        let identify = sqs
            .create_queue()
            .queue_name("identify")
            .attributes(QueueAttributeName::VisibilityTimeout, seconds.to_string())
            .attributes(QueueAttributeName::RedrivePolicy, redrive.to_string())
            .send()
            .await
            .unwrap()
            .queue_url
            .unwrap();
        Self { aws, sqs, s3, dynamodb, identify, dead, results, model }
    }

    pub fn worker(&self) -> Child {
        self.command().spawn().unwrap()
    }

    /// What starts a worker.
    pub fn command(&self) -> Command {
        // What is measured is the program that is shipped.
        let program = std::env::var_os("YOLO5").unwrap_or_else(|| env!("CARGO_BIN_EXE_yolo5").into());
        let mut command = Command::new(program);
        command
            .args(["worker", "--tuning", "off"])
            .envs(self.aws.env())
            .env("YOLO5_MODEL", &self.model)
            .env("YOLO5_LISTEN", "127.0.0.1:0");
        command.env("IDENTIFY_QUEUE_URL", &self.identify).env("RESULTS_QUEUE_URL", &self.results);
        command.env("PREDICTIONS_TABLE", "predictions").env("IMAGES_BUCKET", "pictures").env("RUST_LOG", "warn");
        command.kill_on_drop(true);
        command
    }

    pub async fn put(&self, key: &str, bytes: Vec<u8>) {
        self.s3.put_object().bucket("pictures").key(key).body(ByteStream::from(bytes)).send().await.unwrap();
    }

    pub async fn send(&self, body: String) {
        self.sqs.send_message().queue_url(&self.identify).message_body(body).send().await.unwrap();
    }

    /// Answers until each of these predictions has one.
    pub async fn answers(&self, mut missing: BTreeSet<String>) -> BTreeMap<String, Vec<Answer>> {
        let mut all: BTreeMap<String, Vec<Answer>> = BTreeMap::new();
        let gather = async {
            while !missing.is_empty() {
                let call = self.sqs.receive_message().queue_url(&self.results).wait_time_seconds(5);
                let got = call.max_number_of_messages(10).send().await.unwrap();
                for message in got.messages() {
                    let answer = Answer::parse(message.body().unwrap()).unwrap();
                    missing.remove(&answer.prediction_id);
                    all.entry(answer.prediction_id.clone()).or_default().push(answer);
                    let receipt = message.receipt_handle().unwrap();
                    self.sqs.delete_message().queue_url(&self.results).receipt_handle(receipt).send().await.unwrap();
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(100), gather).await.expect("answers");
        all
    }

    /// Waits until the queue has given a job up.
    pub async fn given_up(&self) {
        let kept = async {
            while self.count(&self.dead).await == 0 {
                // The queue does so when it is next asked; nothing tells when that was.
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), kept).await.expect("the dead-letter queue");
    }

    pub async fn count(&self, queue: &str) -> u32 {
        let call = self.sqs.get_queue_attributes().queue_url(queue).attribute_names(QueueAttributeName::All);
        let got = call.send().await.unwrap();
        let n = |name| got.attributes().unwrap()[&name].parse::<u32>().unwrap();
        n(QueueAttributeName::ApproximateNumberOfMessages)
            + n(QueueAttributeName::ApproximateNumberOfMessagesNotVisible)
    }
}

pub fn job(id: &str, key: &str) -> Job {
    Job {
        v: contract::VERSION,
        prediction_id: id.to_owned(),
        chat_id: 7,
        message_id: 11,
        reply_id: Some(12),
        key: key.to_owned(),
        confidence: None,
        sent_at: 0,
    }
}

pub fn names(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|s| (*s).to_owned()).collect()
}

#[tokio::test]
async fn a_job_becomes_a_picture_a_record_and_an_answer_and_what_cannot_work_is_answered_at_once() {
    let world = World::new(3).await;
    world.put("images/7/11.jpg", std::fs::read(sample("grace_hopper.jpg")).unwrap()).await;
    world.put("images/7/rocket.jpg", std::fs::read(sample("rocket.jpg")).unwrap()).await;
    world.put("images/7/text.jpg", b"hello".to_vec()).await;
    world.put("images/old.jpg", std::fs::read(sample("chelsea.jpg")).unwrap()).await;
    let (_worker, mut log) = heard(&mut world.command(), "warn,yolo5=info");
    let ready = says(&mut log, "ready for jobs").await;
    let address = ready.split("listen=").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    for (id, key) in
        [("a", "images/7/11.jpg"), ("b", "images/7/rocket.jpg"), ("c", "images/7/none.jpg"), ("d", "images/7/text.jpg")]
    {
        world.send(job(id, key).to_json()).await;
    }
    world.send("no job".to_owned()).await;
    let answers = world.answers(names(&["a", "b", "c", "d"])).await;
    let outcome = |id: &str| answers[id][0].outcome.clone();
    assert_eq!(outcome("a"), Outcome::Done);
    assert_eq!(outcome("b"), Outcome::NothingFound);
    assert_eq!(outcome("c"), Outcome::Failed(Failure::NoObject));
    assert_eq!(outcome("d"), Outcome::Failed(Failure::NoImage));
    assert_eq!((answers["a"][0].chat_id, answers["a"][0].reply_id), (7, Some(12)));

    let key = AttributeValue::S("a".to_owned());
    let got = world.dynamodb.get_item().table_name("predictions").key(record::PREDICTION_ID, key).send().await.unwrap();
    let item = got.item.unwrap();
    let label = item[record::LABELS].as_l().unwrap()[1].as_m().unwrap();
    assert_eq!(label["class"].as_s().unwrap(), "tie");
    assert!((label["cx"].as_n().unwrap().parse::<f32>().unwrap() - 0.499).abs() < 0.01);
    let drawn = item[record::PREDICTED_IMG_PATH].as_s().unwrap();
    assert_eq!(drawn, "predicted/7/a.jpg");
    let object = world.s3.get_object().bucket("pictures").key(drawn).send().await.unwrap();
    assert_eq!(object.content_type(), Some("image/jpeg"));
    let picture = image::load_from_memory(&object.body.collect().await.unwrap().into_bytes()).unwrap();
    assert_eq!((picture.width(), picture.height()), (512, 600));

    // The same job again is the same answer again, and the form of the old bot is understood.
    world.send(job("a", "images/7/11.jpg").to_json()).await;
    assert_eq!(world.answers(names(&["a"])).await["a"][0].outcome, Outcome::Done);
    let old = r#"{"chatId": "5", "imgName": "old.jpg"}"#;
    let sent = world.sqs.send_message().queue_url(&world.identify).message_body(old).send().await.unwrap();
    let id = sent.message_id.unwrap();
    assert_eq!(world.answers(names(&[&id])).await[&id][0].chat_id, 5);
    assert_eq!(world.count(&world.dead).await, 0);

    let get = async |path: &str| reqwest::get(format!("http://{address}/{path}")).await.unwrap().text().await.unwrap();
    assert_eq!(get("healthz").await, "ok\n");
    let metrics = get("metrics").await;
    // Three pictures were looked at: one job's was there no more, one's was none, and one had been looked at before.
    let names = [
        "yolo5_jobs_total{end=\"done\"}",
        "yolo5_images_total 3",
        "yolo5_queue_seconds",
        "yolo5_job_seconds",
        "yolo5_model_info{",
    ];
    for name in names {
        assert!(metrics.contains(name), "no {name} in\n{metrics}");
    }
    for stage in ["download", "read", "detect", "draw", "upload", "record"] {
        assert!(
            metrics.contains(&format!("yolo5_stage_seconds_count{{stage=\"{stage}\"}}")),
            "no {stage} in\n{metrics}"
        );
    }
}

#[tokio::test]
async fn a_fault_that_stays_is_told_on_the_last_receive_and_the_job_kept_for_people() {
    let world = World::new(2).await;
    world.put("images/7/11.jpg", std::fs::read(sample("chelsea.jpg")).unwrap()).await;
    world.aws.switch("refuse", serde_json::json!({ "dynamodb:PutItem": "InternalServerError" })).await.unwrap();
    let _worker = world.worker();
    world.send(job("a", "images/7/11.jpg").to_json()).await;
    let answers = world.answers(names(&["a"])).await;
    assert_eq!(answers["a"][0].outcome, Outcome::Failed(Failure::Internal));
    world.given_up().await;
}

/// What a worker logs.
pub type Log = Lines<BufReader<ChildStderr>>;

/// Starts a worker whose log is read.
pub fn heard(command: &mut Command, level: &str) -> (Child, Log) {
    let mut worker = command.env("NO_COLOR", "1").env("RUST_LOG", level).stderr(Stdio::piped()).spawn().unwrap();
    let log = BufReader::new(worker.stderr.take().unwrap()).lines();
    (worker, log)
}

/// Asks a worker to end.
pub fn terminate(worker: &Child) {
    let id = worker.id().unwrap().to_string();
    std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap();
}

/// The next line of a worker's log that holds these words.
pub async fn says(log: &mut Log, words: &str) -> String {
    let line = async {
        loop {
            let line = log.next_line().await.unwrap().unwrap_or_else(|| panic!("it ended without {words:?}"));
            if line.contains(words) {
                return line;
            }
        }
    };
    tokio::time::timeout(Duration::from_mins(1), line).await.unwrap_or_else(|_| panic!("no {words:?}"))
}

/// A hundred jobs, and a worker that is killed again and again: before and after each of its calls.
#[tokio::test]
async fn a_worker_killed_at_every_stage_loses_no_job_and_writes_each_record_once() {
    let world = World::new(100).await;
    let photos = ["chelsea.jpg", "coffee.jpg", "grace_hopper.jpg", "rocket.jpg"];
    for photo in photos {
        world.put(&format!("images/7/{photo}"), std::fs::read(sample(photo)).unwrap()).await;
    }
    let mut ids = BTreeSet::new();
    for n in 0..100 {
        let id = format!("job-{n}");
        world.send(job(&id, &format!("images/7/{}", photos[n % photos.len()])).to_json()).await;
        ids.insert(id);
    }
    for (switch, call) in [
        ("hold_after_call", "sqs:ReceiveMessage"),
        ("hold_before_call", "s3:GET"),
        ("hold_after_call", "s3:GET"),
        ("hold_before_call", "s3:PUT"),
        ("hold_after_call", "s3:PUT"),
        ("hold_before_call", "dynamodb:PutItem"),
        ("hold_after_call", "dynamodb:PutItem"),
        ("hold_before_call", "sqs:SendMessage"),
        ("hold_after_call", "sqs:SendMessage"),
        ("hold_before_call", "sqs:DeleteMessage"),
        ("hold_after_call", "sqs:DeleteMessage"),
    ] {
        world.aws.switch(switch, call.into()).await.unwrap();
        let mut worker = world.worker();
        let held = tokio::time::timeout(Duration::from_secs(30), world.aws.held()).await;
        held.unwrap_or_else(|_| panic!("no {call}")).unwrap();
        worker.kill().await.unwrap();
    }
    // In the middle of the computing, which makes no call: it takes longer than the line needs to get here.
    let (mut worker, mut log) = heard(&mut world.command(), "warn,yolo5=debug");
    says(&mut log, "detects").await;
    worker.kill().await.unwrap();
    let _worker = world.worker();
    let answers = world.answers(ids.clone()).await;
    for (id, all) in &answers {
        assert!(all.iter().all(|a| a.outcome == all[0].outcome), "{id}: one job, one outcome");
        assert!(matches!(all[0].outcome, Outcome::Done | Outcome::NothingFound));
    }
    let doubled: usize = answers.values().map(|all| all.len() - 1).sum();
    assert!(doubled <= 12, "{doubled} answers too many; at most one a kill");
    let records = world.dynamodb.scan().table_name("predictions").send().await.unwrap();
    assert_eq!(records.items().len(), 100);
    assert_eq!(world.count(&world.dead).await, 0);
}

#[tokio::test]
async fn asked_to_stop_it_finishes_what_is_in_hand() {
    let world = World::new(5).await;
    world.put("images/7/11.jpg", std::fs::read(sample("coffee.jpg")).unwrap()).await;
    let mut worker = world.worker();
    let ids = names(&["j0", "j1", "j2", "j3", "j4", "j5", "j6", "j7"]);
    for id in &ids {
        world.send(job(id, "images/7/11.jpg").to_json()).await;
    }
    let mut answers = world.answers(names(&["j0"])).await;
    terminate(&worker);
    let ended = tokio::time::timeout(Duration::from_secs(25), worker.wait()).await;
    assert!(ended.expect("it ends by itself within its deadline").unwrap().success());
    // Whatever it had not begun is there for the next one, and nothing was done twice.
    let _next = world.worker();
    let missing: BTreeSet<_> = ids.iter().filter(|id| !answers.contains_key(*id)).cloned().collect();
    assert!(!missing.is_empty(), "it was stopped before it was done");
    for (id, more) in world.answers(missing).await {
        answers.entry(id).or_default().extend(more);
    }
    assert_eq!(answers.len(), 8);
    assert!(answers.values().all(|all| all.len() == 1), "{answers:?}");
}
