"""The forms of the convolution that sum the products themselves, against NumPy in float64.

Winograd's are in test_conv_winograd.py, those of low precision in test_conv_lowp.py.
"""

from __future__ import annotations

import numpy as np
import pytest

from test_conv_kernels import out_size, reference
from test_gemm import pointer
from yolomask._native import ffi, lib

ACTIVATIONS = ["linear", "leaky", "logistic", "relu", "relu6", "mish", "swish", "hard_mish"]
ACTIVATIONS += ["tanh", "elu", "selu", "gelu"]


def form_names():
    names = []
    while (name := lib.dn_test_conv_form_name(len(names))) != ffi.NULL:
        names.append(ffi.string(name).decode())
    return [name for name in names if not name.startswith(("winograd", "int8", "bf16"))]


def activated(x, name):
    """The activations in float64, from their definitions."""
    logistic = 1 / (1 + np.exp(-x))
    return {
        "linear": x,
        "leaky": np.where(x > 0, x, 0.1 * x),
        "logistic": logistic,
        "relu": np.maximum(x, 0),
        "relu6": np.clip(x, 0, 6),
        "mish": x * np.tanh(np.log1p(np.exp(x))),
        "swish": x * logistic,
        "hard_mish": np.where(x > 0, x, np.where(x > -2, x * (0.5 * x + 1), 0)),
        "tanh": np.tanh(x),
        "elu": np.where(x >= 0, x, np.expm1(x)),
        "selu": 1.0507 * np.where(x >= 0, x, 1.6732 * np.expm1(x)),
        "gelu": 0.5 * x * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x**3))),
    }[name]


class Case:
    """One problem with random values; `run` it by a form."""

    def __init__(self, rng, shape, activation="leaky", after_add="linear", adds=False, **options):
        n, groups, filters, c, h, w, size, sy, sx, pad, dilation = shape
        out_h, out_w = out_size(h, w, size, sy, sx, pad, dilation)
        self.name = ffi.new("char[]", activation.encode())
        self.after = ffi.new("char[]", after_add.encode())
        self.conv = [n, groups, filters, c, h, w, size, sx, sy, pad, dilation, out_h, out_w]
        self.adds, self.options = adds, options
        self.x = rng.standard_normal((n, groups * c, h, w), np.float32)
        self.weights = rng.standard_normal((groups * filters, c, size, size), np.float32)
        self.weights /= np.float32(np.sqrt(c * size * size))
        self.factor = rng.uniform(0.5, 2, groups * filters).astype(np.float32)
        self.shift = rng.standard_normal(groups * filters, np.float32)
        self.add = rng.standard_normal((n, groups * filters, out_h, out_w), np.float32)
        sums, bound = reference(self.x, self.weights, sy, sx, pad, dilation, out_h, out_w, groups)
        per_filter = (slice(None), None, None)
        sums = sums * self.factor[per_filter] + self.shift[per_filter]
        self.bound = bound * self.factor[per_filter] + np.abs(self.shift[per_filter]) + 1
        self.truth = activated(sums, activation)
        if adds:
            self.truth = activated(self.truth + self.add, after_add)
            self.bound += np.abs(self.add)

    def run(self, form, threads=1):
        """The output, or None where the form does not fit."""
        planar_in = self.options.get("planar_in", False)
        planar_out = self.options.get("planar_out", False)
        args = ffi.new(
            "dn_test_conv_form_args *",
            [
                [*self.conv, self.name, True, threads],
                planar_in,
                planar_out,
                self.adds,
                self.after,
                False,
                1,
                *self.options.get("quantization", ()),
            ],
        )
        out = np.full(self.truth.shape, np.nan, np.float32)
        name = ffi.new("char[]", form.encode())
        arrays = [self.x, self.weights, self.factor, self.shift, self.add, out]
        seconds = lib.dn_test_conv_form(args, name, *map(pointer, arrays))
        assert seconds >= 0 or seconds == -2
        return out if seconds >= 0 else None

    def check(self, form):
        """Against the truth, with two threads the same bits; False where the form does not fit."""
        found = self.run(form)
        if found is None:
            return False
        assert (np.abs(found - self.truth) <= 1e-5 * self.bound).all(), self.conv
        assert self.run(form, threads=2).tobytes() == found.tobytes(), self.conv
        return True


def check_all(rng, shape, needs=(), **options):
    """By every form that fits; those of `needs` must."""
    case = Case(rng, shape, **options)
    fitting = {form for form in form_names() if case.check(form)}
    assert fitting >= set(needs), (shape, fitting)


# images, groups, filters, c, h, w, size, stride_y, stride_x, pad, dilation
SHAPES = [
    (1, 1, 16, 16, 13, 13, 3, 1, 1, 1, 1),
    (2, 1, 19, 11, 14, 9, 3, 1, 1, 1, 1),
    (3, 1, 40, 33, 7, 26, 3, 1, 1, 1, 1),
    (1, 1, 24, 50, 17, 31, 3, 2, 2, 1, 1),
    (2, 1, 9, 5, 11, 8, 3, 2, 1, 0, 1),
    (1, 1, 30, 20, 16, 15, 3, 3, 3, 1, 1),
    (1, 1, 17, 18, 19, 20, 3, 1, 1, 2, 2),
    (1, 1, 8, 6, 20, 21, 5, 2, 2, 2, 1),
    (1, 1, 8, 6, 6, 5, 5, 1, 1, 4, 2),
    (1, 1, 10, 12, 9, 12, 2, 1, 1, 0, 1),
    (1, 1, 10, 12, 9, 12, 4, 2, 2, 1, 1),
    (2, 1, 33, 70, 13, 11, 1, 1, 1, 0, 1),
    (1, 1, 255, 300, 6, 7, 1, 1, 1, 0, 1),
    (1, 1, 24, 40, 9, 10, 1, 2, 2, 0, 1),
    (1, 1, 24, 40, 9, 10, 1, 1, 1, 1, 1),
    (1, 1, 1, 1, 1, 1, 3, 1, 1, 1, 1),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes(isa, shape):
    rng = np.random.default_rng(1)
    check_all(rng, shape, needs={"direct"})
    check_all(rng, shape, needs={"direct"}, adds=True, after_add="relu", activation="linear")


def test_random_shapes(isa):
    rng = np.random.default_rng(2)
    for _ in range(25):
        size, dilation = int(rng.choice([1, 2, 3, 3, 5])), int(rng.choice([1, 1, 2]))
        reach = (size - 1) * dilation + 1
        pad = int(rng.integers(0, reach))
        h, w = (int(rng.integers(max(1, reach - 2 * pad), 30)) for _ in range(2))
        sy, sx = (int(v) for v in rng.choice([1, 1, 2, 3], 2))
        n, filters, c = int(rng.integers(1, 4)), int(rng.integers(1, 60)), int(rng.integers(1, 60))
        shape = (n, 1, filters, c, h, w, size, sy, sx, pad, dilation)
        check_all(rng, shape, needs={"direct"}, activation=str(rng.choice(ACTIVATIONS)))


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(isa, activation, size):
    rng = np.random.default_rng(3)
    shape = (1, 1, 12, 9, 10, 8, size, 1, 1, size // 2, 1)
    check_all(rng, shape, needs={"direct"}, activation=activation)
    for first in ("linear", "leaky", "mish"):
        options = {"activation": first, "adds": True, "after_add": activation}
        check_all(rng, shape, needs={"direct"}, **options)


def test_planar_output(isa):
    """The heads' convolutions; filters that do not fill a block."""
    rng = np.random.default_rng(4)
    for activation in ("linear", "logistic"):
        options = {"planar_out": True, "activation": activation}
        check_all(rng, (2, 1, 21, 40, 13, 13, 1, 1, 1, 0, 1), needs={"direct"}, **options)
        check_all(rng, (1, 1, 255, 17, 7, 9, 1, 1, 1, 0, 1), needs={"direct"}, **options)
        check_all(rng, (2, 1, 30, 24, 6, 10, 3, 1, 1, 1, 1), needs={"direct"}, **options)


def test_groups(isa):
    """Groups that fill whole blocks of every instruction set."""
    rng = np.random.default_rng(5)
    check_all(rng, (2, 3, 32, 16, 9, 11, 3, 1, 1, 1, 1), needs={"direct"})
    check_all(rng, (1, 4, 16, 32, 12, 7, 1, 1, 1, 0, 1), needs={"direct"})
    check_all(rng, (1, 2, 48, 16, 12, 7, 3, 2, 2, 1, 1), needs={"direct"}, adds=True)


def test_many_tasks(isa):
    """Several windows, chunks of channels and tasks of filters."""
    rng = np.random.default_rng(6)
    check_all(rng, (1, 1, 96, 200, 26, 26, 3, 1, 1, 1, 1), needs={"direct"})
    check_all(rng, (2, 1, 200, 90, 31, 33, 1, 1, 1, 0, 1), needs={"direct"}, adds=True)
    check_all(rng, (1, 1, 40, 30, 90, 101, 3, 2, 2, 1, 1), needs={"direct"})


@pytest.mark.parametrize("channels", [1, 8, 30])
def test_pointwise(isa, channels):
    """1x1 convolutions of few channels: all tiles, sums that start from what is added, planes."""
    rng = np.random.default_rng(9)
    for filters, h, w in [(5, 1, 1), (24, 3, 5), (17, 10, 14), (40, 23, 31), (9, 1, 50)]:
        shape = (2, 1, filters, channels, h, w, 1, 1, 1, 0, 1)
        check_all(rng, shape, needs={"pointwise"})
        options = {"adds": True, "needs": {"pointwise"}}
        check_all(rng, shape, activation="linear", after_add="leaky", **options)
        check_all(rng, shape, activation="swish", after_add="linear", **options)
        check_all(rng, shape, activation="linear", planar_out=True, needs={"pointwise"})


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_first_layer(isa, channels):
    """Planar input; sizes and strides of stems, filters that do not fill a block."""
    rng = np.random.default_rng(7)
    options = {"planar_in": True, "needs": {"first"}}
    check_all(rng, (2, 1, 32, channels, 21, 34, 3, 1, 1, 1, 1), **options)
    check_all(rng, (1, 1, 21, channels, 64, 75, 3, 2, 2, 1, 1), **options)
    check_all(rng, (1, 1, 9, channels, 30, 31, 7, 2, 2, 3, 1), activation="relu", **options)
    check_all(rng, (1, 1, 8, channels, 12, 11, 3, 1, 2, 0, 2), activation="mish", **options)
    check_all(rng, (1, 1, 5, channels, 4, 3, 5, 3, 1, 4, 1), activation="linear", **options)


@pytest.mark.parametrize("size", [1, 3, 5, 7])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_depthwise(isa, size, stride):
    rng = np.random.default_rng(8)
    for channels, w in [(5, 9), (40, 31), (17, 16)]:
        for dilation in (1, 2):
            reach = (size - 1) * dilation + 1
            shape = (2, channels, 1, 1, reach + 6, w, size, stride, stride, reach // 2, dilation)
            activation = str(rng.choice(ACTIVATIONS))
            check_all(rng, shape, needs={"depthwise"}, activation=activation)
    shape = (1, 12, 1, 1, 20, 23, size, stride, 1, 0, 1)
    check_all(rng, shape, needs={"depthwise"}, adds=True, after_add="relu", activation="linear")
    check_all(rng, (1, 8, 1, 1, 90, 120, size, stride, 1, size - 1, 1), needs={"depthwise"})
