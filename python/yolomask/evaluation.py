"""The library's own evaluator on COCO annotations and results: what src/eval compares, in numpy.

Numbers equal pycocotools' (docs/evaluation.md tells the rules); besides there are F1, precision-
recall curves, the confusion matrix and Darknet's mAP.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ._native import DataError, check, encode_path, ffi, lib

# The twelve numbers, in pycocotools' order, and the kinds by pycocotools' names.
NUMBERS = [
    *("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"),
    *("AR1", "AR10", "AR", "AR_small", "AR_medium", "AR_large"),
]
KINDS = {"bbox": lib.DN_BOXES, "segm": lib.DN_MASKS}
IOUS, RECALLS = 10, 101

TRUTH = np.dtype(
    [
        *(("bbox", "f8", 4), ("area", "f8"), ("id", "i8")),
        *(("class_id", "i4"), ("crowd", "?"), ("mask", "u8")),
    ],
    align=True,
)
DETECTION = np.dtype(
    [("score", "f8"), ("bbox", "f8", 4), ("class_id", "i4"), ("mask", "u8")], align=True
)
assert TRUTH.itemsize == ffi.sizeof("dn_eval_truth")
assert DETECTION.itemsize == ffi.sizeof("dn_eval_detection")


class _Masks:
    """An array of dn_rle, made from COCO's segmentations."""

    def __init__(self, rows: list[dict], sizes: dict):
        self.count = len(rows)
        self.array = ffi.new("dn_rle[]", max(self.count, 1))
        for i, row in enumerate(rows):
            if "segmentation" not in row:
                raise DataError(f"annotation or result {row.get('id', i)} has no segmentation")
            _make_mask(self.array + i, row["segmentation"], sizes[row["image_id"]])

    def __del__(self):
        for i in range(self.count):
            lib.dn_rle_free(self.array + i)

    @property
    def addresses(self) -> np.ndarray:
        start = int(ffi.cast("uintptr_t", self.array))
        return start + ffi.sizeof("dn_rle") * np.arange(self.count, dtype=np.uint64)


def _make_mask(out, segmentation, size: tuple[int, int]) -> None:
    if isinstance(segmentation, list):
        rings = [np.ascontiguousarray(ring, np.float64) for ring in segmentation]
        pointers = ffi.new("double *[]", [ffi.from_buffer("double[]", ring) for ring in rings])
        counts = ffi.new("int64_t[]", [ring.size // 2 for ring in rings])
        check(lib.dn_rle_from_polygons(out, pointers, counts, len(rings), *size))
        return
    size, counts = segmentation["size"], segmentation["counts"]
    if isinstance(counts, list):
        check(lib.dn_rle_from_runs(out, *size, ffi.new("uint32_t[]", counts), len(counts)))
    else:
        text = counts.encode() if isinstance(counts, str) else counts
        check(lib.dn_rle_from_string(out, *size, ffi.new("char[]", text)))


def _table(rows: list[dict], dtype: np.dtype, classes: dict[int, int], boxes: bool) -> np.ndarray:
    table = np.zeros(len(rows), dtype)
    table["class_id"] = [classes[row["category_id"]] for row in rows]
    if boxes and rows:
        table["bbox"] = [row["bbox"] for row in rows]
    return table


class Evaluation:
    """The figures; `kind` is "bbox" or "segm", a class its index in `names`, None: all."""

    def __init__(self, native):
        self._native = ffi.gc(native, lib.dn_evaluation_free)
        info = lib.dn_evaluation_get(native)
        self.images, self.skipped = info.images, info.skipped
        self.names = [ffi.string(info.names[i]).decode() for i in range(info.class_count)]

    def _metrics(self, kind: str, class_id: int | None):
        metrics = lib.dn_evaluation_metrics(
            self._native, KINDS[kind], -1 if class_id is None else class_id
        )
        if metrics == ffi.NULL:
            raise KeyError(f"{kind}, class {class_id}: not compared")
        return metrics

    def numbers(self, kind: str, class_id: int | None = None) -> dict[str, float]:
        """COCO's twelve numbers by name; -1 where nothing is labelled."""
        return dict(zip(NUMBERS, self._metrics(kind, class_id).numbers, strict=True))

    def f1(self, kind: str, iou: float = 0.5, class_id: int | None = None, *, best: bool = False):
        """threshold, TP, FP, FN, precision, recall and F1 at IoU .5 or .75: at the score threshold,
        or at the best one."""
        metrics = self._metrics(kind, class_id)
        row = (metrics.best_f1 if best else metrics.f1)[{0.5: 0, 0.75: 1}[iou]]
        return _f1_row(row)

    def darknet(self, kind: str, class_id: int | None = None) -> dict[str, Any]:
        """Darknet's AP (of all classes: the mAP), average IoU and counts."""
        found = self._metrics(kind, class_id).darknet
        return {"AP": found.ap, "average_iou": found.average_iou, **_f1_row(found.counts)}

    def precision(self, kind: str, class_id: int) -> np.ndarray:
        """(10 IoUs, 101 recalls); -1 where nothing is labelled."""
        curves = lib.dn_evaluation_precision(self._native, KINDS[kind], class_id)
        if curves == ffi.NULL:
            raise KeyError(f"{kind}, class {class_id}: not compared")
        return _array(curves, (IOUS, RECALLS), np.float64)

    def confusion(self, kind: str) -> np.ndarray:
        """(classes + 1, classes + 1): rows the truth, columns what was found; last: background."""
        cells = lib.dn_evaluation_confusion(self._native, KINDS[kind])
        if cells == ffi.NULL:
            raise KeyError(f"{kind}: not compared")
        side = len(self.names) + 1
        return _array(cells, (side, side), np.int64)

    def save(self, stem: str | os.PathLike) -> None:
        """Writes STEM_metrics.json, STEM_pr.csv and STEM_confusion.csv."""
        check(lib.dn_evaluation_save(self._native, encode_path(stem)))


def _f1_row(row) -> dict[str, Any]:
    return {
        "threshold": row.threshold,
        "TP": row.true_positives,
        "FP": row.false_positives,
        "FN": row.false_negatives,
        "precision": row.precision,
        "recall": row.recall,
        "F1": row.f1,
    }


def _array(pointer, shape: tuple[int, int], dtype) -> np.ndarray:
    size = shape[0] * shape[1] * np.dtype(dtype).itemsize
    return np.frombuffer(ffi.buffer(pointer, size), dtype).reshape(shape).copy()


def warn(sentence: str) -> None:
    print(sentence, file=sys.stderr)


class Evaluator:
    """Collects images and gives the Evaluation. The options are fields of dn_evaluator_options."""

    def __init__(
        self,
        names: Sequence[str],
        category_ids: Sequence[int] | None = None,
        *,
        on_warning: Callable[[str], None] = warn,
        **options: Any,
    ):
        texts = [ffi.new("char[]", name.encode()) for name in names]
        self._warn = ffi.callback(
            "void(void *, const char *)",
            lambda _, text: on_warning(ffi.string(text).decode("utf-8", "replace")),
        )
        ids = ffi.NULL if category_ids is None else ffi.new("int64_t[]", list(category_ids))
        fields = {
            "class_count": len(names),
            "names": ffi.new("char *[]", texts),
            "category_ids": ids,
            "warn": self._warn,
            **options,
        }
        out = ffi.new("dn_evaluator **")
        check(lib.dn_evaluator_create(ffi.new("dn_evaluator_options *", fields), out))
        self._native = ffi.gc(out[0], lib.dn_evaluator_free)

    def add(self, ids: Sequence[int], truths: tuple, boxes: tuple, masks: tuple) -> None:
        """Images by id. truths, boxes and masks are tables (TRUTH, DETECTION), image after image,
        each with the number of rows of every image."""
        images = ffi.new("dn_eval_image[]", max(len(ids), 1))
        starts = [0, 0, 0]
        kinds = ("dn_eval_truth *", "dn_eval_detection *", "dn_eval_detection *")
        pointers = [
            ffi.cast(kind, ffi.from_buffer(table))
            for kind, (table, _) in zip(kinds, (truths, boxes, masks), strict=True)
        ]
        for i, image_id in enumerate(ids):
            image = images[i]
            counts = [int(counts[i]) for _, counts in (truths, boxes, masks)]
            image.id, image.truth_count = image_id, counts[0]
            image.truths = pointers[0] + starts[0]
            for kind in range(2):
                image.detections[kind] = pointers[1 + kind] + starts[1 + kind]
                image.detection_count[kind] = counts[1 + kind]
            starts = [start + count for start, count in zip(starts, counts, strict=True)]
        check(lib.dn_evaluator_add(self._native, images, len(ids)))

    def run(self) -> Evaluation:
        out = ffi.new("dn_evaluation **")
        check(lib.dn_evaluator_run(self._native, out))
        return Evaluation(out[0])


def _by_image(rows: list[dict], ids: Sequence[int]) -> tuple[list[dict], list[int]]:
    """The rows of these images, image after image, and how many each has."""
    groups = defaultdict(list)
    for row in rows:
        groups[row["image_id"]].append(row)
    return [row for i in ids for row in groups[i]], [len(groups[i]) for i in ids]


def evaluate_results(
    truth: dict,
    results: dict[str, list[dict]],
    image_ids: Sequence | None = None,
    **options: Any,
) -> Evaluation:
    """Results in COCO's form against a COCO dataset: {"bbox": rows, "segm": rows}, one of both or
    both. Of the dataset images, annotations and categories are read; images are those of image_ids,
    or all. The options are Evaluator's."""
    for kind in results:
        if kind not in KINDS:
            raise ValueError(f'{kind!r} results: "bbox" or "segm" are wanted')
    try:
        return _evaluate(truth, results, image_ids, options)
    except KeyError as error:
        raise DataError(f"an annotation or result has no {error}") from None


def _evaluate(truth: dict, results: dict, image_ids: Sequence | None, options: dict) -> Evaluation:
    categories = sorted(truth["categories"], key=lambda row: row["id"])
    classes = {row["id"]: i for i, row in enumerate(categories)}
    sizes = {row["id"]: (row.get("height"), row.get("width")) for row in truth["images"]}
    ids = sorted(set(sizes if image_ids is None else image_ids))
    masks = "segm" in results
    names = [str(row.get("name", row["id"])) for row in categories]
    evaluator = Evaluator(names, masks=masks, **options)
    known = [row for row in truth["annotations"] if row["category_id"] in classes]
    rows, truth_counts = _by_image(known, ids)
    truths = _table(rows, TRUTH, classes, "bbox" in results)
    truths["id"] = [row["id"] for row in rows]
    truths["area"] = [row["area"] for row in rows]
    truths["crowd"] = [bool(row.get("iscrowd", 0)) for row in rows]
    kept = [_Masks(rows, sizes)] if masks else []
    if masks:
        truths["mask"] = kept[0].addresses
    tables = []
    for kind in ("bbox", "segm"):
        found = [row for row in results.get(kind, []) if row["category_id"] in classes]
        found, counts = _by_image(found, ids)
        table = _table(found, DETECTION, classes, kind == "bbox")
        table["score"] = [row["score"] for row in found]
        if kind == "segm" and masks:
            kept.append(_Masks(found, sizes))
            table["mask"] = kept[-1].addresses
        tables.append((table, counts))
    # Ids other than integers, which COCO has not, are replaced by their order.
    plain = all(isinstance(i, int) for i in ids)
    evaluator.add(ids if plain else range(len(ids)), (truths, truth_counts), *tables)
    return evaluator.run()
