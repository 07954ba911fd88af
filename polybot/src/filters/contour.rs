//! Contour: the absolute difference of brightness of neighbours in a row. The first pixel of a row has no neighbour to
//! its left: it is black.

use super::gray;
use crate::picture::Picture;

/// The contours of a picture.
pub fn contour(picture: Picture) -> Picture {
    gray::by_row(picture, |row, result| {
        result[0] = 0;
        for ((to, left), right) in result[1..].iter_mut().zip(row).zip(&row[1..]) {
            *to = left.abs_diff(*right);
        }
    })
}
