//! What is found in the committed photos is what the original finds (ONNX Runtime with the same weights and settings).

use crate::{model, sample};
use yolo5::{
    Detection, Detector, Thresholds,
    conv::simd::Isa,
    model::{Backend, Options},
    picture::Picture,
};

fn look(detector: &Detector, bytes: &[u8]) -> Vec<Detection> {
    detector.detect(&Picture::read(bytes).unwrap().pixels, &Thresholds::default()).unwrap()
}

/// The names of what was found.
pub fn names(found: &[Detection]) -> Vec<&str> {
    found.iter().map(|d| &*d.name).collect()
}

/// With a threshold so low that there is much to compare: some fifty boxes in all photos.
pub fn look_closely(detector: &Detector, bytes: &[u8]) -> Vec<Detection> {
    let thresholds = Thresholds { confidence: 0.05, ..Thresholds::default() };
    detector.detect(&Picture::read(bytes).unwrap().pixels, &thresholds).unwrap()
}

/// The same objects within a pixel, with the same scores within 0.002.
pub fn alike(found: &[Detection], expected: &[Detection], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (a, b) in found.iter().zip(expected) {
        assert!(a.name == b.name && (a.score - b.score).abs() < 0.002, "{what}: {a:?} {b:?}");
        assert!(a.pixels.iter().zip(b.pixels).all(|(a, b)| a.abs_diff(b) <= 1), "{what}: {a:?} {b:?}");
    }
}

#[test]
fn the_photos_hold_what_the_original_finds_in_them() {
    let detector = Detector::load(&model()).unwrap();
    for (name, expected) in [
        ("chelsea.jpg", &[("cat", 0.582, [12, 0, 420, 297])][..]),
        ("coffee.jpg", &[("cup", 0.671, [171, 13, 422, 291])]),
        ("grace_hopper.jpg", &[("person", 0.727, [8, 23, 512, 591]), ("tie", 0.625, [217, 412, 294, 532])]),
        ("astronaut.jpg", &[("person", 0.335, [484, 453, 510, 512]), ("person", 0.306, [15, 13, 485, 512])]),
        ("rocket.jpg", &[]),
    ] {
        let found = look(&detector, &std::fs::read(sample(name)).unwrap());
        assert_eq!(names(&found), expected.iter().map(|e| e.0).collect::<Vec<_>>());
        for (found, (_, score, pixels)) in found.iter().zip(expected) {
            assert!((found.score - score).abs() < 0.01, "{name}: {} is not {score}", found.score);
            assert!(found.pixels.iter().zip(pixels).all(|(a, b)| a.abs_diff(*b) <= 2), "{name}: {found:?}");
        }
    }
}

#[test]
fn our_kernels_find_what_tract_finds_with_every_set_of_instructions() {
    let open = |options| Detector::open(&model(), &options).unwrap();
    let tract = open(Options { backend: Backend::Tract, ..Options::default() });
    let fast = Options { backend: Backend::Fast, ..Options::default() };
    let ours: Vec<_> = Isa::all().into_iter().map(|isa| open(Options { isa: Some(isa), ..fast })).collect();
    let two = open(Options { threads: 2, ..fast });
    for name in ["chelsea.jpg", "coffee.jpg", "grace_hopper.jpg", "astronaut.jpg", "rocket.jpg"] {
        let bytes = std::fs::read(sample(name)).unwrap();
        let expected = look_closely(&tract, &bytes);
        assert!(!expected.is_empty());
        for detector in ours.iter().chain([&two]) {
            alike(&look_closely(detector, &bytes), &expected, &format!("{name}, {}", detector.runner()));
        }
    }
}

#[test]
fn a_picture_lying_on_its_side_is_looked_at_upright() {
    let detector = Detector::load(&model()).unwrap();
    let upright = image::open(sample("grace_hopper.jpg")).unwrap();
    // Turned to the left, with the EXIF note that says so (orientation 6: turn right to see it).
    let mut turned = vec![];
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut turned, 92);
    upright.rotate270().write_with_encoder(encoder).unwrap();
    let exif = b"\xFF\xE1\x00\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    turned.splice(2..2, exif.iter().copied());
    let found = look(&detector, &turned);
    assert_eq!(names(&found), ["person", "tie"]);
    let [left, top, right, bottom] = found[1].pixels;
    assert!(left > 200 && right < 310 && top > 390 && bottom < 550, "{found:?}");
}

#[test]
fn gray_transparent_and_sixteen_bit_pictures_are_looked_at_as_they_are() {
    let detector = Detector::load(&model()).unwrap();
    let cat = image::open(sample("chelsea.jpg")).unwrap();
    let png = |picture: image::DynamicImage| {
        let mut bytes = std::io::Cursor::new(vec![]);
        picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        bytes.into_inner()
    };
    for picture in [
        image::DynamicImage::from(cat.to_rgba8()),
        image::DynamicImage::from(cat.to_rgb16()),
        image::DynamicImage::from(cat.to_luma8()),
    ] {
        let found = look(&detector, &png(picture));
        assert_eq!(names(&found).first(), Some(&"cat"));
    }
    for (width, height) in [(1, 1), (3000, 2), (2, 3000)] {
        assert!(look(&detector, &png(image::DynamicImage::new_rgb8(width, height))).is_empty());
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(300))]
    #[test]
    fn whatever_the_bytes_reading_them_ends_in_a_picture_or_a_reason(
        from in 0_usize..5, at in 0.0..1.0_f64, with: Vec<u8>, cut in 0.0..1.0_f64,
    ) {
        // Real files, spoilt somewhere and cut off somewhere: most get past the first bytes.
        let names = ["chelsea.jpg", "coffee.jpg", "astronaut.jpg", "grace_hopper.jpg", "rocket.jpg"];
        let mut bytes = std::fs::read(sample(names[from])).unwrap();
        bytes.truncate(20_000);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a share of a length")]
        let share = |of: f64, n: usize| (of * n as f64) as usize;
        let start = share(at, bytes.len());
        for (byte, new) in bytes[start..].iter_mut().zip(&with) {
            *byte = *new;
        }
        bytes.truncate(share(cut, bytes.len()));
        bytes.extend([0xFF, 0xD9]);
        let read = Picture::read(&bytes);
        if let Ok(picture) = read {
            proptest::prop_assert!(picture.pixels.width() > 0 && picture.pixels.height() > 0);
        }
    }
}
