"""The inference plan against the layers one by one, which test_layers.py holds against PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from conftest import ROOT, published_file
from networks import Net
from yolomask._native import check, ffi, lib

# Larger trunks take seconds to fill with initial weights.
LARGE = {"darknet53", "yolov3", "yolov3-spp", "yolov4", "yolov4-csp", "yolov7", "yolov2"}
LARGE |= {"yolomask", "yolomask-spp", "yolomask-7x7"}
CFGS = [
    pytest.param(path.stem, marks=pytest.mark.slow) if path.stem in LARGE else path.stem
    for path in sorted((ROOT / "cfg").glob("*.cfg"))
]
KEPT = {"yolo", "region", "mask"}

# Networks that check_network.c runs on emulated processors, too.
EMULATED = ROOT / "tests" / "emulated"
MIXED = (EMULATED / "mixed.cfg").read_text()
BRANCH = (EMULATED / "branch.cfg").read_text()
BRANCH = BRANCH.replace("levels=sum", "levels={levels}").replace("pool=max", "pool={pool}")

# Three classes, whose masks differ.
CLASSES = """[net]
width=64
height=48
channels=3
[convolutional]
filters=24
size=3
stride=8
pad=1
activation=leaky
[convolutional]
filters=16
size=1
activation=linear
[yolo]
mask=0,1
anchors=20,24, 37,33
classes=3
num=2
[roialign]
layers=0
size={size}
max_rois=100
[convolutional]
filters=19
size=3
pad=1
activation=relu
[deconvolutional]
filters=21
size=2
stride=2
activation=relu
[convolutional]
filters=3
size=1
activation=linear
[mask]
classes=3
"""


def make(cfg: str | Path, precision: int = lib.DN_PRECISION_F32, **options) -> Net:
    return Net(cfg, **({"keep_all": False, "precision": precision, "seed": 7} | options))


def pair(cfg: str | Path, **options) -> tuple[Net, Net]:
    """A network that runs layer by layer, and one by its plan."""
    return make(cfg, lib.DN_PRECISION_PLAIN, **options), make(cfg, **options)


def image(net: Net, count: int, seed: int = 0) -> np.ndarray:
    info = net.info
    shape = (count, info.channels, info.height, info.width)
    return np.random.default_rng(seed).random(shape, np.float32)


def scatter(net: Net) -> None:
    """Biases and statistics that change something, and masks that are not all next to 1/2."""
    rng = np.random.default_rng(11)
    types = kinds(net)
    for i in range(net.info.layer_count):
        for name, values in net.params(i).items():
            if name in ("biases", "mean"):
                values[:] = rng.normal(0, 0.1, values.size)
            elif name in ("scales", "variance"):
                values[:] = rng.uniform(0.5, 1.5, values.size)
            elif types[i + 1 : i + 2] == ["mask"]:
                values[:] = rng.normal(0, 1, values.size)
    lib.dn_network_touch(net.handle)


def place_boxes(net: Net, images: int, shares: int = 3) -> None:
    info = net.info
    rois = ffi.new("dn_roi[]", images * shares)
    for k, roi in enumerate(rois):
        roi.image, roi.detection, roi.truth = k // shares, k % shares, -1
        x0, y0 = (0.1 + 0.2 * (k % shares)) * info.width, 0.15 * info.height
        box = (x0, y0, x0 + 0.11 * (k + 1) * info.width, y0 + 0.3 * info.height)
        roi.box, roi.expanded = box, box
    check(lib.dn_test_set_rois(net.handle, rois, len(rois)))


def set_classes(net: Net, classes: list[int]) -> None:
    copies = ffi.new("dn_roi[]", len(classes))
    for k, class_id in enumerate(classes):
        x0, y0 = 5.0 + 3 * k, 4.0 + 2 * k
        copies[k].box, copies[k].truth, copies[k].class_id = (
            (x0, y0, x0 + 20, y0 + 17),
            -1,
            class_id,
        )
    check(lib.dn_test_set_rois(net.handle, copies, len(classes)))


def run(net: Net, values: np.ndarray) -> None:
    check(lib.dn_network_forward(net.handle, net._set_input(values), len(values), 0.5))


def kinds(net: Net) -> list[str]:
    info = ffi.new("dn_layer_info *")
    types = []
    for i in range(net.info.layer_count):
        check(lib.dn_network_get_layer(net.handle, i, info))
        types.append(ffi.string(info.type).decode())
    return types


def kept(net: Net) -> list[np.ndarray]:
    types = kinds(net)
    last = len(types) - 1
    return [net.output(i) for i, kind in enumerate(types) if kind in KEPT or i == last]


def agree(plain: Net, plan: Net, values: np.ndarray, tolerance: float = 1e-3) -> None:
    """The kept outputs differ by at most `tolerance` of their root mean square."""
    for net in (plain, plan):
        run(net, values)
    assert lib.dn_network_step_count(plan.handle) > 0
    assert lib.dn_network_step_count(plain.handle) == 0
    for wanted, found in zip(kept(plain), kept(plan), strict=True):
        assert wanted.shape == found.shape
        scale = np.sqrt((wanted.astype(np.float64) ** 2).sum() / max(wanted.size, 1))
        assert np.abs(wanted - found).max(initial=0) <= tolerance * scale


@pytest.mark.parametrize("name", CFGS)
def test_every_cfg(name):
    path = ROOT / "cfg" / f"{name}.cfg"
    nets = pair(path, width=64, height=96, batch=2)
    for net in nets:
        if "roialign" in kinds(net):
            scatter(net)
            place_boxes(net, 2)
    agree(*nets, image(nets[0], 2))


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_layers_of_all_kinds(isa, batch):
    nets = pair(MIXED, batch=batch)
    for net in nets:
        scatter(net)
    agree(*nets, image(nets[0], batch))
    if batch > 1:
        agree(*nets, image(nets[0], 1, seed=1))


@pytest.mark.parametrize("levels", ["sum", "assign"])
@pytest.mark.parametrize("pool", ["max", "average"])
def test_mask_branch(isa, levels, pool):
    nets = pair(BRANCH.format(levels=levels, pool=pool), batch=2)
    for shares in (2, 0, 5):
        for net in nets:
            scatter(net)
            place_boxes(net, 2, shares)
        agree(*nets, image(nets[0], 2, seed=shares))
        assert len(kept(nets[1])[-1]) == 2 * shares


def test_exact_is_closer():
    nets = make(MIXED, lib.DN_PRECISION_PLAIN), make(MIXED, lib.DN_PRECISION_EXACT)
    for net in nets:
        scatter(net)
    agree(*nets, image(nets[0], 1), tolerance=2e-5)


@pytest.mark.parametrize("cfg", [MIXED, BRANCH.format(levels="sum", pool="max")])
def test_threads_change_no_bit(cfg):
    outputs = []
    for threads in (1, 2, 3):
        net = make(cfg, threads=threads, batch=2)
        if "roialign" in kinds(net):
            place_boxes(net, 2)
        for _ in range(3):
            run(net, image(net, 2))
            outputs.append(kept(net))
    for other in outputs[1:]:
        for wanted, found in zip(outputs[0], other, strict=True):
            np.testing.assert_array_equal(wanted, found)


def test_another_size_and_other_weights():
    plain, plan = pair(MIXED)
    for width, height in [(37, 29), (64, 48), (20, 33), (37, 29)]:
        for net in (plain, plan):
            check(lib.dn_network_resize(net.handle, width, height))
        agree(plain, plan, image(plain, 1))
    before = kept(plan)[0]
    for net in (plain, plan):
        scatter(net)
    agree(plain, plan, image(plain, 1))
    assert not np.array_equal(before, kept(plan)[0])


def test_outputs_that_are_not_kept():
    net = make(MIXED)
    run(net, image(net, 1))
    assert net.layer(0).out == ffi.NULL
    assert net.layer(-1).out != ffi.NULL


def test_steady_passes_allocate_nothing():
    net = make(BRANCH.format(levels="sum", pool="max"))
    place_boxes(net, 1)
    values = image(net, 1)
    run(net, values)
    lib.dn_test_fail_allocation(0)
    try:
        for _ in range(2):
            run(net, values)
    finally:
        lib.dn_test_fail_allocation(-1)


def test_allocations_that_fail(fail_allocations):
    plain, _ = pair(MIXED)
    values = image(plain, 1)
    run(plain, values)

    def first_pass():
        net = make(MIXED)
        try:
            run(net, values)
        except MemoryError:
            lib.dn_test_fail_allocation(-1)
            run(net, values)  # the next one finds everything as it was
            np.testing.assert_allclose(kept(net)[0], kept(plain)[0], atol=1e-3)
            raise

    fail_allocations(first_pass)


def test_steps_say_what_ran():
    net = make(MIXED)
    run(net, image(net, 1))
    info, kinds_seen, layers = ffi.new("dn_step_info *"), set(), set()
    for i in range(lib.dn_network_step_count(net.handle)):
        check(lib.dn_network_get_step(net.handle, i, info))
        kinds_seen.add(ffi.string(info.kind).decode())
        layers.add(info.last_layer)
        assert info.seconds >= 0 and info.images == 1
    assert {"conv", "max", "plain", "to blocked", "to planar", "copy", "sum"} <= kinds_seen
    assert net.info.layer_count - 1 in layers
    with pytest.raises(ValueError, match="step 1000"):
        check(lib.dn_network_get_step(net.handle, 1000, info))


def test_half_precision_needs_a_gpu():
    with pytest.raises(ValueError, match="fp16 needs a GPU; on the CPU f32, exact, plain, bf16"):
        make(MIXED, lib.DN_PRECISION_FP16)


@pytest.mark.parametrize("name", ["yolov3-tiny", "yolov4-tiny"])
def test_same_detections_of_published_weights(models, name):
    from yolomask import Network

    weights = published_file(models, f"{name}.weights")
    cfg = ROOT / "cfg" / f"{name}.cfg"
    photos, found = sorted((ROOT / "data").glob("*.jpg")), []
    for precision in ("plain", "f32"):
        with Network(cfg, weights, device="cpu", threads=2, precision=precision) as net:
            found.append([net.predict(photo, 0.1) for photo in photos])
    assert sum(len(result.boxes) for result in found[0]) > 3
    for plain, plan in zip(*found, strict=True):
        np.testing.assert_array_equal(plain.boxes.cls, plan.boxes.cls)
        np.testing.assert_allclose(plain.boxes.conf, plan.boxes.conf, atol=1e-3)
        np.testing.assert_allclose(plain.boxes.xyxy, plan.boxes.xyxy, atol=0.1)
