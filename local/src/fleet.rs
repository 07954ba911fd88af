//! Processes that stand for the instances of a scaling group of the local AWS: one for each that the group has, with metadata of its
//! own, started again when it dies and told to end when its instance is gone. They complete the group's hooks themselves, so the switch
//! `real_workers` belongs to them. What the group should have is not decided here.

use serde::Deserialize;
use std::{collections::BTreeMap, time::Duration};
use tokio::{
    process::{Child, Command},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// How often the group is looked at: nothing tells when it changes. A process that died starts again at the next look.
const EVERY: Duration = Duration::from_millis(500);

/// The processes of a group. They are told to end when this is dropped.
pub struct Fleet {
    stop: watch::Sender<bool>,
    processes: watch::Receiver<BTreeMap<String, u32>>,
    keeper: JoinHandle<bool>,
}

/// What the local AWS tells of a group.
#[derive(Default, Deserialize)]
struct Group {
    instances: Vec<Instance>,
    /// Names of its hooks, by the transition that they hold up.
    hooks: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Instance {
    id: String,
}

impl Fleet {
    /// Keeps what `command` makes running for each instance of a group, for at most so many at once.
    pub fn start(aws: &str, group: &str, most: usize, command: impl Fn() -> Command + Send + 'static) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (told, processes) = watch::channel(BTreeMap::new());
        let keeper = Keeper {
            aws: aws.to_owned(),
            group: group.to_owned(),
            most,
            command,
            running: BTreeMap::new(),
            ending: JoinSet::new(),
            told,
        };
        Self { stop, processes, keeper: tokio::spawn(keeper.keep(stopped)) }
    }

    /// The processes that run, by their instances.
    pub fn processes(&self) -> BTreeMap<String, u32> {
        self.processes.borrow().clone()
    }

    /// Tells every process to end, and waits until it has; whether each that was ever told so ended with success.
    pub async fn stop(self) -> anyhow::Result<bool> {
        self.stop.send_replace(true);
        Ok(self.keeper.await?)
    }
}

struct Keeper<C> {
    aws: String,
    group: String,
    most: usize,
    command: C,
    running: BTreeMap<String, Child>,
    /// Those that were told to end; whether they did so with success.
    ending: JoinSet<bool>,
    told: watch::Sender<BTreeMap<String, u32>>,
}

impl<C: Fn() -> Command> Keeper<C> {
    async fn keep(mut self, mut stop: watch::Receiver<bool>) -> bool {
        let mut success = true;
        loop {
            match look(&self.aws, &self.group).await {
                Ok(group) => self.follow(&group),
                Err(error) => tracing::warn!(%error, "the group cannot be looked at"),
            }
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                Some(ended) = self.ending.join_next() => success &= ended.unwrap_or(false),
                // Whoever has dropped the fleet wants it to end, too.
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        self.follow(&Group::default());
        while let Some(ended) = self.ending.join_next().await {
            success &= ended.unwrap_or(false);
        }
        success
    }

    /// Makes the processes those of the group's instances.
    fn follow(&mut self, group: &Group) {
        let here = |id: &String| group.instances.iter().any(|instance| instance.id == *id);
        for (instance, mut process) in std::mem::take(&mut self.running) {
            match (process.try_wait(), here(&instance)) {
                (Ok(None), true) => {
                    self.running.insert(instance, process);
                }
                (Ok(None), false) => {
                    tracing::info!(instance, "the instance is gone: its process is told to end");
                    self.ending.spawn(terminate(process));
                }
                (ended, _) => tracing::warn!(instance, ?ended, "the process has ended by itself"),
            }
        }
        for Instance { id } in &group.instances {
            if self.running.len() < self.most && !self.running.contains_key(id) {
                match self.process(id, &group.hooks) {
                    Ok(process) => {
                        tracing::info!(instance = id, "a process stands for the instance");
                        self.running.insert(id.clone(), process);
                    }
                    Err(error) => tracing::warn!(instance = id, %error, "no process starts for the instance"),
                }
            }
        }
        let processes = self.running.iter().filter_map(|(id, process)| Some((id.clone(), process.id()?)));
        let processes: BTreeMap<_, _> = processes.collect();
        self.told.send_if_modified(|told| {
            let changed = *told != processes;
            *told = processes;
            changed
        });
    }

    fn process(&self, instance: &str, hooks: &BTreeMap<String, String>) -> std::io::Result<Child> {
        let mut command = (self.command)();
        command.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", format!("{}/_local/imds/{instance}", self.aws));
        command.env(contract::env::SCALING_GROUP, &self.group);
        let (launch, termination) = (contract::env::LAUNCH_HOOK, contract::env::TERMINATION_HOOK);
        for (name, transition) in [(launch, "LAUNCHING"), (termination, "TERMINATING")] {
            command.envs(hooks.get(&format!("autoscaling:EC2_INSTANCE_{transition}")).map(|hook| (name, hook)));
        }
        command.kill_on_drop(true).spawn()
    }
}

/// What the group has now; nothing where it does not exist.
async fn look(aws: &str, group: &str) -> reqwest::Result<Group> {
    let answer = reqwest::get(format!("{aws}/_local/fleet")).await?.error_for_status()?;
    let mut groups: BTreeMap<String, Group> = answer.json().await?;
    Ok(groups.remove(group).unwrap_or_default())
}

async fn terminate(mut process: Child) -> bool {
    let Some(id) = process.id() else { return false };
    let told = Command::new("kill").args(["-TERM", &id.to_string()]).status().await;
    told.is_ok() && process.wait().await.is_ok_and(|ended| ended.success())
}
