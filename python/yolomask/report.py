"""What `python -m yolomask report FOLDER` draws of a training: its curves, what validation
measured, samples it learned from, and what it finds in the valid set.

FOLDER is <backup>/<cfg's base> with results.csv; args.txt in it says which cfg, data file and seed
trained. The weights lie beside the folder. What is missing is left out: a training that has
not validated yet has its curves.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ._native import DataError
from .charts import QUALITY_LINES, draw_run
from .datasets import Dataset
from .network import Network
from .results_csv import Run, read_results
from .samples import STAGES, draw_batches, draw_valid
from .validation_charts import draw_confusion, draw_pr, read_confusion, read_pr

PICTURES = {"boxes": "pr_box.png", "masks": "pr_mask.png"}


@dataclass
class Training:
    """How a run was started."""

    cfg: str | None = None
    data: str | None = None
    weights: str | None = None
    seed: int = 0
    stage: str = "mask"  # the last one that was asked for


def read_args(folder: Path) -> Training:
    """args.txt: `key: value` lines, then an empty line and the cfg. Of a training that was resumed
    the first lines count."""
    path = folder / "args.txt"
    if not path.is_file():
        return Training()
    head = path.read_text(encoding="utf-8").split("\n\n", 1)[0]
    known = dict(line.split(": ", 1) for line in head.splitlines() if ": " in line)
    training = Training(known.get("cfg"), known.get("data"), None, int(known.get("seed", 0)))
    training.stage = known.get("stages", training.stage).split()[-1]
    return training


def find_weights(folder: Path) -> Path | None:
    """The best weights that the run has written, beside its folder."""
    for kind in ("best", "final", "last"):
        path = folder.parent / f"{folder.name}_{kind}.weights"
        if path.is_file():
            return path
    return None


def draw_validation(folder: Path) -> list[Path]:
    """Charts of the best validation or, of other files of the evaluator, of the newest."""
    drawn: list[Path] = []
    curves_of = folder / "best_pr.csv"
    if not curves_of.is_file():
        curves_of = max(folder.glob("*_pr.csv"), key=os.path.getmtime, default=None)
    if curves_of is None:
        return drawn
    for kind, curves in read_pr(curves_of).items():
        drawn.append(folder / PICTURES[kind])
        draw_pr(curves, kind, drawn[-1])
    tables = read_confusion(Path(str(curves_of).removesuffix("_pr.csv")))
    if tables:
        kind = "masks" if "masks" in tables else "boxes"
        drawn.append(folder / "confusion.png")
        draw_confusion(*tables[kind], kind, drawn[-1])
    return drawn


def draw_samples(folder: Path, training: Training, stage: str) -> list[Path]:
    """Pictures of the train set as it is augmented, and of the valid set with what is found."""
    drawn: list[Path] = []
    if not training.cfg or not training.data or stage not in STAGES:  # a classifier's has no boxes
        return drawn
    dataset = Dataset(training.data, "train")
    drawn += draw_batches(training.cfg, dataset, folder, stage=stage, seed=training.seed)
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
        lines.append(f"best {QUALITY_LINES[name][0]}: {100 * run[name][row]:.1f} at {where}")
    return "\n".join(lines)


def report(folder: str | os.PathLike, training: Training | None = None) -> tuple[str, list[Path]]:
    """Draws all there is; the summary and the files."""
    folder = Path(folder)
    results = folder / "results.csv"
    if not results.is_file():
        raise DataError(f"{results}: is missing: `darknet segmenter train` writes it")
    training = training or read_args(folder)
    run = read_results(results)
    if len(run) == 0:
        return "no ten iterations yet", draw_samples(folder, training, training.stage)
    drawn = [folder / "chart.png"]
    draw_run(run, folder.resolve().name, drawn[0])
    drawn += draw_validation(folder)
    drawn += draw_samples(folder, training, run.stages[-1][0])
    return summarize(run), drawn
