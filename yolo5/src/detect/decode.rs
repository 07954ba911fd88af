//! What the network's heads say, as boxes of its input.

use super::Thresholds;

/// Anchor boxes of each head in pixels: width and height of three.
pub type Anchors = [[[f32; 2]; 3]; 3];

/// Those of YOLOv5 n, s, m, l and x for COCO, which models have whose file says nothing else.
pub const ANCHORS: Anchors = [
    [[10.0, 13.0], [16.0, 30.0], [33.0, 23.0]],
    [[30.0, 61.0], [62.0, 45.0], [59.0, 119.0]],
    [[116.0, 90.0], [156.0, 198.0], [373.0, 326.0]],
];
/// Pixels of the input to a cell of each head.
pub const STRIDES: [u32; 3] = [8, 16, 32];

/// A box of the input before overlaps are resolved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Class.
    pub class: usize,
    /// Objectness times class, 0 to 1.
    pub score: f32,
    /// Left, top, right, bottom in pixels of the input.
    pub corners: [f32; 4],
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// One raw head of `values` numbers for each anchor and cell: the candidates above the threshold. `read` tells the number of a
/// channel (an anchor's numbers follow each other) in a cell (row by row).
pub fn head(
    read: impl Fn(usize, usize) -> f32,
    values: usize,
    (rows, columns): (usize, usize),
    stride: u32,
    anchors: &[[f32; 2]; 3],
    thresholds: &Thresholds,
    out: &mut Vec<Candidate>,
) {
    #[expect(clippy::cast_precision_loss, reason = "8, 16 or 32, and cells of a picture of 640")]
    let (stride, place) = (stride as f32, |n: usize| n as f32);
    for (n, anchor) in anchors.iter().enumerate() {
        for cell in 0..rows * columns {
            let value = |i: usize| read(n * values + i, cell);
            let objectness = sigmoid(value(4));
            if objectness <= thresholds.confidence {
                continue;
            }
            let best = (5..values).map(|i| (i - 5, value(i))).max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
            let Some((class, logit)) = best else { continue };
            let score = objectness * sigmoid(logit);
            if score.is_nan() || score <= thresholds.confidence {
                continue;
            }
            let centre = |i: usize, at: usize| (2.0 * sigmoid(value(i)) - 0.5 + place(at)) * stride;
            let size = |i: usize, anchor: f32| (2.0 * sigmoid(value(i))).powi(2) * anchor / 2.0;
            let (x, y) = (centre(0, cell % columns), centre(1, cell / columns));
            let (w, h) = (size(2, anchor[0]), size(3, anchor[1]));
            out.push(Candidate { class, score, corners: [x - w, y - h, x + w, y + h] });
        }
    }
}

/// Rows of an exporter's one output, `[N, 5 + classes]`: centre and size in pixels, then probabilities.
pub fn rows(rows: &[f32], values: usize, thresholds: &Thresholds, out: &mut Vec<Candidate>) {
    for row in rows.chunks_exact(values) {
        let (at, rest) = row.split_at(5);
        let [x, y, w, h, objectness] = [at[0], at[1], at[2], at[3], at[4]];
        if objectness.is_nan() || objectness <= thresholds.confidence {
            continue;
        }
        let best = rest.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)));
        if let Some((class, p)) = best
            && objectness * p > thresholds.confidence
        {
            let corners = [x - w / 2.0, y - h / 2.0, x + w / 2.0, y + h / 2.0];
            out.push(Candidate { class, score: objectness * p, corners });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What numpy gives for one cell: see `tools/reference.py`.
    #[test]
    fn a_cell_is_decoded_as_the_original_does() {
        // 2 classes, one cell, first anchor: x, y, w, h, objectness, classes.
        let mut raw = [-9.0_f32; 3 * 7];
        raw[..7].copy_from_slice(&[0.3, -0.2, 0.5, 0.1, 2.0, -1.0, 3.0]);
        let mut out = vec![];
        head(|channel, _| raw[channel], 7, (1, 1), 8, &ANCHORS[0], &Thresholds::default(), &mut out);
        let [found] = out[..] else { panic!("{out:?}") };
        assert_eq!(found.class, 1);
        let near = |a: f32, b: f32| assert!((a - b).abs() < 1e-4, "{a} {b}");
        near(found.score, 0.839_024_5);
        for (a, b) in found.corners.into_iter().zip([-2.558_032, -3.963_026, 12.940_193, 10.368_338]) {
            near(a, b);
        }
    }

    proptest! {
        #[test]
        fn both_layouts_say_the_same(x in 0.0..600.0_f32, w in 1.0..300.0_f32, o in 0.0..1.0_f32, p in 0.0..1.0_f32) {
            let mut out = vec![];
            rows(&[x, x, w, w, o, p, p / 2.0], 7, &Thresholds::default(), &mut out);
            prop_assert_eq!(out.len(), usize::from(o > 0.25 && o * p > 0.25));
            for c in out {
                prop_assert_eq!(c.class, 0);
                prop_assert!((c.corners[2] - c.corners[0] - w).abs() < 1e-2);
            }
        }

        #[test]
        fn any_numbers_decode_without_a_panic_and_within_the_threshold(raw in proptest::collection::vec(any::<f32>(), 3 * 7 * 4)) {
            let mut out = vec![];
            head(|channel, cell| raw[channel * 4 + cell], 7, (2, 2), 16, &ANCHORS[1], &Thresholds::default(), &mut out);
            prop_assert!(out.iter().all(|c| c.score > 0.25 && c.score <= 1.0));
        }
    }
}
