"""Writers of labels: COCO JSON, YOLO-seg rows, LabelMe JSON, instance label PNGs.

Each writes images one after the other and counts what its format cannot hold. Masks are the same
to the pixel when the library reads them back; where a polygon does not draw its mask again, because
the format wants fractions or one ring, the outline of the mask's pixels is written instead.
"""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from ._native import ffi, lib
from .datasets import Dataset, decode
from .label_writer import Item, Writer, draws, outlines, png_bytes
from .masks import coco_rle


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
