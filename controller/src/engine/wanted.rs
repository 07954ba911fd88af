//! The whole stack as the spec wants it: pure data, nothing was asked of AWS.

use super::{Address, Input, Resource, erased::Node};
use std::{marker::PhantomData, sync::Arc};

/// The whole stack as the spec wants it. An empty one is what `destroy` plans.
#[derive(Default)]
pub struct Wanted(pub(super) Vec<(Address, Box<dyn Node>)>);

impl Wanted {
    /// Adds a resource under a name that is unique within its kind.
    pub fn add<R: Resource>(&mut self, name: impl Into<String>, resource: R) -> Handle<R> {
        let address = Address::new(R::KIND, name);
        debug_assert!(self.0.iter().all(|(a, _)| *a != address), "{address} was added twice");
        self.0.push((address.clone(), Box::new(resource)));
        Handle { address, kind: PhantomData }
    }

    /// Addresses in order of creation.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.0.iter().map(|(a, _)| a)
    }

    /// Those of one kind.
    pub fn of<R: Resource>(&self) -> impl Iterator<Item = (&Address, &R)> {
        self.0.iter().filter_map(|(address, node)| Some((address, node.as_any().downcast_ref()?)))
    }

    /// The unique names that the resources will have in AWS, where a name is known before it exists.
    pub fn names(&self) -> impl Iterator<Item = (&Address, String)> {
        self.0.iter().filter_map(|(address, node)| Some((address, node.name()?)))
    }

    /// Which resource takes a value from which: `(dependent, source)` in order of creation. For pictures of the stack.
    pub fn references(&self) -> Vec<(Address, Address)> {
        let mut pairs = vec![];
        for (address, node) in &self.0 {
            let mut node = node.clone_box();
            let mut sources: Vec<_> = node.inputs().iter().filter_map(|s| s.source().cloned()).collect();
            sources.sort();
            sources.dedup();
            pairs.extend(sources.into_iter().map(|source| (address.clone(), source)));
        }
        pairs
    }
}

/// Proof that a resource was added. Having one is the only way to refer to it, so the stack has no cycles.
pub struct Handle<R> {
    address: Address,
    kind: PhantomData<fn() -> R>,
}

impl<R: Resource> Handle<R> {
    /// A value that stays the same for as long as the resource lives: an id, ARN or name.
    pub fn out<V: 'static>(&self, get: fn(&R::Output) -> V) -> Input<V> {
        let at = self.address.clone();
        Input::After(self.address.clone(), Arc::new(move |o| o.stable(&at).map(get)))
    }

    /// A value that a change in place may alter, such as the certificate under an ARN.
    pub fn volatile<V: 'static>(&self, get: fn(&R::Output) -> V) -> Input<V> {
        let at = self.address.clone();
        Input::After(self.address.clone(), Arc::new(move |o| o.settled(&at).map(get)))
    }

    /// Where the resource stands in the stack.
    pub fn address(&self) -> &Address {
        &self.address
    }
}
