"""What the library that YOLOMASK_LIBRARY names does on a GPU, beside PyTorch where it is installed.

    YOLOMASK_LIBRARY=build/gpu-check/libdarknet.so python bench/bench_gpu.py [--json FILE]
        [--device cuda] [--seconds 1] [--limit 90] [--batches 8,16,32,64] [--size 416] [--torch]
        [--steps]

Forward passes of yolov3, yolov4-tiny and the shipped segmenter, in float32 and in half precision;
yolomask's branch for 20 and 100 boxes; photos through the segmenter, from decoded pixels to boxes
and masks; training steps of yolov3; steps of the mask stage of yolomask and of the segmenter, on as
many boxes and objects as images have (mask_stage.py). Random weights (the segmenter's own where
they are found). Each figure is the median of as many rounds as fit into --seconds, at least three
(one of slow things), behind two that are not counted; every round ends
when the device has finished. Our input comes from host memory, PyTorch's lies on the device. What
is not done after --limit seconds in all is left out. --steps prints what each step of yolov3's plan
took, with the operations a second that it reached.

With --torch PyTorch's steps of the same layers take turns with ours: forward passes in float16,
channels last, batch normalisation folded, as CUDA graphs; trainings in float32 without TF32 and in
mixed precision (float16, channels last). Its loss is the mean square of what the heads read, which
is cheaper than ours. What fails is a line that says why. Every part is a process of its own, since
a failed kernel spoils the device for its process.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from mask_stage import MaskStage, load_weights
from steps import ROOT, check, ffi, lib, make_network, our_step, quiet_heads

Step = Callable[[], object]
rows: list[dict] = []


def synchroniser() -> Step:
    """Waits for all the work of this process's device; does nothing where there is no driver."""
    try:
        return ctypes.CDLL("libcuda.so.1").cuCtxSynchronize
    except OSError:
        return lambda: None


wait = synchroniser()


def medians(steps: list[Step], seconds: float) -> list[list[float]]:
    """Times of the steps, which take turns, in seconds."""
    times: list[list[float]] = [[] for _ in steps]
    begin = time.perf_counter()
    for round_ in range(2000):
        used = (time.perf_counter() - begin) / len(steps)
        if (used > seconds and round_ >= 5) or (used > 4 * seconds and round_ >= 3):
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


def measure(what: str, batch: int, makers: dict[str, Callable[[], Step]], seconds: float) -> None:
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
            for who, times in zip(steps, medians([*steps.values()], seconds), strict=True):
                report(what, who, batch, times)
        except Exception as error:
            failed(what, " and ".join(steps), batch, error)


def images_of(batch: int, size: int) -> np.ndarray:
    return np.random.default_rng(0).random((batch, 3, size, size), np.float32)


PRECISIONS = {
    "ours": lib.DN_PRECISION_DEFAULT,
    "ours, fp16": lib.DN_PRECISION_FP16,
    "ours, bf16": lib.DN_PRECISION_BF16,
}
GRAPHED = 4  # passes behind which all of a plan is graphs


def forward(cfg: str, batch: int, size: int, device: str, weights: str = "", who="ours") -> Step:
    path = ROOT / f"cfg/{cfg}.cfg"
    network = make_network(
        path, batch=batch, width=size, height=size, device=device, precision=PRECISIONS[who]
    )
    load_weights(network, weights)
    images = images_of(batch, size)
    data = ffi.from_buffer("float[]", images)

    def step():
        check(lib.dn_network_forward(network, data, batch, 0.25))

    for _ in range(GRAPHED):
        step()
    step.network = network
    return step


def torch_forward(cfg: str, batch: int, size: int, device: str) -> Step:
    from bench_training import torch_forward

    return torch_forward(ROOT / f"cfg/{cfg}.cfg", images_of(batch, size), device, True)


def measure_forward(options) -> None:
    for cfg in ("yolov3", "yolov4-tiny", "yolomask-v4-tiny"):
        weights = find_weights() if cfg == "yolomask-v4-tiny" else ""
        for batch in (1, 8, 32):
            makers: dict[str, Callable[[], Step]] = {
                who: lambda c=cfg, b=batch, w=weights, p=who: forward(
                    c, b, options.size, options.device, w, p
                )
                for who in PRECISIONS
                if who == "ours, fp16" or batch < 32
            }
            if options.torch and "mask" not in cfg:
                makers["PyTorch float16"] = lambda c=cfg, b=batch: torch_forward(
                    c, b, options.size, options.device
                )
            measure(f"{cfg}-{options.size} forward", batch, makers, options.seconds)


def print_steps(options) -> None:
    """What the steps of yolov3's plan take, alone and one behind the other: not a graph."""
    network = forward("yolov3", 1, options.size, options.device, who="ours, fp16").network
    info, seconds = ffi.new("dn_step_info *"), 0.0
    for i in range(lib.dn_network_step_count(network)):
        check(lib.dn_network_get_step(network, i, info))
        seconds += info.seconds
        rate = info.flops / info.seconds / 1e12 if info.seconds > 0 else 0
        print(
            f"step {i:3} {ffi.string(info.kind).decode():11} {ffi.string(info.form).decode():12} "
            f"layers {info.first_layer:3} to {info.last_layer:3} {info.w:4} x{info.h:4} x{info.c:5}"
            f" {1e6 * info.seconds:8.1f} us {rate:7.1f} TFLOP/s"
        )
    print(f"sum of the steps: {1e6 * seconds:.1f} us", flush=True)


def branch(rois: int, size: int, device: str, who: str) -> Callable[[], float]:
    """The seconds that yolomask's branch takes for so many boxes."""
    network = make_network(
        ROOT / "cfg/yolomask.cfg", width=size, height=size, device=device, precision=PRECISIONS[who]
    )
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
    options, result = ffi.new("dn_predict_options *"), ffi.new("dn_result **")

    def step(_keep=(pixels, network)) -> float:
        check(lib.dn_network_predict(network, image, options, result))
        seconds = 1e-3 * result[0].branch_ms
        lib.dn_result_free(result[0])
        return seconds

    for _ in range(GRAPHED):
        step()
    return step


def measure_branch(options) -> None:
    for rois in (20, 100):
        what = f"yolomask-{options.size} mask branch, {rois} boxes"
        for who in ("ours, fp16", "ours, bf16"):
            try:
                step = branch(rois, options.size, options.device, who)
                report(what, who, 1, [step() for _ in range(300)])
            except Exception as error:
                failed(what, who, 1, error)
        if options.torch:
            makers = {"PyTorch float16": lambda r=rois: torch_branch_of(r, options.device)}
            measure(what, 1, makers, options.seconds)


def torch_branch_of(rois: int, device: str) -> Step:
    from bench_training import torch_branch

    return torch_branch(rois, device)


def find_weights() -> str:
    """The shipped segmenter's two files for the library, or "" where the detector's is not here."""
    folder = Path(os.environ.get("YOLOMASK_MODELS", ROOT / "models"))
    files = [folder / "yolov4-tiny.weights", ROOT / "weights/yolomask-v4-tiny.mask.weights"]
    return ",".join(map(str, files)) if all(file.is_file() for file in files) else ""


def photo(device: str, batch: int, who: str) -> Step:
    """The segmenter on the shipped photo, from decoded pixels."""
    cfg = ROOT / "cfg/yolomask-v4-tiny.cfg"
    network = make_network(cfg, batch=batch, device=device, precision=PRECISIONS[who])
    load_weights(network, find_weights())
    image = ffi.gc(ffi.new("dn_image *"), lib.dn_image_free)
    check(lib.dn_image_load(str(ROOT / "data/astronaut.jpg").encode(), image))
    images = ffi.new("dn_image[]", [image[0]] * batch)
    options, results = ffi.new("dn_predict_options *"), ffi.new("dn_result *[]", batch)

    def predict(_keep=image):
        check(lib.dn_network_predict_batch(network, images, batch, options, results))
        for result in results:
            lib.dn_result_free(result)

    for _ in range(GRAPHED):
        predict()
    return predict


def training(batch: int, size: int, device: str, products: int = lib.DN_PRODUCTS_F32) -> Step:
    options = {"device": device, "products": products}
    return our_step(ROOT / "cfg/yolov3.cfg", images_of(batch, size), **options)


def torch_training(batch: int, size: int, device: str, amp: bool) -> Step:
    import torch
    from bench_training import torch_step

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    return torch_step(ROOT / "cfg/yolov3.cfg", images_of(batch, size), device, amp)


def measure_mask_stage(cfg: str, weights: str, options) -> None:
    """As much to learn from as images have: MaskStage says how much that is."""
    batch, what = 8, f"{cfg}-{options.size} mask stage"
    try:
        stage = MaskStage(ROOT / f"cfg/{cfg}.cfg", weights, batch, options.size, options.device)
    except Exception as error:
        failed(what, "ours", batch, error)
        return
    measure(f"{what}, {stage.words}", batch, {"ours": lambda: stage.step}, options.seconds)


def measure_part(part: str, options) -> None:
    size, device, seconds = options.size, options.device, options.seconds
    name, _, batch = part.partition(" ")
    if name == "forward":
        measure_forward(options)
        if options.steps:
            print_steps(options)
    elif name == "branch":
        measure_branch(options)
    elif name == "photos":
        for batch in (1, 8):
            make = {
                who: lambda b=batch, w=who: photo(device, b, w) for who in ("ours", "ours, fp16")
            }
            measure("yolomask-v4-tiny, photo to masks", batch, make, seconds)
    elif name == "masks":
        for cfg, weights in (("yolomask", ""), ("yolomask-v4-tiny", find_weights())):
            measure_mask_stage(cfg, weights, options)
    else:
        images = int(batch)
        make = {"ours": lambda: training(images, size, device)}
        for who, products in (("TF32", lib.DN_PRODUCTS_TF32), ("fp16", lib.DN_PRODUCTS_F16)):
            make[f"ours {who}"] = lambda p=products: training(images, size, device, p)
        if options.torch:
            make["PyTorch float32"] = lambda: torch_training(images, size, device, False)
            make["PyTorch AMP"] = lambda: torch_training(images, size, device, True)
        measure(f"yolov3-{size} training", images, make, seconds)


def measure_apart(part: str, limit: float) -> list[dict]:
    """The rows of a part that a process of its own measures."""
    with tempfile.TemporaryDirectory() as folder:
        numbers = Path(folder, "rows.json")
        command = [sys.executable, __file__, *sys.argv[1:], "--part", part, "--json", str(numbers)]
        row = {"what": part, "who": "ours", "batch": ""}
        try:
            done = subprocess.run(command, timeout=limit)
        except subprocess.TimeoutExpired:
            return [row | {"error": f"stopped after {limit:.0f} s"}]
        if not numbers.is_file():
            return [row | {"error": f"its process ended with status {done.returncode}"}]
        return json.loads(numbers.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description="Times a GPU build.")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--limit", type=float, default=90)
    parser.add_argument("--batches", default="8,16,32,64")
    parser.add_argument("--size", type=int, default=416)
    parser.add_argument("--torch", action="store_true")
    parser.add_argument("--steps", action="store_true")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        measure_part(options.part, options)
        options.json.write_text(json.dumps(rows))
        return
    end = time.perf_counter() + options.limit
    trainings = [f"training {batch}" for batch in options.batches.split(",")]
    for part in ["forward", "branch", "photos", "masks", *trainings]:
        rows.extend(measure_apart(part, max(end - time.perf_counter(), 1)))
        if options.json:
            options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
