//! Times every filter on the pixels of a file: `filters RAW WIDTH HEIGHT` (RGB, 8 bits a channel). Prints a JSON object of
//! the least of many runs, in milliseconds. `bench/filters.py` compares it with Pillow and OpenCV.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program for measuring")]

use polybot::{
    caption,
    filters::concat::{Side, concat},
    picture::{Picture, Raster},
};
use std::{collections::BTreeMap, time::Instant};

const RUNS: u32 = 25;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, width, height] = arguments.as_slice() else { panic!("filters RAW WIDTH HEIGHT") };
    let (width, height): (usize, usize) = (width.parse().unwrap(), height.parse().unwrap());
    let rgb = std::fs::read(file).unwrap();
    let bytes = rgb.as_chunks::<3>().0.iter().flat_map(|&[r, g, b]| [r, g, b, 255]).collect();
    let picture = Picture::Rgb(Raster::new(width, height, bytes));
    let mut times = BTreeMap::new();
    for caption in [
        "blur 16",
        "blur 100",
        "contour",
        "segment",
        "gray",
        "rotate 90",
        "rotate 180",
        "mirror",
        "salt and pepper 0.1",
        "sharpen",
        "sepia",
        "pixelate 16",
        "resize 50%",
        "resize 150%",
    ] {
        let filter = caption::parse(caption).unwrap().each[0];
        times.insert(caption.to_owned(), least(|| picture.clone(), |picture| filter.apply(picture, 1).unwrap()));
    }
    let two = || vec![picture.clone(), picture.clone()];
    times.insert("concat".into(), least(two, |pictures| concat(pictures, Side::Right).picture));
    println!("{}", serde_json::json!(times));
}

/// The least time of many runs; making the input and dropping the output do not count.
fn least<I, O>(input: impl Fn() -> I, work: impl Fn(I) -> O) -> f64 {
    let once = || {
        let input = input();
        let start = Instant::now();
        let output = std::hint::black_box(work(std::hint::black_box(input)));
        let time = start.elapsed().as_secs_f64() * 1000.0;
        drop(output);
        time
    };
    (0..RUNS).map(|_| once()).fold(f64::INFINITY, f64::min)
}
