//! What goes wrong around a worker: AWS keeps silent or refuses, a name is wrong, the end comes while it starts or at a job's last
//! receive.

use crate::{
    sample,
    worker::{World, heard, job, names, says, terminate},
};
use contract::{Outcome, result::Failure};
use serde_json::json;
use std::time::Duration;

/// Longer than anything here takes.
const SOON: Duration = Duration::from_mins(1);

/// A picture, and a job for it.
async fn one_job(world: &World) {
    world.put("images/7/11.jpg", std::fs::read(sample("chelsea.jpg")).unwrap()).await;
    world.send(job("a", "images/7/11.jpg").to_json()).await;
}

/// How the job ended, once for each answer.
async fn outcomes(world: &World) -> Vec<Outcome> {
    world.answers(names(&["a"])).await.into_values().flatten().map(|answer| answer.outcome).collect()
}

#[tokio::test]
async fn a_job_that_outlasts_its_time_out_is_nobody_elses_and_a_call_that_is_never_answered_is_made_again() {
    // Without being kept hidden it would be seen again after three seconds.
    let world = World::with_visibility(100, 3).await;
    one_job(&world).await;
    world.aws.switch("hold_before_call", "s3:GET".into()).await.unwrap();
    let _worker = world.worker();
    tokio::time::timeout(SOON, world.aws.held()).await.expect("a download").unwrap();
    let call = world.sqs.receive_message().queue_url(&world.identify).wait_time_seconds(10);
    assert_eq!(call.send().await.unwrap().messages(), []);

    assert_eq!(outcomes(&world).await, [Outcome::Done]);
    let calls = world.aws.calls().await.unwrap();
    let made = |name: &str| calls.iter().filter(|call| *call == name).count();
    // The worker has a hand free for another job all the time: it would have begun this one again.
    assert_eq!((made("dynamodb:GetItem"), made("s3:GET")), (1, 2));
    let gone = async {
        while world.count(&world.identify).await > 0 {
            // The answer comes before the deletion, which nothing tells.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(SOON, gone).await.expect("the end of the job");
}

#[tokio::test]
async fn a_job_outlives_a_worker_whose_bucket_is_misnamed() {
    let world = World::new(100).await;
    one_job(&world).await;
    let (mut misled, mut log) = heard(world.command().env("IMAGES_BUCKET", "picture"), "warn");
    let line = says(&mut log, "the job did not work this time").await;
    assert!(line.contains("NoSuchBucket"), "{line}");
    misled.kill().await.unwrap();
    let _worker = world.worker();
    assert_eq!(outcomes(&world).await, [Outcome::Done]);
}

#[tokio::test]
async fn a_worker_that_is_told_to_end_while_it_starts_does_so() {
    let world = World::new(100).await;
    world.aws.switch("hold_before_call", "sqs:GetQueueAttributes".into()).await.unwrap();
    let mut worker = world.worker();
    tokio::time::timeout(SOON, world.aws.held()).await.expect("a start").unwrap();
    terminate(&worker);
    // Much sooner than the silent call ends.
    let ended = tokio::time::timeout(Duration::from_secs(20), worker.wait()).await.expect("an end");
    assert!(ended.unwrap().success());
}

#[tokio::test]
async fn the_failure_of_a_last_receive_is_told_as_soon_as_it_can_be() {
    let world = World::new(1).await;
    one_job(&world).await;
    let broken = json!({ "dynamodb:PutItem": "InternalServerError" });
    let silenced = json!({ "dynamodb:PutItem": "InternalServerError", "sqs:SendMessage": "InternalError" });
    world.aws.switch("refuse", silenced).await.unwrap();
    let (_worker, mut log) = heard(&mut world.command(), "warn");
    says(&mut log, "the answer was not sent; trying again").await;
    world.aws.switch("refuse", broken).await.unwrap();
    assert_eq!(outcomes(&world).await, [Outcome::Failed(Failure::Internal)]);
    world.given_up().await;
}

#[tokio::test]
async fn a_job_that_is_given_back_at_its_last_receive_is_told_to_have_failed() {
    // A message that were not given back would be seen again in ten minutes.
    let world = World::with_visibility(1, 600).await;
    one_job(&world).await;
    world.aws.switch("hold_before_call", "s3:GET".into()).await.unwrap();
    let mut worker = world.command().args(["--deadline", "1"]).spawn().unwrap();
    tokio::time::timeout(SOON, world.aws.held()).await.expect("a download").unwrap();
    terminate(&worker);
    let ended = tokio::time::timeout(SOON, worker.wait()).await.expect("an end");
    assert!(ended.unwrap().success());
    assert_eq!(outcomes(&world).await, [Outcome::Failed(Failure::Internal)]);
    let _next = world.worker();
    world.given_up().await;
}
