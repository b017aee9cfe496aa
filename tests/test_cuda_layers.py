"""The CUDA kernels, layer by layer, against the CPU's and against PyTorch in float64.

Every case is one layer at the end of a small network. The network runs on the CPU; then its last
layer runs once more on a device, forward and backward, with the inputs of that pass. "cpu" checks
the harness; "cuda" needs a library built with GPU=1 and a GPU:

    make gpu-check         on a machine with a GPU
    make host-cuda-check   anywhere: the kernels as C++, on the CPU (tests/host_cuda)

Elsewhere one test skips with the reason, or fails where YOLOMASK_TEST_CUDA=need.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from layer_harness import Net, close
from roi_support import set_rois
from test_roialign import pooling_cfg, random_boxes
from yolomask._native import DeviceError, check, ffi, lib

# Kernels that only copy, add and multiply give the CPU's bits (nvcc -fmad=false, no atomics, one
# order of every sum). Where exp or another order of a sum comes in, relative to the largest value:
ROUNDED = 3e-6
SUMMED = 1e-5  # products of matrices, and what is made of their sums
EXACT = 0.0


@dataclass
class Case:
    section: str
    shape: tuple[int, ...]
    tolerance: float = EXACT
    before: str = "[empty]\n"
    inputs: tuple[int, ...] = (0,)  # the layer's different inputs, in its order
    reference: Callable | None = None  # (torch inputs, torch parameters) -> output
    training: bool = True
    integers: bool = False  # inputs with many equal values
    rois: list[dict] | None = None


def run_on(device: str, net: Net, case: Case, seed: int = 7) -> dict[str, np.ndarray]:
    """The last layer on `device`: output, and gradients added to random ones."""
    rng = np.random.default_rng(seed)
    index = net.layer_count - 1
    out = np.full(net.output(-1).shape, np.nan, np.float32)
    grad_out = rng.normal(0, 1, out.shape).astype(np.float32)
    in_grads = [rng.normal(0, 1, net.output(i).shape).astype(np.float32) for i in case.inputs]
    sizes = [grad.size for grad in net.param_grads(index).values()] if case.training else []
    param_grads = rng.normal(0, 1, sum(sizes)).astype(np.float32)
    flat = np.concatenate([g.ravel() for g in in_grads] or [np.zeros(0, np.float32)])
    started = {"in": flat.copy(), "param": param_grads.copy()}

    def pointer(array):
        return ffi.cast("float *", array.ctypes.data)

    backward = [pointer(grad_out), pointer(flat), pointer(param_grads)]
    if not case.training:
        backward = [ffi.NULL] * 3
    check(lib.dn_test_layer(net.handle, index, device.encode(), pointer(out), *backward))
    return {
        "out": out,
        "grad_out": grad_out,
        "in_grads": flat,
        "in_added": flat.astype(np.float64) - started["in"],
        "param_grads": param_grads,
        "param_added": param_grads.astype(np.float64) - started["param"],
    }


def why_no_cuda() -> str:
    """Empty where a layer runs on the device "cuda", else the library's reason."""
    with tempfile.TemporaryDirectory() as folder:
        net = Net(Path(folder), "[upsample]\n", (1, 1, 1, 1))
    net.forward(np.zeros((1, 1, 1, 1), np.float32))
    out = ffi.new("float[4]")
    try:
        check(lib.dn_test_layer(net.handle, 0, b"cuda", out, ffi.NULL, ffi.NULL, ffi.NULL))
    except DeviceError as error:
        return str(error)
    return ""


NO_CUDA = why_no_cuda()


@pytest.fixture(params=["cpu"] if NO_CUDA else ["cpu", "cuda"])
def device(request) -> str:
    return request.param


def test_cuda_is_here():
    if os.environ.get("YOLOMASK_TEST_CUDA") == "need":
        assert not NO_CUDA
    if NO_CUDA:
        pytest.skip(NO_CUDA)


def build(tmp_path, case: Case) -> Net:
    """The case's network after its pass on the CPU."""
    rng = np.random.default_rng(3)
    net = Net(tmp_path, case.before + case.section, case.shape, training=case.training)
    net.randomize(rng)
    if case.rois is not None:
        set_rois(net, case.rois)
    x = rng.integers(-2, 3, case.shape) if case.integers else rng.normal(0, 1.5, case.shape)
    net.forward(x.astype(np.float32))
    return net


# Activations whose outputs have a limit, and their largest slopes.
BOUNDED = {"relu6": 1.0, "tanh": 1.0, "logistic": 0.25}


def tolerance_of(tmp_path, case: Case, tolerance: float) -> float:
    """Of the case's output: what rounding does to sums is relative to the sums, also where they are
    far beyond what the activation behind them lets through."""
    found = re.search(rf"activation=({'|'.join(BOUNDED)})\b", case.section)
    if case.tolerance != SUMMED or not found:
        return tolerance
    linear = replace(case, section=case.section.replace(found[0], "activation=linear"))
    outputs = [build(tmp_path, one).output(-1) for one in (linear, case)]
    sums, bounded = (np.abs(out).max() for out in outputs)
    return tolerance * max(BOUNDED[found[1]] * sums / bounded, 1)


def agree(actual: np.ndarray, wanted: np.ndarray, tolerance: float) -> None:
    if tolerance == EXACT:
        np.testing.assert_array_equal(actual.view(np.int32), wanted.view(np.int32))
    else:
        close(actual, wanted, tolerance)


# ---- The layers ------------------------------------------------------------------------------

SQUASH = "[activation]\nactivation={}\n"
# Layers 0, 1 and 2: the input, and two maps of the same shape with other values.
THREE = "[empty]\n" + SQUASH.format("tanh") + SQUASH.format("logistic")
BRANCH = "[route]\nlayers=0\n[convolutional]\nfilters={}\nsize=1\nstride={}\nactivation=linear\n"


def activate(name: str, x):
    from test_layers import ACTIVATIONS

    return ACTIVATIONS[name](x)


def activations() -> dict[str, Case]:
    plain = ["linear", "leaky", "relu", "relu6", "hard_mish"]
    rounded = ["logistic", "mish", "swish", "tanh", "elu", "selu", "gelu"]
    return {
        name: Case(
            SQUASH.format(name),
            (2, 3, 5, 7),
            tolerance=EXACT if name in plain else ROUNDED,
            reference=lambda inputs, _, name=name: activate(name, inputs[0]),
        )
        for name in plain + rounded
    } | {
        f"{name} of quads": Case(
            SQUASH.format(name), (2, 4, 5, 7), tolerance=tolerance,
            reference=lambda inputs, _, name=name: activate(name, inputs[0]),
        )
        for name, tolerance in (("leaky", EXACT), ("mish", ROUNDED))
    }  # fmt: skip


def maxpools() -> dict[str, Case]:
    def reference(size, stride, padding):
        def pooled(inputs, _):
            import torch.nn.functional as f

            before, x = padding // 2, inputs[0]
            stride_y, stride_x = stride
            rows = (x.shape[2] + padding - size) // stride_y + 1
            columns = (x.shape[3] + padding - size) // stride_x + 1
            after_y = max((rows - 1) * stride_y + size - x.shape[2] - before, 0)
            after_x = max((columns - 1) * stride_x + size - x.shape[3] - before, 0)
            x = f.pad(x, (before, after_x, before, after_y), value=-np.inf)
            return f.max_pool2d(x, size, stride)[:, :, :rows, :columns]

        return pooled

    def case(size, stride, shape, padding=None, integers=False):
        section = f"[maxpool]\nsize={size}\nstride_y={stride[0]}\nstride_x={stride[1]}\n"
        section += "" if padding is None else f"padding={padding}\n"
        wanted = reference(size, stride, size - 1 if padding is None else padding)
        return Case(section, shape, integers=integers, reference=wanted)

    return {
        "2/2": case(2, (2, 2), (2, 3, 7, 9)),
        "2/1": case(2, (1, 1), (2, 3, 6, 5)),
        "3/2": case(3, (2, 2), (1, 4, 8, 11)),
        "5/1": case(5, (1, 1), (2, 2, 13, 13)),
        "13/1 of 6": case(13, (1, 1), (1, 2, 6, 6)),
        "3/2,1": case(3, (2, 1), (2, 3, 9, 5)),
        "unpadded": case(3, (2, 2), (2, 2, 9, 9), padding=0),
        "ties": case(3, (1, 1), (2, 3, 8, 9), integers=True),
        "gaps": case(2, (3, 3), (2, 2, 10, 11)),
    }


def averages() -> dict[str, Case]:
    def windows(size, stride, padding):
        def averaged(inputs, _):
            import torch
            import torch.nn.functional as f

            def sums(x):
                x = f.pad(x, (padding // 2, size, padding // 2, size))
                return f.avg_pool2d(x, size, stride)[:, :, :rows, :columns]

            rows, columns = ((n + padding - size) // stride + 1 for n in inputs[0].shape[2:])
            return sums(inputs[0]) / sums(torch.ones_like(inputs[0]))

        return averaged

    def local(size, stride, shape, padding=None):
        section = f"[local_avgpool]\nsize={size}\nstride={stride}\n"
        section += "" if padding is None else f"padding={padding}\n"
        padding = size - 1 if padding is None else padding
        return Case(section, shape, reference=windows(size, stride, padding))

    def whole(shape):
        return Case("[avgpool]\n", shape, tolerance=ROUNDED,
                    reference=lambda inputs, _: inputs[0].mean((2, 3)))  # fmt: skip

    return {
        "whole": whole((2, 3, 7, 9)),
        "whole of one": whole((2, 5, 1, 1)),
        "2/2": local(2, 2, (2, 3, 7, 9)),
        "3/1": local(3, 1, (1, 2, 6, 5)),
        "3/2, unpadded": local(3, 2, (2, 2, 9, 8), padding=0),
        "gaps": local(2, 3, (2, 2, 10, 11)),
    }


def permutations() -> dict[str, Case]:
    def depth(inputs, _):
        n, c, h, w = inputs[0].shape
        parts = inputs[0].reshape(n, c, h // 2, 2, w // 2, 2)
        return parts.permute(0, 3, 5, 1, 2, 4).reshape(n, 4 * c, h // 2, w // 2)

    def middle(inputs, _):
        return 2 * inputs[0][:, :, 1:5, 2:5] - 1

    crop = "[crop]\ncrop_height=4\ncrop_width=3\nflip=1\n"
    return {
        "reorg": Case("[reorg]\nstride=2\n", (2, 4, 6, 4)),
        "reorg, reverse": Case("[reorg]\nstride=2\nreverse=1\n", (2, 8, 3, 5)),
        "reorg3d": Case("[reorg3d]\nstride=2\n", (2, 3, 6, 4), reference=depth),
        "reorg3d, reverse": Case("[reorg3d]\nstride=3\nreverse=1\n", (2, 18, 3, 5)),
        "crop": Case(crop, (5, 3, 6, 7)),
        "crop, not training": Case(crop, (2, 3, 6, 7), training=False, reference=middle),
        "crop, as it is": Case(crop + "noadjust=1\n", (3, 2, 6, 7)),
        "empty": Case("[empty]\n", (2, 3, 5, 7), reference=lambda inputs, _: inputs[0]),
        "empty of quads": Case("[empty]\n", (2, 4, 5, 7), reference=lambda inputs, _: inputs[0]),
    }  # fmt: skip


def moves() -> dict[str, Case]:
    def block(inputs, _):
        return 0.7 * inputs[0].repeat_interleave(3, 2).repeat_interleave(3, 3)

    def doubled(inputs, _):
        return inputs[0].repeat_interleave(2, 2).repeat_interleave(2, 3)

    def block_sum(inputs, _):
        import torch.nn.functional as f

        return f.avg_pool2d(inputs[0], 2) * 4

    def joined(inputs, _):
        import torch

        return torch.cat([inputs[0], inputs[1], inputs[0]], 1)

    def second_half(inputs, _):
        import torch

        return torch.cat([x.chunk(2, 1)[1] for x in inputs], 1)

    shape = (2, 4, 5, 3)
    even = (2, 4, 4, 6)
    return {
        "upsample by 2": Case("[upsample]\n", shape, reference=doubled),
        "downsample by 3": Case("[upsample]\nstride=-3\n", (2, 3, 6, 9)),
        "route of quads": Case("[route]\nlayers=-1,1,-1\n", even, before=THREE, inputs=(2, 1),
                               reference=joined),
        "upsample": Case("[upsample]\nstride=3\nscale=.7\n", shape, reference=block),
        "downsample": Case("[upsample]\nstride=-2\n", (2, 3, 6, 4), reference=block_sum),
        "route": Case("[route]\nlayers=-1,1,-1\n", shape, before=THREE, inputs=(2, 1),
                      reference=joined),
        "route of groups": Case("[route]\nlayers=0,2\ngroups=2\ngroup_id=1\n", shape,
                                before=THREE, inputs=(0, 2), reference=second_half),
        "dropout": Case("[dropout]\nprobability=.3\n", shape),
        "dropout, not training": Case("[dropout]\n", shape, training=False,
                                      reference=lambda inputs, _: inputs[0]),
    }  # fmt: skip


def shortcuts() -> dict[str, Case]:
    def learned(kind):
        def reference(inputs, params):
            from test_layers import normalized_weights

            w = normalized_weights(params["weights"].view(3, -1), kind).reshape(3, 1, -1, 1, 1)
            return activate("swish", w[0] * inputs[0] + w[1] * inputs[1] + w[2] * inputs[2])

        return reference

    def weighted(weights, kind):
        return Case(
            f"[shortcut]\nfrom=-2,0\nweights_type={weights}\nweights_normalization={kind}\n"
            "activation=swish\n",
            (2, 5, 6, 4), before=THREE, inputs=(2, 1, 0), tolerance=ROUNDED,
            reference=learned(kind),
        )  # fmt: skip

    def sized(first, second):
        return Case("[shortcut]\nfrom=-3\nactivation=leaky\n", (2, 3, 8, 6),
                    before="[empty]\n" + BRANCH.format(*first) + BRANCH.format(*second),
                    inputs=(4, 2))  # fmt: skip

    cases = {
        f"{weights} {kind}": weighted(weights, kind)
        for weights in ("per_feature", "per_channel")
        for kind in ("none", "relu", "softmax")
    }
    return cases | {
        "plain": Case("[shortcut]\nfrom=-3\n", (2, 3, 5, 7), before=THREE, inputs=(2, 0),
                      reference=lambda x, _: x[0] + x[1]),
        "plain of quads": Case("[shortcut]\nfrom=-3\n", (2, 4, 5, 7), before=THREE, inputs=(2, 0),
                               reference=lambda x, _: x[0] + x[1]),
        "alpha beta of quads": Case(
            "[shortcut]\nfrom=1,0\nalpha=.5\nbeta=-2\nactivation=mish\n", (2, 4, 5, 7),
            before=THREE, inputs=(2, 1, 0), tolerance=ROUNDED,
            reference=lambda x, _: activate("mish", 0.5 * x[0] - 2 * x[1] - 2 * x[2])),
        "alpha beta": Case("[shortcut]\nfrom=1,0\nalpha=.5\nbeta=-2\nactivation=leaky\n",
                           (2, 3, 5, 7), before=THREE, inputs=(2, 1, 0),
                           reference=lambda x, _: activate(
                               "leaky", 0.5 * x[0] - 2 * x[1] - 2 * x[2])),
        "twice the same": Case("[shortcut]\nfrom=-1\n", (2, 3, 5, 7), before=THREE, inputs=(2,),
                               reference=lambda x, _: 2 * x[0]),
        "mish": Case("[shortcut]\nfrom=-2\nactivation=mish\n", (2, 3, 5, 7), before=THREE,
                     inputs=(2, 1), tolerance=ROUNDED,
                     reference=lambda x, _: activate("mish", x[0] + x[1])),
        "mish, not training": Case("[shortcut]\nfrom=-2\nactivation=mish\n", (2, 3, 5, 7),
                                   before=THREE, inputs=(2, 1), tolerance=ROUNDED,
                                   training=False),
        "more than a launch takes": Case(
            "[shortcut]\nfrom=" + "1,0," * 10 + "\nactivation=mish\n", (2, 3, 5, 7), before=THREE,
            inputs=(2, 1, 0), tolerance=ROUNDED,
            reference=lambda x, _: activate("mish", x[0] + 10 * x[1] + 10 * x[2])),
        "from fewer channels": sized((2, 1), (5, 1)),
        "from more channels": sized((7, 1), (5, 1)),
        "from larger": sized((4, 1), (5, 2)),
        "from smaller": sized((5, 2), (5, 1)),
    }  # fmt: skip


def scales() -> dict[str, Case]:
    def product(inputs, _):
        return inputs[0] * inputs[1]

    shape = (2, 4, 5, 6)
    squeezed = THREE + "[avgpool]\n"
    flat = THREE + BRANCH.format(1, 1)
    return {
        "channels": Case("[scale_channels]\nfrom=1\n", shape, before=squeezed, inputs=(3, 1),
                         reference=product, tolerance=ROUNDED),
        "pixels": Case("[scale_channels]\nfrom=1\nscale_wh=1\n", shape, before=flat,
                       inputs=(4, 1), reference=product),
        "sam": Case("[sam]\nfrom=-2\n", shape, before=THREE, inputs=(2, 1), reference=product),
        "sam, leaky": Case("[sam]\nfrom=0\nactivation=leaky\n", shape, before=THREE,
                           inputs=(2, 0)),
        "channels, mish": Case("[scale_channels]\nfrom=0\nactivation=mish\n", shape,
                               before=squeezed, inputs=(3, 0), tolerance=ROUNDED),
    }  # fmt: skip


# filters, size, stride_x, stride_y, padding, groups, dilation, (n, c, h, w)
CONVOLUTIONS = {
    "1x1": (5, 1, 1, 1, 0, 1, 1, (3, 6, 7, 5)),
    "1x1 of quads": (6, 1, 1, 1, 0, 1, 1, (2, 4, 4, 6)),
    "1x1, stride 2": (4, 1, 2, 2, 0, 1, 1, (2, 3, 7, 6)),
    "1x1, padded": (3, 1, 1, 1, 1, 1, 1, (2, 2, 3, 4)),
    "1x1, groups": (8, 1, 1, 1, 0, 2, 1, (3, 6, 4, 5)),
    "of one pixel": (17, 1, 1, 1, 0, 1, 1, (5, 33, 1, 1)),
    "3x3": (7, 3, 1, 1, 1, 1, 1, (2, 5, 9, 11)),
    "3x3, unpadded": (3, 3, 1, 1, 0, 1, 1, (4, 2, 5, 6)),
    "3x3, stride 2": (4, 3, 2, 2, 1, 1, 1, (3, 3, 8, 13)),
    "3x3, stride 2,1": (6, 3, 2, 1, 0, 1, 1, (1, 4, 9, 6)),
    "3x3, stride 3": (2, 3, 3, 3, 0, 1, 1, (2, 2, 11, 7)),
    "2x2, stride 2": (3, 2, 2, 2, 0, 1, 1, (2, 3, 7, 7)),
    "5x5, stride 1,3": (6, 5, 1, 3, 2, 1, 1, (2, 2, 11, 8)),
    "7x7 of few rows": (3, 7, 3, 3, 3, 1, 1, (1, 2, 3, 19)),
    "groups": (8, 3, 1, 1, 1, 4, 1, (2, 8, 6, 7)),
    "dilated": (4, 3, 1, 1, 2, 1, 2, (2, 3, 10, 9)),
    "in slices of images": (4, 3, 1, 1, 1, 1, 1, (7, 2, 6, 5)),
    "in slices of rows": (3, 3, 2, 1, 1, 1, 1, (2, 9, 12, 17)),
    "depthwise": (6, 3, 1, 1, 1, 6, 1, (3, 6, 5, 8)),
    "depthwise, stride 2": (6, 3, 2, 2, 1, 6, 1, (2, 6, 9, 9)),
    "depthwise, stride 1,2": (3, 3, 1, 2, 0, 3, 1, (2, 3, 8, 7)),
    "depthwise 5x5": (5, 5, 1, 1, 2, 5, 1, (1, 5, 5, 17)),
    "depthwise, dilated": (2, 3, 1, 1, 2, 2, 2, (2, 2, 9, 7)),
}


def staged(product):
    """product(x, parameters), and what follows it in a layer."""

    def reference(activation, training):
        def run(inputs, params):
            import test_layers

            z = product(inputs[0], params)
            return test_layers.stage(z, params, activation, training)

        return run

    return reference


def both_ways(section, shape, reference, activation="leaky") -> dict[str, Case]:
    """With bias and with batch normalisation, training and not."""
    return {
        f"{kind}, {'training' if training else 'inference'}": Case(
            f"{section}activation={activation}\nbatch_normalize={norm}\n", shape,
            tolerance=SUMMED, training=training, reference=reference(activation, training))
        for norm, kind in enumerate(["bias", "norm"])
        for training in (True, False)
    }  # fmt: skip


def convolution(of, activation="leaky") -> dict[str, Case]:
    filters, size, stride_x, stride_y, padding, groups, dilation, shape = of

    def product(x, params):
        import torch.nn.functional as f

        weights = params["weights"].view(filters, shape[1] // groups, size, size)
        return f.conv2d(x, weights, None, (stride_y, stride_x), padding, dilation, groups)

    section = (
        f"[convolutional]\nfilters={filters}\nsize={size}\nstride_x={stride_x}\n"
        f"stride_y={stride_y}\npadding={padding}\ngroups={groups}\ndilation={dilation}\n"
    )
    return both_ways(section, shape, staged(product), activation)


def convolutions() -> dict[str, Case]:
    names = ["linear", "leaky", "relu", "relu6", "logistic", "mish", "swish", "hard_mish", "tanh",
             "elu", "selu", "gelu"]  # fmt: skip
    cases = {}
    for name, of in CONVOLUTIONS.items():
        ways = convolution(of)
        pair = ["norm, training", "bias, inference"]
        cases |= {f"{name}, {kind}": ways[kind] for kind in (ways if name == "3x3" else pair)}
    for name in names:
        ways = convolution((6, 3, 1, 1, 1, 1, 1, (2, 3, 6, 6)), name)
        pair = ["norm, training", "bias, training"]
        cases |= {f"{name}, {kind}": ways[kind] for kind in pair}
    return cases


def deconvolutions() -> dict[str, Case]:
    def cases(filters, size, stride, padding, more, shape):
        def product(x, params):
            import torch.nn.functional as f

            weights = params["weights"].view(shape[1], filters, size, size)
            return f.conv_transpose2d(x, weights, None, stride, padding, more)

        section = f"[deconvolutional]\nfilters={filters}\nsize={size}\nstride={stride}\n"
        section += f"padding={padding}\noutput_padding={more}\n"
        return both_ways(section, shape, staged(product), "mish")

    kinds = {
        "2/2": (3, 2, 2, 0, 0, (2, 4, 5, 3)),
        "4/2": (5, 4, 2, 1, 0, (2, 3, 4, 7)),
        "3/2": (2, 3, 2, 1, 1, (1, 6, 5, 5)),
        "1/1": (1, 1, 1, 0, 0, (3, 5, 2, 2)),
        "7/4": (2, 7, 4, 3, 3, (1, 2, 1, 3)),
        "in slices": (9, 3, 2, 1, 1, (3, 4, 9, 8)),
    }
    return {f"{name}, {kind}": c for name, of in kinds.items() for kind, c in cases(*of).items()}


def connections() -> dict[str, Case]:
    def product(x, params):
        flat = x.reshape(x.shape[0], -1)
        return (flat @ params["weights"].view(9, flat.shape[1]).T).view(-1, 9, 1, 1)

    return {
        f"{shape}, {kind}": case
        for shape in [(4, 3, 4, 5), (5, 1, 1, 1)]
        for kind, case in both_ways(
            "[connected]\noutput=9\n", shape, staged(product), "swish"
        ).items()
    }


def normalisations() -> dict[str, Case]:
    def case(shape, training):
        def reference(inputs, params):
            import test_layers

            return test_layers.normalized(inputs[0], params, training)

        return Case("[batchnorm]\n", shape, tolerance=SUMMED, training=training,
                    reference=reference)  # fmt: skip

    return {
        f"{shape}, {'training' if training else 'inference'}": case(shape, training)
        for shape in [(3, 5, 4, 7), (2, 3, 3, 3), (6, 2, 1, 1)]
        for training in (True, False)
    }


def convolutions_of_rois() -> dict[str, Case]:
    """As many live maps as there are boxes, fewer than there is room for."""
    cases = {}
    for count in (0, 1, 7):
        before = pooling_cfg(maps=(1,), size=4, samples=1, pool="max", levels="sum")
        before = before[before.index("[maxpool]") :]
        rois = random_boxes(np.random.default_rng(count), count, 24, 32, batch=3)
        for section in ("[convolutional]\nsize=3\npad=1\n", "[deconvolutional]\nsize=2\n"):
            for norm in (0, 1):
                cases[f"{section[1:5]} {count}, norm {norm}"] = Case(
                    f"{section}filters=4\nactivation=mish\nbatch_normalize={norm}\n",
                    (3, 3, 24, 32), before=before, rois=rois, tolerance=SUMMED,
                    inputs=(before.count("[") - 1,))  # fmt: skip
    return cases


def roialigns() -> dict[str, Case]:
    def reference(pool, size, samples, levels, rois):
        def pooled(inputs, _):
            import torch

            from roi_support import nearest_level, point_weights

            out = []
            for roi in rois:
                total = 0
                for k, features in enumerate(inputs):
                    h, w = features.shape[2:]
                    strides = [24 / map.shape[2] for map in inputs]
                    if levels == "assign" and nearest_level(roi["box"], strides) != k:
                        continue
                    weights = point_weights(h, w, 24 / h, 32 / w, roi["box"], size, samples)
                    points = torch.einsum("yxjihw,chw->cyxji", torch.tensor(weights),
                                          features[roi["image"]]).flatten(3)  # fmt: skip
                    total = total + (points.mean(3) if pool == "average" else points.max(3)[0])
                out.append(total)
            return torch.stack(out)

        return pooled

    def case(pool, maps=(1,), levels="sum", size=4, samples=2, count=9, oracle=True, channels=3):
        cfg = pooling_cfg(
            channels=channels, maps=maps, size=size, samples=samples, pool=pool, levels=levels
        )
        before, section = cfg[cfg.index("[maxpool]") :].split("[roialign]")
        behind = 2 * len(maps) + 4
        rois = random_boxes(np.random.default_rng(count), count, 24, 32, batch=3)
        rois = [r for r in rois if (r["box"][2:] > r["box"][:2]).all() or not oracle]
        return Case(
            "[roialign]" + section, (3, channels, 24, 32), before=before, rois=rois,
            inputs=tuple(range(behind, behind + len(maps))), tolerance=ROUNDED,
            reference=reference(pool, size, samples, levels, rois) if oracle else None,
        )  # fmt: skip

    return {
        "average": case("average"),
        "maximum": case("max"),
        "one sample": case("max", samples=1),
        "three samples": case("average", samples=3, size=3),
        "maximum of more channels": case("max", channels=6, maps=(1, 2)),
        "average of more channels": case("average", channels=9, samples=3),
        "maximum of three maps": case("max", maps=(1, 2, 4)),
        "average, assigned": case("average", maps=(1, 2, 4), levels="assign"),
        "more maps than a launch takes": case("max", maps=(1, 2, 4) * 3),
        "more boxes": case("max", maps=(2, 4), count=300, oracle=False),
        "average of many": case("average", maps=(2, 4), levels="assign", count=300, oracle=False),
        "no box": case("max", count=0, oracle=False),
    }


CASES = {
    f"{kind}: {name}": case
    for kind, cases in {
        "activation": activations(),
        "maxpool": maxpools(),
        "average": averages(),
        "permutation": permutations(),
        "move": moves(),
        "shortcut": shortcuts(),
        "scale": scales(),
        "roialign": roialigns(),
        "convolution": convolutions(),
        "deconvolution": deconvolutions(),
        "connected": connections(),
        "batchnorm": normalisations(),
        "rois": convolutions_of_rois(),
    }.items()
    for name, case in cases.items()
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_device_against_cpu(tmp_path, device, case):
    net = build(tmp_path, case)
    wanted, actual = run_on("cpu", net, case), run_on(device, net, case)
    agree(wanted["out"], net.output(-1), EXACT)
    agree(actual["out"], wanted["out"], tolerance_of(tmp_path, case, case.tolerance))
    agree(actual["in_grads"], wanted["in_grads"], case.tolerance)
    agree(actual["param_grads"], wanted["param_grads"], case.tolerance)


REFERENCES = {name: case for name, case in CASES.items() if case.reference}


@pytest.mark.parametrize("case", REFERENCES.values(), ids=REFERENCES.keys())
def test_device_against_torch(tmp_path, device, case):
    torch = pytest.importorskip("torch")
    net = build(tmp_path, case)
    actual = run_on(device, net, case)

    def tensors(arrays):
        return [torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in arrays]

    inputs = tensors(net.output(i) for i in case.inputs)
    params = dict(zip(net.params(-1), tensors(net.params(-1).values()), strict=True))
    wanted = case.reference(inputs, params)
    tolerance = tolerance_of(tmp_path, case, 1e-5)
    close(actual["out"], wanted.detach().numpy().reshape(actual["out"].shape), tolerance)
    if not case.training:
        return
    wanted.backward(torch.tensor(actual["grad_out"], dtype=torch.float64).reshape(wanted.shape))
    grads = [torch.zeros_like(i) if i.grad is None else i.grad for i in inputs]
    close(actual["in_added"], torch.cat([g.ravel() for g in grads]).numpy(), 2e-5)
    learned = [params[name].grad.ravel() for name in net.param_grads(-1)]
    if learned:
        close(actual["param_added"], torch.cat(learned).numpy(), 2e-5)


def test_layer_leaves_the_network_as_it_was(tmp_path, device):
    """The pass after a layer's run on a device gives the same bits as the one before."""
    case = CASES["shortcut: per_channel softmax"]
    net = build(tmp_path, case)
    before = net.output(-1), net.params(-1)["weights"].copy()
    run_on(device, net, case)
    agree(net.output(-1), before[0], EXACT)
    agree(net.params(-1)["weights"].copy(), before[1], EXACT)
    again = run_on(device, net, case)
    agree(again["out"], net.output(-1), case.tolerance)


@pytest.mark.parametrize(
    ("device", "sentence"),
    [
        (b"cuda", NO_CUDA),
        (b"cuda:x", "device cuda:x: a number 0..1023 follows the colon"),
        (b"cpu:1", "device cpu:1: there is only cpu:0"),
        (b"tpu", "device tpu: devices are cpu, cuda, cuda:N and auto"),
    ],
)
def test_network_refuses_other_devices(tmp_path, device, sentence):
    if device == b"cuda" and not NO_CUDA:
        pytest.skip("networks run on cuda here")
    with pytest.raises(DeviceError, match=re.escape(sentence)):
        Net(tmp_path, "[upsample]\n", (1, 1, 1, 1), device=device)


@pytest.mark.parametrize("device", [b"", b"cpu", b"cpu:0"])
def test_network_runs_on_the_cpu(tmp_path, device):
    net = Net(tmp_path, "[upsample]\n", (1, 1, 1, 1), device=device)
    assert (net.forward(np.ones((1, 1, 1, 1))) == 1).all()


@pytest.mark.parametrize("training", [False, True])
def test_time_of_a_layer(tmp_path, device, training):
    net = Net(tmp_path, "[upsample]\n", (1, 1, 4, 4), training=training, device=device.encode())
    seconds = ffi.new("double[2]")
    with pytest.raises(ValueError, match="needs a pass before it"):
        check(lib.dn_test_time_layer(net.handle, 0, 1, seconds, seconds + 1))
    net.forward(np.ones((1, 1, 4, 4), np.float32))
    check(lib.dn_test_time_layer(net.handle, 0, 3, seconds, seconds + 1))
    assert seconds[0] > 0
    assert (seconds[1] > 0) == training
    with pytest.raises(ValueError, match="layer 1, 3 rounds: the network runs layers 0..0"):
        check(lib.dn_test_time_layer(net.handle, 1, 3, seconds, seconds + 1))
