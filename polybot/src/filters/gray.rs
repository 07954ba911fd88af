//! Gray: how bright each pixel looks.

use crate::picture::{Picture, Raster};
use multiversion::multiversion;

/// The gray picture; opacity is kept.
pub fn gray(picture: Picture) -> Picture {
    match picture {
        Picture::Gray(_) => picture,
        Picture::Rgb(colours) => Picture::Gray(plane(&colours)),
        Picture::Rgba(colours) => with_opacity(&plane(&colours), &colours),
    }
}

/// How bright a pixel looks: `0.2989 R + 0.5870 G + 0.1140 B`, rounded to the nearest whole number, halves up. Exact: the
/// true values are multiples of 1/10000, the bias is half of that, and the error of the sum is less than either.
#[inline]
pub fn brightness([r, g, b, _]: [u8; 4]) -> u8 {
    /// The last bit of a float of this size is worth one: adding it rounds, and the low byte is the whole number.
    const ROUND: f32 = 8_388_608.0;
    let value = f32::from(r) * 0.2989 + f32::from(g) * 0.5870 + f32::from(b) * 0.1140;
    (value + 0.000_05 + ROUND).to_bits().to_le_bytes()[0]
}

/// How bright each pixel looks.
pub fn plane(colours: &Raster<4>) -> Raster<1> {
    let mut bytes = vec![0; colours.pixels().len()];
    row(colours.pixels(), &mut bytes);
    Raster::new(colours.width(), colours.height(), bytes)
}

/// How bright the pixels of a row look. Sixteen at a time fill the registers of the processor.
#[multiversion(targets("x86_64+avx2"))]
fn row(pixels: &[[u8; 4]], result: &mut [u8]) {
    let (blocks, rest) = pixels.as_chunks::<16>();
    let (to_blocks, to_rest) = result.as_chunks_mut::<16>();
    for (to, block) in to_blocks.iter_mut().zip(blocks) {
        for (to, pixel) in to.iter_mut().zip(block) {
            *to = brightness(*pixel);
        }
    }
    for (to, pixel) in to_rest.iter_mut().zip(rest) {
        *to = brightness(*pixel);
    }
}

/// Turns each row of brightness into a row of the result, keeping the opacity that the picture had.
pub fn by_row(picture: Picture, mut work: impl FnMut(&[u8], &mut [u8])) -> Picture {
    match picture {
        Picture::Gray(gray) => {
            let mut result = vec![0; gray.bytes().len()];
            let width = gray.width();
            for (from, to) in gray.bytes().chunks_exact(width).zip(result.chunks_exact_mut(width)) {
                work(from, to);
            }
            Picture::Gray(Raster::new(width, gray.height(), result))
        }
        Picture::Rgb(colours) => Picture::Gray(rows_of(&colours, work)),
        Picture::Rgba(colours) => with_opacity(&rows_of(&colours, work), &colours),
    }
}

fn rows_of(colours: &Raster<4>, mut work: impl FnMut(&[u8], &mut [u8])) -> Raster<1> {
    let width = colours.width();
    let mut result = vec![0; colours.pixels().len()];
    let mut gray = vec![0; width];
    for (from, to) in colours.pixels().chunks_exact(width).zip(result.chunks_exact_mut(width)) {
        row(from, &mut gray);
        work(&gray, to);
    }
    Raster::new(width, colours.height(), result)
}

fn with_opacity(gray: &Raster<1>, colours: &Raster<4>) -> Picture {
    let bytes = gray.bytes().iter().zip(colours.pixels()).flat_map(|(&v, p)| [v, v, v, p[3]]).collect();
    Picture::Rgba(Raster::new(gray.width(), gray.height(), bytes))
}
