"""A [yolo] head whose output is made when it is asked for: the same boxes, bit for bit.

A network made with keep_all runs the head's logistic over everything, as test_heads.py compares
with an independent model; without it boxes are read from the values before.
"""

from __future__ import annotations

import numpy as np
import pytest

from head_oracle import Yolo
from networks import Net
from test_heads import ANCHORS, build, channels_of, instances, random_logits, spread, yolo_section
from yolomask._native import check, ffi, lib

SIZE = (112, 80)
OPTIONS = [{}, {"scale_x_y": 1.05}, {"scale_x_y": 2.0, "new_coords": True}]


def run(net: Net, values: np.ndarray, threshold: float) -> None:
    """A pass whose outputs nobody asks for."""
    check(lib.dn_network_forward(net.handle, net._set_input(values), len(values), threshold))


def both(head: Yolo, logits: np.ndarray, threshold: float) -> list[list]:
    """What networks with and without keep_all find in each image."""
    found = []
    for keep_all in (True, False):
        net = build(yolo_section(head), channels_of(head), *SIZE, batch=2, keep_all=keep_all)
        run(net, spread(logits), threshold)
        images = [net.result(i, *SIZE, fit=lib.DN_FIT_STRETCH) for i in range(2)]
        found.append([instances(image) for image in images])
    return found


@pytest.mark.parametrize("isa", ["plain", "avx2", "avx512"])
@pytest.mark.parametrize("options", OPTIONS, ids=["classic", "scale_x_y", "new_coords"])
def test_boxes_are_the_same_bits(options, isa):
    head = Yolo(*SIZE, 4, ANCHORS, [1, 3, 4], **options)
    if not lib.dn_test_isa(isa.encode()):
        pytest.skip(f"this machine lacks {isa}")
    try:
        for seed, scale, threshold in [(0, 1, 0.3), (1, 3, 1e-3), (2, 6, 0.97), (3, 40, 1e-30)]:
            eager, lazy = both(head, random_logits(head, seed=seed, spread_of=scale), threshold)
            assert eager == lazy
            assert sum(map(len, lazy)) > 10
    finally:
        lib.dn_test_isa(b"avx512") or lib.dn_test_isa(b"avx2")


def test_thresholds_right_at_an_objectness():
    """The value before the logistic is held against a bound; no box may fall between."""
    head = Yolo(*SIZE, 1, ANCHORS, [1, 3, 4])
    rng = np.random.default_rng(5)
    logits = random_logits(head)
    net = build(yolo_section(head), channels_of(head), *SIZE, batch=2)
    logits[:, [5, 11, 17]] = 40  # every class is certain
    for low, high in ((-30, -20), (-5, 5), (10, 20)):
        logits[:, [4, 10, 16]] = rng.uniform(low, high, (2, 3, 5, 7))
        objectness = head.split(net.forward(spread(logits), 0.5))[:, :, 4].ravel()
        for threshold in rng.choice(objectness, 12):
            eager, lazy = both(head, logits, float(threshold))
            assert eager == lazy


def test_output_is_there_for_who_asks():
    head = Yolo(*SIZE, 4, ANCHORS, [1, 3, 4], scale_x_y=1.1)
    logits = random_logits(head)
    outputs = []
    for keep_all in (True, False):
        net = build(yolo_section(head), channels_of(head), *SIZE, batch=2, keep_all=keep_all)
        net.forward(spread(-logits), 0.3)
        outputs.append((net.output(1), net.forward(spread(logits), 0.3), net.output(1)))
        found = instances(net.result(0, *SIZE, fit=lib.DN_FIT_STRETCH))  # behind the asking
        outputs[-1] += (np.array([row[1] for row in found]),)
    for eager, lazy in zip(*outputs, strict=True):
        assert np.array_equal(eager, lazy)


def test_a_layer_may_read_the_head():
    head = Yolo(*SIZE, 2, ANCHORS, [0, 2])
    section = yolo_section(head) + "[maxpool]\nsize=2\nstride=1\n"
    logits = random_logits(head)
    nets = [build(section, channels_of(head), *SIZE, batch=2, keep_all=k) for k in (True, False)]
    eager, lazy = (net.forward(spread(logits), 0.3) for net in nets)
    assert np.array_equal(eager, lazy)


def test_the_network_input_may_be_the_head_s():
    head = Yolo(*SIZE, 3, ANCHORS, [0, 2])
    logits = random_logits(head, n=1, h=80, w=112)
    cfg = f"[net]\nwidth=112\nheight=80\nchannels={channels_of(head)}\n" + yolo_section(head)
    found = []
    for keep_all in (True, False):
        net = Net(cfg, keep_all=keep_all)
        run(net, logits, 0.6)
        found.append(instances(net.result(0, *SIZE, fit=lib.DN_FIT_STRETCH)))
    assert found[0] == found[1] != []
    assert net.layer(0).out != ffi.NULL
