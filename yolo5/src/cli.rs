//! The command line: types only.

use crate::{
    conv::simd::Isa,
    model::{Backend, Options},
};
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Where the model is if nothing else is said; `make model` puts it there.
pub const DEFAULT_MODEL: &str = "yolo5/model/yolov5s.onnx";

/// Finds objects in pictures: the 80 kinds of COCO, or those that another model was trained for.
#[derive(Debug, Parser)]
#[command(name = "yolo5", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// What to log, for instance `info` or `yolo5=debug`.
    #[arg(long, global = true, env = "RUST_LOG", default_value = "info")]
    pub log: String,
    /// Form of the log on standard error: text or json.
    #[arg(long, global = true, env = contract::env::LOG_FORMAT, default_value = "text")]
    pub log_format: String,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Find objects in pictures. Exit 1 if some could not be looked at.
    Detect(DetectArgs),
    /// Take jobs from the queue until told to stop. Configured by the environment.
    Worker {
        /// Pictures looked at at once; one a core where absent.
        #[arg(long)]
        streams: Option<usize>,
        /// How tract is set up, of use with --backend tract only: auto measures for some seconds, off leaves it alone, a file remembers what was measured for each model and processor.
        #[arg(long, default_value = "auto")]
        tuning: Tuning,
        /// What runs the model.
        #[command(flatten)]
        engine: Engine,
        /// Seconds that jobs in hand may take when the worker is to stop, before they go back to the queue.
        #[arg(long, default_value_t = 20)]
        deadline: u64,
    },
    /// Ask the worker on this machine whether it is alive. Exit 0 if it is: for the health check of a container.
    Health,
    /// Measure the model on this machine.
    Bench(BenchArgs),
    /// Look at a model.
    Model {
        /// What to do with it.
        #[command(subcommand)]
        command: ModelCommand,
    },
}

/// What to do with a model.
#[derive(Debug, Subcommand)]
pub enum ModelCommand {
    /// Print its form, size and hash.
    Info {
        /// Which model.
        #[command(flatten)]
        model: Model,
        /// What runs it.
        #[command(flatten)]
        engine: Engine,
    },
}

/// What runs the model.
#[derive(Clone, Debug, Args)]
pub struct Engine {
    /// What runs the network: tract, kernels of our own, or ours where this processor has AVX2 and they agree with tract on this model.
    #[arg(long, value_enum, default_value = "auto")]
    pub backend: Backend,
    /// Threads that work on one picture, with kernels of our own.
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// Instructions for kernels of our own: avx512, avx2 or portable; the best that there are where not given.
    #[arg(long, value_name = "NAME")]
    pub kernels: Option<Isa>,
}

impl Engine {
    /// As the detector takes it.
    pub fn options(&self) -> Options {
        Options { backend: self.backend, threads: self.threads, isa: self.kernels }
    }
}

/// Which model.
#[derive(Clone, Debug, Args)]
pub struct Model {
    /// The ONNX file.
    #[arg(long, env = contract::env::YOLO5_MODEL, default_value = DEFAULT_MODEL)]
    pub model: PathBuf,
}

/// Arguments of `detect`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct DetectArgs {
    /// Pictures, folders, patterns such as '*.jpg', or - for standard input.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<String>,
    /// Which model.
    #[command(flatten)]
    pub model: Model,
    /// What runs it.
    #[command(flatten)]
    pub engine: Engine,
    /// Write pictures with boxes (and --yolo files) into this folder.
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Write pictures with boxes, beside the originals where no --output is given.
    #[arg(long)]
    pub draw: bool,
    /// Print one JSON object a picture.
    #[arg(long, conflicts_with_all = ["csv", "yolo"])]
    pub json: bool,
    /// Print comma-separated values.
    #[arg(long, conflicts_with = "yolo")]
    pub csv: bool,
    /// Write one label file a picture, as YOLO does: class cx cy width height score.
    #[arg(long)]
    pub yolo: bool,
    /// Least score, 0 to 1.
    #[arg(long, default_value_t = 0.25, value_parser = part)]
    pub conf: f32,
    /// Overlap above which the better of two boxes of a class stays, 0 to 1.
    #[arg(long, default_value_t = 0.45, value_parser = part)]
    pub iou: f32,
    /// How tract is set up, of use with --backend tract only: auto measures for some seconds, off leaves it alone, a file remembers what was measured for each model and processor.
    #[arg(long, default_value = "off")]
    pub tuning: Tuning,
    /// Only these classes, by name, separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub classes: Vec<String>,
}

/// Arguments of `bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Which model.
    #[command(flatten)]
    pub model: Model,
    /// What runs it.
    #[command(flatten)]
    pub engine: Engine,
    /// Width and height of the picture.
    #[arg(long, default_value = "640x640", value_parser = size, value_name = "WIDTHxHEIGHT")]
    pub size: (u32, u32),
    /// Print what each layer takes, with kernels of our own.
    #[arg(long)]
    pub layers: bool,
    /// Runs to take the median of.
    #[arg(long, default_value_t = 10)]
    pub runs: u32,
    /// Pictures at once for the throughput; 0 leaves that out.
    #[arg(long, default_value_t = 2)]
    pub streams: usize,
    /// How tract is set up, of use with --backend tract only: auto measures for some seconds, off leaves it alone, a file remembers what was measured for each model and processor.
    #[arg(long, default_value = "auto")]
    pub tuning: Tuning,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// How tract is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tuning {
    /// The fastest setting, measured at the start.
    Auto,
    /// As tract does by itself.
    Off,
    /// The setting that this file names, or the fastest, which it then names.
    File(PathBuf),
}

impl std::str::FromStr for Tuning {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "auto" => Self::Auto,
            "off" => Self::Off,
            path => Self::File(path.into()),
        })
    }
}

fn size(text: &str) -> Result<(u32, u32), String> {
    let sides = text.split_once('x').and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
    sides
        .filter(|(w, h)| (1..=4096).contains(w) && (1..=4096).contains(h))
        .ok_or_else(|| format!("{text:?} is no size such as 640x480"))
}

fn part(text: &str) -> Result<f32, String> {
    text.parse().ok().filter(|v| (0.0..=1.0).contains(v)).ok_or_else(|| format!("{text:?} is no number from 0 to 1"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
