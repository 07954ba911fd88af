//! `rollout`: how a new version fares on its way to the instances, and what a person has to say about it. A word is one tag of
//! the scaling group, which every controller reads; so it holds for `run` and the next `apply` as for this command.

use super::{connect, name, out, print_error, stacks, title};
use crate::{
    aws::{TagTarget, View},
    cli::{RolloutArgs, RolloutCommand, RolloutFormat},
    engine::{Found, Live, Owner, Phase, Plan, Resource, Tags},
    kinds::{
        launch_template_version::{LaunchTemplateVersion, Version, container},
        rollout::{Rollout, WISH, Wish, break_off},
    },
    reconcile::{Allow, Connection, Goal},
    stack::Service,
};
use anyhow::{Context, bail};
use aws_sdk_autoscaling::types::InstanceRefreshStatus as Status;
use serde_json::{Value, json};
use std::process::ExitCode;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

pub(super) async fn run(args: &RolloutArgs) -> anyhow::Result<ExitCode> {
    let (connections, unreached) = connect(stacks(args.command.specs())?).await;
    let mut failed = !unreached.is_empty();
    let mut documents = vec![];
    for connection in &connections {
        let told = match &args.command {
            RolloutCommand::Status { output, .. } => status(connection, *output, &mut documents).await,
            RolloutCommand::Pause { service, .. } => pause(connection, *service).await,
            RolloutCommand::Resume { service, .. } => resume(connection, *service).await,
            RolloutCommand::Undo { service, .. } => undo(connection, *service).await,
            RolloutCommand::Retry { service, .. } => retry(connection, *service).await,
        };
        match told.with_context(|| format!("{}: nothing was done", title(&connection.spec))) {
            Ok(text) => out(&text)?,
            Err(error) => {
                failed = true;
                print_error(&error);
            }
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
    /// What the spec stands for; nothing where that is not made yet.
    wanted: Option<Version>,
    /// Former versions that there are, newest first.
    versions: Vec<(Version, Option<String>)>,
    /// What the next pass says about it.
    phase: Phase,
    wish: Rollout,
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
        let version = plan.output::<LaunchTemplateVersion>(name).cloned();
        if let Some(version) = &version {
            wish.version = crate::engine::Input::Known(version.clone());
        }
        wish.group = live.state.group.clone();
        wish.alarms = wish.alarms.iter().filter_map(|alarm| filled(&plan, alarm)).collect();
        wish.keep(&live.state);
        let phase = wish.phase(&live);
        stands.push(Stand { service: name, versions: versions(&plan, name), live, wanted: version, phase, wish });
    }
    if stands.is_empty() {
        bail!("there is no scaling group yet; `controller apply` makes one");
    }
    Ok(stands)
}

/// An alarm that there is.
fn filled(
    plan: &Plan,
    alarm: &crate::engine::Input<crate::kinds::alarm::Watch>,
) -> Option<crate::engine::Input<crate::kinds::alarm::Watch>> {
    use crate::engine::Slot;
    let name = &alarm.source()?.name;
    plan.output::<crate::kinds::alarm::Alarm>(name).cloned().map(crate::engine::Input::Known)
}

/// The versions of a service, newest first, with the image in each.
fn versions(plan: &Plan, service: &str) -> Vec<(Version, Option<String>)> {
    let is_it = |f: &&Found| f.address.kind == LaunchTemplateVersion::KIND && f.address.name == service;
    let mut all: Vec<_> = plan
        .found
        .iter()
        .filter(is_it)
        .filter_map(|f| {
            let state = f.state::<LaunchTemplateVersion>()?;
            Some((
                f.output::<LaunchTemplateVersion>()?.clone(),
                container(&state.user_data.template).and_then(|c| c.split('@').nth(1)).map(ToOwned::to_owned),
            ))
        })
        .collect();
    all.sort_by_key(|(v, _)| std::cmp::Reverse(v.number));
    all
}

async fn status(connection: &Connection, output: RolloutFormat, documents: &mut Vec<Value>) -> anyhow::Result<String> {
    let stands = look(connection, None).await?;
    if output == RolloutFormat::Json {
        let services: Vec<_> = stands.iter().map(document).collect();
        documents
            .push(json!({ "stack": name(&connection.spec), "region": connection.aws.region, "services": services }));
        return Ok(String::new());
    }
    let mut text = format!("stack {}\n", title(&connection.spec));
    for s in &stands {
        text.push_str(&describe(s));
    }
    Ok(text)
}

/// One service in some lines.
fn describe(s: &Stand) -> String {
    let image = |v: &Version| {
        let found = s.versions.iter().find(|(have, _)| have == v).and_then(|(_, image)| image.clone());
        found.map_or_else(String::new, |digest| format!("  {}", digest.get(..19).unwrap_or(&digest)))
    };
    let seen = &s.live.state.seen;
    let mut text = format!("{}: {}\n", s.service, word(s));
    if let Some(v) = s.live.state.version.known() {
        text.push_str(&format!("  runs    {v}{}\n", image(v)));
    }
    for v in &seen.others {
        text.push_str(&format!("  beside  {v}{}\n", image(v)));
    }
    match &s.wanted {
        Some(v) if Some(v) != s.live.state.version.known() => text.push_str(&format!("  wanted  {v}{}\n", image(v))),
        Some(_) => {}
        None => text.push_str("  wanted  a version that is not made yet\n"),
    }
    for r in seen.refreshes.iter().take(3) {
        let when = r.times.1.or(r.times.0).and_then(|t| t.format(&Rfc3339).ok()).unwrap_or_default();
        text.push_str(&format!("  {when}  {r}\n"));
    }
    let former =
        s.versions.iter().filter(|(v, _)| Some(v) != s.live.state.version.known() && Some(v) != s.wanted.as_ref());
    for (v, _) in former {
        text.push_str(&format!(
            "  kept    {v}{}{}\n",
            image(v),
            if seen.failure(v).is_some() { "  (failed)" } else { "" }
        ));
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
        "wish": seen.wish.as_ref().map(ToString::to_string),
        "versions": s.versions.iter().map(|(v, image)| json!({
            "version": v.to_string(), "image": image, "failed": seen.failure(v).is_some(),
        })).collect::<Vec<_>>(),
        "refreshes": seen.refreshes.iter().map(|r| json!({
            "id": r.id, "to": r.to.as_ref().map(ToString::to_string), "status": r.status.as_str(), "percent": r.percent,
            "why": r.why, "begun": time(r.times.0), "ended": time(r.times.1),
        })).collect::<Vec<_>>(),
    })
}

/// The word first, and then the deed: a pass in between must not start again what is broken off.
async fn pause(connection: &Connection, service: Option<Service>) -> anyhow::Result<String> {
    let mut text = String::new();
    for s in look(connection, service).await? {
        say(connection, &s, &Wish::Pause).await?;
        text.push_str(&format!("{}: rollouts are paused", s.service));
        if let Some(refresh) = s.live.state.seen.running().filter(|r| r.status != Status::Cancelling) {
            break_off(&connection.aws, &s.live.id, refresh, false).await?;
            text.push_str(&format!("; the {refresh} is broken off where it stands"));
        }
        text.push_str("\n  go on with `controller rollout resume`, or back with `controller rollout undo`\n");
    }
    Ok(text)
}

async fn resume(connection: &Connection, service: Option<Service>) -> anyhow::Result<String> {
    let mut text = String::new();
    for mut s in look(connection, service).await? {
        let Some(wish) = s.live.state.seen.wish.take() else {
            text.push_str(&format!("{}: nothing to resume\n", s.service));
            continue;
        };
        let tag = aws_sdk_autoscaling::types::Tag::builder().key(WISH).resource_id(&s.live.id);
        let tag = tag.resource_type("auto-scaling-group").build();
        let delete = connection.aws.autoscaling.delete_tags().tags(tag).send();
        delete.await.map_err(crate::aws::Error::from)?;
        text.push_str(&format!(
            "{}: `{wish}` is lifted; {}\n",
            s.service,
            go_on(connection, &s.live, s.service).await?
        ));
    }
    Ok(text)
}

async fn undo(connection: &Connection, service: Service) -> anyhow::Result<String> {
    let stands = look(connection, Some(service)).await?;
    let s = &stands[0];
    let Some(bad) = &s.wanted else {
        bail!("the spec stands for a version that is not made yet, so there is nothing to undo; change the spec");
    };
    if let Some(Wish::Undo(undone, good)) = &s.live.state.seen.wish
        && undone == bad
    {
        return Ok(format!("{}: {bad} is undone already; {good} is wanted\n", s.service));
    }
    let good = good(s, bad)?;
    let wish = Wish::Undo(bad.clone(), good.clone());
    say(connection, s, &wish).await?;
    let mut live = s.live.clone();
    live.state.seen.wish = Some(wish);
    let told = go_on(connection, &live, s.service).await?;
    Ok(format!(
        "{}: back from {bad} to {good}; {told}\n  this holds until the spec stands for another version, or `controller rollout resume`\n",
        s.service
    ))
}

/// The good version before this one: what the group names while another is on its way, else the last one that a refresh
/// brought to its end, else the newest former one that did not fail.
fn good(s: &Stand, bad: &Version) -> anyhow::Result<Version> {
    let state = &s.live.state;
    let there = |v: &&Version| s.versions.iter().any(|(have, _)| have == *v);
    let stored = state.version.known();
    if let Some(stored) = stored.filter(|v| *v != bad) {
        let on_its_way =
            state.seen.running().is_some_and(|r| r.to.as_ref() == Some(bad)) || state.seen.others.contains(bad);
        if !on_its_way {
            bail!("{bad} does not run: {stored} does, and nothing is on its way");
        }
        return Ok(stored.clone());
    }
    let brought = state.seen.refreshes.iter().filter(|r| r.status == Status::Successful).filter_map(|r| r.to.as_ref());
    let former = s.versions.iter().map(|(v, _)| v).filter(|v| v.number < bad.number && state.seen.failure(v).is_none());
    let found = brought.filter(|v| *v != bad && v.number < bad.number).filter(there).chain(former).next();
    found.cloned().with_context(|| format!("no good version before {bad} is left to go back to"))
}

async fn retry(connection: &Connection, service: Option<Service>) -> anyhow::Result<String> {
    let mut text = String::new();
    for s in look(connection, service).await? {
        let failure = s.wanted.as_ref().and_then(|v| s.live.state.seen.failure(v));
        let Some(failure) = failure else {
            text.push_str(&format!("{}: nothing has failed that the spec stands for\n", s.service));
            continue;
        };
        let wish = Wish::Retry(failure.id.clone());
        say(connection, &s, &wish).await?;
        let mut live = s.live.clone();
        live.state.seen.wish = Some(wish);
        text.push_str(&format!("{}: tried again; {}\n", s.service, go_on(connection, &live, s.service).await?));
    }
    Ok(text)
}

/// Leaves a word at the group.
async fn say(connection: &Connection, s: &Stand, wish: &Wish) -> anyhow::Result<()> {
    let tags = Tags::from([(WISH.to_owned(), wish.to_string())]);
    Ok(connection.aws.tag(&TagTarget::ScalingGroup(s.live.id.clone()), &tags).await?)
}

/// Does at once what the next pass would do about this rollout, and says what that was.
async fn go_on(connection: &Connection, live: &Live<Rollout>, service: &'static str) -> anyhow::Result<String> {
    let stands = look(connection, None).await?;
    let Some(s) = stands.into_iter().find(|s| s.service == service) else { return Ok(String::new()) };
    // What was just said is known here, whether or not AWS tells it already.
    let mut now = s.live.clone();
    now.state.seen.wish.clone_from(&live.state.seen.wish);
    let mut wish = s.wish.clone();
    if let Some(version) = s.wanted.clone() {
        (wish.version, wish.seen) = (crate::engine::Input::Known(version), crate::kinds::rollout::Seen::default());
    }
    wish.keep(&now.state);
    let changes = wish.changes(&now.state);
    match wish.phase(&now) {
        Phase::Ready if s.wanted.is_none() => Ok("the next pass goes on".to_owned()),
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
