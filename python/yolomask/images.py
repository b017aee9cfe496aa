"""Images in and out of the library: files, arrays, pixels that cross without a copy.

Arrays are (height, width, 3), uint8, RGB unless the caller says BGR. Files are decoded by the
library, which applies EXIF's orientation.
"""

from __future__ import annotations

import glob
import math
import os
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from . import device_arrays
from ._native import DataError, check, encode_path, ffi, lib
from .device_arrays import DeviceArray

Source = str | os.PathLike | np.ndarray

SUFFIXES = {".jpg", ".jpeg", ".png", ".ppm"}  # of the files that a folder's images are


def load_image(path: str | os.PathLike) -> np.ndarray:
    """The pixels of a JPEG, PNG or PPM file, RGB; the array owns the library's memory."""
    image = ffi.new("dn_image *")
    check(lib.dn_image_load(encode_path(path), image))
    return take_image(image)


def take_image(image) -> np.ndarray:
    """The pixels of a dn_image, which becomes the array's."""
    size = image.height * image.width * 3
    pixels = ffi.gc(image.data, partial(_free, image), size)
    flat = np.frombuffer(ffi.buffer(pixels, size), np.uint8)
    return flat.reshape(image.height, image.width, 3)


def _free(image, _pixels) -> None:
    lib.dn_image_free(image)


def _on_host(source: object) -> object:
    """The array, brought from a GPU where it lies there: PyTorch's, CuPy's and Numba's way."""
    if not device_arrays.is_there(source):
        return source
    for name in ("cpu", "get", "copy_to_host"):
        if bring := getattr(source, name, None):
            return bring()
    raise DataError(f"a {type(source).__name__} on a GPU that has no way to the host")


class OnDevice:
    """The pixels of an image on a GPU, brought to the host when they are asked for."""

    def __init__(self, source: object, index: int | None, shape: tuple[int, ...]) -> None:
        self.source, self.index, self.shape = source, index, shape

    def bring(self) -> np.ndarray:
        pixels = np.asarray(_on_host(self.source))
        return pixels if self.index is None else pixels[self.index]


class InFile:
    """The pixels of an image file, decoded by the CPU when they are asked for."""

    def __init__(self, path: str, bgr: bool, shape: tuple[int, ...]) -> None:
        self.path, self.bgr, self.shape = path, bgr, shape

    def bring(self) -> np.ndarray:
        return in_order(load_image(self.path), self.bgr)


class Loaded(NamedTuple):
    """An image in memory."""

    pixels: np.ndarray | OnDevice  # in the caller's channel order
    rgb: np.ndarray | DeviceArray  # the same, contiguous, as the library reads it
    path: str | None  # None: an array

    @property
    def on_device(self) -> bool:
        return isinstance(self.rgb, DeviceArray)


def load_there(source: object) -> list[Loaded] | None:
    """The image, or the images of a batch (images, height, width, 3), that an array on a GPU holds,
    where they are; None: it is no such array."""
    array = device_arrays.find(source)
    if array is None:
        return None
    batch = len(array.shape) == 4
    if len(array.shape) not in (3, 4) or array.shape[-1] != 3 or array.dtype != "u1":
        raise DataError(
            "an image array must be (height, width, 3) of uint8, or a batch of such, not "
            f"{array.shape} of {device_arrays.type_name(array.dtype)}"
        )
    if not array.contiguous:
        raise DataError(
            f"an image array on a GPU must be row-major without gaps, not with strides of "
            f"{array.strides} bytes: copy it first"
        )
    if 0 in array.shape[-3:]:
        raise DataError(f"an image array of shape {array.shape} has no pixels")
    size = math.prod(array.shape[-3:])
    return [
        Loaded(
            OnDevice(source, i if batch else None, array.shape[-3:]),
            array._replace(address=array.address + i * size, shape=array.shape[-3:]),
            None,
        )
        for i in range(array.shape[0] if batch else 1)
    ]


def load(source: object, bgr: bool) -> Loaded:
    """The image of a file or an array; files are given in the caller's channel order, too."""
    if isinstance(source, str | os.PathLike):
        rgb = load_image(source)
        return Loaded(in_order(rgb, bgr), rgb, os.fspath(source))
    pixels = np.asarray(_on_host(source))
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise DataError(
            f"an image array must be (height, width, 3) of uint8, not {pixels.shape} "
            f"of {pixels.dtype}"
        )
    return Loaded(pixels, np.ascontiguousarray(pixels[..., ::-1] if bgr else pixels), None)


def in_order(rgb: np.ndarray, bgr: bool) -> np.ndarray:
    """A file's pixels in the caller's channel order."""
    return np.ascontiguousarray(rgb[..., ::-1]) if bgr else rgb


def point_at(image, rgb: np.ndarray | DeviceArray) -> object:
    """Points a dn_image at the pixels; what is returned must live as long as the dn_image."""
    if isinstance(rgb, DeviceArray):
        data, alive = ffi.cast("uint8_t *", rgb.address), rgb.owner
    else:
        data = alive = ffi.from_buffer("uint8_t[]", rgb)
    image.height, image.width = rgb.shape[:2]
    image.data = data
    return alive


def is_image(path: str | os.PathLike) -> bool:
    """Whether a file's ending is that of an image that the library reads."""
    return Path(path).suffix.lower() in SUFFIXES


def find_images(sources: Iterable[str | os.PathLike]) -> list[Path]:
    """The files that a list of files, folders and patterns (*, ?, **) means, each once."""
    found: dict[Path, None] = {}
    for source in sources:
        path = Path(source)
        if path.is_dir():
            files = sorted(file for file in path.iterdir() if is_image(file) and file.is_file())
        elif path.is_file():
            files = [path]
        else:
            matches = (Path(name) for name in glob.glob(os.fspath(source), recursive=True))
            files = sorted(file for file in matches if is_image(file) and file.is_file())
        if not files:
            what = "has no image" if path.is_dir() else "is no file, folder or pattern of images"
            raise DataError(f"{source}: {what} ({', '.join(sorted(SUFFIXES))})")
        found.update(dict.fromkeys(files))
    return list(found)


def open_video(source: str | os.PathLike | int) -> tuple[object, str]:
    """OpenCV's capture of a video file, a stream's address or a camera's number, and its name."""
    try:
        import cv2
    except ImportError as error:
        raise ImportError("video needs OpenCV: pip install opencv-python") from error
    if isinstance(source, str) and source.isdigit() and not os.path.exists(source):
        source = int(source)
    what = f"camera {source}" if isinstance(source, int) else os.fspath(source)
    capture = cv2.VideoCapture(source if isinstance(source, int) else what)
    if not capture.isOpened():
        if isinstance(source, int):
            raise DataError(f"{what}: there is none, it is in use, or it may not be opened")
        missing = "://" not in what and not os.path.exists(what)
        raise DataError(f"{what}: {'no such file' if missing else 'cannot be opened as a video'}")
    return capture, what


def frames_of(capture) -> Iterator[np.ndarray]:
    """The frames, BGR, that are left in OpenCV's capture, which is closed behind them."""
    try:
        while True:
            there, frame = capture.read()
            if not there:
                return
            yield frame
    finally:
        capture.release()
