"""The detector beside ONNX Runtime on the same model, in one alternated run; and their agreement on a folder of pictures.

usage: bench.py YOLO5 MODEL [--coco IMAGES LABELS]

Prints a table and one line of JSON. With --coco, on pictures with YOLO label files: mAP@0.5 and mAP@0.5:0.95 of both and of
our kernels beside tract. Exit 1 where those two do not find the same.
"""

import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import threading
import time

import cv2
import numpy as np
import onnxruntime

YOLO5, MODEL = sys.argv[1:3]
# Least score of what is shown to users.
SHOWN = 0.25
# What our kernels may change of what tract finds: pixels, scores, and mAP.
PIXELS, SCORE, MAP = 1, 0.002, 0.002
ROUNDS = 3
RUNS = 8


def session(threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(MODEL, options, providers=["CPUExecutionProvider"])


def milliseconds(s, x):
    """Median and least."""
    times = []
    for _ in range(RUNS):
        begun = time.perf_counter()
        s.run(None, {"images": x})
        times.append((time.perf_counter() - begun) * 1000)
    return sorted(times)[len(times) // 2], min(times)


def throughput(streams, x):
    def work(s):
        for _ in range(RUNS):
            s.run(None, {"images": x})
    threads = [threading.Thread(target=work, args=(session(1),)) for _ in range(streams)]
    begun = time.perf_counter()
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return streams * RUNS / (time.perf_counter() - begun)


def ours(size=(640, 640), streams=0, *more):
    out = subprocess.run([YOLO5, "bench", "--json", "--runs", str(RUNS), "--streams", str(streams), "--model", MODEL,
                          "--size", f"{size[0]}x{size[1]}", *more],
                         check=True, capture_output=True, text=True, env={**os.environ, "RUST_LOG": "warn"})
    return json.loads(out.stdout)


# Pictures, and what they become: the longer side 640, the shorter a multiple of 32.
SIZES = {(640, 640): (640, 640), (640, 480): (640, 480), (640, 360): (640, 384), (427, 640): (448, 640)}


def speed():
    one, two = session(1), session(2)
    result = {}

    def compare(name, mine, theirs, unit="ms"):
        """Alternated, so that a busy moment of the machine falls on both; the best of all rounds, and their median ratio."""
        pairs = [(mine(), theirs()) for _ in range(ROUNDS)]
        ratios = sorted(a / b for a, b in pairs)
        best = max if unit == "images/s" else min
        a, b = (best(column) for column in zip(*pairs))
        print(f"{f'{name}, {unit}':40}{a:10.1f}{b:14.1f}{a / b:8.2f}{ratios[ROUNDS // 2]:8.2f}", flush=True)
        result[name] = {"yolo5": a, "onnxruntime": b, "unit": unit, "median_ratio": ratios[ROUNDS // 2]}

    print(f"{'':40}{'yolo5':>10}{'onnxruntime':>14}{'ratio':>8}{'median':>8}")
    for size, (w, h) in SIZES.items():
        x = np.random.default_rng(7).random((1, 3, h, w), np.float32)
        for s in (one, two):
            s.run(None, {"images": x})
        name = f"{size[0]}x{size[1]}"
        compare(f"{name} one thread", lambda: ours(size)["one_stream_least_ms"], lambda: milliseconds(one, x)[1])
        compare(f"{name} two threads", lambda: ours(size, 0, "--threads", "2")["one_stream_least_ms"],
                lambda: milliseconds(two, x)[1])
        compare(f"{name} two streams", lambda: ours(size, 2)["images_per_second"], lambda: throughput(2, x), "images/s")
        # tract works on a picture with one thread.
        tract = ("--backend", "tract", "--tuning", "off")
        compare(f"{name} one thread, tract", lambda: ours(size, 0, *tract)["one_stream_least_ms"], lambda: milliseconds(one, x)[1])
        compare(f"{name} two streams, tract", lambda: ours(size, 2, *tract)["images_per_second"], lambda: throughput(2, x),
                "images/s")
        if size == (640, 640):
            for kernels in ("avx2", "portable"):
                compare(f"{name} one thread, {kernels}",
                        lambda: ours(size, 0, "--kernels", kernels)["one_stream_least_ms"], lambda: milliseconds(one, x)[1])
    last = ours((640, 640), 2)
    print(f"{'load, ms':40}{last['load_ms']:10.0f}\n{'peak memory with two streams, MB':40}{last['peak_mb']:10.0f}")
    print(f"{'program, MB':40}{os.path.getsize(YOLO5) / 1e6:10.1f}")
    print(subprocess.run([YOLO5, "bench", "--layers", "--runs", str(RUNS), "--streams", "0", "--model", MODEL],
                         check=True, capture_output=True, text=True, env={**os.environ, "RUST_LOG": "warn"}).stdout)
    goals = [("640x640 one thread", "ratio", 0.8), ("640x640 two threads", "ratio", 0.9), ("640x640 one thread, avx2", "ratio", 1.0),
             ("640x640 two streams", "images/s", -14.5)]
    for name, what, goal in goals:
        mine = result[name]["yolo5"]
        value = mine if what == "images/s" else mine / result[name]["onnxruntime"]
        met = "met" if (value >= -goal if goal < 0 else value <= goal) else "not met"
        print(f"goal on two cores of a Zen 4: {name}, {what}: {value:.2f}, wanted {'at least' if goal < 0 else 'at most'} {abs(goal)}: {met}")
    return {**result, "load_ms": last["load_ms"], "peak_mb": last["peak_mb"]}


ANCHORS = np.array([[[10, 13], [16, 30], [33, 23]], [[30, 61], [62, 45], [59, 119]], [[116, 90], [156, 198], [373, 326]]],
                   np.float32)


def reference(s, path, confidence):
    """The boxes of the original's settings, as rows: class, score, left, top, right, bottom."""
    image = cv2.imread(str(path))
    h, w = image.shape[:2]
    r = min(640 / h, 640 / w)
    nw, nh = round(w * r), round(h * r)
    dw, dh = ((640 - nw) % 32) / 2, ((640 - nh) % 32) / 2
    if (nw, nh) != (w, h):
        image = cv2.resize(image, (nw, nh), interpolation=cv2.INTER_LINEAR)
    image = cv2.copyMakeBorder(image, round(dh - .1), round(dh + .1), round(dw - .1), round(dw + .1), cv2.BORDER_CONSTANT,
                               value=(114, 114, 114))
    x = np.ascontiguousarray(image[:, :, ::-1].transpose(2, 0, 1))[None].astype(np.float32) / 255
    boxes = []
    for out, stride, anchors in zip(s.run(None, {"images": x}), (8, 16, 32), ANCHORS):
        ny, nx = out.shape[2:]
        y = 1 / (1 + np.exp(-out.reshape(3, 85, ny, nx).transpose(0, 2, 3, 1)))
        gy, gx = np.mgrid[0:ny, 0:nx]
        xy = (y[..., :2] * 2 - .5 + np.stack([gx, gy], -1)) * stride
        wh = (y[..., 2:4] * 2) ** 2 * anchors[:, None, None] / 2
        scores = y[..., 4:5] * y[..., 5:]
        best = scores.max(-1)
        keep = (y[..., 4] > confidence) & (best > confidence)
        boxes.append(np.concatenate([scores.argmax(-1)[keep][:, None], best[keep][:, None], (xy - wh)[keep], (xy + wh)[keep]], 1))
    boxes = np.concatenate(boxes)
    boxes = boxes[np.argsort(-boxes[:, 1], kind="stable")]
    kept = []
    for b in boxes:
        if all(k[0] != b[0] or overlap(k[2:], b[2:]) <= 0.45 for k in kept):
            kept.append(b)
    kept = np.array(kept[:1000]).reshape(-1, 6)
    kept[:, [2, 4]] = np.clip((kept[:, [2, 4]] - dw) / r, 0, w)
    kept[:, [3, 5]] = np.clip((kept[:, [3, 5]] - dh) / r, 0, h)
    kept[:, 2:] = kept[:, 2:].round()
    return kept


def overlap(a, b):
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(w, 0) * max(h, 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
    return both / union if union > 0 else 0


def detections(folder, confidence, backend="auto"):
    out = subprocess.run([YOLO5, "detect", folder, "--json", "--conf", str(confidence), "--model", MODEL, "--backend", backend],
                         check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, "RUST_LOG": "error"})
    wrong = subprocess.run([YOLO5, "detect", folder, "--model", MODEL, "--classes", "?"], capture_output=True, text=True)
    names = [n.strip() for n in wrong.stderr.partition("the classes are ")[2].split(",")]
    rows = {}
    for line in out.stdout.splitlines():
        row = json.loads(line)
        rows[pathlib.Path(row["file"]).name] = [(names.index(o["class"]), o["score"], *o["box"]) for o in row["objects"]]
    return rows


def references(folder, confidence):
    s = session(2)
    return {path.name: [(int(b[0]), *b[1:]) for b in reference(s, path, confidence)]
            for path in sorted(pathlib.Path(folder).glob("*.jpg"))}


def agreement(mine, theirs):
    """The share of ONNX Runtime's boxes that ours match: same class, within 2 pixels and 0.01. Only of those that are shown;
    which of them stay does not hang on boxes of lower scores."""
    same, all_ = 0, 0
    for name, boxes in theirs.items():
        for b in (b for b in boxes if b[1] > SHOWN):
            all_ += 1
            same += any(o[0] == b[0] and o[1] > SHOWN and abs(o[1] - b[1]) < 0.01
                        and max(abs(np.array(o[2:]) - b[2:])) <= 2 for o in mine.get(name, []))
    return f"{same} of {all_} boxes are the same (class, 2 pixels, 0.01): {same / max(all_, 1):.2%}, goal at least 99.5 %"


def missed(some, others):
    """Boxes that are shown of some and that others do not have."""
    for name, boxes in some.items():
        for b in (b for b in boxes if b[1] > SHOWN):
            if not any(o[0] == b[0] and abs(o[1] - b[1]) < SCORE and max(abs(np.array(o[2:]) - b[2:])) <= PIXELS
                       for o in others.get(name, [])):
                yield name, b


def average_precision(found, truth):
    """mAP@0.5 and mAP@0.5:0.95 over classes, by the area under the precision envelope (101 points, as COCO)."""
    thresholds = np.arange(0.5, 1.0, 0.05)
    result = np.zeros((0, len(thresholds)))
    for c in sorted({t[0] for rows in truth.values() for t in rows}):
        total = sum(t[0] == c for rows in truth.values() for t in rows)
        rows = sorted(((b[1], name, b[2:]) for name, bs in found.items() for b in bs if b[0] == c), key=lambda r: -r[0])
        hits = np.zeros((len(rows), len(thresholds)), bool)
        for j, threshold in enumerate(thresholds):
            used = set()
            for i, (_, name, box) in enumerate(rows):
                candidates = [(overlap(box, t[1:]), k) for k, t in enumerate(truth.get(name, [])) if t[0] == c
                              and (name, k) not in used]
                best = max(candidates, default=(0, None))
                if best[0] >= threshold:
                    used.add((name, best[1]))
                    hits[i, j] = True
        aps = []
        for j in range(len(thresholds)):
            tp = hits[:, j].cumsum()
            recall, precision = tp / total, tp / np.arange(1, len(rows) + 1)
            envelope = np.maximum.accumulate(precision[::-1])[::-1] if len(rows) else precision
            aps.append(np.mean([envelope[np.searchsorted(recall, p)] if len(rows) and recall[-1] >= p else 0
                                for p in np.linspace(0, 1, 101)]))
        result = np.vstack([result, aps])
    return result[:, 0].mean(), result.mean()


def coco(images, labels):
    truth, mine, theirs = {}, detections(images, 0.001, "fast"), references(images, 0.001)
    tracts = detections(images, 0.001, "tract")
    for path in sorted(pathlib.Path(images).glob("*.jpg")):
        h, w = cv2.imread(str(path)).shape[:2]
        file = pathlib.Path(labels) / f"{path.stem}.txt"
        rows = [list(map(float, line.split())) for line in file.read_text().splitlines()] if file.exists() else []
        truth[path.name] = [(int(c), (x - a / 2) * w, (y - b / 2) * h, (x + a / 2) * w, (y + b / 2) * h) for c, x, y, a, b in rows]
    precision = {}
    for name, found in (("yolo5", mine), ("tract", tracts), ("onnxruntime", theirs)):
        precision[name] = np.array(average_precision(found, truth))
        print(f"{name:12} mAP@0.5 {precision[name][0]:.4f}  mAP@0.5:0.95 {precision[name][1]:.4f}")
    print(f"on the pictures of COCO {agreement(mine, theirs)}")
    misses = [*missed(mine, tracts), *missed(tracts, mine)]
    for name, box in misses:
        print(f"error: {name}: one of our kernels and tract has {box} alone")
    if misses or max(abs(precision["yolo5"] - precision["tract"])) > MAP:
        sys.exit("error: our kernels do not find what tract finds")


def main():
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
          f"onnxruntime {onnxruntime.__version__}, {time.strftime('%Y-%m-%d')}")
    row = speed()
    samples = str(pathlib.Path(__file__).parent.parent / "samples")
    print(f"on the samples {agreement(detections(samples, SHOWN), references(samples, SHOWN))}")
    print(json.dumps(row))
    if "--coco" in sys.argv:
        coco(*sys.argv[sys.argv.index("--coco") + 1:][:2])


main()
