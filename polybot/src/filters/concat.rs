//! Concat: several pictures side by side, or one above the other.

use super::resize;
use crate::picture::{MAX_PIXELS, MAX_SIDE, Picture, Raster};

/// Where the next picture goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// To the right of the one before.
    Right,
    /// To the left of it.
    Left,
    /// Below it.
    Below,
    /// Above it.
    Above,
}

/// Pictures put together, and what had to be done so that they fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The one picture.
    pub picture: Picture,
    /// Some were scaled down to the size of the others.
    pub scaled: bool,
    /// Some were too small, and have white around them.
    pub padded: bool,
}

/// Puts pictures together in their order. Pictures of different height (or width, where they lie above each other) are
/// scaled down to the least, but not below half of the greatest: smaller ones have white around them.
pub fn concat(pictures: Vec<Picture>, side: Side) -> Joined {
    let across = matches!(side, Side::Left | Side::Right);
    let thickness = |p: &Picture| if across { p.height() } else { p.width() };
    let length = |p: &Picture| if across { p.width() } else { p.height() };
    let least = pictures.iter().map(thickness).min().unwrap_or(1);
    let greatest = pictures.iter().map(thickness).max().unwrap_or(1);
    let mut common = least.max(greatest.div_ceil(2));
    // The result must fit into the limits, too.
    let total: usize = pictures.iter().map(|p| (length(p) * common).div_ceil(thickness(p).max(common)).max(1)).sum();
    if total > MAX_SIDE || total * common > MAX_PIXELS {
        common = (common * MAX_SIDE / total).min(MAX_PIXELS / total).min(common).max(1);
    }

    let (mut scaled, mut padded) = (false, false);
    let mut fitted: Vec<Picture> = pictures
        .into_iter()
        .map(|picture| {
            let thick = thickness(&picture);
            padded |= thick < common;
            if thick <= common {
                return picture;
            }
            scaled = true;
            let long = (length(&picture) * common / thick).max(1);
            let (width, height) = if across { (long, common) } else { (common, long) };
            resize::to_size(picture, width, height)
        })
        .collect();
    if matches!(side, Side::Left | Side::Above) {
        fitted.reverse();
    }
    let total = fitted.iter().map(length).sum();
    let (width, height) = if across { (total, common) } else { (common, total) };
    let picture = if fitted.iter().all(|p| matches!(p, Picture::Gray(_))) {
        let rasters = fitted.into_iter().filter_map(|p| if let Picture::Gray(r) = p { Some(r) } else { None });
        Picture::Gray(paste(rasters, width, height, across, [255]))
    } else {
        let clear = fitted.iter().any(|p| matches!(p, Picture::Rgba(_)));
        let rasters = fitted.into_iter().filter_map(|p| match p.into_colour() {
            Picture::Rgb(r) | Picture::Rgba(r) => Some(r),
            Picture::Gray(_) => None,
        });
        let raster = paste(rasters, width, height, across, [255; 4]);
        if clear { Picture::Rgba(raster) } else { Picture::Rgb(raster) }
    };
    Joined { picture, scaled, padded }
}

fn paste<const N: usize>(
    rasters: impl Iterator<Item = Raster<N>>,
    width: usize,
    height: usize,
    across: bool,
    background: [u8; N],
) -> Raster<N> {
    let rasters: Vec<Raster<N>> = rasters.collect();
    // Written once from the first byte to the last: nothing is zeroed first.
    let mut bytes = Vec::with_capacity(width * height * N);
    let pad = |bytes: &mut Vec<u8>, pixels: usize| bytes.extend(std::iter::repeat_n(background, pixels).flatten());
    if across {
        for y in 0..height {
            for from in &rasters {
                match y.checked_sub((height - from.height()) / 2).filter(|y| *y < from.height()) {
                    Some(y) => bytes.extend_from_slice(from.row(y).as_flattened()),
                    None => pad(&mut bytes, from.width()),
                }
            }
        }
    } else {
        for from in &rasters {
            let left = (width - from.width()) / 2;
            for row in from.pixels().chunks_exact(from.width()) {
                pad(&mut bytes, left);
                bytes.extend_from_slice(row.as_flattened());
                pad(&mut bytes, width - from.width() - left);
            }
        }
    }
    Raster::new(width, height, bytes)
}
