"""Independent NumPy (float64) models of [yolo] and [region]: boxes, suppression, targets.

Written from the published rules (docs/heads.md), one cell after the other, with no care for
speed. Boxes are (x0, y0, x1, y1), relative to the network's input. Arrays of a head have the shape
(images, slots, 5 + classes, h, w).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def area(box):
    return max(box[2] - box[0], 0) * max(box[3] - box[1], 0)


def intersection(a, b):
    return area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))


def enclosing(a, b):
    return (min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]))


def iou(a, b):
    both = intersection(a, b)
    union = area(a) + area(b) - both
    return both / union if union > 0 else 0.0


def distance_share(a, b):
    """Squared distance of the centres over the squared diagonal of the enclosing box."""
    around = enclosing(a, b)
    dx, dy = (a[0] + a[2] - b[0] - b[2]) / 2, (a[1] + a[3] - b[1] - b[3]) / 2
    return (dx**2 + dy**2) / ((around[2] - around[0]) ** 2 + (around[3] - around[1]) ** 2)


def shape_term(a, b):
    angle = np.arctan((b[2] - b[0]) / (b[3] - b[1])) - np.arctan((a[2] - a[0]) / (a[3] - a[1]))
    return 4 / np.pi**2 * angle**2


def ciou_alpha(a, b):
    v = shape_term(a, b)
    return v / (1 - iou(a, b) + v) if v > 0 else 0.0


def measure(kind, a, b, alpha=None):
    """IoU, GIoU, DIoU or CIoU; alpha: CIoU's trade-off, where it is held constant."""
    value = iou(a, b)
    if kind == "giou":
        around = area(enclosing(a, b))
        value -= (around - (area(a) + area(b) - intersection(a, b))) / around
    if kind in ("diou", "ciou"):
        value -= distance_share(a, b)
    if kind == "ciou":
        value -= (ciou_alpha(a, b) if alpha is None else alpha) * shape_term(a, b)
    return value


def from_centre(x, y, w, h):
    return (x - w / 2, y - h / 2, x + w / 2, y + h / 2)


@dataclass
class Yolo:
    """Options of a [yolo] section and the network's size."""

    width: int
    height: int
    classes: int
    anchors: list[tuple[float, float]]
    mask: list[int]
    scale_x_y: float = 1.0
    new_coords: bool = False
    ignore_thresh: float = 0.5
    truth_thresh: float = 1.0
    iou_loss: str = "mse"
    iou_thresh: float = 1.0
    iou_thresh_kind: str = "iou"
    iou_normalizer: float | None = None
    obj_normalizer: float = 1.0
    cls_normalizer: float = 1.0
    delta_normalizer: float = 1.0
    max_delta: float = np.inf
    label_smooth_eps: float = 0.0
    focal_loss: bool = False
    objectness_smooth: bool = False
    counters_per_class: list[float] = field(default_factory=list)

    def split(self, logits):
        """(n, c, h, w) -> (n, slots, 5 + classes, h, w), float64."""
        n, _, h, w = logits.shape
        return logits.astype(np.float64).reshape(n, len(self.mask), 5 + self.classes, h, w)

    def activate(self, logits):
        out = self.split(logits).copy()
        if not self.new_coords:
            out[:, :, :2] = sigmoid(out[:, :, :2])
            out[:, :, 4:] = sigmoid(out[:, :, 4:])
        out[:, :, :2] = self.scale_x_y * out[:, :, :2] - (self.scale_x_y - 1) / 2
        return out

    def box(self, values, slot, row, column, h, w):
        """The box of a cell's values (5 + classes)."""
        anchor_w, anchor_h = self.anchors[self.mask[slot]]
        size = (lambda v: 4 * v * v) if self.new_coords else np.exp
        return from_centre(
            (column + values[0]) / w,
            (row + values[1]) / h,
            size(values[2]) * anchor_w / self.width,
            size(values[3]) * anchor_h / self.height,
        )

    def detect(self, logits, image, threshold):
        """Candidates in order: (box, objectness, probabilities)."""
        out = self.activate(logits)[image]
        slots, _, h, w = out.shape
        found = []
        for row in range(h):
            for column in range(w):
                for slot in range(slots):
                    values = out[slot, :, row, column]
                    if values[4] <= threshold:
                        continue
                    probs = values[4] * values[5:]
                    probs[probs <= threshold] = 0
                    found.append((self.box(values, slot, row, column, h, w), values[4], probs))
        return found

    def class_weight(self, c):
        counters = self.counters_per_class
        return max(counters) / counters[c] if counters else 1.0

    def box_normalizer(self):
        if self.iou_normalizer is not None:
            return self.iou_normalizer
        return 1.0 if self.iou_loss == "mse" else 0.75

    def learn(self, out, gradient, learned, place, truth, losses):
        """Gradients of one place that learns `truth` = (box, class)."""
        box, c = truth
        image, slot, row, column = place
        h, w = out.shape[-2:]
        values, g = (
            out[image, slot, :, row, column],
            gradient[image, slot, :, row, column],
        )
        weight = self.class_weight(c)
        g[4] = weight * self.obj_normalizer * (values[4] - 1)
        goal = np.full(self.classes, self.label_smooth_eps / 2)
        goal[c] = 1 - self.label_smooth_eps / 2
        class_gradient = weight * self.cls_normalizer * (values[5:] - goal)
        if learned[image, slot, row, column]:
            g[5 + c] = class_gradient[c]
        else:
            if self.focal_loss:
                p = values[5 + c]
                class_gradient *= 0.5 * -(1 - p) * (2 * p * np.log(p) + p - 1)
            g[5:] = class_gradient
        predicted = self.box(values, slot, row, column, h, w)
        if self.iou_loss == "mse":
            x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
            tw = (box[2] - box[0]) * self.width / self.anchors[self.mask[slot]][0]
            th = (box[3] - box[1]) * self.height / self.anchors[self.mask[slot]][1]
            inverse = (lambda v: np.sqrt(v / 4)) if self.new_coords else np.log
            goal = np.array([x * w - column, y * h - row, inverse(tw), inverse(th)])
            g[:4] = weight * self.box_normalizer() * (2 - area(box)) * (values[:4] - goal)
        else:
            slope = loss_slope(self.iou_loss, predicted, box)
            if not self.new_coords:
                slope[2:] *= np.exp(values[2:4])
            slope *= weight * self.box_normalizer()
            g[:4] += np.clip(slope, -self.max_delta, self.max_delta)
        learned[image, slot, row, column] += 1
        kind = "giou" if self.iou_loss == "giou" else "iou"
        losses.append((1 - measure(kind, predicted, box), iou(predicted, box), values[5 + c]))

    def slots_for(self, box):
        """The slots of this head that learn a truth box."""
        shape = from_centre(0, 0, box[2] - box[0], box[3] - box[1])
        shapes = [from_centre(0, 0, a / self.width, b / self.height) for a, b in self.anchors]
        best = int(np.argmax([iou(shape, s) for s in shapes]))
        return [
            slot
            for slot, anchor in enumerate(self.mask)
            if anchor == best
            or (
                self.iou_thresh < 1
                and measure(self.iou_thresh_kind, shapes[anchor], shape) > self.iou_thresh
            )
        ]

    def loss(self, logits, objects, _seen=None):
        """objects[image] = [(relative box, class, crowd)]: gradient of the logits, loss, parts."""
        out = self.activate(logits)
        n, slots, _, h, w = out.shape
        gradient, learned, losses = np.zeros_like(out), np.zeros((n, slots, h, w)), []
        for image, slot, row, column in np.ndindex(n, slots, h, w):
            values = out[image, slot, :, row, column]
            box = self.box(values, slot, row, column, h, w)
            real = [(iou(box, o[0]), o) for o in objects[image] if not o[2]]
            best, match = max(real, key=lambda r: r[0], default=(0, None))
            in_crowd = [intersection(box, o[0]) / area(box) for o in objects[image] if o[2]]
            g = self.obj_normalizer * values[4]
            if max(in_crowd, default=0) > self.ignore_thresh:
                g = 0
            if best > self.ignore_thresh:
                g = self.obj_normalizer * (values[4] - best) if self.objectness_smooth else 0
            gradient[image, slot, 4, row, column] = g
            if best > self.truth_thresh:
                place = (image, slot, row, column)
                self.learn(out, gradient, learned, place, match[:2], losses)
                if self.objectness_smooth:
                    gradient[image, slot, 4, row, column] = self.obj_normalizer * (
                        values[4] - best**2
                    )
        for image in range(n):
            for box, c, crowd in objects[image]:
                if crowd:
                    continue
                column = min(int((box[0] + box[2]) / 2 * w), w - 1)
                row = min(int((box[1] + box[3]) / 2 * h), h - 1)
                for slot in self.slots_for(box):
                    place = (image, slot, row, column)
                    self.learn(out, gradient, learned, place, (box, c), losses)
        if self.iou_loss != "mse":
            gradient[:, :, :4] /= np.maximum(learned, 1)[:, :, None]
        boxes = (gradient[:, :, :4] ** 2).sum()
        rest = (gradient[:, :, 4:] ** 2).sum()
        if self.iou_loss != "mse":
            boxes = self.box_normalizer() * np.mean([x[0] for x in losses]) if losses else 0
            rest *= self.obj_normalizer
        return self.delta_normalizer * gradient, (boxes + rest) / n, losses


def loss_slope(kind, box, truth, step=1e-6):
    """d(1 - measure) / d(centre x, centre y, w, h) by central differences; CIoU's alpha fixed."""
    alpha = ciou_alpha(box, truth)
    start = np.array(
        [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2, box[2] - box[0], box[3] - box[1]]
    )
    slope = np.zeros(4)
    for k in range(4):
        ends = []
        for sign in (1, -1):
            moved = start.copy()
            moved[k] += sign * step * start[2 + k % 2]
            ends.append(1 - measure(kind, from_centre(*moved), truth, alpha))
        slope[k] = (ends[0] - ends[1]) / (2 * step * start[2 + k % 2])
    return slope


def suppress(boxes, probs, threshold, kind="default", beta=0.6):
    """Stable suppression, class by class; probs (count, classes) is changed and returned."""
    for c in range(probs.shape[1]):
        order = sorted(range(len(boxes)), key=lambda i: (-probs[i, c], i))
        for position, i in enumerate(order):
            if probs[i, c] == 0:
                continue
            for j in order[position + 1 :]:
                value = iou(boxes[i], boxes[j])
                if kind != "default":
                    exponent = 0.6 if kind == "greedynms" else beta
                    value -= distance_share(boxes[i], boxes[j]) ** exponent
                if value > threshold:
                    probs[j, c] = 0
    return probs


@dataclass
class Region:
    """Options of a [region] section; anchors in cells."""

    classes: int
    anchors: list[tuple[float, float]]
    softmax: bool = False
    rescore: bool = False
    bias_match: bool = False
    thresh: float = 0.5
    coord_scale: float = 1.0
    object_scale: float = 1.0
    noobject_scale: float = 1.0
    class_scale: float = 1.0
    focal_loss: bool = False

    def activate(self, logits):
        n, _, h, w = logits.shape
        out = logits.astype(np.float64).reshape(n, len(self.anchors), 5 + self.classes, h, w)
        for part in (slice(0, 2), slice(4, 5)):
            out[:, :, part] = sigmoid(out[:, :, part])
        if self.softmax:
            powers = np.exp(out[:, :, 5:])
            out[:, :, 5:] = powers / powers.sum(axis=2, keepdims=True)
        else:
            out[:, :, 5:] = sigmoid(out[:, :, 5:])
        return out

    def box(self, values, slot, row, column, h, w):
        wide, high = np.exp(values[2:4]) * self.anchors[slot]
        return from_centre((column + values[0]) / w, (row + values[1]) / h, wide / w, high / h)

    detect = Yolo.detect

    def box_gradient(self, values, slot, place, box, scale):
        row, column, h, w = place
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        goal = [
            x * w - column,
            y * h - row,
            np.log((box[2] - box[0]) * w / self.anchors[slot][0]),
            np.log((box[3] - box[1]) * h / self.anchors[slot][1]),
        ]
        return scale * (values[:4] - goal)

    def loss(self, logits, objects, seen):
        out = self.activate(logits)
        n, slots, _, h, w = out.shape
        gradient, losses = np.zeros_like(out), []
        for image, slot, row, column in np.ndindex(n, slots, h, w):
            values = out[image, slot, :, row, column]
            box = self.box(values, slot, row, column, h, w)
            best = max((iou(box, o[0]) for o in objects[image] if not o[2]), default=0)
            crowd = [intersection(box, o[0]) / area(box) for o in objects[image] if o[2]]
            if max([best, *crowd]) <= self.thresh:
                gradient[image, slot, 4, row, column] = self.noobject_scale * values[4]
            if seen < 12800:
                anchor = np.array(self.anchors[slot]) / (w, h)
                goal = from_centre((column + 0.5) / w, (row + 0.5) / h, *anchor)
                gradient[image, slot, :4, row, column] = self.box_gradient(
                    values, slot, (row, column, h, w), goal, 0.01
                )
        for image in range(n):
            for box, c, crowd in objects[image]:
                if crowd:
                    continue
                column = min(int((box[0] + box[2]) / 2 * w), w - 1)
                row = min(int((box[1] + box[3]) / 2 * h), h - 1)
                shape = from_centre(0, 0, box[2] - box[0], box[3] - box[1])
                fits = []
                for slot, (wide, high) in enumerate(self.anchors):
                    b = self.box(out[image, slot, :, row, column], slot, row, column, h, w)
                    size = (wide / w, high / h) if self.bias_match else (b[2] - b[0], b[3] - b[1])
                    fits.append(iou(shape, from_centre(0, 0, *size)))
                slot = int(np.argmax(fits))
                values, g = (
                    out[image, slot, :, row, column],
                    gradient[image, slot, :, row, column],
                )
                overlap = iou(self.box(values, slot, row, column, h, w), box)
                scale = self.coord_scale * (2 - area(box))
                g[:4] = self.box_gradient(values, slot, (row, column, h, w), box, scale)
                g[4] = self.object_scale * (values[4] - (overlap if self.rescore else 1))
                g[5:] = self.class_scale * (values[5:] - np.eye(self.classes)[c])
                if self.focal_loss:
                    p = values[5 + c]
                    g[5:] *= 0.5 * -(1 - p) * (2 * p * np.log(p) + p - 1)
                losses.append((None, overlap, values[5 + c]))
        return gradient, (gradient**2).sum() / n, losses
