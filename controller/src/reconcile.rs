//! One level-triggered pass over one stack: observe, plan. Applying needs consent, which is the caller's.

use crate::{
    aws::{self, Aws, KnownNames, View},
    engine::{self, Address, Plan, Policy, Wanted},
    facts::Facts,
    kinds::KINDS,
    lease::{self, Lease, Terms},
    ownership::Ownership,
    spec::PolybotStack,
    stack,
    telegram::Telegram,
};
use std::{sync::Arc, time::Duration};
use time::OffsetDateTime;

/// What the pass is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// The stack as the spec says.
    Converge,
    /// No stack.
    Destroy,
}

/// What a person allows beyond the careful default.
#[derive(Clone, Debug, Default)]
pub struct Allow {
    /// Addresses whose data may go; `all` for every one.
    pub with_data: Vec<String>,
    /// Addresses that may be replaced though their kind blocks that.
    pub replace: Vec<String>,
}

/// A stack and the clients that reach it.
pub struct Connection {
    /// The spec.
    pub spec: Arc<PolybotStack>,
    /// The clients.
    pub aws: Aws,
    /// Who did what, for reports.
    pub trail: aws_sdk_cloudtrail::Client,
    /// What an account may have, for the preflight.
    pub quotas: aws_sdk_servicequotas::Client,
    /// ARN of whoever the credentials are of.
    pub identity: String,
}

/// Why a stack could not even be looked at.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The first call did not work.
    #[error("AWS does not tell who we are")]
    Identity(#[source] aws::Error),
    /// The credentials are of another account than the spec says.
    #[error(
        "the credentials are of account {actual}, but the spec says {expected}; choose others (AWS_PROFILE), or correct \
             spec.accountId"
    )]
    Account {
        /// `spec.accountId`.
        expected: String,
        /// Whose the credentials are.
        actual: String,
    },
}

impl Connection {
    /// Finds out whose the credentials are, and refuses those of another account before anything else is asked.
    pub async fn open(spec: Arc<PolybotStack>) -> Result<Self, ConnectError> {
        let config = aws::sdk_config(spec.spec.region.as_str()).await;
        Self::with_config(spec, &config).await
    }

    /// The same with an SDK configuration of the caller's.
    pub async fn with_config(spec: Arc<PolybotStack>, config: &aws_config::SdkConfig) -> Result<Self, ConnectError> {
        let identity = aws_sdk_sts::Client::new(config)
            .get_caller_identity()
            .send()
            .await
            .map_err(|e| ConnectError::Identity(e.into()))?;
        let arn = identity.arn.unwrap_or_default();
        let actual = identity.account.unwrap_or_default();
        if let Some(expected) = spec.spec.account_id.as_ref().map(ToString::to_string)
            && expected != actual
        {
            return Err(ConnectError::Account { expected, actual });
        }
        let names = stack::names(&spec, &actual);
        let ownership = Ownership {
            stack: spec.metadata.name.clone().unwrap_or_default(),
            prefix: names.prefix(),
            extra: spec.spec.tags.clone(),
        };
        let known: KnownNames = stack::known_names(&spec, &actual);
        let mut aws = Aws::new(config, actual, ownership, known);
        aws.telegram = Some(Telegram::new(&spec.spec.telegram.api_url, crate::facts::token(&spec, config).await));
        let trail = aws_sdk_cloudtrail::Client::new(config);
        let quotas = aws_sdk_servicequotas::Client::new(config);
        Ok(Self { spec, aws, trail, quotas, identity: arn })
    }

    /// Takes the lease on the stack, waiting while another controller holds it. The table of leases is made if need be.
    pub async fn lease(
        &self,
        time_to_live: Duration,
        told: impl Fn(&lease::Record),
    ) -> aws::Result<Lease<lease::Table>> {
        let table = Arc::new(lease::Table::open(&self.aws).await?);
        Lease::take(table, &format!("stack/{}", self.aws.ownership.stack), &Terms::of_this_process(time_to_live), told)
            .await
    }

    /// Looks at AWS and plans. Reads only.
    pub async fn look(&self, goal: Goal, allow: &Allow) -> (Wanted, Plan) {
        let view = View::new(&self.aws);
        let (observed, wanted) = match goal {
            Goal::Converge => {
                let (observed, facts) = futures::join!(engine::observe(&view, KINDS), Facts::gather(&self.spec, &view));
                (observed, stack::stack(&self.spec, &facts))
            }
            Goal::Destroy => (engine::observe(&view, KINDS).await, Wanted::default()),
        };
        let purge = |a: &Address| {
            let named = |list: &[String]| list.iter().any(|w| *w == a.to_string() || w == "all");
            named(&allow.with_data) || stack::purges(&self.spec, a)
        };
        let replace = |a: &Address| allow.replace.iter().any(|w| *w == a.to_string());
        let today = OffsetDateTime::now_utc().date();
        let ignores = match goal {
            Goal::Converge => self.spec.spec.ignore_drift.iter().filter(|i| i.until.date() >= today).collect(),
            Goal::Destroy => vec![],
        };
        let ignore = |a: &Address, field: &str| ignores.iter().any(|i| i.covers(a, field));
        let policy = Policy { purge: &purge, replace: &replace, ignore: &ignore };
        let plan = engine::plan(&wanted, &observed, &self.aws.ownership, &policy);
        (wanted, plan)
    }
}
