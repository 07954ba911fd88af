//! The operator as a process, between a stand-in for a cluster's API and the local AWS.

mod approval;
mod life;
mod owners;
mod replicas;
mod scope;
mod trouble;

use crate::setting::{TOKEN, World, local_spec, plan, telegram, writes};
use controller::{
    reconcile::Connection,
    spec::{KubernetesSecret, PolybotStack, SecretSource},
};
use local::{kube::LocalKube, telegram::LocalTelegram};
use serde_json::{Value, json};
use std::{path::PathBuf, process::Stdio, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    sync::mpsc,
};

pub const STACKS: &str = "apis/polybot.dev/v1alpha1/namespaces/default/polybotstacks";
pub const STACK: &str = "apis/polybot.dev/v1alpha1/namespaces/default/polybotstacks/local";
pub const SECRETS: &str = "api/v1/namespaces/default/secrets";
pub const EVENTS: &str = "apis/events.k8s.io/v1/namespaces/default/events";
/// Longer than anything takes on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_mins(2);

/// A cluster, an account and a Telegram.
pub struct Cluster {
    pub world: World,
    pub kube: LocalKube,
    pub telegram: LocalTelegram,
    folder: tempfile::TempDir,
}

impl Cluster {
    pub async fn new() -> Self {
        let (world, telegram, folder) = (World::new().await, telegram().await, tempfile::tempdir().unwrap());
        let kube = LocalKube::start().await.unwrap();
        kube.write_kubeconfig(&folder.path().join("kubeconfig")).unwrap();
        Self { world, kube, telegram, folder }
    }

    /// The demo's stack as an object, its token in the Secret `telegram`.
    pub fn stack(&self) -> PolybotStack {
        let mut stack = local_spec();
        stack.spec.telegram.api_url = self.telegram.url();
        let secret = KubernetesSecret { name: "telegram".to_owned(), key: "token".to_owned() };
        stack.spec.telegram.token = SecretSource { kubernetes_secret: Some(secret), ..SecretSource::default() };
        stack
    }

    pub fn create(&self, stack: &PolybotStack) {
        self.kube.create(STACKS, serde_json::to_value(stack).unwrap()).unwrap();
    }

    pub fn create_secret(&self) {
        self.kube.create(SECRETS, secret(TOKEN)).unwrap();
    }

    /// An operator that looks again soon.
    pub fn operator(&self, extra: &[&str]) -> Operator {
        self.operator_with(&self.world.aws.env(), extra)
    }

    pub fn operator_with(&self, env: &[(String, String)], extra: &[&str]) -> Operator {
        let mut command = Command::new(env!("CARGO_BIN_EXE_controller"));
        command.args(["--log", "info,controller=debug", "operate", "--listen", "127.0.0.1:0"]).args(extra);
        command.envs(env.iter().cloned()).env("KUBECONFIG", self.kubeconfig()).env("NO_COLOR", "1").kill_on_drop(true);
        if !extra.contains(&"--lease") {
            command.args(["--lease", "10s"]);
        }
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (sender, log) = mpsc::unbounded_channel();
        // Read on, whether or not a test listens: a full pipe would stop the program.
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                // Shown where a test fails.
                eprintln!("{line}");
                let _ = sender.send(line);
            }
        });
        Operator { child, log }
    }

    fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// Clients that see AWS as the operator does.
    pub async fn connect(&self) -> Connection {
        let token = controller::facts::well_formed(TOKEN);
        self.world.connect(self.stack()).await.with_token(token)
    }

    /// What a plan of the object's spec would still write.
    pub async fn writes(&self) -> Vec<String> {
        let there = self.kube.get(STACK).map(|stack| serde_json::from_value(stack).unwrap());
        let connection = self.world.connect(there.unwrap_or_else(|| self.stack())).await;
        writes(&plan(&connection.with_token(controller::facts::well_formed(TOKEN))).await)
    }

    /// Waits for an object to be so.
    pub async fn until(&self, path: &str, what: &str, mut is: impl FnMut(&Value) -> bool) -> Value {
        let found = self.kube.until(path, |object| object.is_some_and(&mut is));
        let Ok(object) = tokio::time::timeout(PATIENCE, found).await else {
            panic!("never {what}: {:#}", self.kube.get(path).unwrap_or_default()["status"]["conditions"]);
        };
        object.unwrap()
    }

    pub async fn until_gone(&self, path: &str) {
        let gone = self.kube.until(path, |object| object.is_none());
        tokio::time::timeout(PATIENCE, gone)
            .await
            .unwrap_or_else(|_| panic!("{path} stays: {:#?}", self.kube.get(path)));
    }

    /// Waits until a condition of the stack has this status and reason, for the newest spec.
    pub async fn says(&self, kind: &str, status: &str, reason: &str) -> Value {
        let what = format!("{kind} {status} {reason}");
        self.until(STACK, &what, |stack| {
            let c = condition(stack, kind);
            c["status"] == status && c["reason"] == reason && c["observedGeneration"] == stack["metadata"]["generation"]
        })
        .await
    }

    /// Reasons of the events so far, with the action: `Created create vpc/main`.
    pub fn events(&self) -> Vec<String> {
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        self.kube.list(EVENTS).iter().map(|e| format!("{} {}", text(&e["reason"]), text(&e["action"]))).collect()
    }

    /// Pushes the images that the stack waits for.
    pub async fn push_images(&self) {
        self.world.push_images(&self.connect().await, "v1.0.0").await;
    }

    pub fn annotate(&self, key: &str, value: &str) {
        self.kube.edit(STACK, |stack| stack["metadata"]["annotations"][key] = json!(value)).unwrap();
    }
}

/// What a real API server would not have stored, and refusals that nothing has met: neither shows what a test is to show.
impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        assert_eq!(self.kube.unrefused(), Vec::<String>::new());
        let schema = crate::cel::schema();
        for stack in self.kube.stored("polybotstacks") {
            let mut parts = vec!["status"];
            // What cannot even be read is there on purpose.
            if serde_json::from_value::<PolybotStack>(stack.clone()).is_ok() {
                parts.push("spec");
            }
            for part in parts.into_iter().filter(|part| stack.get(*part).is_some()) {
                let strange = crate::cel::strange(&schema["properties"][part], &stack[part], part);
                assert_eq!(strange, Vec::<String>::new(), "{stack:#}");
            }
        }
    }
}

/// The Secret `telegram` with this token.
pub fn secret(token: &str) -> Value {
    use base64::Engine;
    let token = base64::engine::general_purpose::STANDARD.encode(token);
    json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "telegram" }, "data": { "token": token } })
}

pub fn condition<'a>(stack: &'a Value, kind: &str) -> &'a Value {
    let conditions = stack["status"]["conditions"].as_array();
    conditions.and_then(|all| all.iter().find(|c| c["type"] == kind)).unwrap_or(&Value::Null)
}

/// A replica.
pub struct Operator {
    pub child: Child,
    log: mpsc::UnboundedReceiver<String>,
}

impl Operator {
    /// The next line of its log that holds these words.
    pub async fn logs(&mut self, words: &str) -> String {
        let line = async {
            loop {
                let line = self.log.recv().await.unwrap_or_else(|| panic!("it ended without {words:?}"));
                if line.contains(words) {
                    return line;
                }
            }
        };
        tokio::time::timeout(PATIENCE, line).await.unwrap_or_else(|_| panic!("no {words:?}"))
    }

    /// The address of its routes, which it says first.
    pub async fn address(&mut self) -> String {
        let line = self.logs("operating").await;
        line.split("listen=").nth(1).unwrap().split(' ').next().unwrap().to_owned()
    }

    /// The metrics that it tells at its address.
    pub async fn metrics(address: &str) -> String {
        reqwest::get(format!("http://{address}/metrics")).await.unwrap().text().await.unwrap()
    }

    /// Asks it to stop, and waits until it has.
    pub async fn stop(mut self) -> std::process::ExitStatus {
        let id = self.child.id().unwrap().to_string();
        std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap();
        tokio::time::timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap()
    }
}
