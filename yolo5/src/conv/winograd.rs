//! 3x3 convolutions with fewer multiplications: F(4x4, 3x3) and F(2x2, 3x3) of Lavin and Gray, "Fast algorithms for
//! convolutional neural networks" (2015). A window of the input is transformed, multiplied with transformed weights position by
//! position (a matrix product over channels for each), and transformed back: F(4x4, 3x3) multiplies 36 times for 16 outputs
//! where the definition does 144 times.
//!
//! With stride 2, a row's outputs are a convolution of its even inputs with the kernel's outer taps, plus its odd inputs times the
//! middle tap. The first part is F(r, 2), and the second has nothing to save: 9 positions an axis for 4 outputs, where the
//! definition has 12.
//!
//! Windows that hang over the lower or right edge read zeros there, and what they compute beyond the edge is not stored.

use super::{
    direct::{Product, Strip},
    epilogue::Finish,
    kernel::{Around, Geometry, Kernel, Weights},
    layout::{Floats, Source, Target},
    simd::{Simd, Work},
};

/// Which transform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// F(2x2, 3x3), stride 1.
    Two,
    /// F(4x4, 3x3), stride 1.
    Four,
    /// 2x2 outputs, stride 2.
    StridedTwo,
    /// 4x4 outputs, stride 2.
    StridedFour,
}

impl Scheme {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Two, Self::Four, Self::StridedTwo, Self::StridedFour];

    /// Whether it computes such a convolution.
    pub fn fits(self, geometry: &Geometry) -> bool {
        let stride = match self {
            Self::Two | Self::Four => 1,
            Self::StridedTwo | Self::StridedFour => 2,
        };
        geometry.size == (3, 3) && geometry.stride == (stride, stride)
    }

    /// Rows and columns of outputs of a tile.
    pub fn outputs(self) -> usize {
        match self {
            Self::Two | Self::StridedTwo => 2,
            Self::Four | Self::StridedFour => 4,
        }
    }

    /// Rows and columns of inputs of a tile.
    pub fn window(self) -> usize {
        match self {
            Self::Two => 4,
            Self::Four => 6,
            Self::StridedTwo => 5,
            Self::StridedFour => 9,
        }
    }

    /// Its name in a table of layers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Two => "w2",
            Self::Four => "w4",
            Self::StridedTwo => "s2",
            Self::StridedFour => "s4",
        }
    }

    /// The transform of a kernel's row or column of three, in the first so many places, and their number.
    fn weights(self, [a, b, c]: [f64; 3]) -> ([f64; 6], usize) {
        match self {
            Self::Two => ([a, 0.5 * (a + b + c), 0.5 * (a - b + c), c, 0.0, 0.0], 4),
            Self::Four => {
                let (even, odd) = (a / 24.0 + c / 6.0, b / 12.0);
                ([a / 4.0, -(a + b + c) / 6.0, -(a - b + c) / 6.0, even + odd, even - odd, c], 6)
            }
            Self::StridedTwo => ([a, a + c, c, b, 0.0, 0.0], 4),
            Self::StridedFour => ([a / 2.0, -(a + c) / 2.0, (c - a) / 6.0, (a + 2.0 * c) / 6.0, c, b], 6),
        }
    }
}

/// One axis of a transform: N inputs become N positions, and N products become R outputs.
trait Axis<const N: usize, const R: usize> {
    /// From one output to the next.
    const STRIDE: usize;
    /// Places of transformed weights; positions beyond the last share it.
    const WEIGHTS: usize;
    fn input<S: Simd>(s: S, x: [S::V; N]) -> [S::V; N];
    fn output<S: Simd>(s: S, m: [S::V; N]) -> [S::V; R];
}

struct F2;
impl Axis<4, 2> for F2 {
    const STRIDE: usize = 1;
    const WEIGHTS: usize = 4;
    #[inline(always)]
    fn input<S: Simd>(s: S, x: [S::V; 4]) -> [S::V; 4] {
        [s.sub(x[0], x[2]), s.add(x[1], x[2]), s.sub(x[2], x[1]), s.sub(x[3], x[1])]
    }
    #[inline(always)]
    fn output<S: Simd>(s: S, m: [S::V; 4]) -> [S::V; 2] {
        [s.add(s.add(m[0], m[1]), m[2]), s.add(s.sub(m[1], m[2]), m[3])]
    }
}

/// a * c + b
#[inline(always)]
fn fma<S: Simd>(s: S, a: S::V, c: f32, b: S::V) -> S::V {
    s.fma(a, s.splat(c), b)
}

struct F4;
impl Axis<6, 4> for F4 {
    const STRIDE: usize = 1;
    const WEIGHTS: usize = 6;
    #[inline(always)]
    fn input<S: Simd>(s: S, x: [S::V; 6]) -> [S::V; 6] {
        let (a, b) = (fma(s, x[2], -4.0, x[4]), fma(s, x[1], -4.0, x[3]));
        let (c, d) = (s.sub(x[4], x[2]), s.sub(x[3], x[1]));
        let first = fma(s, x[0], 4.0, fma(s, x[2], -5.0, x[4]));
        let last = fma(s, x[1], 4.0, fma(s, x[3], -5.0, x[5]));
        [first, s.add(a, b), s.sub(a, b), fma(s, d, 2.0, c), fma(s, d, -2.0, c), last]
    }
    #[inline(always)]
    fn output<S: Simd>(s: S, m: [S::V; 6]) -> [S::V; 4] {
        let (a, b) = (s.add(m[1], m[2]), s.sub(m[1], m[2]));
        let (c, d) = (s.add(m[3], m[4]), s.sub(m[3], m[4]));
        [s.add(s.add(m[0], a), c), fma(s, d, 2.0, b), fma(s, c, 4.0, a), s.add(fma(s, d, 8.0, b), m[5])]
    }
}

struct S2;
impl Axis<5, 2> for S2 {
    const STRIDE: usize = 2;
    const WEIGHTS: usize = 4;
    #[inline(always)]
    fn input<S: Simd>(s: S, x: [S::V; 5]) -> [S::V; 5] {
        [s.sub(x[0], x[2]), x[2], s.sub(x[4], x[2]), x[1], x[3]]
    }
    #[inline(always)]
    fn output<S: Simd>(s: S, m: [S::V; 5]) -> [S::V; 2] {
        [s.add(s.add(m[0], m[1]), m[3]), s.add(s.add(m[1], m[2]), m[4])]
    }
}

struct S4;
impl Axis<9, 4> for S4 {
    const STRIDE: usize = 2;
    const WEIGHTS: usize = 6;
    /// F(4, 2) at the points 0, 1, -1, 2 and infinity.
    #[inline(always)]
    fn input<S: Simd>(s: S, x: [S::V; 9]) -> [S::V; 9] {
        let (e0, e1, e2, e3, e4) = (x[0], x[2], x[4], x[6], x[8]);
        let a = s.sub(e3, e1);
        let first = fma(s, s.sub(e0, e2), 2.0, a);
        let second = fma(s, e1, -2.0, s.sub(e3, e2));
        let third = fma(s, e1, 2.0, fma(s, e2, -3.0, e3));
        [first, second, third, a, fma(s, a, -2.0, s.sub(e4, e2)), x[1], x[3], x[5], x[7]]
    }
    #[inline(always)]
    fn output<S: Simd>(s: S, m: [S::V; 9]) -> [S::V; 4] {
        let (a, b) = (s.add(m[1], m[2]), s.sub(m[1], m[2]));
        [
            s.add(s.add(s.add(m[0], a), m[3]), m[5]),
            s.add(fma(s, m[3], 2.0, b), m[6]),
            s.add(fma(s, m[3], 4.0, a), m[7]),
            s.add(s.add(fma(s, m[3], 8.0, b), m[4]), m[8]),
        ]
    }
}

/// Transformed weights, `[position][panel][input][output of the panel]`.
pub fn pack(weights: &Weights, (inputs, outputs): (usize, usize), scheme: Scheme, panel: usize) -> Floats {
    let panels = outputs.div_ceil(panel);
    let (_, n) = scheme.weights([0.0; 3]);
    let mut all = Floats::zeros(n * n * panels * inputs * panel);
    for output in 0..outputs {
        for (input, nine) in weights.row(output).as_chunks::<9>().0.iter().enumerate() {
            let w = nine.map(f64::from);
            let rows = [0, 3, 6].map(|y| scheme.weights([w[y], w[y + 1], w[y + 2]]).0);
            for x in 0..n {
                let column = scheme.weights(rows.map(|row| row[x])).0;
                for (y, value) in column[..n].iter().enumerate() {
                    let at = (((y * n + x) * panels + output / panel) * inputs + input) * panel + output % panel;
                    #[expect(clippy::cast_possible_truncation, reason = "rounded once, at the end")]
                    let value = *value as f32;
                    all[at] = value;
                }
            }
        }
    }
    all
}

/// [`Strip`], transformed.
pub struct Winograd<'a> {
    /// What to compute.
    pub strip: Strip<'a>,
    /// By which transform.
    pub scheme: Scheme,
    /// Tiles whose transforms are in the second cache at once.
    pub tiles: usize,
}

impl Work for Winograd<'_> {
    type Out = ();

    #[inline(always)]
    fn with<S: Simd>(self, s: S) {
        match self.scheme {
            Scheme::Two => run::<S, F2, 4, 2>(s, self.strip, self.tiles),
            Scheme::Four => run::<S, F4, 6, 4>(s, self.strip, self.tiles),
            Scheme::StridedTwo => run::<S, S2, 5, 2>(s, self.strip, self.tiles),
            Scheme::StridedFour => run::<S, S4, 9, 4>(s, self.strip, self.tiles),
        }
    }
}

#[inline(always)]
fn run<S: Simd, A: Axis<N, R>, const N: usize, const R: usize>(s: S, strip: Strip<'_>, tiles: usize) {
    let Strip { kernel, x, mut y, around: Around { silu, residual, before }, scratch } = strip;
    assert!(before.is_none(), "nothing is added before the activation of a 3x3 convolution");
    // The bias is loaded once for all outputs of a tile.
    let finish = Finish { silu, residual, ..Finish::NOTHING };
    let (across, down) = (y.image.width.div_ceil(R), y.rows.div_ceil(R));
    let panels = kernel.outputs.div_ceil(2 * S::LANES);
    let weights = panels * kernel.inputs * 2 * S::LANES;
    // One more line than the channels: rows a power of two apart would share a few sets of the first cache.
    let (v, m) = (kernel.inputs.next_multiple_of(16) + 16, kernel.outputs.next_multiple_of(16) + 16);
    let transformed = scratch.inputs.at_least(N * N * tiles * v);
    let products = scratch.products.at_least(N * N * tiles * m);
    let [from, to, _] = &mut scratch.places;
    from.clear();
    to.clear();
    from.extend((0..tiles).map(|t| t * v));
    to.extend((0..tiles).map(|t| t * m));
    for begin in (0..across * down).step_by(tiles) {
        let n = tiles.min(across * down - begin);
        let top = y.first;
        let place = |t: usize| (top + (begin + t) / across * R, (begin + t) % across * R);
        for t in 0..n {
            window::<S, A, N, R>(s, &x, kernel, place(t), &mut transformed[t * v..], tiles * v);
        }
        for position in 0..N * N {
            let of = |i: usize| i.min(A::WEIGHTS - 1);
            let w = of(position / N) * A::WEIGHTS + of(position % N);
            let product = Product {
                x: &transformed[position * tiles * v..(position + 1) * tiles * v],
                rows: &from[..n],
                taps: &[0],
                channels: kernel.inputs,
                w: &kernel.packed[w * weights..(w + 1) * weights],
                outputs: kernel.outputs,
            };
            product.store(s, &mut products[position * tiles * m..(position + 1) * tiles * m], to, &Finish::NOTHING);
        }
        for t in 0..n {
            let m = (&products[t * m..], tiles * m);
            outputs::<S, A, N, R>(s, m, kernel, place(t), &mut y, &finish);
        }
    }
}

/// Transforms the window of the tile whose first output is at `place`; position p goes to `to[p * step..]`.
#[inline(always)]
fn window<S: Simd, A: Axis<N, R>, const N: usize, const R: usize>(
    s: S,
    x: &Source<'_>,
    kernel: &Kernel,
    place: (usize, usize),
    to: &mut [f32],
    step: usize,
) {
    let (image, before) = (x.image, kernel.geometry.before);
    // Beyond the last line of the border there would be zeros as in it.
    let line = |first: usize, i: usize, before: usize, length: usize| {
        (first * A::STRIDE + i + image.border - before).min(length + 2 * image.border - 1)
    };
    let rows: [usize; N] =
        std::array::from_fn(|i| line(place.0, i, before.0, image.height) * image.pitch() + x.channel);
    let columns: [usize; N] = std::array::from_fn(|j| line(place.1, j, before.1, image.width) * image.pixel);
    // Loops and no closures: a closure that is not inlined would not be compiled for the instructions.
    for c in (0..kernel.inputs).step_by(S::LANES) {
        let n = kernel.inputs - c;
        let mut half = [[s.zero(); N]; N];
        for (half, row) in half.iter_mut().zip(rows) {
            let mut line = [s.zero(); N];
            for (v, column) in line.iter_mut().zip(columns) {
                *v = s.load_part(x.data, row + column + c, n);
            }
            *half = A::input(s, line);
        }
        for j in 0..N {
            let mut line = [s.zero(); N];
            for (v, half) in line.iter_mut().zip(&half) {
                *v = half[j];
            }
            let line = A::input(s, line);
            for (i, v) in line.iter().enumerate() {
                s.store(to, (i * N + j) * step + c, *v);
            }
        }
    }
}

/// Transforms the products of a tile back, and finishes what lies within the image.
#[inline(always)]
fn outputs<S: Simd, A: Axis<N, R>, const N: usize, const R: usize>(
    s: S,
    (m, step): (&[f32], usize),
    kernel: &Kernel,
    place: (usize, usize),
    y: &mut Target<'_>,
    finish: &Finish<'_>,
) {
    let (rows, columns) = ((y.first + y.rows - place.0).min(R), (y.image.width - place.1).min(R));
    let (at, pitch, pixel) = (y.at(place.0, place.1), y.image.pitch(), y.image.pixel);
    let bias = &kernel.bias[..];
    for c in (0..kernel.outputs).step_by(S::LANES) {
        let n = kernel.outputs - c;
        let bias = s.load(bias, c);
        let mut half = [[s.zero(); R]; N];
        for (i, half) in half.iter_mut().enumerate() {
            let mut line = [s.zero(); N];
            for (j, v) in line.iter_mut().enumerate() {
                *v = s.load(m, (i * N + j) * step + c);
            }
            *half = A::output(s, line);
        }
        for j in 0..columns {
            let mut line = [s.zero(); N];
            for (v, half) in line.iter_mut().zip(&half) {
                *v = half[j];
            }
            let line = A::output(s, line);
            for (i, v) in line.iter().enumerate().take(rows) {
                finish.store(s, y.data, (at + i * pitch + j * pixel + c, c, n), 0, s.add(*v, bias));
            }
        }
    }
}
