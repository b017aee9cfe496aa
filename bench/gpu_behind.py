"""What a pass takes of the GPU itself: it is asked for while the GPU is busy with something else,
so that the time until its first kernel begins is hidden (bench_gpu.py)."""

from __future__ import annotations

import ctypes

from gpu_measure import HALF, ROUNDS, Step, medians, report

BYTES = 1 << 30  # set in some 0.3 ms, several times what asking for a pass takes
PER_THREAD = ctypes.c_void_p(2)  # CU_STREAM_PER_THREAD, where the library's work goes


def busy_step() -> Step | None:
    """Keeps the GPU of the calling thread busy, and does not wait; None where there is none."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    block = ctypes.c_uint64()
    if driver.cuMemAlloc_v2(ctypes.byref(block), ctypes.c_size_t(BYTES)) != 0:
        return None
    count = ctypes.c_size_t(BYTES // 4)

    def step() -> None:
        driver.cuMemsetD32Async(block, ctypes.c_uint(0), count, PER_THREAD)

    return step


def measure_behind(what: str, batch: int, step: Step, options) -> None:
    """How much longer the other work takes with the pass behind it."""
    busy = busy_step()
    if not busy:
        return

    def both() -> None:
        busy()
        step()

    alone, with_pass = medians([busy, both], options.seconds, ROUNDS)
    found = [b - a for a, b in zip(alone, with_pass, strict=True)]
    report(f"{what} behind other work", HALF, batch, found)
