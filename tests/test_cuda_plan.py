"""The inference plan in half precision on the device "cuda", against networks that run layer by
layer in float32 on the CPU (which tests/test_conv*.py and others compare with PyTorch).

Like tests/test_cuda_layers.py these run in `make gpu-check` and `make host-cuda-check`, where
tensor cores are loops; elsewhere they skip.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from conftest import published_file
from networks import Net
from test_cuda_layers import NO_CUDA
from test_plan import (
    BRANCH,
    CLASSES,
    MIXED,
    image,
    kept,
    kinds,
    place_boxes,
    run,
    scatter,
    set_classes,
)
from yolomask import Network
from yolomask._native import check, ffi, lib

pytestmark = pytest.mark.skipif(bool(NO_CUDA), reason=NO_CUDA)

ROOT = Path(__file__).parents[1]
FP16, BF16 = lib.DN_PRECISION_FP16, lib.DN_PRECISION_BF16

# Of an output's root mean square: what rounding to 11 and to 8 bits in every layer may make.
TOLERANCE = {FP16: 1e-2, BF16: 8e-2}

TILES = ["128x128", "128x64", "64x128", "64x64", "128x32", "32x64"]
HOPPER_TILES = ["w64x32", "w64x64", "w64x128", "w128x64", "w128x128", "w128x128 deep", "w128x256"]
HOPPER_TILES += ["w192x64", "w192x128", "w128x32 of 32", "w128x64 of 32"]
ACTIVATIONS = ["leaky", "mish", "swish", "relu", "logistic", "linear", "elu"]

# Every convolution that the tiles must do: of the network's pixels, odd numbers of pixels, strides,
# dilation, groups, filters that end within a tile, an addend, and a planar output.
CONVOLUTIONS = """[net]
width={width}
height=33
channels={channels}
[convolutional]
filters=40
size=3
pad=1
stride=1
activation={activation}
batch_normalize=1
[convolutional]
filters=72
size=3
pad=1
stride=2
activation={activation}
batch_normalize=1
[convolutional]
filters=72
size=3
pad=1
activation={activation}
[shortcut]
from=-2
activation={after}
[convolutional]
filters=80
size=5
padding=4
dilation=2
groups=3
activation={activation}
[convolutional]
filters=136
size=1
activation={activation}
[deconvolutional]
filters=24
size=2
stride=2
activation={activation}
batch_normalize=1
[convolutional]
filters=13
size=3
pad=1
activation=linear
"""


def make(cfg: str | Path, precision: int = FP16, device: bytes = b"cuda", **options) -> Net:
    given = {"keep_all": False, "precision": precision, "device": device, "seed": 7}
    return Net(cfg, **(given | options))


def pair(cfg: str | Path, precision: int = FP16, **options) -> tuple[Net, Net]:
    """A network on the CPU layer by layer in float32, and one on the device by its plan."""
    plain = make(cfg, lib.DN_PRECISION_PLAIN, b"cpu", **options)
    return plain, make(cfg, precision, **options)


def agree(plain: Net, plan: Net, values: np.ndarray, precision: int = FP16) -> None:
    for net in (plain, plan):
        run(net, values)
    assert lib.dn_network_step_count(plan.handle) > 0
    for wanted, found in zip(kept(plain), kept(plan), strict=True):
        assert wanted.shape == found.shape
        scale = np.sqrt((wanted.astype(np.float64) ** 2).sum() / max(wanted.size, 1))
        assert np.abs(wanted - found).max(initial=0) <= TOLERANCE[precision] * scale


def steps(net: Net) -> list[tuple[str, str]]:
    """Kind and form of each."""
    info, found = ffi.new("dn_step_info *"), []
    for i in range(lib.dn_network_step_count(net.handle)):
        check(lib.dn_network_get_step(net.handle, i, info))
        found.append((ffi.string(info.kind).decode(), ffi.string(info.form).decode()))
    return found


def convolutions(
    activation: str = "leaky",
    after: str = "linear",
    channels: int = 3,
    width: int = 46,
    groups: int = 1,
) -> str:
    cfg = CONVOLUTIONS.replace("groups=3", f"groups={groups}")
    if groups > 1:
        cfg = cfg.replace("filters=80", "filters=96")
    return cfg.format(activation=activation, after=after, channels=channels, width=width)


@pytest.mark.parametrize("precision", [FP16, BF16])
@pytest.mark.parametrize("splits", ["", " / 2", " / 3"])
@pytest.mark.parametrize("tile", TILES)
def test_every_form(monkeypatch, tile, splits, precision):
    monkeypatch.setenv("DARKNET_CUDNN", tile + splits)
    plain, plan = pair(convolutions(), precision, batch=2)
    agree(plain, plan, image(plain, 2), precision)
    forms = [form for kind, form in steps(plan) if kind == "conv"]
    assert len(forms) == 7 and tile + splits in forms


def is_hopper() -> bool:
    """Whether the device, or what stands in for it, has warpgroups: compute capability 9.0."""
    if "host-cuda" in os.environ.get("YOLOMASK_LIBRARY", ""):
        return True
    asked = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    found = subprocess.run(asked, capture_output=True, text=True, check=False)
    return found.stdout.split("\n")[0].strip() == "9.0"


@pytest.mark.parametrize("precision", [FP16, BF16])
@pytest.mark.parametrize("splits", ["", " / 3", " / 8"])
@pytest.mark.parametrize("tile", HOPPER_TILES)
def test_every_form_of_warpgroups(monkeypatch, tile, splits, precision):
    """Sums of fewer slabs than are asked for at once, of slabs that end within a tap or behind the
    last, and in parts of unequal numbers of slabs; in groups, too."""
    if not is_hopper():
        pytest.skip("needs compute capability 9.0")
    monkeypatch.setenv("DARKNET_CUDNN", tile + splits)
    groups = precision == FP16 and splits != " / 8"
    plain, plan = pair(convolutions(groups=3 if groups else 1), precision, batch=2)
    values = image(plain, 2)
    for _ in range(4 if splits == " / 3" else 1):  # the last ones by a graph
        agree(plain, plan, values, precision)
    forms = [form for kind, form in steps(plan) if kind == "conv"]
    assert len(forms) == 7 and tile + splits in forms


# More slabs than stages, whole tiles and odd numbers of them, a stride, an addend.
SHARED = """[net]
width=22
height=14
channels=3
[convolutional]
filters=128
size=3
pad=1
activation=leaky
[convolutional]
filters=128
size=3
pad=1
activation=leaky
[shortcut]
from=-2
activation=linear
[convolutional]
filters=256
size=3
stride=2
pad=1
activation=leaky
[convolutional]
filters=512
size=1
activation=linear
"""


@pytest.mark.parametrize("share", ["[2,1]", "[1,2]", "[2,2] / 2", "[4,1]", "[1,4] / 2"])
@pytest.mark.parametrize("tile", HOPPER_TILES)
def test_shared_slabs(monkeypatch, tile, share):
    """Blocks of a cluster that each copy a part of the rows, of the columns or of both."""
    if not is_hopper():
        pytest.skip("needs compute capability 9.0")
    name = f"{tile} {share}"
    monkeypatch.setenv("DARKNET_CUDNN", name)
    plain, plan = pair(SHARED, batch=2)
    agree(plain, plan, image(plain, 2))
    # Only tiles that are whole share columns: 512 filters are two of 256.
    wide = tile == "w128x256" and share.startswith("[4")
    assert wide or name in [form for _, form in steps(plan)]


@pytest.mark.parametrize("k", range(len(ACTIVATIONS)))
def test_activations(k):
    plain, plan = pair(convolutions(ACTIVATIONS[k], ACTIVATIONS[k - 1]))
    agree(plain, plan, image(plain, 1) - 0.5)


@pytest.mark.parametrize(
    ("channels", "width"), [(1, 46), (2, 46), (3, 45), (3, 46), (4, 45), (5, 46), (16, 46)]
)
def test_inputs(channels, width):
    """Pixels of 16 bits where every image's begin at a multiple of 8 bytes, reorders else."""
    plain, plan = pair(convolutions(channels=channels, width=width), batch=2)
    agree(plain, plan, image(plain, 2))
    pixels = channels in (2, 3, 4) and channels * width % 2 == 0
    assert (steps(plan)[0][0] == "conv") == pixels


FIRST = """[net]
width=46
height=34
channels=3
[convolutional]
filters={filters}
size=3
pad={pad}
stride={stride}
dilation={dilation}
activation=leaky
{last}
"""
LAST = "[convolutional]\nfilters=16\nsize=1\nactivation=linear"
HEAD = "\n[yolo]\nmask=0,1\nanchors=10,14, 23,27\nclasses=3\nnum=2"


@pytest.mark.parametrize("precision", [FP16, BF16])
@pytest.mark.parametrize("form", ["first 32", "first 64", "128x32"])
@pytest.mark.parametrize(("stride", "pad", "dilation"), [(1, 1, 1), (2, 1, 1), (1, 0, 2)])
def test_first_layer(monkeypatch, form, precision, stride, pad, dilation):
    monkeypatch.setenv("DARKNET_CUDNN", form)
    for filters, last in ((40, LAST), (29, "")):  # followed by more, or read as planar floats
        cfg = FIRST.format(filters=filters, stride=stride, pad=pad, dilation=dilation, last=last)
        plain, plan = pair(cfg, precision, batch=2)
        agree(plain, plan, image(plain, 2), precision)
        assert steps(plan)[0] == ("conv", form)


def predict(net: Net, pixels: np.ndarray) -> np.ndarray:
    """The last layer's output for an image."""
    height, width = pixels.shape[:2]
    picture = ffi.new("dn_image *", {"width": width, "height": height})
    picture.data = ffi.cast("uint8_t *", ffi.from_buffer(pixels))
    result = ffi.new("dn_result **")
    check(lib.dn_network_predict(net.handle, picture, ffi.NULL, result))
    lib.dn_result_free(result[0])
    return kept(net)[-1].copy()


@pytest.mark.parametrize("precision", [FP16, BF16])
def test_images_become_pixels(monkeypatch, precision):
    """The letterbox writes what the first convolution reads: the bits that its floats would be
    rounded to, from the device's letterbox and from the host's, which has large images."""
    monkeypatch.setenv("DARKNET_CUDNN", "rules")
    cfg = FIRST.format(filters=24, stride=1, pad=1, dilation=1, last=LAST + HEAD)
    plain, plan = pair(cfg, precision)
    random = np.random.default_rng(3)
    same = random.integers(0, 256, (34, 46, 3), np.uint8)
    found = predict(plan, same)
    run(plan, (same.transpose(2, 0, 1)[None] / np.float32(255)).astype(np.float32))
    np.testing.assert_array_equal(found, kept(plan)[-1])
    for height, width in ((20, 61), (150, 90)):
        pixels = random.integers(0, 256, (height, width, 3), np.uint8)
        wanted = predict(plain, pixels)
        scale = np.sqrt((wanted.astype(np.float64) ** 2).mean())
        assert np.abs(predict(plan, pixels) - wanted).max() <= TOLERANCE[precision] * scale


def test_groups():
    plain, plan = pair(convolutions(after="relu", groups=3), batch=2)
    agree(plain, plan, image(plain, 2))
    assert "plain" not in dict(steps(plan))


# Two convolutions of one shape, of which the second writes into a concatenation.
CONCATENATED = """[net]
width=32
height=16
channels=3
[convolutional]
filters=16
size=1
activation=leaky
[convolutional]
filters=16
size=3
pad=1
activation=leaky
[convolutional]
filters=16
size=3
pad=1
activation=leaky
[convolutional]
filters=24
size=1
activation=leaky
[route]
layers=-1,-2
[convolutional]
filters=8
size=1
activation=linear
"""


@pytest.mark.parametrize("form", ["", "cudnn"])
def test_writes_into_concatenation(monkeypatch, form):
    """Where cuDNN refuses it, one of our forms takes its place; and what was chosen for an output
    of its own does not count."""
    monkeypatch.setenv("DARKNET_CUDNN", form)
    plain, plan = pair(CONCATENATED, batch=2)
    values = image(plain, 2)
    for _ in range(4):  # the last ones by a graph
        agree(plain, plan, values)
    forms = [form for kind, form in steps(plan) if kind == "conv"]
    assert len(forms) == 5 and "copy" not in dict(steps(plan))
    if forms[1] == "cudnn" and "host-cuda" in os.environ.get("YOLOMASK_LIBRARY", ""):
        assert forms[2] in TILES + HOPPER_TILES


ENLARGED = """[net]
width=20
height=12
channels=3
[convolutional]
filters=16
size=3
pad=1
activation=leaky
[convolutional]
filters={filters}
size=1
activation={activation}
[upsample]
stride={stride}
scale={scale}
{last}
"""
BEHIND = """[convolutional]
filters=16
size=3
pad=1
activation=linear
[route]
layers=-1,-2
[convolutional]
filters=8
size=1
activation=leaky"""


@pytest.mark.parametrize("form", TILES[::3] + ["rules", ""])
@pytest.mark.parametrize(("stride", "scale"), [(2, 1), (3, 1), (2, 0.5)])
def test_upsample_behind_convolution(monkeypatch, form, stride, scale):
    """Where it scales nothing the convolution writes what it makes of its pixels, also as part of
    a concatenation, and where the output is read as planes."""
    monkeypatch.setenv("DARKNET_CUDNN", form)
    for filters, activation, last in ((24, "mish", BEHIND), (13, "linear", "")):
        cfg = ENLARGED.format(
            filters=filters, activation=activation, stride=stride, scale=scale, last=last
        )
        plain, plan = pair(cfg, batch=2)
        agree(plain, plan, image(plain, 2))
        assert ("upsample" in dict(steps(plan))) == (scale != 1)


def test_first_convolution_enlarged(monkeypatch):
    for form in ("first 32", "128x32"):
        monkeypatch.setenv("DARKNET_CUDNN", form)
        cfg = FIRST.format(filters=24, stride=1, pad=1, dilation=1, last="[upsample]\n" + LAST)
        plain, plan = pair(cfg, batch=2)
        agree(plain, plan, image(plain, 2))
        assert steps(plan)[0] == ("conv", form) and "upsample" not in dict(steps(plan))


# Without what breaks the chain of steps that the device has.
STEPS = MIXED.replace("[reorg]\nstride=1\n", "").replace("filters=30\ngroups=2", "filters=30")


@pytest.mark.parametrize("precision", [FP16, BF16])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("cfg", [MIXED, STEPS], ids=["mixed", "steps"])
def test_layers_of_all_kinds(cfg, batch, precision):
    plain, plan = pair(cfg, precision, batch=batch)
    for net in (plain, plan):
        scatter(net)
    agree(plain, plan, image(plain, batch), precision)
    wanted = {"conv", "plain", "max", "sum", "copy", "scale", "to blocked", "to planar"}
    assert wanted | ({"upsample", "activation", "avg"} if cfg == STEPS else set()) <= set(
        dict(steps(plan))
    )


@pytest.mark.parametrize("levels", ["sum", "assign"])
@pytest.mark.parametrize("pool", ["max", "average"])
def test_mask_branch(levels, pool):
    cfg = BRANCH.format(levels=levels, pool=pool).replace("filters=17", "filters=16")
    plain, plan = pair(cfg, batch=2)
    for boxes in (3, 0, 1, 2, 3, 3):
        for net in (plain, plan):
            place_boxes(net, 2, boxes)
        agree(plain, plan, image(plain, 2, boxes))
    assert "plain" not in [kind for kind, _ in steps(plan)[:2]]


DEPTHWISE = """[net]
width=46
height=34
channels=3
[convolutional]
filters={filters}
size=1
activation=leaky
[convolutional]
filters={filters}
groups={filters}
size={size}
stride={stride}
padding={pad}
dilation={dilation}
batch_normalize=1
activation=relu
[convolutional]
filters={filters}
groups={filters}
size=3
pad=1
activation=linear
[shortcut]
from=-2
activation=leaky
[convolutional]
filters=12
size=1
activation=linear
"""


@pytest.mark.parametrize("precision", [FP16, BF16])
@pytest.mark.parametrize("form", ["pixel", "4 pixels"])
@pytest.mark.parametrize(
    ("size", "stride", "dilation"), [(3, 1, 1), (3, 2, 1), (5, 1, 1), (5, 2, 1), (3, 1, 2)]
)
def test_depthwise(monkeypatch, form, precision, size, stride, dilation):
    """Among them channels that fill no piece of eight, and a sum behind."""
    monkeypatch.setenv("DARKNET_CUDNN", form)
    for filters in (24, 21):
        cfg = DEPTHWISE.format(
            filters=filters, size=size, stride=stride, dilation=dilation, pad=dilation * size // 2
        )
        plain, plan = pair(cfg, precision, batch=2)
        for net in (plain, plan):
            scatter(net)
        agree(plain, plan, image(plain, 2), precision)
        forms = [form for kind, form in steps(plan) if kind == "conv"]
        assert forms[1] == ("pixel" if dilation == 2 else form) and forms[2] == form
        assert not {"plain", "to blocked"} & set(dict(steps(plan)))


@pytest.mark.parametrize("precision", [FP16, BF16])
@pytest.mark.parametrize(("batch", "size", "classes"), [(1, 5, 3), (2, 9, 3), (1, 5, 7)])
def test_masks_of_several_classes(batch, size, classes, precision):
    """As test_plan_branch.py has it of the CPU: of the last convolution only what is read, also
    the masks of a box's other classes, whose list the device makes. Of seven classes it has too
    little room for that at first, and the host makes the list."""
    cfg = CLASSES.format(size=size).replace("classes=3", f"classes={classes}")
    cfg = cfg.replace("filters=16", f"filters={2 * (5 + classes)}")
    cfg = cfg.replace("filters=3\n", f"filters={classes}\n")
    if classes > 3:
        cfg = cfg.replace("max_rois=100", "max_rois=4")
    plain, plan = pair(cfg, precision, batch=batch)
    for net in (plain, plan):
        scatter(net)
        net.params(-2)["weights"][:] = np.random.default_rng(2).normal(0, 0.5, 21 * classes)
        lib.dn_network_touch(net.handle)
    for seed in (3, 3, 3, 3, 4):  # the last ones by graphs
        results = []
        for net in (plain, plan):
            data = net._set_input(image(net, batch, seed=seed))
            check(lib.dn_network_forward(net.handle, data, batch, 0.2))
            results.append([net.result(i, 64, 48) for i in range(batch)])
        assert ("masks", "") in steps(plan)
        for a, b in zip(*results, strict=True):
            found = [masks_of(result, 4 * size**2) for result in (a, b)]
            both = found[0].keys() & found[1].keys()
            assert len(both) > 0.9 * len(found[0]) and len({box for box, _ in both}) < len(both)
            for key in both:
                assert np.abs(found[0][key] - found[1][key]).max() < 10 * TOLERANCE[precision]


def masks_of(result, cells: int) -> dict[tuple[int, int], np.ndarray]:
    instances = [result.instances[i] for i in range(result.instance_count)]
    return {
        (one.detection, one.class_id): np.frombuffer(ffi.buffer(one.mask, 4 * cells), np.float32)
        for one in instances
        if one.mask != ffi.NULL
    }


def test_given_boxes_have_masks_of_their_classes():
    nets = pair(CLASSES.format(size=5))
    for classes in ([0, 2, 1, 1, 0, 2, 2], [2, 2], [], [1] * 9):
        for net in nets:
            scatter(net)
            set_classes(net, classes)
        agree(*nets, image(nets[0], 1))


def test_graphs_give_the_same_bits(monkeypatch):
    """The passes that launch step by step, and those by a graph, for several sizes and batches."""
    monkeypatch.setenv("DARKNET_CUDNN", "rules")
    net = make(BRANCH.format(levels="sum", pool="max"), batch=3)
    for width, height in ((64, 48), (96, 64), (64, 48)):
        check(lib.dn_network_resize(net.handle, width, height))
        for batch, boxes in ((1, 2), (3, 1), (2, 5)):
            place_boxes(net, batch, boxes)
            values, found = image(net, batch), []
            for _ in range(5):
                run(net, values)
                found.append(kept(net))
                run(net, np.zeros_like(values))
            for later in found[1:]:
                for a, b in zip(found[0], later, strict=True):
                    np.testing.assert_array_equal(a, b)


def test_changed_weights():
    plain, plan = pair(convolutions())
    values = image(plain, 1)
    for _ in range(3):
        run(plan, values)
    for net in (plain, plan):
        scatter(net)
    agree(plain, plan, values)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "cfg").glob("*.cfg")))
def test_every_cfg(monkeypatch, name):
    """All layers run, and what comes out is that of float32; without trained weights some networks
    round badly, so that the median is compared."""
    monkeypatch.setenv("DARKNET_CUDNN", "rules")
    plain, plan = pair(ROOT / "cfg" / f"{name}.cfg", width=64, height=96)
    values = image(plain, 1)
    for net in (plain, plan):
        if "roialign" in kinds(net):
            place_boxes(net, 1)
        run(net, values)
    for wanted, found in zip(kept(plain), kept(plan), strict=True):
        scale = np.sqrt((wanted.astype(np.float64) ** 2).mean())
        assert np.median(np.abs(wanted - found)) <= 2e-2 * scale


def test_precisions():
    with pytest.raises(ValueError, match="int8 needs the CPU"):
        make(MIXED, lib.DN_PRECISION_INT8)
    net = make(MIXED, FP16, keep_all=True)
    run(net, image(net, 1))
    assert lib.dn_network_step_count(net.handle) == 0  # layer by layer, in float32


def published(models: Path, name: str) -> str:
    """The weights of a cfg, of our own branch with those of the detector it was trained on."""
    detector = name.replace("yolomask-v4", "yolov4")
    branch = ROOT / "weights" / f"{name}.mask.weights"
    files = [published_file(models, f"{detector}.weights"), *([branch] * (name != detector))]
    return ",".join(map(str, files))


def partner(one, k: int, other) -> int:
    """The box of another result that is box k here: of its class the nearest."""
    apart = np.abs(other.boxes.xyxy - one.boxes.xyxy[k]).max(1)
    return int(np.argmin(np.where(other.boxes.cls == one.boxes.cls[k], apart, np.inf)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["yolov3-tiny", "yolov4-tiny", "yolomask-v4-tiny"])
def test_same_detections_of_published_weights(models, monkeypatch, name):
    """What half precision finds above .25 float32 finds, too, and the other way round, its score
    within .01, its box within 2 pixels, its mask in all but one of a hundred pixels that it has."""
    monkeypatch.setenv("DARKNET_CUDNN", "rules")
    weights, cfg = published(models, name), ROOT / "cfg" / f"{name}.cfg"
    photos = [*sorted((ROOT / "data").glob("*.jpg")), *sorted(models.glob("samples/*.jpg"))]
    found = []
    for device, precision in (("cpu", "plain"), ("cuda", "fp16")):
        with Network(cfg, weights, device=device, precision=precision) as net:
            found.append([net.predict(photo, 0.25 - 0.01) for photo in photos])
    compared = 0
    for pair_of_results in zip(*found, strict=True):
        for one, other in (pair_of_results, pair_of_results[::-1]):
            for k in np.flatnonzero(one.boxes.conf >= 0.25):
                same = partner(one, k, other)
                assert other.boxes.cls[same] == one.boxes.cls[k]
                assert abs(other.boxes.conf[same] - one.boxes.conf[k]) <= 0.01
                assert np.abs(other.boxes.xyxy[same] - one.boxes.xyxy[k]).max() <= 2
                compared += 1
                if one.masks is not None:
                    masks = one.masks.data[k], other.masks.data[same]
                    assert (masks[0] != masks[1]).sum() <= 0.01 * (masks[0] | masks[1]).sum()
    assert compared >= 4
