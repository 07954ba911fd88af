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
        Turn::Quarter => {
            // Column by column from the bottom up.
            transposed(&raster, |height, y| height - 1 - y, |_, x| x)
        }
        Turn::ThreeQuarters => transposed(&raster, |_, y| y, |width, x| width - 1 - x),
    }
}

/// Side of the squares by which a raster is turned: their rows, in both rasters, stay in the nearest cache.
const SQUARE: usize = 4;

/// Pixel `i` of row `x` of the result is pixel `x'` of row `source_row(height, i)`, where `x'` is `source_column(width, x)`.
fn transposed<const N: usize>(
    from: &Raster<N>,
    source_row: impl Fn(usize, usize) -> usize,
    source_column: impl Fn(usize, usize) -> usize,
) -> Raster<N> {
    let (width, height) = (from.width(), from.height());
    let mut to = Raster::<N>::new(height, width, vec![0; from.bytes().len()]);
    let mut square = [[[0_u8; N]; SQUARE]; SQUARE];
    for top in (0..height).step_by(SQUARE) {
        let down = SQUARE.min(height - top);
        for left in (0..width).step_by(SQUARE) {
            let across = SQUARE.min(width - left);
            for (i, line) in square[..down].iter_mut().enumerate() {
                let row = from.row(source_row(height, top + i));
                line[..across].copy_from_slice(&row[left..left + across]);
            }
            for j in 0..across {
                let line = &mut to.pixels_mut()[source_column(width, left + j) * height + top..][..down];
                if let Ok(line) = <&mut [_; SQUARE]>::try_from(&mut *line) {
                    *line = square.map(|row| row[j]);
                } else {
                    line.iter_mut().zip(&square).for_each(|(pixel, row)| *pixel = row[j]);
                }
            }
        }
    }
    to
}
