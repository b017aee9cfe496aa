"""An independent reading of .cfg files: shapes, parameters and operations, in plain Python.

It shares no line with the engine and follows the published geometry rules only, so that the
engine's counts, these counts and the published ones can be held against each other.

Counting conventions (those of the published tables):
  parameters   every float of a .weights file: biases, batch-norm scale, mean and variance, weights
  operations   convolutions only, 2 * filters * size^2 * (channels / groups) * out_h * out_w;
               a deconvolution counts 2 * filters * size^2 * channels * in_h * in_w. Layers behind
               [roialign] are counted for one RoI and kept apart (roi_operations).
Limits: image layers of the shipped networks; no recurrent layers, no shortcut weights.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Section:
    name: str
    options: dict[str, str] = field(default_factory=dict)

    def number(self, key: str, default: int) -> int:
        return int(self.options.get(key, default))

    def numbers(self, key: str) -> list[int]:
        return [int(item) for item in self.options[key].split(",")]


@dataclass
class Layer:
    index: int
    section: Section
    shape: tuple[int, int, int]  # (channels, height, width) of the output
    parameters: int = 0
    operations: int = 0
    on_rois: bool = False


@dataclass
class Model:
    net: Section
    layers: list[Layer]

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers)

    @property
    def operations(self) -> int:
        return sum(layer.operations for layer in self.layers if not layer.on_rois)

    @property
    def roi_operations(self) -> int:
        return sum(layer.operations for layer in self.layers if layer.on_rois)

    @property
    def billions(self) -> float:
        return self.operations / 1e9

    def parameters_from(self, index: int) -> int:
        return sum(layer.parameters for layer in self.layers[index:])

    @property
    def first_branch_layer(self) -> int:
        """Index of the layer after the last detection head (the number of layers: no branch)."""
        heads = [x.index for x in self.layers if x.section.name in ("yolo", "region")]
        return heads[-1] + 1


def read_sections(path: str | Path) -> list[Section]:
    sections: list[Section] = []
    for number, raw in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        line = raw.split("#")[0].split(";")[0]
        line = "".join(line.split())
        if not line:
            continue
        if line.startswith("["):
            assert line.endswith("]"), f"{path}:{number}"
            sections.append(Section(line[1:-1]))
            continue
        key, equals, value = line.partition("=")
        assert equals and key and value, f"{path}:{number}: {raw!r} is not key=value"
        assert key not in sections[-1].options, f"{path}:{number}: {key} is given twice"
        sections[-1].options[key] = value
    return sections


def _convolution(s: Section, shape, transposed: bool = False):
    c, h, w = shape
    filters, size, stride = (
        s.number("filters", 1),
        s.number("size", 1),
        s.number("stride", 1),
    )
    groups = s.number("groups", 1)
    pad = size // 2 if s.number("pad", 0) else s.number("padding", 0)
    assert c % groups == 0 and filters % groups == 0
    weights = filters * (c // groups) * size * size
    vectors = filters * (4 if s.number("batch_normalize", 0) else 1)
    if transposed:
        oh, ow = ((side - 1) * stride + size - 2 * pad for side in (h, w))
        operations = 2 * weights * h * w
    else:
        oh, ow = ((side + 2 * pad - size) // stride + 1 for side in (h, w))
        operations = 2 * weights * oh * ow
    return (filters, oh, ow), weights + vectors, operations


def _maxpool(s: Section, shape):
    c, h, w = shape
    stride = s.number("stride", 1)
    size = s.number("size", stride)
    padding = s.number("padding", size - 1)
    return (c, (h + padding - size) // stride + 1, (w + padding - size) // stride + 1)


def _route(s: Section, index: int, layers: list[Layer]):
    groups = s.number("groups", 1)
    assert 0 <= s.number("group_id", 0) < groups
    sources = [_source(value, index, layers) for value in s.numbers("layers")]
    _, h, w = sources[0].shape
    for source in sources:
        assert source.shape[1:] == (h, w), f"layer {index}: routed maps differ in size"
        assert source.shape[0] % groups == 0
    return (sum(source.shape[0] // groups for source in sources), h, w)


def _source(value: int, index: int, layers: list[Layer]) -> Layer:
    absolute = index + value if value < 0 else value
    assert 0 <= absolute < index, f"layer {index} refers to layer {absolute}"
    return layers[absolute]


def _head(s: Section, shape, index: int):
    entries = s.number("classes", 20) + s.number("coords", 4) + 1
    anchors = len(s.options["anchors"].split(","))
    assert anchors == 2 * s.number("num", 1), f"layer {index}: {anchors} anchor values"
    if s.name == "yolo":
        mask = s.numbers("mask")
        assert all(0 <= m < s.number("num", 1) for m in mask)
        heads = len(mask)
    else:
        heads = s.number("num", 1)
    assert shape[0] == heads * entries, f"layer {index}: {shape[0]} channels before the head"
    return shape


def _roialign(s: Section, index: int, layers: list[Layer]):
    sources = [_source(value, index, layers) for value in s.numbers("layers")]
    channels = {source.shape[0] for source in sources}
    assert len(channels) == 1, f"layer {index}: maps of {sorted(channels)} channels"
    assert not any(source.on_rois for source in sources)
    return (channels.pop(), s.number("size", 14), s.number("size", 14))


def _shortcut(s: Section, index: int, layers: list[Layer], shape):
    for value in s.numbers("from"):
        assert _source(value, index, layers).shape == shape, f"layer {index}: shortcut shapes"
    return shape


def count(path: str | Path, width: int | None = None, height: int | None = None) -> Model:
    net, *sections = read_sections(path)
    assert net.name in ("net", "network")
    shape = (
        net.number("channels", 0),
        height or net.number("height", 0),
        width or net.number("width", 0),
    )
    layers: list[Layer] = []
    for index, s in enumerate(sections):
        parameters = operations = 0
        on_rois = bool(layers) and layers[-1].on_rois
        if s.name in ("convolutional", "conv"):
            shape, parameters, operations = _convolution(s, shape)
        elif s.name == "deconvolutional":
            shape, parameters, operations = _convolution(s, shape, transposed=True)
        elif s.name == "maxpool":
            shape = _maxpool(s, shape)
        elif s.name == "avgpool":
            shape = (shape[0], 1, 1)
        elif s.name == "route":
            shape = _route(s, index, layers)
            on_rois = False
        elif s.name == "shortcut":
            shape = _shortcut(s, index, layers, shape)
        elif s.name == "upsample":
            stride = s.number("stride", 2)
            shape = (shape[0], shape[1] * stride, shape[2] * stride)
        elif s.name == "reorg":
            stride = s.number("stride", 1)
            shape = (shape[0] * stride * stride, shape[1] // stride, shape[2] // stride)
        elif s.name in ("yolo", "region"):
            shape = _head(s, shape, index)
        elif s.name == "roialign":
            shape = _roialign(s, index, layers)
            on_rois = True
        elif s.name == "mask":
            assert on_rois and shape[0] == s.number("classes", 80), f"layer {index}: {shape}"
            assert sections[index - 1].options["activation"] == "linear"
            shape = (1, shape[1], shape[2])
        elif s.name not in ("dropout", "softmax", "cost"):
            raise AssertionError(f"layer {index}: [{s.name}] is unknown to this counter")
        layers.append(Layer(index, s, shape, parameters, operations, on_rois))
    return Model(net, layers)
