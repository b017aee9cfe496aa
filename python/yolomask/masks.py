"""Masks of a result, kept as the branch gave them: (size, size) probabilities and a box each.

Dense masks, runs, polygons and areas are made when asked for, by the library, at the image's own
resolution, so that 300 objects of a 4K image take less than a megabyte.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ._native import check, ffi, lib
from .arrays import Array

THRESHOLD = 0.5  # a pixel belongs to the mask from this probability on


class Masks:
    """The masks of a result's objects, in their order."""

    def __init__(self, cells: np.ndarray, boxes: np.ndarray, shape: tuple[int, int]) -> None:
        self.cells = cells  # (objects, size, size) probabilities; NaN: an object without a mask
        self.mask_boxes = boxes  # (objects, 4): the areas that the cells cover, may leave the image
        self.orig_shape = shape  # (height, width)

    def __len__(self) -> int:
        return len(self.cells)

    def __getitem__(self, index) -> Masks:
        return Masks(self.cells[index], self.mask_boxes[index], self.orig_shape)

    def _native(self, i: int) -> tuple[object, int, object]:
        """An object's cells, their side and their box as the library takes them."""
        cells = ffi.from_buffer("float[]", np.nan_to_num(self.cells[i]))
        return cells, self.cells.shape[1], ffi.new("dn_box *", self.mask_boxes[i].tolist())[0]

    def _runs(self) -> Iterator[object]:
        """A dn_rle of each object in turn, valid until the next one."""
        height, width = self.orig_shape
        for i in range(len(self)):
            rle = ffi.new("dn_rle *")
            cells, side, box = self._native(i)
            check(lib.dn_mask_paste(rle, cells, side, box, height, width, THRESHOLD))
            try:
                yield rle
            finally:
                lib.dn_rle_free(rle)

    @property
    def data(self) -> Array:
        """Dense masks (objects, height, width), bool, at the image's own size."""
        height, width = self.orig_shape
        dense = np.zeros((len(self), height, width), np.uint8)
        for i in range(len(self)):
            out = ffi.from_buffer("uint8_t[]", dense[i], require_writable=True)
            cells, side, box = self._native(i)
            check(lib.dn_mask_paste_dense(out, cells, side, box, height, width, THRESHOLD))
        return dense.view(bool).view(Array)

    @property
    def rle(self) -> list[dict]:
        """COCO's compressed runs: [{"size": [height, width], "counts": text}, ...]."""
        height, width = self.orig_shape
        cells = np.ascontiguousarray(self.cells, np.float32)
        boxes = np.ascontiguousarray(self.mask_boxes, np.float32)
        text, length = ffi.new("char **"), ffi.new("size_t *")
        data, places = ffi.from_buffer("float[]", cells), ffi.from_buffer("dn_box[]", boxes)
        side, count = cells.shape[-1], len(cells)
        check(
            lib.dn_masks_encode(text, length, data, side, places, count, height, width, THRESHOLD)
        )
        texts = bytes(ffi.buffer(text[0], length[0])).decode("ascii").split("\0")
        lib.dn_buffer_free(text[0])
        return [{"size": [height, width], "counts": counts} for counts in texts[:count]]

    @property
    def area(self) -> Array:
        """Pixels of each mask."""
        return np.array([lib.dn_rle_area(rle) for rle in self._runs()], np.int64).view(Array)

    @property
    def xy(self) -> list[np.ndarray]:
        """One polygon (points, 2) an object, in pixels: parts and holes are joined by bridges, so
        that drawn again it gives exactly the mask. An empty mask has no point."""
        return [_single_ring(rle, 0.0) for rle in self._runs()]

    @property
    def xyn(self) -> list[np.ndarray]:
        """The polygons as fractions of the image's width and height."""
        return [ring / np.float32(self.orig_shape[::-1]) for ring in self.xy]

    def outlines(self, tolerance: float = 0.0) -> list[np.ndarray]:
        """As xy, with fewer points: a polygon may be off by up to `tolerance` pixels."""
        return [_single_ring(rle, tolerance) for rle in self._runs()]

    def crop(self, i: int) -> tuple[int, int, np.ndarray]:
        """Left and top of the part of the image that mask i can cover, and its pixels there, bool
        (height, width): what drawing and cutting out need, without a mask of the whole image."""
        height, width = self.orig_shape
        x0, y0, x1, y1 = self.mask_boxes[i].tolist()
        left, right = (min(max(f(v), 0), width) for f, v in ((math.floor, x0), (math.ceil, x1)))
        top, bottom = (min(max(f(v), 0), height) for f, v in ((math.floor, y0), (math.ceil, y1)))
        if right <= left or bottom <= top:
            return left, top, np.zeros((0, 0), bool)
        pixels = np.zeros((bottom - top, right - left), np.uint8)
        cells, side, _ = self._native(i)
        box = ffi.new("dn_box *", [x0 - left, y0 - top, x1 - left, y1 - top])[0]
        out = ffi.from_buffer("uint8_t[]", pixels, require_writable=True)
        check(lib.dn_mask_paste_dense(out, cells, side, box, *pixels.shape, THRESHOLD))
        return left, top, pixels.view(bool)


def coco_rle(rle) -> dict:
    size = lib.dn_rle_string(rle, ffi.NULL)
    text = ffi.new("char[]", size + 1)
    lib.dn_rle_string(rle, text)
    return {"size": [rle.height, rle.width], "counts": ffi.string(text).decode("ascii")}


def _single_ring(rle, tolerance: float) -> np.ndarray:
    contours = ffi.new("dn_contours *")
    check(lib.dn_rle_contours(contours, rle, lib.DN_CONTOUR_SINGLE, tolerance))
    try:
        if contours.ring_count == 0:
            return np.zeros((0, 2), np.float32)
        count = contours.starts[contours.ring_count]
        points = np.frombuffer(ffi.buffer(contours.points, count * 8), np.int32)
        return points.reshape(count, 2).astype(np.float32)
    finally:
        lib.dn_contours_free(contours)
