//! `load-test`: sends jobs to the detector at a steady rate, as the bot would, and tells how long answers take, how the queue
//! fills and how the group grows. The jobs are of a chat that is nobody's; what was put into the stack goes again, also when the test is
//! interrupted or fails.

mod plot;
mod report;
mod target;

use super::{connect, out, print_error, stacks, title, warn};
use crate::{
    aws,
    cli::{LoadTestArgs, LoadTestFormat},
    stop::Stop,
};
use anyhow::{Context, bail};
use report::{Report, Sample, Tally};
use std::{
    cell::RefCell,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};
use target::Target;
use tokio::{
    sync::Notify,
    time::{Interval, MissedTickBehavior},
};

/// Pictures at most: jobs take turns on them.
const PICTURES: usize = 50;
/// Bytes of a picture at most, as Telegram delivers.
const PICTURE_BYTES: u64 = 20 << 20;
/// Jobs at most, so that no slip of a finger fills a queue.
const JOBS: u64 = 100_000;
/// How long jobs in hand are waited for once their pictures are gone: longer than a worker takes for one.
const LAST: Duration = Duration::from_secs(30);

pub(super) async fn run(args: &LoadTestArgs) -> anyhow::Result<ExitCode> {
    let chosen = stacks(&args.specs)?;
    if chosen.len() != 1 {
        bail!("a load test is of one stack; choose with --stack, or give the file of one");
    }
    let jobs = u64::from(args.rate) * args.duration.as_secs();
    if !(1..=JOBS).contains(&jobs) {
        bail!("{} a second for {} s is {jobs} jobs; 1 to {JOBS} are allowed", args.rate, args.duration.as_secs());
    }
    let pictures = pictures(&args.images)?;
    let stop = Stop::on_signal()?;
    let (connections, _) = connect(chosen).await;
    let Some(connection) = connections.first() else { return Ok(ExitCode::FAILURE) };
    let target = Target::find(connection).await?;
    let mut report = Report::new(title(&connection.spec), args.rate);
    let loaded = match target.upload(&pictures, &stop).await {
        Ok(keys) => load(&target, args, &keys, &stop, &mut report).await,
        Err(error) => Err(error),
    };
    report.interrupted = stop.is_asked();
    // What went wrong is told when it does, and before what it may bring about: cleaning up often fails for the same reason.
    let mut well = told(loaded);
    if report.sent > 0 {
        well &= told(tell(args, &report));
    }
    if stop.is_asked() {
        warn(
            "interrupted: no more jobs are sent, what the test put into the stack is removed, and workers give up what is left\n",
        );
    }
    let patience = if well && report.whole() { Duration::ZERO } else { LAST };
    let cleared = target.clear(patience).await;
    well &= told(cleared.with_context(|| {
        format!("what the test left behind could not be removed: all that is called {}", target.mark)
    }));
    Ok(match (well, report.whole() && !report.interrupted) {
        (false, _) => ExitCode::FAILURE,
        (true, true) => ExitCode::SUCCESS,
        (true, false) => ExitCode::from(super::SOMETHING),
    })
}

/// Tells what went wrong, if anything; whether all went well.
fn told(done: anyhow::Result<()>) -> bool {
    done.map_err(|error| print_error(&error)).is_ok()
}

/// The report to standard output, the picture into its file.
fn tell(args: &LoadTestArgs, report: &Report) -> anyhow::Result<()> {
    match args.output {
        LoadTestFormat::Text => out(&report.text())?,
        LoadTestFormat::Json => out(&format!("{}\n", serde_json::to_string_pretty(report)?))?,
    }
    let Some(path) = &args.svg else { return Ok(()) };
    std::fs::write(path, plot::svg(&report.samples)).with_context(|| format!("{} cannot be written", path.display()))
}

/// The pictures of a folder, in order of their names.
fn pictures(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))?;
    let is_picture = |p: &PathBuf| {
        let ending = p.extension().map(|e| e.to_string_lossy().to_lowercase());
        ending.is_some_and(|e| ["jpg", "jpeg", "png", "webp"].contains(&e.as_str()))
            && p.metadata().is_ok_and(|m| m.len() <= PICTURE_BYTES)
    };
    let mut all: Vec<_> = entries.filter_map(|e| Some(e.ok()?.path())).filter(is_picture).collect();
    all.sort();
    all.truncate(PICTURES);
    if all.is_empty() {
        bail!("{} holds no picture (jpg, png, webp; up to 20 MB)", folder.display());
    }
    Ok(all)
}

/// Sends, and looks meanwhile, until the last answer is there, its time is up, or somebody stops it. What was measured until then is
/// in the report, also where it ends with an error.
async fn load(
    target: &Target<'_>,
    args: &LoadTestArgs,
    keys: &[String],
    stop: &Stop,
    report: &mut Report,
) -> anyhow::Result<()> {
    let run = Run { target, args, keys, stop, begun: Instant::now(), tally: RefCell::default(), looked: Notify::new() };
    let samples = RefCell::new(vec![]);
    // Each at its own pace: a list of answers that takes its time holds up no job.
    let ended = tokio::select! {
        ended = run.all() => ended,
        Err(error) = run.take_answers() => Err(error),
        Err(error) = run.take_samples(&samples) => Err(error),
    };
    // How it was at the end.
    let last = run.sample().await;
    let mut samples = samples.into_inner();
    samples.extend(last.ok());
    report.fill(run.begun.elapsed(), &run.tally.into_inner(), samples);
    ended.map_err(Into::into)
}

/// A test on its way.
struct Run<'a> {
    target: &'a Target<'a>,
    args: &'a LoadTestArgs,
    keys: &'a [String],
    stop: &'a Stop,
    begun: Instant,
    tally: RefCell<Tally>,
    /// Told when answers have been looked for.
    looked: Notify,
}

impl Run<'_> {
    async fn all(&self) -> aws::Result<()> {
        self.send().await?;
        self.rest().await;
        Ok(())
    }

    /// Sends what is due each second, for as long as is wished.
    async fn send(&self) -> aws::Result<()> {
        let mut second = second();
        let mut next = 0;
        loop {
            let passed = self.begun.elapsed();
            // The first job is due at once, and the last one when the time is up.
            let share = passed.min(self.args.duration).as_millis() * u128::from(self.args.rate) / 1000;
            let due = usize::try_from(share.max(1)).unwrap_or(usize::MAX);
            loop {
                let more = due.saturating_sub(self.tally.borrow().sent);
                if more == 0 || self.stop.is_asked() {
                    break;
                }
                let taken = unless_it_passes(self.target.send(self.keys, next, more).await)?;
                let Some((after, taken)) = taken else { break };
                next = after;
                self.tally.borrow_mut().send(&taken, self.begun.elapsed());
                if taken.is_empty() {
                    break;
                }
            }
            if self.stop.is_asked() || passed >= self.args.duration {
                return Ok(());
            }
            tokio::select! { _ = second.tick() => {}, () = self.stop.asked() => {} }
        }
    }

    /// Waits for the answers that are missing.
    async fn rest(&self) {
        let all = async {
            while !self.tally.borrow().open.is_empty() {
                self.looked.notified().await;
            }
        };
        tokio::select! { _ = tokio::time::timeout(self.args.drain, all) => {}, () = self.stop.asked() => {} }
    }

    /// Takes note of answers for ever. Jobs are answered about in their order, so what lies below the first one that is missing is not
    /// asked for again.
    async fn take_answers(&self) -> aws::Result<std::convert::Infallible> {
        let mut second = second();
        loop {
            second.tick().await;
            let first = self.tally.borrow().open.keys().next().copied();
            if let Some(first) = first
                && let Some(answered) = unless_it_passes(self.target.answered(first).await)?
            {
                self.tally.borrow_mut().answer(&answered, self.begun.elapsed());
            }
            self.looked.notify_one();
        }
    }

    /// Looks at the stack for ever, and tells every now and then.
    async fn take_samples(&self, samples: &RefCell<Vec<Sample>>) -> aws::Result<std::convert::Infallible> {
        let mut second = second();
        loop {
            second.tick().await;
            let Some(sample) = unless_it_passes(self.sample().await)? else { continue };
            if samples.borrow().len().is_multiple_of(5) {
                warn(&sample.line());
            }
            samples.borrow_mut().push(sample);
        }
    }

    async fn sample(&self) -> aws::Result<Sample> {
        let (depth, workers) = futures::try_join!(self.target.depth(), self.target.workers())?;
        Ok(self.tally.borrow().sample(self.begun.elapsed(), depth, workers))
    }
}

/// Each second; what was missed is not made up for.
fn second() -> Interval {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Skip);
    second
}

/// What a call came to; nothing where another try in a second may well do.
fn unless_it_passes<T>(done: aws::Result<T>) -> aws::Result<Option<T>> {
    match done {
        Err(error) if passes(&error) => {
            tracing::warn!(%error, "tried again");
            Ok(None)
        }
        done => done.map(Some),
    }
}

/// Whether an error is of the moment: too many calls, no answer, or a fault of AWS's own.
fn passes(error: &aws::Error) -> bool {
    let of_aws = error.code.starts_with("Internal") || error.code.contains("Unavailable");
    error.is_transient() || error.reason == aws::Reason::Unreachable || of_aws
}
