//! The planner: compares what is wanted with what was found. Pure.

use super::{
    Address, Change, Found, How, Observed, Outputs, Owner, Phase, Resource, Tags, Wanted, differs_as,
    erased::{Node, fill},
    memory::{Memory, Remembered},
};
use crate::ownership::{INTENT, Ownership, RESOURCE};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

/// What to do about one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make it.
    Create,
    /// Change it in place.
    Update(Vec<Change>),
    /// Make a new one; the old one goes in a `Delete` step of its own.
    Replace(Vec<Change>),
    /// Remove it; the text says why.
    Delete(String),
    /// Leave it: it holds data, and nobody said that it may go.
    Retain,
    /// Not without a person; the text says why and what to do.
    Blocked(String, Vec<Change>),
    /// Later; the text says what for.
    Wait(String, Vec<Change>),
    /// Its kind could not be read; the text says why.
    Unknown(String),
}

impl Action {
    /// Whether carrying it out writes to AWS.
    pub fn writes(&self) -> bool {
        matches!(self, Self::Create | Self::Update(_) | Self::Replace(_) | Self::Delete(_))
    }

    /// The fields that differ.
    pub fn changes(&self) -> &[Change] {
        match self {
            Self::Update(c) | Self::Replace(c) | Self::Blocked(_, c) | Self::Wait(_, c) => c,
            Self::Create | Self::Delete(_) | Self::Retain | Self::Unknown(_) => &[],
        }
    }
}

/// Who made wanted and found differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The spec says something else than when this was last applied.
    Pending,
    /// AWS was changed by someone else.
    Drift,
    /// Another change of the same plan brings it about: a secret that holds what a new certificate says.
    Follows,
    /// Nothing tells what was last applied.
    Unclear,
}

impl Cause {
    /// As a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Drift => "drift",
            Self::Follows => "follows",
            Self::Unclear => "unclear",
        }
    }
}

/// A difference that the spec says to leave alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// Of which resource.
    pub address: Address,
    /// The difference; of a whole resource where the field is `*`.
    pub change: Change,
}

/// One resource and what to do about it.
pub struct Step {
    /// Which resource.
    pub address: Address,
    /// The id of the live one, where there is one.
    pub id: Option<String>,
    /// What to do.
    pub action: Action,
    /// Who made the difference.
    pub cause: Cause,
    /// Indices of the steps that must be done before.
    pub needs: BTreeSet<usize>,
    /// Whether this one counts for the cap on deletions: it bears our address, or its kind bears no tags at all.
    pub counted: bool,
    /// Whether it only writes down what was applied, once there is nothing else to write.
    pub remembers: bool,
    pub(super) node: Option<Box<dyn Node>>,
    pub(super) found: Option<Found>,
    pub(super) tags: Tags,
}

impl Step {
    /// The live one, where there is one.
    pub fn found(&self) -> Option<&Found> {
        self.found.as_ref()
    }

    /// What AWS's own records call it: the id, of a rule the id of its group, or the name that it will have.
    pub fn recorded_as(&self) -> Option<String> {
        let rule = self.address.kind == "security_group_rule";
        let parent = self.found.as_ref().filter(|_| rule).and_then(|f| f.refs.first().cloned());
        parent.or_else(|| self.id.clone()).or_else(|| self.node.as_ref()?.name())
    }

    /// Whether it waits for an input that is not to be had: no pass brings that about by itself.
    pub fn lacks_input(&self) -> bool {
        self.node.as_ref().is_some_and(|n| n.clone_box().inputs().iter().any(|s| s.absent().is_some()))
    }
}

/// What is to be done, in an order in which it can be.
#[derive(Default)]
pub struct Plan {
    /// The steps; builders first, in order of creation, then removals.
    pub steps: Vec<Step>,
    /// Everything found, for status.
    pub found: Vec<Found>,
    /// What the spec says to leave alone.
    pub ignored: Vec<Ignored>,
    pub(super) known: Outputs,
}

impl Plan {
    /// What the wanted resource of this name offers to others, where it exists and is not about to be replaced.
    pub fn output<R: Resource>(&self, name: &str) -> Option<&R::Output> {
        self.known.stable(&Address::new(R::KIND, name))
    }
}

/// What the planner may do with data.
pub struct Policy<'a> {
    /// Whether data at this address may be deleted.
    pub purge: &'a (dyn Fn(&Address) -> bool + Sync),
    /// Whether this address may be replaced though its kind blocks that.
    pub replace: &'a (dyn Fn(&Address) -> bool + Sync),
    /// Whether a difference in this field is left alone; `*` asks for the whole resource.
    pub ignore: &'a (dyn Fn(&Address, &str) -> bool + Sync),
}

impl Policy<'_> {
    /// Nothing that holds data goes, nothing blocked is replaced, nothing is ignored.
    pub const CAREFUL: Policy<'static> = Policy { purge: &|_| false, replace: &|_| false, ignore: &|_, _| false };
}

/// What is known of the last apply.
enum History {
    /// Nothing of the stack stands.
    Fresh,
    /// This was applied.
    Known(Memory),
    /// Something stands, and nothing tells what was applied.
    Lost,
}

impl History {
    fn read(wanted: &Wanted, observed: &Observed) -> Self {
        let mut ours = observed.found.iter().filter(|f| f.owner == Owner::Ours).peekable();
        if ours.peek().is_none() {
            return Self::Fresh;
        }
        let holder = wanted.addresses().next();
        let tags = ours.filter(|f| Some(&f.address) == holder).find_map(|f| Memory::read(f.tags.as_ref()?));
        tags.map_or(Self::Lost, Self::Known)
    }

    /// Why something is missing.
    fn of_missing(&self, address: &Address, intent: &str) -> Cause {
        match self {
            Self::Fresh => Cause::Pending,
            Self::Lost => Cause::Unclear,
            Self::Known(memory) => match memory.of(address, intent) {
                Remembered::Same | Remembered::Changed => Cause::Drift,
                Remembered::Not => Cause::Pending,
            },
        }
    }

    /// Why something without tags differs.
    fn of_untagged(&self, address: &Address, intent: &str) -> Cause {
        let Self::Known(memory) = self else { return Cause::Unclear };
        match memory.of(address, intent) {
            Remembered::Same => Cause::Drift,
            Remembered::Changed => Cause::Pending,
            Remembered::Not => Cause::Unclear,
        }
    }

    /// Why something is there that is not wanted.
    fn of_surplus(&self, found: &Found) -> Cause {
        match (&found.tags, self) {
            (Some(tags), _) if tags.contains_key(RESOURCE) => Cause::Pending,
            (Some(_), _) => Cause::Drift,
            (None, Self::Known(memory)) if memory.of(&found.address, "") == Remembered::Not => Cause::Drift,
            (None, Self::Known(_)) => Cause::Pending,
            (None, _) => Cause::Unclear,
        }
    }
}

/// Compares what is wanted with what was found.
pub fn plan(wanted: &Wanted, observed: &Observed, ownership: &Ownership, policy: &Policy) -> Plan {
    let history = History::read(wanted, observed);
    let mut up = Builder {
        observed,
        ownership,
        policy,
        history: &history,
        steps: vec![],
        ignored: vec![],
        known: Outputs::default(),
        unread: BTreeSet::new(),
        undecided: BTreeSet::new(),
        blocked: BTreeSet::new(),
        fates: BTreeMap::new(),
    };
    let mut sources = vec![];
    for (address, node) in &wanted.0 {
        let before = up.steps.len();
        let needed = up.consider(address, node.as_ref());
        if up.steps.len() > before {
            sources.push(needed);
        }
    }
    let mut plan = Plan { found: observed.found.clone(), ignored: up.ignored, known: up.known, steps: up.steps };
    let mut fates = up.fates;
    link_builders(&mut plan.steps, sources);
    add_removals(&mut plan, &mut fates, wanted, observed, policy, &history);
    link_removals(&mut plan.steps, &fates, observed);
    remember(&mut plan, wanted, ownership, &history);
    plan
}

/// What becomes of a found thing: its index in `Observed::found` to this.
enum Fate {
    Kept,
    /// A new one takes its place, first or after.
    Replaced(How),
    /// Removed by a step of its own.
    Removed,
}

struct Builder<'a> {
    observed: &'a Observed,
    ownership: &'a Ownership,
    policy: &'a Policy<'a>,
    history: &'a History,
    steps: Vec<Step>,
    ignored: Vec<Ignored>,
    known: Outputs,
    /// What has no values to give because its kind, or that of something it takes values from, could not be read.
    unread: BTreeSet<Address>,
    /// Of what several are live, and which of them is wanted cannot be told while a value is not to be had.
    undecided: BTreeSet<Address>,
    /// What a person has to decide about.
    blocked: BTreeSet<Address>,
    fates: BTreeMap<usize, Fate>,
}

impl Builder<'_> {
    /// Adds the step for one wanted resource, if it needs one. Returns where its values come from, and which of these it
    /// cannot do without.
    fn consider(&mut self, address: &Address, wanted: &dyn Node) -> Sources {
        let mut node = wanted.clone_box();
        let all: BTreeSet<Address> = node.inputs().iter().filter_map(|s| s.source().cloned()).collect();
        let intent = node.intent();
        fill(node.as_mut(), &self.known);
        let open: BTreeSet<Address> = node.inputs().iter().filter_map(|s| s.source().cloned()).collect();
        let sources = Sources { all, open, after: node.kind().after() };
        if let Some(why) = self.observed.unknown.get(address.kind) {
            self.unread.insert(address.clone());
            self.push(address, Action::Unknown(why.clone()), None, node, Tags::new(), Cause::Unclear);
            return sources;
        }
        // A value that could not be read is no other value: whatever hangs on it stays as it is.
        if let Some(source) = sources.open.iter().find(|s| self.unread.contains(s)).cloned() {
            let why = format!("it takes values from {source}, which could not be read");
            if let Some((index, ..)) = self.nearest(address, node.as_ref()) {
                let found = self.observed.found[index].clone();
                self.keep(index, node.as_ref(), false, true);
                self.push(address, Action::Unknown(why), Some(found), node, Tags::new(), Cause::Unclear);
            } else {
                self.unread.insert(address.clone());
                self.push(address, Action::Wait(why, vec![]), None, node, Tags::new(), Cause::Unclear);
            }
            return sources;
        }
        // Nor is one of several live ones wanted before it is known which: nothing begins with it, or ends for it.
        let undecided = |sources: &BTreeSet<Address>| {
            let source = sources.iter().find(|s| self.undecided.contains(s));
            source.map(|s| format!("it is not known which {s} is wanted"))
        };
        let (open, any) = (undecided(&sources.open), undecided(&sources.all));
        let absent = |node: &mut dyn Node| node.inputs().iter().find_map(|s| s.absent().map(ToOwned::to_owned));
        let tags = self.ownership.tags(address, node.name().as_deref(), &intent);
        let Some((index, mut node, mut changes)) = self.nearest(address, node.as_ref()) else {
            let action = match (self.in_the_way(address, node.as_ref()), absent(node.as_mut()).or(any)) {
                (Some(action), _) => action,
                (None, Some(why)) => Action::Wait(why, vec![]),
                (None, None) => Action::Create,
            };
            if (self.policy.ignore)(address, "*") {
                self.ignored.push(Ignored::whole(address, "missing", "there"));
            } else {
                self.push(address, action, None, node, tags, self.history.of_missing(address, &intent));
            }
            return sources;
        };
        let absent = absent(node.as_mut());
        let lacks = absent.is_some();
        if let Some(why) = open {
            let found = self.observed.found[index].clone();
            let why = if let Phase::Pending(goes_on) = &found.phase { goes_on.clone() } else { why };
            self.keep(index, node.as_ref(), false, true);
            self.push(address, Action::Wait(why, vec![]), Some(found), node, tags, Cause::Unclear);
            return sources;
        }
        let live = &self.observed.found[index];
        self.leave_alone(address, &mut changes);
        let how = changes.iter().map(|c| c.how).max().unwrap_or(How::InPlace);
        let live_tags = live.tags.as_ref().filter(|_| live.tag_target.is_some());
        let mut tag_changes: Vec<Change> = match live_tags {
            Some(have) => differing_tags(&tags, have),
            None => vec![],
        };
        self.leave_alone(address, &mut tag_changes);
        let cause = match live_tags.and_then(|t| t.get(INTENT)) {
            Some(applied) if tags.get(INTENT) == Some(applied) => Cause::Drift,
            Some(_) => Cause::Pending,
            None => self.history.of_untagged(address, &intent),
        };
        // What follows from another change of this plan is nobody's drift, and what time brings is none either.
        let cause = match cause {
            Cause::Drift if changes.iter().any(|c| c.to.contains("(known after")) => Cause::Follows,
            Cause::Drift | Cause::Unclear if tag_changes.is_empty() && changes.iter().all(|c| c.due) => Cause::Pending,
            cause => cause,
        };
        let altering = changes.iter().any(|c| c.alters_output);
        changes.extend(tag_changes);
        let held = sources.all.iter().find(|s| self.blocked.contains(s)).cloned();
        let blocked = |why: &str, changes| Action::Blocked(why.to_owned(), changes);
        let action = match (node.phase(&*live.live), how, absent) {
            (Phase::Pending(why), _, _) => Some(Action::Wait(why, changes)),
            (Phase::Failed(why), _, _) => Some(blocked(&why, changes)),
            (_, _, Some(why)) => Some(Action::Wait(why, vec![])),
            _ if changes.is_empty() => None,
            (_, How::InPlace, None) => Some(Action::Update(changes)),
            (_, How::Blocked(why), None) if !(self.policy.replace)(address) => Some(blocked(why, changes)),
            // Made of what a person has to decide about first, it would be made of what may go.
            (_, How::CreateFirst | How::DeleteFirst | How::Blocked(_), None) if held.is_some() => {
                held.map(|source| Action::Wait(format!("for {source}, which is blocked"), changes))
            }
            (_, How::CreateFirst | How::DeleteFirst, None)
                if node.kind().holds_data() && !(self.policy.purge)(address) =>
            {
                let why = format!("it holds data, and the change needs a new one; consent with --with-data {address}");
                Some(blocked(&why, changes))
            }
            (_, How::CreateFirst | How::DeleteFirst | How::Blocked(_), None) => Some(Action::Replace(changes)),
        };
        if let Some(Action::Replace(_)) = action {
            // What hangs on something that must go first has to go first too.
            let dragged = sources.all.iter().any(|s| self.delete_first(s));
            let order = if how == How::DeleteFirst || dragged { How::DeleteFirst } else { How::CreateFirst };
            self.fates.insert(index, Fate::Replaced(order));
        } else {
            let will_alter = altering && matches!(action, Some(Action::Update(_)));
            self.keep(index, node.as_ref(), will_alter, lacks);
        }
        if let Some(action) = action {
            let found = self.observed.found[index].clone();
            node.keep(&*found.live);
            self.push(address, action, Some(found), node, tags, cause);
        }
        sources
    }

    /// A live thing stays, and gives its values to others: those that a step of this plan will not alter, and that do not hang on
    /// which of several is wanted.
    fn keep(&mut self, index: usize, node: &dyn Node, will_alter: bool, lacks: bool) {
        let Found { address, output, .. } = &self.observed.found[index];
        let undecided = lacks && node.kind().spares() > 0;
        self.fates.insert(index, Fate::Kept);
        self.known.insert(address.clone(), output.clone(), will_alter || undecided);
        self.undecided.extend(undecided.then(|| address.clone()));
    }

    /// Of the live things at an address the one to go on with, the wish adapted to it, and how the two differ: the one
    /// that needs the fewest replacing changes, then the fewest changes, then the one most others refer to.
    fn nearest(&self, address: &Address, node: &dyn Node) -> Option<(usize, Box<dyn Node>, Vec<Change>)> {
        self.observed
            .found
            .iter()
            .enumerate()
            .filter(|(_, f)| f.address == *address && f.owner == Owner::Ours && !matches!(f.phase, Phase::Deleting(_)))
            .map(|(index, f)| {
                let mut adapted = node.clone_box();
                adapted.keep(&*f.live);
                let changes = adapted.changes(&*f.live);
                let dependants = self.observed.found.iter().filter(|g| g.refers_to(f)).count();
                let key = (
                    changes.iter().filter(|c| c.how != How::InPlace).count(),
                    changes.len(),
                    Reverse(dependants),
                    f.since,
                    f.id.clone(),
                );
                (key, (index, adapted, changes))
            })
            .min_by(|(a, _), (b, _)| a.cmp(b))
            .map(|(_, nearest)| nearest)
    }

    /// Something that keeps a new one from being made: a foreign thing of that name, or an old one on its way out.
    fn in_the_way(&self, address: &Address, node: &dyn Node) -> Option<Action> {
        let name = node.name();
        self.observed.found.iter().filter(|f| f.address.kind == address.kind).find_map(|f| {
            let same_name = name.is_some() && f.aws_name == name;
            match (&f.phase, f.owner) {
                (Phase::Deleting(why), _) if same_name || (name.is_none() && f.address == *address) => {
                    Some(Action::Wait(format!("{} is still going: {why}", f.id), vec![]))
                }
                (_, Owner::Foreign) if same_name => Some(Action::Blocked(
                    format!(
                        "{} exists and does not belong to this stack; {}",
                        f.id,
                        self.ownership.adopt_hint(address)
                    ),
                    vec![],
                )),
                _ => None,
            }
        })
    }

    /// Takes out the differences that the spec says to leave alone.
    fn leave_alone(&mut self, address: &Address, changes: &mut Vec<Change>) {
        let ignored = |c: &Change| (self.policy.ignore)(address, "*") || (self.policy.ignore)(address, c.field);
        let (left, kept) = std::mem::take(changes).into_iter().partition(ignored);
        *changes = kept;
        let left: Vec<Change> = left;
        self.ignored.extend(left.into_iter().map(|change| Ignored { address: address.clone(), change }));
    }

    fn delete_first(&self, address: &Address) -> bool {
        self.fates
            .iter()
            .any(|(i, f)| matches!(f, Fate::Replaced(How::DeleteFirst)) && self.observed.found[*i].address == *address)
    }

    fn push(
        &mut self,
        address: &Address,
        action: Action,
        found: Option<Found>,
        node: Box<dyn Node>,
        tags: Tags,
        cause: Cause,
    ) {
        if matches!(action, Action::Blocked(..)) {
            self.blocked.insert(address.clone());
        }
        let id = found.as_ref().map(|f| f.id.clone());
        let counted = matches!(action, Action::Replace(_)) && found.as_ref().is_some_and(Found::bears_our_address);
        self.steps.push(Step {
            address: address.clone(),
            id,
            action,
            cause,
            needs: BTreeSet::new(),
            counted,
            remembers: false,
            node: Some(node),
            found,
            tags,
        });
    }
}

impl Ignored {
    fn whole(address: &Address, from: &str, to: &str) -> Self {
        Self { address: address.clone(), change: differs_as("*", from, to, How::InPlace) }
    }
}

impl Found {
    /// Whether one of this thing's fields names the other.
    pub(super) fn refers_to(&self, other: &Self) -> bool {
        self.refs.iter().any(|r| *r == other.id || other.keys.contains(r))
    }

    fn bears_our_address(&self) -> bool {
        self.tags.as_ref().is_none_or(|t| t.contains_key(RESOURCE))
    }
}

struct Sources {
    all: BTreeSet<Address>,
    /// Those whose value is not known yet.
    open: BTreeSet<Address>,
    after: &'static [&'static str],
}

/// Our tags that the live thing lacks or has with another value. Tags of others stay as they are.
fn differing_tags(want: &Tags, have: &Tags) -> Vec<Change> {
    want.iter()
        .filter(|(k, v)| have.get(*k) != Some(*v))
        .map(|(k, v)| Change {
            field: "tags",
            from: have.get(k).map_or_else(|| format!("{k} missing"), |old| format!("{k}={old}")),
            to: format!("{k}={v}"),
            how: How::InPlace,
            alters_output: false,
            due: false,
        })
        .collect()
}

/// A builder waits for the steps that make what it takes, and for those that make what its kind comes after.
fn link_builders(steps: &mut [Step], sources: Vec<Sources>) {
    let at: BTreeMap<Address, usize> = steps.iter().enumerate().map(|(i, s)| (s.address.clone(), i)).collect();
    for (i, sources) in sources.into_iter().enumerate() {
        if !matches!(steps[i].action, Action::Create | Action::Update(_) | Action::Replace(_)) {
            continue;
        }
        let mut needs: BTreeSet<usize> = sources.open.iter().filter_map(|a| at.get(a).copied()).collect();
        needs.extend(sources.all.iter().filter_map(|a| at.get(a)).filter(|s| stops_dependents(&steps[**s])));
        if matches!(steps[i].action, Action::Create | Action::Replace(_)) {
            let before = |s: &Step| sources.after.contains(&s.address.kind) && stops_dependents(s);
            needs.extend(steps.iter().enumerate().filter(|(_, s)| before(s)).map(|(j, _)| j));
        }
        needs.remove(&i);
        steps[i].needs = needs;
    }
}

/// Whether what takes from this step's resource must not go on before it is done, though its outputs may be known.
fn stops_dependents(step: &Step) -> bool {
    match &step.action {
        Action::Blocked(..) | Action::Create | Action::Replace(_) => true,
        Action::Unknown(_) => step.found.is_none(),
        Action::Wait(..) => match &step.found {
            None => true,
            Some(f) => matches!(f.phase, Phase::Pending(_)) && step.node.as_ref().is_some_and(|n| n.kind().settles()),
        },
        Action::Update(_) | Action::Delete(_) | Action::Retain => false,
    }
}

/// Everything found that is ours and has no place in the wish.
fn add_removals(
    plan: &mut Plan,
    fates: &mut BTreeMap<usize, Fate>,
    wanted: &Wanted,
    observed: &Observed,
    policy: &Policy,
    history: &History,
) {
    let Plan { steps, ignored, .. } = plan;
    let wished: BTreeSet<&Address> = wanted.addresses().collect();
    for kind in observed.kinds.iter().rev() {
        // Of a kind that nothing is wanted of there may be one too many, which nobody has seen.
        if let Some(why) = observed.unknown.get(kind.kind())
            && !wished.iter().any(|address| address.kind == kind.kind())
        {
            steps.push(Step {
                address: Address::new(kind.kind(), "*"),
                id: None,
                action: Action::Unknown(why.clone()),
                cause: Cause::Unclear,
                needs: BTreeSet::new(),
                counted: false,
                remembers: false,
                node: None,
                found: None,
                tags: Tags::new(),
            });
        }
        let mut surplus: Vec<usize> = (0..observed.found.len())
            .filter(|i| {
                let f = &observed.found[*i];
                f.address.kind == kind.kind()
                    && f.owner == Owner::Ours
                    && !f.removed
                    && !matches!(fates.get(i), Some(Fate::Kept))
            })
            .collect();
        // The newest spares of an address stay, so that there is something to go back to: first those that have proven
        // themselves. One that failed is no good for that.
        surplus.sort_by_key(|i| {
            let f = &observed.found[*i];
            (matches!(f.phase, Phase::Failed(_)), !f.proven, Reverse(f.since))
        });
        let mut spares: BTreeMap<&Address, usize> = BTreeMap::new();
        for i in surplus {
            let f = &observed.found[i];
            let replaced = matches!(fates.get(&i), Some(Fate::Replaced(_)));
            let spare = spares.entry(&f.address).or_default();
            *spare += 1;
            // Nor does one go that something which stays still refers to.
            let used = || observed.found.iter().any(|g| g.refers_to(f) && wished.contains(&g.address));
            if kind.spares() > 0 && wished.contains(&f.address) && (*spare <= kind.spares() || used()) {
                fates.insert(i, Fate::Kept);
                continue;
            }
            let action = match &f.phase {
                Phase::Deleting(why) => Action::Wait(format!("{} is going: {why}", f.id), vec![]),
                _ if kind.holds_data() && !(policy.purge)(&f.address) => Action::Retain,
                _ if replaced => Action::Delete("replaced by a new one".to_owned()),
                _ if wished.contains(&f.address) => Action::Delete("one too many at this address".to_owned()),
                _ => Action::Delete("not in the spec".to_owned()),
            };
            if (policy.ignore)(&f.address, "*") {
                ignored.push(Ignored::whole(&f.address, "there", "not"));
                fates.insert(i, Fate::Kept);
                continue;
            }
            // A thing that goes with its parent needs no step of its own.
            let parent = observed.found.iter().position(|g| kind.part_of() == Some(g.address.kind) && f.refers_to(g));
            if let Some(parent) = parent
                && !matches!(fates.get(&parent), Some(Fate::Kept))
                && !wished.contains(&f.address)
            {
                continue;
            }
            if !replaced || matches!(action, Action::Delete(_)) {
                let counted = matches!(action, Action::Delete(_)) && !replaced && f.bears_our_address();
                steps.push(Step {
                    address: f.address.clone(),
                    id: Some(f.id.clone()),
                    action,
                    // The step that makes the new one tells why.
                    cause: match (replaced, wished.contains(&f.address)) {
                        (true, _) => Cause::Follows,
                        (false, true) => Cause::Drift,
                        (false, false) => history.of_surplus(f),
                    },
                    needs: BTreeSet::new(),
                    counted,
                    remembers: false,
                    node: None,
                    found: Some(f.clone()),
                    tags: Tags::new(),
                });
                if !replaced {
                    fates.insert(i, Fate::Removed);
                }
            }
        }
    }
}

/// Whether a step writes, and nothing that it needs keeps it from that.
fn can_run(steps: &[Step], i: usize) -> bool {
    steps[i].action.writes() && steps[i].needs.iter().all(|j| can_run(steps, *j))
}

/// Once nothing is left that can be written, the first resource of the stack is told what was applied. What waits or is
/// blocked is remembered as it was.
fn remember(plan: &mut Plan, wanted: &Wanted, ownership: &Ownership, history: &History) {
    let Some((holder, node)) = wanted.0.first() else { return };
    let busy = (0..plan.steps.len()).any(|i| plan.steps[i].address == *holder || can_run(&plan.steps, i));
    let found = plan
        .found
        .iter()
        .find(|f| f.address == *holder && f.owner == Owner::Ours && f.tag_target.is_some() && f.phase == Phase::Ready);
    let (false, Some(found)) = (busy, found) else { return };
    let mut now = Memory::default();
    for (address, node) in &wanted.0 {
        let open = plan.steps.iter().any(|s| s.address == *address && s.action != Action::Retain)
            || plan.ignored.iter().any(|i| i.address == *address);
        match history {
            History::Known(before) if open => now.carry(before, address),
            _ if open => {}
            _ => now.note(address, &node.intent()),
        }
    }
    let have = found.tags.clone().unwrap_or_default();
    let mut tags = ownership.tags(holder, node.name().as_deref(), &node.intent());
    tags.extend(now.write(&have));
    let changes = differing_tags(&tags, &have);
    if changes.is_empty() {
        return;
    }
    let found = found.clone();
    plan.steps.push(Step {
        address: holder.clone(),
        id: Some(found.id.clone()),
        action: Action::Update(changes),
        cause: Cause::Pending,
        needs: BTreeSet::new(),
        counted: false,
        remembers: true,
        node: Some(node.clone_box()),
        found: Some(found),
        tags,
    });
}

/// A removal waits for its replacement, and for those that refer to it to move or go. Nothing else holds it up.
fn link_removals(steps: &mut [Step], fates: &BTreeMap<usize, Fate>, observed: &Observed) {
    let found = &observed.found;
    let index_of = |f: &Found| found.iter().position(|g| g.id == f.id && g.address == f.address);
    let removal = |steps: &[Step], f: &Found| {
        let own = steps.iter().position(|s| {
            s.node.is_none() && s.id.as_ref() == Some(&f.id) && s.address == f.address && s.action != Action::Retain
        });
        own.or_else(|| {
            let part_of = observed.kinds.iter().find(|k| k.kind() == f.address.kind).and_then(|k| k.part_of());
            let parent = found.iter().find(|g| part_of == Some(g.address.kind) && f.refers_to(g))?;
            steps
                .iter()
                .position(|s| s.node.is_none() && s.id.as_ref() == Some(&parent.id) && s.address == parent.address)
        })
    };
    let builder = |steps: &[Step], a: &Address| steps.iter().position(|s| s.node.is_some() && s.address == *a);
    for i in 0..steps.len() {
        let (Some(f), None, true) = (&steps[i].found, &steps[i].node, matches!(steps[i].action, Action::Delete(_)))
        else {
            continue;
        };
        let order = index_of(f).and_then(|index| match fates.get(&index) {
            Some(Fate::Replaced(order)) => Some(*order),
            _ => None,
        });
        let mut needs = BTreeSet::new();
        for g in found.iter().filter(|g| g.owner == Owner::Ours) {
            let after =
                observed.kinds.iter().any(|k| k.kind() == g.address.kind && k.after().contains(&f.address.kind));
            if !(g.refers_to(f) || after) || (g.id == f.id && g.address == f.address) {
                continue;
            }
            if let Some(j) = removal(steps, g) {
                needs.insert(j);
            } else if order != Some(How::DeleteFirst)
                && g.refers_to(f)
                && let Some(j) = builder(steps, &g.address).filter(|j| matches!(steps[*j].action, Action::Update(_)))
            {
                needs.insert(j);
            }
        }
        if order == Some(How::CreateFirst)
            && let Some(j) = builder(steps, &f.address)
        {
            needs.insert(j);
        }
        if order == Some(How::DeleteFirst)
            && let Some(j) = builder(steps, &f.address)
        {
            steps[j].needs.insert(i);
        }
        needs.remove(&i);
        steps[i].needs = needs;
    }
}
