//! Files as cameras and mischief make them: what is read, what is refused, and never a crash.

use super::filters::sample;
use image::{DynamicImage, ExtendedColorType, ImageEncoder, ImageFormat, codecs};
use polybot::picture::{
    Picture, Raster,
    read::{ReadError, read, size},
    write::{self, SentAs},
};
use proptest::prelude::*;
use rand::{RngCore, SeedableRng};
use std::io::Cursor;

fn file(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn photo() -> DynamicImage {
    DynamicImage::ImageRgb8(image::RgbImage::from_fn(64, 48, |x, y| image::Rgb([x as u8 * 4, y as u8 * 5, 90])))
}

#[test]
fn every_format_and_depth_is_read() {
    for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Gif, ImageFormat::Bmp] {
        let read = read(&file(&photo(), format)).unwrap();
        assert_eq!((read.picture.width(), read.picture.height(), read.format), (64, 48, format));
        assert!(matches!(read.picture, Picture::Rgb(_)), "{format:?}");
    }
    assert!(matches!(
        read(&file(&DynamicImage::from(photo().to_luma8()), ImageFormat::Jpeg)).unwrap().picture,
        Picture::Gray(_)
    ));
    assert!(matches!(
        read(&file(&DynamicImage::from(photo().to_luma16()), ImageFormat::Png)).unwrap().picture,
        Picture::Gray(_)
    ));
    assert!(matches!(
        read(&file(&DynamicImage::from(photo().to_rgb16()), ImageFormat::Png)).unwrap().picture,
        Picture::Rgb(_)
    ));
    let mut clear = photo().to_rgba8();
    clear.get_pixel_mut(0, 0).0[3] = 9;
    assert!(matches!(read(&file(&DynamicImage::from(clear), ImageFormat::Png)).unwrap().picture, Picture::Rgba(_)));
}

#[test]
fn files_of_other_programs_are_read() {
    // Made once by Pillow: `tests/files/make.py`.
    for (name, side) in [
        ("cmyk.jpg", (32, 24)),
        ("progressive.jpg", (32, 24)),
        ("gray.jpg", (32, 24)),
        ("animated.gif", (32, 24)),
        ("one.png", (1, 1)),
        ("palette.png", (32, 24)),
    ] {
        let bytes = std::fs::read(format!("{}/tests/files/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let picture = read(&bytes).unwrap_or_else(|e| panic!("{name}: {e}")).picture;
        assert_eq!((picture.width(), picture.height()), side, "{name}");
        if let Picture::Rgb(colours) = &picture
            && side != (1, 1)
        {
            // Each of them is red on the left and blue on the right.
            let [left, right] = [colours.row(12)[2], colours.row(12)[29]];
            assert!(left[0] > 180 && left[2] < 80 && right[2] > 180 && right[0] < 80, "{name}: {left:?} {right:?}");
        }
    }
}

#[test]
fn a_picture_stands_upright_as_its_exif_says() {
    // A JPEG whose left half is black, and whose EXIF block says: turn me.
    let half = image::GrayImage::from_fn(64, 32, |x, _| image::Luma([if x < 32 { 0 } else { 255 }]));
    let dark_corner = |orientation: u8| {
        let exif =
            [b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".as_slice(), &[orientation, 0, 0, 0, 0, 0, 0, 0]].concat();
        let mut bytes = Vec::new();
        let mut encoder = codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 95);
        encoder.set_exif_metadata(exif).unwrap();
        encoder.write_image(half.as_raw(), 64, 32, ExtendedColorType::L8).unwrap();
        let Picture::Gray(gray) = read(&bytes).unwrap().picture else { panic!() };
        let middle = |x: usize, y: usize| gray.row(y)[x][0] < 128;
        let (w, h) = (gray.width(), gray.height());
        ((w, h), middle(w / 4, h / 4), middle(3 * w / 4, h / 4), middle(w / 4, 3 * h / 4))
    };
    let (left, right, top, bottom) =
        ((true, false, true), (false, true, false), (true, true, false), (false, false, true));
    for (orientation, size, (a, b, c)) in [
        (1, (64, 32), left),
        (2, (64, 32), right),
        (3, (64, 32), right),
        (4, (64, 32), left),
        (5, (32, 64), top),
        (6, (32, 64), top),
        (7, (32, 64), bottom),
        (8, (32, 64), bottom),
    ] {
        assert_eq!(dark_corner(orientation), (size, a, b, c), "orientation {orientation}");
    }
}

#[test]
fn what_is_no_picture_gets_a_clear_answer() {
    assert_eq!(read(b""), Err(ReadError::Unknown));
    assert_eq!(read(b"%PDF-1.7 not a picture at all"), Err(ReadError::Unknown));
    assert_eq!(read(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"), Err(ReadError::Heic));
    for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif, ImageFormat::Jpeg] {
        let whole = file(&photo(), format);
        assert!(matches!(read(&whole[..whole.len() / 2]), Err(ReadError::Damaged(_))), "{format:?}");
    }
}

#[test]
fn a_jpeg_ends_with_its_marker_whatever_follows_it() {
    let whole = file(&photo(), ImageFormat::Jpeg);
    // As phones append a film to a photo.
    assert!(read(&[whole.as_slice(), b"and a film"].concat()).is_ok());
    // A small picture in the header has an end of its own, which is not that of the picture.
    let small = [b"\xff\xe1\0\x06tiny".as_slice().to_owned(), whole[2..].to_vec()].concat();
    let mut with_small = [b"\xff\xd8".as_slice(), &small].concat();
    with_small[8..10].copy_from_slice(b"\xff\xd9");
    assert!(read(&with_small).is_ok());
    for bytes in [&whole[..whole.len() - 2], &whole[..whole.len() - 9], &with_small[..with_small.len() - 2]] {
        assert!(matches!(read(bytes), Err(ReadError::Damaged(_))));
        assert!(matches!(size(bytes), Err(ReadError::Damaged(_))));
    }
}

/// A PNG of a few bytes that claims to be enormous, and one of zeros that would unpack to it.
#[test]
fn a_bomb_is_refused_by_its_size() {
    let mut claim = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
    let header = [30_000_u32.to_be_bytes().as_slice(), &30_000_u32.to_be_bytes(), &[8, 2, 0, 0, 0]].concat();
    claim.extend(&header);
    claim.extend(crc32(&[b"IHDR".as_slice(), &header].concat()).to_be_bytes());
    claim.extend(b"\0\0\0\0IDAT\x35\xaf\x06\x1e");
    assert_eq!(read(&claim), Err(ReadError::TooLarge { width: 30_000, height: 30_000 }));
    assert_eq!(size(&claim), Err(ReadError::TooLarge { width: 30_000, height: 30_000 }));

    let mut bomb = Vec::new();
    let zeros = vec![0; 20_001 * 2];
    codecs::png::PngEncoder::new(&mut bomb).write_image(&zeros, 20_001, 2, ExtendedColorType::L8).unwrap();
    assert_eq!(read(&bomb), Err(ReadError::TooLarge { width: 20_001, height: 2 }));
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |c, _| if c & 1 == 1 { 0xedb8_8320 ^ (c >> 1) } else { c >> 1 })
    })
}

#[test]
fn a_photo_respects_the_limits_of_send_photo() {
    let file = write::photo(sample()).unwrap();
    assert_eq!((file.sent_as, size(&file.bytes)), (SentAs::Photo, Ok((61, 47))));
    let file = write::photo(Picture::Gray(Raster::filled(9000, 1500, [50]))).unwrap();
    assert_eq!((file.sent_as, size(&file.bytes)), (SentAs::ScaledPhoto, Ok((8571, 1428))));
    let file = write::photo(Picture::Gray(Raster::filled(2100, 100, [50]))).unwrap();
    assert_eq!((file.sent_as, size(&file.bytes)), (SentAs::ThinDocument, Ok((2100, 100))));
}

#[test]
fn a_document_that_telegram_would_not_take_becomes_a_jpeg() {
    // Noise: nothing that a format without loss could save.
    let mut random = rand::rngs::StdRng::seed_from_u64(1);
    let mut noise = vec![0; 4200 * 4200 * 4];
    random.fill_bytes(&mut noise);
    noise.chunks_exact_mut(4).for_each(|pixel| pixel[3] = 255);
    let file = write::document(&Picture::Rgb(Raster::new(4200, 4200, noise)), ImageFormat::Png).unwrap();
    assert_eq!((file.format, file.sent_as), (ImageFormat::Jpeg, SentAs::LossyDocument));
    assert!(file.bytes.len() <= write::FILE_BYTES && size(&file.bytes) == Ok((4200, 4200)));
}

#[test]
fn a_document_keeps_its_format_and_its_opacity() {
    for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP] {
        let file = write::document(&sample(), format).unwrap();
        assert_eq!((file.format, read(&file.bytes).unwrap().format), (format, format));
    }
    let clear = Picture::Rgba(Raster::filled(4, 4, [1, 2, 3, 4]));
    for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Bmp] {
        let file = write::document(&clear, format).unwrap();
        assert_eq!(read(&file.bytes).unwrap().picture, clear, "{format:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Real files with some bytes changed and the end cut off: the decoders answer, and never panic.
    #[test]
    fn damaged_files_are_read_or_refused(
        kind in 0..5_usize,
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..12),
        cut: proptest::sample::Index,
    ) {
        let formats = [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Gif, ImageFormat::Bmp];
        let mut bytes = file(&photo(), formats[kind]);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(cut.index(bytes.len() * 4) + 1);
        let _ = read(&bytes);
    }
}
