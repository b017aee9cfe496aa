"""What `python -m yolomask report FOLDER` draws of a training: its curves, what validation
measured, samples it learned from, and what it finds in the valid set.

FOLDER is <backup>/<cfg's base> with results.csv; `args` in it says which cfg, data file, stage and
seed trained. The weights lie beside the folder. What is missing is left out: a training that has
not validated yet has its curves.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ._native import DataError
from .charts import AP_LINES, draw_run
from .datasets import Dataset
from .network import Network
from .results_csv import Run, read_results
from .samples import draw_batches, draw_valid
from .validation_charts import draw_confusion, draw_pr, read_confusion, read_pr

KINDS = {"box": "boxes", "mask": "masks"}


@dataclass
class Training:
    """How a run was started."""

    cfg: str | None = None
    data: str | None = None
    weights: str | None = None
    stage: str = "mask"
    seed: int = 0


def read_args(folder: Path) -> Training:
    """The run's `args`: a key=value a line."""
    training = Training()
    path = folder / "args"
    if not path.is_file():
        return training
    lines = path.read_text(encoding="utf-8").splitlines()
    known = dict(line.split("=", 1) for line in lines if "=" in line and line[0] != "#")
    training.cfg, training.data = known.get("cfg") or None, known.get("data") or None
    training.stage = known.get("stage") or training.stage
    training.seed = int(known.get("seed") or 0)
    return training


def find_weights(folder: Path) -> Path | None:
    """The best weights that the run has written, beside its folder."""
    for kind in ("best", "final", "last"):
        path = folder.parent / f"{folder.name}_{kind}.weights"
        if path.is_file():
            return path
    return None


def draw_validation(folder: Path) -> list[Path]:
    """Charts of the newest files that the evaluator has left in the folder."""
    drawn: list[Path] = []
    newest = max(folder.glob("*_pr.csv"), key=os.path.getmtime, default=None)
    if newest is None:
        return drawn
    for kind, curves in read_pr(newest).items():
        drawn.append(folder / f"pr_{kind}.png")
        draw_pr(curves, KINDS.get(kind, kind), drawn[-1])
    confusion = newest.with_name(newest.name.removesuffix("_pr.csv") + "_confusion.csv")
    if confusion.is_file():
        tables = read_confusion(confusion)
        kind = "mask" if "mask" in tables else next(iter(tables))
        drawn.append(folder / "confusion.png")
        draw_confusion(*tables[kind], KINDS.get(kind, kind), drawn[-1])
    return drawn


def draw_samples(folder: Path, training: Training) -> list[Path]:
    """Pictures of the train set as it is augmented, and of the valid set with what is found."""
    drawn: list[Path] = []
    if not training.cfg or not training.data:
        return drawn
    dataset = Dataset(training.data, "train")
    options = {"stage": training.stage, "seed": training.seed}
    drawn += draw_batches(training.cfg, dataset, folder, **options)
    weights = training.weights or find_weights(folder)
    if weights is None:
        return drawn
    try:
        valid = Dataset(training.data, "valid")
    except (DataError, OSError):  # a data file may name none
        return drawn
    with Network(training.cfg, weights, names=list(valid.names.values())) as network:
        return drawn + draw_valid(network, valid, folder)


def summarize(run: Run) -> str:
    """What was trained, and how good it became."""
    lengths = np.diff([first for _, first in run.stages] + [len(run)])
    ends = [first + length - 1 for (_, first), length in zip(run.stages, lengths, strict=True)]
    parts = [
        f"{stage} {run['iteration'][end]:.0f}"
        for (stage, _), end in zip(run.stages, ends, strict=True)
    ]
    average = run["average_loss"][~np.isnan(run["average_loss"])]
    lines = [f"iterations: {', '.join(parts)}"]
    if average.size:
        lines[0] += f"; average loss {average[-1]:.4f}"
    best = run.best()
    if best:
        name, row = best
        stage = [stage for stage, first in run.stages if first <= row][-1]
        where = f"iteration {run['iteration'][row]:.0f} of stage {stage}"
        lines.append(f"best {AP_LINES[name][0]}: {100 * run[name][row]:.1f} at {where}")
    return "\n".join(lines)


def report(folder: str | os.PathLike, training: Training | None = None) -> tuple[str, list[Path]]:
    """Draws all there is; the summary and the files."""
    folder = Path(folder)
    results = folder / "results.csv"
    if not results.is_file():
        raise DataError(f"{results}: is missing: `darknet segmenter train` writes it")
    run = read_results(results)
    drawn = [folder / "chart.png"]
    draw_run(run, folder.resolve().name, drawn[0])
    drawn += draw_validation(folder)
    drawn += draw_samples(folder, training or read_args(folder))
    return summarize(run), drawn
