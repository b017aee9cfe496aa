"""What each step of a plan in half precision takes, beside what the card can do: the longer of its
operations at the pace of the fastest product and its bytes at that of the fastest copy, both
measured by PyTorch's in the same process (bench_gpu.py)."""

from __future__ import annotations

import itertools
import statistics
from pathlib import Path

from gpu_behind import measure_behind
from gpu_branch import branch
from gpu_measure import HALF, forward, medians, open_network, report
from steps import check, ffi, layer_of, lib, params

from cfg_oracle import read_sections


def ceilings(options) -> tuple[float, float]:
    """Operations a second of the fastest product in float16, bytes a second of the fastest copy."""
    from bench_training import fastest_copy, fastest_product

    operations = max(
        work / statistics.median(medians([step], options.seconds / 4)[0])
        for step, work in fastest_product(options.torch_device, 16 * options.size)
    )
    step, size = fastest_copy(options.torch_device, options.size**2 * 6000)
    bytes_ = size / statistics.median(medians([step], options.seconds / 4)[0])
    print(f"ceilings: {operations / 1e12:.1f} TFLOP/s in float16, {bytes_ / 1e12:.3f} TB/s copied")
    return operations, bytes_


def step_bytes(network, sections: list, info) -> float:
    """What a step in half precision must read and write at least: its inputs, once, its output and
    its weights."""
    total = 0
    network_info = ffi.new("dn_network_info *")
    check(lib.dn_network_get_info(network, network_info))

    def values(index: int) -> int:
        if index < 0:
            return network_info.channels * network_info.height * network_info.width
        layer = layer_of(network, index)
        return layer.c * layer.h * layer.w

    made = range(max(info.first_layer, 0), info.last_layer + 1)
    for index in made:
        section = sections[index]
        key = {"shortcut": "from", "route": "layers", "roialign": "layers"}.get(section.name)
        sources = [] if section.name in ("route", "roialign") else [index - 1]
        if key:
            sources += [index + k if k < 0 else k for k in section.numbers(key)]
        read = sum(values(k) for k in sources if k not in made)
        total += read if section.name == "roialign" else info.images * read  # of one image
        found = params(network, index)
        total += found["weights"].size if "weights" in found else 0
    return 2 * (total + info.images * info.c * info.h * info.w)


def name_of(info) -> str:
    kind, form = ffi.string(info.kind).decode(), ffi.string(info.form).decode()
    return (
        f"{kind:11} {form:12} layers {info.first_layer:3} to {info.last_layer:3} "
        f"{info.images:3} x{info.w:4} x{info.h:4} x{info.c:5}"
    )


def print_plan(what: str, batch: int, network, cfg: Path, limits, first: int = 0) -> None:
    """The steps of the network's plan from layer `first` on, as they were timed."""
    sections = read_sections(cfg)[1:]
    info, seconds, least = ffi.new("dn_step_info *"), 0.0, 0.0
    for i in range(lib.dn_network_step_count(network)):
        check(lib.dn_network_get_step(network, i, info))
        if info.first_layer < first and first > 0:
            continue
        moved, share = step_bytes(network, sections, info), ""
        seconds += info.seconds
        if limits:
            bound = max(info.flops / limits[0], moved / limits[1])
            least += bound
            share = f" {100 * bound / info.seconds:5.1f} % of the limit" if info.seconds else ""
        speed = [1e-12 * work / (info.seconds or 1) for work in (info.flops, moved)]
        print(
            f"step {i:3} {name_of(info)} {1e6 * info.seconds:8.1f} us {speed[0]:7.1f} TFLOP/s "
            f"{speed[1]:6.3f} TB/s{share}"
        )
    report(f"{what} steps alone, their sum", HALF, batch, [seconds])
    if limits:
        report(f"{what} steps, the card's limit", "the limit", batch, [least])


def print_steps(options) -> None:
    """What the steps of plans take, alone and one behind the other: not a graph."""
    limits = ceilings(options) if options.torch else None
    for name, batch in itertools.product(("yolov3", "yolov4-tiny"), options.inference[:2]):
        network = open_network(name, options, HALF, batch)
        what, step = f"{name}-{options.size}", forward(network, batch, options)
        print_plan(what, batch, network, options.cfgs / f"{name}.cfg", limits)
        measure_behind(f"{what} forward", batch, step, options)
    cfg, rois = options.cfgs / "yolomask.cfg", 20
    network = branch(rois, options, HALF).network
    first = next(k for k, s in enumerate(read_sections(cfg)[1:]) if s.name == "roialign")
    print_plan(f"yolomask-{options.size} branch, {rois} boxes", 1, network, cfg, limits, first)
