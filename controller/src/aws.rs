//! AWS as one stack sees it, and the only place that knows AWS's error codes.

mod calls;
mod error;
mod json;
mod pace;
mod region;
pub mod tags;
mod view;

pub use error::{Error, Reason, Result};
pub use json::JsonClient;
pub use pace::{Limits, Rate};
pub use region::{Region, Regions};
pub use tags::TagTarget;
pub use view::{Leeway, STACKS_IN_FULL, View};

use crate::ownership::Ownership;
use std::{ops::Deref, sync::Arc};

/// Clients of one account and region, and whose stack they serve. It derefs to the [`Region`], whose clients all stacks share.
#[derive(Clone, Debug)]
pub struct Aws {
    /// Identity of the stack.
    pub ownership: Ownership,
    /// Names of the physical things that cannot be listed by tag or prefix.
    pub known: KnownNames,
    /// The Bot API and the token, where there is one.
    pub telegram: Option<crate::telegram::Telegram>,
    shared: Arc<Region>,
}

/// Names and ids that the spec gives and that no list call could find.
#[derive(Clone, Debug, Default)]
pub struct KnownNames {
    /// Secrets (ListSecrets may be minutes stale, so each is described by name).
    pub secrets: Vec<(String, String)>,
    /// Hosted zone (name without a final dot).
    pub hosted_zone: String,
    /// The bot's host name.
    pub host: String,
    /// Name of the images bucket.
    pub bucket: String,
    /// Name of the topic.
    pub topic: String,
    /// The tables.
    pub tables: Vec<String>,
    /// The instance profiles.
    pub profiles: Vec<String>,
}

impl Aws {
    /// What a stack needs of a region. Asks AWS nothing.
    pub fn new(shared: Arc<Region>, ownership: Ownership, known: KnownNames) -> Self {
        Self { ownership, known, telegram: None, shared }
    }
}

impl Deref for Aws {
    type Target = Region;
    fn deref(&self) -> &Region {
        &self.shared
    }
}
