//! Whatever the network, our plan computes what tract computes: random networks of everything that the pass knows and some
//! things that it does not, which stay tract's, on random sizes of input.

use super::{
    import::{Imported, import},
    plan::{Memory, Network, Plan},
    reference::noise,
    simd::Isa,
};
use proptest::prelude::*;
use std::sync::Arc;
use tract_onnx::{
    prelude::*,
    tract_core::ops::{
        array::TypedConcat,
        cnn::{Conv, KernelFormat, MaxPool, PaddingSpec, PoolSpec},
        math, nn,
        nn::{
            DataFormat,
            resize::{CoordTransformer, Interpolator, Nearest, Resize},
        },
    },
};

/// One step of making a network: what, of which values, with how many channels.
type Choice = (u8, prop::sample::Index, prop::sample::Index, usize);

struct Made {
    model: TypedModel,
    values: Vec<OutletId>,
}

impl Made {
    fn shape(&self, value: OutletId) -> Vec<usize> {
        self.model.outlet_fact(value).unwrap().shape.as_concrete().unwrap().to_vec()
    }

    fn wire(&mut self, op: impl Into<Box<dyn TypedOp>>, inputs: &[OutletId]) -> OutletId {
        let name = format!("n{}", self.model.nodes.len());
        self.model.wire_node(name, op, inputs).unwrap()[0]
    }

    fn constant(&mut self, shape: &[usize], scale: f32) -> OutletId {
        let n = self.model.nodes.len();
        let values: Vec<f32> = noise(shape.iter().product(), n as u64).iter().map(|v| v * scale).collect();
        self.model.add_const(format!("c{n}"), Tensor::from_shape(shape, &values).unwrap()).unwrap()
    }

    /// A window's specification.
    fn spec(size: usize, stride: usize, pad: usize, inputs: usize, outputs: usize) -> PoolSpec {
        let padding = PaddingSpec::Explicit(tvec![pad, pad], tvec![pad, pad]);
        PoolSpec::new(DataFormat::NCHW, tvec![size, size], padding, None, Some(tvec![stride, stride]), inputs, outputs)
    }

    fn step(&mut self, (what, a, b, channels): &Choice) {
        let x = *a.get(&self.values);
        let shape = self.shape(x);
        let alike: Vec<OutletId> = self.values.iter().copied().filter(|v| self.shape(*v) == shape).collect();
        let sized: Vec<OutletId> = self.values.iter().copied().filter(|v| self.shape(*v)[2..] == shape[2..]).collect();
        let made = match what % 12 {
            0..=4 => {
                let (size, stride, pad) =
                    [(1, 1, 0), (3, 1, 1), (3, 2, 1), (1, 1, 0), (6, 2, 2)][usize::from(what % 12)];
                if shape[2] < 4 || shape[3] < 4 {
                    return;
                }
                #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
                let scale = 1.5 / ((shape[1] * size * size) as f32).sqrt();
                let weights = self.constant(&[*channels, shape[1], size, size], scale);
                let bias = self.constant(&[*channels], 0.5);
                let spec = Self::spec(size, stride, pad, shape[1], *channels);
                let sum = self.wire(Conv::new(spec, KernelFormat::OIHW, 1, None), &[x, weights, bias]);
                if what % 2 == 0 {
                    let gate = self.wire(nn::sigmoid(), &[sum]);
                    self.wire(math::mul(), &[sum, gate])
                } else {
                    sum
                }
            }
            5 => self.wire(math::add(), &[x, *b.get(&alike)]),
            6 => self.wire(TypedConcat { axis: 1 }, &[x, *b.get(&sized)]),
            7 => self.wire(MaxPool::new(Self::spec(5, 1, 2, shape[1], shape[1]), None), &[x]),
            8 if shape[2].min(shape[3]) > 3 => {
                let (size, stride, pad) = [(2, 2, 0), (3, 2, 1), (3, 1, 1), (13, 1, 6), (4, 3, 1)][channels % 5];
                self.wire(MaxPool::new(Self::spec(size, stride, pad, shape[1], shape[1]), None), &[x])
            }
            9 if channels % 4 == 0 => self.unknown(x, &shape),
            _ if shape[2] <= 24 => self.double(x),
            _ => return,
        };
        self.values.push(made);
    }

    /// Twice the height and width.
    fn double(&mut self, x: OutletId) -> OutletId {
        let n = self.model.nodes.len();
        let scales = self.model.add_const(format!("c{n}"), tensor1(&[1.0_f32, 1.0, 2.0, 2.0])).unwrap();
        let op = Resize {
            coord_transformer: CoordTransformer::Asymmetric,
            interpolator: Interpolator::Nearest,
            nearest: Nearest::Floor,
            optional_scales_input: Some(1),
            optional_sizes_input: None,
        };
        self.wire(op, &[x, scales])
    }

    /// Something that the pass does not know.
    fn unknown(&mut self, x: OutletId, shape: &[usize]) -> OutletId {
        match shape[1] % 4 {
            // A convolution of two groups, and one with holes.
            even @ (0 | 2) if shape[2].min(shape[3]) > 4 => {
                let (groups, dilation) = if even == 0 { (2, 1) } else { (1, 2) };
                let padding = PaddingSpec::Explicit(tvec![2, 2], tvec![2, 2]);
                let (dilations, strides) = (Some(tvec![dilation, dilation]), Some(tvec![1, 1]));
                let spec =
                    PoolSpec::new(DataFormat::NCHW, tvec![3, 3], padding, dilations, strides, shape[1], shape[1]);
                let weights = self.constant(&[shape[1], shape[1] / groups, 3, 3], 0.2);
                let bias = self.constant(&[shape[1]], 0.5);
                self.wire(Conv::new(spec, KernelFormat::OIHW, groups, None), &[x, weights, bias])
            }
            1 => self.wire(nn::leaky_relu(0.1), &[x]),
            _ => self.wire(math::tanh(), &[x]),
        }
    }
}

fn network(size: (usize, usize), choices: &[Choice], tails: bool) -> TypedModel {
    let mut model = TypedModel::default();
    let input = model.add_source("x", f32::fact([1, 3, size.0, size.1])).unwrap();
    let mut made = Made { model, values: vec![input] };
    for choice in choices {
        made.step(choice);
    }
    let read: Vec<OutletId> = made.model.nodes.iter().flat_map(|n| n.inputs.clone()).collect();
    let mut outputs: Vec<OutletId> = made.values.iter().copied().filter(|v| !read.contains(v)).collect();
    if tails {
        outputs[0] = made.wire(math::tanh(), &[outputs[0]]);
    }
    made.model.select_output_outlets(&outputs).unwrap();
    made.model.compact().unwrap();
    made.model
}

fn check(size: (usize, usize), choices: &[Choice], tails: bool) {
    let model = network(size, choices, tails);
    let image = noise(3 * size.0 * size.1, 9);
    let input = Tensor::from_shape(&[1, 3, size.0, size.1], &image).unwrap();
    let runnable = model.clone().into_optimized().unwrap().into_runnable().unwrap();
    let expected = runnable.run(tvec!(input.into())).unwrap();
    for (isa, threads) in Isa::all().into_iter().zip([1, 3, 2]) {
        let Imported { graph, tail, .. } = import(model.clone()).unwrap();
        // Packed for another size than it is run on.
        let plan = Plan::new(Arc::new(Network::new(graph, (40, 40), isa)), size);
        // What another picture left behind must not matter.
        let mut memory = Memory::new(threads);
        plan.run(&vec![f32::NAN; image.len()], &mut memory);
        plan.run(&image, &mut memory);
        let ours: TVec<TValue> = plan
            .outputs(&memory)
            .map(|o| Tensor::from_shape(&[1, o.channels(), o.size().0, o.size().1], &o.planes()).unwrap().into())
            .collect();
        let ours = match tail {
            Some(tail) => tail.into_optimized().unwrap().into_runnable().unwrap().run(ours).unwrap(),
            None => ours,
        };
        assert_eq!(ours.len(), expected.len());
        for (ours, expected) in ours.iter().zip(&expected) {
            assert_eq!(ours.shape(), expected.shape());
            let [ours, expected] = [ours, expected].map(|t| t.to_plain_array_view::<f32>().unwrap());
            for (a, b) in ours.iter().zip(expected) {
                assert!((a - b).abs() <= 1e-3 * b.abs().max(1.0), "{a} {b} {isa:?} {size:?} {choices:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, ..ProptestConfig::default() })]
    #[test]
    fn a_plan_computes_what_tract_computes(
        size in (8..40_usize, 8..40_usize),
        choices in prop::collection::vec((any::<u8>(), any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1..48_usize), 1..16),
        tails: bool,
    ) {
        check(size, &choices, tails);
    }
}

/// A model of one convolution on an image of this height and width, and what follows it.
fn after_a_convolution(size: (usize, usize), then: impl FnOnce(&mut Made, OutletId) -> OutletId) -> Imported {
    let mut model = TypedModel::default();
    let x = model.add_source("x", f32::fact([1, 4, size.0, size.1])).unwrap();
    let mut made = Made { model, values: vec![] };
    let (weights, bias) = (made.constant(&[4, 4, 1, 1], 1.0), made.constant(&[4], 1.0));
    let x = made.wire(Conv::new(Made::spec(1, 1, 0, 4, 4), KernelFormat::OIHW, 1, None), &[x, weights, bias]);
    let y = then(&mut made, x);
    made.model.select_output_outlets(&[y]).unwrap();
    import(made.model).unwrap()
}

#[test]
fn what_the_pass_does_not_know_stays_tracts() {
    // What is ours of nodes and convolutions, and whether tract has something to do.
    let came_to = |imported: Imported| (imported.graph.nodes.len(), imported.share, imported.tail.is_some());
    let after = |then: &dyn Fn(&mut Made, OutletId) -> OutletId| came_to(after_a_convolution((9, 12), then));
    assert_eq!(after(&|_, x| x), (1, (1, 1), false));
    assert_eq!(after(&|made, x| made.unknown(x, &[1, 4, 9, 12])), (1, (1, 2), true));
    assert_eq!(after(&|made, x| made.unknown(x, &[1, 1, 9, 12])), (1, (1, 1), true));
    // Of what tract adds up, it computes the second itself, from an earlier value.
    let sum = |made: &mut Made, x| {
        let (weights, bias) = (made.constant(&[4, 4, 1, 1], 1.0), made.constant(&[4], 1.0));
        let a = made.wire(Conv::new(Made::spec(1, 1, 0, 4, 4), KernelFormat::OIHW, 1, None), &[x, weights, bias]);
        let b = made.unknown(x, &[1, 1, 9, 12]);
        made.wire(math::add(), &[a, b])
    };
    assert_eq!(after(&sum), (2, (2, 2), true));
    let pooled = |size, stride, pad, ceil| {
        after(&|made, x| {
            let mut spec = Made::spec(size, stride, pad, 4, 4);
            if ceil {
                spec.padding = PaddingSpec::ExplicitOnnxPool(tvec![pad, pad], tvec![pad, pad], true);
            }
            made.wire(MaxPool::new(spec, None), &[x])
        })
    };
    assert_eq!(pooled(3, 2, 1, false), (2, (1, 1), false));
    // A last window that hangs over the edge, and windows that lie outside altogether.
    assert_eq!(pooled(3, 2, 0, true), (1, (1, 1), true));
    assert_eq!(pooled(2, 1, 2, false), (1, (1, 1), true));
    // Whatever the mode of a resize, one pixel alone is repeated.
    assert_eq!(after(&Made::double), (2, (1, 1), false));
    assert_eq!(came_to(after_a_convolution((1, 12), Made::double)), (1, (1, 1), true));
}

#[test]
fn graphs_are_equal_whatever_the_size_of_the_input_and_only_if_they_compute_the_same() {
    let graph = |size, stride, scale| {
        let imported = after_a_convolution(size, |made, x| {
            let (weights, bias) = (made.constant(&[4, 4, 3, 3], scale), made.constant(&[4], 1.0));
            let spec = Made::spec(3, stride, 1, 4, 4);
            let x = made.wire(Conv::new(spec, KernelFormat::OIHW, 1, None), &[x, weights, bias]);
            made.double(x)
        });
        imported.graph
    };
    assert!(graph((9, 12), 2, 1.0) == graph((64, 31), 2, 1.0));
    assert!(graph((9, 12), 2, 1.0) != graph((9, 12), 1, 1.0));
    assert!(graph((9, 12), 2, 1.0) != graph((9, 12), 2, 1.1));
}
