//! Values that one resource takes from another, known now or only after the other exists.

use super::Address;
use std::{any::Any, collections::BTreeMap, fmt, sync::Arc};

type Getter<V> = Arc<dyn Fn(&Outputs) -> Option<V> + Send + Sync>;

/// A value of another resource, or of the world outside the stack.
#[derive(Clone)]
pub enum Input<V> {
    /// The value itself.
    Known(V),
    /// Known once the resource at this address exists (or has been changed).
    After(Address, Getter<V>),
    /// Not to be had at present; the text says why and how to mend it. The resource waits.
    Absent(String),
}

impl<V> Input<V> {
    /// The value, where it is known.
    pub fn known(&self) -> Option<&V> {
        match self {
            Self::Known(v) => Some(v),
            _ => None,
        }
    }

    /// The value; for use by a step that runs, whose inputs the executor has filled.
    pub fn get(&self) -> crate::aws::Result<&V> {
        match self {
            Self::Known(v) => Ok(v),
            Self::After(a, _) => Err(crate::aws::Error::internal(format!("an input still waits for {a}"))),
            Self::Absent(why) => Err(crate::aws::Error::internal(why.clone())),
        }
    }
}

impl<V> From<Result<V, String>> for Input<V> {
    fn from(fact: Result<V, String>) -> Self {
        fact.map_or_else(Self::Absent, Self::Known)
    }
}

impl<V: PartialEq> PartialEq for Input<V> {
    /// A value that is not known yet equals nothing, so whatever depends on a new thing shows as a change.
    fn eq(&self, other: &Self) -> bool {
        matches!((self, other), (Self::Known(a), Self::Known(b)) if a == b)
    }
}

impl<V: fmt::Debug> fmt::Debug for Input<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(v) => v.fmt(f),
            Self::After(a, _) => write!(f, "(known after {a})"),
            Self::Absent(_) => write!(f, "(not to be had)"),
        }
    }
}

/// An [`Input`] with its type hidden, so that different ones share a list.
pub trait Slot {
    /// The resource this value comes from, as long as it is not known.
    fn source(&self) -> Option<&Address>;
    /// Why the value is not to be had.
    fn absent(&self) -> Option<&str>;
    /// The value as text, where it is known: how the planner sees which live thing refers to which.
    fn text(&self) -> Option<String>;
    /// Takes the value out of `outputs` if it is there by now.
    fn fill(&mut self, outputs: &Outputs);
}

impl<V: fmt::Display + Send + Sync + 'static> Slot for Input<V> {
    fn source(&self) -> Option<&Address> {
        match self {
            Self::After(a, _) => Some(a),
            _ => None,
        }
    }
    fn absent(&self) -> Option<&str> {
        match self {
            Self::Absent(why) => Some(why),
            _ => None,
        }
    }
    fn text(&self) -> Option<String> {
        self.known().map(ToString::to_string)
    }
    fn fill(&mut self, outputs: &Outputs) {
        if let Self::After(_, get) = self
            && let Some(v) = get(outputs)
        {
            *self = Self::Known(v);
        }
    }
}

/// What the resources that exist offer to others.
#[derive(Clone, Default)]
pub struct Outputs(BTreeMap<Address, Entry>);

#[derive(Clone)]
struct Entry {
    output: Arc<dyn Any + Send + Sync>,
    /// A step of this plan will alter the volatile part.
    altering: bool,
}

impl Outputs {
    pub(super) fn insert(&mut self, address: Address, output: Arc<dyn Any + Send + Sync>, altering: bool) {
        self.0.insert(address, Entry { output, altering });
    }
    pub(super) fn stable<O: 'static>(&self, address: &Address) -> Option<&O> {
        self.0.get(address)?.output.downcast_ref()
    }
    pub(super) fn settled<O: 'static>(&self, address: &Address) -> Option<&O> {
        self.0.get(address).filter(|e| !e.altering)?.output.downcast_ref()
    }
}
