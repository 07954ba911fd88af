//! Names of classes: those of COCO, and those that a model's file has.

/// The 80 classes of COCO in the order of YOLOv5's outputs.
pub const COCO: [&str; 80] = [
    "person",
    "bicycle",
    "car",
    "motorcycle",
    "airplane",
    "bus",
    "train",
    "truck",
    "boat",
    "traffic light",
    "fire hydrant",
    "stop sign",
    "parking meter",
    "bench",
    "bird",
    "cat",
    "dog",
    "horse",
    "sheep",
    "cow",
    "elephant",
    "bear",
    "zebra",
    "giraffe",
    "backpack",
    "umbrella",
    "handbag",
    "tie",
    "suitcase",
    "frisbee",
    "skis",
    "snowboard",
    "sports ball",
    "kite",
    "baseball bat",
    "baseball glove",
    "skateboard",
    "surfboard",
    "tennis racket",
    "bottle",
    "wine glass",
    "cup",
    "fork",
    "knife",
    "spoon",
    "bowl",
    "banana",
    "apple",
    "sandwich",
    "orange",
    "broccoli",
    "carrot",
    "hot dog",
    "pizza",
    "donut",
    "cake",
    "chair",
    "couch",
    "potted plant",
    "bed",
    "dining table",
    "toilet",
    "tv",
    "laptop",
    "mouse",
    "remote",
    "keyboard",
    "cell phone",
    "microwave",
    "oven",
    "toaster",
    "sink",
    "refrigerator",
    "book",
    "clock",
    "vase",
    "scissors",
    "teddy bear",
    "hair drier",
    "toothbrush",
];

/// Bytes that a name may have: the labels of a thousand objects have to fit into an item of DynamoDB, 400 KB.
const LONGEST: usize = 100;

/// What so many classes are called where nobody says.
pub fn unnamed(classes: usize) -> Vec<String> {
    let coco = classes == COCO.len();
    (0..classes).map(|n| if coco { COCO[n].to_owned() } else { format!("class {n}") }).collect()
}

/// The names of a model's metadata, in which ultralytics' exporter writes them as Python does: `{0: 'cat', 1: 'dog'}` or
/// `['cat', 'dog']`. None where that is not what they are.
pub fn read(text: &str) -> Option<Vec<String>> {
    let within = |open, close| text.trim().strip_prefix(open)?.strip_suffix(close);
    let mut rest = within('{', '}').or_else(|| within('[', ']'))?;
    let mut names: Vec<String> = vec![];
    while let Some(begin) = rest.find(['\'', '"']) {
        let (before, quoted) = rest.split_at(begin);
        let number = before.trim_matches([',', ':', ' ']);
        if !number.is_empty() && number.parse() != Ok(names.len()) {
            return None;
        }
        let mut chars = quoted.char_indices();
        let (_, quote) = chars.next()?;
        let mut name = String::new();
        let end = loop {
            match chars.next()? {
                (_, '\\') => name.push(chars.next()?.1),
                (at, c) if c == quote => break at + 1,
                (_, c) => name.push(c),
            }
        };
        rest = &quoted[end..];
        names.push(name);
    }
    let whole = rest.trim_matches([',', ' ']).is_empty();
    (whole && names.iter().all(|name| (1..=LONGEST).contains(&name.len()))).then_some(names)
}

/// Index of a class by its name.
pub fn class<N: AsRef<str>>(names: &[N], name: &str) -> Option<usize> {
    names.iter().position(|n| n.as_ref().eq_ignore_ascii_case(name.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_found_by_name_and_are_all_different() {
        assert_eq!((class(&COCO, "Cat"), class(&COCO, "unicorn")), (Some(15), None));
        assert_eq!(COCO.iter().collect::<std::collections::BTreeSet<_>>().len(), 80);
    }

    #[test]
    fn names_are_read_as_python_writes_them() {
        let names = |text| read(text).map(|names| names.join("|"));
        for text in [r#"{0: 'cat', 1: "dog's, wet", 2: 'a \'b\''}"#, r#"['cat', "dog's, wet", "a 'b'"]"#] {
            assert_eq!(names(text).as_deref(), Some("cat|dog's, wet|a 'b'"), "{text}");
        }
        let long = format!("['{}']", "x".repeat(LONGEST + 1));
        for text in
            ["", "cat, dog", "{1: 'cat', 0: 'dog'}", "['cat', dog]", "['cat', 'dog", "['cat', '']", "{0: 'cat'", &long]
        {
            assert_eq!(names(text), None, "{text}");
        }
    }
}
