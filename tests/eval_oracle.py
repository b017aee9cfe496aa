"""Random COCO data sets with results, and what pycocotools says about them."""

from __future__ import annotations

import contextlib
import io
import time
from itertools import groupby

import numpy as np
from pycocotools import mask as coco_masks
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


def judge(
    dataset, results, kind, *, ids=None, agnostic=False, max_detections=100
) -> tuple[COCOeval, float]:
    """pycocotools' COCOeval behind its steps, and the processor's seconds for evaluate and
    accumulate."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = dataset
        truth.createIndex()
        if results:  # loadRes cannot take an empty list
            found = truth.loadRes([dict(row) for row in results])
        else:
            found = COCO()
            found.dataset = {**dataset, "annotations": []}
            found.createIndex()
        coco = COCOeval(truth, found, kind)
        coco.params.useCats = int(not agnostic)
        coco.params.maxDets = [1, min(10, max_detections), max_detections]  # it sorts them
        if ids is not None:
            coco.params.imgIds = ids
        start = time.process_time()
        coco.evaluate()
        coco.accumulate()
        seconds = time.process_time() - start
        coco.summarize()
    return coco, seconds


def runs_of(mask: np.ndarray) -> list[int]:
    """Uncompressed counts, columns first, zeros first."""
    runs = [(value, len(list(group))) for value, group in groupby(mask.T.ravel())]
    return ([0] if runs[0][0] else []) + [count for _, count in runs]


class RandomSet:
    """Images, annotations and results with everything that COCO allows: crowds, polygons, both
    kinds of RLE, equal scores, doubled and empty boxes, empty images and classes, more than 100
    detections, areas that are not the masks', and sometimes an annotation with id 0."""

    def __init__(self, seed: int):
        self.random = random = np.random.default_rng(seed)
        self.height, self.width = (int(n) for n in random.integers(30, 150, 2))
        self.categories = [int(c) for c in random.permutation(20)[: random.integers(1, 5)]]
        self.images = [int(i) for i in random.permutation(50)[: random.integers(1, 7)]]
        self.first_id = 0 if random.random() < 0.15 else 1
        self.annotations: list[dict] = []
        for image in self.images:
            if random.random() < 0.85:
                for _ in range(random.integers(0, 8)):
                    self.annotations.append(self.annotation(image))
        self.boxes = [row for i in self.images if random.random() < 0.85 for row in self.results(i)]
        random.shuffle(self.boxes)
        self.masks = [self.as_mask(row) for row in self.boxes]
        size = {"height": self.height, "width": self.width}
        self.dataset = {
            "images": [{"id": i, **size} for i in self.images],
            "annotations": self.annotations,
            "categories": [{"id": c, "name": str(c)} for c in self.categories],
        }

    def box(self) -> list[float]:
        random = self.random
        x, y = random.uniform(0, self.width - 4), random.uniform(0, self.height - 4)
        w, h = random.uniform(2, self.width - x), random.uniform(2, self.height - y)
        if random.random() < 0.03:
            w = 0.0
        if random.random() < 0.5:
            x, y, w, h = (np.floor(v) for v in (x, y, w, h))
        return [float(v) for v in (x, y, w, h)]

    def mask(self, box) -> np.ndarray:
        x, y, w, h = (max(round(v), 0) for v in box)
        mask = np.zeros((self.height, self.width), np.uint8, order="F")
        mask[y : y + h, x : x + w] = 1
        if self.random.random() < 0.3:
            mask[y + h // 3 : y + h // 2, x + w // 3 : x + w // 2] = 0
        return mask

    def rle(self, mask) -> dict:
        return {
            "size": [self.height, self.width],
            "counts": coco_masks.encode(mask)["counts"].decode(),
        }

    def annotation(self, image: int) -> dict:
        random, box = self.random, self.box()
        mask, crowd, form = self.mask(box), int(random.random() < 0.15), random.random()
        x, y, w, h = box
        segmentation = [[x, y, x + w, y, x + w, y + h, x, y + h]]
        if crowd or form < 0.3:
            segmentation = {"size": [self.height, self.width], "counts": runs_of(mask)}
        elif form < 0.6:
            segmentation = self.rle(mask)
        return {
            "id": self.first_id + len(self.annotations),
            "image_id": image,
            "category_id": int(random.choice(self.categories)),
            "bbox": box,
            "area": float(mask.sum()) if random.random() < 0.7 else float(random.uniform(0, 12000)),
            "iscrowd": crowd,
            "segmentation": segmentation,
        }

    def results(self, image: int) -> list[dict]:
        random = self.random
        truths = [row for row in self.annotations if row["image_id"] == image]
        rows: list[dict] = []
        for _ in range(random.integers(0, 12) if random.random() < 0.95 else 230):
            box, category = self.box(), int(random.choice(self.categories))
            if truths and random.random() < 0.85:
                truth = truths[random.integers(len(truths))]
                shake = random.integers(-3, 4, 4) * (random.random() < 0.4)
                box = [float(max(v, 0)) for v in np.array(truth["bbox"]) + shake]
                if random.random() < 0.9:
                    category = truth["category_id"]
            tied = random.random() < 0.4
            score = float(random.integers(0, 6) / 5) if tied else float(random.random())
            row = {"image_id": image, "category_id": category, "bbox": box, "score": score}
            rows += [row, dict(row)] if random.random() < 0.05 else [row]
        return rows

    def as_mask(self, row: dict) -> dict:
        kept = {k: row[k] for k in ("image_id", "category_id", "score")}
        return {**kept, "segmentation": self.rle(self.mask(row["bbox"]))}


def pooled(seeds) -> tuple[dict, list[dict], list[dict]]:
    """Many random sets as one: dataset, boxes and masks."""
    images, annotations, boxes, masks, categories = [], [], [], [], set()
    for seed in seeds:
        made = RandomSet(seed)
        categories.update(made.categories)
        images += [{**row, "id": row["id"] + 100 * seed} for row in made.dataset["images"]]
        for rows, kept in (
            (made.annotations, annotations),
            (made.boxes, boxes),
            (made.masks, masks),
        ):
            kept += [{**row, "image_id": row["image_id"] + 100 * seed} for row in rows]
    for i, row in enumerate(annotations):
        row["id"] = i + 1
    dataset = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": c, "name": str(c)} for c in sorted(categories)],
    }
    return dataset, boxes, masks
