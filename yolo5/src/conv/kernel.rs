//! A convolution's numbers: its geometry, and its weights packed for the ways there are to compute it.

use super::{
    direct::{self, Direct, Scratch, Strip},
    layout::{Floats, Source, Target, strips},
    simd::Isa,
    winograd::{self, Scheme, Winograd},
};
use std::{ops::Range, sync::Arc};

/// How a convolution moves over its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Geometry {
    /// Rows and columns of the kernel.
    pub size: (usize, usize),
    /// Rows and columns from one output to the next.
    pub stride: (usize, usize),
    /// Zeros before the first row and column.
    pub before: (usize, usize),
    /// Zeros after the last row and column.
    pub after: (usize, usize),
}

impl Geometry {
    /// The output's height and width; 0 where the input is smaller than the kernel.
    pub fn output(&self, (height, width): (usize, usize)) -> (usize, usize) {
        let along = |n: usize, before: usize, after: usize, size: usize, stride: usize| {
            (n + before + after).checked_sub(size).map_or(0, |n| n / stride + 1)
        };
        (
            along(height, self.before.0, self.after.0, self.size.0, self.stride.0),
            along(width, self.before.1, self.after.1, self.size.1, self.stride.1),
        )
    }

    /// The border that the input needs.
    pub fn border(&self) -> usize {
        self.before.0.max(self.before.1).max(self.after.0).max(self.after.1)
    }
}

/// A convolution of `inputs` channels to `outputs` channels. Made once, and shared by all plans and streams.
pub struct Kernel {
    /// How it moves.
    pub geometry: Geometry,
    /// Channels it reads.
    pub inputs: usize,
    /// Channels it writes.
    pub outputs: usize,
    /// One for each output, and zeros up to a whole panel.
    pub bias: Vec<f32>,
    /// By which transform it is computed; by its definition where there is none.
    pub scheme: Option<Scheme>,
    /// Its weights, as [`winograd`] or [`direct`](super::direct) read them: the only copy.
    pub packed: Floats,
    isa: Isa,
}

/// Floats that somebody else may hold too.
pub type Shared = Arc<dyn AsRef<[f32]> + Send + Sync>;

/// Weights of a convolution, `[outputs][inputs][rows][columns]`: those of several convolutions one after the other, or of some
/// inputs only.
#[derive(Clone, Default)]
pub struct Weights {
    /// Each with the number of its outputs.
    parts: Vec<(Shared, usize)>,
    /// Floats of an output in each part, and which of them are used.
    row: usize,
    used: Range<usize>,
}

impl PartialEq for Weights {
    fn eq(&self, other: &Self) -> bool {
        let alike = |((a, n), (b, m)): (&(Shared, usize), &(Shared, usize))| {
            let (a, b) = ((**a).as_ref(), (**b).as_ref());
            // What is held twice need not be read.
            n == m && (std::ptr::eq(a, b) || a == b)
        };
        let form = |w: &Self| (w.row, w.used.clone(), w.parts.len());
        form(self) == form(other) && self.parts.iter().zip(&other.parts).all(alike)
    }
}

impl Weights {
    /// All of one convolution.
    pub fn new(data: Shared, outputs: usize) -> Self {
        let row = (*data).as_ref().len() / outputs.max(1);
        Self { parts: vec![(data, outputs)], row, used: 0..row }
    }

    /// Those of another convolution of the same inputs too.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.parts.extend(other.parts);
        self
    }

    /// Only these floats of each output.
    #[must_use]
    pub fn only(mut self, used: Range<usize>) -> Self {
        self.used = self.used.start + used.start..self.used.start + used.end;
        self
    }

    /// Those of an output, `[inputs][rows][columns]`.
    pub fn row(&self, mut output: usize) -> &[f32] {
        for (part, outputs) in &self.parts {
            if output < *outputs {
                return &(**part).as_ref()[output * self.row..][self.used.clone()];
            }
            output -= outputs;
        }
        unreachable!("there are weights for every output")
    }
}

/// What one convolution does besides.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    /// Whether SiLU follows.
    pub silu: bool,
    /// Whether the output's old value is added at the end.
    pub residual: bool,
    /// What is added before the activation: an image that is so many times smaller.
    pub before: Option<(Source<'a>, usize)>,
}

impl Kernel {
    /// A kernel from its weights and one bias for each output. `scheme` must fit the geometry.
    pub fn new(
        geometry: Geometry,
        inputs: usize,
        mut bias: Vec<f32>,
        weights: &Weights,
        scheme: Option<Scheme>,
        isa: Isa,
    ) -> Self {
        let (outputs, panel) = (bias.len(), isa.panel());
        bias.resize(outputs.next_multiple_of(panel), 0.0);
        let packed = match scheme {
            None => direct::pack(weights, (inputs, outputs), geometry.size.0 * geometry.size.1, panel),
            Some(scheme) => winograd::pack(weights, (inputs, outputs), scheme, panel),
        };
        Self { geometry, inputs, outputs, bias, scheme, packed, isa }
    }

    /// Multiplications and additions for an output of so many pixels.
    pub fn operations(&self, pixels: usize) -> usize {
        2 * pixels * self.inputs * self.outputs * self.geometry.size.0 * self.geometry.size.1
    }

    /// Convolves x into y, in as many strips and threads as there are scratches. A transform takes so many tiles at once.
    pub fn run(&self, tiles: usize, x: Source<'_>, y: Target<'_>, around: Around<'_>, scratches: &mut [Scratch]) {
        let step = self.scheme.map_or(1, Scheme::outputs);
        let strip = |(y, scratch)| {
            let strip = Strip { kernel: self, x, y, around, scratch };
            match self.scheme {
                None => self.isa.run(Direct(strip)),
                Some(scheme) => self.isa.run(Winograd { strip, scheme, tiles }),
            }
        };
        let threads = scratches.len().min(self.operations(y.rows * y.image.width) / WORTH_A_THREAD).max(1);
        let mut jobs = strips(y, threads, step).into_iter().zip(scratches);
        let Some(first) = jobs.next() else { unreachable!("at least one thread computes") };
        std::thread::scope(|scope| {
            let strip = &strip;
            for job in jobs {
                scope.spawn(move || strip(job));
            }
            strip(first);
        });
    }
}

/// Operations below which a thread takes longer to start than it saves.
const WORTH_A_THREAD: usize = 4_000_000;
