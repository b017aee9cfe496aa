"""Masks pasted straight into runs and strings: every pixel, and pycocotools' strings.

The dense image comes from NumPy in the arithmetic that mask_paste.c promises (double, along rows of
cells first), so that also pixels whose probability is the threshold must agree; pycocotools makes
the strings of it.
"""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco

from mask_support import Rle
from yolomask._native import DataError, check, ffi, lib
from yolomask.masks import Masks


def axis(low: float, high: float, side: int, pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each pixel: the piece between two cells it lies in, -1 or beyond side: none; how far."""
    at = (np.arange(pixels) + 0.5 - low) / (high - low) * side - 0.5
    piece = np.clip(np.floor(at), -2, side + 1).astype(int) + 1
    return np.where((piece < 0) | (piece > side), -1, piece), at - (piece - 1)


def paste(cells: np.ndarray, box, height: int, width: int, threshold: float = 0.5) -> np.ndarray:
    """The dense mask, (height, width)."""
    x0, y0, x1, y1 = (float(np.float32(v)) for v in box)
    side = len(cells)
    if not (x1 > x0 and y1 > y0):
        return np.zeros((height, width), np.uint8)
    padded = np.pad(cells.astype(np.float64), 1)
    columns, right = axis(x0, x1, side, width)
    rows, down = axis(y0, y1, side, height)
    with np.errstate(invalid="ignore", over="ignore"):
        left_of = padded[:, columns]
        line = left_of + right * (padded[:, columns + 1] - left_of)  # (side + 2, width)
        above = line[rows]
        value = above + down[:, None] * (line[rows + 1] - above)
        seen = (columns >= 0)[None] & (rows >= 0)[:, None]
        return (seen & (value >= threshold)).astype(np.uint8)


def blob(rng, side: int) -> np.ndarray:
    """A noisy ellipse, as a branch answers."""
    y, x = np.mgrid[0:side, 0:side] / max(side - 1, 1) * 2 - 1
    far = np.hypot(x * rng.uniform(0.6, 1.5), y * rng.uniform(0.6, 1.5))
    return 1 / (1 + np.exp(8 * (far - 0.8) + rng.normal(0, 0.5, (side, side))))


KINDS = {
    "blob": blob,
    "noise": lambda rng, side: rng.random((side, side)),
    "empty": lambda rng, side: rng.random((side, side)) * 0.4,
    "full": lambda rng, side: np.ones((side, side)),
    "binary": lambda rng, side: np.round(rng.random((side, side))),
    "at the threshold": lambda rng, side: rng.choice([0.25, 0.5, 0.75], (side, side)),
    "nearly level": lambda rng, side: 0.5 + rng.normal(0, 1e-6, (side, side)),
    "beyond numbers": lambda rng, side: rng.choice(
        [0, 0.6, 1, 40, -7, 1e30, np.nan, np.inf], (side, side), p=[0.3, 0.3, 0.3, *[0.02] * 5]
    ),
}


def boxes(rng, count: int, height: int, width: int) -> np.ndarray:
    """Inside, across the border, outside, tiny, of nothing, on whole pixels, far too large."""
    centre = rng.uniform(-0.2, 1.2, (count, 2)) * (width, height)
    size = rng.choice([0.02, 0.3, 1, 6], (count, 1)) * rng.uniform(0, 1, (count, 2))
    half = size * (width, height) / 2
    found = np.concatenate([centre - half, centre + half], 1)
    found[::7] = np.round(found[::7])
    found[::50, 2:] = found[::50, :2]
    found[1::50] = [-1e6, -3e5, 2e6, 1e5]
    return found.astype(np.float32)


def strings(cells: np.ndarray, places: np.ndarray, height: int, width: int) -> list[bytes]:
    result = Masks(cells.astype(np.float32), places, (height, width)).rle
    assert all(row["size"] == [height, width] for row in result)
    return [row["counts"].encode() for row in result]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("side", [1, 7, 28, 64])
def test_strings_are_those_of_the_dense_masks(kind, side):
    rng = np.random.default_rng(side)
    for height, width in [(48, 64), (37, 90), (1, 50), (300, 1)]:
        cells = np.stack([KINDS[kind](rng, side) for _ in range(12)]).astype(np.float32)
        places = boxes(rng, len(cells), height, width)
        found = strings(cells, places, height, width)
        for one, box, text in zip(cells, places, found, strict=True):
            dense = paste(one, box, height, width)
            assert text == coco.encode(np.asfortranarray(dense))["counts"]


@pytest.mark.parametrize("side", [28, 62, 63, 65, 256])
def test_large_images(side):
    rng = np.random.default_rng(side)
    height, width = 700, 900
    cells = np.stack([blob(rng, side) for _ in range(6)]).astype(np.float32)
    places = boxes(rng, 6, height, width)
    places[0] = [10.3, 20.7, 880.1, 690.9]
    found = strings(cells, places, height, width)
    for one, box, text in zip(cells, places, found, strict=True):
        assert text == coco.encode(np.asfortranarray(paste(one, box, height, width)))["counts"]


@pytest.mark.parametrize("threshold", [1e-30, 0.05, 0.5, 0.9, 1.0])
def test_thresholds(threshold):
    rng = np.random.default_rng(1)
    for kind in KINDS.values():
        for box in boxes(rng, 8, 60, 50):
            cells = kind(rng, 14).astype(np.float32)
            wanted = paste(cells, box, 60, 50, float(np.float32(threshold)))
            assert np.array_equal(Rle.paste(cells, box, 60, 50, threshold).mask, wanted)


def test_no_masks():
    assert Masks(np.zeros((0, 28, 28), np.float32), np.zeros((0, 4), np.float32), (9, 9)).rle == []


def test_views_and_picked_masks():
    rng = np.random.default_rng(2)
    masks = Masks(
        np.stack([blob(rng, 28) for _ in range(6)]).astype(np.float32),
        boxes(rng, 6, 40, 50),
        (40, 50),
    )
    assert masks[::-2].rle == masks.rle[::-2]
    assert masks[[3, 1]].rle == [masks.rle[3], masks.rle[1]]


def encode(side=2, box=(0, 0, 1, 1), height=4, threshold=0.5):
    text, length = ffi.new("char **"), ffi.new("size_t *")
    cells, places = ffi.new("float[]", [1.0] * 4), ffi.new("dn_box[]", [(0, 0, 2, 2), box])
    status = lib.dn_masks_encode(
        text, length, ffi.new("float[]", [1.0] * 8), side, places, 2, height, 4, threshold
    )
    assert text[0] == ffi.NULL or status == lib.DN_OK
    del cells
    check(status)
    found = bytes(ffi.buffer(text[0], length[0]))
    lib.dn_buffer_free(text[0])
    return found


def test_texts_follow_each_other():
    first, second, rest = encode(box=(0, 0, 4, 4)).split(b"\0")
    assert (
        first
        == coco.encode(np.asfortranarray(paste(np.ones((2, 2)), (0, 0, 2, 2), 4, 4)))["counts"]
    )
    assert (
        second
        == coco.encode(np.asfortranarray(paste(np.ones((2, 2)), (0, 0, 4, 4), 4, 4)))["counts"]
    )
    assert rest == b""


def test_arguments_without_sense():
    with pytest.raises(ValueError, match="mask side 257 is out of range"):
        encode(side=257)
    with pytest.raises(ValueError, match="must be finite"):
        encode(box=(0, 0, np.inf, 1))
    with pytest.raises(DataError, match="0 pixels|4 x 0"):
        encode(height=0)


def test_allocation_failures(fail_allocations):
    fail_allocations(encode)
