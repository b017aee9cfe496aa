"""What tests of the mask branch share: RoIs, truths, masks, float64 oracles of pooling, targets.

The oracles follow DESIGN's words, point by point, and share no code and no method with the
library (which pools rows and columns one after the other).
"""

from __future__ import annotations

import math

import numpy as np

from yolomask._native import check, ffi, lib


def set_rois(net, rois: list[dict] | None) -> None:
    """Makes the next passes pool these boxes; None: the detector's again."""
    if rois is None:
        check(lib.dn_test_set_rois(net.handle, ffi.NULL, -1))
        return
    given = ffi.new("dn_roi[]", max(len(rois), 1))
    for slot, roi in zip(given, rois, strict=False):
        slot.image = roi.get("image", 0)
        slot.class_id = roi.get("class_id", 0)
        slot.truth = roi.get("truth", -1)
        slot.detection = roi.get("detection", -1)
        slot.score = roi.get("score", 1.0)
        slot.box = [float(v) for v in roi["box"]]
    check(lib.dn_test_set_rois(net.handle, given, len(rois)))


def get_rois(net) -> list:
    """The RoIs of the last pass, as copies."""
    rois, count = ffi.new("const dn_roi **"), ffi.new("int32_t *")
    check(lib.dn_network_get_rois(net.handle, rois, count))
    return [ffi.new("dn_roi *", rois[0][i])[0] for i in range(count[0])]


def corners(box) -> np.ndarray:
    return np.array([box.x0, box.y0, box.x1, box.y1])


def expand(box, amount: float) -> np.ndarray:
    x0, y0, x1, y1 = box
    dx, dy = amount * (x1 - x0) / 2, amount * (y1 - y0) / 2
    return np.array([x0 - dx, y0 - dy, x1 + dx, y1 + dy])


def neighbours(position: float, cells: int) -> list[tuple[int, float]]:
    """The cells that a point between them is made of, with their weights."""
    if position < -1 or position > cells:
        return []
    position = min(max(position, 0.0), cells - 1.0)
    low = min(math.floor(position), cells - 1)
    high = min(low + 1, cells - 1)
    return [(low, 1 - (position - low)), (high, position - low)]


def point_weights(h, w, stride_y, stride_x, box, size, samples) -> np.ndarray:
    """(size, size, samples, samples, h, w): each point as a weighting of the map's cells."""
    x0, y0, x1, y1 = (float(v) for v in box)
    start_x, start_y = x0 / stride_x - 0.5, y0 / stride_y - 0.5
    bin_w, bin_h = (x1 - x0) / stride_x / size, (y1 - y0) / stride_y / size
    weights = np.zeros((size, size, samples, samples, h, w))
    for by in range(size):
        for sy in range(samples):
            y = start_y + by * bin_h + (sy + 0.5) * bin_h / samples
            for bx in range(size):
                for sx in range(samples):
                    x = start_x + bx * bin_w + (sx + 0.5) * bin_w / samples
                    for row, wy in neighbours(y, h):
                        for column, wx in neighbours(x, w):
                            weights[by, bx, sy, sx, row, column] += wy * wx
    return weights


def pool(features: np.ndarray, net_size, box, size, samples, kind) -> np.ndarray:
    """(c, size, size): one box pooled from one map (c, h, w); net_size is (height, width)."""
    h, w = features.shape[1:]
    weights = point_weights(h, w, net_size[0] / h, net_size[1] / w, box, size, samples)
    points = np.einsum("yxjihw,chw->cyxji", weights, features.astype(np.float64))
    return points.mean((-2, -1)) if kind == "average" else points.max((-2, -1))


def nearest_level(box, strides) -> int:
    """levels=assign, in words: the stride nearest to sqrt(area) / 14 in octaves, ties finer."""
    x0, y0, x1, y1 = box
    wanted = math.log2(math.sqrt((x1 - x0) * (y1 - y0)) / 14)
    order = sorted(
        range(len(strides)),
        key=lambda k: (abs(math.log2(strides[k]) - wanted), strides[k]),
    )
    return order[0]


class Truths:
    """An array of dn_truth and the memory that it points to."""

    def __init__(self, images: list[list[dict]], affines: list | None = None):
        self.keep = []
        self.masks = []
        self.handle = ffi.new("dn_truth[]", len(images))
        for i, objects in enumerate(images):
            rows = ffi.new("dn_truth_object[]", max(len(objects), 1))
            for row, given in zip(rows, objects, strict=False):
                row.box = [float(v) for v in given["box"]]
                row.class_id = given.get("class_id", 0)
                row.crowd = given.get("crowd", False)
                row.net_to_image = affines[i] if affines else (1.0, 1.0, 0.0, 0.0)
                if given.get("mask") is None:
                    continue
                rle = ffi.gc(ffi.new("dn_rle *"), lib.dn_rle_free)
                pixels = np.ascontiguousarray(given["mask"], np.uint8)
                data = ffi.from_buffer("uint8_t[]", pixels)
                check(lib.dn_rle_from_mask(rle, data, *pixels.shape, lib.DN_ROW_MAJOR))
                row.mask = rle
                self.keep.append(rle)
            self.keep.append(rows)
            truth = self.handle[i]
            truth.objects, truth.object_count = rows, len(objects)


def blob(rng, height: int, width: int) -> np.ndarray:
    """A random mask: an ellipse with a hole, and noise."""
    y, x = np.mgrid[:height, :width]
    cy, cx = rng.uniform(0.3, 0.7, 2) * (height, width)
    r = ((y - cy) / (0.3 * height)) ** 2 + ((x - cx) / (0.3 * width)) ** 2
    return ((r < 1) & (r > 0.1)) ^ (rng.random((height, width)) < 0.02)


def bounds(mask: np.ndarray, scale=1.0) -> np.ndarray:
    rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
    return scale * np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float64)


def coverage(mask: np.ndarray, box, size: int) -> np.ndarray:
    """The share of each of the box's size x size cells that the mask's unit pixels cover."""

    def overlaps(low, high, pixels):
        edges = np.linspace(low, high, size + 1)
        starts = np.maximum(edges[:-1, None], np.arange(pixels)[None])
        ends = np.minimum(edges[1:, None], np.arange(1, pixels + 1)[None])
        return np.maximum(ends - starts, 0) / (high - low) * size

    rows = overlaps(box[1], box[3], mask.shape[0])
    columns = overlaps(box[0], box[2], mask.shape[1])
    return rows @ mask.astype(np.float64) @ columns.T
