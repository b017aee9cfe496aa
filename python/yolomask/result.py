"""What a Network found in one image."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import drawing
from ._native import ffi
from .boxes import Boxes
from .images import InFile, OnDevice
from .masks import Masks, MasksOnDevice, StringMasks

# COCO's category ids of the 80 classes, in order: 1 to 90 without these ten.
COCO_IDS = [i for i in range(1, 91) if i not in {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}]


def _instance_type() -> np.dtype:
    """dn_instance as NumPy sees it."""
    kinds = {"int32_t": "i4", "float": "f4", "dn_box": ("f4", 4), "float *": "u8"}
    fields = ffi.typeof("dn_instance").fields
    return np.dtype(
        {
            "names": [name for name, _ in fields],
            "formats": [kinds[field.type.cname.replace("const ", "")] for _, field in fields],
            "offsets": [field.offset for _, field in fields],
            "itemsize": ffi.sizeof("dn_instance"),
        }
    )


INSTANCE = _instance_type()

TOLERANCE = 1.0  # pixels that outlines in text files may be off, for a seventh of the points


def _masks(native, rows: np.ndarray, shape: tuple[int, int], device: str) -> Masks:
    """A dn_result's, in the form that it has."""
    count, side = native.instance_count, native.mask_size
    boxes = rows["mask_box"].copy()
    if native.device_masks:
        handle, native.device_masks = native.device_masks, ffi.NULL
        return MasksOnDevice(handle, side, boxes, shape, device)
    if native.rle:
        text = bytes(ffi.buffer(native.rle, native.rle_bytes)).decode("ascii")
        return StringMasks(text.split("\0")[:count], boxes, shape, device)
    cells = np.full((count, side, side), np.nan, np.float32)
    there = rows["mask"] != 0  # the masks of these lie one after the other
    size = 4 * side * side * int(np.count_nonzero(there))
    if size > 0:
        buffer = ffi.buffer(native.masks, size)
        cells[there] = np.frombuffer(buffer, np.float32).reshape(-1, side, side)
    return Masks(cells, boxes, shape, device)


class Result:
    """Objects of one image, by falling score.

    orig_img is the image as the caller gave it (RGB, or BGR where `bgr`), orig_shape its (height,
    width), path its file or None, names {class id: name}, speed the milliseconds of each step.
    boxes always is a Boxes; masks is None where the network has no mask branch.
    """

    def __init__(
        self,
        orig_img: np.ndarray | OnDevice | InFile,
        path: str | None,
        names: dict[int, str],
        boxes: Boxes,
        masks: Masks | None,
        mask_scores: np.ndarray,
        speed: dict[str, float],
        bgr: bool = False,
    ) -> None:
        self._pixels = orig_img  # or what brings them from a GPU or a file
        self.orig_shape: tuple[int, int] = orig_img.shape[:2]
        self.path = path
        self.names = names
        self.boxes = boxes
        self.masks = masks
        self.mask_scores = mask_scores  # (objects): score * mean mask probability above .5
        self.speed = speed
        self.bgr = bgr

    @property
    def orig_img(self) -> np.ndarray:
        if isinstance(self._pixels, OnDevice | InFile):
            self._pixels = self._pixels.bring()
        return self._pixels

    @classmethod
    def from_native(cls, native, pixels, path, names, bgr, clip, device="cpu") -> Result:
        """Copies what a dn_result of a network on `device` holds, but for masks on a GPU, which are
        taken away."""
        shape = (native.height, native.width)
        count, side = native.instance_count, native.mask_size
        rows = np.frombuffer(ffi.buffer(native.instances, count * INSTANCE.itemsize), INSTANCE)
        data = np.empty((count, 6), np.float32)
        data[:, :4] = rows["box"]
        if clip:
            limits = np.array([shape[1], shape[0], shape[1], shape[0]], np.float32)
            np.minimum(np.maximum(data[:, :4], 0), limits, out=data[:, :4])
        data[:, 4], data[:, 5] = rows["score"], rows["class_id"]
        masks = None
        if side > 0:
            masks = _masks(native, rows, shape, device)
        speed = {
            "preprocess": native.preprocess_ms,
            "inference": native.network_ms,
            "postprocess": native.postprocess_ms,
        }
        scores = rows["mask_score"].copy()
        return cls(pixels, path, names, Boxes(data, shape, device), masks, scores, speed, bgr)

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index) -> Result:
        """The objects that an index, a slice, a list or a bool array picks."""
        if isinstance(index, int | np.integer):
            if not -len(self) <= index < len(self):
                raise IndexError(f"object {index} of {len(self)}")
            index = [index]
        masks = None if self.masks is None else self.masks[index]
        scores = self.mask_scores[index]
        boxes = self.boxes[index]
        return Result(
            self._pixels, self.path, self.names, boxes, masks, scores, self.speed, self.bgr
        )

    def __iter__(self) -> Iterator[Result]:
        return (self[i] for i in range(len(self)))

    def to_coco(
        self,
        image_id: int,
        category_ids: Mapping[int, int] | Sequence[int] | None = None,
    ) -> list[dict]:
        """COCO results, with `segmentation` and `mask_score` where there are masks (to have them
        scored, strip `bbox`).

        category_ids gives each class its id, by default COCO's own for 80 classes, else class + 1;
        objects of a class that a mapping lacks are left out.
        """
        if category_ids is None:
            coco = len(self.names) == len(COCO_IDS)
            category_ids = COCO_IDS if coco else [i + 1 for i in range(len(self.names))]
        if not isinstance(category_ids, Mapping):
            category_ids = dict(enumerate(category_ids))
        runs = self.masks.rle if self.masks else None
        rows = []
        table = self.boxes.data.astype(float).tolist()
        for i, (x0, y0, x1, y1, score, class_id) in enumerate(table):
            if int(class_id) not in category_ids:
                continue
            row = {
                "image_id": image_id,
                "category_id": int(category_ids[int(class_id)]),
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "score": score,
            }
            if runs:
                row["segmentation"] = runs[i]
                row["mask_score"] = float(self.mask_scores[i])
            rows.append(row)
        return rows

    def summary(self) -> list[dict]:
        """One dictionary an object: name, class, confidence, box; segments and area of a mask."""
        rows = []
        outlines = self.masks.outlines(TOLERANCE) if self.masks else []
        areas = self.masks.area.tolist() if self.masks else []
        for i, (*corners, score, class_id) in enumerate(self.boxes.data.astype(float).tolist()):
            row: dict[str, Any] = {
                "name": self.names[int(class_id)],
                "class": int(class_id),
                "confidence": round(score, 5),
                "box": {
                    k: round(v, 2) for k, v in zip(("x1", "y1", "x2", "y2"), corners, strict=True)
                },
            }
            if self.masks:
                row["segments"] = dict(zip("xy", outlines[i].T.tolist(), strict=True))
                row["area"] = areas[i]
            rows.append(row)
        return rows

    def to_json(self) -> str:
        """The summary as JSON text."""
        return json.dumps(self.summary(), indent=2)

    def to_supervision(self) -> Any:
        """supervision.Detections, masks included."""
        try:
            import supervision
        except ImportError as error:
            raise ImportError(
                "to_supervision needs the package: pip install supervision"
            ) from error
        ids = self.boxes.cls.numpy().astype(int)
        return supervision.Detections(
            xyxy=self.boxes.xyxy.numpy(),
            mask=self.masks.data.numpy() if self.masks else None,
            confidence=self.boxes.conf.numpy(),
            class_id=ids,
            data={"class_name": np.array([self.names[i] for i in ids.tolist()])},
        )

    def plot(
        self, *, masks: bool = True, boxes: bool = True, labels: bool = True, conf: bool = True
    ) -> np.ndarray:
        """A copy of the image with its objects drawn, in the image's channel order."""
        return drawing.draw(self, masks=masks, boxes=boxes, labels=labels, conf=conf)

    def save(self, path: str | os.PathLike, **what: bool) -> None:
        """Writes the picture that plot(**what) gives; the ending names the format."""
        picture = self.plot(**what)
        drawing.write_picture(path, picture[..., ::-1] if self.bgr else picture)

    def save_txt(self, path: str | os.PathLike, save_conf: bool = False) -> None:
        """Writes YOLO-seg rows `class x y x y ...` as fractions of the image; an object without a
        mask gives the row `class cx cy w h`; with save_conf the score follows."""
        scale = np.float32(self.orig_shape[::-1])
        outlines = self.masks.outlines(TOLERANCE) if self.masks else [()] * len(self)
        lines = []
        for i, outline in enumerate(outlines):
            numbers = (outline / scale).ravel() if len(outline) else self.boxes.xywhn[i]
            row = [str(int(self.boxes.cls[i])), *(f"{v:.6g}" for v in numbers.tolist())]
            lines.append(" ".join(row + [f"{self.boxes.conf[i]:.6g}"] * save_conf) + "\n")
        Path(path).write_text("".join(lines), encoding="utf-8")

    def save_crop(self, folder: str | os.PathLike, stem: str | None = None) -> list[Path]:
        """Writes every object as <folder>/<class>/<stem>_<number>.png, cut out by its mask (the
        rest is transparent), or by its box where there are no masks."""
        stem = stem or (Path(self.path).stem if self.path else "image")
        image = self.orig_img[..., ::-1] if self.bgr else self.orig_img
        paths = []
        for i in range(len(self)):
            class_id = int(self.boxes.cls[i])
            name = re.sub(r"[^\w .-]", "_", self.names[class_id]).strip(" .") or str(class_id)
            pixels = self._cut(image, i)
            if pixels.size == 0:
                continue
            path = Path(folder) / name / f"{stem}_{i + 1}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            drawing.write_picture(path, pixels)
            paths.append(path)
        return paths

    def _cut(self, image: np.ndarray, i: int) -> np.ndarray:
        """The smallest rectangle around an object: RGBA by its mask, RGB by its box."""
        if self.masks is None:
            x0, y0 = np.floor(self.boxes.xyxy[i, :2]).astype(int).tolist()
            x1, y1 = np.ceil(self.boxes.xyxy[i, 2:]).astype(int).tolist()
            return image[y0:y1, x0:x1]
        left, top, mask = self.masks.crop(i)
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if rows.size == 0:
            return np.zeros((0, 0, 4), np.uint8)
        mask = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        top, left = top + int(rows[0]), left + int(columns[0])
        colour = image[top : top + mask.shape[0], left : left + mask.shape[1]]
        return np.dstack([colour, mask.astype(np.uint8) * 255])
