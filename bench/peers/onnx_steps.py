"""An exported ONNX file as a list of steps, for peers that do not read ONNX themselves.

Knows what yolomask.onnx_export writes: constants are looked up, x * sigmoid(x) is one step "Swish".
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx


@dataclass
class Step:
    kind: str
    inputs: list[str]  # values that are no constants
    output: str
    attributes: dict
    constants: list[np.ndarray]


def read_steps(path: str | Path) -> tuple[str, list[Step], list[str]]:
    """The input, the steps in order and the outputs."""
    graph = onnx.load(str(path)).graph
    constants = {c.name: onnx.numpy_helper.to_array(c) for c in graph.initializer}
    steps = []
    for node in graph.node:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        inputs = [name for name in node.input if name and name not in constants]
        given = [constants[name] for name in node.input if name in constants]
        steps.append(Step(node.op_type, inputs, node.output[0], attributes, given))
    return graph.input[0].name, _join_swish(steps), [value.name for value in graph.output]


def _join_swish(steps: list[Step]) -> list[Step]:
    sigmoids = {s.output: s for s in steps if s.kind == "Sigmoid"}
    gone = set()
    for step in steps:
        if step.kind == "Mul" and len(step.inputs) == 2 and step.inputs[1] in sigmoids:
            sigmoid = sigmoids[step.inputs[1]]
            if sigmoid.inputs[0] == step.inputs[0]:
                step.kind, step.inputs = "Swish", [step.inputs[0]]
                gone.add(sigmoid.output)
    return [s for s in steps if s.output not in gone]


def readers(steps: list[Step], outputs: list[str]) -> dict[str, int]:
    """How often a value is read, by steps or from outside."""
    count = dict.fromkeys(outputs, 1)
    for step in steps:
        for name in step.inputs:
            count[name] = count.get(name, 0) + 1
    return count
