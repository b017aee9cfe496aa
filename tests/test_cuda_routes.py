"""What [route] joins in the plan in half precision on the device "cuda", where one of its inputs
lies in another joined tensor already.

Like tests/test_cuda_plan.py, whose comparisons these use, they skip where there is neither a GPU
nor what stands in for one.
"""

from __future__ import annotations

import pytest

from test_cuda_layers import NO_CUDA
from test_cuda_plan import BF16, FP16, agree, pair, steps
from test_plan import image, scatter

pytestmark = pytest.mark.skipif(bool(NO_CUDA), reason=NO_CUDA)

# Layers 1 and 2 are joined in 3; a convolution of another map, layer 5, and layer 2 in the last.
START = """[net]
width=32
height=24
channels=3
[convolutional]
filters=16
size=3
stride=2
pad=1
activation=leaky
batch_normalize=1
[convolutional]
filters=16
size=3
pad=1
activation=leaky
[convolutional]
filters={inner}
size=1
activation=leaky
[route]
layers=-2,-1
[maxpool]
size=2
stride=2
[convolutional]
filters={outer}
size=3
pad=1
activation=leaky
[upsample]
stride=2
"""
CONVOLUTION = """[convolutional]
filters=24
size=3
pad=1
activation=leaky
batch_normalize=1
"""
LAST = "[convolutional]\nfilters=7\nsize=1\nactivation=linear\n"


def copies(cfg: str, precision: int = FP16, batch: int = 2) -> int:
    """How many copies the plan has, whose outputs are those of the plain network."""
    plain, plan = pair(cfg, precision, batch=batch)
    for net in (plain, plan):
        scatter(net)
    for _ in range(3):  # the last by a graph
        agree(plain, plan, image(plain, batch), precision)
    return [kind for kind, _ in steps(plan)].count("copy")


@pytest.mark.parametrize("precision", [FP16, BF16])
@pytest.mark.parametrize(("inner", "outer"), [(24, 8), (8, 40), (24, 13)])
@pytest.mark.parametrize("layers", ["-1,2", "2,-1"])
def test_behind_another_joined_tensor(layers, inner, outer, precision):
    """Before what lies there or behind it; 13 channels end the tensor wherever they stand."""
    cfg = START.format(inner=inner, outer=outer) + f"[route]\nlayers={layers}\n"
    assert copies(cfg + CONVOLUTION + LAST, precision) == 0


def test_three_inputs():
    """The one that has a place is in the middle, so that the first comes last."""
    cfg = START.format(inner=16, outer=16) + CONVOLUTION + "[route]\nlayers=-2,2,-1\n"
    assert copies(cfg + CONVOLUTION + LAST) == 0


@pytest.mark.parametrize(
    ("between", "after"),
    [
        ("", "[maxpool]\nsize=2\nstride=2\n"),
        ("", "[upsample]\nstride=2\n"),
        ("", CONVOLUTION.replace("=24", "=32") + "groups=2\n"),
        ("", CONVOLUTION.replace("=24", "=32") + "[shortcut]\nfrom=-2\n"),
        ("", CONVOLUTION + "[route]\nlayers=-2\n"),
        (CONVOLUTION + "[route]\nlayers=-2,2\n" + CONVOLUTION, ""),
    ],
)
def test_copied_where_it_cannot_be(between, after):
    """Layers other than convolutions read channels in order; and behind a tensor there is one
    place."""
    cfg = START.format(inner=16, outer=16) + between + "[route]\nlayers=-1,2\n" + after
    assert copies(cfg + LAST) == 1


@pytest.mark.parametrize(
    ("layers", "found"), [("-1,1", 1), ("-1,2,1", 2), ("2,2", 2), ("-1,-1,2", 2)]
)
def test_other_places(layers, found):
    """One that does not end the other tensor, two that have places, and the same twice."""
    cfg = START.format(inner=16, outer=8) + f"[route]\nlayers={layers}\n"
    assert copies(cfg + CONVOLUTION + LAST) == found
