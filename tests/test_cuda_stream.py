"""dn_stream on the device "cuda": the tests of tests/test_stream_native.py in float32 and in half
precision, and Python's stream of files, of arrays and of arrays on the device.

Run by `make gpu-check` and `make host-cuda-check`, where what a thread asks the device for is done
as late as possible with DN_HOST_CUDA_LATE=1 (tests/host_cuda/queues.h): whoever reads before he has
waited reads something else.
"""

from __future__ import annotations

import numpy as np
import pytest

import test_stream_native as native
from api_support import MASK_CFG, NAMES, noise, write_cfg
from networks import Net
from stream_support import Stream, predict
from test_cuda_arrays import Interface, with_memory
from test_cuda_layers import NO_CUDA
from test_stream_native import (  # noqa: F401
    PICTURES,
    batch,
    test_an_image_that_fails_fails_alone,
    test_bits_are_those_of_predict,
    test_files_are_decoded_and_handed_out,
    test_freed_at_any_moment,
    test_others_use_the_network_in_between,
    test_stopping_wakes_all_who_wait,
)
from yolomask import Network
from yolomask._native import lib

pytestmark = pytest.mark.skipif(bool(NO_CUDA), reason=NO_CUDA)

LOW = {"conf": 0.05, "iou": 0.5}


KINDS = ["masks", "strings", "boxes", "masks fp16", "strings fp16", "boxes fp16"]


@pytest.fixture(params=KINDS, scope="module")
def net(request, batch):  # noqa: F811
    what, _, half = request.param.partition(" ")
    cfg = native.PLAIN_CFG if what == "boxes" else MASK_CFG
    precision = lib.DN_PRECISION_FP16 if half else lib.DN_PRECISION_DEFAULT
    made = Net(cfg, device=b"cuda", batch=batch, keep_all=False, seed=3, precision=precision)
    if what == "strings":
        made.masks = lib.DN_MASKS_RLE
    for _ in range(4):  # until half precision runs by graphs
        for images in native.groups(PICTURES, batch):
            predict(made, *images)
    return made


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("form", ["PROBABILITIES", "RLE"])
def test_other_classes_masks(form, half):
    """A mask for each class: a box's other classes do not come in one copy with the rest, but their
    strings do."""
    cfg = MASK_CFG.replace("filters=1\n", "filters=3\n").replace(
        "[mask]\nclasses=1", "[mask]\nclasses=3"
    )
    precision = lib.DN_PRECISION_FP16 if half else lib.DN_PRECISION_DEFAULT
    net = Net(cfg, device=b"cuda", keep_all=False, seed=5, precision=precision)
    net.masks = getattr(lib, f"DN_MASKS_{form}")
    wanted = [predict(net, picture, threshold=0.02)[0] for picture in PICTURES[:3]]
    detections = [values[1] for values in wanted[0]]
    assert len(set(detections)) < len(detections)  # some box has several classes
    stream = Stream(net, threshold=0.02, ahead=3)
    for picture in PICTURES[:3]:
        stream.submit(picture)
    assert [stream.next()[1] for _ in range(3)] == wanted


@with_memory
@pytest.mark.parametrize("size", [1, 2])
def test_arrays_on_the_device_beside_others(tmp_path, size):
    pictures = [noise(i) for i in range(5)]
    with Network(write_cfg(tmp_path), names=NAMES, device="cuda", batch=size) as network:
        mixed = [Interface(one) if i % 3 else one for i, one in enumerate(pictures)]
        found = list(network.stream(mixed, **LOW))
        assert len(found) == 5
        for result, wanted in zip(found, network.predict(pictures, **LOW), strict=True):
            assert np.array_equal(result.boxes.data, wanted.boxes.data)
            assert np.array_equal(result.masks.cells, wanted.masks.cells, equal_nan=True)
