"""One training step of a network, forward, backward and update, beside PyTorch in turns.

    python bench/bench_training.py [--threads 2] [--batch 4] [--rounds 5] [--size 416] [name ...]

Names are those of cfg/ (default: yolov3-tiny yolov3). Both compute the same layers of the same cfg
on the same number of images in float32, with batch normalisation and SGD with momentum. Ours has
Darknet's loss in its heads, PyTorch's the mean square of what the heads read, which is cheaper. The
steps take turns, so that a busy minute meets both; the figure is the median of the rounds, after
one step that is not counted. Needs torch; knows convolutions, poolings, routes, shortcuts,
upsampling and [yolo].
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from steps import ROOT, our_step
from torch import nn

from cfg_oracle import read_sections

ACTIVATIONS = {
    "linear": nn.Identity,
    "leaky": lambda: nn.LeakyReLU(0.1, inplace=True),
    "relu": lambda: nn.ReLU(inplace=True),
    "mish": lambda: nn.Mish(inplace=True),
}


class TorchNetwork(nn.Module):
    """The layers of a cfg, as PyTorch has them."""

    def __init__(self, path: Path):
        super().__init__()
        net, *self.sections = read_sections(path)
        self.layers, channels = nn.ModuleList(), [net.number("channels", 3)]
        for index, s in enumerate(self.sections):
            layer, width = nn.Identity(), channels[-1]
            if s.name == "convolutional":
                size, filters = s.number("size", 1), s.number("filters", 1)
                norm = bool(s.number("batch_normalize", 0))
                padding = size // 2 if s.number("pad", 0) else s.number("padding", 0)
                stride = s.number("stride", 1)
                parts = [nn.Conv2d(width, filters, size, stride, padding, bias=not norm)]
                if norm:
                    parts.append(nn.BatchNorm2d(filters, momentum=0.01))
                layer, width = (
                    nn.Sequential(*parts, ACTIVATIONS[s.options["activation"]]()),
                    filters,
                )
            elif s.name == "maxpool":
                size, stride = s.number("size", 2), s.number("stride", 2)
                edge = (size - 1) // 2, size - 1 - (size - 1) // 2
                pool = nn.MaxPool2d(size, stride)
                same = size == stride  # even maps: the padding is never looked at
                layer = pool if same else nn.Sequential(nn.ConstantPad2d(edge * 2, -1e30), pool)
            elif s.name == "upsample":
                layer = nn.Upsample(scale_factor=s.number("stride", 2), mode="nearest")
            elif s.name == "route":
                width = sum(channels[k + 1] for k in self.sources(s, index))
                width //= s.number("groups", 1)
            elif s.name not in ("shortcut", "yolo"):
                raise SystemExit(f"{path}: [{s.name}] is unknown to this benchmark")
            self.layers.append(layer)
            channels.append(width)

    @staticmethod
    def sources(s, index: int) -> list[int]:
        key = "from" if s.name == "shortcut" else "layers"
        return [index + k if k < 0 else k for k in s.numbers(key)]

    def forward(self, x):
        """The mean square of what the heads read, in place of a loss."""
        return sum(values.square().mean() for values in self.head_inputs(x))

    def head_inputs(self, x) -> list[torch.Tensor]:
        outputs, found = [], []
        for index, (s, layer) in enumerate(zip(self.sections, self.layers, strict=True)):
            if s.name == "route":
                parts = [outputs[k] for k in self.sources(s, index)]
                groups, chosen = s.number("groups", 1), s.number("group_id", 0)
                x = torch.cat([part.chunk(groups, 1)[chosen] for part in parts], 1)
            elif s.name == "shortcut":
                x = x + sum(outputs[k] for k in self.sources(s, index))
            elif s.name == "yolo":
                found.append(x)
            else:
                x = layer(x)
            outputs.append(x)
        return found


def torch_forward(path: Path, images: np.ndarray, device: str, half: bool):
    """A function that runs the forward pass as fast as PyTorch does: batch normalisation folded;
    `half`: float16, channels last, a CUDA graph."""
    model = TorchNetwork(path).eval()
    for k, layer in enumerate(model.layers):
        if isinstance(layer, nn.Sequential) and isinstance(layer[1], nn.BatchNorm2d):
            folded = nn.utils.fusion.fuse_conv_bn_eval(layer[0], layer[1])
            model.layers[k] = nn.Sequential(folded, layer[2])
    kind = torch.float16 if half else torch.float32
    layout = torch.channels_last if half else torch.contiguous_format
    model = model.to(device, kind, memory_format=layout)
    x = torch.from_numpy(images).to(device, kind, memory_format=layout)
    return graphed(lambda: model.head_inputs(x), half and device != "cpu")


def fastest_product(device: str, side: int):
    """Products of square matrices in float16, and the operations of each."""
    for n in (side // 2, side):
        a, b = (torch.rand(n, n, device=device, dtype=torch.float16) for _ in range(2))
        out = torch.empty_like(a)
        yield lambda a=a, b=b, out=out: torch.matmul(a, b, out=out), 2 * n**3


def fastest_copy(device: str, count: int):
    """A copy on the device, and the bytes that it reads and writes."""
    a = torch.ones(count // 4, device=device)
    b = torch.empty_like(a)
    return lambda: b.copy_(a), 2 * 4 * (count // 4)


def graphed(forward, graph: bool):
    """The function without gradients, as a CUDA graph where `graph`."""

    def step():
        with torch.inference_mode():
            return forward()

    if not graph:
        return step
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    captured = torch.cuda.CUDAGraph()
    with torch.cuda.graph(captured):
        step()
    return captured.replay


def torch_branch(path: Path, rois: int, device: str):
    """The mask branch of cfg/yolomask.cfg behind its pooled boxes, with as many channels as the
    cfg's, in float16, channels last, as a CUDA graph; with torchvision's pooling of three maps
    where that is installed."""
    last = [s for s in read_sections(path) if s.name == "deconvolutional"][-1]
    layers, width = [], last.number("filters", 1)
    for _ in range(4):
        layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU(inplace=True)]
    layers += [nn.ConvTranspose2d(width, width, 2, 2), nn.ReLU(inplace=True)]
    layers.append(nn.Conv2d(width, 80, 1))
    model = nn.Sequential(*layers, nn.Sigmoid()).eval()
    model = model.to(device, torch.float16, memory_format=torch.channels_last)

    def tensor(*shape):
        values = torch.rand(shape, device=device, dtype=torch.float16)
        return values.to(memory_format=torch.channels_last)

    try:
        from torchvision.ops import roi_align
    except ImportError:
        x = tensor(rois, width, 14, 14)
        return graphed(lambda: model(x), device != "cpu")
    maps = [tensor(1, width, side, side) for side in (13, 26, 52)]
    corners = torch.rand((rois, 2), device=device, dtype=torch.float16) * 200
    boxes = torch.cat([torch.zeros_like(corners[:, :1]), corners, corners + 150], 1)

    def forward():
        bins = [
            roi_align(m, boxes, 14, m.shape[2] / 416, sampling_ratio=2, aligned=True) for m in maps
        ]
        return model(sum(bins))

    return graphed(forward, device != "cpu")


def torch_step(path: Path, images: np.ndarray, device: str = "cpu", amp: bool = False):
    """A function that runs one step; amp: mixed precision, in the layout that is fastest there."""
    layout = torch.channels_last if amp else torch.contiguous_format
    model = TorchNetwork(path).to(device, memory_format=layout)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9, weight_decay=5e-4)
    scaler = torch.amp.GradScaler(device, enabled=amp)
    x = torch.from_numpy(images).to(device, memory_format=layout)

    def step():
        optimizer.zero_grad()
        with torch.autocast(device, torch.float16, enabled=amp):
            loss = model(x)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description="Times training steps beside PyTorch.")
    parser.add_argument("names", nargs="*", default=["yolov3-tiny", "yolov3"])
    for name, value in (("threads", 2), ("batch", 4), ("rounds", 5), ("size", 416)):
        parser.add_argument(f"--{name}", type=int, default=value)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    shape = (arguments.batch, 3, arguments.size, arguments.size)
    images = np.random.default_rng(0).random(shape, np.float32)
    for name in arguments.names:
        path = ROOT / f"cfg/{name}.cfg"
        steps = {
            "ours": our_step(path, images, threads=arguments.threads),
            f"PyTorch {torch.__version__}": torch_step(path, images),
        }
        times: dict[str, list[float]] = {program: [] for program in steps}
        for round_ in range(arguments.rounds + 1):
            for program, step in steps.items():
                start = time.perf_counter()
                step()
                if round_ > 0:
                    times[program].append(time.perf_counter() - start)
        medians = [statistics.median(found) for found in times.values()]
        for program, found in times.items():
            middle = statistics.median(found)
            print(
                f"{name}: {program}: {middle / arguments.batch:.3f} s an image "
                f"(steps {min(found):.2f} to {max(found):.2f} s)"
            )
        print(f"{name}: {medians[1] / medians[0]:.2f} times PyTorch's speed")


if __name__ == "__main__":
    isa = os.environ.get("DARKNET_ISA", "the machine's")
    print(f"{os.cpu_count()} cores, instruction set: {isa}")
    main()
