"""The matrix product against NumPy in float64: every instruction set, shape tails, layouts."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from yolomask._native import ffi, lib

LAYOUTS = list(itertools.product([False, True], repeat=2))  # trans_a, trans_b


def pointer(array: np.ndarray):
    """The array's memory as float *."""
    assert array.dtype == np.float32
    return ffi.cast("float *", array.ctypes.data)


def stored(matrix: np.ndarray, transposed: bool, gap: int) -> np.ndarray:
    """The matrix as it lies in memory, with `gap` values of NaN behind each row."""
    rows = matrix.T if transposed else matrix
    wide = np.full((rows.shape[0], rows.shape[1] + gap), np.nan, np.float32)
    wide[:, : rows.shape[1]] = rows
    return wide


def product(a, b, c, trans_a=False, trans_b=False, alpha=1.0, beta=0.0, threads=1, gap=0):
    """alpha a b + beta c through the library; the values behind C's rows must stay."""
    m, k = a.shape
    n = b.shape[1]
    left, right, out = (
        stored(a, trans_a, gap),
        stored(b, trans_b, gap),
        stored(c, False, gap),
    )
    args = ffi.new(
        "dn_test_gemm_args *",
        {
            "trans_a": trans_a,
            "trans_b": trans_b,
            "m": m,
            "n": n,
            "k": k,
            "lda": left.shape[1],
        },
    )
    args.ldb, args.ldc, args.threads = right.shape[1], out.shape[1], threads
    args.alpha, args.beta = alpha, beta
    assert lib.dn_test_gemm(args, pointer(left), pointer(right), pointer(out)) >= 0
    assert np.isnan(out[:, n:]).all()
    return out[:, :n].copy()


def check(rng, m, n, k, trans_a, trans_b, alpha, beta, threads, gap):
    """One product against float64; the bound is that of a sum of k rounded products."""
    a = rng.standard_normal((m, k), np.float32)
    b = rng.standard_normal((k, n), np.float32)
    c = rng.standard_normal((m, n), np.float32)
    truth = alpha * (a.astype(np.float64) @ b) + beta * c.astype(np.float64)
    bound = abs(alpha) * (np.abs(a).astype(np.float64) @ np.abs(b)) + np.abs(beta * c)
    start = np.full_like(c, np.nan) if beta == 0 else c
    found = product(a, b, start, trans_a, trans_b, alpha, beta, threads, gap)
    assert (np.abs(found - truth) <= 2e-6 * bound + 1e-30).all(), (
        m,
        n,
        k,
        trans_a,
        trans_b,
    )
    return a, b, start, found


@pytest.mark.parametrize("trans_a,trans_b", LAYOUTS)
def test_random_shapes(isa, trans_a, trans_b):
    rng = np.random.default_rng(7)
    for _ in range(60):
        m, n, k = (int(v) for v in rng.integers(1, 201, 3))
        alpha, beta = rng.choice([1.0, -0.5, 2.0]), rng.choice([0.0, 1.0, 0.25])
        check(
            rng,
            m,
            n,
            k,
            trans_a,
            trans_b,
            float(alpha),
            float(beta),
            1,
            int(rng.integers(0, 9)),
        )


@pytest.mark.parametrize("trans_a,trans_b", LAYOUTS)
def test_every_small_tile(isa, trans_a, trans_b):
    """All tile heights and widths, with depths around the vector length."""
    rng = np.random.default_rng(8)
    for m, n in itertools.product(range(1, 17), [1, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 65]):
        check(
            rng,
            m,
            n,
            int(rng.choice([1, 2, 7, 16, 17, 33])),
            trans_a,
            trans_b,
            1.0,
            0.0,
            1,
            3,
        )


@pytest.mark.parametrize("shape", [(1, 1, 1), (300, 500, 700), (17, 900, 513), (900, 17, 256)])
def test_blocks_and_threads(isa, shape):
    """Sizes that need several blocks; any number of threads gives the same bits."""
    rng = np.random.default_rng(9)
    for trans_a, trans_b in LAYOUTS:
        a, b, c, found = check(rng, *shape, trans_a, trans_b, 0.5, 1.0, 1, 0)
        for threads in (2, 3, 8):
            again = product(a, b, c, trans_a, trans_b, 0.5, 1.0, threads)
            assert again.tobytes() == found.tobytes()


def test_empty_sums(isa):
    """k = 0 leaves beta * c; an empty C is left alone."""
    c = np.arange(6, dtype=np.float32).reshape(2, 3)
    a, b = np.zeros((2, 0), np.float32), np.zeros((0, 3), np.float32)
    assert (product(a, b, c, beta=0.5) == 0.5 * c).all()
    assert (product(a, b, np.full_like(c, np.nan)) == 0).all()
    assert product(np.zeros((0, 4), np.float32), np.zeros((4, 3), np.float32), c[:0]).size == 0


def test_infinities_and_nan_pass(isa):
    """A NaN or an infinity reaches exactly the elements whose sums hold it."""
    a, b = np.ones((3, 5), np.float32), np.ones((5, 40), np.float32)
    a[1, 2], b[4, 37] = np.nan, np.inf
    found = product(a, b, np.zeros((3, 40), np.float32))
    assert np.isnan(found[1]).all() and not np.isnan(found[[0, 2]]).any()
    assert np.isinf(found[[0, 2], 37]).all() and np.isfinite(found[[0, 2]][:, :37]).all()


def test_isa_names(isa):
    """An unknown name is refused; the plain kernels are always there."""
    assert not lib.dn_test_isa(b"sse9")
    assert lib.dn_test_isa(b"plain")
