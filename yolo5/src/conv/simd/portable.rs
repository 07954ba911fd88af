//! Plain Rust. The compiler makes vectors of it where every processor of the target has them: SSE2 and NEON.

use super::{Simd, Work};

/// Plain Rust, four lanes at a time.
#[derive(Clone, Copy, Debug)]
pub struct Portable;

impl Simd for Portable {
    type V = [f32; 4];
    const LANES: usize = 4;
    const ROWS: usize = 6;

    fn run<W: Work>(self, work: W) -> W::Out {
        work.with(self)
    }
    #[inline(always)]
    fn zero(self) -> Self::V {
        [0.0; 4]
    }
    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        [x; 4]
    }
    #[inline(always)]
    fn load(self, x: &[f32], at: usize) -> Self::V {
        let x = &x[at..at + 4];
        [x[0], x[1], x[2], x[3]]
    }
    #[inline(always)]
    fn store(self, x: &mut [f32], at: usize, v: Self::V) {
        x[at..at + 4].copy_from_slice(&v);
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] - b[i])
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] * b[i])
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // Without the instruction `mul_add` is a call; aarch64 always has it.
        std::array::from_fn(
            |i| if cfg!(target_arch = "aarch64") { a[i].mul_add(b[i], c[i]) } else { a[i] * b[i] + c[i] },
        )
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn round(self, a: Self::V) -> Self::V {
        // Adding and taking away 1.5 * 2^23 leaves a whole number; what is too large for it needs no rounding here.
        const LARGE: f32 = 12_582_912.0;
        a.map(|a| (a + LARGE) - LARGE)
    }
    #[inline(always)]
    fn scale(self, a: Self::V, n: Self::V) -> Self::V {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a cast of floats saturates, and n is within the exponents then"
        )]
        std::array::from_fn(|i| f32::from_bits(a[i].to_bits().wrapping_add_signed((n[i].max(-125.0) as i32) << 23)))
    }
    #[inline(always)]
    fn quotient(self, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] / b[i])
    }
    #[inline(always)]
    fn fetch(self, _: &[f32], _: usize) {}
}
