//! Which algorithm computes a convolution fastest here: a good guess at once, and better by measuring.

use super::{
    kernel::{Algorithm, Kernel},
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

/// The algorithm that is likely the fastest for an output of this height and width.
pub fn guess(kernel: &Kernel, (height, width): (usize, usize)) -> Algorithm {
    let product = kernel.inputs * kernel.outputs;
    let direct = height * width * kernel.geometry.size.0 * kernel.geometry.size.1 * product;
    let cost = |scheme: &Scheme| {
        let transform = TRANSFORM * (kernel.inputs + kernel.outputs);
        tiles(*scheme, (height, width)) * scheme.window().pow(2) * (product + transform)
    };
    match kernel.schemes().into_iter().min_by_key(cost) {
        Some(scheme) if cost(&scheme) < direct => Algorithm::Winograd(scheme, at_once(kernel, scheme, (height, width))),
        _ => Algorithm::Direct,
    }
}

/// Tiles of an output.
fn tiles(scheme: Scheme, (height, width): (usize, usize)) -> usize {
    height.div_ceil(scheme.outputs()) * width.div_ceil(scheme.outputs())
}

/// How many tiles at once: what the cache holds, in equal parts.
fn at_once(kernel: &Kernel, scheme: Scheme, size: (usize, usize)) -> usize {
    let held = CACHE / (scheme.window().pow(2) * (kernel.inputs + kernel.outputs));
    let weights = scheme.window().pow(2) * kernel.inputs * kernel.outputs;
    let least = if weights > WEIGHTS { 2 * LEAST } else { LEAST };
    let most = held.clamp(least, 4 * LEAST) / LEAST * LEAST;
    let all = tiles(scheme, size).max(1);
    // A little more than the cache holds is better than a last part of a few tiles.
    all.div_ceil(all.div_ceil(most + most / 8))
}
