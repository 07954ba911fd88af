//! Measures the bot's program: `updates PROGRAM` starts it beside an AWS and a Telegram that answer from memory at once, lets
//! 200 connections deliver text updates (every hundredth twice), and prints updates a second, how long a delivery takes, and
//! the memory that the program holds.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a program for measuring")]

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use contract::{env, webhook};
use serde_json::{Value, json};
use std::{
    collections::{HashMap, VecDeque},
    process::Stdio,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::io::{AsyncBufReadExt, BufReader};

const TOKEN: &str = "123456:a-token-for-measuring-0000000000000";
const CONNECTIONS: usize = 200;
const UPDATES: u32 = 20_000;

/// The items of the chats table, by both keys.
type Items = Arc<Mutex<HashMap<String, HashMap<String, Value>>>>;

#[tokio::main]
async fn main() {
    let program = std::env::args().nth(1).expect("updates PROGRAM");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stand_ins = format!("http://{}", listener.local_addr().unwrap());
    let routes = Router::new().fallback(answer).with_state(Items::default());
    tokio::spawn(async move { axum::serve(listener, routes).await });

    let mut bot = tokio::process::Command::new(program)
        .env_clear()
        .envs(environment(&stand_ins))
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(bot.stderr.take().unwrap()).lines();
    let url = loop {
        let line = lines.next_line().await.unwrap().expect("the bot ended");
        let line: Value = serde_json::from_str(&line).unwrap_or_default();
        if let Some(address) = line["fields"]["address"].as_str() {
            break format!("http://{address}/telegram/x");
        }
    };
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    let process = bot.id().unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let idle = memory(process);

    let twice = (0..UPDATES).flat_map(|n| std::iter::repeat_n(n, 1 + usize::from(n % 100 == 0)));
    let wanted: Arc<Mutex<VecDeque<u32>>> = Arc::new(Mutex::new(twice.collect()));
    let client = reqwest::Client::builder().pool_max_idle_per_host(CONNECTIONS).build().unwrap();
    let begun = Instant::now();
    let connections = (0..CONNECTIONS).map(|_| tokio::spawn(connection(client.clone(), url.clone(), wanted.clone())));
    let mut times = Vec::new();
    for connection in futures::future::join_all(connections).await {
        times.extend(connection.unwrap());
    }
    let seconds = begun.elapsed().as_secs_f64();
    let loaded = memory(process);
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1000.0;
    let count = f64::from(u32::try_from(times.len()).unwrap());
    println!("{} deliveries over {CONNECTIONS} connections, store in memory", times.len());
    println!("{:22}{:9.0}", "updates a second", count / seconds);
    println!("{:22}{:9.1} {:9.1} {:9.1}", "ms p50, p99, most", at(50), at(99), at(100));
    println!("{:22}{idle:9.1} {loaded:9.1}", "MiB idle, most");
    bot.kill().await.unwrap();
}

/// Delivers what is left, one after the other; how long each took.
async fn connection(client: reqwest::Client, url: String, wanted: Arc<Mutex<VecDeque<u32>>>) -> Vec<Duration> {
    let mut times = Vec::new();
    loop {
        let Some(n) = wanted.lock().unwrap().pop_front() else { return times };
        let person = json!({ "id": 1000 + n, "is_bot": false, "first_name": "Ada", "type": "private" });
        let message = json!({ "message_id": n + 1, "date": 1, "chat": person, "from": person, "text": "hello" });
        let update = json!({ "update_id": n + 1, "message": message });
        let begun = Instant::now();
        loop {
            let post = client.post(&url).header(webhook::SECRET_HEADER, webhook::secret(TOKEN)).json(&update);
            // The second of a pair comes while the first is in work: Telegram would wait a second.
            match post.send().await.unwrap().status() {
                StatusCode::OK => break,
                StatusCode::SERVICE_UNAVAILABLE => tokio::time::sleep(Duration::from_millis(2)).await,
                other => panic!("{other}"),
            }
        }
        times.push(begun.elapsed());
    }
}

fn environment(stand_ins: &str) -> Vec<(&'static str, String)> {
    let queue = |name: &str| format!("{stand_ins}/queues/{name}");
    vec![
        (env::IDENTIFY_QUEUE_URL, queue("identify")),
        (env::RESULTS_QUEUE_URL, queue("results")),
        (env::WORK_QUEUE_URL, queue("work")),
        (env::CHATS_TABLE, "chats".into()),
        (env::PREDICTIONS_TABLE, "predictions".into()),
        (env::IMAGES_BUCKET, "pictures".into()),
        (env::TELEGRAM_TOKEN, TOKEN.into()),
        (env::TELEGRAM_API_URL, stand_ins.to_owned()),
        (env::POLYBOT_LISTEN, "127.0.0.1:0".into()),
        (env::LOG_FORMAT, "json".into()),
        (env::AWS_ENDPOINT_URL, stand_ins.to_owned()),
        (env::AWS_REGION, "us-east-1".into()),
        ("AWS_ACCESS_KEY_ID", "test".into()),
        ("AWS_SECRET_ACCESS_KEY", "test".into()),
    ]
}

/// AWS and Telegram, as far as a text update asks them.
async fn answer(State(items): State<Items>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let given: Value = serde_json::from_slice(&body).unwrap_or_default();
    match target.rsplit('.').next().unwrap_or_default() {
        "ReceiveMessage" => {
            tokio::time::sleep(Duration::from_secs(20)).await;
            Json(json!({})).into_response()
        }
        "GetItem" => match items.lock().unwrap().get(&key(&given)) {
            Some(item) => Json(json!({ "Item": item })).into_response(),
            None => Json(json!({})).into_response(),
        },
        "UpdateItem" => update(&items, &given),
        _ => {
            let method = uri.path().rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
            let me = json!({ "id": 123_456, "is_bot": true, "first_name": "Polybot", "username": "polybot",
                "can_join_groups": true, "can_read_all_group_messages": false, "supports_inline_queries": false,
                "can_connect_to_business": false, "has_main_web_app": false });
            let chat = json!({ "id": 1000, "type": "private", "first_name": "Ada" });
            let result = match method.as_str() {
                "getme" => me,
                "sendmessage" => json!({ "message_id": 9, "date": 1, "chat": chat, "from": me, "text": "x" }),
                _ => json!(true),
            };
            Json(json!({ "ok": true, "result": result })).into_response()
        }
    }
}

/// An update whose condition holds unless the item is done: what claiming an update comes down to.
fn update(items: &Items, given: &Value) -> Response {
    let mut items = items.lock().unwrap();
    let item = items.entry(key(given)).or_default();
    let claims =
        given["ConditionExpression"].as_str().is_some_and(|condition| condition.contains("attribute_not_exists"));
    if claims && item.contains_key("progress") {
        let refused =
            json!({ "__type": "ConditionalCheckFailedException", "message": "The conditional request failed" });
        return (StatusCode::BAD_REQUEST, Json(refused)).into_response();
    }
    let values = &given["ExpressionAttributeValues"];
    let expression = given["UpdateExpression"].as_str().unwrap_or_default();
    let (set, add) = expression.split_once(" ADD ").unwrap_or((expression, ""));
    for part in set.trim_start_matches("SET ").split(',') {
        if let Some((name, value)) = part.split_once('=') {
            item.insert(name.trim().to_owned(), values[value.trim()].clone());
        }
    }
    if let Some((name, _)) = add.trim_start_matches("ADD ").split_once(' ') {
        let before: u64 = item.get(name).and_then(|n| n["N"].as_str()?.parse().ok()).unwrap_or_default();
        item.insert(name.to_owned(), json!({ "N": (before + 1).to_string() }));
    }
    Json(json!({ "Attributes": item })).into_response()
}

fn key(given: &Value) -> String {
    format!("{} {}", given["Key"]["pk"]["S"], given["Key"]["sk"]["S"])
}

/// The most memory that a process has held, in MiB.
fn memory(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}
