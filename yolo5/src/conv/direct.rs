//! Convolution by its definition, as a matrix product whose rows are output pixels and whose columns are output channels. The
//! rows are never built ("implicit GEMM"): the input of each tap is a constant distance from the pixel's first input, because
//! the image has a border. A 1x1 convolution is the plain product.
//!
//! The product goes by register tiles (Goto and van de Geijn 2008): [`Simd::ROWS`] pixels by two vectors of channels stay in
//! registers while all taps and input channels pass; a panel of weights stays in the first or second cache while a block of
//! pixels passes.

use super::{
    epilogue::Finish,
    kernel::{Around, Kernel, Weights},
    layout::{Floats, Source, Target},
    simd::{Simd, Work, dot},
};

/// What threads need while they compute, kept from one convolution to the next.
#[derive(Default)]
pub struct Scratch {
    /// Transformed inputs.
    pub inputs: Floats,
    /// Their products, before they are transformed back.
    pub products: Floats,
    /// Places: of rows of the product in the input, in the output, and in the image that is added before the activation.
    pub places: [Vec<usize>; 3],
}

/// One convolution of a strip of rows.
pub struct Strip<'a> {
    /// What to convolve with.
    pub kernel: &'a Kernel,
    /// The input.
    pub x: Source<'a>,
    /// The rows of the output.
    pub y: Target<'a>,
    /// What it does besides.
    pub around: Around<'a>,
    /// The thread's own.
    pub scratch: &'a mut Scratch,
}

/// Weights of so many inputs, outputs and taps as `[panel][tap][input][output of the panel]`.
pub fn pack(weights: &Weights, (inputs, outputs): (usize, usize), taps: usize, panel: usize) -> Floats {
    let mut all = Floats::zeros(outputs.div_ceil(panel) * taps * inputs * panel);
    for output in 0..outputs {
        let row = weights.row(output);
        let to = &mut all[output / panel * taps * inputs * panel..];
        for input in 0..inputs {
            for tap in 0..taps {
                to[(tap * inputs + input) * panel + output % panel] = row[input * taps + tap];
            }
        }
    }
    all
}

/// [`Strip`], by the definition.
pub struct Direct<'a>(pub Strip<'a>);

/// Floats of input that a block of pixels may have: what leaves room in a second cache of 1 MB.
const BLOCK: usize = 100_000;

impl Work for Direct<'_> {
    type Out = ();

    #[inline(always)]
    fn with<S: Simd>(self, s: S) {
        let Strip { kernel, x, y, around: Around { silu, residual, before }, scratch } = self.0;
        let (geometry, form) = (&kernel.geometry, x.image);
        let (high, wide) = geometry.size;
        // Where all channels of a pixel are read, a row of the kernel is one run of floats.
        let whole = form.pixel == kernel.inputs;
        let (columns, channels) = if whole { (1, wide * kernel.inputs) } else { (wide, kernel.inputs) };
        let taps: Vec<usize> =
            (0..high * columns).map(|t| t / columns * form.pitch() + t % columns * form.pixel).collect();
        let width = y.image.width;
        let pixels = y.rows * width;
        let block = (BLOCK / (kernel.inputs * geometry.stride.0 * geometry.stride.1)).clamp(4 * S::ROWS, 80 * S::ROWS);
        let block = block / S::ROWS * S::ROWS;
        let [from, to, add] = &mut scratch.places;
        for begin in (0..pixels).step_by(block) {
            [&mut *from, &mut *to, &mut *add].into_iter().for_each(Vec::clear);
            let (mut row, mut column) = (y.first + begin / width, begin % width);
            for _ in begin..pixels.min(begin + block) {
                from.push(form.at((row * geometry.stride.0, column * geometry.stride.1), geometry.before) + x.channel);
                to.push(y.at(row, column));
                if let Some((image, times)) = before {
                    add.push(image.image.at((row / times, column / times), (0, 0)) + image.channel);
                }
                column += 1;
                if column == width {
                    (row, column) = (row + 1, 0);
                }
            }
            let before = before.map(|(image, _)| (image.data, &add[..]));
            let finish = Finish { bias: Some(&kernel.bias), before, silu, residual };
            let product =
                Product { x: x.data, rows: from, taps: &taps, channels, w: &kernel.packed, outputs: kernel.outputs };
            product.store(s, y.data, to, &finish);
        }
    }
}

/// A matrix product: for each row, over taps and channels, `x[row + tap + channel]` times the weights.
pub struct Product<'a> {
    /// Inputs.
    pub x: &'a [f32],
    /// Where each row begins in `x`.
    pub rows: &'a [usize],
    /// What is added to a row's begin for each tap.
    pub taps: &'a [usize],
    /// Floats of a tap, one after the other.
    pub channels: usize,
    /// Panels of weights, `[panel][tap][channel][output]`.
    pub w: &'a [f32],
    /// Columns of the product.
    pub outputs: usize,
}

impl Product<'_> {
    /// Computes it, and stores row i at `out[to[i]]`.
    #[inline(always)]
    pub fn store<S: Simd>(&self, s: S, out: &mut [f32], to: &[usize], finish: &Finish<'_>) {
        let (rows, panel) = (self.rows.len(), 2 * S::LANES);
        let tiles = rows.div_ceil(S::ROWS);
        for (n, w) in self.w.chunks_exact(self.taps.len() * self.channels * panel).enumerate() {
            if n * panel >= self.outputs {
                break;
            }
            let mut first = 0;
            for tile in 0..tiles {
                // As equal as can be: a last tile of one row would leave the processor idle.
                let height = (rows - first).div_ceil(tiles - tile);
                macro_rules! heights {
                    ($($height:literal)*) => {
                        match height {
                            $($height if $height <= S::ROWS => {
                                s.run(Tile::<$height> { product: self, w, first, channel: n * panel, out: &mut *out, to, finish });
                            })*
                            _ => unreachable!("a tile has from 1 to S::ROWS rows"),
                        }
                    };
                }
                heights!(1 2 3 4 5 6 7 8 9 10 11 12);
                first += height;
            }
        }
    }
}

/// M rows by one panel.
struct Tile<'a, const M: usize> {
    product: &'a Product<'a>,
    w: &'a [f32],
    first: usize,
    channel: usize,
    out: &'a mut [f32],
    to: &'a [usize],
    finish: &'a Finish<'a>,
}

/// Floats of the next tile's taps that are asked for ahead.
const AHEAD: usize = 128;

impl<const M: usize> Work for Tile<'_, M> {
    type Out = ();

    #[inline(always)]
    fn with<S: Simd>(self, s: S) {
        let Tile { product, w, first, channel, out, to, finish } = self;
        let Some((rows, next)) = product.rows[first..].split_first_chunk::<M>() else { return };
        // Lines of the output, and of the next tile's input when the first panel meets it, come while this tile is computed.
        for i in 0..M {
            s.fetch(out, to[first + i] + channel);
            s.fetch(out, to[first + i] + channel + S::LANES);
            if channel == 0
                && let Some(row) = next.get(i)
            {
                for tap in product.taps {
                    for c in (0..product.channels.min(AHEAD)).step_by(16) {
                        s.fetch(product.x, row + tap + c);
                    }
                }
            }
        }
        let sums = dot::<S, M>(s, product.x, rows, product.taps, product.channels, w);
        for half in 0..2 {
            let channel = channel + half * S::LANES;
            let n = product.outputs.saturating_sub(channel).min(S::LANES);
            if n == 0 {
                break;
            }
            for (i, sums) in sums.iter().enumerate() {
                finish.store(s, out, (to[first + i] + channel, channel, n), first + i, sums[half]);
            }
        }
    }
}
