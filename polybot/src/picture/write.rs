//! Writes a picture as a file for Telegram: within the limits of sendPhoto, or at full size as a document. Nothing of the
//! original file's metadata is carried over.

use super::{Picture, Raster};
use crate::filters::resize;
use image::{ExtendedColorType, ImageEncoder, ImageError, ImageFormat, codecs};

/// sendPhoto's limit of width and height together.
pub const PHOTO_SIDES: usize = 10_000;
/// sendPhoto's limit of the longer side to the shorter one.
pub const PHOTO_RATIO: usize = 20;
/// sendPhoto's limit of the file.
pub const PHOTO_BYTES: usize = 10_000_000;
/// The most bytes of a file to send. Telegram takes 50 MB, the form around the file included.
pub const FILE_BYTES: usize = 49_000_000;

/// A file to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its content.
    pub bytes: Vec<u8>,
    /// Its format.
    pub format: ImageFormat,
    /// How it has to be sent.
    pub sent_as: SentAs,
}

/// How a file goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SentAs {
    /// A photo of full size.
    Photo,
    /// A photo that had to be scaled down.
    ScaledPhoto,
    /// A document.
    Document,
    /// A document, since it is too long and thin for a photo.
    ThinDocument,
    /// A document in JPEG, since it would be too large in the format it came in.
    LossyDocument,
}

/// A photo: JPEG, scaled down where it is too large, a document where it is too thin.
pub fn photo(picture: Picture) -> Result<File, ImageError> {
    let (long, short) = (picture.width().max(picture.height()), picture.width().min(picture.height()));
    if long > short * PHOTO_RATIO {
        let file = document(&picture, ImageFormat::Jpeg)?;
        return Ok(File { sent_as: SentAs::ThinDocument, ..file });
    }
    let sides = picture.width() + picture.height();
    let (mut picture, mut sent_as) = if sides <= PHOTO_SIDES {
        (picture, SentAs::Photo)
    } else {
        (shrink(picture, PHOTO_SIDES, sides), SentAs::ScaledPhoto)
    };
    let mut bytes = jpeg(&picture, 90)?;
    while bytes.len() > PHOTO_BYTES {
        picture = shrink(picture, 3, 4);
        sent_as = SentAs::ScaledPhoto;
        bytes = jpeg(&picture, 85)?;
    }
    Ok(File { bytes, format: ImageFormat::Jpeg, sent_as })
}

/// A document of full size, in the format it came in; PNG for the formats that are only read, JPEG where the file would be too large.
pub fn document(picture: &Picture, format: ImageFormat) -> Result<File, ImageError> {
    let (bytes, format) = match (format, picture) {
        (ImageFormat::Jpeg, Picture::Gray(_) | Picture::Rgb(_)) => (jpeg(picture, 95)?, format),
        (ImageFormat::WebP, _) => (webp(picture)?, format),
        _ => (png(picture)?, ImageFormat::Png),
    };
    if bytes.len() <= FILE_BYTES {
        return Ok(File { bytes, format, sent_as: SentAs::Document });
    }
    drop(bytes);
    Ok(File { bytes: jpeg(picture, 80)?, format: ImageFormat::Jpeg, sent_as: SentAs::LossyDocument })
}

fn shrink(picture: Picture, to: usize, from: usize) -> Picture {
    let side = |n: usize| (n * to / from).max(1);
    let (width, height) = (side(picture.width()), side(picture.height()));
    resize::to_size(picture, width, height)
}

fn jpeg(picture: &Picture, quality: u8) -> Result<Vec<u8>, ImageError> {
    let mut bytes = Vec::with_capacity(picture.width() * picture.height() / 4);
    let mut encoder = codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, quality);
    let (width, height) = sides(picture);
    match picture {
        Picture::Gray(gray) => encoder.encode(gray.bytes(), width, height, ExtendedColorType::L8)?,
        Picture::Rgb(colours) => encoder.encode(&rgb(colours), width, height, ExtendedColorType::Rgb8)?,
        Picture::Rgba(colours) => encoder.encode(&on_white(colours), width, height, ExtendedColorType::Rgb8)?,
    }
    Ok(bytes)
}

fn png(picture: &Picture) -> Result<Vec<u8>, ImageError> {
    let mut bytes = Vec::new();
    let encoder = codecs::png::PngEncoder::new(&mut bytes);
    let (width, height) = sides(picture);
    match picture {
        Picture::Gray(gray) => encoder.write_image(gray.bytes(), width, height, ExtendedColorType::L8)?,
        Picture::Rgb(colours) => encoder.write_image(&rgb(colours), width, height, ExtendedColorType::Rgb8)?,
        Picture::Rgba(colours) => encoder.write_image(colours.bytes(), width, height, ExtendedColorType::Rgba8)?,
    }
    Ok(bytes)
}

fn webp(picture: &Picture) -> Result<Vec<u8>, ImageError> {
    let mut bytes = Vec::new();
    let encoder = codecs::webp::WebPEncoder::new_lossless(&mut bytes);
    let (width, height) = sides(picture);
    match picture {
        Picture::Gray(gray) => encoder.encode(gray.bytes(), width, height, ExtendedColorType::L8)?,
        Picture::Rgb(colours) => encoder.encode(&rgb(colours), width, height, ExtendedColorType::Rgb8)?,
        Picture::Rgba(colours) => encoder.encode(colours.bytes(), width, height, ExtendedColorType::Rgba8)?,
    }
    Ok(bytes)
}

fn sides(picture: &Picture) -> (u32, u32) {
    let side = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    (side(picture.width()), side(picture.height()))
}

fn rgb(colours: &Raster<4>) -> Vec<u8> {
    let mut bytes = vec![0; colours.pixels().len() * 3];
    for (to, &[r, g, b, _]) in bytes.as_chunks_mut().0.iter_mut().zip(colours.pixels()) {
        *to = [r, g, b];
    }
    bytes
}

/// JPEG knows no opacity: what is clear shows white.
fn on_white(colours: &Raster<4>) -> Vec<u8> {
    let over = |colour: u8, opacity: u8| {
        let (colour, opacity) = (u32::from(colour), u32::from(opacity));
        u8::try_from((colour * opacity + 255 * (255 - opacity) + 127) / 255).unwrap_or(u8::MAX)
    };
    colours.pixels().iter().flat_map(|&[r, g, b, a]| [over(r, a), over(g, a), over(b, a)]).collect()
}
