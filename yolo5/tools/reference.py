"""Prints the numbers that the unit tests hold: decoding with numpy, and the resize with OpenCV.

usage: reference.py   (numpy, opencv-python-headless)
"""

import json

import cv2
import numpy as np

sigmoid = lambda x: 1 / (1 + np.exp(-np.asarray(x, np.float64)))  # noqa: E731


def decode():
    raw = np.array([0.3, -0.2, 0.5, 0.1, 2.0, -1.0, 3.0])
    s = sigmoid(raw)
    x, y = (2 * s[:2] - 0.5) * 8
    w, h = (2 * s[2:4]) ** 2 * [10, 13]
    return {"score": s[4] * s[6], "corners": [x - w / 2, y - h / 2, x + w / 2, y + h / 2]}


def resized():
    """A picture that every language can make, resized up and down."""
    y, x = np.mgrid[0:61, 0:97]
    image = np.stack([(x * 7 + y * 13 + x * y * c) % 256 for c in (1, 2, 3)], axis=-1).astype(np.uint8)
    rows = []
    for w, h in ((640, 402), (50, 31), (97, 61), (33, 200)):
        small = cv2.resize(image, (w, h), interpolation=cv2.INTER_LINEAR)
        weights = np.arange(1, small.size + 1, dtype=np.uint64) % 251
        rows.append({"size": [w, h], "sum": int(small.sum()), "checksum": int((small.ravel() * weights).sum())})
    return rows


print(json.dumps({"decode": decode(), "resized": resized()}))
