//! Reading everything that bears a stack's mark.

use super::{Found, Kind};
use crate::aws::View;
use futures::future::join_all;
use std::collections::BTreeMap;

/// What AWS has of a stack.
#[derive(Default)]
pub struct Observed {
    /// The kinds that were looked at, in order of creation.
    pub kinds: &'static [&'static dyn Kind],
    /// Everything found.
    pub found: Vec<Found>,
    /// Kinds whose list failed, and why. A hole must never look like a missing resource.
    pub unknown: BTreeMap<&'static str, String>,
}

/// Lists every kind, all at once.
pub async fn observe(view: &View, kinds: &'static [&'static dyn Kind]) -> Observed {
    let lists = join_all(kinds.iter().map(|kind| async move { (kind.kind(), kind.list(view).await) })).await;
    let mut observed = Observed { kinds, ..Observed::default() };
    for (kind, list) in lists {
        match list {
            Ok(found) => observed.found.extend(found),
            Err(error) => {
                tracing::debug!(kind, %error, "list failed");
                let mend = error.hint().map_or_else(String::new, |hint| format!("; {hint}"));
                observed.unknown.insert(kind, format!("{error}{mend}"));
            }
        }
    }
    observed.found.sort_by(|a, b| a.address.cmp(&b.address).then_with(|| a.id.cmp(&b.id)));
    observed
}
