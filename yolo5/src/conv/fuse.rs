//! Rewrites of a graph that save work and leave its values as they are, up to rounding:
//!
//! * SiLU and sums go into the convolution that comes before them, where the numbers are still in registers;
//! * convolutions of one input become one convolution, so that the input is read once;
//! * conv(concat(repeat(a), b)) = repeat(conv(a)) + conv(b) for a 1x1 convolution: a quarter of the work for the first half.

use super::graph::{Conv, Graph, Node, Value};

/// All rewrites.
pub fn fuse(mut graph: Graph) -> Graph {
    silu(&mut graph);
    residual(&mut graph);
    siblings(&mut graph);
    before_repeat(&mut graph);
    graph
}

/// The convolution that writes a value which nothing else reads.
fn sole(graph: &mut Graph, value: Value) -> Option<&mut Conv> {
    let at = graph.writer(value)?;
    let alone = graph.uses(value) == 1;
    match &mut graph.nodes[at] {
        Node::Conv(conv) if alone && conv.ys == [value] => Some(conv),
        _ => None,
    }
}

fn silu(graph: &mut Graph) {
    for at in (0..graph.nodes.len()).rev() {
        let Node::Silu { x, y } = graph.nodes[at] else { continue };
        if let Some(conv) = sole(graph, x)
            && !conv.silu
            && conv.residual.is_none()
        {
            (conv.silu, conv.ys) = (true, vec![y]);
            graph.nodes.remove(at);
        }
    }
}

fn residual(graph: &mut Graph) {
    for at in (0..graph.nodes.len()).rev() {
        let Node::Add { xs: [a, b], y } = graph.nodes[at] else { continue };
        // The later of the two, so that the other is there.
        let (first, last) = if graph.writer(a) > graph.writer(b) { (b, a) } else { (a, b) };
        if first != last
            && graph.channels[first] == graph.channels[last]
            && let Some(conv) = sole(graph, last)
            && conv.residual.is_none()
        {
            (conv.residual, conv.ys) = (Some(first), vec![y]);
            graph.nodes.remove(at);
        }
    }
}

fn siblings(graph: &mut Graph) {
    let mut at = 0;
    while at < graph.nodes.len() {
        for other in (at + 1..graph.nodes.len()).rev() {
            let [Node::Conv(a), Node::Conv(b)] = [&graph.nodes[at], &graph.nodes[other]] else { continue };
            let alike = a.x == b.x && a.geometry == b.geometry && a.silu == b.silu && a.silu;
            if !alike || a.residual.or(b.residual).is_some() {
                continue;
            }
            let (Node::Conv(b), Node::Conv(a)) = (graph.nodes.remove(other), &mut graph.nodes[at]) else {
                unreachable!("both were seen to be convolutions");
            };
            a.weights = a.weights.clone().and(b.weights);
            a.bias.extend(b.bias);
            a.ys.extend(b.ys);
        }
        at += 1;
    }
}

fn before_repeat(graph: &mut Graph) {
    let mut at = 0;
    while at < graph.nodes.len() {
        if let Some((mut low, mut rest)) = split(graph, at) {
            let partial = graph.value(low.bias.len());
            low.ys = vec![partial];
            rest.before = rest.before.map(|(_, times)| (partial, times));
            graph.nodes[at] = Node::Conv(rest);
            graph.nodes.insert(at, Node::Conv(low));
            at += 1;
        }
        at += 1;
    }
    // What nobody reads any more.
    for at in (0..graph.nodes.len()).rev() {
        if graph.nodes[at].writes().iter().all(|y| graph.uses(*y) == 0) {
            graph.nodes.remove(at);
        }
    }
}

/// A 1x1 convolution of a repeated image and another one, as one of each.
fn split(graph: &Graph, at: usize) -> Option<(Conv, Conv)> {
    let Node::Conv(conv) = &graph.nodes[at] else { return None };
    let plain = conv.geometry.size == (1, 1) && conv.geometry.stride == (1, 1) && conv.geometry.border() == 0;
    let Node::Concat { xs, .. } = &graph.nodes[graph.writer(conv.x)?] else { return None };
    let [a, b] = xs[..] else { return None };
    let Node::Repeat { x, times, .. } = graph.nodes[graph.writer(a)?] else { return None };
    if !plain || conv.before.is_some() {
        return None;
    }
    let inputs = graph.channels[a];
    let low = Conv {
        weights: conv.weights.clone().only(0..inputs),
        bias: vec![0.0; conv.bias.len()],
        x,
        silu: false,
        residual: None,
        ..conv.clone()
    };
    let weights = conv.weights.clone().only(inputs..inputs + graph.channels[b]);
    let rest = Conv { weights, x: b, before: Some((0, times)), ..conv.clone() };
    Some((low, rest))
}
