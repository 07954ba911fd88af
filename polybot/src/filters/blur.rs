//! Blur: each pixel becomes the mean of the square around it. What lies beyond the edge looks like the edge.
//!
//! A sum for each column over the square's height moves down row by row, and a sum over the square's width moves along
//! it: the work does not grow with the square.

use crate::picture::{Picture, Raster};
use multiversion::multiversion;

/// The side of the square where the user gives none.
pub const DEFAULT: u32 = 16;
/// The widest square.
pub const MAX: u32 = 1000;

/// The picture, blurred by squares of `size` by `size` pixels.
pub fn blur(picture: Picture, size: u32) -> Picture {
    let size = size.clamp(1, MAX);
    picture.with_weighted_colours(|raster| blurred(&raster, size), |raster| blurred(&raster, size))
}

#[multiversion(targets("x86_64+avx2"))]
fn blurred<const N: usize>(from: &Raster<N>, size: u32) -> Raster<N> {
    let before = (size / 2).cast_signed() as isize;
    let after = (size - 1).cast_signed() as isize - before;
    let mut columns = vec![[0_i32; N]; from.width()];
    for y in -before..=after {
        for (sums, pixel) in columns.iter_mut().zip(from.row_near(y)) {
            for (sum, value) in sums.iter_mut().zip(pixel) {
                *sum += i32::from(*value);
            }
        }
    }
    let mut to = Raster::new(from.width(), from.height(), vec![0; from.bytes().len()]);
    for (y, line) in (0..).zip(to.rows_mut()) {
        means(&columns, line, before.cast_unsigned(), after.cast_unsigned());
        let (enters, leaves) = (from.row_near(y + after + 1), from.row_near(y - before));
        for ((sums, new), old) in columns.iter_mut().zip(enters).zip(leaves) {
            for ((sum, new), old) in sums.iter_mut().zip(new).zip(old) {
                *sum += i32::from(*new) - i32::from(*old);
            }
        }
    }
    to
}

/// The means along a row of sums of columns.
#[expect(clippy::inline_always, reason = "the wider registers are for `blurred` and what is inlined into it")]
#[inline(always)]
fn means<const N: usize>(columns: &[[i32; N]], line: &mut [[u8; N]], before: usize, after: usize) {
    let last = columns.len() - 1;
    let size = before + after + 1;
    #[expect(clippy::cast_precision_loss, reason = "a square of at most 1000 by 1000")]
    let share = 1.0 / (size * size) as f32;
    let mut sum = [0_i32; N];
    let mut add = |from: [i32; N], times: usize| {
        let times = i32::try_from(times).unwrap_or(i32::MAX);
        for (sum, value) in sum.iter_mut().zip(from) {
            *sum += value * times;
        }
    };
    add(columns[0], before);
    columns.iter().take(after + 1).for_each(|column| add(*column, 1));
    add(columns[last], after.saturating_sub(last));

    // Left of `inside` the square sticks out on the left, right of it on the right (or on both sides everywhere).
    let mut step = |to: &mut [u8; N], enters: &[i32; N], leaves: &[i32; N]| {
        *to = mean(sum, share);
        for ((sum, new), old) in sum.iter_mut().zip(enters).zip(leaves) {
            *sum += new - old;
        }
    };
    let left = before.min(columns.len());
    for (x, to) in line[..left].iter_mut().enumerate() {
        step(to, &columns[(x + after + 1).min(last)], &columns[0]);
    }
    let inside = columns.len().saturating_sub(size);
    let middle = &mut line[left..(left + inside).max(left)];
    for ((to, enters), leaves) in middle.iter_mut().zip(columns.get(size..).unwrap_or_default()).zip(columns) {
        step(to, enters, leaves);
    }
    for (x, to) in line.iter_mut().enumerate().skip(left + inside) {
        step(to, &columns[last], &columns[x - before]);
    }
}

#[expect(clippy::cast_precision_loss, reason = "one part in 16 million is far below half a shade")]
#[inline(always)]
fn mean<const N: usize>(sum: [i32; N], share: f32) -> [u8; N] {
    /// See [`super::gray::brightness`].
    const ROUND: f32 = 8_388_608.0;
    sum.map(|sum| (sum as f32 * share + ROUND).to_bits().to_le_bytes()[0])
}
