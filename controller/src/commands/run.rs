//! `run`: keeps stacks as their files say, and takes up what changes in the files.

use super::{monitor, name};
use crate::{
    aws::Regions,
    cli::RunArgs,
    keep::{End, keep},
    reconcile::STACKS_AT_ONCE,
    spec::{PolybotStack, load},
    stop::Stop,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinHandle,
};

/// How often the files are read again.
const REREAD: Duration = Duration::from_secs(2);

/// A stack that is kept.
struct Kept {
    specs: watch::Sender<Arc<PolybotStack>>,
    task: JoinHandle<()>,
    stop: Stop,
}

/// What the health routes tell: the stacks, and how the last pass of each ended.
#[derive(Clone, Default)]
struct Health(Arc<Mutex<BTreeMap<String, Option<End>>>>);

impl Health {
    fn set(&self, stack: &str, end: Option<End>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(stack.to_owned(), end);
    }
    fn forget(&self, stack: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(stack);
    }
    /// Ready once every stack has had a pass that could look at everything.
    fn ready(&self) -> (bool, String) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ready = !all.is_empty() && all.values().all(|end| end.is_some_and(|end| end != End::Failed));
        let lines = all.iter().map(|(stack, end)| format!("{stack}: {}\n", end.map_or("not yet", End::name)));
        (ready, lines.collect())
    }
}

pub(super) async fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let metrics = monitor::metrics()?;
    // A fault in the files at the start is an error; later the last good ones stay in force.
    let first = load::load(&args.specs.files)?;
    let stop = Stop::on_signal()?;
    let health = Health::default();
    let ready = health.clone();
    let server = monitor::serve(args.listen, metrics, move || ready.ready(), &stop).await?;
    tracing::info!(listen = %server.address, stacks = first.len(), "keeping");

    let regions = Regions::default();
    let mut kept: BTreeMap<(String, String), Kept> = BTreeMap::new();
    let turns = Arc::new(Semaphore::new(STACKS_AT_ONCE));
    let mut now = Some(first);
    let mut last_error = None;
    while !stop.is_asked() {
        if let Some(stacks) = now.take() {
            take_up(&mut kept, stacks, &regions, &turns, args, &health, &stop);
        }
        tokio::select! {
            () = tokio::time::sleep(REREAD) => {}
            () = stop.asked() => break,
        }
        let files = args.specs.files.clone();
        match tokio::task::spawn_blocking(move || load::load(&files)).await? {
            Ok(stacks) => {
                last_error = None;
                now = Some(stacks);
            }
            Err(error) => {
                let text = error.to_string();
                if last_error.as_ref() != Some(&text) {
                    tracing::error!("the files have faults; the last good ones stay in force\n{text}");
                    last_error = Some(text);
                }
            }
        }
    }
    tracing::info!("stopping: steps that run are finished, no new ones begin");
    for (_, one) in kept {
        one.task.await?;
    }
    server.ended().await?;
    Ok(ExitCode::SUCCESS)
}

/// Starts what is new, tells what has changed, and lets go of what is gone. A stack that is no longer in the files is left as
/// it is: only `destroy` removes one.
fn take_up(
    kept: &mut BTreeMap<(String, String), Kept>,
    stacks: Vec<PolybotStack>,
    regions: &Regions,
    turns: &Arc<Semaphore>,
    args: &RunArgs,
    health: &Health,
    stop: &Stop,
) {
    let stacks = stacks.into_iter().filter(|s| args.specs.stack.is_empty() || args.specs.stack.contains(&name(s)));
    let mut here = BTreeSet::new();
    for stack in stacks {
        let key = (name(&stack), stack.spec.region.to_string());
        here.insert(key.clone());
        if let Some(one) = kept.get(&key) {
            let changed = one.specs.send_if_modified(|spec| {
                let differs = **spec != stack;
                if differs {
                    *spec = Arc::new(stack);
                }
                differs
            });
            if changed {
                tracing::info!(stack = key.0, region = key.1, "the spec changed");
            }
            continue;
        }
        let title = format!("{} in {}", key.0, key.1);
        health.set(&title, None);
        let (specs, receiver) = watch::channel(Arc::new(stack));
        let own = Stop::default();
        let task = keep(receiver, regions.clone(), args.interval, args.lease, turns.clone(), stop.or(&own), {
            let (health, title) = (health.clone(), title.clone());
            move |_: &str, end| health.set(&title, Some(end))
        });
        kept.insert(key, Kept { specs, task: tokio::spawn(task), stop: own });
    }
    kept.retain(|key, one| {
        let stays = here.contains(key);
        if !stays {
            tracing::info!(stack = key.0, region = key.1, "no longer in the files: left as it is");
            one.stop.ask();
            health.forget(&format!("{} in {}", key.0, key.1));
        }
        stays
    });
}
