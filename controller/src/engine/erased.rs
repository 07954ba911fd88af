//! [`Resource`] with its types hidden, so that different kinds can share lists.

use super::{Address, Change, Live, Outputs, Owner, Phase, Resource, Slot, Tags};
use crate::aws::{Aws, Error, Result, TagTarget, View};
use futures::{FutureExt, future::BoxFuture};
use sha2::{Digest, Sha256};
use std::{any::Any, marker::PhantomData, sync::Arc};
use time::OffsetDateTime;

pub(super) type Output = Arc<dyn Any + Send + Sync>;

/// A wanted resource of any kind.
pub(super) trait Node: Send + Sync {
    fn as_any(&self) -> &dyn Any;
    fn clone_box(&self) -> Box<dyn Node>;
    fn kind(&self) -> &'static dyn Kind;
    fn name(&self) -> Option<String>;
    fn inputs(&mut self) -> Vec<&mut dyn Slot>;
    fn keep(&mut self, live: &dyn Any);
    fn phase(&self, live: &dyn Any) -> Phase;
    fn changes(&self, live: &dyn Any) -> Vec<Change>;
    /// Twelve hexadecimal digits over what the spec says about this resource.
    fn intent(&self) -> String;
    fn create<'a>(&'a self, aws: &'a Aws, tags: &'a Tags) -> BoxFuture<'a, Result<Output>>;
    fn update<'a>(&'a self, aws: &'a Aws, found: &'a Found, changes: &'a [Change]) -> BoxFuture<'a, Result<Output>>;
}

fn live<R: Resource>(any: &dyn Any) -> Option<&Live<R>> {
    any.downcast_ref()
}

impl<R: Resource> Node for R {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn clone_box(&self) -> Box<dyn Node> {
        Box::new(self.clone())
    }
    fn kind(&self) -> &'static dyn Kind {
        &Of::<R>(PhantomData)
    }
    fn name(&self) -> Option<String> {
        Resource::name(self)
    }
    fn inputs(&mut self) -> Vec<&mut dyn Slot> {
        Resource::inputs(self)
    }
    fn keep(&mut self, any: &dyn Any) {
        if let Some(live) = live::<R>(any) {
            Resource::keep(self, &live.state);
        }
    }
    fn phase(&self, any: &dyn Any) -> Phase {
        live::<R>(any).map_or(Phase::Ready, |live| Resource::phase(self, live))
    }
    fn changes(&self, any: &dyn Any) -> Vec<Change> {
        live::<R>(any).map_or_else(Vec::new, |live| Resource::changes(self, &live.state))
    }
    fn intent(&self) -> String {
        hex::encode(&Sha256::digest(Resource::intent(self))[..6])
    }
    fn create<'a>(&'a self, aws: &'a Aws, tags: &'a Tags) -> BoxFuture<'a, Result<Output>> {
        async move { Ok(Arc::new(Resource::create(self, aws, tags).await?) as Output) }.boxed()
    }
    fn update<'a>(&'a self, aws: &'a Aws, found: &'a Found, changes: &'a [Change]) -> BoxFuture<'a, Result<Output>> {
        async move {
            let live = live::<R>(&*found.live).ok_or_else(|| Error::internal("a live thing of another kind"))?;
            Ok(Arc::new(Resource::update(self, aws, live, changes).await?) as Output)
        }
        .boxed()
    }
}

/// What can be done with a kind without having one of it.
pub trait Kind: Send + Sync {
    /// [`Resource::KIND`].
    fn kind(&self) -> &'static str;
    /// [`Resource::HOLDS_DATA`].
    fn holds_data(&self) -> bool;
    /// [`Resource::SETTLES`].
    fn settles(&self) -> bool;
    /// [`Resource::AFTER`].
    fn after(&self) -> &'static [&'static str];
    /// [`Resource::SPARES`].
    fn spares(&self) -> usize;
    /// [`Resource::PART_OF`].
    fn part_of(&self) -> Option<&'static str>;
    /// [`Resource::list`].
    fn list<'a>(&'a self, view: &'a View) -> BoxFuture<'a, Result<Vec<Found>>>;
    /// [`Resource::delete`].
    fn delete<'a>(&'a self, aws: &'a Aws, found: &'a Found) -> BoxFuture<'a, Result<()>>;
}

/// The kind of `R`, as a value.
pub struct Of<R>(pub PhantomData<fn() -> R>);

impl<R: Resource> Kind for Of<R> {
    fn kind(&self) -> &'static str {
        R::KIND
    }
    fn holds_data(&self) -> bool {
        R::HOLDS_DATA
    }
    fn settles(&self) -> bool {
        R::SETTLES
    }
    fn after(&self) -> &'static [&'static str] {
        R::AFTER
    }
    fn spares(&self) -> usize {
        R::SPARES
    }
    fn part_of(&self) -> Option<&'static str> {
        R::PART_OF
    }
    fn list<'a>(&'a self, view: &'a View) -> BoxFuture<'a, Result<Vec<Found>>> {
        async move { Ok(R::list(view).await?.into_iter().map(Found::new).collect()) }.boxed()
    }
    fn delete<'a>(&'a self, aws: &'a Aws, found: &'a Found) -> BoxFuture<'a, Result<()>> {
        async move {
            let live = live::<R>(&*found.live).ok_or_else(|| Error::internal("a live thing of another kind"))?;
            R::delete(aws, live).await
        }
        .boxed()
    }
}

/// A live thing of any kind.
#[derive(Clone)]
pub struct Found {
    /// Where it belongs in the stack.
    pub address: Address,
    /// See [`Live::id`].
    pub id: String,
    /// See [`Live::phase`].
    pub phase: Phase,
    /// See [`Live::tags`].
    pub tags: Option<Tags>,
    /// See [`Live::owner`].
    pub owner: Owner,
    /// See [`Live::since`].
    pub since: Option<OffsetDateTime>,
    /// Ids and names of the things it refers to.
    pub refs: Vec<String>,
    /// Where its tags are written, if its kind bears any.
    pub tag_target: Option<TagTarget>,
    pub(super) kind: &'static dyn Kind,
    pub(super) removed: bool,
    /// See [`Live::proven`].
    pub proven: bool,
    /// What others call it, besides its id.
    pub(super) keys: Vec<String>,
    /// The name it has in AWS, where that is unique.
    pub(super) aws_name: Option<String>,
    pub(super) live: Arc<dyn Any + Send + Sync>,
    pub(super) output: Output,
}

impl Found {
    fn new<R: Resource>(mut live: Live<R>) -> Self {
        let mut refs = std::mem::take(&mut live.refs);
        refs.extend(live.state.inputs().into_iter().filter_map(|slot| slot.text()));
        Self {
            address: Address::new(R::KIND, live.name.clone()),
            kind: &Of::<R>(PhantomData),
            id: live.id.clone(),
            phase: live.phase.clone(),
            tags: live.tags.clone(),
            owner: live.owner,
            since: live.since,
            refs,
            aws_name: Resource::name(&live.state),
            removed: live.state.removed(),
            proven: live.proven,
            keys: R::keys(&live.output),
            tag_target: R::tag_target(&live.output),
            output: Arc::new(live.output.clone()),
            live: Arc::new(live),
        }
    }

    /// What it offers to others, if it is of this kind.
    pub fn output<R: Resource>(&self) -> Option<&R::Output> {
        self.output.downcast_ref()
    }

    /// Its fields, if it is of this kind.
    pub fn state<R: Resource>(&self) -> Option<&R> {
        live::<R>(&*self.live).map(|live| &live.state)
    }
}

/// Fills what is known by now.
pub(super) fn fill(node: &mut dyn Node, outputs: &Outputs) {
    node.inputs().into_iter().for_each(|slot| slot.fill(outputs));
}
