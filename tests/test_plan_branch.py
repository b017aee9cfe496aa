"""The mask branch by the plan: deconvolution against PyTorch in float64."""

from __future__ import annotations

import numpy as np
import pytest

from networks import Net
from test_plan import make, run, scatter
from yolomask._native import lib

torch = pytest.importorskip("torch")

DECONVOLUTION = """[net]
width={w}
height={h}
channels=3
[convolutional]
filters={c}
size=1
activation=linear
[deconvolutional]
filters={filters}
size={size}
stride={size}
activation={activation}
batch_normalize={norm}
"""
ACTIVATIONS = {
    "linear": lambda x: x,
    "relu": torch.relu,
    "leaky": lambda x: torch.where(x > 0, x, 0.1 * x),
    "mish": torch.nn.functional.mish,
    "logistic": torch.sigmoid,
    "tanh": torch.tanh,
}


def steps(net: Net) -> list[tuple[str, str]]:
    from yolomask._native import check, ffi

    info, found = ffi.new("dn_step_info *"), []
    for i in range(lib.dn_network_step_count(net.handle)):
        check(lib.dn_network_get_step(net.handle, i, info))
        found.append((ffi.string(info.kind).decode(), ffi.string(info.form).decode()))
    return found


def deconvolved(net: Net, values: np.ndarray, size: int, activation: str) -> np.ndarray:
    """What PyTorch makes of it in double."""
    shape = {i: net.layer(i).c for i in (0, 1)}
    given = [{k: torch.tensor(v).double() for k, v in net.params(i).items()} for i in (0, 1)]
    x = torch.tensor(values).double()
    weights = given[0]["weights"].view(shape[0], -1, 1, 1)
    x = torch.nn.functional.conv2d(x, weights, given[0]["biases"])
    weights = given[1]["weights"].view(shape[0], shape[1], size, size)
    x = torch.nn.functional.conv_transpose2d(x, weights, stride=size)
    column = {k: v.view(-1, 1, 1) for k, v in given[1].items() if k != "weights"}
    if "mean" in column:
        x = (x - column["mean"]) / torch.sqrt(column["variance"] + 1e-5) * column["scales"]
    return ACTIVATIONS[activation](x + column["biases"]).numpy()


# images, channels, filters, h, w, size
SHAPES = [
    (1, 16, 16, 14, 14, 2),
    (3, 21, 19, 7, 9, 2),
    (2, 300, 7, 5, 4, 2),
    (1, 5, 50, 13, 11, 3),
    (1, 9, 3, 1, 1, 4),
    (2, 8, 33, 6, 5, 1),
    (1, 24, 40, 23, 31, 2),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_deconvolution_equals_pytorch(isa, shape):
    images, c, filters, h, w, size = shape
    kinds = list(ACTIVATIONS)
    rng = np.random.default_rng(SHAPES.index(shape))
    for norm in (0, 1):
        activation = kinds[(SHAPES.index(shape) + 3 * norm) % len(kinds)]
        cfg = DECONVOLUTION.format(
            h=h, w=w, c=c, filters=filters, size=size, activation=activation, norm=norm
        )
        values = rng.random((images, 3, h, w), np.float32)
        outputs = []
        for threads in (1, 2):
            net = make(cfg, lib.DN_PRECISION_EXACT, batch=images, threads=threads)
            scatter(net)
            run(net, values)
            assert ("conv", "deconv") in steps(net)
            outputs.append(net.output(-1))
        assert outputs[0].tobytes() == outputs[1].tobytes()
        wanted = deconvolved(net, values, size, activation)
        assert np.abs(wanted).max() > 0.1
        assert np.abs(outputs[0] - wanted).max() <= 2e-6 * (1 + np.abs(wanted).max())
