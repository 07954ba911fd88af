//! AWS as one pass sees it: lists that several kinds read are read once, and lists of a whole region serve all its stacks.
//!
//! What AWS tells only of one resource at a time cannot be shared. So that many stacks do not ask more than few do, each of
//! them that is at rest is content with what it was told some passes ago: see [`Leeway`].

use super::{Aws, Error, Result};
use std::{
    any::{Any, TypeId},
    collections::HashMap,
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::OnceCell, time::Instant};

type Shared = Arc<dyn Any + Send + Sync>;

/// How old may be what a pass sees. None at all by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leeway {
    /// Of the lists of a region.
    pub lists: Duration,
    /// Of what AWS tells only of one resource at a time: so much for each stack of the region beyond [`STACKS_IN_FULL`].
    pub details: Duration,
}

/// Stacks of a region of which every pass may ask for every detail.
pub const STACKS_IN_FULL: u32 = 10;

/// AWS as one pass sees it.
pub struct View {
    aws: Aws,
    /// Lists of a region are good if reading them began no earlier; all are where this is none.
    lists: Option<Instant>,
    /// Details of this stack's resources are, too.
    details: Option<Instant>,
    own: Lists,
}

impl Deref for View {
    type Target = Aws;
    fn deref(&self) -> &Aws {
        &self.aws
    }
}

impl View {
    /// A view of what AWS says from now on.
    pub fn new(aws: &Aws) -> Self {
        Self::since(aws, Instant::now())
    }

    /// A view that is content with what was read since then, unless this process has written something later: of the lists
    /// anywhere in the region, of the details in this stack.
    pub fn since(aws: &Aws, then: Instant) -> Self {
        Self::of(aws, |_| (Some(then), Some(then)))
    }

    /// A view that is content with what was read as long ago as the leeway says, unless this process has written something later.
    pub fn within(aws: &Aws, leeway: Leeway) -> Self {
        let now = Instant::now();
        // None: longer ago than the clock goes back.
        let ago = |leeway| now.checked_sub(leeway);
        Self::of(aws, |stacks| (ago(leeway.lists), ago(leeway.details * stacks.saturating_sub(STACKS_IN_FULL))))
    }

    /// `content` tells since when lists and details are good, by the number of stacks.
    fn of(aws: &Aws, content: impl FnOnce(u32) -> (Option<Instant>, Option<Instant>)) -> Self {
        let (stacks, written) = aws.lists.seen(&aws.ownership.stack);
        let (lists, details) = content(stacks);
        let (lists, details) = (lists.max(written.anywhere), details.max(written.here));
        Self { aws: aws.clone(), lists, details, own: Lists::default() }
    }

    /// The list of type `T` for this stack: read by whoever comes first, shared by all others of this pass. `T` is the key, so
    /// a list that is shared has a type of its own.
    pub async fn once<T, F>(&self, read: impl FnOnce() -> F) -> Result<Arc<T>>
    where
        T: Send + Sync + 'static,
        F: Future<Output = Result<T>>,
    {
        self.own.get("", self.lists, read).await
    }

    /// The same of the whole region, shared by all its stacks: `read` must not depend on whose stack it is.
    pub async fn shared<T, F>(&self, read: impl FnOnce() -> F) -> Result<Arc<T>>
    where
        T: Send + Sync + 'static,
        F: Future<Output = Result<T>>,
    {
        self.aws.lists.get("", self.lists, read).await
    }

    /// What AWS tells only of one resource at a time. The type and the id are the key.
    pub async fn detail<T, F>(&self, id: &str, read: impl FnOnce() -> F) -> Result<Arc<T>>
    where
        T: Send + Sync + 'static,
        F: Future<Output = Result<T>>,
    {
        self.aws.lists.get(id, self.details, read).await
    }
}

/// Lists and details of a region, by type and id (none for a list).
#[derive(Default)]
pub(super) struct Lists(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    lists: HashMap<(TypeId, String), List>,
    /// When each stack was last looked at.
    seen: HashMap<String, Instant>,
    /// When each stack was last written to.
    written: HashMap<String, Instant>,
}

/// When something was last written.
struct Written {
    anywhere: Option<Instant>,
    here: Option<Instant>,
}

/// What was read so long ago is forgotten.
const KEPT: Duration = Duration::from_hours(24);

struct List {
    /// When reading it began: what was written before is in it.
    begun: Instant,
    cell: Arc<OnceCell<Shared>>,
}

impl Lists {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a stack is looked at; how many stacks are, and when something was last written.
    fn seen(&self, stack: &str) -> (u32, Written) {
        let mut inner = self.lock();
        inner.seen.insert(stack.to_owned(), Instant::now());
        inner.seen.retain(|_, seen| seen.elapsed() < KEPT);
        inner.written.retain(|_, written| written.elapsed() < KEPT);
        let (anywhere, here) = (inner.written.values().max().copied(), inner.written.get(stack).copied());
        (u32::try_from(inner.seen.len()).unwrap_or(u32::MAX), Written { anywhere, here })
    }

    /// Notes that a stack was written to just now.
    pub(super) fn wrote(&self, stack: &str) {
        self.lock().written.insert(stack.to_owned(), Instant::now());
    }

    async fn get<T, F>(&self, id: &str, since: Option<Instant>, read: impl FnOnce() -> F) -> Result<Arc<T>>
    where
        T: Send + Sync + 'static,
        F: Future<Output = Result<T>>,
    {
        let cell = {
            let (mut inner, key) = (self.lock(), (TypeId::of::<T>(), id.to_owned()));
            if inner.lists.get(&key).is_none_or(|list| Some(list.begun) < since) {
                inner.lists.retain(|_, list| list.begun.elapsed() < KEPT);
                inner.lists.insert(key.clone(), List::new());
            }
            inner.lists[&key].cell.clone()
        };
        let shared = cell.get_or_try_init(|| async { read().await.map(|t| Arc::new(t) as Shared) }).await?;
        shared.clone().downcast().map_err(|_| Error::internal("a shared list of another type"))
    }
}

impl List {
    fn new() -> Self {
        Self { begun: Instant::now(), cell: Arc::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    struct Things(usize);

    #[tokio::test(start_paused = true)]
    async fn a_list_serves_whoever_asks_for_nothing_newer() {
        struct Others;
        let (lists, reads) = (Lists::default(), AtomicUsize::new(0));
        let get = async |since: Instant| {
            let read = || async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok(Things(reads.fetch_add(1, Ordering::SeqCst) + 1))
            };
            lists.get("", Some(since), read).await.unwrap().0
        };
        let start = Instant::now();
        assert_eq!(futures::join!(get(start), get(start), get(start)), (1, 1, 1), "one read for all at once");
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(get(start).await, 1, "ten seconds old is good enough");
        assert_eq!(get(start + Duration::from_millis(1)).await, 2, "its reading began too early");
        assert_eq!(get(Instant::now()).await, 3);

        // One that asked before the reading began takes part in it; a failure is nobody's list.
        let early = Instant::now();
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(futures::join!(get(Instant::now()), get(early)), (4, 4));
        let failing = || async { Err::<Others, _>(Error::internal("no")) };
        assert!(lists.get("", Some(early), failing).await.is_err());
        assert!(lists.get("", Some(early), || async { Ok(Others) }).await.is_ok());
    }
}
