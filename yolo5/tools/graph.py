"""Writes YOLOv5 (v6 and v7: n, s and the other sizes with their depths) as ONNX, opset 12, with its three raw heads and
dynamic height and width."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

STRIDES = (8, 16, 32)
ROLES = 60
"""Convolutions of the sizes n and s; both have this many."""


class Writer:
    def __init__(self, convolutions):
        self.convolutions = iter(convolutions)
        self.nodes, self.constants, self.count = [], [], 0

    def name(self, what):
        self.count += 1
        return f"{what}_{self.count}"

    def constant(self, value):
        name = self.name("constant")
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, operation, *inputs, **attributes):
        output = self.name(operation.lower())
        self.nodes.append(helper.make_node(operation, list(inputs), [output], name=output, **attributes))
        return output

    def take(self, n):
        return [next(self.convolutions) for _ in range(n)]

    def convolve(self, x, pair, stride=1, activate=True):
        weight, bias = pair
        kernel = weight.shape[2]
        pad = 2 if kernel == 6 else kernel // 2
        y = self.node("Conv", x, self.constant(weight), self.constant(bias), kernel_shape=[kernel, kernel],
                      strides=[stride, stride], pads=[pad] * 4)
        return self.node("Mul", y, self.node("Sigmoid", y)) if activate else y

    def join(self, *parts):
        return self.node("Concat", *parts, axis=1)

    def c3(self, x, depth, shortcut):
        """Cross-stage partial block. The checkpoint holds its two branches and the joint before the bottlenecks."""
        first, second, joint = self.take(3)
        y = self.convolve(x, first)
        for _ in range(depth):
            down, up = self.take(2)
            z = self.convolve(self.convolve(y, down), up)
            y = self.node("Add", y, z) if shortcut else z
        return self.convolve(self.join(y, self.convolve(x, second)), joint)

    def step(self, x, stride=1):
        return self.convolve(x, *self.take(1), stride=stride)

    def double(self, x):
        scales = self.constant(np.array([1, 1, 2, 2], np.float32))
        nothing = self.constant(np.zeros(0, np.float32))
        return self.node("Resize", x, nothing, scales, mode="nearest", nearest_mode="floor",
                         coordinate_transformation_mode="asymmetric")

    def pool(self, x):
        return self.node("MaxPool", x, kernel_shape=[5, 5], strides=[1, 1], pads=[2] * 4)


def model(convolutions, anchors, names=()):
    """The ONNX model. The anchors go along as metadata, in pixels, and the names of the classes as ultralytics writes them."""
    if len(convolutions) != ROLES:
        raise ValueError(f"{len(convolutions)} convolutions; YOLOv5 n and s have {ROLES}")
    w = Writer(convolutions)
    x = w.step("images", 2)
    x = w.c3(w.step(x, 2), 1, True)
    p3 = w.c3(w.step(x, 2), 2, True)
    p4 = w.c3(w.step(p3, 2), 3, True)
    x = w.c3(w.step(p4, 2), 1, True)
    # Spatial pyramid pooling.
    a = w.step(x)
    b = w.pool(a)
    c = w.pool(b)
    x = w.step(w.join(a, b, c, w.pool(c)))
    top = w.step(x)
    x = w.c3(w.join(w.double(top), p4), 1, False)
    middle = w.step(x)
    small = w.c3(w.join(w.double(middle), p3), 1, False)
    medium = w.c3(w.join(w.step(small, 2), middle), 1, False)
    large = w.c3(w.join(w.step(medium, 2), top), 1, False)
    heads = [w.convolve(x, *w.take(1), activate=False) for x in (small, medium, large)]
    channels = convolutions[-1][0].shape[0]
    float32 = TensorProto.FLOAT
    outputs = [helper.make_tensor_value_info(head, float32, [1, channels, f"h{s}", f"w{s}"])
               for head, s in zip(heads, STRIDES)]
    images = helper.make_tensor_value_info("images", float32, [1, 3, "height", "width"])
    graph = helper.make_graph(w.nodes, "yolov5", [images], outputs, w.constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)], producer_name="polybot")
    made.ir_version = 7
    said = {"anchors": " ".join(f"{v:g}" for v in anchors.flatten())}
    if names:
        said["names"] = str(dict(enumerate(names)))
    helper.set_model_props(made, said)
    onnx.checker.check_model(made)
    return made
