//! Leases in Kubernetes, for [`crate::lease`]: who leads. `kubectl get lease` shows the holder and its last sign of life.

use crate::{
    aws::{Error, Reason, Result},
    lease::{Record, Store},
};
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client, ResourceExt,
    api::{ObjectMeta, PostParams},
};
use std::{collections::BTreeMap, time::Duration};

/// Annotation: signs of life of this holder, counted.
const BEAT: &str = "polybot.dev/beat";

/// What this replica is called: its pod's name, and something that a pod of the same name before it did not have.
pub(super) fn identity() -> String {
    let pod =
        std::env::var("POD_NAME").or_else(|_| std::env::var("HOSTNAME")).unwrap_or_else(|_| "controller".to_owned());
    format!("{pod}_{}", uuid::Uuid::new_v4().simple())
}

/// The Leases of a namespace.
pub(super) struct Leases {
    api: Api<Lease>,
    time_to_live: Duration,
}

impl Leases {
    pub(super) fn new(client: &Client, namespace: &str, time_to_live: Duration) -> Self {
        Self { api: Api::namespaced(client.clone(), namespace), time_to_live }
    }

    /// A call that hangs is as bad as one that fails: a leader that cannot be heard has to know it in time.
    async fn timely<T>(&self, call: impl Future<Output = Result<T, kube::Error>>) -> Result<Result<T, kube::Error>> {
        tokio::time::timeout(self.time_to_live / 4, call).await.map_err(|_| failed("no answer in time".to_owned()))
    }
}

fn failed(message: String) -> Error {
    let operation = "Lease".to_owned();
    Error { service: "kubernetes".to_owned(), operation, code: String::new(), message, reason: Reason::Unreachable }
}

fn record(lease: &Lease) -> Record {
    let spec = lease.spec.clone().unwrap_or_default();
    let renewed = spec.renew_time.map_or(0, |t| t.0.as_second());
    let lasts = i64::from(spec.lease_duration_seconds.unwrap_or(0));
    Record {
        owner: spec.holder_identity.unwrap_or_default(),
        fence: spec.lease_transitions.and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
        beat: lease.annotations().get(BEAT).and_then(|b| b.parse().ok()).unwrap_or(0),
        lasts,
        ends: renewed + lasts,
    }
}

impl Store for Leases {
    async fn read(&self, name: &str) -> Result<Option<Record>> {
        let got = self.timely(self.api.get_opt(name)).await?.map_err(|e| failed(e.to_string()))?;
        Ok(got.as_ref().map(record))
    }

    async fn write(&self, name: &str, seen: Option<(u64, u64)>, new: &Record) -> Result<bool> {
        let there = self.timely(self.api.get_opt(name)).await?.map_err(|e| failed(e.to_string()))?;
        if there.as_ref().map(record).map(|r| (r.fence, r.beat)) != seen {
            return Ok(false);
        }
        let now = MicroTime(Timestamp::now());
        let before = there.as_ref().and_then(|l| l.spec.as_ref());
        let goes_on = before.is_some_and(|s| s.holder_identity.as_ref() == Some(&new.owner));
        let acquired = before.filter(|_| goes_on).and_then(|s| s.acquire_time.clone());
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                annotations: Some(BTreeMap::from([(BEAT.to_owned(), new.beat.to_string())])),
                // Whoever writes in between makes this one fail.
                resource_version: there.as_ref().and_then(ResourceExt::resource_version),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: (!new.owner.is_empty()).then(|| new.owner.clone()),
                // The API takes no lease of 0 s.
                lease_duration_seconds: i32::try_from(new.lasts.max(1)).ok(),
                lease_transitions: i32::try_from(new.fence).ok(),
                acquire_time: acquired.or_else(|| Some(now.clone())),
                renew_time: Some(now),
                ..LeaseSpec::default()
            }),
        };
        let (post, api) = (PostParams::default(), &self.api);
        let written = match there {
            Some(_) => self.timely(api.replace(name, &post, &lease)).await?,
            None => self.timely(api.create(&post, &lease)).await?,
        };
        match written {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(failed(error.to_string())),
        }
    }
}
