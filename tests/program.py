"""The program ./darknet in a folder of its own, with a small detector, images and labels."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = str(Path(os.environ.get("YOLOMASK_PROGRAM", ROOT / "darknet")).resolve())
# `make sanitize` sets these for Python; the program itself is to be looked at for leaks.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k not in ("LD_PRELOAD", "ASAN_OPTIONS")}
ENVIRONMENT["YOLOMASK_PYTHON"] = ""  # a training's charts would take longer than the training

NET = """[net]
batch=4
subdivisions=2
width=64
height=64
channels=3
learning_rate=.01
max_batches=1000
data=tiny.data
"""
LAYERS = """
[convolutional]
batch_normalize=1
filters=6
size=3
stride=4
pad=1
activation=leaky

[convolutional]
filters=8
size=3
stride=4
pad=1
activation=leaky

[convolutional]
filters=14
size=1
activation=linear

[yolo]
mask=0,1
anchors=12,12, 40,30
classes=2
num=2
"""
BRANCH = """
[route]
layers=1

[convolutional]
filters=4
size=1
activation=linear

[roialign]
layers=-1
size=4
max_rois=10

[deconvolutional]
filters=4
size=2
stride=2
activation=relu

[convolutional]
filters=1
size=1
activation=linear

[mask]
classes=1
"""
BRANCH_FLOATS = 4 + 4 * 8 + 4 + 4 * 4 * 4 + 1 + 4
# Floats of each convolution: biases, then scales, means and variances, then weights.
CONVOLUTIONS = [(6, 3, 6 * 3 * 9), (8, 0, 8 * 6 * 9), (14, 0, 14 * 8)]


def write_weights(path: Path, seed: int = 0, seen: int = 640) -> bytes:
    """A weights file of the network above, by the rules of docs/formats.md."""
    random = np.random.default_rng(seed)
    arrays = []
    for filters, norms, weights in CONVOLUTIONS:
        arrays.append(random.normal(0, 0.1, filters))
        if norms:
            arrays += [np.ones(filters), np.zeros(filters), np.ones(filters)]
        arrays.append(random.normal(0, 0.3, weights))
    arrays[-2][[4, 11]] = 0.5  # objectness, so that something is found
    header = np.array([0, 2, 5], "<i4").tobytes() + np.array([seen], "<u8").tobytes()
    content = header + np.concatenate(arrays).astype("<f4").tobytes()
    path.write_bytes(content)
    return content


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Pixels (height, width, 3) in the order of RGB; machines with a GPU may have no OpenCV."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    height, width = pixels.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = b"".join(b"\0" + np.ascontiguousarray(row, np.uint8).tobytes() for row in pixels)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)


def floats(path: Path) -> np.ndarray:
    return np.frombuffer(path.read_bytes()[20:], "<f4")


class Folder:
    """A working folder with a small detector, images and labels."""

    def __init__(self, path: Path):
        self.path = path
        (path / "tiny.cfg").write_text(NET + LAYERS)
        (path / "tiny.names").write_text("cat\ndog\n")
        write_weights(path / "tiny.weights")
        random = np.random.default_rng(1)
        images, annotations = [], []
        for i in range(6):
            pixels = random.integers(0, 256, (48 + 4 * i, 80, 3), np.uint8)
            write_png(path / f"photo_{i + 1:06}.png", pixels[..., ::-1])
            size = {"width": 80, "height": 48 + 4 * i}
            images.append({"id": i + 1, "file_name": f"photo_{i + 1:06}.png", **size})
            box = [10 + i, 8, 20, 24]
            annotation = {"id": i + 1, "image_id": i + 1, "category_id": 1 + i % 2, "bbox": box}
            x, y, w, h = box
            outline = [[x, y, x + w, y, x + w, y + h, x, y + h]]
            annotations.append({**annotation, "area": 480, "iscrowd": 0, "segmentation": outline})
        categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
        labels = {"images": images, "annotations": annotations, "categories": categories}
        (path / "labels.json").write_text(json.dumps(labels))
        (path / "tiny.data").write_text(
            "classes=2\nnames=tiny.names\ntrain=labels.json\nvalid=labels.json\neval=coco\n"
        )

    def start(self, *arguments, **options) -> subprocess.Popen:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
        words = [PROGRAM, *(str(a) for a in arguments)]
        return subprocess.Popen(
            words, cwd=self.path, env=ENVIRONMENT, text=True, errors="replace", **pipes | options
        )

    def run(self, *arguments, code: int = 0, given: str = "") -> tuple[str, str]:
        """What the program prints; it must end with `code`."""
        process = self.start(*arguments, stdin=subprocess.PIPE)
        out, error = process.communicate(given, timeout=60)
        assert process.returncode == code, (arguments, out, error)
        return out, error

    def error(self, *arguments) -> str:
        """The one sentence of a refused call."""
        out, error = self.run(*arguments, "-quiet", code=1)
        lines = error.splitlines()
        assert len(lines) == 1, (arguments, out, error)
        return lines[0]

    def bytes(self, name: str) -> bytes:
        return (self.path / name).read_bytes()


class Segmenter(Folder):
    """The folder with a mask branch as well."""

    def __init__(self, path):
        super().__init__(path)
        (path / "seg.cfg").write_text(NET + "mask_max_batches=4\n" + LAYERS + BRANCH)
        self.write_floats("mask.weights", np.random.default_rng(2).normal(0, 0.3, BRANCH_FLOATS))

    def write_floats(self, name, values):
        header = np.array([0, 2, 5, 0, 0], "<i4").tobytes()
        (self.path / name).write_bytes(header + np.asarray(values, "<f4").tobytes())

    def last(self, *arguments):
        """The last line of a call that must fail: commands may tell of their progress before."""
        _, error = self.run(*arguments, code=1)
        return error.splitlines()[-1]

    def edit(self, name, *changes, source="seg.cfg"):
        """A copy of a text file with the first occurrences of these texts replaced."""
        text = (self.path / source).read_text()
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new, 1)
        (self.path / name).write_text(text)
        return name
