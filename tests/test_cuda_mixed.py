"""Products of rounded factors on the device "cuda", and the scale of the loss that half precision
needs.

host-cuda rounds as tensor cores do (tests/host_cuda/rounding.h): there results equal NumPy's, with
factors rounded by its float16; on a GPU, whose cuBLAS may choose, they are near.
"""

from __future__ import annotations

import os

import numpy as np
import pytest

from layer_harness import Net as LayerNet
from networks import Net
from roi_support import Truths
from test_cuda_layers import NO_CUDA
from test_cuda_network import DETECTOR, gradients, objects, pictures, randomize
from test_cuda_training import FINAL, Bench, losses
from test_mask_branch import SIZE, branch_cfg, three_images
from test_mask_branch import backward as branch_backward
from yolomask import DataError
from yolomask._native import check, ffi, lib

pytestmark = pytest.mark.skipif(bool(NO_CUDA), reason=NO_CUDA)

ON_HOST = "host-cuda" in os.environ.get("YOLOMASK_LIBRARY", "")
rounds_surely = pytest.mark.skipif(
    not ON_HOST, reason="a real GPU: cuBLAS may multiply small matrices in float32"
)
F32, TF32, F16 = lib.DN_PRODUCTS_F32, lib.DN_PRODUCTS_TF32, lib.DN_PRODUCTS_F16
FIRST = 1024


def rounded(values: np.ndarray, products: int) -> np.ndarray:
    if products == F16:
        return values.astype(np.float16).astype(np.float64)
    if products == TF32:  # 10 bits behind the point: half precision's, with float32's exponents
        exponents = np.floor(np.log2(np.abs(values, dtype=np.float64)))
        steps = 2.0 ** (exponents - 10)
        return np.round(values / steps) * steps
    return values.astype(np.float64)


ONE = "[net]\nwidth=3\nheight=2\nchannels=5\n{}"
LAYERS = {
    "convolution": "[convolutional]\nfilters=4\nsize=1\nactivation=linear\n",
    "connected": "[connected]\noutput=4\nactivation=linear\n",
    "deconvolution": "[deconvolutional]\nfilters=4\nsize=1\nstride=1\nactivation=linear\n",
}


@pytest.mark.parametrize("products", [F32, TF32, F16])
@pytest.mark.parametrize("name", LAYERS)
def test_factors_are_rounded_and_nothing_else(name, products):
    net = Net(ONE.format(LAYERS[name]), device=b"cuda", training=True, products=products, batch=2)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2, 5, 2, 3)).astype(np.float32)
    parameters = net.params(0)
    parameters["weights"][:] = weights = rng.normal(size=parameters["weights"].size)
    lib.dn_network_touch(net.handle)
    data = net._set_input(x)
    check(lib.dn_network_train_forward(net.handle, data, 2, ffi.NULL, 0))
    out = net.output(0)
    grad = rng.normal(size=out.shape).astype(np.float32)
    check(lib.dn_network_backward(net.handle, ffi.from_buffer("float[]", grad)))
    weights = weights.astype(np.float32)
    if name == "connected":
        inputs, grads = x.reshape(2, -1), grad.reshape(2, -1)
        weights = weights.reshape(4, -1)
    else:
        inputs, grads = (a.transpose(0, 2, 3, 1).reshape(12, -1) for a in (x, grad))
        weights = weights.reshape(4, 5) if name == "convolution" else weights.reshape(5, 4).T
        out = out.transpose(0, 2, 3, 1)
    a, b, g = (rounded(values, products) for values in (inputs, weights, grads))
    tolerance = 1e-6 if ON_HOST else 2e-3
    np.testing.assert_allclose(out.reshape(len(a), -1), a @ b.T, rtol=tolerance, atol=tolerance)
    wanted = g.T @ a if name != "deconvolution" else a.T @ g
    found = gradients(net)[0, "weights"].reshape(wanted.shape)
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=4 * tolerance)
    if ON_HOST and products != F32:
        assert np.abs(out.reshape(len(a), -1) - inputs @ weights.T).max() > 1e-5


def scaled(grads: dict, scale: float) -> dict:
    return {key: values.astype(np.float64) / scale for key, values in grads.items()}


def settled(net, run) -> None:
    """Lets the scale fall, by steps that change nothing, until no gradient overflows; `run` makes
    gradients, and makes them once more at the end."""
    out = ffi.new("dn_optimizer **")
    check(lib.dn_optimizer_create(net.handle, out))
    optimizer = ffi.gc(out[0], lib.dn_optimizer_free)
    while lib.dn_optimizer_get_steps(optimizer) == 0:
        run()
        check(lib.dn_optimizer_step(optimizer, net.handle, 0, 1))
    run()


def near(found: dict, wanted: dict) -> None:
    """But for what half precision rounds, layer after layer, and where that crosses a kink."""
    assert found.keys() == wanted.keys()
    for key, values in wanted.items():
        assert values.any()
        assert np.linalg.norm(found[key] - values) <= 3e-2 * np.linalg.norm(values), key


def test_gradients_of_a_detector_are_scaled():
    """Those of both [yolo] heads, by the scale that the network says."""
    found = []
    for products in (F32, F16):
        net = Net(DETECTOR, device=b"cuda", batch=2, training=True, products=products)
        randomize(net)
        assert lib.dn_network_loss_scale(net.handle) == (FIRST if products == F16 else 1)

        def run(net=net) -> None:
            net.train_forward(pictures(2), objects())
            net.backward()

        settled(net, run)
        found.append(scaled(gradients(net), lib.dn_network_loss_scale(net.handle)))
        assert (lib.dn_network_loss_scale(net.handle) > 1) == (products == F16)
    near(found[1], found[0])


@pytest.mark.parametrize("loss", ["bce", "bce+dice"])
def test_gradients_of_a_mask_branch_are_scaled(loss):
    found = []
    cfg = branch_cfg(3, mask=f"loss={loss}\n")
    for products in (F32, F16):
        net = Net(cfg, device=b"cuda", batch=3, training=True, seed=4, products=products,
                  stage=lib.DN_STAGE_MASK)  # fmt: skip
        truths = Truths(three_images(np.random.default_rng(1)))
        values = np.random.default_rng(2).random((3, 3, SIZE, SIZE)).astype(np.float32)
        check(lib.dn_network_train_forward(net.handle, net._set_input(values), 3, truths.handle, 0))
        branch_backward(net)
        found.append(scaled(gradients(net), lib.dn_network_loss_scale(net.handle)))
    near(found[1], found[0])


REGION = "[region]\nanchors=1,1, 2,2\nnum=2\nclasses=3\nsoftmax=1\n"


def test_gradients_of_region_are_scaled():
    found = []
    for products in (F32, F16):
        cfg = DETECTOR.split("[yolo]")[0] + REGION
        net = Net(cfg, device=b"cuda", batch=2, training=True, products=products)
        randomize(net)

        def run(net=net) -> None:
            net.train_forward(pictures(2), objects())
            net.backward()

        settled(net, run)
        found.append(scaled(gradients(net), lib.dn_network_loss_scale(net.handle)))
    near(found[1], found[0])


@pytest.mark.parametrize("loss", ["[softmax]\n", "[logistic]\n", "[cost]\n"])
def test_gradients_of_values_are_scaled(tmp_path, loss):
    found = []
    rng = np.random.default_rng(3)
    x = rng.normal(size=(2, 6, 1, 1)).astype(np.float32)
    wanted = rng.random((2, 6, 1, 1), np.float32)
    for products in (F32, F16):
        section = "[connected]\noutput=6\nactivation=linear\n" + loss
        net = LayerNet(tmp_path, section, x.shape, training=True, device=b"cuda", products=products)
        net.params(0)["weights"][:] = (
            np.random.default_rng(4).normal(size=36).reshape(net.params(0)["weights"].shape)
        )
        lib.dn_network_touch(net.handle)

        def run(net=net) -> None:
            net.learn(x, wanted)
            net.backward(np.zeros_like(x))

        settled(net, run)
        scale = lib.dn_network_loss_scale(net.handle)
        found.append({k: v.astype(np.float64) / scale for k, v in net.param_grads(0).items()})
    near(found[1], found[0])


TINY = """
[net]
width=1
height=1
channels=2
batch=1
momentum=0
decay=0
[convolutional]
filters=2
size=1
activation=linear
[convolutional]
filters=2
size=1
activation=linear
[cost]
scale={}
"""


class Tiny:
    """y = V (W x) of two values each, which are to be 1, and an optimizer."""

    def __init__(self, scale: float, products: int = F16) -> None:
        self.net = Net(TINY.format(scale), device=b"cuda", training=True, products=products)
        for k in range(2):
            self.net.params(k)["weights"][:] = 0.25
        lib.dn_network_touch(self.net.handle)
        out = ffi.new("dn_optimizer **")
        check(lib.dn_optimizer_create(self.net.handle, out))
        self.optimizer = ffi.gc(out[0], lib.dn_optimizer_free)

    def backward(self) -> None:
        truth, wanted = ffi.new("dn_truth *"), ffi.new("float[]", [1.0, 1.0])
        truth.values = wanted
        data = self.net._set_input(np.ones((1, 2, 1, 1)))
        check(lib.dn_network_train_forward(self.net.handle, data, 1, truth, 0))
        self.net.backward()

    def step(self, rate: float = 0.01) -> None:
        self.backward()
        check(lib.dn_optimizer_step(self.optimizer, self.net.handle, rate, 1))

    @property
    def weights(self) -> list[float]:
        return [float(self.net.params(k)["weights"][0]) for k in range(2)]

    @property
    def scale(self) -> float:
        return lib.dn_network_loss_scale(self.net.handle)

    @property
    def steps(self) -> int:
        return lib.dn_optimizer_get_steps(self.optimizer)


def test_small_gradients_are_not_lost():
    """1e-8 is 0 in half precision; times 1,024 it is not."""
    nets = [Tiny(1e-8, products) for products in (F32, F16)]
    for one in nets:
        one.step(rate=1e6)
    changes = [np.subtract(one.weights, 0.25) for one in nets]
    assert changes[0].min() > 0.003
    np.testing.assert_allclose(changes[1], changes[0], rtol=0.02)


@rounds_surely
def test_steps_that_overflow_are_left_out():
    """A gradient of some hundreds is, times 1,024, beyond half precision."""
    tiny, plain = Tiny(500), Tiny(500, F32)
    left_out = 0
    while tiny.steps == 0:
        before = tiny.weights, tiny.scale
        tiny.step()
        if tiny.steps == 0:
            assert (tiny.weights, tiny.scale) == (before[0], before[1] / 2)
            left_out += 1
    plain.step()
    assert 0 < left_out < 6 and tiny.scale == FIRST / 2**left_out
    assert tiny.weights == pytest.approx(plain.weights, rel=1e-3)
    assert lib.dn_optimizer_grad_norm(tiny.optimizer) == pytest.approx(
        lib.dn_optimizer_grad_norm(plain.optimizer), rel=1e-3
    )


@rounds_surely
def test_gradients_that_are_no_numbers_at_any_scale_are_an_error():
    tiny = Tiny(1e6)
    with pytest.raises(DataError, match="is not a number"):
        for _ in range(17):
            tiny.step()
    assert tiny.steps == 0 and tiny.scale == 1


def test_two_thousand_steps_double_the_scale():
    tiny = Tiny(1e-3)
    for _ in range(1999):
        tiny.step(rate=0)
    assert tiny.scale == FIRST
    tiny.step(rate=0)
    assert tiny.scale == 2 * FIRST


def test_on_the_cpu_nothing_is_rounded_or_scaled():
    net = Net(TINY.format(1), device=b"cpu", training=True, products=F16)
    assert lib.dn_network_loss_scale(net.handle) == 1


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    stages = [(f"{key}=6", f"{key}=12") for key in ("mask_from", "mask_max_batches")]
    bench.edit("two.cfg", ("learning_rate=.01", "learning_rate=.003"), *stages, source="two.cfg")
    return bench


def test_a_training_follows_and_resumes_with_the_same_bytes(bench):
    """In half precision; the scale lies in the state file."""
    mixed = {"device": "cuda", "products": F16, "max_iterations": 16}
    plain, _ = bench.call(backup="plain", device="cuda", max_iterations=16)
    whole, _ = bench.call(backup="whole", **mixed)
    parts, state = [], None
    for question in (5, 17):
        history, _ = bench.call(backup="cut", state=state, cancel=question, **mixed)
        parts += history
        state = "cut/two_last.state"
    parts += bench.call(backup="cut", state=state, **mixed)[0]
    assert parts == whole
    assert bench.finals("cut", FINAL) == bench.finals("whole", FINAL)
    assert b"loss scale" in (bench.path / "cut/two_last.state").read_bytes()
    assert "\nproducts: fp16\n" in (bench.path / "cut/two/args.txt").read_text()
    np.testing.assert_allclose(losses(whole), losses(plain), rtol=0.05)
    assert not ON_HOST or not np.array_equal(losses(whole), losses(plain))
