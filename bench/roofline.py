"""The least time that a network's layers can take on a card, from what they compute and move.

    python bench/roofline.py cfg/yolov3.cfg [--size 416] [--batch 1] [--card H200]

Prints, for each layer in half precision, its operations, the bytes of its input, output and
weights, each counted once, and the longer of the times that the card's ceilings allow; without a
GPU, and of a mask branch for one box an image. The ceilings are published ones: tensor cores
without sparsity, memory of the card. What stays in the second cache (50 MB on both cards) can be
faster than the bytes say, and nothing here counts launches. bench_gpu.py --parts steps measures.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from steps import check, ffi, layer_of, lib, make_network, params

# Operations and bytes a second (NVIDIA's data sheets of the SXM cards).
CARDS = {"H200": (989e12, 4.8e12), "H100": (989e12, 3.35e12)}
BRINGS_NOTHING = ("route", "dropout", "empty")  # views, where they are not copies


@dataclass
class Work:
    flops: float = 0.0
    bytes: float = 0.0

    def seconds(self, card: str = "H200") -> float:
        operations, memory = CARDS[card]
        return max(self.flops / operations, self.bytes / memory)


def parameters(network, index: int) -> int:
    return sum(values.size for values in params(network, index).values())


def work_of(network, first: int, last: int, images: int) -> Work:
    """Of layers first..last done as one: the input of `first`, which is the layer before it, the
    output of `last`, weights, and what a [shortcut] adds."""
    info = layer_of(network, last)
    out = info.c * info.h * info.w
    if first > 0:
        before = layer_of(network, first - 1)
        values = before.c * before.h * before.w
    else:
        shape = ffi.new("dn_network_info *")
        check(lib.dn_network_get_info(network, shape))
        values = 4 * shape.height * shape.width  # pixels
    work = Work(bytes=2.0 * images * (values + out))
    for index in range(first, last + 1):
        kind = ffi.string(layer_of(network, index).type).decode()
        work.flops += float(images * layer_of(network, index).flops)
        work.bytes += 2.0 * parameters(network, index)
        work.bytes += 2.0 * images * out if kind == "shortcut" else 0.0
    return work


def main() -> None:
    parser = argparse.ArgumentParser(description="What a network's layers take at least.")
    parser.add_argument("cfg", type=Path)
    parser.add_argument("--size", type=int, default=416)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--card", choices=CARDS, default="H200")
    options = parser.parse_args()
    network = make_network(options.cfg, width=options.size, height=options.size)
    info, total, least, limited = ffi.new("dn_network_info *"), Work(), 0.0, 0.0
    check(lib.dn_network_get_info(network, info))
    for index in range(info.layer_count):
        layer = layer_of(network, index)
        kind = ffi.string(layer.type).decode()
        if kind in BRINGS_NOTHING:
            continue
        work = work_of(network, index, index, options.batch)
        seconds, by_bytes = work.seconds(options.card), work.bytes / CARDS[options.card][1]
        total = Work(total.flops + work.flops, total.bytes + work.bytes)
        least += seconds
        limited += seconds if by_bytes >= seconds else 0.0
        print(
            f"{index:4} {kind:14} {layer.w:4} x{layer.h:4} x{layer.c:5} {work.flops / 1e9:8.3f} G"
            f"{work.bytes / 1e6:9.2f} MB {1e6 * seconds:8.2f} us "
            f"{'bytes' if by_bytes >= seconds else 'operations'}"
        )
    print(
        f"{options.cfg.stem}-{options.size}, batch {options.batch}, {options.card}: "
        f"{total.flops / 1e9:.2f} G operations, {total.bytes / 1e6:.1f} MB, at least "
        f"{1e6 * least:.0f} us, of these {1e6 * limited:.0f} us for bytes"
    )


if __name__ == "__main__":
    main()
