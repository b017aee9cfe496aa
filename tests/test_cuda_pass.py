"""What lies around the convolutions of a pass in half precision on the device "cuda": the input's
floats become pixels, and convolutions end in heads, within the plan's graphs.

Like tests/test_cuda_plan.py, whose networks and comparisons these use, they skip where there is
neither a GPU nor what stands in for one.
"""

from __future__ import annotations

import numpy as np
import pytest

from test_cuda_layers import NO_CUDA
from test_cuda_plan import BF16, FP16, agree, is_hopper, make, pair, predict, steps
from test_plan import CLASSES, image, kept, place_boxes, run, scatter
from yolomask._native import check, ffi, lib
from yolomask.gpu_arrays import GpuArray

pytestmark = pytest.mark.skipif(bool(NO_CUDA), reason=NO_CUDA)

# Heads behind convolutions that end in them, as they do behind one that is read by others, too, or
# that is the first.
HEADS = """[net]
width=46
height=34
channels=3
[convolutional]
filters=16
size=3
pad=1
stride=2
activation=leaky
[convolutional]
filters=24
size=1
activation=linear
batch_normalize=1
[yolo]
mask=1,2,3
anchors=10,14, 23,27, 30,12, 44,40
classes=3
num=4
scale_x_y=1.2
[route]
layers=0
[convolutional]
filters=12
size=3
pad=1
stride=2
activation=logistic
[yolo]
mask=0,1
anchors=10,14, 23,27
classes=1
num=2
new_coords=1
scale_x_y=2.0
{more}"""
READ_TWICE = """[route]
layers=0
[convolutional]
filters=16
size=1
activation=linear
[yolo]
mask=0,1
anchors=10,14, 23,27
classes=3
num=2
[route]
layers=-2
[convolutional]
filters=8
size=1
activation=linear
"""


@pytest.mark.parametrize("precision", [FP16, BF16])
@pytest.mark.parametrize("form", ["rules", "64x64 / 2", "128x32", "w64x64", "w64x128 x2 / 2"])
def test_convolutions_end_in_heads(monkeypatch, form, precision):
    if form.startswith("w") and not is_hopper():
        pytest.skip("needs compute capability 9.0")
    monkeypatch.setenv("DARKNET_CUDNN", form)
    for more, alone in (("", 0), (READ_TWICE, 1)):
        plain, plan = pair(HEADS.format(more=more), precision, batch=2)
        for net in (plain, plan):
            scatter(net)
        for batch in (2, 2, 2, 1):  # the third by a graph
            agree(plain, plan, image(plain, batch), precision)
        found = [kind for kind, _ in steps(plan)]
        assert found.count("plain") == alone
        assert alone or found == ["conv"] * 3


@pytest.mark.parametrize("precision", [FP16, BF16])
def test_heads_are_those_of_their_logits(precision):
    """What a head makes of the sums before it, which are the last layer's where it is cut off;
    extreme ones, too, and some that are no numbers."""
    cfg = HEADS.format(more="")
    cut = make(cfg[: cfg.index("[yolo]")], precision)
    head = make(cfg[: cfg.index("[route]")], precision)
    for net in (cut, head):
        biases = net.params(1)["biases"]
        biases[:6] = [-40, 99, 60, np.nan, -200, -81]
        biases[8:14] = [np.nan, -40, -90, 1, 99, -200]
        lib.dn_network_touch(net.handle)
        run(net, image(net, 1))
    logits = kept(cut)[-1].reshape(3, 8, -1)
    with np.errstate(over="ignore"):
        wanted = 1 / (1 + np.exp(-logits.astype(np.float64)))
    wanted[:, :2] = 1.2 * wanted[:, :2] - 0.1
    wanted[:, 2:4] = logits[:, 2:4]
    found = kept(head)[-1].reshape(wanted.shape)
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-30)


def test_floats_from_anywhere(monkeypatch):
    """Passes by graphs whose images lie now here, now there: at two places of the device, on the
    host, and images of bytes in between, which are letterboxed."""
    monkeypatch.setenv("DARKNET_CUDNN", "rules")
    net = make(HEADS.format(more=""), batch=2)
    values = [image(net, 2, seed) for seed in (1, 2, 3)]
    wanted = []
    for some in values:
        fresh = make(HEADS.format(more=""), batch=2)
        run(fresh, some)
        wanted.append(kept(fresh))
    arrays = [GpuArray.copy_of(some.reshape(2, 3, -1), "cuda") for some in values[:2]]
    pixels = np.random.default_rng(3).integers(0, 256, (34, 46, 3), np.uint8)
    predicted = predict(net, pixels)
    for which in (0, 0, 0, 1, 2, 0, 2, 1, 1, 0):
        if which < 2:
            place = arrays[which].__cuda_array_interface__["data"][0]
            check(lib.dn_network_forward(net.handle, ffi.cast("float *", place), 2, 0.5))
        else:
            run(net, values[2])
        for a, b in zip(wanted[which], kept(net), strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(predicted, predict(net, pixels))


# A lateral between the last head and [roialign].
LATERAL = CLASSES.format(size=5).replace(
    "[roialign]\nlayers=0\n",
    "[route]\nlayers=0\n[convolutional]\nfilters=16\nsize=1\nactivation=leaky\n[roialign]\nlayers=-1\n",
)


@pytest.mark.parametrize("source", ["given", "found"])
def test_boxes_are_asked_for_before_what_goes_without_them(source):
    """The convolution behind the heads is launched when the boxes have been asked for, not when
    they are there."""
    plain, plan = pair(LATERAL)
    for net in (plain, plan):
        scatter(net)
        if source == "given":
            place_boxes(net, 1)
    for seed in range(4):  # the last ones by graphs
        agree(plain, plan, image(plain, 1, seed))
    found = [kind for kind, _ in steps(plan)]
    assert found[found.index("boxes") - 1 :][:4] == ["conv", "boxes", "conv", "roialign"]
