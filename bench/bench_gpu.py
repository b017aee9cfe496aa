"""What the library that YOLOMASK_LIBRARY names does on a GPU, beside PyTorch where it is installed.

    YOLOMASK_LIBRARY=build/gpu-check/libdarknet.so python bench/bench_gpu.py [--json FILE]
        [--device cuda] [--seconds .35] [--limit 120] [--inference 1,32] [--size 416] [--torch]
        [--parts forward,branch,images,streams,steps] [--batches 8] [--cfgs cfg]

forward: passes of yolov3, yolov4-tiny and the shipped segmenter, in float32 and half precision. The
images lie on the device as planar floats; what is timed is a pass from there to the heads' outputs,
which stay on the device. "from host memory": the same floats
come from pageable memory of the host. branch: yolomask's branch for 20 and 100 boxes. images: from
a decoded image on the host to boxes and run-length masks on the host, by yolomask (YOLOv3) with
20 objects (gpu_scene.py) and by the shipped segmenter with its own weights on a photo; candidates,
objects and the strings' bytes are told. streams: the same, one behind the other through dn_stream,
decoded before, from a file, and from a file by nvJPEG. steps: what each step of the plans of
yolov3, yolov4-tiny and yolomask's branch took beside what the card can do (with --torch, which
measures that): the longer of its operations at the pace of the fastest product and its bytes at
that of the fastest copy; and what a pass of the first two takes when its launch is hidden behind
other work (gpu_behind.py). By choice: masks, steps of the mask stage of yolomask and of the
segmenter on as many boxes and objects as images have (mask_stage.py); training, steps of yolov3 on
--batches images. Random weights but for the segmenter's.

Each figure is the median of as many rounds as fit into --seconds, of inference at least 300 within
four times that, behind two that are not counted; every round ends when the device has finished.
Figures are written to --json one by one; what is not done after --limit seconds in all is left out.
A table of ours in fp16, PyTorch's and what is aimed at ends the output.

With --torch PyTorch's steps of the same layers take turns with ours: forward passes in float16,
channels last, batch normalisation folded, as CUDA graphs, from an input in that form on the device
to what the heads read, there; trainings in float32 without TF32 and in mixed precision (float16,
channels last). Its loss is the mean square of what the heads read, which is cheaper than ours. What
fails is a line that says why. Every part is a process of its own, since a failed kernel spoils the
device for its process.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from gpu_branch import measure_branch
from gpu_images import measure_images, measure_streams
from gpu_measure import (
    HALF,
    PRECISIONS,
    Step,
    failed,
    find_weights,
    forward,
    images_of,
    measure,
    open_network,
    rows,
)
from gpu_steps import print_steps
from gpu_summary import print_summary
from mask_stage import MaskStage
from steps import ROOT, check, ffi, lib, our_step


def torch_forward(cfg: str, batch: int, options) -> Step:
    from bench_training import torch_forward

    images = images_of(batch, options.size)
    return torch_forward(options.cfgs / f"{cfg}.cfg", images, options.torch_device, True)


def measure_forward(options) -> None:
    for cfg in ("yolov3", "yolov4-tiny", "yolomask-v4-tiny"):
        weights = find_weights(options) if cfg == "yolomask-v4-tiny" else ""
        for batch in options.inference:
            what, made = f"{cfg}-{options.size} forward", {}

            def ours(who: str, c=cfg, b=batch, w=weights, made=made) -> Step:
                made[who] = open_network(c, options, who, b, w)
                return forward(made[who], b, options)

            makers: dict[str, Callable[[], Step]] = {
                who: lambda p=who, make=ours: make(p)
                for who in PRECISIONS
                if who == HALF or batch < 32
            }
            if options.torch and "mask" not in cfg:
                makers["PyTorch float16"] = lambda c=cfg, b=batch: torch_forward(c, b, options)
            measure(what, batch, makers, options.seconds)
            if HALF in made:
                host = {HALF: lambda b=batch, n=made[HALF]: forward(n, b, options, there=False)}
                measure(f"{what} from host memory", batch, host, options.seconds)


# ---- Training ----------------------------------------------------------------------------------


def training(batch: int, options, products: int = lib.DN_PRODUCTS_F32) -> Step:
    given = {"device": options.device, "products": products}
    return our_step(options.cfgs / "yolov3.cfg", images_of(batch, options.size), **given)


def torch_training(batch: int, options, amp: bool) -> Step:
    import torch
    from bench_training import torch_step

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    images = images_of(batch, options.size)
    return torch_step(options.cfgs / "yolov3.cfg", images, options.torch_device, amp)


def measure_training(batch: int, options) -> None:
    make = {"ours": lambda: training(batch, options)}
    for who, products in (("TF32", lib.DN_PRODUCTS_TF32), ("fp16", lib.DN_PRODUCTS_F16)):
        make[f"ours {who}"] = lambda p=products: training(batch, options, p)
    if options.torch:
        make["PyTorch float32"] = lambda: torch_training(batch, options, False)
        make["PyTorch AMP"] = lambda: torch_training(batch, options, True)
    measure(f"yolov3-{options.size} training", batch, make, options.seconds, 3)


def measure_masks(options) -> None:
    """As much to learn from as images have: MaskStage says how much that is."""
    for cfg, weights in (("yolomask", ""), ("yolomask-v4-tiny", find_weights(options))):
        batch, what = 8, f"{cfg}-{options.size} mask stage"
        path = options.cfgs / f"{cfg}.cfg"
        try:
            stage = MaskStage(path, weights, batch, options.size, options.device)
        except Exception as error:
            failed(what, "ours", batch, error)
            continue
        make = {"ours": lambda s=stage: s.step}
        measure(f"{what}, {stage.words}", batch, make, options.seconds, 3)


PARTS = {
    "forward": measure_forward,
    "branch": measure_branch,
    "images": measure_images,
    "streams": measure_streams,
    "steps": print_steps,
    "masks": measure_masks,
}


def print_device(options) -> None:
    info = ffi.new("dn_device_info *")
    check(lib.dn_device_get_info(options.device.encode(), info))
    print(
        f"{ffi.string(info.name).decode()}: {info.cores} cores, {info.clock_mhz:.0f} MHz, memory "
        f"{info.memory_mhz:.0f} MHz, {info.power_watts:.0f} of {info.power_limit_watts:.0f} W",
        flush=True,
    )


def measure_part(part: str, options) -> None:
    name, _, batch = part.partition(" ")
    print_device(options)
    try:
        if name == "training":
            measure_training(int(batch), options)
        else:
            PARTS[name](options)
    except Exception as error:  # the figures so far stay
        failed(part, "ours", 1, error)
    print_device(options)


def measure_apart(part: str, limit: float) -> list[dict]:
    """The rows of a part that a process of its own measures."""
    with tempfile.TemporaryDirectory() as folder:
        numbers = Path(folder, "rows.json")
        command = [sys.executable, __file__, *sys.argv[1:], "--part", part, "--json", str(numbers)]
        row, reason = {"what": part, "who": "ours", "batch": ""}, ""
        try:
            status = subprocess.run(command, timeout=limit).returncode
            reason = f"its process ended with status {status}" if status else ""
        except subprocess.TimeoutExpired:
            reason = f"stopped after {limit:.0f} s"
        found = json.loads(numbers.read_text()) if numbers.is_file() else []
    return found + ([row | {"error": reason}] if reason else [])


def main() -> None:
    parser = argparse.ArgumentParser(description="Times a GPU build.")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=0.35)
    parser.add_argument("--limit", type=float, default=120)
    parser.add_argument("--batches", default="8", help="of trainings")
    parser.add_argument("--inference", default="1,32", help="batches of inference")
    parser.add_argument("--size", type=int, default=416)
    parser.add_argument("--parts", default="forward,branch,images,streams,steps")
    parser.add_argument("--cfgs", type=Path, default=ROOT / "cfg", help="a folder of cfg files")
    parser.add_argument("--torch", action="store_true")
    parser.add_argument("--torch-device", default="cuda")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.inference = [int(batch) for batch in options.inference.split(",")]
    if options.part:
        rows.file = options.json
        measure_part(options.part, options)
        rows.write()
        return
    parts = options.parts.split(",")
    if unknown := sorted(set(parts) - {*PARTS, "training"}):
        parser.error(f"--parts: {', '.join(unknown)}: not among {', '.join(PARTS)}, training")
    if "training" in parts:
        parts.remove("training")
        parts += [f"training {batch}" for batch in options.batches.split(",")]
    rows.file, end = options.json, time.perf_counter() + options.limit
    for part in parts:
        rows.extend(measure_apart(part, max(end - time.perf_counter(), 1)))
        rows.write()
    print_summary(rows)


if __name__ == "__main__":
    main()
