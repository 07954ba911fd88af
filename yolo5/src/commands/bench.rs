//! `bench`: how fast the model is here.

use super::out;
use crate::{cli::BenchArgs, detect::Thresholds, model::Detector};
use image::RgbImage;
use std::{process::ExitCode, sync::Arc, time::Instant};

pub(super) fn run(args: &BenchArgs) -> anyhow::Result<ExitCode> {
    let begun = Instant::now();
    let detector = Arc::new(Detector::open(&args.model.model, &args.engine.options())?);
    let load = begun.elapsed().as_secs_f64();
    let picture = Arc::new(RgbImage::from_fn(args.size.0, args.size.1, |x, y| {
        let v = |n: u32| u8::try_from(n % 256).unwrap_or_default();
        image::Rgb([v(x), v(y), v(x * y)])
    }));
    let thresholds = Thresholds::default();
    detector.detect(&picture, &thresholds)?;
    let mut times = (0..args.runs.max(1))
        .map(|_| {
            let begun = Instant::now();
            detector.detect(&picture, &thresholds).map(|_| begun.elapsed().as_secs_f64() * 1000.0)
        })
        .collect::<Result<Vec<_>, _>>()?;
    times.sort_by(f64::total_cmp);
    let median = times[times.len() / 2];
    let begun = Instant::now();
    let streams: Vec<_> = (0..args.streams)
        .map(|_| {
            let (detector, picture, runs) = (detector.clone(), picture.clone(), args.runs.max(1));
            std::thread::spawn(move || (0..runs).try_for_each(|_| detector.detect(&picture, &thresholds).map(drop)))
        })
        .collect();
    let count = f64::from(u32::try_from(streams.len())?) * f64::from(args.runs.max(1));
    for stream in streams {
        stream.join().map_err(|_| anyhow::anyhow!("a stream died"))??;
    }
    let throughput = count / begun.elapsed().as_secs_f64();
    if args.json {
        let line = serde_json::json!({
            "load_ms": load * 1000.0, "one_stream_ms": median, "streams": args.streams, "images_per_second": throughput,
        });
        out(&format!("{line}\n"))?;
    } else {
        out(&format!(
            "load           {:8.0} ms\none stream     {median:8.1} ms an image of 640x640\n{} streams      {throughput:8.2} images/s\n",
            load * 1000.0,
            args.streams
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
