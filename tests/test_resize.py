"""A network that was given another input size is the network that is made with that size."""

from __future__ import annotations

import numpy as np
import pytest

from conftest import published_file
from networks import Net
from program import BRANCH, LAYERS, NET
from yolomask._native import check, lib

OBJECTS = [[((10, 12, 40, 50), 0), ((20, 8, 60, 40), 1)], [((4, 4, 30, 30), 1)]]


def resize(net: Net, width: int, height: int):
    check(lib.dn_network_resize(net.handle, width, height))


def gradients(net: Net, values) -> list[np.ndarray]:
    """Losses, outputs and parameter gradients of a training pass."""
    out = [net.train_forward(values, OBJECTS), np.array([lib.dn_network_loss(net.handle)])]
    check(lib.dn_network_zero_grad(net.handle))
    net.backward()
    return out + [net.grad(i) for i in range(4)]


@pytest.mark.parametrize("sizes", [[(96, 64), (64, 96), (64, 64)], [(32, 64), (128, 96)]])
def test_training_at_another_size(sizes):
    text = NET + LAYERS
    net = Net(text, training=True)
    for width, height in sizes:
        resize(net, width, height)
        assert (net.info.width, net.info.height) == (width, height)
        values = np.random.default_rng(width).random((2, 3, height, width), np.float32)
        fresh = Net(text, training=True, width=width, height=height)
        for there, here in zip(gradients(fresh, values), gradients(net, values), strict=True):
            np.testing.assert_array_equal(there, here)


def test_the_arena_grows_only_where_it_must():
    net = Net(NET + LAYERS, training=True)
    resize(net, 128, 128)
    largest = net.info.arena_bytes
    for width, height in [(32, 32), (128, 64), (96, 96), (128, 128)]:
        resize(net, width, height)
        assert net.info.arena_bytes == largest


def test_a_real_network(root, models):
    """Packed weights, routes, shortcuts, upsampling: three sizes with the same parameters."""
    weights = published_file(models, "yolo-fastest-1.1.weights")
    cfg = root / "cfg/yolo-fastest-1.1.cfg"
    net = Net(cfg, keep_all=False)
    net.load(weights)
    for side in (320, 160, 256):
        resize(net, side, side)
        values = np.random.default_rng(side).random((1, 3, side, side), np.float32)
        fresh = Net(cfg, width=side, height=side, keep_all=False)
        fresh.load(weights)
        np.testing.assert_array_equal(fresh.forward(values), net.forward(values))


def test_masks_at_another_size():
    text = NET + LAYERS + BRANCH
    net, fresh = Net(text), Net(text, width=96, height=96)
    resize(net, 96, 96)
    values = np.random.default_rng(0).random((1, 3, 96, 96), np.float32)
    np.testing.assert_array_equal(fresh.forward(values), net.forward(values))
    pixels = [np.zeros((50, 80, 3), np.uint8)]
    there, here = fresh.predict(pixels)[0], net.predict(pixels)[0]
    assert here.instance_count == there.instance_count


def test_impossible_sizes_leave_the_network_as_it_was():
    net = Net(NET + LAYERS)
    values = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
    before = net.forward(values)
    for width, height in [(0, 64), (64, -1), (65537, 64), (65536, 65536)]:
        with pytest.raises(ValueError, match=f"an input of {width} x {height} is not possible"):
            resize(net, width, height)
    np.testing.assert_array_equal(before, net.forward(values))


def test_a_size_that_a_layer_refuses():
    text = NET + "[connected]\noutput=4\nactivation=linear\n"
    net = Net(text)
    values = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
    before = net.forward(values)
    with pytest.raises(Exception, match="an input of 32 x 32: .*weights would change from"):
        resize(net, 32, 32)
    np.testing.assert_array_equal(before, net.forward(values))


def test_no_memory_to_grow(fail_allocations):
    grown = Net(NET + LAYERS)

    def grow():
        resize(grown, 64, 64)
        resize(grown, 640, 640)

    assert fail_allocations(grow) >= 2
