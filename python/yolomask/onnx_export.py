"""A network as ONNX files: the detector up to what its heads read, and the mask branch.

The detector's input is `images` (N, 3, height, width), RGB in 0..1, letterboxed. Its outputs are
what every [yolo] and [region] reads, named after the head (`yolo_82`), and the maps from which a
[roialign] pools (`map_108`); a classifier's is `classes`. A network with a mask branch gives a
second file, <name>.mask.onnx, from pooled boxes `rois` (R, channels, 14, 14) to `masks`
(R, classes, 28, 28), the values whose logistic [mask] takes. What the heads mean (anchors, classes,
scale_x_y, ...) and how boxes are pooled is in the files' metadata as JSON: heads, roialign, names.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

from ._native import ConfigError, check, ffi, lib
from .cfg_text import Section, read_cfg
from .network import Network
from .onnx_graph import Graph
from .onnx_layers import FUNCTIONS, Layer

HEADS = ("yolo", "region")


class _Source:
    """The layers of a network: options from the cfg, shapes and parameters from the library."""

    def __init__(self, network: Network, handle):
        self.cfg, self.handle = network.cfg, handle
        self.sections = read_cfg(network.cfg)[1:]
        info, layer = ffi.new("dn_network_info *"), ffi.new("dn_layer_info *")
        check(lib.dn_network_get_info(handle, info))
        self.shape = (info.channels, info.height, info.width)
        self.shapes, self.counts = [], []
        for index in range(info.layer_count):
            check(lib.dn_network_get_layer(handle, index, layer))
            self.shapes.append((layer.c, layer.h, layer.w))
            self.counts.append(layer.param_count)

    def inputs(self, index: int) -> list[int]:
        """The layers that a layer reads; -1 is the network's input."""
        s = self.sections[index]
        listed = s.ints("from") if "from" in s.options else s.ints("layers")
        listed = [index + k if k < 0 else k for k in listed]
        return listed if s.name in ("route", "roialign") else [index - 1, *listed]

    def params(self, index: int) -> dict[str, np.ndarray]:
        found, one = {}, ffi.new("dn_param_info *")
        for k in range(self.counts[index]):
            check(lib.dn_network_get_param(self.handle, index, k, one))
            data = np.frombuffer(ffi.buffer(one.data, 4 * one.count), np.float32)
            found[ffi.string(one.name).decode()] = data
        return found

    def emit(self, graph: Graph, index: int, values: dict[int, str]) -> str:
        s, sources = self.sections[index], self.inputs(index)
        where = f"{self.cfg}:{s.line}"
        if s.name not in FUNCTIONS:
            raise ConfigError(f"{where}: [{s.name}] has no form in ONNX here")
        for k in sources:
            if k not in values:
                raise ConfigError(f"{where}: reads layer {k}, which the ONNX graph does not have")
        shapes = [self.shape if k < 0 else self.shapes[k] for k in sources]
        layer = Layer(
            graph,
            where,
            s,
            [values[k] for k in sources],
            shapes,
            self.shapes[index],
            self.params(index),
        )
        return FUNCTIONS[s.name](layer)

    def find(self, name: str) -> int:
        """The first layer of that name, or the number of layers."""
        names = [s.name for s in self.sections]
        return names.index(name) if name in names else len(names)


def _options(s: Section, **more) -> dict:
    return {"type": s.name, **more, **s.options}


def _detector(source: _Source, batch: int, end: int) -> tuple[Graph, list[dict]]:
    """The layers before `end`, which is [roialign] or the last, and what the heads mean."""
    graph, heads = Graph(source.cfg.stem, batch), []
    values = {-1: graph.input("images", source.shape)}
    for index in range(end):
        s = source.sections[index]
        if s.name in HEADS:
            name = f"{s.name}_{index}"
            graph.output(name, values[index - 1], source.shapes[index - 1])
            heads.append(_options(s, output=name))
        else:
            values[index] = source.emit(graph, index, values)
    if end < len(source.sections):
        for k in source.inputs(end):
            graph.output(f"map_{k}", values[k], source.shapes[k])
    elif not heads:
        graph.output("classes", values[end - 1], source.shapes[end - 1])
    return graph, heads


def _branch(source: _Source, first: int) -> Graph:
    """The layers between [roialign] and [mask]."""
    graph = Graph(f"{source.cfg.stem} masks")
    values, index = {first: graph.input("rois", source.shapes[first])}, first + 1
    while source.sections[index].name != "mask":
        values[index] = source.emit(graph, index, values)
        index += 1
    graph.output("masks", values[index - 1], source.shapes[index - 1])
    return graph


def export_onnx(network: Network, out: str | os.PathLike, batch: int = 0) -> list[Path]:
    """Writes `out` and, where there is a mask branch, <stem>.mask.onnx beside it; gives the paths.
    batch: a fixed number of images, else (0) any. Needs the package `onnx`."""
    out = Path(out)
    with network._using() as handle:
        source = _Source(network, handle)
        first = source.find("roialign")
        graph, heads = _detector(source, batch, first)
        metadata = {"heads": json.dumps(heads), "names": json.dumps(network.names)}
        branch = None
        if first < len(source.sections):
            maps = [f"map_{k}" for k in source.inputs(first)]
            roialign = _options(source.sections[first], maps=maps)
            metadata["roialign"] = json.dumps(roialign)
            branch = _branch(source, first)
    written = [graph.save(out, metadata)]
    if branch:
        written.append(branch.save(out.with_suffix(".mask.onnx"), metadata))
    return written
