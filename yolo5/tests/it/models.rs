//! Other models than the one of `make model`: the exporter's layout, another size, other classes, operations that our kernels do not
//! know, and what is no YOLOv5 at all. And how
//! `make model` and `--tuning` keep what they have made.

use crate::{
    model, sample,
    samples::{alike, look_closely, names},
};
use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output},
};
use tempfile::TempDir;
use yolo5::{
    Detector, Thresholds,
    conv::simd::Isa,
    model::{Backend, Layout, Options},
    picture::Picture,
};

fn tools() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tools")
}

/// A folder of what `variants.py` makes of the official model.
fn variants() -> TempDir {
    let official = model();
    let folder = tempfile::tempdir().unwrap();
    let programs = local::python::programs(&tools().join("../.venv"), &tools().join("requirements.txt")).unwrap();
    let mut make = Command::new(programs.join("python"));
    let made = make.arg(tools().join("variants.py")).args([&official, folder.path()]).output().unwrap();
    assert!(made.status.success(), "{}", said(&made));
    // Checkpoints that claim more than they hold, and files that are none.
    assert_eq!(String::from_utf8_lossy(&made.stdout).matches("refused, ").count(), 12);
    folder
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn either_layout_and_any_size_are_taken_and_another_network_is_refused() {
    let folder = variants();
    let load = |name: &str| Detector::load(&folder.path().join(name));

    let picture = Picture::read(&fs::read(sample("grace_hopper.jpg")).unwrap()).unwrap().pixels;
    let rows = load("rows.onnx").unwrap();
    assert_eq!((rows.layout(), rows.fixed()), (Layout::Rows, Some((640, 640))));
    let found = rows.detect(&picture, &Thresholds::default()).unwrap();
    assert_eq!(names(&found), ["person", "tie"]);
    // Its input is square, so that scores are a little different; the places are the same.
    assert!(found[1].pixels.iter().zip([217, 412, 294, 532]).all(|(a, b)| a.abs_diff(b) <= 3), "{found:?}");

    let nano = load("nano.onnx").unwrap();
    assert_eq!((nano.layout(), nano.fixed()), (Layout::Heads, None));
    // Its weights are made up, so what it finds says nothing; but `auto` takes our kernels only where they agree with tract on it.
    let options = Options { backend: Backend::Auto, isa: Some(Isa::best()), threads: 1 };
    let ours = Detector::open(&folder.path().join("nano.onnx"), &options).unwrap();
    assert!(ours.runner().starts_with("our kernels"), "{}", ours.runner());
    ours.detect(&picture, &Thresholds::default()).unwrap();

    let error = load("gray.onnx").map(drop).unwrap_err().to_string();
    assert!(error.contains("found an input 1,1,height,width; expected an input [1, 3, height, width]"), "{error}");
}

#[test]
fn a_model_of_other_classes_and_anchors_is_taken_with_its_names() {
    let folder = variants();
    let model = folder.path().join("classes.onnx");
    let classes = ["Mensch", "the king's tie, red", "dog"];
    let bytes = fs::read(sample("grace_hopper.jpg")).unwrap();
    for backend in [Backend::Auto, Backend::Tract] {
        let detector = Detector::open(&model, &Options { backend, isa: Some(Isa::best()), threads: 1 }).unwrap();
        assert_eq!(detector.runner().starts_with("our kernels"), backend == Backend::Auto, "{}", detector.runner());
        assert!(detector.names().iter().map(|name| &**name).eq(classes));
        let found = detector.detect(&Picture::read(&bytes).unwrap().pixels, &Thresholds::default()).unwrap();
        assert_eq!(names(&found), classes[..2]);
        // The tie of the official model, 217 412 294 532, at twice the size.
        let tie = &found[1];
        assert!(tie.class == 1 && (tie.score - 0.625).abs() < 0.01, "{tie:?}");
        assert!(tie.pixels.iter().zip([179, 352, 333, 592]).all(|(a, b)| a.abs_diff(b) <= 3), "{tie:?}");
    }
    let detect = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_yolo5"));
        command.args(["detect", "--model"]).arg(&model).arg(sample("grace_hopper.jpg")).args(args).output().unwrap()
    };
    let csv = String::from_utf8(detect(&["--csv"]).stdout).unwrap();
    assert!(csv.contains(".jpg,\"the king's tie, red\",0.6"), "{csv}");
    let people = String::from_utf8(detect(&["--csv", "--classes", "mensch"]).stdout).unwrap();
    assert_eq!(people.lines().count(), 2, "{people}");
    let said = said(&detect(&["--classes", "unicorn"]));
    assert!(said.contains("the classes are Mensch, the king's tie, red, dog"), "{said}");
}

#[test]
fn operations_that_our_kernels_do_not_know_are_left_to_tract() {
    let folder = variants();
    let bytes = fs::read(sample("grace_hopper.jpg")).unwrap();
    for (name, ours, runs) in
        [("relu.onnx", "ours=59 all=60", true), ("grouped.onnx", "ours=", true), ("leaky.onnx", "only ", false)]
    {
        let model = folder.path().join(name);
        let open = |backend| Detector::open(&model, &Options { backend, isa: Some(Isa::best()), threads: 1 }).unwrap();
        let expected = look_closely(&open(Backend::Tract), &bytes);
        assert!(!expected.is_empty(), "{name}");
        for backend in [Backend::Fast, Backend::Auto] {
            let detector = open(backend);
            let by_us = runs || backend == Backend::Fast;
            assert_eq!(detector.runner().starts_with("our kernels"), by_us, "{name} {backend:?} {}", detector.runner());
            alike(&look_closely(&detector, &bytes), &expected, &format!("{name} {backend:?}"));
        }
        // Whatever is not ours is told.
        let mut info = Command::new(env!("CARGO_BIN_EXE_yolo5"));
        info.args(["model", "info", "--kernels", Isa::best().name(), "--model"]).arg(&model).env("NO_COLOR", "1");
        let told = said(&info.output().unwrap());
        assert!(told.contains("WARN") && told.contains(ours), "{name}: {told}");
    }
}

#[test]
fn tract_is_set_up_as_a_file_remembers() {
    let folder = variants();
    let (file, nano) = (folder.path().join("setting"), folder.path().join("nano.onnx"));
    let look = |model: &Path, tuning: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_yolo5"));
        command.args(["detect", "--backend", "tract", "--model"]).arg(model).arg("--tuning").arg(tuning);
        command.arg(sample("chelsea.jpg")).env("RUST_LOG", "yolo5=debug").env("NO_COLOR", "1").output().unwrap()
    };

    let off = look(&nano, Path::new("off"));
    assert!(off.status.success() && !said(&off).contains("tract is set up"), "{}", said(&off));

    let refused = look(&folder.path().join("gray.onnx"), &file);
    assert!(refused.status.code() == Some(1) && said(&refused).contains("is no YOLOv5"), "{}", said(&refused));
    assert!(!file.exists(), "nothing was measured");

    let missing = look(&nano, &file);
    assert!(missing.status.success() && said(&missing).contains("measured: default "), "{}", said(&missing));
    let again = look(&nano, &file);
    assert!(again.status.success() && !said(&again).contains("measured"), "{}", said(&again));
    let kept = fs::read_to_string(&file).unwrap();
    let setting = kept.split_once(' ').unwrap().0;
    assert!(said(&again).contains(&format!("tract is set up setting=\"{setting}\"")), "{}", said(&again));
}

#[test]
fn the_model_is_made_again_when_it_or_what_makes_it_has_changed() {
    model();
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    fs::create_dir(at("tools")).unwrap();
    for tool in fs::read_dir(tools()).unwrap().map(Result::unwrap).filter(|tool| tool.path().is_file()) {
        fs::copy(tool.path(), at("tools").join(tool.file_name())).unwrap();
    }
    symlink(tools().join("../.venv"), at(".venv")).unwrap();
    // Stands for the conversion, which takes the weights from the network.
    fs::write(at("tools/model.py"), "import sys\nopen(sys.argv[1], 'w').write('a model')\n").unwrap();
    let model = at("model/yolov5s.onnx");
    let made = || {
        let made = Command::new("bash").arg(at("tools/model.sh")).output().unwrap();
        assert!(made.status.success(), "{}", said(&made));
        assert_eq!(Path::new(String::from_utf8_lossy(&made.stdout).trim()), model);
        assert_eq!(fs::read_to_string(&model).unwrap(), "a model");
        said(&made).contains("made ")
    };
    assert_eq!([made(), made()], [true, false]);
    fs::write(at("tools/graph.py"), "another network").unwrap();
    assert_eq!([made(), made()], [true, false]);
    fs::write(&model, "a mod").unwrap();
    assert_eq!([made(), made()], [true, false]);
    fs::remove_file(&model).unwrap();
    assert_eq!([made(), made()], [true, false]);
}
