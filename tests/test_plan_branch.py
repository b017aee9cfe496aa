"""The mask branch by the plan: deconvolution against PyTorch in float64, RoIAlign against ONNX
Runtime, masks of several classes and rounds of many boxes against the layers one by one."""

from __future__ import annotations

import numpy as np
import pytest

from networks import Net
from roi_support import pool, set_rois
from test_plan import (
    CLASSES,
    agree,
    image,
    kept,
    make,
    pair,
    place_boxes,
    run,
    scatter,
    set_classes,
)
from test_roialign import onnx_roialign, pooling_cfg, random_boxes
from yolomask._native import check, ffi, lib

torch = pytest.importorskip("torch")

DECONVOLUTION = """[net]
width={w}
height={h}
channels=3
[convolutional]
filters={c}
size=1
activation=linear
[deconvolutional]
filters={filters}
size={size}
stride={size}
activation={activation}
batch_normalize={norm}
"""
ACTIVATIONS = {
    "linear": lambda x: x,
    "relu": torch.relu,
    "leaky": lambda x: torch.where(x > 0, x, 0.1 * x),
    "mish": torch.nn.functional.mish,
    "logistic": torch.sigmoid,
    "tanh": torch.tanh,
}


def steps(net: Net) -> list[tuple[str, str]]:
    info, found = ffi.new("dn_step_info *"), []
    for i in range(lib.dn_network_step_count(net.handle)):
        check(lib.dn_network_get_step(net.handle, i, info))
        found.append((ffi.string(info.kind).decode(), ffi.string(info.form).decode()))
    return found


def deconvolved(net: Net, values: np.ndarray, size: int, activation: str) -> np.ndarray:
    """What PyTorch makes of it in double."""
    shape = {i: net.layer(i).c for i in (0, 1)}
    given = [{k: torch.tensor(v).double() for k, v in net.params(i).items()} for i in (0, 1)]
    x = torch.tensor(values).double()
    weights = given[0]["weights"].view(shape[0], -1, 1, 1)
    x = torch.nn.functional.conv2d(x, weights, given[0]["biases"])
    weights = given[1]["weights"].view(shape[0], shape[1], size, size)
    x = torch.nn.functional.conv_transpose2d(x, weights, stride=size)
    column = {k: v.view(-1, 1, 1) for k, v in given[1].items() if k != "weights"}
    if "mean" in column:
        x = (x - column["mean"]) / torch.sqrt(column["variance"] + 1e-5) * column["scales"]
    return ACTIVATIONS[activation](x + column["biases"]).numpy()


# images, channels, filters, h, w, size
SHAPES = [
    (1, 16, 16, 14, 14, 2),
    (3, 21, 19, 7, 9, 2),
    (2, 300, 7, 5, 4, 2),
    (1, 5, 50, 13, 11, 3),
    (1, 9, 3, 1, 1, 4),
    (2, 8, 33, 6, 5, 1),
    (1, 24, 40, 23, 31, 2),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_deconvolution_equals_pytorch(isa, shape):
    images, c, filters, h, w, size = shape
    kinds = list(ACTIVATIONS)
    rng = np.random.default_rng(SHAPES.index(shape))
    for norm in (0, 1):
        activation = kinds[(SHAPES.index(shape) + 3 * norm) % len(kinds)]
        cfg = DECONVOLUTION.format(
            h=h, w=w, c=c, filters=filters, size=size, activation=activation, norm=norm
        )
        values = rng.random((images, 3, h, w), np.float32)
        outputs = []
        for threads in (1, 2):
            net = make(cfg, lib.DN_PRECISION_EXACT, batch=images, threads=threads)
            scatter(net)
            run(net, values)
            assert ("conv", "deconv") in steps(net)
            outputs.append(net.output(-1))
        assert outputs[0].tobytes() == outputs[1].tobytes()
        wanted = deconvolved(net, values, size, activation)
        assert np.abs(wanted).max() > 0.1
        assert np.abs(outputs[0] - wanted).max() <= 2e-6 * (1 + np.abs(wanted).max())


@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_average_of_boxes_equals_onnx_runtime(isa, samples):
    rng = np.random.default_rng(samples)
    cfg = pooling_cfg(channels=21, maps=(2,), size=7, samples=samples, pool="average")
    values = rng.normal(size=(2, 21, 24, 32)).astype(np.float32)
    boxes = random_boxes(rng, 100, 24, 32, batch=2)
    outputs = []
    for threads in (1, 2):
        net = make(cfg, batch=2, threads=threads)
        set_rois(net, boxes)
        outputs.append(net.forward(values))
        assert ("roialign", "") in steps(net)
    assert outputs[0].tobytes() == outputs[1].tobytes()
    kept_all = Net(cfg, batch=2)
    kept_all.forward(values)
    corners = np.stack([box["box"] for box in boxes])
    images = np.array([box["image"] for box in boxes], np.int64)
    wanted = onnx_roialign(kept_all.output(2), corners, images, 0.5, 7, samples)
    assert np.abs(outputs[0] - wanted).max() <= 1e-5
    assert np.abs(wanted).max() > 1


@pytest.mark.parametrize("kind", ["max", "average"])
@pytest.mark.parametrize(("size", "samples", "channels"), [(3, 1, 1), (5, 2, 17), (7, 3, 4)])
def test_sum_of_two_maps_equals_the_oracle(isa, kind, size, samples, channels):
    rng = np.random.default_rng(size)
    cfg = pooling_cfg(channels, 22, 30, (1, 3), size, samples, pool=kind)
    net, kept_all = make(cfg, batch=3), Net(cfg, batch=3)
    values = rng.normal(size=(3, channels, 22, 30)).astype(np.float32)
    boxes = random_boxes(rng, 40, 22, 30, batch=3)
    for one in (net, kept_all):
        set_rois(one, boxes)
    kept_all.forward(values)
    maps = [kept_all.output(2), kept_all.output(4)]
    for roi, found in zip(boxes, net.forward(values), strict=True):
        box = roi["box"].astype(np.float64)
        wanted = sum(pool(m[roi["image"]], (22, 30), box, size, samples, kind) for m in maps)
        assert np.abs(found - wanted).max() <= 2e-5


@pytest.mark.parametrize(("batch", "size"), [(1, 5), (2, 5), (1, 36)])
def test_masks_of_several_classes(isa, batch, size):
    """A box that is an instance of several classes has a mask of each, from its own filter; large
    ones in several rounds."""
    results = []
    for net in pair(CLASSES.format(size=size), batch=batch):
        scatter(net)
        net.params(-2)["weights"][:] = np.random.default_rng(2).normal(0, 0.5, 63)
        lib.dn_network_touch(net.handle)
        values = image(net, batch, seed=3)
        data = net._set_input(values)
        check(lib.dn_network_forward(net.handle, data, batch, 0.2))
        results.append([net.result(i, 64, 48) for i in range(batch)])
        assert net.layer(-1).live > 30
    for plain, plan in zip(*results, strict=True):
        assert plain.mask_size == plan.mask_size == 2 * size
        count = plain.instance_count
        assert count == plan.instance_count > 20
        found = [[result.instances[i] for i in range(count)] for result in (plain, plan)]
        boxes = [(one.detection, one.class_id) for one in found[0]]
        assert boxes == [(one.detection, one.class_id) for one in found[1]]
        assert len({box for box, _ in boxes}) < count  # some have several classes
        masks = np.array([net_masks(instances, 4 * size**2) for instances in found])
        assert np.abs(masks[0] - masks[1]).max() <= 1e-4
        by_box = {}
        for (box, _), mask in zip(boxes, masks[0], strict=True):
            by_box.setdefault(box, []).append(mask)
        several = [group for group in by_box.values() if len(group) > 1]
        assert all(np.abs(group[0] - group[1]).max() > 1e-2 for group in several)


def net_masks(instances, cells: int) -> list[np.ndarray]:
    assert all(one.mask != ffi.NULL for one in instances)
    return [np.frombuffer(ffi.buffer(one.mask, 4 * cells), np.float32) for one in instances]


def test_given_boxes_have_masks_of_their_classes(isa):
    """[mask]'s output is of each box's class, however the classes of a round differ."""
    nets = pair(CLASSES.format(size=5))
    for net in nets:
        scatter(net)
        place_boxes(net, 1, 7)
        set_classes(net, [0, 2, 1, 1, 0, 2, 2])
    agree(*nets, image(nets[0], 1))
    before = kept(nets[1])[-1]
    set_classes(nets[1], [0] * 7)
    run(nets[1], image(nets[1], 1))
    assert [np.array_equal(*pair) for pair in zip(before, kept(nets[1])[-1], strict=True)] == [
        True, False, False, False, True, False, False,
    ]  # fmt: skip


# Boxes of more than a megabyte each: they go through the branch in rounds.
LARGE = """[net]
width=64
height=64
channels=3
[convolutional]
filters=48
size=3
stride=4
pad=1
activation=leaky
[convolutional]
filters=6
size=1
activation=linear
[yolo]
mask=0
anchors=20,24
classes=1
num=1
[roialign]
layers=0
size=32
max_rois=30
[convolutional]
filters=48
size=3
pad=1
activation=relu
[deconvolutional]
filters=80
size=2
stride=2
activation=relu
[convolutional]
filters=1
size=1
activation=linear
[mask]
classes=1
"""


def test_rounds_of_many_boxes():
    plain, plan = pair(LARGE, batch=2)
    for net in (plain, plan):
        scatter(net)
    found = {}
    for shares in (30, 0, 1, 13):
        for net in (plain, plan):
            place_boxes(net, 2, shares)
        agree(plain, plan, image(plain, 2))
        found[shares] = kept(plan)[-1]
        assert len(found[shares]) == 2 * shares
    one = make(LARGE, threads=1, batch=2)
    scatter(one)
    place_boxes(one, 2, 13)
    run(one, image(one, 2))
    assert kept(one)[-1].tobytes() == found[13].tobytes()
    outputs = 4 * plan.layer(-3).n * 80 * 64 * 64  # bytes, of all boxes' deconvolutions
    assert plan.info.arena_bytes < outputs / 2
