"""Every layer, forward and all gradients, against PyTorch in float64 on random shapes.

Each case is a cfg section, input shapes and the same function written with torch; the gradient of
a random projection of the output is compared for the input and every parameter.
"""

from __future__ import annotations

import numpy as np
import pytest

from layer_harness import Expectation, Net, close, draw, meet

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


def compare(tmp_path, sections, shape, reference, *, x=None, training=True, tolerance=2e-5):
    """Holds a one-section cfg against reference(x, params), forward and backward."""

    def behind(x, params):
        return reference(x, {name: values for (_, name), values in params.items()})

    return compare_network(tmp_path, sections, shape, behind, x, training, tolerance)


def compare_network(tmp_path, sections, shape, reference, x=None, training=True, tolerance=3e-5):
    """The same for any cfg: reference(x, {(layer, name): values})."""
    rng = np.random.default_rng(5)
    drawn = Net(tmp_path, sections, shape)
    drawn.randomize(rng)
    names = [(i, name) for i in range(drawn.layer_count) for name in drawn.params(i)]
    params = {(i, name): drawn.params(i)[name].copy() for i, name in names}
    x = draw(rng, shape) if x is None else x
    wanted_in, wanted_params = tensor(x), {key: tensor(v) for key, v in params.items()}
    out = reference(wanted_in, wanted_params)
    wanted = Expectation(sections, x, params, out.detach().numpy(), tolerance)
    if training:
        wanted.grad = draw(rng, out.shape)
        (out * torch.tensor(wanted.grad, dtype=torch.float64)).sum().backward()
        wanted.input_grad = wanted_in.grad.numpy()
        for key, values in wanted_params.items():
            if key[1] not in ("mean", "variance"):
                unused = values.grad is None  # a branch that nothing reads
                wanted.param_grads[key] = np.zeros(values.shape) if unused else values.grad.numpy()
    return meet(tmp_path, wanted)


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
    close(net.params(0)["mean"], 0.99 * p["mean"] + 0.01 * z.mean((0, 2, 3)))
    close(net.params(0)["variance"], 0.99 * p["variance"] + 0.01 * z.var((0, 2, 3), ddof=1))


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


@pytest.mark.parametrize("case", [*POOLS, (3, 2, 2, None, (1, 2, 70, 71))], ids=str)
def test_maxpool_takes_the_first_maximum_with_its_bits(tmp_path, isa, case):
    """Equal values, both zeros, infinities and NaN, which stays where it is a window's first."""
    rng = np.random.default_rng(3)
    some = np.float32([-np.inf, -3, -0.0, 0.0, 2, 2.5, np.nan])
    for share in ([0.3, 0.2, 0.2, 0.2, 0.1, 0, 0], [0.1, 0.2, 0.1, 0.1, 0.1, 0.2, 0.2]):
        x = rng.choice(some, case[-1], p=share)
        hint = "a" if share[-1] else "b"
        (tmp_path / hint).mkdir()
        net = Net(tmp_path / hint, pool_cfg("maxpool", case), case[-1], training=True)
        out = net.forward(x)
        cells = windows(torch.tensor(x), case, torch.inf).numpy()
        outside = windows(torch.zeros(case[-1]), case, 1.0).numpy() == 1
        most, empty = np.full(out.shape, -np.finfo(np.float32).max), np.ones(out.shape, bool)
        first = np.zeros(out.shape, int)
        for k in range(cells.shape[-1]):
            value, inside = cells[..., k], ~outside[..., k]
            with np.errstate(invalid="ignore"):
                better = inside & (empty | (value > most))
            most, first = np.where(better, value, most), np.where(better, k, first)
            empty &= ~inside
        np.testing.assert_array_equal(np.isnan(out), np.isnan(most))
        known = ~np.isnan(most)
        assert out[known].tobytes() == most[known].astype(np.float32).tobytes()
        net.backward(np.arange(1, out.size + 1).reshape(out.shape))  # whole numbers: exact sums
        at = windows(torch.arange(x.size).reshape(x.shape).double(), case, -1.0).numpy()
        at = np.take_along_axis(at, first[..., None], -1)[..., 0].astype(int)
        wanted = np.zeros(x.size)
        np.add.at(wanted, at[~empty], np.arange(1, out.size + 1).reshape(out.shape)[~empty])
        np.testing.assert_array_equal(net.input_grad().ravel(), wanted)


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


def reorg_index(c, h, w, s):
    """Darknet's mapping: the flat index read for each flat index of the walked (c, h, w)."""
    index = np.empty(c * h * w, np.int64)
    for k in range(c):
        for j in range(h):
            for i in range(w):
                c2, off = k % (c // s**2), k // (c // s**2)
                x2, y2 = i * s + off % s, j * s + off // s
                index[i + w * (j + h * k)] = x2 + w * s * (y2 + h * s * c2)
    return index


def test_reorg(tmp_path):
    shape, s = (2, 8, 4, 6), 2
    index = torch.tensor(reorg_index(8, 4, 6, s))

    def forward(x, _):
        return x.flatten(1)[:, index].view(2, 32, 2, 3)

    def reverse(x, _):
        inverse = torch.empty_like(index)
        inverse[index] = torch.arange(index.numel())
        return x.flatten(1)[:, inverse].view(2, 2, 8, 12)

    compare(tmp_path, "[reorg]\nstride=2\n", shape, forward)
    compare(tmp_path, "[reorg]\nstride=2\nreverse=1\n", shape, reverse)


def space_to_depth(x, s):
    n, c, h, w = x.shape
    parts = x.reshape(n, c, h // s, s, w // s, s).permute(0, 3, 5, 1, 2, 4)
    return parts.reshape(n, c * s * s, h // s, w // s)


def test_reorg3d(tmp_path):
    shape = (2, 3, 6, 9)
    compare(tmp_path, "[reorg3d]\nstride=3\n", shape, lambda x, _: space_to_depth(x, 3))
    x = np.random.default_rng(2).normal(size=(2, 8, 4, 6)).astype(np.float32)
    net = Net(tmp_path, "[reorg3d]\nstride=2\nreverse=1\n[reorg3d]\nstride=2\n", x.shape)
    assert np.array_equal(net.forward(x), x)
    assert net.output(0).shape == (2, 2, 8, 12)


def test_reorg_is_not_space_to_depth(tmp_path):
    x = np.arange(8 * 4 * 4, dtype=np.float32).reshape(1, 8, 4, 4)
    old = Net(tmp_path, "[reorg]\nstride=2\n", x.shape).forward(x)
    new = Net(tmp_path, "[reorg3d]\nstride=2\n", x.shape).forward(x)
    assert old.shape == new.shape and not np.array_equal(old, new)


# A layer with several inputs stands behind these; all of them see the same input x.
BRANCH = "[convolutional]\nfilters={c}\nsize={size}\nstride={stride}\npad=1\nactivation=linear\n"


def branches(*specs):
    """Convolutions on the net's input through [route]s: cfg text; layer k's output is 2k."""
    text = ["[empty]\n"]
    for c, size, stride in specs:
        text.append("[route]\nlayers=0\n" + BRANCH.format(c=c, size=size, stride=stride))
    return "".join(text)


def convolved(x, params, layer, size=1, stride=1):
    """The linear convolution that is layer `layer`."""
    weights = params[layer, "weights"].view(-1, x.shape[1], size, size)
    return F.conv2d(x, weights, params[layer, "biases"], stride, size // 2)


def compare_behind(tmp_path, specs, section, reference, shape=(2, 3, 8, 6)):
    """As compare, for a section behind branches: reference(branch outputs, own parameters)."""

    def whole(x, params):
        own = {name: v for (layer, name), v in params.items() if layer == 2 * len(specs) + 1}
        outs = [
            convolved(x, params, 2 * k + 2, size, stride)
            for k, (_, size, stride) in enumerate(specs)
        ]
        return reference(outs, own)

    return compare_network(tmp_path, branches(*specs) + section, shape, whole)


@pytest.mark.parametrize("groups", [1, 2])
def test_route(tmp_path, groups):
    def reference(outs, _):
        picked = [o[:, (groups - 1) * o.shape[1] // groups :] for o in outs]
        return torch.cat([picked[1], picked[0], picked[1]], 1)

    section = f"[route]\nlayers=4,-3,-1\ngroups={groups}\ngroup_id={groups - 1}\n"
    net = compare_behind(tmp_path, [(4, 1, 1), (6, 3, 1)], section, reference)
    assert net.layer(-1).c == 16 // groups


SAME = [(5, 1, 1), (5, 3, 1), (5, 1, 1)]


@pytest.mark.parametrize("activation", ["linear", "leaky", "mish"])
def test_shortcut(tmp_path, activation):
    section = f"[shortcut]\nfrom=-3\nactivation={activation}\nalpha=.5\nbeta=-2\n"

    def reference(outs, _):
        return ACTIVATIONS[activation](0.5 * outs[2] - 2 * outs[1])

    compare_behind(tmp_path, SAME, section, reference)


def test_shortcut_list(tmp_path):
    section = "[shortcut]\nfrom=2,-3,4\n"
    compare_behind(tmp_path, SAME, section, lambda o, _: o[2] + o[0] + 2 * o[1])


def normalized_weights(weights, kind):
    """(inputs, columns), normalised over the inputs."""
    if kind in ("relu", "avg_relu"):
        positive = torch.relu(weights)
        return positive / (positive.sum(0) + 1e-4)
    if kind == "softmax":
        e = torch.exp(weights - weights.amax(0))
        return e / (e.sum(0) + 1e-4)
    return weights


@pytest.mark.parametrize("kind", ["none", "relu", "avg_relu", "softmax"])
@pytest.mark.parametrize("weights", ["per_feature", "per_layer", "per_channel"])
def test_shortcut_weights(tmp_path, weights, kind):
    section = (
        f"[shortcut]\nfrom=-3,2\nweights_type={weights}\nweights_normalization={kind}\n"
        "activation=swish\n"
    )

    def reference(outs, p):
        w = normalized_weights(p["weights"].view(3, -1), kind)
        w = w.expand(3, 5).reshape(3, 1, 5, 1, 1)
        return F.silu(w[0] * outs[2] + w[1] * outs[1] + w[2] * outs[0])

    net = compare_behind(tmp_path, SAME, section, reference)
    assert net.params(-1)["weights"].size == (15 if weights == "per_channel" else 3)


@pytest.mark.parametrize("other", [3, 8])
def test_shortcut_of_other_channels(tmp_path, other):
    def reference(outs, _):
        both = min(5, other)
        return outs[1] + F.pad(outs[0][:, :both], (0, 0, 0, 0, 0, 5 - both))

    specs = [(other, 3, 1), (5, 1, 1)]
    compare_behind(tmp_path, specs, "[shortcut]\nfrom=-3\n", reference)


def test_shortcut_from_larger(tmp_path):
    """The other layer is twice as large: every second pixel counts."""
    specs = [(4, 1, 1), (5, 3, 2)]

    def reference(outs, _):
        return outs[1] + F.pad(outs[0][:, :, ::2, ::2], (0, 0, 0, 0, 0, 1))

    compare_behind(tmp_path, specs, "[shortcut]\nfrom=-3\n", reference)


def test_shortcut_from_smaller(tmp_path):
    """The other layer is half as large: it lands on every second pixel."""
    specs = [(5, 3, 2), (5, 1, 1)]

    def reference(outs, _):
        spread = torch.zeros_like(outs[1])
        spread[:, :, ::2, ::2] = outs[0]
        return outs[1] + spread

    compare_behind(tmp_path, specs, "[shortcut]\nfrom=2\n", reference)


@pytest.mark.parametrize("activation", ["linear", "logistic", "mish"])
def test_scale_channels(tmp_path, activation):
    section = (
        f"[avgpool]\n[convolutional]\nfilters=5\n"
        f"[scale_channels]\nfrom=2\nactivation={activation}\n"
    )

    def reference(x, params):
        pooled = convolved(x, params, 4).mean((2, 3), keepdim=True)
        scales = torch.sigmoid(convolved(pooled, params, 6))
        return ACTIVATIONS[activation](convolved(x, params, 2, 3) * scales)

    compare_network(tmp_path, branches((5, 3, 1), (3, 1, 1)) + section, (2, 3, 6, 7), reference)


def test_scale_channels_by_pixel(tmp_path):
    section = "[scale_channels]\nfrom=2\nscale_wh=1\nactivation=leaky\n"
    compare_behind(
        tmp_path, [(5, 3, 1), (1, 3, 1)], section, lambda o, _: F.leaky_relu(o[0] * o[1], 0.1)
    )


@pytest.mark.parametrize("activation", ["linear", "swish"])
def test_sam(tmp_path, activation):
    section = f"[sam]\nfrom=-3\nactivation={activation}\n"
    compare_behind(
        tmp_path, [(5, 3, 1), (5, 1, 1)], section, lambda o, _: ACTIVATIONS[activation](o[0] * o[1])
    )


def test_dropout(tmp_path):
    x = np.random.default_rng(0).normal(3, 1, (4, 8, 20, 20)).astype(np.float32)
    net = Net(tmp_path, "[dropout]\nprobability=.3\n", x.shape, training=True)
    out = net.learn(x, iteration=7)
    kept = out != 0
    close(out[kept], x[kept] / 0.7)
    assert abs(kept.mean() - 0.7) < 0.015  # 12,800 draws: three standard deviations are .012
    net.backward(x)
    close(net.input_grad(), x * kept / 0.7)
    assert np.array_equal(out, net.learn(x, iteration=7))
    other = net.learn(x, iteration=8) != 0
    assert abs((other == kept).mean() - 0.58) < 0.02
    still = Net(tmp_path, "[dropout]\nprobability=.3\n", x.shape)
    assert np.array_equal(still.forward(x), x)


def train_and_compare(tmp_path, cfg, x, values, loss, factor=1.0):
    """The layer's loss a image and, `factor` times its gradient, the input's."""
    net = Net(tmp_path, cfg, x.shape, training=True)
    net.learn(x, values)
    wanted_in = tensor(x)
    wanted = loss(wanted_in, torch.tensor(values.astype(np.float64)))
    wanted.backward()
    assert net.layer(-1).loss == pytest.approx(float(wanted.detach()) / x.shape[0], rel=1e-5)
    net.backward()
    close(net.input_grad(), factor * wanted_in.grad.numpy(), 2e-5)
    return net


@pytest.mark.parametrize("temperature", [1, 2.5])
@pytest.mark.parametrize("spatial", [0, 1])
@pytest.mark.parametrize("groups", [1, 3])
def test_softmax(tmp_path, groups, spatial, temperature):
    shape = (2, 6, 3, 5)
    cfg = f"[softmax]\ngroups={groups}\nspatial={spatial}\ntemperature={temperature}\n"

    def softmax(x):
        if spatial:
            return torch.softmax(x.view(2, groups, -1, 3, 5) / temperature, 2).view(shape)
        return torch.softmax(x.view(2, groups, -1) / temperature, 2).view(shape)

    compare(tmp_path, cfg, shape, lambda x, _: softmax(x))
    compare(tmp_path, cfg + "noloss=1\n", shape, lambda x, _: softmax(x))
    rng = np.random.default_rng(1)
    x = rng.normal(0, 3, shape).astype(np.float32)
    values = (rng.uniform(size=shape) < 0.2).astype(np.float32)
    train_and_compare(tmp_path, cfg, x, values, lambda x, t: -(t * softmax(x).log()).sum())


def test_softmax_of_large_values(tmp_path):
    x = np.array([1000, 0, -1000], np.float32).reshape(1, 3, 1, 1)
    net = Net(tmp_path, "[softmax]\n", x.shape, training=True)
    out = net.learn(x, np.array([0, 0, 1]))
    assert out.ravel().tolist() == [1, 0, 0] and np.isfinite(net.layer(-1).loss)


def test_softmax_without_truth_has_no_loss(tmp_path):
    x = np.ones((2, 3, 1, 1), np.float32)
    net = Net(tmp_path, "[softmax]\n", x.shape, training=True)
    net.learn(x)
    net.backward()
    assert net.layer(-1).loss == 0 and not net.input_grad().any()


def test_logistic(tmp_path):
    shape = (2, 3, 4, 5)
    compare(tmp_path, "[logistic]\n", shape, lambda x, _: torch.sigmoid(x))
    rng = np.random.default_rng(1)
    x = rng.normal(0, 5, shape).astype(np.float32)
    x[0, 0, 0, :2] = [-150, 150]
    values = rng.uniform(size=shape).astype(np.float32)
    loss = torch.nn.BCEWithLogitsLoss(reduction="sum")
    train_and_compare(tmp_path, "[logistic]\n", x, values, loss)


COSTS = {
    "sse": (lambda x, t: ((x - t) ** 2).sum(), 0.5),
    "masked": (lambda x, t: ((x - t) ** 2)[t != -1234].sum(), 0.5),
    "smooth": (lambda x, t: 2 * F.smooth_l1_loss(x, t, reduction="sum"), 0.5),
    "L1": (lambda x, t: (x - t).abs().sum(), 1.0),
}


@pytest.mark.parametrize("scale", [1, 0.3])
@pytest.mark.parametrize("kind", COSTS)
def test_cost(tmp_path, kind, scale):
    """Darknet's gradient of a square is half the true one; published learning rates count on it."""
    rng = np.random.default_rng(1)
    x = rng.normal(0, 2, (3, 4, 2, 5)).astype(np.float32)
    values = rng.normal(0, 2, x.shape).astype(np.float32)
    if kind == "masked":
        values[rng.uniform(size=x.shape) < 0.3] = -1234
    loss, factor = COSTS[kind]
    cfg = f"[cost]\ntype={kind}\nscale={scale}\n"
    net = train_and_compare(tmp_path, cfg, x, values, lambda x, t: scale * loss(x, t), factor)
    assert np.array_equal(net.output(-1), x)
    grad = rng.normal(size=x.shape).astype(np.float32)
    net = Net(tmp_path, cfg, x.shape, training=True)
    net.forward(x)
    net.backward(grad)
    assert np.array_equal(net.input_grad(), grad)


def test_crop_of_the_middle(tmp_path):
    x = np.random.default_rng(1).uniform(size=(2, 3, 9, 8)).astype(np.float32)
    cfg = "[crop]\ncrop_height=4\ncrop_width=5\nflip=1\n"
    middle = x[:, :, 2:6, 1:6]
    close(Net(tmp_path, cfg, x.shape).forward(x), 2 * middle - 1)
    assert np.array_equal(Net(tmp_path, cfg + "noadjust=1\n", x.shape).forward(x), middle)


def test_crop_in_training(tmp_path):
    """Every image gets a part of itself, mirrored or not; all places turn up."""
    x = np.arange(4 * 6 * 5, dtype=np.float32).reshape(4, 1, 6, 5)
    cfg = "[crop]\ncrop_height=4\ncrop_width=3\nflip=1\nnoadjust=1\n"
    net = Net(tmp_path, cfg, x.shape, training=True)
    places = set()
    for iteration in range(60):
        out = net.learn(x, iteration=iteration)
        net.backward(out)
        grad = net.input_grad()
        for image in range(4):
            found = [
                (y, left, flip)
                for y in range(3)
                for left in range(3)
                for flip in (1, -1)
                if np.array_equal(x[image, 0, y : y + 4, left : left + 3][:, ::flip], out[image, 0])
            ]
            assert len(found) == 1
            places.add(found[0])
            y, left, _ = found[0]
            wanted = np.zeros((6, 5))
            wanted[y : y + 4, left : left + 3] = x[image, 0, y : y + 4, left : left + 3]
            assert np.array_equal(grad[image, 0], wanted)
    assert len(places) == 18
