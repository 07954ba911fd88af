//! YOLOv5: loaded once by tract, run by kernels of our own or by tract, with one plan for each shape of input and as many runs at
//! once as the caller likes.

mod fast;
mod recent;

use crate::{
    conv::{plan::About, simd::Isa},
    detect::{
        Detection, Thresholds,
        decode::{self, ANCHORS, Candidate, STRIDES},
        letterbox::{Placement, SIDE, letterbox, letterbox_into},
        nms,
    },
};
use fast::{Fast, Output, Shaped};
use image::RgbImage;
use recent::Recent;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use tract_onnx::{
    prelude::*,
    tract_hir::{infer::Factoid, internal::DimLike},
};

/// Why a model cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// No such file.
    #[error(
        "there is no model at {path}; `make model` makes one (YOLOv5s), or give another with --model or YOLO5_MODEL"
    )]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The file is not ONNX, or tract cannot run it.
    #[error("{path} cannot be loaded: {why}; `make model` makes one that can")]
    Unusable {
        /// Which file.
        path: PathBuf,
        /// What tract says.
        why: String,
    },
    /// It is another network.
    #[error(
        "{path} is no YOLOv5 for the 80 classes of COCO: found {found}; expected an input [1, 3, height, width] and either \
             three heads [1, 255, rows, columns] or one output [1, N, 85]; `make model` makes one"
    )]
    Other {
        /// Which file.
        path: PathBuf,
        /// Its shapes.
        found: String,
    },
}

/// Why a picture could not be looked at. Always a fault of this program or of the model.
#[derive(Debug, thiserror::Error)]
#[error("the model failed: {0}")]
pub struct RunError(String);

/// Plans that are kept, for as many shapes. One takes some 33 MB.
const PLANS: usize = 3;
/// Classes of COCO and the five numbers of a box.
const VALUES: usize = 85;

/// The form of the outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Three raw heads.
    Heads,
    /// One output of decoded boxes, as the exporter of ultralytics writes.
    Rows,
}

type Plan = Arc<TypedRunnableModel>;

/// What runs the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Backend {
    /// tract alone.
    Tract,
    /// Kernels of our own, unchecked.
    Fast,
    /// Kernels of our own, if they agree with tract on this model; else tract.
    Auto,
}

/// How a detector runs.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What runs the network.
    pub backend: Backend,
    /// Threads that work on one picture, with kernels of our own.
    pub threads: usize,
    /// The instructions that our own kernels use; the best that the processor has where nothing is said.
    pub isa: Option<Isa>,
}

impl Default for Options {
    fn default() -> Self {
        Self { backend: Backend::Auto, threads: 1, isa: None }
    }
}

/// How much outputs of both backends may differ, of numbers up to 1 absolutely, and of greater ones in proportion.
const TOLERANCE: f32 = 1e-3;

/// A loaded model.
pub struct Detector {
    /// tract's; none where our kernels run all of it.
    model: Option<InferenceModel>,
    /// Height and width, where the model takes only one size.
    fixed: Option<(u32, u32)>,
    layout: Layout,
    /// Kernels of our own, where they are used.
    fast: Option<Fast>,
    /// tract's plans last used, newest last.
    plans: Recent<(u32, u32), Plan>,
}

impl Detector {
    /// [`Self::open`] with the default options.
    pub fn load(path: &Path) -> Result<Self, ModelError> {
        Self::open(path, &Options::default())
    }

    /// Loads an ONNX file of YOLOv5 in either layout, and checks that it is one.
    pub fn open(path: &Path, options: &Options) -> Result<Self, ModelError> {
        if !path.is_file() {
            return Err(ModelError::Missing { path: path.to_owned() });
        }
        let unusable = |e: TractError| ModelError::Unusable { path: path.to_owned(), why: format!("{e:#}") };
        let model = tract_onnx::onnx().model_for_path(path).map_err(unusable)?;
        let other = |found: String| ModelError::Other { path: path.to_owned(), found };
        let (&[input], outputs) =
            (model.input_outlets().map_err(unusable)?, model.output_outlets().map_err(unusable)?.len())
        else {
            return Err(other(format!("{} inputs", model.inputs.len())));
        };
        let fact = model.outlet_fact(input).map_err(unusable)?;
        let sizes: Vec<Option<u32>> = fact
            .shape
            .dims()
            .map(|d| d.concretize().and_then(|d| d.to_usize().ok()).and_then(|d| u32::try_from(d).ok()))
            .collect();
        let fixed = match sizes[..] {
            [batch, Some(3), height, width] if batch.is_none_or(|b| b == 1) => height.zip(width),
            _ => return Err(other(format!("an input {:?}", fact.shape))),
        };
        let mut detector = Self { model: None, fixed, layout: Layout::Heads, fast: None, plans: Recent::new(PLANS) };
        // A small input shows the outputs; a fixed one shows its own.
        let (height, width) = fixed.unwrap_or((64, 64));
        let shape = (width, height);
        let typed = fast::typed(&model, shape).map_err(unusable)?;
        detector.model = Some(model);
        let shapes: Vec<Vec<usize>> = (0..outputs)
            .map(|i| typed.output_fact(i).map(|f| f.shape.iter().map(|d| d.to_usize().unwrap_or(0)).collect()))
            .collect::<TractResult<_>>()
            .map_err(unusable)?;
        detector.layout = match &shapes[..] {
            [a, b, c] if [a, b, c].iter().all(|s| s.len() == 4 && s[1] == 3 * VALUES) => Layout::Heads,
            [rows, ..] if rows.len() == 3 && rows[2] == VALUES => Layout::Rows,
            _ => return Err(other(format!("outputs {shapes:?}"))),
        };
        let failed = |e: RunError| ModelError::Unusable { path: path.to_owned(), why: e.0 };
        if options.backend == Backend::Tract {
            detector.plan(shape).map_err(failed)?;
            return Ok(detector);
        }
        let isa = options.isa.or_else(|| Isa::all().first().copied()).unwrap_or(Isa::Portable);
        let usual = fixed.map_or((SIDE, SIDE), |(height, width)| (width, height));
        detector.fast = Fast::new(typed, usual, isa, options.threads).map_err(unusable)?;
        match (detector.fast.is_some(), options.backend) {
            (false, Backend::Fast) => {
                let why = "nothing of it is a convolution that --backend fast knows; use --backend auto".to_owned();
                return Err(ModelError::Unusable { path: path.to_owned(), why });
            }
            (true, Backend::Auto) => {
                let apart = detector.disagreement(shape).map_err(failed)?;
                if apart > TOLERANCE || apart.is_nan() {
                    tracing::warn!(apart, ?isa, "our kernels and tract disagree on this model; tract runs it");
                    detector.fast = None;
                }
            }
            _ => {}
        }
        detector.plans.clear();
        if detector.fast.is_some() && detector.layout == Layout::Heads {
            detector.model = None;
        }
        Ok(detector)
    }

    /// What runs the network, for people.
    pub fn runner(&self) -> &'static str {
        match self.fast.as_ref().map(Fast::isa) {
            None => "tract",
            Some(Isa::Avx512) => "our kernels with AVX-512",
            Some(Isa::Avx2) => "our kernels with AVX2",
            Some(Isa::Portable) => "our kernels in plain Rust",
        }
    }

    /// How far the outputs of both backends are apart on an input of this width and height, as a share of numbers above 1.
    fn disagreement(&self, shape: (u32, u32)) -> Result<f32, RunError> {
        let Some(fast) = &self.fast else { return Ok(0.0) };
        let (width, height) = (shape.0 as usize, shape.1 as usize);
        // Stripes, edges and slopes in all three colours.
        #[expect(clippy::cast_precision_loss, reason = "at most 1000")]
        let tensor: Vec<f32> = (0..3 * width * height).map(|i| (i * i / 7 % 1001) as f32 / 1000.0).collect();
        let expected = self.tract(shape, tensor.clone())?;
        let mut apart = 0.0_f32;
        fast.run(&*self.shaped(fast, shape)?, &tensor, |i, output| {
            let expected = expected.get(i).ok_or_else(|| RunError("an output too many".to_owned()))?;
            let expected = expected.to_plain_array_view::<f32>().map_err(fail)?;
            let ours = match output {
                Output::Pixels(pixels) => pixels.planes(),
                Output::Tensor(tensor) => tensor.to_plain_array_view::<f32>().map_err(fail)?.iter().copied().collect(),
            };
            if ours.len() != expected.len() {
                return Err(RunError("an output of another size".to_owned()));
            }
            for (a, b) in ours.iter().zip(expected) {
                let off = (a - b).abs() / b.abs().max(1.0);
                apart = if off > apart || off.is_nan() { off } else { apart };
            }
            Ok(())
        })?;
        Ok(apart)
    }

    /// The form of its outputs.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Height and width, where it takes only one size.
    pub fn fixed(&self) -> Option<(u32, u32)> {
        self.fixed
    }

    fn model(&self) -> Result<&InferenceModel, RunError> {
        self.model.as_ref().ok_or_else(|| RunError("it was given up for our kernels".to_owned()))
    }

    /// The plan of our kernels for an input of this width and height.
    fn shaped(&self, fast: &Fast, shape: (u32, u32)) -> Result<Arc<Shaped>, RunError> {
        fast.shaped(shape, || match self.layout {
            Layout::Heads => Ok(None),
            Layout::Rows => fast::typed(self.model()?, shape).map(Some).map_err(fail),
        })
    }

    /// tract's plan for an input of this width and height.
    fn plan(&self, shape: (u32, u32)) -> Result<Arc<Plan>, RunError> {
        self.plans.get(shape, || {
            let fact = f32::fact([1, 3, shape.1 as usize, shape.0 as usize]);
            let model = self.model()?.clone().with_input_fact(0, fact.into()).map_err(fail)?;
            model.into_optimized().and_then(IntoRunnable::into_runnable).map_err(fail)
        })
    }

    /// What each layer of the network takes for a picture of this size, in milliseconds: the least of so many runs. Nothing where
    /// tract runs it.
    pub fn layers(&self, (width, height): (u32, u32), runs: u32) -> Result<Vec<(About, f64)>, RunError> {
        let (tensor, place) = match self.fixed {
            None => letterbox(&RgbImage::new(width, height)),
            Some((height, width)) => letterbox_into(&RgbImage::new(1, 1), (width, height)),
        };
        let Some(fast) = &self.fast else { return Ok(vec![]) };
        Ok(fast.layers(&*self.shaped(fast, place.input)?, &tensor, runs))
    }

    /// The objects in a picture, best first.
    pub fn detect(&self, picture: &RgbImage, thresholds: &Thresholds) -> Result<Vec<Detection>, RunError> {
        if picture.width() == 0 || picture.height() == 0 {
            return Ok(vec![]);
        }
        let (tensor, place) = match self.fixed {
            None => letterbox(picture),
            Some((height, width)) => letterbox_into(picture, (width, height)),
        };
        let candidates = self.candidates(tensor, &place, thresholds)?;
        let kept = nms::suppress(candidates, thresholds);
        Ok(kept
            .into_iter()
            .map(|c| Detection { class: c.class, score: c.score, pixels: place.to_picture(c.corners) })
            .collect())
    }

    /// tract's outputs.
    fn tract(&self, shape: (u32, u32), tensor: Vec<f32>) -> Result<TVec<TValue>, RunError> {
        let of = (1, 3, shape.1 as usize, shape.0 as usize);
        let input = tract_ndarray::Array4::from_shape_vec(of, tensor).map_err(|e| RunError(e.to_string()))?;
        self.plan(shape)?.run(tvec!(Tensor::from(input).into())).map_err(fail)
    }

    /// Runs the network and reads its outputs.
    fn candidates(&self, tensor: Vec<f32>, place: &Placement, t: &Thresholds) -> Result<Vec<Candidate>, RunError> {
        let mut found = vec![];
        let mut read = |i, output: Output<'_>| self.read(i, &output, place.input, t, &mut found);
        match &self.fast {
            Some(fast) => {
                let shaped = self.shaped(fast, place.input)?;
                fast.run(&shaped, &tensor, read)?;
            }
            None => {
                for (i, output) in self.tract(place.input, tensor)?.into_iter().enumerate() {
                    read(i, Output::Tensor(output))?;
                }
            }
        }
        Ok(found)
    }

    /// Reads one output.
    fn read(
        &self,
        index: usize,
        output: &Output<'_>,
        (width, height): (u32, u32),
        t: &Thresholds,
        found: &mut Vec<Candidate>,
    ) -> Result<(), RunError> {
        let view = match output {
            Output::Tensor(tensor) => Some(tensor.to_plain_array_view::<f32>().map_err(fail)?),
            Output::Pixels(_) => None,
        };
        let dense = || RunError("an output that is not dense".to_owned());
        let values = view.as_ref().map(|v| v.as_slice().ok_or_else(dense)).transpose()?;
        match (self.layout, STRIDES.get(index), ANCHORS.get(index)) {
            (Layout::Heads, Some(stride), Some(anchors)) => {
                let grid = ((height / stride) as usize, (width / stride) as usize);
                match (values, output) {
                    (Some(values), _) => {
                        let cells = grid.0 * grid.1;
                        let read = |channel, cell| values[channel * cells + cell];
                        decode::head(read, VALUES, grid, *stride, anchors, t, found);
                    }
                    (None, Output::Pixels(pixels)) => {
                        let read = |channel: usize, cell| pixels.pixel(cell / grid.1, cell % grid.1)[channel];
                        decode::head(read, VALUES, grid, *stride, anchors, t, found);
                    }
                    _ => {}
                }
            }
            (Layout::Rows, Some(8), _) => decode::rows(values.ok_or_else(dense)?, VALUES, t, found),
            _ => {}
        }
        Ok(())
    }
}

/// What tract says, as a reason.
#[expect(clippy::needless_pass_by_value, reason = "the form that map_err takes")]
fn fail(e: TractError) -> RunError {
    RunError(format!("{e:#}"))
}
