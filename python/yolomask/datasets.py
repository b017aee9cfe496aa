"""Labelled images as the trainer reads them: a .data file, its data sets, their objects."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ._native import DataError, check, encode_path, ffi, lib

PARTS = {"train": lib.DN_DATA_TRAIN, "valid": lib.DN_DATA_VALID}


@dataclass
class Objects:
    """What an image shows: boxes (objects, 4) in pixels, classes, regions to ignore. Masks are made
    one at a time, for hundreds of them at full size would not fit."""

    boxes: np.ndarray
    class_ids: list[int]
    crowds: list[bool]
    mask: Callable[[int], np.ndarray | None]  # of object i, (height, width) of bool


def decode(rle) -> np.ndarray:
    """A dn_rle as (height, width) of bool."""
    pixels = np.zeros((rle.height, rle.width), np.uint8)
    out = ffi.from_buffer("uint8_t[]", pixels, require_writable=True)
    lib.dn_rle_decode(rle, out, lib.DN_ROW_MAJOR)
    return pixels.view(bool)


def corners(boxes: list) -> np.ndarray:
    """dn_boxes as (boxes, 4)."""
    return np.array([[b.x0, b.y0, b.x1, b.y1] for b in boxes], float).reshape(-1, 4)


def text(value) -> str | None:
    """A path or name of the library's, None for NULL."""
    return os.fsdecode(ffi.string(value)) if value else None


class Dataset:
    """The train or valid part of a .data file."""

    def __init__(self, data_path: str | os.PathLike, part: str) -> None:
        data = ffi.new("dn_data_file **")
        check(lib.dn_data_file_read(encode_path(data_path), ffi.NULL, ffi.NULL, data))
        data = ffi.gc(data[0], lib.dn_data_file_free)
        source, out = ffi.new("dn_dataset_source *"), ffi.new("dn_dataset **")
        check(lib.dn_data_file_source(data, PARTS[part], source))
        check(lib.dn_dataset_load(source, out))
        self.handle = ffi.gc(out[0], lib.dn_dataset_free)
        self.view = lib.dn_dataset_get(self.handle)
        self.names = {i: text(self.view.names[i]) for i in range(self.view.class_count)}

    def __len__(self) -> int:
        return self.view.image_count

    def path(self, image: int) -> str:
        return text(self.view.images[image].path)

    def objects(self, image: int, height: int, width: int) -> Objects:
        """The labelled objects of an image of this size."""
        one = self.view.images[image]
        first, count = one.first_object, one.object_count
        natives = [ffi.addressof(self.view.objects, first + i) for i in range(count)]
        boxes = [lib.dn_dataset_box(native, width, height) for native in natives]
        return Objects(
            corners(boxes),
            [native.class_id for native in natives],
            [native.crowd for native in natives],
            lambda i: self._mask(image, first + i, height, width, natives[i].kind),
        )

    def _mask(self, image: int, index: int, height: int, width: int, kind) -> np.ndarray | None:
        if kind == lib.DN_OBJECT_BOX:
            return None
        rle = ffi.gc(ffi.new("dn_rle *"), lib.dn_rle_free)
        try:
            check(lib.dn_dataset_mask(self.handle, image, index, width, height, rle))
        except DataError:  # labelled for another size: `segmenter check` says so
            return None
        return decode(rle)
