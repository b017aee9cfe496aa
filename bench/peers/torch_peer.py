"""PyTorch on the CPU: the exported layers, channels last, traced and frozen."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from peers.case import Case, Engine, Unsupported
from peers.onnx_steps import Step, read_steps

NAME = "PyTorch"


def version() -> str:
    return torch.__version__


def _convolution(step: Step, x, weights, biases):
    a = step.attributes
    pads, strides = a["pads"], list(a["strides"])
    if step.kind == "Conv":
        dilation = list(a["dilations"])
        return F.conv2d(x, weights, biases, strides, pads[:2], dilation, a["group"])
    return F.conv_transpose2d(x, weights, biases, strides, pads[:2], a["output_padding"])


def _other(step: Step, x):
    kind, a = step.kind, step.attributes
    if kind == "Slice":
        return x[0][:, int(step.constants[0][0]) : int(step.constants[1][0])]
    if kind == "Resize":
        return F.interpolate(x[0], scale_factor=float(step.constants[0][2]), mode="nearest")
    if kind == "MaxPool":
        top, left, bottom, right = a["pads"]
        size, stride = list(a["kernel_shape"]), list(a["strides"])
        if (top, left) == (bottom, right):
            return F.max_pool2d(x[0], size, stride, (top, left))
        padded = F.pad(x[0], (left, right, top, bottom), value=float("-inf"))
        return F.max_pool2d(padded, size, stride)
    simple = {
        "LeakyRelu": lambda: F.leaky_relu(x[0], a["alpha"]),
        "Relu": lambda: F.relu(x[0]),
        "Sigmoid": lambda: torch.sigmoid(x[0]),
        "Mish": lambda: F.mish(x[0]),
        "Swish": lambda: F.silu(x[0]),
        "Identity": lambda: x[0],
        "Add": lambda: x[0] + x[1],
        "Mul": lambda: x[0] * x[1],
        "Concat": lambda: torch.cat(x, 1),
    }
    if kind not in simple:
        raise Unsupported(f"has no {kind} in this benchmark")
    return simple[kind]()


class Model(torch.nn.Module):
    def __init__(self, path):
        super().__init__()
        self.source, self.steps, self.outputs = read_steps(path)
        for k, step in enumerate(self.steps):
            if "Conv" in step.kind:
                for name, values in zip(("weights", "biases"), step.constants, strict=True):
                    self.register_buffer(f"{name}_{k}", torch.from_numpy(values.copy()))

    def forward(self, images):
        values = {self.source: images}
        for k, step in enumerate(self.steps):
            x = [values[name] for name in step.inputs]
            if "Conv" in step.kind:
                weights, biases = getattr(self, f"weights_{k}"), getattr(self, f"biases_{k}")
                values[step.output] = _convolution(step, x[0], weights, biases)
            else:
                values[step.output] = _other(step, x)
        return tuple(values[name] for name in self.outputs)


def load(case: Case) -> Engine:
    if case.precision == "int8":
        raise Unsupported("has no int8 in this benchmark")
    torch.set_num_threads(case.threads)
    kind = torch.bfloat16 if case.precision == "bf16" else torch.float32
    model = Model(case.onnx).to(kind, memory_format=torch.channels_last)
    images = torch.from_numpy(case.images()).to(kind, memory_format=torch.channels_last)
    with torch.inference_mode():
        model = torch.jit.freeze(torch.jit.trace(model.eval(), images, check_trace=False))

    def run():
        with torch.inference_mode():
            return model(images)

    def outputs() -> list[np.ndarray]:
        return [value.float().numpy() for value in run()]

    return Engine(run, outputs)
