//! Boxes and labels on a picture: thin enough to see what is in them, readable on any background.

use crate::detect::Detection;
use ab_glyph::{Font, FontRef, ScaleFont, point};
use image::{Rgb, RgbImage};

/// DejaVu Sans Bold, the part of ASCII; its licence lies beside it.
const FONT: &[u8] = include_bytes!("../assets/DejaVuSans-Bold-ascii.ttf");

/// A colour for each class, the same on every picture: hues a golden ratio apart, so that neighbours in the list differ.
pub fn colour(class: usize) -> Rgb<u8> {
    #[expect(clippy::cast_precision_loss, reason = "80 classes")]
    let hue = (class as f32 * 0.618_034).fract() * 6.0;
    let channel = |shift: f32| {
        let k = (shift + hue) % 6.0;
        let v = 0.92 - 0.78 * k.min(4.0 - k).clamp(0.0, 1.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 255")]
        let v = (v * 255.0).round() as u8;
        v
    };
    Rgb([channel(5.0), channel(3.0), channel(1.0)])
}

/// Black or white, whichever is easier to read on a colour (relative luminance, ITU-R BT.709).
fn ink(on: Rgb<u8>) -> Rgb<u8> {
    let [r, g, b] = on.0.map(u32::from);
    if 2126 * r + 7152 * g + 722 * b > 1_400_000 { Rgb([0, 0, 0]) } else { Rgb([255, 255, 255]) }
}

/// Draws each box with its class and score into the picture. Better boxes lie on top.
pub fn annotate(picture: &mut RgbImage, detections: &[Detection]) {
    let line = ((picture.width() + picture.height()) / 400).clamp(2, 16);
    for d in detections.iter().rev() {
        frame(picture, d.pixels, line, colour(d.class));
    }
    for d in detections.iter().rev() {
        label(picture, d, line);
    }
}

/// A filled rectangle, clipped.
fn fill(out: &mut RgbImage, [left, top, right, bottom]: [u32; 4], colour: Rgb<u8>) {
    for y in top..bottom.min(out.height()) {
        for x in left..right.min(out.width()) {
            out.put_pixel(x, y, colour);
        }
    }
}

fn frame(out: &mut RgbImage, [left, top, right, bottom]: [u32; 4], line: u32, colour: Rgb<u8>) {
    fill(out, [left, top, right, (top + line).min(bottom)], colour);
    fill(out, [left, bottom.saturating_sub(line).max(top), right, bottom], colour);
    fill(out, [left, top, (left + line).min(right), bottom], colour);
    fill(out, [right.saturating_sub(line).max(left), top, right, bottom], colour);
}

fn label(out: &mut RgbImage, d: &Detection, line: u32) {
    let Ok(font) = FontRef::try_from_slice(FONT) else { return };
    let colour = colour(d.class);
    #[expect(clippy::cast_precision_loss, reason = "a line of at most 16 pixels")]
    let font = font.as_scaled((line * 6).max(13) as f32);
    let text = format!("{} {:.2}", d.name, d.score);
    let width: f32 = text.chars().map(|c| font.h_advance(font.glyph_id(c))).sum();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a label of some hundred pixels")]
    let (width, height) = ((width.ceil() as u32) + 2 * line, font.height().ceil() as u32 + line);
    let [left, top, ..] = d.pixels;
    // Above the box, or in it where there is no room; never out of the picture.
    let top = top.checked_sub(height).unwrap_or(top);
    let left = left.min(out.width().saturating_sub(width));
    fill(out, [left, top, left + width, top + height], colour);
    let ink = ink(colour);
    #[expect(clippy::cast_precision_loss, reason = "coordinates of a picture")]
    let mut pen = point((left + line) as f32, (top + line / 2) as f32 + font.ascent());
    for c in text.chars() {
        let id = font.glyph_id(c);
        if let Some(outline) = font.outline_glyph(id.with_scale_and_position(font.scale(), pen)) {
            let bounds = outline.px_bounds();
            outline.draw(|x, y, cover| {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "checked against the picture"
                )]
                let (x, y) = ((bounds.min.x.max(0.0) as u32) + x, (bounds.min.y.max(0.0) as u32) + y);
                if x < out.width() && y < out.height() {
                    let under = out.get_pixel(x, y).0;
                    let mix = |a: u8, b: u8| {
                        let v = f32::from(a) + (f32::from(b) - f32::from(a)) * cover.clamp(0.0, 1.0);
                        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 255")]
                        let v = v.round() as u8;
                        v
                    };
                    out.put_pixel(x, y, Rgb([0, 1, 2].map(|i| mix(under[i], ink.0[i]))));
                }
            });
        }
        pen.x += font.h_advance(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn classes_have_colours_of_their_own_that_never_change() {
        let all: std::collections::BTreeSet<_> = (0..80).map(|c| colour(c).0).collect();
        assert!(all.len() > 75);
        assert_eq!(colour(15), colour(15));
    }

    proptest! {
        #[test]
        fn boxes_anywhere_on_pictures_of_any_size_are_drawn(w in 1_u32..120, h in 1_u32..120, b: [u8; 4], class in 0_usize..80) {
            let mut picture = RgbImage::new(w, h);
            let [l, t, r, m] = b.map(u32::from);
            let d = Detection { class, name: "cat".into(), score: 0.5, pixels: [l.min(w), t.min(h), r.min(w), m.min(h)] };
            annotate(&mut picture, &[d]);
            prop_assert_eq!(picture.dimensions(), (w, h));
        }
    }
}
