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
        Axis::Horizontal => raster.rows_mut().for_each(<[_]>::reverse),
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
