//! Reading and writing pictures: whatever a phone sends, upright, and within limits that a picture cannot talk us out of.

use image::{
    DynamicImage, ImageDecoder, ImageEncoder, ImageFormat, ImageReader, Limits, RgbImage,
    codecs::{jpeg::JpegEncoder, png::PngEncoder, webp::WebPEncoder},
};
use std::io::Cursor;

/// Most pixels of a picture; more are refused before memory is taken.
pub const MOST_PIXELS: u64 = 40_000_000;
/// Quality of JPEG files that are written.
const QUALITY: u8 = 90;

/// Why some bytes are not a picture that can be looked at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PictureError {
    /// Nothing there.
    #[error("the file is empty")]
    Empty,
    /// No picture.
    #[error("this is no picture in a known format (JPEG, PNG, WebP, GIF or BMP)")]
    NoPicture,
    /// A picture that is damaged or cut off.
    #[error("the picture is damaged: {0}")]
    Damaged(String),
    /// Too many pixels.
    #[error("the picture has {width}x{height} pixels; at most {} megapixels are looked at", MOST_PIXELS / 1_000_000)]
    TooLarge {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
}

/// A picture as it was sent.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Upright, without transparency.
    pub pixels: RgbImage,
    /// Its format.
    pub format: ImageFormat,
}

impl Picture {
    /// Reads JPEG, PNG, WebP, GIF or BMP (of an animation the first picture).
    pub fn read(bytes: &[u8]) -> Result<Self, PictureError> {
        if bytes.is_empty() {
            return Err(PictureError::Empty);
        }
        let mut reader =
            ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|_| PictureError::NoPicture)?;
        let format = reader.format().ok_or(PictureError::NoPicture)?;
        let mut limits = Limits::default();
        limits.max_alloc = Some(MOST_PIXELS * 8);
        reader.limits(limits);
        let damaged = |e: image::ImageError| PictureError::Damaged(e.to_string());
        let mut decoder = reader.into_decoder().map_err(|e| match e {
            image::ImageError::Unsupported(_) => PictureError::NoPicture,
            other => damaged(other),
        })?;
        let (width, height) = decoder.dimensions();
        if u64::from(width) * u64::from(height) > MOST_PIXELS {
            return Err(PictureError::TooLarge { width, height });
        }
        // A broken orientation is none.
        let orientation = decoder.orientation().unwrap_or(image::metadata::Orientation::NoTransforms);
        if format == ImageFormat::Jpeg && !ends(bytes) {
            return Err(PictureError::Damaged("it is cut off".to_owned()));
        }
        let turbo = (format == ImageFormat::Jpeg).then(|| jpeg(bytes)).flatten();
        let mut picture = match turbo {
            Some(pixels) => DynamicImage::ImageRgb8(pixels),
            None => DynamicImage::from_decoder(decoder).map_err(damaged)?,
        };
        picture.apply_orientation(orientation);
        Ok(Self { pixels: flat(picture), format })
    }

    /// Writes other pixels in this picture's format; GIF and BMP become PNG. No metadata goes along.
    pub fn write(&self, pixels: &RgbImage) -> (Vec<u8>, ImageFormat) {
        let mut out = vec![];
        let (width, height) = pixels.dimensions();
        let rgb = image::ExtendedColorType::Rgb8;
        let (written, format) = match self.format {
            ImageFormat::Jpeg => (
                JpegEncoder::new_with_quality(&mut out, QUALITY).write_image(pixels, width, height, rgb),
                ImageFormat::Jpeg,
            ),
            ImageFormat::WebP => {
                (WebPEncoder::new_lossless(&mut out).write_image(pixels, width, height, rgb), ImageFormat::WebP)
            }
            _ => (PngEncoder::new(&mut out).write_image(pixels, width, height, rgb), ImageFormat::Png),
        };
        // Writing to memory cannot fail for a picture that could be read.
        if let Err(error) = written {
            tracing::error!(%error, "a picture could not be written");
        }
        (out, format)
    }
}

/// A JPEG as libjpeg-turbo decodes it (accurate integer transform, smooth chroma), which is what OpenCV and Pillow use: the
/// detector's scores hang on it. Nothing where it cannot (CMYK, damage): the other decoder then tells.
fn jpeg(bytes: &[u8]) -> Option<RgbImage> {
    let decode = || {
        let mut rows = mozjpeg::Decompress::new_mem(bytes)?.rgb()?;
        let pixels: Vec<u8> = rows.read_scanlines()?;
        let size = (rows.width(), rows.height());
        rows.finish()?;
        std::io::Result::Ok((pixels, size))
    };
    // A fatal fault in the data arrives as an unwinding.
    let (pixels, (width, height)) = std::panic::catch_unwind(decode).ok()?.ok()?;
    RgbImage::from_raw(u32::try_from(width).ok()?, u32::try_from(height).ok()?, pixels)
}

/// Whether the mark of the end is there, give or take what some tools write after it.
fn ends(jpeg: &[u8]) -> bool {
    let tail = &jpeg[jpeg.len().saturating_sub(4096)..];
    tail.windows(2).any(|w| w == [0xFF, 0xD9])
}

/// The extension of a format's files.
pub fn extension(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Jpeg => "jpg",
        ImageFormat::WebP => "webp",
        _ => "png",
    }
}

/// Three bytes a pixel; what is transparent shows white, as chats do.
fn flat(picture: DynamicImage) -> RgbImage {
    if !picture.color().has_alpha() {
        return picture.into_rgb8();
    }
    let rgba = picture.into_rgba8();
    RgbImage::from_fn(rgba.width(), rgba.height(), |x, y| {
        let [r, g, b, a] = rgba.get_pixel(x, y).0;
        let over =
            |v: u8| u8::try_from((u32::from(v) * u32::from(a) + 255 * (255 - u32::from(a)) + 127) / 255).unwrap_or(255);
        image::Rgb([over(r), over(g), over(b)])
    })
}
