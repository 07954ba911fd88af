//! Pixelate: each square of the picture becomes one colour, its mean.

use crate::picture::{Picture, Raster};

/// The side of a square where the user gives none.
pub const DEFAULT: u32 = 16;
/// The largest square.
pub const MAX: u32 = 1000;

/// The picture in squares of `size` by `size` pixels.
pub fn pixelate(picture: Picture, size: u32) -> Picture {
    let size = size.clamp(1, MAX) as usize;
    picture.with_weighted_colours(|raster| squares(raster, size), |raster| squares(raster, size))
}

fn squares<const N: usize>(mut raster: Raster<N>, size: usize) -> Raster<N> {
    let width = raster.width();
    let mut sums = vec![[0_u32; N]; width.div_ceil(size)];
    for band in raster.pixels_mut().chunks_mut(size * width) {
        sums.fill([0; N]);
        for row in band.chunks_exact(width) {
            for (sums, square) in sums.iter_mut().zip(row.chunks(size)) {
                for pixel in square {
                    for (sum, value) in sums.iter_mut().zip(pixel) {
                        *sum += u32::from(*value);
                    }
                }
            }
        }
        let rows = band.len() / width;
        let (first, rest) = band.split_at_mut(width);
        for (sums, square) in sums.iter().zip(first.chunks_mut(size)) {
            let count = u32::try_from(square.len() * rows).unwrap_or(u32::MAX);
            square.fill(sums.map(|sum| ((sum + count / 2) / count).to_le_bytes()[0]));
        }
        for row in rest.chunks_exact_mut(width) {
            row.copy_from_slice(first);
        }
    }
    raster
}
