//! Where values live: which image each one is in, from which channel on, and where that image is in the stream's memory.
//!
//! A concatenation is an image whose parts are computed right where they belong. A residual is added in place, and the outputs of
//! merged convolutions lie side by side. Where two values would be in one place at one time, the later one gets an image of
//! its own, and a copy brings it where it is wanted. Images that do not live at the same time share memory.

use super::{
    graph::{Conv, Graph, Node, Value},
    layout::Image,
};
use std::ops::Range;

/// Channels of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which image.
    pub image: usize,
    /// The first channel.
    pub channel: usize,
}

/// An image in memory.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// Its form.
    pub image: Image,
    /// Where it begins, in floats.
    pub begin: usize,
    /// The node that first writes it; 0 is the input.
    pub first: usize,
    /// The last node that reads it.
    last: usize,
}

impl Held {
    /// Where it is.
    pub fn range(&self) -> Range<usize> {
        self.begin..self.begin + self.image.floats()
    }
}

/// Everything's place.
pub struct Places {
    /// Of each value; none of values that nothing writes.
    pub values: Vec<Option<Place>>,
    /// The images.
    pub images: Vec<Held>,
    /// Floats in all.
    pub floats: usize,
}

/// A value in an image for some time, in nodes.
struct Occupied {
    value: Value,
    place: Place,
    time: Range<usize>,
}

/// Finds places for an input of this height and width. Nodes count from 1: the input is written at 0.
pub fn place(graph: &Graph, input: (usize, usize)) -> Places {
    let mut search = Search::new(graph, input);
    for node in graph.nodes.iter().rev() {
        match node {
            Node::Concat { xs, y } => {
                let whole = search.own(&[*y]);
                let mut channel = whole.channel;
                for x in xs {
                    search.within(*x, Place { channel, ..whole }, *y);
                    channel += graph.channels[*x];
                }
            }
            Node::Conv(conv) => {
                search.outputs(conv);
                if let (Some(residual), [y]) = (conv.residual, &conv.ys[..]) {
                    search.before(residual, *y);
                }
            }
            other => {
                search.own(other.writes());
            }
        }
    }
    search.own(&[graph.input]);
    search.finish()
}

struct Search<'a> {
    graph: &'a Graph,
    sizes: Vec<(usize, usize)>,
    /// When each value is written, and last read.
    times: Vec<(usize, usize)>,
    borders: Vec<usize>,
    values: Vec<Option<Place>>,
    images: Vec<(Value, usize)>,
    occupied: Vec<Occupied>,
}

impl<'a> Search<'a> {
    fn new(graph: &'a Graph, input: (usize, usize)) -> Self {
        let n = graph.channels.len();
        let (mut times, mut borders) = (vec![(0, 0); n], vec![0; n]);
        for (at, node) in graph.nodes.iter().enumerate() {
            for y in node.writes() {
                times[*y] = (at + 1, at + 1);
            }
            for x in node.reads() {
                times[x].1 = times[x].1.max(at + 1);
            }
            if let Node::Conv(Conv { x, geometry, .. }) = node {
                borders[*x] = borders[*x].max(geometry.border());
            }
        }
        for output in &graph.outputs {
            times[*output].1 = graph.nodes.len() + 1;
        }
        let sizes = graph.sizes(input);
        Self { graph, sizes, times, borders, values: vec![None; n], images: vec![], occupied: vec![] }
    }

    /// The place of some values side by side: the one they have, or a new image's.
    fn own(&mut self, values: &[Value]) -> Place {
        if let [first, ..] = values
            && let Some(place) = self.values[*first]
        {
            return place;
        }
        let channels = values.iter().map(|v| self.graph.channels[*v]).sum();
        self.images.push((values[0], channels));
        let mut place = Place { image: self.images.len() - 1, channel: 0 };
        let begin = place;
        for value in values {
            self.take(*value, place, self.times[*value].0..self.times[*value].1);
            place.channel += self.graph.channels[*value];
        }
        begin
    }

    fn take(&mut self, value: Value, place: Place, time: Range<usize>) {
        self.values[value] = Some(place);
        self.occupied.push(Occupied { value, place, time });
    }

    /// Whether nothing else is there at that time, and no node would write the image that it reads. `part_of` are values whose
    /// part this one is.
    fn free(&self, value: Value, place: Place, time: &Range<usize>, part_of: &[Value]) -> bool {
        let channels = |v: Value, p: Place| p.channel..p.channel + self.graph.channels[v];
        let mine = channels(value, place);
        let clash = self.occupied.iter().any(|o| {
            let theirs = channels(o.value, o.place);
            o.place.image == place.image
                && !part_of.contains(&o.value)
                && theirs.start < mine.end
                && mine.start < theirs.end
                && o.time.start <= time.end
                && time.start <= o.time.end
        });
        let there = |v: &Value| self.values[*v].is_some_and(|p| p.image == place.image);
        let itself = self.graph.nodes.iter().any(|node| match node {
            Node::Conv(Conv { x, before, ys, .. }) => {
                let reads = |v: &Value| v == x || before.is_some_and(|(b, _)| b == *v);
                ys.contains(&value) && (there(x) || before.is_some_and(|(b, _)| there(&b)))
                    || reads(&value) && ys.iter().any(there)
            }
            _ => false,
        });
        !clash && !itself
    }

    /// Puts a part of a concatenation where it belongs, if it can be.
    fn within(&mut self, part: Value, place: Place, whole: Value) {
        // One that lives on after the concatenation stays there as long.
        let time = self.times[part].0..self.times[part].1.max(self.times[whole].1);
        let unwritten = part == self.graph.input;
        if self.values[part].is_none() && !unwritten && self.free(part, place, &time, &self.wholes(whole)) {
            self.take(part, place, time);
        }
    }

    /// A concatenation and those it is part of.
    fn wholes(&self, whole: Value) -> Vec<Value> {
        let mut all = vec![whole];
        for node in &self.graph.nodes {
            if let Node::Concat { xs, y } = node
                && xs.iter().any(|x| {
                    all.contains(x)
                        && self.values[*x].is_some_and(|p| Some(p.image) == self.values[*y].map(|p| p.image))
                })
            {
                all.push(*y);
            }
        }
        all
    }

    /// Puts a residual where the sum will be, if it is not read later.
    fn before(&mut self, residual: Value, y: Value) {
        let (Some(place), (written, read)) = (self.values[y], self.times[residual]) else { return };
        if self.values[residual].is_some() || read != self.times[y].0 || residual == self.graph.input {
            return;
        }
        // The sum overwrites it in the node that reads it last.
        let time = written..read - 1;
        if self.free(residual, place, &time, &[]) {
            self.take(residual, place, time);
        }
    }

    /// Places the outputs of a convolution side by side.
    fn outputs(&mut self, conv: &Conv) {
        let offsets: Vec<usize> =
            conv.ys.iter().scan(0, |at, y| Some(std::mem::replace(at, *at + self.graph.channels[*y]))).collect();
        let Some(placed) = conv.ys.iter().position(|y| self.values[*y].is_some()) else {
            self.own(&conv.ys);
            return;
        };
        let Some(Place { image, channel }) = self.values[conv.ys[placed]] else { unreachable!("it was found placed") };
        let begin = channel.checked_sub(offsets[placed]);
        let whole: usize = conv.ys.iter().map(|y| self.graph.channels[*y]).sum();
        let fits = begin.filter(|b| b + whole <= self.images[image].1);
        let all = conv.ys.iter().zip(&offsets).all(|(y, offset)| {
            fits.is_some_and(|begin| {
                let place = Place { image, channel: begin + offset };
                match self.values[*y] {
                    Some(there) => there == place,
                    None => self.free(*y, place, &(self.times[*y].0..self.times[*y].1), &[]),
                }
            })
        });
        for (y, offset) in conv.ys.iter().zip(&offsets) {
            if let (true, Some(begin), None) = (all, fits, self.values[*y]) {
                self.take(*y, Place { image, channel: begin + offset }, self.times[*y].0..self.times[*y].1);
            }
        }
        if !all {
            // They go side by side into an image of their own, and are copied to where parts are wanted.
            for y in &conv.ys {
                self.values[*y] = None;
                self.occupied.retain(|o| o.value != *y);
            }
            self.own(&conv.ys);
        }
    }

    /// Lays the images into memory, first fit in the order of their birth.
    fn finish(self) -> Places {
        let mut images: Vec<Held> = self
            .images
            .iter()
            .enumerate()
            .map(|(i, (value, channels))| {
                let inside = |v: &Value| self.values[*v].is_some_and(|p| p.image == i);
                let border = (0..self.borders.len()).filter(inside).map(|v| self.borders[v]).max().unwrap_or(0);
                let here = self.occupied.iter().filter(|o| o.place.image == i);
                let first = here.clone().map(|o| o.time.start).min().unwrap_or(0);
                let last = here.map(|o| o.time.end).max().unwrap_or(0);
                let (height, width) = self.sizes[*value];
                Held { image: Image::new(height, width, *channels, border), begin: 0, first, last }
            })
            .collect();
        let mut order: Vec<usize> = (0..images.len()).collect();
        order.sort_by_key(|i| images[*i].first);
        let mut floats = 0;
        for (n, &i) in order.iter().enumerate() {
            let held = images[i];
            let mut others: Vec<Range<usize>> =
                order[..n].iter().map(|o| images[*o]).filter(|o| o.last >= held.first).map(|o| o.range()).collect();
            others.sort_by_key(|r| r.start);
            let mut begin = 0;
            for other in others {
                if begin + held.image.floats() <= other.start {
                    break;
                }
                begin = begin.max(other.end.next_multiple_of(16));
            }
            images[i].begin = begin;
            floats = floats.max(begin + held.image.floats());
        }
        Places { values: self.values, images, floats }
    }
}
