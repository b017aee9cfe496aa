"""A Darknet cfg as a PyTorch model in float64, that learns: the engine's counterpart for tests.

It shares nothing with the engine but the cfg file: sections are read in Python (cfg_oracle.py),
layers are PyTorch's, the head's loss is NumPy's (head_oracle.py), gradients are autograd's and the
update is torch.optim's. Convolutions, poolings, routes, heads and mask branches; the boxes to pool
are given, since which ones are drawn is a matter of random numbers.

model = Model(path, width, height, params)        # params[layer, name]: initial values
model.train_step(images, objects, rois=..., rate=...)   # one update; the losses by layer
model.params[layer, name]                         # as they are now
"""

from __future__ import annotations

import numpy as np
import torch

from cfg_oracle import Section, read_sections
from head_oracle import Yolo
from roi_support import corners, coverage, expand, neighbours

F = torch.nn.functional
STATISTICS = ("mean", "variance")
ACTIVATIONS = {
    "linear": lambda x: x,
    "leaky": lambda x: F.leaky_relu(x, 0.1),
    "relu": torch.relu,
    "swish": F.silu,
}


def pool_points(plane: torch.Tensor, low: float, high: float, points: int, cells: int):
    """(points, cells): each point of an axis as a weighting of the cells."""
    weights = torch.zeros(points, cells, dtype=torch.float64)
    for k in range(points):
        for cell, weight in neighbours(low - 0.5 + (k + 0.5) * (high - low) / points, cells):
            weights[k, cell] += weight
    return weights


def pool_box(features, box, net_size, size: int, samples: int, pool):
    """(c, size, size): each bin's points of one map (c, h, w), put through `pool`."""
    h, w = features.shape[1:]
    x0, y0, x1, y1 = box
    rows = pool_points(features, y0 * h / net_size[0], y1 * h / net_size[0], size * samples, h)
    columns = pool_points(features, x0 * w / net_size[1], x1 * w / net_size[1], size * samples, w)
    return pool(rows @ features @ columns.T, samples)


class Model:
    def __init__(self, path, width, height, params, *, train_from=0, optimizer="SGD", **options):
        self.net, *self.sections = read_sections(path)
        self.width, self.height, self.train_from = width, height, train_from
        self.frozen: list[torch.Tensor] = []  # outputs of the layers that do not train
        self.params = {k: torch.tensor(v, dtype=torch.float64) for k, v in params.items()}
        self.groups: dict[tuple[float, float], list] = {}  # by weight decay and rate's multiplier
        decay = options.pop("weight_decay")
        for (index, name), values in self.params.items():
            if index >= train_from and name not in STATISTICS:
                multiplier = float(self.sections[index].options.get("learning_rate", 1))
                key = (decay if name == "weights" else 0.0, multiplier)
                self.groups.setdefault(key, []).append(values.requires_grad_())
        groups = [{"params": v, "weight_decay": key[0]} for key, v in self.groups.items()]
        self.optimizer = getattr(torch.optim, optimizer)(groups, lr=1.0, **options)

    def head(self, s: Section) -> Yolo:
        anchors = np.array(s.options["anchors"].split(","), np.float64).reshape(-1, 2)
        return Yolo(
            self.width,
            self.height,
            s.number("classes", 20),
            [tuple(pair) for pair in anchors],
            s.numbers("mask"),
            ignore_thresh=float(s.options["ignore_thresh"]),
            truth_thresh=float(s.options["truth_thresh"]),
        )

    def norm(self, index: int, x):
        """Batch normalisation with the batch's unbiased variance; updates the rolling one."""
        p = {name: values for (i, name), values in self.params.items() if i == index}
        mean, variance = p["mean"], p["variance"]
        if index >= self.train_from:
            mean = x.mean((0, 2, 3))
            variance = x.var((0, 2, 3), unbiased=True)
            with torch.no_grad():
                p["mean"].mul_(0.99).add_(0.01 * mean)
                p["variance"].mul_(0.99).add_(0.01 * variance)
        x = (x - mean.view(-1, 1, 1)) / torch.sqrt(variance.view(-1, 1, 1) + 1e-5)
        return p["scales"].view(-1, 1, 1) * x + p["biases"].view(-1, 1, 1)

    def convolution(self, s: Section, index: int, x):
        size, stride = s.number("size", 1), s.number("stride", 1)
        filters = s.number("filters", 1)
        weights = self.params[index, "weights"]
        if s.name == "deconvolutional":
            weights = weights.view(x.shape[1], filters, size, size)
            x = F.conv_transpose2d(x, weights, stride=stride)
        else:
            padding = size // 2 if s.number("pad", 0) else 0
            weights = weights.view(filters, x.shape[1], size, size)
            x = F.conv2d(x, weights, stride=stride, padding=padding)
        if s.number("batch_normalize", 0):
            x = self.norm(index, x)
        else:
            x = x + self.params[index, "biases"].view(-1, 1, 1)
        return ACTIVATIONS[s.options["activation"]](x)

    @staticmethod
    def pool(s: Section, x):
        """Maximum, or mean of what is inside; the padding, size - 1, mostly behind the map."""
        size, stride = s.number("size", 2), s.number("stride", 2)
        before = (size - 1) // 2
        edge = (before, size - 1 - before) * 2
        if s.name == "maxpool":
            return F.max_pool2d(F.pad(x, edge, value=-np.inf), size, stride)
        shares = F.avg_pool2d(F.pad(torch.ones_like(x), edge), size, stride)
        return F.avg_pool2d(F.pad(x, edge), size, stride) / shares

    def roialign(self, s: Section, index: int, outputs, rois):
        maps = [outputs[index + k if k < 0 else k] for k in s.numbers("layers")]
        assert s.options["levels"] == "sum"
        pool = {"max": F.max_pool2d, "average": F.avg_pool2d}[s.options["pool"]]
        size, samples = s.number("size", 14), s.number("samples", 2)
        pooled = []
        for roi in rois:
            box = expand(corners(roi.box).astype(np.float64), float(s.options["expand"]))
            net = (self.height, self.width)
            pooled.append(sum(pool_box(m[roi.image], box, net, size, samples, pool) for m in maps))
        return torch.stack(pooled)

    def mask_loss(self, s: Section, logits, rois, objects):
        """Summed over the images: the mean, over an image's boxes, of the mean cross-entropy."""
        targets, weights, per_class = [], [], s.number("classes", 1) > 1
        for roi in rois:
            box = expand(corners(roi.box).astype(np.float64), float(self.expand))
            mask = objects[roi.image][roi.truth]["mask"]
            targets.append(coverage(mask, box, logits.shape[-1]))
            weights.append(1 / sum(other.image == roi.image for other in rois))
        chosen = torch.stack([x[r.class_id * per_class] for x, r in zip(logits, rois, strict=True)])
        wanted = torch.tensor(np.stack(targets))
        loss = F.binary_cross_entropy_with_logits(chosen, wanted, reduction="none").mean((1, 2))
        return (loss * torch.tensor(weights)).sum()

    def run(self, images, objects, rois):
        """The objective whose gradient is wanted, summed over images, and losses by layer.

        The images must be the same every time where layers are frozen: those run once.
        """
        size = (self.width, self.height) * 2
        relative = [
            [(tuple(np.divide(o["box"], size)), o["class_id"], False) for o in one]
            for one in objects
        ]
        outputs, losses, objective = list(self.frozen), {}, 0.0
        x = outputs[-1] if outputs else torch.tensor(images, dtype=torch.float64)
        for index, s in list(enumerate(self.sections))[len(outputs) :]:
            if s.name in ("convolutional", "deconvolutional"):
                x = self.convolution(s, index, x)
            elif s.name in ("maxpool", "local_avgpool"):
                x = self.pool(s, x)
            elif s.name == "upsample":
                x = F.interpolate(x, scale_factor=s.number("stride", 2), mode="nearest")
            elif s.name == "route":
                chosen = [outputs[index + k if k < 0 else k] for k in s.numbers("layers")]
                x = torch.cat(chosen, 1)
            elif s.name == "yolo":
                if index >= self.train_from:
                    logits = x.detach().numpy()
                    gradient, losses[index], _ = self.head(s).loss(logits, relative)
                    objective = objective + (x * torch.tensor(gradient).view(x.shape)).sum()
            elif s.name == "roialign":
                self.expand = s.options["expand"]
                x = self.roialign(s, index, outputs, rois)
            elif s.name == "mask":
                loss = float(s.options.get("mask_scale", 1)) * self.mask_loss(s, x, rois, objects)
                losses[index] = loss.item() / len(images)
                objective = objective + loss
            else:
                raise AssertionError(f"layer {index}: [{s.name}] is unknown to this model")
            outputs.append(x)
        self.frozen = outputs[: self.train_from]
        return objective, losses

    def train_step(self, images, objects, rate, rois=()) -> dict[int, float]:
        self.optimizer.zero_grad()
        objective, losses = self.run(images, objects, rois)
        (objective / len(images)).backward()
        for group, (_, multiplier) in zip(self.optimizer.param_groups, self.groups, strict=True):
            group["lr"] = rate * multiplier
        self.optimizer.step()
        return losses
