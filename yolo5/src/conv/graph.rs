//! A convolutional network without shapes: what is computed from what, and how many channels each value has. Everything that
//! depends on the size of the input is decided later, in [`plan`](super::plan).

use super::kernel::{Geometry, Weights};

/// An image that is computed: an index into [`Graph::channels`].
pub type Value = usize;

/// Nodes in an order in which they can be computed.
#[derive(Clone, Default, PartialEq)]
pub struct Graph {
    /// Channels of each value.
    pub channels: Vec<usize>,
    /// What is given.
    pub input: Value,
    /// What is computed.
    pub nodes: Vec<Node>,
    /// What is wanted.
    pub outputs: Vec<Value>,
}

/// A step of the computation.
#[derive(Clone, PartialEq)]
pub enum Node {
    /// A convolution, with what is done to its sums.
    Conv(Conv),
    /// The greatest of each window; what lies outside does not count.
    Pool {
        /// From.
        x: Value,
        /// To.
        y: Value,
        /// The window.
        geometry: Geometry,
    },
    /// Each pixel so many times down and across.
    Repeat {
        /// From.
        x: Value,
        /// To.
        y: Value,
        /// How often.
        times: usize,
    },
    /// The channels of all, one after the other.
    Concat {
        /// From.
        xs: Vec<Value>,
        /// To.
        y: Value,
    },
    /// The sum of two.
    Add {
        /// From.
        xs: [Value; 2],
        /// To.
        y: Value,
    },
    /// x / (1 + e^-x)
    Silu {
        /// From.
        x: Value,
        /// To.
        y: Value,
    },
}

/// y = silu(x * weights + bias + repeat(before)) + residual
#[derive(Clone, PartialEq)]
pub struct Conv {
    /// Its weights.
    pub weights: Weights,
    /// One for each output channel.
    pub bias: Vec<f32>,
    /// How it moves.
    pub geometry: Geometry,
    /// From.
    pub x: Value,
    /// To: the output channels may make up several values.
    pub ys: Vec<Value>,
    /// Whether SiLU follows.
    pub silu: bool,
    /// What is added in the end.
    pub residual: Option<Value>,
    /// What is added before the activation, so many times smaller than the output.
    pub before: Option<(Value, usize)>,
}

impl Node {
    /// What it reads.
    pub fn reads(&self) -> Vec<Value> {
        match self {
            Self::Conv(c) => [Some(c.x), c.residual, c.before.map(|(value, _)| value)].into_iter().flatten().collect(),
            Self::Pool { x, .. } | Self::Repeat { x, .. } | Self::Silu { x, .. } => vec![*x],
            Self::Concat { xs, .. } => xs.clone(),
            Self::Add { xs, .. } => xs.to_vec(),
        }
    }

    /// What it writes.
    pub fn writes(&self) -> &[Value] {
        match self {
            Self::Conv(c) => &c.ys,
            Self::Pool { y, .. }
            | Self::Repeat { y, .. }
            | Self::Concat { y, .. }
            | Self::Add { y, .. }
            | Self::Silu { y, .. } => std::slice::from_ref(y),
        }
    }
}

impl Graph {
    /// A value of so many channels.
    pub fn value(&mut self, channels: usize) -> Value {
        self.channels.push(channels);
        self.channels.len() - 1
    }

    /// How often a value is read, and wanted.
    pub fn uses(&self, value: Value) -> usize {
        let reads = self.nodes.iter().flat_map(Node::reads).filter(|v| *v == value).count();
        reads + self.outputs.iter().filter(|v| **v == value).count()
    }

    /// The node that writes a value; none writes the input.
    pub fn writer(&self, value: Value) -> Option<usize> {
        self.nodes.iter().position(|n| n.writes().contains(&value))
    }

    /// Height and width of each value for an input of these.
    pub fn sizes(&self, input: (usize, usize)) -> Vec<(usize, usize)> {
        let mut sizes = vec![(0, 0); self.channels.len()];
        sizes[self.input] = input;
        for node in &self.nodes {
            let size = match node {
                Node::Conv(c) => c.geometry.output(sizes[c.x]),
                Node::Pool { x, geometry, .. } => geometry.output(sizes[*x]),
                Node::Repeat { x, times, .. } => (sizes[*x].0 * times, sizes[*x].1 * times),
                Node::Concat { xs, .. } => xs.first().map_or((0, 0), |x| sizes[*x]),
                Node::Add { xs: [x, _], .. } | Node::Silu { x, .. } => sizes[*x],
            };
            for y in node.writes() {
                sizes[*y] = size;
            }
        }
        sizes
    }
}
