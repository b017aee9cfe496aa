"""Masks of a result, kept as the branch gave them: (size, size) probabilities and a box each.

Dense masks, runs, polygons and areas are made when asked for, by the library, at the image's own
resolution, so that 300 objects of a 4K image take less than a megabyte. Where predict was asked for
them so, they are COCO's strings instead (StringMasks), or lie in a GPU's memory (MasksOnDevice).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from threading import Lock

import numpy as np

from ._native import DeviceError, check, ffi, lib
from .arrays import Array
from .gpu_arrays import GpuArray

THRESHOLD = 0.5  # a pixel belongs to the mask from this probability on


class Masks:
    """The masks of a result's objects, in their order."""

    def __init__(
        self, cells: np.ndarray, boxes: np.ndarray, shape: tuple[int, int], device: str = "cpu"
    ) -> None:
        self.cells = cells  # (objects, size, size) probabilities; NaN: an object without a mask
        self.mask_boxes = boxes  # (objects, 4): the areas that the cells cover, may leave the image
        self.orig_shape = shape  # (height, width)
        self.device = device  # of the network that found them

    def __len__(self) -> int:
        return len(self.mask_boxes)

    def __getitem__(self, index) -> Masks:
        return Masks(self.cells[index], self.mask_boxes[index], self.orig_shape, self.device)

    def _native(self, i: int) -> tuple[object, int, object]:
        """An object's cells, their side and their box as the library takes them."""
        cells = ffi.from_buffer("float[]", np.nan_to_num(self.cells[i]))
        return cells, self.cells.shape[1], ffi.new("dn_box *", self.mask_boxes[i].tolist())[0]

    def _runs(self) -> Iterator[object]:
        """A dn_rle of each object in turn, valid until the next one."""
        for i in range(len(self)):
            rle = ffi.new("dn_rle *")
            check(self._fill(rle, i))
            try:
                yield rle
            finally:
                lib.dn_rle_free(rle)

    def _fill(self, rle: object, i: int) -> int:
        """Makes an object's runs; the library's status."""
        cells, side, box = self._native(i)
        return lib.dn_mask_paste(rle, cells, side, box, *self.orig_shape, THRESHOLD)

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
        return self._as_coco(_take_texts(text, length))

    def _as_coco(self, texts: Sequence[str]) -> list[dict]:
        return [{"size": list(self.orig_shape), "counts": counts} for counts in texts]

    def on_device(self) -> GpuArray:
        """Dense masks (objects, height, width), bool, in the memory of the network's GPU, for
        torch.from_dlpack or cupy.asarray: pasted there, the pixels of `data`."""
        if self.device == "cpu":
            raise DeviceError(
                "masks.on_device() needs a network on a GPU; the one that found these is on the CPU"
            )
        masks = ffi.new("dn_device_masks **")
        cells = np.ascontiguousarray(self.cells, np.float32)
        boxes = np.ascontiguousarray(self.mask_boxes, np.float32)
        data, places = ffi.from_buffer("float[]", cells), ffi.from_buffer("dn_box[]", boxes)
        side, count, device = cells.shape[-1], len(cells), self.device.encode()
        check(
            lib.dn_device_masks_create(device, data, side, places, count, *self.orig_shape, masks)
        )
        try:
            return _paste_there(masks[0])
        finally:
            lib.dn_device_masks_free(masks[0])

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

    def _window(self, i: int) -> tuple[int, int, int, int]:
        """The pixels that mask i can cover: left, top, right, bottom."""
        height, width = self.orig_shape
        x0, y0, x1, y1 = self.mask_boxes[i].tolist()
        left, right = (min(max(f(v), 0), width) for f, v in ((math.floor, x0), (math.ceil, x1)))
        top, bottom = (min(max(f(v), 0), height) for f, v in ((math.floor, y0), (math.ceil, y1)))
        return left, top, right, bottom

    def crop(self, i: int) -> tuple[int, int, np.ndarray]:
        """Left and top of the part of the image that mask i can cover, and its pixels there, bool
        (height, width): what drawing and cutting out need, without a mask of the whole image."""
        x0, y0, x1, y1 = self.mask_boxes[i].tolist()
        left, top, right, bottom = self._window(i)
        if right <= left or bottom <= top:
            return left, top, np.zeros((0, 0), bool)
        pixels = np.zeros((bottom - top, right - left), np.uint8)
        cells, side, _ = self._native(i)
        box = ffi.new("dn_box *", [x0 - left, y0 - top, x1 - left, y1 - top])[0]
        out = ffi.from_buffer("uint8_t[]", pixels, require_writable=True)
        check(lib.dn_mask_paste_dense(out, cells, side, box, *pixels.shape, THRESHOLD))
        return left, top, pixels.view(bool)


class MasksOnDevice(Masks):
    """Masks whose probabilities stay in the memory of the network's GPU, and come to the host when
    somebody looks at `cells` or at what is made of them there."""

    def __init__(
        self, handle: object, side: int, boxes: np.ndarray, shape: tuple[int, int], device: str
    ) -> None:
        self._handle = ffi.gc(handle, lib.dn_device_masks_free)
        self._side = side
        self._lock = Lock()  # one thread at a time
        self.mask_boxes = boxes
        self.orig_shape = shape
        self.device = device

    @cached_property
    def cells(self) -> np.ndarray:
        """(objects, size, size) probabilities; NaN: an object without a mask."""
        cells = np.empty((len(self), self._side, self._side), np.float32)
        with self._lock:
            out = ffi.from_buffer("float[]", cells, require_writable=True)
            check(lib.dn_device_masks_read(self._handle, out))
        return cells

    @property
    def rle(self) -> list[dict]:
        text, length = ffi.new("char **"), ffi.new("size_t *")
        with self._lock:
            check(lib.dn_device_masks_encode(self._handle, THRESHOLD, text, length))
        return self._as_coco(_take_texts(text, length))

    def on_device(self) -> GpuArray:
        with self._lock:
            return _paste_there(self._handle)


class StringMasks(Masks):
    """Masks that came as COCO's strings. There are no probabilities."""

    def __init__(
        self, texts: Sequence[str], boxes: np.ndarray, shape: tuple[int, int], device: str = "cpu"
    ) -> None:
        self._texts = np.array(texts, object)
        self.mask_boxes = boxes
        self.orig_shape = shape
        self.device = device

    def __getitem__(self, index) -> StringMasks:
        texts, boxes = self._texts[index], self.mask_boxes[index]
        return StringMasks(texts, boxes, self.orig_shape, self.device)

    def _fill(self, rle: object, i: int) -> int:
        return lib.dn_rle_from_string(rle, *self.orig_shape, self._texts[i].encode())

    @property
    def data(self) -> Array:
        dense = np.empty((len(self), *self.orig_shape), np.uint8)
        for i, rle in enumerate(self._runs()):
            out = ffi.from_buffer("uint8_t[]", dense[i], require_writable=True)
            lib.dn_rle_decode(rle, out, lib.DN_ROW_MAJOR)
        return dense.view(bool).view(Array)

    @property
    def rle(self) -> list[dict]:
        return self._as_coco(self._texts.tolist())

    def on_device(self) -> GpuArray:
        raise DeviceError(
            "masks that came as strings have nothing on a GPU: predict(..., masks='device')"
        )

    def crop(self, i: int) -> tuple[int, int, np.ndarray]:
        left, top, right, bottom = self._window(i)
        if right <= left or bottom <= top:
            return left, top, np.zeros((0, 0), bool)
        pixels = self[[i]].data.numpy()[0, top:bottom, left:right]
        return left, top, np.ascontiguousarray(pixels)


def _take_texts(text: object, length: object) -> list[str]:
    """The strings that the library wrote, which it gets back."""
    texts = bytes(ffi.buffer(text[0], length[0])).decode("ascii").split("\0")
    lib.dn_buffer_free(text[0])
    return texts[:-1]


def _paste_there(masks: object) -> GpuArray:
    out = ffi.new("dn_device_array **")
    check(lib.dn_device_masks_paste(masks, THRESHOLD, out))
    return GpuArray(out[0])


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
