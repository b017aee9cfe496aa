"""COCO evaluation of a network on any COCO JSON: our evaluator's numbers, pycocotools' beside them.

One pass over the images gives both tables. Boxes are those of Result.boxes, masks are pasted at
the image's own resolution. Where pycocotools is installed it judges the same results; the numbers
that evaluate returns are then COCOeval's, unchanged, and a difference to ours is said.
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
from .evaluation import NUMBERS, Evaluation, evaluate_results
from .names import OTHER_SPELLINGS
from .network import Network

SAME = 1e-12  # as far as the two evaluators may differ
COCO_DETECTIONS = 100  # pycocotools' own limit for a class and image


@dataclass
class Options:
    """What evaluate does besides the usual."""

    conf: float = 0.001
    iou: float = 0.45
    max_det: int = 100
    limit: int = 0  # the first so many images; 0: all
    score: str = "mask"  # ranks masks: mask (score * mean mask probability above .5), or box
    class_agnostic: bool = False  # classes do not count: boxes and masks alone are compared
    out: str | os.PathLike | None = None  # folder for bbox.json, segm.json, evaluation_*
    verbose: bool = True  # print tables, and progress on a terminal

    @property
    def most(self) -> int:
        """Detections of a class and image that count."""
        return max(self.max_det, COCO_DETECTIONS)


def load_truth(path: str | os.PathLike) -> dict:
    """The content of a COCO annotation file."""
    try:
        truth = json.loads(Path(path).read_bytes())
    except ValueError as error:
        raise DataError(f"{path}: not a COCO annotation file ({error!r})") from None
    if not isinstance(truth, dict):
        raise DataError(f"{path}: not a COCO annotation file, it holds no object")
    for key in ("images", "annotations", "categories"):
        if not isinstance(truth.get(key), list):
            raise DataError(f'{path}: not a COCO annotation file, "{key}" is missing')
    return truth


def match_categories(truth: dict, names: Mapping[int, str], agnostic: bool) -> dict[int, int]:
    """{class of the network: category id}, by name, or by ascending id for unnamed classes."""
    ids = sorted(row["id"] for row in truth["categories"])
    if agnostic:
        return dict.fromkeys(names, ids[0])
    by_name = {row.get("name", str(row["id"])): row["id"] for row in truth["categories"]}
    matched = {
        i: by_name[spelling]
        for i, name in names.items()
        for spelling in (OTHER_SPELLINGS.get(name), name)
        if spelling in by_name
    }
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


def collect(
    network: Network, truth: dict, images: Path, options: Options
) -> tuple[list[dict], list]:
    """Results of all images, boxes and masks in one row each; and the ids of these images."""
    category_ids = match_categories(truth, network.names, options.class_agnostic)
    rows = truth["images"]
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


def ask_pycocotools(
    truth: dict, results: list[dict], kind: str, image_ids: list, options: Options
) -> dict[str, Any] | None:
    """COCOeval's twelve numbers by name, and the AP of each class; None without pycocotools."""
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError:
        return None
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        if results:
            detections = coco.loadRes([dict(row) for row in results])
        else:  # loadRes cannot take an empty list
            detections = COCO()
            detections.dataset = {**truth, "annotations": []}
            detections.createIndex()
        judge = COCOeval(coco, detections, kind)
        judge.params.imgIds = image_ids
        judge.params.useCats = int(not options.class_agnostic)
        judge.params.maxDets = [1, 10, options.most]
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    numbers = dict(zip(NUMBERS, _stats(judge), strict=True))
    if not options.class_agnostic:
        precision = judge.eval["precision"][:, :, :, 0, -1]  # (IoUs, recalls, classes)
        numbers["classes"] = {
            row["name"]: _mean(values)
            for row, values in zip(
                coco.loadCats(judge.params.catIds), np.moveaxis(precision, 2, 0), strict=True
            )
        }
    return numbers


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values[values > -1])) if (values > -1).any() else -1.0


def _stats(judge) -> list[float]:
    """The twelve numbers. summarize leaves out some with another limit than 100 detections."""
    if judge.params.maxDets[-1] == COCO_DETECTIONS:
        return judge.stats.tolist()
    precision, recall = judge.eval["precision"], judge.eval["recall"]
    return [
        *(_mean(precision[i, :, :, 0, 2]) for i in (slice(None), 0, 5)),
        *(_mean(precision[:, :, :, area, 2]) for area in (1, 2, 3)),
        *(_mean(recall[:, :, 0, limit]) for limit in (0, 1, 2)),
        *(_mean(recall[:, :, area, 2]) for area in (1, 2, 3)),
    ]


def _own_numbers(evaluation: Evaluation, kind: str, options: Options) -> dict[str, Any]:
    numbers: dict[str, Any] = evaluation.numbers(kind)
    if not options.class_agnostic:
        numbers["classes"] = {
            name: evaluation.numbers(kind, i)["AP"] for i, name in enumerate(evaluation.names)
        }
    return numbers


def _table(kind: str, own: dict, other: dict | None, options: Options) -> str:
    """pycocotools' lines, with both evaluators' numbers where there are two."""
    title = {"bbox": "boxes", "segm": "masks"}[kind]
    lines = [f"{title}:" if other is None else f"{title}: pycocotools | own evaluator"]
    for name in NUMBERS:
        recall, size = name.startswith("AR"), name.partition("_")[2]
        what = f"{'Average Recall' if recall else 'Average Precision':<18} (A{'PR'[recall]})"
        iou = {"AP50": "0.50", "AP75": "0.75"}.get(name, "0.50:0.95")
        limit = {"AR1": 1, "AR10": 10}.get(name, options.most)
        place = f"IoU={iou:<9} | area={size or 'all':>6} | maxDets={limit:>3}"
        values = [own[name]] if other is None else [other[name], own[name]]
        lines.append(f" {what} @[ {place} ] = " + " | ".join(f"{v:0.3f}" for v in values))
    return "\n".join(lines)


def compare(
    evaluation: Evaluation, truth: dict, results: list[dict], kind: str, ids: list, options: Options
) -> dict[str, Any]:
    """The numbers of one kind: pycocotools' where it is installed, and how far ours are away."""
    own = _own_numbers(evaluation, kind, options)
    other = ask_pycocotools(truth, results, kind, ids, options)
    if options.verbose:
        print(_table(kind, own, other, options), flush=True)
    if other is None:
        return own
    difference = max(abs(own[name] - other[name]) for name in NUMBERS)
    if difference > SAME:
        message = f"our numbers differ from pycocotools' by up to {difference:.3g}"
        print(f"{kind}: {message}: please report it", file=sys.stderr)
    elif options.verbose:
        print(f"both agree to {SAME:g} (largest difference {difference:.1e})")
    return {**other, "difference": difference}


def evaluate(
    network: Network,
    annotations: str | os.PathLike,
    images: str | os.PathLike,
    **options: Any,
) -> dict:
    """Runs the network on a COCO JSON's images: {"bbox": numbers, "segm": numbers or None, ...}.

    The options are the fields of Options. There is no segm where the network has no masks or the
    annotations lack some. Numbers are AP, AP50, ..., "classes", the AP of each, and "difference",
    the largest between our evaluator and pycocotools.
    """
    chosen = Options(**options)
    truth = load_truth(annotations)
    start = time.perf_counter()
    found, image_ids = collect(network, truth, Path(images), chosen)
    seconds = time.perf_counter() - start
    bbox, segm = split(found, chosen.score)
    tasks = {"bbox": bbox}
    if network.has_masks and all(row.get("segmentation") for row in truth["annotations"]):
        tasks["segm"] = segm
    evaluation = evaluate_results(
        truth,
        tasks,
        image_ids,
        class_agnostic=chosen.class_agnostic,
        max_detections=chosen.most,
    )
    if chosen.out is not None:
        folder = Path(chosen.out)
        folder.mkdir(parents=True, exist_ok=True)
        for kind, rows in tasks.items():
            (folder / f"{kind}.json").write_text(json.dumps(rows), encoding="utf-8")
        evaluation.save(folder / "evaluation")
    summary: dict[str, Any] = {"images": len(image_ids), "seconds": seconds, "segm": None}
    for kind, rows in tasks.items():
        summary[kind] = compare(evaluation, truth, rows, kind, image_ids, chosen)
    return summary
