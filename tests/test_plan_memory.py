"""What a network that predicts by a plan keeps in memory, and where its weights come from.

Large parameters stay in the weights file until somebody asks for them: every way of asking must see
the file's values, held against those that NumPy wrote into it.
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from networks import Net
from yolomask._native import DarknetError, check, ffi, lib


def cfg_text(layers: list[tuple[int, int, int]], side: int = 32) -> str:
    """(filters, size, stride) of convolutions with batch normalisation."""
    parts = [f"[net]\nwidth={side}\nheight={side}\nchannels=3"]
    parts += [
        f"[convolutional]\nbatch_normalize=1\nfilters={f}\nsize={s}\nstride={t}\npad=1\n"
        "activation=leaky"
        for f, s, t in layers
    ]
    return "\n".join(parts) + "\n"


LAYERS = [(16, 3, 1), (96, 3, 2), (128, 3, 1), (96, 1, 1), (128, 3, 1)]


def write_weights(path, layers, channels=3, seed=0) -> np.ndarray:
    """A weights file of the convolutions; its values: biases, scales, mean, variance, weights."""
    rng, values = np.random.default_rng(seed), []
    for filters, size, _ in layers:
        values += [rng.uniform(-0.1, 0.1, filters), rng.uniform(0.8, 1.2, filters)]
        values += [rng.uniform(-0.1, 0.1, filters), rng.uniform(0.8, 1.2, filters)]
        fan_in = channels * size * size
        values.append(rng.standard_normal(filters * fan_in) * np.sqrt(2 / fan_in))
        channels = filters
    floats = np.concatenate(values).astype(np.float32)
    path.write_bytes(np.array([0, 2, 5, 0, 0], np.int32).tobytes() + floats.tobytes())
    return floats


def parameters(net: Net) -> np.ndarray:
    info, values = ffi.new("dn_param_info *"), []
    for index in range(net.info.layer_count):
        for k in range(net.layer(index).param_count):
            check(lib.dn_network_get_param(net.handle, index, k, info))
            values.append(np.frombuffer(ffi.buffer(info.data, 4 * info.count), np.float32).copy())
    return np.concatenate(values)


def memory(net: Net):
    found = ffi.new("dn_test_memory *")
    check(lib.dn_test_plan_memory(net.handle, found))
    return found[0]


@pytest.fixture
def image():
    return np.random.default_rng(1).random((1, 3, 32, 32), np.float32)


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "a.weights"
    return path, write_weights(path, LAYERS)


def planned(**options) -> Net:
    return Net(cfg_text(LAYERS), keep_all=False, **options)


def plain(path, image) -> np.ndarray:
    net = Net(cfg_text(LAYERS))
    net.load(path)
    net.forward(image)
    return net.output(-1)


def close(one, other) -> None:
    assert np.sqrt(np.mean((one - other) ** 2)) <= 1e-5 * np.sqrt(np.mean(other**2))


def test_a_pass_with_weights_in_their_file(weights, image):
    net = planned()
    net.load(weights[0])
    net.forward(image)
    close(net.output(-1), plain(weights[0], image))


@pytest.mark.parametrize("passes", [0, 1])
def test_whoever_asks_gets_the_files_values(weights, image, tmp_path, passes):
    net = planned()
    net.load(weights[0])
    for _ in range(passes):
        net.forward(image)
    copy = tmp_path / "copy.weights"
    check(lib.dn_network_save_weights(net.handle, str(copy).encode(), 0, -1))
    assert copy.read_bytes() == weights[0].read_bytes()
    assert np.array_equal(parameters(net), weights[1])


def test_values_that_were_asked_for_can_be_changed(weights, image, tmp_path):
    net, info = planned(), ffi.new("dn_param_info *")
    net.load(weights[0])
    net.forward(image)
    check(lib.dn_network_get_param(net.handle, 4, 4, info))
    values = np.frombuffer(ffi.buffer(info.data, 4 * info.count), np.float32)
    values *= 2
    lib.dn_network_touch(net.handle)
    net.forward(image)
    copy = tmp_path / "copy.weights"
    check(lib.dn_network_save_weights(net.handle, str(copy).encode(), 0, -1))
    close(net.output(-1), plain(copy, image))


def test_another_file_and_then_a_part_of_one(weights, image, tmp_path):
    second, part = tmp_path / "b.weights", tmp_path / "c.weights"
    wanted = write_weights(second, LAYERS, seed=1)
    first = write_weights(part, LAYERS[:2], seed=2)
    net = planned()
    net.load(weights[0])
    net.load(second)
    net.forward(image)
    close(net.output(-1), plain(second, image))
    net.load(part)
    wanted[: len(first)] = first
    assert np.array_equal(parameters(net), wanted)


def test_initial_values_come_when_they_are_due(weights, image):
    assert np.array_equal(parameters(planned(seed=3)), parameters(Net(cfg_text(LAYERS), seed=3)))
    net, other = planned(seed=3), Net(cfg_text(LAYERS), seed=3)
    for one in (net, other):
        one.forward(image)
    close(net.output(-1), other.output(-1))


def test_a_part_of_a_network_leaves_the_rest_as_it_began(tmp_path):
    part = tmp_path / "part.weights"
    first = write_weights(part, LAYERS[:2])
    net = planned(seed=3)
    net.load(part)
    wanted = parameters(Net(cfg_text(LAYERS), seed=3))
    wanted[: len(first)] = first
    assert np.array_equal(parameters(net), wanted)


def test_a_file_that_another_has_replaced_stays_what_it_was(weights, image, tmp_path):
    wanted, net = plain(weights[0], image), planned()
    net.load(weights[0])
    other = tmp_path / "b.weights"
    write_weights(other, LAYERS, seed=1)
    other.replace(weights[0])
    net.forward(image)
    close(net.output(-1), wanted)


@pytest.mark.parametrize("shorter", [False, True])
def test_a_file_that_was_written_to_is_refused(weights, image, shorter):
    net = planned()
    net.load(weights[0])
    content = bytearray(weights[0].read_bytes())
    weights[0].write_bytes(content[: len(content) // 2] if shorter else content + b"\0\0\0\0")
    with pytest.raises((DarknetError, OSError), match=r"a\.weights: (has been|cannot read)"):
        net.forward(image)


def test_another_size_keeps_what_is_packed_alike(weights, image):
    net = planned(precision=lib.DN_PRECISION_EXACT)
    net.load(weights[0])
    net.forward(image)
    first = net.output(-1)
    packed = memory(net).packed
    assert memory(net).kept == 0
    for width, height in ((40, 24), (32, 32)):
        check(lib.dn_network_resize(net.handle, width, height))
        net.forward(np.resize(image, (1, 3, height, width)))
        assert memory(net).packed == packed
        assert memory(net).kept == packed
    assert np.array_equal(net.output(-1), first)


def test_another_size_with_other_weights(weights, image, tmp_path):
    second, net = tmp_path / "b.weights", planned()
    write_weights(second, LAYERS, seed=1)
    net.load(weights[0])
    net.forward(image)
    check(lib.dn_network_resize(net.handle, 40, 24))
    net.load(second)
    check(lib.dn_network_resize(net.handle, 32, 32))
    net.forward(image)
    assert memory(net).kept == 0
    close(net.output(-1), plain(second, image))


DEEP = [(32, 3, 1), (64, 3, 2), (128, 3, 2), (256, 3, 1), (128, 1, 1), (256, 3, 1), (512, 3, 2)]
DEEP += [(256, 1, 1), (512, 3, 1), (256, 1, 1), (512, 3, 1)]

CHILD = """
import sys
import numpy as np
sys.path[:0] = ["python", "tests"]
from test_plan_memory import DEEP, Net, cfg_text, memory

def status(key):
    with open("/proc/self/status", encoding="ascii") as file:
        return 1024 * int(file.read().split(key + ":")[1].split()[0])

image = np.random.default_rng(1).random((1, 3, 208, 208), np.float32)
small = Net(cfg_text(DEEP[:2]), keep_all=False)
small.forward(np.resize(image, (1, 3, 32, 32)))
before = status("VmRSS")
net = Net(cfg_text(DEEP, 208), keep_all=False)
net.load(sys.argv[1])
net.forward(image)
found = memory(net)
bound = found.packed + found.live + image.nbytes
print((status("VmHWM") - before) / bound, found.packed / found.parameters)
"""


def test_the_peak_is_close_to_what_must_be_there(tmp_path, root):
    """1.3 and 4.5: the bounds of docs/performance.md."""
    path = tmp_path / "deep.weights"
    write_weights(path, DEEP)
    done = subprocess.run([sys.executable, "-c", CHILD, path], cwd=root, check=True,
                          capture_output=True, text=True)  # fmt: skip
    peak, packed = map(float, done.stdout.split())
    assert peak <= 1.3
    assert packed <= 4.5
