//! A load test against a stack whose workers are stood in for, by a role that may do nothing else: every job is answered and counted,
//! the group follows, and nothing is left behind, also by a test that is interrupted or that something goes wrong with.

use crate::{
    permissions::without,
    setting::{Synced, both, local_spec},
};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_sqs::types::Message;
use contract::{Job, job::NOBODY, record};
use controller::reconcile::Connection;
use local::aws::ACCOUNT;
use serde_json::{Value, json};
use std::{
    path::PathBuf,
    process::{Output, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::Command,
};

/// Does what a worker does, but for looking at the picture.
struct Worker<'a> {
    connection: &'a Connection,
    queue: String,
}

impl<'a> Worker<'a> {
    async fn new(connection: &'a Connection) -> Self {
        let queue = connection.aws.sqs.get_queue_url().queue_name("talo-local-identify").send().await.unwrap();
        Self { connection, queue: queue.queue_url.unwrap() }
    }

    async fn receive(&self, most: i32) -> Vec<Message> {
        let call = self.connection.aws.sqs.receive_message().queue_url(&self.queue);
        let received = call.max_number_of_messages(most).wait_time_seconds(1).send().await.unwrap();
        received.messages.unwrap_or_default()
    }

    /// Begins a job, where its picture is there.
    async fn begin(&self, message: &Message) -> Option<Job> {
        let job = Job::parse(message.body().unwrap(), "", "images").unwrap();
        assert_eq!(job.chat_id, NOBODY);
        let aws = &self.connection.aws;
        let picture = aws.s3.get_object().bucket(&aws.known.bucket).key(&job.key).send().await;
        picture.is_ok().then_some(job)
    }

    async fn finish(&self, message: Message, job: Option<Job>) {
        let aws = &self.connection.aws;
        if let Some(job) = job {
            let drawn = format!("{}/{NOBODY}/{}.jpg", record::PREDICTED_PREFIX, job.prediction_id);
            aws.s3.put_object().bucket(&aws.known.bucket).key(&drawn).body(vec![0].into()).send().await.unwrap();
            let put = aws.dynamodb.put_item().table_name("talo-local-predictions");
            let put = put.item(record::PREDICTION_ID, AttributeValue::S(job.prediction_id));
            let put = put.item(record::CHAT_ID, AttributeValue::N(job.chat_id.to_string()));
            put.item(record::PREDICTED_IMG_PATH, AttributeValue::S(drawn)).send().await.unwrap();
        }
        let handle = message.receipt_handle.unwrap();
        aws.sqs.delete_message().queue_url(&self.queue).receipt_handle(handle).send().await.unwrap();
    }

    async fn work(&self) {
        loop {
            for message in self.receive(10).await {
                let job = self.begin(&message).await;
                self.finish(message, job).await;
            }
        }
    }
}

/// A folder with three pictures, and something else.
fn pictures(stack: &Synced) -> PathBuf {
    let pictures = stack.folder.path().join("pictures");
    std::fs::create_dir(&pictures).unwrap();
    for n in 0..3 {
        std::fs::write(pictures.join(format!("{n}.jpg")), [0xff, 0xd8, n]).unwrap();
    }
    std::fs::write(pictures.join("notes.txt"), "no picture").unwrap();
    pictures
}

/// Keys of the objects in the bucket, and of those that are kept as old versions or are marked as deleted.
async fn objects(connection: &Connection) -> Vec<String> {
    let aws = &connection.aws;
    let listed = aws.s3.list_object_versions().bucket(&aws.known.bucket).send().await.unwrap();
    let keys = listed.versions().iter().map(|v| v.key()).chain(listed.delete_markers().iter().map(|m| m.key()));
    keys.map(|key| key.unwrap().to_owned()).collect()
}

/// The policy that is printed for who load-tests.
async fn printed(stack: &Synced) -> Value {
    let printed = stack.run(&["iam-policy", "--load-test", "--account", ACCOUNT]).await;
    serde_json::from_slice(&printed.stdout).unwrap_or_else(|_| panic!("{}", both(&printed)))
}

/// A load test by a role with this policy.
async fn load_test(stack: &Synced, policy: &Value, args: &[&str]) -> Command {
    stack.world.give("tester", policy).await;
    let mut command = stack.command(&[&["load-test"], args].concat());
    command.envs(stack.world.aws.env_as("tester").await.unwrap()).kill_on_drop(true);
    command
}

/// How it ends while a worker works.
async fn with_worker(mut command: Command, connection: &Connection) -> Output {
    let worker = Worker::new(connection).await;
    tokio::select! {
        output = command.output() => output.unwrap(),
        () = worker.work() => unreachable!(),
    }
}

/// Neither object nor record.
async fn nothing_is_left(connection: &Connection) {
    assert_eq!(objects(connection).await, Vec::<String>::new());
    let left = connection.aws.dynamodb.scan().table_name("talo-local-predictions").send().await.unwrap();
    assert_eq!(left.count(), 0);
}

#[tokio::test]
async fn every_job_is_answered_the_group_follows_and_nothing_is_left() {
    let stack = Synced::new().await;
    let connection = stack.world.connect(local_spec()).await;
    let pictures = pictures(&stack);
    // A fleet that is busy: target tracking makes three of one.
    stack.world.aws.switch("tracking", json!(true)).await.unwrap();
    stack.world.aws.cpu("talo-local-yolo5", 90.0).await.unwrap();

    let svg = stack.folder.path().join("load.svg");
    let (images, svg_path) = (pictures.to_str().unwrap(), svg.to_str().unwrap());
    let policy = printed(&stack).await;
    let args = ["--images", images, "--rate", "20", "--duration", "3s", "-o", "json", "--svg", svg_path];
    let output = with_worker(load_test(&stack, &policy, &args).await, &connection).await;
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["sent"], &report["answered"]), (&json!(60), &json!(60)), "{report}");
    assert_eq!(report["workers"][1], 3, "{report}");
    let last = report["samples"].as_array().unwrap().last().unwrap();
    for latency in [&report["latency"], &last["latency"]] {
        let [p50, p90, p99] = ["p50", "p90", "p99"].map(|p| latency[p].as_f64().unwrap());
        assert!(0.0 < p50 && p50 <= p90 && p90 <= p99, "{report}");
    }
    assert_eq!(std::fs::read_to_string(&svg).unwrap().matches("<polyline").count(), 5);

    nothing_is_left(&connection).await;

    // What cannot be meant is refused before anything is sent.
    let refused = stack.run(&["load-test", "--images", "/nowhere", "--rate", "20"]).await;
    assert!(both(&refused).contains("/nowhere cannot be read"), "{}", both(&refused));
    let refused = stack.run(&["load-test", "--images", images, "--rate", "200", "--duration", "1h"]).await;
    assert!(both(&refused).contains("1 to 100000 are allowed"), "{}", both(&refused));
}

#[tokio::test]
async fn an_interrupted_test_sends_no_more_leaves_nothing_and_tells_what_was_until_then() {
    let stack = Synced::new().await;
    let connection = stack.world.connect(local_spec()).await;
    let pictures = pictures(&stack);
    let args = ["--images", pictures.to_str().unwrap(), "--rate", "20", "--duration", "1h", "-o", "json"];
    let mut command = load_test(&stack, &printed(&stack).await, &args).await;
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();

    // A worker has a job in hand when the interrupt comes, and is done when the pictures are gone.
    let worker = Worker::new(&connection).await;
    let message = loop {
        if let Some(message) = worker.receive(1).await.pop() {
            break message;
        }
    };
    let job = worker.begin(&message).await;
    assert!(job.is_some(), "its picture is there");
    let interrupted = Command::new("kill").args(["-INT", &child.id().unwrap().to_string()]).status().await.unwrap();
    assert!(interrupted.success());
    while !objects(&connection).await.is_empty() {
        // Nothing tells when an object goes, so this asks again.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    worker.finish(message, job).await;
    let output = tokio::select! {
        output = child.wait_with_output() => output.unwrap(),
        () = worker.work() => unreachable!(),
    };

    assert_eq!(output.status.code(), Some(2), "{}", both(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["interrupted"] == true && report["answered"] == 0, "{report}");
    assert!((1..2000).contains(&report["sent"].as_u64().unwrap()), "{report}");
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("interrupted: no more jobs are sent"),
        "{}",
        both(&output)
    );
    nothing_is_left(&connection).await;
}

#[tokio::test]
async fn whatever_the_policy_lacks_is_told_first_and_no_report_is_lost_by_it() {
    let stack = Synced::new().await;
    let connection = stack.world.connect(local_spec()).await;
    let pictures = pictures(&stack);
    let policy = printed(&stack).await;
    let args = ["--images", pictures.to_str().unwrap(), "--rate", "5", "--duration", "1s", "-o", "json"];
    for statement in policy["Statement"].as_array().unwrap() {
        let sid = statement["Sid"].as_str().unwrap();
        let output = with_worker(load_test(&stack, &without(&policy, sid), &args).await, &connection).await;
        let said = both(&output);
        assert_eq!(output.status.code(), Some(1), "without {sid}: {said}");
        // The first of all errors is about what is missing, also where cleaning up fails as well.
        let (_, refused) = said.split_once("not authorized to perform: ").unwrap_or_else(|| panic!("{sid}: {said}"));
        let refused = refused.split(' ').next().unwrap();
        assert!(statement["Action"].as_array().unwrap().contains(&json!(refused)), "without {sid}: {said}");
        // What may not be looked at is found out before anything is sent; what was measured is told, whatever happens later.
        let sent = sid.starts_with("Remove");
        assert_eq!(
            serde_json::from_slice::<Value>(&output.stdout).is_ok_and(|r| r["sent"] != 0),
            sent,
            "{sid}: {said}"
        );
    }
}

#[tokio::test]
async fn calls_that_fail_for_a_while_are_made_again() {
    let stack = Synced::new().await;
    let connection = stack.world.connect(local_spec()).await;
    let pictures = pictures(&stack);
    let args = ["--images", pictures.to_str().unwrap(), "--rate", "5", "--duration", "5s", "-o", "json"];
    let mut command = load_test(&stack, &printed(&stack).await, &args).await;
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let worker = Worker::new(&connection).await;
    let test = async {
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        while !lines.next_line().await.unwrap().expect("a first job").contains(" sent ") {}
        // The table throttles for longer than the SDK itself tries.
        stack.world.aws.switch("refuse", json!({ "dynamodb:Query": "ThrottlingException" })).await.unwrap();
        while !lines.next_line().await.unwrap().expect("a call that is made again").contains("tried again") {}
        stack.world.aws.switch("refuse", json!({})).await.unwrap();
        let mut rest = String::new();
        lines.into_inner().read_to_string(&mut rest).await.unwrap();
        (child.wait_with_output().await.unwrap(), rest)
    };
    let (output, rest) = tokio::select! {
        ended = test => ended,
        () = worker.work() => unreachable!(),
    };
    assert_eq!(output.status.code(), Some(0), "{}{rest}", both(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["sent"], &report["answered"]), (&json!(25), &json!(25)), "{report}");
    nothing_is_left(&connection).await;
}
