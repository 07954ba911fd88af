//! YOLOv5 on kernels of our own ([`crate::conv`]): one network and its packed weights, a plan for each shape, and memory for as
//! many pictures as are looked at at once.

use super::{PLANS, RunError, fail, recent::Recent};
use crate::conv::{
    graph::Graph,
    import::{Imported, import},
    plan::{About, Memory, Network, Plan},
    simd::Isa,
};
use std::{
    borrow::Cow,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};
use tract_onnx::prelude::*;

/// Plans that are kept where all of a model is ours. One takes some ten kilobytes: the weights are the network's.
const WHOLE_PLANS: usize = 64;

/// A network that is compiled for this processor.
pub struct Fast {
    network: Arc<Network>,
    /// Our part, where the rest of the model is tract's.
    part: Option<Graph>,
    share: (usize, usize),
    /// Threads that work on one picture.
    threads: usize,
    /// One for each width and height.
    plans: Recent<(u32, u32), Shaped>,
    /// Memory that no picture uses at the moment.
    memories: Mutex<Vec<Memory>>,
}

/// What runs on one shape.
pub struct Shaped {
    /// Our part.
    pub plan: Plan,
    /// What tract does with its outputs, if they are not the model's.
    tail: Option<Arc<TypedRunnableModel>>,
}

/// An output of the model.
pub enum Output<'a> {
    /// A head as our part leaves it.
    Pixels(crate::conv::plan::Output<'a>),
    /// What the tail made.
    Tensor(TValue),
}

impl Output<'_> {
    /// Its shape: `[1, channels, rows, columns]` of a head.
    pub fn shape(&self) -> Vec<usize> {
        match self {
            Self::Pixels(pixels) => vec![1, pixels.channels(), pixels.size().0, pixels.size().1],
            Self::Tensor(tensor) => tensor.shape().to_vec(),
        }
    }

    /// Its numbers, those of the last axis side by side.
    pub fn numbers(&self) -> Result<Cow<'_, [f32]>, RunError> {
        match self {
            Self::Pixels(pixels) => Ok(pixels.planes().into()),
            Self::Tensor(tensor) => {
                let numbers = tensor.to_plain_array_view::<f32>().map_err(fail)?.to_slice();
                numbers.map(Cow::from).ok_or_else(|| RunError("an output that is not dense".to_owned()))
            }
        }
    }
}

/// The model for an input of this width and height, as tract knows it before it optimises it.
pub fn typed(model: &InferenceModel, (width, height): (u32, u32)) -> TractResult<TypedModel> {
    let fact = f32::fact([1, 3, height as usize, width as usize]);
    model.clone().with_input_fact(0, fact.into())?.into_typed()
}

impl Fast {
    /// Compiles what of a model is ours, for inputs of about this width and height. The model is given for each of some sizes of
    /// input: our part must be the same for all, since what is seen on one might hold by chance there.
    pub fn new(models: Vec<TypedModel>, usual: (u32, u32), isa: Isa, threads: usize) -> TractResult<Self> {
        let mut all = models.into_iter().map(import).collect::<TractResult<Vec<_>>>()?.into_iter();
        let Some(Imported { graph, tail, share }) = all.next() else {
            return Err(TractError::msg("a model for no size of input"));
        };
        if share.0 == 0 {
            return Err(TractError::msg(format!("none of its {} convolutions is in a form that they know", share.1)));
        }
        if all.any(|other| other.graph != graph || other.tail.is_some() != tail.is_some()) {
            return Err(TractError::msg("our part of it hangs on the size of the input"));
        }
        let part = tail.map(|_| graph.clone());
        let plans = Recent::new(if part.is_none() { WHOLE_PLANS } else { PLANS });
        let network = Arc::new(Network::new(graph, (usual.1 as usize, usual.0 as usize), isa));
        Ok(Self { network, part, share, threads, plans, memories: Mutex::default() })
    }

    /// Whether nothing is left to tract.
    pub fn whole(&self) -> bool {
        self.part.is_none()
    }

    /// How many convolutions are ours, of how many that the model has.
    pub fn share(&self) -> (usize, usize) {
        self.share
    }

    /// Which instructions it runs on.
    pub fn isa(&self) -> Isa {
        self.network.isa()
    }

    /// The plan for a width and height. Our part is for all of them; what is tract's is made of the model for this one.
    pub fn shaped(
        &self,
        shape: (u32, u32),
        typed: impl FnOnce() -> Result<TypedModel, RunError>,
    ) -> Result<Arc<Shaped>, RunError> {
        self.plans.get(shape, || {
            let plan = Plan::new(self.network.clone(), (shape.1 as usize, shape.0 as usize));
            let Some(part) = &self.part else { return Ok(Shaped { plan, tail: None }) };
            let Imported { graph, tail, .. } = import(typed()?).map_err(fail)?;
            if graph != *part {
                return Err(RunError("our part of the model is another for this size".to_owned()));
            }
            let tail = tail.map(|t| t.into_optimized().and_then(IntoRunnable::into_runnable)).transpose();
            Ok(Shaped { plan, tail: tail.map_err(fail)? })
        })
    }

    /// The least time that each step takes, in milliseconds.
    pub fn layers(&self, shaped: &Shaped, tensor: &[f32], runs: u32) -> Vec<(About, f64)> {
        let mut memory = Memory::new(self.threads);
        let mut layers: Vec<_> =
            (0..shaped.plan.steps()).map(|step| (shaped.plan.about(step), f64::INFINITY)).collect();
        for _ in 0..runs {
            shaped.plan.write(tensor, &mut memory);
            for (step, (_, least)) in layers.iter_mut().enumerate() {
                let begun = Instant::now();
                shaped.plan.step(step, &mut memory);
                *least = least.min(begun.elapsed().as_secs_f64() * 1000.0);
            }
        }
        layers
    }

    /// Runs a plan on a picture and hands each output to `read`.
    pub fn run(
        &self,
        shaped: &Shaped,
        tensor: &[f32],
        mut read: impl FnMut(usize, Output<'_>) -> Result<(), RunError>,
    ) -> Result<(), RunError> {
        let free = self.memories.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut memory = free.unwrap_or_else(|| Memory::new(self.threads));
        shaped.plan.run(tensor, &mut memory);
        let outputs = shaped.plan.outputs(&memory);
        let result = match &shaped.tail {
            None => outputs.enumerate().try_for_each(|(i, output)| read(i, Output::Pixels(output))),
            Some(tail) => {
                let inputs: Result<TVec<TValue>, RunError> = outputs
                    .map(|o| {
                        let ((height, width), channels) = (o.size(), o.channels());
                        let array = tract_ndarray::Array4::from_shape_vec((1, channels, height, width), o.planes());
                        array.map(|a| Tensor::from(a).into()).map_err(|e| RunError(e.to_string()))
                    })
                    .collect();
                inputs.and_then(|inputs| tail.run(inputs).map_err(fail)).and_then(|all| {
                    all.into_iter().enumerate().try_for_each(|(i, output)| read(i, Output::Tensor(output)))
                })
            }
        };
        self.memories.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
        result
    }
}
