"""Our training step for benchmarks: forward, backward and update of a cfg on made-up images.

Unless others are given, every image has one object of class 1 in its middle, with a mask, so that
every head and the mask branch have something to learn from.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "python"), str(ROOT / "tests")]

from yolomask._native import check, ffi, lib  # noqa: E402


def make_network(path: Path, **options):
    """A network of the library, freed with the object; options are those of dn_network_options."""
    kept = [ffi.new("char[]", v.encode()) for v in options.values() if isinstance(v, str)]
    strings = iter(kept)
    fields = {k: next(strings) if isinstance(v, str) else v for k, v in options.items()}
    out = ffi.new("dn_network **")
    check(lib.dn_network_create(str(path).encode(), ffi.new("dn_network_options *", fields), out))
    return ffi.gc(out[0], lib.dn_network_free)


def layer_of(network, index: int):
    layer = ffi.new("dn_layer_info *")
    check(lib.dn_network_get_layer(network, index, layer))
    return layer


def layers(network) -> list:
    info = ffi.new("dn_network_info *")
    check(lib.dn_network_get_info(network, info))
    return [layer_of(network, index) for index in range(info.layer_count)]


def params(network, index: int) -> dict[str, np.ndarray]:
    """The layer's parameters, which may be written; then lib.dn_network_touch is due."""
    param, found = ffi.new("dn_param_info *"), {}
    for k in range(layer_of(network, index).param_count):
        check(lib.dn_network_get_param(network, index, k, param))
        values = np.frombuffer(ffi.buffer(param.data, 4 * param.count), np.float32)
        found[ffi.string(param.name).decode()] = values
    return found


def quiet_heads(network, objectness: float = -7) -> None:
    """Sets the bias of the objectness of every [yolo] layer: lowers it, so that random weights find
    few boxes, as a trained detector does, and not all of them."""
    classes = lib.dn_network_classes(network)
    for index, layer in enumerate(layers(network)):
        if ffi.string(layer.type) == b"yolo":
            biases = params(network, index - 1)["biases"]
            biases.reshape(-1, 5 + classes)[:, 4] = objectness
    lib.dn_network_touch(network)


def make_object(box: tuple[int, int, int, int], class_id: int, height: int, width: int) -> dict:
    """An object of an image of that size, whose mask is its whole box."""
    left, top, right, bottom = box
    pixels = np.zeros((height, width), np.uint8)
    pixels[top:bottom, left:right] = 1
    rle = ffi.new("dn_rle *")
    data = ffi.from_buffer("uint8_t[]", pixels)
    check(lib.dn_rle_from_mask(rle, data, height, width, lib.DN_ROW_MAJOR))
    rle = ffi.gc(rle, lib.dn_rle_free)
    return {"box": box, "class_id": class_id, "mask": rle, "net_to_image": (1, 1, 0, 0)}


def middle_objects(batch: int, height: int, width: int) -> list[list[dict]]:
    """One of class 1 in the middle of each image."""
    top, left = height * 3 // 10, width * 3 // 10
    return [[make_object((left, top, width - left, height - top), 1, height, width)]] * batch


def make_truth(objects: list[list[dict]]):
    """(what the library reads, what must live as long) of the objects of each image."""
    kept = [ffi.new("dn_truth_object[]", some) for some in objects]
    fields = [{"object_count": len(some), "objects": some} for some in kept]
    return ffi.new("dn_truth[]", fields), (kept, objects)


def our_step(path: Path, images: np.ndarray, prepare=quiet_heads, objects=None, **options):
    """A function that runs one training step of the cfg on `images` (n, c, h, w). `prepare` is told
    the network; objects: of each image, by default one in its middle."""
    batch, _, height, width = images.shape
    sizes = {"training": True, "batch": batch, "width": width, "height": height, "seed": 1}
    network, optimizer = make_network(path, **sizes | options), ffi.new("dn_optimizer **")
    prepare(network)
    check(lib.dn_optimizer_create(network, optimizer))
    optimizer = ffi.gc(optimizer[0], lib.dn_optimizer_free)
    truth, keep = make_truth(objects or middle_objects(batch, height, width))
    data = ffi.from_buffer("float[]", images)

    def step(_keep=keep):
        check(lib.dn_network_train_forward(network, data, batch, truth, 0))
        check(lib.dn_network_backward(network, ffi.NULL))
        check(lib.dn_optimizer_step(optimizer, network, 1e-6, batch))

    step.network = network
    return step
