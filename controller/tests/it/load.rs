//! A load test against a stack whose workers are stood in for: every job is answered and counted, the group follows, and nothing
//! is left behind.

use crate::setting::{Synced, both, local_spec};
use aws_sdk_dynamodb::types::AttributeValue;
use contract::{Job, job::NOBODY, record};
use controller::reconcile::Connection;
use serde_json::{Value, json};

/// Does what a worker does, but for looking at the picture.
async fn work(connection: &Connection) {
    let aws = &connection.aws;
    let queue = aws.sqs.get_queue_url().queue_name("talo-local-identify").send().await.unwrap().queue_url.unwrap();
    loop {
        let call = aws.sqs.receive_message().queue_url(&queue).max_number_of_messages(10).wait_time_seconds(1);
        for message in call.send().await.unwrap().messages.unwrap_or_default() {
            let job = Job::parse(message.body().unwrap(), "", "images").unwrap();
            assert_eq!(job.chat_id, NOBODY);
            let (bucket, drawn) = (&aws.known.bucket, format!("predicted/{}.jpg", job.prediction_id));
            aws.s3.get_object().bucket(bucket).key(&job.key).send().await.unwrap();
            aws.s3.put_object().bucket(bucket).key(&drawn).body(vec![0].into()).send().await.unwrap();
            let put = aws.dynamodb.put_item().table_name("talo-local-predictions");
            let put = put.item(record::PREDICTION_ID, AttributeValue::S(job.prediction_id));
            let put = put.item(record::CHAT_ID, AttributeValue::N(job.chat_id.to_string()));
            put.item(record::PREDICTED_IMG_PATH, AttributeValue::S(drawn)).send().await.unwrap();
            let handle = message.receipt_handle.unwrap();
            aws.sqs.delete_message().queue_url(&queue).receipt_handle(handle).send().await.unwrap();
        }
    }
}

#[tokio::test]
async fn every_job_is_answered_the_group_follows_and_nothing_is_left() {
    let stack = Synced::new().await;
    let connection = stack.world.connect(local_spec()).await;
    let pictures = stack.folder.path().join("pictures");
    std::fs::create_dir(&pictures).unwrap();
    for n in 0..3 {
        std::fs::write(pictures.join(format!("{n}.jpg")), [0xff, 0xd8, n]).unwrap();
    }
    std::fs::write(pictures.join("notes.txt"), "no picture").unwrap();
    // A fleet that is busy: target tracking makes three of one.
    stack.world.aws.switch("tracking", json!(true)).await.unwrap();
    stack.world.aws.cpu("talo-local-yolo5", 90.0).await.unwrap();

    let svg = stack.folder.path().join("load.svg");
    let (images, svg_path) = (pictures.to_str().unwrap(), svg.to_str().unwrap());
    let args = ["load-test", "--images", images, "--rate", "20", "--duration", "3s", "-o", "json", "--svg", svg_path];
    let mut command = stack.command(&args);
    let output = tokio::select! {
        output = command.output() => output.unwrap(),
        () = work(&connection) => unreachable!(),
    };
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["sent"], &report["answered"]), (&json!(60), &json!(60)), "{report}");
    assert_eq!(report["workers"][1], 3, "{report}");
    assert!(report["latency"]["p50"].as_f64().unwrap() > 0.0, "{report}");
    assert_eq!(std::fs::read_to_string(&svg).unwrap().matches("<polyline").count(), 3);

    let left = connection.aws.s3.list_objects_v2().bucket(&connection.aws.known.bucket).send().await.unwrap();
    assert!(left.contents().is_empty(), "{left:?}");
    let left = connection.aws.dynamodb.scan().table_name("talo-local-predictions").send().await.unwrap();
    assert_eq!(left.count(), 0);

    // What cannot be meant is refused before anything is sent.
    let refused = stack.run(&["load-test", "--images", "/nowhere", "--rate", "20"]).await;
    assert!(both(&refused).contains("/nowhere cannot be read"), "{}", both(&refused));
    let refused = stack.run(&["load-test", "--images", images, "--rate", "200", "--duration", "1h"]).await;
    assert!(both(&refused).contains("1 to 100000 are allowed"), "{}", both(&refused));
}
