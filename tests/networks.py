"""Networks for tests: built from cfg text, run on NumPy arrays, read layer by layer."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

from yolomask._native import check, ffi, lib

# Where networks of tests run that do not say so themselves ("cuda": make host-cuda-check).
DEVICE = os.environ.get("YOLOMASK_TEST_DEVICE", "cpu").encode()

# Looked up once: cffi's first look-up of a function takes a lock that ffi.new may hold while the
# garbage collector runs __del__.
free_network = lib.dn_network_free


class Net:
    """A network of the library and the arrays that must live as long as it does."""

    def __init__(self, cfg: str | Path, **options):
        """`cfg` is a path or the text of a cfg; options are fields of dn_network_options."""
        self.warnings: list[str] = []
        self._input = None
        self.handle = ffi.NULL
        self._warn = ffi.callback("void(void *, const char *)", self._on_warning)
        fields = {"threads": 2, "keep_all": True, "warn": self._warn} | options
        self._device = ffi.new("char[]", fields.get("device", DEVICE))
        fields["device"] = self._device
        given = ffi.new("dn_network_options *", fields)
        out = ffi.new("dn_network **")
        if isinstance(cfg, Path):
            check(lib.dn_network_create(str(cfg).encode(), given, out))
        else:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "test.cfg"
                path.write_text(cfg)
                check(lib.dn_network_create(str(path).encode(), given, out))
        self.handle = out[0]

    def __del__(self):
        if self.handle != ffi.NULL:
            free_network(self.handle)

    def _on_warning(self, _context, sentence):
        self.warnings.append(ffi.string(sentence).decode())

    @property
    def info(self):
        info = ffi.new("dn_network_info *")
        check(lib.dn_network_get_info(self.handle, info))
        return info[0]

    def layer(self, index: int):
        info = ffi.new("dn_layer_info *")
        check(lib.dn_network_get_layer(self.handle, index % self.info.layer_count, info))
        return info[0]

    def _array(self, pointer, shape) -> np.ndarray:
        size = int(np.prod(shape))
        return np.frombuffer(ffi.buffer(pointer, 4 * size), np.float32).reshape(shape)

    def output(self, index: int) -> np.ndarray:
        """A copy of a layer's live output, (live, c, h, w)."""
        layer = self.layer(index)
        return self._array(layer.out, (layer.live, layer.c, layer.h, layer.w)).copy()

    def grad(self, index: int) -> np.ndarray:
        layer = self.layer(index)
        return self._array(layer.grad, (layer.live, layer.c, layer.h, layer.w)).copy()

    def input_grad(self) -> np.ndarray:
        return self._array(lib.dn_network_input_grad(self.handle), self._input.shape).copy()

    def params(self, index: int) -> dict[str, np.ndarray]:
        """Writable views of a layer's parameters, by name."""
        layer, views = self.layer(index), {}
        for k in range(layer.param_count):
            info = ffi.new("dn_param_info *")
            check(lib.dn_network_get_param(self.handle, index % self.info.layer_count, k, info))
            views[ffi.string(info.name).decode()] = self._array(info.data, (info.count,))
        return views

    def _set_input(self, values: np.ndarray):
        self._input = np.ascontiguousarray(values, np.float32)
        return ffi.from_buffer("float[]", self._input)

    def forward(self, values: np.ndarray, threshold: float = 0.0) -> np.ndarray:
        """Runs (n, c, h, w) values; returns the last layer's output."""
        data = self._set_input(values)
        check(lib.dn_network_forward(self.handle, data, len(self._input), threshold))
        return self.output(-1)

    def train_forward(self, values: np.ndarray, objects: list[list[tuple]], iteration: int = 0):
        """A training pass; objects[image] = [(box in network pixels, class[, crowd]), ...]."""
        data = self._set_input(values)
        truth = ffi.new("dn_truth[]", len(objects))
        self._objects = []  # must stay until the backward
        for one, rows in zip(truth, objects, strict=True):
            fields = [
                {
                    "box": tuple(map(float, row[0])),
                    "class_id": int(row[1]),
                    "crowd": row[2:] == (1,),
                }
                for row in rows
            ]
            self._objects.append(ffi.new("dn_truth_object[]", fields))
            one.object_count, one.objects = len(rows), self._objects[-1]
        self._truth = truth
        check(lib.dn_network_train_forward(self.handle, data, len(self._input), truth, iteration))
        return self.output(-1)

    def backward(self):
        check(lib.dn_network_backward(self.handle, ffi.NULL))

    def head_statistics(self, index: int):
        statistics = ffi.new("dn_head_statistics *")
        layer = index % self.info.layer_count
        check(lib.dn_network_get_head_statistics(self.handle, layer, statistics))
        return statistics[0]

    def load(self, *paths: Path):
        report = ffi.new("dn_weights_report *")
        joined = ",".join(str(path) for path in paths).encode()
        check(lib.dn_network_load_weights(self.handle, joined, report))
        return report[0]

    def result(self, image: int, width: int, height: int, **options):
        """The dn_result of an image of the last forward."""
        out = ffi.new("dn_result **")
        asked = ffi.new("dn_predict_options *", options)
        check(lib.dn_network_get_result(self.handle, image, width, height, asked, out))
        return ffi.gc(out[0], lib.dn_result_free)

    def predict(self, images: list[np.ndarray], **options):
        """The dn_results, as objects that free themselves, of uint8 arrays (height, width, 3)."""
        arrays = [np.ascontiguousarray(image, np.uint8) for image in images]
        given = ffi.new("dn_image[]", len(arrays))
        for k, array in enumerate(arrays):
            given[k].height, given[k].width = array.shape[:2]
            given[k].data = ffi.from_buffer("uint8_t[]", array)
        out = ffi.new("dn_result *[]", len(arrays))
        asked = ffi.new("dn_predict_options *", options)
        check(lib.dn_network_predict_batch(self.handle, given, len(arrays), asked, out))
        return [ffi.gc(result, lib.dn_result_free) for result in out]
