"""Calibration for int8 from Python: dn_calibrate."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from . import images as image_files
from ._native import DarknetWarning, check, encode_path, ffi, lib
from .datasets import text
from .network import Network
from .network_options import Weights


@dataclass
class Calibration:
    """A calibration file that was written, from so many images; skipped could not be read."""

    path: Path
    images: int
    skipped: int
    layers: int


class _Callbacks:
    """The library's callbacks. What they raise, Ctrl-C too, ends the calibration behind the
    running image; it is raised again when the library has returned."""

    def __init__(self, on_progress: Callable[[int, int], None] | None) -> None:
        self.error: BaseException | None = None
        self.sentences: list[str] = []

        def keep(_kind, value, _traceback) -> None:
            self.error = self.error or value

        def progress(_context, done: int, count: int) -> None:
            if on_progress is not None:
                on_progress(done, count)

        def message(_context, sentence) -> None:
            self.sentences.append(text(sentence))

        def make(signature: str, function, error=None):
            return ffi.callback(signature, function, onerror=keep, error=error)

        self.progress = make("void(void *, int64_t, int64_t)", progress)
        self.message = make("void(void *, const char *)", message)
        self.cancelled = make("bool(void *)", lambda _context: self.error is not None, error=True)


def calibrate(
    cfg: str | os.PathLike,
    weights: Weights,
    images: str | os.PathLike | Iterable[str | os.PathLike],
    out: str | os.PathLike,
    *,
    limit: int = 300,
    width: int = 0,
    height: int = 0,
    threads: int = 0,
    stretch: bool = False,
    strict: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> Calibration:
    """Writes the file `out`, which Network(..., precision="int8", calibration=out) reads, as
    `darknet calibrate` does.

    images are files, folders and patterns of images as the network will meet them, but none that
    it is measured on; of more than `limit` (0: all) evenly spread ones are taken. Those that cannot
    be read are a DarknetWarning each, with strict an error. on_progress(done, count) is called
    behind each image.
    """
    single = isinstance(images, str | os.PathLike)
    paths = image_files.find_images([images] if single else images)
    alive = [ffi.new("char[]", encode_path(path)) for path in paths]
    calls = _Callbacks(on_progress)
    options = ffi.new("dn_calibrate_options *")
    options.limit, options.strict = limit, strict
    options.fit = lib.DN_FIT_STRETCH if stretch else lib.DN_FIT_LETTERBOX
    options.progress, options.message = calls.progress, calls.message
    options.cancelled = calls.cancelled
    report = ffi.new("dn_calibration *")
    network = Network(
        *(cfg, weights, None),
        device="cpu",
        precision="plain",
        width=width,
        height=height,
        threads=threads,
        strict=strict,
    )
    with network, network._using() as handle:
        status = lib.dn_calibrate(
            handle, ffi.new("char *[]", alive), len(alive), options, encode_path(out), report
        )
    if calls.error is not None:
        raise calls.error
    check(status)
    for sentence in calls.sentences:
        warnings.warn(sentence, DarknetWarning, stacklevel=2)
    return Calibration(Path(out), report.images, report.skipped, report.layers)
