//! How a convolution is computed fastest: by a model of costs that was fitted to measurements.
//!
//! The transform is chosen once, for a usual size of output: on others it differs for a layer or two at most, and one transform
//! needs one copy of the weights. How many tiles are in work at once is chosen for each size.

use super::{
    kernel::{Geometry, Kernel},
    winograd::Scheme,
};

/// Floats that transformed inputs and their products may have: a quarter of a second cache of 1 MB.
const CACHE: usize = 64 * 1024;
/// Tiles at once, at least: one register tile of the widest vectors.
const LEAST: usize = 12;
/// Floats of transformed weights that stay in the second cache from one part to the next. Larger ones come from further away for
/// each part, so that parts shall be large.
const WEIGHTS: usize = 128 * 1024;
/// What transforming one channel of one position costs, in multiplications of the product.
const TRANSFORM: usize = 18;

/// The transform that is likely the fastest for an output of this height and width; none where the definition is.
pub fn scheme(
    geometry: &Geometry,
    (inputs, outputs): (usize, usize),
    (height, width): (usize, usize),
) -> Option<Scheme> {
    let product = inputs * outputs;
    let direct = height * width * geometry.size.0 * geometry.size.1 * product;
    let cost = |scheme: &Scheme| {
        let transform = TRANSFORM * (inputs + outputs);
        tiles(*scheme, (height, width)) * scheme.window().pow(2) * (product + transform)
    };
    let schemes = Scheme::ALL.into_iter().filter(|scheme| scheme.fits(geometry));
    schemes.min_by_key(cost).filter(|scheme| cost(scheme) < direct)
}

/// Tiles of an output.
fn tiles(scheme: Scheme, (height, width): (usize, usize)) -> usize {
    height.div_ceil(scheme.outputs()) * width.div_ceil(scheme.outputs())
}

/// How many tiles of an output of this height and width at once: what the cache holds, in equal parts. One without a transform.
pub fn at_once(kernel: &Kernel, size: (usize, usize)) -> usize {
    let Some(scheme) = kernel.scheme else { return 1 };
    let held = CACHE / (scheme.window().pow(2) * (kernel.inputs + kernel.outputs));
    let weights = scheme.window().pow(2) * kernel.inputs * kernel.outputs;
    let least = if weights > WEIGHTS { 2 * LEAST } else { LEAST };
    let most = held.clamp(least, 4 * LEAST) / LEAST * LEAST;
    let all = tiles(scheme, size).max(1);
    // A little more than the cache holds is better than a last part of a few tiles.
    all.div_ceil(all.div_ceil(most + most / 8))
}
