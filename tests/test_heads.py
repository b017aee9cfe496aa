"""[yolo] and [region]: boxes, suppression, targets, gradients.

Truth: head_oracle.py, an independent float64 model in NumPy; gradients of box losses by finite
differences. The heads stand behind a 1x1 convolution with stride and unit weights, so that the
network's input, sampled, is what they read.
"""

from __future__ import annotations

import numpy as np
import pytest

from head_oracle import Region, Yolo, sigmoid, suppress
from networks import Net
from yolomask._native import ConfigError, DataError, check, ffi, lib

ANCHORS = [(10, 14), (23, 27), (37, 58), (61, 45), (20, 70), (90, 80)]
STRIDE = 16
BOX_LOSSES = ["iou", "giou", "diou", "ciou"]


def yolo_section(head: Yolo, **more) -> str:
    names = [
        *(
            "classes",
            "scale_x_y",
            "ignore_thresh",
            "truth_thresh",
            "iou_loss",
            "iou_thresh",
        ),
        *("iou_thresh_kind", "obj_normalizer", "cls_normalizer", "delta_normalizer"),
        *("label_smooth_eps", "iou_normalizer"),
    ]
    rows = {name: getattr(head, name) for name in names}
    rows |= {name: int(getattr(head, name)) for name in ("new_coords", "focal_loss")}
    rows["objectness_smooth"] = int(head.objectness_smooth)
    rows["num"] = len(head.anchors)
    rows["mask"] = ",".join(map(str, head.mask))
    rows["anchors"] = ", ".join(f"{w},{h}" for w, h in head.anchors)
    if np.isfinite(head.max_delta):
        rows["max_delta"] = head.max_delta
    if head.counters_per_class:
        rows["counters_per_class"] = ",".join(map(str, head.counters_per_class))
    rows |= more
    lines = [f"{key}={value}" for key, value in rows.items() if value is not None]
    return "[yolo]\n" + "\n".join(lines) + "\n"


def region_section(head: Region) -> str:
    anchors = ", ".join(f"{w},{h}" for w, h in head.anchors)
    rows = {
        "classes": head.classes,
        "num": len(head.anchors),
        "anchors": anchors,
        "coords": 4,
    }
    for name in ("softmax", "rescore", "bias_match", "focal_loss"):
        rows[name] = int(getattr(head, name))
    for name in (
        "thresh",
        "coord_scale",
        "object_scale",
        "noobject_scale",
        "class_scale",
    ):
        rows[name] = getattr(head, name)
    return "[region]\n" + "\n".join(f"{k}={v}" for k, v in rows.items()) + "\n"


def build(section: str, channels: int, width: int, height: int, **options) -> Net:
    """A network that hands every 16th pixel of its input to the head."""
    net = Net(
        f"[net]\nwidth={width}\nheight={height}\nchannels={channels}\n"
        f"[convolutional]\nfilters={channels}\ngroups={channels}\nsize=1\nstride={STRIDE}\n"
        f"activation=linear\n{section}",
        **options,
    )
    net.params(0)["weights"][:] = 1
    lib.dn_network_touch(net.handle)
    return net


def spread(logits: np.ndarray) -> np.ndarray:
    """The network input whose samples are `logits`; the rest would disturb if it were read."""
    n, c, h, w = logits.shape
    image = np.full((n, c, h * STRIDE, w * STRIDE), 99, np.float32)
    image[:, :, ::STRIDE, ::STRIDE] = logits
    return image


def channels_of(head) -> int:
    return len(getattr(head, "mask", head.anchors)) * (5 + head.classes)


def random_logits(head, n=2, h=5, w=7, seed=0, spread_of=1.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, channels_of(head), h, w), scale=spread_of)
    if getattr(head, "new_coords", False):
        logits = sigmoid(logits)
    return logits.astype(np.float32)


def instances(result) -> list[tuple]:
    return [
        (
            i.class_id,
            i.score,
            i.objectness,
            (i.box.x0, i.box.y0, i.box.x1, i.box.y1),
            i.detection,
        )
        for i in result.instances[0 : result.instance_count]
    ]


def expected_instances(candidates, threshold, width, height, nms=0.45, kind="default", beta=0.6):
    """What a result must hold, from the oracle's candidates of all heads."""
    classes = max(len(c[2]) for c in candidates)
    probs = np.array([np.pad(c[2], (0, classes - len(c[2]))) for c in candidates])
    probs = suppress([c[0] for c in candidates], probs, nms, kind, beta)
    rows = []
    for k, (box, objectness, _) in enumerate(candidates):
        for c in np.flatnonzero(probs[k]):
            pixels = tuple(np.array(box) * (width, height, width, height))
            rows.append((int(c), probs[k, c], objectness, pixels, k))
    return sorted(rows, key=lambda r: (-r[1], r[4], r[0]))


def same_instances(found, expected):
    assert len(found) == len(expected)
    found = sorted(found, key=lambda r: (r[4], r[0]))
    expected = sorted(expected, key=lambda r: (r[4], r[0]))
    assert [r[0] for r in found] == [r[0] for r in expected]
    assert [r[4] for r in found] == [r[4] for r in expected]
    for k, scale in ((1, 1), (2, 1), (3, 100)):
        np.testing.assert_allclose(
            [r[k] for r in found],
            [r[k] for r in expected],
            rtol=1e-5,
            atol=1e-6 * scale,
        )


@pytest.mark.parametrize(
    "options",
    [{}, {"scale_x_y": 1.05}, {"scale_x_y": 2.0, "new_coords": True}],
    ids=["classic", "scale_x_y", "new_coords"],
)
def test_yolo_boxes(options):
    head = Yolo(112, 80, 4, ANCHORS, [1, 3, 4], **options)
    logits = random_logits(head)
    net = build(yolo_section(head), channels_of(head), 112, 80, batch=2)
    out = net.forward(spread(logits), 0.3)
    assert not net.warnings
    np.testing.assert_allclose(head.split(out), head.activate(logits), rtol=1e-6, atol=1e-6)
    for image in range(2):
        candidates = head.detect(logits, image, 0.3)
        found = instances(net.result(image, 112, 80, fit=lib.DN_FIT_STRETCH))
        assert len(candidates) > 50
        same_instances(found, expected_instances(candidates, 0.3, 112, 80))
        assert [r[1] for r in found] == sorted((r[1] for r in found), reverse=True)


def test_several_heads():
    """Two scales, and a second head with fewer classes: order, and classes that stay 0."""
    fine, coarse = Yolo(112, 80, 4, ANCHORS, [0, 1]), Yolo(112, 80, 2, ANCHORS, [4, 5])
    cfg = (
        yolo_section(fine) + "[route]\nlayers=0\n[convolutional]\nfilters=14\nsize=3\nstride=2\n"
        "pad=1\nactivation=linear\n" + yolo_section(coarse)
    )
    net = build(cfg, channels_of(fine), 112, 80)
    logits = random_logits(fine, n=1, seed=3)
    net.forward(spread(logits), 0.2)
    candidates = fine.detect(logits, 0, 0.2) + coarse.detect(net.output(3), 0, 0.2)
    found = instances(net.result(0, 112, 80, fit=lib.DN_FIT_STRETCH))
    same_instances(found, expected_instances(candidates, 0.2, 112, 80))
    assert any(r[4] >= len(fine.detect(logits, 0, 0.2)) for r in found)


@pytest.mark.parametrize("kind,beta", [("default", 0.6), ("greedynms", 0.9), ("diounms", 0.3)])
def test_suppression_with_ties(kind, beta):
    """Few distinct scores, so that most boxes tie: the earlier one must stay."""
    head = Yolo(112, 80, 3, ANCHORS, [1, 2, 5], new_coords=True)
    rng = np.random.default_rng(8)
    values = rng.random((1, 3, 8, 5, 7)).astype(np.float32)
    values[:, :, 4:] = rng.choice(np.float32([0.5, 0.75, 1.0]), size=values[:, :, 4:].shape)
    values[:, :, 2:4] = rng.choice(np.float32([0.4, 0.5, 0.6]), size=values[:, :, 2:4].shape)
    section = yolo_section(head, nms_kind=kind, beta_nms=beta)
    net = build(section, 24, 112, 80)
    logits = values.reshape(1, 24, 5, 7)
    net.forward(spread(logits), 0.1)
    expected = expected_instances(head.detect(logits, 0, 0.1), 0.1, 112, 80, 0.45, kind, beta)
    same_instances(instances(net.result(0, 112, 80, fit=lib.DN_FIT_STRETCH)), expected)
    assert 20 < len(expected) < 300


def test_boxes_that_overflow_are_left_out():
    head = Yolo(16, 16, 1, [(8, 8)], [0])
    net = build(yolo_section(head), 6, 16, 16)
    logits = np.float32([0, 0, 100, 0, 5, 5]).reshape(1, 6, 1, 1)
    net.forward(spread(logits), 0.1)
    assert net.result(0, 16, 16).instance_count == 0
    logits[0, :, 0, 0] = np.nan
    net.forward(spread(logits), 0.1)
    assert net.result(0, 16, 16).instance_count == 0


# ---- losses ----


def random_objects(rng, head, n, h, w, count=6):
    """Objects of all sizes, some in one cell, one at the right border, two crowds."""
    scene = []
    for _ in range(n):
        rows = []
        for k in range(count):
            size = np.array(ANCHORS[rng.integers(len(ANCHORS))]) * rng.uniform(0.7, 1.4, 2)
            half = size / 2 / (w * STRIDE, h * STRIDE)
            centre = rng.uniform(0.05, 0.95, 2)
            box = np.concatenate([centre - half, centre + half])
            rows.append((tuple(np.clip(box, 0, 1)), int(rng.integers(head.classes)), k % 5 == 4))
        box, c, _ = rows[0]
        rows.append((box, (c + 1) % head.classes, False))  # the same place, another class
        rows.append((tuple(np.add(box, 1e-3)), c, False))
        rows.append(((1.0, 0.4, 1.0 + 1e-6, 0.6), 0, False))  # centre at 1: the last column
        rows[-1] = ((0.9, 0.9, 1.1, 1.1), 0, False)
        scene.append(rows)
    return scene


def in_pixels(objects, width, height):
    scale = (width, height, width, height)
    return [[(np.multiply(box, scale), c, int(crowd)) for box, c, crowd in o] for o in objects]


def compare_loss(head, section, seed=1, seen=10**6, spread_of=1.0):
    """Runs a training pass and holds gradient, loss and statistics against the oracle's."""
    rng = np.random.default_rng(seed)
    n, h, w = 2, 5, 7
    logits = random_logits(head, n, h, w, seed, spread_of)
    pixels = in_pixels(random_objects(rng, head, n, h, w), w * STRIDE, h * STRIDE)
    size = (w * STRIDE, h * STRIDE) * 2
    objects = [[(tuple(np.divide(b, size)), c, k) for b, c, k in o] for o in pixels]
    options = {"batch": n, "training": True}
    net = build(section, channels_of(head), w * STRIDE, h * STRIDE, **options)
    lib.dn_network_set_seen(net.handle, seen)
    net.train_forward(spread(logits), [[(b, c, int(k)) for b, c, k in o] for o in pixels])
    net.backward()
    gradient, loss, learned = head.loss(logits, objects, seen)
    found = net.grad(0).reshape(gradient.shape)
    np.testing.assert_allclose(found, gradient, rtol=2e-4, atol=2e-5 * np.abs(gradient).max())
    assert net.layer(1).loss == pytest.approx(loss, rel=1e-4)
    statistics = net.head_statistics(1)
    assert statistics.count == len(learned) > 5
    assert statistics.iou == pytest.approx(np.mean([x[1] for x in learned]), rel=1e-4)
    assert statistics.class_probability == pytest.approx(np.mean([x[2] for x in learned]), rel=1e-4)
    assert statistics.recall_50 == pytest.approx(np.mean([x[1] > 0.5 for x in learned]))
    objectness = head.activate(logits)[:, :, 4]
    assert statistics.no_objectness == pytest.approx(objectness.mean(), rel=1e-5)


YOLO_VARIANTS = {
    "plain": {},
    "all anchors here": {"mask": [0, 1, 2, 3, 4, 5]},
    "scale_x_y": {"scale_x_y": 1.2},
    "new_coords": {"new_coords": True, "scale_x_y": 2.0},
    "ignore": {"ignore_thresh": 0.2},
    "truth_thresh": {"truth_thresh": 0.4, "ignore_thresh": 0.3},
    "truth_thresh smooth": {
        "truth_thresh": 0.4,
        "ignore_thresh": 0.3,
        "objectness_smooth": True,
    },
    "smooth": {"objectness_smooth": True, "ignore_thresh": 0.3},
    "normalizers": {
        "iou_normalizer": 0.3,
        "obj_normalizer": 0.7,
        "cls_normalizer": 0.4,
        "delta_normalizer": 1.7,
    },
    "classes": {"label_smooth_eps": 0.1, "counters_per_class": [10, 40, 3, 20]},
    "focal": {"focal_loss": True},
    "iou_thresh": {"iou_thresh": 0.3},
    "iou_thresh ciou": {"iou_thresh": 0.25, "iou_thresh_kind": "ciou"},
    "iou_thresh giou": {"iou_thresh": 0.25, "iou_thresh_kind": "giou"},
}


@pytest.mark.parametrize("variant", YOLO_VARIANTS)
def test_yolo_targets(variant):
    options = {"mask": [1, 2, 4]} | YOLO_VARIANTS[variant]
    head = Yolo(112, 80, 4, ANCHORS, **options)
    compare_loss(head, yolo_section(head))


@pytest.mark.parametrize("kind", BOX_LOSSES)
@pytest.mark.parametrize("variant", ["plain", "iou_thresh", "new_coords", "max_delta"])
def test_yolo_box_losses(kind, variant):
    options = {
        "plain": {},
        "iou_thresh": {
            "iou_thresh": 0.213,
            "iou_normalizer": 0.07,
            "cls_normalizer": 0.5,
        },
        "new_coords": {"new_coords": True, "scale_x_y": 2.0},
        "max_delta": {"max_delta": 0.3, "iou_normalizer": 0.5, "obj_normalizer": 0.4},
    }[variant]
    head = Yolo(112, 80, 4, ANCHORS, [0, 1, 2, 3, 5], iou_loss=kind, **options)
    compare_loss(head, yolo_section(head), spread_of=0.5)


def test_yolo_gradient_is_that_of_cross_entropy_and_squares():
    """The gradient is the derivative, by the logits, of binary cross-entropies for objectness,
    classes, x and y, and of half squared errors for w and h, the box's by 2 - its area."""
    head = Yolo(112, 80, 4, ANCHORS, [1, 2, 4])
    logits = random_logits(head, n=1, seed=5)
    net = build(yolo_section(head), channels_of(head), 112, 80, training=True)
    net.train_forward(spread(logits), [[((30, 20, 54, 45), 2)]])  # cell (2, 2), anchor 1: slot 0
    net.backward()
    goal = np.array([42 / 16 - 2, 32.5 / 16 - 2, np.log(24 / 23), np.log(25 / 27), 1, 0, 0, 1, 0])
    weight = np.full(9, 1.0)
    weight[:4] = 2 - 24 * 25 / (112 * 80)

    def loss(values):
        p = sigmoid(values)
        entropy = -goal * np.log(p) - (1 - goal) * np.log(1 - p)
        square = (values - goal) ** 2 / 2
        return (weight * np.where(np.isin(np.arange(9), (2, 3)), square, entropy)).sum()

    values = head.split(logits)[0, 0, :, 2, 2]
    steps = 1e-5 * np.eye(9)
    slope = [(loss(values + step) - loss(values - step)) / 2e-5 for step in steps]
    np.testing.assert_allclose(net.grad(0)[0, :9, 2, 2], slope, rtol=1e-4)


REGION_VARIANTS = {
    "logistic": ({}, 10**6),
    "softmax": ({"softmax": True, "class_scale": 2.0}, 10**6),
    "rescore": ({"rescore": True, "object_scale": 5.0, "noobject_scale": 0.5}, 10**6),
    "bias_match": ({"bias_match": True, "coord_scale": 1.5, "softmax": True}, 10**6),
    "focal": ({"softmax": True, "focal_loss": True}, 10**6),
    "warm-up": ({"softmax": True, "thresh": 0.2}, 12799),
    "warm-up over": ({}, 12800),
}


@pytest.mark.parametrize("variant", REGION_VARIANTS)
def test_region_targets(variant):
    options, seen = REGION_VARIANTS[variant]
    head = Region(4, [(0.6, 0.7), (1.9, 2.1), (3.3, 2.5)], **options)
    compare_loss(head, region_section(head), seen=seen, spread_of=0.6)


@pytest.mark.parametrize("softmax", [False, True])
def test_region_boxes(softmax):
    head = Region(4, [(0.6, 0.7), (1.9, 2.1), (3.3, 2.5)], softmax=softmax)
    logits = random_logits(head, n=1)
    net = build(region_section(head), channels_of(head), 112, 80)
    out = net.forward(spread(logits), 0.1)
    expected = head.activate(logits)
    np.testing.assert_allclose(out.reshape(expected.shape), expected, rtol=1e-5, atol=1e-6)
    candidates = head.detect(logits, 0, 0.1)
    same_instances(
        instances(net.result(0, 112, 80, fit=lib.DN_FIT_STRETCH)),
        expected_instances(candidates, 0.1, 112, 80),
    )


def test_two_threads_give_the_same_bits():
    head = Yolo(112, 80, 4, ANCHORS, [1, 2, 4], iou_loss="ciou", iou_thresh=0.3)
    logits = random_logits(head)
    objects = in_pixels(random_objects(np.random.default_rng(2), head, 2, 5, 7), 112, 80)
    grads, losses = [], []
    for threads in (1, 2):
        options = {"batch": 2, "training": True, "threads": threads}
        net = build(yolo_section(head), channels_of(head), 112, 80, **options)
        net.train_forward(spread(logits), objects)
        net.backward()
        grads.append(net.grad(0).tobytes())
        losses.append(net.layer(1).loss)
    assert grads[0] == grads[1] and losses[0] == losses[1]


def test_no_objects_and_no_truth():
    head = Yolo(112, 80, 4, ANCHORS, [1, 2, 4], iou_loss="ciou")
    net = build(yolo_section(head), channels_of(head), 112, 80, training=True)
    logits = random_logits(head, n=1)
    net.train_forward(spread(logits), [[]])
    net.backward()
    objectness = head.activate(logits)[:, :, 4]
    assert net.layer(1).loss == pytest.approx((objectness**2).sum(), rel=1e-5)
    assert net.head_statistics(1).count == 0
    net.forward(spread(logits), 0.5)
    net.backward()
    assert net.layer(1).loss == 0 and not net.grad(0).any()


# ---- predictions ----


def test_letterbox_is_undone_with_its_integers():
    """A box over the whole photo, 768 x 576 in 608 x 608: 456 rows from row 76 on."""
    head = Yolo(608, 608, 1, [(608, 456)], [0], new_coords=True)
    net = Net(
        "[net]\nwidth=608\nheight=608\nchannels=3\n[convolutional]\nfilters=6\nsize=1\nstride=608\n"
        "activation=linear\n" + yolo_section(head)
    )
    net.params(0)["weights"][:] = 0
    net.params(0)["biases"][:] = [0.5, 0.5, 0.5, 0.5, 1, 0.75]
    lib.dn_network_touch(net.handle)
    photo = np.zeros((576, 768, 3), np.uint8)
    (result,) = net.predict([photo])
    assert instances(result) == [(0, 0.75, 1.0, (0, 0, 768, 576), 0)]
    assert (result.width, result.height, result.mask_size) == (768, 576, 0)
    (result,) = net.predict([photo], fit=lib.DN_FIT_STRETCH)
    np.testing.assert_allclose(instances(result)[0][3], (0, 72, 768, 504), atol=1e-3)
    assert net.predict([photo], threshold=0.8)[0].instance_count == 0


def test_batches_and_single_images_agree():
    head = Yolo(64, 64, 4, ANCHORS, [0, 1, 2])
    cfg = (
        "[net]\nwidth=64\nheight=64\nchannels=3\n[convolutional]\nfilters=27\nsize=3\nstride=16\n"
        "activation=linear\n" + yolo_section(head)
    )
    rng = np.random.default_rng(4)
    sizes = [(30, 50), (64, 64), (100, 20), (7, 9), (41, 200)]
    photos = [rng.integers(0, 256, (*size, 3), np.uint8) for size in sizes]
    single, batched = Net(cfg), Net(cfg, batch=2)
    together = batched.predict(photos, threshold=0.1)
    assert len(together) == 5
    for photo, result in zip(photos, together, strict=True):
        alone = single.predict([photo], threshold=0.1)[0]
        assert instances(alone) == instances(result) and alone.instance_count > 3
        few = instances(single.predict([photo], threshold=0.1, max_objects=2)[0])
        assert few == instances(alone)[:2]


def test_suppression_threshold_is_an_option():
    head = Yolo(64, 64, 1, [(32, 32)], [0], new_coords=True)
    net = Net(
        "[net]\nwidth=64\nheight=64\nchannels=3\n[convolutional]\nfilters=6\nsize=1\nstride=4\n"
        "activation=linear\n" + yolo_section(head)
    )
    net.params(0)["weights"][:] = 0
    net.params(0)["biases"][:] = [0.5, 0.5, 0.5, 0.5, 1, 0.75]
    lib.dn_network_touch(net.handle)
    photo = np.zeros((64, 64, 3), np.uint8)
    counts = [net.predict([photo], nms=t)[0].instance_count for t in (0.2, 0, 0.6, 1)]
    assert counts[0] < counts[1] < counts[2] < counts[3] == 256


# ---- refusals ----


def refuse(section: str, *words: str, channels: int = 18):
    with pytest.raises(ConfigError) as caught:
        build(section, channels, 32, 32)
    for word in words:
        assert word in str(caught.value), str(caught.value)


def test_sections_that_make_no_sense():
    plain = "[yolo]\nclasses=4\nnum=2\nanchors=1,2,3,4\n"
    build(plain, 18, 32, 32)
    refuse(plain + "mask=1\n", ":11: layer 1 [yolo]", "filters=18", "filters=9")
    refuse(plain + "mask=0,2\n", "mask=2", "0..1")
    refuse("[yolo]\nclasses=4\nnum=2\nanchors=1,2,3\n", "anchors has 3", "wants 4")
    refuse(plain + "anchors\n", "anchors")
    refuse(plain + "iou_loss=wiou\n", "iou_loss=wiou", "ciou")
    refuse(plain + "nms_kind=cornersnms\n", "nms_kind=cornersnms", "greedynms")
    refuse(plain + "counters_per_class=1,2\n", "counters_per_class has 2", "classes=4")
    region = "[region]\nclasses=4\nnum=2\nanchors=1,2,3,4\n"
    build(region, 18, 32, 32)
    refuse(region + "tree=9k.tree\n", "tree=9k.tree", "not supported")
    refuse(region + "coords=200\n", "coords=200", "only 4")
    refuse(region + "background=1\n", "background=1")
    refuse(region, "filters=10", "filters=18", channels=10)


def test_class_map(tmp_path):
    """Labels are renamed by the map before they are learned; a bad map is refused."""
    path = tmp_path / "renamed.map"
    head = Yolo(112, 80, 3, ANCHORS, [0, 1, 2])
    section = yolo_section(head, map=path)
    path.write_text("2\n\n0\r\n1\n")
    net = build(section, channels_of(head), 112, 80, training=True)
    net.train_forward(spread(random_logits(head, n=1)), [[((20, 20, 43, 47), 0)]])
    net.backward()
    grad = net.grad(0).reshape(3, 8, 5, 7)[1, 5:, 2, 1]
    assert list(np.sign(grad)) == [1, 1, -1]
    for text, words in {
        "0\n1\n": ("2 entries", "classes=3"),
        "0\n1\n2\n0\n": ("4 entries",),
        "0\nx\n2\n": ("renamed.map:2", "'x'"),
        "0\n1\n3\n": ("renamed.map:3", "0..2"),
    }.items():
        path.write_text(text)
        refuse(section, *words, channels=channels_of(head))
    path.unlink()
    with pytest.raises(OSError, match="renamed.map"):
        build(section, channels_of(head), 112, 80)


def test_a_label_of_an_unknown_class():
    head = Yolo(112, 80, 3, ANCHORS, [0, 1, 2])
    net = build(yolo_section(head), channels_of(head), 112, 80, training=True)
    with pytest.raises(DataError, match=r"object 0 has class 3; layer 1 \[yolo\] has 0..2"):
        net.train_forward(spread(random_logits(head, n=1)), [[((20, 20, 43, 47), 3)]])


def test_calls_that_make_no_sense():
    head = Yolo(32, 32, 1, ANCHORS, [0])
    net = build(yolo_section(head), 6, 32, 32)
    with pytest.raises(ValueError, match="channels=3"):
        net.predict([np.zeros((4, 4, 3), np.uint8)])
    with pytest.raises(ValueError, match="no head"):
        check(lib.dn_network_get_head_statistics(net.handle, 0, ffi.new("dn_head_statistics *")))
    with pytest.raises(ValueError, match="image 1"):
        net.forward(spread(random_logits(head, n=1, h=2, w=2)))
        net.result(1, 4, 4)
    plain = Net("[net]\nwidth=8\nheight=8\nchannels=3\n[maxpool]\n")
    with pytest.raises(ConfigError, match="no head"):
        plain.predict([np.zeros((4, 4, 3), np.uint8)])


def test_every_allocation_may_fail(fail_allocations):
    head = Yolo(64, 64, 4, ANCHORS, [0, 1, 2], counters_per_class=[1, 2, 3, 4])
    cfg = (
        "[net]\nwidth=64\nheight=64\nchannels=3\n[convolutional]\nfilters=27\nsize=3\nstride=16\n"
        "activation=linear\n" + yolo_section(head)
    )
    photo = np.full((20, 30, 3), 200, np.uint8)
    fail_allocations(lambda: Net(cfg).predict([photo, photo], threshold=0.1))
