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
        raster.pixels_mut().reverse();
    }
    if turn == Turn::Half { raster } else { quarter(&raster) }
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
