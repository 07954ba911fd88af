//! What a kind of resource has to say about itself.

use super::Slot;
use crate::aws::{Aws, Result, TagTarget, View};
use std::{collections::BTreeMap, fmt};
use time::OffsetDateTime;

/// Names one resource of the stack: its kind, and the name the spec gives it; `subnet/a`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// Kind, as [`Resource::KIND`].
    pub kind: &'static str,
    /// Name within the kind.
    pub name: String,
}

impl Address {
    /// An address.
    pub fn new(kind: &'static str, name: impl Into<String>) -> Self {
        Self { kind, name: name.into() }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

/// Tags by key.
pub type Tags = BTreeMap<String, String>;

/// A kind of AWS resource. The struct is the wanted state; reading AWS gives the same struct back.
pub trait Resource: Clone + fmt::Debug + Send + Sync + 'static {
    /// Name of the kind in addresses: `vpc`, `scaling_group`.
    const KIND: &'static str;
    /// Deleting it destroys what a user cannot recreate. Never deleted or replaced unasked.
    const HOLDS_DATA: bool = false;
    /// Not yet fit for its dependents when `create` returns; a later pass finds out when it is.
    const SETTLES: bool = false;
    /// Kinds that must stand before any of this kind is created and must not go before the last of it has gone, though no
    /// field refers to them: an internet-facing load balancer needs the gateway.
    const AFTER: &'static [&'static str] = &[];
    /// How many surplus live ones at one address stay (former launch-template versions, for going back to).
    const SPARES: usize = 0;
    /// A kind that takes this one with it when it goes, so that no step of its own is needed then.
    const PART_OF: Option<&'static str> = None;
    /// What others may need once it exists: ids, ARNs, DNS names.
    type Output: Clone + fmt::Debug + Send + Sync + 'static;

    /// The unique name it has in AWS, where one without our tags would be in the way.
    fn name(&self) -> Option<String> {
        None
    }
    /// The fields that take a value from another resource or from outside.
    fn inputs(&mut self) -> Vec<&mut dyn Slot> {
        vec![]
    }
    /// Takes over what only the live one can say (a size that the autoscaler owns, an image that still exists).
    fn keep(&mut self, _live: &Self) {}
    /// How far the live one is, seen from this wish: work in progress that goes elsewhere need not be waited for, and what went
    /// wrong with another wish is no failure of this one.
    fn phase(&self, live: &Live<Self>) -> Phase {
        live.phase.clone()
    }
    /// Pure. What differs, and how AWS lets it be changed. Implementations destructure `self` without `..`, so that a new
    /// field has to say how it changes.
    fn changes(&self, live: &Self) -> Vec<Change>;
    /// What the spec says about it, without ids, images or times: its digest in a tag tells drift from pending changes.
    fn intent(&self) -> String {
        format!("{self:?}")
    }

    /// Everything of this kind that belongs to the stack. Reads only.
    fn list(view: &View) -> impl Future<Output = Result<Vec<Live<Self>>>> + Send;
    /// Creates it with its tags in the same call, and returns as soon as its id is known.
    fn create(&self, aws: &Aws, tags: &Tags) -> impl Future<Output = Result<Self::Output>> + Send;
    /// Changes in place what `changes` named. Tags are not its concern.
    fn update(
        &self,
        aws: &Aws,
        live: &Live<Self>,
        changes: &[Change],
    ) -> impl Future<Output = Result<Self::Output>> + Send;
    /// Removes it; something already gone is a success.
    fn delete(aws: &Aws, live: &Live<Self>) -> impl Future<Output = Result<()>> + Send;
    /// Whether a live one is on its way out for good unless somebody asks for it back (a secret in its recovery window): it
    /// needs no removal, and a wish for it brings it back.
    fn removed(&self) -> bool {
        false
    }
    /// What others call it, besides its id: ARNs, names.
    fn keys(_output: &Self::Output) -> Vec<String> {
        vec![]
    }
    /// Where its tags are written, if the kind bears any.
    fn tag_target(_output: &Self::Output) -> Option<TagTarget> {
        None
    }
}

/// A resource as AWS has it now.
#[derive(Clone, Debug)]
pub struct Live<R: Resource> {
    /// Name within the kind, from the address tag or the physical name.
    pub name: String,
    /// What people know it by: an id, ARN or name; unique within the kind.
    pub id: String,
    /// Its fields.
    pub state: R,
    /// What it offers to others.
    pub output: R::Output,
    /// How far it is.
    pub phase: Phase,
    /// Its tags; `None` where the kind bears none.
    pub tags: Option<Tags>,
    /// Whether it bears our tag.
    pub owner: Owner,
    /// Since when it is as it is, where AWS tells.
    pub since: Option<OffsetDateTime>,
    /// Ids of things it refers to beyond its inputs.
    pub refs: Vec<String>,
    /// Whether it has done its work well once: of spares, these stay the longest.
    pub proven: bool,
}

impl<R: Resource> Live<R> {
    /// A live one of ours that is ready; the other fields are set with struct update syntax or by hand.
    pub fn ready(name: impl Into<String>, id: impl Into<String>, state: R, output: R::Output) -> Self {
        Self {
            name: name.into(),
            id: id.into(),
            state,
            output,
            phase: Phase::Ready,
            tags: None,
            owner: Owner::Ours,
            since: None,
            refs: vec![],
            proven: false,
        }
    }
}

/// How far a live thing is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Fit for use.
    Ready,
    /// On its way; the text says to what.
    Pending(String),
    /// On its way out. Never matches a wanted resource.
    Deleting(String),
    /// AWS gave up on it.
    Failed(String),
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => write!(f, "ready"),
            Self::Pending(why) => write!(f, "pending: {why}"),
            Self::Deleting(why) => write!(f, "deleting: {why}"),
            Self::Failed(why) => write!(f, "failed: {why}"),
        }
    }
}

/// Whose a live thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// It bears our stack tag (or hangs on something that does).
    Ours,
    /// It stands where ours should, and is not ours.
    Foreign,
}

/// One field that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The field.
    pub field: &'static str,
    /// What AWS has.
    pub from: String,
    /// What is wanted.
    pub to: String,
    /// How AWS lets it be changed.
    pub how: How,
    /// Whether outputs read by [`super::Handle::volatile`] change with it.
    pub alters_output: bool,
    /// Whether time has brought it about: a certificate that ends soon.
    pub due: bool,
}

/// How a field can be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// By a call on the live thing.
    InPlace,
    /// By a new one, before the old one goes.
    CreateFirst,
    /// By a new one, after the old one has gone: an outage.
    DeleteFirst,
    /// Not without a person's word.
    Blocked(&'static str),
}

/// A change of `field` if the two differ.
pub fn differs<V: PartialEq + fmt::Debug>(field: &'static str, want: &V, live: &V, how: How) -> Option<Change> {
    (want != live).then(|| differs_as(field, show(live), show(want), how))
}

/// A change of `field` in words of the caller's own.
pub fn differs_as(field: &'static str, from: impl Into<String>, to: impl Into<String>, how: How) -> Change {
    Change { field, from: from.into(), to: to.into(), how, alters_output: false, due: false }
}

/// `Debug` without the noise of `Some(..)`.
fn show<V: fmt::Debug>(v: &V) -> String {
    let text = format!("{v:?}");
    text.strip_prefix("Some(").and_then(|t| t.strip_suffix(')')).map_or(text.clone(), ToOwned::to_owned)
}
