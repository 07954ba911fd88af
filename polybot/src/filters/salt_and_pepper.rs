//! Salt and pepper: some pixels, chosen by chance, turn white or black.

use crate::picture::{Picture, Raster};

/// The share of pixels where the user gives none.
pub const DEFAULT: f64 = 0.1;

/// The picture with a `share` (0 to 1) of its pixels turned white or black, half each. The same `seed` chooses the same
/// pixels.
pub fn salt_and_pepper(picture: Picture, share: f64, seed: u64) -> Picture {
    match picture {
        Picture::Gray(raster) => Picture::Gray(strewn(raster, share, seed)),
        Picture::Rgb(raster) => Picture::Rgb(strewn(raster, share, seed)),
        Picture::Rgba(raster) => Picture::Rgba(strewn(raster, share, seed)),
    }
}

fn strewn<const N: usize>(mut raster: Raster<N>, share: f64, seed: u64) -> Raster<N> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 2^32")]
    let limit = (share.clamp(0.0, 1.0) * 4_294_967_296.0) as u64;
    let mut state = seed;
    for pixel in raster.pixels_mut() {
        let chance = next(&mut state);
        if chance >> 32 < limit {
            // The lowest bit has no part in the comparison above.
            let value = if chance & 1 == 0 { 0 } else { 255 };
            for (k, byte) in pixel.iter_mut().enumerate() {
                *byte = if k == 3 { *byte } else { value };
            }
        }
    }
    raster
}

/// SplitMix64, the generator that seeds others: one multiplication after the other over a counter.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
