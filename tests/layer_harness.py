"""Networks of a few sections, for tests of layers: cfg text in, NumPy arrays out.

net = Net(tmp_path, "[upsample]\\nstride=2", shape=(2, 3, 5, 4), training=True)
out = net.forward(x)                 # the last layer's output, (n, c, h, w)
net.backward(g)                      # g = dL/dout
net.input_grad(), net.param_grads(0)["weights"], net.output(1), net.params(0)["weights"][:] = ...
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import networks
from yolomask._native import check, ffi, lib

_names = itertools.count()


def write_cfg(folder: Path, text: str, name: str | None = None) -> Path:
    path = folder / (name or f"net{next(_names)}.cfg")
    path.write_text(text)
    return path


def net_section(shape: tuple[int, ...]) -> str:
    """[net] for inputs of this shape (n, c, h, w); or (n, values): a net without images."""
    if len(shape) == 2:
        return f"[net]\nbatch={shape[0]}\ninputs={shape[1]}\n"
    n, c, h, w = shape
    return f"[net]\nbatch={n}\nwidth={w}\nheight={h}\nchannels={c}\n"


class Net(networks.Net):
    """One network in memory. `sections` is cfg text without [net]; inputs have this shape."""

    def __init__(self, folder: Path, sections: str, shape: tuple[int, ...], **options):
        self.path = write_cfg(folder, net_section(shape) + sections)
        fields = {"batch": shape[0], "strict": True, "seed": 1} | options
        fields["input_grad"] = fields.get("training", False)
        super().__init__(self.path, **fields)
        self.layer_count = self.info.layer_count

    def describe(self, index: int) -> str:
        text = ffi.new("char[512]")
        check(lib.dn_network_describe(self.handle, index % self.layer_count, text, 512))
        return ffi.string(text).decode()

    def param_grads(self, index: int) -> dict[str, np.ndarray]:
        """Copies of the gradients of a layer's parameters that train."""
        grads, index = {}, index % self.layer_count
        info = ffi.new("dn_param_info *")
        for k in range(self.layer(index).param_count):
            check(lib.dn_network_get_param(self.handle, index, k, info))
            if info.grad != ffi.NULL:
                grads[ffi.string(info.name).decode()] = self._array(info.grad, (info.count,)).copy()
        return grads

    def randomize(self, rng: np.random.Generator, scale: float = 0.5) -> None:
        """Random parameters for every layer; variances positive, scales around 1."""
        for index in range(self.layer_count):
            for name, values in self.params(index).items():
                values[:] = draw(rng, values.size, scale)
                if name == "variance":
                    values[:] = 0.3 + np.abs(draw(rng, values.size))
                if name == "scales":
                    values[:] = 1 + draw(rng, values.size, 0.2)
        lib.dn_network_touch(self.handle)

    def learn(self, x: np.ndarray, wanted: np.ndarray | None = None, iteration: int = 0):
        """A training pass; [softmax], [logistic] and [cost] compare with `wanted`, a row an image.

        Returns the last layer's output; the losses are in layer(k).loss.
        """
        data = self._set_input(x)
        batch = len(self._input)
        self._truth = ffi.new("dn_truth[]", batch)  # must outlive the backward
        if wanted is not None:
            self._wanted = np.ascontiguousarray(wanted, np.float32).reshape(batch, -1)
            for i in range(batch):
                self._truth[i].values = ffi.cast("float *", self._wanted[i].ctypes.data)
        check(lib.dn_network_train_forward(self.handle, data, batch, self._truth, iteration))
        return self.output(-1)

    def backward(self, grad_out: np.ndarray | None = None) -> None:
        if grad_out is None:
            super().backward()
            return
        grad = np.ascontiguousarray(grad_out, np.float32)
        check(lib.dn_network_backward(self.handle, ffi.from_buffer("float[]", grad)))

    def zero_grad(self) -> None:
        check(lib.dn_network_zero_grad(self.handle))


def draw(rng: np.random.Generator, shape, scale: float = 1.0) -> np.ndarray:
    """Normal numbers as multiples of 1/4096, so that files of them stay small (tests/golden)."""
    return (np.round(rng.normal(0, scale, shape) * 4096) / 4096).astype(np.float32)


@dataclass
class Expectation:
    """What a cfg must give for these inputs, as other software computed it."""

    sections: str
    x: np.ndarray
    params: dict[tuple[int, str], np.ndarray]  # of all layers
    out: np.ndarray
    tolerance: float
    grad: np.ndarray | None = None  # dL/dout; None: an inference network
    input_grad: np.ndarray | None = None
    param_grads: dict[tuple[int, str], np.ndarray] = field(default_factory=dict)


def meet(folder: Path, wanted: Expectation) -> Net:
    """Asserts that the library's network gives what is wanted."""
    training = wanted.grad is not None
    net = Net(folder, wanted.sections, wanted.x.shape, training=training)
    given = {(i, name): v for i in range(net.layer_count) for name, v in net.params(i).items()}
    assert given.keys() == wanted.params.keys()
    for key, values in given.items():
        values[:] = wanted.params[key]
    lib.dn_network_touch(net.handle)
    out = net.forward(wanted.x)
    close(out, wanted.out.reshape(out.shape), wanted.tolerance)
    if not training:
        return net
    for passes in (1, 2):  # parameters' gradients add up, those of tensors do not
        net.backward(wanted.grad)
        close(net.input_grad(), wanted.input_grad, wanted.tolerance)
        for (index, name), values in wanted.param_grads.items():
            close(net.param_grads(index)[name], passes * values.ravel(), wanted.tolerance)
    return net


def close(actual: np.ndarray, wanted: np.ndarray, tolerance: float = 1e-5) -> None:
    """Asserts max|actual - wanted| <= tolerance * max|wanted|, and equal shapes."""
    actual, wanted = np.asarray(actual, np.float64), np.asarray(wanted, np.float64)
    assert actual.shape == wanted.shape, f"{actual.shape} instead of {wanted.shape}"
    assert np.isfinite(actual).all(), "not finite"
    error = np.abs(actual - wanted).max(initial=0)
    scale = np.abs(wanted).max(initial=0)
    assert error <= tolerance * max(scale, 1e-3), f"error {error:.3g} at scale {scale:.3g}"
