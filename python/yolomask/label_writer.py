"""What the writers of labels (label_formats.py) share: an object, its outlines, image files."""

from __future__ import annotations

import os
import shutil
import struct
import zlib
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ._native import check, ffi, lib
from .datasets import Dataset


@dataclass
class Item:
    """One object of an image."""

    dataset: Dataset
    image: int
    index: int  # into all objects of the data set
    shape: tuple[int, int]  # height and width of the image

    @cached_property
    def native(self):
        return self.dataset.view.objects[self.index]

    @property
    def name(self) -> str:
        return self.dataset.names[self.native.class_id]

    @cached_property
    def box(self) -> list[float]:
        """x, y, width, height in pixels."""
        height, width = self.shape
        scale = (width, height, width, height) if self.native.fractions else (1, 1, 1, 1)
        return [value * factor for value, factor in zip(self.native.bbox, scale, strict=True)]

    @cached_property
    def rings(self) -> list[np.ndarray] | None:
        """The polygons in pixels, where it is labelled by some."""
        if self.native.kind != lib.DN_OBJECT_POLYGONS:
            return None
        scale = self.shape[::-1] if self.native.fractions else (1, 1)
        return [ring * scale for ring in self.dataset.rings(self.index)]

    @cached_property
    def runs(self):
        """The mask as a dn_rle, None where there is none."""
        if self.native.kind == lib.DN_OBJECT_BOX:
            return None
        return self.dataset.runs(self.image, self.index, *self.shape)

    @property
    def area(self) -> float:
        """As labelled; of rows the mask's, or the box's."""
        if not self.native.fractions:
            return self.native.area
        return lib.dn_rle_area(self.runs) if self.runs else self.box[2] * self.box[3]


def outlines(runs, mode: int) -> tuple[list[np.ndarray], bool]:
    """The rings of a mask along its pixels' edges, and whether there are holes among them."""
    out = ffi.new("dn_contours *")
    check(lib.dn_rle_contours(out, runs, mode, 0.0))
    try:
        starts = ffi.unpack(out.starts, out.ring_count + 1)
        points = np.frombuffer(ffi.buffer(out.points, 8 * starts[-1]), np.int32).copy()
        holes = any(parent >= 0 for parent in ffi.unpack(out.parents, out.ring_count))
    finally:
        lib.dn_contours_free(out)
    return np.split(points.reshape(-1, 2), starts[1:-1]) if starts[-1] else [], holes


def draws(ring: np.ndarray, runs) -> bool:
    """Does the polygon, in pixels, give exactly this mask?"""
    flat = np.ascontiguousarray(ring, np.float64)
    rings = ffi.new("double *[]", [ffi.from_buffer("double[]", flat)])
    drawn = ffi.gc(ffi.new("dn_rle *"), lib.dn_rle_free)
    check(
        lib.dn_rle_from_polygons(
            drawn, rings, ffi.new("int64_t[]", [len(flat)]), 1, runs.height, runs.width
        )
    )
    return ffi.unpack(drawn.runs, drawn.run_count) == ffi.unpack(runs.runs, runs.run_count)


def png_bytes(pixels: np.ndarray) -> bytes:
    """A grey PNG of 8 or 16 bits."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    height, width = pixels.shape
    rows = pixels.astype(pixels.dtype.newbyteorder(">"))
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, 8 * pixels.dtype.itemsize, 0, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


class Writer:
    """What the writers share. `lost` counts, in words, what the format does not hold."""

    def __init__(self, out: Path, dataset: Dataset, paths: list[Path], link: bool) -> None:
        self.out, self.dataset, self.paths, self.link = out, dataset, paths, link
        self.lost: Counter[str] = Counter()
        self.names = unique_names(paths)

    def image(self, index: int, items: list[Item]) -> None:
        """Writes the labels of an image."""
        raise NotImplementedError

    def finish(self) -> None:
        """Writes what belongs to all images."""

    def take_image(self, index: int, folder: Path) -> Path:
        """Copies the image, or links it, into the folder."""
        path = folder / self.names[index]
        path.parent.mkdir(parents=True, exist_ok=True)
        if self.link:
            os.link(self.paths[index], path)
        else:
            shutil.copyfile(self.paths[index], path)
        return path

    def masked(self, items: list[Item], crowds: bool, boxes: bool) -> list[Item]:
        """The items that the format can hold; the others are counted."""
        kept = []
        for item in items:
            if item.native.crowd and not crowds:
                self.lost["crowds, left out"] += 1
            elif item.runs is None and not boxes:
                self.lost["boxes without a mask, left out"] += 1
            elif item.runs is not None and lib.dn_rle_area(item.runs) == 0:
                self.lost["masks that cover no pixel, left out"] += 1
            else:
                kept.append(item)
        return kept

    def write_names(self) -> None:
        lines = [f"{name}\n" for name in self.dataset.names.values()]
        (self.out / "names.txt").write_text("".join(lines), encoding="utf-8")


def unique_names(paths: list[Path]) -> list[str]:
    """File names, different also without their endings: of those that meet, the folders go before
    the name, and numbers behind it."""
    stems = Counter(path.stem for path in paths)
    names, taken = [], set()
    for path in paths:
        stem = path.stem if stems[path.stem] == 1 else "_".join((*path.parts[-2:-1], path.stem))
        name, number = stem, 1
        while name in taken:
            number += 1
            name = f"{stem}_{number}"
        taken.add(name)
        names.append(name + path.suffix)
    return names
