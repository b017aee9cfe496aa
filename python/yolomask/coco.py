"""COCO evaluation of a network on any COCO JSON: results files and pycocotools' own numbers.

One pass over the images gives both tables. Boxes are those of Result.boxes, masks are pasted at
the image's own resolution; the figures are COCOeval's, unchanged.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ._native import DataError
from .network import Network

# The names of COCOeval's twelve numbers, in its order.
NUMBERS = [
    *("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"),
    *("AR1", "AR10", "AR", "AR_small", "AR_medium", "AR_large"),
]


@dataclass
class Options:
    """What evaluate does besides the usual."""

    conf: float = 0.001
    iou: float = 0.45
    max_det: int = 100
    limit: int = 0  # the first so many images; 0: all
    score: str = "box"  # ranks masks: box, or mask (score * mean mask probability above .5)
    class_agnostic: bool = False  # classes do not count: boxes and masks alone are compared
    out: str | os.PathLike | None = None  # folder for bbox.json and segm.json
    verbose: bool = True  # print tables, and progress on a terminal


def load_truth(path: str | os.PathLike) -> Any:
    """The COCO object of a JSON file."""
    try:
        from pycocotools.coco import COCO
    except ImportError as error:
        raise ImportError("evaluation needs pycocotools: pip install pycocotools") from error
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO(os.fspath(path))
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        raise DataError(f"{path}: not a COCO annotation file ({error!r})") from None
    for key in ("images", "annotations", "categories"):
        if not isinstance(truth.dataset.get(key), list):
            raise DataError(f'{path}: not a COCO annotation file, "{key}" is missing')
    return truth


def match_categories(truth, names: Mapping[int, str], agnostic: bool) -> dict[int, int]:
    """{class of the network: category id}, by name, or by ascending id for unnamed classes."""
    ids = sorted(truth.getCatIds())
    if agnostic:
        return dict.fromkeys(names, ids[0])
    by_name = {row["name"]: row["id"] for row in truth.loadCats(ids)}
    matched = {i: by_name[name] for i, name in names.items() if name in by_name}
    if matched:
        return matched
    if all(name == str(i) for i, name in names.items()):
        if len(ids) != len(names):
            raise DataError(
                f"the annotations have {len(ids)} categories, the network {len(names)} classes "
                "without names: give names"
            )
        return dict(enumerate(ids))
    raise DataError(
        f"no category of the annotations ({', '.join(sorted(by_name)[:5])}, ...) is a class of "
        f"the network ({', '.join(list(names.values())[:5])}, ...): give other names, or compare "
        "without classes"
    )


def image_path(folder: Path, file_name: str) -> Path:
    """Where an image lies; its name must not lead out of the folder."""
    path = Path(os.path.normpath(folder / file_name))
    if not path.is_relative_to(os.path.normpath(folder)):
        raise DataError(f"{file_name}: leads out of the images folder {folder}")
    return path


def _progress(rows: list, verbose: bool):
    """The rows, with a bar on a terminal."""
    if verbose and sys.stderr.isatty():
        with contextlib.suppress(ImportError):
            from tqdm import tqdm

            return tqdm(rows, unit="image")
    return rows


def collect(network: Network, truth, images: Path, options: Options) -> tuple[list[dict], list]:
    """Results of all images, boxes and masks in one row each; and the ids of these images."""
    category_ids = match_categories(truth, network.names, options.class_agnostic)
    rows = truth.dataset["images"]
    rows = rows[: options.limit] if options.limit > 0 else rows
    found: list[dict] = []
    for row in _progress(rows, options.verbose):
        path = image_path(images, row["file_name"])
        result = network.predict(path, options.conf, options.iou, options.max_det)
        wanted = (row.get("height"), row.get("width"))
        if None not in wanted and wanted != result.orig_shape:
            size, said = ("{1} x {0}".format(*shape) for shape in (result.orig_shape, wanted))
            raise DataError(f"{path}: is {size}, the annotations say {said}")
        found += result.to_coco(row["id"], category_ids)
    return found, [row["id"] for row in rows]


def split(found: list[dict], by: str) -> tuple[list[dict], list[dict]]:
    """The bbox results and the segm results, which must have no bbox (areas come from the mask)."""
    bbox = [{k: row[k] for k in ("image_id", "category_id", "bbox", "score")} for row in found]
    segm = [
        {
            "image_id": row["image_id"],
            "category_id": row["category_id"],
            "segmentation": row["segmentation"],
            "score": row["mask_score" if by == "mask" else "score"],
        }
        for row in found
        if "segmentation" in row
    ]
    return bbox, segm


def score(truth, results: list[dict], kind: str, image_ids: list, options: Options) -> dict:
    """COCOeval's twelve numbers by name, and the AP of each class."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    table = io.StringIO()
    with contextlib.redirect_stdout(table):
        if results:
            detections = truth.loadRes([dict(row) for row in results])
        else:  # loadRes cannot take an empty list
            detections = COCO()
            detections.dataset = {**truth.dataset, "annotations": []}
            detections.createIndex()
        judge = COCOeval(truth, detections, kind)
        judge.params.imgIds = image_ids
        judge.params.useCats = int(not options.class_agnostic)
        judge.evaluate()
        judge.accumulate()
        table.seek(0)
        table.truncate()
        judge.summarize()
    if options.verbose:
        print(f"{'boxes' if kind == 'bbox' else 'masks'}:\n{table.getvalue()}", end="", flush=True)
    numbers: dict[str, Any] = dict(zip(NUMBERS, judge.stats.tolist(), strict=True))
    if not options.class_agnostic:
        precision = judge.eval["precision"][:, :, :, 0, -1]  # (IoUs, recalls, classes)
        numbers["classes"] = {
            row["name"]: float(np.mean(values[values > -1])) if (values > -1).any() else -1.0
            for row, values in zip(
                truth.loadCats(judge.params.catIds), np.moveaxis(precision, 2, 0), strict=True
            )
        }
    return numbers


def evaluate(
    network: Network,
    annotations: str | os.PathLike,
    images: str | os.PathLike,
    **options: Any,
) -> dict:
    """Runs the network on a COCO JSON's images: {"bbox": numbers, "segm": numbers or None, ...}.

    The options are the fields of Options. There is no segm where the network has no masks or the
    annotations lack some. Numbers are AP, AP50, ... and "classes", the AP of each.
    """
    chosen = Options(**options)
    truth = load_truth(annotations)
    start = time.perf_counter()
    found, image_ids = collect(network, truth, Path(images), chosen)
    seconds = time.perf_counter() - start
    bbox, segm = split(found, chosen.score)
    tasks = {"bbox": bbox}
    if network.has_masks and all(row.get("segmentation") for row in truth.dataset["annotations"]):
        tasks["segm"] = segm
    if chosen.out is not None:
        folder = Path(chosen.out)
        folder.mkdir(parents=True, exist_ok=True)
        for kind, rows in tasks.items():
            (folder / f"{kind}.json").write_text(json.dumps(rows), encoding="utf-8")
    summary: dict[str, Any] = {"images": len(image_ids), "seconds": seconds, "segm": None}
    for kind, rows in tasks.items():
        summary[kind] = score(truth, rows, kind, image_ids, chosen)
    return summary
