//! `rollout`: how a new version fares on its way to the instances, and what a person has to say about it. A word is a tag of
//! the scaling group, which every controller reads; so it holds for `run` and the next `apply` as for this command.

use super::{connect, name, out, print_error, stacks, title};
use crate::{
    aws::{Error, TagTarget, View},
    cli::{RolloutArgs, RolloutCommand, RolloutFormat},
    engine::{Action, Address, Found, Input, Live, Owner, Phase, Plan, Resource, Tags},
    facts,
    kinds::{
        launch_template_version::{LaunchTemplateVersion, Version, container},
        rollout::{PAUSE, Rollout, Seen, UNDO, break_off},
    },
    reconcile::{Allow, Connection, Goal},
    stack::{self, Service},
};
use anyhow::{Context, bail};
use contract::env;
use serde_json::{Value, json};
use std::{cmp::Reverse, fmt, process::ExitCode};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

pub(super) async fn run(args: &RolloutArgs) -> anyhow::Result<ExitCode> {
    let (connections, unreached) = connect(stacks(args.command.specs())?).await;
    let mut failed = !unreached.is_empty();
    let mut documents = vec![];
    for connection in &connections {
        // What was done before an error is told as well.
        let mut text = String::new();
        let told = match &args.command {
            RolloutCommand::Status { output, .. } => status(connection, *output, &mut documents, &mut text).await,
            RolloutCommand::Pause { service, .. } => pause(connection, *service, &mut text).await,
            RolloutCommand::Resume { service, .. } => resume(connection, *service, &mut text).await,
            RolloutCommand::Undo { service, .. } => undo(connection, *service, &mut text).await,
            RolloutCommand::Retry { service, .. } => retry(connection, *service, &mut text).await,
        };
        out(&text)?;
        if let Err(error) = told.with_context(|| title(&connection.spec)) {
            failed = true;
            print_error(&error);
        }
    }
    if !documents.is_empty() {
        out(&format!("{}\n", serde_json::to_string_pretty(&json!({ "stacks": documents }))?))?;
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// One service's rollout as it stands.
struct Stand {
    service: &'static str,
    live: Live<Rollout>,
    /// What the spec stands for; nothing where that is not made yet, or not known.
    wanted: Option<Version>,
    /// Why it is not known what the spec stands for.
    open: Option<String>,
    /// The versions that there are, newest first.
    versions: Vec<Kept>,
    /// What the next pass says about it.
    phase: Phase,
    wish: Rollout,
}

/// A version that there is.
struct Kept {
    version: Version,
    /// Digest of its container image.
    digest: Option<String>,
    /// The tags of that in the registry.
    tags: Vec<String>,
    /// When it was made.
    made: Option<OffsetDateTime>,
    /// What it lacks, so that nothing can be launched from it.
    gone: Option<&'static str>,
}

impl fmt::Display for Kept {
    /// `lt-1/3  v1.4.0  sha256:0123456789ab  2026-11-29`, and what it lacks.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, digest, tags, made, gone } = self;
        write!(f, "{version}")?;
        tags.iter().try_for_each(|tag| write!(f, "  {tag}"))?;
        digest.iter().try_for_each(|digest| write!(f, "  {}", digest.get(..19).unwrap_or(digest)))?;
        made.iter().try_for_each(|made| write!(f, "  {}", made.date()))?;
        gone.iter().try_for_each(|what| write!(f, "  ({what})"))
    }
}

impl Stand {
    /// A version with what is known of it.
    fn told(&self, version: &Version) -> String {
        let kept = self.versions.iter().find(|kept| kept.version == *version);
        kept.map_or_else(|| version.to_string(), ToString::to_string)
    }
}

/// Looks at the stack, and at the rollouts of one service or of all.
async fn look(connection: &Connection, service: Option<Service>) -> anyhow::Result<Vec<Stand>> {
    let (wanted, plan) = connection.look(Goal::Converge, &Allow::default()).await;
    let all = Rollout::list(&View::new(&connection.aws)).await?;
    let mut stands = vec![];
    for service in [Service::Polybot, Service::Yolo5].into_iter().filter(|s| service.is_none_or(|only| *s == only)) {
        let name = service.name();
        let wish = wanted.of::<Rollout>().find(|(a, _)| a.name == name).map(|(_, r)| r.clone());
        let live = all.iter().find(|l| l.name == name && l.owner == Owner::Ours).cloned();
        let (Some(mut wish), Some(live)) = (wish, live) else { continue };
        let address = Address::new(LaunchTemplateVersion::KIND, name);
        let open = plan.steps.iter().find(|s| s.address == address).and_then(|s| match &s.action {
            Action::Wait(why, _) | Action::Unknown(why) => Some(why.clone()),
            _ => None,
        });
        let version = plan.output::<LaunchTemplateVersion>(name).filter(|_| open.is_none()).cloned();
        if let Some(version) = &version {
            wish.version = Input::Known(version.clone());
        }
        wish.group = live.state.group.clone();
        wish.alarms = wish.alarms.iter().filter_map(|alarm| filled(&plan, alarm)).collect();
        wish.keep(&live.state);
        let phase = match (&open, &live.phase) {
            (Some(_), Phase::Pending(_)) => live.phase.clone(),
            (Some(_), _) => Phase::Pending("it is not known what the spec stands for".to_owned()),
            (None, _) => wish.phase(&live),
        };
        let versions = versions(connection, &plan, service).await;
        stands.push(Stand { service: name, versions, live, wanted: version, open, phase, wish });
    }
    if stands.is_empty() {
        bail!("there is no scaling group yet; `controller apply` makes one");
    }
    Ok(stands)
}

/// An alarm that there is.
fn filled(plan: &Plan, alarm: &Input<crate::kinds::alarm::Watch>) -> Option<Input<crate::kinds::alarm::Watch>> {
    use crate::engine::Slot;
    let name = &alarm.source()?.name;
    plan.output::<crate::kinds::alarm::Alarm>(name).cloned().map(Input::Known)
}

/// The versions of a service, newest first, with the image in each.
async fn versions(connection: &Connection, plan: &Plan, service: Service) -> Vec<Kept> {
    let aws = &connection.aws;
    let repository = stack::repository(&connection.spec, &aws.account, service);
    let ours = format!("{}/{repository}@", stack::registry(&aws.account, &aws.region));
    // What could not be read is not taken for gone, and of other registries nothing is known.
    let stored = facts::stored(aws, &repository).await.ok();
    let is_it = |f: &&Found| f.address.kind == LaunchTemplateVersion::KIND && f.address.name == service.name();
    let kept = |f: &Found| {
        let (state, version) = (f.state::<LaunchTemplateVersion>()?, f.output::<LaunchTemplateVersion>()?.clone());
        let image = container(&state.user_data.template);
        let digest = image.and_then(|c| c.split('@').nth(1)).map(ToOwned::to_owned);
        let ours = image.filter(|i| i.starts_with(&ours)).and(digest.as_ref());
        let tags = ours.zip(stored.as_ref()).map(|(digest, stored)| stored.get(digest));
        let lost = tags == Some(None);
        let tags = tags.flatten().into_iter().flatten().cloned().collect();
        // The group would take its instances away for want of the answer that their workers owe the hook.
        let silent = service == Service::Yolo5 && !state.user_data.template.contains(env::LAUNCH_HOOK);
        let gone = if !state.image_exists {
            Some("AMI gone")
        } else if lost {
            Some("image gone")
        } else {
            silent.then_some("no launch hook")
        };
        Some(Kept { version, digest, tags, made: f.since, gone })
    };
    let mut all: Vec<_> = plan.found.iter().filter(is_it).filter_map(kept).collect();
    all.sort_by_key(|kept| Reverse(kept.version.number));
    all
}

async fn status(
    connection: &Connection,
    output: RolloutFormat,
    documents: &mut Vec<Value>,
    text: &mut String,
) -> anyhow::Result<()> {
    let stands = look(connection, None).await?;
    if output == RolloutFormat::Json {
        let services: Vec<_> = stands.iter().map(document).collect();
        documents
            .push(json!({ "stack": name(&connection.spec), "region": connection.aws.region, "services": services }));
        return Ok(());
    }
    text.push_str(&format!("stack {}\n", title(&connection.spec)));
    for s in &stands {
        text.push_str(&describe(s));
    }
    Ok(())
}

/// One service in some lines.
fn describe(s: &Stand) -> String {
    let seen = &s.live.state.seen;
    let mut text = format!("{}: {}\n", s.service, word(s));
    if let Some(v) = s.live.state.version.known() {
        text.push_str(&format!("  runs    {}\n", s.told(v)));
    }
    for v in &seen.others {
        text.push_str(&format!("  beside  {}\n", s.told(v)));
    }
    match (&s.wanted, &s.open) {
        (Some(v), _) if Some(v) != s.live.state.version.known() => {
            text.push_str(&format!("  wanted  {}\n", s.told(v)));
        }
        (Some(_), _) => {}
        (None, Some(why)) => text.push_str(&format!("  wanted  not known: {why}\n")),
        (None, None) => text.push_str("  wanted  a version that is not made yet\n"),
    }
    for r in seen.refreshes.iter().take(3) {
        let when = r.times.1.or(r.times.0).and_then(|t| t.format(&Rfc3339).ok()).unwrap_or_default();
        text.push_str(&format!("  {when}  {r}\n"));
    }
    let elsewhere = |v: &Version| Some(v) != s.live.state.version.known() && Some(v) != s.wanted.as_ref();
    for kept in s.versions.iter().filter(|kept| elsewhere(&kept.version)) {
        let failed = if s.live.state.failure(&kept.version).is_some() { "  (failed)" } else { "" };
        text.push_str(&format!("  kept    {kept}{failed}\n"));
    }
    text
}

/// Where a rollout is, in words.
fn word(s: &Stand) -> String {
    match &s.phase {
        Phase::Ready if s.wish.changes(&s.live.state).is_empty() && s.wanted.is_some() => "in place".to_owned(),
        Phase::Ready => "due with the next pass".to_owned(),
        Phase::Pending(why) | Phase::Failed(why) | Phase::Deleting(why) => why.clone(),
    }
}

fn document(s: &Stand) -> Value {
    let seen = &s.live.state.seen;
    let time = |t: Option<OffsetDateTime>| t.and_then(|t| t.format(&Rfc3339).ok());
    let phase = match &s.phase {
        Phase::Ready if s.wish.changes(&s.live.state).is_empty() && s.wanted.is_some() => "inPlace",
        Phase::Ready => "due",
        Phase::Pending(_) if seen.running().is_none() => "waiting",
        Phase::Pending(_) | Phase::Deleting(_) => "running",
        Phase::Failed(_) => "blocked",
    };
    json!({
        "service": s.service,
        "phase": phase,
        "why": word(s),
        "version": s.live.state.version.known().map(ToString::to_string),
        "wanted": s.wanted.as_ref().map(ToString::to_string),
        "others": seen.others.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "paused": seen.wish.paused,
        "undone": seen.wish.undo.as_ref().map(|(bad, _)| bad.to_string()),
        "versions": s.versions.iter().map(|kept| json!({
            "version": kept.version.to_string(), "image": kept.digest, "tags": kept.tags, "made": time(kept.made),
            "gone": kept.gone, "failed": s.live.state.failure(&kept.version).is_some(),
        })).collect::<Vec<_>>(),
        "refreshes": seen.refreshes.iter().map(|r| json!({
            "id": r.id, "to": r.to.as_ref().map(ToString::to_string), "status": r.status.as_str(), "percent": r.percent,
            "why": r.why, "begun": time(r.times.0), "ended": time(r.times.1),
        })).collect::<Vec<_>>(),
    })
}

/// The word first, and then the deed: a pass in between must not start again what is broken off.
async fn pause(connection: &Connection, service: Option<Service>, text: &mut String) -> anyhow::Result<()> {
    for s in look(connection, service).await.context("nothing was done")? {
        let seen = &s.live.state.seen;
        let running = seen.running();
        let mut said = seen.clone();
        said.wish.paused = true;
        if let Some(to) = running.filter(|r| !r.ends_by_itself()).and_then(|r| r.to.as_ref()) {
            said.record = said.record.without(to);
        }
        note(connection, &s, &said).await?;
        text.push_str(&format!("{}: rollouts are paused", s.service));
        match running {
            Some(refresh) if refresh.ends_by_itself() => text.push_str(&format!("; the {refresh} ends by itself")),
            Some(refresh) => {
                let broken_off = break_off(&connection.aws, &s.live.id, refresh, false).await;
                broken_off.with_context(|| {
                    format!("{}: the {refresh} could not be broken off; say `pause` once more", s.service)
                })?;
                text.push_str(&format!("; the {refresh} is broken off where it stands"));
            }
            None => {}
        }
        text.push_str("\n  go on with `controller rollout resume`, or back with `controller rollout undo`\n");
    }
    Ok(())
}

/// Lifts `pause`, and where there is none `undo`: each word by itself, as it was said.
async fn resume(connection: &Connection, service: Option<Service>, text: &mut String) -> anyhow::Result<()> {
    for s in look(connection, service).await.context("nothing was done")? {
        let mut said = s.live.state.seen.clone();
        let (key, lifted) = match &said.wish.undo {
            _ if said.wish.paused => (PAUSE, "pause".to_owned()),
            Some((bad, good)) => (UNDO, format!("undo {bad} to {good}")),
            None => {
                text.push_str(&format!("{}: nothing to resume\n", s.service));
                continue;
            }
        };
        if key == PAUSE {
            said.wish.paused = false;
        } else if let Some((bad, _)) = said.wish.undo.take() {
            // Who takes the word back wants that version, also where it had failed by then.
            said.record = said.record.without(&bad);
            note(connection, &s, &said).await?;
        }
        let tag = aws_sdk_autoscaling::types::Tag::builder().key(key).resource_id(&s.live.id);
        let tag = tag.resource_type("auto-scaling-group").build();
        let deleted = connection.aws.autoscaling.delete_tags().tags(tag).send().await;
        deleted.map_err(Error::from).with_context(|| format!("{}: nothing was done", s.service))?;
        let told = go_on(connection, s.service, &said, None).await;
        text.push_str(&format!("{}: `{lifted}` is lifted; {told}\n", s.service));
    }
    Ok(())
}

async fn undo(connection: &Connection, service: Service, text: &mut String) -> anyhow::Result<()> {
    let stands = look(connection, Some(service)).await.context("nothing was done")?;
    let s = &stands[0];
    let seen = &s.live.state.seen;
    let bad = match (&s.wanted, &s.open) {
        (Some(wanted), _) => Some(wanted),
        // Whatever the spec stands for: what is on its way, or else what runs.
        (None, Some(_)) => seen.running().and_then(|r| r.to.as_ref()).or(s.live.state.version.known()),
        (None, None) => None,
    };
    let bad = bad.context(
        "nothing was done: the spec stands for a version that is not made yet, so there is nothing to undo; change the spec",
    )?;
    if let Some((undone, good)) = &seen.wish.undo
        && undone == bad
    {
        text.push_str(&format!("{}: {bad} is undone already; {good} is wanted\n", s.service));
        return Ok(());
    }
    let good = good(s, bad).context("nothing was done")?;
    let mut said = seen.clone();
    said.wish.undo = Some((bad.clone(), good.clone()));
    note(connection, s, &said).await?;
    let told = go_on(connection, s.service, &said, Some(bad)).await;
    let unproven = if s.live.state.proven(&good) { "" } else { "  (nothing tells that it has served)" };
    text.push_str(&format!(
        "{}: back from {bad} to {good}; {told}\n  from    {}\n  to      {}{unproven}\n  \
         this holds until the spec stands for another version, or `controller rollout resume`\n",
        s.service,
        s.told(bad),
        s.told(&good)
    ));
    Ok(())
}

/// The good version before this one: what the group names while another is on its way, else the last other one that has served,
/// else the newest former one that did not fail. Nothing that cannot be launched any more.
fn good(s: &Stand, bad: &Version) -> anyhow::Result<Version> {
    let state = &s.live.state;
    let stored = state.version.known();
    if let Some(stored) = stored.filter(|v| *v != bad) {
        let on_its_way =
            state.seen.running().is_some_and(|r| r.to.as_ref() == Some(bad)) || state.seen.others.contains(bad);
        if !on_its_way {
            bail!("{bad} does not run: {stored} does, and nothing is on its way");
        }
        return Ok(stored.clone());
    }
    let whole = s.versions.iter().filter(|kept| kept.version != *bad && kept.gone.is_none());
    let whole: Vec<&Version> = whole.map(|kept| &kept.version).collect();
    let served = state.seen.record.good.iter().filter(|v| whole.contains(v));
    let former = whole.iter().copied().filter(|v| v.number < bad.number);
    let found = served.chain(former).find(|v| state.failure(v).is_none());
    found.cloned().with_context(|| {
        let gone = s.versions.iter().filter_map(|kept| Some(format!("; {}: {}", kept.version, kept.gone?)));
        format!("no good version before {bad} is left to go back to{}", gone.collect::<String>())
    })
}

async fn retry(connection: &Connection, service: Option<Service>, text: &mut String) -> anyhow::Result<()> {
    for s in look(connection, service).await.context("nothing was done")? {
        let seen = &s.live.state.seen;
        // What is wanted after `undo` is what that goes back to.
        let Some(version) = s.wish.version.known().filter(|v| s.live.state.failure(v).is_some()) else {
            text.push_str(&format!("{}: nothing has failed that is wanted\n", s.service));
            continue;
        };
        let mut said = seen.clone();
        said.record = said.record.without(version);
        note(connection, &s, &said).await?;
        let told = go_on(connection, s.service, &said, None).await;
        text.push_str(&format!("{}: tried again; {told}\n", s.service));
    }
    Ok(())
}

/// Leaves at the group what is new in what was said and in what is on record.
async fn note(connection: &Connection, s: &Stand, said: &Seen) -> anyhow::Result<()> {
    let before = &s.live.state.seen;
    let mut tags = Tags::new();
    // A word that stands is not written again: another controller may lift it meanwhile.
    let words = before.wish.tags();
    tags.extend(said.wish.tags().into_iter().filter(|(key, value)| words.get(key) != Some(value)));
    if said.record != before.record {
        tags.extend(said.record.tags());
    }
    if tags.is_empty() {
        return Ok(());
    }
    let noted = connection.aws.tag(&TagTarget::ScalingGroup(s.live.id.clone()), &tags).await;
    noted.with_context(|| format!("{}: nothing was done", s.service))
}

/// Does at once what the next pass would do about this rollout, and says what that was. The word is noted by now: what does not work
/// at once, the next pass does.
async fn go_on(connection: &Connection, service: &'static str, said: &Seen, wanted: Option<&Version>) -> String {
    match at_once(connection, service, said, wanted).await {
        Ok(told) => told,
        Err(error) => format!("this is noted, and the next pass does it; it did not work at once: {error:#}"),
    }
}

/// `wanted`: what the spec stands for, where it is not known and a person goes by what runs.
async fn at_once(
    connection: &Connection,
    service: &'static str,
    said: &Seen,
    wanted: Option<&Version>,
) -> anyhow::Result<String> {
    let stands = look(connection, None).await?;
    let Some(s) = stands.into_iter().find(|s| s.service == service) else { return Ok(String::new()) };
    let Some(version) = s.wanted.clone().or(wanted.cloned()) else { return Ok("the next pass goes on".to_owned()) };
    // What was just said is known here, whether or not AWS tells it already.
    let mut now = s.live.clone();
    now.state.seen.wish.clone_from(&said.wish);
    now.state.seen.record.clone_from(&said.record);
    let mut wish = s.wish.clone();
    (wish.version, wish.seen) = (Input::Known(version), Seen::default());
    wish.keep(&now.state);
    let changes = wish.changes(&now.state);
    match wish.phase(&now) {
        Phase::Ready if changes.is_empty() && now.state.seen.running().is_none() => Ok("that is what runs".to_owned()),
        Phase::Ready => {
            wish.update(&connection.aws, &now, &changes).await?;
            let how = if now.state.seen.running().is_some() {
                "what is on its way is broken off"
            } else {
                "an instance refresh has begun"
            };
            Ok(how.to_owned())
        }
        Phase::Pending(why) | Phase::Failed(why) | Phase::Deleting(why) => Ok(why),
    }
}
