"""Network: a cfg and its weights, asked for the objects of images."""

from __future__ import annotations

import glob
import math
import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from . import images
from ._native import DarknetWarning, DeviceError, Process, check, encode_path, ffi, lib
from .device_arrays import DeviceArray
from .names import Names, resolve_names
from .network_options import PRECISIONS, Weights, join_weights, predict_options
from .pipeline import AHEAD, batches_of, overlap
from .result import Result
from .streaming import Stream


def _collector(sentences: list[str]) -> object:
    """A callback that keeps what the library says. It does not hold the network, so that one
    nobody uses any more is freed at once."""

    def keep(_context, sentence) -> None:
        sentences.append(ffi.string(sentence).decode("utf-8", "replace"))

    return ffi.callback("void(void *, const char *)", keep)


class Network:
    """A network in memory. Threads may share one (its calls wait for each other) or have one each.

    weights is a file, a list of files (detector, mask branch), or None for initial values; names a
    list, a dictionary, a file of names or a .data file, by default those that the cfg's data= leads
    to; device is "cpu", "cuda", "cuda:1" or "auto", the first GPU where the library was built with
    GPU=1 and finds one, else the CPU; threads 0 means all cores; width and height override the
    cfg's; strict turns unknown cfg keys, warnings otherwise, into errors; batch is how many images
    run at a time; precision is how it computes: "f32", on the CPU fused steps in single precision,
    "exact", the same without Winograd, "plain", layer by layer, "bf16", products in bfloat16
    where that is faster on this machine, "fp16" (GPU; there it and "bf16" are fused steps in half
    precision), or "int8" (CPU), products in 8 bits where that is faster, with the ranges of the
    file `calibration`, which yolomask.calibrate writes; "bf16-everywhere" and "int8-everywhere"
    (CPU) are the same on every machine, be they slower. With tune the first image measures which
    way of each convolution is fastest here (by fused steps, on a GPU in half precision, where it is
    measured in any case); a file keeps that: one in the user's cache or, where tune is a path, that
    one.
    """

    def __init__(
        self,
        cfg: str | os.PathLike,
        weights: Weights = None,
        names: Names = None,
        *,
        device: str = "auto",
        threads: int = 0,
        width: int = 0,
        height: int = 0,
        batch: int = 1,
        strict: bool = False,
        precision: str | None = None,
        calibration: str | os.PathLike | None = None,
        tune: bool | str | os.PathLike = False,
    ) -> None:
        if precision not in PRECISIONS:
            allowed = ", ".join(name for name in PRECISIONS if name)
            raise ValueError(f"precision must be one of {allowed}, not {precision!r}")
        Process.enter()
        self._lock = threading.Lock()
        self._handle = None
        self._sentences: list[str] = []
        self._warn = _collector(self._sentences)
        self.cfg = Path(cfg)
        options = ffi.new("dn_network_options *")
        options.batch, options.width, options.height = batch, width, height
        options.threads, options.strict, options.warn = threads, strict, self._warn
        options.precision = PRECISIONS[precision]
        options.device = where = ffi.new("char[]", device.encode())
        ranges = None if calibration is None else ffi.new("char[]", encode_path(calibration))
        options.calibration = ffi.NULL if ranges is None else ranges
        choices = ffi.new("char[]", encode_path(tune) if tune not in (False, True) else b"")
        options.tune = choices if tune else ffi.NULL
        handle = ffi.new("dn_network **")
        check(lib.dn_network_create(encode_path(cfg), options, handle))
        self._handle = ffi.gc(handle[0], lib.dn_network_free)
        del where, ranges, choices
        self.device: str = ffi.string(lib.dn_network_device(self._handle)).decode()
        info = ffi.new("dn_network_info *")
        check(lib.dn_network_get_info(self._handle, info))
        self.width: int = info.width
        self.height: int = info.height
        self.batch: int = info.batch
        self.has_masks = "mask" in self._layer_types(info.layer_count)
        classes = lib.dn_network_classes(self._handle)
        data = lib.dn_network_data_path(self._handle)
        data = os.fsdecode(ffi.string(data)) if data else None
        self.is_classifier: bool = lib.dn_network_is_classifier(self._handle)
        self.names: dict[int, str] = resolve_names(
            names, classes, self.cfg, data, self.is_classifier
        )
        if weights is not None:
            self.load_weights(weights)
        self._warn_user()

    def _warn_user(self) -> None:
        while self._sentences:
            warnings.warn(self._sentences.pop(0), DarknetWarning, stacklevel=3)

    def _layer_types(self, count: int) -> list[str]:
        layer, types = ffi.new("dn_layer_info *"), []
        for i in range(count):
            check(lib.dn_network_get_layer(self._handle, i, layer))
            types.append(ffi.string(layer.type).decode())
        return types

    @contextmanager
    def _using(self) -> Iterator[object]:
        """The handle, for one call at a time."""
        Process.enter()
        with self._lock:
            if self._handle is None:
                raise ValueError(f"{self.cfg}: the network is closed")
            yield self._handle

    def load_weights(self, weights: str | os.PathLike | Sequence[str | os.PathLike]) -> None:
        """Reads a weights file, or several in order: each ends where the next goes on."""
        text = join_weights(weights)
        report = ffi.new("dn_weights_report *")
        with self._using() as handle:
            check(lib.dn_network_load_weights(handle, text, report))
        if report.layers_loaded < report.layers_total:
            self._sentences.append(
                f"{os.fsdecode(text)}: fills {report.layers_loaded} of the {report.layers_total} "
                f"layers of {self.cfg}; the others keep their initial values"
            )
            self._warn_user()

    def save_weights(self, path: str | os.PathLike, first: int = 0, last: int = -1) -> None:
        """Writes the parameters of layers first..last-1 (last < 0: all) as a weights file."""
        with self._using() as handle:
            check(lib.dn_network_save_weights(handle, encode_path(path), first, last))

    def set_seen(self, images: int) -> None:
        """Sets the count of training images that a weights file holds."""
        with self._using() as handle:
            lib.dn_network_set_seen(handle, images)

    def predict(
        self,
        source: images.Source | Sequence[images.Source],
        conf: float = 0.25,
        iou: float = 0.45,
        max_det: int = 300,
        *,
        bgr: bool = False,
        stretch: bool = False,
        clip: bool = True,
        masks: str = "probabilities",
    ) -> Result | list[Result]:
        """The objects of an image file or array, or of a list of them (a list of results then).

        Arrays are (height, width, 3) uint8, RGB, or BGR with bgr=True (cv2's); one on the network's
        GPU may be a batch, (images, height, width, 3), which gives a list. Objects have scores
        above conf, overlap others of their class by at most iou, and are the best max_det (0: all).
        stretch fills the network's input with the image instead of keeping its shape; clip cuts
        the boxes at the image's border. masks is how result.masks keeps them: as the branch's
        "probabilities"; as COCO's strings, "rle", which a GPU makes by itself; or in the memory of
        the network's GPU, "device".
        """
        asked = (bgr, conf, iou, max_det, stretch, clip, masks)
        if isinstance(source, list | tuple):
            results = []
            for i in range(0, len(source), self.batch):
                some = self._load(source[i : i + self.batch], bgr)
                results += self._predict(some, *asked)
            return results
        there = self._load_there(source)
        if there is not None and not (there and there[0].pixels.index is None):  # a batch
            results = []
            for i in range(0, len(there), self.batch):
                some = there[i : i + self.batch]
                results += self._predict(some, *asked)
            return results
        some = there or [images.load(source, bgr)]
        return self._predict(some, *asked)[0]

    def _load_there(self, source: object) -> list[images.Loaded] | None:
        """Images of an array on the network's GPU, where they are; None: they come to the host."""
        return None if self.device == "cpu" else images.load_there(source)

    def _load(self, sources: Sequence[images.Source], bgr: bool) -> list[images.Loaded]:
        """The images of a pass: where they are, if all are on the GPU."""
        there = [self._load_there(one) for one in sources]
        if there and all(one is not None and len(one) == 1 for one in there):
            return [one[0] for one in there]
        return [images.load(one, bgr) for one in sources]

    def stream(
        self,
        source: images.Source | int | Sequence[images.Source],
        conf: float = 0.25,
        iou: float = 0.45,
        max_det: int = 300,
        *,
        bgr: bool = False,
        stretch: bool = False,
        masks: str = "probabilities",
        decoder: str = "cpu",
    ) -> Iterator[Result]:
        """One result after another, of a folder, a pattern, a list of images or arrays, a video
        file, a stream's address or a camera's number. Frames of videos are BGR, as cv2 has them.

        The next images are read and decoded in threads of their own while the network runs in
        another one, and both while the caller works on a result; they are a few batches ahead at
        most. On a GPU the next batch begins before the masks of the one before are back. Closing
        the iterator, or dropping it, ends them. decoder="nvjpeg" has a GPU decode JPEG files, whose
        orig_img is read when it is asked for.
        """
        pattern = isinstance(source, str) and glob.has_magic(source) and "://" not in source
        video = isinstance(source, int)
        if isinstance(source, str | os.PathLike):
            if os.path.isdir(source) or pattern or images.is_image(source):
                source = images.find_images([source])
            else:
                video = True
        path = os.fspath(source) if isinstance(source, str | os.PathLike) else None
        items = images.frames_of(images.open_video(source)[0]) if video else source
        options = predict_options(conf, iou, max_det, stretch, masks)
        # frames of a camera would age
        files = not video and not isinstance(items, Iterator)
        ahead = None if files else AHEAD
        for result in self._stream(items, options, bgr or video, decoder, ahead):
            result.path = result.path or path
            yield result

    def _stream(self, items, options, bgr, decoder, ahead) -> Iterator[Result]:
        """Results of images, which are decoded and run ahead of the caller."""
        stream = Stream(self, options, bgr, decoder)
        batches = batches_of(items, self.batch)
        try:
            for results in overlap(
                batches, stream.submit, stream.take, ahead=ahead, stop=stream.stop
            ):
                for result in results:
                    if isinstance(result, Exception):
                        raise result
                    yield result
        finally:
            stream.close()

    def classify(
        self, source: images.Source | Sequence[images.Source], top: int = 5, *, bgr: bool = False
    ) -> list[tuple[str, float]] | list[list[tuple[str, float]]]:
        """The best `top` classes of an image, (name, probability), best first; of a list of images
        a list of them. The image fills the network's input, what sticks out is cut off equally."""
        if isinstance(source, list | tuple):
            return [self._classify(one, top, bgr) for one in source]
        return self._classify(source, top, bgr)

    def _classify(self, source: images.Source, top: int, bgr: bool) -> list[tuple[str, float]]:
        image = ffi.new("dn_image *")
        alive = images.point_at(image, images.load(source, bgr).rgb)
        count = min(top, len(self.names)) if self.is_classifier else top
        out = ffi.new("dn_class_score[]", max(count, 0))
        with self._using() as handle:
            check(lib.dn_network_classify(handle, image, lib.DN_FIT_CROP, count, out))
        del alive
        return [(self.names[best.class_id], best.score) for best in out]

    def _predict(self, loaded, bgr, conf, iou, max_det, stretch, clip, masks) -> list[Result]:
        """At most a batch of images."""
        options = predict_options(conf, iou, max_det, stretch, masks)
        natives = ffi.new("dn_image[]", len(loaded))
        alive = [images.point_at(natives[i], one.rgb) for i, one in enumerate(loaded)]
        options.on_device, options.bgr = loaded[0].on_device, bgr
        out = ffi.new("dn_result *[]", len(loaded))
        with self._using() as handle:
            if options.on_device:
                self._accept(handle, [one.rgb for one in loaded])
            check(lib.dn_network_predict_batch(handle, natives, len(alive), options, out))
        self._warn_user()
        try:
            return [
                Result.from_native(native, one.pixels, one.path, self.names, bgr, clip, self.device)
                for native, one in zip(out, loaded, strict=True)
            ]
        finally:
            for native in out:
                lib.dn_result_free(native)

    def _accept(self, handle: object, arrays: list[DeviceArray]) -> None:
        """Checks that they lie on the network's GPU, and waits for what writes them."""
        number = int(self.device.partition(":")[2])
        for array in arrays:
            if array.device not in (None, number):
                raise DeviceError(f"an array on cuda:{array.device} for a network on {self.device}")
            address, size = ffi.cast("void *", array.address), math.prod(array.shape)
            check(lib.dn_network_accept(handle, address, size, array.stream))

    def close(self) -> None:
        """Frees the network; calling it again does nothing."""
        with self._lock:
            if self._handle is not None:
                ffi.release(self._handle)
                self._handle = None

    def __enter__(self) -> Network:
        return self

    def __exit__(self, *_exception) -> None:
        self.close()
