"""How fast the matrix product and the convolution are, as a share of the machine's peak.

    python bench/bench_gemm.py [--threads 2] [--isa avx2] [--runs 9] [problem ...]

A problem is one line: "gemm m256 n2704 k1152 tb" (tb: B transposed, ta: A transposed) or
"conv ic128 ih52 iw52 oc256 k3 s1 p1" (also n images, g groups, dilation d); "dw" and "dx" in front
of it are the gradients of its weights and its input. The defaults are the layers of YOLOv3-416.
Every problem is checked against NumPy before it is timed; medians are printed beside the peak that
fused multiply-adds on registers reach in the same run.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # its idle threads would spin beside ours

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "python"))

from yolomask._native import ffi, lib  # noqa: E402

LEAKY = ffi.new("char[]", b"leaky")  # C keeps a pointer to it
PROBLEMS = """
gemm m256 n1152 k2704 tb
gemm m1152 n2704 k256 ta
gemm m1000 n1000 k1000
conv ic3 ih416 iw416 oc32 k3 s1 p1
conv ic32 ih416 iw416 oc64 k3 s2 p1
conv ic64 ih208 iw208 oc32 k1 s1 p0
conv ic32 ih208 iw208 oc64 k3 s1 p1
conv ic64 ih208 iw208 oc128 k3 s2 p1
conv ic128 ih104 iw104 oc64 k1 s1 p0
conv ic64 ih104 iw104 oc128 k3 s1 p1
conv ic128 ih104 iw104 oc256 k3 s2 p1
conv ic256 ih52 iw52 oc128 k1 s1 p0
conv ic128 ih52 iw52 oc256 k3 s1 p1
conv ic256 ih52 iw52 oc512 k3 s2 p1
conv ic512 ih26 iw26 oc256 k1 s1 p0
conv ic256 ih26 iw26 oc512 k3 s1 p1
conv ic512 ih26 iw26 oc1024 k3 s2 p1
conv ic1024 ih13 iw13 oc512 k1 s1 p0
conv ic512 ih13 iw13 oc1024 k3 s1 p1
conv ic1024 ih13 iw13 oc255 k1 s1 p0
conv n32 ic96 ih14 iw14 oc96 k3 s1 p1
dw conv n32 ic96 ih14 iw14 oc96 k3 s1 p1
dx conv n32 ic96 ih14 iw14 oc96 k3 s1 p1
dx conv n32 ic96 ih28 iw28 oc96 k2 s2 p0
dw conv n2 ic128 ih52 iw52 oc256 k3 s1 p1
dx conv n2 ic128 ih52 iw52 oc256 k3 s1 p1
dw conv n2 ic256 ih52 iw52 oc128 k1 s1 p0
dx conv n2 ic256 ih52 iw52 oc128 k1 s1 p0
dw conv n2 ic128 ih52 iw52 oc256 k3 s2 p1
dx conv n2 ic128 ih52 iw52 oc256 k3 s2 p1
conv ic96 ih40 iw40 oc96 g96 k3 s1 p1
""".strip().splitlines()


def fma_peak(threads: int) -> float:
    """GFLOP/s of fused multiply-adds on registers."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "fma_peak"
        source = ROOT / "bench" / "fma_peak.c"
        flags = ["-O3", "-march=native", "-fopenmp"]
        subprocess.run(["cc", *flags, str(source), "-o", str(program)], check=True)
        return float(subprocess.run([program, str(threads)], capture_output=True).stdout)


def numbers(problem: str, **defaults: int) -> dict[str, int]:
    """The letters and numbers of a problem's line."""
    found = {key: int(value) for key, value in re.findall(r"([a-z]+)(\d+)", problem)}
    return {**defaults, **found}


def pointer(array: np.ndarray):
    """The array's memory as float *."""
    return ffi.cast("float *", array.ctypes.data)


def gemm_problem(problem: str, threads: int):
    """A function that runs the product once and returns its seconds; operations; error."""
    size = numbers(problem)
    m, n, k = size["m"], size["n"], size["k"]
    trans_a, trans_b = " ta" in problem, " tb" in problem
    rng = np.random.default_rng(0)
    a, b = rng.random((m, k), np.float32), rng.random((k, n), np.float32)
    c = np.empty((m, n), np.float32)
    left = np.ascontiguousarray(a.T if trans_a else a)
    right = np.ascontiguousarray(b.T if trans_b else b)
    args = ffi.new(
        "dn_test_gemm_args *",
        [trans_a, trans_b, m, n, k, left.shape[1], right.shape[1], n, threads, 1.0, 0.0],
    )

    def run() -> float:
        return lib.dn_test_gemm(args, pointer(left), pointer(right), pointer(c))

    run()
    return run, 2.0 * m * n * k, relative(c, a @ b)


def taps(padded: np.ndarray, size: dict[str, int], out_h: int, out_w: int):
    """For every tap (ky, kx) the pixels of padded (n, groups, c, h, w) that it sees, a view."""
    for ky in range(size["k"]):
        for kx in range(size["k"]):
            y, x = ky * size["d"], kx * size["d"]
            rows = slice(y, y + (out_h - 1) * size["s"] + 1, size["s"])
            columns = slice(x, x + (out_w - 1) * size["s"] + 1, size["s"])
            yield ky, kx, padded[:, :, :, rows, columns]


def pad(x: np.ndarray, size: dict[str, int]) -> np.ndarray:
    """x (n, channels, h, w) with its padding, split into groups."""
    p, groups = size["p"], size["g"]
    padded = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
    return padded.reshape(x.shape[0], groups, -1, *padded.shape[2:])


def forward(x, weights, size, out_h, out_w):
    """The convolution by NumPy: one product a tap."""
    kernels = weights.reshape(size["g"], -1, *weights.shape[1:])
    total = 0
    for ky, kx, seen in taps(pad(x, size), size, out_h, out_w):
        total = total + kernels[:, :, :, ky, kx] @ seen.reshape(*seen.shape[:3], -1)
    return total.reshape(x.shape[0], -1, out_h, out_w)


def gradients(x, weights, grad, size):
    """The gradients by NumPy: of the weights and of x."""
    padded = pad(x, size)
    grad_padded, grad_weights = np.zeros_like(padded), np.zeros_like(weights)
    kernels = weights.reshape(size["g"], -1, *weights.shape[1:])
    split = grad.reshape(*padded.shape[:2], kernels.shape[1], -1)
    views = zip(
        taps(padded, size, *grad.shape[2:]), taps(grad_padded, size, *grad.shape[2:]), strict=True
    )
    for (ky, kx, seen), (_, _, back) in views:
        flat = seen.reshape(*seen.shape[:3], -1)
        product = (split @ flat.swapaxes(2, 3)).sum(axis=0)
        grad_weights[:, :, ky, kx] = product.reshape(grad_weights.shape[:2])
        back += (kernels[:, :, :, ky, kx].swapaxes(1, 2) @ split).reshape(back.shape)
    p = size["p"]
    grad_x = grad_padded[..., p : p + x.shape[2], p : p + x.shape[3]]
    return grad_weights, grad_x.reshape(x.shape)


def relative(found: np.ndarray, truth: np.ndarray) -> float:
    """The largest difference as a share of the largest value."""
    return float(np.abs(found - truth).max() / np.abs(truth).max())


def conv_problem(problem: str, threads: int):
    """As gemm_problem, for a convolution with packed weights, bias and leaky activation."""
    size = numbers(problem, n=1, g=1, d=1)
    n, groups, k, stride, dilation = (size[key] for key in "ngksd")
    reach = (k - 1) * dilation + 1
    out_h = (size["ih"] + 2 * size["p"] - reach) // stride + 1
    out_w = (size["iw"] + 2 * size["p"] - reach) // stride + 1
    c, filters = size["ic"] // groups, size["oc"] // groups
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, size["ic"], size["ih"], size["iw"]), np.float32)
    weights = rng.standard_normal((size["oc"], c, k, k), np.float32)
    out = rng.standard_normal((n, size["oc"], out_h, out_w), np.float32)
    shift = rng.standard_normal(size["oc"], np.float32)
    operations = 2.0 * out.size * c * k * k
    args = ffi.new(
        "dn_test_conv_args *",
        [n, groups, filters, c, size["ih"], size["iw"], k, stride, stride, size["p"], dilation]
        + [out_h, out_w, LEAKY, True, threads],
    )
    if problem.startswith("d"):
        wanted = 0 if problem.startswith("dw") else 1
        found = np.zeros_like((weights, x)[wanted])

        def run() -> float:
            given = (pointer(x), pointer(weights), pointer(out))
            target = [ffi.NULL, ffi.NULL]
            target[wanted] = pointer(found)  # here, so that `found` lives as long as `run`
            return lib.dn_test_conv_backward(args, *given, *target)

        run()
        error = relative(found, gradients(x, weights, out, size)[wanted])
        return run, operations, error

    def run() -> float:
        given = (pointer(x), pointer(weights), ffi.NULL, pointer(shift), pointer(out))
        return lib.dn_test_conv(args, *given)

    run()
    truth = forward(x, weights, size, out_h, out_w) + shift[:, None, None]
    return run, operations, relative(out, np.where(truth > 0, truth, 0.1 * truth))


def main() -> None:
    """Prints a line a problem."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("problems", nargs="*", default=PROBLEMS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--isa", default="avx512", help="plain, avx2 or avx512")
    options = parser.parse_args()
    lib.dn_test_isa(options.isa.encode())
    peak = fma_peak(options.threads)
    print(f"# peak {peak:.0f} GFLOP/s with {options.threads} threads, {options.isa} kernels")
    for problem in options.problems:
        make = conv_problem if "conv" in problem else gemm_problem
        run, operations, error = make(problem, options.threads)
        if not error < 1e-5:
            sys.exit(f"{problem}: wrong by {error:.1e} of the largest value")
        times = [run() for _ in range(options.runs)]
        seconds = statistics.median(times)
        speed = operations / seconds * 1e-9
        best = operations / min(times) * 1e-9 / peak
        print(
            f"{problem:44s} {1e3 * seconds:8.3f} ms {speed:6.1f} GFLOP/s {speed / peak:5.0%}"
            f" (best {best:.0%})"
        )


if __name__ == "__main__":
    main()
