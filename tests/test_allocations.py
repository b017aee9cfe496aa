"""The n-th allocation fails, for every n: whole jobs end with MemoryError and without an output.

Single parts have such tests beside their others; under `make sanitize` nothing may leak either.
"""

from __future__ import annotations

import os

import numpy as np
import pytest

from dataset_tools import Dataset
from program import Segmenter
from yolomask._native import check, ffi, lib


@pytest.fixture
def bench(tmp_path) -> Segmenter:
    return Segmenter(tmp_path)


def name(path) -> ffi.CData:
    return ffi.new("char[]", os.fsencode(path))


def predict(bench, pixels):
    """From the cfg to instances with masks; the outputs of failed calls stay as they were."""
    options = ffi.new("dn_network_options *", {"threads": 1, "seed": 1})
    network, result = ffi.new("dn_network **"), ffi.new("dn_result **")
    height, width = pixels.shape[:2]
    image = ffi.new("dn_image *", (width, height, ffi.from_buffer("uint8_t[]", pixels)))
    try:
        check(lib.dn_network_create(name(bench.path / "seg.cfg"), options, network))
        files = os.fsencode(bench.path / "tiny.weights") + b","
        files += os.fsencode(bench.path / "mask.weights")
        check(lib.dn_network_load_weights(network[0], files, ffi.NULL))
        wanted = ffi.new("dn_predict_options *", {"threshold": 0.05})
        check(lib.dn_network_predict(network[0], image, wanted, result))
        return result[0].instance_count, result[0].masks != ffi.NULL
    except MemoryError:
        assert result[0] == ffi.NULL
        raise
    finally:
        lib.dn_result_free(result[0])
        lib.dn_network_free(network[0])


def test_predict(bench, fail_allocations):
    pixels = np.random.default_rng(3).integers(0, 256, (48, 80, 3), np.uint8)
    instances, masks = predict(bench, pixels)
    assert instances > 3 and masks
    assert fail_allocations(lambda: predict(bench, pixels)) > 100


def test_train(bench):
    """One iteration with masks, loader threads and checkpoints included."""
    data = Dataset(bench.path / "labels.json")
    backup = bench.path / "out"
    backup.mkdir()
    fields = {
        "cfg": name(bench.path / "seg.cfg"),
        "weights": name(bench.path / "tiny.weights"),
        "backup_folder": name(backup),
        "dataset": data.handle,
        "stage": lib.DN_STAGE_MASK,
        "seed": 1,
        "threads": 1,
        "max_iterations": 1,
    }
    options, report = ffi.new("dn_train_options *", fields), ffi.new("dn_train_report *")

    def train():
        report.iterations = -1
        try:
            check(lib.dn_train(options, report))
        except MemoryError:
            assert report.iterations == -1
            assert not [f for f in os.listdir(backup) if f.endswith(".tmp")]
            raise

    # The loader works ahead, so that a failure may hit a batch that nobody wants: no end is seen.
    failures = 0
    for n in range(600):
        lib.dn_test_fail_allocation(n)
        try:
            train()
            assert report.iterations == 1
        except MemoryError:
            failures += 1
        finally:
            lib.dn_test_fail_allocation(-1)
    assert failures > 300
    train()
    assert (backup / "seg_final.mask.weights").stat().st_size > 20
