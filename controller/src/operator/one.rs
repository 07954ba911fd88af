//! One stack, once: from an object to a pass and back to its status.

use super::{APPROVE, FINALIZER, Guarded, Operator, PAUSED, RECONCILE, conditions::says, status};
use crate::{
    aws::Reason,
    facts::{self, Fact},
    keep::{Course, End, Pass, Permit, Terms, pass},
    reconcile::{ConnectError, Connection, Goal},
    secret::Secret,
    spec::{Cluster, DeletionPolicy, ManagementPolicy, PolybotStack, PolybotStackStatus, check},
};
use k8s_openapi::{ByteString, api::core::v1::Secret as KubernetesSecret, jiff::Timestamp};
use kube::{
    Api, ResourceExt,
    core::error_boundary::InvalidObject,
    runtime::{
        controller::Action,
        finalizer::{self, finalizer},
        reflector::ObjectRef,
    },
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// How long to wait after the cluster's API has refused something.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why this is not the end of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// A stack that goes is not gone yet.
    #[error("not gone yet")]
    NotGone(Duration),
    /// The cluster's API.
    #[error("the cluster refuses")]
    Cluster(#[source] kube::Error),
    /// The finalizer could not be set or removed.
    #[error("the finalizer cannot be changed")]
    Finalizer(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What Kubernetes calls for each object that something has happened to, or whose time has come.
pub(super) async fn reconcile(guarded: Arc<Guarded>, operator: Arc<Operator>) -> Result<Action, Error> {
    let _running = operator.running.read().await;
    if operator.stop.is_asked() {
        return Ok(Action::await_change());
    }
    let stack = match &guarded.0 {
        Ok(stack) => Arc::new(stack.clone()),
        Err(invalid) => return operator.invalid(invalid).await,
    };
    if stack.annotations().get(PAUSED).is_some_and(|v| v == "true") {
        let paused = [says("Paused", true, "Annotated", format!("remove the annotation {PAUSED} to go on"))];
        operator.tell(stack.as_ref(), &status::with(&stack, &paused)).await.map_err(Error::Cluster)?;
        return Ok(Action::await_change());
    }
    let api: Api<PolybotStack> = Api::namespaced(operator.client.clone(), &stack.namespace().unwrap_or_default());
    let ended = finalizer(&api, FINALIZER, stack, |event| async {
        match event {
            finalizer::Event::Apply(stack) => operator.converge(&stack).await,
            finalizer::Event::Cleanup(stack) => operator.remove(&stack).await,
        }
    });
    match ended.await {
        Ok(action) => Ok(action),
        Err(finalizer::Error::ApplyFailed(error) | finalizer::Error::CleanupFailed(error)) => Err(error),
        Err(error) => Err(Error::Finalizer(Box::new(error))),
    }
}

/// When to try again.
#[expect(clippy::needless_pass_by_value, reason = "the runtime calls it with what it owns")]
pub(super) fn again(guarded: Arc<Guarded>, error: &Error, _: Arc<Operator>) -> Action {
    match error {
        Error::NotGone(wait) => Action::requeue(*wait),
        error @ (Error::Cluster(_) | Error::Finalizer(_)) => {
            let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
            tracing::warn!(stack = %ObjectRef::from_obj(guarded.as_ref()), cause, "{error}");
            Action::requeue(PATIENCE.mul_f64(0.75 + rand::random::<f64>() / 2.0))
        }
    }
}

fn cluster(stack: &PolybotStack) -> Cluster {
    stack.spec.cluster.clone().unwrap_or_default()
}

impl Operator {
    /// An object that an older or hand-made CRD has let in.
    async fn invalid(&self, object: &InvalidObject) -> Result<Action, Error> {
        let said = [
            says("Ready", false, "InvalidSpec", object.error.clone()),
            says("Stalled", true, "InvalidSpec", object.error.clone()),
        ];
        let generation = object.metadata.generation;
        let conditions = super::conditions::over(&[], &said, generation);
        let status =
            PolybotStackStatus { observed_generation: generation, conditions, ..PolybotStackStatus::default() };
        let guarded: Guarded = kube::core::DeserializeGuard(Err(object.clone()));
        self.warn(&guarded, "InvalidSpec", object.error.clone()).await;
        self.tell(&guarded, &status).await.map_err(Error::Cluster)?;
        Ok(Action::await_change())
    }

    async fn converge(&self, stack: &PolybotStack) -> Result<Action, Error> {
        if let Some(faults) = self.faults(stack) {
            let said = [
                says("Ready", false, "InvalidSpec", faults.clone()),
                says("Synced", false, "InvalidSpec", faults.clone()),
                says("Stalled", true, "InvalidSpec", faults.clone()),
                says("Paused", false, "NotPaused", ""),
            ];
            self.warn(stack, "InvalidSpec", faults).await;
            self.tell(stack, &status::with(stack, &said)).await.map_err(Error::Cluster)?;
            return Ok(Action::await_change());
        }
        let (_, wait) = self.pass(stack, Goal::Converge).await?;
        Ok(Action::requeue(wait))
    }

    /// Removes a stack whose object is deleted. It needs no Secret and no valid spec, only AWS.
    async fn remove(&self, stack: &PolybotStack) -> Result<Action, Error> {
        let Cluster { management_policy, deletion_policy, .. } = cluster(stack);
        if deletion_policy == DeletionPolicy::Orphan || management_policy == ManagementPolicy::Observe {
            self.note(stack, "Orphaned", "the stack is left in AWS as it is".to_owned()).await;
            self.forget(stack);
            return Ok(Action::await_change());
        }
        let (end, wait) = self.pass(stack, Goal::Destroy).await?;
        if end != Some(End::Quiet) {
            return Err(Error::NotGone(wait));
        }
        if let Some(asked) = &stack.metadata.deletion_timestamp {
            let took = Timestamp::now().duration_since(asked.0).as_secs_f64();
            metrics::histogram!("polybot_deletion_seconds").record(took);
        }
        self.note(stack, "Removed", "nothing of the stack is left in AWS but what holds data".to_owned()).await;
        self.forget(stack);
        Ok(Action::await_change())
    }

    fn forget(&self, stack: &PolybotStack) {
        self.courses().remove(&stack.uid().unwrap_or_default());
    }

    /// What is wrong with a spec by itself, or beside those of older objects.
    fn faults(&self, stack: &PolybotStack) -> Option<String> {
        let mut faults = check::check(stack);
        let all = self.stacks.state();
        let mut others: Vec<&PolybotStack> = all.iter().filter_map(|g| g.0.as_ref().ok()).collect();
        others.sort_by_key(|s| (s.creation_timestamp().map(|t| t.0), s.namespace(), s.name_any()));
        let this = others.iter().position(|s| s.uid() == stack.uid());
        faults.extend(check::check_all(&others).into_iter().filter(|(i, _)| Some(*i) == this).map(|(_, fault)| fault));
        let texts: Vec<_> = faults.iter().map(|(path, message, hint)| format!("{path}: {message} ({hint})")).collect();
        (!texts.is_empty()).then(|| texts.join("; "))
    }

    /// One pass, and all that is told of it. How it ended, where AWS could be reached, and when the next one is due.
    async fn pass(&self, stack: &PolybotStack, goal: Goal) -> Result<(Option<End>, Duration), Error> {
        let (begun, name) = (Instant::now(), stack.name_any());
        let connection = match Connection::open(Arc::new(stack.clone()), &self.regions).await {
            Ok(connection) => connection,
            Err(error) => {
                let wait = self.passed(stack, End::Failed, begun);
                self.unreachable(stack, &error).await?;
                return Ok((None, wait));
            }
        };
        let connection = match self.token(stack).await {
            Some(token) => connection.with_token(token),
            None => connection,
        };
        let passed = pass(&connection, &terms(stack, goal), &self.stop).await;
        let wait = self.passed(stack, passed.end, begun);
        tracing::debug!(stack = name, end = passed.end.name(), leader = self.identity, "passed");
        self.tell_pass(stack, &connection, &passed, wait).await.map_err(Error::Cluster)?;
        Ok((Some(passed.end), wait))
    }

    async fn tell_pass(
        &self,
        stack: &PolybotStack,
        connection: &Connection,
        passed: &Pass,
        wait: Duration,
    ) -> Result<(), kube::Error> {
        self.tell_events(stack, passed).await;
        let status = status::after(stack, &connection.aws.account, passed, wait);
        for condition in &status.conditions {
            let labels = [
                ("namespace", stack.namespace().unwrap_or_default()),
                ("stack", stack.name_any()),
                ("type", condition.type_.clone()),
            ];
            let value = match condition.status.as_str() {
                "True" => 1.0,
                "False" => 0.0,
                _ => -1.0,
            };
            metrics::gauge!("polybot_stack_condition", &labels).set(value);
            if condition.type_ == "Drifted" {
                let since = Timestamp::now().duration_since(condition.last_transition_time.0).as_secs_f64();
                let stood = if condition.status == "True" { since } else { 0.0 };
                metrics::gauge!("polybot_drift_seconds", &labels[..2]).set(stood);
            }
        }
        if stack.metadata.deletion_timestamp.is_none() {
            self.export(stack, &status.outputs).await?;
        }
        self.tell(stack, &status).await
    }

    /// Notes how a pass ended; how long until the next one.
    fn passed(&self, stack: &PolybotStack, end: End, begun: Instant) -> Duration {
        let interval =
            cluster(stack).drift_period.map_or(self.interval, |d| Duration::from_secs(d.as_seconds().into()));
        let mut courses = self.courses();
        let course = courses.entry(stack.uid().unwrap_or_default()).or_insert_with(|| Course::new(interval));
        course.every(interval);
        course.passed(&stack.name_any(), end, begun)
    }

    async fn unreachable(&self, stack: &PolybotStack, error: &ConnectError) -> Result<(), Error> {
        let (reason, stalls) = match error {
            ConnectError::Account { .. } => ("WrongAccount", true),
            ConnectError::Identity(e) if matches!(e.reason, Reason::Credentials | Reason::Denied) => {
                ("CredentialsRefused", false)
            }
            ConnectError::Identity(_) => ("AwsUnreachable", false),
        };
        let cause = std::error::Error::source(error).map(|e| format!(": {e}")).unwrap_or_default();
        let message = format!("{error}{cause}");
        let said = [
            says("Ready", None, reason, message.clone()),
            says("Synced", false, reason, message.clone()),
            says("Stalled", stalls, reason, if stalls { message.as_str() } else { "" }),
            says("Paused", false, "NotPaused", ""),
        ];
        self.warn(stack, reason, message).await;
        self.tell(stack, &status::with(stack, &said)).await.map_err(Error::Cluster)
    }

    /// The bot's token, where it is in a Kubernetes Secret.
    async fn token(&self, stack: &PolybotStack) -> Option<Fact<Secret<String>>> {
        let source = stack.spec.telegram.token.kubernetes_secret.as_ref()?;
        let namespace = stack.namespace().unwrap_or_default();
        let api: Api<KubernetesSecret> = Api::namespaced(self.client.clone(), &namespace);
        let (name, key) = (&source.name, &source.key);
        let token = match api.get_opt(name).await {
            Err(error) => Err(format!("the Kubernetes Secret {namespace}/{name} cannot be read: {error}")),
            Ok(None) => Err(format!(
                "there is no Kubernetes Secret {namespace}/{name}; make it: kubectl -n {namespace} create secret generic {name} \
                 --from-literal={key}=<token from @BotFather>"
            )),
            Ok(Some(secret)) => match secret.data.unwrap_or_default().remove(key) {
                None => Err(format!("the Kubernetes Secret {namespace}/{name} has no key {key}")),
                Some(ByteString(bytes)) => facts::well_formed(&String::from_utf8_lossy(&bytes)),
            },
        };
        Some(token)
    }
}

/// What a pass over this stack may do.
fn terms(stack: &PolybotStack, goal: Goal) -> Terms {
    let permit = match cluster(stack).management_policy {
        ManagementPolicy::Full => Permit::Limits,
        ManagementPolicy::Observe => Permit::Nothing,
        ManagementPolicy::ObserveAndPlan => Permit::Approval,
    };
    let approved = stack.annotations().get(APPROVE).cloned();
    let agreed = stack.status.as_ref().and_then(|s| s.approved.clone());
    let agreed = agreed.filter(|a| Some(a.generation) == stack.metadata.generation).map(|a| a.consent);
    // Who asks for a pass wants to know how things are, not how they were a while ago.
    let asked = stack.annotations().get(RECONCILE) != stack.status.as_ref().and_then(|s| s.reconciled.as_ref());
    let usual = Terms::default();
    let recent = if asked { Duration::ZERO } else { usual.recent };
    Terms { goal, permit, approved, agreed, recent, ..usual }
}
