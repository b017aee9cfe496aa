"""Every activation and its derivative against float64, every instruction set."""

from __future__ import annotations

import numpy as np
import pytest

from test_gemm import pointer
from yolomask._native import lib


def softplus(x):
    """log(1 + exp(x)) without overflow."""
    return np.logaddexp(0, x)


def gelu(x):
    """The tanh form."""
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


FORMULAS = {
    "linear": lambda x: x,
    "leaky": lambda x: np.where(x > 0, x, 0.1 * x),
    "logistic": lambda x: 0.5 * (1 + np.tanh(x / 2)),
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "mish": lambda x: x * np.tanh(softplus(x)),
    "swish": lambda x: x * 0.5 * (1 + np.tanh(x / 2)),
    "hard_mish": lambda x: np.where(x > 0, x, np.where(x > -2, x * (0.5 * x + 1), 0)),
    "tanh": np.tanh,
    "elu": lambda x: np.where(x >= 0, x, np.expm1(np.minimum(x, 0))),
    "selu": lambda x: 1.0507 * np.where(x >= 0, x, 1.6732 * np.expm1(np.minimum(x, 0))),
    "gelu": gelu,
}


def run(name, x):
    """The library's values and derivatives."""
    y, gradient = np.empty_like(x), np.empty_like(x)
    lib.dn_test_activation(name.encode(), pointer(x), pointer(y), pointer(gradient), x.size)
    return y, gradient


@pytest.mark.parametrize("name", FORMULAS)
def test_values_and_derivatives(isa, name):
    """Dense values around zero, large ones, and an odd count; kinks are left out."""
    dense = np.linspace(-25, 25, 20011, dtype=np.float32)
    x = np.concatenate([dense, np.float32([-1e4, -90, -50, 50, 90, 1e4]), dense[:3] / 1e4])
    y, gradient = run(name, x)
    truth = FORMULAS[name](x.astype(np.float64))
    assert (np.abs(y - truth) <= 1e-6 * np.abs(truth) + 2e-7).all()
    step = 1e-6 * np.maximum(1, np.abs(x.astype(np.float64)))
    up, down = (FORMULAS[name](x.astype(np.float64) + s) for s in (step, -step))
    smooth = np.abs(x[:, None] - np.array([0, -2, 6])).min(axis=1) > 1e-3
    slope = (up - down) / (2 * step)
    assert (np.abs(gradient - slope) <= 3e-6 * np.maximum(1, np.abs(slope)))[smooth].all()


@pytest.mark.parametrize("name", ["logistic", "swish", "mish"])
def test_place_changes_nothing(isa, name):
    """A value gets the same bits wherever it lies in an array, and NaN stays NaN."""
    x = np.random.default_rng(1).normal(0, 4, 100).astype(np.float32)
    whole = run(name, x)
    for first in (1, 7, 50):
        part = run(name, x[first:].copy())
        assert part[0].tobytes() == whole[0][first:].tobytes()
        assert part[1].tobytes() == whole[1][first:].tobytes()
    assert np.isnan(run(name, np.full(5, np.nan, np.float32))).all()
