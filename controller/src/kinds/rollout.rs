//! Which version a group's instances run. Another one reaches them by an instance refresh, never by touching the group: AWS
//! changes the version that the group names only when the refresh has succeeded, so one that fails leaves the good version in
//! place, and going back means going back to that.
//!
//! Nothing is remembered here. What a person asked for (`controller rollout pause`, `undo`) and how versions fared is in tags of
//! the group, so that every controller sees the same: AWS's own list of refreshes, which says why one failed, goes back six weeks.

use super::{
    alarm::Watch,
    launch_template_version::{LaunchTemplateVersion, Version},
    scaling_group::groups,
};
use crate::{
    aws::{Aws, Error, Result, TagTarget, View, tags},
    engine::{Change, How, Input, Live, Phase, Resource, Slot, Tags, differs_as},
    stack::Service,
};
use aws_sdk_autoscaling::types::{
    AlarmSpecification, AutoScalingGroup, DesiredConfiguration, Instance, InstanceRefresh,
    InstanceRefreshStatus as Status, LaunchTemplateSpecification, LifecycleState, RefreshPreferences,
    ScaleInProtectedInstances,
};
use futures::future::try_join_all;
use std::{collections::BTreeSet, fmt, sync::Arc};

/// The tags of a scaling group that hold a person's [`Wish`]: one for each word, so that none takes another's place.
pub const PAUSE: &str = "polybot.dev/rollout-pause";
/// The same for `undo`.
pub const UNDO: &str = "polybot.dev/rollout-undo";

/// The tags of a scaling group that hold its [`Record`].
const GOOD: &str = "polybot.dev/rollout-good";
const BAD: &str = "polybot.dev/rollout-bad";
const BEGUN: &str = "polybot.dev/rollout-begun";

/// A group's version.
#[derive(Clone, Debug, PartialEq)]
pub struct Rollout {
    /// The group.
    pub group: Input<String>,
    /// What its instances are to be made from; of a live one, what the group names.
    pub version: Input<Version>,
    /// How another one reaches them. Not a state of the group.
    pub pace: Pace,
    /// Alarms that end a refresh. Not a state of the group.
    pub alarms: Vec<Input<Watch>>,
    /// What is known of a live one.
    pub seen: Seen,
}

/// How a new version reaches the instances.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// Percent of the wanted size that stays healthy.
    pub min_healthy: i32,
    /// Percent of the wanted size at most.
    pub max_healthy: i32,
    /// Seconds that the new version is watched before it counts as good.
    pub bake: i32,
    /// Whether a failed one goes back by itself.
    pub auto_rollback: bool,
}

/// What is known of a live rollout.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Versions of instances in service other than the one that the group names: a refresh that was broken off leaves some.
    pub others: BTreeSet<Version>,
    /// How many instances are in service and healthy, and how many the group has at least.
    pub in_service: (usize, usize),
    /// Whether the version that the group names has served: one of its instances does, or the group need not have any.
    pub served: bool,
    /// The group's refreshes, newest first, as far back as AWS remembers (six weeks).
    pub refreshes: Vec<Refresh>,
    /// What a person asked for.
    pub wish: Wish,
    /// How versions fared.
    pub record: Record,
    /// The version that is held back by [`Wish::undo`], once that applies to what the spec stands for.
    pub undone: Option<Version>,
}

/// One refresh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refresh {
    /// Its id.
    pub id: String,
    /// The version that it brings; one that somebody starts by hand may bring none.
    pub to: Option<Version>,
    /// How far it is.
    pub status: Status,
    /// Percent of the instances that are done.
    pub percent: i32,
    /// What AWS says about how it ended.
    pub why: Option<String>,
    /// When it began and ended.
    pub times: (Option<time::OffsetDateTime>, Option<time::OffsetDateTime>),
}

/// What a person asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Nothing is rolled out until a `resume`.
    pub paused: bool,
    /// As long as the spec stands for the first version, the second one is wanted.
    pub undo: Option<(Version, Version)>,
}

impl Wish {
    /// Reads the tags. What nobody of us wrote means nothing.
    pub fn read(tags: &Tags) -> Self {
        let undo = tags.get(UNDO).and_then(|tag| pair(tag, " to "));
        Self { paused: tags.contains_key(PAUSE), undo }
    }

    /// The tags that say so.
    pub fn tags(&self) -> Tags {
        let undo = self.undo.as_ref().map(|(bad, good)| (UNDO, format!("{bad} to {good}")));
        let paused = self.paused.then(|| (PAUSE, "yes".to_owned()));
        [paused, undo].into_iter().flatten().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}

/// How versions fared. It is written when a refresh begins, so that how one ends needs no call: whichever of its two versions
/// the group names afterwards tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Versions that have served, the last one first: what may be gone back to.
    pub good: Vec<Version>,
    /// Versions that failed, the last one first, and that nobody has asked to be tried again.
    pub bad: Vec<Version>,
    /// The last refresh of ours that was not broken off: to the first version, away from the second one.
    pub begun: Option<(Version, Version)>,
}

impl Record {
    /// So many that failed are remembered: as many as a tag's 256 characters hold.
    const REMEMBERED: usize = 8;

    /// Reads the tags. A group from before there were any is judged by its refreshes, newest first.
    fn read(tags: &Tags, refreshes: &[Refresh]) -> Self {
        if ![GOOD, BAD, BEGUN].iter().any(|key| tags.contains_key(*key)) {
            return Self::of(refreshes);
        }
        let text = |key: &str| tags.get(key).map_or("", String::as_str);
        let versions = |key: &str| text(key).split(' ').filter_map(Version::parse).collect();
        Self { good: versions(GOOD), bad: versions(BAD), begun: pair(text(BEGUN), " after ") }
    }

    fn of(refreshes: &[Refresh]) -> Self {
        let mut record = Self::default();
        let mut judged = BTreeSet::new();
        for refresh in refreshes.iter().filter(|r| r.status != Status::Cancelled) {
            let Some(to) = refresh.to.as_ref().filter(|to| judged.insert(*to)) else { continue };
            if refresh.status == Status::Successful {
                record.good.push(to.clone());
            } else if refresh.failed() || refresh.status == Status::RollbackInProgress {
                record.bad.push(to.clone());
            }
        }
        record.shortened()
    }

    /// No longer than tags may be, and than there are versions to go back to.
    fn shortened(mut self) -> Self {
        self.good.truncate(LaunchTemplateVersion::SPARES);
        self.bad.truncate(Self::REMEMBERED);
        self
    }

    /// The tags that say so; each is written, so that none is left of what was so before.
    pub fn tags(&self) -> Tags {
        let list = |versions: &[Version]| versions.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let begun = self.begun.as_ref().map(|(to, from)| format!("{to} after {from}")).unwrap_or_default();
        let tags = [(GOOD, list(&self.good)), (BAD, list(&self.bad)), (BEGUN, begun)];
        tags.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// The same once a version may be tried again: one that somebody forgives, or whose refresh is broken off and so says nothing.
    #[must_use]
    pub fn without(mut self, version: &Version) -> Self {
        self.bad.retain(|v| v != version);
        self.begun = self.begun.filter(|(to, _)| to != version);
        self
    }
}

/// Two versions with a word between them.
fn pair(tag: &str, word: &str) -> Option<(Version, Version)> {
    let (one, other) = tag.split_once(word)?;
    Some((Version::parse(one)?, Version::parse(other)?))
}

impl Refresh {
    /// Whether it is not over.
    pub fn runs(&self) -> bool {
        self.ends_by_itself() || matches!(self.status, Status::Pending | Status::InProgress | Status::Baking)
    }

    /// Whether it is on its way to an end that nobody changes any more.
    pub fn ends_by_itself(&self) -> bool {
        use Status as S;
        matches!(self.status, S::Cancelling | S::RollbackInProgress)
    }

    /// Whether it did not bring its version. One that was broken off says nothing about the version.
    pub fn failed(&self) -> bool {
        matches!(self.status, Status::Failed | Status::RollbackFailed | Status::RollbackSuccessful)
    }

    fn why(&self) -> &str {
        self.why.as_deref().unwrap_or("AWS gave no reason")
    }
}

/// Why a version failed whose refresh is no longer in AWS's list.
const FORGOTTEN: &str = "AWS no longer tells why";

impl Seen {
    /// The refresh that is not over.
    pub fn running(&self) -> Option<&Refresh> {
        self.refreshes.iter().find(|r| r.runs())
    }

    /// Why fewer instances serve than the group has at least, if so. A first version has no refresh that would tell how it fares.
    fn short(&self, service: &str) -> Option<String> {
        let (serve, least) = self.in_service;
        let model = if service == Service::Yolo5.name() { "; an image without its model never serves" } else { "" };
        (serve < least).then(|| {
            format!(
                "{serve} of {least} instances in service; where that lasts, the log of {service} on one of them says why (Logs in \
                 docs/operations.md){model}"
            )
        })
    }
}

impl Resource for Rollout {
    const KIND: &'static str = "rollout";
    const PART_OF: Option<&'static str> = Some("scaling_group");
    type Output = String;

    fn inputs(&mut self) -> Vec<&mut dyn Slot> {
        let mut slots: Vec<&mut dyn Slot> = vec![&mut self.group, &mut self.version];
        slots.extend(self.alarms.iter_mut().map(|a| a as &mut dyn Slot));
        slots
    }

    fn keep(&mut self, live: &Self) {
        if let (Some((bad, good)), Input::Known(wanted)) = (&live.seen.wish.undo, &self.version)
            && bad == wanted
        {
            self.seen.undone = Some(bad.clone());
            self.version = Input::Known(good.clone());
        }
    }

    fn changes(&self, live: &Self) -> Vec<Change> {
        let Self { group: _, version, pace: _, alarms: _, seen: _ } = self;
        let show = |v: &Input<Version>| v.known().map_or_else(|| format!("{v:?}"), ToString::to_string);
        let mut changes = vec![];
        if version != &live.version {
            changes.push(differs_as("version", show(&live.version), show(version), How::InPlace));
        } else if !live.seen.others.is_empty() {
            let others: Vec<_> = live.seen.others.iter().map(ToString::to_string).collect();
            changes.push(differs_as("instances", others.join(", "), show(version), How::InPlace));
        }
        // A version of ours is another image or setting; one without a number ($Latest) is a hand's work.
        let due = live.version.known().is_none_or(|v| v.number > 0);
        changes.into_iter().map(|c| Change { due, ..c }).collect()
    }

    fn phase(&self, live: &Live<Self>) -> Phase {
        let seen = &live.state.seen;
        if let Some(refresh) = seen.running() {
            let right = refresh.to.is_none() || refresh.to.as_ref() == self.version.known();
            if right || refresh.ends_by_itself() || seen.wish.paused {
                return live.phase.clone();
            }
            return Phase::Ready;
        }
        let differs = !self.changes(&live.state).is_empty();
        if differs && seen.wish.paused {
            return Phase::Failed("rollouts are paused; `controller rollout resume` goes on".to_owned());
        }
        if let Some(why) = self.version.known().filter(|_| differs).and_then(|v| live.state.failure(v)) {
            return Phase::Failed(format!(
                "its last rollout failed ({why}); change the spec (another image or setting), or `controller rollout retry`"
            ));
        }
        match (&self.seen.undone, seen.short(&live.name)) {
            _ if differs => Phase::Ready,
            (Some(bad), _) => Phase::Failed(format!(
                "{bad} was undone and the spec still stands for it; change the spec, or `controller rollout resume`"
            )),
            (None, short) => short.map_or(Phase::Ready, Phase::Pending),
        }
    }

    async fn list(view: &View) -> Result<Vec<Live<Self>>> {
        Ok(rollouts(view).await?.0.clone())
    }

    /// A group is made with the version that it is to have.
    async fn create(&self, _: &Aws, _: &Tags) -> Result<String> {
        self.group.get().cloned()
    }

    async fn update(&self, aws: &Aws, live: &Live<Self>, _: &[Change]) -> Result<String> {
        let (group, version) = (self.group.get()?, self.version.get()?);
        match live.state.seen.running() {
            Some(refresh) if refresh.to.as_ref() == Some(version) => {}
            // What is not wanted any more is broken off; the next pass goes on from what is there by then.
            Some(refresh) => {
                let back = live.state.version.known() == Some(version);
                if let Some(to) = &refresh.to {
                    // It has not failed: it is tried when it is wanted again.
                    let record = live.state.seen.record.clone().without(to);
                    aws.tag(&TagTarget::ScalingGroup(group.clone()), &record.tags()).await?;
                }
                break_off(aws, group, refresh, back).await?;
            }
            None => self.start(aws, group, version, &live.state).await?,
        }
        Ok(group.clone())
    }

    async fn delete(_: &Aws, _: &Live<Self>) -> Result<()> {
        Ok(())
    }
}

impl Rollout {
    async fn start(&self, aws: &Aws, group: &str, version: &Version, live: &Self) -> Result<()> {
        let Pace { min_healthy, max_healthy, bake, auto_rollback } = self.pace;
        let alarms = self.alarms.iter().map(Input::get).collect::<Result<Vec<_>>>()?;
        // One that rings already says nothing about what comes, and would keep a mend from ever being rolled out.
        let alarms: Vec<_> = alarms.into_iter().filter(|a| !a.rings).map(|a| a.name.clone()).collect();
        let alarms = (!alarms.is_empty()).then(|| AlarmSpecification::builder().set_alarms(Some(alarms)).build());
        // AWS cannot go back to a version without a number.
        let back = auto_rollback && live.version.known().is_some_and(|v| v.number > 0);
        let preferences = RefreshPreferences::builder()
            .min_healthy_percentage(min_healthy)
            .max_healthy_percentage(max_healthy)
            .bake_time(bake)
            // Its health says when a new instance serves; without this the group's grace period would be waited for as well.
            .instance_warmup(WARMUP)
            .auto_rollback(back)
            .skip_matching(true)
            // Its hook lets a protected worker finish; AWS would wait for an hour and fail.
            .scale_in_protected_instances(ScaleInProtectedInstances::Refresh)
            .set_alarm_specification(alarms)
            .build();
        let wish = DesiredConfiguration::builder().launch_template(specification(version)).build();
        let call = aws.autoscaling.start_instance_refresh().auto_scaling_group_name(group);
        call.desired_configuration(wish).preferences(preferences).send().await?;
        // After the call: a version that was written down and did not begin would pass for one that failed. One that began and was
        // not written down is tried once more at worst.
        let record = live.with_begun(version, self.seen.undone.as_ref());
        aws.tag(&TagTarget::ScalingGroup(group.to_owned()), &record.tags()).await
    }

    /// Why a version counts as failed, if it does: a refresh to it has begun, is over, and has left the group with what it named.
    pub fn failure(&self, version: &Version) -> Option<String> {
        let Seen { refreshes, record, .. } = &self.seen;
        let last = refreshes.iter().find(|r| r.to.as_ref() == Some(version));
        if last.is_some_and(Refresh::runs) {
            return None;
        }
        let left = |(to, from): &(Version, Version)| {
            to == version
                && self.version.known() == Some(from)
                // One that hands have broken off says nothing about the version, and one to what the group names leaves no trace.
                && last.map_or(to != from, Refresh::failed)
        };
        let failed = record.bad.contains(version) || record.begun.as_ref().is_some_and(left);
        let why = || last.filter(|r| r.failed()).map_or(FORGOTTEN, Refresh::why).to_owned();
        failed.then(why)
    }

    /// The record once a refresh to another version has begun. What the group names until then is good if it has served, unless
    /// this is to get away from it.
    fn with_begun(&self, to: &Version, undone: Option<&Version>) -> Record {
        let mut record = self.seen.record.clone();
        if let Some((before, _)) = record.begun.take()
            && self.failure(&before).is_some()
            && !record.bad.contains(&before)
        {
            record.bad.insert(0, before);
        }
        record.bad.retain(|v| v != to);
        if let Some(from) = self.version.known() {
            record.bad.retain(|v| v != from);
            let undone = undone == Some(from);
            if undone || self.seen.served {
                record.good.retain(|v| v != from);
            }
            if !undone && self.seen.served && from.number > 0 {
                record.good.insert(0, from.clone());
            }
            record.begun = Some((to.clone(), from.clone()));
        }
        record.shortened()
    }

    /// Whether a version has done its work well.
    pub fn proven(&self, version: &Version) -> bool {
        self.version.known() == Some(version) || self.seen.record.good.contains(version)
    }
}

/// Seconds from an instance's health to the next replacement.
const WARMUP: i32 = 60;

/// Ends a refresh: by going back to what the group names, or where it stands. One that has ended meanwhile is a success.
pub async fn break_off(aws: &Aws, group: &str, refresh: &Refresh, back: bool) -> Result<()> {
    let ended = |e: &Error| e.code.starts_with("ActiveInstanceRefreshNotFound");
    // Without a desired configuration there is nothing to go back from.
    if back && refresh.to.is_some() {
        return match aws.autoscaling.rollback_instance_refresh().auto_scaling_group_name(group).send().await {
            Ok(_) => Ok(()),
            Err(e) => Some(Error::from(e)).filter(|e| !ended(e)).map_or(Ok(()), Err),
        };
    }
    match aws.autoscaling.cancel_instance_refresh().auto_scaling_group_name(group).send().await {
        Ok(_) => Ok(()),
        Err(e) => Some(Error::from(e)).filter(|e| !ended(e)).map_or(Ok(()), Err),
    }
}

/// A version as calls name it.
pub(super) fn specification(version: &Version) -> LaunchTemplateSpecification {
    let builder = LaunchTemplateSpecification::builder().launch_template_id(&version.template);
    builder.version(version.number.to_string()).build()
}

/// The version that a specification names; `$Latest` and `$Default` are none of ours, and never equal one.
fn version_of(specification: Option<&LaunchTemplateSpecification>) -> Option<Version> {
    let s = specification?;
    Some(Version { template: s.launch_template_id()?.to_owned(), number: s.version()?.parse().unwrap_or(-1) })
}

/// The rollouts of the stack's groups; read once a pass.
pub(super) struct Rollouts(Vec<Live<Rollout>>);

impl Rollouts {
    /// Why a version failed, if it did.
    pub(super) fn failure(&self, version: &Version) -> Option<String> {
        self.0.iter().find_map(|live| live.state.failure(version))
    }

    /// Whether a version has done its work well.
    pub(super) fn proven(&self, version: &Version) -> bool {
        self.0.iter().any(|live| live.state.proven(version))
    }
}

pub(super) async fn rollouts(view: &View) -> Result<Arc<Rollouts>> {
    let all = || async {
        let groups = groups(view).await?;
        let standing = groups.0.iter().filter(|g| g.status().is_none());
        Ok(Rollouts(try_join_all(standing.map(|group| read(view, group))).await?))
    };
    view.once(all).await
}

/// The refreshes of one group, the latest first.
struct Refreshes(Vec<Refresh>);

async fn read(view: &View, group: &AutoScalingGroup) -> Result<Live<Rollout>> {
    let name = group.auto_scaling_group_name().unwrap_or_default();
    let tags_of = |group: &AutoScalingGroup| -> Tags { tags::read(group.tags().iter().map(|t| (t.key(), t.value()))) };
    // What was told of refreshes before somebody began another one, or before one ended, explains nothing of this group.
    let begun = tags_of(group).remove(BEGUN);
    let as_it_is = format!("{name} {:?} {begun:?}", version_of(group.launch_template()));
    let read = || async {
        let call = view.autoscaling.describe_instance_refreshes().auto_scaling_group_name(name).max_records(50);
        match call.send().await.map_err(Error::from) {
            Ok(answer) => Ok(Refreshes(answer.instance_refreshes().iter().map(refresh_of).collect())),
            // The group went meanwhile.
            Err(e) if e.is_not_found() || e.message.contains("not found") => Ok(Refreshes(vec![])),
            Err(e) => Err(e),
        }
    };
    let refreshes = view.detail(&as_it_is, read).await?.0.clone();
    // A refresh that ended between the two calls has changed the group since it was read.
    let newer = match refreshes.first() {
        Some(r) if r.status == Status::Successful && r.to.is_some() && r.to != version_of(group.launch_template()) => {
            let call = view.autoscaling.describe_auto_scaling_groups().auto_scaling_group_names(name);
            call.send().await?.auto_scaling_groups.unwrap_or_default().into_iter().next()
        }
        _ => None,
    };
    let group = newer.as_ref().unwrap_or(group);
    let version = version_of(group.launch_template());
    let serves = |s: Option<&LifecycleState>| {
        s.is_none_or(|s| !s.as_str().starts_with("Terminat") && !s.as_str().starts_with("Detach"))
    };
    let others = group.instances().iter().filter(|i| serves(i.lifecycle_state()));
    let others = others.filter_map(|i| version_of(i.launch_template())).filter(|v| Some(v) != version.as_ref());
    let well = |i: &&Instance| {
        i.lifecycle_state() == Some(&LifecycleState::InService) && i.health_status() != Some("Unhealthy")
    };
    let in_service: Vec<_> = group.instances().iter().filter(well).map(|i| version_of(i.launch_template())).collect();
    let least = usize::try_from(group.min_size().unwrap_or_default()).unwrap_or_default();
    let tags = tags_of(group);
    let seen = Seen {
        others: others.collect(),
        in_service: (in_service.len(), least),
        served: least == 0 || in_service.contains(&version),
        wish: Wish::read(&tags),
        record: Record::read(&tags, &refreshes),
        refreshes,
        undone: None,
    };
    let (owner, logical) = view.ownership.of("scaling_group", &tags, name);
    let pending = seen.running().map(ToString::to_string).or_else(|| seen.short(&logical));
    let phase = pending.map_or(Phase::Ready, Phase::Pending);
    let since = seen.refreshes.first().and_then(|r| r.times.1.or(r.times.0));
    // What runs, comes or may be gone back to must not be cleared away.
    let mut used: BTreeSet<&Version> = seen.others.iter().collect();
    used.extend(seen.running().and_then(|r| r.to.as_ref()));
    used.extend(seen.wish.undo.as_ref().map(|(_, good)| good));
    let refs = used.into_iter().map(ToString::to_string).collect();
    let state = Rollout {
        group: Input::Known(name.to_owned()),
        version: version.map_or_else(|| Input::Absent("none".to_owned()), Input::Known),
        pace: Pace::default(),
        alarms: vec![],
        seen,
    };
    Ok(Live { phase, owner, since, refs, ..Live::ready(logical, name, state, name.to_owned()) })
}

fn at(time: Option<&aws_sdk_autoscaling::primitives::DateTime>) -> Option<time::OffsetDateTime> {
    time.and_then(|t| time::OffsetDateTime::from_unix_timestamp(t.secs()).ok())
}

fn refresh_of(refresh: &InstanceRefresh) -> Refresh {
    Refresh {
        id: refresh.instance_refresh_id().unwrap_or_default().to_owned(),
        to: refresh.desired_configuration().and_then(|d| version_of(d.launch_template())),
        status: refresh.status().cloned().unwrap_or(Status::Pending),
        percent: refresh.percentage_complete().unwrap_or_default(),
        why: refresh.status_reason().map(ToOwned::to_owned),
        times: (at(refresh.start_time()), at(refresh.end_time())),
    }
}

impl fmt::Display for Refresh {
    /// `instance refresh to lt-1/3: Baking, 100 %`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "instance refresh")?;
        if let Some(to) = &self.to {
            write!(f, " to {to}")?;
        }
        write!(f, ": {}", self.status.as_str())?;
        if self.runs() {
            write!(f, ", {} %", self.percent)?;
        }
        self.why.as_ref().filter(|_| self.status != Status::Successful).map_or(Ok(()), |why| write!(f, " ({why})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(number: i64) -> Version {
        Version { template: "lt-1".to_owned(), number }
    }

    fn refresh(to: i64, status: Status) -> Refresh {
        let id = format!("{to}-{}", status.as_str());
        Refresh { id, to: Some(version(to)), status, percent: 0, why: None, times: (None, None) }
    }

    fn rollout(of: i64, seen: Seen) -> Rollout {
        let (group, version) = (Input::Known("g".to_owned()), Input::Known(version(of)));
        Rollout { group, version, pace: Pace::default(), alarms: vec![], seen }
    }

    /// How a wish for one version fares at a group that names another.
    fn phase(wanted: i64, stored: i64, seen: Seen) -> String {
        let mut wish = rollout(wanted, Seen::default());
        let phase = seen.running().map_or(Phase::Ready, |r| Phase::Pending(r.to_string()));
        let live = Live { phase, ..Live::ready("g", "g", rollout(stored, seen), "g".to_owned()) };
        wish.keep(&live.state);
        wish.phase(&live).to_string()
    }

    fn undo() -> Wish {
        Wish { undo: Some((version(3), version(2))), ..Wish::default() }
    }

    fn pause() -> Wish {
        Wish { paused: true, ..Wish::default() }
    }

    fn record(good: &[i64], bad: &[i64], begun: Option<(i64, i64)>) -> Record {
        let all = |numbers: &[i64]| numbers.iter().copied().map(version).collect();
        Record { good: all(good), bad: all(bad), begun: begun.map(|(to, from)| (version(to), version(from))) }
    }

    #[test]
    fn a_wish_survives_its_tags_and_other_tags_mean_nothing() {
        for wish in [Wish::default(), pause(), undo(), Wish { paused: true, ..undo() }] {
            assert_eq!(Wish::read(&wish.tags()), wish);
        }
        for text in ["", "lt-1/3", "x to y", "lt-1/3 to lt-1"] {
            let tags =
                Tags::from([(UNDO.to_owned(), text.to_owned()), ("polybot.dev/other".to_owned(), "1".to_owned())]);
            assert_eq!(Wish::read(&tags), Wish::default(), "{text}");
        }
    }

    #[test]
    fn a_record_survives_its_tags_and_before_there_are_any_the_refreshes_tell() {
        let seen = [
            refresh(5, Status::InProgress),
            refresh(4, Status::Cancelled),
            refresh(4, Status::RollbackSuccessful),
            refresh(3, Status::Successful),
            refresh(3, Status::Failed),
            refresh(2, Status::Successful),
        ];
        assert_eq!(Record::read(&Tags::new(), &seen), record(&[3, 2], &[4], None));
        for record in [record(&[], &[], None), record(&[7, 2], &[5, 3], Some((8, 7)))] {
            assert_eq!(Record::read(&record.tags(), &seen), record);
        }
        // However long the numbers are, and AWS's ids.
        let many: Vec<i64> = (10_000..10_020).collect();
        let mut long = record(&many, &many, None).shortened();
        long.bad.iter_mut().for_each(|v| v.template = "lt-0123456789abcdef0".to_owned());
        assert!(long.tags().values().all(|value| value.len() <= 256), "{:?}", long.tags());
    }

    #[test]
    fn how_a_refresh_ended_is_known_from_what_the_group_names_when_aws_has_forgotten() {
        let group = |names: i64, record: Record| rollout(names, Seen { record, served: true, ..Seen::default() });
        let begun = || record(&[2], &[], Some((3, 2)));
        assert_eq!(group(2, begun()).failure(&version(3)).as_deref(), Some(FORGOTTEN));
        assert_eq!(group(3, begun()).failure(&version(3)), None, "it has come");
        assert_eq!(
            group(-1, begun()).failure(&version(3)),
            None,
            "it had come, and hands have led the group elsewhere"
        );

        // To what it names a group goes back, too, when strange instances are to go.
        let same = Seen { record: record(&[], &[], Some((3, 3))), ..Seen::default() };
        assert_eq!(rollout(3, same.clone()).failure(&version(3)), None);
        let failed = Seen { refreshes: vec![refresh(3, Status::Failed)], ..same };
        assert!(rollout(3, failed).failure(&version(3)).is_some());

        // The next one writes down how that one ended.
        assert_eq!(group(2, begun()).with_begun(&version(4), None), record(&[2], &[3], Some((4, 2))));
        assert_eq!(group(3, begun()).with_begun(&version(4), None), record(&[3, 2], &[], Some((4, 3))));
        assert_eq!(group(3, begun()).with_begun(&version(2), Some(&version(3))), record(&[2], &[], Some((2, 3))));
        let two = record(&[2], &[4, 3], Some((5, 2)));
        assert_eq!(group(2, two.clone()).with_begun(&version(6), None), record(&[2], &[5, 4, 3], Some((6, 2))));
        // Each that is forgiven is so by itself.
        let forgiven = two.without(&version(4)).without(&version(5));
        let judged = [3, 4, 5].map(|v| group(2, forgiven.clone()).failure(&version(v)).is_some());
        assert_eq!(judged, [true, false, false]);
        // What never served is nothing to go back to.
        let first = rollout(1, Seen::default());
        assert_eq!(first.with_begun(&version(2), None), record(&[], &[], Some((2, 1))));
    }

    #[test]
    fn a_version_that_failed_is_blocked_until_it_is_forgiven_or_another_is_wanted() {
        let seen = |record| Seen {
            refreshes: vec![refresh(3, Status::RollbackSuccessful), refresh(2, Status::Successful)],
            record,
            ..Seen::default()
        };
        let failed = || record(&[], &[], Some((3, 2)));
        assert!(phase(3, 2, seen(failed())).contains("its last rollout failed (AWS gave no reason)"));
        assert_eq!(phase(4, 2, seen(failed())), "ready");
        assert_eq!(phase(2, 2, seen(failed())), "ready", "nothing differs");
        assert_eq!(phase(3, 2, seen(failed().without(&version(3)))), "ready");
        assert!(phase(3, 2, seen(failed().without(&version(2)))).contains("its last rollout failed"));
        let cancelled = Seen { refreshes: vec![refresh(3, Status::Cancelled)], record: failed(), ..Seen::default() };
        assert_eq!(phase(3, 2, cancelled), "ready", "hands have broken it off");
    }

    #[test]
    fn a_group_with_too_few_instances_in_service_is_waited_for_unless_something_better_is_known() {
        let seen = |wish| Seen { in_service: (0, 1), wish, ..Seen::default() };
        assert!(phase(2, 2, seen(Wish::default())).starts_with("pending: 0 of 1 instances in service"));
        assert_eq!(phase(3, 2, seen(Wish::default())), "ready", "a mended image need not wait");
        assert!(phase(3, 2, seen(undo())).contains("was undone"));
        assert_eq!(phase(2, 2, Seen { in_service: (2, 1), ..Seen::default() }), "ready");
    }

    #[test]
    fn a_refresh_is_waited_for_where_it_brings_what_is_wanted_and_broken_off_where_not() {
        let seen = |status, wish| Seen { refreshes: vec![refresh(3, status)], wish, ..Seen::default() };
        assert!(phase(3, 2, seen(Status::Baking, Wish::default())).starts_with("pending"));
        assert_eq!(phase(4, 2, seen(Status::InProgress, Wish::default())), "ready");
        assert_eq!(
            phase(2, 2, seen(Status::InProgress, Wish::default())),
            "ready",
            "the spec went back: so does the rollout"
        );
        assert!(
            phase(4, 2, seen(Status::RollbackInProgress, Wish::default())).starts_with("pending"),
            "it ends by itself"
        );
        assert!(phase(4, 2, seen(Status::InProgress, pause())).starts_with("pending"));
        let by_hand = Refresh { to: None, ..refresh(0, Status::InProgress) };
        assert!(phase(4, 2, Seen { refreshes: vec![by_hand], ..Seen::default() }).starts_with("pending"));
    }

    #[test]
    fn undo_holds_as_long_as_the_spec_stands_for_what_was_undone() {
        let seen = || Seen { wish: undo(), ..Seen::default() };
        assert_eq!(phase(3, 3, seen()), "ready", "on its way back");
        assert!(phase(3, 2, seen()).contains("was undone"));
        assert_eq!(phase(4, 2, seen()), "ready", "another wish");
        let paused = Seen { wish: pause(), ..Seen::default() };
        assert!(phase(3, 2, paused.clone()).contains("paused"));
        assert_eq!(phase(2, 2, paused), "ready");
    }

    #[test]
    fn instances_of_another_version_are_a_difference() {
        let others = BTreeSet::from([version(3)]);
        let live = rollout(2, Seen { others, ..Seen::default() });
        assert_eq!(rollout(2, Seen::default()).changes(&live)[0].field, "instances");
        assert!(rollout(2, Seen::default()).changes(&rollout(2, Seen::default())).is_empty());
    }
}
