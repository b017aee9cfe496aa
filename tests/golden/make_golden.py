"""Writes layers.npz: what PyTorch wants of the layers, for machines that have no PyTorch.

    python tests/golden/make_golden.py        (from the repository's root, after `make`)

It runs tests/test_layers.py and records what each comparison expects: cfg, inputs, parameters,
output and gradients, computed by PyTorch in float64. tests/test_golden.py replays them. Of every
test the smallest cases are kept.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER.parent), str(FOLDER.parent.parent / "python")]
PER_TEST = 3  # cases of one test function and kind of network
LARGE = 2000  # floats of a case that is left out
MORE = {"test_convolutional_activations": 24, "test_activation": 12, "test_convolutional": 8}


class Recorder:
    """A pytest plugin: notes every Expectation that a test meets."""

    def __init__(self):
        self.cases = []
        self.test = ""

    @pytest.hookimpl
    def pytest_runtest_setup(self, item):
        self.test = item.originalname

    @pytest.hookimpl
    def pytest_collection_finish(self, session):
        module = session.items[0].module
        meet = module.meet

        def record(folder, wanted):
            self.cases.append((self.test, wanted))
            return meet(folder, wanted)

        module.meet = record


class Pack:
    """Arrays laid end to end: multiples of 1/4096 below 8 as int16, all else as float32."""

    def __init__(self):
        self.parts = {"int16": [], "float32": []}

    def add(self, values: np.ndarray) -> list:
        """Takes a copy; returns what finds it again: kind, offset, shape."""
        scaled = values.astype(np.float64) * 4096
        small = np.array_equal(scaled, np.round(scaled)) and np.abs(scaled).max(initial=0) < 32768
        kind = "int16" if small else "float32"
        offset = sum(part.size for part in self.parts[kind])
        self.parts[kind].append((scaled if small else values).astype(kind).ravel())
        return [kind, offset, list(values.shape)]

    def arrays(self) -> dict[str, np.ndarray]:
        return {kind: np.concatenate(parts) for kind, parts in self.parts.items()}


def floats(case) -> int:
    return case.x.size + 2 * case.out.size + sum(v.size for v in case.params.values())


def choose(recorded):
    """The smallest cases of each test, training and inference apart; no large ones."""
    groups = {}
    for test, case in recorded:
        if floats(case) > LARGE:
            continue
        groups.setdefault((test, case.grad is None), []).append(case)
    for (test, _), cases in groups.items():
        yield from sorted(cases, key=floats)[: MORE.get(test, PER_TEST)]


def main() -> int:
    recorder = Recorder()
    if pytest.main(["-q", "-x", str(FOLDER.parent / "test_layers.py")], plugins=[recorder]):
        return 1
    pack, table = Pack(), []
    for case in choose(recorder.cases):
        row = {"sections": case.sections, "tolerance": case.tolerance}
        arrays = {"x": case.x, "out": case.out}
        arrays |= {f"param.{layer}.{name}": v for (layer, name), v in case.params.items()}
        if case.grad is not None:
            arrays |= {"grad": case.grad, "input_grad": case.input_grad}
        arrays |= {f"param_grad.{layer}.{name}": v for (layer, name), v in case.param_grads.items()}
        row["arrays"] = {key: pack.add(values) for key, values in arrays.items()}
        table.append(row)
    arrays = pack.arrays() | {"cases": np.frombuffer(json.dumps(table).encode(), np.uint8)}
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    (FOLDER / "layers.npz").write_bytes(out.getvalue())
    print(f"{len(table)} cases, {len(out.getvalue()):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
