//! Other models than the one of `make model`: the exporter's layout, another size, and what is no YOLOv5 for COCO at all.

use crate::{model, sample};
use std::{path::Path, process::Command};
use yolo5::{Detection, Detector, Thresholds, model::Layout, picture::Picture};

#[test]
fn either_layout_and_any_size_are_taken_and_another_network_is_refused() {
    let official = model();
    let folder = tempfile::tempdir().unwrap();
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools");
    let programs = local::python::programs(&tools.join("../.venv"), &tools.join("requirements.txt")).unwrap();
    let mut make = Command::new(programs.join("python"));
    let made = make.arg(tools.join("variants.py")).args([&official, folder.path()]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    // Checkpoints that claim more than they hold.
    assert_eq!(String::from_utf8_lossy(&made.stdout).matches("refused, ").count(), 5);
    let load = |name: &str| Detector::load(&folder.path().join(name));

    let picture = Picture::read(&std::fs::read(sample("grace_hopper.jpg")).unwrap()).unwrap().pixels;
    let rows = load("rows.onnx").unwrap();
    assert_eq!((rows.layout(), rows.fixed()), (Layout::Rows, Some((640, 640))));
    let found = rows.detect(&picture, &Thresholds::default()).unwrap();
    assert_eq!(found.iter().map(Detection::name).collect::<Vec<_>>(), ["person", "tie"]);
    // Its input is square, so that scores are a little different; the places are the same.
    assert!(found[1].pixels.iter().zip([217, 412, 294, 532]).all(|(a, b)| a.abs_diff(b) <= 3), "{found:?}");

    let nano = load("nano.onnx").unwrap();
    assert_eq!((nano.layout(), nano.fixed()), (Layout::Heads, None));
    nano.detect(&picture, &Thresholds::default()).unwrap();

    for (name, found) in [("classes.onnx", "found outputs [[1, 75, "), ("gray.onnx", "found an input 1,1,height,width")]
    {
        let error = load(name).map(drop).unwrap_err().to_string();
        assert!(error.contains(found) && error.contains("expected an input [1, 3, height, width]"), "{error}");
    }
}
