"""dn_stream for tests: images in, results out, in plain calls of the C interface."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from networks import Net
from yolomask._native import check, ffi, lib

FIELDS = ("class_id", "detection", "score", "objectness", "mask_score")


class Stream:
    def __init__(self, net: Net, threshold: float = 0.05, **options):
        given = ffi.new("dn_stream_options *", options)
        given.predict.threshold = threshold
        given.predict.masks = form_of(net)
        out = ffi.new("dn_stream **")
        check(lib.dn_stream_create(net.handle, given, out))
        self.handle, self.alive = ffi.gc(out[0], lib.dn_stream_free), []

    def submit(self, *images: np.ndarray | str) -> None:
        """Arrays, or paths of files."""
        given = ffi.new("dn_stream_image[]", len(images))
        for one, image in zip(given, images, strict=True):
            if isinstance(image, str):
                path = ffi.new("char[]", image.encode())
                one.path = path
                self.alive.append(path)
            else:
                one.image = as_image(image, self.alive)
        check(lib.dn_stream_submit(self.handle, given, len(images)))

    def next(self, when_there: Callable[[], None] = lambda: None):
        """What a result says, as values to compare; None: nothing is left."""
        out = ffi.new("dn_stream_result *")
        check(lib.dn_stream_next(self.handle, out))
        if out.result == ffi.NULL:
            return None
        when_there()
        pixels = None
        if out.image.data != ffi.NULL:
            size = 3 * out.image.width * out.image.height
            pixels = bytes(ffi.buffer(out.image.data, size))
            lib.dn_image_free(ffi.addressof(out, "image"))
        values = values_of(out.result)
        lib.dn_result_free(out.result)
        return out.number, values, pixels

    def has_room(self) -> bool:
        return lib.dn_stream_has_room(self.handle)

    def close(self) -> None:
        ffi.release(self.handle)


def as_image(array: np.ndarray, alive: list):
    data = ffi.from_buffer("uint8_t[]", array)
    alive.append(data)
    return {"width": array.shape[1], "height": array.shape[0], "data": data}


def form_of(net: Net) -> int:
    """In which form a test wants the masks of this network."""
    return getattr(net, "masks", lib.DN_MASKS_PROBABILITIES)


def values_of(result) -> list[tuple]:
    """Instances with the bits of their masks, wherever these are, or their strings."""
    side, found = result.mask_size, []
    strings = bytes(ffi.buffer(result.rle, result.rle_bytes)).split(b"\0")
    kept = kept_of(result)
    for i, one in enumerate(result.instances[0 : result.instance_count]):
        boxes = [
            getattr(box, c) for box in (one.box, one.mask_box) for c in ("x0", "y0", "x1", "y1")
        ]
        mask = None if one.mask == ffi.NULL else bytes(ffi.buffer(one.mask, 4 * side * side))
        mask = strings[i] if result.rle_bytes else kept[i] if kept else mask
        found.append((*(getattr(one, name) for name in FIELDS), *boxes, mask))
    return found


def kept_of(result) -> list[bytes]:
    """The bits of masks that are on the device."""
    if result.device_masks == ffi.NULL:
        return []
    values = np.zeros((result.instance_count, result.mask_size**2), np.float32)
    check(lib.dn_device_masks_read(result.device_masks, ffi.from_buffer("float[]", values)))
    return [row.tobytes() for row in values]


def predict(net: Net, *images: np.ndarray, threshold: float = 0.05) -> list[list[tuple]]:
    """The same by dn_network_predict_batch."""
    alive: list = []
    given = ffi.new("dn_image[]", [as_image(image, alive) for image in images])
    options = ffi.new("dn_predict_options *", {"threshold": threshold, "masks": form_of(net)})
    out = ffi.new("dn_result *[]", len(images))
    check(lib.dn_network_predict_batch(net.handle, given, len(images), options, out))
    found = [values_of(result) for result in out]
    for result in out:
        lib.dn_result_free(result)
    return found
