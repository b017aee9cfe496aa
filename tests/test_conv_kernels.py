"""The convolution kernels against NumPy in float64, forward and backward, every instruction set."""

from __future__ import annotations

import numpy as np
import pytest

from test_gemm import pointer
from yolomask._native import ffi, lib


def reference(x, weights, stride_y, stride_x, pad, dilation, out_h, out_w, groups):
    """The sum over taps of shifted, strided images times that tap's weights; and its bound."""
    n, channels, h, w = x.shape
    filters, c, size, _ = weights.shape
    reach = (size - 1) * dilation + 1
    tall = max(h + 2 * pad, (out_h - 1) * stride_y + reach)
    wide = max(w + 2 * pad, (out_w - 1) * stride_x + reach)
    padded = np.zeros((n, channels, tall, wide))
    padded[:, :, pad : pad + h, pad : pad + w] = x
    padded = padded.reshape(n, groups, c, tall, wide)
    kernels = weights.astype(np.float64).reshape(groups, filters // groups, c, size, size)
    total = np.zeros((n, groups, filters // groups, out_h, out_w))
    bound = np.zeros_like(total)
    for ky in range(size):
        for kx in range(size):
            y, x0 = ky * dilation, kx * dilation
            rows = slice(y, y + (out_h - 1) * stride_y + 1, stride_y)
            columns = slice(x0, x0 + (out_w - 1) * stride_x + 1, stride_x)
            seen, tap = padded[:, :, :, rows, columns], kernels[:, :, :, ky, kx]
            total += np.einsum("gfc,ngchw->ngfhw", tap, seen)
            bound += np.einsum("gfc,ngchw->ngfhw", np.abs(tap), np.abs(seen))
    shape = (n, filters, out_h, out_w)
    return total.reshape(shape), bound.reshape(shape)


def activated(x, name):
    """The activations in float64."""
    if name == "leaky":
        return np.where(x > 0, x, 0.1 * x)
    if name == "relu":
        return np.maximum(x, 0)
    if name == "logistic":
        return 1 / (1 + np.exp(-x))
    if name == "mish":
        return x * np.tanh(np.log1p(np.exp(x)))
    return x


def arguments(shape, activation=ffi.NULL, packed=False, threads=1):
    """dn_test_conv_args of a shape (see `check`)."""
    n, groups, filters, c, h, w, size, sy, sx, pad, dilation, out_h, out_w = shape
    return ffi.new(
        "dn_test_conv_args *",
        [n, groups, filters, c, h, w, size, sx, sy, pad, dilation, out_h, out_w]
        + [activation, packed, threads],
    )


def convolve(shape, x, weights, scale, shift, activation, packed, threads):
    """The library's output for a shape (see `check`)."""
    out = np.full((shape[0], shape[1] * shape[2], *shape[-2:]), np.nan, np.float32)
    name = ffi.new("char[]", activation.encode())
    args = arguments(shape, name, packed, threads)
    scale = ffi.NULL if scale is None else pointer(scale)
    shift = ffi.NULL if shift is None else pointer(shift)
    assert lib.dn_test_conv(args, pointer(x), pointer(weights), scale, shift, pointer(out)) >= 0
    return out


def out_size(h, w, size, sy, sx, pad, dilation):
    """Darknet's output height and width."""
    reach = (size - 1) * dilation + 1
    return (h + 2 * pad - reach) // sy + 1, (w + 2 * pad - reach) // sx + 1


def check(rng, n, groups, filters, c, h, w, size, sy, sx, pad, dilation, activation="linear"):
    """One random convolution against NumPy, packed or not, with one thread and with three."""
    out_h, out_w = out_size(h, w, size, sy, sx, pad, dilation)
    shape = (n, groups, filters, c, h, w, size, sy, sx, pad, dilation, out_h, out_w)
    x = rng.standard_normal((n, groups * c, h, w), np.float32)
    weights = rng.standard_normal((groups * filters, c, size, size), np.float32)
    scale = rng.uniform(0.5, 2, groups * filters).astype(np.float32) if rng.random() < 0.6 else None
    shift = rng.standard_normal(groups * filters, np.float32) if rng.random() < 0.6 else None
    truth, bound = reference(x, weights, sy, sx, pad, dilation, out_h, out_w, groups)
    if scale is not None:
        truth, bound = truth * scale[:, None, None], bound * scale[:, None, None]
    if shift is not None:
        truth, bound = (
            truth + shift[:, None, None],
            bound + np.abs(shift[:, None, None]),
        )
    found = convolve(shape, x, weights, scale, shift, activation, True, 1)
    assert (np.abs(found - activated(truth, activation)) <= 3e-6 * bound + 1e-6).all(), shape
    for packed, threads in [(False, 1), (True, 3), (False, 2)]:
        again = convolve(shape, x, weights, scale, shift, activation, packed, threads)
        assert again.tobytes() == found.tobytes(), (shape, packed, threads)


def random_case(rng, depthwise):
    """Sizes with tails, unequal strides, dilation, pads up to the filter's reach."""
    size = int(rng.choice([1, 2, 3, 3, 5]))
    dilation = int(rng.choice([1, 1, 2]))
    reach = (size - 1) * dilation + 1
    pad = int(rng.integers(0, reach))
    h, w = (int(rng.integers(max(1, reach - 2 * pad), 40)) for _ in range(2))
    sy, sx = (int(v) for v in rng.choice([1, 1, 2, 3], 2))
    groups = int(rng.integers(1, 20)) if depthwise else int(rng.choice([1, 1, 2, 3]))
    c, filters = (1, 1) if depthwise else (int(v) for v in rng.integers(1, 50, 2))
    images = int(rng.integers(1, 4))
    activation = str(rng.choice(["linear", "leaky", "relu", "logistic", "mish"]))
    return (images, groups, filters, c, h, w, size, sy, sx, pad, dilation, activation)


def test_random_convolutions(isa):
    rng = np.random.default_rng(3)
    for _ in range(80):
        check(rng, *random_case(rng, depthwise=False))


def test_random_depthwise(isa):
    rng = np.random.default_rng(4)
    for _ in range(60):
        check(rng, *random_case(rng, depthwise=True))


@pytest.mark.parametrize("w", [1, 2, 3, 4, 5, 13, 15, 16, 17, 31, 33, 52])
def test_every_row_break(isa, w):
    """Image widths around the vector length: how often a vector meets the end of a row."""
    rng = np.random.default_rng(w)
    for stride in (1, 2):
        check(rng, 1, 1, 5, 3, 11, w, 3, stride, stride, 1, 1, "leaky")


def test_many_channels_and_pixels(isa):
    """Several blocks of channels and several tasks of pixels and filters."""
    rng = np.random.default_rng(5)
    check(rng, 2, 1, 70, 90, 30, 33, 3, 1, 1, 1, 1, "leaky")
    check(rng, 1, 1, 40, 600, 26, 26, 1, 1, 1, 0, 1, "relu")
    check(rng, 1, 1, 20, 3, 70, 130, 7, 2, 2, 3, 1, "linear")
    check(rng, 1, 24, 1, 1, 150, 90, 3, 2, 2, 1, 1, "leaky")
    check(rng, 1, 1, 3, 2, 40, 40, 19, 1, 1, 9, 1, "linear")


def test_output_beyond_the_image(isa):
    """The caller may ask for more outputs than fit: taps beyond the image read zeros."""
    rng = np.random.default_rng(6)
    for groups, c, filters in [(1, 4, 6), (5, 1, 1)]:
        shape = (1, groups, filters, c, 7, 6, 3, 2, 2, 0, 1, 5, 4)
        x = rng.standard_normal((1, groups * c, 7, 6), np.float32)
        weights = rng.standard_normal((groups * filters, c, 3, 3), np.float32)
        truth, bound = reference(x, weights, 2, 2, 0, 1, 5, 4, groups)
        found = convolve(shape, x, weights, None, None, "linear", False, 1)
        assert (np.abs(found - truth) <= 3e-6 * bound + 1e-6).all()


def reference_gradients(x, weights, grad, stride_y, stride_x, pad, dilation, groups):
    """Gradients of weights and input in float64: what each tap saw, and where it put it back."""
    n, channels, h, w = x.shape
    filters, c, size, _ = weights.shape
    out_h, out_w = grad.shape[2:]
    reach = (size - 1) * dilation + 1
    tall = max(h + 2 * pad, (out_h - 1) * stride_y + reach)
    wide = max(w + 2 * pad, (out_w - 1) * stride_x + reach)
    padded = np.zeros((n, channels, tall, wide))
    padded[:, :, pad : pad + h, pad : pad + w] = x
    padded = padded.reshape(n, groups, c, tall, wide)
    kernels = weights.astype(np.float64).reshape(groups, filters // groups, c, size, size)
    split = grad.astype(np.float64).reshape(n, groups, filters // groups, out_h, out_w)
    grad_weights, grad_in = np.zeros_like(kernels), np.zeros_like(padded)
    for ky in range(size):
        for kx in range(size):
            y, x0 = ky * dilation, kx * dilation
            rows = slice(y, y + (out_h - 1) * stride_y + 1, stride_y)
            columns = slice(x0, x0 + (out_w - 1) * stride_x + 1, stride_x)
            seen = padded[:, :, :, rows, columns]
            grad_weights[:, :, :, ky, kx] = np.einsum("ngfhw,ngchw->gfc", split, seen)
            back = np.einsum("gfc,ngfhw->ngchw", kernels[:, :, :, ky, kx], split)
            grad_in[:, :, :, rows, columns] += back
    grad_in = grad_in.reshape(n, channels, tall, wide)
    return grad_weights.reshape(weights.shape), grad_in[:, :, pad : pad + h, pad : pad + w]


def check_gradients(rng, n, groups, filters, c, h, w, size, sy, sx, pad, dilation, _=None):
    """Both gradients, added to what is there; the same bits with one thread and with three."""
    out_h, out_w = out_size(h, w, size, sy, sx, pad, dilation)
    shape = (n, groups, filters, c, h, w, size, sy, sx, pad, dilation, out_h, out_w)
    x = rng.standard_normal((n, groups * c, h, w), np.float32)
    weights = rng.standard_normal((groups * filters, c, size, size), np.float32)
    grad = rng.standard_normal((n, groups * filters, out_h, out_w), np.float32)
    start_w, start_x = rng.standard_normal(weights.shape, np.float32), np.ones_like(x)
    truth_w, truth_x = reference_gradients(x, weights, grad, sy, sx, pad, dilation, groups)
    bits = []
    for threads in (1, 3):
        found_w, found_x = start_w.copy(), start_x.copy()
        given = [pointer(array) for array in (x, weights, grad, found_w, found_x)]
        assert lib.dn_test_conv_backward(arguments(shape, threads=threads), *given) >= 0
        bits.append(found_w.tobytes() + found_x.tobytes())
    for found, truth, start in [(found_w, truth_w, start_w), (found_x, truth_x, start_x)]:
        error = np.abs(found - truth - start).max()
        assert error <= 1e-5 * np.abs(truth).max() + 1e-5, (shape, error)
    assert bits[0] == bits[1], shape


def test_random_gradients(isa):
    rng = np.random.default_rng(13)
    for depthwise in [False] * 60 + [True] * 20:
        check_gradients(rng, *random_case(rng, depthwise))


def test_gradients_of_several_blocks(isa):
    """Many channels, filters and pixels: several tasks and blocks of rows."""
    rng = np.random.default_rng(14)
    check_gradients(rng, 2, 1, 230, 70, 20, 23, 3, 1, 1, 1, 1)
    check_gradients(rng, 1, 1, 40, 300, 26, 26, 1, 1, 1, 0, 1)
    check_gradients(rng, 1, 1, 33, 5, 64, 300, 3, 2, 2, 1, 1)
    check_gradients(rng, 3, 1, 16, 40, 28, 28, 2, 2, 2, 0, 1)
