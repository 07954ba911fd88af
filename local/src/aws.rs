//! The local AWS: moto's server with the rules of `local/aws/rules.py`, as a child process.
//!
//! It lives in a virtual environment beside it (`local/.venv`), which is made on first use from pinned, hashed requirements.

use anyhow::{Context, bail};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use std::{
    path::{Path, PathBuf},
    process::Stdio,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

/// The account that every credential belongs to.
pub const ACCOUNT: &str = "123456789012";
/// The hosted zone that is there before the first apply.
pub const ZONE: &str = "int-devops.click";

/// A running local AWS. It ends when this is dropped, or when this process dies; a fork of one when that one does.
pub struct LocalAws {
    endpoint: String,
    /// Held for its standard input: the server ends when that does.
    _server: Option<Child>,
}

impl LocalAws {
    /// Starts one on a free port of 127.0.0.1.
    pub async fn start() -> anyhow::Result<Self> {
        let python = tokio::task::spawn_blocking(python).await??;
        let mut server = Command::new(python)
            .arg(folder().join("aws/server.py"))
            .arg("--watch-stdin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // It logs nothing but faults of its own.
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the local AWS")?;
        let stdout = server.stdout.take().context("the local AWS has no output")?;
        let mut lines = BufReader::new(stdout).lines();
        let ready = lines.next_line().await?.unwrap_or_default();
        let Some(endpoint) = ready.strip_prefix("ready ") else { bail!("the local AWS did not start: {ready:?}") };
        Ok(Self { endpoint: endpoint.to_owned(), _server: Some(server) })
    }

    /// A copy of it as it is now, which goes its own way. Nothing else may be asked of it meanwhile.
    pub async fn fork(&self) -> anyhow::Result<Self> {
        let url = format!("{}/_local/fork", self.endpoint);
        let fork: Fork = reqwest::Client::new().post(url).send().await?.error_for_status()?.json().await?;
        Ok(Self { endpoint: fork.endpoint, _server: None })
    }

    /// Ends a fork before the one that it was made of ends.
    pub async fn end(self) {
        // It ends without an answer.
        drop(reqwest::Client::new().post(format!("{}/_local/end", self.endpoint)).send().await);
    }

    /// Where it answers: `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// A configuration for clients of it that may do everything.
    pub fn config(&self, region: &str) -> SdkConfig {
        self.config_with(region, Credentials::new("test", "test", None, None, "local"))
    }

    /// The same under a user's name, which CloudTrail then tells.
    pub fn config_by(&self, user: &str, region: &str) -> SdkConfig {
        self.config_with(region, Credentials::new(user, "test", None, None, "local"))
    }

    /// A configuration for clients that act as a role and may do only what its policies allow.
    pub async fn config_as(&self, role: &str, region: &str) -> anyhow::Result<SdkConfig> {
        let Role { access_key_id, secret_access_key, token } = self.role(role).await?;
        Ok(self.config_with(region, Credentials::new(access_key_id, secret_access_key, Some(token), None, "local")))
    }

    /// The environment of a child process that acts as a role.
    pub async fn env_as(&self, role: &str) -> anyhow::Result<Vec<(String, String)>> {
        let Role { access_key_id, secret_access_key, token } = self.role(role).await?;
        let mut env = self.env();
        env.retain(|(name, _)| !name.starts_with("AWS_ACCESS") && !name.starts_with("AWS_SECRET"));
        env.push(("AWS_ACCESS_KEY_ID".to_owned(), access_key_id));
        env.push(("AWS_SECRET_ACCESS_KEY".to_owned(), secret_access_key));
        env.push(("AWS_SESSION_TOKEN".to_owned(), token));
        Ok(env)
    }

    async fn role(&self, name: &str) -> anyhow::Result<Role> {
        let url = format!("{}/_local/role/{name}", self.endpoint);
        Ok(reqwest::get(url).await?.error_for_status()?.json().await?)
    }

    fn config_with(&self, region: &str, credentials: Credentials) -> SdkConfig {
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(region.to_owned()))
            .endpoint_url(&self.endpoint)
            .credentials_provider(aws_credential_types::provider::SharedCredentialsProvider::new(credentials))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .sleep_impl(aws_smithy_async::rt::sleep::TokioSleep::new())
            .time_source(aws_smithy_async::time::SystemTimeSource::new())
            .build()
    }

    /// The environment of a child process that shall use it.
    pub fn env(&self) -> Vec<(String, String)> {
        [
            ("AWS_ENDPOINT_URL", self.endpoint.as_str()),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ]
        .into_iter()
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect()
    }

    /// Sets a switch of `rules.py`: how long a refresh takes, which calls are denied.
    pub async fn switch(&self, name: &str, value: serde_json::Value) -> anyhow::Result<()> {
        let url = format!("{}/_local/switch", self.endpoint);
        let body = serde_json::json!({ name: value });
        reqwest::Client::new().post(url).json(&body).send().await?.error_for_status()?;
        Ok(())
    }

    /// Moves the clock of scaling groups (switch `clock_rate`) on by so many logical seconds; what every group then has.
    pub async fn advance(&self, seconds: u32) -> anyhow::Result<serde_json::Value> {
        let url = format!("{}/_local/advance", self.endpoint);
        let body = serde_json::json!({ "seconds": seconds });
        Ok(reqwest::Client::new().post(url).json(&body).send().await?.error_for_status()?.json().await?)
    }

    /// What every scaling group has now: sizes, refreshes, instances with their versions.
    pub async fn fleet(&self) -> anyhow::Result<serde_json::Value> {
        let url = format!("{}/_local/fleet", self.endpoint);
        Ok(reqwest::get(url).await?.error_for_status()?.json().await?)
    }

    /// Scripts the mean CPU of a group, percent: what target tracking sees with the switch `tracking`.
    pub async fn cpu(&self, group: &str, percent: f64) -> anyhow::Result<()> {
        let url = format!("{}/_local/cpu", self.endpoint);
        let body = serde_json::json!({ group: percent });
        reqwest::Client::new().post(url).json(&body).send().await?.error_for_status()?;
        Ok(())
    }

    /// Every moment so far at which something changed in a scaling group.
    pub async fn moments(&self, group: &str) -> anyhow::Result<Vec<Moment>> {
        let url = format!("{}/_local/fleet/events", self.endpoint);
        let all: Vec<Moment> = reqwest::get(url).await?.error_for_status()?.json().await?;
        Ok(all.into_iter().filter(|m| m.group == group).collect())
    }

    /// Waits until the call that a `hold_…` switch names has come and is held.
    pub async fn held(&self) -> anyhow::Result<()> {
        let url = format!("{}/_local/held", self.endpoint);
        reqwest::Client::new().get(url).send().await?.error_for_status()?;
        Ok(())
    }

    /// How many of each kind there are in the account, whoever made them and whatever their tags say.
    pub async fn inventory(&self) -> anyhow::Result<std::collections::BTreeMap<String, usize>> {
        let url = format!("{}/_local/inventory", self.endpoint);
        Ok(reqwest::get(url).await?.error_for_status()?.json().await?)
    }

    /// Which actions each role has used, and which it was refused: `{"allowed": {ROLE: [ACTION]}, "refused": {…}}`.
    pub async fn asked(&self) -> anyhow::Result<serde_json::Value> {
        Ok(reqwest::get(format!("{}/_local/asked", self.endpoint)).await?.error_for_status()?.json().await?)
    }

    /// The calls since this was last asked, as `service:Operation` (`service:METHOD` where a service speaks REST).
    pub async fn calls(&self) -> anyhow::Result<Vec<String>> {
        let url = format!("{}/_local/calls", self.endpoint);
        Ok(reqwest::Client::new().get(url).send().await?.error_for_status()?.json().await?)
    }
}

/// A moment at which something changed in a scaling group.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct Moment {
    /// Logical seconds.
    pub at: f64,
    /// The group.
    pub group: String,
    /// What happened.
    pub what: String,
    /// Instances that the group wanted.
    pub desired: u32,
    /// Instances that were there, without those on their way out.
    pub total: u32,
    /// Those of them that were healthy.
    pub healthy: u32,
    /// Healthy ones by version.
    pub versions: std::collections::BTreeMap<String, u32>,
}

/// Where a fork answers.
#[derive(serde::Deserialize)]
struct Fork {
    endpoint: String,
}

/// What an instance gets from its profile.
#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Role {
    access_key_id: String,
    secret_access_key: String,
    token: String,
}

/// Whether a call, as [`LocalAws::calls`] names it, only reads.
pub fn reads(call: &str) -> bool {
    let operation = call.split(':').nth(1).unwrap_or_default();
    ["Describe", "List", "Get", "GET", "HEAD"].iter().any(|verb| operation.starts_with(verb))
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn python() -> anyhow::Result<PathBuf> {
    let requirements = folder().join("aws/requirements.txt");
    Ok(crate::python::programs(&folder().join(".venv"), &requirements)?.join("python"))
}
