//! Sharpen: each pixel moves away from the mean of the eight around it. What lies beyond the edge looks like the edge.

use crate::picture::{Picture, Raster};

/// The picture, sharpened: `2 c - m`, where `m` is the mean of the eight neighbours of `c`; opacity is kept.
pub fn sharpen(picture: Picture) -> Picture {
    match picture {
        Picture::Gray(raster) => Picture::Gray(sharpened(&raster)),
        Picture::Rgb(raster) => Picture::Rgb(sharpened(&raster)),
        Picture::Rgba(raster) => {
            let mut result = sharpened(&raster);
            for (to, from) in result.pixels_mut().iter_mut().zip(raster.pixels()) {
                to[3] = from[3];
            }
            Picture::Rgba(result)
        }
    }
}

fn sharpened<const N: usize>(from: &Raster<N>) -> Raster<N> {
    let mut to = Raster::new(from.width(), from.height(), vec![0; from.bytes().len()]);
    // The sums of three pixels above each other, with one more pixel at each end.
    let mut sums = vec![0_i16; (from.width() + 2) * N];
    let inner = N..(from.width() + 1) * N;
    for (y, line) in (0..).zip(to.rows_mut()) {
        let [above, here, below] = [y - 1, y, y + 1].map(|y| from.row_near(y).as_flattened());
        for (((sum, a), b), c) in sums[inner.clone()].iter_mut().zip(above).zip(here).zip(below) {
            *sum = i16::from(*a) + i16::from(*b) + i16::from(*c);
        }
        sums.copy_within(N..2 * N, 0);
        sums.copy_within(inner.end - N..inner.end, inner.end);
        let (left, middle, right) = (&sums[..], &sums[N..], &sums[2 * N..]);
        let around = left.iter().zip(middle).zip(right);
        for ((to, centre), ((a, b), c)) in line.as_flattened_mut().iter_mut().zip(here).zip(around) {
            // 2c - (sum - c)/8, in eighths.
            let value = (17 * i16::from(*centre) - (a + b + c) + 4) >> 3;
            *to = value.clamp(0, 255).to_le_bytes()[0];
        }
    }
    to
}
