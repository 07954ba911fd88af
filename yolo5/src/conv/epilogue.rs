//! What happens to a finished sum before it is stored, while it is still in a register: the bias, the half of a convolution that
//! was done at a lower resolution, SiLU, and the residual.
//!
//! SiLU is x / (1 + e^-x) (Elfwing, Uchibe and Doya 2017). e^-x is 2^n times a polynomial of the fraction that is left.

use super::simd::Simd;

/// What is done to every sum.
#[derive(Clone, Copy)]
pub struct Finish<'a> {
    /// Added first; a whole number of panels.
    pub bias: Option<&'a [f32]>,
    /// Added next: an image, and where in it the first channel for each row of the product is.
    pub before: Option<(&'a [f32], &'a [usize])>,
    /// Then SiLU.
    pub silu: bool,
    /// Then what the place held before is added: the residual.
    pub residual: bool,
}

impl Finish<'_> {
    /// Nothing: the sum is stored as it is.
    pub const NOTHING: Self = Finish { bias: None, before: None, silu: false, residual: false };

    /// Stores the sums of channels from `channel` on, the first `n` of the vector, at `out[at]`.
    #[inline(always)]
    pub fn store<S: Simd>(
        &self,
        s: S,
        out: &mut [f32],
        (at, channel, n): (usize, usize, usize),
        row: usize,
        sum: S::V,
    ) {
        let mut v = sum;
        if let Some(bias) = self.bias {
            v = s.add(v, s.load(bias, channel));
        }
        if let Some((image, places)) = self.before {
            v = s.add(v, s.load_part(image, places[row] + channel, n));
        }
        if self.silu {
            v = silu(s, v);
        }
        if self.residual {
            v = s.add(v, s.load_part(out, at, n));
        }
        s.store_part(out, at, n, v);
    }
}

/// x / (1 + e^-x), within 2e-6 of it or 4e-6 of its value.
#[inline(always)]
pub fn silu<S: Simd>(s: S, x: S::V) -> S::V {
    // The polynomial of degree 5 nearest to 2^f for f from -1/2 to 1/2 (1e-7 of it), highest first; the last is 1.
    const POLYNOMIAL: [f32; 5] = [0.001_326_472_7, 0.009_671_513, 0.055_507_337, 0.240_222_42, std::f32::consts::LN_2];
    // Below -87 the result is 0 to within 2e-36, and the power would overflow.
    let t = s.mul(s.max(x, s.splat(-87.0)), s.splat(-std::f32::consts::LOG2_E));
    let n = s.round(t);
    let f = s.sub(t, n);
    let mut p = s.splat(POLYNOMIAL[0]);
    for c in &POLYNOMIAL[1..] {
        p = s.fma(p, f, s.splat(*c));
    }
    p = s.fma(p, f, s.splat(1.0));
    s.quotient(x, s.add(s.scale(p, n), s.splat(1.0)))
}

#[cfg(test)]
mod tests {
    use super::super::simd::{Isa, Work};
    use super::*;

    struct Curve<'a>(&'a [f32], &'a mut [f32]);

    impl Work for Curve<'_> {
        type Out = ();
        #[inline(always)]
        fn with<S: Simd>(self, s: S) {
            for at in (0..self.0.len()).step_by(S::LANES) {
                s.store(self.1, at, silu(s, s.load(self.0, at)));
            }
        }
    }

    #[test]
    fn silu_is_near_its_definition_everywhere() {
        #[expect(clippy::cast_precision_loss, reason = "exact below 2^24")]
        let mut xs: Vec<f32> = (0..1_600_000).map(|i| (i as f32 / 800_000.0 - 1.0) * 100.0).collect();
        xs.extend([
            0.0,
            -0.0,
            1e-30,
            -1e-30,
            1e30,
            -1e30,
            f32::INFINITY,
            3.0,
            2.0,
            1.0,
            87.5,
            -87.5,
            -88.0,
            88.0,
            1e4,
            -1e4,
        ]);
        for isa in Isa::all() {
            let mut ys = vec![0.0; xs.len()];
            isa.run(Curve(&xs, &mut ys));
            for (x, y) in xs.iter().zip(&ys) {
                let exact = f64::from(*x) / (1.0 + (-f64::from(*x)).exp());
                let error = (f64::from(*y) - exact).abs();
                assert!(
                    error <= 2e-6_f64.max(exact.abs() * 1e-6) || x.to_bits() == y.to_bits(),
                    "{isa:?} {x} {y} {exact}"
                );
            }
            let mut nan = [0.0; 16];
            isa.run(Curve(&[f32::NAN; 16], &mut nan));
            assert!(nan.iter().all(|y| y.is_nan()), "a fault is not hidden");
        }
    }
}
