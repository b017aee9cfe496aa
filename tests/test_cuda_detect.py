"""From a head's output to boxes, RoIs and masks on the device "cuda", against the same on the CPU.

With new_coords a [yolo] gives what it gets, by multiplications alone, so all of it must be the same
bits: boxes, suppression, which RoIs, in which order, of which map. The other way to compare, with
NumPy's comparison of all pairs, is tests/test_suppression.py, which test_cuda_suites.py runs on the
device. How much comes back to the host, host-cuda counts.
"""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from networks import Net
from roi_support import get_rois
from test_cuda_layers import NO_CUDA
from test_suppression import SIDE, crowded_cfg, draw, identity, network_input
from yolomask._native import check, ffi, find_library, lib

pytestmark = pytest.mark.skipif(bool(NO_CUDA), reason=NO_CUDA)

FIELDS = ("image", "class_id", "truth", "detection", "level", "score")
SIDES = ("x0", "y0", "x1", "y1")


def pair(cfg: str, **options) -> tuple[Net, Net]:
    nets = [identity(Net(cfg, device=device, seed=3, **options)) for device in (b"cpu", b"cuda")]
    return tuple(nets)


def rows_of_rois(net: Net) -> list[tuple]:
    boxes = [
        [getattr(b, side) for b in (r.box, r.expanded) for side in SIDES] for r in get_rois(net)
    ]
    return [
        (*(getattr(r, name) for name in FIELDS), *box)
        for r, box in zip(get_rois(net), boxes, strict=True)
    ]


def rows_of_instances(result) -> tuple[list[tuple], np.ndarray]:
    rows, masks = [], []
    for one in result.instances[0 : result.instance_count]:
        box = [getattr(one.box, side) for side in SIDES]
        rows.append((one.class_id, one.detection, one.score, one.objectness, *box))
        if one.mask == ffi.NULL:
            masks.append(np.full(1, -1, np.float32))
        else:
            masks.append(np.frombuffer(ffi.buffer(one.mask, 4 * result.mask_size**2), np.float32))
    return rows, np.concatenate(masks) if masks else np.zeros(0, np.float32)


def compare(cpu: Net, cuda: Net, values: np.ndarray, threshold: float) -> tuple[int, int]:
    """How many RoIs and instances both have."""
    for net in (cpu, cuda):
        net.forward(values, threshold)
    rois = rows_of_rois(cpu)
    assert rows_of_rois(cuda) == rois
    count = 0
    for image in range(len(values)):
        (wanted, masks), (found, others) = (
            rows_of_instances(net.result(image, 16 * SIDE, 16 * SIDE)) for net in (cpu, cuda)
        )
        assert found == wanted
        np.testing.assert_allclose(others, masks, rtol=1e-5)
        count += len(wanted)
    return len(rois), count


@pytest.fixture
def copies():
    """Counts the copies to the host, and their bytes, since it was last asked."""
    library = ctypes.CDLL(str(find_library()[0]))
    if not hasattr(library, "dn_host_copies"):
        pytest.skip("a real GPU: copies are not counted")
    functions = library.dn_host_copies, library.dn_host_copied_bytes
    for function in functions:
        function.restype = ctypes.c_long
    last = [function() for function in functions]

    def since() -> tuple[int, int]:
        before = list(last)
        last[:] = [function() for function in functions]
        return last[0] - before[0], last[1] - before[1]

    return since


@pytest.mark.parametrize(
    ("kind", "beta", "shape"),
    [("default", 0.6, "spread"), ("default", 0.6, "any"), ("default", 0.6, "equal"),
     ("greedynms", 0.6, "spread"), ("diounms", 0.8, "equal")],
)  # fmt: skip
def test_the_same_bits(kind, beta, shape):
    """Of boxes that crowd, with equal scores; first more than there is room for, then with room."""
    nets = pair(crowded_cfg(3, 0.45, kind, beta, max_rois=150))
    values = network_input(draw(np.random.default_rng(len(shape)), 3, shape))
    for threshold in (0.4, 0.4, 0.9):
        rois, found = compare(*nets, values, threshold)
        assert found >= rois > 0
    assert compare(*nets, values, 2) == (0, 0)
    assert compare(*nets, values, 0.9)[0] > 0


@pytest.mark.parametrize("nms", [1e-30, 0.2, 1])
def test_thresholds_of_suppression(nms):
    nets = pair(crowded_cfg(2, nms, max_rois=400))
    values = network_input(draw(np.random.default_rng(1), 2, "spread"))
    for _ in range(2):
        assert compare(*nets, values, 0.7)[0] > 0


TWO_HEADS = """
[net]
width=320
height=320
channels=42
[convolutional]
filters=42
groups=42
size=1
stride=16
activation=linear
[route]
layers=0
groups=2
group_id=0
[yolo]
mask=0,1,2
anchors=16,16, 40,16, 100,120
num=3
classes=2
new_coords=1
[route]
layers=0
groups=2
group_id=1
[maxpool]
size=2
stride=2
[yolo]
mask=0,1,2
anchors=30,20, 60,16, 100,120
num=3
classes=2
new_coords=1
[route]
layers=1
[convolutional]
filters=2
size=1
activation=linear
[route]
layers=4
[convolutional]
filters=2
size=1
activation=linear
[roialign]
layers=7,9
levels=assign
size=2
max_rois=30
score_thresh=.1
[convolutional]
filters=2
size=1
activation=linear
[mask]
classes=2
"""


def test_two_heads_three_images_assigned_maps():
    """The second image is empty, the first has fewer boxes than it may; then a batch of one."""
    nets = pair(TWO_HEADS, batch=3)
    for seed in (2, 3):
        rng = np.random.default_rng(seed)
        values = np.zeros((3, 2, 3, 7, SIDE, SIDE), np.float32)
        for image, share in ((0, 0.003), (2, 0.2)):
            for head in range(2):
                values[image, head] = draw(rng, 2, "spread")
                values[image, head, :, 2:4] *= 2
                values[image, head, :, 4] *= rng.random(values[image, head, :, 4].shape) < share
        given = np.concatenate([network_input(v.reshape(6, 7, SIDE, SIDE)) for v in values])
        rois, found = compare(*nets, given, 0.3)
        per_image = [sum(r[0] == n for r in rows_of_rois(nets[1])) for n in range(3)]
        assert 0 < per_image[0] < 30 and per_image[1:] == [0, 30] and found > rois
        assert {r[4] for r in rows_of_rois(nets[1])} == {0, 1}
        assert compare(*nets, given[:1], 0.3)[0] == per_image[0]


def test_more_boxes_than_the_device_suppresses():
    """4,800 places: the host suppresses, every time."""
    cfg = crowded_cfg(1, 0.45, max_rois=50).replace("[yolo]\nmask=0,1,2", "[yolo]\nmask=" +
        ",".join(["0,1,2"] * 4)).replace("filters=18", "filters=72").replace(
        "groups=18", "groups=72").replace("channels=18", "channels=72")  # fmt: skip
    nets = pair(cfg)
    rng = np.random.default_rng(7)
    values = np.concatenate([draw(rng, 1, "spread") for _ in range(4)])
    for _ in range(2):
        assert compare(*nets, network_input(values), 0.1)[0] == 50


def test_what_comes_to_the_host(copies):
    """The boxes of the branch in one small copy, what was kept in a second, then the masks."""
    net = pair(crowded_cfg(3, 0.45, max_rois=20), keep_all=False)[1]
    values = draw(np.random.default_rng(3), 3, "spread")
    values[:, 4] *= np.random.default_rng(4).random(values[:, 4].shape) < 0.03
    given = network_input(values)
    for _ in range(2):  # the first pass makes room
        net.forward(given, 0.3)
        net.result(0, 16 * SIDE, 16 * SIDE)
    copies()
    check(lib.dn_network_forward(net.handle, net._set_input(given), 1, 0.3))
    count, size = copies()
    assert count == 2 and size <= 20 * 64 + 64 * 32 + 64
    result = net.result(0, 16 * SIDE, 16 * SIDE)
    rois = rows_of_rois(net)
    classes = {r[3]: r[1] for r in rois}
    other = [i for i in result.instances[0 : result.instance_count]
             if i.mask != ffi.NULL and i.class_id != classes[i.detection]]  # fmt: skip
    count, size = copies()
    assert other and len(rois) == 20
    late = max(result.instance_count - 64, 0)  # a second copy of what was kept, where that is much
    masks = sum(i.mask != ffi.NULL for i in result.instances[0 : result.instance_count])
    assert count == 1 + (late > 0)
    assert size == 4 * masks + 32 * late
