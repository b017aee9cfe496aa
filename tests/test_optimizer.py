"""Learning-rate policies against the published formulas, optimizers against PyTorch or NumPy."""

import math

import numpy as np
import pytest

from yolomask._native import check, ffi, lib

NET = """[net]
width=5
height=4
channels=2
batch=4
{keys}
[convolutional]
filters=3
size=3
pad=1
activation=linear
"""


def make_network(tmp_path, keys, training=True):
    path = tmp_path / "net.cfg"
    path.write_text(NET.format(keys=keys))
    options = ffi.new("dn_network_options *", {"training": training, "threads": 1, "seed": 3})
    out = ffi.new("dn_network **")
    check(lib.dn_network_create(str(path).encode(), options, out))
    return ffi.gc(out[0], lib.dn_network_free)


def rate(network, iteration, stage=None):
    out = ffi.new("float *")
    stage = lib.DN_STAGE_ALL if stage is None else stage
    check(lib.dn_network_rate(network, stage, iteration, out))
    return out[0]


def share_of_cycle(t, length=100):
    """Cycles of 100, 200, 400, ... iterations: how much of its cycle t has behind it."""
    while t >= length:
        t, length = t - length, 2 * length
    return t / length


COMMON = "learning_rate=.001\nmax_batches=1000\n"
POLICIES = {
    "constant": ("policy=constant", lambda t: 0.001),
    "step": ("policy=step\nstep=100\nscale=.5", lambda t: 0.001 * 0.5 ** (t // 100)),
    "steps": (
        "policy=steps\nsteps=400,450\nscales=.1,.1",
        lambda t: 0.001 * (0.1 if t >= 400 else 1) * (0.1 if t >= 450 else 1),
    ),
    "exp": ("policy=exp\ngamma=.99", lambda t: 0.001 * 0.99**t),
    "poly": ("policy=poly\npower=4", lambda t: 0.001 * (1 - t / 1000) ** 4),
    "sigmoid": (
        "policy=sigmoid\ngamma=.02\nstep=300",
        lambda t: 0.001 / (1 + math.exp(0.02 * (t - 300))),
    ),
    "cosine": (
        "policy=cosine\nlearning_rate_min=.0001",
        lambda t: 0.0001 + 0.5 * 0.0009 * (1 + math.cos(math.pi * t / 1000)),
    ),
    "sgdr": (
        "policy=sgdr\nlearning_rate_min=.0001\nsgdr_cycle=100\nsgdr_mult=2",
        lambda t: 0.0001 + 0.5 * 0.0009 * (1 + math.cos(math.pi * share_of_cycle(t))),
    ),
}


@pytest.mark.parametrize("policy", POLICIES)
def test_policies_follow_their_formulas(tmp_path, policy):
    keys, formula = POLICIES[policy]
    network = make_network(tmp_path, COMMON + keys)
    for iteration in (1, 50, 99, 100, 101, 299, 300, 399, 400, 449, 450, 699, 999):
        assert rate(network, iteration) == pytest.approx(formula(iteration), rel=1e-5)


def test_burn_in_overrides_the_policy(tmp_path):
    network = make_network(tmp_path, "learning_rate=.001\nmax_batches=5000\nburn_in=1000\npower=4")
    assert rate(network, 500) == pytest.approx(6.25e-5, rel=1e-6)
    assert rate(network, 1000) == pytest.approx(1e-3, rel=1e-6)


def test_the_mask_stage_has_a_schedule_of_its_own(tmp_path):
    keys = COMMON + "mask_learning_rate=.01\nmask_max_batches=20\nmask_policy=cosine"
    network = make_network(tmp_path, keys + "\nlearning_rate_min=0")
    assert rate(network, 10, lib.DN_STAGE_MASK) == pytest.approx(0.005, rel=1e-5)


def train_by_hand(network, grads, learning_rate, batch):
    """Runs one optimizer step a row of `grads` (steps, parameters); returns the parameters."""
    out = ffi.new("dn_optimizer **")
    check(lib.dn_optimizer_create(network, out))
    optimizer = ffi.gc(out[0], lib.dn_optimizer_free)
    info = [ffi.new("dn_param_info *") for _ in range(2)]
    for k in range(2):
        check(lib.dn_network_get_param(network, 0, k, info[k]))
    views = [
        (
            np.frombuffer(ffi.buffer(p.data, 4 * p.count), np.float32),
            np.frombuffer(ffi.buffer(p.grad, 4 * p.count), np.float32),
        )
        for p in info
    ]
    start = np.concatenate([data for data, _ in views]).astype(np.float64)
    for row in grads:
        offset = 0
        for _, grad in views:
            grad[:] = row[offset : offset + len(grad)]
            offset += len(grad)
        lib.dn_optimizer_step(optimizer, network, learning_rate, batch)
    assert not any(grad.any() for _, grad in views), "a step must zero the gradients"
    return start, np.concatenate([data for data, _ in views]), len(views[0][0])


def test_sgd_follows_the_published_rule(tmp_path):
    network = make_network(tmp_path, "momentum=.9\ndecay=.01\nmax_batches=10")
    rng = np.random.default_rng(0)
    grads = rng.normal(size=(10, 3 + 54)).astype(np.float32)
    weights, found, biases = train_by_hand(network, grads, 0.05, 4)
    decay = np.where(np.arange(len(weights)) < biases, 0, 0.01)
    velocity = np.zeros_like(weights)
    for grad in grads.astype(np.float64):
        velocity = 0.9 * velocity + grad / 4 + decay * weights
        weights = weights - 0.05 * velocity
    np.testing.assert_allclose(found, weights, rtol=2e-5, atol=2e-6)


def test_adam_equals_pytorch(tmp_path):
    torch = pytest.importorskip("torch")
    network = make_network(tmp_path, "adam=1\nB1=.9\nB2=.999\neps=1e-7\ndecay=.01\nmax_batches=10")
    rng = np.random.default_rng(1)
    grads = rng.normal(size=(10, 3 + 54)).astype(np.float32)
    weights, found, biases = train_by_hand(network, grads, 0.01, 4)
    groups = [torch.tensor(weights[:biases]), torch.tensor(weights[biases:])]
    optimizer = torch.optim.Adam(
        [
            {"params": [groups[0]], "weight_decay": 0},
            {"params": [groups[1]], "weight_decay": 0.01},
        ],
        lr=0.01,
        eps=1e-7,
    )
    for grad in grads.astype(np.float64):
        groups[0].grad = torch.tensor(grad[:biases] / 4)
        groups[1].grad = torch.tensor(grad[biases:] / 4)
        optimizer.step()
    wanted = np.concatenate([group.numpy() for group in groups])
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_steps_need_as_many_scales(tmp_path):
    network = make_network(tmp_path, COMMON + "policy=steps\nsteps=10,20\nscales=.1")
    with pytest.raises(Exception, match="steps has 2 values, scales has 1"):
        rate(network, 1)
