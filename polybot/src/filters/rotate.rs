//! Rotate: by quarters of a turn, clockwise.

use crate::picture::{Picture, Raster};

/// How far a picture is turned, clockwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// 90 degrees.
    Quarter,
    /// 180 degrees.
    Half,
    /// 270 degrees.
    ThreeQuarters,
}

/// The picture, turned.
pub fn rotate(picture: Picture, turn: Turn) -> Picture {
    match picture {
        Picture::Gray(raster) => Picture::Gray(turned(raster, turn)),
        Picture::Rgb(raster) => Picture::Rgb(turned(raster, turn)),
        Picture::Rgba(raster) => Picture::Rgba(turned(raster, turn)),
    }
}

fn turned<const N: usize>(mut raster: Raster<N>, turn: Turn) -> Raster<N> {
    if turn != Turn::Quarter {
        half(&mut raster);
    }
    if turn == Turn::Half { raster } else { quarter(&raster) }
}

/// Upside down: rows change places, and each goes back to front. A copy of one stays in the cache, so that memory is gone through in
/// one direction.
fn half<const N: usize>(raster: &mut Raster<N>) {
    let (width, height) = (raster.width(), raster.height());
    let mut line = vec![[0_u8; N]; width];
    let (top, rest) = raster.pixels_mut().split_at_mut(height / 2 * width);
    let (middle, bottom) = rest.split_at_mut(height % 2 * width);
    middle.reverse();
    for (upper, lower) in top.chunks_exact_mut(width).zip(bottom.rchunks_exact_mut(width)) {
        line.copy_from_slice(upper);
        upper.iter_mut().zip(lower.iter().rev()).for_each(|(to, from)| *to = *from);
        lower.iter_mut().zip(line.iter().rev()).for_each(|(to, from)| *to = *from);
    }
}

/// Columns that are read at a time: they share lines of the cache, and what is made of them stays in it.
const COLUMNS: usize = 8;

/// Each column, from the bottom up, is a row of the result.
fn quarter<const N: usize>(from: &Raster<N>) -> Raster<N> {
    let (width, height) = (from.width(), from.height());
    let mut bytes = Vec::with_capacity(from.bytes().len());
    let mut rows = vec![[0_u8; N]; COLUMNS * height];
    for left in (0..width).step_by(COLUMNS) {
        let across = COLUMNS.min(width - left);
        for y in 0..height {
            let pixels = &from.row(height - 1 - y)[left..left + across];
            for (x, pixel) in pixels.iter().enumerate() {
                rows[x * height + y] = *pixel;
            }
        }
        bytes.extend_from_slice(rows[..across * height].as_flattened());
    }
    Raster::new(height, width, bytes)
}
