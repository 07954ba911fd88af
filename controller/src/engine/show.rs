//! A plan as people read it.

use super::{Action, Cause, How, Plan, Step};
use schemars::JsonSchema;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::fmt;

impl Action {
    /// One character that tells actions apart without colour.
    pub fn sign(&self) -> char {
        match self {
            Self::Create => '+',
            Self::Update(_) => '~',
            Self::Replace(_) => '±',
            Self::Delete(_) => '-',
            Self::Retain => '.',
            Self::Blocked(..) => '!',
            Self::Wait(..) => '…',
            Self::Unknown(_) => '?',
        }
    }

    /// The action as a word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update(_) => "update",
            Self::Replace(_) => "replace",
            Self::Delete(_) => "delete",
            Self::Retain => "retain",
            Self::Blocked(..) => "blocked",
            Self::Wait(..) => "wait",
            Self::Unknown(_) => "unknown",
        }
    }

    /// Why, where the action carries a reason.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Delete(why) | Self::Blocked(why, _) | Self::Wait(why, _) | Self::Unknown(why) => Some(why),
            Self::Retain => Some("it holds data"),
            Self::Create | Self::Update(_) | Self::Replace(_) => None,
        }
    }
}

/// How many steps of each kind a plan has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Summary {
    /// To create.
    pub create: usize,
    /// To change in place.
    pub update: usize,
    /// To replace.
    pub replace: usize,
    /// To delete, replaced ones not counted.
    pub delete: usize,
    /// Left because they hold data.
    pub retain: usize,
    /// In need of a person.
    pub blocked: usize,
    /// Waiting for something.
    pub wait: usize,
    /// Not readable.
    pub unknown: usize,
}

impl Summary {
    /// Steps that write.
    pub fn writes(&self) -> usize {
        self.create + self.update + self.replace + self.delete
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.create, "to create"),
            (self.update, "to update"),
            (self.replace, "to replace"),
            (self.delete, "to delete"),
            (self.retain, "retained"),
            (self.blocked, "blocked"),
            (self.wait, "waiting"),
            (self.unknown, "unknown"),
        ];
        let parts: Vec<_> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")).collect();
        if parts.is_empty() { write!(f, "nothing to do") } else { write!(f, "{}", parts.join(", ")) }
    }
}

impl Plan {
    /// Counts by action.
    pub fn summary(&self) -> Summary {
        let mut s = Summary::default();
        for step in &self.steps {
            *match &step.action {
                Action::Create => &mut s.create,
                Action::Update(_) => &mut s.update,
                Action::Replace(_) => &mut s.replace,
                Action::Delete(_) => &mut s.delete,
                Action::Retain => &mut s.retain,
                Action::Blocked(..) => &mut s.blocked,
                Action::Wait(..) => &mut s.wait,
                Action::Unknown(_) => &mut s.unknown,
            } += 1;
        }
        s
    }

    /// Sixteen hexadecimal digits over all that the plan would write; waits and advice do not count.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for step in self.steps.iter().filter(|s| s.action.writes()) {
            hash.update(format!("{} {} {:?}\n", step.action.word(), step.address, step.id));
            for c in step.action.changes() {
                hash.update(format!("  {} {} {}\n", c.field, c.from, c.to));
            }
        }
        hex::encode(&hash.finalize()[..8])
    }

    /// Steps that count for the cap on deletions.
    pub fn deletions(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|s| s.counted)
    }

    /// Whether AWS is as the spec says, as far as could be read.
    pub fn is_settled(&self) -> bool {
        self.steps.iter().all(|s| s.action == Action::Retain)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:<8}{}", self.action.sign(), self.action.word(), self.address)?;
        if let Some(id) = self.id.as_ref().filter(|id| **id != self.address.name) {
            write!(f, " ({id})")?;
        }
        match (&self.action, self.cause) {
            (Action::Update(_) | Action::Replace(_), Cause::Drift) => write!(f, "  [drift: changed in AWS]")?,
            (Action::Update(_) | Action::Replace(_), Cause::Pending) => write!(f, "  [the spec changed]")?,
            (Action::Update(_) | Action::Replace(_), Cause::Follows) => write!(f, "  [follows]")?,
            (Action::Create, Cause::Drift) => write!(f, "  [drift: it was there]")?,
            (Action::Delete(_), Cause::Drift) => write!(f, "  [drift: put there by hand]")?,
            _ => {}
        }
        if let Some(why) = self.action.reason() {
            write!(f, ": {why}")?;
        }
        for c in self.action.changes() {
            let how = match c.how {
                How::InPlace => "",
                How::CreateFirst => "  (needs a new one)",
                How::DeleteFirst => "  (needs a new one; a short outage)",
                How::Blocked(_) => "  (needs consent)",
            };
            write!(f, "\n      {}: {} -> {}{how}", c.field, c.from, c.to)?;
        }
        Ok(())
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}
