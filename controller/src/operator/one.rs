//! One stack, once: from an object to a pass and back to its status.

use super::{
    APPROVE, FINALIZER, Guarded, Memory, Operator, RECONCILE,
    conditions::{is_paused, paused, says},
    roles, status,
};
use crate::{
    aws::{Leeway, Reason},
    engine::Consent,
    facts::{self, Fact},
    keep::{Course, End, Obstacle, Pace, Pass, Permit, Terms, Title, Witness, pass},
    reconcile::{ConnectError, Connection, Goal},
    secret::Secret,
    spec::{Cluster, DeletionPolicy, ManagementPolicy, PolybotStack, check, check::IDENTITY},
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
    /// The object has changed since it was read: the finalizer is set or removed when the change has come.
    #[error("the object has changed meanwhile")]
    Changed(#[source] kube::Error),
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
    let ended = look_at(&guarded, &operator).await;
    if ended.is_ok()
        && let Some(memory) = operator.memory().get_mut(&guarded.uid().unwrap_or_default())
    {
        memory.refused = 0;
    }
    ended
}

async fn look_at(guarded: &Guarded, operator: &Operator) -> Result<Action, Error> {
    let stack = match &guarded.0 {
        Ok(stack) => Arc::new(operator.as_told(stack)),
        Err(invalid) => return operator.invalid(invalid).await,
    };
    if is_paused(stack.as_ref()) {
        // Where somebody works by hand, nothing is as it was.
        let uid = stack.uid().unwrap_or_default();
        if let Some(course) = operator.memory().get_mut(&uid).and_then(|memory| memory.course.as_mut()) {
            course.stirred();
        }
        operator.tell(&stack, &status::with(&stack, &[])).await.map_err(Error::Cluster)?;
        return Ok(Action::await_change());
    }
    let api: Api<PolybotStack> = Api::namespaced(operator.client.clone(), &stack.namespace().unwrap_or_default());
    let ended = finalizer(&api, FINALIZER, stack, |event| async {
        match event {
            finalizer::Event::Apply(stack) => operator.converge(&stack).await,
            finalizer::Event::Cleanup(stack) => match operator.remove(&stack).await {
                // Whoever leads now has to see for itself that nothing is left.
                Ok(_) if operator.lost.is_asked() => Err(Error::NotGone(operator.interval)),
                ended => ended,
            },
        }
    });
    match ended.await {
        Ok(action) => Ok(action),
        Err(finalizer::Error::ApplyFailed(error) | finalizer::Error::CleanupFailed(error)) => Err(error),
        // The patch tests what it was made from (422), and an object that has gone needs no finalizer (404).
        Err(
            finalizer::Error::AddFinalizer(kube::Error::Api(s))
            | finalizer::Error::RemoveFinalizer(kube::Error::Api(s)),
        ) if matches!(s.code, 404 | 409 | 422) => Err(Error::Changed(kube::Error::Api(s))),
        Err(error) => Err(Error::Finalizer(Box::new(error))),
    }
}

/// When to try again: with growing patience, since a pass asks AWS a hundred times.
#[expect(clippy::needless_pass_by_value, reason = "the runtime calls it with what it owns")]
pub(super) fn again(guarded: Arc<Guarded>, error: &Error, operator: Arc<Operator>) -> Action {
    if let Error::NotGone(wait) = error {
        return Action::requeue(*wait);
    }
    let refused = {
        let mut memory = operator.memory();
        let memory = memory.entry(guarded.uid().unwrap_or_default()).or_default();
        memory.refused += 1;
        memory.refused
    };
    let stack = ObjectRef::from_obj(guarded.as_ref());
    let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    // That the cache is behind is usual, but not for long.
    if matches!(error, Error::Changed(_)) && refused < 3 {
        tracing::debug!(%stack, cause, "{error}");
    } else {
        tracing::warn!(%stack, cause, "{error}");
    }
    let patience = PATIENCE * 2_u32.pow(refused.min(10) - 1);
    Action::requeue(patience.min(operator.interval.max(PATIENCE)).mul_f64(0.75 + rand::random::<f64>() / 2.0))
}

fn cluster(stack: &PolybotStack) -> Cluster {
    stack.spec.cluster.clone().unwrap_or_default()
}

/// The account that a stack lives in. Nothing is made before the status says which; so without one there is nothing.
fn home(stack: &PolybotStack) -> Option<&String> {
    stack.status.as_ref()?.account.as_ref()
}

impl Operator {
    /// An object that an older or hand-made CRD has let in.
    async fn invalid(&self, object: &InvalidObject) -> Result<Action, Error> {
        let guarded: Guarded = kube::core::DeserializeGuard(Err(object.clone()));
        let goes = object.metadata.deletion_timestamp.is_some();
        if goes && !guarded.finalizers().iter().any(|f| f == FINALIZER) {
            // It waits for somebody else.
            return Ok(Action::await_change());
        }
        let (reason, error) = if goes {
            // Where its stack is, and whether it may go at all, is in the spec: nothing of that can be guessed.
            let way_on = format!(
                "it is being deleted, but what cannot be read cannot be removed from AWS; mend the spec (kubectl -n {} edit \
                 pbs {}), or leave the stack in AWS as it is and remove the finalizer {FINALIZER}",
                guarded.namespace().unwrap_or_default(),
                guarded.name_any(),
            );
            // An API server that would not let such an object in any more may refuse its status, too.
            tracing::warn!(stack = %ObjectRef::from_obj(&guarded), "{way_on}");
            ("DeletionBlocked", format!("{way_on}: {}", object.error))
        } else {
            ("InvalidSpec", object.error.clone())
        };
        let said = [
            says("Ready", false, reason, error.clone()),
            says("Synced", false, reason, error.clone()),
            says("Stalled", true, reason, error.clone()),
            paused(&guarded),
        ];
        self.warn(&guarded, reason, error).await;
        self.tell_conditions(&guarded, &said).await.map_err(Error::Cluster)?;
        Ok(Action::await_change())
    }

    async fn converge(&self, stack: &PolybotStack) -> Result<Action, Error> {
        if let Some((faults, beside_others)) = self.faults(stack) {
            let said = [
                says("Ready", false, "InvalidSpec", faults.clone()),
                says("Synced", false, "InvalidSpec", faults.clone()),
                says("Stalled", true, "InvalidSpec", faults.clone()),
            ];
            self.warn(stack, "InvalidSpec", faults).await;
            self.tell(stack, &status::with(stack, &said)).await.map_err(Error::Cluster)?;
            // A fault of its own awaits a change of its own; whoever it clashes with may go without a word to it.
            return Ok(if beside_others { Action::requeue(self.interval) } else { Action::await_change() });
        }
        let (_, wait) = self.pass(stack, Goal::Converge).await?;
        Ok(Action::requeue(wait))
    }

    /// Removes a stack whose object is deleted. It needs no Secret and no valid spec, only AWS.
    async fn remove(&self, stack: &PolybotStack) -> Result<Action, Error> {
        let Cluster { management_policy, deletion_policy, .. } = cluster(stack);
        // In AWS a stack is known by its name alone: what bears it may be that of another object, in another namespace.
        let left = if deletion_policy == DeletionPolicy::Orphan || management_policy == ManagementPolicy::Observe {
            Some("the stack is left in AWS as it is".to_owned())
        } else if home(stack).is_none() {
            Some("nothing was made for it; what bears its name in AWS, if anything, is left as it is".to_owned())
        } else {
            let same = self.beside_others(stack).into_iter().find(|(path, ..)| path == IDENTITY);
            same.map(|(_, message, _)| format!("{message}: it is left in AWS as it is"))
        };
        if let Some(left) = left {
            self.note(stack, "Orphaned", left).await;
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

    /// A stack with the status that was told of it last: the cache may lag behind.
    fn as_told(&self, stack: &PolybotStack) -> PolybotStack {
        let told = self.memory().get(&stack.uid().unwrap_or_default()).and_then(|m| m.status.clone());
        PolybotStack { status: told.or_else(|| stack.status.clone()), ..stack.clone() }
    }

    /// What is wrong with a spec by itself, or beside those of other objects; and whether it is only that.
    fn faults(&self, stack: &PolybotStack) -> Option<(String, bool)> {
        let mut faults = check::check(stack);
        let own = !faults.is_empty();
        faults.extend(self.beside_others(stack));
        let texts: Vec<_> = faults.iter().map(|(path, message, hint)| format!("{path}: {message} ({hint})")).collect();
        (!texts.is_empty()).then(|| (texts.join("; "), !own))
    }

    /// What is wrong with a spec beside those of others that were there first: in AWS, or else in the cluster.
    fn beside_others(&self, stack: &PolybotStack) -> Vec<check::Found> {
        let objects = self.stacks.state();
        let (read, unread): (Vec<_>, Vec<_>) = objects.iter().partition(|object| object.0.is_ok());
        let mut all: Vec<_> = read.iter().filter_map(|g| g.0.as_ref().ok()).map(|s| self.as_told(s)).collect();
        all.sort_by_key(|s| (home(s).is_none(), s.creation_timestamp().map(|t| t.0), s.namespace(), s.name_any()));
        settle_accounts(&mut all);
        let this = all.iter().position(|s| s.uid() == stack.uid());
        let refs: Vec<&PolybotStack> = all.iter().collect();
        let mut faults: Vec<_> =
            check::check_all(&refs).into_iter().filter(|(i, _)| Some(*i) == this).map(|(_, fault)| fault).collect();
        // Nobody knows where one that cannot be read has its stack: whoever has none yet does not get its name.
        if home(stack).is_none()
            && let Some(other) = unread.iter().find(|other| other.name_any() == stack.name_any())
        {
            let other = format!("{}/{}", other.namespace().unwrap_or_default(), other.name_any());
            let message = format!("the object {other} cannot be read, and may be the same stack");
            faults.push((IDENTITY.to_owned(), message, "mend that one, or choose another name".to_owned()));
        }
        faults
    }

    /// One pass, and all that is told of it. How it ended, where it was begun, and when the next one is due.
    async fn pass(&self, stack: &PolybotStack, goal: Goal) -> Result<(Option<End>, Duration), Error> {
        let (begun, name) = (Instant::now(), stack.name_any());
        let namespace = stack.namespace().unwrap_or_default();
        let role = stack.spec.assume_role.as_ref();
        if let Some(refusal) = role.and_then(|role| roles::refusal(&self.roles, &namespace, &role.arn)) {
            self.not_begun(stack, "RoleNotAllowed", true, refusal).await?;
            return Ok((None, self.interval));
        }
        let connection = match Connection::open(Arc::new(stack.clone()), &self.regions).await {
            Ok(connection) => connection,
            Err(error) => {
                let wait = self.passed(stack, End::Failed, begun, vec![]);
                self.unreachable(stack, &error).await?;
                return Ok((None, wait));
            }
        };
        let account = &connection.aws.account;
        match home(stack) {
            Some(home) if home != account => {
                self.not_begun(stack, "WrongAccount", true, moved(home, account)).await?;
                return Ok((None, self.interval));
            }
            Some(_) => {}
            None => {
                self.tell(stack, &status::claimed(stack, account)).await.map_err(Error::Cluster)?;
                // Now that its account is known, others may turn out to be the same stack.
                return Ok((None, Duration::ZERO));
            }
        }
        let connection = match self.token(stack).await {
            Some(token) => connection.with_token(token),
            None => connection,
        };
        let telling = Telling { operator: self, stack };
        let passed = pass(&connection, &terms(stack, goal, self.leeway(stack)), &telling, &self.stop).await;
        let wait = self.passed(stack, passed.end, begun, passed.obstacles());
        tracing::debug!(stack = name, end = passed.end.name(), leader = self.identity, "passed");
        self.tell_pass(stack, &passed, wait).await.map_err(Error::Cluster)?;
        Ok((Some(passed.end), wait))
    }

    async fn tell_pass(&self, stack: &PolybotStack, passed: &Pass, wait: Duration) -> Result<(), kube::Error> {
        self.tell_events(stack, passed).await;
        let status = status::after(stack, passed, wait);
        self.tell(stack, &status).await?;
        // Whoever reads the outputs misses something; the stack is kept all the same, and the next pass tries again.
        if stack.metadata.deletion_timestamp.is_none()
            && let Err(why) = self.export(stack, &status.outputs).await
        {
            tracing::warn!(stack = %ObjectRef::from_obj(stack), "{why}");
            self.warn(stack, "OutputsNotWritten", why).await;
        }
        Ok(())
    }

    fn leeway(&self, stack: &PolybotStack) -> Leeway {
        let course = |memory: &Memory| memory.course.as_ref().map(Course::leeway);
        let first = || Pace::new(self.interval).leeway();
        self.memory().get(&stack.uid().unwrap_or_default()).and_then(course).unwrap_or_else(first)
    }

    /// Notes how a pass ended; how long until the next one.
    fn passed(&self, stack: &PolybotStack, end: End, begun: Instant, obstacles: Vec<Obstacle>) -> Duration {
        let set = cluster(stack).drift_period.map(|d| Duration::from_secs(d.as_seconds().into()));
        let new = || Course::new(Title::of(stack), self.interval);
        let mut memory = self.memory();
        let course = memory.entry(stack.uid().unwrap_or_default()).or_default().course.get_or_insert_with(new);
        course.every(set, self.interval);
        course.passed(end, begun, obstacles)
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
        self.not_begun(stack, reason, stalls, format!("{error}{cause}")).await
    }

    /// Tells why AWS was not looked at, and whether that needs a person.
    async fn not_begun(
        &self,
        stack: &PolybotStack,
        reason: &'static str,
        stalls: bool,
        message: String,
    ) -> Result<(), Error> {
        let said = [
            says("Ready", None, reason, message.clone()),
            says("Synced", false, reason, message.clone()),
            says("Stalled", stalls, reason, if stalls { message.as_str() } else { "" }),
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

/// Writes down that an approved plan is begun.
struct Telling<'a> {
    operator: &'a Operator,
    stack: &'a PolybotStack,
}

impl Witness for Telling<'_> {
    async fn begins(&self, consent: &Consent, digest: &str) {
        let status = status::begun(self.stack, consent, digest);
        if let Err(error) = self.operator.tell(self.stack, &status).await {
            tracing::warn!(stack = %ObjectRef::from_obj(self.stack), %error, "the approval could not be written down");
        }
    }
}

/// Names the accounts that are known: where a stack lives, where it wants to, or else, of one that takes no role, where
/// others without one live. (A role names its account.)
fn settle_accounts(stacks: &mut [PolybotStack]) {
    let ours = stacks.iter().filter(|s| s.spec.assume_role.is_none()).find_map(home).cloned();
    for stack in stacks {
        let own = home(stack).or(stack.spec.account_id.as_ref()).cloned();
        stack.spec.account_id = own.or_else(|| ours.clone().filter(|_| stack.spec.assume_role.is_none()));
    }
}

/// Nothing is done in another account than the one that a stack lives in: it would be built there a second time, or, where it is
/// to be removed, look gone.
fn moved(home: &str, account: &str) -> String {
    format!(
        "the stack is in account {home}, but the credentials are of {account}; put back spec.assumeRole or the operator's own \
         role, or set spec.cluster.deletionPolicy to Orphan and delete this object to leave the stack where it is"
    )
}

/// What a pass over this stack may do.
fn terms(stack: &PolybotStack, goal: Goal, usual: Leeway) -> Terms {
    let permit = match cluster(stack).management_policy {
        ManagementPolicy::Full => Permit::Limits,
        ManagementPolicy::Observe => Permit::Nothing,
        ManagementPolicy::ObserveAndPlan => Permit::Approval,
    };
    let known = stack.status.as_ref().and_then(|s| s.approved.clone());
    let spent = known.as_ref().filter(|a| a.done).map(|a| &a.digest);
    let approved = stack.annotations().get(APPROVE).filter(|digest| spent != Some(*digest)).cloned();
    let agreed = known.filter(|a| !a.done && Some(a.generation) == stack.metadata.generation).map(|a| a.consent);
    // Who asks for a pass, or edits the stack, wants to know how things are, not how they were a while ago.
    let status = stack.status.as_ref();
    let edited = stack.metadata.generation != status.and_then(|s| s.observed_generation);
    let asked = edited || stack.annotations().get(RECONCILE) != status.and_then(|s| s.reconciled.as_ref());
    let leeway = if asked { Leeway::default() } else { usual };
    Terms { goal, permit, approved, agreed, lease: None, leeway }
}
