//! The stages of a detection, each pure: picture to tensor, heads to boxes, boxes to the ones that stay.

pub mod decode;
pub mod labels;
pub mod letterbox;
pub mod nms;

use std::sync::Arc;

/// Which boxes count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Least score, 0 to 1: of the objectness alone, and of objectness times class.
    pub confidence: f32,
    /// Of two boxes of one class that overlap by more than this (intersection over union), the better one stays.
    pub iou: f32,
    /// At most so many boxes a picture.
    pub most: usize,
}

impl Default for Thresholds {
    /// Those of YOLOv5's own `detect.py`.
    fn default() -> Self {
        Self { confidence: 0.25, iou: 0.45, most: 1000 }
    }
}

/// An object in a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Detection {
    /// Index of its class.
    pub class: usize,
    /// The name of its class: COCO's, in English, or what the model's file says.
    pub name: Arc<str>,
    /// 0 to 1.
    pub score: f32,
    /// Left, top, right, bottom in whole pixels of the picture.
    pub pixels: [u32; 4],
}
