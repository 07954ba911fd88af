//! The program as its user types it.

use crate::{model, sample};
use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output, Stdio},
};

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
    let label = fs::read_to_string(folder.path().join("chelsea.txt")).unwrap();
    assert!(label.starts_with("15 0.478936 0.495000"), "{label}");
    assert!(text(&yolo5(&["detect", cat, "--classes", "dog"]).stdout).contains("nothing found"));
    assert!(text(&yolo5(&["model", "info"]).stdout).contains("three raw heads"));
}

#[test]
fn each_bad_input_is_one_clear_line_and_the_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let named = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let write = |name: &str, bytes: &[u8]| {
        fs::write(named(name), bytes).unwrap();
        named(name)
    };
    let cat = fs::read(sample("chelsea.jpg")).unwrap();
    // A header that claims 30000x30000 pixels.
    let mut bomb = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x75\x30\0\0\x75\x30\x08\x02\0\0\0".to_vec();
    bomb.extend(crc(&bomb[12..]).to_be_bytes());
    bomb.extend(b"\0\0\0\0IDAT\x35\xaf\x06\x1e");
    let png = write("cut.png", b"");
    image::load_from_memory(&cat).unwrap().save(&png).unwrap();
    let whole = fs::read(&png).unwrap();
    fs::create_dir(named("notes")).unwrap();
    write("notes/cat.txt", b"no picture");
    std::os::unix::fs::symlink(named("loop.jpg"), named("loop.jpg")).unwrap();
    let mut all = vec![
        (write("text.jpg", b"hello"), "no picture in a known format"),
        (write("empty.png", b""), "the file is empty"),
        (write("cut.jpg", &cat[..20_000]), "it is cut off"),
        (write("bomb.png", &bomb), "30000x30000 pixels; at most 40 megapixels"),
        (write("cut.png", &whole[..whole.len() / 2]), "the picture is damaged: "),
        (named("none.jpg"), "no such file"),
        (named("none*.jpg"), "no such file"),
        (named("notes"), "no pictures in this folder"),
        (named("loop.jpg"), "it cannot be read (Too many levels of symbolic links (os error 40)); mend that"),
    ];
    let (locked, shut) = (write("locked.jpg", &cat), named("shut"));
    fs::create_dir(&shut).unwrap();
    let within = write("shut/cat.jpg", &cat);
    for path in [&locked, &shut] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
    }
    // Who is root reads everything.
    if fs::read(&locked).is_err() {
        for path in [locked, shut.clone(), within] {
            all.push((path, "(Permission denied (os error 13)); let this user read it"));
        }
    }
    let good = write("cat.jpg", &cat);
    let args: Vec<_> = all.iter().map(|(path, _)| path.as_str()).chain([good.as_str()]).collect();
    let seen = yolo5(&[&["detect"], &args[..]].concat());
    fs::set_permissions(&shut, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(seen.status.code(), Some(1));
    let said = text(&seen.stderr);
    for (path, why) in &all {
        assert!(said.lines().any(|l| l.contains(&format!("error: {path}: ")) && l.contains(why)), "{path}: {said}");
    }
    let sum = format!("1 pictures, {} failed: 1 cat", all.len());
    assert!(text(&seen.stdout).contains("cat            0.582") && said.contains(&sum), "{said}");

    let fails = |args: &[&str]| {
        let seen = yolo5(args);
        assert_eq!((seen.status.code(), text(&seen.stdout).as_str()), (Some(1), ""));
        text(&seen.stderr)
    };
    let said = fails(&["detect", "--model", &write("model.onnx", b"no model"), &good]);
    assert!(said.contains("cannot be loaded") && said.contains("make model"), "{said}");
    let said = fails(&["detect", "--model", "/none.onnx", &good]);
    assert!(said.contains("there is no model at /none.onnx; `make model` makes one"), "{said}");
    let said = fails(&["detect", &good, "--classes", "unicorn"]);
    assert!(said.contains("no class \"unicorn\"; the classes are person, bicycle"), "{said}");
    let said = fails(&["worker"]);
    assert!(said.contains("the environment variable IDENTIFY_QUEUE_URL is not set"), "{said}");
}

#[test]
fn pictures_come_from_standard_input_and_patterns_however_small() {
    let folder = tempfile::tempdir().unwrap();
    let named = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let cat = fs::read(sample("chelsea.jpg")).unwrap();
    fs::write(named("cat.jpg"), &cat).unwrap();
    image::RgbImage::new(1, 1).save(named("dot.png")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_yolo5"));
    command.args(["detect", "-", &named("*.jpg"), &named("dot.png"), "-o", &named("out")]).env("YOLO5_MODEL", model());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&cat).unwrap();
    let seen = child.wait_with_output().unwrap();
    assert_eq!(seen.status.code(), Some(0), "{}", text(&seen.stderr));
    let found = "  cat            0.582  [12, 0, 420, 297]";
    let told = format!(
        "- (451x300): \n{found}\n{} (451x300): \n{found}\n{} (1x1): nothing found\n",
        named("cat.jpg"),
        named("dot.png")
    );
    assert_eq!(text(&seen.stdout), told);
    assert_eq!(files(Path::new(&named("out"))), ["cat-detected.jpg", "dot-detected.png", "stdin-detected.jpg"]);
}

#[test]
fn results_overwrite_no_other_results_and_are_not_looked_at_another_time() {
    let folder = tempfile::tempdir().unwrap();
    let named = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let out = named("out");
    for path in ["a/cat.jpg", "a/cat.png", "a/dog-detected.jpg", "b/cat.jpg", "c/cat.gif", "c/cat.png"] {
        fs::create_dir_all(Path::new(&named(path)).parent().unwrap()).unwrap();
        image::RgbImage::new(32, 32).save(named(path)).unwrap();
    }
    let [a, b, c] = ["a", "b", "c"].map(named);
    for (args, one, other, at) in [
        (&[&a, &b, "-o", &out][..], "a/cat.jpg", "b/cat.jpg", "out/cat-detected.jpg"),
        (&[&c, "--draw"], "c/cat.gif", "c/cat.png", "c/cat-detected.png"),
        (&[&a, "--yolo", "-o", &out], "a/cat.jpg", "a/cat.png", "out/cat.txt"),
    ] {
        let seen = yolo5(&[&["detect"], args].concat());
        let said = format!("{} and {} would both be written to {}; rename one", named(one), named(other), named(at));
        assert!(seen.status.code() == Some(1) && text(&seen.stderr).contains(&said), "{}", text(&seen.stderr));
    }
    assert!(!Path::new(&out).exists() && files(Path::new(&c)).len() == 2, "nothing was begun");

    // The one that only sounds like a result is looked at as well.
    let looks = || text(&yolo5(&["detect", &a, "--draw"]).stdout);
    let first = looks();
    assert_eq!(first.lines().count(), 3, "{first}");
    let drawn =
        ["cat-detected.jpg", "cat-detected.png", "cat.jpg", "cat.png", "dog-detected-detected.jpg", "dog-detected.jpg"];
    assert_eq!(files(Path::new(&a)), drawn);
    assert_eq!(looks(), first);
    assert_eq!(files(Path::new(&a)), drawn);
    assert_eq!(text(&yolo5(&["detect", &named("a/*.jpg"), "--csv"]).stderr).matches("2 pictures").count(), 1);
}

/// Names of what is in a folder.
fn files(folder: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut all: Vec<_> = fs::read_dir(folder).unwrap().map(name).collect();
    all.sort();
    all
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
