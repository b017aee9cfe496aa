"""Which form a convolution gets: low precision only where the instruction set makes it faster.

The shapes are of YOLOv3 at 416. `make wide-check` runs this with a cut and estimates as of
AVX512_VNNI, so that int8's choice there is seen on any machine.
"""

from __future__ import annotations

import os

from yolomask._native import ffi, lib

WIDE = "wide" in os.environ.get("YOLOMASK_LIBRARY", "")
INT8, BF16, F32 = lib.DN_PRECISION_INT8, lib.DN_PRECISION_BF16, lib.DN_PRECISION_F32
EVERYWHERE = {INT8: lib.DN_PRECISION_INT8_EVERYWHERE, BF16: lib.DN_PRECISION_BF16_EVERYWHERE}

# channels, side, size, stride, filters
THREE = [(64, 104, 3, 1, 128), (256, 26, 3, 1, 512), (512, 13, 3, 1, 1024)]
STRIDED = [(64, 208, 3, 2, 128), (256, 52, 3, 2, 512), (512, 26, 3, 2, 1024)]
ONE = [(256, 52, 1, 1, 128), (512, 26, 1, 1, 256), (1024, 13, 1, 1, 512)]
NARROW = [(16, 40, 1, 1, 96), (24, 20, 1, 1, 136)]
UNFIT = [(3, 416, 3, 1, 32), (8, 80, 1, 1, 32)]


def choice(shape: tuple[int, ...], precision: int) -> str:
    c, side, size, stride, filters = shape
    pad = size // 2
    out = (side + 2 * pad - size) // stride + 1
    name, after = ffi.new("char[]", b"leaky"), ffi.new("char[]", b"linear")
    conv = [1, 1, filters, c, side, side, size, stride, stride, pad, 1, out, out, name, False, 2]
    args = [conv, False, False, False, after, False, 1, 0.02, 100]
    given = ffi.new("dn_test_conv_form_args *", args)
    return ffi.string(lib.dn_test_conv_choice(given, precision)).decode()


def chosen(shapes: list[tuple[int, ...]], precision: int) -> set[str]:
    return {choice(shape, precision) for shape in shapes}


def test_floats_where_they_are_faster(low_isa):
    """What is not taken in low precision is what float32 would take."""
    for shape in THREE + STRIDED + ONE + NARROW + UNFIT:
        for precision, low in ((INT8, "int8"), (BF16, "bf16")):
            assert choice(shape, precision) in (low, choice(shape, F32))
    assert not chosen(UNFIT, INT8) & {"int8"}


def test_int8_follows_its_instructions(low_isa):
    vnni = low_isa in ("avx512vnni", "avx512bf16") or WIDE
    found = chosen(STRIDED + ONE, INT8)
    assert found == {"int8"} if vnni or low_isa == "avx2" else "int8" not in found
    assert ("int8" in chosen(THREE, INT8)) == vnni  # else Winograd
    # with AVX2 turning their inputs into words costs what the products save
    assert ("int8" in chosen(NARROW, INT8)) == vnni


def test_bf16_follows_its_instructions(low_isa):
    found = chosen(STRIDED + ONE, BF16)
    assert found == {"bf16"} if low_isa == "avx512bf16" else "bf16" not in found


def test_everywhere(low_isa):
    """The same wherever a form fits, whatever is faster."""
    fitting = STRIDED + ONE + NARROW
    assert chosen(fitting + THREE, EVERYWHERE[INT8]) == {"int8"}
    assert chosen(fitting, EVERYWHERE[BF16]) == {"bf16"}
    assert all(name.startswith("winograd") for name in chosen(THREE, EVERYWHERE[BF16]))
    for precision in EVERYWHERE.values():
        assert chosen(UNFIT, precision) == chosen(UNFIT, F32)


def test_exact(low_isa):
    assert not any("winograd" in name for name in chosen(THREE, lib.DN_PRECISION_EXACT))
    assert all("winograd" in name for name in chosen(THREE, F32))
