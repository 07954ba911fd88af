//! Pictures that the users send.

use bytes::Bytes;
use image::{ImageFormat, Rgb, RgbImage};
use std::io::Cursor;

/// A sample of the detector, with something to be found in it, at a size that a phone's small photo has.
pub fn sample(name: &str) -> Bytes {
    let path = format!("{}/../yolo5/samples/{name}.jpg", env!("CARGO_MANIFEST_DIR"));
    let picture = image::open(path).unwrap().resize(480, 480, image::imageops::FilterType::Triangle);
    let mut bytes = Cursor::new(Vec::new());
    picture.to_rgb8().write_to(&mut bytes, ImageFormat::Jpeg).unwrap();
    bytes.into_inner().into()
}

/// A picture of one colour.
pub fn plain(width: u32, height: u32, colour: [u8; 3]) -> Bytes {
    let mut bytes = Cursor::new(Vec::new());
    RgbImage::from_pixel(width, height, Rgb(colour)).write_to(&mut bytes, ImageFormat::Jpeg).unwrap();
    bytes.into_inner().into()
}
