//! Sepia: the brown of old photographs.

use crate::picture::{Picture, Raster};

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

fn toned(mut raster: Raster<4>) -> Raster<4> {
    /// See [`super::gray::brightness`].
    const ROUND: f32 = 8_388_608.0;
    for pixel in raster.pixels_mut() {
        let [r, g, b, a] = *pixel;
        let [r, g, b] = [f32::from(r), f32::from(g), f32::from(b)];
        let tone = |w: [f32; 3]| ((r * w[0] + g * w[1] + b * w[2]).min(255.0) + ROUND).to_bits().to_le_bytes()[0];
        *pixel = [tone(WEIGHTS[0]), tone(WEIGHTS[1]), tone(WEIGHTS[2]), a];
    }
    raster
}
