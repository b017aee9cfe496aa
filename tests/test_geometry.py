"""Letterbox, axis-aligned maps and boxes against plain float64 formulas and pycocotools."""

import itertools
import math

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from yolomask._native import ffi, lib

EDGES = [1, 2, 3, 7, 31, 32, 33, 415, 416, 417, 607, 608, 1080, 1920, 4095, 4096]


def letterbox(image, net, stretch=False):
    return ffi.new("dn_letterbox *", lib.dn_letterbox_make(*image, *net, stretch))


def corners(box):
    return np.array([box.x0, box.y0, box.x1, box.y1])


def published_sizes(image, net):
    """Darknet's rule (reference 3.6): the comparison in float32, the division of integers."""
    (w, h), (net_w, net_h) = image, net
    if np.float32(net_w) / np.float32(w) < np.float32(net_h) / np.float32(h):
        new_w, new_h = net_w, h * net_w // w
    else:
        new_w, new_h = w * net_h // h, net_h
    return max(new_w, 1), max(new_h, 1)


def sampled_sizes():
    random = np.random.default_rng(3)
    for w in EDGES:
        for h in EDGES:
            yield (w, h), (416, 416)
    for w in range(1, 4097, 5):
        yield (w, int(random.integers(1, 4097))), (608, 608)
        yield (int(random.integers(1, 4097)), w), tuple(32 * random.integers(1, 40, 2))


def test_letterbox_sizes_follow_the_published_rule():
    for image, net in sampled_sizes():
        box = letterbox(image, net)
        new_w, new_h = published_sizes(image, net)
        assert (box.new_w, box.new_h) == (new_w, new_h), (image, net)
        assert (box.pad_x, box.pad_y) == ((net[0] - new_w) // 2, (net[1] - new_h) // 2)
        assert (box.image_w, box.image_h, box.net_w, box.net_h) == (*image, *net)


def test_letterbox_of_the_reference():
    box = letterbox((768, 576), (608, 608))
    assert (box.new_w, box.new_h, box.pad_x, box.pad_y) == (608, 456, 0, 76)
    image = lib.dn_letterbox_to_image(box, {"x0": 0, "y0": 76, "x1": 608, "y1": 532})
    assert np.allclose(corners(image), [0, 0, 768, 576], atol=1e-4)


def test_letterbox_stretched():
    box = letterbox((1000, 30), (416, 320), stretch=True)
    assert (box.new_w, box.new_h, box.pad_x, box.pad_y) == (416, 320, 0, 0)


@pytest.mark.parametrize("size", [0, -5, -(2**31)])
def test_letterbox_of_no_size_counts_as_one_pixel(size):
    box = letterbox((size, 10), (416, size))
    assert (box.image_w, box.net_h) == (1, 1)
    assert box.new_w >= 1 and box.new_h >= 1


@pytest.mark.parametrize("stretch", [False, True])
def test_letterbox_round_trip(stretch):
    random = np.random.default_rng(4)
    for image, net in sampled_sizes():
        box = letterbox(image, net, stretch)
        x, y = np.sort(random.random((2, 2)), axis=1) * np.array(image)[:, None]
        for x0, y0, x1, y1 in ((x[0], y[0], x[1], y[1]), (0, 0, *image)):
            there = lib.dn_letterbox_to_net(box, {"x0": x0, "y0": y0, "x1": x1, "y1": y1})
            assert there.x0 - box.pad_x >= -1e-3 and there.x1 - box.pad_x <= box.new_w + 1e-3
            assert there.y0 - box.pad_y >= -1e-3 and there.y1 - box.pad_y <= box.new_h + 1e-3
            # A side that the rule cut down to few pixels: the map must be scale and padding.
            wanted = x0 * box.new_w / image[0] + box.pad_x
            assert abs(there.x0 - wanted) < 1e-3
            back = lib.dn_letterbox_to_image(box, there)
            assert np.abs(corners(back) - [x0, y0, x1, y1]).max() < 0.01, (image, net)


def test_letterbox_as_a_map_moves_boxes_alike():
    random = np.random.default_rng(5)
    for image, net in [
        ((640, 427), (416, 416)),
        ((1, 4096), (608, 320)),
        ((4096, 1), (32, 32)),
    ]:
        box = letterbox(image, net)
        affine = ffi.new("dn_affine *", lib.dn_affine_from_letterbox(box))
        for _ in range(20):
            x, y = np.sort(random.random((2, 2)), axis=1) * np.array(image)[:, None]
            sides = {"x0": x[0], "y0": y[0], "x1": x[1], "y1": y[1]}
            there = lib.dn_letterbox_to_net(box, sides)
            assert np.allclose(
                corners(there), corners(lib.dn_affine_to_net(affine, sides)), atol=2e-3
            )
            back = lib.dn_affine_to_image(affine, there)
            assert np.abs(corners(back) - [x[0], y[0], x[1], y[1]]).max() < 0.01


def test_affine_between_rectangles_and_mirrors():
    net = {"x0": 10, "y0": 20, "x1": 110, "y1": 60}
    image = {"x0": -5, "y0": 7, "x1": 295, "y1": 87}
    affine = lib.dn_affine_between(net, image)
    assert (affine.scale_x, affine.scale_y) == (3, 2)
    moved = lib.dn_affine_to_image(ffi.new("dn_affine *", affine), net)
    assert corners(moved).tolist() == [-5, 7, 295, 87]
    flipped = ffi.new("dn_affine *", lib.dn_affine_flip_x(affine, 200))
    mirrored = {"x0": 200 - 110, "y0": 20, "x1": 200 - 10, "y1": 60}
    assert corners(lib.dn_affine_to_image(flipped, mirrored)).tolist() == [
        -5,
        7,
        295,
        87,
    ]
    assert corners(lib.dn_affine_to_net(flipped, image)).tolist() == [90, 20, 190, 60]
    upside = ffi.new("dn_affine *", lib.dn_affine_flip_y(affine, 80))
    assert corners(lib.dn_affine_to_net(upside, image)).tolist() == [10, 20, 110, 60]
    upside = ffi.new("dn_affine *", lib.dn_affine_flip_y(affine, 100))
    assert corners(lib.dn_affine_to_net(upside, image)).tolist() == [10, 40, 110, 80]


def random_boxes(count):
    """Boxes as float32, half of them disturbed copies of the one before, so that many overlap."""
    random = np.random.default_rng(6)
    centre = random.uniform(0, 100, (count, 2))
    size = random.uniform(1, 60, (count, 2))
    boxes = np.concatenate([centre - size / 2, centre + size / 2], axis=1)
    boxes[1::2] = boxes[::2] + random.normal(0, 4, (count // 2, 4))
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 0.5)
    return boxes.astype(np.float32)


def formulas(a, b):
    """IoU, GIoU, DIoU (beta .6) and CIoU in float64 from their definitions (reference 3.5)."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    inner = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    outer = np.maximum(a[2:], b[2:]) - np.minimum(a[:2], b[:2])
    both = inner.prod() if (inner > 0).all() else 0.0
    union = (a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - both
    iou = both / union
    distance = (((a[:2] + a[2:]) / 2 - (b[:2] + b[2:]) / 2) ** 2).sum() / (outer**2).sum()
    angles = [math.atan((box[2] - box[0]) / (box[3] - box[1])) for box in (a, b)]
    v = 4 / math.pi**2 * (angles[0] - angles[1]) ** 2
    alpha = v / (1 - iou + v + 1e-6)
    return (
        iou,
        iou - (outer.prod() - union) / outer.prod(),
        iou - distance**0.6,
        iou - distance - alpha * v,
    )


def test_overlaps():
    boxes = random_boxes(200)
    overlapping = 0
    for a, b in itertools.pairwise(boxes):
        iou, giou, diou, ciou = formulas(a, b)
        overlapping += iou > 0
        first, second = (
            ffi.new("dn_box *", a.tolist())[0],
            ffi.new("dn_box *", b.tolist())[0],
        )
        assert lib.dn_box_iou(first, second) == pytest.approx(iou, abs=2e-5)
        assert lib.dn_box_giou(first, second) == pytest.approx(giou, abs=2e-5)
        assert lib.dn_box_diou(first, second, 0.6) == pytest.approx(diou, abs=2e-5)
        assert lib.dn_box_ciou(first, second) == pytest.approx(ciou, abs=2e-5)
        xywh = [[*box[:2], *(box[2:] - box[:2])] for box in (a.astype(float), b.astype(float))]
        assert coco_mask.iou(xywh[:1], xywh[1:], [0])[0, 0] == pytest.approx(iou, abs=2e-5)
    assert 80 < overlapping < 199  # both cases were met


def box(*sides):
    return ffi.new("dn_box *", sides)[0]


def test_empty_boxes_overlap_nothing():
    nothing, some = box(5, 5, 5, 5), box(0, 0, 10, 10)
    inverted, undefined = box(8, 8, 2, 2), box(math.nan, 0, 10, 10)
    for other in (nothing, inverted, undefined):
        assert lib.dn_box_area(other) == 0
        assert lib.dn_box_iou(other, some) == lib.dn_box_iou(some, other) == 0
        assert lib.dn_box_iou(other, other) == 0
    for overlap in (lib.dn_box_giou, lib.dn_box_ciou):
        assert math.isfinite(overlap(nothing, nothing))
    assert math.isfinite(lib.dn_box_diou(nothing, nothing, 0.6))
    assert lib.dn_box_iou(box(0, 0, 5, 5), box(5, 0, 10, 5)) == 0  # they only touch


def test_clip_and_expand():
    assert corners(lib.dn_box_clip(box(-5, 3, 700, 500), 640, 480)).tolist() == [
        0,
        3,
        640,
        480,
    ]
    outside = lib.dn_box_clip(box(700, -50, 800, -10), 640, 480)
    assert lib.dn_box_area(outside) == 0
    grown = lib.dn_box_expand(box(10, 20, 30, 60), 0.2)
    assert np.allclose(corners(grown), [8, 16, 32, 64], atol=1e-5)
    assert corners(lib.dn_box_expand(box(10, 20, 30, 60), 0)).tolist() == [
        10,
        20,
        30,
        60,
    ]
