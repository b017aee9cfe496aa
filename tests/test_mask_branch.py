"""The mask branch: loss and gradients against NumPy in float64, which boxes train, cfg errors."""

from __future__ import annotations

import numpy as np
import pytest

from networks import Net
from roi_support import (
    Truths,
    blob,
    bounds,
    corners,
    coverage,
    expand,
    get_rois,
    pool,
    set_rois,
)
from yolomask._native import ConfigError, DarknetError, check, ffi, lib

SIZE = 48  # of the network's input
BINS = 5
EXPAND = 0.2


def branch_cfg(classes=1, kind="average", norm=0, mask="", roialign="", head=""):
    """A small detector with maps of strides 4 and 8, and a branch on both."""
    return f"""
[net]
channels=3
height={SIZE}
width={SIZE}
[convolutional]
filters=6
size=3
stride=4
pad=1
activation=tanh
[convolutional]
filters=5
size=3
stride=2
pad=1
activation=tanh
[convolutional]
filters=8
size=1
activation=linear
[yolo]
mask=0
anchors=14,14
classes=3
num=1
[route]
layers=0
[convolutional]
filters=4
size=1
activation=linear
[route]
layers=1
[convolutional]
filters=4
size=1
activation=linear
[roialign]
layers=-3,-1
size={BINS}
samples=2
pool={kind}
expand={EXPAND}
{roialign or "max_rois=20"}
[convolutional]
batch_normalize={norm}
filters=6
size=3
pad=1
activation=tanh
{head}
[convolutional]
filters={classes}
size=1
activation=linear
[mask]
classes={classes}
{mask}
"""


LATERALS, ROIALIGN, HIDDEN, LOGITS, MASK = (5, 7), 8, 9, -2, -1


def train_forward(net: Net, values: np.ndarray, truths: Truths, iteration: int = 0) -> float:
    """Runs a training pass; returns [mask]'s loss."""
    data = net._set_input(values)
    check(lib.dn_network_train_forward(net.handle, data, len(values), truths.handle, iteration))
    return net.layer(MASK).loss


def backward(net: Net) -> None:
    check(lib.dn_network_zero_grad(net.handle))
    check(lib.dn_network_backward(net.handle, ffi.NULL))


def param_grads(net: Net, index: int) -> dict[str, np.ndarray]:
    layer, grads = net.layer(index), {}
    for k in range(layer.param_count):
        info = ffi.new("dn_param_info *")
        check(lib.dn_network_get_param(net.handle, index % net.info.layer_count, k, info))
        if info.grad != ffi.NULL:
            grads[ffi.string(info.name).decode()] = net._array(info.grad, (info.count,)).copy()
    return grads


class Oracle:
    """The branch in float64, from its parameters and the frozen maps: loss and logits."""

    def __init__(self, net: Net, kind: str, truths: list, loss="bce", scale=1.0, soft=True):
        self.rois, self.kind, self.truths = get_rois(net), kind, truths
        self.loss, self.scale, self.soft = loss, scale, soft
        self.maps = [net.output(0).astype(np.float64), net.output(1).astype(np.float64)]
        self.params = {}
        for index in (*LATERALS, HIDDEN, LOGITS):
            for name, values in net.params(index).items():
                self.params[index, name] = values.astype(np.float64)

    def convolve(self, index: int, x: np.ndarray, stride: int = 1) -> np.ndarray:
        weights, biases = self.params[index, "weights"], self.params[index, "biases"]
        size = round((weights.size / len(biases) / x.shape[0]) ** 0.5)
        weights = weights.reshape(len(biases), x.shape[0], size, size)
        padded = np.pad(x, ((0, 0), (size // 2,) * 2, (size // 2,) * 2))
        out = np.zeros((len(biases), *x.shape[1:])) + biases[:, None, None]
        for ky in range(size):
            for kx in range(size):
                part = padded[:, ky : ky + x.shape[1], kx : kx + x.shape[2]]
                out += np.einsum("oc,chw->ohw", weights[:, :, ky, kx], part)
        return out[:, ::stride, ::stride]

    def logits(self, roi) -> np.ndarray:
        box = expand(corners(roi.box).astype(np.float64), EXPAND)
        laterals = [
            self.convolve(layer, maps[roi.image])
            for layer, maps in zip(LATERALS, self.maps, strict=True)
        ]
        x = sum(pool(m, (SIZE, SIZE), box, BINS, 2, self.kind) for m in laterals)
        x = self.convolve(LOGITS, np.tanh(self.convolve(HIDDEN, x)))
        return x[0 if len(x) == 1 else roi.class_id]

    def target(self, roi) -> np.ndarray:
        given = self.truths[roi.image][roi.truth]
        box = expand(corners(roi.box).astype(np.float64), EXPAND)
        found = coverage(given["mask"], box * given.get("zoom", 1), BINS)
        return found if self.soft else (found >= 0.5).astype(np.float64)

    def image_losses(self) -> np.ndarray:
        losses: list[list[float]] = [[] for _ in self.truths]
        for roi in self.rois:
            if roi.truth < 0:
                continue
            x, t = self.logits(roi), self.target(roi)
            p = 1 / (1 + np.exp(-x))
            value = -(t * np.log(p) + (1 - t) * np.log(1 - p)).mean()
            if self.loss == "bce+dice":
                value += 1 - (2 * (p * t).sum() + 1) / ((p**2).sum() + (t**2).sum() + 1)
            losses[roi.image].append(value)
        return self.scale * np.array([np.mean(some) if some else 0.0 for some in losses])


def decide(net: Net, rng) -> None:
    """Weights for the logits like those of a trained branch: it starts from nearly none."""
    net.params(LOGITS)["weights"][:] = rng.uniform(-0.6, 0.6, net.params(LOGITS)["weights"].size)
    lib.dn_network_touch(net.handle)


def three_images(rng) -> list:
    """Truths of three images with two, no and one object."""

    def thing():
        mask = blob(rng, SIZE, SIZE)
        return {"mask": mask, "box": bounds(mask), "class_id": int(rng.integers(3))}

    return [[thing(), thing()], [], [thing()]]


def three_rois(truths) -> list[dict]:
    rois = []
    for image, objects in enumerate(truths):
        for k, given in enumerate(objects):
            box = given["box"] + [1.5, -2, 2.25, 1]
            rois.append({"image": image, "truth": k, "box": box, "class_id": given["class_id"]})
            if k == 0:
                rois.append(rois[-1] | {"box": given["box"] * 0.9})
    return rois


@pytest.mark.parametrize(
    ("classes", "kind", "loss", "soft", "scale"),
    [
        (1, "average", "bce", 1, 1.0),
        (1, "max", "bce+dice", 1, 2.5),
        (3, "average", "bce+dice", 0, 0.5),
        (3, "max", "bce", 1, 1.0),
    ],
)
def test_loss_and_gradients(classes, kind, loss, soft, scale):
    """Through the whole branch: masks, hidden layers, pooling, laterals."""
    rng = np.random.default_rng(classes + soft)
    options = f"loss={loss}\nsoft_targets={soft}\nmask_scale={scale}\n"
    cfg = branch_cfg(classes, kind, mask=options)
    net = Net(cfg, batch=3, training=True, stage=lib.DN_STAGE_MASK, seed=4)
    for index in (*LATERALS, HIDDEN, LOGITS):
        net.params(index)["biases"][:] = rng.normal(0, 0.3, net.params(index)["biases"].size)
    decide(net, rng)
    truths = three_images(rng)
    given = Truths(truths)
    set_rois(net, three_rois(truths))
    found = train_forward(net, rng.random((3, 3, SIZE, SIZE)), given)
    backward(net)
    oracle = Oracle(net, kind, truths, loss, scale, bool(soft))
    losses = oracle.image_losses()
    assert losses[1] == 0
    assert found == pytest.approx(losses.mean(), rel=1e-5)
    step = 1e-6
    for index in (*LATERALS, HIDDEN, LOGITS):
        for name, gradient in param_grads(net, index).items():
            assert np.abs(gradient).max() > 1e-4
            for at in rng.choice(gradient.size, min(6, gradient.size), replace=False):
                value = oracle.params[index, name]
                kept = value[at]
                value[at] = kept + step
                above = oracle.image_losses().sum()
                value[at] = kept - step
                slope = (above - oracle.image_losses().sum()) / (2 * step)
                value[at] = kept
                assert gradient[at] == pytest.approx(slope, rel=1e-3, abs=1e-6), (index, name)


def test_joint_training_reaches_the_trunk():
    """The head's loss switched off, what the trunk learns is the masks' gradient."""
    rng = np.random.default_rng(21)
    silent = "[yolo]\nobj_normalizer=0\ncls_normalizer=0\niou_normalizer=0\n"
    net = Net(branch_cfg().replace("[yolo]\n", silent), batch=3, training=True)
    decide(net, rng)
    truths = three_images(rng)
    given = Truths(truths)
    set_rois(net, three_rois(truths))
    values = rng.random((3, 3, SIZE, SIZE))
    train_forward(net, values, given)
    backward(net)
    oracle = Oracle(net, "average", truths)
    for index in (0, 1):
        for name, found in net.params(index).items():
            oracle.params[index, name] = found.astype(np.float64)

    def total():
        first = [np.tanh(oracle.convolve(0, image, 4)) for image in np.float32(values)]
        oracle.maps = [first, [np.tanh(oracle.convolve(1, x, 2)) for x in first]]
        return oracle.image_losses().sum()

    step = 1e-6
    for index in (0, 1):
        gradient = param_grads(net, index)["weights"]
        assert np.abs(gradient).max() > 1e-4
        for at in rng.choice(gradient.size, 5, replace=False):
            weights = oracle.params[index, "weights"]
            weights[at] += step
            above = total()
            weights[at] -= 2 * step
            slope = (above - total()) / (2 * step)
            weights[at] += step
            assert gradient[at] == pytest.approx(slope, rel=1e-3, abs=1e-6)


def test_output_is_the_channel_of_the_class():
    rng = np.random.default_rng(2)
    net = Net(branch_cfg(3), batch=1)
    box = [4, 4, 30, 28]
    set_rois(net, [{"box": box, "class_id": c} for c in (2, 0, 1)])
    masks = net.forward(rng.random((1, 3, SIZE, SIZE)))
    logits = net.output(LOGITS)
    for r, c in enumerate((2, 0, 1)):
        assert np.allclose(masks[r, 0], 1 / (1 + np.exp(-logits[r, c].astype(np.float64))))


def test_rois_without_a_truth_learn_nothing():
    rng = np.random.default_rng(9)
    net = Net(branch_cfg(), batch=3, training=True, stage=lib.DN_STAGE_MASK)
    truths = three_images(rng)
    given = Truths(truths)
    values = rng.random((3, 3, SIZE, SIZE))
    rois = three_rois(truths)
    set_rois(net, rois)
    loss = train_forward(net, values, given)
    backward(net)
    wanted = [param_grads(net, index)["weights"] for index in (*LATERALS, HIDDEN)]
    extra = [roi | {"truth": -1, "box": [0, 0, 20, 20]} for roi in rois[:2]]
    set_rois(net, [*extra, *rois])
    assert train_forward(net, values, given) == pytest.approx(loss, rel=1e-12)
    backward(net)
    assert not net.grad(LOGITS)[:2].any()
    for index, grads in zip((*LATERALS, HIDDEN), wanted, strict=True):
        assert np.allclose(param_grads(net, index)["weights"], grads, atol=1e-7)


def test_targets_follow_the_map_to_the_image():
    """Mirrored and scaled by 3: the target is that of the mirrored, scaled mask."""
    rng = np.random.default_rng(12)
    mask = blob(rng, 3 * SIZE, 3 * SIZE)
    rois = [{"truth": 0, "box": [6, 9, 40, 41]}]
    given = {"box": [6, 9, 40, 41], "mask": mask}
    net = Net(branch_cfg(), batch=1, training=True, stage=lib.DN_STAGE_MASK)
    net.params(LOGITS)["weights"][:] *= 9
    lib.dn_network_touch(net.handle)
    set_rois(net, rois)
    truths = Truths([[given]], [(-3.0, 3.0, 3.0 * SIZE, 0.0)])
    found = train_forward(net, rng.random((1, 3, SIZE, SIZE)), truths)
    oracle = Oracle(net, "average", [[{"mask": mask[:, ::-1], "zoom": 3}]])
    assert found == pytest.approx(oracle.image_losses()[0], rel=1e-5)


def test_no_live_rois_leave_everything_alone():
    rng = np.random.default_rng(0)
    net = Net(branch_cfg(norm=1), batch=2, training=True, stage=lib.DN_STAGE_MASK)
    before = {name: values.copy() for name, values in net.params(HIDDEN).items()}
    set_rois(net, [])
    assert train_forward(net, rng.random((2, 3, SIZE, SIZE)), Truths([[], []])) == 0
    backward(net)
    for name, values in net.params(HIDDEN).items():
        assert (values == before[name]).all(), name
    for index in (*LATERALS, HIDDEN, LOGITS):
        for name, gradient in param_grads(net, index).items():
            assert not gradient.any(), (index, name)


def test_batch_norm_counts_live_rois_only():
    rng = np.random.default_rng(1)
    net = Net(branch_cfg(norm=1), batch=3, training=True, stage=lib.DN_STAGE_MASK)
    truths = three_images(rng)
    given = Truths(truths)
    values = rng.random((3, 3, SIZE, SIZE))
    set_rois(net, three_rois(truths) + [three_rois(truths)[-1]])
    train_forward(net, values, given)  # more live RoIs: leaves values behind the next pass's
    for name, start in (("mean", 0), ("variance", 1)):
        net.params(HIDDEN)[name][:] = start
    lib.dn_network_touch(net.handle)
    set_rois(net, three_rois(truths))
    train_forward(net, values, given)
    x = net.output(ROIALIGN).astype(np.float64)
    oracle = Oracle(net, "average", truths)
    oracle.params[HIDDEN, "biases"][:] = 0
    z = np.stack([oracle.convolve(HIDDEN, roi) for roi in x])
    mean, variance = z.mean((0, 2, 3)), z.var((0, 2, 3), ddof=1)
    assert len(x) == 5
    assert np.allclose(net.params(HIDDEN)["mean"], 0.01 * mean, atol=1e-6)
    assert np.allclose(net.params(HIDDEN)["variance"], 0.99 + 0.01 * variance, atol=1e-6)


def test_threads_change_no_bit():
    results = []
    for threads in (1, 2, 3):
        rng = np.random.default_rng(6)
        net = Net(
            branch_cfg(3, "max", mask="loss=bce+dice"),
            batch=3,
            training=True,
            stage=lib.DN_STAGE_MASK,
            threads=threads,
        )
        truths = three_images(rng)
        given = Truths(truths)
        loss = train_forward(net, rng.random((3, 3, SIZE, SIZE)), given, iteration=3)
        backward(net)
        grads = [param_grads(net, i) for i in (*LATERALS, HIDDEN, LOGITS)]
        bytes_of = [g.tobytes() for layer in grads for g in layer.values()]
        results.append((loss, bytes_of, net.output(MASK).tobytes()))
    assert results[0] == results[1] == results[2]
    assert results[0][0] > 0


# ---- which boxes train ----


def iou(a, b) -> float:
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    area = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return w * h / (area - w * h)


def every_cell_detects(net: Net, score: float) -> None:
    """Makes the head answer with one 14x14 box around the centre of each 8x8 cell."""
    net.params(2)["weights"][:] = 0
    net.params(2)["biases"][:] = [0, 0, 0, 0, np.log(score / (1 - score)), 8, -8, -8]
    lib.dn_network_touch(net.handle)


def sampling_net(roialign: str) -> Net:
    cfg = branch_cfg(roialign=roialign + "\nnms=1")
    net = Net(cfg, batch=2, training=True, stage=lib.DN_STAGE_MASK, seed=3)
    every_cell_detects(net, 0.9)
    return net


def objects_at(*boxes, **fields) -> list[dict]:
    mask = np.ones((SIZE, SIZE), np.uint8)
    return [{"box": box, "mask": mask, "class_id": k} | fields for k, box in enumerate(boxes)]


CELL_BOXES = [
    (x - 7, y - 7, x + 7, y + 7) for y in np.arange(4, SIZE, 8) for x in np.arange(4, SIZE, 8)
]


@pytest.mark.parametrize("train_rois", [1, 4, 7, 30, 64])
def test_training_rois(train_rois):
    # Truths on the boxes of cells (2, 2) and (4, 4) and a large one; matches with the detector's:
    truths = objects_at((13, 13, 28, 28), (28, 29, 43, 43), (2, 2, 46, 46))
    boxes = [t["box"] for t in truths]
    positive = [c for c in CELL_BOXES if max(iou(c, b) for b in boxes) >= 0.5]
    net = sampling_net(f"train_rois={train_rois}\nbox_jitter=.04")
    values = np.zeros((2, 3, SIZE, SIZE))
    seen = set()
    for iteration in range(40):
        train_forward(net, values, Truths([truths, truths]), iteration)
        for image in range(2):
            rois = [roi for roi in get_rois(net) if roi.image == image]
            detected = [roi for roi in rois if roi.detection >= 0]
            others = 6  # three truths, three copies
            wanted = min(len(positive), max(train_rois // 2, train_rois - others))
            assert len(detected) == wanted
            assert len(rois) == min(train_rois, wanted + others)
            for roi in rois:
                box = corners(roi.box)
                overlaps = [iou(box, b) for b in boxes]
                assert roi.class_id == roi.truth
                assert overlaps[roi.truth] >= 0.5 - 1e-6
                if roi.detection >= 0:
                    assert overlaps[roi.truth] >= max(overlaps) - 1e-6
                assert np.allclose(corners(roi.expanded), expand(box, EXPAND), atol=1e-4)
                exact = overlaps[roi.truth] == 1
                seen.add((roi.detection >= 0, exact, roi.truth))
    assert {kind[:2] for kind in seen} >= {(False, True), (False, False)} or train_rois == 1
    assert len(positive) >= 2
    if train_rois > 1:
        assert {k for found, _, k in seen if not found} == {0, 1, 2}
        assert {k for found, _, k in seen if found} == {0, 1}


def test_each_box_is_drawn_equally_often():
    truths = objects_at((13, 13, 28, 28), (28, 29, 43, 43), (2, 2, 46, 46), (0, 0, 9, 9))
    net = sampling_net("train_rois=2\nbox_jitter=0\nscore_thresh=2")
    counts = np.zeros((2, 4))
    for iteration in range(1000):
        train_forward(net, np.zeros((1, 3, SIZE, SIZE)), Truths([truths]), iteration)
        for slot, roi in enumerate(get_rois(net)):
            counts[slot, roi.truth] += 1
    assert counts.sum() == 2000
    assert np.abs(counts - 250).max() < 60  # four standard deviations


def test_only_objects_with_masks_train():
    mask = np.ones((SIZE, SIZE), np.uint8)
    usable = {"box": (13, 13, 27, 27), "mask": mask}
    crowd = {"box": (29, 29, 43, 43), "mask": mask, "crowd": True}
    bare = {"box": (29, 5, 43, 19), "mask": None}
    flat = {"box": (5, 5, 5, 9), "mask": mask}
    net = sampling_net("train_rois=50")
    train_forward(net, np.zeros((1, 3, SIZE, SIZE)), Truths([[crowd, bare, usable, flat]]))
    assert {roi.truth for roi in get_rois(net)} == {2}
    assert any(roi.detection >= 0 for roi in get_rois(net))


def test_truth_boxes_only():
    truths = objects_at((13, 13, 27, 27), (29, 29, 43, 43))
    net = sampling_net("train_rois=50\nscore_thresh=2\nbox_jitter=0")
    train_forward(net, np.zeros((2, 3, SIZE, SIZE)), Truths([truths, truths[:1]]))
    found = sorted((r.image, r.truth, r.detection, *corners(r.box)) for r in get_rois(net))
    first, second = ((0, k, -1, *t["box"]) for k, t in enumerate(truths))
    assert found == [first, second, (1, *first[1:])]


def test_sampling_depends_on_seed_iteration_and_image_only():
    truths = objects_at((13, 13, 28, 28), (28, 29, 43, 43), (2, 2, 46, 46))
    values = np.zeros((2, 3, SIZE, SIZE))

    def drawn(net, iteration):
        train_forward(net, values, Truths([truths, truths]), iteration)
        return [(r.image, r.truth, r.detection, *corners(r.box)) for r in get_rois(net)]

    net = sampling_net("train_rois=4")
    first, second = drawn(net, 5), drawn(net, 6)
    assert first != second
    assert drawn(net, 5) == first
    assert drawn(sampling_net("train_rois=4"), 5) == first
    per_image = [[r[1:] for r in first if r[0] == image] for image in range(2)]
    assert per_image[0] != per_image[1]


def test_training_without_truth_is_an_error():
    net = sampling_net("")
    with pytest.raises(ValueError, match="training \\[roialign\\] needs the images' objects"):
        net.forward(np.zeros((1, 3, SIZE, SIZE)))


def test_class_out_of_range_is_an_error():
    net = Net(branch_cfg(3), batch=1, training=True, stage=lib.DN_STAGE_MASK)
    truths = objects_at((13, 13, 27, 27))
    truths[0]["class_id"] = 3
    with pytest.raises(DarknetError, match=r"a box has class 3, \[mask\] knows classes 0..2"):
        train_forward(net, np.zeros((1, 3, SIZE, SIZE)), Truths([truths]))


def test_masks_start_undecided():
    net = Net(branch_cfg(3, head="[convolutional]\nfilters=900\nsize=3\n"), batch=1)
    weights = net.params(-2)["weights"]
    assert weights.std() == pytest.approx(0.001, rel=0.1)
    assert abs(weights.mean()) < 1e-4
    assert not net.params(-2)["biases"].any()


# ---- inference ----


def test_best_detections_become_rois():
    net = Net(branch_cfg(roialign="max_rois=5\nnms=1\nscore_thresh=.3"), batch=2)
    rng = np.random.default_rng(8)
    values = rng.random((2, 3, SIZE, SIZE))
    net.params(2)["weights"][:] = rng.normal(0, 2, net.params(2)["weights"].size)
    lib.dn_network_touch(net.handle)
    net.forward(values)
    raw = net.output(3).reshape(2, 8, 36)  # x, y, w, h, objectness, classes; x y in cells' units
    scores = raw[:, 4:5] * raw[:, 5:]
    rois = get_rois(net)
    assert [roi.image for roi in rois] == sorted(roi.image for roi in rois)
    for image in range(2):
        best = np.sort(scores[image].max(0))[::-1]
        wanted = best[best > 0.3][:5]
        found = [roi for roi in rois if roi.image == image]
        assert [roi.score for roi in found] == pytest.approx(wanted.tolist(), rel=1e-6)
        assert len(found) == 5
        for roi in found:
            at = scores[image].max(0).argsort(kind="stable")[::-1][found.index(roi)]
            assert roi.class_id == scores[image][:, at].argmax()
            assert roi.truth == -1
            assert np.allclose(corners(roi.expanded), expand(corners(roi.box), EXPAND), atol=1e-3)
    check(lib.dn_network_forward(net.handle, net._set_input(values), 2, 0.99999))
    assert get_rois(net) == []


def predict(net: Net, width: int, height: int, **options):
    pixels = np.random.default_rng(3).integers(0, 255, (height, width, 3), np.uint8)
    image = ffi.new("dn_image *", {"width": width, "height": height})
    buffer = ffi.from_buffer("uint8_t[]", pixels)
    image.data = buffer
    out = ffi.new("dn_result **")
    check(lib.dn_network_predict(net.handle, image, ffi.new("dn_predict_options *", options), out))
    return ffi.gc(out[0], lib.dn_result_free)


@pytest.mark.parametrize("classes", [1, 3])
def test_instances_get_their_masks(classes):
    net = Net(branch_cfg(classes, roialign="max_rois=7"), batch=1)
    rng = np.random.default_rng(8)
    net.params(2)["weights"][:] = rng.normal(0, 1, net.params(2)["weights"].size)
    net.params(LOGITS)["weights"][:] *= 6
    lib.dn_network_touch(net.handle)
    result = predict(net, 96, 48, threshold=0.2)  # letterbox: scaled by .5, 12 rows above
    logits = net.output(LOGITS).astype(np.float64)
    rois = get_rois(net)
    assert result.mask_size == BINS
    assert len(rois) == 7
    with_masks = 0
    for k in range(result.instance_count):
        instance = result.instances[k]
        mine = [r for r, roi in enumerate(rois) if roi.detection == instance.detection]
        if not mine:
            assert instance.mask == ffi.NULL
            assert instance.mask_score == 0
            continue
        with_masks += 1
        channel = logits[mine[0], 0 if classes == 1 else instance.class_id]
        mask = np.frombuffer(ffi.buffer(instance.mask, 4 * BINS * BINS), np.float32)
        assert np.allclose(mask, 1 / (1 + np.exp(-channel.ravel())), atol=1e-6)
        inside = mask[mask > 0.5].astype(np.float64)
        quality = inside.mean() if inside.size else 0
        assert instance.mask_score == pytest.approx(instance.score * quality, rel=1e-5)
        box = corners(rois[mine[0]].expanded)
        wanted = [2 * box[0], 2 * (box[1] - 12), 2 * box[2], 2 * (box[3] - 12)]
        assert np.allclose(corners(instance.mask_box), wanted, atol=1e-3)
    assert with_masks >= 7
    assert len({result.instances[k].class_id for k in range(result.instance_count)}) > 1


# ---- cfg errors ----

START = branch_cfg().split("[convolutional]\nfilters=1\n")[0]


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        (
            branch_cfg(2).replace("[mask]\nclasses=2", "[mask]\nclasses=3"),
            r"classes=3 needs a \[convolutional\] with filters=3 activation=linear before it; "
            r"layer 10 is \[convolutional\] with 2 channels",
        ),
        (branch_cfg(2), r"classes=2: the detector has 3; 1 or 3 is allowed"),
        (START + "[convolutional]\nfilters=1\n[mask]\n", "activation=linear before it"),
        (START + "[maxpool]\nsize=1\n[mask]\nclasses=6\n", r"layer 10 is \[maxpool\]"),
        (
            branch_cfg().replace("[mask]", "[mask]\nloss=l2"),
            r"test.cfg:\d+: .*loss=l2.*bce",
        ),
        (branch_cfg().replace("[mask]", "[mask]\nmask_scale=-1"), "mask_scale=-1"),
        (
            START.split("[roialign]")[0]
            + "[convolutional]\nfilters=1\nactivation=linear\n[mask]\n",
            r"layer 9 \[mask\]: stands outside a mask branch: no \[roialign\] before",
        ),
        (
            branch_cfg().replace(
                "[mask]",
                "[convolutional]\nfilters=1\nsize=1\nstride=1\npadding=0\nactivation=linear\n[route]\nlayers=-1,7\n[mask]",
            ),
            r"mixes tensors of images and of RoIs \(layers 11 and 7\)",
        ),
    ],
)
def test_cfg_errors(cfg, message):
    with pytest.raises(ConfigError, match=message):
        Net(cfg)


def test_allocation_failures(fail_allocations):
    fail_allocations(lambda: Net(branch_cfg(), training=True, stage=lib.DN_STAGE_MASK))
