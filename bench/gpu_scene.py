"""What a trained detector sees, for networks with random weights (bench_gpu.py).

Random heads find all boxes alike, more than a GPU suppresses; here the objectness of each head is
spread out and moved so that CANDIDATES of its boxes are above the threshold, of a class of the
head's, and the threshold of suppression is searched for that leaves about OBJECTS of them. Random
masks are noise, whose strings are far too long; here most cells are set and the others make edges
and holes, so that the strings are about as long as those of real objects.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from steps import check, ffi, layers, lib, params

CANDIDATES = 110, 30, 10  # of the heads in their order, of which the first has the largest boxes
OBJECTS = 20
THRESHOLD = 0.5
SPREAD = 3  # standard deviation of objectness before the logistic
MASK_BIAS = 0.7  # of masks before the logistic, whose standard deviation becomes 1


@dataclass
class Found:
    """What a pass finds in an image."""

    candidates: int
    objects: int
    rle_bytes: int

    def __str__(self) -> str:
        return f"{self.candidates} candidates, {self.objects} objects, {self.rle_bytes} B of RLE"


def objectness(network) -> dict[int, np.ndarray]:
    """Of each head, by its index, for the first image of the last pass: (slots, cells)."""
    entries, found = 5 + lib.dn_network_classes(network), {}
    for index, layer in enumerate(layers(network)):
        if ffi.string(layer.type) == b"yolo":
            size = 4 * layer.c * layer.h * layer.w
            values = np.frombuffer(ffi.buffer(layer.out, size), np.float32)
            found[index] = values.reshape(layer.c // entries, entries, -1)[:, 4].copy()
    return found


def look(network, image, options) -> tuple[Found, np.ndarray]:
    """What is found, and the masks' probabilities where they were asked for."""
    result = ffi.new("dn_result **")
    check(lib.dn_network_predict(network, image, options, result))
    one = result[0]
    cells = one.instance_count * one.mask_size**2 if one.masks else 0
    masks = np.frombuffer(ffi.buffer(one.masks, 4 * cells), np.float32).copy()
    candidates = sum(int((o > options.threshold).sum()) for o in objectness(network).values())
    found = Found(candidates, one.instance_count, one.rle_bytes)
    lib.dn_result_free(one)
    return found, masks


def logits(probabilities: np.ndarray) -> np.ndarray:
    p = np.clip(probabilities.astype(np.float64), 1e-9, 1 - 1e-9)
    return np.log(p / (1 - p))


def spread_heads(network) -> None:
    """After a pass, whose objectness it reads."""
    classes = lib.dn_network_classes(network)
    for number, (index, values) in enumerate(objectness(network).items()):
        found = params(network, index - 1)
        biases = found["biases"].reshape(len(values), 5 + classes)
        weights = found["weights"].reshape(len(values), 5 + classes, -1)
        sums = logits(values) - biases[:, 4:5]
        wanted = min(CANDIDATES[min(number, len(CANDIDATES) - 1)], sums.size // 4)
        gain = SPREAD / sums.std()
        weights[:, 4] *= gain
        biases[:, 4] = -gain * np.sort(sums, axis=None)[-wanted]
        biases[:, 5:] = -30
        biases[:, 5 + number % classes] = 12
    lib.dn_network_touch(network)


def search_suppression(network, image, options) -> None:
    best = 1 << 30
    low, high, chosen = 0.02, 0.9, 0.45
    for _ in range(8):
        options.nms = (low + high) / 2
        count = look(network, image, options)[0].objects
        if abs(count - OBJECTS) < best:
            best, chosen = abs(count - OBJECTS), options.nms
        if best == 0:
            break
        low, high = (options.nms, high) if count < OBJECTS else (low, options.nms)
    options.nms = chosen


def shape_masks(network, image, options) -> None:
    """The gain is shared by the last two layers with weights: half precision has a largest one."""
    last = len(layers(network)) - 2
    spread = logits(look(network, image, options)[1]).std()
    for index in (last, last - 1):
        params(network, index)["weights"][:] /= np.sqrt(max(spread, 1e-6))
    params(network, last)["biases"][:] = MASK_BIAS
    lib.dn_network_touch(network)


def set_scene(network, image, options) -> None:
    """Changes heads and masks of the network, and the options' thresholds."""
    options.threshold = THRESHOLD
    look(network, image, options)
    spread_heads(network)
    search_suppression(network, image, options)
    shape_masks(network, image, options)
