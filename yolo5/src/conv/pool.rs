//! What moves and compares numbers and multiplies none: pooling, repeating, copying, sums. Sources and targets may be channels of
//! one image, so they are given as places in one slice.

use super::{
    epilogue::silu,
    kernel::Geometry,
    layout::Image,
    simd::{Simd, Work},
};

/// Channels of an image somewhere in a stream's memory.
#[derive(Clone, Copy, Debug)]
pub struct Area {
    /// Where the image begins.
    pub begin: usize,
    /// Its form.
    pub image: Image,
    /// The first channel.
    pub channel: usize,
    /// How many.
    pub channels: usize,
}

impl Area {
    fn at(&self, y: usize, x: usize) -> usize {
        self.begin + self.image.at((y, x), (0, 0)) + self.channel
    }

    fn pixels(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let width = self.image.width;
        (0..self.image.height * width).map(move |i| (i / width, i % width))
    }
}

/// Each pixel of x, `times` down and across. Once is a copy.
pub fn repeat(memory: &mut [f32], x: Area, y: Area, times: usize) {
    for (row, column) in y.pixels() {
        let from = x.at(row / times, column / times);
        memory.copy_within(from..from + x.channels, y.at(row, column));
    }
}

/// y = a + b
pub fn add(memory: &mut [f32], [a, b]: [Area; 2], y: Area) {
    let channels = y.channels;
    for (row, column) in y.pixels() {
        let (a, b, y) = (a.at(row, column), b.at(row, column), y.at(row, column));
        for c in 0..channels {
            memory[y + c] = memory[a + c] + memory[b + c];
        }
    }
}

/// SiLU of an image, as [`Work`].
pub struct Activate<'a> {
    /// Where both images are.
    pub memory: &'a mut [f32],
    /// From.
    pub x: Area,
    /// To.
    pub y: Area,
}

impl Work for Activate<'_> {
    type Out = ();

    #[inline(always)]
    fn with<S: Simd>(self, s: S) {
        for (row, column) in self.y.pixels() {
            let (from, to) = (self.x.at(row, column), self.y.at(row, column));
            for c in (0..self.x.channels).step_by(S::LANES) {
                let n = self.x.channels - c;
                let v = silu(s, s.load_part(self.memory, from + c, n));
                s.store_part(self.memory, to + c, n, v);
            }
        }
    }
}

/// The greatest of each window: along rows into `scratch`, then along columns.
pub fn pool(memory: &mut [f32], x: Area, y: Area, geometry: &Geometry, scratch: &mut [f32]) {
    let (channels, width) = (x.channels, y.image.width);
    let window = |at: usize, stride: usize, before: usize, size: usize, length: usize| {
        (at * stride).saturating_sub(before)..(at * stride + size).saturating_sub(before).min(length)
    };
    let most =
        |to: &mut [f32], from: &[f32]| to.iter_mut().zip(from).for_each(|(a, b)| *a = if *b > *a { *b } else { *a });
    for row in 0..x.image.height {
        for column in 0..width {
            let to = &mut scratch[(row * width + column) * channels..][..channels];
            to.fill(f32::NEG_INFINITY);
            for c in window(column, geometry.stride.1, geometry.before.1, geometry.size.1, x.image.width) {
                most(to, &memory[x.at(row, c)..][..channels]);
            }
        }
    }
    for (row, column) in y.pixels() {
        let to = &mut memory[y.at(row, column)..][..channels];
        to.fill(f32::NEG_INFINITY);
        for r in window(row, geometry.stride.0, geometry.before.0, geometry.size.0, x.image.height) {
            most(to, &scratch[(r * width + column) * channels..][..channels]);
        }
    }
}
