"""An exported ONNX file as ncnn's .param and .bin.

The text lists layers by type, name, number of inputs and outputs, their names, and numbered
parameters; arrays are numbered -23300 - k. A value that is read more than once goes through a
Split. Activations that ncnn's convolutions have themselves are joined to them, as its optimizer
does. Weights are float32 behind a tag of 0, biases without one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from peers.case import Unsupported
from peers.onnx_steps import Step, read_steps, readers

JOINED = {"Relu": (1, []), "LeakyRelu": (2, ["alpha"]), "Sigmoid": (4, []), "Mish": (5, [])}
BINARY = {"Add": 0, "Mul": 2}


class Writer:
    def __init__(self):
        self.lines: list[str] = []
        self.blobs = 0
        self.data: list[bytes] = []

    def layer(self, kind: str, inputs: list[str], outputs: list[str], **numbers) -> None:
        """numbers: _0=..., _1=...; a list is an array."""
        words = [kind, f"layer_{len(self.lines)}", len(inputs), len(outputs), *inputs, *outputs]
        for key, value in numbers.items():
            number = int(key[1:])
            if isinstance(value, list):
                listed = ",".join(str(v) for v in [len(value), *value])
                words.append(f"{-23300 - number}={listed}")
            elif value is not None:
                words.append(f"{number}={value}")
        self.lines.append(" ".join(str(word) for word in words))
        self.blobs += len(outputs)

    def weights(self, weights: np.ndarray, biases: np.ndarray) -> None:
        self.data += [b"\0\0\0\0", weights.astype("<f4").tobytes(), biases.astype("<f4").tobytes()]

    def save(self, stem: Path) -> None:
        text = f"7767517\n{len(self.lines)} {self.blobs}\n" + "\n".join(self.lines) + "\n"
        stem.with_suffix(".param").write_text(text, encoding="ascii")
        stem.with_suffix(".bin").write_bytes(b"".join(self.data))


def _activation(step: Step | None) -> dict:
    if step is None:
        return {}
    number, names = JOINED[step.kind]
    values = [float(step.attributes[name]) for name in names]
    return {"_9": number, **({"_10": values} if values else {})}


def _convolution(w: Writer, step: Step, inputs, outputs, follower: Step | None) -> None:
    weights, biases = step.constants
    a = step.attributes
    transposed = step.kind == "ConvTranspose"
    if transposed:
        weights = weights.transpose(1, 0, 2, 3)
    group = a.get("group", 1)
    kind = "Deconvolution" if transposed else "Convolution"
    top, left, bottom, right = a["pads"]
    w.layer(kind + "DepthWise" * (group > 1), inputs, outputs,
            _0=len(biases), _1=a["kernel_shape"][1], _11=a["kernel_shape"][0],
            _2=None if transposed else a["dilations"][1],
            _3=a["strides"][1], _13=a["strides"][0],
            _4=left, _14=top, _15=right, _16=bottom, _5=1, _6=weights.size,
            _7=group if group > 1 else None, **_activation(follower))  # fmt: skip
    w.weights(weights, biases)


def _other(w: Writer, step: Step, inputs, outputs) -> None:
    kind, a = step.kind, step.attributes
    if kind in BINARY and len(inputs) == 2:
        w.layer("BinaryOp", inputs, outputs, _0=BINARY[kind])
    elif kind == "Concat":
        w.layer("Concat", inputs, outputs, _0=0)
    elif kind == "Slice":
        start, end = int(step.constants[0][0]), int(step.constants[1][0])
        w.layer("Crop", inputs, outputs, _9=[start], _10=[end], _11=[0])
    elif kind == "Resize":
        factor = float(step.constants[0][2])
        w.layer("Interp", inputs, outputs, _0=1, _1=factor, _2=factor)
    elif kind == "MaxPool":
        top, left, bottom, right = a["pads"]
        w.layer("Pooling", inputs, outputs, _0=0, _1=a["kernel_shape"][1], _2=a["strides"][1],
                _3=left, _13=top, _14=right, _15=bottom, _5=1)  # fmt: skip
    elif kind == "LeakyRelu":
        w.layer("ReLU", inputs, outputs, _0=float(a["alpha"]))
    elif kind in ("Relu", "Sigmoid", "Mish", "Swish", "Identity"):
        w.layer({"Relu": "ReLU", "Identity": "Noop"}.get(kind, kind), inputs, outputs)
    else:
        raise Unsupported(f"has no {kind} in this benchmark")


def write_ncnn(onnx_path: Path, stem: Path, shape: tuple[int, ...]) -> None:
    """shape: (channels, height, width) of the input."""
    source, steps, outputs = read_steps(onnx_path)
    count, taken, w = readers(steps, outputs), {}, Writer()
    followers = {s.inputs[0]: s for s in steps if s.kind in JOINED}
    joined = set()

    def read(name: str) -> str:
        """The name under which the next reader finds a value."""
        if count[name] == 1:
            return name
        taken[name] = taken.get(name, -1) + 1
        return f"{name}_split_{taken[name]}"

    def split(name: str) -> None:
        if count.get(name, 1) > 1:
            w.layer("Split", [name], [f"{name}_split_{k}" for k in range(count[name])])

    w.layer("Input", [], [source], _0=shape[2], _1=shape[1], _2=shape[0])
    split(source)
    for step in steps:
        if step.output in joined:
            continue
        inputs, output = [read(name) for name in step.inputs], step.output
        if step.kind in ("Conv", "ConvTranspose"):
            follower = followers.get(output) if count[output] == 1 else None
            if follower:
                output = follower.output
                joined.add(output)
            _convolution(w, step, inputs, [output], follower)
        else:
            _other(w, step, inputs, [output])
        split(output)
    w.save(stem)
