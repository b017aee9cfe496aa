"""Small networks for tests: a cfg text in, NumPy arrays out.

    net = Net(tmp_path, "[upsample]\\nstride=2", shape=(2, 3, 5, 4), training=True)
    out = net.forward(x)                 # the last layer's output, (n, c, h, w)
    net.backward(g)                      # g = dL/dout
    net.input_grad(), net.param_grads(0)["weights"], net.out(1), net.param(0, "weights")[:] = ...

Every layer's output stays readable (keep_all). Arrays returned by `param` are views of the
network's own memory: writing to them sets the parameters. All others are copies.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
from yolomask._native import check, ffi, lib

_names = itertools.count()


def write_cfg(folder: Path, text: str, name: str | None = None) -> Path:
    path = folder / (name or f"net{next(_names)}.cfg")
    path.write_text(text)
    return path


def net_section(shape: tuple[int, ...], extra: str = "") -> str:
    """[net] for inputs of this shape (n, c, h, w); or (n, values): a net without images."""
    if len(shape) == 2:
        return f"[net]\nbatch={shape[0]}\ninputs={shape[1]}\n{extra}\n"
    n, c, h, w = shape
    return f"[net]\nbatch={n}\nwidth={w}\nheight={h}\nchannels={c}\n{extra}\n"


class Net:
    """One network in memory. `sections` is cfg text without [net]."""

    def __init__(
        self,
        folder: Path,
        sections: str,
        shape: tuple[int, ...],
        *,
        training: bool = False,
        threads: int = 2,
        seed: int = 1,
        strict: bool = True,
        keep_all: bool = True,
        net_keys: str = "",
    ):
        self.path = write_cfg(folder, net_section(shape, net_keys) + sections)
        self.warnings: list[str] = []
        self._warn = ffi.callback(
            "void(void *, const char *)",
            lambda _, text: self.warnings.append(ffi.string(text).decode()),
        )
        options = ffi.new("dn_network_options *")
        options.batch = shape[0]
        options.threads = threads
        options.training = training
        options.keep_all = keep_all
        options.input_grad = training
        options.strict = strict
        options.seed = seed
        options.warn = self._warn
        out = ffi.new("dn_network **")
        check(lib.dn_network_create(str(self.path).encode(), options, out))
        self.handle = ffi.gc(out[0], lib.dn_network_free)
        self.shape = shape
        info = ffi.new("dn_network_info *")
        check(lib.dn_network_get_info(self.handle, info))
        self.info = info
        self.layer_count = info.layer_count
        self._input = None

    def layer(self, index: int):
        """dn_layer_info of a layer; negative indices count from the end."""
        info = ffi.new("dn_layer_info *")
        check(lib.dn_network_get_layer(self.handle, index % self.layer_count, info))
        return info

    def describe(self, index: int) -> str:
        text = ffi.new("char[512]")
        check(lib.dn_network_describe(self.handle, index % self.layer_count, text, 512))
        return ffi.string(text).decode()

    def _array(self, pointer, info) -> np.ndarray:
        count = info.live * info.c * info.h * info.w
        flat = np.frombuffer(ffi.buffer(pointer, count * 4), np.float32)
        return flat.reshape(info.live, info.c, info.h, info.w).copy()

    def out(self, index: int = -1) -> np.ndarray:
        info = self.layer(index)
        return self._array(info.out, info)

    def grad(self, index: int = -1) -> np.ndarray:
        info = self.layer(index)
        return self._array(info.grad, info)

    def loss(self, index: int = -1) -> float:
        return self.layer(index).loss

    def _param_infos(self, index: int):
        info = ffi.new("dn_param_info *")
        index %= self.layer_count
        for k in range(self.layer(index).param_count):
            check(lib.dn_network_get_param(self.handle, index, k, info))
            yield info

    def param(self, index: int, name: str) -> np.ndarray:
        """The parameter's values as a flat, writable view."""
        for info in self._param_infos(index):
            if ffi.string(info.name).decode() == name:
                return np.frombuffer(ffi.buffer(info.data, info.count * 4), np.float32)
        raise KeyError(name)

    def params(self, index: int) -> dict[str, np.ndarray]:
        """All parameters of a layer in .weights order, as views."""
        names = [ffi.string(info.name).decode() for info in self._param_infos(index)]
        return {name: self.param(index, name) for name in names}

    def param_grads(self, index: int) -> dict[str, np.ndarray]:
        """Gradients of the parameters that train."""
        grads = {}
        for info in self._param_infos(index):
            if info.grad != ffi.NULL:
                flat = np.frombuffer(ffi.buffer(info.grad, info.count * 4), np.float32)
                grads[ffi.string(info.name).decode()] = flat.copy()
        return grads

    def randomize(self, rng: np.random.Generator, scale: float = 0.5) -> None:
        """Random parameters for every layer; variances positive, scales around 1."""
        for index in range(self.layer_count):
            for name, values in self.params(index).items():
                values[:] = rng.normal(0, scale, values.size)
                if name == "variance":
                    values[:] = rng.uniform(0.3, 2, values.size)
                if name == "scales":
                    values[:] = rng.uniform(0.5, 1.5, values.size)
        lib.dn_network_touch(self.handle)

    def forward(self, x: np.ndarray, threshold: float = 0.0) -> np.ndarray:
        self._input = np.ascontiguousarray(x, np.float32)  # must outlive the call
        data = ffi.cast("const float *", self._input.ctypes.data)
        check(lib.dn_network_forward(self.handle, data, self._input.shape[0], threshold))
        return self.out()

    def train_forward(
        self, x: np.ndarray, values: np.ndarray | None = None, iteration: int = 0
    ) -> np.ndarray:
        """A training pass; `values` (n, outputs) is what [softmax], [cost] ... compare with."""
        self._input = np.ascontiguousarray(x, np.float32)
        batch = self._input.shape[0]
        self._truth = ffi.new("dn_truth[]", batch)  # must outlive the backward
        if values is not None:
            self._values = np.ascontiguousarray(values, np.float32).reshape(batch, -1)
            for i in range(batch):
                self._truth[i].values = ffi.cast("float *", self._values[i].ctypes.data)
        data = ffi.cast("const float *", self._input.ctypes.data)
        check(lib.dn_network_train_forward(self.handle, data, batch, self._truth, iteration))
        return self.out()

    def backward(self, grad_out: np.ndarray | None = None) -> None:
        if grad_out is None:
            check(lib.dn_network_backward(self.handle, ffi.NULL))
            return
        grad = np.ascontiguousarray(grad_out, np.float32)
        check(lib.dn_network_backward(self.handle, ffi.cast("const float *", grad.ctypes.data)))

    def zero_grad(self) -> None:
        check(lib.dn_network_zero_grad(self.handle))

    def input_grad(self) -> np.ndarray:
        count = self._input.size
        pointer = lib.dn_network_input_grad(self.handle)
        flat = np.frombuffer(ffi.buffer(pointer, count * 4), np.float32)
        return flat.reshape(self._input.shape).copy()


def close(actual: np.ndarray, wanted: np.ndarray, tolerance: float = 1e-5) -> None:
    """Asserts max|actual - wanted| <= tolerance * max|wanted|, and equal shapes."""
    actual, wanted = np.asarray(actual, np.float64), np.asarray(wanted, np.float64)
    assert actual.shape == wanted.shape, f"{actual.shape} instead of {wanted.shape}"
    assert np.isfinite(actual).all(), "not finite"
    error = np.abs(actual - wanted).max(initial=0)
    scale = np.abs(wanted).max(initial=0)
    assert error <= tolerance * max(scale, 1e-3), f"error {error:.3g} at scale {scale:.3g}"
