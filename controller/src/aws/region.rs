//! One account and region: the clients, limits and lists that all stacks in it share.

use super::{Error, JsonClient, Limits, Reason, Result, calls::Counted, view::Lists};
use crate::spec::AssumeRole;
use aws_config::{
    BehaviorVersion, SdkConfig,
    retry::RetryConfig,
    sts::{AssumeRoleProvider, AssumeRoleProviderBuilder},
    timeout::TimeoutConfig,
};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::tls;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// One account and region. Opened once in a process, so that all its stacks share connections, limits of calls and lists.
pub struct Region {
    /// Account the credentials belong to.
    pub account: String,
    /// ARN of whoever the credentials are of.
    pub identity: String,
    /// Name of the region: `us-east-1`.
    pub region: String,
    /// Amazon Certificate Manager.
    pub acm: aws_sdk_acm::Client,
    /// Auto Scaling.
    pub autoscaling: aws_sdk_autoscaling::Client,
    /// CloudWatch.
    pub cloudwatch: JsonClient,
    /// DynamoDB.
    pub dynamodb: aws_sdk_dynamodb::Client,
    /// EC2 and VPC.
    pub ec2: aws_sdk_ec2::Client,
    /// EC2 without the SDK's own retries, for creates that AWS cannot tell from a repeat.
    pub ec2_once: aws_sdk_ec2::Client,
    /// Container registry.
    pub ecr: aws_sdk_ecr::Client,
    /// Load balancing.
    pub elb: aws_sdk_elasticloadbalancingv2::Client,
    /// Identity and access.
    pub iam: aws_sdk_iam::Client,
    /// Logs of CloudWatch.
    pub logs: JsonClient,
    /// What an account may have, for the preflight.
    pub quotas: aws_sdk_servicequotas::Client,
    /// DNS.
    pub route53: aws_sdk_route53::Client,
    /// Object storage.
    pub s3: aws_sdk_s3::Client,
    /// Secrets Manager.
    pub secrets: aws_sdk_secretsmanager::Client,
    /// Notifications.
    pub sns: aws_sdk_sns::Client,
    /// Queues.
    pub sqs: aws_sdk_sqs::Client,
    /// Parameters.
    pub ssm: aws_sdk_ssm::Client,
    /// Who did what, for reports.
    pub trail: aws_sdk_cloudtrail::Client,
    /// For the few calls that are not of AWS: one pool of connections for all bots.
    pub http: reqwest::Client,
    pub(super) lists: Arc<Lists>,
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.account, self.region)
    }
}

/// A client whose calls keep the service's pace and are counted.
macro_rules! client {
    ($sdk:ident, $from:expr, $pace:expr, $http:expr) => {{
        let builder = $sdk::config::Builder::from($from).http_client($pace.client($http.clone()));
        $sdk::Client::from_conf(builder.interceptor(Counted($pace.clone())).build())
    }};
}

impl Region {
    /// Opens a region with credentials and endpoint from the environment and the profile, as every AWS tool, or as a role that
    /// these may take. AWS's limits hold at AWS's own endpoints; a stand-in at another one has none.
    async fn open(name: &str, role: Option<&AssumeRole>, limits: &Limits) -> Result<Self> {
        let config = aws_config::defaults(BehaviorVersion::latest())
            .region(aws_config::Region::new(name.to_owned()))
            .http_client(https())
            .retry_config(RetryConfig::standard().with_max_attempts(4))
            // The time to read counts from when a call is sent, not from when it begins to wait for its turn.
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(Duration::from_secs(5))
                    .read_timeout(Duration::from_secs(30))
                    .build(),
            )
            .load()
            .await;
        let none = Limits::default();
        let limits = if config.endpoint_url().is_some() { &none } else { limits };
        let Some(role) = role else { return Self::with_limits(&config, limits).await };
        let builder = AssumeRoleProvider::builder(&role.arn).session_name("polybot-controller").configure(&config);
        let builder = role.external_id.iter().fold(builder, AssumeRoleProviderBuilder::external_id);
        let provider = SharedCredentialsProvider::new(builder.build().await);
        let opened = Self::with_limits(&config.to_builder().credentials_provider(provider).build(), limits).await;
        opened.map_err(|e| if e.reason == Reason::Credentials { Error::not_taken(role) } else { e })
    }

    /// The same with an SDK configuration of the caller's, and without limits.
    pub async fn with_config(config: &SdkConfig) -> Result<Self> {
        Self::with_limits(config, &Limits::default()).await
    }

    /// The same with limits of the caller's. Asks whose the credentials are.
    pub async fn with_limits(config: &SdkConfig, limits: &Limits) -> Result<Self> {
        let (http, pace) = (config.http_client().unwrap_or_else(https), limits.of("", "", "sts"));
        let sts = client!(aws_sdk_sts, config, pace, http);
        let who = sts.get_caller_identity().send().await?;
        Ok(Self::of(config, limits, who.account.unwrap_or_default(), who.arn.unwrap_or_default()))
    }

    /// Clients of an account that is known. Asks AWS nothing.
    pub fn of(config: &SdkConfig, limits: &Limits, account: String, identity: String) -> Self {
        let (http, pool) = (config.http_client().unwrap_or_else(https), crate::telegram::client());
        let once = config.to_builder().retry_config(RetryConfig::disabled()).build();
        let region = config.region().map(ToString::to_string).unwrap_or_default();
        let of = |service| limits.of(&account, &region, service);
        // A path instead of a host name reaches a bucket on any endpoint that is not AWS's own.
        let s3 = aws_sdk_s3::config::Builder::from(config).force_path_style(config.endpoint_url().is_some());
        let (ec2, objects) = (of("ec2"), of("s3"));
        let s3 = s3.http_client(objects.client(http.clone())).interceptor(Counted(objects));
        Self {
            acm: client!(aws_sdk_acm, config, of("acm"), http),
            autoscaling: client!(aws_sdk_autoscaling, config, of("autoscaling"), http),
            cloudwatch: JsonClient::cloudwatch(config, pool.clone(), of("cloudwatch")),
            dynamodb: client!(aws_sdk_dynamodb, config, of("dynamodb"), http),
            ec2: client!(aws_sdk_ec2, config, ec2, http),
            ec2_once: client!(aws_sdk_ec2, &once, ec2, http),
            ecr: client!(aws_sdk_ecr, config, of("ecr"), http),
            elb: client!(aws_sdk_elasticloadbalancingv2, config, of("elasticloadbalancingv2"), http),
            iam: client!(aws_sdk_iam, config, of("iam"), http),
            logs: JsonClient::logs(config, pool.clone(), of("logs")),
            quotas: client!(aws_sdk_servicequotas, config, of("servicequotas"), http),
            route53: client!(aws_sdk_route53, config, of("route53"), http),
            s3: aws_sdk_s3::Client::from_conf(s3.build()),
            secrets: client!(aws_sdk_secretsmanager, config, of("secretsmanager"), http),
            sns: client!(aws_sdk_sns, config, of("sns"), http),
            sqs: client!(aws_sdk_sqs, config, of("sqs"), http),
            ssm: client!(aws_sdk_ssm, config, of("ssm"), http),
            trail: client!(aws_sdk_cloudtrail, config, of("cloudtrail"), http),
            http: pool,
            lists: Arc::default(),
            account,
            identity,
            region,
        }
    }

    /// Notes that something of a stack was written, so that no list, and no detail of this stack, that was read before serves
    /// another pass.
    pub fn wrote(&self, stack: &str) {
        self.lists.wrote(stack);
    }
}

/// One pool of connections and one reading of the trusted certificates for all clients.
fn https() -> SharedHttpClient {
    let provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc);
    aws_smithy_http_client::Builder::new().tls_provider(provider).build_https()
}

/// The regions that a process works in, each opened once. A clone is the same.
#[derive(Clone)]
pub struct Regions {
    doors: Arc<Mutex<Doors>>,
    limits: Limits,
}

impl Default for Regions {
    fn default() -> Self {
        Self { doors: Arc::default(), limits: Limits::of_aws() }
    }
}

/// By name of the region and the role it is seen as.
type Doors = BTreeMap<(String, Option<AssumeRole>), Door>;
type Door = Arc<tokio::sync::Mutex<Option<(Instant, Result<Arc<Region>>)>>>;

/// How long an open region is used before credentials and profile are read again.
const OPEN_FOR: Duration = Duration::from_mins(10);

impl Regions {
    /// The region of that name, as seen by that role. Whoever asks while it is being opened gets the same one, or the same error.
    pub async fn open(&self, name: &str, role: Option<&AssumeRole>) -> Result<Arc<Region>> {
        let asked = Instant::now();
        let key = (name.to_owned(), role.cloned());
        let door = self.doors.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().clone();
        let mut door = door.lock().await;
        match &*door {
            Some((opened, Ok(region))) if opened.elapsed() < OPEN_FOR => Ok(region.clone()),
            Some((failed, Err(error))) if *failed >= asked => Err(Error::clone(error)),
            _ => {
                let mut opened = Region::open(name, role, &self.limits).await;
                if let (Ok(now), Some((_, Ok(before)))) = (&mut opened, &*door)
                    && now.account == before.account
                {
                    now.lists = before.lists.clone();
                }
                let opened = opened.map(Arc::new);
                *door = Some((Instant::now(), opened.clone()));
                opened
            }
        }
    }
}
