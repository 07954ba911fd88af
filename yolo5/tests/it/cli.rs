//! The program as its user types it.

use crate::{model, sample};
use std::process::{Command, Output};

fn yolo5(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_yolo5")).args(args).env("YOLO5_MODEL", model()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_folder_is_looked_at_drawn_and_told_in_every_form() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let samples = sample("");
    let samples = samples.to_str().unwrap();
    let seen = yolo5(&["detect", samples, "-o", out, "--json"]);
    assert_eq!(seen.status.code(), Some(0), "{}", text(&seen.stderr));
    assert!(text(&seen.stderr).contains("5 pictures: 1 cat, 1 cup, 3 person, 1 tie"));
    let rows: Vec<serde_json::Value> = text(&seen.stdout).lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!((rows.len(), rows[1]["objects"][0]["class"].as_str()), (5, Some("cat")));
    let drawn = image::open(folder.path().join("chelsea-detected.jpg")).unwrap().to_rgb8();
    let plain = image::open(sample("chelsea.jpg")).unwrap().to_rgb8();
    assert_eq!(drawn.dimensions(), plain.dimensions());
    // The frame's left side, far from the cat's own colours.
    let [r, g, b] = drawn.get_pixel(12, 150).0;
    assert!(g > 180 && r < 160 && b < 120, "{r} {g} {b}");

    let cat = sample("chelsea.jpg");
    let cat = cat.to_str().unwrap();
    let csv = text(&yolo5(&["detect", cat, "--csv"]).stdout);
    assert_eq!(csv, format!("file,class,score,left,top,right,bottom\n{cat},cat,0.5821,12,0,420,297\n"));
    yolo5(&["detect", cat, "--yolo", "-o", out]);
    let label = std::fs::read_to_string(folder.path().join("chelsea.txt")).unwrap();
    assert!(label.starts_with("15 0.478936 0.495000"), "{label}");
    assert!(text(&yolo5(&["detect", cat, "--classes", "dog"]).stdout).contains("nothing found"));
    assert!(text(&yolo5(&["model", "info"]).stdout).contains("three raw heads"));
}

#[test]
fn each_bad_input_is_one_clear_line_and_the_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let cat = std::fs::read(sample("chelsea.jpg")).unwrap();
    // A header that claims 30000x30000 pixels.
    let mut bomb = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x75\x30\0\0\x75\x30\x08\x02\0\0\0".to_vec();
    bomb.extend(crc(&bomb[12..]).to_be_bytes());
    bomb.extend(b"\0\0\0\0IDAT\x35\xaf\x06\x1e");
    let all = [
        (write("text.jpg", b"hello"), "no picture in a known format"),
        (write("empty.png", b""), "the file is empty"),
        (write("cut.jpg", &cat[..20_000]), "it is cut off"),
        (write("bomb.png", &bomb), "30000x30000 pixels; at most 40 megapixels"),
        (folder.path().join("none.jpg").to_str().unwrap().to_owned(), "no such file"),
        (write("cat.jpg", &cat), ""),
    ];
    let args: Vec<_> = std::iter::once("detect").chain(all.iter().map(|(path, _)| path.as_str())).collect();
    let seen = yolo5(&args);
    assert_eq!(seen.status.code(), Some(1));
    let said = text(&seen.stderr);
    for (path, why) in all.iter().filter(|(_, why)| !why.is_empty()) {
        assert!(said.lines().any(|l| l.contains(&format!("error: {path}: ")) && l.contains(why)), "{path}: {said}");
    }
    assert!(
        text(&seen.stdout).contains("cat            0.582") && said.contains("1 pictures, 5 failed: 1 cat"),
        "{said}"
    );

    let wrong = write("model.onnx", b"no model");
    let said = text(&yolo5(&["detect", "--model", &wrong, &all[5].0]).stderr);
    assert!(said.contains("cannot be loaded") && said.contains("make model"), "{said}");
    let said = text(&yolo5(&["detect", "--model", "/none.onnx", &all[5].0]).stderr);
    assert!(said.contains("there is no model at /none.onnx; `make model` makes one"), "{said}");
    let said = text(&yolo5(&["detect", &all[5].0, "--classes", "unicorn"]).stderr);
    assert!(said.contains("no class \"unicorn\"; the classes are person, bicycle"), "{said}");
    let said = text(&yolo5(&["worker"]).stderr);
    assert!(said.contains("the environment variable IDENTIFY_QUEUE_URL is not set"), "{said}");
}

#[test]
fn two_streams_of_the_largest_pictures_stay_within_their_memory_and_every_layer_is_told() {
    let row = |runs| {
        let seen = yolo5(&["bench", "--json", "--runs", runs, "--streams", "2", "--backend", "fast"]);
        assert_eq!(seen.status.code(), Some(0), "{}", text(&seen.stderr));
        serde_json::from_slice::<serde_json::Value>(&seen.stdout).unwrap()
    };
    let (few, many) = (row("1"), row("6"));
    assert!(few["runner"].as_str().unwrap().starts_with("our kernels"), "{few}");
    if let (Some(few), Some(many)) = (few["peak_mb"].as_u64(), many["peak_mb"].as_u64()) {
        assert!(many < 300 && many <= few + 30, "{few} MB and then {many} MB");
    }
    let layers = text(&yolo5(&["bench", "--layers", "--runs", "1", "--streams", "0", "--size", "64x40"]).stdout);
    assert!(layers.contains("conv 6x6/2 3 to 32          208x320"), "{layers}");
    let said = text(&yolo5(&["bench", "--size", "64"]).stderr);
    assert!(said.contains("\"64\" is no size such as 640x480"), "{said}");
}

/// The checksum of a part of a PNG.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |c, _| if c & 1 == 1 { (c >> 1) ^ 0xEDB8_8320 } else { c >> 1 })
    })
}
