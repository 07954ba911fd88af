//! What every kernel must compute: a convolution in seven loops, and images of every kind to try it on.

use super::{
    direct::Scratch,
    kernel::{Around, Geometry, Kernel, Weights},
    layout::{Floats, Image, Source, Target},
    simd::Isa,
    winograd::Scheme,
};
use proptest::prelude::*;
use std::sync::Arc;

/// Numbers that look random and are the same every time.
pub fn noise(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        #[expect(clippy::cast_precision_loss, reason = "24 bits")]
        let part = (state >> 40) as f32 / (1_u32 << 24) as f32;
        part * 2.0 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

/// A case: everything that can differ between two convolutions.
#[derive(Clone, Debug)]
struct Case {
    geometry: Geometry,
    map: (usize, usize),
    inputs: usize,
    outputs: usize,
    /// Channels beside those that are read and written.
    beside: (usize, usize),
    silu: bool,
    residual: bool,
    before: bool,
    threads: usize,
}

fn cases() -> impl Strategy<Value = Case> {
    let geometry = prop_oneof![
        2 => Just(((3, 3), (1, 1), (1, 1), (1, 1))),
        2 => Just(((3, 3), (2, 2), (1, 1), (1, 1))),
        1 => Just(((1, 1), (1, 1), (0, 0), (0, 0))),
        1 => ((1..6_usize, 1..6_usize), (1..4_usize, 1..4_usize), (0..3_usize, 0..3_usize), (0..3_usize, 0..3_usize)),
        1 => Just(((3, 3), (1, 1), (2, 0), (0, 1))),
    ];
    let map = (6..23_usize, 6..23_usize);
    (geometry, map, 1..70_usize, 1..70_usize, (0..3_usize, 0..20_usize), any::<[bool; 3]>(), 1..4_usize).prop_map(
        |((size, stride, before, after), map, inputs, outputs, beside, [silu, residual, b], threads)| Case {
            geometry: Geometry { size, stride, before, after },
            map,
            inputs,
            outputs,
            beside,
            silu,
            residual,
            before: b && size == (1, 1),
            threads,
        },
    )
}

/// An image of noise with a border of zeros.
fn image(form: Image, seed: u64) -> Floats {
    let mut all = Floats::zeros(form.floats());
    all.copy_from_slice(&noise(form.floats(), seed));
    form.clear_border(&mut all);
    all
}

fn check(case: &Case) {
    let Case { geometry, map, inputs, outputs, beside, .. } = *case;
    let (high, wide) = geometry.size;
    let (height, width) = geometry.output(map);
    let input = Image::new(map.0, map.1, inputs + beside.0, geometry.border());
    let output = Image::new(height, width, outputs + beside.1, 1);
    let small = Image::new(height.div_ceil(2), width.div_ceil(2), outputs, 1);
    let (x, old, low) = (image(input, 1), image(output, 2), image(small, 3));
    let weights: Vec<f32> = noise(outputs * inputs * high * wide, 4);
    let bias = noise(outputs, 5);
    // Seven loops but for the first, over images.
    let mut expected = vec![];
    for r in 0..height {
        for c in 0..width {
            for o in 0..outputs {
                let mut sum = f64::from(bias[o]);
                for i in 0..inputs {
                    for ky in 0..high {
                        for kx in 0..wide {
                            let (y, x_) = (r * geometry.stride.0 + ky, c * geometry.stride.1 + kx);
                            let (Some(y), Some(x_)) =
                                (y.checked_sub(geometry.before.0), x_.checked_sub(geometry.before.1))
                            else {
                                continue;
                            };
                            if y < map.0 && x_ < map.1 {
                                let w = weights[((o * inputs + i) * high + ky) * wide + kx];
                                sum += f64::from(x[input.at((y, x_), (0, 0)) + beside.0 + i]) * f64::from(w);
                            }
                        }
                    }
                }
                if case.before {
                    sum += f64::from(low[small.at((r / 2, c / 2), (0, 0)) + o]);
                }
                if case.silu {
                    sum /= 1.0 + (-sum).exp();
                }
                if case.residual {
                    sum += f64::from(old[output.at((r, c), (0, 0)) + o]);
                }
                expected.push(sum);
            }
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let room = 2e-6 * (inputs * high * wide) as f64 + 2e-5;
    for isa in Isa::all() {
        let schemes = Scheme::ALL.into_iter().filter(|s| s.fits(&geometry) && !case.before);
        let winograd = schemes.flat_map(|s| [(Some(s), 3), (Some(s), 24)]);
        for (scheme, tiles) in winograd.chain([(None, 1)]) {
            let held = Weights::new(Arc::new(weights.clone()), outputs);
            let kernel = Kernel::new(geometry, inputs, bias.clone(), &held, scheme, isa);
            let mut y = Floats::zeros(output.floats());
            y.copy_from_slice(&old);
            let (border, pitch) = (output.border * output.pitch(), output.pitch());
            let rows = &mut y[border..border + height * pitch];
            let target = Target { data: rows, image: output, channel: 0, first: 0, rows: height };
            let before = case.before.then_some((Source { data: &low, image: small, channel: 0 }, 2));
            let around = Around { silu: case.silu, residual: case.residual, before };
            let mut scratches: Vec<Scratch> = (0..case.threads).map(|_| Scratch::default()).collect();
            let source = Source { data: &x, image: input, channel: beside.0 };
            kernel.run(tiles, source, target, around, &mut scratches);
            let mut at = expected.iter();
            for (i, (new, old)) in y.iter().zip(&*old).enumerate() {
                let (row, rest) = (i / pitch, i % pitch);
                let (column, channel) = (rest / output.pixel, rest % output.pixel);
                let inside = (1..=height).contains(&row) && (1..=width).contains(&column) && channel < outputs;
                if inside {
                    let expected = at.next().expect("as many as there are");
                    assert!(
                        (f64::from(*new) - expected).abs() < room,
                        "{isa:?} {scheme:?} {tiles} {new} {expected} at {i} {case:?}"
                    );
                } else {
                    assert!(
                        new.to_bits() == old.to_bits(),
                        "{isa:?} {scheme:?} {tiles} wrote beside its channels: {case:?}"
                    );
                }
            }
        }
    }
}

/// What the random cases are too small for: a second thread that is worth its start, a second block of pixels with the widest
/// vectors, pixels of many cache lines, more panels than one.
#[test]
#[cfg_attr(miri, ignore = "some minutes")]
fn large_convolutions_are_computed_as_small_ones_are() {
    let case = |size, stride, map, (inputs, outputs)| {
        let pad = (size / 2, size / 2);
        let geometry = Geometry { size: (size, size), stride: (stride, stride), before: pad, after: pad };
        let plain = Case {
            geometry,
            map,
            inputs,
            outputs,
            beside: (0, 0),
            silu: true,
            residual: false,
            before: false,
            threads: 2,
        };
        check(&plain);
        check(&Case { beside: (3, 17), residual: true, before: size == 1, threads: 3, ..plain });
    };
    // At least two million multiplications for each of two threads, and 1300 pixels where a block has at most 960.
    case(1, 1, (37, 36), (128, 40));
    case(1, 1, (9, 41), (200, 130));
    case(3, 1, (37, 36), (33, 40));
    case(3, 2, (75, 72), (16, 64));
    case(3, 1, (11, 14), (136, 130));
    case(6, 2, (80, 78), (3, 32));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 2 } else { 60 }, ..ProptestConfig::default() })]
    #[test]
    fn every_kernel_computes_what_seven_loops_compute(case in cases()) {
        check(&case);
    }
}
