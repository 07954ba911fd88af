//! AWS clients of one account and region, and the only place that knows AWS's error codes.

mod calls;
mod error;
pub mod tags;

pub use error::{Error, Reason, Result};
pub use tags::TagTarget;

use crate::ownership::Ownership;
use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use std::{
    any::{Any, TypeId},
    collections::HashMap,
    ops::Deref,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::OnceCell;

/// Clients of one account and region, and whose stack they serve.
#[derive(Clone, Debug)]
pub struct Aws {
    /// Identity of the stack.
    pub ownership: Ownership,
    /// Account the credentials belong to.
    pub account: String,
    /// Region of the stack.
    pub region: String,
    /// Names of the physical things that cannot be listed by tag or prefix.
    pub known: KnownNames,
    /// The Bot API and the token, where there is one.
    pub telegram: Option<crate::telegram::Telegram>,
    /// Amazon Certificate Manager.
    pub acm: aws_sdk_acm::Client,
    /// Auto Scaling.
    pub autoscaling: aws_sdk_autoscaling::Client,
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
}

/// Names and ids that the spec gives and that no list call could find.
#[derive(Clone, Debug, Default)]
pub struct KnownNames {
    /// Secrets (ListSecrets may be minutes stale, so each is described by name).
    pub secrets: Vec<(String, String)>,
    /// Hosted zone (name without a final dot).
    pub hosted_zone: String,
    /// The bot's host name.
    pub host: String,
    /// Name of the images bucket.
    pub bucket: String,
    /// Name of the topic.
    pub topic: String,
}

/// The SDK configuration of a region: credentials and endpoint from the environment and the profile, as every AWS tool.
pub async fn sdk_config(region: &str) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new(region.to_owned()))
        .retry_config(RetryConfig::standard().with_max_attempts(4))
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(Duration::from_secs(5))
                .operation_attempt_timeout(Duration::from_secs(30))
                .build(),
        )
        .load()
        .await
}

/// A client whose calls are counted.
macro_rules! client {
    ($sdk:ident, $config:expr) => {
        $sdk::Client::from_conf($sdk::config::Builder::from($config).interceptor(calls::Counted).build())
    };
}

impl Aws {
    /// Clients for a stack. Asks AWS nothing.
    pub fn new(config: &SdkConfig, account: String, ownership: Ownership, known: KnownNames) -> Self {
        let once = config.to_builder().retry_config(RetryConfig::disabled()).build();
        // A path instead of a host name reaches a bucket on any endpoint that is not AWS's own.
        let s3 = aws_sdk_s3::config::Builder::from(config).force_path_style(config.endpoint_url().is_some());
        Self {
            ownership,
            account,
            region: config.region().map(ToString::to_string).unwrap_or_default(),
            known,
            telegram: None,
            acm: client!(aws_sdk_acm, config),
            autoscaling: client!(aws_sdk_autoscaling, config),
            dynamodb: client!(aws_sdk_dynamodb, config),
            ec2: client!(aws_sdk_ec2, config),
            ec2_once: client!(aws_sdk_ec2, &once),
            ecr: client!(aws_sdk_ecr, config),
            elb: client!(aws_sdk_elasticloadbalancingv2, config),
            iam: client!(aws_sdk_iam, config),
            route53: client!(aws_sdk_route53, config),
            s3: aws_sdk_s3::Client::from_conf(s3.interceptor(calls::Counted).build()),
            secrets: client!(aws_sdk_secretsmanager, config),
            sns: client!(aws_sdk_sns, config),
            sqs: client!(aws_sdk_sqs, config),
            ssm: client!(aws_sdk_ssm, config),
        }
    }
}

/// AWS as one pass sees it: the clients, and the lists that several kinds read, each read once.
pub struct View {
    aws: Aws,
    lists: Mutex<HashMap<TypeId, Arc<OnceCell<Shared>>>>,
}

type Shared = Arc<dyn Any + Send + Sync>;

impl Deref for View {
    type Target = Aws;
    fn deref(&self) -> &Aws {
        &self.aws
    }
}

impl View {
    /// A view with nothing read yet.
    pub fn new(aws: &Aws) -> Self {
        Self { aws: aws.clone(), lists: Mutex::default() }
    }

    /// The list of type `T`: read by whoever comes first, shared by all others of this pass. `T` is the key, so a list that
    /// is shared has a type of its own.
    pub async fn once<T, F>(&self, read: impl FnOnce() -> F) -> Result<Arc<T>>
    where
        T: Send + Sync + 'static,
        F: Future<Output = Result<T>>,
    {
        let cell = {
            let mut lists = self.lists.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            lists.entry(TypeId::of::<T>()).or_default().clone()
        };
        let shared = cell.get_or_try_init(|| async { read().await.map(|t| Arc::new(t) as Shared) }).await?;
        shared.clone().downcast().map_err(|_| Error::internal("a shared list of another type"))
    }
}
