"""What a Network found in one image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ._native import ffi
from .boxes import Boxes
from .masks import Masks

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


class Result:
    """Objects of one image, by falling score.

    orig_img is the image as the caller gave it (RGB, or BGR where `bgr`), orig_shape its (height,
    width), path its file or None, names {class id: name}, speed the milliseconds of each step.
    boxes always is a Boxes; masks is None where the network has no mask branch.
    """

    def __init__(
        self,
        orig_img: np.ndarray,
        path: str | None,
        names: dict[int, str],
        boxes: Boxes,
        masks: Masks | None,
        mask_scores: np.ndarray,
        speed: dict[str, float],
        bgr: bool = False,
    ) -> None:
        self.orig_img = orig_img
        self.orig_shape: tuple[int, int] = orig_img.shape[:2]
        self.path = path
        self.names = names
        self.boxes = boxes
        self.masks = masks
        self.mask_scores = mask_scores  # (objects): score * mean mask probability above .5
        self.speed = speed
        self.bgr = bgr

    @classmethod
    def from_native(cls, native, pixels, path, names, bgr) -> Result:
        """Copies what a dn_result holds."""
        shape = (native.height, native.width)
        count, side = native.instance_count, native.mask_size
        rows = np.frombuffer(ffi.buffer(native.instances, count * INSTANCE.itemsize), INSTANCE)
        data = np.empty((count, 6), np.float32)
        limits = np.array([shape[1], shape[0], shape[1], shape[0]], np.float32)
        data[:, :4] = np.clip(rows["box"], 0, limits)
        data[:, 4], data[:, 5] = rows["score"], rows["class_id"]
        masks = None
        if side > 0:
            cells = np.full((count, side, side), np.nan, np.float32)
            for i in np.flatnonzero(rows["mask"]):
                source = ffi.buffer(native.instances[i].mask, side * side * 4)
                cells[i] = np.frombuffer(source, np.float32).reshape(side, side)
            masks = Masks(cells, rows["mask_box"].copy(), shape)
        speed = {
            "preprocess": native.preprocess_ms,
            "inference": native.network_ms,
            "postprocess": native.postprocess_ms,
        }
        scores = rows["mask_score"].copy()
        return cls(pixels, path, names, Boxes(data, shape), masks, scores, speed, bgr)

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
            self.orig_img, self.path, self.names, boxes, masks, scores, self.speed, self.bgr
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
