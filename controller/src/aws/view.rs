//! AWS as one pass sees it: lists that several kinds read are read once, and lists of a whole region serve all its stacks.

use super::{Aws, Error, Result};
use std::{
    any::{Any, TypeId},
    collections::HashMap,
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{sync::OnceCell, time::Instant};

type Shared = Arc<dyn Any + Send + Sync>;

/// AWS as one pass sees it.
pub struct View {
    aws: Aws,
    /// Lists of a region are good if reading them began no earlier.
    since: Instant,
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

    /// A view that is content with what other stacks have read of the region since then, unless this process has written there
    /// later.
    pub fn since(aws: &Aws, then: Instant) -> Self {
        let since = aws.lists.written().map_or(then, |written| written.max(then));
        Self { aws: aws.clone(), since, own: Lists::default() }
    }

    /// The list of type `T` for this stack: read by whoever comes first, shared by all others of this pass. `T` is the key, so
    /// a list that is shared has a type of its own.
    pub async fn once<T, F>(&self, read: impl FnOnce() -> F) -> Result<Arc<T>>
    where
        T: Send + Sync + 'static,
        F: Future<Output = Result<T>>,
    {
        self.own.get(self.since, read).await
    }

    /// The same of the whole region, shared by all its stacks: `read` must not depend on whose stack it is.
    pub async fn shared<T, F>(&self, read: impl FnOnce() -> F) -> Result<Arc<T>>
    where
        T: Send + Sync + 'static,
        F: Future<Output = Result<T>>,
    {
        self.aws.lists.get(self.since, read).await
    }
}

/// Lists by type.
#[derive(Default)]
pub(super) struct Lists(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    lists: HashMap<TypeId, List>,
    written: Option<Instant>,
}

struct List {
    /// When reading it began: what was written before is in it.
    begun: Instant,
    cell: Arc<OnceCell<Shared>>,
}

impl Lists {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn written(&self) -> Option<Instant> {
        self.lock().written
    }

    /// Notes that something was written just now.
    pub(super) fn wrote(&self) {
        self.lock().written = Some(Instant::now());
    }

    async fn get<T, F>(&self, since: Instant, read: impl FnOnce() -> F) -> Result<Arc<T>>
    where
        T: Send + Sync + 'static,
        F: Future<Output = Result<T>>,
    {
        let cell = {
            let mut inner = self.lock();
            let list = inner.lists.entry(TypeId::of::<T>()).or_insert_with(List::new);
            if list.begun < since {
                *list = List::new();
            }
            list.cell.clone()
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
            lists.get(since, read).await.unwrap().0
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
        assert!(lists.get(early, failing).await.is_err());
        assert!(lists.get(early, || async { Ok(Others) }).await.is_ok());
    }
}
