"""Device memory: what predictions, resizes and loads leave behind, as the driver counts it.

The count is PyTorch's torch.cuda.mem_get_info: this needs a GPU, PyTorch with CUDA, and nobody else
on that GPU (slow: the other tests run beside each other).
"""

from __future__ import annotations

import gc

import numpy as np
import pytest

from networks import Net
from test_cuda_layers import NO_CUDA
from test_cuda_network import BRANCH, DETECTOR, randomize
from yolomask._native import check, lib

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(NO_CUDA), reason=NO_CUDA)]


def unused() -> int:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("PyTorch sees no GPU")
    gc.collect()
    return torch.cuda.mem_get_info(0)[0]


def make() -> Net:
    net = Net(DETECTOR + BRANCH, device=b"cuda", batch=2, keep_all=False)
    randomize(net)
    return net


def test_predictions_keep_nothing():
    unused()
    net = make()
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    for _ in range(20):
        found = net.predict([image] * 2, threshold=0.3)
    assert found[0].instance_count > 0
    before = unused()
    for _ in range(5000):
        net.predict([image] * 2, threshold=0.3)
    assert unused() == before


def test_loads_keep_nothing(tmp_path):
    """Networks that are made, loaded, run, resized and freed."""
    unused()
    path = tmp_path / "small.weights"
    check(lib.dn_network_save_weights(make().handle, str(path).encode(), 0, -1))
    image = np.zeros((48, 64, 3), np.uint8)

    def once() -> None:
        net = make()
        net.load(path)
        net.predict([image])
        check(lib.dn_network_resize(net.handle, 128, 96))
        net.predict([image])

    for _ in range(5):
        once()
    before = unused()
    for _ in range(100):
        once()
    assert unused() == before
