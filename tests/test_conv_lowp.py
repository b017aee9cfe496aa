"""The forms of low precision: int8 against sums of integers, bfloat16 against rounded factors.

Both oracles are NumPy's. Sums of integers must agree to the bit.
"""

from __future__ import annotations

import os

import numpy as np
import pytest

from test_conv_forms import Case, activated
from test_conv_kernels import reference
from yolomask._native import lib

ISAS = ["plain", "avx2", "avx512", "avx512vnni", "avx512bf16"]

# images, groups, filters, c, h, w, size, stride_y, stride_x, pad, dilation
SHAPES = [
    (1, 1, 16, 16, 13, 13, 3, 1, 1, 1, 1),
    (2, 1, 19, 21, 14, 9, 3, 1, 1, 1, 1),
    (3, 1, 40, 33, 7, 26, 3, 1, 1, 1, 1),
    (1, 1, 70, 50, 17, 31, 3, 2, 2, 1, 1),
    (2, 1, 9, 67, 11, 8, 3, 2, 1, 0, 1),
    (1, 1, 30, 20, 16, 15, 3, 3, 3, 1, 1),
    (1, 1, 17, 18, 19, 20, 3, 1, 1, 2, 2),
    (1, 1, 8, 30, 20, 21, 5, 2, 2, 2, 1),
    (1, 1, 8, 17, 6, 5, 5, 1, 1, 4, 2),
    (1, 1, 10, 129, 9, 12, 2, 1, 1, 0, 1),
    (2, 1, 33, 70, 13, 11, 1, 1, 1, 0, 1),
    (1, 1, 255, 300, 6, 7, 1, 1, 1, 0, 1),
    (1, 1, 70, 40, 9, 10, 1, 2, 2, 0, 1),
    (1, 1, 24, 40, 9, 10, 1, 1, 1, 1, 1),
    (1, 1, 24, 16, 1, 1, 3, 1, 1, 1, 1),
    (1, 1, 96, 200, 26, 26, 3, 1, 1, 1, 1),
    (2, 1, 200, 90, 31, 33, 1, 1, 1, 0, 1),
    (2, 3, 32, 64, 9, 11, 3, 1, 1, 1, 1),
    (1, 2, 48, 128, 12, 7, 1, 1, 1, 0, 1),
]


def per_filter(values):
    return values[:, None, None]


def sums_of(case, x, weights):
    """The sums of the case's shape with other factors, and the sums of the products' sizes."""
    sx, sy, pad, dilation, out_h, out_w = case.conv[7:]
    return reference(x, weights, sy, sx, pad, dilation, out_h, out_w, groups=case.conv[1])


def finished(case, sums, activation, after_add):
    truth = activated(sums + per_filter(case.shift.astype(np.float64)), activation)
    return activated(truth + case.add, after_add) if case.adds else truth


def run(case, form):
    """The form's output; two threads give the same bits."""
    found = case.run(form)
    assert found is not None, case.conv
    assert case.run(form, threads=2).tobytes() == found.tobytes(), case.conv
    return found


def integer_case(rng, shape, zero, **options):
    """Inputs and weights that are integers already, so that outputs are the sums."""
    case = Case(rng, shape, "linear", quantization=(1.0, zero), **options)
    case.x = (rng.integers(0, 256, case.x.shape) - zero).astype(np.float32)
    case.weights = rng.integers(-127, 128, case.weights.shape).astype(np.float32)
    case.weights[:, 0, 0, 0] = -127  # each filter's scale is 1
    case.factor[:] = 1
    case.shift[:] = 0
    return case


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_integer_sums(low_isa, shape):
    rng = np.random.default_rng(1)
    for zero in (0, 77, 255):
        case = integer_case(rng, shape, zero)
        sums, _ = sums_of(case, case.x, case.weights)
        assert np.abs(sums).max() < 2**24  # floats hold them
        assert (run(case, "int8") == sums).all()


def test_largest_integer_sums(low_isa):
    """Where 16 bits would saturate: every product has the largest size."""
    rng = np.random.default_rng(2)
    for sign in (-1, 1):
        case = integer_case(rng, (1, 1, 20, 56, 7, 8, 3, 1, 1, 0, 1), zero=0)
        case.x[:] = 255
        case.weights[:] = 127 * sign
        assert (run(case, "int8") == sign * 255 * 127 * 56 * 9).all()


def quantized(case, scale, zero):
    """The integers that the form computes with, and what a unit of its sums is worth."""
    x = case.x * (np.float32(1) / np.float32(scale)) + np.float32(zero)
    inputs = np.clip(np.rint(x), 0, 255) - zero
    folded = case.weights * case.factor[:, None, None, None]
    unit = np.abs(folded).max((1, 2, 3)) / np.float32(127)
    weights = np.rint(folded * (np.float32(1) / unit)[:, None, None, None])
    return inputs, weights, np.float32(scale) * unit


@pytest.mark.parametrize("shape", SHAPES[::3], ids=str)
def test_quantization(low_isa, shape):
    """Real numbers, some beyond the range, some at ties; factors and scales."""
    rng = np.random.default_rng(3)
    for scale, zero in [(0.03, 100), (0.25, 128), (0.011, 0)]:
        case = Case(rng, shape, "leaky", quantization=(scale, zero))
        case.x[..., ::2] = np.rint(case.x[..., ::2] * 8) / 8
        inputs, weights, unit = quantized(case, scale, zero)
        sums, _ = sums_of(case, inputs, weights)
        truth = finished(case, sums * per_filter(unit.astype(np.float64)), "leaky", "linear")
        # the sum to float32, times the unit, plus the shift, times the slope: a rounding each
        bound = np.abs(sums) * per_filter(unit) + np.abs(per_filter(case.shift))
        assert (np.abs(run(case, "int8") - truth) <= 5 * 2.0**-24 * bound).all()
        assert np.abs(truth - case.truth).max() > 1e-3  # it can be told from float32


def test_same_integers_on_every_instruction_set():
    rng = np.random.default_rng(4)
    case = Case(rng, (1, 1, 40, 90, 12, 13, 3, 1, 1, 1, 1), "linear", quantization=(0.02, 90))
    case.shift[:] = 0
    found = [case.run("int8").tobytes() for name in ISAS if lib.dn_test_isa(name.encode())]
    lib.dn_test_isa(os.environ.get("DARKNET_ISA", "").encode())
    assert len(set(found)) == 1


def to_bf16(x):
    """Rounded to nearest, ties to even, by arithmetic: 8 bits of significand."""
    fraction, exponent = np.frexp(x.astype(np.float64))
    return np.ldexp(np.rint(fraction * 256), exponent - 8)


def winograd_takes(shape):
    return shape[1] == 1 and shape[6:9] == (3, 1, 1) and shape[10] == 1


@pytest.mark.parametrize("shape", [s for s in SHAPES if not winograd_takes(s)], ids=str)
def test_bf16(low_isa, shape):
    rng = np.random.default_rng(5)
    case = Case(rng, shape, "leaky")
    folded = case.weights * case.factor[:, None, None, None]
    sums, bound = sums_of(case, to_bf16(case.x), to_bf16(folded))
    truth = finished(case, sums, "leaky", "linear")
    # products are exact; each of the additions and the slope rounds once
    roundings = case.conv[3] * case.conv[6] ** 2 + 2
    bound += np.abs(per_filter(case.shift))
    assert (np.abs(run(case, "bf16") - truth) <= roundings * 2.0**-24 * bound).all()


def test_bf16_rounding(low_isa):
    """One weight of 1 a filter: outputs are the rounded inputs, ties and all."""
    rng = np.random.default_rng(6)
    case = Case(rng, (1, 1, 32, 32, 16, 16, 1, 1, 1, 0, 1), "linear")
    bits = rng.integers(0x3F000000, 0x41000000, case.x.size, dtype=np.uint32)
    bits[::3] = bits[::3] & 0xFFFF0000 | 0x8000
    case.x = bits.view(np.float32).reshape(case.x.shape) * rng.choice([-1, 1], case.x.shape)
    case.x = case.x.astype(np.float32)
    case.weights = np.eye(32, dtype=np.float32)[..., None, None]
    case.factor[:], case.shift[:] = 1, 0
    assert (run(case, "bf16") == to_bf16(case.x)).all()
    between = to_bf16(rng.standard_normal((32, 1, 1, 1))) * (1 + 2.0**-8)  # two bfloat16s
    case.weights = (between * case.weights).astype(np.float32)
    expected = to_bf16(case.weights)[range(32), range(32)] * to_bf16(case.x)
    assert (run(case, "bf16") == expected.astype(np.float32)).all()


@pytest.mark.parametrize("activation", ["linear", "relu", "mish", "swish", "logistic", "elu"])
def test_epilogues(low_isa, activation):
    """Activations in the tile and behind it, additions, planar outputs."""
    rng = np.random.default_rng(7)
    shape = (2, 1, 37, 40, 10, 8, 3, 1, 1, 2, 2)
    for options in ({}, {"adds": True, "after_add": "leaky"}, {"planar_out": True}):
        case = Case(rng, shape, activation, quantization=(0.03, 120), **options)
        after = options.get("after_add", "linear")
        inputs, weights, unit = quantized(case, 0.03, 120)
        sums, _ = sums_of(case, inputs, weights)
        truth = finished(case, sums * per_filter(unit.astype(np.float64)), activation, after)
        assert (np.abs(run(case, "int8") - truth) <= 1e-5 * (np.abs(truth) + 1)).all()
        folded = case.weights * case.factor[:, None, None, None]
        sums, bound = sums_of(case, to_bf16(case.x), to_bf16(folded))
        truth = finished(case, sums, activation, after)
        assert (np.abs(run(case, "bf16") - truth) <= 1e-5 * (bound + 1)).all()


FITS = [  # what networks have: groups, filters, c, size, stride, planar input
    ((1, 32, 16, 3, 1, False), "int8"),  # bf16 leaves it to Winograd
    ((1, 64, 32, 3, 2, False), True),
    ((1, 64, 32, 1, 1, False), True),
    ((1, 255, 1024, 1, 1, False), True),
    ((2, 32, 64, 3, 1, False), True),
    ((1, 16, 3, 3, 1, True), False),  # the first layer
    ((1, 32, 8, 1, 1, False), False),  # few channels
    ((1, 8, 32, 1, 1, False), False),  # few uses of an input
    ((48, 1, 1, 3, 1, False), False),  # depthwise
    ((2, 32, 32, 3, 1, False), False),  # groups that do not fill blocks everywhere
]


@pytest.mark.parametrize("problem, fits", FITS, ids=str)
def test_what_fits_is_the_same_everywhere(low_isa, problem, fits):
    groups, filters, c, size, stride, planar = problem
    shape = (1, groups, filters, c, 8, 8, size, stride, stride, size // 2, 1)
    case = Case(np.random.default_rng(8), shape, quantization=(0.1, 3), planar_in=planar)
    for form in ("int8", "bf16"):
        assert (case.run(form) is not None) == (fits in (True, form))
