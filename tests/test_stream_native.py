"""dn_stream: the bits of dn_network_predict_batch in the images' order, whoever decodes, however
many batches are ahead; an image that fails fails alone; nobody waits for a stream that was stopped.

The device is the CPU; tests/test_cuda_stream.py runs these on "cuda", too.
"""

from __future__ import annotations

import os
import threading
import time

import cv2
import numpy as np
import pytest

from api_support import MASK_CFG, noise
from networks import Net
from stream_support import Stream, predict
from yolomask import CancelledError, DataError, DeviceError
from yolomask._native import check, ffi, lib

PLAIN_CFG = MASK_CFG[: MASK_CFG.index("[route]")]  # a detector
PICTURES = [noise(i, 50 + 10 * (i % 3), 80 - 10 * (i % 2)) for i in range(9)]


@pytest.fixture(params=[1, 3], scope="module")
def batch(request):
    return request.param


@pytest.fixture(params=["masks", "boxes"])
def net(request, batch):
    cfg = MASK_CFG if request.param == "masks" else PLAIN_CFG
    return Net(cfg, batch=batch, keep_all=False, seed=3)


def groups(items: list, size: int) -> list[list]:
    return [items[i : i + size] for i in range(0, len(items), size)]


@pytest.mark.parametrize("options", [{}, {"workers": 3}, {"ahead": 1}, {"workers": 2, "ahead": 7}])
def test_bits_are_those_of_predict(net, batch, options):
    batches = groups(PICTURES, batch)
    wanted = [one for some in batches for one in predict(net, *some)]
    assert sum(map(len, wanted)) > len(PICTURES)
    stream, found, left = Stream(net, **options), [], list(batches)
    while left or len(found) < len(PICTURES):
        while left and stream.has_room():
            stream.submit(*left.pop(0))
        found.append(stream.next())
    assert [number for number, _, _ in found] == list(range(len(PICTURES)))
    assert [values for _, values, _ in found] == wanted
    assert stream.next() is None
    stream.submit(PICTURES[0])  # goes on behind the end
    assert stream.next()[1:] == (wanted[0] if batch == 1 else predict(net, PICTURES[0])[0], None)


def test_files_are_decoded_and_handed_out(net, batch, tmp_path):
    stream, paths = Stream(net, workers=2), []
    for i, picture in enumerate(PICTURES[:batch]):
        paths.append(str(tmp_path / f"{i}.png"))
        cv2.imwrite(paths[-1], picture[..., ::-1])
    stream.submit(*paths)
    wanted = predict(net, *PICTURES[:batch])
    for picture, values in zip(PICTURES, wanted, strict=False):
        assert stream.next()[1:] == (values, picture.tobytes())


def test_an_image_that_fails_fails_alone(net, batch, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    good = [PICTURES[i] for i in range(2 * batch)]
    stream = Stream(net, ahead=3)
    stream.submit(*([str(bad), *good[1:batch]]))
    stream.submit(*good[batch:])
    with pytest.raises(DataError, match=r"bad\.png"):
        stream.next()
    wanted = predict(net, *good[1:batch]) if batch > 1 else []
    wanted += predict(net, *good[batch:])
    found = [stream.next() for _ in wanted]
    assert [values for _, values, _ in found] == wanted
    assert [number for number, _, _ in found] == list(range(1, 2 * batch))
    stream.submit(str(tmp_path / "missing.png"))
    stream.submit(good[0])
    with pytest.raises(OSError, match=r"missing\.png"):
        stream.next()
    assert stream.next()[1] == predict(net, good[0])[0]


def test_others_use_the_network_in_between(net):
    """A batch may have begun that is handed out later."""
    wanted = [predict(net, picture)[0] for picture in PICTURES]
    stream = Stream(net, ahead=4)
    for picture in PICTURES[:4]:
        stream.submit(picture)
    time.sleep(0.05)  # all are prepared, so that one is ahead
    for i in range(4):
        assert stream.next()[1] == wanted[i]
        other = []
        thread = threading.Thread(target=lambda o=other: o.extend(predict(net, PICTURES[7])))
        thread.start()
        thread.join()
        assert other[0] == wanted[7]
        assert predict(net, PICTURES[8])[0] == wanted[8]


def test_freed_at_any_moment(net, batch):
    for taken in range(3):
        stream = Stream(net, ahead=3, workers=2)
        for _ in range(3):
            stream.submit(*PICTURES[:batch])
        for _ in range(taken):
            stream.next()
        stream.close()
    assert predict(net, PICTURES[0])


def test_stopping_wakes_all_who_wait(net):
    stream, ended = Stream(net, ahead=1), []
    stream.submit(PICTURES[0])

    def wait(action):
        with pytest.raises(CancelledError, match="stopped"):
            action()
        ended.append(True)

    empty = Stream(net)
    waiting = [
        threading.Thread(target=wait, args=(lambda: stream.submit(PICTURES[1]),)),
        threading.Thread(target=wait, args=(lambda: check(lib.dn_stream_wait(empty.handle)),)),
    ]
    for thread in waiting:
        thread.start()
    time.sleep(0.02)
    assert not ended
    lib.dn_stream_stop(stream.handle)
    lib.dn_stream_stop(empty.handle)
    for thread in waiting:
        thread.join(10)
    assert ended == [True, True]
    wait(stream.next)


def test_what_is_refused(net, batch):
    with pytest.raises(ValueError, match="-1 workers"):
        Stream(net, workers=-1)
    with pytest.raises(ValueError, match="9999 batches"):
        Stream(net, ahead=9999)
    with pytest.raises(ValueError, match="decoder 7: 0"):
        Stream(net, decoder=7)
    with pytest.raises(
        DeviceError, match="nvJPEG decodes files for networks on a GPU, this one is"
    ):
        Stream(net, decoder=lib.DN_DECODE_DEVICE)
    stream = Stream(net)
    for images in ([], [PICTURES[0]] * (batch + 1)):
        with pytest.raises(
            ValueError, match=rf"images: this stream's network was made for 1\.\.{batch}"
        ):
            stream.submit(*images)
    with pytest.raises(ValueError, match="it has no pixels"):
        stream.submit(np.zeros((0, 5, 3), np.uint8))
    stream.submit(PICTURES[0])
    check(lib.dn_network_resize(net.handle, 96, 64))
    with pytest.raises(ValueError, match="made for an input of 64 x 64, the network has 96 x 64"):
        stream.next()
    training = Net(MASK_CFG, training=True)
    with pytest.raises(ValueError, match="training = false"):
        Stream(training)


def test_without_memory(fail_allocations):
    net = Net(MASK_CFG, keep_all=False, seed=3)
    wanted = predict(net, PICTURES[0])[0]

    def run():
        stream = Stream(net, workers=1)
        stream.submit(PICTURES[0])
        assert stream.next()[1] == wanted

    fail_allocations(run)
    assert ffi.string(lib.dn_error_message())


def test_what_the_cpu_is():
    info = ffi.new("dn_device_info *")
    check(lib.dn_device_get_info(b"cpu", info))
    assert info.cores == os.cpu_count()
    with open("/proc/cpuinfo") as file:
        names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    assert ffi.string(info.name).decode() == (names[0] if names else "")
    with pytest.raises(DeviceError, match="devices are cpu, cuda"):
        check(lib.dn_device_get_info(b"npu", info))
