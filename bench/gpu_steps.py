"""What each step of yolov3's plan in half precision takes, beside what the card can do: the longer
of its operations at the pace of the fastest product and its bytes at that of the fastest copy, both
measured by PyTorch's in the same process (bench_gpu.py)."""

from __future__ import annotations

import statistics

from gpu_measure import forward, medians, report
from steps import check, ffi, lib

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
    layer, param, total = ffi.new("dn_layer_info *"), ffi.new("dn_param_info *"), 0
    network_info = ffi.new("dn_network_info *")
    check(lib.dn_network_get_info(network, network_info))

    def values(index: int) -> int:
        if index < 0:
            return network_info.channels * network_info.height * network_info.width
        check(lib.dn_network_get_layer(network, index, layer))
        return layer.c * layer.h * layer.w

    made = range(max(info.first_layer, 0), info.last_layer + 1)
    for index in made:
        section = sections[index]
        key = {"shortcut": "from", "route": "layers"}.get(section.name)
        sources = [index - 1] if section.name != "route" else []
        if key:
            sources += [index + k if k < 0 else k for k in section.numbers(key)]
        total += info.images * sum(values(k) for k in sources if k not in made)
        check(lib.dn_network_get_layer(network, index, layer))
        for k in range(layer.param_count if section.name == "convolutional" else 0):
            check(lib.dn_network_get_param(network, index, k, param))
            total += param.count if ffi.string(param.name) == b"weights" else 0
    return 2 * (total + info.images * info.c * info.h * info.w)


def print_steps(options) -> None:
    """What the steps of yolov3's plan take, alone and one behind the other: not a graph."""
    limits = ceilings(options) if options.torch else None
    sections = read_sections(options.cfgs / "yolov3.cfg")[1:]
    for batch in options.inference[:2]:
        network = forward("yolov3", batch, options, who="ours, fp16").network
        info, seconds, least = ffi.new("dn_step_info *"), 0.0, 0.0
        for i in range(lib.dn_network_step_count(network)):
            check(lib.dn_network_get_step(network, i, info))
            moved, share = step_bytes(network, sections, info), ""
            seconds += info.seconds
            if limits:
                bound = max(info.flops / limits[0], moved / limits[1])
                least += bound
                share = f" {100 * bound / info.seconds:5.1f} % of the limit" if info.seconds else ""
            kind, form = ffi.string(info.kind).decode(), ffi.string(info.form).decode()
            speed = [1e-12 * work / (info.seconds or 1) for work in (info.flops, moved)]
            print(
                f"step {i:3} {kind:11} {form:12} layers {info.first_layer:3} to "
                f"{info.last_layer:3} {info.images:3} x{info.w:4} x{info.h:4} x{info.c:5} "
                f"{1e6 * info.seconds:8.1f} us {speed[0]:7.1f} TFLOP/s {speed[1]:6.3f} TB/s{share}"
            )
        report(f"yolov3-{options.size} steps alone, their sum", "ours, fp16", batch, [seconds])
        if limits:
            report(f"yolov3-{options.size} steps, the card's limit", "the limit", batch, [least])
