//! YOLOv5 as tract runs it: loaded once, one plan for each shape of input, as many runs at once as the caller likes.

use crate::detect::{
    Detection, Thresholds,
    decode::{self, ANCHORS, Candidate, STRIDES},
    letterbox::{Placement, letterbox, letterbox_into},
    nms,
};
use image::RgbImage;
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
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
             three heads [1, 255, rows, columns] or one output [1, N, 85]"
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

/// A loaded model.
pub struct Detector {
    model: InferenceModel,
    /// Height and width, where the model takes only one size.
    fixed: Option<(u32, u32)>,
    layout: Layout,
    /// The plans last used, newest last.
    plans: Mutex<Vec<((u32, u32), Plan)>>,
}

impl Detector {
    /// Loads an ONNX file of YOLOv5 in either layout, and checks that it is one.
    pub fn load(path: &Path) -> Result<Self, ModelError> {
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
        let mut detector = Self { model, fixed, layout: Layout::Heads, plans: Mutex::default() };
        // A small input shows the outputs; a fixed one shows its own.
        let (height, width) = fixed.unwrap_or((64, 64));
        let plan =
            detector.plan((width, height)).map_err(|e| ModelError::Unusable { path: path.to_owned(), why: e.0 })?;
        let shapes: Vec<Vec<usize>> = (0..outputs)
            .map(|i| plan.model().output_fact(i).map(|f| f.shape.iter().map(|d| d.to_usize().unwrap_or(0)).collect()))
            .collect::<TractResult<_>>()
            .map_err(unusable)?;
        detector.layout = match &shapes[..] {
            [a, b, c] if [a, b, c].iter().all(|s| s.len() == 4 && s[1] == 3 * VALUES) => Layout::Heads,
            [rows, ..] if rows.len() == 3 && rows[2] == VALUES => Layout::Rows,
            _ => return Err(other(format!("outputs {shapes:?}"))),
        };
        detector.plans.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(detector)
    }

    /// The form of its outputs.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Height and width, where it takes only one size.
    pub fn fixed(&self) -> Option<(u32, u32)> {
        self.fixed
    }

    /// The plan for an input of this width and height.
    fn plan(&self, shape: (u32, u32)) -> Result<Plan, RunError> {
        let take = |plans: &mut Vec<((u32, u32), Plan)>| {
            let at = plans.iter().position(|(s, _)| *s == shape)?;
            let found = plans.remove(at);
            plans.push(found.clone());
            Some(found.1)
        };
        if let Some(plan) = take(&mut self.plans.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(plan);
        }
        // Made outside of the lock: others go on with the shapes they have.
        let fail = |e: TractError| RunError(format!("{e:#}"));
        let fact = f32::fact([1, 3, shape.1 as usize, shape.0 as usize]);
        let model = self.model.clone().with_input_fact(0, fact.into()).map_err(fail)?;
        let plan = model.into_optimized().and_then(IntoRunnable::into_runnable).map_err(fail)?;
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = take(&mut plans) {
            return Ok(plan);
        }
        if plans.len() == PLANS {
            plans.remove(0);
        }
        plans.push((shape, plan.clone()));
        Ok(plan)
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

    /// Runs the network and reads its outputs.
    fn candidates(&self, tensor: Vec<f32>, place: &Placement, t: &Thresholds) -> Result<Vec<Candidate>, RunError> {
        let fail = |e: TractError| RunError(format!("{e:#}"));
        let (width, height) = place.input;
        let plan = self.plan((width, height))?;
        let shape = (1, 3, height as usize, width as usize);
        let input = tract_ndarray::Array4::from_shape_vec(shape, tensor).map_err(|e| RunError(e.to_string()))?;
        let outputs = plan.run(tvec!(Tensor::from(input).into())).map_err(fail)?;
        let mut found = vec![];
        for (i, output) in outputs.iter().enumerate() {
            let view = output.to_plain_array_view::<f32>().map_err(fail)?;
            let Some(values) = view.as_slice() else { return Err(RunError("an output that is not dense".to_owned())) };
            match (self.layout, STRIDES.get(i), ANCHORS.get(i)) {
                (Layout::Heads, Some(stride), Some(anchors)) => {
                    let grid = ((height / stride) as usize, (width / stride) as usize);
                    decode::head(values, grid, *stride, anchors, t, &mut found);
                }
                (Layout::Rows, Some(8), _) => decode::rows(values, VALUES, t, &mut found),
                _ => {}
            }
        }
        Ok(found)
    }
}
