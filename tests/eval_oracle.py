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


class Plain:
    """F1, confusion and Darknet's mAP of boxes, by docs/evaluation.md, one detection at a time."""

    def __init__(self, dataset: dict, boxes: list[dict]):
        self.categories = sorted(row["id"] for row in dataset["categories"])
        self.truths = dataset["annotations"]
        self.boxes = sorted(boxes, key=lambda row: (-row["score"], row["image_id"]))

    def overlaps(self, box: dict, category=None) -> list[tuple[float, int]]:
        """(overlap, index) of the truths of its image, of one category or of all."""
        rows = [
            (i, row)
            for i, row in enumerate(self.truths)
            if row["image_id"] == box["image_id"] and category in (None, row["category_id"])
        ]
        if not rows:
            return []
        crowd = [row["iscrowd"] for _, row in rows]
        ious = coco_masks.iou([box["bbox"]], [row["bbox"] for _, row in rows], crowd)[0]
        return [(iou, i) for iou, (i, _) in zip(ious, rows, strict=True)]

    def counts(self, iou: float, threshold: float) -> tuple[int, int, int]:
        """TP, FP, FN of all classes."""
        taken, wrong = set(), 0
        for box in self.boxes:
            if box["score"] < threshold:
                continue
            meets = [m for m in self.overlaps(box, box["category_id"]) if m[0] >= iou]
            free = [m for m in meets if not self.truths[m[1]]["iscrowd"] and m[1] not in taken]
            if free:
                taken.add(max(free)[1])
            elif not any(self.truths[i]["iscrowd"] for _, i in meets):
                wrong += 1
        return len(taken), wrong, sum(not row["iscrowd"] for row in self.truths) - len(taken)

    def confusion(self, iou: float, threshold: float) -> np.ndarray:
        side = len(self.categories)
        cells, taken = np.zeros((side + 1, side + 1), np.int64), set()
        for box in (box for box in self.boxes if box["score"] >= threshold):
            meets = [m for m in self.overlaps(box) if m[0] >= iou]
            free = [
                (overlap, self.truths[i]["category_id"] == box["category_id"], i)
                for overlap, i in meets
                if not self.truths[i]["iscrowd"] and i not in taken
            ]
            column = self.categories.index(box["category_id"])
            if free:
                # Of equals one of its own class, of those the later; of others the first.
                best = max(free)
                if not best[1]:
                    best = min((row for row in free if row[0] == best[0]), key=lambda row: row[2])
                taken.add(best[2])
                cells[self.categories.index(self.truths[best[2]]["category_id"]), column] += 1
            elif not any(self.truths[i]["iscrowd"] for _, i in meets):
                cells[side, column] += 1
        for i, row in enumerate(self.truths):
            if i not in taken and not row["iscrowd"]:
                cells[self.categories.index(row["category_id"]), side] += 1
        return cells

    def darknet_ap(self, category: int, iou: float, points: int) -> float:
        taken, hits, seen, curve = set(), 0, 0, [(0.0, 0.0)]
        objects = [r for r in self.truths if r["category_id"] == category and not r["iscrowd"]]
        for box in (box for box in self.boxes if box["category_id"] == category):
            meets = [m for m in self.overlaps(box, category) if m[0] > iou]
            real = [m for m in meets if not self.truths[m[1]]["iscrowd"]]
            if meets and not real:
                continue
            seen += 1
            if real:
                owner = max(real, key=lambda m: m[0])[1]
                hits += owner not in taken
                taken.add(owner)
            if objects:
                curve.append((hits / len(objects), hits / seen))
        if points:
            recalls = [i / (points - 1) for i in range(points)]
            return float(
                np.mean([max([p for r, p in curve if r >= x], default=0) for x in recalls])
            )
        steps = sorted({r for r, _ in curve})
        best = [max(p for r, p in curve if r >= x) for x in steps[1:]]
        return float(np.sum(np.diff(steps) * best))
