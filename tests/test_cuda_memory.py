"""Device memory: what predictions, resizes, loads and arrays that are handed out leave behind.

On a GPU the driver counts the bytes (PyTorch's torch.cuda.mem_get_info, with nobody else on that
GPU: slow, since other tests run beside each other): nothing may be left after 10,000 predictions
and 100 loads. Through host-cuda blocks are counted, after a few of each.
"""

from __future__ import annotations

import gc

import numpy as np
import pytest

from api_support import MASK_CFG, NAMES, noise, write_cfg
from networks import Net
from test_cuda_arrays import FAKE, LIBRARY
from test_cuda_layers import NO_CUDA
from test_cuda_network import BRANCH, DETECTOR, randomize
from yolomask import Network
from yolomask._native import check, lib

pytestmark = pytest.mark.skipif(bool(NO_CUDA), reason=NO_CUDA)
if not FAKE:
    pytestmark = [pytestmark, pytest.mark.slow]

PREDICTIONS, LOADS = (40, 6) if FAKE else (10_000, 100)


def unused() -> int:
    """Grows with what is free: bytes, or the number of blocks, negative."""
    gc.collect()
    if FAKE:
        return -LIBRARY.dn_host_blocks()
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("PyTorch sees no GPU")
    return torch.cuda.mem_get_info(0)[0]


def make(**options) -> Net:
    net = Net(DETECTOR + BRANCH, device=b"cuda", batch=2, keep_all=False, **options)
    randomize(net)
    return net


@pytest.mark.parametrize("precision", ["DEFAULT", "FP16"])
@pytest.mark.parametrize("masks", ["PROBABILITIES", "RLE", "ON_DEVICE"])
def test_predictions_keep_nothing(precision, masks):
    """Layer by layer and by the plan, 10,000 of the usual ones."""
    unused()
    net = make(precision=getattr(lib, f"DN_PRECISION_{precision}"))
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    options = {"threshold": 0.3, "masks": getattr(lib, f"DN_MASKS_{masks}")}
    usual = masks == "PROBABILITIES" and precision == "DEFAULT"
    rounds = PREDICTIONS // 2 if usual else PREDICTIONS // 20
    found = [net.predict([image] * 2, **options) for _ in range(20)]
    assert found[-1][0].instance_count > 0
    del found
    before = unused()
    for _ in range(rounds):
        net.predict([image] * 2, **options)
    assert unused() == before


def test_arrays_keep_nothing(tmp_path):
    """Dense masks that are handed out, and taken by whoever asks."""
    unused()
    torch = None if FAKE else pytest.importorskip("torch")
    with Network(write_cfg(tmp_path, MASK_CFG), names=NAMES, device="cuda") as net:

        def once() -> None:
            for form in ("device", "probabilities"):
                result = net.predict(noise(1, 480, 640), conf=0.05, masks=form)
                array = result.masks.on_device()
                assert array.shape[0] > 0
                array.__dlpack__(max_version=(1, 0))
                array.__dlpack__()
                if torch:
                    assert torch.from_dlpack(array).any()

        for _ in range(5):
            once()
        before = unused()
        for _ in range(PREDICTIONS // 20):
            once()
        assert unused() == before


def test_loads_keep_nothing(tmp_path):
    """Networks that are made, loaded, run, resized and freed."""
    unused()
    path = tmp_path / "small.weights"
    check(lib.dn_network_save_weights(make().handle, str(path).encode(), 0, -1))
    image = np.zeros((48, 64, 3), np.uint8)

    def once(k: int) -> None:
        net = make(precision=(lib.DN_PRECISION_DEFAULT, lib.DN_PRECISION_FP16)[k % 2])
        net.load(path)
        net.predict([image], masks=k % 3)
        check(lib.dn_network_resize(net.handle, 128, 96))
        net.predict([image], masks=k % 3)

    for k in range(6):
        once(k)
    before = unused()
    for k in range(LOADS):
        once(k)
    assert unused() == before
