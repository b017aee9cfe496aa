"""The tests of layers, heads, branches and networks once more, with their networks on "cuda".

They compare with PyTorch, NumPy and golden files, both ways, and know nothing of devices:
tests/networks.py reads YOLOMASK_TEST_DEVICE. Each file runs in a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from conftest import ROOT
from test_cuda_layers import NO_CUDA

pytestmark = pytest.mark.skipif(bool(NO_CUDA), reason=NO_CUDA)

FILES = ["layers", "heads", "mask_branch", "roialign", "network", "resize", "golden", "suppression"]


@pytest.mark.parametrize("name", FILES)
def test_networks_on_cuda(name):
    words = [
        "-q",
        "--tb=short",
        "-p",
        "no:cacheprovider",
        "-m",
        "not slow",
        f"tests/test_{name}.py",
    ]
    environment = os.environ | {"YOLOMASK_TEST_DEVICE": "cuda"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words],
        cwd=ROOT, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert " passed" in done.stdout
