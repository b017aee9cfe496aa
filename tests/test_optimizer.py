"""Learning-rate policies against the published formulas, optimizers against PyTorch or NumPy."""

import math

import numpy as np
import pytest

import networks
from yolomask import DataError
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


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_serves_the_mask_stage(tmp_path, policy):
    """With mask_ before its keys it follows its formula, whatever [net]'s own say."""
    keys, formula = POLICIES[policy]
    own = "".join(f"mask_{row}\n" for row in (COMMON + keys).split())
    others = (
        "step=7\nscale=.3\npower=2\ngamma=.7\nlearning_rate_min=.5\nsgdr_cycle=9\nsgdr_mult=3\n"
    )
    network = make_network(tmp_path, own + others + "learning_rate=3\nmax_batches=77")
    for iteration in (1, 100, 300, 449, 450, 999):
        found = rate(network, iteration, lib.DN_STAGE_MASK)
        assert found == pytest.approx(formula(iteration), rel=1e-5)


def test_the_mask_stage_borrows_what_it_is_not_told(tmp_path):
    shared = "step=100\nscale=.5\nmask_policy=step\nmask_learning_rate=.01\nmask_max_batches=9"
    network = make_network(tmp_path, shared)
    assert rate(network, 250, lib.DN_STAGE_MASK) == pytest.approx(0.01 * 0.25, rel=1e-6)


class Training:
    """A network of one convolution, its optimizer, and views of the parameters and gradients."""

    def __init__(self, network, layer=0):
        self.network = network
        out = ffi.new("dn_optimizer **")
        check(lib.dn_optimizer_create(network, out))
        self.optimizer = ffi.gc(out[0], lib.dn_optimizer_free)
        info = [ffi.new("dn_param_info *") for _ in range(2)]
        for k in range(2):
            check(lib.dn_network_get_param(network, layer, k, info[k]))
        self.data, self.grad = (
            [self.view(getattr(p, name), p.count) for p in info] for name in ("data", "grad")
        )
        self.biases = info[0].count

    @staticmethod
    def view(pointer, count):
        return np.frombuffer(ffi.buffer(pointer, 4 * count), np.float32)

    @property
    def params(self):
        """Biases, then weights; a copy."""
        return np.concatenate(self.data)

    def step(self, grads, rate, batch=4):
        """One update by gradients summed over the batch."""
        self.grad[0][:], self.grad[1][:] = np.split(grads, [self.biases])
        check(lib.dn_optimizer_step(self.optimizer, self.network, rate, batch))
        assert not any(grad.any() for grad in self.grad), "a step must zero the gradients"

    def arrays(self):
        found = {}
        for k in range(lib.dn_optimizer_array_count(self.optimizer)):
            array = ffi.new("dn_optimizer_array *")
            check(lib.dn_optimizer_get_array(self.optimizer, k, array))
            found[ffi.string(array.name).decode()] = self.view(array.values, array.count)
        return found


def random_grads(seed=0, steps=10, count=3 + 54):
    return np.random.default_rng(seed).normal(size=(steps, count)).astype(np.float32)


def train_by_hand(network, grads, learning_rate, batch):
    """Runs one optimizer step a row of `grads` (steps, parameters); returns the parameters."""
    training = Training(network)
    start = training.params.astype(np.float64)
    for row in grads:
        training.step(row, learning_rate, batch)
    return start, training.params, training.biases


def test_sgd_follows_the_published_rule(tmp_path):
    network = make_network(tmp_path, "momentum=.9\ndecay=.01\nmax_batches=10")
    grads = random_grads()
    weights, found, biases = train_by_hand(network, grads, 0.05, 4)
    decay = np.where(np.arange(len(weights)) < biases, 0, 0.01)
    velocity = np.zeros_like(weights)
    for grad in grads.astype(np.float64):
        velocity = 0.9 * velocity + grad / 4 + decay * weights
        weights = weights - 0.05 * velocity
    np.testing.assert_allclose(found, weights, rtol=2e-5, atol=2e-6)


TORCH_OPTIMIZERS = {
    "SGD": ("momentum=.8\n", {"momentum": 0.8}),
    "Adam": ("adam=1\nB1=.85\nB2=.99\neps=1e-7\n", {"betas": (0.85, 0.99), "eps": 1e-7}),
    "AdamW": ("adamw=1\nB1=.85\nB2=.99\neps=1e-7\n", {"betas": (0.85, 0.99), "eps": 1e-7}),
}


@pytest.mark.parametrize("max_norm", [0, 1.5], ids=["free", "clipped"])
@pytest.mark.parametrize("name", TORCH_OPTIMIZERS)
def test_optimizers_equal_pytorch(tmp_path, name, max_norm):
    torch = pytest.importorskip("torch")
    keys, options = TORCH_OPTIMIZERS[name]
    network = make_network(tmp_path, f"{keys}decay=.02\nmax_grad_norm={max_norm}\nmax_batches=9")
    grads = random_grads(seed=1)
    grads[::3] *= 0.1  # these stay below the limit
    training = Training(network)
    start = training.params.astype(np.float64)
    groups = [torch.tensor(part) for part in np.split(start, [training.biases])]
    optimizer = getattr(torch.optim, name)(
        [{"params": [groups[0]], "weight_decay": 0}, {"params": [groups[1]], "weight_decay": 0.02}],
        lr=0.01,
        **options,
    )
    norms = []
    for row in grads:
        training.step(row, 0.01)
        for group, grad in zip(groups, np.split(row / 4.0, [training.biases]), strict=True):
            group.grad = torch.tensor(grad, dtype=torch.float64)
        norms.append(torch.nn.utils.clip_grad_norm_(groups, max_norm or math.inf).item())
        found = lib.dn_optimizer_grad_norm(training.optimizer)
        assert found == pytest.approx(norms[-1], rel=1e-6)
        optimizer.step()
    assert min(norms) < 1.5 < max(norms)
    moved = np.concatenate([group.numpy() for group in groups]) - start
    error = np.linalg.norm(training.params - start - moved) / np.linalg.norm(moved)
    assert error < 2e-6, error


def test_the_mask_stage_has_an_optimizer_of_its_own(root, tmp_path):
    text = (root / "cfg/yolomask-fastest.cfg").read_text()
    extra = "mask_adamw=1\nmask_ema_alpha=.99\nmask_max_grad_norm=1e-3\nadam=1\n"
    path = tmp_path / "net.cfg"
    path.write_text(text.replace("[net]\n", "[net]\n" + extra, 1))
    found = {}
    for stage in ("MASK", "DETECTOR"):
        options = {"training": True, "threads": 1, "batch": 1, "width": 64, "height": 64}
        options["stage"] = getattr(lib, f"DN_STAGE_{stage}")
        out = ffi.new("dn_network **")
        check(
            lib.dn_network_create(str(path).encode(), ffi.new("dn_network_options *", options), out)
        )
        network = ffi.gc(out[0], lib.dn_network_free)
        info = ffi.new("dn_network_info *")
        check(lib.dn_network_get_info(network, info))
        training = Training(network, info.layer_count - 2 if stage == "MASK" else 0)
        found[stage] = training.arrays()
        if stage == "MASK":
            training.grad[1][0] = 1
            before = training.data[1].copy()
            check(lib.dn_optimizer_step(training.optimizer, network, 0, 1))
            assert (training.data[1] == before).all()
            np.testing.assert_allclose(found[stage]["first moment"].max(), 1e-4, rtol=1e-5)
    assert list(found["MASK"]) == ["first moment", "second moment", "ema"]
    assert list(found["DETECTOR"]) == ["first moment", "second moment"]
    branch, whole = (len(found[stage]["first moment"]) for stage in ("MASK", "DETECTOR"))
    assert branch < whole / 2  # memory only for what trains


def test_ema_follows_its_formula(tmp_path):
    network = make_network(tmp_path, "ema_alpha=.6\nmomentum=0\ndecay=0\nmax_batches=10")
    training = Training(network)
    grads = random_grads(seed=2, steps=30)
    average = training.params.astype(np.float64)
    for t, row in enumerate(grads, 1):
        training.step(row, 0.05)
        keep = min(0.6, (1 + t) / (10 + t))
        average = keep * average + (1 - keep) * training.params
    ema = training.arrays()["ema"]
    np.testing.assert_allclose(ema, average, rtol=1e-5, atol=1e-6)
    params, ema = training.params, ema.copy()
    check(lib.dn_optimizer_swap_ema(training.optimizer, network))
    assert (training.params == ema).all() and (training.arrays()["ema"] == params).all()
    check(lib.dn_optimizer_swap_ema(training.optimizer, network))
    assert (training.params == params).all()


def test_ema_takes_the_statistics_along(tmp_path):
    """Batch normalisation's mean and variance have no gradient, but the average has them."""
    path = tmp_path / "net.cfg"
    path.write_text(NET.format(keys="ema_alpha=.5\nmax_batches=9") + "batch_normalize=1\n")
    net = networks.Net(path, training=True, batch=4, threads=1)
    out = ffi.new("dn_optimizer **")
    check(lib.dn_optimizer_create(net.handle, out))
    optimizer = ffi.gc(out[0], lib.dn_optimizer_free)
    average = np.concatenate(list(net.params(0).values())).astype(np.float64)
    rng = np.random.default_rng(4)
    for t in range(1, 20):
        net.train_forward(rng.normal(3, 2, (4, 2, 4, 5)), [[]] * 4)
        check(lib.dn_optimizer_step(optimizer, net.handle, 0.1, 4))
        keep = min(0.5, (1 + t) / (10 + t))
        average = keep * average + (1 - keep) * np.concatenate(list(net.params(0).values()))
    check(lib.dn_optimizer_swap_ema(optimizer, net.handle))
    found = np.concatenate(list(net.params(0).values()))
    np.testing.assert_allclose(found, average, rtol=1e-5, atol=1e-6)
    assert abs(net.params(0)["mean"]).min() > 0.01


def test_there_is_no_average_without_ema_alpha(tmp_path):
    training = Training(make_network(tmp_path, "max_batches=10"))
    assert list(training.arrays()) == ["momentum"]
    with pytest.raises(ValueError, match=r"net\.cfg: asks for no average.*ema_alpha"):
        check(lib.dn_optimizer_swap_ema(training.optimizer, training.network))
    with pytest.raises(ValueError, match=r"array 1: this optimizer has arrays 0\.\.0"):
        check(lib.dn_optimizer_get_array(training.optimizer, 1, ffi.new("dn_optimizer_array *")))


def test_arrays_and_steps_are_all_that_a_checkpoint_needs(tmp_path):
    keys = "adamw=1\nema_alpha=.9\nmax_grad_norm=1\nmax_batches=9"
    grads = random_grads(seed=3)
    through, second = (Training(make_network(tmp_path, keys)) for _ in range(2))
    for row in grads[:5]:
        through.step(row, 0.1)
    for to, values in zip(second.data, through.data, strict=True):
        to[:] = values
    for name, values in second.arrays().items():
        values[:] = through.arrays()[name]
    lib.dn_optimizer_set_steps(second.optimizer, lib.dn_optimizer_get_steps(through.optimizer))
    for row in grads[5:]:
        through.step(row, 0.1)
        second.step(row, 0.1)
    assert lib.dn_optimizer_get_steps(second.optimizer) == 10
    assert through.params.tobytes() == second.params.tobytes()
    for name, values in second.arrays().items():
        assert values.tobytes() == through.arrays()[name].tobytes(), name


def test_a_gradient_that_is_no_number_changes_nothing(tmp_path):
    training = Training(make_network(tmp_path, "adam=1\nema_alpha=.9\nmax_batches=9"))
    training.step(random_grads(steps=1)[0], 0.1)
    params = training.params
    arrays = {name: values.copy() for name, values in training.arrays().items()}
    for bad in (np.nan, np.inf):
        grads = random_grads(steps=1)[0]
        grads[20] = bad
        with pytest.raises(DataError, match=r"layer 0 \[convolutional\] \(weights\) is not a num"):
            training.step(grads, 0.1)
        assert (training.params == params).all()
        assert all((training.arrays()[name] == values).all() for name, values in arrays.items())
    assert lib.dn_optimizer_get_steps(training.optimizer) == 1


@pytest.mark.parametrize("key", ["dont_update=1", "train_only_bn=1"])
def test_what_is_not_updated_counts_for_no_norm(tmp_path, key):
    path = tmp_path / "net.cfg"
    path.write_text(NET.format(keys="max_batches=9\nmax_grad_norm=1") + key)
    net = networks.Net(path, training=True, threads=1)
    training = Training(net.handle)
    grads = np.full(57, 4.0, np.float32)
    before = training.params
    training.step(grads, 1.0)
    updated = 0 if key.startswith("dont") else 3
    norm = lib.dn_optimizer_grad_norm(training.optimizer)
    assert norm == pytest.approx(math.sqrt(updated))
    assert ((training.params != before) == (np.arange(57) < updated)).all()


@pytest.mark.parametrize("keys", ["", "adamw=1\n"])
def test_any_number_of_threads_gives_the_same_bits(tmp_path, keys):
    """One layer of 64 x 64 x 9 weights: more than one block of the norm, and of the loops."""
    text = NET.format(keys=keys + "ema_alpha=.9\nmax_grad_norm=.7\nmax_batches=9")
    text = text.replace("channels=2", "channels=64").replace("filters=3", "filters=64")
    path = tmp_path / "net.cfg"
    path.write_text(text)
    found = []
    for threads in (1, 2, 3):
        training = Training(networks.Net(path, training=True, threads=threads, seed=3).handle)
        for row in random_grads(seed=5, steps=3, count=64 * 64 * 9 + 64):
            training.step(row, 0.1)
        arrays = [training.params, *training.arrays().values()]
        found.append([array.tobytes() for array in arrays])
    assert found[0] == found[1] == found[2]


def test_steps_need_as_many_scales(tmp_path):
    network = make_network(tmp_path, COMMON + "policy=steps\nsteps=10,20\nscales=.1")
    with pytest.raises(Exception, match="steps has 2 values, scales has 1"):
        rate(network, 1)
