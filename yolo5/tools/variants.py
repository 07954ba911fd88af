"""Models for the tests, made from the official one: what the detector has to take beside it, and what it has to refuse.

usage: variants.py MODEL FOLDER

rows.onnx      the same network as the exporter of ultralytics writes it: one output of decoded boxes, one size of input
nano.onnx      YOLOv5n with made-up weights, by way of a checkpoint (nano.pt)
classes.onnx   the same network as for another data set, by way of a checkpoint: three classes with names of their own, and
               anchors of twice the size
relu.onnx      the same network with another activation before the last of its heads
grouped.onnx   with a convolution of two groups, about in the middle
leaky.onnx     with another activation near the input, so that little comes before it
gray.onnx      a network of another input: one channel

Checkpoints that lie about what they hold have to be refused, and are, and so are files that are none: one line each.
"""

import collections
import copy
import pathlib
import pickle
import subprocess
import sys
import types
import zipfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import graph
import pt

ANCHORS = np.array([10, 13, 16, 30, 33, 23, 30, 61, 62, 45, 59, 119, 116, 90, 156, 198, 373, 326], np.float32).reshape(3, 3, 2)
SIZE = 640
KEPT = {0: "Mensch", 27: "the king's tie, red", 16: "dog"}
"""Classes of COCO that are left, and what they are called."""


def rows(model):
    """The heads decoded in the network."""
    g, parts = model.graph, []
    count = iter(range(1000))

    def constant(value):
        name = f"decode_constant_{next(count)}"
        g.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(operation, *inputs, **attributes):
        name = f"decode_{next(count)}"
        g.node.append(helper.make_node(operation, list(inputs), [name], **attributes))
        return name

    def part(x, start, end):
        return node("Slice", x, *(constant(np.array([v], np.int64)) for v in (start, end, 4)))

    for head, stride, anchors in zip([o.name for o in g.output], graph.STRIDES, ANCHORS):
        n = SIZE // stride
        x = node("Reshape", head, constant(np.array([1, 3, 85, n, n], np.int64)))
        x = node("Sigmoid", node("Transpose", x, perm=[0, 1, 3, 4, 2]))
        ys, xs = np.mgrid[0:n, 0:n]
        cells = np.stack([xs, ys], -1).astype(np.float32)[None, None]
        place = node("Add", node("Mul", part(x, 0, 2), constant(np.float32(2 * stride))), constant((cells - 0.5) * np.float32(stride)))
        sides = part(x, 2, 4)
        sides = node("Mul", node("Mul", sides, sides), constant(4 * anchors.reshape(1, 3, 1, 1, 2)))
        x = node("Concat", place, sides, part(x, 4, 85), axis=4)
        parts.append(node("Reshape", x, constant(np.array([1, -1, 85], np.int64))))
    output = node("Concat", *parts, axis=1)
    del g.output[:], g.value_info[:]
    g.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, [1, None, 85]))
    for dim, size in zip(g.input[0].type.tensor_type.shape.dim, (1, 3, SIZE, SIZE)):
        dim.dim_value = size
    return model


def weights(model):
    """Weight and bias of each convolution, as the network comes to them."""
    by_name = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    return [(by_name[n.input[1]], by_name[n.input[2]]) for n in model.graph.node if n.op_type == "Conv"]


def fake(module, name):
    """A class that says it is of a module that is not installed."""
    made = type(name, (), {"__module__": module})
    sys.modules.setdefault(module, types.ModuleType(module))
    setattr(sys.modules[module], name, made)
    return made


class Storage:
    def __init__(self, key, data):
        self.key, self.data = key, data


class Tensor:
    """Pickled as torch does it: a call that rebuilds it from a storage."""

    def __init__(self, storage, shape, strides=None, offset=0):
        strides = strides or tuple(int(np.prod(shape[i + 1:], dtype=np.int64)) for i in range(len(shape)))
        self.arguments = (storage, offset, shape, strides, False, collections.OrderedDict())

    def __reduce__(self):
        return sys.modules["torch._utils"]._rebuild_tensor_v2, self.arguments


def checkpoint(path, tensors, broken=None, anchors=ANCHORS, names=()):
    """A checkpoint of the form of ultralytics with these convolutions, without batch norms; `broken` may spoil a tensor."""
    for module in ("torch", "torch.nn", "torch._utils", "models", "models.yolo"):
        sys.modules.setdefault(module, types.ModuleType(module))
    rebuild = fake("torch._utils", "_rebuild_tensor_v2")
    float_storage = fake("torch", "FloatStorage")
    model, sequence, convolution, detect = (fake(*n) for n in (("models.yolo", "Model"), ("torch.nn", "Sequential"),
                                                              ("torch.nn", "Conv2d"), ("models.yolo", "Detect")))
    storages = []

    def tensor(value):
        value = np.ascontiguousarray(value, np.float32)
        storages.append(Storage(str(len(storages)), value))
        return Tensor(storages[-1], value.shape)

    def module(of, parts=(), **more):
        made = of()
        made.__dict__.update({"_modules": collections.OrderedDict(parts), "_parameters": {}, "_buffers": {}, **more})
        return made

    layers = [module(convolution, _parameters={"weight": tensor(w), "bias": tensor(b)}) for w, b in tensors]
    if broken:
        layers[0].__dict__["_parameters"]["weight"] = broken(storages[0])
    head = module(detect, [("m", module(sequence, [(str(i), layer) for i, layer in enumerate(layers)]))],
                  _buffers={"anchor_grid": tensor(anchors)})
    whole = module(model, [("model", module(sequence, [("0", head)]))], names=list(names))

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return ("storage", float_storage, value.key, "cpu", value.data.size) if isinstance(value, Storage) else None

    assert rebuild.__module__ == "torch._utils"
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open("archive/data.pkl", "w") as file:
            Pickler(file, 2).dump({"model": whole, "ema": None})
        for storage in storages:
            archive.writestr(f"archive/data/{storage.key}", storage.data.tobytes())


def in_order(found):
    """The same in the order of a checkpoint, in which `graph` takes them: numbered ones show where each of them ends up."""
    numbered = [(np.zeros((1, 1, 1, 1), np.float32), np.array([n], np.float32)) for n in range(graph.ROLES)]
    ends = [int(bias[0]) for _, bias in weights(graph.model(numbered, ANCHORS))]
    return [pair for _, pair in sorted(zip(ends, found), key=lambda p: p[0])]


def shrunk(model, seed=7):
    """Weights of the same network at half the width, made up: what YOLOv5n is to YOLOv5s."""
    random = np.random.default_rng(seed)
    found = []
    for weight, _ in model:
        out, into = weight.shape[:2]
        shape = (out if out == 255 else out // 2, into if into == 3 else into // 2, *weight.shape[2:])
        found.append((random.normal(0, 0.05, shape).astype(np.float32), random.normal(0, 1, shape[0]).astype(np.float32)))
    return found


def only(found, classes):
    """The same convolutions for some of the classes."""
    rows = [anchor * 85 + i for anchor in range(3) for i in (*range(5), *(5 + c for c in classes))]
    return [(w[rows], b[rows]) if w.shape[0] == 255 else (w, b) for w, b in found]


def activated(model, at, operation, **attributes):
    """Another activation after the convolution that is so far from the last that has one."""
    model = copy.deepcopy(model)
    g = model.graph
    old = [n for n in g.node if n.op_type == "Mul"][at]
    gate = next(n for n in g.node if n.output[0] == old.input[1])
    old.CopyFrom(helper.make_node(operation, [old.input[0]], [old.output[0]], **attributes))
    g.node.remove(gate)
    return model


def grouped(model, at):
    """Two groups in a convolution: each half of the outputs reads half of the inputs."""
    model = copy.deepcopy(model)
    node = [n for n in model.graph.node if n.op_type == "Conv"][at]
    weight = next(i for i in model.graph.initializer if i.name == node.input[1])
    values = numpy_helper.to_array(weight)
    weight.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values[:, :values.shape[1] // 2]), weight.name))
    node.attribute.append(helper.make_attribute("group", 2))
    return model


def refused(path, tensors, what, broken):
    checkpoint(path, tensors, broken)
    try:
        pt.convolutions(path)
    except pt.Wrong as wrong:
        print(f"refused, {what}: {wrong}")
        return
    sys.exit(f"error: a checkpoint with {what} was read")


def told(path, what):
    """The program ends in one line about a file that is no checkpoint."""
    program = pathlib.Path(__file__).with_name("model.py")
    ended = subprocess.run([sys.executable, program, path.with_suffix(".onnx"), path], capture_output=True, text=True)
    lines = ended.stderr.splitlines()
    if ended.returncode != 1 or len(lines) != 1 or not lines[0].startswith(f"error: {path} "):
        sys.exit(f"error: {what} ended in {ended.returncode}: {ended.stderr}")
    print(f"refused, {what}: {lines[0]}")


def archive(path, pickled):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", pickled)


def main():
    path, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    official = onnx.load(path)
    onnx.save(rows(onnx.load(path)), folder / "rows.onnx")

    small = shrunk(in_order(weights(official)))
    checkpoint(folder / "nano.pt", small)
    read, anchors, names = pt.convolutions(folder / "nano.pt")
    assert not names and np.array_equal(anchors, ANCHORS), "what was read differs"
    assert all(np.array_equal(a, b) for pair, other in zip(read, small) for a, b in zip(pair, other)), "what was read differs"
    onnx.save(graph.model(read, anchors), folder / "nano.onnx")

    checkpoint(folder / "classes.pt", only(in_order(weights(official)), KEPT), anchors=2 * ANCHORS, names=KEPT.values())
    onnx.save(graph.model(*pt.convolutions(folder / "classes.pt")), folder / "classes.onnx")

    onnx.save(activated(official, -1, "Relu"), folder / "relu.onnx")
    onnx.save(grouped(official, 35), folder / "grouped.onnx")
    onnx.save(activated(official, 10, "LeakyRelu", alpha=0.1), folder / "leaky.onnx")

    gray = [(small[0][0][:, :1], small[0][1]), *small[1:]]
    made = graph.model(gray, ANCHORS)
    made.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1
    onnx.save(made, folder / "gray.onnx")

    bad = folder / "bad.pt"
    refused(bad, small, "an offset behind the end", lambda s: Tensor(s, (2, 2), offset=s.data.size - 1))
    refused(bad, small, "a shape beyond the storage", lambda s: Tensor(s, (s.data.size + 1,)))
    refused(bad, small, "strides beyond the storage", lambda s: Tensor(s, (2, 2), (s.data.size, 1)))
    refused(bad, small, "a negative offset", lambda s: Tensor(s, (2,), offset=-4))
    refused(bad, small, "negative strides", lambda s: Tensor(s, (2,), (-1,)))

    told(folder / "none.pt", "no file")
    bad.write_text("<html>404</html>")
    told(bad, "no archive")
    for pickled, what in ((b"hello", "no pickle"), (b"", "an empty pickle"), (pickle.dumps([]), "a pickle of a list"),
                          (pickle.dumps({"model": None}), "a pickle without a network")):
        archive(bad, pickled)
        told(bad, what)
    checkpoint(bad, small[:-1])
    told(bad, "a network of one convolution less")


main()
