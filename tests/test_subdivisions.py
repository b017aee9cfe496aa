"""A batch in parts learns what the batch as a whole does, where nothing looks at a part's images.

Batch normalisation does look at them; the networks here have none.
"""

from __future__ import annotations

import numpy as np
import pytest

from networks import Net
from program import BRANCH, LAYERS, NET
from training_support import Bench, params_of
from yolomask._native import check, ffi, lib

PLAIN_LAYERS = LAYERS.replace("batch_normalize=1\n", "")


def summed_grads(part: int) -> dict[tuple, np.ndarray]:
    """The gradients of four images, `part` at a time."""
    rng = np.random.default_rng(0)
    images = rng.random((4, 3, 64, 64)).astype(np.float32)
    objects = [[((10 + i, 8, 34, 30), i % 2), ((30, 30, 50 + i, 60), 1)] for i in range(4)]
    net = Net(NET + PLAIN_LAYERS, batch=part, training=True, seed=3)
    for first in range(0, 4, part):
        net.train_forward(images[first : first + part], objects[first : first + part])
        net.backward()
    grads, info = {}, ffi.new("dn_param_info *")
    for index in range(3):
        for k in range(net.layer(index).param_count):
            check(lib.dn_network_get_param(net.handle, index, k, info))
            name = ffi.string(info.name).decode()
            grads[index, name] = net._array(info.grad, (info.count,)).copy()
    return grads


@pytest.mark.parametrize("part", [2, 1])
def test_gradients_are_summed(part):
    """Of weights to the bit, image by image; a layer's biases are summed in double at once."""
    whole, parts = summed_grads(4), summed_grads(part)
    assert len(whole) == 6
    for key, grad in whole.items():
        assert np.abs(grad).max() > 1e-3
        if key[1] == "weights":
            np.testing.assert_array_equal(parts[key], grad, str(key))
        else:
            assert np.abs(parts[key] - grad).max() < 3e-7 * np.abs(grad).max()


@pytest.mark.parametrize("stage", ["DETECTOR", "MASK", "ALL"])
def test_trainings(tmp_path, stage):
    """Every box that can be learned from is drawn, since what is drawn depends on the part."""
    bench = Bench(tmp_path)
    text = NET.replace("subdivisions=2\n", "") + PLAIN_LAYERS
    text += BRANCH.replace("max_rois=10", "max_rois=10\ntrain_rois=400\nbox_jitter=0")
    start = Net(text, seed=1)
    check(lib.dn_network_save_weights(start.handle, str(tmp_path / "x.weights").encode(), 0, -1))
    weights, losses = {}, {}
    for parts in (1, 2, 4):
        keys = f"subdivisions={parts}\nmask_warmup=4\nmask_max_batches=8\nmask_learning_rate=.1\n"
        (tmp_path / "x.cfg").write_text(text.replace("[net]\n", "[net]\n" + keys))
        options = {"stage": getattr(lib, f"DN_STAGE_{stage}"), "schedule": False, "plain": True}
        options |= {"weights": "x.weights", "max_iterations": 8}
        history, _ = bench.call("x.cfg", f"out{parts}", **options)
        weights[parts] = params_of(tmp_path / f"out{parts}/x_final.weights").astype(np.float64)
        losses[parts] = [loss for _, _, loss, _ in history]
    change = np.linalg.norm(weights[1] - params_of(tmp_path / "x.weights"))
    assert change > 1e-3
    for parts in (2, 4):
        assert losses[parts] == pytest.approx(losses[1], rel=1e-5)
        assert np.linalg.norm(weights[parts] - weights[1]) < 1e-4 * change
