"""Each layer's own time on a device, forward and backward.

    YOLOMASK_LIBRARY=build/gpu-check/libdarknet.so python bench/bench_layers.py [--device cuda]
        [--rounds 50] [--batch 8] [--width 1] [cfg ...]

Without cfg: the layers that move, pool, add and normalise, in sizes of YOLOv3-SPP and of the mask
branch at 416, with the rate of the memory beside the time: what must cross it at least once,
parameters not counted. Forward reads the inputs and writes the output; backward reads the output's
gradient and adds to the inputs' (reads and writes them). --width multiplies the channels (.1
without a GPU).
With cfg files: every layer of these networks in training, the slowest first, with the operations a
second of those that count them. A time is the mean of the rounds between two waits for the device.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from steps import (
    check,
    ffi,
    lib,
    make_truth,
    middle_objects,
    quiet_heads,
)  # first: it knows where the next ones lie

from layer_harness import net_section
from networks import Net
from roi_support import set_rois
from test_roialign import pooling_cfg, random_boxes

TWO = "[empty]\n[activation]\nactivation=leaky\n"  # layers 0 and 1: two maps of one shape
POOLS = [("2/2", 2, 2, 32, 208), ("2/1", 2, 1, 512, 13), ("5/1", 5, 1, 512, 13),
         ("9/1", 9, 1, 512, 13), ("13/1", 13, 1, 512, 13)]  # fmt: skip

# (name, sections before, section, channels, side, layers it reads)
CASES = [
    *((f"maxpool {name}", "[empty]\n", f"[maxpool]\nsize={size}\nstride={stride}\n", c, side, [0])
      for name, size, stride, c, side in POOLS),
    ("shortcut", TWO, "[shortcut]\nfrom=-2\n", 256, 52, [1, 0]),
    ("shortcut leaky", TWO, "[shortcut]\nfrom=-2\nactivation=leaky\n", 256, 52, [1, 0]),
    ("route of two", TWO, "[route]\nlayers=-1,0\n", 256, 52, [1, 0]),
    ("route of half", TWO, "[route]\nlayers=-1\ngroups=2\ngroup_id=1\n", 256, 52, []),
    ("upsample 2", "[empty]\n", "[upsample]\nstride=2\n", 256, 26, [0]),
    ("reorg", "[empty]\n", "[reorg]\nstride=2\n", 64, 26, [0]),
    ("avgpool", "[empty]\n", "[avgpool]\n", 256, 52, [0]),
    ("batchnorm 208", "[empty]\n", "[batchnorm]\n", 32, 208, [0]),
    ("batchnorm 52", "[empty]\n", "[batchnorm]\n", 256, 52, [0]),
    ("batchnorm 13", "[empty]\n", "[batchnorm]\n", 1024, 13, [0]),
    ("activation mish", "[empty]\n", "[activation]\nactivation=mish\n", 64, 208, [0]),
]  # fmt: skip


def trained(cfg: str | Path, device: str, rois: list[dict] | None = None, **options) -> Net:
    """The network behind a pass of training."""
    net = Net(cfg, training=True, input_grad=True, seed=1, device=device.encode(), **options)
    if rois is not None:
        set_rois(net, rois)
    quiet_heads(net.handle)
    info = net.info
    shape = (info.batch, info.channels, info.height, info.width)
    images = np.random.default_rng(0).random(shape, np.float32)
    truth = make_truth(middle_objects(info.batch, info.height, info.width))
    data = ffi.from_buffer("float[]", images)
    check(lib.dn_network_train_forward(net.handle, data, info.batch, truth[0], 0))
    net._input = images, truth  # which the network goes on reading
    return net


def seconds(net: Net, index: int, rounds: int) -> tuple[float, float]:
    found = ffi.new("double[2]")
    check(lib.dn_test_time_layer(net.handle, index, rounds, found, found + 1))
    return found[0], found[1]


def floats(net: Net, index: int) -> int:
    layer = net.layer(index)
    return layer.live * layer.c * layer.h * layer.w


def rate(count: int, time: float) -> str:
    """Milliseconds and the rate of `count` floats."""
    return f"{1e3 * time:8.4f} ms {4e-9 * count / time:7.0f} GB/s" if time else f"{'-':>24}"


def show(name: str, net: Net, inputs: list[int], rounds: int) -> None:
    index = net.info.layer_count - 1
    forward, backward = seconds(net, index, rounds)
    read = sum(floats(net, i) for i in inputs) if inputs else floats(net, index)
    out = floats(net, index)
    print(f"{name:22}{rate(read + out, forward)}   {rate(2 * read + out, backward)}", flush=True)


def show_cases(options) -> None:
    print(f"batch {options.batch}{'':14}forward{'':20}backward")
    for name, before, section, c, side, inputs in CASES:
        shape = (options.batch, max(8, int(c * options.width) // 8 * 8), side, side)
        net = trained(net_section(shape) + before + section, options.device)
        show(name, net, inputs, options.rounds)
        del net
    for pool in ("max", "average"):
        for boxes in (16, 100):
            show_roialign(pool, boxes, options)


def show_roialign(pool: str, boxes: int, options) -> None:
    """Maps of strides 4, 8 and 16 at 416, so many boxes an image."""
    channels, maps = max(8, int(64 * options.width)), (1, 2, 4)
    cfg = pooling_cfg(channels, 104, 104, maps, 14, pool=pool, max_rois=boxes, train_rois=boxes)
    for old, new in (("batch=4", f"batch={options.batch}"), ("classes=1", "classes=2"),
                     ("filters=6", "filters=7")):  # fmt: skip
        cfg = cfg.replace(old, new, 1)
    rng = np.random.default_rng(1)
    rois = [
        {"image": image, "box": roi["box"]}
        for image in range(options.batch)
        for roi in random_boxes(rng, boxes, 104, 104)
    ]
    net = trained(cfg, options.device, rois)
    inputs = [net.info.layer_count - 2 - k for k in range(len(maps))]
    show(f"roialign {pool}, {boxes}", net, inputs, options.rounds)


def show_network(path: Path, options) -> None:
    net = trained(path, options.device, batch=options.batch)
    rows = []
    for index in range(net.info.layer_count):
        try:
            rows.append((index, *seconds(net, index, options.rounds)))
        except Exception as error:  # a layer without a form on the device, say
            print(f"{index:4} {ffi.string(net.layer(index).type).decode()}: {error}")
    print(f"{path.name}, batch {options.batch}: {1e3 * sum(r[1] for r in rows):.3f} ms forward, "
          f"{1e3 * sum(r[2] for r in rows):.3f} ms backward")  # fmt: skip
    for index, forward, backward in sorted(rows, key=lambda row: -row[1] - row[2])[:30]:
        layer = net.layer(index)
        work = 1e-12 * layer.flops * layer.live
        print(f"{index:4} {ffi.string(layer.type).decode():16} {layer.c:5} x {layer.h:3} x "
              f"{layer.w:3} {1e3 * forward:9.4f} ms {work / forward:6.2f} T/s   "
              f"{1e3 * backward:9.4f} ms")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="Times single layers.")
    parser.add_argument("cfgs", nargs="*", type=Path, metavar="cfg")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--width", type=float, default=1)
    options = parser.parse_args()
    if not options.cfgs:
        show_cases(options)
    for path in options.cfgs:
        show_network(path, options)


if __name__ == "__main__":
    main()
