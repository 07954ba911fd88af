//! YOLOv5: loaded once by tract, run by kernels of our own or by tract, with one plan for each shape of input and as many runs at
//! once as the caller likes.

mod fast;
mod form;
mod recent;
mod verdict;

use crate::{
    conv::{plan::About, simd::Isa},
    detect::{
        Detection, Thresholds,
        decode::{self, Candidate, STRIDES},
        letterbox::{Placement, SIDE, letterbox, letterbox_into},
        nms,
    },
};
use fast::{Fast, Output, Shaped};
use form::Form;
pub use form::Layout;
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
use verdict::{Reason, verdict};

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
        "{path} is no YOLOv5: found {found}; expected an input [1, 3, height, width] and either three heads [1, 3 * (5 + \
             classes), rows, columns] of strides 8, 16 and 32 or one output [1, N, 5 + classes], and where its metadata has \
             \"names\" or \"anchors\", a name of each class or 18 numbers; `make model` makes one"
    )]
    Other {
        /// Which file.
        path: PathBuf,
        /// Its shapes, or what its metadata says.
        found: String,
    },
}

/// Why a picture could not be looked at. Always a fault of this program or of the model.
#[derive(Debug, thiserror::Error)]
#[error("the model failed: {0}")]
pub struct RunError(String);

/// Plans that are kept, for as many shapes. One takes some 33 MB.
const PLANS: usize = 3;
/// Width and height of the input that a model is tried on, where it takes any: small, and with maps that are odd and not square.
const PROBE: (u32, u32) = (96, 160);
/// Another one, on which our part of the model has to be the same.
const OTHER: (u32, u32) = (64, 64);

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

impl Options {
    /// What our own kernels use; none where tract runs the network whatever it is, since it is faster than plain Rust.
    fn kernels(&self, best: Isa) -> Option<Isa> {
        match (self.backend, self.isa) {
            (Backend::Tract, _) => None,
            (Backend::Auto, None) => Some(best).filter(|isa| *isa != Isa::Portable),
            (Backend::Auto | Backend::Fast, isa) => Some(isa.unwrap_or(best)),
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self { backend: Backend::Auto, threads: 1, isa: None }
    }
}

/// A loaded model.
pub struct Detector {
    /// tract's; none where our kernels run all of it.
    model: Option<InferenceModel>,
    /// Height and width, where the model takes only one size.
    fixed: Option<(u32, u32)>,
    form: Form,
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
        let probe = fixed.map_or(PROBE, |(height, width)| (width, height));
        let typed = fast::typed(&model, probe).map_err(unusable)?;
        let shape = |i| typed.output_fact(i).map(|f| f.shape.iter().map(|d| d.to_usize().unwrap_or(0)).collect());
        let shapes: Vec<Vec<usize>> = (0..outputs).map(shape).collect::<TractResult<_>>().map_err(unusable)?;
        let said = |name: &str| {
            let tensor = model.properties.get(&format!("onnx.metadata_props.{name}"))?;
            tensor.to_plain_array_view::<String>().ok()?.first().cloned()
        };
        let form = Form::of(&shapes, (probe.1 as usize, probe.0 as usize), said).map_err(other)?;
        let mut detector = Self { model: None, fixed, form, fast: None, plans: Recent::new(PLANS) };
        let compiled = options.kernels(Isa::best()).map(|isa| {
            let mut models = vec![typed];
            if fixed.is_none() {
                models.push(fast::typed(&model, OTHER)?);
            }
            let usual = fixed.map_or((SIDE, SIDE), |(height, width)| (width, height));
            Fast::new(models, usual, isa, options.threads)
        });
        detector.model = Some(model);
        let failed = |e: RunError| ModelError::Unusable { path: path.to_owned(), why: e.0 };
        detector.fast = match (compiled, options.backend) {
            (None, _) => None,
            (Some(compiled), Backend::Fast) => Some(compiled.map_err(unusable)?),
            (Some(compiled), _) => match detector.tried(compiled.map_err(fail), probe) {
                Ok(fast) => Some(fast),
                Err(why) => {
                    tracing::warn!("tract runs this model: {why}");
                    None
                }
            },
        };
        match &detector.fast {
            None => drop(detector.plan(probe).map_err(failed)?),
            Some(fast) => {
                let (ours, all) = fast.share();
                if ours < all {
                    tracing::warn!(ours, all, "not all convolutions of this model are ours; tract computes the others");
                }
                if fast.whole() {
                    detector.model = None;
                }
                detector.plans.clear();
            }
        }
        Ok(detector)
    }

    /// What runs the network, for people.
    pub fn runner(&self) -> String {
        self.fast.as_ref().map_or("tract".to_owned(), |fast| format!("our kernels with {}", fast.isa().title()))
    }

    /// Our kernels, if they shall run the model: tried on an input of this width and height.
    fn tried(&self, compiled: Result<Fast, RunError>, probe: (u32, u32)) -> Result<Fast, Reason> {
        let fast = compiled.map_err(Reason::Failed)?;
        verdict(fast.share(), self.disagreement(&fast, probe))?;
        Ok(fast)
    }

    /// How far the outputs of both backends are apart on an input of this width and height, as a share of numbers above 1.
    fn disagreement(&self, fast: &Fast, shape: (u32, u32)) -> Result<f32, RunError> {
        let (width, height) = (shape.0 as usize, shape.1 as usize);
        // Stripes, edges and slopes in all three colours.
        #[expect(clippy::cast_precision_loss, reason = "at most 1000")]
        let tensor: Vec<f32> = (0..3 * width * height).map(|i| (i * i / 7 % 1001) as f32 / 1000.0).collect();
        let expected = self.tract(shape, tensor.clone())?;
        let (mut apart, mut outputs) = (0.0_f32, 0);
        fast.run(&*self.shaped(fast, shape)?, &tensor, |i, output| {
            let expected = expected.get(i).ok_or_else(|| RunError("an output too many".to_owned()))?;
            let expected = expected.to_plain_array_view::<f32>().map_err(fail)?;
            if output.shape() != expected.shape() {
                return Err(RunError("an output of another size".to_owned()));
            }
            for (a, b) in output.numbers()?.iter().zip(expected) {
                let off = (a - b).abs() / b.abs().max(1.0);
                apart = if off > apart || off.is_nan() { off } else { apart };
            }
            outputs += 1;
            Ok(())
        })?;
        if outputs == expected.len() { Ok(apart) } else { Err(RunError("an output too few".to_owned())) }
    }

    /// The form of its outputs.
    pub fn layout(&self) -> Layout {
        self.form.layout
    }

    /// The names of its classes, in the order of their numbers.
    pub fn names(&self) -> &[Arc<str>] {
        &self.form.names
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
        fast.shaped(shape, || fast::typed(self.model()?, shape).map_err(fail))
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
            .map(|c| Detection {
                class: c.class,
                name: self.form.names[c.class].clone(),
                score: c.score,
                pixels: place.to_picture(c.corners),
            })
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
        let (shape, values) = (output.shape(), self.form.values());
        let other = || RunError(format!("output {index} is {shape:?} for an input of {width}x{height}"));
        match (self.form.layout, STRIDES.get(index), self.form.anchors.get(index)) {
            (Layout::Heads, Some(stride), Some(anchors)) => {
                let grid = ((height / stride) as usize, (width / stride) as usize);
                if shape != [1, 3 * values, grid.0, grid.1] {
                    return Err(other());
                }
                if let Output::Pixels(pixels) = output {
                    let read = |channel: usize, cell| pixels.pixel(cell / grid.1, cell % grid.1)[channel];
                    decode::head(read, values, grid, *stride, anchors, t, found);
                } else {
                    let (numbers, cells) = (output.numbers()?, grid.0 * grid.1);
                    decode::head(
                        |channel, cell| numbers[channel * cells + cell],
                        values,
                        grid,
                        *stride,
                        anchors,
                        t,
                        found,
                    );
                }
            }
            (Layout::Rows, ..) if index > 0 => {} // the same, before it was decoded
            (Layout::Rows, ..) if shape.len() == 3 && shape[2] == values => {
                decode::rows(&output.numbers()?, values, t, found);
            }
            _ => return Err(other()),
        }
        Ok(())
    }
}

/// What tract says, as a reason.
#[expect(clippy::needless_pass_by_value, reason = "the form that map_err takes")]
fn fail(e: TractError) -> RunError {
    RunError(format!("{e:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_rust_runs_a_model_only_if_asked_to() {
        let kernels = |backend, isa, best| Options { backend, isa, threads: 1 }.kernels(best);
        for best in Isa::all() {
            assert_eq!(kernels(Backend::Tract, Some(best), best), None);
            assert_eq!(kernels(Backend::Fast, None, best), Some(best));
            assert_eq!(kernels(Backend::Auto, None, best).is_some(), best != Isa::Portable);
            assert_eq!(kernels(Backend::Auto, Some(Isa::Portable), best), Some(Isa::Portable));
        }
    }
}
