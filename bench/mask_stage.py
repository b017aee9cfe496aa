"""The mask stage of a training on a realistic number of boxes, for benchmarks.

What a step of the stage takes hangs on how many boxes the frozen detector finds. A trained one
finds 10 to 50 an image; random weights find all that a head has, or none. So the shipped weights
look at the shipped photos, nine to an image; where there are none, the bias of the heads'
objectness is searched for, on smooth noise, until they find WANTED an image. The objects to learn
from lie where some of these boxes lie, as they do in front of a detector that is good.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from steps import ROOT, check, ffi, lib, make_network, make_object, our_step, quiet_heads

WANTED = 10, 50  # boxes an image, in the mean
OBJECTS = 8  # at most, of an image
TILES = 3


def load_weights(network, weights: str) -> None:
    if weights:
        read = ffi.new("dn_weights_report *")
        check(lib.dn_network_load_weights(network, weights.encode(), read))


def noise(batch: int, size: int) -> np.ndarray:
    coarse = np.random.default_rng(0).random((batch, 3, size // 8, size // 8), np.float32)
    return coarse.repeat(8, axis=2).repeat(8, axis=3)[..., :size, :size]


def photos(batch: int, size: int) -> np.ndarray:
    """Images of TILES x TILES of the shipped photos, which show few things each."""
    paths, found = sorted((ROOT / "data").glob("*.jpg")), []
    places = -(-size // TILES)
    for path in paths:
        image = ffi.gc(ffi.new("dn_image *"), lib.dn_image_free)
        check(lib.dn_image_load(str(path).encode(), image))
        shape = image.height, image.width, 3
        pixels = np.frombuffer(ffi.buffer(image.data, int(np.prod(shape))), np.uint8).reshape(shape)
        rows, columns = (np.arange(places) * n // places for n in shape[:2])
        found.append(pixels[rows][:, columns].transpose(2, 0, 1) / np.float32(255))
    images = np.empty((batch, 3, TILES * places, TILES * places), np.float32)
    for k in range(batch * TILES * TILES):
        image, row, column = np.unravel_index(k, (batch, TILES, TILES))
        tile = found[(k + k // TILES) % len(found)]
        images[image, :, row * places :, column * places :][:, :places, :places] = tile
    return np.ascontiguousarray(images[..., :size, :size])


def boxes_of(network, images: np.ndarray) -> list[list[tuple]]:
    """What the heads find in each image, best first: (x0, y0, x1, y1) of whole pixels, class."""
    batch, _, height, width = images.shape
    check(lib.dn_network_forward(network, ffi.from_buffer("float[]", images), batch, 0))
    out, found = ffi.new("dn_result **"), []
    for image in range(batch):
        check(lib.dn_network_get_result(network, image, width, height, ffi.NULL, out))
        result = ffi.gc(out[0], lib.dn_result_free)
        boxes = {}  # one for each detection: the best class comes first
        for one in result.instances[0 : result.instance_count]:
            left, top = max(int(one.box.x0), 0), max(int(one.box.y0), 0)
            right, bottom = min(int(one.box.x1), width), min(int(one.box.y1), height)
            boxes.setdefault(one.detection, ((left, top, right, bottom), one.class_id))
        found.append(list(boxes.values()))
    return found


def mean_count(boxes: list[list[tuple]]) -> float:
    return sum(map(len, boxes)) / len(boxes)


def find_objectness(network, images: np.ndarray) -> float:
    """The bias with which the heads find a number of boxes within WANTED."""
    low, high = -60.0, 10.0
    for _ in range(30):
        middle = (low + high) / 2
        quiet_heads(network, middle)
        count = mean_count(boxes_of(network, images))
        if WANTED[0] <= count <= WANTED[1]:
            return middle
        low, high = (middle, high) if count < WANTED[0] else (low, middle)
    raise RuntimeError(f"no bias gives {WANTED[0]} to {WANTED[1]} boxes an image, but {count}")


class MaskStage:
    """`step` is one step; `words` says on how many boxes and objects."""

    def __init__(self, cfg: Path, weights: str, batch: int, size: int, device: str) -> None:
        images = photos(batch, size) if weights else noise(batch, size)
        looks = {"batch": batch, "width": size, "height": size, "device": device, "seed": 1}
        network = make_network(cfg, **looks)
        load_weights(network, weights)
        objectness = None if weights else find_objectness(network, images)
        boxes = boxes_of(network, images)
        del network

        def prepare(made) -> None:
            load_weights(made, weights)
            if objectness is not None:
                quiet_heads(made, objectness)

        objects = [
            [
                (box, class_id)
                for box, class_id in some
                if box[2] - box[0] >= 8 and box[3] - box[1] >= 8
            ][:OBJECTS]
            for some in boxes
        ]
        truth = [[make_object(*one, size, size) for one in some] for some in objects]
        self.step = our_step(cfg, images, prepare, truth, device=device, stage=lib.DN_STAGE_MASK)
        self.step()
        rois = self._rois()
        self.words = (
            f"{mean_count(boxes):.0f} boxes, {mean_count(objects):.1f} objects and "
            f"{rois / batch:.1f} masks an image"
        )

    def _rois(self) -> int:
        """How many masks the last step learned."""
        info, layer = ffi.new("dn_network_info *"), ffi.new("dn_layer_info *")
        check(lib.dn_network_get_info(self.step.network, info))
        check(lib.dn_network_get_layer(self.step.network, info.layer_count - 1, layer))
        return layer.live
