"""[roialign]: values against ONNX Runtime and a NumPy oracle, gradients, level choice, errors."""

from __future__ import annotations

import numpy as np
import pytest

from networks import Net
from roi_support import expand, get_rois, nearest_level, pool, set_rois
from yolomask._native import ConfigError, check, ffi, lib

HEAD = """
[convolutional]
filters=6
size=1
activation=linear

[yolo]
mask=0
anchors=10,10
classes=1
num=1
"""


def pooling_cfg(channels=3, height=24, width=32, maps=(1,), size=4, samples=2, **options) -> str:
    """Maps of the input, max-pooled by each of `maps`, copied behind a head, pooled."""
    cfg = f"[net]\nbatch=4\nchannels={channels}\nheight={height}\nwidth={width}\n"
    cfg += "[maxpool]\nsize=1\nstride=1\n"
    for stride in maps:
        cfg += f"[route]\nlayers=0\n[maxpool]\nsize={stride}\nstride={stride}\npadding=0\n"
    cfg += "[route]\nlayers=0\n" + HEAD
    for k in range(len(maps)):
        cfg += f"[route]\nlayers={2 * k + 2}\n"
    layers = ",".join(str(k - len(maps)) for k in range(len(maps)))
    options = {"max_rois": 250, "train_rois": 250, "expand": 0} | options
    cfg += f"[roialign]\nlayers={layers}\nsize={size}\nsamples={samples}\n"
    return cfg + "".join(f"{key}={value}\n" for key, value in options.items())


def random_boxes(rng, count, height, width, batch=1) -> list[dict]:
    """Boxes of all sizes, some of them partly or wholly outside, some empty."""
    rois = []
    for image in sorted(rng.integers(0, batch, count).tolist()):
        centre = rng.uniform(-0.2, 1.2, 2) * (width, height)
        half = np.exp(rng.uniform(np.log(0.2), np.log(0.7 * width), 2)) / 2
        if rng.random() < 0.03:
            half[:] = 0
        rois.append({"image": image, "box": np.concatenate([centre - half, centre + half])})
    for roi in rois:
        roi["box"] = roi["box"].astype(np.float32)
    return rois


def onnx_roialign(features, boxes, images, scale, size, samples) -> np.ndarray:
    """ONNX Runtime's RoiAlign, opset 16, half_pixel; the model is written as protobuf by hand."""
    onnxruntime = pytest.importorskip("onnxruntime")

    def varint(value):
        out = bytearray()
        while value > 127:
            out.append(value & 127 | 128)
            value >>= 7
        return bytes(out + bytes([value]))

    def field(number, payload):
        if isinstance(payload, int):
            return varint(number << 3) + varint(payload)
        if isinstance(payload, float):
            return varint(number << 3 | 5) + np.float32(payload).tobytes()
        payload = payload.encode() if isinstance(payload, str) else payload
        return varint(number << 3 | 2) + varint(len(payload)) + payload

    def attribute(name, number, kind, value):
        return field(5, field(1, name) + field(number, value) + field(20, kind))

    def tensor(number, name, kind, rank):
        dims = b"".join(field(1, field(2, f"{name}{i}")) for i in range(rank))
        return field(number, field(1, name) + field(2, field(1, field(1, kind) + field(2, dims))))

    node = field(1, "x") + field(1, "rois") + field(1, "images") + field(2, "y")
    node += field(4, "RoiAlign")
    node += attribute("coordinate_transformation_mode", 4, 3, "half_pixel")
    node += attribute("mode", 4, 3, "avg")
    node += attribute("output_height", 3, 2, size) + attribute("output_width", 3, 2, size)
    node += attribute("sampling_ratio", 3, 2, samples)
    node += attribute("spatial_scale", 2, 1, float(scale))
    graph = field(1, node) + field(2, "g") + tensor(11, "x", 1, 4) + tensor(11, "rois", 1, 2)
    graph += tensor(11, "images", 7, 1) + tensor(12, "y", 1, 4)
    model = field(1, 8) + field(7, graph) + field(8, field(2, 16))
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    feed = {"x": features, "rois": boxes, "images": images}
    return session.run(None, feed)[0]


@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_average_equals_onnx_runtime(samples):
    rng = np.random.default_rng(samples)
    net = Net(
        pooling_cfg(channels=5, maps=(2,), size=7, samples=samples, pool="average"),
        batch=2,
    )
    values = rng.normal(size=(2, 5, 24, 32)).astype(np.float32)
    rois = random_boxes(rng, 200, 24, 32, batch=2)
    set_rois(net, rois)
    pooled = net.forward(values)
    boxes = np.stack([roi["box"] for roi in rois])
    images = np.array([roi["image"] for roi in rois], np.int64)
    wanted = onnx_roialign(net.output(2), boxes, images, 0.5, 7, samples)
    assert pooled.shape == wanted.shape
    assert np.abs(pooled - wanted).max() <= 1e-5
    assert np.abs(wanted).max() > 1


@pytest.mark.parametrize("kind", ["max", "average"])
@pytest.mark.parametrize(("size", "samples", "channels"), [(3, 1, 1), (5, 2, 17), (7, 3, 4)])
def test_equals_the_oracle(kind, size, samples, channels):
    rng = np.random.default_rng(size)
    net = Net(
        pooling_cfg(channels, 22, 30, (1, 3), size, samples, pool=kind, expand=0.2),
        batch=3,
    )
    values = rng.normal(size=(3, channels, 22, 30)).astype(np.float32)
    rois = random_boxes(rng, 40, 22, 30, batch=3)
    set_rois(net, rois)
    pooled = net.forward(values)
    maps = [net.output(2), net.output(4)]
    for roi, found in zip(rois, pooled, strict=True):
        box = expand(roi["box"].astype(np.float64), 0.2)
        wanted = sum(pool(m[roi["image"]], (22, 30), box, size, samples, kind) for m in maps)
        assert np.abs(found - wanted).max() <= 2e-5


def test_hand_worked_grid():
    """A 4x4 map of 0..15, value = column + 4 * row; points worked out by hand."""
    values = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    average = Net(pooling_cfg(1, 4, 4, (1,), 2, 2, pool="average"), batch=1)
    maximum = Net(pooling_cfg(1, 4, 4, (1,), 2, 2, pool="max"), batch=1)
    whole = {"box": [0, 0, 4, 4]}  # points at 0, 1, 2, 3: the cells themselves
    for net, wanted in ((average, [2.5, 4.5, 10.5, 12.5]), (maximum, [5, 7, 13, 15])):
        set_rois(net, [whole])
        assert net.forward(values).ravel().tolist() == wanted
    inner = {"box": [1, 1, 3, 3]}  # points at .75, 1.25, 1.75, 2.25
    for net, wanted in (
        (average, [5, 6, 9, 10]),
        (maximum, [6.25, 7.25, 10.25, 11.25]),
    ):
        set_rois(net, [inner])
        assert net.forward(values).ravel().tolist() == wanted
    # Points at -1.25 (outside: 0), -.75, -.25 (both clamped to column 0) and .25 on both axes.
    corner = {"box": [-1, -1, 1, 1]}
    for net, wanted in (
        (average, [0, 0.0625, 0.25, 0.625]),
        (maximum, [0, 0.25, 1, 1.25]),
    ):
        set_rois(net, [corner])
        assert net.forward(values).ravel().tolist() == wanted


@pytest.mark.parametrize("kind", ["max", "average"])
def test_constant_and_ramp_are_exact(kind):
    rng = np.random.default_rng(3)
    net = Net(pooling_cfg(2, 32, 32, (1,), 4, 2, pool=kind), batch=1)
    values = np.empty((1, 2, 32, 32), np.float32)
    values[0, 0] = 3.25
    values[0, 1] = (np.arange(32) + 0.5) / 2  # half the x coordinate of the pixels' centres
    rois = []
    for _ in range(30):
        x0, y0 = rng.uniform(1, 14, 2)
        rois.append({"box": np.float32([x0, y0, x0 + rng.uniform(1, 16), y0 + 8])})
    set_rois(net, rois)
    pooled = net.forward(values)
    assert np.allclose(pooled[:, 0], 3.25, rtol=1e-6, atol=0)
    for roi, found in zip(rois, pooled, strict=True):
        x0, x1 = roi["box"][0], roi["box"][2]
        centres = x0 + (np.arange(4) + (0.5 if kind == "average" else 0.75)) * (x1 - x0) / 4
        assert np.allclose(found[1], centres / 2, atol=2e-6)


@pytest.mark.parametrize("kind", ["max", "average"])
def test_gradients_by_finite_differences(kind):
    """d(sum of random * pooled) / d(each cell), from the float64 oracle."""
    rng = np.random.default_rng(7)
    cfg = pooling_cfg(3, 12, 16, (1, 2), 3, 2, pool=kind, expand=0.1)
    net = Net(cfg, batch=2, training=True, stage=lib.DN_STAGE_MASK)
    values = rng.normal(size=(2, 3, 12, 16)).astype(np.float32)
    rois = random_boxes(rng, 12, 12, 16, batch=2)
    set_rois(net, rois)
    pooled = net.forward(values)
    factors = rng.normal(size=pooled.shape).astype(np.float32)
    check(lib.dn_network_backward(net.handle, ffi.from_buffer("float[]", factors)))
    maps = [net.output(-3).astype(np.float64), net.output(-2).astype(np.float64)]

    def objective(level):
        total = 0.0
        for roi, factor in zip(rois, factors, strict=True):
            box = expand(roi["box"].astype(np.float64), 0.1)
            found = pool(maps[level][roi["image"]], (12, 16), box, 3, 2, kind)
            total += float((factor * found).sum())
        return total

    step = 1e-6
    for level, layer in ((0, -3), (1, -2)):
        gradient = net.grad(layer)
        cells = rng.choice(gradient.size, 40, replace=False)
        for at in [np.unravel_index(i, gradient.shape) for i in cells]:
            kept = maps[level][at]
            maps[level][at] = kept + step
            above = objective(level)
            maps[level][at] = kept - step
            slope = (above - objective(level)) / (2 * step)
            maps[level][at] = kept
            assert abs(slope - gradient[at]) <= 1e-4 * max(1, abs(slope))
        assert np.abs(gradient).max() > 0.1


@pytest.mark.parametrize("kind", ["max", "average"])
def test_threads_change_no_bit(kind):
    rng = np.random.default_rng(5)
    values = rng.normal(size=(2, 19, 24, 32)).astype(np.float32)
    rois = random_boxes(rng, 60, 24, 32, batch=2)
    factors = rng.normal(size=(60, 19, 4, 4)).astype(np.float32)
    results = []
    for threads in (1, 2, 3):
        cfg = pooling_cfg(19, 24, 32, (1, 4), pool=kind)
        net = Net(cfg, batch=2, training=True, stage=lib.DN_STAGE_MASK, threads=threads)
        set_rois(net, rois)
        pooled = net.forward(values)
        check(lib.dn_network_backward(net.handle, ffi.from_buffer("float[]", factors)))
        results.append((pooled.tobytes(), net.grad(-3).tobytes(), net.grad(-2).tobytes()))
    assert results[0] == results[1] == results[2]


def test_levels_assign():
    rng = np.random.default_rng(11)
    cfg = pooling_cfg(2, 256, 256, (8, 4, 16), 2, 1, pool="average", levels="assign")
    net = Net(cfg, batch=1)
    sides = np.exp(rng.uniform(np.log(20), np.log(250), (40, 1)) + rng.normal(0, 0.2, (40, 2)))
    rois = [{"box": np.float32([0, 0, w, h])} for w, h in sides]
    # Exactly between strides 4 and 8 (sqrt(area) = 14 * sqrt(32)): the finer one.
    ties = [{"box": [x, 0, x + 14 * 4 * f, 14 * 8 / f]} for x in (0, 3.7) for f in (1, 1.1, 1.3)]
    set_rois(net, [*rois, *ties])
    values = rng.normal(size=(1, 2, 256, 256)).astype(np.float32)
    pooled = net.forward(values)
    maps = [net.output(2), net.output(4), net.output(6)]
    found = get_rois(net)
    assert [roi.level for roi in found[-6:]] == [1] * 6
    assert {roi.level for roi in found} == {0, 1, 2}
    for roi, known, values in zip(rois, found, pooled, strict=False):
        assert known.level == nearest_level(roi["box"], (8, 4, 16))
        wanted = pool(maps[known.level][0], (256, 256), roi["box"], 2, 1, "average")
        assert np.abs(values - wanted).max() <= 1e-5


def test_assigned_level_alone_gets_the_gradient():
    cfg = pooling_cfg(2, 64, 64, (4, 8), 2, 1, pool="average", levels="assign")
    net = Net(cfg, batch=1, training=True, stage=lib.DN_STAGE_MASK)
    set_rois(net, [{"box": [4, 4, 60, 60]}])  # 56 / 14 = 4
    pooled = net.forward(np.ones((1, 2, 64, 64), np.float32))
    ones = np.ones_like(pooled)
    check(lib.dn_network_backward(net.handle, ffi.from_buffer("float[]", ones)))
    assert net.grad(-3).sum() == pytest.approx(8)
    assert not net.grad(-2).any()


def test_no_rois_and_capacity():
    net = Net(pooling_cfg(max_rois=3), batch=2)
    values = np.ones((2, 3, 24, 32), np.float32)
    set_rois(net, [])
    check(lib.dn_network_forward(net.handle, net._set_input(values), 2, 0.0))
    assert net.layer(-1).live == 0
    assert net.layer(-1).n == 6
    with pytest.raises(ValueError, match="7 RoIs: at most 6 fit"):
        set_rois(net, [{"box": [0, 0, 1, 1]}] * 7)
    with pytest.raises(ValueError, match="image 2 is not sorted or not in 0..1"):
        set_rois(net, [{"box": [0, 0, 1, 1], "image": 2}])
    set_rois(net, [{"box": [0, 0, 9, 9], "image": 1}])  # not live where the batch is 1
    check(lib.dn_network_forward(net.handle, net._set_input(values), 1, 0.0))
    assert net.layer(-1).live == 0


NET = "[net]\nchannels=3\nheight=16\nwidth=16\n[convolutional]\nfilters=6\n[yolo]\nmask=0\n"
NET += "anchors=9,9\nclasses=1\nnum=1\n"


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        (
            NET + "[roialign]\nsize=7\n",
            r"test.cfg:\d+: layer 2 \[roialign\]: layers= is missing",
        ),
        (NET + "[roialign]\nlayers=9\n", "reads layer 9, which is layer 9: only 0..1"),
        (NET + "[roialign]\nlayers=0\nsize=65\n", "size=65"),
        (NET + "[roialign]\nlayers=0\npool=min\n", "pool=min"),
        (
            NET + "[convolutional]\nfilters=4\n[roialign]\nlayers=0,2\n",
            "layer 0 has 6 channels, layer 2 has 4: the maps must agree",
        ),
        (
            "[net]\nchannels=3\nheight=16\nwidth=16\n[convolutional]\n[roialign]\nlayers=0\n",
            r"no \[yolo\] or \[region\] before it finds boxes",
        ),
        (
            NET + "[roialign]\nlayers=0\n[convolutional]\n[roialign]\nlayers=-1\n",
            "layer 3 holds RoIs; boxes are pooled from maps of images",
        ),
        (
            NET + "[roialign]\nlayers=0\n[route]\nlayers=-1,0\n",
            r"mixes tensors of images and of RoIs \(layers 2 and 0\)",
        ),
        (
            NET + "[roialign]\nlayers=0\n[roialign]\nlayers=0\n[route]\nlayers=-1,-2\n",
            "mixes tensors",
        ),
    ],
)
def test_cfg_errors(cfg, message):
    with pytest.raises(ConfigError, match=message):
        Net(cfg)


def test_allocation_failures(fail_allocations):
    fail_allocations(lambda: Net(pooling_cfg(2, 8, 8, max_rois=4)))
