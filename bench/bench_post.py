"""What stands behind the network: boxes of the heads, masks into COCO's strings. One thread.

    python bench/bench_post.py [--rounds 50]

Heads: those of YOLOv3-416 (80 classes, 10,647 boxes) on made-up values with some forty objects
each, forward, decoding and suppression at .25, with the output made (keep_all) and without. Masks:
100 blobs of 28 x 28 in random boxes of 640 x 480, beside OpenCV's resize of each into its box and
pycocotools' encode. Times are the fastest and the median of the rounds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from steps import check, ffi, lib, make_network

from yolomask.masks import Masks

HEAD = "[yolo]\nmask=0,1,2\nclasses=80\nnum=3\nanchors=10,13, 16,30, 33,23\n"
SIDES = (13, 26, 52)
HEIGHT, WIDTH, COUNT, SIDE = 480, 640, 100, 28


def report(name: str, run: Callable[[], object], rounds: int, unit: str, share: int = 1) -> None:
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * (1e6 if unit == "us" else 1e3) / share)
    times = sorted(times[1:])
    print(f"{name:<44} {times[0]:8.3f} {times[len(times) // 2]:8.3f} {unit}", flush=True)


def head_values(rng: np.random.Generator, side: int) -> np.ndarray:
    """What stands before the logistic: background, and some objects."""
    values = rng.normal(-5, 1, (3, 85, side, side)).astype(np.float32)
    values[:, :4] = rng.normal(0, 0.5, (3, 4, side, side))
    values[:, 4] = rng.normal(-7, 1.5, (3, side, side))
    for row, column in rng.integers(0, side, (40, 2)):
        values[rng.integers(3), 4, row, column] = 2
        values[:, 5 + rng.integers(80), row, column] = 3
    return values


def bench_heads(rounds: int) -> None:
    rng = np.random.default_rng(0)
    values = [head_values(rng, side) for side in SIDES]
    data = [ffi.from_buffer("float[]", array) for array in values]
    out, options = ffi.new("dn_result **"), ffi.new("dn_predict_options *")
    for keep_all in (True, False):
        nets = []
        with tempfile.TemporaryDirectory() as folder:
            for side in SIDES:
                path = Path(folder) / f"{side}.cfg"
                path.write_text(f"[net]\nchannels=255\nheight={side}\nwidth={side}\n{HEAD}")
                nets.append(make_network(path, threads=1, batch=1, keep_all=keep_all))

        def run(nets=nets) -> None:
            for net, one in zip(nets, data, strict=True):
                check(lib.dn_network_forward(net, one, 1, 0.25))
                check(lib.dn_network_get_result(net, 0, 416, 416, options, out))
                lib.dn_result_free(out[0])

        report(f"heads, {'whole output' if keep_all else 'boxes alone'}", run, rounds, "ms")


def blobs(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Noisy ellipses, and boxes that may leave the image."""
    y, x = np.mgrid[0:SIDE, 0:SIDE] / (SIDE - 1) * 2 - 1
    cells = []
    for _ in range(COUNT):
        far = np.hypot(x * rng.uniform(0.7, 1.3), y * rng.uniform(0.7, 1.3))
        cells.append(1 / (1 + np.exp(8 * (far - 0.8) + rng.normal(0, 0.4, (SIDE, SIDE)))))
    corner = rng.uniform(-20, (WIDTH - 140, HEIGHT - 100), (COUNT, 2))
    size = rng.uniform(20, (400, 300), (COUNT, 2))
    return np.float32(cells), np.float32(np.concatenate([corner, corner + size], 1))


def with_opencv(cells: np.ndarray, boxes: np.ndarray) -> list[dict]:
    """Each mask resized to its box in whole pixels, laid into an image and encoded."""
    import cv2
    from pycocotools import mask as coco

    found = []
    for one, box in zip(cells, boxes, strict=True):
        x0, y0, x1, y1 = (int(v) for v in np.round(box))
        image = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
        left, top, right, bottom = max(x0, 0), max(y0, 0), min(x1, WIDTH), min(y1, HEIGHT)
        pixels = cv2.resize(one, (x1 - x0, y1 - y0)) >= 0.5
        image[top:bottom, left:right] = pixels[top - y0 : bottom - y0, left - x0 : right - x0]
        found.append(coco.encode(image))
    return found


def bench_masks(rounds: int) -> None:
    import cv2

    cv2.setNumThreads(1)
    cells, boxes = blobs(np.random.default_rng(1))
    masks = Masks(cells, boxes, (HEIGHT, WIDTH))
    report("an object's mask as a string, masks.rle", lambda: masks.rle, rounds, "us", COUNT)
    report(
        "the same, OpenCV and pycocotools", lambda: with_opencv(cells, boxes), rounds, "us", COUNT
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=50)
    rounds = parser.parse_args().rounds
    print(f"{'':<44}  fastest   median")
    bench_heads(rounds)
    bench_masks(rounds)


if __name__ == "__main__":
    main()
