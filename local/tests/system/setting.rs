//! The system: what `make demo` sets up, as a value.

use super::service::{Service, program};
use aws_sdk_sqs::types::QueueAttributeName;
use local::{
    aws::LocalAws,
    fleet::Fleet,
    front::{Front, serve},
    telegram::{LocalTelegram, Options},
};
use std::{
    net::IpAddr,
    path::PathBuf,
    process::{Output, Stdio},
    time::Duration,
};
use tempfile::TempDir;
use tokio::{process::Command, task::AbortHandle};

/// Longer than anything here takes, on a busy machine.
pub const SOON: Duration = Duration::from_mins(2);
/// Host name of the stack in `specs/local.yaml`.
const HOST: &str = "local-polybot.int-devops.click";

/// The detector's scaling group.
pub const GROUP: &str = "talo-local-yolo5";

/// Everything that runs.
pub struct System {
    pub aws: LocalAws,
    pub telegram: LocalTelegram,
    pub bots: Vec<Service>,
    pub workers: Vec<Service>,
    /// Where the programs put what they need for a while.
    pub temporary: TempDir,
    folder: TempDir,
    /// An address of this machine that nobody else uses, so that several systems have the webhook's port.
    address: IpAddr,
    front: Option<AbortHandle>,
}

impl Drop for System {
    fn drop(&mut self) {
        if let Some(front) = &self.front {
            front.abort();
        }
    }
}

/// Where the services find AWS and Telegram, and the queues' times.
pub struct Shape {
    pub queues: &'static str,
    pub time_scale: f64,
}

impl System {
    /// A converged stack, without services yet.
    pub async fn converged(shape: Shape) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let options = Options { deadline: SOON, time_scale: shape.time_scale, ..Options::default() };
        let (aws, telegram) = tokio::join!(LocalAws::start(), LocalTelegram::start_with(options));
        let address = IpAddr::from([127, rand::random_range(100..200), rand::random(), rand::random_range(1..255)]);
        let system = Self {
            aws: aws.unwrap(),
            telegram: telegram.unwrap(),
            bots: Vec::new(),
            workers: Vec::new(),
            temporary: TempDir::new().unwrap(),
            folder: TempDir::new().unwrap(),
            address,
            front: None,
        };
        let spec = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../specs/local.yaml")).unwrap();
        let spec = spec
            .replace("  telegram:\n", &format!("  telegram:\n    apiUrl: {}\n", system.telegram.url()))
            .replace("127.0.0.1 }", &format!("{address} }}"));
        std::fs::write(system.spec(), spec + shape.queues).unwrap();
        // Everything but the fleets, which wait for images; then those.
        let first = system.apply(system.telegram.token()).await;
        assert_eq!(first.status.code(), Some(2), "{}", said(&first));
        system.push_images().await;
        let second = system.apply(system.telegram.token()).await;
        assert!(second.status.success(), "{}", said(&second));
        system
    }

    /// Changes the spec's text.
    pub fn edit_spec(&self, from: &str, to: &str) {
        let spec = std::fs::read_to_string(self.spec()).unwrap();
        assert!(spec.contains(from), "{from} is not in the spec");
        std::fs::write(self.spec(), spec.replace(from, to)).unwrap();
    }

    /// The spec's file.
    pub fn spec(&self) -> PathBuf {
        self.folder.path().join("local.yaml")
    }

    /// `controller apply`, with this token in the environment.
    pub async fn apply(&self, token: &str) -> Output {
        let mut apply = Command::new(program("controller"));
        apply.arg("apply").arg("-f").arg(self.spec()).args(["--yes", "--poll", "1s", "--timeout", "3m"]);
        apply.envs(self.aws.env()).env("TELEGRAM_TOKEN", token).output().await.unwrap()
    }

    async fn push_images(&self) {
        let ecr = aws_sdk_ecr::Client::new(&self.aws.config("us-east-1"));
        for service in ["polybot", "yolo5"] {
            let manifest = format!(r#"{{"schemaVersion":2,"layers":[],"note":"{service}"}}"#);
            let push = ecr.put_image().repository_name(format!("talo-local-{service}")).image_tag("v1.0.0");
            let push = push.image_manifest_media_type("application/vnd.oci.image.manifest.v1+json");
            push.image_manifest(manifest).send().await.unwrap();
        }
    }

    /// What an instance of a service has in its environment: what the controller writes there, and its role's credentials.
    async fn environment(&self, service: &str, aws: &str, telegram: &str) -> Vec<(String, String)> {
        let mut status = Command::new(program("controller"));
        status.args(["status", "-o", "env", "--service", service, "-f"]).arg(self.spec());
        let output = status.envs(self.aws.env()).env("TELEGRAM_TOKEN", self.telegram.token()).output().await.unwrap();
        assert!(output.status.success(), "{}", said(&output));
        let text = String::from_utf8(output.stdout).unwrap();
        let mut env: Vec<_> = text
            .lines()
            .filter_map(|line| line.trim_start_matches("export ").split_once('='))
            .map(|(name, value)| (name.to_owned(), value.trim_matches(['"', '\'']).to_owned()))
            .collect();
        env.extend(self.aws.env_as(&format!("talo-local-{service}-us-east-1")).await.unwrap());
        // The proxies, where there are any; later entries win.
        env.push(("AWS_ENDPOINT_URL".into(), aws.to_owned()));
        env.push(("TELEGRAM_API_URL".into(), telegram.to_owned()));
        env.push(("TMPDIR".into(), self.temporary.path().to_string_lossy().into_owned()));
        env.push(("RUST_LOG".into(), "error".into()));
        env
    }

    /// Two bots behind the stack's certificate, and so many detectors.
    pub async fn start(&mut self, workers: usize, flags: &[&str]) {
        let (aws, telegram) = (self.aws.endpoint().to_owned(), self.telegram.url());
        self.start_through(workers, flags, &aws, &telegram).await;
    }

    /// The same, with AWS and Telegram behind other addresses.
    pub async fn start_through(&mut self, workers: usize, flags: &[&str], aws: &str, telegram: &str) {
        let bot = self.environment("polybot", aws, telegram).await;
        let detector = self.detector(aws).await;
        let flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
        for number in 0..2 {
            let (listen, env, flags) = (format!("{}:{}", self.address, 9000 + number), bot.clone(), flags.clone());
            let at = listen.clone();
            let name = format!("bot {number}");
            let service = Service::start(&name, format!("http://{listen}/health"), move || {
                let mut command = Command::new(program("polybot"));
                command.args(&flags).env_clear().envs(env.clone()).env("POLYBOT_LISTEN", &at);
                command
            });
            self.bots.push(service.await);
        }
        for number in 0..workers {
            let (listen, detector) = (format!("{}:{}", self.address, 9100 + number), detector.clone());
            let at = listen.clone();
            let name = format!("detector {number}");
            let service = Service::start(&name, format!("http://{listen}/healthz"), move || {
                let mut command = detector.command(program("yolo5"));
                command.args(Detector::ARGUMENTS).env("YOLO5_LISTEN", &at);
                command
            });
            self.workers.push(service.await);
        }
        let front = Front {
            listen: (self.address, 8443).into(),
            aws: self.aws.endpoint().to_owned(),
            host: HOST.to_owned(),
            instances: self.bots.iter().map(|bot| bot.url.clone()).collect(),
        };
        let (_, server) = serve(front).await.unwrap();
        self.front = Some(tokio::spawn(server).abort_handle());
    }

    /// A detector's environment.
    pub async fn detector(&self, aws: &str) -> Detector {
        let mut env = self.environment("yolo5", aws, &self.telegram.url()).await;
        let model = tokio::task::spawn_blocking(model).await.unwrap();
        env.push(("YOLO5_MODEL".into(), model.to_string_lossy().into_owned()));
        env.push(("YOLO5_LISTEN".into(), "127.0.0.1:0".into()));
        Detector { env }
    }

    /// From now on processes stand for the instances of the detector's group, which has so many; they find AWS at this address.
    pub async fn fleet(&self, size: i32, aws: &str) -> Fleet {
        // What takes a process seconds is not to be too late in logical time.
        self.aws.switch("clock_rate", 60.into()).await.unwrap();
        self.aws.switch("real_workers", true.into()).await.unwrap();
        let resize = self.autoscaling().set_desired_capacity().auto_scaling_group_name(GROUP);
        resize.desired_capacity(size).send().await.unwrap();
        let detector = self.detector(aws).await;
        Fleet::start(self.aws.endpoint(), GROUP, 4, move || {
            let mut command = detector.command(program("yolo5"));
            command.args(Detector::ARGUMENTS).stdin(Stdio::null()).stdout(Stdio::null());
            command
        })
    }

    /// A client of the groups that may do everything.
    pub fn autoscaling(&self) -> aws_sdk_autoscaling::Client {
        aws_sdk_autoscaling::Client::new(&self.aws.config("us-east-1"))
    }

    /// Tells every service to end, and waits until it has.
    pub async fn stop(&mut self) {
        let services = std::mem::take(&mut self.bots).into_iter().chain(std::mem::take(&mut self.workers));
        let ended = futures::future::join_all(services.map(Service::stop)).await;
        assert!(ended.into_iter().all(|success| success), "a service did not end in order");
    }

    /// What all queues hold, by name; none of them where all are empty.
    pub async fn waiting(&self) -> Vec<(String, u64)> {
        let sqs = aws_sdk_sqs::Client::new(&self.aws.config("us-east-1"));
        let mut waiting = Vec::new();
        for url in sqs.list_queues().send().await.unwrap().queue_urls.unwrap_or_default() {
            let ask = sqs.get_queue_attributes().queue_url(&url).attribute_names(QueueAttributeName::All);
            let got = ask.send().await.unwrap().attributes.unwrap_or_default();
            let numbers = got.iter().filter(|(name, _)| name.as_str().starts_with("ApproximateNumberOfMessages"));
            let sum = numbers.map(|(_, count)| count.parse::<u64>().unwrap()).sum();
            if sum > 0 {
                waiting.push((url.rsplit('/').next().unwrap().to_owned(), sum));
            }
        }
        waiting
    }

    /// Waits until nothing waits anywhere: no update, no message.
    pub async fn settled(&self) {
        self.telegram.settled().await.unwrap();
        let mut left = Vec::new();
        let empty = async {
            loop {
                left = self.waiting().await;
                if left.is_empty() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        };
        let done = tokio::time::timeout(SOON, empty).await;
        assert!(done.is_ok(), "still waiting: {left:?}");
    }
}

/// What a detector has in its environment.
#[derive(Clone)]
pub struct Detector {
    env: Vec<(String, String)>,
}

impl Detector {
    pub const ARGUMENTS: [&str; 3] = ["worker", "--tuning", "off"];

    /// A program with nothing else in its environment.
    pub fn command(&self, program: PathBuf) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// What a program said.
pub fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}\n{}", output.status, text(&output.stdout), text(&output.stderr))
}

/// The detector's model, which is made first where it is missing.
fn model() -> PathBuf {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../yolo5/tools/model.sh");
    let made = std::process::Command::new(script).output().unwrap();
    assert!(made.status.success(), "{}", said(&made));
    PathBuf::from(String::from_utf8(made.stdout).unwrap().trim())
}
