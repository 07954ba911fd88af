//! Of boxes of one class that overlap, the best stays (greedy non-maximum suppression, as torchvision's).

use super::{Thresholds, decode::Candidate};

/// More candidates than this are not looked at, best first; as the original.
const MOST_CANDIDATES: usize = 30_000;

/// Intersection over union of two boxes, 0 to 1.
pub fn iou(a: &[f32; 4], b: &[f32; 4]) -> f32 {
    let area = |r: &[f32; 4]| (r[2] - r[0]).max(0.0) * (r[3] - r[1]).max(0.0);
    let both = area(&[a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3])]);
    let union = area(a) + area(b) - both;
    if union > 0.0 { both / union } else { 0.0 }
}

/// The candidates that stay, best first.
pub fn suppress(mut candidates: Vec<Candidate>, thresholds: &Thresholds) -> Vec<Candidate> {
    // Equal scores in an order that does not depend on that of the input.
    let order = |c: &Candidate| (c.class, c.corners.map(f32::to_bits));
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| order(a).cmp(&order(b))));
    candidates.truncate(MOST_CANDIDATES);
    let mut kept: Vec<Candidate> = vec![];
    for candidate in candidates {
        let hidden =
            kept.iter().any(|k| k.class == candidate.class && iou(&k.corners, &candidate.corners) > thresholds.iou);
        if !hidden {
            kept.push(candidate);
            if kept.len() == thresholds.most {
                break;
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn boxes() -> impl Strategy<Value = Vec<Candidate>> {
        let one = (0_usize..3, 0.25..1.0_f32, 0.0..100.0_f32, 0.0..100.0_f32, 1.0..80.0_f32, 1.0..80.0_f32);
        let one = one.prop_map(|(class, score, x, y, w, h)| Candidate { class, score, corners: [x, y, x + w, y + h] });
        proptest::collection::vec(one, 0..60)
    }

    proptest! {
        #[test]
        fn no_two_that_stay_overlap_too_much_and_all_that_go_are_hidden(all in boxes()) {
            let t = Thresholds::default();
            let kept = suppress(all.clone(), &t);
            for (i, a) in kept.iter().enumerate() {
                for b in &kept[..i] {
                    prop_assert!(a.class != b.class || iou(&a.corners, &b.corners) <= t.iou);
                }
            }
            for c in all.iter().filter(|c| !kept.contains(c)) {
                prop_assert!(kept.iter().any(|k| k.class == c.class && k.score >= c.score && iou(&k.corners, &c.corners) > t.iou));
            }
        }

        #[test]
        fn the_order_of_candidates_does_not_matter(all in boxes(), seed: u64) {
            let mut other = all.clone();
            let n = other.len().max(1);
            for i in 0..other.len() {
                other.swap(i, usize::try_from(seed).unwrap_or(7).wrapping_mul(i + 1) % n);
            }
            let t = Thresholds::default();
            prop_assert_eq!(suppress(all, &t), suppress(other, &t));
        }
    }
}
