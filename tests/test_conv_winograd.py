"""Winograd's forms of the convolution against NumPy in float64, on every instruction set."""

from __future__ import annotations

import numpy as np
import pytest

from test_conv_kernels import activated, reference
from test_gemm import pointer
from yolomask._native import ffi, lib

# Largest error, in the output's RMS: what float32 gives with these points is a tenth of it.
LIMITS = {2: 2e-5, 3: 3e-5, 4: 1e-4, 5: 2e-4, 6: 5e-4, 7: 1e-3}


def convolve(
    m, x, weights, factor, shift, add, pad=1, activation="linear", after="linear", threads=1
):
    """The output of the form of that m."""
    n, c, h, w = x.shape
    filters = weights.shape[0]
    out_h, out_w = h + 2 * pad - 2, w + 2 * pad - 2
    names = [ffi.new("char[]", name.encode()) for name in (activation, after)]
    conv = [n, 1, filters, c, h, w, 3, 1, 1, pad, 1, out_h, out_w, names[0], False, threads]
    args = ffi.new(
        "dn_test_conv_form_args *", [conv, False, False, add is not None, names[1], False, 1]
    )
    out = np.full((n, filters, out_h, out_w), np.nan, np.float32)
    arrays = [ffi.NULL if a is None else pointer(a) for a in (x, weights, factor, shift, add)]
    name = f"winograd{m}".encode()
    assert lib.dn_test_conv_form(args, name, *arrays, pointer(out)) >= 0
    return out


def check(
    m, n, c, filters, h, w, pad=1, activation="leaky", adds=False, after="linear", factors=True
):
    """One random convolution against the sum in float64; one, two and three threads."""
    rng = np.random.default_rng([m, n, c, filters, h, w])
    x = rng.standard_normal((n, c, h, w), np.float32)
    weights = rng.standard_normal((filters, c, 3, 3), np.float32) / np.float32(3 * np.sqrt(c))
    factor = rng.uniform(0.5, 2, filters).astype(np.float32) if factors else None
    shift = rng.standard_normal(filters, np.float32)
    out_h, out_w = h + 2 * pad - 2, w + 2 * pad - 2
    add = rng.standard_normal((n, filters, out_h, out_w), np.float32) if adds else None
    truth, _ = reference(x, weights, 1, 1, pad, 1, out_h, out_w, 1)
    if factors:
        truth *= factor[:, None, None]
    truth = activated(truth + shift[:, None, None], activation)
    if adds:
        truth = activated(truth + add, after)
    more = (pad, activation, after)
    found = convolve(m, x, weights, factor, shift, add, *more)
    scale = np.sqrt((truth**2).mean()) + 1
    assert np.abs(found - truth).max() <= LIMITS[m] * scale
    for threads in (2, 3):
        again = convolve(m, x, weights, factor, shift, add, *more, threads=threads)
        assert again.tobytes() == found.tobytes(), threads


SHAPES = [  # images, channels, filters, height, width
    (1, 16, 16, 14, 14),
    (1, 3, 5, 7, 9),
    (2, 21, 35, 13, 11),
    (1, 40, 24, 26, 30),
    (3, 8, 50, 5, 23),
    (1, 300, 17, 13, 13),
    (1, 1, 1, 1, 1),
    (5, 12, 64, 14, 14),
]


@pytest.mark.parametrize("m", LIMITS)
def test_shapes_with_tails(isa, m):
    """Channels and filters beyond the lanes' multiples, images beyond the tiles'."""
    for shape in SHAPES:
        check(m, *shape)


@pytest.mark.parametrize("m", LIMITS)
def test_many_tiles(isa, m):
    """Enough tiles for the way in which a task takes its tiles from input to output."""
    check(m, 1, 16, 20, 120, 131)
    check(m, 2, 35, 33, 90, 64)


@pytest.mark.parametrize("pad", [0, 1, 2])
def test_padding(isa, pad):
    check(4, 2, 9, 11, 12, 17, pad=pad)
    check(6, 1, 9, 11, 12, 17, pad=pad, factors=False)


@pytest.mark.parametrize("activation", ["linear", "leaky", "relu", "logistic", "mish"])
def test_epilogue(isa, activation):
    """Every kind of activation, before and behind an addition."""
    check(4, 2, 10, 19, 11, 13, activation=activation)
    check(4, 1, 10, 19, 11, 13, activation=activation, adds=True)
    check(6, 1, 10, 19, 11, 13, adds=True, after=activation)
