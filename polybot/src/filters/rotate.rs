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
    match turn {
        Turn::Half => {
            raster.pixels_mut().reverse();
            raster
        }
        Turn::Quarter => transposed(&raster, |height, y| height - 1 - y, |_, x| x),
        Turn::ThreeQuarters => transposed(&raster, |_, y| y, |width, x| width - 1 - x),
    }
}

/// Column `x` becomes row `row(width, x)`, and row `y` becomes column `column(height, y)`. It goes by squares whose rows
/// of both rasters stay in the nearest cache.
fn transposed<const N: usize>(
    from: &Raster<N>,
    column: impl Fn(usize, usize) -> usize,
    row: impl Fn(usize, usize) -> usize,
) -> Raster<N> {
    const SQUARE: usize = 16;
    let (width, height) = (from.width(), from.height());
    let mut to = Raster::<N>::new(height, width, vec![0; from.bytes().len()]);
    let (source, target) = (from.pixels(), to.pixels_mut());
    for top in (0..height).step_by(SQUARE) {
        let bottom = (top + SQUARE).min(height);
        for left in (0..width).step_by(SQUARE) {
            for x in left..(left + SQUARE).min(width) {
                let line = &mut target[row(width, x) * height..][..height];
                for y in top..bottom {
                    line[column(height, y)] = source[y * width + x];
                }
            }
        }
    }
    to
}
