"""Charts of what the evaluator wrote: precision over recall, and which class is taken for which.

<stem>_pr.csv has a row a kind (boxes, masks), class, IoU and recall, <stem>_confusion.csv one a
kind, true class and class that was found instead. Needs matplotlib.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ._native import DataError
from .charts import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, require_pyplot, save_chart

IOUS = {0.5: (BLUE, "-"), 0.75: (VERMILION, "--"), 0.9: (GREEN, "-.")}
STYLES = [(c, d) for d in ("-", "--") for c in (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY)]
KINDS = ("boxes", "masks")
BACKGROUND = "background"
NAMED = 8  # classes with a line and a name of their own
CELLS = 24  # classes that a confusion matrix can show

Curves = dict[str, dict[float, np.ndarray]]  # class -> IoU -> (2, points): recall, precision


def _rows(path: Path, columns: tuple[str, ...]) -> Iterator[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        if tuple(next(reader, ())) != columns:
            raise DataError(f"{path}:1: the first line must be {','.join(columns)}")
        for row in reader:
            if len(row) != len(columns):
                raise DataError(f"{path}:{reader.line_num}: {len(columns)} cells are wanted")
            yield row


def read_pr(path: Path) -> dict[str, Curves]:
    """kind -> class -> IoU -> its curve. Classes without truths have none."""
    points: dict[tuple[str, str, float], list[tuple[float, float]]] = {}
    for kind, name, iou, recall, precision in _rows(
        path, ("kind", "class", "iou", "recall", "precision")
    ):
        if float(precision) >= 0:
            key = (kind, name, round(float(iou), 2))
            points.setdefault(key, []).append((float(recall), float(precision)))
    kinds: dict[str, dict[str, Curves]] = {}
    for (kind, name, iou), curve in points.items():
        kinds.setdefault(kind, {}).setdefault(name, {})[iou] = np.array(sorted(curve)).T
    return kinds


def draw_pr(curves: Curves, what: str, path: Path) -> None:
    """Left the mean over the classes at three IoUs, right the classes at IoU .50."""
    plt = require_pyplot()
    single = len(curves) == 1
    figure, axes = plt.subplots(
        1, 1 if single else 2, figsize=(6.5 if single else 11.5, 5), squeeze=False, sharey=True
    )
    left = axes[0, 0]
    for iou, (colour, dash) in IOUS.items():
        there = [curve[iou] for curve in curves.values() if iou in curve]
        if there:
            recall, precision = np.mean(there, axis=0)
            label = f"IoU {iou:.2f}: AP {100 * precision.mean():.1f}"
            left.plot(recall, precision, color=colour, linestyle=dash, label=label)
    left.set_title(next(iter(curves)) if single else f"mean of {len(curves)} classes", fontsize=10)
    left.set_ylabel(f"precision of {what}")
    if not single:
        _classes_panel(axes[0, 1], {name: curve[0.5] for name, curve in curves.items()})
    for axis in axes[0]:
        axis.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall")
        axis.legend(loc="upper left", bbox_to_anchor=(0, -0.13), ncols=2, fontsize=9)
    figure.tight_layout()
    save_chart(plt, figure, path)


def _classes_panel(axis, curves: dict[str, np.ndarray]) -> None:
    """A line a class; where there are many, only the weakest are named."""
    weakest = sorted(curves, key=lambda name: curves[name][1].mean())
    named = weakest[:NAMED]
    for name in weakest[NAMED:]:
        axis.plot(*curves[name], color="#bbbbbb", linewidth=0.7)
    for name, (colour, dash) in zip(named, STYLES, strict=False):
        label = f"{name}: AP50 {100 * curves[name][1].mean():.1f}"
        axis.plot(*curves[name], color=colour, linestyle=dash, label=label)
    more = len(curves) > NAMED
    title = f"IoU 0.50, the {NAMED} weakest of {len(curves)} classes" if more else "IoU 0.50"
    axis.set_title(title, fontsize=10)


def read_confusion(stem: Path) -> dict[str, tuple[list[str], np.ndarray]]:
    """kind -> (classes, counts): counts[i, j] truths of class i that were found as j; the last row
    is what is no object, the last column what was not found. <stem>_metrics.json has the order."""
    path, metrics = Path(f"{stem}_confusion.csv"), Path(f"{stem}_metrics.json")
    tables: dict[str, tuple[list[str], np.ndarray]] = {}
    if not path.is_file() or not metrics.is_file():
        return tables
    figures = json.loads(metrics.read_text(encoding="utf-8"))
    for kind in KINDS:
        if kind in figures:
            names = [*(one["name"] for one in figures[kind]["classes"]), BACKGROUND]
            tables[kind] = (names, np.zeros((len(names), len(names)), np.int64))
    for kind, truth, detection, count in _rows(path, ("kind", "truth", "detection", "count")):
        names, counts = tables[kind]
        counts[_class(names, truth), _class(names, detection)] = int(count)
    return tables


def _class(names: list[str], name: str) -> int:
    return len(names) - 1 if name == BACKGROUND else names.index(name)


def _most_confused(names: list[str], counts: np.ndarray) -> tuple[list[str], np.ndarray]:
    """The classes with the most errors, in their order, and the last row and column."""
    last = len(names) - 1
    errors = counts.sum(axis=0) + counts.sum(axis=1) - 2 * counts.diagonal()
    kept = np.sort(np.argsort(-errors[:last], kind="stable")[:CELLS])
    kept = np.append(kept, last)
    return [names[i] for i in kept], counts[np.ix_(kept, kept)]


def draw_confusion(names: list[str], counts: np.ndarray, what: str, path: Path) -> None:
    """Counts, coloured by their share of the row."""
    plt = require_pyplot()
    classes = len(names) - 1
    title = f"{what}: what each object was found as"
    if classes > CELLS:
        names, counts = _most_confused(names, counts)
        title += f"\n({CELLS} of {classes} classes: those with the most errors)"
    side = len(names)
    figure, axis = plt.subplots(figsize=(3.2 + 0.5 * side, 2.6 + 0.42 * side), layout="constrained")
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    picture = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for i, j in np.argwhere(counts > 0):
        colour = "black" if shares[i, j] < 0.6 else "white"
        size = 9 if counts.max() < 1000 else 7
        axis.text(j, i, counts[i, j], ha="center", va="center", color=colour, fontsize=size)
    rows, columns = [*names[:-1], "no object"], [*names[:-1], "not found"]
    axis.set_xticks(range(side), columns, rotation=45, ha="right", rotation_mode="anchor")
    axis.set_yticks(range(side), rows)
    axis.set(xlabel="found as", ylabel="labelled as")
    axis.set_title(title, fontsize=10)
    axis.grid(False)
    axis.tick_params(length=0)
    for edge in axis.spines.values():
        edge.set_visible(False)
    figure.colorbar(picture, label="share of the row", shrink=0.8)
    save_chart(plt, figure, path)
