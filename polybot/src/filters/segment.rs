//! Segment: what is brighter than a threshold is white, the rest black.

use super::gray;
use crate::picture::Picture;

/// Gray above this is white.
pub const THRESHOLD: u8 = 100;

/// The picture in black and white.
pub fn segment(picture: Picture) -> Picture {
    gray::by_row(picture, |row, result| {
        for (to, gray) in result.iter_mut().zip(row) {
            *to = if *gray > THRESHOLD { 255 } else { 0 };
        }
    })
}
