//! A network for one size of input: every value's place in memory and every convolution's algorithm. A plan changes nothing by
//! being run; what a stream writes is in its [`Memory`].
//!
//! A plan that contradicts itself panics: a job that dies is tried again or told as failed, and one whose numbers are wrong is
//! sent to somebody.

use super::{
    direct::Scratch,
    fuse::fuse,
    graph::{Conv, Graph, Node, Value},
    kernel::{Around, Kernel},
    layout::{Floats, Source, Target},
    place::{Held, Place, Places, place},
    pool::{self, Activate, Area},
    simd::Isa,
    tune,
};
use std::{ops::Range, sync::Arc};

/// A network with its weights, for any size of input. One for all plans and streams.
pub struct Network {
    graph: Graph,
    /// Those of the nodes that are convolutions.
    kernels: Vec<Option<Kernel>>,
    isa: Isa,
}

impl Network {
    /// Rewrites the graph so that it computes the same with less work, and packs its weights for the transforms that are likely
    /// the fastest for an input of this height and width. Nothing of the graph's own weights is kept.
    pub fn new(graph: Graph, usual: (usize, usize), isa: Isa) -> Self {
        let mut graph = fuse(graph);
        let (sizes, channels) = (graph.sizes(usual), &graph.channels);
        let kernel = |node: &mut Node| {
            let Node::Conv(conv) = node else { return None };
            let (inputs, outputs, weights) = (channels[conv.x], conv.bias.len(), std::mem::take(&mut conv.weights));
            let scheme = tune::scheme(&conv.geometry, (inputs, outputs), sizes[conv.ys[0]]);
            Some(Kernel::new(conv.geometry, inputs, conv.bias.clone(), &weights, scheme, isa))
        };
        let kernels = graph.nodes.iter_mut().map(kernel).collect();
        Self { graph, kernels, isa }
    }

    /// Which instructions it was made for.
    pub fn isa(&self) -> Isa {
        self.isa
    }
}

/// What one stream needs to run plans, one after the other. It grows to the largest.
pub struct Memory {
    images: Floats,
    /// One for each thread that works on an image.
    scratches: Vec<Scratch>,
}

impl Memory {
    /// For so many threads on one image.
    pub fn new(threads: usize) -> Self {
        Self { images: Floats::default(), scratches: (0..threads.max(1)).map(|_| Scratch::default()).collect() }
    }
}

/// A network for one size of input.
pub struct Plan {
    network: Arc<Network>,
    places: Places,
    /// Of each value, its height and width.
    sizes: Vec<(usize, usize)>,
    /// How many tiles a convolution has in work at once; nothing of the other nodes.
    tiles: Vec<Option<usize>>,
}

/// An output, pixel by pixel.
#[derive(Clone, Copy)]
pub struct Output<'a> {
    source: Source<'a>,
    channels: usize,
}

impl<'a> Output<'a> {
    /// Height and width.
    pub fn size(&self) -> (usize, usize) {
        (self.source.image.height, self.source.image.width)
    }

    /// Channels of a pixel.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The numbers of a pixel.
    pub fn pixel(&self, row: usize, column: usize) -> &'a [f32] {
        &self.source.data[self.source.image.at((row, column), (0, 0)) + self.source.channel..][..self.channels]
    }

    /// Channel by channel, as other programs have it.
    pub fn planes(&self) -> Vec<f32> {
        let (height, width) = self.size();
        let mut all = vec![0.0; self.channels * height * width];
        for i in 0..height * width {
            for (c, value) in self.pixel(i / width, i % width).iter().enumerate() {
                all[c * height * width + i] = *value;
            }
        }
        all
    }
}

/// What a step is, for people.
#[derive(Clone, Debug)]
pub struct About {
    /// The operation.
    pub name: String,
    /// Height and width of what it writes.
    pub size: (usize, usize),
    /// How it is computed.
    pub how: String,
    /// Multiplications and additions by its definition.
    pub operations: usize,
}

impl Plan {
    /// A plan for an input of this height and width.
    pub fn new(network: Arc<Network>, input: (usize, usize)) -> Self {
        let (places, sizes) = (place(&network.graph, input), network.graph.sizes(input));
        let tiles =
            |(node, kernel): (&Node, &Option<Kernel>)| Some(tune::at_once(kernel.as_ref()?, sizes[node.writes()[0]]));
        let tiles = network.graph.nodes.iter().zip(&network.kernels).map(tiles).collect();
        Self { network, places, sizes, tiles }
    }

    /// Steps that a run has.
    pub fn steps(&self) -> usize {
        self.network.graph.nodes.len()
    }

    /// Runs it on an image given channel by channel.
    pub fn run(&self, image: &[f32], memory: &mut Memory) {
        self.write(image, memory);
        for step in 0..self.steps() {
            self.step(step, memory);
        }
    }

    /// The outputs of the last run in this memory, in the graph's order.
    pub fn outputs<'a>(&'a self, memory: &'a Memory) -> impl Iterator<Item = Output<'a>> {
        self.network.graph.outputs.iter().map(|value| {
            let (place, held) = self.held(*value);
            let source = Source { data: &memory.images[held.range()], image: held.image, channel: place.channel };
            Output { source, channels: self.network.graph.channels[*value] }
        })
    }

    /// Writes the input, channel by channel.
    pub fn write(&self, image: &[f32], memory: &mut Memory) {
        let images = memory.images.at_least(self.places.floats);
        self.clear_borders(0, images);
        let area = self.area(self.network.graph.input);
        let (height, width) = (area.image.height, area.image.width);
        assert!(image.len() == area.channels * height * width, "the picture is of the plan's size");
        for row in 0..height {
            let begin = area.begin + area.image.at((row, 0), (0, 0)) + area.channel;
            for c in 0..area.channels {
                let values = &image[(c * height + row) * width..][..width];
                for (to, value) in images[begin + c..].iter_mut().step_by(area.image.pixel).zip(values) {
                    *to = *value;
                }
            }
        }
    }

    /// Runs one step. Those before it must have been run.
    pub fn step(&self, step: usize, memory: &mut Memory) {
        let Memory { images, scratches } = memory;
        let images = images.at_least(self.places.floats);
        self.clear_borders(step + 1, images);
        let node = &self.network.graph.nodes[step];
        let area = |value: &Value| self.area(*value);
        match node {
            Node::Conv(conv) => {
                let (Some(kernel), Some(tiles)) = (&self.network.kernels[step], self.tiles[step]) else {
                    unreachable!("a convolution has a kernel, and tiles in work");
                };
                let y = conv.ys[0];
                if let Some(residual) = conv.residual
                    && self.places.values[y] != self.places.values[residual]
                {
                    pool::repeat(images, self.area(residual), self.area(y), 1);
                }
                self.convolve(conv, kernel, tiles, images, scratches);
            }
            Node::Pool { x, y, geometry } => {
                let (x, y) = (area(x), area(y));
                let scratch = scratches[0].inputs.at_least(x.image.height * y.image.width * x.channels);
                pool::pool(images, x, y, geometry, scratch);
            }
            Node::Repeat { x, y, times } => pool::repeat(images, area(x), area(y), *times),
            Node::Concat { xs, y } => {
                let mut to = area(y);
                for from in xs.iter().map(area) {
                    // Most parts were computed where they belong.
                    if (from.begin, from.channel) != (to.begin, to.channel) {
                        pool::repeat(images, from, to, 1);
                    }
                    to.channel += from.channels;
                }
            }
            Node::Add { xs: [a, b], y } => pool::add(images, [area(a), area(b)], area(y)),
            Node::Silu { x, y } => self.network.isa.run(Activate { memory: images, x: area(x), y: area(y) }),
        }
    }

    fn convolve(&self, conv: &Conv, kernel: &Kernel, tiles: usize, images: &mut [f32], scratches: &mut [Scratch]) {
        let ((x, from), (y, to)) = (self.held(conv.x), self.held(conv.ys[0]));
        let before = conv.before.map(|(value, times)| (self.held(value), times));
        let image = to.image;
        let rows = to.begin + image.border * image.pitch()..to.begin + (image.border + image.height) * image.pitch();
        // An image that is both input and summand is one range.
        let third = before.as_ref().map(|((_, held), _)| held.range()).filter(|r| *r != from.range());
        let Ok((data, out, low)) = disjoint(images, from.range(), rows, third) else {
            unreachable!("a convolution writes no image that it reads");
        };
        let around = Around {
            silu: conv.silu,
            residual: conv.residual.is_some(),
            before: before.map(|((place, held), times)| {
                (Source { data: low.unwrap_or(data), image: held.image, channel: place.channel }, times)
            }),
        };
        let source = Source { data, image: from.image, channel: x.channel };
        let target = Target { data: out, image, channel: y.channel, first: 0, rows: image.height };
        kernel.run(tiles, source, target, around, scratches);
    }

    fn held(&self, value: Value) -> (Place, Held) {
        let Some(place) = self.places.values[value] else { unreachable!("what is read or written has a place") };
        (place, self.places.images[place.image])
    }

    fn area(&self, value: Value) -> Area {
        let (place, held) = self.held(value);
        let channels = self.network.graph.channels[value];
        Area { begin: held.begin, image: held.image, channel: place.channel, channels }
    }

    fn clear_borders(&self, time: usize, images: &mut [f32]) {
        for held in self.places.images.iter().filter(|h| h.first == time) {
            held.image.clear_border(&mut images[held.range()]);
        }
    }

    /// What a step does.
    pub fn about(&self, step: usize) -> About {
        let node = &self.network.graph.nodes[step];
        let size = self.sizes[node.writes()[0]];
        let name = match node {
            Node::Conv(conv) => {
                let ((high, wide), stride) = (conv.geometry.size, conv.geometry.stride.0);
                format!("conv {high}x{wide}/{stride} {} to {}", self.network.graph.channels[conv.x], conv.bias.len())
            }
            Node::Pool { geometry, .. } => format!("pool {}x{}", geometry.size.0, geometry.size.1),
            Node::Repeat { .. } => "repeat".to_owned(),
            Node::Concat { .. } => "concat".to_owned(),
            Node::Add { .. } => "add".to_owned(),
            Node::Silu { .. } => "silu".to_owned(),
        };
        let how = match (&self.network.kernels[step], self.tiles[step]) {
            (Some(Kernel { scheme: Some(scheme), .. }), Some(tiles)) => format!("{}({tiles})", scheme.name()),
            (Some(_), _) => "direct".to_owned(),
            (None, _) => String::new(),
        };
        let operations = self.network.kernels[step].as_ref().map_or(0, |k| k.operations(size.0 * size.1));
        About { name, size, how, operations }
    }
}

/// Two images to read and one to write.
type Parts<'a> = (&'a [f32], &'a mut [f32], Option<&'a [f32]>);

fn disjoint(
    all: &mut [f32],
    a: Range<usize>,
    b: Range<usize>,
    c: Option<Range<usize>>,
) -> Result<Parts<'_>, std::slice::GetDisjointMutError> {
    if let Some(c) = c {
        let [a, b, c] = all.get_disjoint_mut([a, b, c])?;
        return Ok((a, b, Some(c)));
    }
    let [a, b] = all.get_disjoint_mut([a, b])?;
    Ok((a, b, None))
}
