"""Charts of a training and of its validation. Needs matplotlib.

Colours are those of Okabe and Ito, which people with any colour vision tell apart; lines differ in
their dashes, too, so that a chart printed in black can be read.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .results_csv import Run

BLUE, VERMILION, GREEN, ORANGE = "#0072b2", "#d55e00", "#009e73", "#e69f00"
SKY, PURPLE, GRAY = "#56b4e9", "#cc79a7", "#777777"
QUALITY_LINES = {
    "box_ap50": ("box AP50", SKY, "--", "v"),
    "box_ap": ("box AP", BLUE, "-", "o"),
    "mask_ap50": ("mask AP50", ORANGE, "--", "^"),
    "mask_ap": ("mask AP", VERMILION, "-", "s"),
    "top_5": ("top 5", SKY, "--", "v"),
    "top_1": ("top 1", BLUE, "-", "o"),
}


def require_pyplot():
    """matplotlib.pyplot that needs no screen, or a sentence that says how to get it."""
    try:
        import matplotlib
    except ImportError as error:
        raise ImportError("charts need matplotlib: pip install matplotlib") from error
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update(
        {
            "font.size": 10,
            "axes.grid": True,
            "grid.color": "#dddddd",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.axisbelow": True,
            "legend.frameon": False,
        }
    )
    return plt


def save_chart(plt, figure, path: Path) -> None:
    """Under a temporary name first: who looks at a chart while it is drawn sees a whole one."""
    temporary = path.with_name(f".{path.name}")
    figure.savefig(temporary, dpi=120, format="png", bbox_inches="tight")
    plt.close(figure)
    temporary.replace(path)


def _line(axis, run: Run, name: str, factor: float = 1, **style) -> None:
    """A column where it was measured, a line a stage: between two stages nothing went on."""
    x, y, label = run.x, factor * run[name], style.pop("label", None)
    ends = [first for _, first in run.stages[1:]] + [len(run)]
    for (_, first), end in zip(run.stages, ends, strict=True):
        there = np.flatnonzero(~np.isnan(y[first:end])) + first
        if there.size:
            axis.plot(x[there], y[there], label=label, **style)
            label = None


def _legend(axis) -> None:
    """Beside the panel, where it covers no line."""
    axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))


def _mark_stages(axes, run: Run) -> None:
    """A line where a stage begins, its name at the top of the first panel."""
    x = run.x
    for i, (stage, first) in enumerate(run.stages):
        begin = x[first - 1] if i > 0 else x[0]
        for axis in axes:
            if i > 0:
                axis.axvline(begin, color=GRAY, linestyle="--", linewidth=1)
        axes[0].annotate(
            stage,
            (begin, 1),
            xycoords=("data", "axes fraction"),
            xytext=(3, 3),
            textcoords="offset points",
            fontsize=9,
            color="#444444",
        )


def _loss_panel(axis, run: Run) -> None:
    _line(axis, run, "loss", color=SKY, linewidth=0.8, label="loss")
    _line(axis, run, "average_loss", color=BLUE, linewidth=1.8, label="average loss")
    losses = np.concatenate([run["loss"], run["average_loss"]])
    losses = losses[np.isfinite(losses)]
    wide = losses.size > 0 and losses.min() > 0 and losses.max() > 20 * losses.min()
    axis.set_ylabel("loss, log scale" if wide else "loss")
    if wide:
        from matplotlib.ticker import LogLocator, NullLocator

        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_locator(NullLocator())
    _legend(axis)


def _quality_label(best: tuple[str, int] | None) -> str:
    if best and best[0] == "top_1":
        return "right (%)"
    return "AP, IoU (%)" if best else "IoU (%)"


def _quality_panel(axis, run: Run) -> None:
    for name, (label, colour, dash, marker) in QUALITY_LINES.items():
        style = {"color": colour, "linestyle": dash, "marker": marker, "markersize": 4}
        _line(axis, run, name, 100, label=label, **style)
    _line(axis, run, "mask_iou", 100, color=GRAY, linewidth=0.8, label="mask IoU in training")
    best = run.best()
    if best:
        name, row = best
        value = 100 * run[name][row]
        label = f"best {QUALITY_LINES[name][0]}: {value:.1f}"
        axis.plot(run.x[row], value, "*", color="black", markersize=12, zorder=5, label=label)
    axis.set_ylim(0, 100)
    axis.set_ylabel(_quality_label(best))
    _legend(axis)


def draw_run(run: Run, title: str, path: Path) -> None:
    """chart.png: losses, what validation measured, the learning rate, over iterations."""
    plt = require_pyplot()
    measured = [*QUALITY_LINES, "mask_iou"]
    quality = not all(np.isnan(run[name]).all() for name in measured)
    heights = [3, 3, 1] if quality else [3, 1]
    figure, axes = plt.subplots(
        len(heights),
        1,
        sharex=True,
        figsize=(9, 1 + 1.15 * sum(heights)),
        gridspec_kw={"height_ratios": heights},
        layout="constrained",
    )
    _loss_panel(axes[0], run)
    if quality:
        _quality_panel(axes[1], run)
    _line(axes[-1], run, "rate", color=GREEN, linewidth=1.5)
    axes[-1].set_ylabel("learning\nrate")
    axes[-1].set_ylim(bottom=0)
    several = len(run.stages) > 1
    axes[-1].set_xlabel("iteration" + (", stages one behind the other" if several else ""))
    _mark_stages(axes, run)
    figure.suptitle(title)
    save_chart(plt, figure, path)
