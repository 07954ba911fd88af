//! One level-triggered pass over one stack: observe, plan. Applying needs consent, which is the caller's.

use crate::{
    aws::{self, Aws, Leeway, Region, Regions, View},
    engine::{self, Address, Observed, Plan, Policy, Wanted},
    facts::{Fact, Facts},
    kinds::KINDS,
    lease::{self, Lease, Terms},
    ownership::Ownership,
    secret::Secret,
    spec::PolybotStack,
    stack,
    telegram::Telegram,
};
use std::{sync::Arc, time::Duration};
use time::OffsetDateTime;
use tokio::time::Instant;

/// What the pass is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Goal {
    /// The stack as the spec says.
    #[default]
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
}

/// Stacks that are looked at or worked on at once: a hundred of them would be ten thousand calls in a moment, and time out.
pub const STACKS_AT_ONCE: usize = 10;

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
    /// Reaches the stack through one of the process's regions. Refuses credentials of another account than the spec says.
    pub async fn open(spec: Arc<PolybotStack>, regions: &Regions) -> Result<Self, ConnectError> {
        let region = regions
            .open(spec.spec.region.as_str(), spec.spec.assume_role.as_ref())
            .await
            .map_err(ConnectError::Identity)?;
        Self::within(spec, region).await
    }

    /// The same with an SDK configuration of the caller's, in a region that no other stack shares.
    pub async fn with_config(spec: Arc<PolybotStack>, config: &aws_config::SdkConfig) -> Result<Self, ConnectError> {
        let region = Region::with_config(config).await.map_err(ConnectError::Identity)?;
        Self::within(spec, Arc::new(region)).await
    }

    /// The same in a region that is open.
    pub async fn within(spec: Arc<PolybotStack>, region: Arc<Region>) -> Result<Self, ConnectError> {
        let actual = region.account.clone();
        if let Some(expected) = spec.spec.account_id.as_ref().map(ToString::to_string)
            && expected != actual
        {
            return Err(ConnectError::Account { expected, actual });
        }
        let ownership = Ownership {
            stack: spec.metadata.name.clone().unwrap_or_default(),
            prefix: stack::names(&spec, &actual).prefix(),
            extra: spec.spec.tags.clone(),
        };
        let known = stack::known_names(&spec, &actual);
        let token = crate::facts::token(&spec, &region.secrets).await;
        let telegram = Telegram::new(&spec.spec.telegram.api_url, token, region.http.clone());
        let mut aws = Aws::new(region, ownership, known);
        aws.telegram = Some(telegram);
        Ok(Self { spec, aws })
    }

    /// The same with a token from elsewhere: a Kubernetes Secret.
    #[must_use]
    pub fn with_token(mut self, token: Fact<Secret<String>>) -> Self {
        if let Some(telegram) = &mut self.aws.telegram {
            telegram.token = token;
        }
        self
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
        self.look_since(Instant::now(), goal, allow).await
    }

    /// The same, to find out cheaply that there is nothing to do: what was read a while ago is good enough. What is carried out
    /// stands on [`Self::look`].
    pub async fn glance(&self, leeway: Leeway, allow: &Allow) -> Plan {
        self.look_through(&View::within(&self.aws, leeway), Goal::Converge, allow).await.1
    }

    /// The same with lists of the region that other stacks have read since then: a plan of several stacks takes one moment for
    /// all.
    pub async fn look_since(&self, then: Instant, goal: Goal, allow: &Allow) -> (Wanted, Plan) {
        self.look_through(&View::since(&self.aws, then), goal, allow).await
    }

    async fn look_through(&self, view: &View, goal: Goal, allow: &Allow) -> (Wanted, Plan) {
        let (observed, wanted) = match goal {
            Goal::Converge => {
                let (observed, facts) = futures::join!(engine::observe(view, KINDS), Facts::gather(&self.spec, view));
                (observed, stack::stack(&self.spec, &facts))
            }
            Goal::Destroy => (engine::observe(view, KINDS).await, Wanted::default()),
        };
        let plan = self.plan_of(goal, allow, &wanted, &observed);
        (wanted, plan)
    }

    /// What is to be done about what was found, by what the spec and the caller allow. Asks nobody.
    pub fn plan_of(&self, goal: Goal, allow: &Allow, wanted: &Wanted, observed: &Observed) -> Plan {
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
        engine::plan(wanted, observed, &self.aws.ownership, &policy)
    }
}
