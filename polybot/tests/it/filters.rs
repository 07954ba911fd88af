//! Filters: golden pictures, the formulas of those that are exact, and laws that hold for any picture.

use image::{ImageFormat, RgbaImage};
use polybot::{
    caption,
    filters::{
        FILTERS, Filter, blur,
        concat::{Side, concat},
        contour, gray, mirror, pixelate, resize, rotate, salt_and_pepper, segment, sharpen,
    },
    picture::{MAX_PIXELS, MAX_SIDE, Picture, Raster, read, write},
};
use proptest::prelude::*;

/// A picture with slopes, edges and colours, 61x47: no side is a multiple of anything.
pub fn sample() -> Picture {
    let pixel = |x: usize, y: usize| -> [u8; 4] {
        let inside = x.abs_diff(40).pow(2) + y.abs_diff(15).pow(2) < 100;
        let byte = |n: usize| u8::try_from(n % 256).unwrap();
        match (inside, (x / 8 + y / 8) % 3) {
            (true, _) => [220, 40, 30, 255],
            (_, 0) => [byte(x * 4), byte(y * 5), 128, 255],
            (_, 1) => [byte(255 - x * 3), byte(x * y), byte(y * 3), 255],
            _ => [250, 250, byte(200 + x), 255],
        }
    };
    let bytes = (0..47).flat_map(|y| (0..61).flat_map(move |x| pixel(x, y))).collect();
    Picture::Rgb(Raster::new(61, 47, bytes))
}

fn rgba(picture: &Picture) -> RgbaImage {
    let (width, height) = (picture.width() as u32, picture.height() as u32);
    let bytes = match picture.clone().into_colour() {
        Picture::Gray(r) => r.into_bytes(),
        Picture::Rgb(r) | Picture::Rgba(r) => r.into_bytes(),
    };
    RgbaImage::from_raw(width, height, bytes).unwrap()
}

/// Compares with `tests/golden/{name}.png`; with `UPDATE_GOLDEN=1` writes it instead.
fn golden(name: &str, picture: &Picture, tolerance: u8) {
    let path = format!("{}/tests/golden/{name}.png", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let file = write::document(picture, ImageFormat::Png).unwrap();
        std::fs::write(&path, file.bytes).unwrap();
    }
    let wanted = rgba(&read::read(&std::fs::read(&path).unwrap()).unwrap().picture);
    let found = rgba(picture);
    assert_eq!(found.dimensions(), wanted.dimensions(), "{name}");
    let furthest = found.as_raw().iter().zip(wanted.as_raw()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
    assert!(furthest <= tolerance, "{name}: a byte is {furthest} off");
}

fn applied(caption: &str, picture: Picture) -> Picture {
    let request = caption::parse(caption).unwrap();
    request.each.iter().fold(picture, |p, filter| filter.apply(p, 7).unwrap())
}

#[test]
fn every_filter_has_its_golden_picture() {
    for entry in FILTERS.iter().filter(|entry| entry.name != "concat") {
        let exact = ["gray", "contour", "segment", "rotate", "mirror", "salt and pepper"].contains(&entry.name);
        let picture = applied(entry.example, sample());
        golden(&entry.name.replace(' ', "-"), &picture, u8::from(!exact));
    }
    let small = resize::to_size(sample(), 40, 40);
    for (name, side) in [
        ("concat-right", Side::Right),
        ("concat-left", Side::Left),
        ("concat-below", Side::Below),
        ("concat-above", Side::Above),
    ] {
        let tiny = resize::to_size(sample(), 9, 9);
        golden(name, &concat(vec![sample(), gray::gray(small.clone()), tiny], side).picture, 1);
    }
}

/// The definition, in whole numbers.
fn brightness(p: [u8; 4]) -> u8 {
    let [r, g, b, _] = p.map(u32::from);
    u8::try_from((2989 * r + 5870 * g + 1140 * b + 5000) / 10_000).unwrap()
}

#[test]
fn gray_is_exact_for_every_sixteenth_of_all_colours_and_for_those_on_the_edge() {
    let near =
        |a: u8, b: u8, c: u8| assert_eq!(gray::brightness([a, b, c, 0]), brightness([a, b, c, 0]), "{a} {b} {c}");
    for r in (0..=255).step_by(5) {
        for g in (0..=255).step_by(3) {
            (0..=255).for_each(|b| near(r, g, b));
        }
    }
    // Those whose value ends in exactly a half.
    let mut halves = 0;
    for (r, g, b) in (0..=255_u8).flat_map(|r| (0..=255_u8).map(move |g| (r, g))).flat_map(|(r, g)| {
        let rest = (2989 * u32::from(r) + 5870 * u32::from(g)) % 10_000;
        (0..=255_u8).filter(move |b| (rest + 1140 * u32::from(*b)) % 10_000 == 5000).map(move |b| (r, g, b))
    }) {
        halves += 1;
        near(r, g, b);
    }
    assert!(halves > 1000, "{halves}");
}

#[test]
fn contour_and_segment_follow_their_formulas() {
    let Picture::Rgb(colours) = sample() else { panic!() };
    let (width, plane) = (colours.width(), colours.pixels().iter().map(|p| brightness(*p)).collect::<Vec<_>>());
    let Picture::Gray(found) = contour::contour(sample()) else { panic!() };
    for (i, v) in found.bytes().iter().enumerate() {
        assert_eq!(*v, if i % width == 0 { 0 } else { plane[i].abs_diff(plane[i - 1]) });
    }
    let Picture::Gray(found) = segment::segment(sample()) else { panic!() };
    for (v, gray) in found.bytes().iter().zip(plane) {
        assert_eq!(*v, if gray > 100 { 255 } else { 0 });
    }
}

#[test]
fn blur_is_the_mean_of_the_square() {
    let from = gray::gray(sample());
    let Picture::Gray(plane) = &from else { panic!() };
    for size in [1, 2, 3, 16, 47, 61, 62, 200] {
        let Picture::Gray(found) = blur::blur(from.clone(), size) else { panic!() };
        let size = size as isize;
        for (y, x) in [(0, 0), (0, 60), (46, 0), (46, 60), (20, 30), (1, 59)] {
            let around = |c: isize| (c - size / 2..c - size / 2 + size).collect::<Vec<_>>();
            let at = |y: isize, x: isize| u64::from(plane.row_near(y)[x.clamp(0, 60) as usize][0]);
            let sum: u64 = around(y).iter().flat_map(|y| around(x).into_iter().map(move |x| at(*y, x))).sum();
            let mean = sum as f64 / (size * size) as f64;
            let found = f64::from(found.row(y as usize)[x as usize][0]);
            assert!((found - mean).abs() < 0.51, "size {size} at {x},{y}: {found}, not {mean}");
        }
    }
}

#[test]
fn what_is_invisible_does_not_bleed_into_what_is_not() {
    let mut bytes = [255, 0, 0, 0].repeat(8);
    bytes.extend([0, 0, 255, 255].repeat(8));
    let Picture::Rgba(blurred) = blur::blur(Picture::Rgba(Raster::new(16, 1, bytes)), 5) else { panic!() };
    assert!(blurred.pixels().iter().all(|p| p[3] == 0 || (p[0] == 0 && p[2] >= 250)), "{:?}", blurred.pixels());
}

#[test]
fn salt_and_pepper_strews_the_share_that_was_asked_for() {
    let gray = Picture::Gray(Raster::filled(200, 200, [77]));
    for share in [0.0, 0.1, 0.5, 1.0] {
        let Picture::Gray(found) = salt_and_pepper::salt_and_pepper(gray.clone(), share, 1) else { panic!() };
        let count = |v: u8| found.pixels().iter().filter(|p| p[0] == v).count() as f64 / 40_000.0;
        assert!((count(255) - share / 2.0).abs() < 0.01 && (count(0) - share / 2.0).abs() < 0.01, "{share}");
        assert!((count(77) - (1.0 - share)).abs() < 0.01);
    }
}

#[test]
fn concat_scales_pads_and_says_so() {
    let of = |w, h| Picture::Gray(Raster::filled(w, h, [9]));
    let joined = concat(vec![of(10, 20), of(10, 20)], Side::Right);
    assert_eq!((joined.picture.width(), joined.picture.height(), joined.scaled, joined.padded), (20, 20, false, false));
    let joined = concat(vec![of(10, 20), of(30, 30)], Side::Right);
    assert_eq!((joined.picture.width(), joined.picture.height(), joined.scaled, joined.padded), (30, 20, true, false));
    let joined = concat(vec![of(100, 10), of(10, 100)], Side::Below);
    assert_eq!((joined.picture.width(), joined.picture.height(), joined.scaled, joined.padded), (50, 105, true, true));
}

#[test]
fn a_result_over_the_limits_is_refused_before_it_is_made() {
    let wide = Picture::Gray(Raster::filled(3000, 1, [0]));
    assert!(Filter::Resize { percent: 1000 }.apply(wide, 0).is_err());
    let large = Picture::Gray(Raster::filled(2500, 2500, [0]));
    assert!(Filter::Resize { percent: 300 }.apply(large, 0).is_err());
}

fn picture() -> impl Strategy<Value = Picture> {
    (1..40_usize, 1..40_usize, 0..3).prop_flat_map(|(w, h, kind)| {
        let bytes = if kind == 0 { 1 } else { 4 };
        proptest::collection::vec(any::<u8>(), w * h * bytes).prop_map(move |mut bytes| match kind {
            0 => Picture::Gray(Raster::new(w, h, bytes)),
            1 => {
                bytes.chunks_exact_mut(4).for_each(|p| p[3] = 255);
                Picture::Rgb(Raster::new(w, h, bytes))
            }
            _ => Picture::Rgba(Raster::new(w, h, bytes)),
        })
    })
}

fn any_filter() -> impl Strategy<Value = Filter> {
    use rotate::Turn;
    prop_oneof![
        (1..=1000_u32).prop_map(|size| Filter::Blur { size }),
        (1..=1000_u32).prop_map(|size| Filter::Pixelate { size }),
        (1..=1000_u32).prop_map(|percent| Filter::Resize { percent }),
        any::<f64>().prop_map(|share| Filter::SaltAndPepper { share }),
        proptest::sample::select(vec![
            Filter::Contour,
            Filter::Segment,
            Filter::Gray,
            Filter::Sharpen,
            Filter::Sepia,
            Filter::Rotate(Turn::Quarter),
            Filter::Rotate(Turn::Half),
            Filter::Rotate(Turn::ThreeQuarters),
            Filter::Mirror(mirror::Axis::Horizontal),
            Filter::Mirror(mirror::Axis::Vertical),
            Filter::Concat(Side::Left),
        ]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_filter_takes_any_picture(picture in picture(), filter in any_filter(), seed: u64) {
        if let Ok(result) = filter.apply(picture, seed) {
            prop_assert!(result.width() <= MAX_SIDE && result.width() * result.height() <= MAX_PIXELS);
            prop_assert!(write::photo(result.clone()).is_ok());
            let document = write::document(&result, ImageFormat::Png).unwrap();
            prop_assert_eq!(rgba(&read::read(&document.bytes).unwrap().picture), rgba(&result));
        }
    }

    #[test]
    fn four_quarters_are_nothing_and_so_are_two_mirrors(picture in picture()) {
        let turned = (0..4).fold(picture.clone(), |p, _| rotate::rotate(p, rotate::Turn::Quarter));
        prop_assert_eq!(&turned, &picture);
        let half = rotate::rotate(picture.clone(), rotate::Turn::Half);
        let quarters = rotate::rotate(rotate::rotate(picture.clone(), rotate::Turn::Quarter), rotate::Turn::Quarter);
        prop_assert_eq!(&half, &quarters);
        let back = rotate::rotate(rotate::rotate(picture.clone(), rotate::Turn::ThreeQuarters), rotate::Turn::Quarter);
        prop_assert_eq!(&back, &picture);
        for axis in [mirror::Axis::Horizontal, mirror::Axis::Vertical] {
            prop_assert_eq!(&mirror::mirror(mirror::mirror(picture.clone(), axis), axis), &picture);
        }
    }

    #[test]
    fn what_has_one_colour_keeps_it(value: u8, size in 1..100_u32, w in 1..30_usize, h in 1..30_usize) {
        let flat = Picture::Gray(Raster::filled(w, h, [value]));
        prop_assert_eq!(&blur::blur(flat.clone(), size), &flat);
        prop_assert_eq!(&sharpen::sharpen(flat.clone()), &flat);
        prop_assert_eq!(&pixelate::pixelate(flat.clone(), size), &flat);
        prop_assert_eq!(&gray::gray(flat.clone()), &flat);
    }

    #[test]
    fn any_pictures_can_be_put_together(pictures in proptest::collection::vec(picture(), 2..=10)) {
        for side in [Side::Left, Side::Above] {
            let joined = concat(pictures.clone(), side);
            prop_assert!(joined.picture.width() >= 1 && joined.picture.height() >= 1);
        }
    }

    #[test]
    fn any_caption_is_read_or_refused(text in ".{0,80}") {
        let _ = caption::parse(&text);
    }

    #[test]
    fn any_words_near_the_grammar_are_read_or_refused(words in proptest::collection::vec(
        proptest::sample::select(vec!["blur", "rotate", "anti-clockwise", "salt", "and", "pepper", "concat", "predict",
            "-1", "90", "1e9", "%", ",", ";", "resize", "50%", "99999999999999999999", "נ", "°", "NaN", "0.5"]), 0..12)) {
        if let Ok(request) = caption::parse(&words.join(" ")) {
            let small = sample();
            for filter in request.each {
                let _ = filter.apply(small.clone(), 1);
            }
        }
    }
}
