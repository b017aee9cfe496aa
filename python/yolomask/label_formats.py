"""Writers of labels: COCO JSON, YOLO-seg rows, LabelMe JSON, instance label PNGs.

Each writes images one after the other and counts what its format cannot hold. Masks are the same
to the pixel when the library reads them back; where a polygon does not draw its mask again, because
the format wants fractions or one ring, the outline of the mask's pixels is written instead.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import struct
import zlib
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ._native import check, ffi, lib
from .datasets import Dataset, decode
from .masks import coco_rle


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


class CocoWriter(Writer):
    """One JSON; the images stay where they are."""

    def __init__(self, out: Path, dataset: Dataset, paths: list[Path], link: bool) -> None:
        super().__init__(out, dataset, paths, link)
        self.root = Path(os.path.commonpath([path.parent for path in paths]))
        ids = list(dataset.view.category_ids[0 : dataset.view.class_count])
        self.category_ids = ids if min(ids, default=0) >= 0 else list(range(1, len(ids) + 1))
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []

    def image(self, index: int, items: list[Item]) -> None:
        height, width = items[0].shape if items else self.dataset.size(index)
        image_id = self.dataset.view.images[index].id
        name = self.paths[index].relative_to(self.root).as_posix()
        self.images.append({"id": image_id, "file_name": name, "width": width, "height": height})
        for item in items:
            segmentation: Any = []
            if item.rings is not None:
                segmentation = [ring.reshape(-1).tolist() for ring in item.rings]
            elif item.runs is not None:
                segmentation = coco_rle(item.runs)
            self.annotations.append(
                {
                    "id": item.native.id,
                    "image_id": image_id,
                    "category_id": self.category_ids[item.native.class_id],
                    "bbox": item.box,
                    "area": item.area,
                    "iscrowd": int(item.native.crowd),
                    "segmentation": segmentation,
                }
            )

    def finish(self) -> None:
        pairs = zip(self.category_ids, self.dataset.names.values(), strict=True)
        content = {
            "images": self.images,
            "annotations": self.annotations,
            "categories": [{"id": number, "name": name} for number, name in pairs],
        }
        self.out.parent.mkdir(parents=True, exist_ok=True)
        self.out.write_text(json.dumps(content), encoding="utf-8")


class YoloWriter(Writer):
    """images/, labels/ with a row an object, names.txt."""

    def image(self, index: int, items: list[Item]) -> None:
        name = Path(self.take_image(index, self.out / "images").name)
        rows = [self._row(item) for item in self.masked(items, crowds=False, boxes=True)]
        path = self.out / "labels" / name.with_suffix(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{row}\n" for row in rows), encoding="ascii")

    def _row(self, item: Item) -> str:
        class_id = item.native.class_id
        if item.runs is None:
            x, y, w, h = item.box
            height, width = item.shape
            numbers = [(x + w / 2) / width, (y + h / 2) / height, w / width, h / height]
        else:
            numbers = self._fractions(item).reshape(-1).tolist()
        return " ".join([str(class_id), *map(repr, numbers)])

    @staticmethod
    def _fractions(item: Item) -> np.ndarray:
        """One ring: the labelled one where it is the only one, and still draws the mask."""
        size = np.array(item.shape[::-1], np.float64)
        if item.rings is not None and len(item.rings) == 1:
            ring = item.rings[0] / size
            if ring.min() >= 0 and ring.max() <= 1 and draws(ring * size, item.runs):
                return ring
        (ring,), _ = outlines(item.runs, lib.DN_CONTOUR_SINGLE)
        return np.round(ring / size, 9)  # far below what moves a pixel's corner

    def finish(self) -> None:
        self.write_names()


class LabelmeWriter(Writer):
    """The images, and beside each its JSON; names.txt."""

    def image(self, index: int, items: list[Item]) -> None:
        path = self.take_image(index, self.out)
        shapes: list[dict[str, Any]] = []
        for number, item in enumerate(self.masked(items, crowds=True, boxes=True), 1):
            parts = self._parts(item)
            group = number if len(parts) > 1 else None
            flags = {"iscrowd": True} if item.native.crowd else {}
            head = {"label": item.name, "group_id": group, "flags": flags}
            shapes += [head | part for part in parts]
        height, width = items[0].shape if items else self.dataset.size(index)
        content = {
            "version": "5.4.1",
            "flags": {},
            "shapes": shapes,
            "imagePath": path.name,
            "imageData": None,
            "imageHeight": height,
            "imageWidth": width,
        }
        path.with_suffix(".json").write_text(json.dumps(content, indent=2), encoding="utf-8")

    def _parts(self, item: Item) -> list[dict[str, Any]]:
        if item.runs is None:
            x, y, w, h = item.box
            return [{"shape_type": "rectangle", "points": [[x, y], [x + w, y + h]]}]
        rings: list[np.ndarray] = item.rings or []
        if not rings:
            rings, holes = outlines(item.runs, lib.DN_CONTOUR_RINGS)
            if holes:
                self.lost["objects with holes, which no polygon holds: written as masks"] += 1
                return [self._mask(item)]
        return [{"shape_type": "polygon", "points": ring.tolist()} for ring in rings]

    @staticmethod
    def _mask(item: Item) -> dict[str, Any]:
        bounds = ffi.new("int32_t[4]")
        lib.dn_rle_bounds(item.runs, bounds)
        x, y, w, h = bounds
        pixels = decode(item.runs)[y : y + h, x : x + w].astype(np.uint8)
        text = base64.b64encode(png_bytes(pixels)).decode("ascii")
        points = [[x, y], [x + w - 1, y + h - 1]]
        return {"shape_type": "mask", "points": points, "mask": text}

    def finish(self) -> None:
        self.write_names()


class PngWriter(Writer):
    """images/, and masks/ with one PNG of 16 bits an image. Smaller objects lie on larger ones."""

    def image(self, index: int, items: list[Item]) -> None:
        kept = self.masked(items, crowds=False, boxes=False)
        if len(kept) > 65535:
            raise ValueError(f"{self.paths[index]}: {len(kept)} objects; a PNG holds 65535")
        height, width = items[0].shape if items else self.dataset.size(index)
        labels = np.zeros((height, width), np.uint16)
        by_area = sorted(range(len(kept)), key=lambda i: -lib.dn_rle_area(kept[i].runs))
        for i in by_area:
            labels[decode(kept[i].runs)] = i + 1
        pixels = np.bincount(labels.reshape(-1), minlength=len(kept) + 1)[1:]
        for item, count in zip(kept, pixels.tolist(), strict=True):
            if count == 0:
                self.lost["objects that lie under others, left out"] += 1
            elif count < lib.dn_rle_area(item.runs):
                self.lost["objects that lost pixels to others above them"] += 1
        if len(self.dataset.names) > 1:
            self.lost["classes of objects"] += len(kept)
        name = Path(self.take_image(index, self.out / "images").name)
        path = self.out / "masks" / name.with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png_bytes(labels))


WRITERS = {"coco": CocoWriter, "yolo": YoloWriter, "labelme": LabelmeWriter, "png": PngWriter}
