//! What the tests share: a local AWS, a local Telegram, bot processes, and a load balancer before them.

use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType,
};
use aws_sdk_sqs::types::QueueAttributeName;
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use contract::{Answer, Job, Outcome, VERSION, env};
use image::{ImageFormat, Rgb, RgbImage};
use local::{
    aws::LocalAws,
    telegram::{LocalTelegram, Message, Options, User},
};
use std::{
    io::Cursor,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpListener,
    process::{Child, Command},
};

/// Longer than anything here takes; a test that waits so long has failed.
pub const SOON: Duration = Duration::from_secs(90);

/// Everything around the bots.
pub struct World {
    pub aws: LocalAws,
    pub telegram: LocalTelegram,
    pub dynamodb: aws_sdk_dynamodb::Client,
    pub sqs: aws_sdk_sqs::Client,
    pub s3: aws_sdk_s3::Client,
    pub secrets: aws_sdk_secretsmanager::Client,
    pub identify: String,
    pub results: String,
    pub results_dead: String,
    pub work: String,
    pub balancer: Balancer,
    pub bots: Vec<Bot>,
    pub flags: Vec<String>,
    /// Whether what each bot asks of Telegram and AWS goes through doors of its own.
    watched: bool,
}

/// A bot process.
pub struct Bot {
    pub child: Child,
    pub url: String,
    /// What its calls go through where it is watched.
    doors: Vec<Balancer>,
}

/// A load balancer: each request goes to the next instance, 502 where that one does not answer.
#[derive(Clone)]
pub struct Balancer {
    pub url: String,
    shared: Shared,
}

#[derive(Clone, Default)]
struct Shared {
    targets: Arc<Mutex<Vec<String>>>,
    turn: Arc<AtomicUsize>,
    client: reqwest::Client,
    /// What is asked and not answered yet: `PUT /pictures/images/1/2.jpg`.
    under_way: Arc<Mutex<Vec<String>>>,
}

impl World {
    /// Two bots behind a balancer that Telegram delivers to.
    pub async fn new() -> Self {
        let mut world = Self::without_bots().await;
        world.start_bots(2).await;
        world.set_webhook().await;
        world
    }

    /// The same, with another quiet time.
    pub async fn with_quiet(seconds: u32) -> Self {
        Self::without_bots().await.up(seconds).await
    }

    /// The same, and it is known of each bot what it waits for.
    pub async fn watched(quiet: u32) -> Self {
        Self { watched: true, ..Self::without_bots().await }.up(quiet).await
    }

    async fn up(mut self, quiet: u32) -> Self {
        self.flags.extend(["--quiet".to_owned(), (quiet * 1000).to_string()]);
        self.start_bots(2).await;
        self.set_webhook().await;
        self
    }

    pub async fn without_bots() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let options = Options { deadline: SOON, ..Options::default() };
        let (aws, telegram) = tokio::join!(LocalAws::start(), LocalTelegram::start_with(options));
        let (aws, telegram) = (aws.unwrap(), telegram.unwrap());
        let config = aws.config("us-east-1");
        let s3 = aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build();
        let (s3, dynamodb) = (aws_sdk_s3::Client::from_conf(s3), aws_sdk_dynamodb::Client::new(&config));
        let (sqs, secrets) = (aws_sdk_sqs::Client::new(&config), aws_sdk_secretsmanager::Client::new(&config));
        s3.create_bucket().bucket("pictures").send().await.unwrap();
        table(&dynamodb, "chats", &[("pk", ScalarAttributeType::S), ("sk", ScalarAttributeType::S)], None).await;
        let index = ("chatId", ScalarAttributeType::N);
        table(&dynamodb, "predictions", &[("predictionId", ScalarAttributeType::S)], Some(index)).await;
        let token = serde_json::json!({ env::TELEGRAM_TOKEN: telegram.token() }).to_string();
        secrets.create_secret().name("token").secret_string(token).send().await.unwrap();
        secrets.create_secret().name("certificate").secret_string("a certificate").send().await.unwrap();
        let results_dead = queue(&sqs, "results-dead", None).await;
        Self {
            identify: queue(&sqs, "identify", None).await,
            results: queue(&sqs, "results", Some("results-dead")).await,
            work: queue(&sqs, "work", None).await,
            balancer: Balancer::start().await,
            bots: Vec::new(),
            flags: ["--lease", "3000"].map(str::to_owned).to_vec(),
            watched: false,
            aws,
            telegram,
            dynamodb,
            sqs,
            s3,
            secrets,
            results_dead,
        }
    }

    /// The environment of a bot process.
    pub fn env(&self) -> Vec<(String, String)> {
        let own = [
            (env::IDENTIFY_QUEUE_URL, self.identify.clone()),
            (env::RESULTS_QUEUE_URL, self.results.clone()),
            (env::WORK_QUEUE_URL, self.work.clone()),
            (env::CHATS_TABLE, "chats".into()),
            (env::PREDICTIONS_TABLE, "predictions".into()),
            (env::IMAGES_BUCKET, "pictures".into()),
            (env::TELEGRAM_TOKEN_SECRET, "token".into()),
            (env::CERTIFICATE_SECRET, "certificate".into()),
            (env::TELEGRAM_API_URL, self.telegram.url()),
            (env::POLYBOT_LISTEN, "127.0.0.1:0".into()),
            (env::LOG_FORMAT, "json".into()),
        ];
        own.into_iter().map(|(k, v)| (k.to_owned(), v)).chain(self.aws.env()).collect()
    }

    pub fn command(&self) -> Command {
        // What is measured is the program that is shipped.
        let program = std::env::var_os("POLYBOT").unwrap_or_else(|| env!("CARGO_BIN_EXE_polybot").into());
        let mut command = Command::new(program);
        command.args(&self.flags).env_clear().envs(self.env()).kill_on_drop(true);
        // `make bench` sets these as the image does.
        command.envs(std::env::vars().filter(|(name, _)| name.starts_with("MALLOC_")));
        command.stderr(Stdio::piped()).stdout(Stdio::null()).stdin(Stdio::null());
        command
    }

    async fn start_bot(&self) -> Bot {
        let mut command = self.command();
        let mut doors = Vec::new();
        if self.watched {
            let behind =
                [(env::TELEGRAM_API_URL, self.telegram.url()), ("AWS_ENDPOINT_URL", self.aws.endpoint().to_owned())];
            for (name, url) in behind {
                let door = Balancer::start().await;
                door.to(vec![url]);
                command.env(name, &door.url);
                doors.push(door);
            }
        }
        Bot { doors, ..Bot::start(command).await }
    }

    pub async fn start_bots(&mut self, count: usize) {
        let started = futures::future::join_all((0..count).map(|_| self.start_bot())).await;
        self.bots.extend(started);
        self.balancer.to(self.bots.iter().map(|bot| bot.url.clone()).collect());
    }

    /// Kills a bot as an instance dies, and starts another in its place.
    pub async fn replace(&mut self, index: usize) {
        self.bots[index].child.kill().await.unwrap();
        self.bots[index] = self.start_bot().await;
        self.balancer.to(self.bots.iter().map(|bot| bot.url.clone()).collect());
    }

    /// The same with the one bot that waits for the answer to such a call. The others live on.
    pub async fn replace_who_waits(&mut self, such: impl Fn(&str) -> bool) {
        let waits = |bot: &Bot| bot.doors.iter().any(|d| d.shared.under_way.lock().unwrap().iter().any(|c| such(c)));
        let waiting: Vec<_> = (0..self.bots.len()).filter(|&index| waits(&self.bots[index])).collect();
        assert_eq!(waiting.len(), 1, "bots that wait for it");
        self.replace(waiting[0]).await;
    }

    pub async fn set_webhook(&self) {
        let secret = contract::webhook::secret(self.telegram.token());
        let path = contract::webhook::path("a certificate", &secret);
        let url = format!("{}{path}", self.balancer.url);
        let set = format!("{}/bot{}/setWebhook", self.telegram.url(), self.telegram.token());
        let body = serde_json::json!({ "url": url, "secret_token": secret });
        let answer = reqwest::Client::new().post(set).json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    }

    /// What all bots have counted under this name so far.
    pub async fn counted(&self, name: &str) -> u64 {
        let mut sum = 0;
        for bot in &self.bots {
            let text = reqwest::get(format!("{}/metrics", bot.url)).await.unwrap().text().await.unwrap();
            let values =
                text.lines().filter(|l| l.starts_with(name)).filter_map(|l| l.rsplit(' ').next()?.parse::<u64>().ok());
            sum += values.sum::<u64>();
        }
        sum
    }

    /// How often the bot called this method.
    pub fn calls(&self, method: &str) -> usize {
        self.telegram.calls().iter().filter(|call| call.method == method && call.status == Some(200)).count()
    }

    /// The next job on the detector's queue.
    pub async fn job(&self) -> Job {
        let receive = self.sqs.receive_message().queue_url(&self.identify).wait_time_seconds(20);
        let message = receive.send().await.unwrap().messages.unwrap_or_default().pop().expect("a job");
        let delete = self.sqs.delete_message().queue_url(&self.identify);
        delete.receipt_handle(message.receipt_handle.unwrap()).send().await.unwrap();
        Job::parse(&message.body.unwrap(), "", "images").unwrap()
    }

    /// Does as the detector does when it finds two dogs and a person.
    pub async fn detect(&self, job: &Job) {
        let key = format!("predicted/{}/{}.jpg", job.chat_id, job.prediction_id);
        let original = self.s3.get_object().bucket("pictures").key(&job.key).send().await.unwrap();
        let original = original.body.collect().await.unwrap().into_bytes();
        assert!(image::load_from_memory(&original).is_ok());
        let annotated = jpeg(64, 48, [200, 0, 200]);
        self.s3.put_object().bucket("pictures").key(&key).body(annotated.into()).send().await.unwrap();
        let label = |class: &str, score: f32| {
            let fraction = || AttributeValue::N("0.5".into());
            let mut map = ["cx", "cy", "width", "height"].map(|k| (k.to_owned(), fraction())).to_vec();
            map.push(("class".into(), AttributeValue::S(class.into())));
            map.push(("score".into(), AttributeValue::N(score.to_string())));
            AttributeValue::M(map.into_iter().collect())
        };
        let labels = vec![label("dog", 0.91), label("dog", 0.8), label("person", 0.6)];
        let put = self.dynamodb.put_item().table_name("predictions");
        put.item("predictionId", AttributeValue::S(job.prediction_id.clone()))
            .item("chatId", AttributeValue::N(job.chat_id.to_string()))
            .item("originalImgPath", AttributeValue::S(job.key.clone()))
            .item("predictedImgPath", AttributeValue::S(key))
            .item("labels", AttributeValue::L(labels))
            .item("time", AttributeValue::N("1".into()))
            .send()
            .await
            .unwrap();
    }

    pub async fn answer(&self, job: &Job, outcome: Outcome) {
        let answer = Answer {
            v: VERSION,
            prediction_id: job.prediction_id.clone(),
            chat_id: job.chat_id,
            message_id: job.message_id,
            reply_id: job.reply_id,
            outcome,
        };
        self.send_result(&answer.to_json()).await;
    }

    /// How long SQS waits for a receiver that died before it gives a message to another: a minute is too long for a test.
    pub async fn visibility(&self, seconds: u32) {
        for queue in [&self.work, &self.results] {
            let set = self.sqs.set_queue_attributes().queue_url(queue);
            set.attributes(QueueAttributeName::VisibilityTimeout, seconds.to_string()).send().await.unwrap();
        }
    }

    /// Waits until a queue holds nothing, not even in somebody's hands.
    pub async fn empty(&self, queue: &str) {
        let empty = async {
            loop {
                let ask = self.sqs.get_queue_attributes().queue_url(queue).attribute_names(QueueAttributeName::All);
                let got = ask.send().await.unwrap().attributes.unwrap_or_default();
                let waiting = got.iter().filter(|(name, _)| name.as_str().starts_with("ApproximateNumberOfMessages"));
                if waiting.map(|(_, count)| count.parse::<u32>().unwrap()).sum::<u32>() == 0 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        tokio::time::timeout(SOON, empty).await.expect("an empty queue");
    }

    pub async fn send_result(&self, body: &str) {
        self.sqs.send_message().queue_url(&self.results).message_body(body).send().await.unwrap();
    }
}

impl Bot {
    pub async fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = Vec::new();
        let url = loop {
            let line = tokio::time::timeout(SOON, lines.next_line()).await.unwrap().unwrap();
            let Some(line) = line else { panic!("the bot ended: {said:?}") };
            let value: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            if let Some(address) = value["fields"]["address"].as_str() {
                break format!("http://{address}");
            }
            said.push(line);
        };
        // Whatever it says later is shown with the test's own output, and the pipe never fills.
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                eprintln!("bot: {line}");
            }
        });
        Self { child, url, doors: Vec::new() }
    }

    /// Sends SIGTERM and waits for the end.
    pub async fn terminate(&mut self) -> std::process::ExitStatus {
        let id = self.child.id().unwrap().to_string();
        Command::new("kill").args(["-TERM", &id]).status().await.unwrap();
        tokio::time::timeout(SOON, self.child.wait()).await.unwrap().unwrap()
    }
}

impl Balancer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Shared::default();
        let app = Router::new().fallback(forward).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, shared }
    }

    pub fn to(&self, urls: Vec<String>) {
        *self.shared.targets.lock().unwrap() = urls;
    }
}

/// One request on its way; dropped when it is answered, and when whoever sent it has gone.
struct UnderWay(Arc<Mutex<Vec<String>>>, String);

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut all = self.0.lock().unwrap();
        let at = all.iter().position(|call| *call == self.1).unwrap();
        all.swap_remove(at);
    }
}

async fn forward(State(shared): State<Shared>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let target = {
        let targets = shared.targets.lock().unwrap();
        match targets.len() {
            0 => return StatusCode::BAD_GATEWAY.into_response(),
            n => targets[shared.turn.fetch_add(1, Ordering::Relaxed) % n].clone(),
        }
    };
    let call = format!("{method} {uri}");
    shared.under_way.lock().unwrap().push(call.clone());
    let _under_way = UnderWay(shared.under_way.clone(), call);
    match shared.client.request(method, format!("{target}{uri}")).headers(headers).body(body).send().await {
        Ok(answer) => {
            let (status, headers) = (answer.status(), answer.headers().clone());
            (status, headers, answer.bytes().await.unwrap_or_default()).into_response()
        }
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

/// A picture of one colour with a dark upper left corner.
/// The bot's next message to a user.
pub async fn next(user: &User) -> Message {
    user.next_message(SOON).await.unwrap()
}

/// The picture that a message holds.
pub async fn picture(user: &User, message: &Message) -> image::DynamicImage {
    image::load_from_memory(&user.download(message).await.unwrap()).unwrap()
}

pub fn jpeg(width: u32, height: u32, colour: [u8; 3]) -> Vec<u8> {
    encoded(width, height, colour, ImageFormat::Jpeg)
}

pub fn encoded(width: u32, height: u32, colour: [u8; 3], format: ImageFormat) -> Vec<u8> {
    let corner = |x, y| x < width / 4 && y < height / 4;
    let picture = RgbImage::from_fn(width, height, |x, y| Rgb(if corner(x, y) { [0, 0, 0] } else { colour }));
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// The mean colour of the middle of a picture.
pub fn colour_at(picture: &image::DynamicImage, x: u32, y: u32) -> [u8; 3] {
    picture.to_rgb8().get_pixel(x, y).0
}

/// Whether two colours look the same through a JPEG.
pub fn alike(a: [u8; 3], b: [u8; 3]) -> bool {
    a.iter().zip(b).all(|(a, b)| a.abs_diff(b) < 24)
}

/// A text without the marks that isolate names.
pub fn plain(text: &str) -> String {
    text.replace(['\u{2068}', '\u{2069}'], "")
}

async fn queue(sqs: &aws_sdk_sqs::Client, name: &str, dead: Option<&str>) -> String {
    let mut create = sqs.create_queue().queue_name(name).attributes(QueueAttributeName::VisibilityTimeout, "60");
    if let Some(dead) = dead {
        let arn = format!("arn:aws:sqs:us-east-1:{}:{dead}", local::aws::ACCOUNT);
        let redrive = serde_json::json!({ "deadLetterTargetArn": arn, "maxReceiveCount": "5" }).to_string();
        create = create.attributes(QueueAttributeName::RedrivePolicy, redrive);
    }
    create.send().await.unwrap().queue_url.unwrap()
}

async fn table(
    client: &aws_sdk_dynamodb::Client,
    name: &str,
    key: &[(&str, ScalarAttributeType)],
    index: Option<(&str, ScalarAttributeType)>,
) {
    let attribute = |(name, kind): (&str, ScalarAttributeType)| {
        AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build().unwrap()
    };
    let part = |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap();
    let mut create = client.create_table().table_name(name).billing_mode(BillingMode::PayPerRequest);
    for (at, (name, kind)) in key.iter().enumerate() {
        create = create
            .attribute_definitions(attribute((name, kind.clone())))
            .key_schema(part(name, if at == 0 { KeyType::Hash } else { KeyType::Range }));
    }
    if let Some((name, kind)) = index {
        let index = GlobalSecondaryIndex::builder()
            .index_name(contract::record::CHAT_INDEX)
            .key_schema(part(name, KeyType::Hash))
            .key_schema(part(key[0].0, KeyType::Range))
            .projection(Projection::builder().projection_type(ProjectionType::All).build());
        create = create.attribute_definitions(attribute((name, kind))).global_secondary_indexes(index.build().unwrap());
    }
    create.send().await.unwrap();
}
