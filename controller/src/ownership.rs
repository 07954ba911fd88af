//! Whose a thing is: the tags that are this controller's only memory.

use crate::engine::{Address, Owner, Tags};
use sha2::{Digest, Sha256};

/// Name of the stack.
pub const STACK: &str = "polybot.dev/stack";
/// Address of the resource within the stack.
pub const RESOURCE: &str = "polybot.dev/resource";
/// Who manages it.
pub const MANAGER: &str = "polybot.dev/manager";
/// Digest of what the spec said when it was last applied.
pub const INTENT: &str = "polybot.dev/spec";

/// The identity of one stack and the tags that all its resources bear.
#[derive(Clone, Debug)]
pub struct Ownership {
    /// `metadata.name`; with account and region the identity of the stack.
    pub stack: String,
    /// `{prefix}-{environment}`, with which all its names begin.
    pub prefix: String,
    /// Tags that the spec adds.
    pub extra: Tags,
}

impl Ownership {
    /// All tags of one resource.
    pub fn tags(&self, address: &Address, name: Option<&str>, intent: &str) -> Tags {
        let mut tags = self.extra.clone();
        let display = name.map_or_else(|| format!("{}-{}", self.prefix, address.name), ToOwned::to_owned);
        tags.entry("Name".to_owned()).or_insert(display);
        tags.insert(STACK.to_owned(), self.stack.clone());
        tags.insert(RESOURCE.to_owned(), address.to_string());
        tags.insert(MANAGER.to_owned(), "polybot-controller".to_owned());
        tags.insert(INTENT.to_owned(), format!("{intent}{}", self.extra_digest()));
        tags
    }

    /// The spec's own tags are a part of what it says of each resource. Without any there is nothing to tell.
    fn extra_digest(&self) -> String {
        if self.extra.is_empty() {
            return String::new();
        }
        let mut digest = Sha256::new();
        for (key, value) in &self.extra {
            digest.update(format!("{key}\0{value}\0"));
        }
        format!("-{}", hex::encode(&digest.finalize()[..4]))
    }

    /// Whether these are tags of this stack.
    pub fn owns(&self, tags: &Tags) -> bool {
        tags.get(STACK) == Some(&self.stack)
    }

    /// The owner and the name within the kind that tags tell: ours only with our stack tag.
    pub fn of(&self, kind: &str, tags: &Tags, fallback: &str) -> (Owner, String) {
        let owner = if self.owns(tags) { Owner::Ours } else { Owner::Foreign };
        let address = tags.get(RESOURCE).and_then(|a| a.strip_prefix(kind)?.strip_prefix('/'));
        (owner, address.unwrap_or(fallback).to_owned())
    }

    /// How a person hands a foreign thing over to this stack.
    pub fn adopt_hint(&self, address: &Address) -> String {
        format!("remove or rename it, or hand it over with the tags {STACK}={} and {RESOURCE}={address}", self.stack)
    }
}
