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
    """The train or valid part of a .data file; or what from_labels opens."""

    def __init__(self, data_path: str | os.PathLike, part: str, *, strict: bool = False) -> None:
        data = ffi.new("dn_data_file **")
        check(lib.dn_data_file_read(encode_path(data_path), ffi.NULL, ffi.NULL, data))
        data = ffi.gc(data[0], lib.dn_data_file_free)
        self.backup = text(data.backup)
        source = ffi.new("dn_dataset_source *")
        check(lib.dn_data_file_source(data, PARTS[part], source))
        source.strict = strict
        self._load(source)

    @classmethod
    def from_labels(
        cls,
        path: str | os.PathLike,
        *,
        images: str | os.PathLike | None = None,
        masks: str | os.PathLike | None = None,
        names: str | os.PathLike | None = None,
        classes: int = 0,
        strict: bool = False,
    ) -> Dataset:
        """A COCO JSON, an image list or a folder, with what belongs to it as in a .data file."""
        paths = {"path": path, "images_folder": images, "masks_folder": masks, "names": names}
        texts = {k: ffi.new("char[]", encode_path(v)) for k, v in paths.items() if v is not None}
        source = ffi.new("dn_dataset_source *", texts | {"classes": classes, "strict": strict})
        self = cls.__new__(cls)
        self._load(source)
        return self

    def _load(self, source) -> None:
        out = ffi.new("dn_dataset **")
        check(lib.dn_dataset_load(source, out))
        self.handle = ffi.gc(out[0], lib.dn_dataset_free)
        self.view = lib.dn_dataset_get(self.handle)
        self.names = {i: text(self.view.names[i]) for i in range(self.view.class_count)}

    @property
    def faults(self) -> list[str]:
        """What was skipped, in sentences: the first hundred, then how many more there are."""
        kept = min(self.view.fault_count, lib.DN_FAULTS_KEPT)
        sentences = [text(self.view.faults[i]) for i in range(kept)]
        more = self.view.fault_count - kept
        return [*sentences, f"{more} more"] if more else sentences

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

    def size(self, image: int) -> tuple[int, int]:
        """Height and width of an image: what its labels say, else what the file says."""
        one = self.view.images[image]
        if one.width > 0 and one.height > 0:
            return one.height, one.width
        out = ffi.new("int32_t[2]")
        check(lib.dn_image_size(one.path, out, out + 1))
        return out[1], out[0]

    def rings(self, index: int) -> list[np.ndarray]:
        """The polygons (points, 2) of an object (index into all of them), as they are labelled."""
        xy, counts = ffi.new("double **"), ffi.new("int64_t **")
        check(lib.dn_dataset_polygons(self.handle, index, xy, counts))
        try:
            sizes = ffi.unpack(counts[0], self.view.objects[index].parts)
            points = np.frombuffer(ffi.buffer(xy[0], 16 * sum(sizes)), np.float64).copy()
        finally:
            lib.dn_buffer_free(xy[0])
            lib.dn_buffer_free(counts[0])
        return np.split(points.reshape(-1, 2), np.cumsum(sizes)[:-1])

    def runs(self, image: int, index: int, height: int, width: int):
        """The mask of an object of an image of this size, a dn_rle."""
        rle = ffi.gc(ffi.new("dn_rle *"), lib.dn_rle_free)
        check(lib.dn_dataset_mask(self.handle, image, index, width, height, rle))
        return rle

    def _mask(self, image: int, index: int, height: int, width: int, kind) -> np.ndarray | None:
        if kind == lib.DN_OBJECT_BOX:
            return None
        try:
            return decode(self.runs(image, index, height, width))
        except DataError:  # labelled for another size: `segmenter check` says so
            return None
