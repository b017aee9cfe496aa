"""What the parts of bench_gpu.py share: rounds in turns, figures, networks in a precision."""

from __future__ import annotations

import ctypes
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from mask_stage import load_weights
from steps import ROOT, check, ffi, lib, make_network

from yolomask.gpu_arrays import GpuArray

Step = Callable[[], object]
ROUNDS = 300  # of inference at least


class Rows(list):
    """The figures, in a file as soon as they are there."""

    file: Path | None = None

    def append(self, row: dict) -> None:
        super().append(row)
        self.write()

    def write(self) -> None:
        if self.file:
            part = self.file.with_suffix(".part")
            part.write_text(json.dumps(self, indent=1))
            part.replace(self.file)


rows = Rows()


def synchroniser() -> Step:
    """Waits for all the work of this process's device; does nothing where there is no driver."""
    try:
        return ctypes.CDLL("libcuda.so.1").cuCtxSynchronize
    except OSError:
        return lambda: None


wait = synchroniser()


def medians(steps: list[Step], seconds: float, least: int = 3) -> list[list[float]]:
    """Times of the steps, which take turns, in seconds; `least` of each where there is time."""
    times: list[list[float]] = [[] for _ in steps]
    begin = time.perf_counter()
    for round_ in range(2000):
        used = (time.perf_counter() - begin) / len(steps)
        if (used > seconds and round_ >= least + 2) or (used > 4 * seconds and round_ >= 3):
            break
        for step, found in zip(steps, times, strict=True):
            wait()
            start = time.perf_counter()
            step()
            wait()
            if round_ >= 2:
                found.append(time.perf_counter() - start)
    return times


def report(what: str, who: str, batch: int, times: list[float]) -> None:
    middle = statistics.median(times)
    row = {
        "what": what, "who": who, "batch": batch, "rounds": len(times), "ms": 1e3 * middle,
        "low": 1e3 * min(times), "high": 1e3 * max(times), "images_per_second": batch / middle,
    }  # fmt: skip
    rows.append(row)
    print(
        f"{what}, batch {batch}: {who}: {row['ms']:.3f} ms ({row['low']:.3f} to {row['high']:.3f}, "
        f"{row['rounds']} rounds), {row['images_per_second']:.1f} images/s",
        flush=True,
    )


def failed(what: str, who: str, batch: int, error: BaseException) -> None:
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    rows.append({"what": what, "who": who, "batch": batch, "error": reason})
    print(f"{what}, batch {batch}: {who}: failed: {reason}", flush=True)


def measure(
    what: str,
    batch: int,
    makers: dict[str, Callable[[], Step]],
    seconds: float,
    least: int = ROUNDS,
) -> None:
    """Makes the steps and times those that run."""
    steps: dict[str, Step] = {}
    for who, make in makers.items():
        try:
            start = time.perf_counter()
            step = make()
            step()
            wait()
            steps[who] = step
            used = time.perf_counter() - start
            print(f"{what}, batch {batch}: {who}: made and run once in {used:.1f} s", flush=True)
        except Exception as error:  # what is not finished is reported, and the rest goes on
            failed(what, who, batch, error)
    if steps:
        try:
            found = medians([*steps.values()], seconds, least)
            for who, times in zip(steps, found, strict=True):
                report(what, who, batch, times)
        except Exception as error:
            failed(what, " and ".join(steps), batch, error)


def images_of(batch: int, size: int) -> np.ndarray:
    return np.random.default_rng(0).random((batch, 3, size, size), np.float32)


HALF = "ours, fp16"
PRECISIONS = {
    "ours": lib.DN_PRECISION_DEFAULT,
    HALF: lib.DN_PRECISION_FP16,
    "ours, bf16": lib.DN_PRECISION_BF16,
}
GRAPHED = 4  # passes behind which all of a plan is graphs


def open_network(cfg: str, options, who: str, batch: int = 1, weights: str = ""):
    network = make_network(
        options.cfgs / f"{cfg}.cfg", batch=batch, width=options.size, height=options.size,
        device=options.device, precision=PRECISIONS[who],
    )  # fmt: skip
    load_weights(network, weights)
    return network


def forward(network, batch: int, options, there: bool = True) -> Step:
    """A pass of the network: of images that lie on its device as floats, or in the host's pageable
    memory."""
    images = images_of(batch, options.size)
    kept = GpuArray.copy_of(images.reshape(batch, 3, -1), options.device) if there else images
    place = kept.__cuda_array_interface__["data"][0] if there else kept.ctypes.data
    data = ffi.cast("float *", place)

    def step(_keep=kept):
        check(lib.dn_network_forward(network, data, batch, 0.25))

    for _ in range(GRAPHED):
        step()
    step.network = network
    return step


def find_weights(options) -> str:
    """The shipped segmenter's two files for the library, or "" where the detector's is not here."""
    if options.cfgs != ROOT / "cfg":
        return ""
    folder = Path(os.environ.get("YOLOMASK_MODELS", ROOT / "models"))
    files = [folder / "yolov4-tiny.weights", ROOT / "weights/yolomask-v4-tiny.mask.weights"]
    return ",".join(map(str, files)) if all(file.is_file() for file in files) else ""
