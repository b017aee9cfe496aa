"""Whole networks on the device "cuda" against the same networks on the CPU.

Like tests/test_cuda_layers.py these run in `make gpu-check` and `make host-cuda-check`, elsewhere
they skip. Layers without a CUDA form run on the CPU between copies, so every network runs.
"""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from conftest import published_file
from layer_harness import close
from mask_support import Rle
from networks import Net
from roi_support import Truths, corners, get_rois
from test_cuda_layers import NO_CUDA
from test_mask_branch import SIZE, backward, branch_cfg, three_images
from yolomask import Network, images
from yolomask._native import DeviceError, check, ffi, lib
from yolomask.gpu_arrays import GpuArray

pytestmark = pytest.mark.skipif(bool(NO_CUDA), reason=NO_CUDA)

ROOT = Path(__file__).parents[1]

# Sums of other orders, one layer behind the other: relative to an array's largest value.
OUTPUT, GRADIENT = 2e-5, 2e-4

# Every kind of layer that published detectors with a branch have.
DETECTOR = """
[net]
width=64
height=48
channels=3
[convolutional]
batch_normalize=1
filters=8
size=3
stride=2
pad=1
activation=leaky
[convolutional]
batch_normalize=1
filters=8
size=3
pad=1
activation=mish
[shortcut]
from=-2
activation=linear
[maxpool]
size=2
stride=2
[convolutional]
batch_normalize=1
filters=12
size=3
stride=2
pad=1
activation=swish
[convolutional]
filters=16
size=1
activation=linear
[yolo]
mask=2,3
anchors=8,9, 14,12, 20,22, 40,30
classes=3
num=4
[route]
layers=4
[upsample]
stride=2
[route]
layers=-1,3
[convolutional]
groups=2
filters=8
size=3
pad=1
activation=leaky
[convolutional]
filters=16
size=1
activation=linear
[yolo]
mask=0,1
anchors=8,9, 14,12, 20,22, 40,30
classes=3
num=4
iou_loss=ciou
"""
BRANCH = """
[route]
layers=3
[roialign]
layers=-1
size=7
max_rois=20
[convolutional]
filters=8
size=3
pad=1
activation=relu
[deconvolutional]
filters=8
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
HEADS = (6, 12)


def parameters(net: Net) -> dict[tuple[int, str], np.ndarray]:
    return {(i, k): v for i in range(net.info.layer_count) for k, v in net.params(i).items()}


def gradients(net: Net) -> dict[tuple[int, str], np.ndarray]:
    grads, info = {}, ffi.new("dn_param_info *")
    for index in range(net.info.layer_count):
        for k in range(net.layer(index).param_count):
            check(lib.dn_network_get_param(net.handle, index, k, info))
            if info.grad != ffi.NULL:
                name = index, ffi.string(info.name).decode()
                grads[name] = net._array(info.grad, (info.count,)).copy()
    return grads


def randomize(net: Net, seed: int = 2) -> None:
    """Parameters with which heads find a few boxes."""
    rng = np.random.default_rng(seed)
    for (_, name), values in parameters(net).items():
        if name == "variance":
            values[:] = rng.uniform(0.5, 2, values.size)
        elif name == "scales":
            values[:] = rng.normal(1, 0.2, values.size)
        elif name != "weights":
            values[:] = rng.normal(0, 0.3, values.size)
    lib.dn_network_touch(net.handle)


def pair(cfg: str, seed: int = 2, **options) -> tuple[Net, Net]:
    nets = [Net(cfg, device=device, **options) for device in (b"cpu", b"cuda")]
    for net in nets:
        randomize(net, seed)
    return tuple(nets)


def pictures(count: int, h: int = 48, w: int = 64, seed: int = 5) -> np.ndarray:
    """Smooth, so that pooled maxima do not hang on the last bit."""
    coarse = np.random.default_rng(seed).random((count, 3, h // 8, w // 8))
    return coarse.repeat(8, axis=2).repeat(8, axis=3).astype(np.float32)


def instances(result) -> list[tuple]:
    found = [result.instances[i] for i in range(result.instance_count)]
    return sorted((one.class_id, one.detection, one) for one in found)


def same_results(first, second, tolerance: float = 1e-4, cells: float = 0) -> int:
    """Asserts that two results are the same, masks but for a share of cells, and returns how many
    instances they have."""
    pairs = list(zip(instances(first), instances(second), strict=True))
    size = 4 * first.mask_size**2
    for (*a_key, a), (*b_key, b) in pairs:
        assert a_key == b_key
        assert a.score == pytest.approx(b.score, abs=tolerance)
        for side in ("x0", "y0", "x1", "y1"):
            assert getattr(a.box, side) == pytest.approx(getattr(b.box, side), abs=1e-2)
        assert (a.mask == ffi.NULL) == (b.mask == ffi.NULL)
        if a.mask != ffi.NULL:
            masks = [np.frombuffer(ffi.buffer(i.mask, size), np.float32) for i in (a, b)]
            assert ((masks[0] >= 0.5) != (masks[1] >= 0.5)).mean() <= cells
            np.testing.assert_allclose(*masks, atol=10 * tolerance)
    return len(pairs)


def pixels_of(result) -> np.ndarray:
    """All masks pasted into the image, (instances, height, width)."""
    cells = result.mask_size**2
    return np.stack(
        [
            Rle.paste(
                np.frombuffer(ffi.buffer(one.mask, 4 * cells), np.float32).reshape(
                    result.mask_size, result.mask_size
                ),
                corners(one.mask_box),
                result.height,
                result.width,
            ).mask
            for _, _, one in instances(result)
        ]
    )


def same_rois(first: Net, second: Net) -> None:
    pairs = list(zip(get_rois(first), get_rois(second), strict=True))
    assert pairs
    for a, b in pairs:
        for name in ("image", "class_id", "truth", "detection", "level"):
            assert getattr(a, name) == getattr(b, name)
        np.testing.assert_allclose(corners(a.box), corners(b.box), atol=1e-3)


# ---- inference -------------------------------------------------------------------------------


def test_outputs_detections_and_masks():
    cpu, cuda = pair(DETECTOR + BRANCH, batch=2)
    for values in (pictures(2), pictures(1, seed=6)):  # a batch that is not full, too
        for net in (cpu, cuda):
            net.forward(values, threshold=0.3)
        for index in range(cpu.info.layer_count):
            close(cuda.output(index), cpu.output(index), OUTPUT)
        same_rois(cpu, cuda)
        for image in range(len(values)):
            assert same_results(cpu.result(image, 80, 60), cuda.result(image, 80, 60))


def test_predict_without_keep_all():
    """Memory is shared then; kept are the heads' and the masks' outputs."""
    cpu, cuda = pair(DETECTOR + BRANCH, batch=2, keep_all=False)
    rng = np.random.default_rng(3)
    shots = [rng.integers(0, 256, (h, w, 3), np.uint8) for h, w in ((50, 80), (64, 40), (48, 64))]
    # No score is nearer to this threshold than 2e-4: Winograd's rounding moves none across it.
    for first, second in zip(*(n.predict(shots, threshold=0.34) for n in (cpu, cuda)), strict=True):
        assert same_results(first, second)
    assert cuda.layer(HEADS[0]).out != ffi.NULL
    assert cuda.layer(0).out == ffi.NULL and cuda.layer(0).live == 1


def forward_there(net: Net, values: np.ndarray, device: str) -> np.ndarray:
    """The last layer's output for values that lie on the device."""
    array = GpuArray.copy_of(values.reshape(len(values), 3, -1), device)
    data = ffi.cast("float *", array.__cuda_array_interface__["data"][0])
    check(lib.dn_network_forward(net.handle, data, len(values), 0))
    return net.output(-1)


@pytest.mark.parametrize("precision", ["DEFAULT", "FP16", "BF16"])
def test_input_that_lies_on_the_device(precision):
    precision = getattr(lib, f"DN_PRECISION_{precision}")
    net, values = Net(DETECTOR, device=b"cuda", batch=2, precision=precision), pictures(2)
    wanted = net.forward(values)
    assert not np.array_equal(net.forward(pictures(2, seed=6)), wanted)
    np.testing.assert_array_equal(forward_there(net, values, "cuda:0"), wanted)
    if lib.dn_device_check(b"cuda:1") == lib.DN_OK:
        with pytest.raises(DeviceError, match="values on cuda:1 for a network on cuda:0"):
            forward_there(net, values, "cuda:1")


def test_large_inputs_travel_in_pieces():
    """More of them than there is room for at once; values on the device do not travel."""
    cfg = "[net]\nwidth=320\nheight=256\nchannels=3\n[convolutional]\nfilters=8\nstride=8\nsize=3\n"
    net = Net(cfg, device=b"cuda", batch=2, precision=lib.DN_PRECISION_FP16)
    values = np.random.default_rng(4).random((2, 3, 256, 320), np.float32)
    wanted = forward_there(net, values, "cuda")
    assert not np.array_equal(net.forward(values[::-1]), wanted)
    np.testing.assert_array_equal(net.forward(values), wanted)


def test_region_head():
    cfg = DETECTOR.split("[yolo]")[0] + "[region]\nanchors=1,1, 2,2\nnum=2\nclasses=3\nsoftmax=1\n"
    cpu, cuda = pair(cfg)
    for net in (cpu, cuda):
        net.forward(pictures(1), threshold=0.2)
    close(cuda.output(-1), cpu.output(-1), OUTPUT)
    assert same_results(cpu.result(0, 64, 48), cuda.result(0, 64, 48))


def test_classifier():
    cfg = DETECTOR.split("[maxpool]")[0] + "[avgpool]\n[softmax]\n"
    nets = pair(cfg)
    pixels = np.random.default_rng(1).integers(0, 256, (48, 64, 3), np.uint8)
    image = ffi.new("dn_image *", {"width": 64, "height": 48})
    image.data = ffi.from_buffer("uint8_t[]", pixels)
    scores = [ffi.new("dn_class_score[]", 8) for _ in nets]
    for net, out in zip(nets, scores, strict=True):
        check(lib.dn_network_classify(net.handle, image, lib.DN_FIT_CROP, 8, out))
    assert [s.class_id for s in scores[0]] == [s.class_id for s in scores[1]]
    assert [s.score for s in scores[0]] == pytest.approx([s.score for s in scores[1]], rel=1e-5)


@pytest.mark.parametrize("fit", ["LETTERBOX", "STRETCH", "CROP"])
def test_input_of_images(fit):
    """The same bits, whether the device makes the input or, of large images, the host."""
    cfg = "[net]\nwidth=40\nheight=32\nchannels=3\n[empty]\n[avgpool]\n[softmax]\n"
    nets = [Net(cfg, device=device) for device in (b"cpu", b"cuda")]
    image, score = ffi.new("dn_image *"), ffi.new("dn_class_score[]", 1)
    rng = np.random.default_rng(4)
    for height, width in ((32, 40), (50, 80), (7, 61), (1, 1), (90, 2), (2, 3), (200, 170)):
        pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
        image.height, image.width = height, width
        image.data = ffi.from_buffer("uint8_t[]", pixels)
        for net in nets:
            how = getattr(lib, f"DN_FIT_{fit}")
            check(lib.dn_network_classify(net.handle, image, how, 1, score))
        assert np.array_equal(nets[0].output(0), nets[1].output(0)), (height, width)


# ---- training --------------------------------------------------------------------------------


def objects() -> list[list[tuple]]:
    """Of two images of the detector: boxes with classes, one of them a crowd."""
    return [
        [((4, 5, 22, 20), 0), ((30, 8, 60, 40), 2)],
        [((10, 10, 30, 30), 1), ((0, 0, 9, 9), 0, 1)],
    ]


def test_training_passes_of_a_detector():
    """Losses, gradients of all parameters and of the input, and rolling statistics."""
    nets = pair(DETECTOR, batch=2, training=True, input_grad=True)
    values = pictures(2)
    for iteration in range(3):  # gradients add up
        for net in nets:
            net.train_forward(values, objects(), iteration)
            net.backward()
    cpu, cuda = nets
    assert lib.dn_network_loss(cuda.handle) == pytest.approx(lib.dn_network_loss(cpu.handle), 1e-5)
    for head in HEADS:
        wanted, found = cpu.head_statistics(head), cuda.head_statistics(head)
        assert found.count == wanted.count
        assert found.iou == pytest.approx(wanted.iou, rel=1e-4)
    close(cuda.input_grad(), cpu.input_grad(), GRADIENT)
    wanted, found = gradients(cpu), gradients(cuda)
    assert wanted.keys() == found.keys() and len(wanted) == 15
    for key, values in wanted.items():
        assert values.any()
        close(found[key], values, GRADIENT)
    for key, values in parameters(cpu).items():
        close(parameters(cuda)[key], values, OUTPUT)
    for net in nets:
        check(lib.dn_network_zero_grad(net.handle))
    assert not any(values.any() for values in gradients(cuda).values())


@pytest.mark.parametrize("stage", ["ALL", "MASK"])
@pytest.mark.parametrize("norm", [0, 1])
def test_training_passes_of_a_mask_branch(stage, norm):
    nets = pair(branch_cfg(3, "max", norm), batch=3, training=True,
                stage=getattr(lib, f"DN_STAGE_{stage}"))  # fmt: skip
    truths = Truths(three_images(np.random.default_rng(1)))
    values = np.random.default_rng(2).random((3, 3, SIZE, SIZE)).astype(np.float32)
    for iteration in range(2):
        for net in nets:
            data = net._set_input(values)
            check(lib.dn_network_train_forward(net.handle, data, 3, truths.handle, iteration))
            backward(net)
    cpu, cuda = nets
    assert cuda.layer(-1).loss == pytest.approx(cpu.layer(-1).loss, rel=1e-5)
    same_rois(cpu, cuda)
    wanted, found = gradients(cpu), gradients(cuda)
    assert wanted.keys() == found.keys()
    for key, values in wanted.items():
        close(found[key], values, GRADIENT)


def test_passes_repeat_bit_for_bit():
    net = pair(DETECTOR, batch=2, training=True)[1]
    results = []
    for _ in range(2):
        check(lib.dn_network_zero_grad(net.handle))
        net.train_forward(pictures(2), objects())
        net.backward()
        results.append(gradients(net))
    for key, values in results[0].items():
        assert np.array_equal(values, results[1][key])


@pytest.mark.parametrize(
    "layer", ["convolutional", "shortcut", "maxpool", "route", "yolo", "roialign", "mask"]
)
def test_layers_without_a_form(layer):
    """They run on the CPU between copies, beside layers that do not: nothing else changes."""
    check(lib.dn_test_without_form(layer.encode()))
    try:
        net = Net(DETECTOR + BRANCH)
        net.forward(pictures(1))
        types = [ffi.string(net.layer(i).type).decode() for i in range(net.info.layer_count)]
        arguments = types.index(layer), b"cuda", *[ffi.NULL] * 4
        with pytest.raises(DeviceError, match=rf"\[{layer}\] has no cuda form"):
            check(lib.dn_test_layer(net.handle, *arguments))
        if layer in ("roialign", "mask"):
            test_training_passes_of_a_mask_branch("ALL", 1)
        else:
            test_training_passes_of_a_detector()
        test_outputs_detections_and_masks()
        test_resize()
    finally:
        check(lib.dn_test_without_form(ffi.NULL))


# ---- memory and parameters -------------------------------------------------------------------


def test_resize():
    cpu, cuda = pair(DETECTOR + BRANCH, batch=2)
    for w, h in ((96, 64), (64, 48), (32, 96)):
        for net in (cpu, cuda):
            check(lib.dn_network_resize(net.handle, w, h))
        assert cuda.layer(0).out == ffi.NULL  # what was is gone
        values = pictures(2, h, w)
        close(cuda.forward(values, 0.3), cpu.forward(values, 0.3), OUTPUT)
        assert same_results(cpu.result(1, 80, 60), cuda.result(1, 80, 60))
    with pytest.raises(ValueError, match="an input of 0 x 4 is not possible"):
        check(lib.dn_network_resize(cuda.handle, 0, 4))
    close(cuda.forward(values, 0.3), cpu.output(-1), OUTPUT)


def test_weights_files(tmp_path):
    cpu, cuda = pair(DETECTOR + BRANCH)
    paths = [tmp_path / name for name in ("cpu.weights", "cuda.weights")]
    for net, path in zip((cpu, cuda), paths, strict=True):
        check(lib.dn_network_save_weights(net.handle, str(path).encode(), 0, -1))
    assert paths[0].read_bytes() == paths[1].read_bytes()
    randomize(cuda, seed=9)
    report = cuda.load(paths[0])
    assert report.layers_loaded == report.layers_total
    for key, values in parameters(cpu).items():
        assert np.array_equal(parameters(cuda)[key], values)
    close(cuda.forward(pictures(1), 0.3), cpu.forward(pictures(1), 0.3), OUTPUT)


def test_parameters_are_copies():
    cuda = pair(DETECTOR, training=True)[1]
    before = cuda.forward(pictures(1)).copy()
    weights, mean = (cuda.params(0)[name] for name in ("weights", "mean"))
    weights[:] *= 2
    assert np.array_equal(cuda.params(0)["weights"], weights)  # still what the caller wrote
    lib.dn_network_touch(cuda.handle)
    after = cuda.forward(pictures(1))
    assert not np.array_equal(before, after)
    fresh = cuda.params(0)
    assert np.shares_memory(fresh["weights"], weights) and np.shares_memory(fresh["mean"], mean)
    old = mean.copy()
    cuda.train_forward(pictures(1), objects()[:1])
    assert np.array_equal(mean, old)  # a copy, as it was asked for
    assert not np.array_equal(cuda.params(0)["mean"], old)


def test_networks_in_threads():
    """Each thread its own network; both give what they give alone."""
    nets = [pair(DETECTOR + BRANCH, seed)[1] for seed in (2, 3)]
    wanted = [net.forward(pictures(1), 0.3) for net in nets]
    found = [[], []]

    def work(k: int) -> None:
        for _ in range(5):
            found[k].append(nets[k].forward(pictures(1), 0.3))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k in range(2):
        assert len(found[k]) == 5
        assert all(np.array_equal(values, wanted[k]) for values in found[k])


def test_two_devices(tmp_path):
    """Networks of one thread on two GPUs, their calls in turn, and each in a thread of its own."""
    if lib.dn_device_check(b"cuda:1") != lib.DN_OK:
        pytest.skip("one GPU")
    nets = [Net(DETECTOR, device=b"cuda:" + k, batch=2, training=True) for k in (b"0", b"1")]
    for net in nets:
        randomize(net)

    def train(net: Net) -> None:
        net.train_forward(pictures(2), objects())
        net.backward()

    for k in range(2):
        for net in nets:
            train(net)
        for i, net in enumerate(nets):
            check(lib.dn_network_save_weights(net.handle, f"{tmp_path}/{k}{i}".encode(), 0, -1))
    threads = [threading.Thread(target=train, args=(net,)) for net in nets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for key, values in gradients(nets[0]).items():
        assert values.any() and np.array_equal(gradients(nets[1])[key], values)
    assert (tmp_path / "10").read_bytes() == (tmp_path / "11").read_bytes()
    for net in nets:
        check(lib.dn_network_resize(net.handle, 96, 64))
    wanted, found = (net.forward(pictures(2, 64, 96)) for net in nets)
    assert np.array_equal(wanted, found)


def test_what_a_device_refuses():
    cuda = pair(DETECTOR)[1]
    cuda.forward(pictures(1))
    out = np.zeros(cuda.output(0).size, np.float32)
    arguments = ffi.cast("float *", out.ctypes.data), ffi.NULL, ffi.NULL, ffi.NULL
    with pytest.raises(ValueError, match="needs a network on the CPU"):
        check(lib.dn_test_layer(cuda.handle, 0, b"cuda", *arguments))
    with pytest.raises(DeviceError, match=r"device cuda:999: this machine has \d+ CUDA device"):
        Net(DETECTOR, device=b"cuda:999")
    with pytest.raises(MemoryError, match=r"need .* GiB of memory, the GPU has"):
        large = DETECTOR.split("[convolutional]")[0] + "[activation]\nactivation=tanh\n" * 60
        Net(large, device=b"cuda", batch=170, width=2048, height=2048)  # 500 GB


def test_network_of_python(tmp_path):
    path = tmp_path / "detector.cfg"
    path.write_text(DETECTOR + BRANCH)
    networks = [Network(path, device=device) for device in ("cpu", "cuda:0", "auto")]
    assert [network.device for network in networks] == ["cpu", "cuda:0", "cuda:0"]
    pixels = np.random.default_rng(0).integers(0, 256, (50, 80, 3), np.uint8)
    first, *others = (network.predict(pixels, conf=0.3) for network in networks)
    for other in others:
        assert len(first) == len(other) > 0
        np.testing.assert_allclose(other.boxes.xyxy, first.boxes.xyxy, atol=1e-2)
        np.testing.assert_allclose(other.boxes.conf, first.boxes.conf, atol=1e-4)
    with pytest.raises(DeviceError, match="device cuda:x: a number"):
        Network(path, device="cuda:x")


# ---- real weights ----------------------------------------------------------------------------


@pytest.mark.parametrize("names", [["yolo-fastest"], ["yolov4-tiny", "yolomask-v4-tiny"]])
def test_published_models(models, names):
    """The same objects; scores within 1e-3, masks that differ in at most .5 % of their cells, and
    of the pixels that they cover."""
    cfg = ROOT / "cfg" / f"{names[-1]}.cfg"
    weights = [published_file(models, f"{names[0]}.weights")]
    weights += [ROOT / "weights" / f"{name}.mask.weights" for name in names[1:]]
    photo = images.load_image(published_file(models, "bus.jpg"))
    results = []
    for device in (b"cpu", b"cuda"):
        net = Net(cfg, device=device, keep_all=False, width=224, height=224)
        report = net.load(*weights)
        assert report.layers_loaded == report.layers_total
        results.append(net.predict([photo], threshold=0.3)[0])
    assert same_results(*results, tolerance=1e-3, cells=0.005) >= 3
    if results[0].mask_size:
        first, second = map(pixels_of, results)
        for a, b in zip(first, second, strict=True):
            assert a.sum() > 1000 and (a != b).sum() <= 0.005 * a.sum()
