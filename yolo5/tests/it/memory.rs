//! How much memory a worker takes, and whether it stays so: many pictures of many shapes through two streams. `make bench-memory`.

use crate::{
    sample,
    worker::{World, job},
};
use std::collections::BTreeSet;

/// Most that a worker may ever have had resident, in MB.
const MOST: u64 = 250;
const PICTURES: usize = 500;
/// Jobs on the queue at once; memory is read after each lot.
const LOT: usize = 25;

/// Pictures of as many shapes as a chat brings: upright, lying, square, small, large, long; more shapes than there are plans kept.
fn pictures() -> Vec<Vec<u8>> {
    let photo = image::open(sample("grace_hopper.jpg")).unwrap();
    let shapes = [
        (640, 480),
        (480, 640),
        (1280, 720),
        (720, 1280),
        (1000, 1000),
        (320, 240),
        (2560, 1440),
        (1600, 400),
        (90, 60),
    ];
    let encode = |(width, height)| {
        let mut bytes = vec![];
        let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 90);
        let picture = photo.resize_exact(width, height, image::imageops::FilterType::Triangle);
        picture.write_with_encoder(encoder).unwrap();
        bytes
    };
    shapes.into_iter().map(encode).collect()
}

/// What the kernel says of a process, in kB.
fn status(pid: u32, key: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix(key)).unwrap();
    line.trim_matches([':', ' ', '\t', 'k', 'B']).parse().unwrap()
}

#[tokio::test]
#[ignore = "some minutes: make bench-memory"]
async fn five_hundred_pictures_of_mixed_shapes_take_bounded_memory() {
    let world = World::with_visibility(100, 60).await;
    let pictures = pictures();
    for (n, picture) in pictures.iter().enumerate() {
        world.put(&format!("images/7/{n}.jpg"), picture.clone()).await;
    }
    let worker = world.command().args(["--streams", "2"]).spawn().unwrap();
    let pid = worker.id().unwrap();
    let mut peaks = vec![];
    println!("pictures  resident MB  peak MB");
    for lot in 0..PICTURES / LOT {
        let mut ids = BTreeSet::new();
        for n in lot * LOT..(lot + 1) * LOT {
            let id = format!("memory-{n}");
            // Neighbours differ, so that two shapes are in work at once and plans come and go.
            world.send(job(&id, &format!("images/7/{}.jpg", n % pictures.len())).to_json()).await;
            ids.insert(id);
        }
        world.answers(ids).await;
        let (resident, peak) = (status(pid, "VmRSS") / 1000, status(pid, "VmHWM") / 1000);
        println!("{:8}  {resident:11}  {peak:7}", (lot + 1) * LOT);
        peaks.push(peak);
    }
    let (middle, end) = (peaks[peaks.len() / 2 - 1], peaks[peaks.len() - 1]);
    assert!(end <= MOST, "{end} MB at the worst; at most {MOST} MB");
    assert!(end - middle <= MOST / 20, "the second half still grew from {middle} MB to {end} MB");
}
