"""Large inputs on their way to the device "cuda", through page-locked memory and by several
threads: floats against NumPy's rounding of them, images against the same ones that lie there.

Run by `make gpu-check` and `make host-cuda-check`; on the GPUs of tests/host_cuda once more with
DN_HOST_CUDA_LATE=1, where copies are done as late as possible, so that memory that is written anew
before it has travelled shows.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from api_support import NAMES, noise, write_cfg
from networks import Net
from test_cuda_arrays import FAKE, Interface, with_memory
from test_cuda_layers import NO_CUDA
from test_stream_native import PLAIN_CFG
from yolomask import Network
from yolomask._native import lib

pytestmark = pytest.mark.skipif(bool(NO_CUDA), reason=NO_CUDA)

# Every pixel of the input, or every fourth one, as it is.
PICK = """[net]
width={1}
height={0}
channels=3
[convolutional]
filters=3
size=1
stride={2}
activation=linear
"""

# (images, height, width, stride): what one thread copies; what a team does in two chunks; with a
# rest; more than all chunks hold at a time.
SHAPES = [(1, 100, 100, 1), (1, 296, 312, 1), (1, 500, 404, 4), (3, 508, 512, 4)]


def check_floats(shape: tuple[int, ...], threads: int = 2) -> None:
    batch, height, width, stride = shape
    options = {"precision": lib.DN_PRECISION_FP16, "keep_all": False, "threads": threads}
    net = Net(PICK.format(height, width, stride), device=b"cuda", batch=batch, **options)
    net.params(0)["weights"][:] = np.eye(3).ravel()
    lib.dn_network_touch(net.handle)
    for seed in range(2):
        values = np.random.default_rng(seed).random((batch, 3, height, width), np.float32)
        wanted = values[:, :, ::stride, ::stride].astype(np.float16)
        np.testing.assert_array_equal(net.forward(values), wanted.astype(np.float32))


@pytest.mark.parametrize("shape", SHAPES)
def test_floats(shape):
    check_floats(shape)


def test_a_network_of_one_thread():
    check_floats(SHAPES[1], 1)


# Sides of images for an input of 320 x 320: together more than all chunks hold at a time; small and
# large in turns; such that the host scales.
IMAGES = {
    "sent": [(900, 900), (800, 1000), (640, 630), (890, 910)],
    "small": [(60, 80), (900, 900), (50, 70), (80, 90)],
    "scaled": [(1000, 1000), (1000, 1200), (60, 80), (1100, 1000)],
}


LARGE_CFG = PLAIN_CFG.replace("=64", "=320").replace("stride=4", "stride=8", 1)


def check_images(what: str, precision: str) -> None:
    """Twice: the memory is there the second time."""
    with tempfile.TemporaryDirectory() as folder:
        cfg = write_cfg(Path(folder), LARGE_CFG)
        options = {"names": NAMES, "device": "cuda", "batch": 4, "precision": precision}
        with Network(cfg, **options) as network:
            for first in (0, 10):
                pictures = [noise(first + i, *size) for i, size in enumerate(IMAGES[what])]
                lying = [network.predict([Interface(p)] * 4, conf=0.15)[0] for p in pictures]
                found = network.predict(pictures, conf=0.15)
                for result, wanted in zip(found, lying, strict=True):
                    assert len(wanted) > 3, len(wanted)
                    assert np.array_equal(result.boxes.data, wanted.boxes.data)


@with_memory
@pytest.mark.parametrize("precision", ["f32", "fp16"])
@pytest.mark.parametrize("what", IMAGES)
def test_images(what, precision):
    check_images(what, precision)


def check_all() -> None:
    check_floats(SHAPES[-1])
    for what, precision in itertools.product(["sent", "scaled"], ["f32", "fp16"]):
        check_images(what, precision)


LATE = {"DN_HOST_CUDA_LATE": "1", "DARKNET_CUDNN": "rules"}  # nothing is measured there


@pytest.mark.skipif(not FAKE, reason="a real GPU copies when it will")
def test_as_late_as_possible():
    said = subprocess.run(
        [sys.executable, "-c", "import test_cuda_input as t; t.check_all()"],
        env=os.environ | LATE | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert said.returncode == 0, said.stderr
