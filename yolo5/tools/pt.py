"""Reads the weights of an ultralytics YOLOv5 checkpoint (`.pt`) without torch, and without running code that its pickle
names: every class but a few harmless ones becomes an empty shell."""

import collections
import pickle
import zipfile

import numpy as np

TYPES = {"FloatStorage": np.float32, "HalfStorage": np.float16, "LongStorage": np.int64, "IntStorage": np.int32,
         "BoolStorage": np.bool_, "DoubleStorage": np.float64}


class Shell:
    """Stands for any class of the checkpoint: it keeps what it is given, and does nothing."""

    def __init__(self, *args, **kwargs):
        pass

    def __setstate__(self, state):
        self.__dict__.update(state if isinstance(state, dict) else {"_state": state})

    def __call__(self, *args, **kwargs):
        return self

    def append(self, *args):
        pass

    def __setitem__(self, key, value):
        pass


class Wrong(Exception):
    """The file is not what it should be."""


def tensor(storage, offset, shape, strides, *_):
    """A tensor as a copy of its part of the storage. What the file claims is checked against the storage first."""
    size = 1
    for n, stride in zip(shape, strides):
        if n < 0 or stride < 0:
            raise Wrong(f"a tensor of shape {shape} with strides {strides}")
        size += (n - 1) * stride if n else 0
    if 0 in shape:
        return np.zeros(shape, storage.dtype)
    if offset < 0 or offset + size > storage.size:
        raise Wrong(f"a tensor of shape {shape} at {offset} does not fit into its storage of {storage.size}")
    width = storage.itemsize
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, [s * width for s in strides]).copy()


class Reader(pickle.Unpickler):
    def __init__(self, file, archive, root):
        super().__init__(file)
        self.archive, self.root, self.shells = archive, root, {}

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) in (("builtins", "set"), ("__builtin__", "set")):
            return set
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda data, *_: data
        if module == "torch" and name in TYPES:
            return name
        return self.shells.setdefault((module, name), type(name, (Shell,), {}))

    def persistent_load(self, pid):
        kind, storage, key, _, count = pid
        if kind != "storage" or storage not in TYPES or not str(key).isalnum():
            raise Wrong(f"an unknown kind of storage: {pid!r}")
        data = np.frombuffer(self.archive.read(f"{self.root}/data/{key}"), TYPES[storage])
        if data.size != count:
            raise Wrong(f"storage {key} holds {data.size} numbers, not {count}")
        return data


def convolutions(path):
    """Weight and bias of each convolution in order, batch norm folded in; the anchors in pixels, (3, 3, 2); and the names of the
    classes, nothing where the checkpoint does not say."""
    with zipfile.ZipFile(path) as archive:
        root = archive.namelist()[0].split("/")[0]
        with archive.open(f"{root}/data.pkl") as file:
            checkpoint = Reader(file, archive, root).load()
    model = checkpoint.get("ema") or checkpoint["model"]
    found = []
    walk(model, found)
    head = list(children(children(model)["model"]).values())[-1]
    buffers = head.__dict__["_buffers"]
    strides = np.array([8, 16, 32], np.float32).reshape(3, 1, 1)
    grid = buffers["anchor_grid"].reshape(3, 3, 2) if "anchor_grid" in buffers else buffers["anchors"] * strides
    names = model.__dict__.get("names") or []
    names = [names[n] for n in sorted(names)] if isinstance(names, dict) else list(names)
    return found, grid.astype(np.float32), [str(name) for name in names]


def children(module):
    return module.__dict__.get("_modules") or {}


def walk(module, found):
    parts = children(module)
    if "conv" in parts and "bn" in parts:
        found.append(folded(parts["conv"], parts["bn"]))
        return
    for part in parts.values():
        if type(part).__name__ == "Conv2d":
            own = part.__dict__["_parameters"]
            found.append((own["weight"].astype(np.float32), own["bias"].astype(np.float32)))
        else:
            walk(part, found)


def folded(convolution, norm):
    weight = convolution.__dict__["_parameters"]["weight"].astype(np.float32)
    gain, shift = (norm.__dict__["_parameters"][k].astype(np.float32) for k in ("weight", "bias"))
    mean, variance = (norm.__dict__["_buffers"][k].astype(np.float32) for k in ("running_mean", "running_var"))
    scale = gain / np.sqrt(variance + np.float32(norm.eps))
    return weight * scale[:, None, None, None], shift - mean * scale
