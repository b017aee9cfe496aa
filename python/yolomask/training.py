"""Training from Python: dn_train, with a progress bar and Ctrl-C."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ._native import ConfigError, DataError, Process, check, encode_path, ffi, lib
from .datasets import Dataset, text
from .network_options import PRODUCTS, Weights, join_weights
from .samples import STAGES


@dataclass
class Progress:
    """An iteration of a training."""

    stage: str
    iteration: int
    iterations: int  # of the stage
    images: int
    loss: float
    average_loss: float
    rate: float
    seconds: float
    mask_iou: float | None
    ap: float | None  # of the last validation: of masks, of boxes (AP50) where there are none
    best_ap: float | None
    saved: str | None  # a file written behind this iteration


@dataclass
class Trained:
    """What a training has left: its folder with results.csv, and the best weights, or the last
    ones where nothing was validated."""

    iterations: int
    average_loss: float
    folder: Path
    weights: Path


class _Callbacks:
    """The library's callbacks. What they raise, Ctrl-C too, stops the training behind the running
    iteration; it is raised again when everything is saved."""

    def __init__(self, on_progress, on_message) -> None:
        self.error: BaseException | None = None
        self.on_progress, self.on_message = on_progress, on_message

        def keep(_kind, value, _traceback) -> None:
            self.error = self.error or value

        def make(signature: str, function, error=None):
            return ffi.callback(signature, function, onerror=keep, error=error)

        self.progress = make("void(void *, const dn_train_progress *)", self._progress)
        self.message = make("void(void *, const char *)", self._message)
        self.cancelled = make("bool(void *)", lambda _context: self.error is not None, error=True)

    def _progress(self, _context, p) -> None:
        known = [value if value >= 0 else None for value in (p.mask_iou, p.last, p.best)]
        self.on_progress(
            Progress(
                *(text(p.stage), p.iteration, p.max_iterations, p.images, p.loss),
                *(p.average_loss, p.rate, p.seconds, *known, text(p.saved)),
            )
        )

    def _message(self, _context, sentence) -> None:
        self.on_message(text(sentence))


@contextmanager
def _bar(wanted: bool):
    """A function that shows Progress as a bar a stage, where tqdm is installed."""
    bars: dict = {}  # one: the stage's

    def close() -> None:
        while bars:
            bars.popitem()[1].close()

    def show(progress: Progress) -> None:
        if progress.stage not in bars:
            close()
            bars[progress.stage] = tqdm(total=progress.iterations, desc=progress.stage, unit="it")
        figures = {"loss": f"{progress.average_loss:.4g}"}
        if progress.mask_iou is not None:
            figures["IoU"] = f"{progress.mask_iou:.3f}"
        if progress.best_ap is not None:
            figures["best AP"] = f"{100 * progress.best_ap:.1f}"
        bar = bars[progress.stage]
        bar.set_postfix(figures, refresh=False)
        bar.update(progress.iteration - bar.n)

    try:
        from tqdm.auto import tqdm
    except ImportError:
        wanted = False
    try:
        yield show if wanted else lambda _progress: None
    finally:
        close()


def _devices(device: str | Sequence[str]) -> bytes:
    return (device if isinstance(device, str) else ",".join(device)).encode()


def _valid_set(data: str | os.PathLike) -> Dataset | None:
    """What the data file names to validate on, if it is there and has labels."""
    try:
        valid = Dataset(data, "valid")
    except (ConfigError, DataError, OSError):
        return None
    return valid if valid.view.object_count > 0 else None


def train(
    cfg: str | os.PathLike,
    data: str | os.PathLike,
    weights: Weights = None,
    *,
    stage: str | None = None,
    backup: str | os.PathLike | None = None,
    iterations: int = 0,
    seed: int = 0,
    device: str | Sequence[str] = "auto",
    mixed: str | None = None,
    threads: int = 0,
    workers: int = 0,
    save_every: int = 0,
    valid_every: int = 0,
    patience: int = 0,
    validate: bool = True,
    resume: bool = False,
    augment: bool = True,
    strict: bool = False,
    progress: bool = True,
    on_progress: Callable[[Progress], None] | None = None,
    on_message: Callable[[str], None] = print,
) -> Trained:
    """Trains as `darknet segmenter train` does: the stages that the cfg's mask_from asks for, or
    `stage` alone (detector, mask, joint), on the .data file's train set, from `weights`.

    It validates on the way where the data file has a labelled valid set (validate=False: not).
    device as for Network, or several, as "cuda:0,1" or a list: each takes an equal share of every
    batch, in as many parts as the cfg says. mixed="tf32" or "fp16" lets a GPU round what
    convolutions multiply, which is faster; "fp16" scales the loss, since its range is small. backup
    is the folder for weights, by default the data file's. resume goes on from
    <backup>/<cfg's base>_last.state. Ctrl-C saves, then raises KeyboardInterrupt; what on_progress
    raises does the same.
    """
    if stage is not None and stage not in STAGES:
        raise ValueError(f"stage {stage!r}: one of {', '.join(STAGES)}, or None")
    if mixed not in PRODUCTS:
        allowed = ", ".join(name for name in PRODUCTS if name)
        raise ValueError(f"mixed must be {allowed} or None, not {mixed!r}")
    Process.enter()
    dataset = Dataset(data, "train", strict=strict)
    valid = _valid_set(data) if validate else None
    backup = backup or dataset.backup
    base = Path(backup) / Path(cfg).name.split(".")[0]
    options = ffi.new("dn_train_options *")
    with _bar(progress) as show:
        calls = _Callbacks(lambda p: (show(p), on_progress and on_progress(p)), on_message)
        texts = {"cfg": encode_path(cfg), "data": encode_path(data), "device": _devices(device)}
        texts["backup_folder"] = encode_path(backup)
        if weights is not None:
            texts["weights"] = join_weights(weights)
        if resume:
            texts["state"] = encode_path(f"{base}_last.state")
        alive = [ffi.new("char[]", value) for value in texts.values()]
        for name, value in zip(texts, alive, strict=True):
            setattr(options, name, value)
        options.dataset = dataset.handle
        options.valid = ffi.NULL if valid is None else valid.handle
        options.valid_every, options.patience = valid_every, patience
        options.schedule, options.stage = stage is None, STAGES.get(stage, lib.DN_STAGE_ALL)
        options.seed, options.threads, options.workers = seed, threads, workers
        options.max_iterations, options.save_every = iterations, save_every
        options.plain, options.strict = not augment, strict
        options.products = PRODUCTS[mixed]
        options.progress, options.message = calls.progress, calls.message
        options.cancelled = calls.cancelled
        report = ffi.new("dn_train_report *")
        status = lib.dn_train(options, report)
    if calls.error is not None:
        raise calls.error
    check(status)
    for kind in ("best", "final", "last") if valid else ("final", "last"):
        path = Path(f"{base}_{kind}.weights")
        if path.is_file():
            return Trained(report.iterations, report.average_loss, base, path)
    raise DataError(f"{base}_last.weights: was not written")
