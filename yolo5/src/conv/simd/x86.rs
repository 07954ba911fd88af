//! AVX-512 and AVX2. The safety of all of it is the token's: a value of [`Avx512`] or [`Avx2`] exists only where the processor
//! was found to have the instructions.

use super::{Simd, Work};
use std::arch::x86_64::{
    __m256, __m512, _MM_FROUND_NO_EXC, _MM_FROUND_TO_NEAREST_INT, _MM_HINT_T0, _mm_prefetch, _mm256_add_epi32,
    _mm256_add_ps, _mm256_castps_si256, _mm256_castsi256_ps, _mm256_cvtps_epi32, _mm256_div_ps, _mm256_fmadd_ps,
    _mm256_loadu_ps, _mm256_max_ps, _mm256_mul_ps, _mm256_round_ps, _mm256_set1_ps, _mm256_setzero_ps,
    _mm256_slli_epi32, _mm256_storeu_ps, _mm256_sub_ps, _mm512_add_ps, _mm512_fmadd_ps, _mm512_fnmadd_ps,
    _mm512_loadu_ps, _mm512_max_ps, _mm512_mul_ps, _mm512_rcp14_ps, _mm512_roundscale_ps, _mm512_scalef_ps,
    _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps, _mm512_sub_ps,
};

/// AVX-512F. Only [`Avx512::detect`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx512(());

/// AVX2 and FMA. Only [`Avx2::detect`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx2(());

impl Avx512 {
    /// The token, where the processor has the instructions.
    pub fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx512f").then_some(Self(()))
    }
}

impl Avx2 {
    /// The token, where the processor has the instructions.
    pub fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self(()))
    }
}

#[target_feature(enable = "avx512f")]
fn with_avx512<W: Work>(simd: Avx512, work: W) -> W::Out {
    work.with(simd)
}

#[target_feature(enable = "avx2,fma")]
fn with_avx2<W: Work>(simd: Avx2, work: W) -> W::Out {
    work.with(simd)
}

/// What both sets do in the same way, by the names of their instructions.
macro_rules! common {
    ($with:ident, $zero:ident, $splat:ident, $load:ident, $store:ident, $($name:ident = $instruction:ident($($arg:ident),+);)+) => {
        #[inline(always)]
        fn run<W: Work>(self, work: W) -> W::Out {
            // SAFETY: the token.
            unsafe { $with(self, work) }
        }
        #[inline(always)]
        fn zero(self) -> Self::V {
            // SAFETY: the token.
            unsafe { $zero() }
        }
        #[inline(always)]
        fn splat(self, x: f32) -> Self::V {
            // SAFETY: the token.
            unsafe { $splat(x) }
        }
        #[inline(always)]
        fn load(self, x: &[f32], at: usize) -> Self::V {
            let x = &x[at..at + Self::LANES];
            // SAFETY: the token; the slice has all the floats that are read, and need not be aligned.
            unsafe { $load(x.as_ptr()) }
        }
        #[inline(always)]
        fn store(self, x: &mut [f32], at: usize, v: Self::V) {
            let x = &mut x[at..at + Self::LANES];
            // SAFETY: the token; the slice has all the floats that are written, and need not be aligned.
            unsafe { $store(x.as_mut_ptr(), v) }
        }
        $(
            #[inline(always)]
            fn $name(self, $($arg: Self::V),+) -> Self::V {
                // SAFETY: the token.
                unsafe { $instruction($($arg),+) }
            }
        )+
        #[inline(always)]
        fn fetch(self, x: &[f32], at: usize) {
            // SAFETY: a hint that reads nothing, whatever the address; SSE is part of x86-64.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(x.as_ptr().wrapping_add(at).cast()) }
        }
    };
}

impl Simd for Avx512 {
    type V = __m512;
    const LANES: usize = 16;
    const ROWS: usize = 12;

    common! {
        with_avx512, _mm512_setzero_ps, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps,
        add = _mm512_add_ps(a, b);
        sub = _mm512_sub_ps(a, b);
        mul = _mm512_mul_ps(a, b);
        fma = _mm512_fmadd_ps(a, b, c);
        max = _mm512_max_ps(a, b);
        scale = _mm512_scalef_ps(a, n);
    }

    #[inline(always)]
    fn round(self, a: Self::V) -> Self::V {
        // SAFETY: the token.
        unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
    }
    #[inline(always)]
    fn quotient(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the token. One step of Newton doubles the 14 bits of the estimate, sooner than a division does.
        unsafe {
            let r = _mm512_rcp14_ps(b);
            _mm512_mul_ps(a, _mm512_mul_ps(r, _mm512_fnmadd_ps(b, r, _mm512_set1_ps(2.0))))
        }
    }
}

impl Simd for Avx2 {
    type V = __m256;
    const LANES: usize = 8;
    const ROWS: usize = 6;

    common! {
        with_avx2, _mm256_setzero_ps, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps,
        add = _mm256_add_ps(a, b);
        sub = _mm256_sub_ps(a, b);
        mul = _mm256_mul_ps(a, b);
        fma = _mm256_fmadd_ps(a, b, c);
        max = _mm256_max_ps(a, b);
        quotient = _mm256_div_ps(a, b);
    }

    #[inline(always)]
    fn round(self, a: Self::V) -> Self::V {
        // SAFETY: the token.
        unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
    }
    #[inline(always)]
    fn scale(self, a: Self::V, n: Self::V) -> Self::V {
        // SAFETY: the token. n is added to the exponent's bits.
        unsafe {
            let n = _mm256_cvtps_epi32(_mm256_max_ps(n, _mm256_set1_ps(-125.0)));
            _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a), _mm256_slli_epi32::<23>(n)))
        }
    }
}
