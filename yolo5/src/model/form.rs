//! What a model's outputs are, and what its file says of them: the names of its classes, and its anchors. Nothing here runs it.

use crate::detect::{
    decode::{ANCHORS, Anchors, STRIDES},
    labels,
};
use std::sync::Arc;

/// The form of the outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Three raw heads.
    Heads,
    /// One output of decoded boxes, as the exporter of ultralytics writes.
    Rows,
}

/// How the outputs are to be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Form {
    /// Which layout.
    pub layout: Layout,
    /// One for each class, in the order of the outputs.
    pub names: Vec<Arc<str>>,
    /// Of raw heads; decoded boxes have theirs in them.
    pub anchors: Anchors,
}

impl Form {
    /// The form of a model whose outputs have these shapes for an input of this height and width; `said` is the metadata of its
    /// file by name. Or what was found that no YOLOv5 has.
    pub fn of(
        shapes: &[Vec<usize>],
        (height, width): (usize, usize),
        said: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        let grids = STRIDES.map(|stride| stride as usize).map(|stride| [height / stride, width / stride]);
        let cells: usize = grids.iter().map(|[rows, columns]| rows * columns).sum();
        let head = |(shape, grid): (&Vec<usize>, &[usize; 2])| shape.len() == 4 && shape[2..] == *grid;
        let (layout, values) = match shapes {
            [a, b, c] if shapes.iter().zip(&grids).all(head) && a[1] == b[1] && b[1] == c[1] && a[1] % 3 == 0 => {
                (Layout::Heads, a[1] / 3)
            }
            // Some exports have the heads as well, [1, 3, rows, columns, 5 + classes].
            [rows, more @ ..]
                if rows.len() == 3 && rows[1] == 3 * cells && more.iter().all(|m| m.last() == rows.last()) =>
            {
                (Layout::Rows, rows[2])
            }
            _ => return Err(format!("outputs {shapes:?}")),
        };
        let classes = values.checked_sub(5).filter(|n| *n > 0).ok_or_else(|| format!("outputs {shapes:?}"))?;
        let names = match said("names") {
            None => labels::unnamed(classes),
            Some(text) => labels::read(&text)
                .filter(|names| names.len() == classes)
                .ok_or_else(|| format!("{classes} classes and the names {text}"))?,
        };
        let anchors = match said("anchors").filter(|_| layout == Layout::Heads) {
            None => ANCHORS,
            Some(text) => anchors(&text).ok_or_else(|| format!("the anchors {text}"))?,
        };
        Ok(Self { layout, names: names.into_iter().map(Arc::from).collect(), anchors })
    }

    /// Numbers of a box: place, size, objectness, and one for each class.
    pub fn values(&self) -> usize {
        5 + self.names.len()
    }
}

/// Width and height of nine boxes in pixels, whatever is between the numbers.
fn anchors(text: &str) -> Option<Anchors> {
    let numbers = text.split(|c: char| !(c.is_ascii_digit() || "+-.eE".contains(c))).filter(|part| !part.is_empty());
    let numbers: Vec<f32> = numbers.map(str::parse).collect::<Result<_, _>>().ok()?;
    let good = numbers.len() == 18 && numbers.iter().all(|n| n.is_finite() && *n > 0.0);
    good.then(|| {
        std::array::from_fn(|head| std::array::from_fn(|n| [0, 1].map(|side| numbers[6 * head + 2 * n + side])))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(shapes: &[&[usize]], names: Option<&str>, anchors: Option<&str>) -> Result<Form, String> {
        let shapes: Vec<_> = shapes.iter().map(|shape| shape.to_vec()).collect();
        Form::of(&shapes, (160, 96), |name| if name == "names" { names } else { anchors }.map(str::to_owned))
    }

    fn heads(channels: usize) -> [[usize; 4]; 3] {
        [[1, channels, 20, 12], [1, channels, 10, 6], [1, channels, 5, 3]]
    }

    #[test]
    fn classes_are_counted_in_the_outputs_and_named_by_the_file() {
        let raw = |classes: usize, names| {
            let [a, b, c] = heads(3 * (5 + classes));
            form(&[&a, &b, &c], names, None).map(|form| (form.layout, form.names.join("|"), form.anchors))
        };
        assert_eq!(raw(2, None), Ok((Layout::Heads, "class 0|class 1".to_owned(), ANCHORS)));
        assert_eq!(raw(80, None).map(|(_, names, _)| names), Ok(labels::COCO.join("|")));
        assert_eq!(raw(2, Some("{0: 'cat', 1: 'dog'}")).map(|(_, names, _)| names), Ok("cat|dog".to_owned()));
        assert_eq!(raw(3, Some("['cat', 'dog']")), Err("3 classes and the names ['cat', 'dog']".to_owned()));
        let rows = form(&[&[1, 945, 7], &[1, 3, 20, 12, 7]], None, Some("none of ours")).unwrap();
        assert_eq!((rows.layout, rows.values(), rows.anchors), (Layout::Rows, 7, ANCHORS));
    }

    #[test]
    fn anchors_are_the_files() {
        let [a, b, c] = heads(18);
        let read = |text| form(&[&a, &b, &c], None, Some(text)).map(|form| form.anchors);
        let expected = [[[1.0, 2.0], [3.5, 4.0], [5.0, 6.0]], [[7.0, 8.0]; 3], [[9.0, 10.0]; 3]];
        assert_eq!(read("1 2 3.5 4 5 6 7 8 7 8 7 8 9 10 9 10 9 10"), Ok(expected));
        assert_eq!(read("[[1,2, 3.5,4, 5,6], [7,8, 7,8, 7,8], [9,1e1, 9,10, 9,10]]"), Ok(expected));
        for wrong in
            ["", "1 2 3", "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 0", "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 -1"]
        {
            assert_eq!(read(wrong), Err(format!("the anchors {wrong}")));
        }
    }

    #[test]
    fn outputs_of_other_networks_are_refused() {
        let [a, b, c] = heads(18);
        for wrong in [
            // Heads in another order; of other strides; two; without a class; of a number that three anchors do not share.
            &[&c[..], &b, &a][..],
            &[&[1, 18, 40, 24], &a, &b],
            &[&a, &b],
            &[&[1, 15, 20, 12], &[1, 15, 10, 6], &[1, 15, 5, 3]],
            &[&[1, 19, 20, 12], &[1, 19, 10, 6], &[1, 19, 5, 3]],
            &[&a, &b, &[1, 21, 5, 3]],
            // A later YOLO; a segmentation, whose boxes have more numbers than classes; boxes without a class.
            &[&[1, 84, 315]],
            &[&[1, 945, 117], &[1, 32, 40, 24]],
            &[&[1, 945, 5]],
            &[],
        ] {
            assert_eq!(form(wrong, None, None), Err(format!("outputs {wrong:?}")));
        }
    }
}
