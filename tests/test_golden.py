"""The layers against vectors that PyTorch computed (golden/make_golden.py), without PyTorch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from layer_harness import Expectation, meet

FILE = Path(__file__).parent / "golden" / "layers.npz"


def unpack(file, kind: str, offset: int, shape: list[int]) -> np.ndarray:
    values = file[kind][offset : offset + int(np.prod(shape))].reshape(shape)
    return values / np.float32(4096) if kind == "int16" else values


def read_case(file, row) -> Expectation:
    arrays = {key: unpack(file, *place) for key, place in row["arrays"].items()}
    params, grads = {}, {}
    for key, values in arrays.items():
        group, _, rest = key.partition(".")
        layer, _, name = rest.partition(".")
        if group in ("param", "param_grad"):
            (params if group == "param" else grads)[int(layer), name] = values
    return Expectation(
        sections=row["sections"],
        tolerance=row["tolerance"],
        x=arrays["x"],
        params=params,
        out=arrays["out"],
        grad=arrays.get("grad"),
        input_grad=arrays.get("input_grad"),
        param_grads=grads,
    )


def read_cases() -> list[Expectation]:
    with np.load(FILE, allow_pickle=False) as archive:
        file = dict(archive)
    return [read_case(file, row) for row in json.loads(file["cases"].tobytes())]


CASES = read_cases()


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.sections.replace("\n", " ")[:70])
def test_golden(tmp_path, case):
    meet(tmp_path, case)


LAYERS = """
convolutional deconvolutional connected maxpool local_avgpool avgpool route shortcut upsample
reorg reorg3d softmax batchnorm activation sam scale_channels logistic
"""


def test_the_file_is_small_and_whole():
    assert FILE.stat().st_size < 300_000
    sections = " ".join(case.sections for case in CASES)
    assert [name for name in LAYERS.split() if f"[{name}]" not in sections] == []
    assert sum(case.grad is None for case in CASES) >= 8
