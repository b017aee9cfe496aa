"""results.csv of a training: a row each ten iterations and one a validation, empty cells where
nothing was measured. Iterations count within a stage; a resumed training appends."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ._native import DataError

OBJECT_COLUMNS = (  # all that a results.csv had before it had a classifier's
    *("iteration", "stage", "images", "loss", "average_loss", "rate", "seconds"),
    *("mask_iou", "box_ap", "box_ap50", "mask_ap", "mask_ap50"),
)
COLUMNS = (*OBJECT_COLUMNS, "top_1", "top_5")


@dataclass
class Run:
    """The rows of a training in order, a column an array with NaN for empty cells."""

    columns: dict[str, np.ndarray]
    stages: list[tuple[str, int]]  # (stage, its first row)

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[name]

    def __len__(self) -> int:
        return len(self.columns["iteration"])

    @property
    def x(self) -> np.ndarray:
        """Iterations of all stages, one stage behind the other."""
        steps, before = self["iteration"].copy(), 0.0
        ends = [first for _, first in self.stages[1:]] + [len(self)]
        for (_, first), end in zip(self.stages, ends, strict=True):
            steps[first:end] += before
            before = steps[end - 1]
        return steps

    def best(self) -> tuple[str, int] | None:
        """The column that chooses the best weights and the row where it is highest: mask AP where
        masks were measured, else AP50 of boxes; of a classifier top 1."""
        for name in ("mask_ap", "box_ap50", "top_1"):
            if not np.isnan(self[name]).all():
                return name, int(np.nanargmax(self[name]))
        return None


def _parse(path: Path, number: int, name: str, text: str) -> float:
    try:
        return float(text) if text else float("nan")
    except ValueError:
        raise DataError(f"{path}:{number}: {name} is {text!r}, a number is wanted") from None


def read_results(path: Path) -> Run:
    """Reads results.csv. Rows of one iteration are joined; where a training was resumed from before
    its end, what it did again replaces what was there. Before its tenth iteration it has no row."""
    rows: list[dict] = []
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        if tuple(next(reader, ())) not in (COLUMNS, OBJECT_COLUMNS):
            raise DataError(f"{path}:1: the first line must be {','.join(COLUMNS)}")
        for cells in reader:
            if len(cells) not in (len(COLUMNS), len(OBJECT_COLUMNS)):
                continue  # a line that a killed training did not finish
            row = dict.fromkeys(COLUMNS, "") | dict(zip(COLUMNS, cells, strict=False))
            for name in COLUMNS:
                if name != "stage":
                    row[name] = _parse(path, reader.line_num, name, row[name])
            _add(rows, row)
    columns = {n: np.array([row[n] for row in rows], float) for n in COLUMNS if n != "stage"}
    names = [row["stage"] for row in rows]
    firsts = [i for i in range(len(rows)) if i == 0 or names[i] != names[i - 1]]
    return Run(columns, [(names[i], i) for i in firsts])


def _add(rows: list[dict], row: dict) -> None:
    while rows and rows[-1]["stage"] == row["stage"] and rows[-1]["iteration"] > row["iteration"]:
        rows.pop()
    last = rows[-1] if rows else None
    if last and (last["stage"], last["iteration"]) == (row["stage"], row["iteration"]):
        last.update({n: v for n, v in row.items() if n == "stage" or not np.isnan(v)})
    else:
        rows.append(row)
