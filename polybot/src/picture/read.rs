//! Reads a picture from the bytes of a file: JPEG, PNG, WebP, GIF (its first frame) and BMP, whatever their colours, turned
//! upright as EXIF says. What is too large is refused before its pixels are read.

use super::{MAX_PIXELS, MAX_SIDE, Picture, Raster};
use crate::filters::{mirror, rotate};
use image::{ColorType, DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, metadata::Orientation};
use std::io::Cursor;

/// Largest file that Telegram lets a bot download.
pub const MAX_BYTES: u64 = 20_000_000;
/// What one decoder may allocate beside the pixels.
const MAX_DECODER_MEMORY: u64 = 400_000_000;

/// A picture, and the format it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// The picture, upright.
    pub picture: Picture,
    /// Its format.
    pub format: ImageFormat,
}

/// Why bytes are no picture that this bot takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The bytes are of no format that this bot reads.
    #[error("no picture of a known format")]
    Unknown,
    /// A picture of an iPhone or a camera in HEIC or AVIF, which needs patented or huge decoders.
    #[error("a HEIC or AVIF picture")]
    Heic,
    /// The file is cut short, or damaged.
    #[error("a damaged picture: {0}")]
    Damaged(String),
    /// More pixels, or a longer side, than the limits allow.
    #[error("{width}x{height} pixels are too many")]
    TooLarge {
        /// Pixels in a row.
        width: u32,
        /// Rows.
        height: u32,
    },
}

/// The size of the picture in these bytes, without reading its pixels; [`ReadError::TooLarge`] beyond the limits.
pub fn size(bytes: &[u8]) -> Result<(u32, u32), ReadError> {
    let decoder = reader(bytes)?.into_decoder().map_err(refused)?;
    check_size(decoder.dimensions())
}

/// Reads a picture.
pub fn read(bytes: &[u8]) -> Result<Read, ReadError> {
    let reader = reader(bytes)?;
    let format = reader.format().ok_or(ReadError::Unknown)?;
    let mut decoder = reader.into_decoder().map_err(refused)?;
    let (width, height) = check_size(decoder.dimensions())?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let (width, height) = (width as usize, height as usize);
    let picture = match decoder.color_type() {
        ColorType::L8 => {
            let mut gray = vec![0; width * height];
            decoder.read_image(&mut gray).map_err(refused)?;
            Picture::Gray(Raster::new(width, height, gray))
        }
        ColorType::Rgb8 => {
            // Read into the front of the buffer, then spread from its end: no second buffer is needed.
            let mut bytes = vec![0; width * height * 4];
            decoder.read_image(&mut bytes[..width * height * 3]).map_err(refused)?;
            spread(&mut bytes);
            Picture::Rgb(Raster::new(width, height, bytes))
        }
        ColorType::Rgba8 => {
            let mut bytes = vec![0; width * height * 4];
            decoder.read_image(&mut bytes).map_err(refused)?;
            rgb_or_rgba(Raster::new(width, height, bytes))
        }
        ColorType::L16 => {
            let image = DynamicImage::from_decoder(decoder).map_err(refused)?;
            Picture::Gray(Raster::new(width, height, image.into_luma8().into_raw()))
        }
        _ => {
            let image = DynamicImage::from_decoder(decoder).map_err(refused)?;
            rgb_or_rgba(Raster::new(width, height, image.into_rgba8().into_raw()))
        }
    };
    Ok(Read { picture: upright(picture, orientation), format })
}

fn reader(bytes: &[u8]) -> Result<ImageReader<Cursor<&[u8]>>, ReadError> {
    if is_heic(bytes) {
        return Err(ReadError::Heic);
    }
    let format = image::guess_format(bytes).map_err(|_| ReadError::Unknown)?;
    if format == ImageFormat::Jpeg && is_cut_short(bytes) {
        return Err(ReadError::Damaged("the end of the picture is missing".into()));
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_DECODER_MEMORY);
    reader.limits(limits);
    Ok(reader)
}

/// Whether a JPEG has pixels and no marker of their end: its decoder makes what is missing gray, without a word. Other data may follow
/// that marker, and a small picture with one of its own may come before the pixels.
fn is_cut_short(bytes: &[u8]) -> bool {
    let mut at = 2;
    while let Some(&[0xff, kind, high, low]) = bytes.get(at..at + 4).and_then(|head| head.first_chunk()) {
        match kind {
            0xff => at += 1,
            // The pixels, in which 0xff is followed by another byte than this.
            0xda => return !bytes[at..].windows(2).rev().any(|two| two == [0xff, 0xd9]),
            _ => at += 2 + usize::from(u16::from_be_bytes([high, low])),
        }
    }
    // What is no JPEG is the decoder's to judge.
    false
}

/// An ISO base media file of one of the brands of HEIC and AVIF.
fn is_heic(bytes: &[u8]) -> bool {
    const BRANDS: [&[u8; 4]; 8] = [b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1", b"avif"];
    bytes.get(4..8) == Some(b"ftyp") && bytes.get(8..12).is_some_and(|brand| BRANDS.iter().any(|b| &b[..] == brand))
}

fn check_size((width, height): (u32, u32)) -> Result<(u32, u32), ReadError> {
    let fits = width as usize <= MAX_SIDE
        && height as usize <= MAX_SIDE
        && width as usize * height as usize <= MAX_PIXELS
        && width > 0
        && height > 0;
    if fits { Ok((width, height)) } else { Err(ReadError::TooLarge { width, height }) }
}

fn refused(error: image::ImageError) -> ReadError {
    match error {
        image::ImageError::Unsupported(_) => ReadError::Unknown,
        other => ReadError::Damaged(other.to_string()),
    }
}

/// Turns `n` RGB pixels at the front of a buffer of `4n` bytes into `n` pixels of four bytes, from the last to the first.
fn spread(bytes: &mut [u8]) {
    for i in (0..bytes.len() / 4).rev() {
        let pixel = [bytes[3 * i], bytes[3 * i + 1], bytes[3 * i + 2], 255];
        bytes[4 * i..4 * i + 4].copy_from_slice(&pixel);
    }
}

fn rgb_or_rgba(raster: Raster<4>) -> Picture {
    if raster.pixels().iter().all(|p| p[3] == 255) { Picture::Rgb(raster) } else { Picture::Rgba(raster) }
}

/// Turns a picture as its EXIF orientation says.
fn upright(picture: Picture, orientation: Orientation) -> Picture {
    use mirror::{Axis, mirror};
    use rotate::{Turn, rotate};
    match orientation {
        Orientation::NoTransforms => picture,
        Orientation::Rotate90 => rotate(picture, Turn::Quarter),
        Orientation::Rotate180 => rotate(picture, Turn::Half),
        Orientation::Rotate270 => rotate(picture, Turn::ThreeQuarters),
        Orientation::FlipHorizontal => mirror(picture, Axis::Horizontal),
        Orientation::FlipVertical => mirror(picture, Axis::Vertical),
        Orientation::Rotate90FlipH => mirror(rotate(picture, Turn::Quarter), Axis::Horizontal),
        Orientation::Rotate270FlipH => mirror(rotate(picture, Turn::ThreeQuarters), Axis::Horizontal),
    }
}
