"""A small network with a mask branch, and results made by hand, for tests of the Python package."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from yolomask._native import ffi
from yolomask.result import Result

SIDE = 28  # of the masks of results made by hand

# Three classes, 64 pixels, initial weights: at a low threshold every image has objects.
MASK_CFG = """
[net]
width=64
height=64
channels=3

[convolutional]
filters=8
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
filters=16
size=1
activation=linear

[yolo]
mask=0,1
anchors=18,20, 30,26
classes=3
num=2

[route]
layers=0

[roialign]
layers=-1
size=14
max_rois=40
expand=.2
score_thresh=.05

[deconvolutional]
filters=8
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

NAMES = ["cat", "dog", "owl"]


def write_cfg(folder: Path, text: str = MASK_CFG) -> Path:
    path = folder / "small.cfg"
    path.write_text(text)
    return path


def noise(seed: int, height: int = 50, width: int = 80) -> np.ndarray:
    """An image of random blocks, so that a network sees something."""
    blocks = np.random.default_rng(seed).integers(0, 256, (height // 10, width // 10, 3), np.uint8)
    return np.ascontiguousarray(blocks.repeat(10, axis=0).repeat(10, axis=1))


def make_result(
    objects: list[tuple],
    shape: tuple[int, int] = (50, 80),
    *,
    masks: bool = True,
    bgr: bool = False,
) -> Result:
    """A result of (class, score, box) or (class, score, box, mask score) objects. The mask of each
    is its whole box; the library's own struct is filled, so that its reading is tested too."""
    native = ffi.new("dn_result *")
    native.height, native.width = shape
    native.instance_count = len(objects)
    instances = ffi.new("dn_instance[]", max(len(objects), 1))
    cells = ffi.new("float[]", [1.0] * (SIDE * SIDE * len(objects)))
    for i, (class_id, score, box, *mask_score) in enumerate(objects):
        one = instances[i]
        one.class_id, one.detection, one.score, one.objectness = class_id, i, score, score
        one.box = one.mask_box = ffi.new("dn_box *", list(box))[0]
        if masks:
            one.mask = cells + i * SIDE * SIDE
            one.mask_score = mask_score[0] if mask_score else score
    native.instances = instances
    native.masks = cells if masks and objects else ffi.NULL
    native.mask_size = SIDE if masks else 0
    pixels = np.full((*shape, 3), 90, np.uint8)
    return Result.from_native(native, pixels, None, dict(enumerate(NAMES)), bgr, True)
