//! The detector: finds objects in pictures with YOLOv5, from files and from the queue: the 80 kinds of COCO, or those that
//! another model was trained for.

pub mod cli;
pub mod commands;
pub mod config;
pub mod conv;
pub mod detect;
pub mod drain;
pub mod draw;
pub mod job;
pub mod model;
pub mod picture;
pub mod queue;
pub mod store;
pub mod tuning;
pub mod worker;

pub use detect::{Detection, Thresholds};
pub use model::Detector;
