//! The operator: keeps the stacks that a Kubernetes cluster holds as objects. A pass is the same as everywhere
//! ([`crate::keep::pass()`]); here is what is around it: who leads, what makes a pass due, and what is told of it.
//!
//! What makes a pass due: a new generation of the object, an annotation, a Secret that it names, or time. Its own writes of the
//! status do not, so it does not run in circles.

mod conditions;
mod events;
mod leader;
mod one;
mod outputs;
mod roles;
mod status;

pub use roles::AllowedRole;

use crate::{
    aws::Regions,
    keep::{Course, longest_wait},
    lease::{Lease, Terms},
    spec::{PolybotStack, PolybotStackStatus},
    stop::Stop,
};
use anyhow::bail;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    core::{DeserializeGuard, PartialObjectMeta},
    runtime::{
        Config, Controller, Predicate, PredicateConfig, WatchStreamExt, controller,
        events::{Recorder, Reporter},
        predicates,
        reflector::{self, ObjectRef, Store},
        watcher,
    },
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::RwLock;

/// Name of the operator in events and as a field manager.
pub const NAME: &str = "polybot-controller";
/// The finalizer that keeps an object until its stack is gone.
pub const FINALIZER: &str = "polybot.dev/stack";
/// Annotation: `"true"` stops all work on a stack.
pub const PAUSED: &str = "polybot.dev/paused";
/// Annotation: any new value starts a pass; the status echoes it.
pub const RECONCILE: &str = "polybot.dev/reconcile";
/// Annotation: the digest of the plan that may be carried out.
pub const APPROVE: &str = "polybot.dev/approve";

/// An object that may not even be a stack: one of them must not keep the others from being looked at.
type Guarded = DeserializeGuard<PolybotStack>;

/// What an operator is told at its start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The one namespace it looks at; all where absent.
    pub namespace: Option<String>,
    /// Labels that an object must have.
    pub selector: Option<String>,
    /// The roles that stacks may name; no other one is taken.
    pub roles: Vec<AllowedRole>,
    /// Time between two passes over a stack at rest.
    pub interval: Duration,
    /// Stacks that are passed over at once.
    pub concurrency: u16,
    /// Namespace, name and time to live of the Lease by which replicas elect who leads.
    pub lease: (String, String, Duration),
}

/// How far a replica is.
#[derive(Clone, Debug, Default)]
pub struct Standing(Arc<Mutex<&'static str>>);

impl Standing {
    fn set(&self, word: &'static str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = word;
    }

    /// A replica that stands by is as ready as one that leads.
    pub fn ready(&self) -> (bool, String) {
        let word = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (!word.is_empty(), format!("{}\n", if word.is_empty() { "starting" } else { word }))
    }
}

/// What all passes share.
struct Operator {
    client: Client,
    roles: Vec<AllowedRole>,
    interval: Duration,
    /// What all stacks of an account and region share: clients, limits of calls, lists.
    regions: Regions,
    /// This replica.
    identity: String,
    recorder: Recorder,
    stacks: Store<Guarded>,
    /// What is known of each stack, by the uid of its object.
    memory: Mutex<HashMap<String, Memory>>,
    /// Held, shared, by each pass that runs.
    running: RwLock<()>,
    stop: Stop,
    /// Asked for when another replica leads: then nothing more is told.
    lost: Stop,
}

/// What is known of a stack from one pass to the next.
#[derive(Default)]
struct Memory {
    /// How it has fared.
    course: Option<Course>,
    /// The status that was told last: the cache may still have the one before.
    status: Option<PolybotStackStatus>,
    /// How often in a row the cluster has refused something.
    refused: u32,
}

/// Leads, and keeps stacks, until told to stop. An error where the lease is lost: then another replica leads, and this one has
/// to start anew.
pub async fn run(client: Client, settings: Settings, standing: Standing, stop: Stop) -> anyhow::Result<()> {
    let (namespace, name, time_to_live) = &settings.lease;
    let store = Arc::new(leader::Leases::new(&client, namespace, *time_to_live));
    let terms = Terms { owner: leader::identity(), ..Terms::of_this_process(*time_to_live) };
    let told = |record: &crate::lease::Record| {
        standing.set("stands by");
        tracing::info!(leader = record.owner, "stands by");
    };
    let lease = loop {
        tokio::select! {
            taken = Lease::take(store.clone(), name, &terms, told) => match taken {
                Ok(lease) => break lease,
                Err(error) => {
                    tracing::warn!(%error, "the Lease cannot be read or written");
                    tokio::time::sleep(terms.poll).await;
                }
            },
            () = stop.asked() => return Ok(()),
        }
    };
    tracing::info!(identity = terms.owner, "leads");
    let both = stop.or(lease.lost());
    keep(client, &settings, terms.owner.clone(), &standing, both, lease.lost().clone()).await;
    let lost = lease.lost().is_asked();
    lease.give_back().await;
    if lost && !stop.is_asked() {
        bail!("the Lease {namespace}/{name} was lost to another replica");
    }
    Ok(())
}

async fn keep(client: Client, settings: &Settings, identity: String, standing: &Standing, stop: Stop, lost: Stop) {
    let (reader, writer) = reflector::store();
    let operator = Arc::new(Operator {
        recorder: Recorder::new(
            client.clone(),
            Reporter { controller: NAME.to_owned(), instance: Some(identity.clone()) },
        ),
        client,
        roles: settings.roles.clone(),
        interval: settings.interval,
        regions: Regions::default(),
        identity,
        stacks: reader.clone(),
        memory: Mutex::default(),
        running: RwLock::default(),
        stop,
        lost,
    });
    let selected = watcher::Config { label_selector: settings.selector.clone(), ..watcher::Config::default() };
    let due = predicates::generation.combine(predicates::annotations).combine(predicates::finalizers);
    let all = operator.clone();
    let stacks = watcher(scoped::<Guarded>(&operator.client, settings), selected)
        .default_backoff()
        .modify(|stack| stack.managed_fields_mut().clear())
        .reflect(writer)
        .inspect_ok(move |event| {
            // Whoever frees an object by hand leaves nothing to be done, but no alarm may go on for it.
            if let watcher::Event::Delete(gone) = event {
                all.forget(gone);
            }
        })
        .applied_objects()
        .predicate_filter(due, remembered(settings.interval));
    let secrets = watcher(scoped::<PartialObjectMeta<Secret>>(&operator.client, settings), watcher::Config::default())
        .default_backoff()
        .touched_objects()
        // A list that is read anew brings every Secret again.
        .predicate_filter(predicates::resource_version, remembered(settings.interval));
    let named = reader.clone();
    let synced = {
        let (reader, standing) = (reader.clone(), standing.clone());
        async move {
            if reader.wait_until_ready().await.is_ok() {
                standing.set("leads");
                tracing::info!(stacks = reader.len(), "keeping");
            }
            std::future::pending::<()>().await;
        }
    };
    let passes = Controller::for_stream(stacks, reader)
        .watches_stream(secrets, move |secret| who_names(&named, &secret))
        .with_config(Config::default().concurrency(settings.concurrency))
        .run(one::reconcile, one::again, operator.clone())
        .take_until(operator.ended())
        .for_each(|ended| async move {
            match ended {
                // What went wrong with a stack, `again` has told.
                Ok(_) | Err(controller::Error::ReconcilerFailed(..) | controller::Error::ObjectNotFound(_)) => {}
                Err(error) => tracing::warn!(%error, "the cluster cannot be watched"),
            }
        });
    tokio::select! {
        () = passes => {}
        () = synced => {}
    }
}

/// How long the filters remember what they have let through. After an hour, unasked, they would forget it, and where passes are
/// further apart the status that one writes would be taken for news, and start another.
fn remembered(interval: Duration) -> PredicateConfig {
    PredicateConfig::default().ttl(longest_wait(interval).saturating_mul(2))
}

fn scoped<K>(client: &Client, settings: &Settings) -> Api<K>
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope>,
    K::DynamicType: Default,
{
    match &settings.namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// The stacks whose token is in this Secret.
fn who_names(stacks: &Store<Guarded>, secret: &impl Resource<DynamicType = ()>) -> Vec<ObjectRef<Guarded>> {
    let names = |stack: &PolybotStack| {
        let source = stack.spec.telegram.token.kubernetes_secret.as_ref();
        stack.namespace() == secret.meta().namespace && source.map(|s| &s.name) == secret.meta().name.as_ref()
    };
    let of = |g: &Arc<Guarded>| g.0.as_ref().is_ok_and(names).then(|| ObjectRef::from_obj(g.as_ref()));
    stacks.state().iter().filter_map(of).collect()
}

impl Operator {
    fn memory(&self) -> MutexGuard<'_, HashMap<String, Memory>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets a stack that has gone, and takes back what its gauges say.
    fn forget(&self, stack: &impl Resource) {
        let memory = self.memory().remove(stack.meta().uid.as_deref().unwrap_or_default());
        if let Some(course) = memory.and_then(|memory| memory.course) {
            course.ended();
        }
        gauges(stack, &[]);
    }

    /// Returns when a stop was asked for and the last pass has ended. (The controller's own graceful shutdown would wait for
    /// every pass that is due some time, which of a stack at rest is many minutes away.)
    async fn ended(self: Arc<Self>) {
        self.stop.asked().await;
        drop(self.running.write().await);
    }

    /// Writes the status, all of it: what it does not say any more goes.
    async fn tell(&self, stack: &PolybotStack, status: &PolybotStackStatus) -> Result<(), kube::Error> {
        let kind = ApiResource::erase::<PolybotStack>(&());
        let patch = serde_json::json!({ "apiVersion": kind.api_version, "kind": kind.kind, "status": status });
        let params = PatchParams::apply(NAME).force();
        self.patch_status(stack, &params, &Patch::Apply(patch), &status.conditions).await?;
        // Only what was written counts: a stack whose account is not in its status has nothing there.
        self.memory().entry(stack.uid().unwrap_or_default()).or_default().status = Some(status.clone());
        Ok(())
    }

    /// Writes conditions alone: the rest of the status stays, as of an object that cannot be read nobody knows what it is.
    async fn tell_conditions(&self, object: &Guarded, said: &[conditions::Says]) -> Result<(), kube::Error> {
        let generation = object.meta().generation;
        let conditions = {
            let mut memory = self.memory();
            let told = memory.get_mut(&object.uid().unwrap_or_default()).and_then(|m| m.status.as_mut());
            let before = told.as_ref().map_or(&[][..], |status| &status.conditions);
            let conditions = conditions::over(before, said, generation);
            if let Some(status) = told {
                (status.observed_generation, status.conditions) = (generation, conditions.clone());
            }
            conditions
        };
        let status = serde_json::json!({ "observedGeneration": generation, "conditions": conditions });
        let params = PatchParams { field_manager: Some(NAME.to_owned()), ..PatchParams::default() };
        self.patch_status(object, &params, &Patch::Merge(serde_json::json!({ "status": status })), &conditions).await
    }

    async fn patch_status(
        &self,
        object: &impl Resource,
        params: &PatchParams,
        patch: &Patch<serde_json::Value>,
        conditions: &[Condition],
    ) -> Result<(), kube::Error> {
        if self.lost.is_asked() {
            return Ok(());
        }
        let kind = ApiResource::erase::<PolybotStack>(&());
        let (namespace, name) = (object.meta().namespace.clone(), object.meta().name.clone());
        // The answer is not read: an object that is no stack has a status too.
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &namespace.unwrap_or_default(), &kind);
        let told = api.patch_status(&name.unwrap_or_default(), params, patch).await.map(drop);
        // What has gone has no alarms any more.
        if !matches!(&told, Err(kube::Error::Api(s)) if s.code == 404) {
            gauges(object, conditions);
        }
        told
    }
}

/// Conditions as numbers, so that alerts can be set on them; those that nothing is said of are unknown.
fn gauges(stack: &impl Resource, conditions: &[Condition]) {
    let labels = |kind: &'static str| {
        let (namespace, name) = (stack.meta().namespace.clone(), stack.meta().name.clone());
        [("namespace", namespace.unwrap_or_default()), ("stack", name.unwrap_or_default()), ("type", kind.to_owned())]
    };
    for kind in conditions::KINDS {
        let condition = conditions.iter().find(|c| c.type_ == kind);
        let value = match condition.map(|c| c.status.as_str()) {
            Some("True") => 1.0,
            Some("False") => 0.0,
            _ => -1.0,
        };
        metrics::gauge!("polybot_stack_condition", &labels(kind)).set(value);
    }
    let drifted = conditions.iter().find(|c| c.type_ == "Drifted" && c.status == "True");
    let stood = drifted.map_or(0.0, |c| Timestamp::now().duration_since(c.last_transition_time.0).as_secs_f64());
    metrics::gauge!("polybot_drift_seconds", &labels("")[..2]).set(stood);
}
