"""Every layer, forward and all gradients, against PyTorch in float64 on random shapes.

Each case is a cfg section, input shapes and the same function written with torch; the gradient of
a random projection of the output is compared for the input and every parameter.
"""

from __future__ import annotations

import numpy as np
import pytest
from layer_harness import Net, close

torch = pytest.importorskip("torch")
F = torch.nn.functional


def mish(x):
    return x * torch.tanh(F.softplus(x, threshold=1e9))


ACTIVATIONS = {
    "linear": lambda x: x,
    "leaky": lambda x: F.leaky_relu(x, 0.1),
    "logistic": torch.sigmoid,
    "relu": torch.relu,
    "relu6": F.relu6,
    "mish": mish,
    "swish": F.silu,
    "hard_mish": lambda x: torch.where(
        x > 0, x, torch.where(x > -2, x * x / 2 + x, torch.zeros_like(x))
    ),
    "tanh": torch.tanh,
    "elu": F.elu,
    "selu": lambda x: 1.0507 * torch.where(x >= 0, x, 1.6732 * torch.expm1(x)),
    "gelu": lambda x: F.gelu(x, approximate="tanh"),
}


def tensor(array: np.ndarray):
    return torch.tensor(array, dtype=torch.float64, requires_grad=True)


def compare(
    tmp_path, sections, shape, reference, *, seed=0, layer=0, tolerance=2e-5, x=None, training=True
):
    """Runs cfg and reference(x, params of `layer`) and compares output and gradients."""
    rng = np.random.default_rng(seed)
    net = Net(tmp_path, sections, shape, training=training)
    net.randomize(rng)
    if x is None:
        x = rng.normal(0, 1, shape).astype(np.float32)
    layer %= net.layer_count
    params = {name: tensor(values) for name, values in net.params(layer).items()}
    wanted_in = tensor(x)
    wanted = reference(wanted_in, params)
    out = net.forward(x)
    close(out, wanted.detach().numpy().reshape(out.shape), tolerance)
    if not training:
        return net
    grad = rng.normal(0, 1, out.shape).astype(np.float32)
    (wanted * torch.tensor(grad, dtype=torch.float64).reshape(wanted.shape)).sum().backward()
    net.backward(grad)
    close(net.input_grad(), wanted_in.grad.numpy(), tolerance)
    grads = net.param_grads(layer)
    assert set(grads) == {n for n in params if n not in ("mean", "variance")}
    for name, values in grads.items():
        close(values, params[name].grad.numpy().ravel(), tolerance)
    # gradients add up
    net.backward(grad)
    for name, values in net.param_grads(layer).items():
        close(values, 2 * params[name].grad.numpy().ravel(), tolerance)
    return net


def normalized(z, p, training):
    """Darknet's batch normalisation: unbiased variance of the batch, or the rolling one."""
    axes = [0, 2, 3]
    count = z.numel() // z.shape[1]
    if training:
        mean = z.mean(axes)
        variance = ((z - mean.view(1, -1, 1, 1)) ** 2).sum(axes) / max(count - 1, 1)
    else:
        mean, variance = p["mean"], p["variance"]
    z = (z - mean.view(1, -1, 1, 1)) / torch.sqrt(variance.view(1, -1, 1, 1) + 1e-5)
    return z * p["scales"].view(1, -1, 1, 1) + p["biases"].view(1, -1, 1, 1)


def stage(z, p, activation, training):
    """What follows a product: batch normalisation or bias, activation."""
    z = normalized(z, p, training) if "scales" in p else z + p["biases"].view(1, -1, 1, 1)
    return ACTIVATIONS[activation](z)


CONVOLUTIONS = [
    # filters, size, stride_x, stride_y, padding, groups, dilation, (n, c, h, w)
    (5, 1, 1, 1, 0, 1, 1, (2, 3, 7, 5)),
    (7, 3, 1, 1, 1, 1, 1, (2, 5, 9, 11)),
    (4, 3, 2, 2, 1, 1, 1, (3, 3, 8, 13)),
    (6, 3, 2, 1, 0, 1, 1, (1, 4, 9, 6)),
    (6, 5, 1, 3, 2, 1, 1, (2, 2, 11, 8)),
    (8, 3, 1, 1, 1, 4, 1, (2, 8, 6, 7)),
    (6, 3, 2, 2, 1, 6, 1, (2, 6, 9, 9)),
    (10, 5, 1, 1, 2, 5, 1, (1, 5, 5, 17)),
    (4, 3, 1, 1, 2, 1, 2, (2, 3, 10, 9)),
    (3, 2, 2, 2, 0, 1, 1, (2, 3, 7, 7)),
    (17, 1, 1, 1, 0, 1, 1, (2, 33, 1, 3)),
    (3, 7, 3, 3, 3, 1, 1, (1, 2, 3, 19)),
]


def convolution_cfg(case, activation, norm):
    filters, size, stride_x, stride_y, padding, groups, dilation, _ = case
    return (
        f"[convolutional]\nfilters={filters}\nsize={size}\nstride_x={stride_x}\n"
        f"stride_y={stride_y}\npadding={padding}\ngroups={groups}\ndilation={dilation}\n"
        f"activation={activation}\nbatch_normalize={norm}\n"
    )


def convolution(case, activation, training):
    filters, size, stride_x, stride_y, padding, groups, dilation, (_, c, _, _) = case

    def run(x, p):
        weights = p["weights"].view(filters, c // groups, size, size)
        strides = (stride_y, stride_x)
        z = F.conv2d(x, weights, None, strides, padding, dilation, groups)
        return stage(z, p, activation, training)

    return run


@pytest.mark.parametrize("norm", [0, 1])
@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
def test_convolutional(tmp_path, case, norm):
    cfg = convolution_cfg(case, "leaky", norm)
    compare(tmp_path, cfg, case[-1], convolution(case, "leaky", True))
    compare(tmp_path, cfg, case[-1], convolution(case, "leaky", False), training=False)


@pytest.mark.parametrize("norm", [0, 1])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_convolutional_activations(tmp_path, activation, norm):
    case = (6, 3, 1, 1, 1, 1, 1, (2, 3, 7, 9))
    reference = convolution(case, activation, True)
    compare(tmp_path, convolution_cfg(case, activation, norm), case[-1], reference)


def test_convolutional_pad_flag(tmp_path):
    cfg = "[conv]\nfilters=2\nsize=5\npad=1\npadding=7\nactivation=linear\n"
    case = (2, 5, 1, 1, 2, 1, 1, (1, 2, 6, 5))
    compare(tmp_path, cfg, case[-1], convolution(case, "linear", True))
    cfg = "[conv]\nfilters=2\nsize=3\npad=1\ndilation=3\nactivation=linear\n"
    case = (2, 3, 1, 1, 3, 1, 3, (1, 2, 9, 8))
    compare(tmp_path, cfg, case[-1], convolution(case, "linear", True))


def test_rolling_statistics(tmp_path):
    rng = np.random.default_rng(3)
    cfg = "[convolutional]\nfilters=3\nsize=1\nactivation=linear\nbatch_normalize=1\n"
    net = Net(tmp_path, cfg, (2, 2, 3, 5), training=True)
    net.randomize(rng)
    p = {name: values.copy() for name, values in net.params(0).items()}
    x = rng.normal(1, 2, (2, 2, 3, 5)).astype(np.float32)
    net.forward(x)
    z = np.einsum("oc,nchw->nohw", p["weights"].reshape(3, 2).astype(np.float64), x)
    close(net.param(0, "mean"), 0.99 * p["mean"] + 0.01 * z.mean((0, 2, 3)))
    close(net.param(0, "variance"), 0.99 * p["variance"] + 0.01 * z.var((0, 2, 3), ddof=1))


def test_one_value_a_channel(tmp_path):
    """N = 1: the unbiased variance would divide by zero."""
    cfg = "[convolutional]\nfilters=3\nsize=1\nactivation=linear\nbatch_normalize=1\n"
    case = (3, 1, 1, 1, 0, 1, 1, (1, 2, 1, 1))
    compare(tmp_path, cfg, case[-1], convolution(case, "linear", True))


DECONVOLUTIONS = [
    # filters, size, stride, padding, output_padding, (n, c, h, w)
    (3, 2, 2, 0, 0, (2, 4, 5, 3)),
    (5, 4, 2, 1, 0, (2, 3, 4, 7)),
    (2, 3, 2, 1, 1, (1, 6, 5, 5)),
    (4, 3, 1, 1, 0, (2, 2, 6, 4)),
    (3, 5, 3, 2, 2, (1, 2, 3, 4)),
    (1, 1, 1, 0, 0, (3, 5, 2, 2)),
    (2, 7, 4, 3, 3, (1, 2, 1, 3)),
]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("norm", [0, 1])
@pytest.mark.parametrize("case", DECONVOLUTIONS, ids=str)
def test_deconvolutional(tmp_path, case, norm, training):
    filters, size, stride, padding, more, shape = case

    def reference(x, p):
        weights = p["weights"].view(shape[1], filters, size, size)
        z = F.conv_transpose2d(x, weights, None, stride, padding, more)
        return stage(z, p, "mish", training)

    cfg = (
        f"[deconvolutional]\nfilters={filters}\nsize={size}\nstride={stride}\npadding={padding}\n"
        f"output_padding={more}\nactivation=mish\nbatch_normalize={norm}\n"
    )
    compare(tmp_path, cfg, shape, reference, training=training)


@pytest.mark.parametrize("norm", [0, 1])
@pytest.mark.parametrize("shape", [(4, 3, 4, 5), (3, 7), (5, 1, 1, 1)], ids=str)
def test_connected(tmp_path, shape, norm):
    def reference(training):
        def run(x, p):
            flat = x.reshape(x.shape[0], -1)
            z = flat @ p["weights"].view(9, flat.shape[1]).T
            return stage(z.view(-1, 9, 1, 1), p, "swish", training)

        return run

    cfg = f"[connected]\noutput=9\nactivation=swish\nbatch_normalize={norm}\n"
    net = compare(tmp_path, cfg, shape, reference(True))
    names = ["biases", "weights", "scales", "mean", "variance"]
    assert list(net.params(0)) == (names if norm else names[:2])
    compare(tmp_path, cfg, shape, reference(False), training=False)


POOLS = [
    # size, stride_x, stride_y, padding (None: size - 1), (n, c, h, w)
    (2, 2, 2, None, (2, 3, 13, 13)),
    (2, 1, 1, None, (1, 4, 13, 7)),
    (5, 1, 1, None, (2, 2, 6, 9)),
    (13, 1, 1, None, (1, 2, 7, 5)),
    (3, 2, 2, None, (2, 2, 9, 8)),
    (3, 2, 1, 0, (2, 2, 9, 8)),
    (2, 2, 3, 1, (1, 3, 8, 11)),
    (1, 1, 1, None, (1, 1, 3, 3)),
]


def windows(x, case, fill):
    """x with Darknet's asymmetric padding, unfolded: (n, c, out_h, out_w, size * size)."""
    size, stride_x, stride_y, padding, _ = case
    padding = size - 1 if padding is None else padding
    before, after = padding // 2, padding - padding // 2
    padded = F.pad(x, (before, after, before, after), value=fill)
    return padded.unfold(2, size, stride_y).unfold(3, size, stride_x).flatten(-2)


def pool_cfg(name, case):
    size, stride_x, stride_y, padding, _ = case
    cfg = f"[{name}]\nsize={size}\nstride_x={stride_x}\nstride_y={stride_y}\n"
    return cfg if padding is None else cfg + f"padding={padding}\n"


@pytest.mark.parametrize("case", POOLS, ids=str)
def test_maxpool(tmp_path, case):
    def reference(x, _):
        return windows(x, case, -1e30).amax(-1)

    net = compare(tmp_path, pool_cfg("maxpool", case), case[-1], reference)
    if case[0] == 2 and case[3] is None:
        rows = case[-1][2]
        assert net.layer(0).h == (rows if case[2] == 1 else (rows + 1) // 2)


def test_maxpool_ties_go_to_the_first(tmp_path):
    net = Net(tmp_path, "[maxpool]\nsize=2\nstride=2\n", (1, 1, 2, 2), training=True)
    net.forward(np.ones((1, 1, 2, 2)))
    net.backward(np.full((1, 1, 1, 1), 3))
    assert net.input_grad().ravel().tolist() == [3, 0, 0, 0]


@pytest.mark.parametrize("case", POOLS, ids=str)
def test_local_avgpool(tmp_path, case):
    def reference(x, _):
        count = windows(torch.ones_like(x), case, 0.0).sum(-1)
        return windows(x, case, 0.0).sum(-1) / count

    compare(tmp_path, pool_cfg("local_avgpool", case), case[-1], reference)


def test_avgpool(tmp_path):
    compare(tmp_path, "[avgpool]\n", (3, 5, 7, 9), lambda x, _: x.mean((2, 3)))


@pytest.mark.parametrize("training", [True, False])
def test_batchnorm(tmp_path, training):
    net = compare(
        tmp_path,
        "[batchnorm]\n",
        (3, 5, 4, 7),
        lambda x, p: normalized(x, p, training),
        training=training,
    )
    assert list(net.params(0)) == ["biases", "scales", "mean", "variance"]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activation(tmp_path, activation):
    cfg = f"[activation]\nactivation={activation}\n"
    x = np.random.default_rng(1).normal(0, 4, (2, 3, 5, 7)).astype(np.float32)
    compare(tmp_path, cfg, x.shape, lambda x, _: ACTIVATIONS[activation](x), x=x)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_far_out(tmp_path, activation):
    """No overflow, no NaN; gelu and mish keep their digits."""
    x = np.array([-200, -90, -30, -21, -1e-3, 0.5, 21, 30, 90, 200], np.float32)
    x = x.reshape(1, 10, 1, 1)
    cfg = f"[activation]\nactivation={activation}\n"
    compare(tmp_path, cfg, x.shape, lambda x, _: ACTIVATIONS[activation](x), x=x)


def test_empty(tmp_path):
    compare(tmp_path, "[silence]\n", (2, 3, 2, 2), lambda x, _: x * 1)


@pytest.mark.parametrize("stride", [2, 3, -2])
def test_upsample(tmp_path, stride):
    def reference(x, _):
        if stride > 0:
            return 1.5 * x.repeat_interleave(stride, 2).repeat_interleave(stride, 3)
        return 1.5 * F.avg_pool2d(x, 2) * 4

    compare(tmp_path, f"[upsample]\nstride={stride}\nscale=1.5\n", (2, 3, 6, 4), reference)
