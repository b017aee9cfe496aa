"""What dn_stream does not wait for on the device "cuda": that the next batch begins before boxes,
strings and masks are there, and that what has to be made again, with more room, has the same bits.

Run by `make gpu-check` and `make host-cuda-check`; with DN_HOST_CUDA_LATE=1 work is done as late as
possible (tests/host_cuda/queues.h).
"""

from __future__ import annotations

import ast
import ctypes
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from api_support import MASK_CFG, NAMES, noise, write_cfg
from networks import Net
from stream_support import Stream, predict
from test_cuda_arrays import FAKE
from test_cuda_layers import NO_CUDA
from test_stream_native import PICTURES, PLAIN_CFG
from yolomask import Network
from yolomask._native import check, ffi, find_library, lib

pytestmark = pytest.mark.skipif(bool(NO_CUDA), reason=NO_CUDA)

LOW = {"conf": 0.05, "iou": 0.5}
KINDS = ["boxes", "masks", "strings", "kept"]


def make(what: str, half: bool = False, **options) -> Net:
    precision = lib.DN_PRECISION_FP16 if half else lib.DN_PRECISION_DEFAULT
    cfg = PLAIN_CFG if what == "boxes" else MASK_CFG
    given = {"device": b"cuda", "keep_all": False, "seed": 3, "precision": precision}
    net = Net(options.pop("cfg", cfg), **(given | options))
    forms = {"strings": lib.DN_MASKS_RLE, "kept": lib.DN_MASKS_ON_DEVICE}
    net.masks = forms.get(what, lib.DN_MASKS_PROBABILITIES)
    return net


# ---- what is waited for ----


def left_of(net: Net, wanted: list) -> int:
    """How much is still to be done when a result has come, and another batch was prepared."""
    library = ctypes.CDLL(str(find_library()[0]))
    for attempt in range(8):
        stream = Stream(net, ahead=3)
        for picture in PICTURES[:3]:
            stream.submit(picture)
        time.sleep(0.01 * 2**attempt)  # nobody tells when the second one is prepared
        found: list[int] = []
        first = stream.next(lambda to=found: to.append(library.dn_host_put_off_work()))
        assert first[1] == wanted[0]
        assert [stream.next()[1] for _ in range(2)] == wanted[1:]
        if found[0]:
            break
    return found[0]


def left_of_all() -> dict[str, int]:
    found = {}
    for half in (False, True):
        for what in KINDS:
            net = make(what, half)
            for _ in range(3):
                wanted = [predict(net, picture)[0] for picture in PICTURES[:3]]
            found[f"{what} {half}"] = left_of(net, wanted)
    return found


@pytest.mark.skipif(not FAKE, reason="a real GPU: what is not done yet is not known")
def test_the_next_batch_is_ahead():
    """Where work is done as late as it may: somebody who waits for a pass has none left."""
    said = subprocess.run(
        [sys.executable, "-c", "import test_cuda_ahead as t; print(t.left_of_all())"],
        env=os.environ | {"DN_HOST_CUDA_LATE": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert said.returncode == 0, said.stderr
    found = ast.literal_eval(said.stdout)
    assert len(found) == 2 * len(KINDS)
    assert all(left > 0 for left in found.values()), found


# ---- what is made again ----


def crowd_cfg(stride: int) -> str:
    """A head on a map of a cell a `stride` x `stride` pixels, all of whose boxes pass."""
    cfg = PLAIN_CFG.replace("stride=4", f"stride={stride}", 1).replace("stride=4", "stride=1", 1)
    return cfg.replace("=64", "=48")


@pytest.mark.parametrize(
    ("stride", "half", "batch"), [(4, False, 1), (4, True, 2), (2, True, 1), (1, False, 1)]
)
def test_more_boxes_than_there_is_room_for(stride, half, batch):
    """288, 1,152 and 4,608 boxes an image; room is made for 256 at first, and for 4,096 at most."""
    cfg, alone = crowd_cfg(stride), make("boxes", half, cfg=crowd_cfg(stride), batch=batch)
    count = 3 if stride == 1 else 6
    batches = [[noise(batch * i + k) for k in range(batch)] for i in range(count)]
    wanted = [one for some in batches for one in predict(alone, *some)]
    assert all(len(one) > 50 for one in wanted)
    net = make("boxes", half, cfg=cfg, batch=batch)
    stream = Stream(net, ahead=count)
    for some in batches:
        stream.submit(*some)
    found = []
    for _ in wanted:
        found.append(stream.next()[1])
        if len(found) == 2:  # another one's pass, between the batches that are made again
            assert predict(net, *batches[-1], threshold=0.3) == predict(
                alone, *batches[-1], threshold=0.3
            )
    assert found == wanted


def runs_of(string: bytes) -> int:
    """Of a string of COCO's: a number ends with a character that says so."""
    return sum(not (c - 48) & 32 for c in string)


@pytest.mark.parametrize("half", [False, True])
def test_strings_that_find_too_little_room(half):
    """Masks of more turns than the four a column that there is room for at first."""
    pictures = [noise(i, 150, 200) for i in range(3)]
    alone, net = make("strings", half), make("strings", half)
    wanted = [predict(alone, picture)[0] for picture in pictures]
    for image in wanted:
        columns = sum(one[11] - one[9] + 2 for one in image)
        turns = sum(runs_of(one[-1]) - 1 for one in image)
        assert turns > 4 * columns + 64
    stream = Stream(net, ahead=4)
    for picture in pictures:
        stream.submit(picture)
    assert [stream.next()[1] for _ in pictures] == wanted


# ---- masks that stay on the device ----


@pytest.mark.parametrize("size", [1, 2])
def test_masks_that_stay(tmp_path, size):
    """Each result has its own, whatever comes after, and whoever is closed before. Compared with
    batches as large, since CUDA's libraries do not promise a single image's bits."""
    pictures = [noise(i) for i in range(7)]
    with Network(write_cfg(tmp_path), names=NAMES, device="cuda", batch=size) as network:
        wanted = network.predict(pictures[:3], **LOW) + network.predict(pictures[3:], **LOW)
        first = list(network.stream(pictures[:3], **LOW, masks="device"))
        for found, alone in zip(first, wanted, strict=False):
            assert np.array_equal(found.masks.data, alone.masks.data)
        del found, first[1:]  # others take their place
        more = list(network.stream(pictures[3:], **LOW, masks="device"))
        assert len(more) == 4
    for found, alone in zip(first + more, wanted[:1] + wanted[3:], strict=True):
        assert np.array_equal(found.boxes.data, alone.boxes.data)
        assert np.array_equal(found.masks.data, alone.masks.data)
        assert found.masks.data.any()


# ---- others in between, and what fails ----


@pytest.mark.parametrize("what", KINDS)
def test_others_ask_for_something_else_in_between(what):
    """Other thresholds, and passes of dn_network_forward."""
    net = make(what)
    values = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
    wanted = [predict(net, picture)[0] for picture in PICTURES[:5]]
    fewer = predict(net, PICTURES[5], threshold=0.3)
    out = net.forward(values, 0.2)
    stream = Stream(net, ahead=5)
    for picture in PICTURES[:5]:
        stream.submit(picture)
    for i, one in enumerate(wanted):
        assert stream.next()[1] == one
        if i % 2:
            assert np.array_equal(net.forward(values, 0.2), out, equal_nan=True)
        else:
            assert predict(net, PICTURES[5], threshold=0.3) == fewer


@pytest.mark.parametrize("what", KINDS)
def test_a_pass_that_cannot_begin_leaves_the_one_before(what):
    net = make(what)
    wanted = [predict(net, picture)[0] for picture in PICTURES[:4]]
    stream = Stream(net, ahead=4)
    for picture in PICTURES[:3]:
        stream.submit(picture)
    assert stream.next()[1] == wanted[0]
    check(lib.dn_network_resize(net.handle, 96, 64))
    try:  # it may have begun
        assert stream.next()[1] == wanted[1]
    except ValueError as error:
        assert "the network has 96 x 64 now" in str(error)
    with pytest.raises(ValueError, match="the network has 96 x 64 now"):
        stream.next()
    check(lib.dn_network_resize(net.handle, 64, 64))
    stream.submit(PICTURES[3])
    assert stream.next()[1] == wanted[3]


@pytest.mark.parametrize("what", KINDS)
def test_without_memory(what, fail_allocations):
    """Whichever image has none: those before and behind it are right."""
    net = make(what)
    wanted = [predict(net, picture)[0] for picture in PICTURES[:3]]

    def run():
        stream, missing = Stream(net, ahead=3, workers=1), None
        for picture in PICTURES[:3]:
            stream.submit(picture)
        for one in wanted:
            try:
                assert stream.next()[1] == one
            except MemoryError as error:
                missing = error
        assert stream.next() is None
        if missing:
            raise missing

    fail_allocations(run)
    assert ffi.string(lib.dn_error_message())
