//! The engine: what is wanted, what was found, the plan between the two, and carrying it out.
//!
//! # Theory of operation
//!
//! ```text
//! spec --stack()--> Wanted --+
//!                            +-- plan() --> Plan --apply()--> AWS
//! AWS --observe()--> Found --+
//! ```
//!
//! * `observe` only reads, [`plan`] is pure, [`apply`] carries out the plan and nothing but the plan. Destroying a stack is
//!   the plan of an empty [`Wanted`].
//! * There is no state file. The ownership tags, written in the same call that creates, are the state; so a crash at any
//!   call heals on the next pass: what was made is found again by its tags, what was not is still missing.
//! * A kind of resource implements [`Resource`]. Its struct is the wanted state, and reading AWS gives the same struct
//!   back, so a difference is a comparison field by field.
//! * References are typed. [`Wanted::add`] returns a [`Handle`], and [`Handle::out`] is an [`Input`] of another resource,
//!   so a cycle cannot be written and the order of adding is an order of creating.
//! * Building up runs in parallel along the references. Tearing down runs along the references that the *found* things
//!   hold to each other, so it needs no spec at all. A thing goes when its replacement is up and its dependents have
//!   moved or gone; a rogue thing, which nobody refers to, goes at once.
//! * Of several live things at one address (a crash left twins) the one nearest to the wish stays and the others go.
//! * A kind whose list failed is unknown: nothing of it is made, changed or removed, and its dependents wait.

pub mod apply;
mod erased;
mod input;
mod memory;
pub mod observe;
mod plan;
mod resource;
mod show;
mod wanted;

pub use apply::{Consent, Event, Outcome, Progress, Report, apply, left};
pub use erased::{Found, Kind, Of};
pub use input::{Input, Outputs, Slot};
pub use observe::{Observed, observe};
pub use plan::{Action, Cause, Ignored, Plan, Policy, Step, plan};
pub use resource::{Address, Change, How, Live, Owner, Phase, Resource, Tags, differs, differs_as};
pub use show::Summary;
pub use wanted::{Handle, Wanted};
