//! `run`: keeps stacks as their files say, and takes up what changes in the files.

use super::{monitor, picked};
use crate::{
    aws::Regions,
    cli::RunArgs,
    keep::{End, Obstacle, Title, keep},
    reconcile::STACKS_AT_ONCE,
    spec::{PolybotStack, load},
    stop::Stop,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
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

/// What the health routes tell: the stacks, how the last pass of each ended, and what stood in its way.
#[derive(Clone, Default)]
struct Health(Arc<Mutex<BTreeMap<Title, Option<Last>>>>);

/// How a pass ended, and what stood in its way.
type Last = (End, Vec<Obstacle>);

impl Health {
    fn set(&self, stack: &Title, last: Option<Last>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(stack.clone(), last);
    }
    fn forget(&self, stack: &Title) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(stack);
    }
    /// Ready once every stack has had a pass that could look at everything.
    fn ready(&self) -> (bool, String) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ready =
            !all.is_empty() && all.values().all(|last| last.as_ref().is_some_and(|(end, _)| *end != End::Failed));
        let mut text = String::new();
        for (stack, last) in &*all {
            let end = last.as_ref().map_or("not yet", |(end, _)| end.name());
            let _ = writeln!(text, "{stack}: {end}");
            for obstacle in last.iter().flat_map(|(_, obstacles)| obstacles) {
                let _ = writeln!(text, "  {obstacle}");
            }
        }
        (ready, text)
    }
}

pub(super) async fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let metrics = monitor::metrics()?;
    // A fault in the files at the start is an error; later the last good ones stay in force.
    anyhow::ensure!(
        !args.specs.files.iter().any(|path| path.as_os_str() == "-"),
        "run reads its files again and again, and standard input (-) can be read only once; give a file or a folder"
    );
    let first = picked(load::load(&args.specs.files)?, &args.specs)?;
    let stop = Stop::on_signal()?;
    let health = Health::default();
    let ready = health.clone();
    let server = monitor::serve(args.listen, metrics, move || ready.ready(), &stop).await?;
    tracing::info!(listen = %server.address, stacks = first.len(), "keeping");

    let regions = Regions::default();
    let mut kept: BTreeMap<Title, Kept> = BTreeMap::new();
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
        // Nobody would notice a stack that is kept no more: whoever started this program starts it again.
        if let Some((title, _)) = kept.iter().find(|(_, one)| one.task.is_finished()) {
            anyhow::bail!("the task that keeps {title} has ended by itself; that is a fault of this program");
        }
        let files = args.specs.files.clone();
        match tokio::task::spawn_blocking(move || load::load(&files)).await? {
            Ok(stacks) => {
                last_error = None;
                // Nothing of what was asked for may be left: then nothing is kept.
                now = Some(picked(stacks, &args.specs).unwrap_or_default());
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
    kept: &mut BTreeMap<Title, Kept>,
    stacks: Vec<PolybotStack>,
    regions: &Regions,
    turns: &Arc<Semaphore>,
    args: &RunArgs,
    health: &Health,
    stop: &Stop,
) {
    let mut here = BTreeSet::new();
    for stack in stacks {
        let title = Title::of(&stack);
        here.insert(title.clone());
        if let Some(one) = kept.get(&title) {
            let changed = one.specs.send_if_modified(|spec| {
                let differs = **spec != stack;
                if differs {
                    *spec = Arc::new(stack);
                }
                differs
            });
            if changed {
                tracing::info!(stack = %title, "the spec changed");
            }
            continue;
        }
        health.set(&title, None);
        let (specs, receiver) = watch::channel(Arc::new(stack));
        let own = Stop::default();
        let task = keep(receiver, regions.clone(), args.interval, args.lease, turns.clone(), stop.or(&own), {
            let (health, title) = (health.clone(), title.clone());
            move |end, obstacles: &[Obstacle]| health.set(&title, Some((end, obstacles.to_vec())))
        });
        kept.insert(title, Kept { specs, task: tokio::spawn(task), stop: own });
    }
    kept.retain(|title, one| {
        let stays = here.contains(title);
        if !stays {
            tracing::info!(stack = %title, "no longer in the files: left as it is");
            one.stop.ask();
            health.forget(title);
        }
        stays
    });
}
