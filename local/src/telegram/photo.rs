//! What Telegram does to a photo: turned upright, at most 1280 pixels long, JPEG, and smaller sizes of it beside.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use image::{DynamicImage, ImageDecoder, ImageReader, Rgb, RgbImage};

/// The longest side of each smaller size, and of the photo itself.
const SIDES: [u32; 4] = [90, 320, 800, 1280];
/// Limits of `sendPhoto`.
const MAX_BYTES: usize = 10 * 1024 * 1024;
const MAX_SUM: u32 = 10_000;
const MAX_RATIO: u32 = 20;

/// Why a picture is no photo; `Display` is what the bot reads.
#[derive(Debug, thiserror::Error)]
pub(super) enum PhotoError {
    #[error("file of size {0} bytes is too big for a photo; the maximum size is {MAX_BYTES} bytes")]
    TooBig(usize),
    #[error("PHOTO_INVALID_DIMENSIONS")]
    Dimensions,
    #[error("IMAGE_PROCESS_FAILED")]
    Unreadable,
    #[error("the picture could not be kept: {0}")]
    Io(#[from] std::io::Error),
}

/// One size of a photo.
#[derive(Debug)]
pub(super) struct Scaled {
    pub width: u32,
    pub height: u32,
    pub jpeg: Vec<u8>,
}

/// All sizes, smallest first.
pub(super) fn scale(bytes: &[u8]) -> Result<Vec<Scaled>, PhotoError> {
    if bytes.len() > MAX_BYTES {
        return Err(PhotoError::TooBig(bytes.len()));
    }
    let picture = decode(bytes)?;
    let longest = picture.width().max(picture.height());
    let sides = SIDES.into_iter().filter(|side| *side < longest.min(1280)).chain([longest.min(1280)]);
    sides.map(|side| at(&picture, side)).collect()
}

/// A small picture of an image document.
pub(super) fn thumbnail(bytes: &[u8]) -> Result<Scaled, PhotoError> {
    let picture = decode(bytes)?;
    at(&picture, picture.width().max(picture.height()).min(320))
}

fn decode(bytes: &[u8]) -> Result<DynamicImage, PhotoError> {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    let mut decoder = reader.into_decoder().map_err(|_| PhotoError::Unreadable)?;
    let (width, height) = decoder.dimensions();
    let (long, short) = (width.max(height), width.min(height));
    if width.saturating_add(height) > MAX_SUM || long > short.saturating_mul(MAX_RATIO) {
        return Err(PhotoError::Dimensions);
    }
    let orientation = decoder.orientation().map_err(|_| PhotoError::Unreadable)?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(|_| PhotoError::Unreadable)?;
    picture.apply_orientation(orientation);
    Ok(on_white(picture))
}

/// JPEG has no transparency: Telegram shows white where a picture has none of its own.
fn on_white(picture: DynamicImage) -> DynamicImage {
    if !picture.color().has_alpha() {
        return DynamicImage::ImageRgb8(picture.into_rgb8());
    }
    let rgba = picture.into_rgba8();
    let blend = |colour: u8, alpha: u8| {
        let (colour, alpha) = (u32::from(colour), u32::from(alpha));
        u8::try_from((colour * alpha + 255 * (255 - alpha)) / 255).unwrap_or(u8::MAX)
    };
    let flat = RgbImage::from_fn(rgba.width(), rgba.height(), |x, y| {
        let [red, green, blue, alpha] = rgba.get_pixel(x, y).0;
        Rgb([blend(red, alpha), blend(green, alpha), blend(blue, alpha)])
    });
    DynamicImage::ImageRgb8(flat)
}

fn at(picture: &DynamicImage, side: u32) -> Result<Scaled, PhotoError> {
    let longest = picture.width().max(picture.height());
    let scaled = if side < longest { &picture.resize(side, side, FilterType::Triangle) } else { picture };
    let mut jpeg = Vec::new();
    scaled.write_with_encoder(JpegEncoder::new_with_quality(&mut jpeg, 87)).map_err(|_| PhotoError::Unreadable)?;
    Ok(Scaled { width: scaled.width(), height: scaled.height(), jpeg })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        RgbImage::new(width, height).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    fn sizes(width: u32, height: u32) -> Vec<(u32, u32)> {
        scale(&png(width, height)).unwrap().iter().map(|scaled| (scaled.width, scaled.height)).collect()
    }

    #[test]
    fn photos_come_in_telegrams_sizes() {
        assert_eq!(sizes(60, 40), [(60, 40)]);
        assert_eq!(sizes(320, 240), [(90, 68), (320, 240)]);
        assert_eq!(sizes(1280, 960), [(90, 68), (320, 240), (800, 600), (1280, 960)]);
        assert_eq!(sizes(1000, 2000), [(45, 90), (160, 320), (400, 800), (640, 1280)]);
    }

    #[test]
    fn what_is_no_photo_is_refused() {
        assert!(matches!(scale(&png(9000, 1001)), Err(PhotoError::Dimensions)));
        assert!(matches!(scale(&png(210, 10)), Err(PhotoError::Dimensions)));
        assert!(scale(&png(200, 10)).is_ok());
        assert!(matches!(scale(b"no picture"), Err(PhotoError::Unreadable)));
        assert!(matches!(scale(&vec![0; MAX_BYTES + 1]), Err(PhotoError::TooBig(_))));
    }

    #[test]
    fn what_is_clear_becomes_white() {
        let mut bytes = Cursor::new(Vec::new());
        image::RgbaImage::new(8, 8).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        let sizes = scale(&bytes.into_inner()).unwrap();
        let shown = image::load_from_memory(&sizes[0].jpeg).unwrap().into_rgb8();
        assert!(shown.pixels().all(|pixel| pixel.0.iter().all(|value| *value > 250)));
    }
}
