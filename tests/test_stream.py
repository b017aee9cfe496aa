"""Network.stream and what it is made of: the same results as predict, in order, ahead of the
caller by a bounded number, and no thread left however it ends."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time

import cv2
import numpy as np
import pytest

from api_support import NAMES, noise, write_cfg
from conftest import ROOT
from yolomask import DataError, Network
from yolomask.pipeline import AHEAD, overlap

LOW = {"conf": 0.05, "iou": 0.5}


@pytest.fixture(scope="module")
def cfg(tmp_path_factory):
    return write_cfg(tmp_path_factory.mktemp("cfg"))


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = set(threading.enumerate())
    yield
    gc.collect()
    assert set(threading.enumerate()) <= before


def files(folder, count: int) -> list[str]:
    paths = [str(folder / f"{i:02}.png") for i in range(count)]
    for i, path in enumerate(paths):
        cv2.imwrite(path, noise(i))
    return paths


def same(a, b) -> bool:
    return (
        a.path == b.path
        and np.array_equal(a.orig_img, b.orig_img)
        and np.array_equal(a.boxes.data, b.boxes.data)
        and np.array_equal(a.masks.cells, b.masks.cells, equal_nan=True)
    )


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("bgr", [False, True])
def test_results_are_those_of_predict(cfg, tmp_path, batch, bgr):
    paths = files(tmp_path, 7)
    with Network(cfg, names=NAMES, threads=1, batch=batch) as network:
        found = list(network.stream(paths, **LOW, bgr=bgr))
        assert len(found) == 7
        for path, result in zip(paths, found, strict=True):
            assert result.bgr == bgr
            assert same(result, network.predict(path, **LOW, bgr=bgr))
        arrays = (noise(i) for i in range(5))
        for i, result in enumerate(network.stream(arrays, **LOW)):
            assert same(result, network.predict(noise(i), **LOW))


def test_bad_image_comes_in_its_place(cfg, tmp_path):
    paths = files(tmp_path, 4)
    (tmp_path / "02.png").write_bytes(b"no picture")
    seen = []
    with Network(cfg, names=NAMES, threads=1) as network:
        with pytest.raises(DataError, match=r"02\.png"):
            for result in network.stream(paths, **LOW):
                seen.append(result.path)
        assert seen == paths[:2]
        assert len(list(network.stream(paths[:1]))) == 1  # the network is as good as before


def test_wrong_arguments_are_told(cfg):
    network = Network(cfg, names=NAMES, threads=1)
    with pytest.raises(ValueError, match="conf and iou must be 0 to 1"):
        next(network.stream([noise(0)], conf=2))


def test_closing_the_network_ends_the_stream(cfg):
    network = Network(cfg, names=NAMES, threads=1)
    found = network.stream((noise(i) for i in range(100)), **LOW)
    next(found)
    network.close()
    with pytest.raises(ValueError, match="the network is closed"):
        list(found)


def test_stopping_early_ends_the_source(cfg):
    ended = []

    def source():
        try:
            while True:
                yield noise(1)
        finally:
            ended.append(True)

    with Network(cfg, names=NAMES, threads=1) as network:
        for _result in network.stream(source()):
            break
        gc.collect()
        assert ended == [True]
        found = network.stream(source())
        next(found)
        found.close()
        assert ended == [True, True]


def test_nothing_starts_before_it_is_asked_for(cfg):
    with Network(cfg, names=NAMES, threads=1) as network:
        found = network.stream([noise(0)])
        assert threading.active_count() == 1 or not any(
            "yolomask" in thread.name for thread in threading.enumerate()
        )
        assert len(list(found)) == 1
        assert list(network.stream([])) == []


def test_stages_overlap():
    """Three stages of a pause each: together hardly longer than one of them."""
    pause, count = 0.03, 12

    def step(item):
        time.sleep(pause)
        return item + 1

    start = time.perf_counter()
    found = []
    for item in overlap(range(count), step, step):
        time.sleep(pause)
        found.append(item)
    seconds = time.perf_counter() - start
    assert found == list(range(2, count + 2))
    assert seconds < 0.75 * 3 * count * pause


def test_stages_wait_for_the_caller():
    taken = []

    def source():
        for i in range(1000):
            taken.append(i)
            yield i

    found = overlap(source(), lambda i: i, lambda i: i)
    assert next(found) == 0
    time.sleep(0.2)
    # in each stage a queue and the item that waits for room in it, and the one in hand
    assert len(taken) <= 2 * (AHEAD + 1) + 1
    found.close()


@pytest.mark.parametrize("where", [0, 1, 2])
def test_exceptions_of_every_stage(where):
    def fail_at(stage):
        def step(item):
            if stage == where and item == 3:
                raise KeyError("three")
            return item

        return step

    def source():
        yield from map(fail_at(0), range(9))

    seen = []
    with pytest.raises(KeyError, match="three"):
        for item in overlap(source(), fail_at(1), fail_at(2)):
            seen.append(item)
    assert seen == [0, 1, 2]


LEFT_OPEN = """
import sys
from yolomask import Network
from api_support import noise
network = Network(sys.argv[1], threads=1)
found = network.stream(noise(1) for _ in iter(int, 1))
next(found)
print("done")
"""


def test_process_may_end_with_a_stream_open(cfg):
    path = f"{ROOT / 'python'}:{ROOT / 'tests'}"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LEFT_OPEN, str(cfg)],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": path},
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
