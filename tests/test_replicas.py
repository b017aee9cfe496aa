"""Trainings on several devices of one process against those on one with as many parts a batch.

The replicas run on the CPU ("cpu,cpu"), with the code that GPUs use between copies to the host;
where there are GPUs, or with `make host-cuda-check`: tests/test_cuda_replicas.py.
"""

from __future__ import annotations

import re

import numpy as np
import pytest

from layer_harness import close
from program import write_weights
from training_support import Bench, params_of
from yolomask import DataError, DeviceError, train
from yolomask._native import ConfigError, check, ffi, lib

STAGES = {
    lib.DN_STAGE_DETECTOR: "detector",
    lib.DN_STAGE_MASK: "mask",
    lib.DN_STAGE_ALL: "joint",
}


class Replicas(Bench):
    """A folder in which replicas train."""

    def __init__(self, path):
        super().__init__(path)
        write_weights(path / "tiny.weights")

    def cfg(self, name: str, batch: int, subdivisions: int) -> str:
        """two.cfg with other numbers."""
        text = (self.path / "two.cfg").read_text()
        for key, value in {"batch": batch, "subdivisions": subdivisions}.items():
            text, count = re.subn(rf"^{key}=.*$", f"{key}={value}", text, flags=re.M)
            assert count
        (self.path / name).write_text(text)
        return name

    def photos(self) -> list:
        return sorted(self.path.glob("photo_*.png"))

    def floats(self, backup: str) -> np.ndarray:
        return params_of(self.path / backup / "two_last.weights")


def losses(history) -> list[float]:
    return [loss for _, _, loss, _ in history]


def rolled(start: np.ndarray, end: np.ndarray, parts: int) -> np.ndarray:
    """Of which constant `parts` steps of a rolling statistic would have made `end` of `start`."""
    left = 0.99**parts
    return (end - left * start) / (1 - left)


def compare(bench: Replicas, stage: int, device: str, alone: str, tolerance: float, steps=6):
    """So many replicas with `subdivisions` parts each, and one with as many parts in all."""
    count = device.count(",") + 1
    options = {"schedule": False, "stage": stage, "max_iterations": steps}
    options["weights"] = "tiny.weights"
    both = bench.cfg("several.cfg", 2 * count, 2)
    one = bench.cfg("one.cfg", 2 * count, 2 * count)
    found, _ = bench.call(both, "several", device=device, **options)
    wanted, _ = bench.call(one, "one", device=alone, **options)
    assert [row[1] for row in found] == list(range(1, steps + 1))  # each line once
    np.testing.assert_allclose(losses(found), losses(wanted), rtol=1e-4)
    both, one = "several/several_final.weights", "one/one_final.weights"
    start, wanted = (bench.params(name, False) for name in ("tiny.weights", one))
    for key, values in bench.params(both, False).items():
        close(values, wanted[key], tolerance)
    assert sum(not np.array_equal(start[key], wanted[key]) for key in wanted) >= 4
    start, wanted = (bench.params(name, True) for name in ("tiny.weights", one))
    for key, values in bench.params(both, True).items():
        averaged = (
            rolled(start[key], values, steps * 2),
            rolled(start[key], wanted[key], steps * 2 * count),
        )
        np.testing.assert_allclose(*averaged, rtol=0.05, atol=0.02)


def check_sums(device: str, count: int, mean: bool, by_devices: bool) -> None:
    """dn_test_sum, against NumPy's sums in double precision; the same bits for all."""
    ranks = device.count(",") + 1
    values = np.random.default_rng(count).normal(0, 1, (ranks, count)).astype("<f4")
    exact = values.astype(np.float64)
    wanted, terms = (x.sum(0) / (ranks if mean else 1) for x in (exact, abs(exact)))
    linked = ffi.new("bool *")
    floats = ffi.cast("float *", ffi.from_buffer(values))
    check(lib.dn_test_sum(device.encode(), mean, floats, count, linked))
    assert linked[0] == by_devices
    assert all(np.array_equal(row, values[0]) for row in values)
    assert (abs(values[0] - wanted) <= ranks * 2.0**-24 * terms).all()


@pytest.fixture
def bench(tmp_path) -> Replicas:
    return Replicas(tmp_path)


@pytest.mark.parametrize("device", ["cpu,cpu", "cpu,cpu,cpu"])
@pytest.mark.parametrize("stage", STAGES, ids=STAGES.get)
def test_replicas_equal_one_with_parts(bench, stage, device):
    compare(bench, stage, device, "cpu", 1e-5)


@pytest.mark.parametrize("device", ["cpu", "cpu,cpu", "cpu,cpu,cpu", "cpu,cpu,cpu,cpu,cpu"])
@pytest.mark.parametrize("count", [1, 4, 1000, (1 << 20) + 77])
def test_blocks_are_added_up(device, count):
    """Fewer floats than ranks, and more than one piece."""
    check_sums(device, count, count == 1000, False)


def test_twice_the_same_bytes_and_in_pieces(bench):
    """Stops in both stages and at the border; sizes, parts and Adam included."""
    whole, _ = bench.call(backup="whole", device="cpu,cpu")
    pieces, state = [], None
    for stop in (4, 6, 7, 0):
        history, _ = bench.call(
            backup="pieces", state=state, max_iterations=stop, threads=4, device="cpu,cpu"
        )
        pieces += history
        state = "pieces/two_last.state"
    assert pieces == whole and len(whole) == 12
    assert bench.finals("pieces") == bench.finals("whole")


def test_other_numbers_of_replicas_go_on(bench):
    """A detector without batch normalisation, which sees how a batch is divided."""
    bench.edit("two.cfg", ("batch_normalize=1\n", ""), ("batch=4", "batch=12"), source="two.cfg")
    options = {"schedule": False, "stage": lib.DN_STAGE_DETECTOR}
    whole, _ = bench.call(backup="whole", max_iterations=8, **options)
    mixed, state = [], None
    for stop, device in zip((3, 5, 7, 8), ("cpu,cpu", "cpu", "cpu,cpu,cpu", "cpu"), strict=True):
        history, _ = bench.call(
            backup="mixed", state=state, max_iterations=stop, device=device, **options
        )
        mixed += history
        state = "mixed/two_last.state"
    assert [row[1] for row in mixed] == [row[1] for row in whole]
    np.testing.assert_allclose(losses(mixed), losses(whole), rtol=1e-5)
    close(bench.floats("mixed"), bench.floats("whole"), 1e-5)


def test_cancelled_between_the_parts_of_an_iteration(bench):
    """The first replica alone is asked; nothing of an unfinished iteration is left."""
    bench.call(backup="whole", max_iterations=8, device="cpu,cpu")
    state = None
    for question in (1, 5, 3, 4):
        bench.call(backup="cut", state=state, cancel=question, max_iterations=8, device="cpu,cpu")
        state = "cut/two_last.state"
    bench.call(backup="cut", state=state, max_iterations=8, device="cpu,cpu")
    assert bench.finals("cut") == bench.finals("whole")


def broken_photos(bench, *numbers: int) -> None:
    for number in numbers:
        (bench.path / f"photo_{number:06}.png").write_bytes(b"no image")


def test_an_error_of_one_ends_all(bench):
    """Each replica has other images: one meets this one first, and the sentence names it."""
    broken_photos(bench, 4)
    with pytest.raises(DataError) as found:
        bench.call(strict=True, device="cpu,cpu,cpu", cfg=bench.cfg("six.cfg", 6, 2))
    sentence = r"replica [123] of 3, on cpu: \S*photo_000004.png: .*"
    assert re.fullmatch(sentence, str(found.value)), found.value


def test_images_that_others_could_not_use_are_listed(bench):
    numbers = range(1, len(bench.photos()) // 2)
    broken_photos(bench, *numbers)
    _, messages = bench.call(device="cpu,cpu")
    listed = messages[messages.index(f"{len(numbers)} images could not be used:") + 1 :]
    assert {int(re.search(r"photo_(\d+)", line)[1]) for line in listed} == set(numbers)


def test_batches_that_cannot_be_dealt_out(bench):
    sentence = "batch=4 cannot be dealt out to 3 devices with subdivisions=2 each"
    with pytest.raises(ConfigError, match=sentence):
        bench.call(device="cpu,cpu,cpu")


@pytest.mark.parametrize(
    ("device", "sentence"),
    [
        ("cpu,cuda:0", "device cpu,cuda:0: all must be GPUs, or all the CPU"),
        ("cuda:0,1,cuda:0", "device cuda:0,1,cuda:0: cuda:0 is named twice"),
        ("cuda,0", "device cuda,0: cuda:0 is named twice"),
        ("cuda:0,", "device cuda:0,: several devices are GPUs, as cuda:0,1, or cpu,cpu"),
        ("cpu,1", "device cpu,1: several devices are"),
        ("0,1", "device 0,1: several devices are"),
        ("auto,cpu", "device auto,cpu: several devices are"),
        ("cuda:0,1024", "device cuda:0,1024: several devices are"),
        (",".join(["cpu"] * 65), "at most 64 are allowed"),
        ("cuda:0,1", None),
    ],
)
def test_devices_that_cannot_be(bench, device, sentence):
    if sentence is None and lib.dn_device_check(b"cuda:1") == lib.DN_OK:
        pytest.skip("there are two GPUs")
    with pytest.raises(DeviceError, match=re.escape(sentence or "device cuda:1: ")):
        bench.call(device=device)


def test_from_python(bench, monkeypatch):
    """A list of devices; validation by the first; what a callback raises ends all."""
    monkeypatch.chdir(bench.path)
    seen = []
    options = {"validate": True, "valid_every": 3, "seed": 3, "progress": False}
    done = train("two.cfg", "tiny.data", device=["cpu", "cpu"], on_progress=seen.append, **options)
    assert [row.iteration for row in seen] == [1, 2, 3, 4, 5, 6] * 2
    assert done.iterations == 12 and done.weights.name == "two_best.weights"

    def stop(progress) -> None:
        if progress.iteration == 4:
            raise InterruptedError("enough")

    with pytest.raises(InterruptedError, match="enough"):
        train("two.cfg", "tiny.data", device="cpu,cpu", backup="cut", on_progress=stop, **options)
    train("two.cfg", "tiny.data", device="cpu,cpu", backup="cut", resume=True, **options)
    assert bench.finals("cut") == bench.finals("backup")
