"""Compares the filters with Pillow and OpenCV: the same pixels, 1280x960, one thread, the least of many runs.

usage: filters.py PROGRAM      (the example `filters`, built for release)

Ratios below 1 mean that Polybot is faster.
"""

import json
import subprocess
import sys
import tempfile
import time

import cv2
import numpy as np
from PIL import Image, ImageChops, ImageFilter, __version__ as pillow_version

WIDTH, HEIGHT, RUNS, TURNS = 1280, 960, 25, 5
GRAY = np.array([[0.114, 0.587, 0.2989]])
SEPIA = [[0.393, 0.769, 0.189], [0.349, 0.686, 0.168], [0.272, 0.534, 0.131]]


def pixels():
    """Slopes, edges and noise, the same in every run."""
    random = np.random.default_rng(7)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    picture = np.stack([x * 255 // WIDTH, y * 255 // HEIGHT, (x // 40 + y // 40) % 2 * 200], axis=2)
    return np.clip(picture + random.integers(-20, 20, picture.shape), 0, 255).astype(np.uint8)


def least(work):
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times) * 1000


def main():
    cv2.setNumThreads(1)
    rgb = pixels()
    pil, bgr = Image.fromarray(rgb), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    half, more = (WIDTH // 2, HEIGHT // 2), (WIDTH * 3 // 2, HEIGHT * 3 // 2)
    threshold = [255 if v > 100 else 0 for v in range(256)]
    random = np.random.default_rng(1)
    sepia = [v for row in SEPIA for v in (*row, 0)]
    kernel = np.full((3, 3), -1 / 8)
    kernel[1, 1] = 2

    def strew(picture):
        """What either library offers: masks of random numbers."""
        chance = random.random(picture.shape[:2], dtype=np.float32)
        picture[chance < 0.05] = 0
        picture[chance > 0.95] = 255

    def pil_contour():
        gray = pil.convert("L")
        return ImageChops.difference(gray, ImageChops.offset(gray, 1, 0))

    def cv_contour():
        gray = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)
        return cv2.absdiff(gray[:, 1:], gray[:, :-1])

    def pil_concat():
        both = Image.new("RGB", (WIDTH * 2, HEIGHT))
        both.paste(pil, (0, 0))
        both.paste(pil, (WIDTH, 0))

    small = (WIDTH // 16, HEIGHT // 16)
    cases = {
        "blur 16": (lambda: pil.filter(ImageFilter.BoxBlur(7.5)), lambda: cv2.blur(bgr, (16, 16))),
        "blur 100": (lambda: pil.filter(ImageFilter.BoxBlur(49.5)), lambda: cv2.blur(bgr, (100, 100))),
        "contour": (pil_contour, cv_contour),
        "segment": (lambda: pil.convert("L").point(threshold),
                    lambda: cv2.threshold(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY), 100, 255, cv2.THRESH_BINARY)),
        "gray": (lambda: pil.convert("L"), lambda: cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)),
        "rotate 90": (lambda: pil.transpose(Image.Transpose.ROTATE_270),
                      lambda: cv2.rotate(bgr, cv2.ROTATE_90_CLOCKWISE)),
        "rotate 180": (lambda: pil.transpose(Image.Transpose.ROTATE_180), lambda: cv2.rotate(bgr, cv2.ROTATE_180)),
        "mirror": (lambda: pil.transpose(Image.Transpose.FLIP_LEFT_RIGHT), lambda: cv2.flip(bgr, 1)),
        "salt and pepper 0.1": (lambda: (lambda a: (strew(a), Image.fromarray(a)))(np.array(pil)),
                                lambda: strew(bgr.copy())),
        "sharpen": (lambda: pil.filter(ImageFilter.SHARPEN), lambda: cv2.filter2D(bgr, -1, kernel)),
        "sepia": (lambda: pil.convert("RGB", sepia), lambda: cv2.transform(bgr, np.array(SEPIA)[::-1, ::-1])),
        "pixelate 16": (lambda: pil.reduce(16).resize((WIDTH, HEIGHT), Image.Resampling.NEAREST),
                        lambda: cv2.resize(cv2.resize(bgr, small, interpolation=cv2.INTER_AREA), (WIDTH, HEIGHT),
                                           interpolation=cv2.INTER_NEAREST)),
        "resize 50%": (lambda: pil.resize(half, Image.Resampling.HAMMING),
                       lambda: cv2.resize(bgr, half, interpolation=cv2.INTER_CUBIC)),
        "resize 150%": (lambda: pil.resize(more, Image.Resampling.BICUBIC),
                        lambda: cv2.resize(bgr, more, interpolation=cv2.INTER_CUBIC)),
        "concat": (pil_concat, lambda: cv2.hconcat([bgr, bgr])),
    }
    # In turns: a neighbour who is busy for a while slows each of them, and the least of all turns is nobody's.
    turns = []
    with tempfile.NamedTemporaryFile() as raw:
        raw.write(rgb.tobytes())
        raw.flush()
        for _ in range(TURNS):
            output = subprocess.run([sys.argv[1], raw.name, str(WIDTH), str(HEIGHT)], check=True, capture_output=True)
            ours = json.loads(output.stdout)
            turns.append({name: (ours[name], *map(least, theirs)) for name, theirs in cases.items()})
    print(f"{WIDTH}x{HEIGHT}, one thread, least of {TURNS} turns of {RUNS} runs, ms; Pillow {pillow_version}, OpenCV {cv2.__version__}")
    print(f"{'filter':22}{'polybot':>9}{'Pillow':>9}{'OpenCV':>9}{'/Pillow':>9}{'/OpenCV':>9}")
    for name in cases:
        ours, p, o = (min(times) for times in zip(*(turn[name] for turn in turns)))
        print(f"{name:22}{ours:9.2f}{p:9.2f}{o:9.2f}{ours / p:9.2f}{ours / o:9.2f}")


if __name__ == "__main__":
    main()
