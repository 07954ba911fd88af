//! What the tests share: a local AWS of their own, a stack, and passes over it.

use aws_sdk_ecr::operation::put_image::PutImageError;
use controller::{
    aws::{Aws, Region, View},
    engine::{Consent, Plan, Report, apply},
    ownership::Ownership,
    reconcile::{Allow, Connection, Goal},
    spec::PolybotStack,
    stop::Stop,
};
use local::{
    aws::LocalAws,
    telegram::{LocalTelegram, Options},
};
use std::{
    path::{Path, PathBuf},
    process::Output,
    sync::Arc,
};
use tokio::process::Command;

/// A token of the right form, made up for these tests.
pub const TOKEN: &str = "123456:not-a-real-token-of-any-bot-000000";

/// A public key whose private half nobody has.
pub const SSH_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8rzlkPz0e5vJmOiZBSpG2bpzPxSyCJ5bDL5n6VSxSt ops";

/// The demo's stack, its token taken from a file so that no test depends on the environment.
pub fn local_spec() -> PolybotStack {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../specs/local.yaml");
    let mut stacks = controller::spec::load::load(&[path.into()]).unwrap();
    let mut stack = stacks.remove(0);
    stack.spec.telegram.token =
        controller::spec::SecretSource { file: Some(token_file()), ..controller::spec::SecretSource::default() };
    // Nothing listens there: the webhook waits, and nothing else suffers.
    "http://127.0.0.1:9".clone_into(&mut stack.spec.telegram.api_url);
    stack
}

fn token_file() -> String {
    // One for all test processes, which come and go: it is there at once or not at all.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let path = folder.join("token");
    let file = tempfile::NamedTempFile::new_in(folder).unwrap();
    std::fs::write(file.path(), TOKEN).unwrap();
    file.persist(&path).unwrap();
    path.to_string_lossy().into_owned()
}

pub struct World {
    pub aws: LocalAws,
}

impl World {
    pub async fn new() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Self { aws: LocalAws::start().await.unwrap() }
    }

    /// A copy of it, to be ended by `aws.end()`.
    pub async fn fork(&self) -> Self {
        Self { aws: self.aws.fork().await.unwrap() }
    }

    pub async fn connect(&self, stack: PolybotStack) -> Connection {
        let config = self.aws.config(stack.spec.region.as_str());
        Connection::with_config(Arc::new(stack), &config).await.unwrap()
    }

    /// The same beside `others` more stacks of its region, of which nothing is there but that they are looked at.
    pub async fn connect_beside(&self, stack: PolybotStack, others: u32) -> Connection {
        let region = Region::with_config(&self.aws.config(stack.spec.region.as_str())).await.unwrap();
        let region = Arc::new(region);
        let connection = Connection::within(Arc::new(stack), region.clone()).await.unwrap();
        for n in 0..others {
            let ownership = Ownership { stack: format!("other{n}"), ..connection.aws.ownership.clone() };
            View::new(&Aws::new(region.clone(), ownership, connection.aws.known.clone()));
        }
        connection
    }

    /// Gives a role this policy, and no other. The role is made if need be.
    pub async fn give(&self, role: &str, policy: &serde_json::Value) {
        let iam = aws_sdk_iam::Client::new(&self.aws.config("us-east-1"));
        // It may be there from before.
        let _ = iam.create_role().role_name(role).assume_role_policy_document("{}").send().await;
        iam.put_role_policy()
            .role_name(role)
            .policy_name("all")
            .policy_document(policy.to_string())
            .send()
            .await
            .unwrap();
    }

    /// A stack with images in its registry, converged as far as it can be without a Telegram.
    pub async fn converged(&self, stack: PolybotStack) -> Connection {
        let connection = self.connect(stack).await;
        once(&connection).await;
        self.push_images(&connection, "v1.0.0").await;
        settle(&connection).await;
        connection
    }

    /// Pushes an image of each service under a tag; one that is there already is left.
    pub async fn push_images(&self, connection: &Connection, tag: &str) {
        for service in ["polybot", "yolo5"] {
            let manifest = format!(r#"{{"schemaVersion":2,"layers":[],"note":"{service} {tag}"}}"#);
            let digest = sha256(&manifest);
            let pushed = connection
                .aws
                .ecr
                .put_image()
                .repository_name(format!("{}-{service}", connection.aws.ownership.prefix))
                .image_manifest(manifest)
                .image_manifest_media_type("application/vnd.oci.image.manifest.v1+json")
                .image_digest(format!("sha256:{digest}"))
                .image_tag(tag)
                .send()
                .await;
            let there = pushed.as_ref().err().and_then(|e| e.as_service_error());
            assert!(there.is_none_or(PutImageError::is_image_already_exists_exception), "{pushed:?}");
        }
    }
}

fn sha256(text: &str) -> String {
    use sha2::Digest;
    hex::encode(sha2::Sha256::digest(text))
}

pub async fn plan(connection: &Connection) -> Plan {
    connection.look(Goal::Converge, &Allow::default()).await.1
}

/// One pass.
pub async fn once(connection: &Connection) -> Report {
    let plan = plan(connection).await;
    apply(&connection.aws, plan, None, &Stop::default(), &|_| ()).await
}

/// Passes until a plan writes nothing; at most 40.
pub async fn settle(connection: &Connection) {
    settle_for(connection, Goal::Converge, &Allow::default()).await;
}

pub async fn settle_for(connection: &Connection, goal: Goal, allow: &Allow) {
    for _ in 0..40 {
        let (_, plan) = connection.look(goal, allow).await;
        let only_webhook_waits =
            plan.steps.iter().all(|s| !s.action.writes() && (s.address.kind == "webhook" || s.action.sign() == '.'));
        if only_webhook_waits {
            return;
        }
        let wrote = plan.summary().writes() > 0;
        let consent = Consent::to(&plan);
        let report = apply(&connection.aws, plan, Some(&consent), &Stop::default(), &|_| ()).await;
        let failed: Vec<_> = report
            .steps
            .iter()
            .filter_map(|(s, o)| match o {
                controller::engine::Outcome::Failed(e) => Some(format!("{}: {e}", s.address)),
                _ => None,
            })
            .collect();
        assert_eq!(failed, Vec::<String>::new());
        if !wrote {
            // AWS is at work (an instance refresh, an index): nothing tells when it is done, so this asks again.
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }
    let (_, plan) = connection.look(goal, allow).await;
    panic!("not settled after 40 passes:\n{plan}");
}

/// What a plan would write, as `word address`.
pub fn writes(plan: &Plan) -> Vec<String> {
    plan.steps.iter().filter(|s| s.action.writes()).map(|s| format!("{} {}", s.action.word(), s.address)).collect()
}

/// Kinds of all that is ours in AWS, sorted.
pub async fn live(connection: &Connection) -> Vec<&'static str> {
    let (_, plan) = connection.look(Goal::Destroy, &Allow::default()).await;
    let ours = plan.found.iter().filter(|f| f.owner == controller::engine::Owner::Ours);
    let mut kinds: Vec<_> = ours.map(|f| f.address.kind).collect();
    kinds.sort_unstable();
    kinds
}

/// A Telegram that knows the token.
pub async fn telegram() -> LocalTelegram {
    LocalTelegram::start_with(Options { token: TOKEN.to_owned(), ..Options::default() }).await.unwrap()
}

/// The demo's spec with this Telegram, as a file.
pub fn spec_file(folder: &Path, telegram: &LocalTelegram) -> PathBuf {
    let whole = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../specs/local.yaml")).unwrap();
    let path = folder.join("local.yaml");
    let with_api = format!("  telegram:\n    apiUrl: {}\n", telegram.url());
    std::fs::write(&path, whole.replace("  telegram:\n", &with_api)).unwrap();
    path
}

/// A stack that is wholly in sync, and its spec.
pub struct Synced {
    pub world: World,
    pub spec: PathBuf,
    pub folder: tempfile::TempDir,
    _telegram: local::telegram::LocalTelegram,
}

impl Synced {
    pub async fn new() -> Self {
        let (world, telegram, folder) = (World::new().await, telegram().await, tempfile::tempdir().unwrap());
        let synced = Self { spec: spec_file(folder.path(), &telegram), world, folder, _telegram: telegram };
        let early = synced.run(&["apply", "--yes", "--poll", "50ms"]).await;
        assert_eq!(early.status.code(), Some(2), "{}", both(&early));
        let connection = synced.world.connect(local_spec()).await;
        synced.world.push_images(&connection, "v1.0.0").await;
        let whole = synced.run(&["apply", "--yes", "--poll", "50ms"]).await;
        assert_eq!(whole.status.code(), Some(0), "{}", both(&whole));
        synced
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_controller"));
        command.args(args).arg("-f").arg(&self.spec).envs(self.world.aws.env()).env("TELEGRAM_TOKEN", TOKEN);
        command
    }

    pub async fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().await.unwrap()
    }

    /// Exit code and standard output of `drift`.
    pub async fn drift(&self, args: &[&str]) -> (i32, String) {
        let output = self.run(&[&["drift"], args].concat()).await;
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    }

    pub fn edit(&self, change: impl FnOnce(String) -> String) {
        let text = std::fs::read_to_string(&self.spec).unwrap();
        std::fs::write(&self.spec, change(text)).unwrap();
    }

    pub async fn apply(&self) {
        let applied = self.run(&["apply", "--yes", "--poll", "50ms"]).await;
        assert_eq!(applied.status.code(), Some(0), "{}", both(&applied));
    }
}

/// What a process wrote, on both streams.
pub fn both(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
