"""Images in and out of the library: files, arrays, pixels that cross without a copy.

Arrays are (height, width, 3), uint8, RGB unless the caller says BGR. Files are decoded by the
library, which applies EXIF's orientation.
"""

from __future__ import annotations

import os
from functools import partial

import numpy as np

from ._native import DataError, check, ffi, lib

Source = str | os.PathLike | np.ndarray


def load_image(path: str | os.PathLike) -> np.ndarray:
    """The pixels of a JPEG, PNG or PPM file, RGB; the array owns the library's memory."""
    image = ffi.new("dn_image *")
    check(lib.dn_image_load(os.fsencode(path), image))
    size = image.height * image.width * 3
    pixels = ffi.gc(image.data, partial(_free, image), size)
    flat = np.frombuffer(ffi.buffer(pixels, size), np.uint8)
    return flat.reshape(image.height, image.width, 3)


def _free(image, _pixels) -> None:
    lib.dn_image_free(image)


def as_pixels(source: object, bgr: bool) -> tuple[np.ndarray, str | None]:
    """The image and its path (None for an array), in the caller's channel order."""
    if isinstance(source, str | os.PathLike):
        pixels = load_image(source)
        return (np.ascontiguousarray(pixels[..., ::-1]) if bgr else pixels), os.fspath(source)
    pixels = np.asarray(source)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise DataError(
            f"an image array must be (height, width, 3) of uint8, not {pixels.shape} "
            f"of {pixels.dtype}"
        )
    return pixels, None


def fill_image(image, pixels: np.ndarray, bgr: bool) -> object:
    """Points a dn_image at the pixels; what is returned must live as long as the dn_image."""
    rgb = np.ascontiguousarray(pixels[..., ::-1] if bgr else pixels)
    data = ffi.from_buffer("uint8_t[]", rgb)
    image.height, image.width = rgb.shape[:2]
    image.data = data
    return data
