"""The mask branch alone, for as many boxes as wanted (bench_gpu.py)."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from gpu_measure import GRAPHED, HALF, ROUNDS, Step, failed, measure, open_network, report
from steps import check, ffi, lib, quiet_heads


def branch(rois: int, options, who: str) -> Callable[[], float]:
    """The seconds that yolomask's branch takes for so many boxes."""
    size, network = options.size, open_network("yolomask", options, who)
    quiet_heads(network)
    boxes = ffi.new("dn_roi[]", rois)
    for k, roi in enumerate(boxes):
        x, y = size * (k % 10) / 14, size * (k // 10) / 14
        roi.truth, roi.detection = -1, k
        roi.box = roi.expanded = (x, y, x + size / 4, y + size / 3)
    check(lib.dn_test_set_rois(network, boxes, rois))
    pixels = np.full((size, size, 3), 127, np.uint8)
    image = ffi.new("dn_image *", {"width": size, "height": size})
    image.data = ffi.cast("uint8_t *", ffi.from_buffer(pixels))
    result = ffi.new("dn_result **")

    def step(_keep=(pixels, network)) -> float:
        check(lib.dn_network_predict(network, image, ffi.NULL, result))
        seconds = 1e-3 * result[0].branch_ms
        lib.dn_result_free(result[0])
        return seconds

    for _ in range(GRAPHED):
        step()
    step.network = network
    return step


def measure_branch(options) -> None:
    for rois in (20, 100):
        what = f"yolomask-{options.size} mask branch, {rois} boxes"
        for who in (HALF, "ours, bf16"):
            try:
                step, end = branch(rois, options, who), time.perf_counter() + 4 * options.seconds
                times = [step()]
                while len(times) < ROUNDS and time.perf_counter() < end:
                    times.append(step())
                report(what, who, 1, times)
            except Exception as error:
                failed(what, who, 1, error)
        if options.torch:
            makers = {"PyTorch float16": lambda r=rois: torch_branch_of(r, options)}
            measure(what, 1, makers, options.seconds)


def torch_branch_of(rois: int, options) -> Step:
    from bench_training import torch_branch

    return torch_branch(options.cfgs / "yolomask.cfg", rois, options.torch_device)
