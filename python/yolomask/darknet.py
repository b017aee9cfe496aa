"""The functions of the ctypes module `darknet.py` that Darknet's users import, on top of Network.

    network, class_names, class_colors = load_network("yolov4.cfg", "coco.data", "yolov4.weights")
    image = make_image(network_width(network), network_height(network), 3)
    copy_image_from_bytes(image, resized_rgb.tobytes())
    for label, confidence, (x, y, w, h) in detect_image(network, class_names, image): ...

AlexeyAB's functions (load_network, detect_image, ...) stretch the image over the network's input,
pjreddie's (load_net, load_meta, detect) keep its shape, as theirs do. Boxes are centres and sizes
in pixels of the image that was given, not clipped to it. Memory needs no freeing; free_image is
there for scripts that call it. Masks: use yolomask.Network.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ._native import DataError, check, ffi, lib
from .drawing import require_cv2
from .images import load_image as read_image
from .names import names_file_of, read_names
from .network import Network

__all__ = [
    "IMAGE",
    "METADATA",
    "bbox2points",
    "class_colors",
    "copy_image_from_bytes",
    "detect",
    "detect_image",
    "draw_boxes",
    "free_image",
    "load_image",
    "load_meta",
    "load_net",
    "load_network",
    "make_image",
    "network_height",
    "network_width",
    "print_detections",
]

Box = tuple[float, float, float, float]  # centre x, centre y, width, height
Detection = tuple[str, str, Box]  # label, confidence in percent as text, box


@dataclass
class IMAGE:
    """Pixels that detect_image reads: RGB, (h, w, c) uint8."""

    w: int
    h: int
    c: int
    pixels: np.ndarray


@dataclass
class METADATA:
    """What detect needs to know of a .data file."""

    classes: int
    names: list[bytes]


def _text(path: str | bytes) -> str:
    return path.decode() if isinstance(path, bytes) else path


# ---- AlexeyAB's ------------------------------------------------------------------------------


def load_network(
    config_file: str, data_file: str, weights: str, batch_size: int = 1
) -> tuple[Network, list[str], dict[str, tuple[int, int, int]]]:
    """The network, its class names, and a colour for each of them."""
    network = Network(_text(config_file), _text(weights), _text(data_file), batch=batch_size)
    names = list(network.names.values())
    return network, names, class_colors(names)


def class_colors(names: Sequence[str]) -> dict[str, tuple[int, int, int]]:
    """A random colour for each name."""
    return {name: tuple(random.randint(0, 255) for _ in range(3)) for name in names}


def network_width(net: Network) -> int:
    return net.width


def network_height(net: Network) -> int:
    return net.height


def make_image(width: int, height: int, channels: int) -> IMAGE:
    """A black image, to be filled by copy_image_from_bytes."""
    if channels != 3:
        raise DataError(f"make_image: channels must be 3, not {channels}")
    return IMAGE(width, height, channels, np.zeros((height, width, channels), np.uint8))


def copy_image_from_bytes(image: IMAGE, data: bytes) -> None:
    """Fills an image with interleaved RGB bytes."""
    if len(data) != image.pixels.nbytes:
        raise DataError(
            f"copy_image_from_bytes: {len(data)} bytes for an image of {image.w} x {image.h} x "
            f"{image.c}"
        )
    image.pixels = np.frombuffer(data, np.uint8).reshape(image.pixels.shape)


def free_image(image: IMAGE) -> None:
    """Does nothing: images are freed when nobody holds them."""


def detect_image(
    network: Network,
    class_names: Sequence[str],
    image: IMAGE,
    thresh: float = 0.5,
    hier_thresh: float = 0.5,
    nms: float = 0.45,
) -> list[Detection]:
    """The image's objects, by rising confidence; hier_thresh is for word trees, which are gone."""
    found = network.predict(image.pixels, thresh, nms, max_det=0, stretch=True, clip=False)
    rows = zip(found.boxes.cls.tolist(), found.boxes.conf, found.boxes.xywh.tolist(), strict=True)
    listed = [(class_names[int(i)], str(round(float(p) * 100, 2)), tuple(b)) for i, p, b in rows]
    return listed[::-1]


def bbox2points(bbox: Box) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a centre and a size, rounded."""
    x, y, w, h = bbox
    return round(x - w / 2), round(y - h / 2), round(x + w / 2), round(y + h / 2)


def draw_boxes(
    detections: Sequence[Detection],
    image: np.ndarray,
    colors: dict[str, tuple[int, int, int]],
) -> np.ndarray:
    """Draws boxes and labels into an image, which it returns."""
    cv2 = require_cv2()
    for label, confidence, bbox in detections:
        left, top, right, bottom = bbox2points(bbox)
        cv2.rectangle(image, (left, top), (right, bottom), colors[label], 1)
        text = f"{label} [{float(confidence):.2f}]"
        at = (left, top - 5 if top >= 20 else top + 15)
        cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, colors[label], 2)
    return image


def print_detections(detections: Sequence[Detection], coordinates: bool = False) -> None:
    """One line an object, with its box if `coordinates`."""
    print("\nObjects:")
    for label, confidence, (x, y, w, h) in detections:
        left, top = x - w / 2, y - h / 2
        where = f"    (left_x: {left:.0f}   top_y: {top:.0f}   width: {w:.0f}   height: {h:.0f})"
        print(f"{label}: {confidence}%{where if coordinates else ''}")


# ---- pjreddie's ------------------------------------------------------------------------------


def load_net(cfg: str | bytes, weights: str | bytes, clear: int = 0) -> Network:
    """The network; with `clear` its count of images seen starts at 0."""
    network = Network(_text(cfg), _text(weights))
    if clear:
        network.set_seen(0)
    return network


def load_meta(path: str | bytes) -> METADATA:
    """Classes and names of a .data file."""
    data = ffi.new("dn_data_file **")
    check(lib.dn_data_file_read(_text(path).encode(), ffi.NULL, ffi.NULL, data))
    classes = data[0].classes
    lib.dn_data_file_free(data[0])
    file = names_file_of(_text(path))
    if file is None:
        raise DataError(f"{_text(path)}: names= is missing")
    return METADATA(classes, [name.encode() for name in read_names(file)])


def load_image(path: str | bytes, width: int = 0, height: int = 0) -> IMAGE:
    """An image file, resized where width and height are not 0."""
    pixels = read_image(_text(path))
    if width and height:
        pixels = require_cv2().resize(pixels, (width, height))
    return IMAGE(pixels.shape[1], pixels.shape[0], 3, pixels)


def detect(
    net: Network,
    meta: METADATA,
    image: str | bytes | IMAGE,
    thresh: float = 0.5,
    hier_thresh: float = 0.5,
    nms: float = 0.45,
) -> list[tuple[bytes, float, Box]]:
    """(name, probability, box) of an image file's objects, by falling probability."""
    source = image.pixels if isinstance(image, IMAGE) else _text(image)
    found = net.predict(source, thresh, nms, max_det=0, clip=False)
    rows = zip(found.boxes.cls.tolist(), found.boxes.conf, found.boxes.xywh.tolist(), strict=True)
    return [(meta.names[int(i)], float(p), tuple(b)) for i, p, b in rows]
