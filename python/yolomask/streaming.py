"""Images through a network in overlapping stages, by the library's dn_stream.

The library's threads decode files and make inputs ahead of the network; whoever submits images and
whoever takes results are two threads of Python's (pipeline.py), so that a source that takes its
time, a camera, keeps nobody waiting who has images.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from . import images
from ._native import check, encode_path, ffi, lib
from .result import Result

if TYPE_CHECKING:
    from .network import Network


DECODERS = {"cpu": lib.DN_DECODE_CPU, "nvjpeg": lib.DN_DECODE_DEVICE}


class Submitted(NamedTuple):
    """An image on its way, with what must live until its result is there."""

    path: str | None  # of a file that the library decodes
    loaded: images.Loaded | None  # else its pixels
    alive: object


class Stream:
    """A dn_stream of a network; `submit` and `take` may be called by a thread each."""

    def __init__(self, network: Network, options: object, bgr: bool, decoder: str) -> None:
        """`options` is a dn_predict_options."""
        self.network, self.bgr = network, bgr
        asked = ffi.new("dn_stream_options *")
        asked.predict = options[0]
        asked.predict.bgr = bgr
        if decoder not in DECODERS:
            raise ValueError(f"decoder must be one of {', '.join(DECODERS)}, not {decoder!r}")
        asked.decoder = DECODERS[decoder]
        handle = ffi.new("dn_stream **")
        with network._using() as native:
            check(lib.dn_stream_create(native, asked, handle))
        self._handle = ffi.gc(handle[0], lib.dn_stream_free)

    def submit(self, sources: Sequence[images.Source]) -> list[Submitted]:
        """Images that run together, at most the network's batch; waits for room."""
        natives = ffi.new("dn_stream_image[]", len(sources))
        some = [self._point_at(*pair) for pair in zip(natives, sources, strict=True)]
        check(lib.dn_stream_submit(self._handle, natives, len(some)))
        return some

    def _point_at(self, native: object, source: images.Source) -> Submitted:
        if isinstance(source, str | os.PathLike):
            path = ffi.new("char[]", encode_path(source))
            native.path = path
            return Submitted(os.fspath(source), None, path)
        there = self.network._load_there(source)
        loaded = there[0] if there and len(there) == 1 else images.load(source, self.bgr)
        if loaded.on_device:
            with self.network._using() as handle:
                self.network._accept(handle, [loaded.rgb])
        native.on_device = loaded.on_device
        return Submitted(None, loaded, images.point_at(native.image, loaded.rgb))

    def take(self, some: Sequence[Submitted]) -> list[Result | Exception]:
        """The results of what was submitted together, or why there is none."""
        check(lib.dn_stream_wait(self._handle))  # others may use the network meanwhile
        with self.network._using():
            return [self._take(one) for one in some]

    def _take(self, one: Submitted) -> Result | Exception:
        out = ffi.new("dn_stream_result *")
        try:
            check(lib.dn_stream_next(self._handle, out))
        except Exception as error:  # of this image; the next ones have theirs
            return error
        try:
            network, pixels = self.network, self._pixels(one, out)
            return Result.from_native(
                out.result, pixels, one.path, network.names, self.bgr, True, network.device
            )
        finally:
            lib.dn_result_free(out.result)

    def _pixels(self, one: Submitted, out: object) -> np.ndarray | images.OnDevice | images.InFile:
        if one.loaded is not None:
            return one.loaded.pixels
        if out.image.data == ffi.NULL:  # the GPU has decoded it
            return images.InFile(one.path, self.bgr, (out.image.height, out.image.width, 3))
        image = ffi.new("dn_image *", out.image)
        return images.in_order(images.take_image(image), self.bgr)

    def stop(self) -> None:
        """Whoever waits in `submit` or `take` gets CancelledError."""
        lib.dn_stream_stop(self._handle)

    def close(self) -> None:
        """When no thread uses it any more."""
        ffi.release(self._handle)
