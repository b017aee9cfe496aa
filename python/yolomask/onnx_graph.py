"""A graph of ONNX, built node by node; needs the package `onnx`, which is imported on use.

Values are called by name. Batches have a dimension of their own, named "N", or a fixed size.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

OPSET = 18  # the first with Mish; read by ONNX Runtime from 1.14 on


def require_onnx():
    try:
        import onnx
    except ImportError as error:
        raise ImportError("export needs the package onnx: pip install onnx") from error
    return onnx


class Graph:
    """Nodes and constants; inputs and outputs are declared with the shape behind the batch."""

    def __init__(self, name: str, batch: int = 0):
        self.onnx = require_onnx()
        self.name, self.batch = name, batch or "N"
        self.nodes, self.constants, self.inputs, self.outputs = [], [], [], []

    def _value(self, name: str, shape):
        float32 = self.onnx.TensorProto.FLOAT
        return self.onnx.helper.make_tensor_value_info(name, float32, [self.batch, *shape])

    def input(self, name: str, shape) -> str:
        self.inputs.append(self._value(name, shape))
        return name

    def output(self, name: str, value: str, shape) -> None:
        """Declares `value` under another name."""
        self.node("Identity", [value], name)
        self.outputs.append(self._value(name, shape))

    def constant(self, values, dtype=np.float32) -> str:
        name = f"constant_{len(self.constants)}"
        array = np.ascontiguousarray(values, dtype)
        self.constants.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def node(self, kind: str, inputs: list[str], output: str = "", **attributes) -> str:
        output = output or f"{kind}_{len(self.nodes)}"
        node = self.onnx.helper.make_node(kind, inputs, [output], output, **attributes)
        self.nodes.append(node)
        return output

    def reshape(self, value: str, shape) -> str:
        """The batch is kept, `shape` follows it."""
        return self.node("Reshape", [value, self.constant([-1, *shape], np.int64)])

    def scaled(self, value: str, factor: float) -> str:
        return value if factor == 1 else self.node("Mul", [value, self.constant(factor)])

    def _drop_identities(self) -> None:
        """Lets the node before an output write it, where nothing else reads that value."""
        readers: dict[str, int] = {}
        for node in self.nodes:
            for name in node.input:
                readers[name] = readers.get(name, 0) + 1
        makers = {name: node for node in self.nodes for name in node.output}
        kept = []
        for node in self.nodes:
            source = node.input[0]
            if node.op_type == "Identity" and readers[source] == 1 and source in makers:
                makers[source].output[0] = node.output[0]
            else:
                kept.append(node)
        self.nodes = kept

    def model(self, metadata: dict[str, str]):
        self._drop_identities()
        helper = self.onnx.helper
        graph = helper.make_graph(
            self.nodes, self.name, self.inputs, self.outputs, initializer=self.constants
        )
        made = helper.make_model(
            graph,
            producer_name="yolomask",
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=8,
        )
        helper.set_model_props(made, metadata)
        self.onnx.checker.check_model(made)
        return made

    def save(self, path: Path, metadata: dict[str, str]) -> Path:
        """Through a temporary file that is renamed."""
        part = path.with_name(path.name + ".part")
        try:
            part.write_bytes(self.model(metadata).SerializeToString())
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
        return path
