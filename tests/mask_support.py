"""The library's mask functions with NumPy and pycocotools' types at their ends, for the tests."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np

from yolomask._native import check, ffi, lib


class Rle:
    """Owns a dn_rle."""

    def __init__(self, make, *arguments):
        self.c = ffi.gc(ffi.new("dn_rle *"), lib.dn_rle_free)
        check(make(self.c, *arguments))

    @classmethod
    def from_mask(cls, mask: np.ndarray, order: int | None = None) -> Rle:
        """From an (h, w) array, or from its transpose with DN_COLUMN_MAJOR."""
        mask = np.ascontiguousarray(mask, np.uint8)
        h, w = mask.shape if order != lib.DN_COLUMN_MAJOR else mask.shape[::-1]
        order = lib.DN_ROW_MAJOR if order is None else order
        return cls(lib.dn_rle_from_mask, ffi.from_buffer("uint8_t[]", mask), h, w, order)

    @classmethod
    def from_string(cls, text: bytes, h: int, w: int) -> Rle:
        return cls(lib.dn_rle_from_string, h, w, ffi.new("char[]", text))

    @classmethod
    def from_runs(cls, runs, h: int, w: int) -> Rle:
        return cls(lib.dn_rle_from_runs, h, w, ffi.new("uint32_t[]", list(runs)), len(runs))

    @classmethod
    def from_row_runs(cls, runs, h: int, w: int) -> Rle:
        return cls(lib.dn_rle_from_row_runs, h, w, ffi.new("uint32_t[]", list(runs)), len(runs))

    @classmethod
    def from_polygons(cls, rings, h: int, w: int) -> Rle:
        arrays = [np.ascontiguousarray(ring, np.float64).ravel() for ring in rings]
        pointers = [ffi.from_buffer("double[]", array) for array in arrays]
        counts = [array.size // 2 for array in arrays]
        return cls(
            lib.dn_rle_from_polygons,
            ffi.new("double *[]", pointers),
            ffi.new("int64_t[]", counts),
            len(counts),
            h,
            w,
        )

    @classmethod
    def merge(cls, masks, rule: int) -> Rle:
        return cls(lib.dn_rle_merge, array_of(masks), len(masks), rule)

    @classmethod
    def paste(cls, mask: np.ndarray, box, h: int, w: int, threshold: float = 0.5) -> Rle:
        mask = np.ascontiguousarray(mask, np.float32)
        cells = ffi.from_buffer("float[]", mask)
        return cls(lib.dn_mask_paste, cells, len(mask), tuple(box), h, w, threshold)

    @property
    def runs(self) -> list[int]:
        return ffi.unpack(self.c.runs, self.c.run_count)

    @property
    def text(self) -> bytes:
        text = ffi.new("char[]", lib.dn_rle_string(self.c, ffi.NULL) + 1)
        length = lib.dn_rle_string(self.c, text)
        assert length == len(text) - 1 == len(ffi.string(text))
        return ffi.string(text)

    @property
    def coco(self) -> dict:
        """As pycocotools takes it."""
        return {"size": [self.c.height, self.c.width], "counts": self.text}

    @property
    def area(self) -> int:
        return lib.dn_rle_area(self.c)

    @property
    def bounds(self) -> list[int]:
        box = ffi.new("int32_t[4]")
        lib.dn_rle_bounds(self.c, box)
        return list(box)

    @property
    def mask(self) -> np.ndarray:
        """(h, w) bytes."""
        out = np.full((self.c.height, self.c.width), 7, np.uint8)
        lib.dn_rle_decode(self.c, ffi.from_buffer("uint8_t[]", out), lib.DN_ROW_MAJOR)
        return out

    @property
    def mask_by_columns(self) -> np.ndarray:
        out = np.full((self.c.width, self.c.height), 7, np.uint8)
        lib.dn_rle_decode(self.c, ffi.from_buffer("uint8_t[]", out), lib.DN_COLUMN_MAJOR)
        return out

    def target(
        self, roi, size: int, soft: bool = True, affine=(1, 1, 0, 0), visible=(0, 0, 0, 0)
    ) -> np.ndarray:
        """dn_mask_target; affine = scale_x, scale_y, offset_x, offset_y."""
        out = np.full((size, size), np.nan, np.float32)
        net_to_image = ffi.new("dn_affine *", affine)
        cells = ffi.from_buffer("float[]", out)
        visible, roi = tuple(visible), tuple(roi)
        check(lib.dn_mask_target(self.c, net_to_image, visible, roi, size, soft, cells))
        return out

    @classmethod
    def sample(cls, mask: Rle, affine, h: int, w: int, visible=(0, 0, 0, 0)) -> Rle:
        """dn_rle_sample; affine as above."""
        to_mask = ffi.new("dn_affine *", affine)
        return cls(lib.dn_rle_sample, mask.c, to_mask, tuple(visible), h, w)


class Contours:
    """Rings (n, 2) of pixel corners, and their parents."""

    def __init__(self, mask: Rle, mode: int, tolerance: float = 0.0):
        out = ffi.gc(ffi.new("dn_contours *"), lib.dn_contours_free)
        check(lib.dn_rle_contours(out, mask.c, mode, tolerance))
        starts = ffi.unpack(out.starts, out.ring_count + 1)
        points = np.array(ffi.unpack(out.points, 2 * starts[-1]), np.int32).reshape(-1, 2)
        self.rings = [points[a:b] for a, b in itertools.pairwise(starts)]
        self.parents = ffi.unpack(out.parents, out.ring_count)


def array_of(masks) -> ffi.CData:
    """A C array of the structs, which still belong to `masks`."""
    array = ffi.new("dn_rle[]", max(len(masks), 1))
    for i, mask in enumerate(masks):
        array[i] = mask.c[0]
    return array


def iou(detection: Rle, truth: Rle, crowd: bool = False) -> float:
    out = ffi.new("double *")
    check(lib.dn_rle_iou(out, detection.c, truth.c, crowd))
    return out[0]


def ious(detections, truths, crowd=None) -> np.ndarray:
    out = np.full((len(detections), len(truths)), np.nan)
    flags = ffi.NULL if crowd is None else ffi.new("uint8_t[]", list(crowd))
    check(
        lib.dn_rle_ious(
            ffi.from_buffer("double[]", out),
            array_of(detections),
            len(detections),
            array_of(truths),
            len(truths),
            flags,
        )
    )
    return out


def coco125(datasets: Path) -> list[tuple[dict, int, int]]:
    """Every annotation of both parts of coco125, with its image's height and width."""
    found = []
    for part in ("train", "val"):
        content = json.loads((datasets / "coco125" / f"instances_{part}2017.json").read_text())
        sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
        found += [(a, *sizes[a["image_id"]]) for a in content["annotations"]]
    return found
