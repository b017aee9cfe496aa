"""Ten training steps beside an independent float64 PyTorch model of the same cfg.

YOLOv3-tiny with Darknet's loss, a mask stage on its frozen detector, and both together with smooth
functions: the same initial weights, images and objects; losses within 1e-4, and every parameter
array's change within 1e-3 of the reference's change. The model: torch_reference.py. From the engine
it takes, besides the initial weights, only which boxes were drawn to learn masks from.
"""

from __future__ import annotations

import os
import re

import numpy as np
import pytest

from networks import Net
from roi_support import Truths, blob, bounds, get_rois
from test_learning import with_keys
from yolomask._native import check, ffi, lib

pytest.importorskip("torch")
import torch_reference

BATCH, STEPS, SIZE = 2, 10, (160, 96)
LOSS_TOLERANCE, CHANGE_TOLERANCE = 1e-4, 1e-3


def all_params(net: Net) -> dict[tuple[int, str], np.ndarray]:
    """Copies of the parameters, by layer and name."""
    return {
        (index, name): values.astype(np.float64)
        for index in range(net.info.layer_count)
        for name, values in net.params(index).items()
    }


def shrink_scales(net: Net) -> None:
    """Batch normalisation with scales of 1/16 in place of 1.

    Near 1 float32 steps by 1e-7, a thousandth of the way that ten gentle updates go; small scales
    are known as well as the other parameters.
    """
    for index in range(net.info.layer_count):
        params = net.params(index)
        if "scales" in params:
            params["scales"][:] /= 16
    lib.dn_network_touch(net.handle)


def scene(rng, width: int, height: int, classes: int) -> tuple[np.ndarray, list]:
    """A batch of images that show their objects, and the objects."""
    images = rng.uniform(0.3, 0.5, (BATCH, 3, height, width)).astype(np.float32)
    objects = []
    for image in images:
        rows = []
        for _ in range(3):
            h, w = rng.integers(height // 6, height // 2), rng.integers(width // 6, width // 2)
            y, x = rng.integers(0, height - h), rng.integers(0, width - w)
            mask = np.zeros((height, width), bool)
            mask[y : y + h, x : x + w] = blob(rng, h, w)
            image[:, mask] += rng.uniform(-0.3, 0.5, (3, 1)).astype(np.float32)
            row = {"mask": mask, "box": bounds(mask), "class_id": int(rng.integers(classes))}
            rows.append(row)
        objects.append(rows)
    return images, objects


@pytest.fixture(autouse=True)
def one_instruction_set():
    """The same rounding on every machine.

    One value in millions lies so near to a kink of leaky or of a maximum that rounding decides its
    side, which changes the gradients of a small map by a thousandth.
    """
    if not lib.dn_test_isa(b"avx2"):
        assert lib.dn_test_isa(b"plain")
    yield
    lib.dn_test_isa(os.environ.get("DARKNET_ISA", "").encode())


class Run:
    """Our network, its optimizer and the batch that it learns."""

    def __init__(self, cfg, stage, size):
        self.stage, self.steps = stage, 0
        width, height = size
        options = {"batch": BATCH, "width": width, "height": height, "stage": stage, "seed": 11}
        self.net = Net(cfg, training=True, **options)
        self.images, self.objects = scene(np.random.default_rng(7), width, height, 80)
        self.truths = Truths(self.objects)
        if stage == lib.DN_STAGE_ALL:
            shrink_scales(self.net)
        self.start = all_params(self.net)
        out = ffi.new("dn_optimizer **")
        check(lib.dn_optimizer_create(self.net.handle, out))
        self.optimizer = ffi.gc(out[0], lib.dn_optimizer_free)
        types = [ffi.string(self.net.layer(k).type) for k in range(self.net.info.layer_count)]
        self.has_branch = b"roialign" in types

    def step(self):
        """One update; the boxes it drew and its loss."""
        net = self.net
        data, rate = net._set_input(self.images), ffi.new("float *")
        truth = self.truths.handle
        check(lib.dn_network_train_forward(net.handle, data, BATCH, truth, self.steps))
        rois, loss = get_rois(net) if self.has_branch else [], lib.dn_network_loss(net.handle)
        check(lib.dn_network_backward(net.handle, ffi.NULL))
        self.steps += 1
        check(lib.dn_network_rate(net.handle, self.stage, self.steps, rate))
        check(lib.dn_optimizer_step(self.optimizer, net.handle, rate[0], BATCH))
        return rois, loss


def compare_steps(cfg, stage, rate, size=SIZE, train_from=0, **options):
    """Trains both for ten steps; returns the boxes that masks were learned from."""
    run = Run(cfg, stage, size)
    model = torch_reference.Model(cfg, *size, run.start, train_from=train_from, **options)
    losses, drawn = [], []
    for _ in range(STEPS):
        rois, loss = run.step()
        wanted = model.train_step(run.images, run.objects, rate, rois)
        for index, value in wanted.items():
            assert run.net.layer(index).loss == pytest.approx(value, rel=LOSS_TOLERANCE)
        assert loss == pytest.approx(np.mean(list(wanted.values())), rel=LOSS_TOLERANCE)
        losses.append(loss)
        drawn += rois
    assert losses[-1] < 0.95 * losses[0], losses
    end, errors = all_params(run.net), []
    for key, values in model.params.items():
        change = values.detach().numpy().ravel() - run.start[key]
        if key[0] < train_from:
            assert (end[key] == run.start[key]).all(), key
            continue
        assert change.any(), f"the reference did not change {key}"
        error = np.linalg.norm(end[key] - run.start[key] - change) / np.linalg.norm(change)
        errors.append((error, key))
    assert max(errors)[0] <= CHANGE_TOLERANCE, max(errors)
    return drawn


def test_yolov3_tiny_with_darknets_loss(root, tmp_path):
    cfg, rate = tmp_path / "tiny.cfg", 1e-4
    text = (root / "cfg/yolov3-tiny.cfg").read_text()
    cfg.write_text(with_keys(text, burn_in=0, learning_rate=rate))
    compare_steps(cfg, lib.DN_STAGE_ALL, rate, momentum=0.9, weight_decay=0.0005)


def branch_cfg(root, tmp_path, **keys):
    """yolomask-tiny with few boxes of 7 x 7 bins, so that the test is short."""
    text = (root / "cfg/yolomask-tiny.cfg").read_text().replace("size=14", "size=7")
    cfg = tmp_path / "branch.cfg"
    cfg.write_text(with_keys(text, train_rois=4, **keys))
    return cfg


OPTIMIZERS = {
    "SGD": ({"mask_adam": 0}, 0.1, {"momentum": 0.9}),
    "Adam": ({"mask_adam": 1}, 1e-3, {"eps": 1e-7}),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_mask_stage_on_a_frozen_detector(root, tmp_path, name):
    keys, rate, options = OPTIMIZERS[name]
    schedule = {"mask_burn_in": 0, "mask_policy": "constant", "mask_learning_rate": rate}
    cfg = branch_cfg(root, tmp_path, **schedule, **keys)
    options = {"optimizer": name, "weight_decay": 0.0001} | options
    drawn = compare_steps(cfg, lib.DN_STAGE_MASK, rate, train_from=24, **options)
    assert any(roi.detection >= 0 for roi in drawn), "no box of the detector was drawn"
    assert any(roi.detection < 0 for roi in drawn)


def test_detector_and_masks_together(root, tmp_path):
    """Through all layers, without the kinks of leaky, relu and maxima, where errors would multiply.

    The branch has a larger rate of its own, since its loss has smaller gradients.
    """
    rate = 1e-3
    cfg = branch_cfg(root, tmp_path, burn_in=0, learning_rate=rate, pool="average")
    text = re.sub("=(leaky|relu)", "=swish", cfg.read_text().replace("maxpool", "local_avgpool"))
    detector, branch = text.split("# 24: laterals")
    branch = branch.replace("activation=", "learning_rate=200\nactivation=")
    cfg.write_text(f"{detector}#{branch}")
    drawn = compare_steps(cfg, lib.DN_STAGE_ALL, rate, momentum=0.9, weight_decay=0.0005)
    assert any(roi.detection >= 0 for roi in drawn), "no box of the detector was drawn"
