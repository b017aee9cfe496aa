"""Suppression of a thousand boxes against a comparison of all pairs, and the boxes of a training.

The library looks only at boxes near each other (core/box_grid.h). Here every box is compared with
all that were kept, in NumPy's float32, and the same ones must stay: where boxes crowd, lie far
outside of the image, are tiny, huge, flat or equal, where scores tie, at every threshold and kind.
With new_coords a [yolo] gives its input as it is, so that a test places every box.
"""

from __future__ import annotations

import numpy as np
import pytest

from networks import Net
from roi_support import Truths, get_rois
from yolomask._native import check, lib

SIDE = 20  # cells
ANCHORS = [(16, 16), (40, 16), (100, 120)]
one = np.float32(1)


def crowded_cfg(classes: int, nms: float, kind: str = "default", beta=0.6, **roialign) -> str:
    rules = {"max_rois": 1, "score_thresh": 0.1, "nms": nms} | roialign
    return f"""
[net]
width={16 * SIDE}
height={16 * SIDE}
channels={3 * (5 + classes)}
[convolutional]
filters={3 * (5 + classes)}
groups={3 * (5 + classes)}
size=1
stride=16
activation=linear
[yolo]
mask=0,1,2
anchors={",".join(f"{w},{h}" for w, h in ANCHORS)}
num=3
classes={classes}
new_coords=1
nms_kind={kind}
beta_nms={beta}
[route]
layers=0
[convolutional]
filters=2
size=1
activation=linear
[roialign]
layers=-1
size=1
samples=1
{chr(10).join(f"{key}={value}" for key, value in rules.items())}
[convolutional]
filters={classes}
size=1
activation=linear
[mask]
classes={classes}
"""


def network_input(values: np.ndarray) -> np.ndarray:
    """The input whose every 16th pixel is what the head gets, (anchor, 5 + classes, y, x)."""
    image = np.zeros((1, values.shape[0] * values.shape[1], 16 * SIDE, 16 * SIDE), np.float32)
    image[0, :, ::16, ::16] = values.reshape(-1, SIDE, SIDE)
    return image


def identity(net: Net) -> Net:
    net.params(0)["weights"][:] = 1
    lib.dn_network_touch(net.handle)
    return net


def draw(rng, classes: int, shape: str) -> np.ndarray:
    """(3, 5 + classes, y, x): x, y in cells, the square root of the size, probabilities."""
    values = rng.random((3, 5 + classes, SIDE, SIDE)).astype(np.float32)
    values[:, 4:] = rng.choice(np.linspace(0.4, 1, 40, dtype=np.float32), values[:, 4:].shape)
    if shape == "any":  # sizes over eight powers of ten, centres up to three images away
        values[:, 2:4] = np.exp(rng.uniform(-12, 2.5, values[:, 2:4].shape))
        values[:, 0:2] += rng.choice([0, 0, 0, 40, -40, 100], values[:, 0:2].shape)
    if shape == "equal":  # on one spot of four, some flat
        values[:, 0] = rng.integers(0, 2, values[:, 0].shape) * 9 - np.arange(SIDE)
        values[:, 1] = rng.integers(0, 2, values[:, 0].shape) * 9 - np.arange(SIDE)[:, None]
        values[:, 2:4] = rng.choice(np.float32([0, 0.5, 0.55]), values[:, 2:4].shape)
    return values


def boxes_of(values: np.ndarray) -> np.ndarray:
    """(count, 4) corners relative to the input in the library's order: y, x, anchor."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    rows = []
    for (w, h), v in zip(ANCHORS, values, strict=True):
        centre_x, centre_y = (x + v[0]) / np.float32(SIDE), (y + v[1]) / np.float32(SIDE)
        half_w = np.float32(0.5) * (np.float32(4) * v[2] * v[2] * np.float32(w) / (16 * SIDE * one))
        half_h = np.float32(0.5) * (np.float32(4) * v[3] * v[3] * np.float32(h) / (16 * SIDE * one))
        sides = (centre_x - half_w, centre_y - half_h, centre_x + half_w, centre_y + half_h)
        rows.append(np.stack(sides, -1))
    return np.stack(rows, 2).reshape(-1, 4)


def area(boxes):
    return np.maximum(boxes[..., 2] - boxes[..., 0], 0) * np.maximum(
        boxes[..., 3] - boxes[..., 1], 0
    )


def iou(box, others):
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    both = area(np.concatenate([low, high], -1))
    either = area(box) + area(others) - both
    return np.where(both > 0, both / np.where(either > 0, either, one), 0 * one)


def distance_share(box, others):
    low, high = np.minimum(box[:2], others[:, :2]), np.maximum(box[2:], others[:, 2:])
    d = np.float32(0.5) * (box[:2] + box[2:] - others[:, :2] - others[:, 2:])
    diagonal = ((high - low) ** 2).sum(-1)
    return np.where(diagonal > 0, (d**2).sum(-1) / np.where(diagonal > 0, diagonal, one), 0 * one)


def survivors(boxes, scores, threshold, kind, beta) -> set[int]:
    """Comparing with everything kept so far."""
    kept: list[int] = []
    for i in np.lexsort((np.arange(len(scores)), -scores)):
        if scores[i] <= np.float32(0.1):
            continue
        others = boxes[kept]
        value = iou(boxes[i], others)
        if kind != "default":
            exponent = np.float32(0.6 if kind == "greedynms" else beta)
            value = value - distance_share(boxes[i], others) ** exponent
        if not (value > np.float32(threshold)).any():
            kept.append(int(i))
    return set(kept)


@pytest.mark.parametrize("shape", ["cells", "any", "equal"])
@pytest.mark.parametrize(
    "nms,kind,beta",
    [
        (0, "default", 0.6),
        (1e-8, "default", 0.6),
        (0.2, "default", 0.6),
        (0.45, "default", 0.6),
        (0.9, "default", 0.6),
        (1, "default", 0.6),
        (0.3, "greedynms", 0.1),
        (0.45, "diounms", 0.3),
        (0, "diounms", 2),
    ],
)
def test_a_thousand_boxes(shape, nms, kind, beta):
    rng = np.random.default_rng(5)
    classes = 2
    values = draw(rng, classes, shape)
    net = identity(Net(crowded_cfg(classes, nms, kind, beta), batch=1))
    net.forward(network_input(values))
    result = net.result(0, 64, 64)
    found = [set(), set()]
    for i in result.instances[0 : result.instance_count]:
        found[i.class_id].add(i.detection)
    boxes = boxes_of(values)
    for c in range(classes):
        scores = (values[:, 4] * values[:, 5 + c]).transpose(1, 2, 0).reshape(-1)
        expected = survivors(boxes, scores, nms, kind, beta)
        assert found[c] == expected
        assert len(expected) == len(boxes) if nms == 1 else len(expected) >= 4
        assert nms > 0.45 or len(expected) < len(boxes)


@pytest.mark.parametrize("least", [0.01, 0.3, 0.5, 0.8])
def test_boxes_of_a_training_match_the_best_of_all_truths(least):
    rng = np.random.default_rng(6)
    values = draw(rng, 1, "cells")
    values[:, 4:] = 1
    cfg = crowded_cfg(1, 1, train_rois=4096, positive_iou=least, box_jitter=0)
    net = identity(Net(cfg, batch=1, training=True, stage=lib.DN_STAGE_MASK))
    mask = np.ones((16 * SIDE, 16 * SIDE), np.uint8)
    near = boxes_of(values)[rng.permutation(3 * SIDE * SIDE)[:200]] * np.float32(16 * SIDE)
    sizes = near[:, 2:] - near[:, :2]
    given = near + np.float32(rng.normal(0, 0.05, near.shape)) * np.concatenate([sizes, sizes], 1)
    given[150:] = given[:50]  # of equal ones the first is matched
    crowd = rng.random(200) < 0.1
    truths = Truths(
        [[{"box": b, "mask": mask, "crowd": bool(c)} for b, c in zip(given, crowd, strict=True)]]
    )
    data = net._set_input(network_input(values))
    check(lib.dn_network_train_forward(net.handle, data, 1, truths.handle, 0))
    found = {roi.detection: roi.truth for roi in get_rois(net) if roi.detection >= 0}
    expected = {}
    for k, box in enumerate(boxes_of(values) * np.float32(16 * SIDE)):
        overlaps = np.where(crowd, 0 * one, iou(box, given))
        if overlaps.max() >= np.float32(least):
            expected[k] = int(overlaps.argmax())
    assert found == expected
    assert 30 < len(expected) < 3 * SIDE * SIDE
