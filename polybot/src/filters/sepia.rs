//! Sepia: the brown of old photographs.

use crate::picture::{Picture, Raster};
use multiversion::multiversion;

/// How much of red, green and blue goes into red, green and blue; the customary weights.
const WEIGHTS: [[f32; 3]; 3] = [[0.393, 0.769, 0.189], [0.349, 0.686, 0.168], [0.272, 0.534, 0.131]];

/// The picture in sepia; opacity is kept.
pub fn sepia(picture: Picture) -> Picture {
    match picture.into_colour() {
        Picture::Rgb(raster) => Picture::Rgb(toned(raster)),
        Picture::Rgba(raster) => Picture::Rgba(toned(raster)),
        gray @ Picture::Gray(_) => gray,
    }
}

/// A pixel is one word here, and its colours are moved by shifts: so eight pixels fill a register without being sorted.
#[multiversion(targets("x86_64+avx2"))]
fn toned(mut raster: Raster<4>) -> Raster<4> {
    /// See [`super::gray::brightness`].
    const ROUND: f32 = 8_388_608.0;
    for pixel in raster.pixels_mut() {
        let word = u32::from_le_bytes(*pixel);
        let [r, g, b] = [0, 8, 16].map(|shift| f32::from((word >> shift & 255) as u16));
        let tone = |w: [f32; 3]| ((r * w[0] + g * w[1] + b * w[2]).min(255.0) + ROUND).to_bits() & 255;
        let [r, g, b] = WEIGHTS.map(tone);
        *pixel = (r | g << 8 | b << 16 | word & 0xff00_0000).to_le_bytes();
    }
    raster
}
