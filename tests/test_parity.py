"""Published models, real weights: the same numbers as other software, the same bytes when saved.

Truth: OpenCV's dnn reads the same .cfg and .weights; PyTorch runs an independent model of YOLOv3-
tiny's cfg. Both get the very input that the library gets.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cfg_oracle import read_sections
from conftest import published_file
from networks import Net
from yolomask._native import check, lib

OPENCV_MODELS = [
    "yolov4-tiny",
    "yolo-fastest",
    "yolo-fastest-xl",
    "yolo-fastest-1.1",
    "yolo-fastest-1.1-xl",
]
FILES = ["yolov3-tiny", *OPENCV_MODELS]


def model(models: Path, name: str) -> tuple[Path, Path]:
    return published_file(models, f"{name}.cfg"), published_file(models, f"{name}.weights")


def picture(height: int, width: int) -> np.ndarray:
    """A smooth picture with noise, (1, 3, h, w) in 0..1."""
    y, x = np.mgrid[0:height, 0:width] / 40.0
    waves = np.stack([np.sin(x + k) * np.cos(1.3 * y - k) for k in range(3)])
    noise = np.random.default_rng(1).normal(scale=0.1, size=waves.shape)
    return np.clip(0.5 + 0.4 * waves + noise, 0, 1).astype(np.float32)[None]


def run(cfg: Path, weights: Path, **options) -> tuple[Net, np.ndarray]:
    net = Net(cfg, **options)
    report = net.load(weights)
    assert report.layers_loaded == report.layers_total > 10
    image = picture(net.info.height, net.info.width)
    net.forward(image, 0.5)
    return net, image


def use_opencv_epsilon(net: Net) -> None:
    """OpenCV normalises by sqrt(variance + 1e-6), Darknet's CUDA code and we by + 1e-5: on these
    models that alone moves the heads by up to 8e-4 of their range. Taking the difference from the
    variances makes both compute the same, so that everything else is held to 1e-4."""
    for index in range(net.info.layer_count):
        variance = net.params(index).get("variance")
        if variance is not None:
            variance -= np.float32(1e-5 - 1e-6)
    lib.dn_network_touch(net.handle)


def largest_difference(net: Net, heads: list[int], expected: list[np.ndarray]) -> float:
    """Over all heads, relative to the head's largest value."""
    shares = []
    for index, values in zip(heads, expected, strict=True):
        found = net.output(index)
        assert found.shape == values.shape
        shares.append(np.abs(found - values).max() / np.abs(values).max())
    return max(shares)


@pytest.mark.parametrize("name", OPENCV_MODELS)
def test_heads_as_opencv(models, name):
    cv2 = pytest.importorskip("cv2")
    if int(cv2.__version__.split(".")[0]) >= 5:
        pytest.skip("OpenCV 5 reads no Darknet files")
    cfg, weights = model(models, name)
    net, image = run(cfg, weights)
    other = cv2.dnn.readNetFromDarknet(str(cfg), str(weights))
    other.enableWinograd(False)
    other.setInput(image)
    heads = [i - 1 for i, s in enumerate(read_sections(cfg)[1:]) if s.name == "yolo"]
    expected = other.forward([f"conv_{i}" for i in heads])
    assert len(heads) == 2
    assert largest_difference(net, heads, expected) <= 1e-3
    use_opencv_epsilon(net)
    net.forward(image, 0.5)
    assert largest_difference(net, heads, expected) <= 1e-4


class TorchModel:
    """YOLOv3-tiny's kinds of layers in PyTorch, float64, weights read here and not by us."""

    def __init__(self, torch, cfg: Path, weights: Path):
        self.torch, self.sections = torch, read_sections(cfg)[1:]
        self.values = np.fromfile(weights, np.float32, offset=20)
        self.position = 0

    def take(self, *shape):
        count = int(np.prod(shape))
        values = self.values[self.position : self.position + count]
        self.position += count
        return self.torch.tensor(values.reshape(shape), dtype=self.torch.float64)

    def convolution(self, s, x):
        functional = self.torch.nn.functional
        filters, size = s.number("filters", 1), s.number("size", 1)
        bias = self.take(filters)
        scale, mean, variance = None, None, None
        if s.number("batch_normalize", 0):
            scale, mean, variance = (
                self.take(filters),
                self.take(filters),
                self.take(filters),
            )
        kernel = self.take(filters, x.shape[1], size, size)
        padding = size // 2 if s.number("pad", 0) else 0
        if scale is None:
            x = functional.conv2d(x, kernel, bias, s.number("stride", 1), padding)
        else:
            x = functional.conv2d(x, kernel, None, s.number("stride", 1), padding)
            x = functional.batch_norm(x, mean, variance, scale, bias, False, 0, 1e-5)
        return functional.leaky_relu(x, 0.1) if s.options["activation"] == "leaky" else x

    def maxpool(self, s, x):
        functional = self.torch.nn.functional
        if s.number("stride", 1) == 1:  # one more row and column, which never win
            x = functional.pad(x, (0, 1, 0, 1), value=-np.inf)
        return functional.max_pool2d(x, s.number("size", 1), s.number("stride", 1))

    def yolo(self, s, x):
        n, _, h, w = x.shape
        x = x.reshape(n, len(s.numbers("mask")), -1, h, w).clone()
        for part in (slice(0, 2), slice(4, None)):
            x[:, :, part] = self.torch.sigmoid(x[:, :, part])
        return x.reshape(n, -1, h, w)

    def __call__(self, image: np.ndarray):
        x, outputs = self.torch.tensor(image, dtype=self.torch.float64), []
        for index, s in enumerate(self.sections):
            if s.name == "convolutional":
                x = self.convolution(s, x)
            elif s.name == "maxpool":
                x = self.maxpool(s, x)
            elif s.name == "route":
                layers = [k if k >= 0 else index + k for k in s.numbers("layers")]
                x = self.torch.cat([outputs[k] for k in layers], dim=1)
            elif s.name == "upsample":
                x = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
            else:
                assert s.name == "yolo"
                x = self.yolo(s, x)
            outputs.append(x)
        assert self.position == len(self.values)
        return [x.numpy() for x in outputs]


def test_every_layer_of_yolov3_tiny_as_pytorch(models):
    torch = pytest.importorskip("torch")
    cfg, weights = model(models, "yolov3-tiny")
    net, image = run(cfg, weights)
    with torch.no_grad():
        outputs = TorchModel(torch, cfg, weights)(image)
    assert len(outputs) == net.info.layer_count == 24
    for index, expected in enumerate(outputs):
        found = net.output(index)
        assert found.shape == expected.shape, index
        difference, largest = np.abs(found - expected).max(), np.abs(expected).max()
        assert difference <= 1e-5 * largest, f"layer {index}: {difference / largest:.1e}"


@pytest.mark.parametrize("name", FILES)
def test_loading_and_saving_gives_the_same_bytes(models, tmp_path, name):
    cfg, weights = model(models, name)
    net, saved = Net(cfg, keep_all=False), tmp_path / "saved.weights"
    net.load(weights)
    check(lib.dn_network_save_weights(net.handle, str(saved).encode(), 0, -1))
    assert saved.read_bytes() == weights.read_bytes()


@pytest.mark.parametrize("name", FILES)
def test_the_shipped_cfg_is_the_same_network(models, root, name):
    """Our own cfg of the model gives the same outputs as the published one."""
    cfg, weights = model(models, name)
    net, image = run(cfg, weights)
    ours = Net(root / "cfg" / f"{name}.cfg", height=net.info.height, width=net.info.width)
    ours.load(weights)
    ours.forward(image, 0.5)
    assert not ours.warnings
    for index in range(net.info.layer_count):
        assert np.array_equal(ours.output(index), net.output(index)), index
