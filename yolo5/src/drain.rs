//! The worker's place in its Auto Scaling group: it learns that its instance is about to go, tells the group while a job is in work
//! so that another instance is taken, and completes the group's hooks: that of the launch when it is ready for jobs, that of the
//! termination when it holds nothing any more.
//!
//! Without a group (a laptop) there is nothing of this: the worker then stops on a signal only.

use anyhow::Context;
use aws_config::imds::{self, client::error::ImdsError};
use aws_sdk_autoscaling::error::ProvideErrorMetadata;
use std::time::Duration;
use tokio::{sync::watch, time::sleep};

/// How often the instance's metadata is looked at: what AWS advises for spot notices, which come two minutes ahead.
const EVERY: Duration = Duration::from_secs(5);
/// Where the metadata says what the group wants of this instance.
const TARGET_STATE: &str = "/latest/meta-data/autoscaling/target-lifecycle-state";
/// Where it says that EC2 takes a spot instance back; there is nothing until then.
const SPOT: &str = "/latest/meta-data/spot/instance-action";

/// What the worker is to do; it only ever goes down this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wish {
    /// Take jobs.
    Work,
    /// Take no more jobs: the instance is about to go.
    Drain,
    /// End the process.
    End,
}

impl Wish {
    /// Raises the wish of a channel to this one, unless it is there already.
    pub fn raise(self, wish: &watch::Sender<Self>) {
        wish.send_if_modified(|now| {
            let higher = self > *now;
            *now = self.max(*now);
            higher
        });
    }
}

/// Why the instance goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Notice {
    /// The group terminates it, and waits until the hook is completed.
    Termination,
    /// EC2 takes it back in two minutes, and waits for nobody.
    Interruption,
}

/// What came of the completion of a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hook {
    Completed,
    /// The group does not wait for it: not yet, or not any more.
    NotWaitedFor,
    Failed,
}

/// An instance of an Auto Scaling group.
#[derive(Debug)]
pub struct Fleet {
    imds: imds::Client,
    autoscaling: aws_sdk_autoscaling::Client,
    group: String,
    hooks: Hooks,
    instance: String,
}

/// Names of the group's hooks, where it has them.
#[derive(Debug)]
pub struct Hooks {
    /// On instances that come.
    pub launch: Option<String>,
    /// On instances that the group takes away.
    pub termination: Option<String>,
}

impl Fleet {
    /// Asks the metadata which instance this is.
    pub async fn join(aws: &aws_config::SdkConfig, group: String, hooks: Hooks) -> anyhow::Result<Self> {
        let imds = imds::Client::builder().build();
        let instance = imds.get("/latest/meta-data/instance-id").await;
        let instance = instance.context("the instance metadata does not tell which instance this is")?.into();
        Ok(Self { imds, autoscaling: aws_sdk_autoscaling::Client::new(aws), group, hooks, instance })
    }

    /// Raises the wish to [`Wish::Drain`] as soon as the instance is about to go. Comes back then.
    pub async fn watch(&self, wish: &watch::Sender<Wish>) {
        while !self.look(wish).await {
            sleep(EVERY).await;
        }
    }

    /// One look of [`Self::watch`]: whether the instance is about to go. A worker that was started again after the notice learns of it
    /// before it takes its first job.
    pub async fn look(&self, wish: &watch::Sender<Wish>) -> bool {
        let notice = self.notice().await;
        if let Some(notice) = notice {
            tracing::info!(?notice, instance = self.instance, "the instance is about to go: no more jobs are taken");
            Wish::Drain.raise(wish);
        }
        metrics::gauge!("yolo5_draining").set(f64::from(u8::from(notice.is_some())));
        notice.is_some()
    }

    async fn notice(&self) -> Option<Notice> {
        if self.terminates().await {
            return Some(Notice::Termination);
        }
        // It is there with whatever action: terminate, stop and hibernate all end the work.
        self.metadata(SPOT).await.map(|_| Notice::Interruption)
    }

    /// Whether the group has decided that this instance goes.
    async fn terminates(&self) -> bool {
        self.metadata(TARGET_STATE).await.is_some_and(|state| state == "Terminated")
    }

    /// A piece of metadata, where there is one. What cannot be read is taken for absent: the next look is soon.
    async fn metadata(&self, path: &str) -> Option<String> {
        match self.imds.get(path).await {
            Ok(value) => Some(value.into()),
            Err(ImdsError::ErrorResponse(e)) if e.response().status().as_u16() == 404 => None,
            Err(error) => {
                tracing::warn!(path, error = &error as &dyn std::error::Error, "the instance metadata cannot be read");
                None
            }
        }
    }

    /// Keeps the instance out of scale-in while `busy` counts jobs, until that channel closes. A busy group of small jobs is told once,
    /// not for each of them; an idle instance is let go within some seconds.
    pub async fn protect(&self, mut busy: watch::Receiver<u32>) {
        // What AWS believes is not known at the start: a worker that was killed may have left the protection on.
        let mut told = None;
        loop {
            let wish = *busy.borrow_and_update() > 0;
            if told != Some(wish) {
                told = self.tell(wish).await.then_some(wish);
            }
            let closed = match told {
                Some(false) => busy.wait_for(|jobs| *jobs > 0).await.is_err(),
                _ => tokio::time::timeout(EVERY, busy.wait_for(|_| false)).await.is_ok(),
            };
            if closed {
                return;
            }
        }
    }

    async fn tell(&self, protected: bool) -> bool {
        let call = self.autoscaling.set_instance_protection().auto_scaling_group_name(&self.group);
        let sent = call.instance_ids(&self.instance).protected_from_scale_in(protected).send().await;
        if let Err(error) = &sent {
            // An instance that is not in service yet, or not any more, cannot be protected.
            let error = aws_smithy_types::error::display::DisplayErrorContext(error);
            tracing::debug!(%error, protected, "the protection from scale-in could not be set");
        }
        sent.is_ok()
    }

    /// Completes the termination hook, now that nothing is in hand: at once if the group waits for it, else as soon as it does. Comes
    /// back when that is done or the process is to end.
    pub async fn let_go(&self, wish: &mut watch::Receiver<Wish>) {
        loop {
            // Looked at once more when told to end: the signal may be the first that is heard of a termination.
            let ends = *wish.borrow() == Wish::End;
            if self.terminates().await && self.complete_termination().await || ends {
                return;
            }
            // A process that is to end meanwhile is not held up.
            drop(tokio::time::timeout(EVERY, wish.wait_for(|wish| *wish == Wish::End)).await);
        }
    }

    async fn complete_termination(&self) -> bool {
        match &self.hooks.termination {
            Some(hook) => self.complete(hook).await == Hook::Completed,
            None => true,
        }
    }

    /// Completes the launch hook, now that the worker is ready for jobs. A worker that was started again finds it completed.
    pub async fn arrive(&self) {
        let Some(hook) = &self.hooks.launch else { return };
        // Without an answer the group gives the instance up, so a call that fails is worth a minute.
        for _ in 0..12 {
            if self.complete(hook).await != Hook::Failed {
                return;
            }
            sleep(EVERY).await;
        }
    }

    async fn complete(&self, hook: &str) -> Hook {
        let call = self.autoscaling.complete_lifecycle_action().auto_scaling_group_name(&self.group);
        let call = call.lifecycle_hook_name(hook).instance_id(&self.instance).lifecycle_action_result("CONTINUE");
        match call.send().await {
            Ok(_) => {
                tracing::info!(instance = self.instance, hook, "the hook is completed");
                Hook::Completed
            }
            Err(error) if error.code() == Some("ValidationError") => {
                tracing::info!(instance = self.instance, hook, "the group does not wait for the hook");
                Hook::NotWaitedFor
            }
            Err(error) => {
                // Without it the group waits until the hook times out.
                let error = aws_smithy_types::error::display::DisplayErrorContext(&error);
                tracing::warn!(%error, hook, "the hook could not be completed");
                Hook::Failed
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_never_taken_back() {
        let (wish, heard) = watch::channel(Wish::Work);
        for (raised, expected) in
            [(Wish::Drain, Wish::Drain), (Wish::Work, Wish::Drain), (Wish::End, Wish::End), (Wish::Drain, Wish::End)]
        {
            raised.raise(&wish);
            assert_eq!(*heard.borrow(), expected);
        }
    }
}
