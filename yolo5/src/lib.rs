//! The detector: finds the 80 kinds of objects of COCO in pictures with YOLOv5, from files and from the queue.

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
