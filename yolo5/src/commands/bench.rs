//! `bench`: how fast the model is here.

use super::out;
use crate::{cli::BenchArgs, detect::Thresholds, model::Detector};
use image::RgbImage;
use std::{process::ExitCode, sync::Arc, time::Instant};

pub(super) fn run(args: &BenchArgs) -> anyhow::Result<ExitCode> {
    let begun = Instant::now();
    let detector = Arc::new(Detector::open(&args.model.model, &args.engine.options())?);
    let load = begun.elapsed().as_secs_f64();
    let (width, height) = args.size;
    let picture = Arc::new(RgbImage::from_fn(width, height, |x, y| {
        let v = |n: u32| u8::try_from(n % 256).unwrap_or_default();
        image::Rgb([v(x), v(y), v(x * y)])
    }));
    let thresholds = Thresholds::default();
    detector.detect(&picture, &thresholds)?;
    let runs = args.runs.max(1);
    let mut times = (0..runs)
        .map(|_| {
            let begun = Instant::now();
            detector.detect(&picture, &thresholds).map(|_| begun.elapsed().as_secs_f64() * 1000.0)
        })
        .collect::<Result<Vec<_>, _>>()?;
    times.sort_by(f64::total_cmp);
    let (median, least) = (times[times.len() / 2], times[0]);
    let begun = Instant::now();
    let streams: Vec<_> = (0..args.streams)
        .map(|_| {
            let (detector, picture) = (detector.clone(), picture.clone());
            std::thread::spawn(move || (0..runs).try_for_each(|_| detector.detect(&picture, &thresholds).map(drop)))
        })
        .collect();
    let count = f64::from(u32::try_from(streams.len())?) * f64::from(runs);
    for stream in streams {
        stream.join().map_err(|_| anyhow::anyhow!("a stream died"))??;
    }
    let throughput = count / begun.elapsed().as_secs_f64();
    if args.json {
        let line = serde_json::json!({
            "load_ms": load * 1000.0, "one_stream_ms": median, "one_stream_least_ms": least, "streams": args.streams,
            "images_per_second": throughput, "runner": detector.runner(), "peak_mb": peak(),
        });
        out(&format!("{line}\n"))?;
    } else {
        out(&format!(
            "{}\nload           {:8.0} ms\none stream     {median:8.1} ms an image of {width}x{height} ({least:.1} at best)\n{} streams      {throughput:8.2} images/s\n",
            detector.runner(),
            load * 1000.0,
            args.streams
        ))?;
    }
    if args.layers {
        out(&layers(&detector.layers(args.size, runs)?))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The most memory that this process has had, in megabytes, where the system tells (Linux).
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kb| kb / 1024)
}

/// A table: what each layer does and takes.
fn layers(all: &[(crate::conv::plan::About, f64)]) -> String {
    let mut text = format!("{:26}{:>9}{:>9}{:>8}{:>9}\n", "layer", "output", "by", "ms", "GFLOP/s");
    for (about, ms) in all {
        let output = format!("{}x{}", about.size.0, about.size.1);
        #[expect(clippy::cast_precision_loss, reason = "some billions at most")]
        let speed =
            if about.operations > 0 { format!("{:.0}", about.operations as f64 / ms / 1e6) } else { String::new() };
        text += &format!("{:26}{output:>9}{:>9}{ms:8.2}{speed:>9}\n", about.name, about.how);
    }
    text + &format!("{:52}{:8.2}\n", "sum", all.iter().map(|(_, ms)| ms).sum::<f64>())
}
