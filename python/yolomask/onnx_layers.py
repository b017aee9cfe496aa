"""Each cfg section as nodes of ONNX. A function gets the layer and gives the name of its output.

Batch norm is folded into the weights, in float64: w' = w * scale / sqrt(variance + 1e-5).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ._native import ConfigError
from .cfg_text import Section
from .onnx_graph import Graph

Shape = tuple[int, int, int]  # channels, height, width


@dataclass
class Layer:
    """What a function below needs to know of the layer that it writes."""

    graph: Graph
    where: str  # file and line, for errors
    section: Section
    inputs: list[str]
    shapes: list[Shape]  # of the inputs
    out: Shape
    params: dict[str, np.ndarray]

    def refuse(self, what: str) -> ConfigError:
        return ConfigError(f"{self.where}: [{self.section.name}] {what} has no form in ONNX here")

    def node(self, kind: str, inputs: list[str] | None = None, **attributes) -> str:
        return self.graph.node(kind, inputs or self.inputs, **attributes)


def _gelu(g: Graph, x: str) -> str:
    """x / 2 * (1 + tanh(.797885 x + .035677 x^3)), Darknet's."""
    cube = g.scaled(g.node("Mul", [x, g.node("Mul", [x, x])]), 0.035677)
    inner = g.node("Tanh", [g.node("Add", [g.scaled(x, 0.797885), cube])])
    return g.scaled(g.node("Mul", [x, g.node("Add", [inner, g.constant(1)])]), 0.5)


def _hard_mish(g: Graph, x: str) -> str:
    """x / 2 * clip(x + 2, 0, 2)."""
    ramp = g.node("Clip", [g.node("Add", [x, g.constant(2)]), g.constant(0), g.constant(2)])
    return g.scaled(g.node("Mul", [x, ramp]), 0.5)


ACTIVATIONS: dict[str, Callable[[Graph, str], str]] = {
    "linear": lambda g, x: x,
    "leaky": lambda g, x: g.node("LeakyRelu", [x], alpha=0.1),
    "logistic": lambda g, x: g.node("Sigmoid", [x]),
    "relu": lambda g, x: g.node("Relu", [x]),
    "relu6": lambda g, x: g.node("Clip", [x, g.constant(0), g.constant(6)]),
    "mish": lambda g, x: g.node("Mish", [x]),
    "swish": lambda g, x: g.node("Mul", [x, g.node("Sigmoid", [x])]),
    "hard_mish": _hard_mish,
    "tanh": lambda g, x: g.node("Tanh", [x]),
    "elu": lambda g, x: g.node("Elu", [x], alpha=1.0),
    "selu": lambda g, x: g.node("Selu", [x], alpha=1.6732, gamma=1.0507),
    "gelu": _gelu,
}


def activated(layer: Layer, value: str, default: str) -> str:
    return ACTIVATIONS[layer.section.text("activation", default)](layer.graph, value)


def _folded(layer: Layer, axis: int, shape) -> tuple[str, str]:
    """Weights of that shape, outputs along `axis`, and biases, with batch norm in both."""
    p = {name: values.astype(np.float64) for name, values in layer.params.items()}
    weights, biases = p["weights"].reshape(shape), p["biases"]
    if layer.section.int("batch_normalize", 0):
        factor = p["scales"] / np.sqrt(p["variance"] + 1e-5)
        biases = biases - p["mean"] * factor
        weights = weights * factor.reshape([-1 if k == axis else 1 for k in range(len(shape))])
    return layer.graph.constant(weights), layer.graph.constant(biases)


def _steps(s: Section, default: int = 1) -> list[int]:
    """Vertical and horizontal."""
    stride = s.int("stride", default)
    return [s.int("stride_y", 0) or stride, s.int("stride_x", 0) or stride]


def convolutional(layer: Layer) -> str:
    s, channels = layer.section, layer.shapes[0][0]
    size, groups = s.int("size", 1), s.int("groups", 1)
    padding = size // 2 if s.int("pad", 0) else s.int("padding", 0)
    dilation = s.int("dilation", 1) if size > 1 else 1
    weights = _folded(layer, 0, (layer.out[0], channels // groups, size, size))
    value = layer.node(
        "Conv",
        [layer.inputs[0], *weights],
        kernel_shape=[size, size],
        strides=_steps(s),
        pads=[padding * dilation] * 4,
        dilations=[dilation] * 2,
        group=groups,
    )
    return activated(layer, value, "logistic")


def deconvolutional(layer: Layer) -> str:
    s = layer.section
    size, stride = s.int("size", 1), s.int("stride", 1)
    padding = size // 2 if s.int("pad", 0) else s.int("padding", 0)
    weights = _folded(layer, 1, (layer.shapes[0][0], layer.out[0], size, size))
    value = layer.node(
        "ConvTranspose",
        [layer.inputs[0], *weights],
        kernel_shape=[size, size],
        strides=[stride, stride],
        pads=[padding] * 4,
        output_padding=[s.int("output_padding", 0)] * 2,
    )
    return activated(layer, value, "logistic")


def connected(layer: Layer) -> str:
    flat = layer.graph.reshape(layer.inputs[0], [int(np.prod(layer.shapes[0]))])
    weights = _folded(layer, 0, (layer.out[0], int(np.prod(layer.shapes[0]))))
    value = layer.node("Gemm", [flat, *weights], transB=1)
    return activated(layer, layer.graph.reshape(value, layer.out), "logistic")


def batchnorm(layer: Layer) -> str:
    names = ("scales", "biases", "mean", "variance")
    constants = [layer.graph.constant(layer.params[name]) for name in names]
    return layer.node("BatchNormalization", [layer.inputs[0], *constants], epsilon=1e-5)


def _pool(layer: Layer, kind: str, **attributes) -> str:
    """Darknet's padding is a total, the smaller half of it before the map; ONNX wants each side's,
    and here no more than the windows reach."""
    s = layer.section
    size = s.int("size", 0) or s.int("stride", 1)
    total = s.int("padding", -1)
    before = (size - 1 if total < 0 else total) // 2
    steps = _steps(s)
    behind = [
        max((layer.out[1 + k] - 1) * steps[k] + size - before - layer.shapes[0][1 + k], 0)
        for k in (0, 1)
    ]
    return layer.node(
        kind, kernel_shape=[size, size], strides=steps, pads=[before, before, *behind], **attributes
    )


def route(layer: Layer) -> str:
    g, s = layer.graph, layer.section
    groups, chosen = s.int("groups", 1), s.int("group_id", 0)
    parts = list(layer.inputs)
    for k, shape in enumerate(layer.shapes):
        if groups > 1:
            width = shape[0] // groups
            bounds = [[chosen * width], [(chosen + 1) * width], [1]]
            indices = [g.constant(bound, np.int64) for bound in bounds]
            parts[k] = g.node("Slice", [parts[k], *indices])
    return parts[0] if len(parts) == 1 else g.node("Concat", parts, axis=1)


def shortcut(layer: Layer) -> str:
    g, s = layer.graph, layer.section
    if any(shape != layer.out for shape in layer.shapes):
        raise layer.refuse("of maps that differ in size")
    if s.text("weights_type", "none") != "none":
        raise layer.refuse("with weights_type")
    total = g.scaled(layer.inputs[0], s.float("alpha", 1))
    for other in layer.inputs[1:]:
        total = g.node("Add", [total, g.scaled(other, s.float("beta", 1))])
    return activated(layer, total, "linear")


def scaled_map(layer: Layer) -> str:
    """[scale_channels] and [sam]: the other layer times this one, which may be 1 wide."""
    return activated(layer, layer.node("Mul", layer.inputs[::-1]), "linear")


def upsample(layer: Layer) -> str:
    g, stride = layer.graph, layer.section.int("stride", 2)
    if stride < 0:
        raise layer.refuse("with a negative stride")
    scales = g.constant([1, 1, stride, stride])
    value = g.node(
        "Resize",
        [layer.inputs[0], "", scales],
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
    return g.scaled(value, layer.section.float("scale", 1))


def reorg(layer: Layer) -> str:
    """Darknet's own order: memory read as (c / s^2, h, s, w, s) of maps s times as large."""
    if layer.section.int("reverse", 0):
        raise layer.refuse("with reverse=1")
    (c, h, w), s = layer.shapes[0], layer.section.int("stride", 1)
    value = layer.graph.reshape(layer.inputs[0], [c // (s * s), h, s, w, s])
    value = layer.node("Transpose", [value], perm=[0, 3, 5, 1, 2, 4])
    return layer.graph.reshape(value, layer.out)


def softmax(layer: Layer) -> str:
    g, s, (c, h, w) = layer.graph, layer.section, layer.shapes[0]
    groups, spatial = s.int("groups", 1), s.int("spatial", 0)
    shape = [groups, c // groups, h, w] if spatial else [groups, c * h * w // groups]
    value = g.reshape(g.scaled(layer.inputs[0], 1 / s.float("temperature", 1)), shape)
    return g.reshape(g.node("Softmax", [value], axis=2), layer.out)


def same(layer: Layer) -> str:
    return layer.inputs[0]


FUNCTIONS: dict[str, Callable[[Layer], str]] = {
    "convolutional": convolutional,
    "deconvolutional": deconvolutional,
    "connected": connected,
    "batchnorm": batchnorm,
    "activation": lambda layer: activated(layer, layer.inputs[0], "linear"),
    "maxpool": lambda layer: _pool(layer, "MaxPool"),
    "local_avgpool": lambda layer: _pool(layer, "AveragePool", count_include_pad=0),
    "avgpool": lambda layer: layer.node("GlobalAveragePool"),
    "route": route,
    "shortcut": shortcut,
    "scale_channels": scaled_map,
    "sam": scaled_map,
    "upsample": upsample,
    "reorg": reorg,
    "softmax": softmax,
    "logistic": lambda layer: layer.node("Sigmoid"),
    "dropout": same,
    "cost": same,
    "empty": same,
}
