"""Networks as a whole: threads, the memory plan, gradients, frozen layers, memory that runs out."""

from __future__ import annotations

import re

import numpy as np
import pytest

from layer_harness import Net, close, net_section, write_cfg
from networks import DEVICE
from yolomask._native import check, ffi, lib

# Every layer but the heads and the mask branch, which have tests of their own. Sizes are odd where
# the layers allow it, so that no loop ends where a vector does.
EVERY_LAYER = """
[convolutional]
filters=8
size=3
pad=1
batch_normalize=1
activation=mish
[maxpool]
size=2
stride=1
[dropout]
probability=.2
[batchnorm]
[activation]
activation=gelu
[convolutional]
filters=8
size=3
pad=1
groups=8
batch_normalize=1
activation=swish
[shortcut]
from=-2,0
weights_type=per_channel
weights_normalization=softmax
activation=leaky
[sam]
from=-2
[local_avgpool]
size=2
stride=2
[deconvolutional]
filters=8
size=2
stride=2
activation=relu
[reorg]
stride=2
[reorg3d]
stride=2
reverse=1
[empty]
[crop]
crop_height=13
crop_width=11
flip=1
[upsample]
stride=2
[avgpool]
[connected]
output=8
[scale_channels]
from=14
[route]
layers=-1,14
groups=2
group_id=1
[logistic]
[convolutional]
filters=5
activation=linear
[softmax]
spatial=1
[cost]
"""
ELSEWHERE = {"yolo", "region", "roialign", "mask"}
SHAPE = (3, 3, 26, 22)


def layer_names(root) -> set[str]:
    return set(
        re.findall(r"^DN_LAYER\w*\((\w+)\)", (root / "src/core/layers.def").read_text(), re.M)
    )


def test_every_layer_is_here(root):
    assert layer_names(root) - ELSEWHERE == set(re.findall(r"\[(\w+)\]", EVERY_LAYER))


def run(tmp_path, **options):
    """A training pass and its backward: losses, the last output, every gradient."""
    rng = np.random.default_rng(0)
    net = Net(tmp_path, EVERY_LAYER, SHAPE, training=True, **options)
    net.randomize(rng, 0.3)
    x = rng.uniform(size=SHAPE).astype(np.float32)
    wanted = rng.uniform(size=(SHAPE[0], 8 * 26 * 22)).astype(np.float32)
    grad = rng.normal(size=net.learn(x, wanted, iteration=3).shape)
    net.backward(grad)
    return net, {
        "out": net.output(-1),
        "input": net.input_grad(),
        "losses": [net.layer(i).loss for i in range(net.layer_count)],
        **{(i, k): g for i in range(net.layer_count) for k, g in net.param_grads(i).items()},
        **{(i, k): v.copy() for i in range(net.layer_count) for k, v in net.params(i).items()},
    }


def same_bits(a: dict, b: dict):
    assert a.keys() == b.keys()
    for key in a:
        assert np.array_equal(a[key], b[key]), key
        assert np.isfinite(a[key]).all(), key


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_change_no_bit(tmp_path, threads):
    one, alone = run(tmp_path, threads=1)
    many, together = run(tmp_path, threads=threads)
    same_bits(alone, together)
    for i in range(one.layer_count):
        assert np.array_equal(one.output(i), many.output(i)), i
    x = np.random.default_rng(1).uniform(size=SHAPE)
    outs = [Net(tmp_path, EVERY_LAYER, SHAPE, threads=n).forward(x) for n in (1, threads)]
    assert np.array_equal(*outs)


def test_the_plan_changes_no_bit(tmp_path):
    """Tensors that share memory give what tensors with memory of their own give."""
    kept, all_kept = run(tmp_path)
    planned, reused = run(tmp_path, keep_all=False)
    same_bits(all_kept, reused)
    assert planned.info.arena_bytes < kept.info.arena_bytes
    x = np.random.default_rng(1).uniform(size=SHAPE)
    plainly = {"precision": lib.DN_PRECISION_PLAIN}
    nets = [Net(tmp_path, EVERY_LAYER, SHAPE, keep_all=k, **plainly) for k in (True, False)]
    assert np.array_equal(*[net.forward(x) for net in nets])
    assert nets[1].info.arena_bytes < 0.5 * nets[0].info.arena_bytes


def test_the_seed_decides(tmp_path):
    def weights(seed):
        return Net(tmp_path, EVERY_LAYER, SHAPE, seed=seed).params(0)["weights"].copy()

    assert np.array_equal(weights(5), weights(5))
    assert not np.array_equal(weights(5), weights(6))


def test_batches_and_single_images_agree(tmp_path):
    """The CPU adds in one order whatever the batch; cuBLAS and cuDNN choose kernels by the size."""
    net = Net(tmp_path, EVERY_LAYER, SHAPE)
    x = np.random.default_rng(1).uniform(size=SHAPE).astype(np.float32)
    together = net.forward(x)
    for image in range(SHAPE[0]):
        alone = net.forward(x[image : image + 1])[0]
        if DEVICE == b"cpu":
            assert np.array_equal(alone, together[image])
        close(alone, together[image])


SMOOTH = """
[convolutional]
filters=4
size=3
pad=1
batch_normalize=1
activation=swish
[deconvolutional]
filters=3
size=2
stride=2
activation=tanh
[shortcut]
from=-1
weights_type=per_channel
weights_normalization=softmax
[reorg3d]
stride=2
[convolutional]
filters=6
activation=gelu
[sam]
from=-1
[connected]
output=4
activation=elu
[logistic]
"""


def test_gradients_by_finite_differences(tmp_path):
    """Losses along random directions: what PyTorch is not asked about, layers in a row."""
    rng = np.random.default_rng(4)
    net = Net(tmp_path, SMOOTH, (3, 2, 4, 5), training=True)
    net.randomize(rng, 0.4)
    x = rng.normal(size=(3, 2, 4, 5)).astype(np.float32)
    wanted = rng.uniform(size=(3, 4))

    def loss():
        lib.dn_network_touch(net.handle)
        net.learn(x, wanted)
        return net.layer(-1).loss * 3  # of all images: what gradients belong to

    loss()
    net.backward()
    arrays = [(x, net.input_grad())]
    for i in range(net.layer_count):
        grads = net.param_grads(i)
        arrays += [(values, grads[name]) for name, values in net.params(i).items() if name in grads]
    assert len(arrays) == 1 + 3 + 2 + 1 + 2 + 2
    for values, grad in arrays:
        direction = rng.normal(size=values.shape)
        step = 1e-2 / np.sqrt(values.size)
        before = values.copy()
        values[:] = before + step * direction
        plus = loss()
        values[:] = before - step * direction
        minus = loss()
        values[:] = before
        wanted_slope = float((grad.reshape(values.shape) * direction).sum())
        slope = (plus - minus) / (2 * step)
        assert slope == pytest.approx(wanted_slope, rel=0.02, abs=2e-3)


def test_frozen_layers(tmp_path):
    """stopbackward=1: no gradient here and before; batch norm keeps its statistics."""
    cfg = EVERY_LAYER.replace("[sam]\n", "[sam]\nstopbackward=1\n")
    rng = np.random.default_rng(0)
    net = Net(tmp_path, cfg, SHAPE, training=True)
    net.randomize(rng, 0.3)
    mean = net.params(0)["mean"].copy()
    out = net.learn(rng.uniform(size=SHAPE), rng.uniform(size=(3, 8 * 26 * 22)))
    net.backward(np.ones_like(out))
    assert np.array_equal(net.params(0)["mean"], mean)
    frozen = [i for i in range(net.layer_count) if not net.layer(i).trains]
    assert frozen == list(range(8))
    assert all(net.param_grads(i) == {} and net.layer(i).grad == ffi.NULL for i in frozen)
    assert np.abs(net.param_grads(9)["weights"]).max() > 0
    assert not net.input_grad().any()


def test_gradients_of_tensors_start_at_zero(tmp_path):
    """A second pass does not see the first one's; parameters' gradients add up until zero_grad."""
    rng = np.random.default_rng(0)
    net = Net(tmp_path, SMOOTH, (3, 2, 4, 5), training=True)
    net.randomize(rng, 0.4)
    x, wanted = rng.normal(size=(3, 2, 4, 5)), rng.uniform(size=(3, 4))
    seen = []
    for _ in range(2):
        net.learn(x, wanted)
        net.backward()
        seen.append((net.input_grad(), net.param_grads(0)["weights"]))
    assert np.array_equal(seen[0][0], seen[1][0])
    close(seen[1][1], 2 * seen[0][1], 1e-6)
    net.zero_grad()
    net.learn(x, wanted)
    net.backward()
    assert np.array_equal(net.param_grads(0)["weights"], seen[0][1])


def test_every_allocation_may_fail(tmp_path, fail_allocations):
    path = write_cfg(tmp_path, net_section(SHAPE) + EVERY_LAYER)
    options = ffi.new("dn_network_options *", {"training": True, "threads": 2})

    def create():
        out = ffi.new("dn_network **")
        try:
            check(lib.dn_network_create(str(path).encode(), options, out))
        finally:
            lib.dn_network_free(out[0])

    assert fail_allocations(create) > 100


def test_describe(tmp_path):
    """Darknet's rows of the layer table (published listings of YOLOv3-tiny and others)."""
    cfg = (
        "[convolutional]\nfilters=16\nsize=3\npad=1\n[maxpool]\nsize=2\nstride=2\n"
        "[upsample]\nstride=2\n[route]\nlayers=-1,0\n[shortcut]\nfrom=-2\n[avgpool]\n[connected]\n"
        "output=10\n[softmax]\n[cost]\n"
    )
    net = Net(tmp_path, cfg, (1, 3, 416, 416))
    rows = [net.describe(i) for i in range(net.layer_count)]
    assert rows[:5] == [
        "conv     16  3 x 3 / 1   416 x 416 x   3   ->   416 x 416 x  16  0.150 BFLOPs",
        "max          2 x 2 / 2   416 x 416 x  16   ->   208 x 208 x  16",
        "upsample            2x   208 x 208 x  16   ->   416 x 416 x  16",
        "route  2 0",
        "res    2                 416 x 416 x  32   ->   416 x 416 x  32",
    ]
    assert rows[5].split() == ["avg", "416", "x", "416", "x", "32", "->", "32"]
    assert rows[6].split() == ["connected", "32", "->", "10"]
    assert rows[7].split() == ["softmax", "10"]
    assert rows[8].split() == ["cost", "10"]
