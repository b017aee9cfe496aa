"""Trainings on several GPUs of one process, by NCCL and through the host's memory.

As tests/test_replicas.py on the CPU: replicas equal one GPU with as many parts, repeat themselves
bit for bit, and end together. One GPU alone shows a sum of one. Under host-cuda there are two that
cannot read each other's memory, and an NCCL of plain loops. Run as tests/test_cuda_layers.py is.
"""

from __future__ import annotations

import ctypes
import os
import re

import numpy as np
import pytest

from test_cuda_layers import NO_CUDA
from test_replicas import STAGES, Replicas, broken_photos, check_sums, compare, losses
from yolomask import DataError
from yolomask._native import DeviceError, check, ffi, lib

pytestmark = pytest.mark.skipif(bool(NO_CUDA), reason=NO_CUDA)

ON_HOST = "host-cuda" in os.environ.get("YOLOMASK_LIBRARY", "")
TWO = "cuda:0,1"
two_gpus = pytest.mark.skipif(
    bool(NO_CUDA) or lib.dn_device_check(b"cuda:1") != lib.DN_OK, reason="needs two GPUs"
)
# On real GPUs sums within a layer take other orders with other numbers of images.
TOLERANCE = 1e-5 if ON_HOST else 1e-4


@pytest.fixture
def bench(tmp_path) -> Replicas:
    return Replicas(tmp_path)


@pytest.fixture(params=["NCCL", "the host"])
def adder(request, monkeypatch, tmp_path) -> str:
    """Who adds up the gradients; skips where there is no NCCL."""
    if request.param == "the host":
        monkeypatch.setenv("DARKNET_NCCL", "0")
    elif not has_nccl():
        pytest.skip("there is no NCCL")
    return request.param


def has_nccl() -> bool:
    linked, values = ffi.new("bool *"), ffi.new("float[4]")
    check(lib.dn_test_sum(b"cuda:0", False, values, 4, linked))
    return bool(linked[0])


@pytest.mark.parametrize("count", [1, 3, 4096, (1 << 20) + 77])
@pytest.mark.parametrize("mean", [False, True])
def test_one_gpu_adds_up_its_own(adder, count, mean):
    check_sums("cuda:0", count, mean, adder == "NCCL")


@two_gpus
@pytest.mark.parametrize("count", [1, 3, 4097, (1 << 20) + 77])
@pytest.mark.parametrize("mean", [False, True])
def test_two_gpus_add_up(adder, count, mean):
    check_sums(TWO, count, mean, adder == "NCCL")


@two_gpus
@pytest.mark.parametrize("stage", STAGES, ids=STAGES.get)
def test_two_gpus_equal_one_with_parts(bench, adder, stage):
    if stage == lib.DN_STAGE_MASK and adder != "NCCL":
        pytest.skip("what is added up is part of what the joint stage adds up")
    compare(bench, stage, TWO, "cuda:0", TOLERANCE, steps=3)


DETECTOR = {"schedule": False, "stage": lib.DN_STAGE_DETECTOR}


@two_gpus
def test_twice_the_same_bytes_and_in_pieces(bench, adder):
    whole, messages = bench.call(backup="whole", device=TWO, max_iterations=4, **DETECTOR)
    assert any(f"{adder} adds up the gradients" in sentence for sentence in messages)
    pieces, state = [], None
    for stop in (2, 4):
        options = DETECTOR | {"max_iterations": stop, "state": state}
        history, _ = bench.call(backup="pieces", device=TWO, **options)
        pieces += history
        state = "pieces/two_last.state"
    assert pieces == whole and len(whole) == 4
    assert bench.bytes("pieces/two_last.state") == bench.bytes("whole/two_last.state")


@two_gpus
def test_one_gpu_goes_on_and_two_again(bench):
    """Without batch normalisation, which sees how a batch is divided: as one GPU alone."""
    bench.edit("two.cfg", ("batch_normalize=1\n", ""), source="two.cfg")
    whole, _ = bench.call(backup="whole", device="cuda:0", max_iterations=4, **DETECTOR)
    pieces, state = [], None
    for stop, device in ((1, TWO), (2, "cuda:0"), (3, TWO), (4, "cpu")):
        options = DETECTOR | {"max_iterations": stop, "state": state}
        history, _ = bench.call(backup="pieces", device=device, **options)
        pieces += history
        state = "pieces/two_last.state"
    np.testing.assert_allclose(losses(pieces), losses(whole), rtol=1e-4)


@two_gpus
def test_a_loss_that_is_scaled_repeats_itself(bench):
    """The scale is the same on both, since what it does depends on the sum."""
    options = DETECTOR | {"max_iterations": 3, "products": lib.DN_PRODUCTS_F16}
    for backup in ("one", "again"):
        bench.call(backup=backup, device=TWO, **options)
    assert bench.bytes("one/two_last.state") == bench.bytes("again/two_last.state")


@two_gpus
def test_an_image_of_one_ends_both(bench, adder):
    broken_photos(bench, 4)
    with pytest.raises(DataError) as found:
        bench.call(strict=True, device=TWO)
    sentence = r"replica [12] of 2, on cuda:[01]: \S*photo_000004.png: .*"
    assert re.fullmatch(sentence, str(found.value)), found.value


@two_gpus
@pytest.mark.skipif(not ON_HOST, reason="needs an NCCL that fails when it is asked to")
@pytest.mark.parametrize("rank", [0, 1])
def test_a_sum_that_fails_ends_both(bench, rank):
    """The other one waits for it on the device by then."""
    library = ctypes.CDLL(os.environ["YOLOMASK_LIBRARY"])
    library.dn_host_nccl_fail(rank)
    try:
        with pytest.raises(DeviceError) as found:
            bench.call(device=TWO)
    finally:
        library.dn_host_nccl_fail(-1)
    name = f"replica {rank + 1} of 2, on cuda:{rank}"
    assert str(found.value) == f"{name}: NCCL: ncclReduceScatter: internal error"


@two_gpus
def test_a_gpu_that_is_not_there(bench):
    sentence = r"device cuda:1000: this machine has \d+ CUDA devices"
    with pytest.raises(DeviceError, match=sentence):
        bench.call(device="cuda:0,1000")
