//! Which version a group's instances run. Another one reaches them by an instance refresh, never by touching the group: AWS
//! changes the version that the group names only when the refresh has succeeded, so one that fails leaves the good version in
//! place, and going back means going back to that.
//!
//! Nothing is remembered here. How each version fared is in the group's own list of refreshes, and what a person asked for
//! (`controller rollout pause`, `undo`, `retry`) is in tags of the group, so that every controller sees the same.

use super::{alarm::Watch, launch_template_version::Version, scaling_group::groups};
use crate::{
    aws::{Aws, Error, Result, TagTarget, View, tags},
    engine::{Change, How, Input, Live, Phase, Resource, Slot, Tags, differs_as},
};
use aws_sdk_autoscaling::types::{
    AlarmSpecification, AutoScalingGroup, DesiredConfiguration, InstanceRefresh, InstanceRefreshStatus as Status,
    LaunchTemplateSpecification, LifecycleState, RefreshPreferences, ScaleInProtectedInstances,
};
use futures::future::try_join_all;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

/// The tags of a scaling group that hold a person's [`Wish`]: one for each word, so that none takes another's place.
pub const PAUSE: &str = "polybot.dev/rollout-pause";
/// The same for `undo`.
pub const UNDO: &str = "polybot.dev/rollout-undo";
/// The same for `retry`.
pub const RETRY: &str = "polybot.dev/rollout-retry";

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
    /// The group's refreshes, newest first, as far back as AWS remembers (six weeks).
    pub refreshes: Vec<Refresh>,
    /// What a person asked for.
    pub wish: Wish,
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
    /// The refresh of this id may have failed: its version is tried once more.
    pub retry: Option<String>,
}

impl Wish {
    /// Reads the tags. What nobody of us wrote means nothing.
    pub fn read(tags: &Tags) -> Self {
        let undo = |tag: &String| {
            let (bad, good) = tag.split_once(" to ")?;
            Some((Version::parse(bad)?, Version::parse(good)?))
        };
        Self { paused: tags.contains_key(PAUSE), undo: tags.get(UNDO).and_then(undo), retry: tags.get(RETRY).cloned() }
    }

    /// The tags that say so.
    pub fn tags(&self) -> Tags {
        let undo = self.undo.as_ref().map(|(bad, good)| (UNDO, format!("{bad} to {good}")));
        let paused = self.paused.then(|| (PAUSE, "yes".to_owned()));
        let words = [paused, undo, self.retry.clone().map(|id| (RETRY, id))];
        words.into_iter().flatten().map(|(key, value)| (key.to_owned(), value)).collect()
    }
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

impl Seen {
    /// The refresh that is not over.
    pub fn running(&self) -> Option<&Refresh> {
        self.refreshes.iter().find(|r| r.runs())
    }

    /// The refresh by which a version has failed, where the last one that brought it did, and nobody asked for another try.
    pub fn failure(&self, version: &Version) -> Option<&Refresh> {
        let last = self.refreshes.iter().find(|r| r.to.as_ref() == Some(version) && r.status != Status::Cancelled)?;
        Some(last).filter(|r| r.failed() && self.wish.retry.as_ref() != Some(&r.id))
    }

    /// Whether a refresh has brought a version to its end. Whatever came later, it was good then.
    pub fn brought(&self, version: &Version) -> bool {
        self.refreshes.iter().any(|r| r.to.as_ref() == Some(version) && r.status == Status::Successful)
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
        if let Some(failure) = self.version.known().filter(|_| differs).and_then(|v| seen.failure(v)) {
            return Phase::Failed(format!(
                "its last rollout failed ({}); change the spec (another image or setting), or `controller rollout retry`",
                failure.why()
            ));
        }
        match &self.seen.undone {
            Some(bad) if !differs => Phase::Failed(format!(
                "{bad} was undone and the spec still stands for it; change the spec, or `controller rollout resume`"
            )),
            _ => Phase::Ready,
        }
    }

    async fn list(view: &View) -> Result<Vec<Live<Self>>> {
        let groups = groups(view).await?;
        let histories = &histories(view).await?;
        try_join_all(groups.0.iter().filter(|g| g.status().is_none()).map(|g| read(view, g, histories))).await
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
                if back && refresh.to.is_some() {
                    // It will look like one that has failed, which it has not: its version is tried when it is wanted again.
                    let retry = Wish { retry: Some(refresh.id.clone()), ..Wish::default() };
                    aws.tag(&TagTarget::ScalingGroup(group.clone()), &retry.tags()).await?;
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
        Ok(())
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

/// The histories of the stack's groups by their names; read once a pass.
pub(super) struct Histories(BTreeMap<String, History>);

/// How a group came to what it runs.
struct History {
    /// Template of its instances.
    template: Option<String>,
    /// When the group was made.
    made: Option<time::OffsetDateTime>,
    /// Its refreshes, newest first, and nothing else.
    seen: Seen,
}

impl Histories {
    /// How a version failed, if it did.
    pub(super) fn failure(&self, version: &Version) -> Option<String> {
        self.0.values().find_map(|h| h.seen.failure(version)).map(|r| r.why().to_owned())
    }

    /// Whether a refresh has brought a version to its end.
    pub(super) fn brought(&self, version: &Version) -> bool {
        self.0.values().any(|h| h.seen.brought(version))
    }

    /// When the group of a template was made: with the newest version of that time.
    pub(super) fn group_made(&self, template: &str) -> Option<time::OffsetDateTime> {
        self.0.values().find(|h| h.template.as_deref() == Some(template))?.made
    }
}

pub(super) async fn histories(view: &View) -> Result<Arc<Histories>> {
    let read = || async {
        let groups = groups(view).await?;
        let of_each = groups.0.iter().map(|group| async move {
            let name = group.auto_scaling_group_name().unwrap_or_default();
            let call = view.autoscaling.describe_instance_refreshes().auto_scaling_group_name(name).max_records(50);
            let refreshes = match call.send().await.map_err(Error::from) {
                Ok(answer) => answer.instance_refreshes().iter().map(refresh_of).collect(),
                // The group went meanwhile.
                Err(e) if e.is_not_found() || e.message.contains("not found") => vec![],
                Err(e) => return Err(e),
            };
            let template = group.launch_template().and_then(|t| t.launch_template_id()).map(ToOwned::to_owned);
            let history =
                History { template, made: at(group.created_time()), seen: Seen { refreshes, ..Seen::default() } };
            Ok((name.to_owned(), history))
        });
        Ok(Histories(try_join_all(of_each).await?.into_iter().collect()))
    };
    view.once(read).await
}

async fn read(view: &View, group: &AutoScalingGroup, histories: &Histories) -> Result<Live<Rollout>> {
    let name = group.auto_scaling_group_name().unwrap_or_default();
    let refreshes = histories.0.get(name).map(|h| h.seen.refreshes.clone()).unwrap_or_default();
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
    let tags: Tags = tags::read(group.tags().iter().map(|t| (t.key(), t.value())));
    let seen = Seen { others: others.collect(), refreshes, wish: Wish::read(&tags), undone: None };
    let phase = seen.running().map_or(Phase::Ready, |r| Phase::Pending(r.to_string()));
    let since = seen.refreshes.first().and_then(|r| r.times.1.or(r.times.0));
    let (owner, logical) = view.ownership.of("scaling_group", &tags, name);
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

    fn retry(id: &str) -> Wish {
        Wish { retry: Some(id.to_owned()), ..Wish::default() }
    }

    #[test]
    fn a_wish_survives_its_tags_and_other_tags_mean_nothing() {
        let all = Wish { paused: true, retry: Some("08b9-1".to_owned()), ..undo() };
        for wish in [Wish::default(), pause(), undo(), retry("08b9-1"), all] {
            assert_eq!(Wish::read(&wish.tags()), wish);
        }
        for text in ["", "lt-1/3", "x to y", "lt-1/3 to lt-1"] {
            let tags =
                Tags::from([(UNDO.to_owned(), text.to_owned()), ("polybot.dev/other".to_owned(), "1".to_owned())]);
            assert_eq!(Wish::read(&tags), Wish::default(), "{text}");
        }
    }

    #[test]
    fn a_version_that_failed_is_blocked_until_it_is_forgiven_or_another_is_wanted() {
        let seen = |wish| Seen {
            refreshes: vec![
                refresh(3, Status::Cancelled),
                refresh(3, Status::RollbackSuccessful),
                refresh(2, Status::Successful),
            ],
            wish,
            ..Seen::default()
        };
        assert!(phase(3, 2, seen(Wish::default())).contains("its last rollout failed"));
        assert_eq!(phase(4, 2, seen(Wish::default())), "ready");
        assert_eq!(phase(2, 2, seen(Wish::default())), "ready", "nothing differs");
        assert_eq!(phase(3, 2, seen(retry("3-RollbackSuccessful"))), "ready");
        assert!(phase(3, 2, seen(retry("another"))).contains("its last rollout failed"));
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
