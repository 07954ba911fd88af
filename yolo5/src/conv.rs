//! Convolutional networks, compiled for the processor at hand. `docs/convolutions.md` tells how fast
//! it is, what was tried, and what lost.
//!
//! From a model to numbers, one file a stage:
//!
//! * [`import`]: the pass over tract's typed model. What it does not know stays tract's.
//! * [`graph`]: a network without shapes; `fuse` rewrites it so that it computes the same with less work.
//! * [`plan`]: a network for one size of input: `place` decides where every value lives, and `tune` how it is computed.
//! * [`kernel`]: a convolution's weights, packed once and shared by all plans and streams.
//! * [`direct`] and [`winograd`]: the two ways of convolving; [`epilogue`]: what is done to a sum before it is stored; `pool`: what
//!   moves numbers and multiplies none.
//! * [`layout`]: images in memory. [`simd`]: vectors of floats, and all `unsafe` of the workspace.

#![expect(clippy::inline_always, reason = "only what is inlined into `Simd::run` is compiled for its instructions")]
#![expect(
    clippy::many_single_char_names,
    reason = "the letters of the papers: x, y, w, m for images, outputs, weights, products"
)]

#[cfg(test)]
mod against_tract;
pub mod direct;
pub mod epilogue;
mod fuse;
pub mod graph;
pub mod import;
pub mod kernel;
pub mod layout;
mod place;
pub mod plan;
mod pool;
#[cfg(test)]
mod reference;
pub mod simd;
mod tune;
pub mod winograd;
