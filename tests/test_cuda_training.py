"""Trainings on the device "cuda", beside the same trainings on the CPU.

A tiny segmenter with batch normalisation, several input sizes and two parts an iteration: 12
iterations of its detector, then 12 of its mask branch. Losses and what is learned follow the CPU's;
a training on the device repeats itself bit for bit and resumes with the same bytes; the state file
is the same whichever device wrote it. Run as tests/test_cuda_layers.py is.
"""

from __future__ import annotations

import json
import os
import re
import struct

import numpy as np
import pytest

from dataset_tools import Dataset
from program import write_png
from test_cuda_layers import NO_CUDA
from training_support import Bench
from yolomask import DataError, train
from yolomask._native import DeviceError, lib

pytestmark = pytest.mark.skipif(bool(NO_CUDA), reason=NO_CUDA)

# Relative; and of what 24 iterations changed, where a value near a kink of leaky or of a maximum
# may take another side. Sums in another order differ by 1e-7.
ON_HOST = "host-cuda" in os.environ.get("YOLOMASK_LIBRARY", "")
LOSS_TOLERANCE, CHANGE_TOLERANCE = (1e-4, 1e-3) if ON_HOST else (1e-3, 2e-2)
ITERATIONS = 24
FINAL = ("two_final.weights", "two_final.mask.weights", "two_last.state")


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    stages = [(f"{key}=6", f"{key}=12") for key in ("mask_from", "mask_max_batches")]
    bench.edit("two.cfg", ("learning_rate=.01", "learning_rate=.003"), *stages, source="two.cfg")
    return bench


def losses(history) -> np.ndarray:
    return np.array([loss for _, _, loss, _ in history])


def read_state(path) -> dict[str, np.ndarray]:
    """The arrays of a state file (docs/formats.md)."""
    content = path.read_bytes()
    header = 24 + 20 * 8
    (count,) = struct.unpack_from("<q", content, header)
    at, arrays = header + 8, {}
    entries = [struct.unpack_from("<24sq", content, at + 32 * k) for k in range(count)]
    at += 32 * count
    for name, floats in entries:
        values = np.frombuffer(content, "<f4", floats, at).astype(np.float64)
        arrays[name.rstrip(b"\0").decode()] = values
        at += 4 * floats
    assert at + 8 == len(content)
    return arrays


def follow(found: dict[str, np.ndarray], wanted: dict, start: np.ndarray) -> None:
    """Every array of a state: the moments from nothing, parameters and average from `start`."""
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        begin = start[len(start) - len(values) :] if name in ("parameters", "ema") else 0
        change = np.linalg.norm(values - begin)
        error = np.linalg.norm(found[name] - values)
        assert change > 0 and error < CHANGE_TOLERANCE * change, (name, error / change)


RULES = {
    "sgd": "mask_momentum=.8\n",
    "clipped": "max_grad_norm=.5\nmask_max_grad_norm=.05\n",
    "adam": "adam=1\nmask_adam=1\nmask_decay=.01\n",
    "adamw": "adamw=1\ndecay=.05\nmask_adamw=1\n",
    "averaged": "ema_alpha=.9\nmask_ema_alpha=.95\nmax_grad_norm=5\nmask_adamw=1\n",
}


@pytest.mark.parametrize("rule", RULES)
def test_a_training_follows_the_cpus(bench, rule):
    rate = "mask_learning_rate=.01"
    bench.edit("two.cfg", ("mask_adam=1\n", RULES[rule]), source="two.cfg")
    bench.edit("two.cfg", (rate, "mask_learning_rate=.003"), source="two.cfg")
    bench.call(backup="start", cancel=1)  # in the middle of the first iteration
    start = read_state(bench.path / "start/two_last.state")["parameters"]
    history = {}
    for device in ("cpu", "cuda"):
        history[device], _ = bench.call(backup=device, device=device)
    places = [[(*row[:2], row[3]) for row in history[device]] for device in ("cpu", "cuda")]
    assert places[0] == places[1] and len(places[0]) == ITERATIONS
    wanted = losses(history["cpu"])
    np.testing.assert_allclose(losses(history["cuda"]), wanted, rtol=LOSS_TOLERANCE)
    assert wanted[10] < wanted[0]
    found, wanted = (read_state(bench.path / f"{d}/two_last.state") for d in ("cuda", "cpu"))
    follow(found, wanted, start)


@pytest.mark.parametrize("kind", ["joint", "frozen"])
def test_other_kinds_of_trainings_follow_the_cpus(bench, kind):
    """Boxes and masks together; and a trunk that is frozen for a while, with a layer in it that is
    never updated."""
    if kind == "joint":
        edits = ("mask_from=12", "mask_from=-1\nmask_warmup=8\nmax_grad_norm=5")
        options = {"max_iterations": 20}
    else:
        edits = ("activation=leaky", "activation=leaky\nstopbackward=6\ntrain_only_bn=1")
        options = {"schedule": False, "stage": lib.DN_STAGE_DETECTOR, "max_iterations": 12}
    bench.edit("two.cfg", edits, source="two.cfg")
    history = [bench.call(backup=d, device=d, **options)[0] for d in ("cpu", "cuda")]
    assert len(history[0]) == options["max_iterations"]
    np.testing.assert_allclose(*map(losses, history), rtol=LOSS_TOLERANCE)


def test_two_hundred_steps_follow_the_cpus(bench):
    """Boxes and masks: the first 20 losses, and what they become."""
    steps = 60 if ON_HOST else 200
    joint = ("mask_from=12", "mask_from=-1\nmask_warmup=20"), ("=1000", f"={steps}")
    bench.edit("two.cfg", *joint, source="two.cfg")
    history = [bench.call(backup=d, device=d)[0] for d in ("cpu", "cuda")]
    wanted, found = map(losses, history)
    np.testing.assert_allclose(found[:20], wanted[:20], rtol=LOSS_TOLERANCE)
    assert found[-steps // 4 :].mean() == pytest.approx(wanted[-steps // 4 :].mean(), rel=0.02)
    assert wanted[-steps // 4 :].mean() < 0.2 * wanted[0]


@pytest.mark.skipif(ON_HOST, reason="takes minutes without a GPU")
def test_a_published_network_follows_and_repeats(bench, root):
    """YOLOv3-tiny: 20 losses, and the same bytes once more."""
    text = (root / "cfg/yolov3-tiny.cfg").read_text()
    for key, value in {"batch": 4, "subdivisions": 2, "width": 96, "height": 96}.items():
        text = re.sub(rf"^{key}=.*", f"{key}={value}", text, flags=re.MULTILINE)
    (bench.path / "v3.cfg").write_text(text)
    options = {"cfg": "v3.cfg", "schedule": False, "stage": lib.DN_STAGE_ALL, "plain": True}
    options |= {"threads": 4, "max_iterations": 20}
    history = [bench.call(backup=d, device=d, **options)[0] for d in ("cpu", "cuda")]
    np.testing.assert_allclose(*map(losses, history), rtol=LOSS_TOLERANCE)
    again, _ = bench.call(backup="again", device="cuda", **options)
    assert again == history[1]
    names = ("v3_final.weights", "v3_last.state")
    assert bench.finals("again", names) == bench.finals("cuda", names)


def averaged(bench) -> None:
    bench.edit(
        "two.cfg", ("mask_from", "ema_alpha=.9\nmask_ema_alpha=.9\nmask_from"), source="two.cfg"
    )


def test_a_training_repeats_itself_and_resumes_with_the_same_bytes(bench):
    """Interrupted in the middle of iterations, in both stages; batch norm's statistics are put
    back. The second training has another number of loader threads."""
    averaged(bench)
    cuda = {"device": "cuda", "max_iterations": 16}
    whole, _ = bench.call(backup="whole", **cuda)
    state, parts = None, []
    for question in (5, 6, 17, 3):
        history, _ = bench.call(backup="cut", state=state, cancel=question, workers=2, **cuda)
        parts += history
        state = "cut/two_last.state"
    parts += bench.call(backup="cut", state=state, **cuda)[0]
    assert parts == whole
    assert bench.finals("cut", FINAL) == bench.finals("whole", FINAL)
    facts = (bench.path / "cut/two/args.txt").read_text()
    assert facts.count("\ndevice: cuda:0\nthreads: 1\nworkers: 2\n") == 4


@pytest.mark.parametrize("first, second", [("cuda", "cpu"), ("cpu", "cuda")])
def test_a_state_goes_to_another_device(bench, first, second):
    """Read and written again it has the same bytes; then the training goes on as it would have."""
    averaged(bench)
    whole, _ = bench.call(backup="whole", device="cpu")
    bench.call(backup="first", device=first, max_iterations=15)
    state = "first/two_last.state"
    bench.call(backup="second", device=second, state=state, max_iterations=15)
    assert bench.finals("second") == bench.finals("first")
    rest, _ = bench.call(backup="second", device=second, state=state)
    assert len(rest) == ITERATIONS - 15
    np.testing.assert_allclose(losses(rest), losses(whole)[15:], rtol=LOSS_TOLERANCE)


def test_validation_on_the_way(bench):
    """Its figures are those of the weights that were kept, measured on the CPU by the program."""
    averaged(bench)
    valid = Dataset(bench.path / "labels.json")
    lengths = [(f"{key}=12", f"{key}=40") for key in ("mask_from", "mask_max_batches")]
    bench.edit("two.cfg", *lengths, ("\nrandom=1", ""), source="two.cfg")
    options = {"valid": valid.handle, "valid_every": 20, "plain": True}
    bench.call(backup="out", device="cuda", **options)
    rows = [row for row in bench.rows("out") if not row["loss"]]
    assert [row["stage"] for row in rows] == ["detector"] * 2 + ["mask"] * 2
    best = max(rows[2:], key=lambda row: float(row["mask_ap"]))
    assert float(best["mask_ap"]) > 0
    bench.run("segmenter", "valid", "two.cfg", "out/two_best.weights", "-threads", 1)
    found = json.loads((bench.path / "results/coco_results_metrics.json").read_text())
    figures = [found[kind][number] for kind in ("boxes", "masks") for number in ("AP", "AP50")]
    wanted = [float(best[name]) for name in ("box_ap", "box_ap50", "mask_ap", "mask_ap50")]
    assert figures == pytest.approx(wanted, abs=2e-3)


# ---- not a number ----


def test_weights_that_are_no_numbers(bench):
    """Known to be the second convolution's."""
    values = bytearray(bench.bytes("tiny.weights"))
    at = 20 + 4 * (4 * 6 + 6 * 27)  # its first bias
    values[at : at + 4] = b"\xff\xff\xff\x7f"
    (bench.path / "nan.weights").write_bytes(values)
    with pytest.raises(
        DataError, match=r"stage detector: layer 1 \[convolutional\] \(line \d+\) is "
    ):
        bench.call(weights="nan.weights", device="cuda")


def test_a_training_that_explodes(bench):
    """The checkpoint stays as it was."""
    bench.edit("wild.cfg", ("learning_rate=.003", "learning_rate=1e6"), source="two.cfg")
    sentence = (
        r"wild.cfg: iteration \d of stage detector: (layer \d \[\w+\] \(line \d+\) is the first "
        r"whose values are not numbers|a gradient of layer \d).*; the last checkpoint is untouched"
    )
    with pytest.raises(DataError, match=sentence):
        bench.call("wild.cfg", backup="wild", device="cuda")
    parameters = read_state(bench.path / "wild/wild_last.state")["parameters"]
    assert np.isfinite(parameters).all()


# ---- classifiers, Python ----

CLASSIFIER = """[net]
batch=8
subdivisions=2
width=16
height=16
channels=3
learning_rate=.05
max_batches=12

[convolutional]
batch_normalize=1
filters=6
size=3
stride=2
pad=1
activation=leaky

[maxpool]
size=2
stride=2

[convolutional]
filters=2
size=1
activation=linear

[avgpool]

[softmax]
"""


def test_a_classifier_follows_the_cpus(bench):
    rng = np.random.default_rng(5)
    for i in range(8):
        pixels = rng.integers(0, 128, (20, 24, 3)) + 100 * (i % 2)
        write_png(bench.path / f"{('dark', 'light')[i % 2]}_{i}.png", pixels)
    files = sorted(path.name for path in bench.path.glob("*_?.png"))
    (bench.path / "images.txt").write_text("\n".join(files) + "\n")
    (bench.path / "labels.txt").write_text("dark\nlight\n")
    (bench.path / "net.cfg").write_text(CLASSIFIER)
    bench.data = Dataset(bench.path / "images.txt", labels=bench.path / "labels.txt")
    valid = {"valid": bench.data.handle, "valid_every": 6}
    options = {"cfg": "net.cfg", "schedule": False, "stage": lib.DN_STAGE_ALL, **valid}
    history = [bench.call(backup=d, device=d, **options)[0] for d in ("cpu", "cuda")]
    assert [row[0] for row in history[1]] == ["classifier"] * 12
    np.testing.assert_allclose(*map(losses, history), rtol=LOSS_TOLERANCE)
    assert history[1][-1][2] < history[1][0][2]


def test_python_trains_on_a_device(bench, monkeypatch):
    monkeypatch.chdir(bench.path)
    seen = []
    options = {"seed": 1, "threads": 1, "progress": False, "validate": False}
    for device in ("cpu", "cuda"):
        train("two.cfg", "tiny.data", device=device, backup=device, iterations=3,
              on_progress=seen.append, **options)  # fmt: skip
    assert [one.loss for one in seen[3:]] == pytest.approx([one.loss for one in seen[:3]], rel=1e-3)


def test_a_device_that_is_not_there(bench):
    with pytest.raises(DeviceError, match=r"device cuda:7: this machine has \d CUDA devices"):
        bench.call(device="cuda:7")
