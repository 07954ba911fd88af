//! YOLOv5 on kernels of our own ([`crate::conv`]): one network and its packed weights, a plan for each shape, and memory for as
//! many pictures as are looked at at once.

use super::{RunError, fail, recent::Recent};
use crate::conv::{
    import::{Imported, import},
    plan::{About, Memory, Network, Plan},
    simd::Isa,
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};
use tract_onnx::prelude::*;

/// Plans that are kept. One takes some ten kilobytes: the weights are the network's.
const PLANS: usize = 64;

/// A network that is compiled for this processor.
pub struct Fast {
    network: Arc<Network>,
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

/// The model for an input of this width and height, as tract knows it before it optimises it.
pub fn typed(model: &InferenceModel, (width, height): (u32, u32)) -> TractResult<TypedModel> {
    let fact = f32::fact([1, 3, height as usize, width as usize]);
    model.clone().with_input_fact(0, fact.into())?.into_typed()
}

impl Fast {
    /// Compiles a model, for inputs of about this width and height. None if no part of it can be.
    pub fn new(model: TypedModel, usual: (u32, u32), isa: Isa, threads: usize) -> TractResult<Option<Self>> {
        let Imported { graph, .. } = import(model)?;
        let network = Network::new(graph, (usual.1 as usize, usual.0 as usize), isa);
        let some = network.convolutions() > 0;
        Ok(some.then(|| Self {
            network: Arc::new(network),
            threads,
            plans: Recent::new(PLANS),
            memories: Mutex::default(),
        }))
    }

    /// Which instructions it runs on.
    pub fn isa(&self) -> Isa {
        self.network.isa()
    }

    /// The plan for a shape.
    ///
    /// A network that ends in its heads is ours whatever the shape. A tail is tract's, and made for one: `typed` gives the whole
    /// model for this shape where there is one.
    pub fn shaped(
        &self,
        shape: (u32, u32),
        typed: impl FnOnce() -> Result<Option<TypedModel>, RunError>,
    ) -> Result<Arc<Shaped>, RunError> {
        self.plans.get(shape, || {
            let tail = match typed()? {
                None => None,
                Some(model) => import(model).map_err(fail)?.tail,
            };
            let tail =
                tail.map(|t| t.into_optimized().and_then(IntoRunnable::into_runnable)).transpose().map_err(fail)?;
            Ok(Shaped { plan: Plan::new(self.network.clone(), (shape.1 as usize, shape.0 as usize)), tail })
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
        let outputs = (0..).map_while(|i| shaped.plan.output(i, &memory));
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
