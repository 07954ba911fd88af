//! The pass over tract's typed model: what of it is a convolutional graph that we can compile, and what stays tract's.
//!
//! A node is ours if we know its operation in this form and all that it reads is ours. So nothing of ours waits for anything of
//! tract's: our part runs first, and its outputs are the inputs of the rest, which is a model of its own ("tail"). A network
//! that ends in its heads has no tail.

use super::{
    graph::{Conv, Graph, Node, Value},
    kernel::{Geometry, Weights},
};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};
use tract_onnx::{
    prelude::*,
    tract_core::{
        internal::{EvalContext, SpecialOps},
        ops::{
            array::TypedConcat,
            binary::TypedBinOp,
            cnn::{Conv as TractConv, KernelFormat, MaxPool, PaddingSpec, PoolSpec},
            element_wise::ElementWiseOp,
            math::{Add, Mul},
            nn::{DataFormat, Sigmoid, Silu},
        },
    },
};

/// What became of a model.
pub struct Imported {
    /// Our part; its outputs are the model's, or the tail's inputs.
    pub graph: Graph,
    /// The rest, if there is one: it makes the model's outputs of our part's.
    pub tail: Option<TypedModel>,
    /// How many convolutions are ours, of how many that the model has.
    pub share: (usize, usize),
}

/// Splits a model of one input `[1, channels, height, width]`.
pub fn import(mut model: TypedModel) -> TractResult<Imported> {
    model.prop_consts()?;
    let mut pass = Pass { model: &model, graph: Graph::default(), values: HashMap::new(), gates: HashMap::new() };
    let [input] = model.input_outlets()? else { return Err(TractError::msg("more than one input")) };
    let channels = model.outlet_fact(*input)?.shape.as_concrete().and_then(|s| s.get(1).copied());
    let value = pass.graph.value(channels.unwrap_or(0));
    (pass.graph.input, _) = (value, pass.values.insert(*input, value));
    let order = model.eval_order()?;
    let all = order.iter().filter(|id| model.node(**id).op_is::<TractConv>()).count();
    for id in order {
        if *input != OutletId::new(id, 0) {
            pass.node(model.node(id));
        }
    }
    let Pass { mut graph, values, .. } = pass;
    let ours = graph.nodes.iter().filter(|node| matches!(node, Node::Conv(_))).count();
    let outputs = model.output_outlets()?.to_vec();
    let border = border(&model, &outputs, &values);
    graph.outputs = border.iter().filter_map(|o| values.get(o).copied()).collect();
    let tail = if border == outputs {
        None
    } else {
        let mut tail = model.clone();
        begin_at(&mut tail, &border)?;
        Some(tail)
    };
    Ok(Imported { graph, tail, share: (ours, all) })
}

/// What of ours is wanted: found by going from the outputs towards the input and no further than what is ours. Outputs come
/// first, in the model's order.
fn border(model: &TypedModel, outputs: &[OutletId], values: &HashMap<OutletId, Value>) -> Vec<OutletId> {
    let (mut border, mut seen) = (vec![], HashSet::new());
    let mut open: VecDeque<OutletId> = outputs.iter().copied().collect();
    while let Some(outlet) = open.pop_front() {
        if !seen.insert(outlet) {
            continue;
        }
        if values.contains_key(&outlet) {
            border.push(outlet);
        } else {
            open.extend(&model.node(outlet.node).inputs);
        }
    }
    border
}

/// Makes these the inputs of a model, and drops what only they needed.
fn begin_at(model: &mut TypedModel, border: &[OutletId]) -> TractResult<()> {
    for outlet in border {
        // tract would do it while it brings the nodes in order, which they would not be in any more then: sources come last.
        let op = model.create_source(model.outlet_fact(*outlet)?.clone());
        let node = model.node_mut(outlet.node);
        node.op = op;
        for input in std::mem::take(&mut node.inputs) {
            model.nodes[input.node].outputs[input.slot].successors.retain(|successor| successor.node != outlet.node);
        }
    }
    model.set_input_outlets(border)?;
    model.compact()
}

struct Pass<'a> {
    model: &'a TypedModel,
    graph: Graph,
    values: HashMap<OutletId, Value>,
    /// Sigmoids of values: SiLU is a value times its own.
    gates: HashMap<OutletId, Value>,
}

/// A tensor of floats, held where the model holds it.
struct Held(Arc<Tensor>);

impl AsRef<[f32]> for Held {
    fn as_ref(&self) -> &[f32] {
        let Some(values) = self.0.as_plain_ram().and_then(|p| p.as_slice().ok()) else {
            unreachable!("it was seen to be one before it was held");
        };
        values
    }
}

impl Pass<'_> {
    /// Takes a node over. None where it is not ours.
    fn node(&mut self, node: &TypedNode) -> Option<()> {
        let outlet = OutletId::new(node.id, 0);
        let fact = self.model.outlet_fact(outlet).ok()?;
        let shape = fact.shape.as_concrete()?;
        if fact.datum_type != f32::datum_type() || node.inputs.is_empty() {
            return None;
        }
        let inputs: Vec<Option<Value>> = node.inputs.iter().map(|i| self.values.get(i).copied()).collect();
        let x = inputs[0];
        if let Some(ElementWiseOp(op, None)) = node.op_as()
            && op.is::<Sigmoid>()
        {
            self.gates.insert(outlet, x?);
            // The product takes it over; what else reads it is tract's, and computes it again.
            return None;
        }
        let &[1, channels, _, _] = shape else { return None };
        let made = if let Some(conv) = node.op_as::<TractConv>() {
            self.conv(node, conv, x?)?
        } else if let Some(MaxPool { pool_spec, with_index_outputs: None }) = node.op_as() {
            let y = self.graph.value(channels);
            Node::Pool { x: x?, y, geometry: geometry(pool_spec)? }
        } else if let Some(TypedConcat { axis: 1 }) = node.op_as() {
            let xs = inputs.iter().copied().collect::<Option<_>>()?;
            Node::Concat { xs, y: self.graph.value(channels) }
        } else if let Some(ElementWiseOp(op, None)) = node.op_as()
            && op.is::<Silu>()
        {
            Node::Silu { x: x?, y: self.graph.value(channels) }
        } else if let Some(TypedBinOp(op, None)) = node.op_as() {
            let &[a, b] = &inputs[..] else { return None };
            match ([a, b], op.is::<Add>(), op.is::<Mul>()) {
                ([Some(a), Some(b)], true, _) if self.graph.channels[a] == self.graph.channels[b] => {
                    let [of, other] = [0, 1].map(|i| self.model.outlet_fact(node.inputs[i]).ok());
                    if of?.shape != other?.shape {
                        return None;
                    }
                    Node::Add { xs: [a, b], y: self.graph.value(channels) }
                }
                ([Some(a), None], _, true) if self.gates.get(&node.inputs[1]) == Some(&a) => {
                    Node::Silu { x: a, y: self.graph.value(channels) }
                }
                ([None, Some(b)], _, true) if self.gates.get(&node.inputs[0]) == Some(&b) => {
                    Node::Silu { x: b, y: self.graph.value(channels) }
                }
                _ => return None,
            }
        } else if node.op.name() == "Resize" {
            let times = self.repeats(node, shape)?;
            Node::Repeat { x: x?, y: self.graph.value(channels), times }
        } else {
            return None;
        };
        self.values.insert(outlet, made.writes()[0]);
        self.graph.nodes.push(made);
        Some(())
    }

    fn constant(&self, outlet: OutletId) -> Option<Arc<Tensor>> {
        let tensor = self.model.outlet_fact(outlet).ok()?.konst.clone()?;
        (tensor.datum_type() == f32::datum_type() && tensor.as_plain_ram().is_some()).then_some(tensor)
    }

    fn conv(&mut self, node: &TypedNode, conv: &TractConv, x: Value) -> Option<Node> {
        let spec = &conv.pool_spec;
        if conv.group != 1 || conv.kernel_fmt != KernelFormat::OIHW || conv.q_params.is_some() {
            return None;
        }
        let (weights, bias) = (self.constant(*node.inputs.get(1)?)?, self.constant(*node.inputs.get(2)?)?);
        let bias = match Held(bias).as_ref() {
            [one] => vec![*one; spec.output_channels],
            all if all.len() == spec.output_channels => all.to_vec(),
            _ => return None,
        };
        let geometry = geometry(spec)?;
        let taps = geometry.size.0 * geometry.size.1;
        if weights.len() != spec.output_channels * self.graph.channels[x] * taps {
            return None;
        }
        let weights = Weights::new(Arc::new(Held(weights)), spec.output_channels);
        let ys = vec![self.graph.value(spec.output_channels)];
        Some(Node::Conv(Conv { weights, bias, geometry, x, ys, silu: false, residual: None, before: None }))
    }

    /// How often a Resize repeats each pixel, if that is all it does: it is tried on an image whose pixels all differ, since
    /// there are a dozen modes and most of them are the same here. One pixel alone is repeated by all of them.
    fn repeats(&self, node: &TypedNode, shape: &[usize]) -> Option<usize> {
        let from = self.model.outlet_fact(node.inputs[0]).ok()?.shape.as_concrete()?;
        let (height, width) = (from[2], from[3]);
        let times = shape[2] / height.max(1);
        if times == 0 || height.min(width) < 2 || (height * times, width * times) != (shape[2], shape[3]) {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "every pixel differs from its neighbours all the same")]
        let image = tract_ndarray::Array4::from_shape_fn([1, from[1], height, width], |(_, c, y, x)| {
            ((c * 7 + y * width + x) % 8191) as f32
        });
        let mut inputs: TVec<TValue> = tvec!(Tensor::from(image.clone()).into());
        for input in &node.inputs[1..] {
            inputs.push(self.model.outlet_fact(*input).ok()?.konst.clone()?.into_tvalue());
        }
        let tried = node.op.eval(&EvalContext::out_of_plan(), inputs).ok()?;
        let tried = tried[0].to_plain_array_view::<f32>().ok()?;
        let repeated = tried
            .indexed_iter()
            .all(|(at, v)| image[[0, at[1], at[2] / times, at[3] / times]].to_bits() == v.to_bits());
        repeated.then_some(times)
    }
}

fn geometry(spec: &PoolSpec) -> Option<Geometry> {
    let (&[high, wide], DataFormat::NCHW) = (&spec.kernel_shape[..], spec.data_format) else { return None };
    let (before, after) = match &spec.padding {
        PaddingSpec::Valid => ((0, 0), (0, 0)),
        PaddingSpec::Explicit(b, a) | PaddingSpec::ExplicitOnnxPool(b, a, false) => ((b[0], b[1]), (a[0], a[1])),
        _ => return None,
    };
    let plain = (0..2).all(|axis| spec.dilation(axis) == 1);
    // A window that lies outside altogether has no greatest value.
    let inside = before.0.max(after.0) < high && before.1.max(after.1) < wide;
    let stride = (spec.stride(0), spec.stride(1));
    (plain && inside).then_some(Geometry { size: (high, wide), stride, before, after })
}
