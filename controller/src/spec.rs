//! The spec: one set of types for YAML files and for the Kubernetes custom resource. Every field's documentation becomes the
//! description that editors and `kubectl explain` show.
//!
//! A field that nobody knows is refused by the schemas, not by the types: [`load`] tells of it in a file, an API server in an
//! object. What comes out of a cluster may have fields that a newer CRD has filled in, before this program is replaced by the one
//! that knows them.

pub mod check;
pub mod edit;
pub mod load;
pub mod names;
pub mod pattern;
mod status;
pub mod tree;
mod value;

pub use status::{Approved, PlanStatus, PolybotStackStatus, ResourceStatus};
pub use value::{Cidr, Day, Duration, Region};

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One stack in one region of one account.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "polybot.dev",
    version = "v1alpha1",
    kind = "PolybotStack",
    plural = "polybotstacks",
    shortname = "pbs",
    category = "polybot",
    namespaced,
    status = "PolybotStackStatus",
    derive = "PartialEq",
    validation = Rule::new("self.metadata.name.size() <= 63 && !self.metadata.name.contains('.')")
        .message("a stack's name has at most 63 characters and no dots"),
    validation = Rule::new("!has(oldSelf.spec.accountId) || has(self.spec.accountId)")
        .message("accountId cannot be taken away: a stack stays where it is; make a new one"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Region", type_ = "string", json_path = ".spec.region"),
    printcolumn(name = "Drift", type_ = "string", json_path = r#".status.conditions[?(@.type=="Drifted")].status"#),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    doc = "One Polybot stack in one region of one AWS account."
)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct PolybotStackSpec {
    /// First part of every AWS name: names are {prefix}-{environment}-{component}. Lower-case letters, digits, dashes.
    #[schemars(length(min = 1, max = 20))]
    #[schemars(extend("x-kubernetes-validations" = [
        {"rule": "self == oldSelf", "message": "prefix cannot be changed: every name in AWS hangs on it; make a new stack"},
        {"rule": "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')", "message": "lower-case letters, digits and dashes, no dash at an end"},
    ]))]
    pub prefix: String,
    /// Second part of every AWS name, such as `prod`.
    #[schemars(length(min = 1, max = 20))]
    #[schemars(extend("x-kubernetes-validations" = [
        {"rule": "self == oldSelf", "message": "environment cannot be changed: every name in AWS hangs on it; make a new stack"},
        {"rule": "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')", "message": "lower-case letters, digits and dashes, no dash at an end"},
    ]))]
    pub environment: String,
    /// AWS region, such as `us-east-1`. One stack a region, each with its own bot token.
    #[schemars(extend("x-kubernetes-validations" = [
        {"rule": "self == oldSelf", "message": "region cannot be changed: a stack stays where it is; make a new one"},
    ]))]
    pub region: Region,
    /// Account that the stack belongs to, twelve digits. Credentials of any other account are refused before the first call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 12))]
    #[schemars(extend("x-kubernetes-validations" = [
        {"rule": "self == oldSelf", "message": "accountId cannot be changed: a stack stays where it is; make a new one"},
        {"rule": "self.matches('^[0-9]{12}$')", "message": "twelve digits"},
    ]))]
    pub account_id: Option<String>,
    /// A role that is taken before anything else; the credentials at hand need only the right to take it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assume_role: Option<AssumeRole>,
    /// How the operator treats this stack; it has no effect on files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Cluster>,
    /// The network.
    #[serde(default)]
    pub network: Network,
    /// Name and certificate of the bot's address.
    pub domain: Domain,
    /// The bot's side of Telegram.
    #[serde(default)]
    pub telegram: Telegram,
    /// The bot: behind the load balancer, HTTPS 8443 to HTTP 8443, health check /health.
    pub polybot: Polybot,
    /// The detector: workers on the identify queue. Without it no photo is looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yolo5: Option<Yolo5>,
    /// The queues; each has a dead-letter queue.
    #[serde(default)]
    pub queues: Queues,
    /// The tables.
    #[serde(default)]
    pub tables: Tables,
    /// The bucket of pictures.
    #[serde(default)]
    pub bucket: Bucket,
    /// The image repositories, one a service.
    #[serde(default)]
    pub registry: Registry,
    /// Where the services' logs go.
    #[serde(default)]
    pub logs: Logs,
    /// How many days CloudWatch keeps the logs, where they go there: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365 or more as its
    /// `PutRetentionPolicy` has them.
    #[serde(default = "log_retention")]
    pub log_retention_days: u32,
    /// Who hears, by e-mail, when detectors come and go and when an alarm rings or ends. AWS asks each by e-mail whether they
    /// want to; until they have said so, they hear nothing.
    #[serde(default)]
    pub notifications: Vec<Notification>,
    /// Ways into the instances beside Session Manager; none by default.
    #[serde(default)]
    pub access: Access,
    /// Tags on everything, beside the ownership tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// What becomes of data when its resource is no longer wanted.
    #[serde(default)]
    pub on_delete: OnDelete,
    /// Limits on what one apply may take away.
    #[serde(default)]
    pub safety: Safety,
    /// Differences that are left alone for a while: neither reported as drift nor mended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore_drift: Vec<IgnoreDrift>,
    /// Rules of `controller check` that this stack may break for a while.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waivers: Vec<Waiver>,
}

/// A role to act as.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct AssumeRole {
    /// Its ARN.
    #[schemars(length(max = 2048))]
    #[schemars(extend("x-kubernetes-validations" = [
        {"rule": "self.matches('^arn:aws[-a-z]*:iam::[0-9]{12}:role/[A-Za-z0-9_+=,.@/-]+$')", "message": "the ARN of a role, such as arn:aws:iam::123456789012:role/polybot"},
    ]))]
    pub arn: String,
    /// What the role's trust asks for, so that nobody else can make the controller act on the role's account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
}

/// How the operator treats a stack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Cluster {
    /// What the operator may do.
    #[serde(default)]
    pub management_policy: ManagementPolicy,
    /// Time between two looks at a stack at rest, spread by a tenth, 30s to 1d; the operator's own where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [
        // Durations of CEL know no days.
        {"rule": "self.endsWith('d') ? self.matches('^0*1d$') : duration(self) >= duration('30s') && duration(self) <= duration('24h')", "message": "a stack is looked at every 30s to 1d"},
    ]))]
    pub drift_period: Option<Duration>,
    /// What becomes of the stack in AWS when this object is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// Name of a ConfigMap beside this object that gets the stack's outputs; none where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[schemars(extend("x-kubernetes-validations" = [
        {"rule": "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')", "message": "the name of a ConfigMap: lower-case letters, digits, dashes and dots, begun and ended by a letter or digit"},
    ]))]
    pub outputs_to: Option<String>,
}

/// What the operator may do about a stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ManagementPolicy {
    /// Everything.
    #[default]
    Full,
    /// Look and tell; nothing is ever written, and deleting the object leaves the stack as it is.
    Observe,
    /// Look, and show a plan; it is carried out once the annotation `polybot.dev/approve` has its digest.
    ObserveAndPlan,
}

/// What becomes of a stack when its object is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// It is removed; what holds data stays, unless `onDelete` says otherwise.
    #[default]
    Delete,
    /// It is left as it is.
    Orphan,
}

/// The network: a VPC with a public /24 subnet in each zone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Network {
    /// The VPC's IPv4 block, /16 to /23 (a /24 for each zone must fit).
    #[serde(default = "network_cidr")]
    pub cidr: Cidr,
    /// How many zones, the first ones of the region; a load balancer needs two. Ignored where `zoneNames` is given.
    #[serde(default = "two")]
    #[schemars(range(min = 2, max = 6))]
    pub zones: u32,
    /// The zones by name, where the first ones will not do.
    #[serde(default)]
    pub zone_names: Vec<String>,
}

fn network_cidr() -> Cidr {
    Cidr::literal([10, 0, 0, 0], 16)
}
fn two() -> u32 {
    2
}

impl Default for Network {
    fn default() -> Self {
        Self { cidr: network_cidr(), zones: two(), zone_names: vec![] }
    }
}

/// Name and certificate of the bot's address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    // Either may end with a dot, as names in DNS do.
    {"rule": "('.' + self.name + '.').replace('..', '.').endsWith(('.' + self.hostedZone + '.').replace('..', '.'))", "message": "name has to be within hostedZone"},
]))]
pub struct Domain {
    /// A public hosted zone of Route 53 that exists, such as `example.com`.
    #[schemars(length(min = 1, max = 255))]
    pub hosted_zone: String,
    /// The bot's host name within that zone.
    #[schemars(length(min = 1, max = 64))]
    pub name: String,
    /// The certificate on the load balancer; self-signed unless an ARN is given.
    #[serde(default)]
    pub certificate: CertificateSource,
}

/// Where the certificate comes from: `selfSigned` (the default) or `arn`, not both.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "!(has(self.selfSigned) && has(self.arn))", "message": "either selfSigned or arn"},
]))]
pub struct CertificateSource {
    /// Made here, imported to ACM, renewed in time. The private key is kept nowhere else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_signed: Option<SelfSigned>,
    /// An ACM certificate that exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arn: Option<String>,
}

/// Subject and life of the self-signed certificate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "self.renewBeforeDays < self.validDays", "message": "renewBeforeDays has to be less than validDays"},
]))]
pub struct SelfSigned {
    /// Two-letter country code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// State or province.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// City.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locality: Option<String>,
    /// Organization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
    /// Days from making to end.
    #[serde(default = "valid_days")]
    #[schemars(range(min = 2, max = 3650))]
    pub valid_days: u32,
    /// A new one is made when fewer days than this are left.
    #[serde(default = "renew_before_days")]
    #[schemars(range(min = 1))]
    pub renew_before_days: u32,
}

fn valid_days() -> u32 {
    365
}
fn renew_before_days() -> u32 {
    30
}

impl Default for SelfSigned {
    fn default() -> Self {
        Self {
            country: None,
            state: None,
            locality: None,
            organization: None,
            valid_days: valid_days(),
            renew_before_days: renew_before_days(),
        }
    }
}

/// The bot's side of Telegram.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Telegram {
    /// Where the bot's token is; never the token itself.
    #[serde(default = "token_source")]
    pub token: SecretSource,
    /// Telegram's addresses, the only ones that reach the load balancer.
    #[serde(default = "telegram_sources")]
    pub sources: Vec<Cidr>,
    /// Root of the Bot API; another server for tests.
    #[serde(default = "telegram_api")]
    pub api_url: String,
    /// How Telegram delivers.
    #[serde(default)]
    pub webhook: WebhookOptions,
}

fn token_source() -> SecretSource {
    SecretSource { env: Some("TELEGRAM_TOKEN".to_owned()), ..SecretSource::default() }
}
fn telegram_sources() -> Vec<Cidr> {
    vec![Cidr::literal([149, 154, 160, 0], 20), Cidr::literal([91, 108, 4, 0], 22)]
}
fn telegram_api() -> String {
    "https://api.telegram.org".to_owned()
}

impl Default for Telegram {
    fn default() -> Self {
        Self {
            token: token_source(),
            sources: telegram_sources(),
            api_url: telegram_api(),
            webhook: WebhookOptions::default(),
        }
    }
}

/// How Telegram delivers updates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct WebhookOptions {
    /// A fixed address that Telegram uses instead of resolving the host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_address: Option<std::net::Ipv4Addr>,
    /// Deliveries at once, 1 to 100.
    #[serde(default = "max_connections")]
    #[schemars(range(min = 1, max = 100))]
    pub max_connections: u32,
}

fn max_connections() -> u32 {
    40
}

impl Default for WebhookOptions {
    fn default() -> Self {
        Self { ip_address: None, max_connections: max_connections() }
    }
}

/// Where a secret is; exactly one of the four.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "[has(self.env), has(self.file), has(self.secret), has(self.kubernetesSecret)].filter(x, x).size() == 1", "message": "exactly one of env, file, secret and kubernetesSecret"},
]))]
pub struct SecretSource {
    /// Name of an environment variable of the controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// Path of a file that the controller can read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Name or ARN of a secret in Secrets Manager that exists and is not of this stack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// A Kubernetes Secret in the stack's namespace (operator only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes_secret: Option<KubernetesSecret>,
}

/// A key of a Kubernetes Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct KubernetesSecret {
    /// Name of the Secret.
    pub name: String,
    /// Key within it.
    #[serde(default = "secret_key")]
    pub key: String,
}

fn secret_key() -> String {
    "token".to_owned()
}

/// A container image: `uri`, or `repository` with `tag` or `digest`. A tag is resolved to a digest when planning.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "[has(self.tag), has(self.digest), has(self.uri)].filter(x, x).size() == 1", "message": "exactly one of tag, digest and uri"},
    {"rule": "!(has(self.uri) && has(self.repository))", "message": "a uri names its repository itself"},
]))]
pub struct ImageRef {
    /// Name of the repository of this stack; the service's name where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Tag, such as `v1.4.0`; `v1.*` follows the newest release that matches, in the order of semantic versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Digest, such as `sha256:…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// An image anywhere, by full name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
}

/// The bot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Polybot {
    /// Its container image.
    pub image: ImageRef,
    /// EC2 instance type.
    #[serde(default = "polybot_type")]
    pub instance_type: String,
    /// Instances, spread over the zones.
    #[serde(default = "two")]
    #[schemars(range(min = 1, max = 100))]
    pub replicas: u32,
    /// How a new version reaches the instances.
    #[serde(default)]
    pub rollout: Rollout,
}

fn polybot_type() -> String {
    "t3.micro".to_owned()
}

/// The detector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields, extend("x-kubernetes-validations" = [
    {"rule": "self.replicas.min > 0 || has(self.scaling.backlog)", "message": "min 0 needs scaling.backlog: a group without instances has no CPU to scale on"},
]))]
pub struct Yolo5 {
    /// Its container image.
    pub image: ImageRef,
    /// EC2 instance type.
    #[serde(default = "yolo5_type")]
    pub instance_type: String,
    /// Between how many instances the group scales.
    #[serde(default)]
    pub replicas: Range,
    /// What the group scales on: `cpu` (the default) or `backlog`, not both.
    #[serde(default)]
    pub scaling: Scaling,
    /// Least confidence of a detection, 0 to 1.
    #[serde(default = "confidence")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub confidence: f32,
    /// How a new version reaches the instances.
    #[serde(default)]
    pub rollout: Rollout,
}

fn yolo5_type() -> String {
    "t3.medium".to_owned()
}
fn confidence() -> f32 {
    0.25
}

/// Least and most instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "self.min <= self.max", "message": "min has to be at most max"},
    {"rule": "self.max >= 1", "message": "max has to be at least 1"},
]))]
pub struct Range {
    /// Least.
    #[serde(default = "one")]
    pub min: u32,
    /// Most.
    #[serde(default = "four")]
    pub max: u32,
}

fn one() -> u32 {
    1
}
fn four() -> u32 {
    4
}

impl Default for Range {
    fn default() -> Self {
        Self { min: one(), max: four() }
    }
}

/// What a group scales on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "!(has(self.cpu) && has(self.backlog))", "message": "either cpu or backlog"},
]))]
pub struct Scaling {
    /// Mean CPU of the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<CpuTarget>,
    /// Messages that wait, for each instance in service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backlog: Option<Backlog>,
}

/// Mean CPU of the group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct CpuTarget {
    /// Percent.
    #[schemars(range(min = 1, max = 100))]
    pub target: u32,
}

/// Messages that wait, for each instance in service: the target is latency divided by time a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Backlog {
    /// How long a message may wait.
    pub latency_target: Duration,
    /// How long one instance takes for one message, in seconds.
    pub seconds_per_message: f32,
}

/// How a new version reaches the instances.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "self.maxHealthyPercent - self.minHealthyPercent <= 100", "message": "at most 100 between minHealthyPercent and maxHealthyPercent"},
    {"rule": "self.minHealthyPercent < 100 || self.maxHealthyPercent > 100", "message": "100 to 100 percent leaves no room to replace anything"},
]))]
pub struct Rollout {
    /// Instances that stay healthy meanwhile, percent of the wanted size.
    #[serde(default = "hundred")]
    #[schemars(range(min = 0, max = 100))]
    pub min_healthy_percent: u32,
    /// Instances at most meanwhile, percent of the wanted size; at most 100 above the least.
    #[serde(default = "two_hundred")]
    #[schemars(range(min = 100, max = 200))]
    pub max_healthy_percent: u32,
    /// How long the new version is watched before the rollout counts as done. `validate` and `check` tell where that is shorter than
    /// an alarm takes to ring: ten minutes and some, for jobs longer where they are tried for longer before they end as dead letters.
    #[serde(default = "bake")]
    pub bake: Duration,
    /// Whether a failed rollout goes back by itself.
    #[serde(default = "yes")]
    pub auto_rollback: bool,
}

fn hundred() -> u32 {
    100
}
fn two_hundred() -> u32 {
    200
}
fn bake() -> Duration {
    Duration::seconds(900)
}
fn yes() -> bool {
    true
}

impl Default for Rollout {
    fn default() -> Self {
        Self { min_healthy_percent: hundred(), max_healthy_percent: two_hundred(), bake: bake(), auto_rollback: yes() }
    }
}

/// The queues; each has a dead-letter queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Queues {
    /// Jobs for yolo5.
    #[serde(default)]
    pub identify: Queue,
    /// Answers for polybot.
    #[serde(default)]
    pub results: Queue,
    /// Polybot's own: albums, reminders.
    #[serde(default = "work_queue")]
    pub work: Queue,
}

fn work_queue() -> Queue {
    Queue { retention: Duration::seconds(86_400), ..Queue::default() }
}

impl Default for Queues {
    fn default() -> Self {
        Self { identify: Queue::default(), results: Queue::default(), work: work_queue() }
    }
}

/// A queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Queue {
    /// How long a received message stays hidden, 0s to 12h; at least six times the longest job.
    #[serde(default = "visibility")]
    pub visibility_timeout: Duration,
    /// How long a message is kept, 60s to 14d.
    #[serde(default = "retention")]
    pub retention: Duration,
    /// After how many receives a message goes to the dead-letter queue.
    #[serde(default = "max_receives")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_receives: u32,
}

fn visibility() -> Duration {
    Duration::seconds(60)
}
fn retention() -> Duration {
    Duration::seconds(4 * 86_400)
}
fn max_receives() -> u32 {
    5
}

impl Default for Queue {
    fn default() -> Self {
        Self { visibility_timeout: visibility(), retention: retention(), max_receives: max_receives() }
    }
}

/// The tables.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Tables {
    /// Predictions, by id and by chat.
    #[serde(default)]
    pub predictions: Table,
    /// Chats: albums, seen updates, settings; items expire.
    #[serde(default)]
    pub chats: Table,
}

/// A table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "(self.billing == 'provisioned') == has(self.provisioned)", "message": "provisioned goes with billing: provisioned"},
]))]
pub struct Table {
    /// How it is paid for; by request where `provisioned` is absent.
    #[serde(default)]
    pub billing: Billing,
    /// Capacity units, with `billing: provisioned`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisioned: Option<Capacity>,
}

/// Where the services' logs go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Logs {
    /// Into the journal of each instance; they go with it.
    #[default]
    Journald,
    /// To CloudWatch, into the group `/{prefix}-{environment}/{service}`, which holds data: it stays when the stack goes, unless it
    /// is told otherwise.
    CloudWatch,
}

fn log_retention() -> u32 {
    30
}

/// How a table is paid for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Billing {
    /// By request.
    #[default]
    PayPerRequest,
    /// By capacity.
    Provisioned,
}

/// Capacity units of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Capacity {
    /// Reads.
    #[schemars(range(min = 1))]
    pub read: u32,
    /// Writes.
    #[schemars(range(min = 1))]
    pub write: u32,
}

/// The bucket of pictures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Bucket {
    /// Key prefix of original pictures.
    #[serde(default = "image_prefix")]
    pub image_prefix: String,
    /// Whether old versions of objects are kept (for 30 days).
    #[serde(default = "yes")]
    pub versioning: bool,
    /// Pictures go after this many days; 0 keeps them for ever.
    #[serde(default = "expire_days")]
    pub expire_images_after_days: u32,
}

fn image_prefix() -> String {
    "images".to_owned()
}
fn expire_days() -> u32 {
    30
}

impl Default for Bucket {
    fn default() -> Self {
        Self { image_prefix: image_prefix(), versioning: yes(), expire_images_after_days: expire_days() }
    }
}

/// The image repositories.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Registry {
    /// How many of the newest images stay.
    #[serde(default = "keep_images")]
    #[schemars(range(min = 3, max = 1000))]
    pub keep_images: u32,
}

fn keep_images() -> u32 {
    10
}

impl Default for Registry {
    fn default() -> Self {
        Self { keep_images: keep_images() }
    }
}

/// Who hears, by e-mail, when instances come and go and when an alarm rings or ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Notification {
    /// An e-mail address; AWS asks it to confirm.
    pub email: String,
}

/// Ways into the instances beside Session Manager.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Access {
    /// SSH.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<Ssh>,
}

/// SSH: from where, and with which key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "has(self.publicKey) != has(self.keyName)", "message": "either publicKey or keyName"},
    {"rule": "!has(self.publicKey) || !self.publicKey.contains('PRIVATE')", "message": "this is a private key; give the public half, and make a new pair"},
]))]
pub struct Ssh {
    /// Addresses that may connect; never the whole internet.
    #[schemars(length(min = 1, max = 50))]
    #[schemars(extend("x-kubernetes-validations" = [
        {"rule": "self.all(c, !c.endsWith('/0'))", "message": "SSH from /0 is SSH from everywhere"},
    ]))]
    pub cidrs: Vec<Cidr>,
    /// A public key; the private half is never seen here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8192))]
    pub public_key: Option<String>,
    /// Name of a key pair that exists, instead of `publicKey`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_name: Option<String>,
}

/// What becomes of data when its resource is no longer wanted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct OnDelete {
    /// For all that holds data.
    #[serde(default)]
    pub data: DataPolicy,
    /// For single addresses, such as `table/predictions`.
    #[serde(default)]
    pub addresses: BTreeMap<String, DataPolicy>,
}

/// What becomes of data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum DataPolicy {
    /// It stays.
    #[default]
    Retain,
    /// It goes.
    Purge,
}

/// Limits on what one apply may take away.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Safety {
    /// Resources that one apply may delete or replace; more needs --max-deletions.
    #[serde(default = "max_deletions")]
    pub max_deletions: u32,
}

fn max_deletions() -> u32 {
    3
}

impl Default for Safety {
    fn default() -> Self {
        Self { max_deletions: max_deletions() }
    }
}

/// A difference that is left alone until a day, for a reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct IgnoreDrift {
    /// Of which resource, such as `scaling_group/yolo5`; `security_group_rule/*` for all of a kind.
    pub address: String,
    /// Of which field, as `drift` or the spec names it; the whole resource where absent, be it missing or one too many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Why, for those who read it later.
    pub reason: String,
    /// The last day on which it counts. After it the difference is drift again.
    pub until: Day,
}

impl IgnoreDrift {
    /// Whether it counts for this field of this resource; `*` asks for the whole resource.
    pub fn covers(&self, address: &crate::engine::Address, field: &str) -> bool {
        let this = address.to_string();
        let at = self.address.strip_suffix('*').map_or(this == self.address, |start| this.starts_with(start));
        let plain = |name: &str| name.replace('_', "").to_lowercase();
        at && plain(self.field.as_deref().unwrap_or("*")) == plain(field)
    }
}

/// A rule of `controller check` that may be broken until a day, for a reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Waiver {
    /// The rule as `check` names it, such as `CKV_AWS_21`.
    pub rule: String,
    /// Why, for those who read it later.
    pub reason: String,
    /// The last day on which it counts.
    pub until: Day,
}

/// The JSON schema of one document: what editors check while one types.
pub fn json_schema() -> serde_json::Value {
    let spec = schemars::generate::SchemaSettings::draft07()
        .with(|s| s.inline_subschemas = true)
        .into_generator()
        .into_root_schema_for::<PolybotStackSpec>();
    serde_json::json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "PolybotStack",
        "description": "One Polybot stack in one region of one AWS account.",
        "type": "object",
        "additionalProperties": false,
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": {
            "apiVersion": { "const": "polybot.dev/v1alpha1" },
            "kind": { "const": "PolybotStack" },
            "metadata": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": { "type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63 },
                    "namespace": { "type": "string" },
                    "labels": { "type": "object", "additionalProperties": { "type": "string" } },
                    "annotations": { "type": "object", "additionalProperties": { "type": "string" } },
                },
            },
            "spec": spec,
        },
    })
}
