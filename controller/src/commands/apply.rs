//! `apply`: shows the plan, asks, carries it out, and goes on in passes until the stack is as the spec says.

use super::{SOMETHING, connect, elapsed, name, out, plan, print_error, stacks, title, warn};
use crate::{
    aws,
    cli::{ApplyArgs, Pace},
    engine::{Action, Consent, Event, Outcome, Plan, Report, apply},
    lease::{Lease, Record, Table},
    reconcile::{Allow, Connection, Goal},
    stop::Stop,
};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::{
    collections::BTreeMap,
    io::{BufRead, IsTerminal},
    process::ExitCode,
    sync::Mutex,
    time::{Duration, Instant},
};

/// How one stack ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    Converged,
    Waiting,
    Failed,
}

pub(super) fn exit_code(ends: impl IntoIterator<Item = End>) -> ExitCode {
    match ends.into_iter().max() {
        None | Some(End::Converged) => ExitCode::SUCCESS,
        Some(End::Waiting) => ExitCode::from(SOMETHING),
        Some(End::Failed) => ExitCode::FAILURE,
    }
}

pub(super) async fn run(args: &ApplyArgs) -> anyhow::Result<ExitCode> {
    let allow = Allow { with_data: args.allow.with_data.clone(), replace: args.allow.replace.clone() };
    let stop = Stop::on_signal()?;
    let (connections, unreached) = connect(stacks(&args.specs)?).await;
    let mut ends = vec![if unreached.is_empty() { End::Converged } else { End::Failed }];
    for connection in &connections {
        ends.push(one(connection, args, &allow, &stop).await?);
    }
    Ok(exit_code(ends))
}

async fn one(connection: &Connection, args: &ApplyArgs, allow: &Allow, stop: &Stop) -> anyhow::Result<End> {
    let (_, plan) = connection.look(Goal::Converge, allow).await;
    out(&plan::text(&connection.spec, &plan))?;
    let writes = plan.summary().writes() > 0;
    if writes && !args.expect.is_empty() && !args.expect.contains(&plan.digest()) {
        print_error(&anyhow::anyhow!(
            "{}: the plan has digest {}, not {} as expected; nothing was done. Someone changed the spec or AWS \
             since that plan: review the one above",
            title(&connection.spec),
            plan.digest(),
            args.expect.join(" or ")
        ));
        return Ok(End::Failed);
    }
    if let Some(refusal) = over_the_cap(connection, &plan, args.max_deletions) {
        print_error(&refusal);
        return Ok(End::Failed);
    }
    if writes && !args.yes && args.expect.is_empty() && !ask("Apply this plan? [y/N] ", &["y", "yes"])? {
        warn("nothing was done\n");
        return Ok(End::Failed);
    }
    passes(connection, plan, Goal::Converge, allow, &args.pace, stop).await
}

/// A typo that drops a service from a spec must not remove its fleet.
fn over_the_cap(connection: &Connection, plan: &Plan, given: Option<usize>) -> Option<anyhow::Error> {
    let cap = given.unwrap_or_else(|| usize::try_from(connection.spec.spec.safety.max_deletions).unwrap_or(usize::MAX));
    let addresses: Vec<_> = plan.deletions().map(|s| s.address.to_string()).collect();
    (addresses.len() > cap).then(|| {
        anyhow::anyhow!(
            "{}: the plan deletes or replaces {} resources ({}), more than the {cap} allowed at once; nothing was done. If \
             that is meant, apply with --max-deletions {}",
            title(&connection.spec),
            addresses.len(),
            addresses.join(", "),
            addresses.len()
        )
    })
}

/// Asks on the terminal; without one the answer is no.
pub(super) fn ask(question: &str, yes: &[&str]) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        anyhow::bail!(
            "nobody can be asked here: standard input is no terminal; consent with --yes, --expect or --confirm"
        );
    }
    warn(question);
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(yes.contains(&answer.trim()))
}

/// Carries out a plan, looks again, and goes on until nothing is left to do or only a person or time can help. Later passes
/// do only what the first plan announced.
pub(super) async fn passes(
    connection: &Connection,
    first: Plan,
    goal: Goal,
    allow: &Allow,
    pace: &Pace,
    stop: &Stop,
) -> anyhow::Result<End> {
    if first.is_settled() {
        return go_on(connection, first, goal, allow, pace, stop).await;
    }
    let Some(lease) = lease(connection, pace.lease, stop).await else { return Ok(End::Failed) };
    let stop = &lease.as_ref().map_or_else(|| stop.clone(), |lease| stop.or(lease.lost()));
    let end = go_on(connection, first, goal, allow, pace, stop).await;
    if let Some(lease) = lease {
        lease.give_back().await;
    }
    end
}

/// Takes the stack's lease, and says for whom it waits. A table of leases that cannot be used is no reason to stop: nothing
/// depends on the lease for being right. `None` when the wait was interrupted.
async fn lease(connection: &Connection, time_to_live: Duration, stop: &Stop) -> Option<Option<Lease<Table>>> {
    let told = |holder: &Record| {
        warn(&format!(
            "… {}: {} works on it; waiting until it is done, or silent for {}\n",
            title(&connection.spec),
            holder.owner,
            elapsed(time_to_live)
        ));
    };
    tokio::select! {
        taken = connection.lease(time_to_live, &told) => match taken {
            Ok(lease) => Some(Some(lease)),
            Err(error) => {
                warn(&format!("warning: going on without a lease: {error}\n"));
                Some(None)
            }
        },
        () = stop.asked() => {
            warn("stopped; nothing was done\n");
            None
        }
    }
}

async fn go_on(
    connection: &Connection,
    first: Plan,
    goal: Goal,
    allow: &Allow,
    pace: &Pace,
    stop: &Stop,
) -> anyhow::Result<End> {
    let begun = Instant::now();
    let consent = Consent::to(&first);
    let mut plan = first;
    let mut done = BTreeMap::new();
    let board = Board::new();
    let mut quiet = 0_u32;
    loop {
        let report = if plan.steps.is_empty() {
            Report::default()
        } else {
            apply(&connection.aws, plan, Some(&consent), stop, &|event| board.tell(event)).await
        };
        for (step, outcome) in &report.steps {
            if matches!(outcome, Outcome::Done(_)) {
                *done.entry(step.action.word()).or_insert(0_usize) += 1;
            }
        }
        let stuck = report.failed() || report.blocked();
        let over = begun.elapsed() >= pace.timeout || pace.once || stop.is_asked();
        if (!report.wrote() && !report.waiting()) || over || (stuck && !report.wrote() && !report.waiting()) {
            return finish(connection, &report, &done, begun.elapsed());
        }
        // A pass that only waits is repeated after the poll time; one that did something, at once.
        if report.wrote() {
            quiet = 0;
        } else {
            quiet += 1;
            // What seems to need a person may be a call that failed just now, so one more look is taken.
            if stuck && quiet > 3 || quiet > 1 && only_a_person_helps(&report) {
                return finish(connection, &report, &done, begun.elapsed());
            }
            board.waiting(&report, begun.elapsed());
            tokio::select! {
                () = tokio::time::sleep(pace.poll) => {}
                () = stop.asked() => {}
            }
        }
        plan = connection.look(goal, allow).await.1;
    }
}

/// Whether all that waits, waits for something that no pass brings about: an input that is not to be had.
fn only_a_person_helps(report: &Report) -> bool {
    let mut waiting = report.steps.iter().filter(|(_, o)| matches!(o, Outcome::Waiting(_))).peekable();
    waiting.peek().is_some()
        && waiting.all(|(step, outcome)| match (&step.action, outcome) {
            (Action::Wait(..), _) => step.lacks_input(),
            (Action::Unknown(_), _) => true,
            (_, Outcome::Waiting(why)) => why.starts_with("for "),
            _ => false,
        })
}

/// Says what was done, what waits and why, what failed and how to mend it.
fn finish(
    connection: &Connection,
    report: &Report,
    done: &BTreeMap<&'static str, usize>,
    took: Duration,
) -> anyhow::Result<End> {
    let mut text = String::new();
    let mut end = End::Converged;
    for (step, outcome) in &report.steps {
        let line = match outcome {
            Outcome::Waiting(why) => {
                end = end.max(if matches!(step.action, Action::Unknown(_)) { End::Failed } else { End::Waiting });
                format!("… {} waits: {why}\n", step.address)
            }
            Outcome::Blocked(why) => {
                end = End::Failed;
                format!("! {} is blocked: {why}\n", step.address)
            }
            Outcome::Failed(error) => {
                end = End::Failed;
                let hint = aws::Error::hint(error).map(|h| format!("\n  hint: {h}")).unwrap_or_default();
                format!("✗ {} failed: {error}{hint}\n", step.address)
            }
            Outcome::Retained => format!(". {} stays: it holds data\n", step.address),
            Outcome::Done(_) => continue,
        };
        text.push_str(&line);
    }
    let counts: Vec<_> = done.iter().map(|(word, n)| format!("{n} {word}d")).collect();
    let counts = if counts.is_empty() { "nothing changed".to_owned() } else { counts.join(", ") };
    let word = match end {
        End::Converged => "converged",
        End::Waiting => "not there yet",
        End::Failed => "not converged",
    };
    out(&format!("{text}stack {}: {word} after {}; {counts}\n", title(&connection.spec), elapsed(took)))?;
    tracing::debug!(stack = name(&connection.spec), ?end, "apply ended");
    Ok(end)
}

/// Live progress: a line for each running step on a terminal, plain lines elsewhere.
struct Board {
    live: Option<MultiProgress>,
    bars: Mutex<BTreeMap<String, ProgressBar>>,
}

impl Board {
    fn new() -> Self {
        let live = std::io::stderr().is_terminal().then(MultiProgress::new);
        Self { live, bars: Mutex::default() }
    }

    fn tell(&self, event: &Event) {
        let mut bars = self.bars.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match event {
            Event::Started(step) => {
                if let Some(live) = &self.live {
                    let bar = live.add(
                        ProgressBar::new_spinner().with_style(
                            ProgressStyle::with_template("{spinner} {msg} {elapsed}")
                                .unwrap_or_else(|_| ProgressStyle::default_spinner()),
                        ),
                    );
                    bar.set_message(format!("{} {}", step.action.word(), step.address));
                    bar.enable_steady_tick(Duration::from_millis(120));
                    bars.insert(key(step), bar);
                }
            }
            Event::Ended(step, outcome) => {
                let line = match outcome {
                    Outcome::Done(took) => {
                        format!("{} {} {} ({})", step.action.sign(), step.action.word(), step.address, elapsed(*took))
                    }
                    Outcome::Failed(error) => format!("✗ {} {}: {error}", step.action.word(), step.address),
                    Outcome::Waiting(why) => format!("… {} {} waits: {why}", step.action.word(), step.address),
                    Outcome::Blocked(_) | Outcome::Retained => return,
                };
                if let Some(bar) = bars.remove(&key(step)) {
                    bar.finish_and_clear();
                }
                self.say(&line);
            }
        }
    }

    fn waiting(&self, report: &Report, since: Duration) {
        let waiting: Vec<_> = report
            .steps
            .iter()
            .filter_map(|(s, o)| match o {
                Outcome::Waiting(why) => Some(format!("{} ({why})", s.address)),
                _ => None,
            })
            .collect();
        self.say(&format!("… {}: waiting for {}", elapsed(since), waiting.join("; ")));
    }

    fn say(&self, line: &str) {
        match &self.live {
            Some(live) => drop(live.println(line)),
            None => warn(&format!("{line}\n")),
        }
    }
}

fn key(step: &crate::engine::Step) -> String {
    format!("{} {} {:?}", step.action.word(), step.address, step.id)
}
