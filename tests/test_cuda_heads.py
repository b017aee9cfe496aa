"""The CUDA forms of the layers that have a loss: [yolo], [region], [mask], [softmax], [logistic],
[cost].

The network trains a step on the CPU; then the layer runs once more on a device, as in
test_cuda_layers.py, which says how to run both. Truth: the float64 models of head_oracle.py and
test_mask_branch.py, PyTorch for the others, and the CPU's numbers, which differ by rounding.
"""

from __future__ import annotations

import numpy as np
import pytest

from head_oracle import Region, Yolo
from layer_harness import Net, close
from roi_support import Truths, get_rois, set_rois
from test_cuda_layers import EXACT, ROUNDED, agree, device  # noqa: F401 (device is a fixture)
from test_heads import (
    ANCHORS,
    BOX_LOSSES,
    REGION_VARIANTS,
    STRIDE,
    YOLO_VARIANTS,
    channels_of,
    in_pixels,
    instances,
    random_logits,
    random_objects,
    region_section,
    spread,
    yolo_section,
)
from test_heads import build as build_head
from test_mask_branch import (
    MASK,
    SIZE,
    Oracle,
    branch_cfg,
    three_images,
    three_rois,
    train_forward,
)
from test_mask_branch import backward as branch_backward
from yolomask._native import DataError, check, ffi, lib

STATISTICS = [
    *("count", "iou", "class_probability", "objectness", "no_objectness"),
    *("recall_50", "recall_75", "box_loss", "class_loss"),
]


def run_last(device: str, net, grad_out: np.ndarray | None = None):  # noqa: F811
    """Output, gradient of the input and loss of the network's last layer on the device."""
    index = net.info.layer_count - 1
    out = np.full(net.output(index).shape, np.nan, np.float32)
    grad_in = np.zeros(net.output(index - 1).shape, np.float32)
    grad_out = np.zeros_like(out) if grad_out is None else grad_out

    def pointer(array):
        return ffi.cast("float *", array.ctypes.data)

    arrays = [pointer(a) for a in (out, grad_out, grad_in)]
    check(lib.dn_test_layer(net.handle, index, device.encode(), *arrays, ffi.NULL))
    return out, grad_in, net.layer(index).loss


# ---- [yolo] and [region] ----


def train_head(head, section, objects=None, seed=1, seen=10**6, spread_of=1.0, n=2):
    """The network of a head behind a training pass, its logits, and the objects in fractions."""
    h, w = 5, 7
    rng = np.random.default_rng(seed)
    logits = random_logits(head, n, h, w, seed, spread_of)
    if objects is None:
        objects = random_objects(rng, head, n, h, w)
    pixels = in_pixels(objects, w * STRIDE, h * STRIDE)
    size = (w * STRIDE, h * STRIDE) * 2
    net = build_head(section, channels_of(head), *size[:2], batch=n, training=True)
    lib.dn_network_set_seen(net.handle, seen)
    net.train_forward(spread(logits), pixels)
    net.backward()
    return net, logits, [[(tuple(np.divide(b, size)), c, k) for b, c, k in o] for o in pixels]


def compare_head(device, head, section, seen=10**6, **how):  # noqa: F811
    net, logits, objects = train_head(head, section, seen=seen, **how)
    wanted = [getattr(net.head_statistics(1), name) for name in STATISTICS]
    cpu_out, cpu_grad, cpu_loss = net.output(1), net.grad(0), net.layer(1).loss
    out, grad, loss = run_last(device, net)
    close(out, cpu_out, ROUNDED)
    close(grad, cpu_grad, ROUNDED)
    assert loss == pytest.approx(cpu_loss, rel=1e-6)
    found = [getattr(net.head_statistics(1), name) for name in STATISTICS]
    assert found == pytest.approx(wanted, rel=1e-6)
    gradient, loss_there, learned = head.loss(logits, objects, seen)
    np.testing.assert_allclose(
        grad.reshape(gradient.shape), gradient, rtol=2e-4, atol=2e-5 * np.abs(gradient).max()
    )
    assert loss == pytest.approx(loss_there, rel=1e-4)
    assert found[0] == len(learned)
    return found


@pytest.mark.parametrize("variant", YOLO_VARIANTS)
def test_yolo(device, variant):  # noqa: F811
    head = Yolo(112, 80, 4, ANCHORS, **({"mask": [1, 2, 4]} | YOLO_VARIANTS[variant]))
    assert compare_head(device, head, yolo_section(head))[0] > 5


@pytest.mark.parametrize("kind", BOX_LOSSES)
@pytest.mark.parametrize(
    "options",
    [
        {"iou_thresh": 0.213, "iou_normalizer": 0.07, "cls_normalizer": 0.5},
        {"new_coords": True, "scale_x_y": 2.0},
        {"max_delta": 0.3, "iou_normalizer": 0.5, "obj_normalizer": 0.4},
    ],
    ids=["iou_thresh", "new_coords", "max_delta"],
)
def test_yolo_box_losses(device, kind, options):  # noqa: F811
    head = Yolo(112, 80, 4, ANCHORS, [0, 1, 2, 3, 5], iou_loss=kind, **options)
    assert compare_head(device, head, yolo_section(head), spread_of=0.5)[0] > 5


@pytest.mark.parametrize("variant", REGION_VARIANTS)
def test_region(device, variant):  # noqa: F811
    options, seen = REGION_VARIANTS[variant]
    head = Region(4, [(0.6, 0.7), (1.9, 2.1), (3.3, 2.5)], **options)
    assert compare_head(device, head, region_section(head), seen, spread_of=0.6)[0] > 5


def heads() -> dict:
    return {
        "yolo": Yolo(112, 80, 4, ANCHORS, [1, 2, 4], iou_loss="ciou", iou_thresh=0.3),
        "region": Region(4, [(0.6, 0.7), (1.9, 2.1), (3.3, 2.5)], softmax=True),
    }


def section_of(head) -> str:
    return yolo_section(head) if isinstance(head, Yolo) else region_section(head)


@pytest.mark.parametrize("name", heads())
def test_more_objects_than_there_is_room_for(device, name):  # noqa: F811
    """300 objects in one of two images: many meet in one place, and staging has to grow."""
    head = heads()[name]
    objects = random_objects(np.random.default_rng(5), head, 1, 5, 7, count=300) + [[]]
    compare_head(device, head, section_of(head), objects=objects)


@pytest.mark.parametrize("name", heads())
def test_heads_without_objects(device, name):  # noqa: F811
    head = heads()[name]
    assert compare_head(device, head, section_of(head), objects=[[], []])[0] == 0


@pytest.mark.parametrize("name", heads())
def test_heads_without_truth(device, name):  # noqa: F811
    net, logits, _ = train_head(heads()[name], section_of(heads()[name]))
    net.forward(spread(logits))
    out, grad, loss = run_last(device, net)
    close(out, net.output(1), ROUNDED)
    assert not grad.any() and loss == 0 and net.head_statistics(1).count == 0


@pytest.mark.parametrize("name", heads())
def test_heads_that_do_not_train(device, name):  # noqa: F811
    head = heads()[name]
    net = build_head(section_of(head), channels_of(head), 112, 80, batch=2)
    net.forward(spread(random_logits(head)))
    out = np.full(net.output(1).shape, np.nan, np.float32)
    pointer = ffi.cast("float *", out.ctypes.data)
    check(lib.dn_test_layer(net.handle, 1, device.encode(), pointer, *[ffi.NULL] * 3))
    close(out, net.output(1), ROUNDED)


def test_class_that_the_head_does_not_have(device):  # noqa: F811
    head = heads()["yolo"]
    net, _, _ = train_head(head, yolo_section(head))
    net._objects[1][0].class_id = 4
    with pytest.raises(DataError, match=r"object 0 has class 4; layer 1 \[yolo\] has 0..3"):
        run_last(device, net)


def found_by(net, image: int, threshold: float) -> list:
    """Instances by class and place in the list, which suppression with nms=1 leaves as it is."""
    result = net.result(image, 112, 80, fit=lib.DN_FIT_STRETCH, threshold=threshold, nms=1)
    return sorted(instances(result), key=lambda r: (r[4], r[0]))


@pytest.mark.parametrize("name", heads())
def test_boxes_on_the_device(device, name):  # noqa: F811
    """The same boxes in the same order, of few and of more than there is room for at first."""
    head = heads()[name]
    anchors = ANCHORS * 4 if name == "yolo" else head.anchors * 9
    more = {"mask": list(range(24))} if name == "yolo" else {}
    head = type(head)(*((112, 80) if name == "yolo" else ()), 4, anchors, **more)
    logits = random_logits(head, n=3)
    logits.reshape(3, len(anchors), 9, 5, 7)[1, :, 4] = -20  # nothing in the second image
    nets = [
        build_head(section_of(head), channels_of(head), 112, 80, batch=3, device=where)
        for where in (b"cpu", device.encode())
    ]
    for threshold, batch in ((0.6, 3), (0.01, 3), (0.6, 3), (0.3, 2)):
        for net in nets:
            net.forward(spread(logits[:batch]), threshold)
        for image in range(batch):
            wanted, found = (found_by(net, image, threshold) for net in nets)
            assert [r[::4] for r in found] == [r[::4] for r in wanted]
            for k in (1, 2, 3):
                actual = np.array([r[k] for r in found])
                np.testing.assert_allclose(actual, [r[k] for r in wanted], rtol=1e-5, atol=1e-4)
            assert (len(wanted) == 0) == (image == 1)
            assert threshold != 0.01 or image == 1 or len(wanted) > 3 * 128


# ---- [mask] ----


def mask_oracle(net, oracle: Oracle, classes: int, batch: int):
    """Loss and gradient of the logits, by autograd in float64 from the library's logits."""
    torch = pytest.importorskip("torch")
    logits = torch.tensor(net.output(-2), dtype=torch.float64, requires_grad=True)
    losses: list[list] = [[] for _ in range(batch)]
    for r, roi in enumerate(oracle.rois):
        if roi.truth < 0:
            continue
        x, t = logits[r, roi.class_id if classes > 1 else 0], torch.tensor(oracle.target(roi))
        value = torch.nn.functional.binary_cross_entropy_with_logits(x, t)
        if oracle.loss == "bce+dice":
            p = torch.sigmoid(x)
            value = value + 1 - (2 * (p * t).sum() + 1) / ((p**2).sum() + (t**2).sum() + 1)
        losses[roi.image].append(value)
    total = oracle.scale * sum(sum(some) / len(some) for some in losses if some)
    total.backward()
    return total.item() / batch, logits.grad.numpy()


@pytest.mark.parametrize(
    ("classes", "loss", "soft", "scale"),
    [(1, "bce", 1, 1.0), (1, "bce+dice", 1, 2.5), (3, "bce+dice", 0, 0.5), (3, "bce", 1, 1.0)],
)
def test_mask(device, classes, loss, soft, scale):  # noqa: F811
    """RoIs of three images; one of them and some RoIs have no truth."""
    rng = np.random.default_rng(classes + soft)
    options = f"loss={loss}\nsoft_targets={soft}\nmask_scale={scale}\n"
    cfg = branch_cfg(classes, mask=options)
    net = networks_net(cfg, batch=3, training=True)
    truths = three_images(rng)
    given = Truths(truths)
    others = [{"image": 1, "box": (3, 4, 30, 31), "class_id": 1}]
    others.append({"image": 2, "box": (5, 1, 22, 41), "class_id": 2})
    rois = sorted(three_rois(truths) + others, key=lambda roi: roi["image"])
    set_rois(net, rois)
    cpu_loss = train_forward(net, rng.random((3, 3, SIZE, SIZE)), given)
    branch_backward(net)
    cpu_out, cpu_grad = net.output(MASK), net.grad(-2)
    out, grad, found = run_last(device, net)
    assert len(get_rois(net)) == len(rois)
    close(out, cpu_out, ROUNDED)
    close(grad, cpu_grad, ROUNDED)
    assert found == pytest.approx(cpu_loss, rel=1e-9 if device == "cpu" else 1e-6)
    wanted, gradient = mask_oracle(
        net, Oracle(net, "average", truths, loss, scale, bool(soft)), classes, 3
    )
    close(grad, gradient, 1e-5)
    assert found == pytest.approx(wanted, rel=1e-5)


def networks_net(cfg: str, **options):
    from networks import Net as FromText

    return FromText(cfg, stage=lib.DN_STAGE_MASK, seed=4, **options)


def test_mask_without_rois(device):  # noqa: F811
    net = networks_net(branch_cfg(3), batch=2, training=True)
    set_rois(net, [])
    train_forward(net, np.zeros((2, 3, SIZE, SIZE)), Truths([[], []]))
    branch_backward(net)
    out, grad, loss = run_last(device, net)
    assert out.size == grad.size == 0 and loss == 0


def test_mask_that_does_not_train(device):  # noqa: F811
    net = networks_net(branch_cfg(3), batch=2)
    set_rois(net, [{"image": i, "box": (3, 4, 30, 31), "class_id": c} for i, c in ((0, 2), (1, 0))])
    net.forward(np.random.default_rng(2).random((2, 3, SIZE, SIZE)))
    out = np.full(net.output(MASK).shape, np.nan, np.float32)
    pointer = ffi.cast("float *", out.ctypes.data)
    index = net.info.layer_count - 1
    check(lib.dn_test_layer(net.handle, index, device.encode(), pointer, *[ffi.NULL] * 3))
    close(out, net.output(MASK), ROUNDED)


# ---- [softmax], [logistic], [cost] ----


def softmax_loss(section: str):
    def loss(x, t):
        values = x.softmax(1) if "spatial=1" in section else x.flatten(1).softmax(1).view(x.shape)
        return values, -(t * values.log()).sum()

    return loss


def logistic_loss(x, t):
    import torch

    return x.sigmoid(), torch.nn.functional.binary_cross_entropy_with_logits(x, t, reduction="sum")


def cost_loss(x, t):
    return x, ((x - t) ** 2).sum() / 2


VALUES = {
    "softmax": ("[softmax]\n", softmax_loss("")),
    "softmax of pixels": ("[softmax]\nspatial=1\n", softmax_loss("spatial=1")),
    "softmax of groups": ("[softmax]\ngroups=3\ntemperature=1.7\n", None),
    "softmax, no loss": ("[softmax]\nnoloss=1\n", None),
    "logistic": ("[logistic]\n", logistic_loss),
    "sse": ("[cost]\n", cost_loss),
    "masked": ("[cost]\ntype=masked\n", None),
    "smooth": ("[cost]\ntype=smooth\nscale=.7\n", None),
    "L1": ("[cost]\ntype=L1\nscale=3\n", None),
}


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("truth", ["all", "some", "none"])
def test_losses_of_values(tmp_path, device, name, truth):  # noqa: F811
    """Against the CPU; with truth for all images against PyTorch, too."""
    section, reference = VALUES[name]
    rng = np.random.default_rng(3)
    shape = (3, 6, 5, 3)
    x, wanted = rng.normal(0, 1.5, shape).astype(np.float32), rng.random(shape, np.float32)
    wanted[:, 1::3] = -1234 if name == "masked" else 0
    net = Net(tmp_path, "[empty]\n" + section, shape, training=True)
    net.learn(x, None if truth == "none" else wanted)
    if truth == "some":
        net._truth[1].values = ffi.NULL
        check(lib.dn_network_train_forward(net.handle, net._set_input(x), 3, net._truth, 0))
    grad_out = rng.normal(0, 1, shape).astype(np.float32)
    net.backward(grad_out)
    cpu_out, cpu_grad, cpu_loss = net.output(1), net.grad(0), net.layer(1).loss
    out, grad, loss = run_last(device, net, grad_out)
    tolerance = EXACT if section.startswith("[cost]") else ROUNDED
    agree(out, cpu_out, tolerance)
    agree(grad, cpu_grad, tolerance)
    assert loss == pytest.approx(cpu_loss, rel=1e-6)
    assert (loss == 0) == (truth == "none" or name == "softmax, no loss")
    if not reference or truth != "all":
        return
    torch = pytest.importorskip("torch")
    leaf = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    values, total = reference(leaf, torch.tensor(wanted, dtype=torch.float64))
    (total + (values * torch.tensor(grad_out, dtype=torch.float64)).sum()).backward()
    close(out, values.detach().numpy(), 1e-5)
    close(grad, leaf.grad.numpy(), 2e-5)
    assert loss == pytest.approx(total.item() / 3 * (2 if name == "sse" else 1), rel=1e-5)
