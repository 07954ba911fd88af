//! How an image of many channels lies in memory: row by row, pixel by pixel, all channels of a pixel side by side (NHWC), with a
//! border of zeros around it. The border is what a convolution pads with, so that each tap of a kernel is one constant
//! distance from the output pixel's first input, and nothing is copied into columns first.

/// An image's form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Floats that are used of a pixel.
    pub channels: usize,
    /// Pixels of zeros on each side.
    pub border: usize,
    /// Floats from a pixel to the next.
    pub pixel: usize,
}

/// Floats of a cache line.
const LINE: usize = 16;

impl Image {
    /// An image whose pixels begin at cache lines where they are large.
    pub fn new(height: usize, width: usize, channels: usize, border: usize) -> Self {
        let lines = channels.div_ceil(LINE);
        let pixel = match channels {
            0..LINE => channels,
            LINE..128 => lines * LINE,
            // An odd number of lines: pixels a power of two apart would share a few sets of the first cache.
            _ => (lines | 1) * LINE,
        };
        Self { height, width, channels, border, pixel }
    }

    /// Floats from a row to the next.
    pub fn pitch(&self) -> usize {
        (self.width + 2 * self.border) * self.pixel
    }

    /// Floats in all.
    pub fn floats(&self) -> usize {
        (self.height + 2 * self.border) * self.pitch()
    }

    /// Where the pixel `up` rows above and `left` columns to the left of row y and column x begins; both within the border.
    pub fn at(&self, (y, x): (usize, usize), (up, left): (usize, usize)) -> usize {
        (y + self.border - up) * self.pitch() + (x + self.border - left) * self.pixel
    }

    /// Writes the border.
    pub fn clear_border(&self, data: &mut [f32]) {
        let (pitch, side) = (self.pitch(), self.border * self.pixel);
        let (top, rest) = data[..self.floats()].split_at_mut(self.border * pitch);
        let (rows, bottom) = rest.split_at_mut(self.height * pitch);
        top.fill(0.0);
        bottom.fill(0.0);
        for row in rows.chunks_exact_mut(pitch) {
            row[..side].fill(0.0);
            row[pitch - side..].fill(0.0);
        }
    }
}

/// Floats that begin at a cache line, so that no vector lies across two.
#[derive(Default)]
pub struct Floats {
    data: Vec<f32>,
    first: usize,
}

impl Floats {
    /// So many zeros.
    pub fn zeros(n: usize) -> Self {
        let data = vec![0.0_f32; n + LINE];
        // No more than a line, but what cannot be told ("usize::MAX") begins where it begins.
        let first = data.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        Self { data, first }
    }

    /// At least so many, whose values do not matter.
    pub fn at_least(&mut self, n: usize) -> &mut [f32] {
        if self.len() < n {
            *self = Self::zeros(n);
        }
        self
    }
}

impl std::ops::Deref for Floats {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        let end = self.data.len().saturating_sub(LINE - self.first);
        &self.data[self.first.min(end)..end]
    }
}

impl std::ops::DerefMut for Floats {
    fn deref_mut(&mut self) -> &mut [f32] {
        let end = self.data.len().saturating_sub(LINE - self.first);
        &mut self.data[self.first.min(end)..end]
    }
}

/// Some channels of an image to read.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// The whole image.
    pub data: &'a [f32],
    /// Its form.
    pub image: Image,
    /// The first channel.
    pub channel: usize,
}

/// Some channels of some rows of an image to write.
pub struct Target<'a> {
    /// The rows, with their border at the sides.
    pub data: &'a mut [f32],
    /// The whole image's form.
    pub image: Image,
    /// The first channel.
    pub channel: usize,
    /// Which row of the image is the first in `data`.
    pub first: usize,
    /// How many rows.
    pub rows: usize,
}

impl Target<'_> {
    /// Where the first channel of a pixel is in `data`; y counts from the image's first row.
    pub fn at(&self, y: usize, x: usize) -> usize {
        (y - self.first) * self.image.pitch() + (x + self.image.border) * self.image.pixel + self.channel
    }
}

/// A strip for each thread: rows in multiples of `step`, as equal as can be. None is empty.
pub fn strips(target: Target<'_>, count: usize, step: usize) -> Vec<Target<'_>> {
    let Target { mut data, image, channel, first, rows } = target;
    let steps = rows.div_ceil(step);
    let count = count.clamp(1, steps.max(1));
    let (mut all, mut done) = (Vec::with_capacity(count), 0);
    for n in 0..count {
        let end = (steps * (n + 1) / count * step).min(rows);
        let (strip, rest) = data.split_at_mut((end - done) * image.pitch());
        all.push(Target { data: strip, image, channel, first: first + done, rows: end - done });
        (data, done) = (rest, end);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_border_is_cleared_and_strips_cover_every_row_once() {
        for (height, width, channels, border) in [(5, 3, 7, 2), (1, 1, 130, 1), (4, 9, 16, 0)] {
            let image = Image::new(height, width, channels, border);
            let mut data = vec![1.0; image.floats()];
            image.clear_border(&mut data);
            #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
            let inside = (height * width * image.pixel) as f32;
            assert!((data.iter().sum::<f32>() - inside).abs() < 0.5);
            for step in 1..4 {
                let rows = &mut data[border * image.pitch()..][..height * image.pitch()];
                let target = Target { data: rows, image, channel: 0, first: 0, rows: height };
                let strips = strips(target, 3, step);
                assert_eq!(
                    strips.iter().flat_map(|s| s.first..s.first + s.rows).collect::<Vec<_>>(),
                    (0..height).collect::<Vec<_>>()
                );
                assert!(strips.iter().all(|s| s.rows > 0 && s.data.len() == s.rows * image.pitch()));
            }
        }
    }
}
