"""Chains of 1x1 and depthwise convolutions in the inference plan, against NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest

from networks import Net
from test_conv_forms import activated
from test_conv_kernels import out_size, reference
from test_plan import kept, make, run
from yolomask._native import check, ffi, lib


class Conv:
    """A convolution of a cfg. groups=True: depthwise."""

    def __init__(self, filters, size=1, stride=1, depthwise=False, activation="leaky", **other):
        self.filters, self.size, self.stride, self.activation = filters, size, stride, activation
        self.groups = filters if depthwise else 1
        self.pad, self.dilation = other.get("pad", size // 2), other.get("dilation", 1)

    def cfg(self):
        keys = ("filters", "size", "stride", "activation", "groups", "dilation")
        lines = [f"{key}={getattr(self, key)}" for key in keys] + [f"padding={self.pad}"]
        return "\n".join(["[convolutional]", *lines, ""])

    def apply(self, x, params):
        """Of x in float64, by the layer's parameters."""
        weights = params["weights"].reshape(self.filters, -1, self.size, self.size)
        out_h, out_w = out_size(
            *x.shape[2:], self.size, *[self.stride] * 2, self.pad, self.dilation
        )
        shape = (self.stride, self.stride, self.pad, self.dilation, out_h, out_w, self.groups)
        sums, _ = reference(x, weights, *shape)
        return activated(sums + params["biases"][:, None, None], self.activation)


def wide(channels, size=3, stride=1, **other):
    return Conv(channels, size, stride, depthwise=True, **other)


STEM = Conv(12, 3)
SUM = "[shortcut]\nfrom={}\nactivation={}\n"
POOL = "[maxpool]\nsize=1\nstride=1\n"


class Case:
    """A stem, convolutions, perhaps a sum with the stem, perhaps a layer that reads blocks."""

    def __init__(self, width, height, convs, adds=None, blocked=False, images=2):
        self.convs, self.adds = [STEM, *convs], adds
        text = f"[net]\nwidth={width}\nheight={height}\nchannels=3\n"
        text += "".join(conv.cfg() for conv in self.convs)
        text += SUM.format(-1 - len(convs), adds) if adds else ""
        self.text, self.images = text + (POOL if blocked else ""), images
        self.x = np.random.default_rng(3).standard_normal((images, 3, height, width), np.float32)

    def network(self, threads=2) -> Net:
        net = make(self.text, threads=threads, batch=self.images)
        rng = np.random.default_rng(5)
        for i in range(len(self.convs)):
            for name, values in net.params(i).items():
                count = self.convs[i].size ** 2 * (STEM.filters if name == "weights" else 1)
                values[:] = rng.normal(0, 1 if name == "weights" else 0.3, values.size)
                values[:] /= np.sqrt(count if name == "weights" else 1)
        lib.dn_network_touch(net.handle)
        run(net, self.x)
        return net

    def truth(self, net):
        stem = x = STEM.apply(self.x.astype(np.float64), net.params(0))
        for i, conv in enumerate(self.convs[1:], 1):
            x = conv.apply(x, net.params(i))
        return activated(x + stem, self.adds) if self.adds else x

    def check(self, chains):
        """`chains`: the first and last layers of those that are expected."""
        net = self.network()
        found = kept(net)[-1]
        truth = self.truth(net)
        assert steps(net) == chains
        assert found.shape == truth.shape
        assert np.abs(found - truth).max() <= 1e-5 * np.sqrt((truth**2).mean()) * len(self.convs)
        for threads in (1, 3, 8):
            assert kept(self.network(threads))[-1].tobytes() == found.tobytes(), threads


def steps(net):
    info, chains = ffi.new("dn_step_info *"), []
    for i in range(lib.dn_network_step_count(net.handle)):
        check(lib.dn_network_get_step(net.handle, i, info))
        if ffi.string(info.kind) == b"chain":
            chains.append((info.first_layer, info.last_layer))
            assert info.flops > 0 and info.seconds > 0
    return chains


@pytest.mark.parametrize("size", [(17, 13), (40, 31), (9, 50), (3, 2)], ids=str)
@pytest.mark.parametrize("blocked", [False, True], ids=["planar", "blocked"])
def test_residual_blocks(isa, size, blocked):
    """Narrow channels that fill no block, sums in the last tile and behind it."""
    narrow = Conv(12, activation="linear")
    Case(*size, [Conv(37), wide(37), narrow], "linear", blocked).check([(1, 4)])
    Case(*size, [Conv(20), wide(20, 5), Conv(12)], "leaky", blocked).check([(1, 4)])
    Case(*size, [wide(12), Conv(12, activation="swish")], "relu", blocked).check([(1, 3)])


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("taps", [(2, 0, 1), (3, 1, 1), (3, 0, 1), (3, 2, 2), (5, 2, 1), (7, 3, 1)])
def test_windows(isa, stride, taps):
    """Sizes, paddings and dilations of the depthwise convolution."""
    size, pad, dilation = taps
    options = {"pad": pad, "dilation": dilation, "activation": "mish"}
    convs = [Conv(21, activation="relu"), wide(21, size, stride, **options), Conv(30)]
    chains = [(1, 3)] if stride <= (size - 1) * dilation + 1 else []
    Case(29, 34, convs, blocked=stride == 2).check(chains)


def test_what_makes_a_chain(isa):
    """What is widened for a depthwise convolution belongs to that one's chain; four at most."""
    block = [Conv(24), wide(24), Conv(10)]
    Case(26, 26, block + block).check([(1, 3), (4, 6)])
    Case(26, 26, [wide(12), Conv(9), wide(9, 5), Conv(14), Conv(15)]).check([(1, 2), (3, 5)])
    Case(26, 26, [Conv(24), Conv(9), Conv(30), Conv(11), Conv(13)]).check([(1, 4)])
    Case(20, 20, [Conv(24), Conv(8, 3), Conv(11)]).check([])
    Case(20, 20, [Conv(300), wide(300), Conv(300)]).check([(1, 2)])


def test_one_image_and_tall_ones(isa):
    """Many bands, and rows that are units of their own."""
    convs = [Conv(16), wide(16, 3, 2), Conv(12)]
    Case(5, 150, convs, blocked=True, images=1).check([(1, 3)])
    Case(150, 40, convs, images=1).check([(1, 3)])
