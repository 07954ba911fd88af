//! A picture of any size as the network's input: scaled so that its longer side is 640, padded to whole strides with gray,
//! as YOLOv5 does (`letterbox` with `auto`), and resized as OpenCV does (`INTER_LINEAR` on bytes: 11-bit fixed point).

use image::RgbImage;

/// The longer side of the input in pixels.
pub const SIDE: u32 = 640;
/// Both sides of the input are multiples of this.
pub const STRIDE: u32 = 32;
/// The padding's gray.
const PAD: u8 = 114;

/// Where a picture lies in the network's input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Placement {
    /// Size of the picture.
    pub picture: (u32, u32),
    /// Size of the picture in the input.
    pub scaled: (u32, u32),
    /// Padding to the left and at the top.
    pub offset: (u32, u32),
    /// Size of the input: width and height.
    pub input: (u32, u32),
    gain: f64,
    pad: (f64, f64),
}

impl Placement {
    /// The placement of a picture of this size, neither side of which is 0.
    pub fn of(width: u32, height: u32) -> Self {
        let gain = (f64::from(SIDE) / f64::from(height)).min(f64::from(SIDE) / f64::from(width));
        let scale = |n: u32| whole((f64::from(n) * gain).round_ties_even()).max(1);
        let scaled = (scale(width), scale(height));
        let missing = |n: u32| f64::from((SIDE - n.min(SIDE)) % STRIDE) / 2.0;
        let pad = (missing(scaled.0), missing(scaled.1));
        // The odd pixel goes to the right and to the bottom.
        let (before, after) =
            (|p: f64| whole((p - 0.1).round_ties_even()), |p: f64| whole((p + 0.1).round_ties_even()));
        let offset = (before(pad.0), before(pad.1));
        let input = (scaled.0 + offset.0 + after(pad.0), scaled.1 + offset.1 + after(pad.1));
        Self { picture: (width, height), scaled, offset, input, gain, pad }
    }

    /// The placement in an input of one size, in the middle.
    pub fn within(width: u32, height: u32, input: (u32, u32)) -> Self {
        let gain = (f64::from(input.1) / f64::from(height)).min(f64::from(input.0) / f64::from(width));
        let scale = |n: u32, most: u32| whole((f64::from(n) * gain).round_ties_even()).clamp(1, most);
        let scaled = (scale(width, input.0), scale(height, input.1));
        let pad = (f64::from(input.0 - scaled.0) / 2.0, f64::from(input.1 - scaled.1) / 2.0);
        let before = |p: f64| whole((p - 0.1).round_ties_even());
        Self { picture: (width, height), scaled, offset: (before(pad.0), before(pad.1)), input, gain, pad }
    }

    /// A box of the input in pixels of the picture: undone, clipped and rounded as the original does.
    pub fn to_picture(&self, input: [f32; 4]) -> [u32; 4] {
        let undo = |v: f32, pad: f64, most: u32| {
            let v = (f64::from(v) - pad) / self.gain;
            whole(v.clamp(0.0, f64::from(most)).round_ties_even())
        };
        let ((pad_x, pad_y), (width, height)) = (self.pad, self.picture);
        let [left, top, right, bottom] = input;
        [undo(left, pad_x, width), undo(top, pad_y, height), undo(right, pad_x, width), undo(bottom, pad_y, height)]
    }
}

/// A number that is whole, not negative and small, as what it is.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "callers pass whole numbers within range")]
fn whole(v: f64) -> u32 {
    v.max(0.0) as u32
}

/// The network's input, `[3, height, width]`, red first, 0 to 1, and where the picture lies in it.
pub fn letterbox(picture: &RgbImage) -> (Vec<f32>, Placement) {
    let place = Placement::of(picture.width(), picture.height());
    (fill(picture, &place), place)
}

/// The same for a network that takes only one size (width and height).
pub fn letterbox_into(picture: &RgbImage, input: (u32, u32)) -> (Vec<f32>, Placement) {
    let place = Placement::within(picture.width(), picture.height(), input);
    (fill(picture, &place), place)
}

fn fill(picture: &RgbImage, place: &Placement) -> Vec<f32> {
    let scaled = if place.scaled == place.picture { picture.clone() } else { resize(picture, place.scaled) };
    let (width, height) = (place.input.0 as usize, place.input.1 as usize);
    let plane = width * height;
    let mut tensor = vec![f32::from(PAD) / 255.0; 3 * plane];
    let (left, top) = (place.offset.0 as usize, place.offset.1 as usize);
    let (red, rest) = tensor.split_at_mut(plane);
    let (green, blue) = rest.split_at_mut(plane);
    for (y, row) in scaled.rows().enumerate() {
        let start = (top + y) * width + left;
        let [red, green, blue] = [&mut *red, &mut *green, &mut *blue].map(|plane| plane[start..].iter_mut());
        for (((pixel, r), g), b) in row.zip(red).zip(green).zip(blue) {
            [*r, *g, *b] = pixel.0.map(|value| f32::from(value) / 255.0);
        }
    }
    tensor
}

/// One axis: for each target pixel the two source pixels and their weights, which sum up to 2048. Beyond the ends OpenCV gives
/// columns (`snapped`) the whole weight of the last pixel, and rows both weights of it, which rounds differently.
fn taps(from: u32, to: u32, snapped: bool) -> Vec<(usize, usize, i32, i32)> {
    let scale = f64::from(from) / f64::from(to);
    let last = i64::from(from) - 1;
    let within = |i: i64| usize::try_from(i.clamp(0, last)).unwrap_or_default();
    (0..to)
        .map(|i| {
            // OpenCV keeps this position in single precision.
            #[expect(clippy::cast_possible_truncation, reason = "as OpenCV does")]
            let at = ((f64::from(i) + 0.5) * scale - 0.5) as f32;
            let floor = at.floor();
            #[expect(clippy::cast_possible_truncation, reason = "a position in the picture")]
            let first = floor as i64;
            let share = if snapped && !(0..last).contains(&first) { 0.0 } else { at - floor };
            #[expect(clippy::cast_possible_truncation, reason = "0 to 2048")]
            let weight = |share: f32| (share * 2048.0).round_ties_even() as i32;
            (within(first), within(first + 1), weight(1.0 - share), weight(share))
        })
        .collect()
}

/// Bilinear in OpenCV's fixed point: rows first, in 11 bits, then columns.
pub fn resize(picture: &RgbImage, (width, height): (u32, u32)) -> RgbImage {
    let (columns, lines) = (taps(picture.width(), width, true), taps(picture.height(), height, false));
    let stride = picture.width() as usize * 3;
    let source = picture.as_raw();
    let mut target = RgbImage::new(width, height);
    let line = width as usize * 3;
    // The two source rows last computed; neighbours share them.
    let mut rows = [(usize::MAX, vec![0_i32; line]), (usize::MAX, vec![0_i32; line])];
    let compute = |y: usize, out: &mut Vec<i32>| {
        let row = &source[y * stride..][..stride];
        for (out, &(a, b, first, second)) in out.chunks_exact_mut(3).zip(&columns) {
            for c in 0..3 {
                out[c] = i32::from(row[a * 3 + c]) * first + i32::from(row[b * 3 + c]) * second;
            }
        }
    };
    for (y, out) in target.chunks_exact_mut(line).enumerate() {
        let (a, b, first, second) = lines[y];
        for (slot, wanted) in [a, b].into_iter().enumerate() {
            if rows[slot].0 != wanted {
                if slot == 0 && rows[1].0 == wanted {
                    rows.swap(0, 1);
                } else {
                    rows[slot].0 = wanted;
                    compute(wanted, &mut rows[slot].1);
                }
            }
        }
        for ((out, top), bottom) in out.iter_mut().zip(&rows[0].1).zip(&rows[1].1) {
            let sum = ((first * (top >> 4)) >> 16) + ((second * (bottom >> 4)) >> 16);
            *out = u8::try_from(((sum + 2) >> 2).clamp(0, 255)).unwrap_or(u8::MAX);
        }
    }
    target
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pictures_are_scaled_to_640_and_padded_to_whole_strides() {
        // As YOLOv5's letterbox(auto=True) gives them.
        for ((w, h), scaled, offset, input) in [
            ((451, 300), (640, 426), (0, 11), (640, 448)),
            ((600, 400), (640, 427), (0, 10), (640, 448)),
            ((512, 600), (546, 640), (15, 0), (576, 640)),
            ((640, 640), (640, 640), (0, 0), (640, 640)),
            ((1, 1), (640, 640), (0, 0), (640, 640)),
            ((3000, 10), (640, 2), (0, 15), (640, 32)),
        ] {
            let place = Placement::of(w, h);
            assert_eq!((place.scaled, place.offset, place.input), (scaled, offset, input), "{w}x{h}");
        }
    }

    /// The same picture resized by OpenCV: `tools/reference.py` prints these.
    #[test]
    fn pictures_are_resized_to_the_bit_as_opencv_does() {
        let value = |x: u32, y: u32, c: u32| u8::try_from((x * 7 + y * 13 + x * y * c) % 256).unwrap();
        let picture = RgbImage::from_fn(97, 61, |x, y| image::Rgb([value(x, y, 1), value(x, y, 2), value(x, y, 3)]));
        for (size, sum, checksum) in [
            ((640, 402), 98_843_354, 12_360_800_018),
            ((50, 31), 597_480, 73_784_356),
            ((97, 61), 2_275_450, 283_890_910),
            ((33, 200), 2_537_954, 316_845_808),
        ] {
            let out = resize(&picture, size);
            let values = || out.as_raw().iter().map(|v| u64::from(*v));
            assert_eq!(values().sum::<u64>(), sum, "{size:?}");
            assert_eq!(values().zip(1_u64..).map(|(v, i)| v * (i % 251)).sum::<u64>(), checksum, "{size:?}");
        }
    }

    proptest! {
        #[test]
        fn a_box_goes_to_the_input_and_back(w in 32_u32..4000, h in 32_u32..4000, a in 0.0..1.0_f64, b in 0.0..1.0_f64) {
            prop_assume!(w / h < 15 && h / w < 15);
            let place = Placement::of(w, h);
            let (x, y) = ((f64::from(w) * a).round(), (f64::from(h) * b).round());
            #[expect(clippy::cast_possible_truncation, reason = "a test's coordinates")]
            let at = [(x * place.gain + place.pad.0) as f32, (y * place.gain + place.pad.1) as f32];
            let back = place.to_picture([at[0], at[1], at[0], at[1]]);
            prop_assert!((f64::from(back[0]) - x).abs() <= 1.0 && (f64::from(back[1]) - y).abs() <= 1.0);
        }

        #[test]
        fn the_input_is_whole_strides_and_holds_the_picture(w in 1_u32..5000, h in 1_u32..5000) {
            let place = Placement::of(w, h);
            prop_assert_eq!((place.input.0 % STRIDE, place.input.1 % STRIDE), (0, 0));
            prop_assert!(place.scaled.0 + place.offset.0 <= place.input.0 && place.scaled.1 + place.offset.1 <= place.input.1);
            prop_assert!(place.input.0.max(place.input.1) == SIDE);
        }

        #[test]
        fn one_colour_stays_one_colour(w in 1_u32..90, h in 1_u32..90, to_w in 1_u32..90, to_h in 1_u32..90, v: [u8; 3]) {
            let picture = RgbImage::from_pixel(w, h, image::Rgb(v));
            let out = resize(&picture, (to_w, to_h));
            for (a, b) in out.pixels().flat_map(|p| p.0.into_iter().zip(v)) {
                prop_assert!(a.abs_diff(b) <= 1);
            }
        }
    }
}
