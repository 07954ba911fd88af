//! How many texts a second one bot answers at 200 connections, how long one takes, and the memory of the process.
//! `make bench-updates`.

use super::setting::{Bot, World};
use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use contract::webhook::SECRET_HEADER;
use serde_json::{Map, Value, json};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::net::TcpListener;

const CONNECTIONS: u32 = 200;
const TIME: Duration = Duration::from_secs(15);
/// Of so many updates one comes twice.
const TWICE: u32 = 10;

/// What DynamoDB does for a text: an update is claimed once, held by its holder and done; a chat's settings are read. In memory, and
/// at once.
type Items = Arc<Mutex<HashMap<String, Map<String, Value>>>>;

async fn store() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().route("/", post(call)).with_state(Items::default());
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

async fn call(State(items): State<Items>, headers: HeaderMap, body: String) -> (StatusCode, Json<Value>) {
    let request: Value = serde_json::from_str(&body).unwrap();
    let key = format!("{} {}", request["Key"]["pk"]["S"], request["Key"]["sk"]["S"]);
    let mut items = items.lock().unwrap();
    let operation = headers["x-amz-target"].to_str().unwrap().rsplit('.').next().unwrap();
    let answer = match operation {
        "GetItem" => items.get(&key).map_or_else(|| json!({}), |item| json!({ "Item": item })),
        "UpdateItem" => {
            let condition = request["ConditionExpression"].as_str().unwrap_or_default();
            if condition.contains("attribute_not_exists(pk)") && items.contains_key(&key) {
                let error = json!({ "__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException" });
                return (StatusCode::BAD_REQUEST, Json(error));
            }
            let item = items.entry(key).or_default();
            let expression = request["UpdateExpression"].as_str().unwrap();
            let (set, add) = expression.split_once(" ADD ").unwrap_or((expression, ""));
            for (name, value) in set.trim_start_matches("SET ").split(", ").filter_map(|part| part.split_once(" = ")) {
                if let Some(value) = request["ExpressionAttributeValues"].get(value) {
                    item.insert(name.to_owned(), value.clone());
                }
            }
            if let Some((name, value)) = add.split_once(' ') {
                item.insert(name.to_owned(), request["ExpressionAttributeValues"][value].clone());
            }
            json!({ "Attributes": item })
        }
        other => panic!("a text needs {other}"),
    };
    (StatusCode::OK, Json(answer))
}

fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1000
}

/// One user who writes, waits for the bot to be done with it, and writes again.
async fn writes(user: u32, url: String, secret: String, end: Instant) -> Vec<Duration> {
    // A client each: a connection each.
    let client = reqwest::Client::new();
    let person = json!({ "id": user, "is_bot": false, "first_name": "Ada", "type": "private" });
    let mut took = vec![];
    while Instant::now() < end {
        let number = u32::try_from(took.len()).unwrap();
        let message =
            json!({ "message_id": number + 1, "date": 1, "chat": person, "from": person, "text": "how are you?" });
        let update = json!({ "update_id": user * 1_000_000 + number, "message": message }).to_string();
        let deliver = || {
            let post = client.post(format!("{url}/telegram/x")).header(SECRET_HEADER, &secret);
            post.body(update.clone()).send()
        };
        let started = Instant::now();
        assert_eq!(deliver().await.unwrap().status(), 200);
        took.push(started.elapsed());
        if number.is_multiple_of(TWICE) {
            assert_eq!(deliver().await.unwrap().status(), 200);
        }
    }
    took
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: make bench-updates"]
async fn texts_a_second_at_200_connections() {
    println!("store       texts/s  median ms  p99 ms  idle MB  loaded MB");
    for (name, store) in [("in memory", Some(store().await)), ("local AWS", None)] {
        let world = World::without_bots().await;
        let mut command = world.command();
        command.envs(store.map(|url| ("AWS_ENDPOINT_URL_DYNAMODB", url)));
        let bot = Bot::start(command).await;
        let pid = bot.child.id().unwrap();
        let idle = resident(pid);
        let secret = contract::webhook::secret(world.telegram.token());
        // A bot can write only to those who wrote to it. Nothing delivers this first text.
        for id in 1..=CONNECTIONS {
            world.telegram.user(id.into(), "Ada").send_text("/start").unwrap();
        }
        let end = Instant::now() + TIME;
        let writing = (1..=CONNECTIONS).map(|id| tokio::spawn(writes(id, bot.url.clone(), secret.clone(), end)));
        let took = futures::future::try_join_all(writing).await.unwrap();
        let mut took: Vec<Duration> = took.into_iter().flatten().collect();
        let loaded = resident(pid);
        took.sort_unstable();
        let at = |share: usize| took[took.len() * share / 100].as_secs_f64() * 1000.0;
        let rate = took.len() as f64 / TIME.as_secs_f64();
        println!("{name:<10}  {rate:7.0}  {:9.1}  {:6.1}  {idle:7}  {loaded:9}", at(50), at(99));
        // Each was answered, and none of those that came twice was answered twice.
        assert_eq!(world.calls("sendMessage"), took.len());
    }
}
