//! Vectors of floats, and the one inner loop that reads without bounds checks. This is the only module of the workspace that
//! has `unsafe`; all of it is behind functions that check what they are given.
//!
//! A kernel is written once, generic over [`Simd`], and compiled three times: AVX-512, AVX2 with FMA, and plain Rust (what
//! aarch64 runs: four lanes become one NEON register). A value of a vector type's token exists only where the processor was
//! asked, so that whoever holds one may use its instructions.

#![expect(unsafe_code, reason = "vector instructions, and the inner loop of the matrix product")]

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use portable::Portable;
#[cfg(target_arch = "x86_64")]
pub use x86::{Avx2, Avx512};

/// A set of vector instructions, as a token that proves that the processor has them.
pub trait Simd: Copy + Send + Sync {
    /// [`LANES`](Self::LANES) floats.
    type V: Copy;
    /// Floats of a vector.
    const LANES: usize;
    /// Rows of the register tile: as many as leave registers for two vectors of weights and one of inputs.
    const ROWS: usize;

    /// Runs work that is compiled for these instructions.
    fn run<W: Work>(self, work: W) -> W::Out;
    /// All zero.
    fn zero(self) -> Self::V;
    /// All the same.
    fn splat(self, x: f32) -> Self::V;
    /// `x[at..at + LANES]`; panics where that is not in `x`.
    fn load(self, x: &[f32], at: usize) -> Self::V;
    /// Writes `x[at..at + LANES]`; panics where that is not in `x`.
    fn store(self, x: &mut [f32], at: usize, v: Self::V);
    /// a + b
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// a - b
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// a * b
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// a * b + c, rounded once where the processor can.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The greater; `b` where one is NaN.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// The nearest whole number.
    fn round(self, a: Self::V) -> Self::V;
    /// a * 2^n for an a from 1/2 to 2 and a whole n of at most 126; about 0 below -126.
    fn scale(self, a: Self::V, n: Self::V) -> Self::V;
    /// a / b for a normal b, within 2^-22.
    fn quotient(self, a: Self::V, b: Self::V) -> Self::V;
    /// Asks for the cache line that holds `x[at]`, in or out of `x`.
    fn fetch(self, x: &[f32], at: usize);

    /// `n` floats from `x[at]` and zeros.
    #[inline(always)]
    fn load_part(self, x: &[f32], at: usize, n: usize) -> Self::V {
        if n >= Self::LANES {
            return self.load(x, at);
        }
        let mut whole = [0.0; MOST_LANES];
        whole[..n].copy_from_slice(&x[at..at + n]);
        self.load(&whole, 0)
    }

    /// Writes the first `n` floats to `x[at]`.
    #[inline(always)]
    fn store_part(self, x: &mut [f32], at: usize, n: usize, v: Self::V) {
        if n >= Self::LANES {
            return self.store(x, at, v);
        }
        let mut whole = [0.0; MOST_LANES];
        self.store(&mut whole, 0, v);
        x[at..at + n].copy_from_slice(&whole[..n]);
    }
}

/// Lanes of the widest vector.
const MOST_LANES: usize = 16;

/// Something to compute with any set of instructions. Implementations are `#[inline(always)]`: only what is inlined into
/// [`Simd::run`] is compiled for the instructions.
pub trait Work {
    /// What comes out.
    type Out;
    /// Does it.
    fn with<S: Simd>(self, simd: S) -> Self::Out;
}

/// A set of instructions that kernels are compiled for and that this processor has: it holds the token. So nobody has weights
/// packed for vectors that are not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// 16 lanes.
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
    /// 8 lanes, with FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    /// 4 lanes in plain Rust.
    Portable,
}

impl Isa {
    /// Those that this processor has, best first.
    pub fn all() -> Vec<Self> {
        #[cfg(target_arch = "x86_64")]
        let wide = [Avx512::detect().map(Self::Avx512), Avx2::detect().map(Self::Avx2)];
        #[cfg(not(target_arch = "x86_64"))]
        let wide = [None; 0];
        wide.into_iter().flatten().chain([Self::Portable]).collect()
    }

    /// The best that this processor has.
    pub fn best() -> Self {
        Self::all()[0]
    }

    /// Its name, as on the command line.
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => "avx512",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => "avx2",
            Self::Portable => "portable",
        }
    }

    /// Its name for people.
    pub fn title(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => "AVX-512",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => "AVX2",
            Self::Portable => "plain Rust",
        }
    }

    /// Output channels that a panel of packed weights has: two vectors.
    pub fn panel(self) -> usize {
        struct Panel;
        impl Work for Panel {
            type Out = usize;
            #[inline(always)]
            fn with<S: Simd>(self, _: S) -> usize {
                2 * S::LANES
            }
        }
        self.run(Panel)
    }

    /// Runs work with these instructions.
    pub fn run<W: Work>(self, work: W) -> W::Out {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(simd) => simd.run(work),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(simd) => simd.run(work),
            Self::Portable => Portable.run(work),
        }
    }
}

impl std::str::FromStr for Isa {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = Self::all();
        all.iter().find(|isa| isa.name() == text).copied().ok_or_else(|| {
            format!("this processor runs {}", all.iter().map(|isa| isa.name()).collect::<Vec<_>>().join(", "))
        })
    }
}

/// The register tile of a matrix product: for each of M rows and two vectors of output channels, the sum over taps and
/// channels of `x[row + tap + channel] * w`, where `w` holds the weights of one tap and channel after the other.
#[inline(always)]
pub fn dot<S: Simd, const M: usize>(
    s: S,
    x: &[f32],
    rows: &[usize; M],
    taps: &[usize],
    channels: usize,
    w: &[f32],
) -> [[S::V; 2]; M] {
    let (row, tap) = (rows.iter().max().unwrap_or(&0), taps.iter().max().unwrap_or(&0));
    // A sum that wrapped would let rows through that end anywhere; one that saturates is beyond every slice.
    assert!(row.saturating_add(*tap).saturating_add(channels) <= x.len(), "the rows end within the image");
    let weights = taps.len().saturating_mul(channels).saturating_mul(2 * S::LANES);
    assert!(weights <= w.len(), "the weights are all there");
    let mut sums = [[s.zero(); 2]; M];
    // SAFETY: every row is at most the greatest, which was found to be within `x`.
    let rows: [*const f32; M] = rows.map(|row| unsafe { x.as_ptr().add(row) });
    let mut panels = w.chunks_exact(2 * S::LANES);
    for &tap in taps {
        for (c, panel) in (tap..tap + channels).zip(&mut panels) {
            let panel = [s.load(panel, 0), s.load(panel, S::LANES)];
            for (sums, row) in sums.iter_mut().zip(rows) {
                // SAFETY: row + c is less than the greatest row + the greatest tap + channels, which is at most the length of `x`.
                let input = s.splat(unsafe { *row.add(c) });
                sums[0] = s.fma(input, panel[0], sums[0]);
                sums[1] = s.fma(input, panel[1], sums[1]);
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One row of a product.
    struct Row<'a>(&'a [f32], usize, &'a [usize], usize, &'a [f32]);

    impl Work for Row<'_> {
        type Out = ();
        #[inline(always)]
        fn with<S: Simd>(self, s: S) {
            dot::<S, 1>(s, self.0, &[self.1], self.2, self.3, self.4);
        }
    }

    #[test]
    fn rows_that_end_outside_of_the_image_are_refused_however_large_their_numbers_are() {
        let (x, w) = ([0.0; 8], [0.0; 128]);
        for isa in Isa::all() {
            let refused = |row, taps: &[usize], channels| {
                let why = std::panic::catch_unwind(|| isa.run(Row(&x, row, taps, channels, &w))).err()?;
                why.downcast_ref::<&str>().map(|why| (*why).to_owned())
            };
            assert_eq!(refused(4, &[0, 2], 2), None);
            // The last two wrap to a row within the image.
            for (row, tap, channels) in
                [(5, 2, 2), (0, 7, 2), (usize::MAX, 2, 2), (2, usize::MAX, 2), (4, 2, usize::MAX)]
            {
                let why = refused(row, &[0, tap], channels);
                assert_eq!(why.as_deref(), Some("the rows end within the image"), "{isa:?} {row} {tap} {channels}");
            }
            assert_eq!(refused(0, &[0; 9], 2).as_deref(), Some("the weights are all there"));
        }
    }
}
