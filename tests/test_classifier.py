"""Classifiers: predict, valid, training, their data sets.

Truth: PyTorch for the network, its training and the random views, the published resize and a cut in
NumPy for the crop, the colours and names that this file gives to its images.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from networks import Net
from program import Folder, floats
from test_image import noise, published_input, view
from yolomask import CancelledError, DarknetError, DataError, Network
from yolomask._native import check, ffi, lib

try:
    import torch
    from torch.nn import functional
except ImportError:
    torch = None
needs_torch = pytest.mark.skipif(torch is None, reason="no PyTorch: make test TORCH=1")

COLOURS = {"apple": (200, 30, 30), "leaf": (30, 190, 40), "sky": (40, 60, 210)}  # RGB
NET = """[net]
batch=12
subdivisions=2
width=24
height=24
channels=3
min_crop=24
max_crop=40
angle=10
hue=.02
saturation=.8
exposure=.8
aspect=.8
learning_rate=.05
momentum=.9
decay=.0005
policy=constant
max_batches=40

[convolutional]
batch_normalize=1
filters=8
size=3
stride=2
pad=1
activation=leaky

[maxpool]
size=2
stride=2

[convolutional]
filters=3
size=1
activation=linear

[avgpool]

[softmax]
"""


def draw_shape(name: str, seed: int, size: tuple[int, int] = (40, 52)) -> np.ndarray:
    """A coloured disc on gray noise, RGB."""
    random = np.random.default_rng(seed)
    pixels = random.integers(90, 150, (*size, 3), np.uint8)
    centre = (int(random.integers(20, size[1] - 19)), int(random.integers(16, size[0] - 15)))
    cv2.circle(pixels, centre, int(random.integers(9, 14)), COLOURS[name], -1)
    return pixels


def write_weights(path: Path, seed: int = 0) -> dict[str, np.ndarray]:
    """Random weights of the network above, by the rules of docs/formats.md."""
    random = np.random.default_rng(seed)
    arrays = {
        "shift": random.normal(0, 0.3, 8),
        "scale": random.normal(1, 0.2, 8),
        "mean": random.normal(0, 0.2, 8),
        "variance": random.uniform(0.3, 1, 8),
        "first": random.normal(0, 0.5, (8, 3, 3, 3)),
        "biases": random.normal(0, 0.5, 3),
        "second": random.normal(0, 1.5, (3, 8, 1, 1)),
    }
    floats = np.concatenate([a.ravel() for a in arrays.values()]).astype("<f4")
    path.write_bytes(np.array([0, 2, 5, 0, 0], "<i4").tobytes() + floats.tobytes())
    return {name: values.astype(np.float32) for name, values in arrays.items()}


def torch_probabilities(planes: np.ndarray, arrays: dict[str, np.ndarray]) -> np.ndarray:
    a = {name: torch.tensor(values, dtype=torch.float64) for name, values in arrays.items()}
    x = torch.tensor(planes, dtype=torch.float64)[None]
    x = functional.conv2d(x, a["first"], stride=2, padding=1)
    x = functional.batch_norm(x, a["mean"], a["variance"], a["scale"], a["shift"], eps=1e-5)
    x = functional.max_pool2d(functional.leaky_relu(x, 0.1), 2, 2)
    x = functional.conv2d(x, a["second"], a["biases"]).mean(dim=(2, 3))
    return functional.softmax(x[0], dim=0).numpy()


def crop_box(width: int, height: int, net: tuple[int, int]):
    return ffi.new("dn_letterbox *", lib.dn_letterbox_crop(width, height, *net))


def centre_crop(pixels: np.ndarray, net: tuple[int, int]) -> np.ndarray:
    """The published resize so that the input is covered, then the middle of it."""
    height, width = pixels.shape[:2]
    if net[0] * height >= net[1] * width:
        size = net[0], height * net[0] // width
    else:
        size = width * net[1] // height, net[1]
    whole = ffi.new("dn_letterbox *", {"new_w": size[0], "new_h": size[1]})
    whole.net_w, whole.net_h = size
    planes = published_input(pixels, whole)
    left, top = (size[0] - net[0]) // 2, (size[1] - net[1]) // 2
    return planes[:, top : top + net[1], left : left + net[0]]


@pytest.fixture
def folder(tmp_path) -> Folder:
    """Nine photos of coloured discs, and what classifies them."""
    made = Folder(tmp_path)
    (tmp_path / "net.cfg").write_text(NET)
    names = list(COLOURS)
    for i in range(9):
        name = names[i % 3]
        (tmp_path / name).mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / name / f"{i}.png"), draw_shape(name, i)[..., ::-1])
    files = [f"{names[i % 3]}/{i}.png" for i in range(9)]
    (tmp_path / "images.txt").write_text("\n".join(files) + "\n")
    (tmp_path / "labels.txt").write_text("\n".join(names) + "\n")
    (tmp_path / "names.txt").write_text("An apple\nA leaf\nThe sky\n")
    (tmp_path / "net.data").write_text(
        "classes=3\ntrain=images.txt\nvalid=images.txt\nlabels=labels.txt\nnames=names.txt\n"
        "backup=backup\ntop=2\n"
    )
    write_weights(tmp_path / "net.weights")
    return made


# ---- the crop ----


@pytest.mark.parametrize("net", [(24, 24), (32, 20), (20, 33)])
@pytest.mark.parametrize("shape", [(40, 52), (52, 40), (24, 24), (7, 90), (90, 7), (1, 1)])
def test_crop_is_the_published_resize_and_the_middle(shape, net):
    pixels = noise(*shape, seed=4)
    box = crop_box(shape[1], shape[0], net)
    out = np.full((3, net[1], net[0]), np.nan, np.float32)
    check(lib.dn_image_to_input(view(pixels), box, 2, ffi.from_buffer("float[]", out)))
    assert np.array_equal(out, centre_crop(pixels, net))
    assert box.new_w >= net[0] and box.new_h >= net[1] and box.pad_x <= 0 and box.pad_y <= 0


def test_crop_of_extreme_images_stays_in_range():
    for width, height in ((65535, 1), (1, 65535), (0, 5)):
        box = crop_box(width, height, (65536, 65536))
        assert 65536 <= box.new_w <= 2**30 and 65536 <= box.new_h <= 2**30


# ---- predict ----


@needs_torch
def test_predict_against_pytorch(folder):
    arrays = write_weights(folder.path / "net.weights", seed=3)
    pixels = cv2.imread(str(folder.path / "leaf/4.png"))[..., ::-1]
    wanted = torch_probabilities(centre_crop(pixels, (24, 24)), arrays)
    with Network(folder.path / "net.cfg", folder.path / "net.weights", ["a", "b", "c"]) as net:
        found = net.classify(folder.path / "leaf/4.png", top=3)
        assert net.classify(np.ascontiguousarray(pixels[..., ::-1]), 3, bgr=True) == found
        assert net.classify([folder.path / "leaf/4.png"] * 2, top=1) == [found[:1]] * 2
    order = np.argsort(-wanted)
    assert [name for name, _ in found] == ["abc"[i] for i in order]
    assert np.abs(np.array([score for _, score in found]) - wanted[order]).max() < 1e-6
    out, _ = folder.run("classifier", "predict", "net.data", "net.cfg", "net.weights",
                        "leaf/4.png", "-t", 3)  # fmt: skip
    head, *lines = out.splitlines()
    assert re.fullmatch(r"leaf/4\.png: Predicted in [0-9.]+ milli-seconds\.", head)
    names = ["An apple", "A leaf", "The sky"]
    assert lines == [f"{100 * wanted[i]:5.2f}%: {names[i]}" for i in order]


def test_predict_takes_top_and_names_from_the_data_file(folder):
    words = ["classifier", "predict", "net.data", "net.cfg", "net.weights"]
    out, _ = folder.run(*words, "sky/2.png", "apple/0.png")
    assert len(out.splitlines()) == 2 * (1 + 2)  # top=2
    (folder.path / "net.data").write_text("labels=labels.txt\n")
    out, _ = folder.run(*words, given="sky/2.png\n")
    assert out.startswith("Enter Image Path: sky/2.png: Predicted in ")
    assert out.splitlines()[1].split(": ")[1] in COLOURS  # labels stand in for names, top is 1
    with open(folder.path / "labels.txt", "a") as file:
        file.write("further\nnames\n")  # as in Darknet's lists for ImageNet
    assert folder.run(*words, "sky/2.png", "-t", 9)[0].count("%: ") == 3


def test_predict_letterboxed_and_stretched_see_more_than_the_crop(folder):
    words = ["classifier", "predict", "net.data", "net.cfg", "net.weights", "leaf/4.png"]
    lines = {tuple(folder.run(*words, *flag)[0].splitlines()[1:])
             for flag in ((), ("-letter_box",), ("-stretch",))}  # fmt: skip
    assert len(lines) == 3


# ---- valid ----


@needs_torch
def test_valid_counts_top_1_and_top_k(folder):
    arrays = write_weights(folder.path / "net.weights", seed=3)
    first = among = 0
    wanted = []
    for i, name in enumerate((folder.path / "images.txt").read_text().split(), 1):
        pixels = cv2.imread(str(folder.path / name))[..., ::-1]
        scores = torch_probabilities(centre_crop(pixels, (24, 24)), arrays)
        place = list(np.argsort(-scores)).index(list(COLOURS).index(name.split("/")[0]))
        first, among = first + (place == 0), among + (place < 2)
        wanted.append(f"{i}: top 1: {first / i:f}, top 2: {among / i:f}")
    out, error = folder.run("classifier", "valid", "net.data", "net.cfg", "net.weights")
    assert out.splitlines() == wanted
    assert 0 < first < among < 9  # so that the counts can tell them apart
    assert "images.txt: 9 images, 3 classes" in error


def test_valid_skips_what_it_cannot_read(folder):
    (folder.path / "apple/0.png").write_bytes(b"no image")
    words = ["classifier", "valid", "net.data", "net.cfg", "net.weights"]
    out, error = folder.run(*words, code=1)
    assert out.splitlines()[-1].startswith("8: top 1: ")
    assert "\nskipped: apple/0.png: " in error


def load_class_set(folder: Path):
    """The data set of net.data's images; ffi frees it."""
    keep = [ffi.new("char[]", str(folder / n).encode()) for n in ("images.txt", "labels.txt")]
    out = ffi.new("dn_dataset **")
    source = ffi.new("dn_dataset_source *", {"path": keep[0], "labels": keep[1]})
    check(lib.dn_dataset_load(source, out))
    return ffi.gc(out[0], lib.dn_dataset_free)


def test_accuracy_through_the_library(folder):
    dataset, accuracy = load_class_set(folder.path), ffi.new("dn_class_accuracy *")
    net = Net(folder.path / "net.cfg")
    check(lib.dn_validate_classes(net.handle, dataset, ffi.NULL, accuracy))
    assert (accuracy.images, accuracy.skipped) == (9, 0)
    assert accuracy.first == accuracy.among < 9
    check(lib.dn_validate_classes(
        net.handle, dataset, ffi.new("dn_class_validate_options *", {"top": 3}), accuracy
    ))  # fmt: skip
    assert accuracy.among == 9
    (folder.path / "sky/2.png").unlink()
    with pytest.raises(OSError, match=r"sky/2\.png: cannot open"):
        check(lib.dn_validate_classes(
            net.handle, dataset, ffi.new("dn_class_validate_options *", {"strict": True}), accuracy
        ))  # fmt: skip
    stop = ffi.callback("bool(void *)", lambda _: True)
    with pytest.raises(CancelledError):
        check(lib.dn_validate_classes(
            net.handle, dataset, ffi.new("dn_class_validate_options *", {"cancelled": stop}),
            accuracy,
        ))  # fmt: skip
    for path in folder.path.glob("*/?.png"):
        path.unlink()
    with pytest.raises(DataError, match="none of the 9 images of the data set can be read"):
        check(lib.dn_validate_classes(net.handle, dataset, ffi.NULL, accuracy))
    assert accuracy.among == 9  # a failure leaves it alone


# ---- the data set ----


def class_set(folder: Path, paths: list[str], labels: list[str], **fields):
    """(path, class) of each image, and the faults."""
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()
    (folder / "list.txt").write_text("\n".join(paths))
    (folder / "labels.txt").write_text("\n".join(labels))
    texts = {"path": str(folder / "list.txt"), "labels": str(folder / "labels.txt")}
    keep = {key: ffi.new("char[]", text.encode()) for key, text in texts.items()}
    out = ffi.new("dn_dataset **")
    check(lib.dn_dataset_load(ffi.new("dn_dataset_source *", keep | fields), out))
    view_ = lib.dn_dataset_get(out[0])
    images = [
        (ffi.string(view_.images[i].file_name).decode(), view_.images[i].class_id)
        for i in range(view_.image_count)
    ]
    faults = [ffi.string(view_.faults[i]).decode() for i in range(view_.fault_count)]
    assert view_.has_image_classes and view_.object_count == 0
    count = view_.class_count
    lib.dn_dataset_free(out[0])
    return images, faults, count


def test_the_label_nearest_to_the_end_of_the_path_counts(tmp_path):
    paths = ["carol/dog.7.jpg", "dog/cat_1.jpg", "bobcat/1.jpg", "cat/bob.jpg", "x/car/1.jpg"]
    images, faults, count = class_set(tmp_path, paths, ["car", "dog", "cat", "bobcat"])
    assert images == list(zip(paths, [1, 2, 3, 2, 0], strict=True))
    assert (faults, count) == ([], 4)


def test_an_image_without_a_label_is_left_out_and_told(tmp_path):
    paths = ["q/one/1.jpg", "q/none/2.jpg"]
    images, faults, _ = class_set(tmp_path, paths, ["q/one", "two"])
    assert images == [("q/one/1.jpg", 0)]
    assert len(faults) == 1
    assert faults[0].endswith(
        f"q/none/2.jpg: none of the 2 labels of {tmp_path}/labels.txt occurs in its path"
    )
    with pytest.raises(DataError, match=r"q/none/2\.jpg: none of the 2 labels"):
        class_set(tmp_path, paths, ["q/one", "two"], strict=True)


def test_labels_behind_the_last_class_do_not_count(tmp_path):
    images, faults, count = class_set(tmp_path, ["q1/1.jpg", "q2/2.jpg"], ["q1", "q2"], classes=1)
    assert images == [("q1/1.jpg", 0)]
    assert (len(faults), count) == (1, 1)


def test_data_sets_that_cannot_be(tmp_path):
    with pytest.raises(DataError, match=r"none of the 1 labels .* occurs in the path of an image"):
        class_set(tmp_path, ["q/1.jpg"], ["zzz"])
    with pytest.raises(DarknetError, match="holds 1 labels, but classes=3"):
        class_set(tmp_path, ["q/1.jpg"], ["q"], classes=3)


def test_every_allocation_of_a_class_list_may_fail(tmp_path, fail_allocations):
    paths = ["q/1.jpg", "r/2.jpg", "none.jpg"]
    assert fail_allocations(lambda: class_set(tmp_path, paths, ["q/", "r/"])) > 5


# ---- errors ----


@pytest.mark.parametrize(
    "command, change, sentence",
    [
        ("valid", ("labels=labels.txt\n", ""), "net.data: has no labels=; give a file of labels"),
        ("valid", ("valid=images.txt\n", ""), "net.data: has no valid=; give an image list"),
        ("valid", ("labels.txt", "nope.txt"), "net.data:4: labels=nope.txt is not there"),
        (
            "valid",
            ("classes=3", "classes=2"),
            "net.cfg: has 3 classes, the labels of the data set are 2",
        ),
        ("valid", ("valid=images.txt", "valid=labels.json"), "a classifier's images are an image"),
        ("predict", ("names.txt", "tiny.names"), "tiny.names: has 2 names, the cfg has classes=3"),
    ],
)
def test_refusals(folder, command, change, sentence):
    text = (folder.path / "net.data").read_text()
    assert change[0] in text
    (folder.path / "net.data").write_text(text.replace(*change))
    words = ["classifier", command, "net.data", "net.cfg", "net.weights", "-quiet"]
    _, error = folder.run(*words, *["sky/2.png"] * (command == "predict"), code=1)
    last = error.splitlines()[-1]
    assert sentence in last, error
    if command == "predict":
        assert len(error.splitlines()) == 1


def test_detectors_do_not_classify_and_classifiers_do_not_detect(folder):
    error = folder.error("classifier", "predict", "tiny.data", "tiny.cfg", "tiny.weights")
    assert error.startswith("tiny.cfg: is no classifier: it has heads")
    error = folder.error("detector", "test", "net.data", "net.cfg", "net.weights", "sky/2.png")
    assert error == "net.cfg: has no [yolo] or [region]: it finds no boxes"
    with Network(folder.path / "net.cfg", folder.path / "net.weights") as net:
        with pytest.raises(ValueError, match="the best 0 classes"):
            net.classify(folder.path / "sky/2.png", top=0)
        with pytest.raises(DarknetError, match="no head"):
            net.predict(folder.path / "sky/2.png")
    assert folder.error("classifier", "test") == (
        "Not an option: test (darknet help lists the commands)"
    )


# ---- the random view ----


class Random:
    """The library's numbers (src/core/rng.h): splitmix64 over a hash of four words."""

    def __init__(self, *words: int):
        self.state = words[0]
        for word in (*words[1:], 0):
            self.state = self.next() ^ word

    def next(self) -> int:
        mask = 2**64 - 1
        self.state = (self.state + 0x9E3779B97F4A7C15) & mask
        z = ((self.state ^ (self.state >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        return z ^ (z >> 31)

    def uniform(self, low: float, high: float) -> float:
        return low + (self.next() >> 40) / 2**24 * (high - low)

    def below(self, count: int) -> int:
        return (self.next() >> 32) * count >> 32

    def factor(self, span: float) -> float:
        factor = self.uniform(1, span)
        return factor if self.uniform(0, 1) < 0.5 else 1 / factor


def view_oracle(pixels, net, seed, number, crops, angle, aspect, flip):
    """docs/numerics.md, with PyTorch's sampling in float64."""
    height, width = pixels.shape[:2]
    w, h = net
    random = Random(seed, number, 0, 4)
    a = random.factor(aspect)
    side = crops[0] + random.below(crops[1] - crops[0] + 1)
    scale = side / min(height, width / a)
    theta = np.radians(random.uniform(-angle, angle))
    dx = random.uniform(-0.5, 0.5) * (width * scale / a - w)
    dy = random.uniform(-0.5, 0.5) * (height * scale - h)
    mirrored = flip and random.uniform(0, 1) < 0.5
    n = max(1, int(np.ceil(max(a, 1) / scale / 2)))
    x, y = np.meshgrid((np.arange(w * n) + 0.5) / n, (np.arange(h * n) + 0.5) / n)
    if mirrored:
        x = w - x
    u, v = (x - w / 2 + dx) * a / scale, (y - h / 2 + dy) / scale
    at_x = np.cos(theta) * u - np.sin(theta) * v + width / 2
    at_y = np.sin(theta) * u + np.cos(theta) * v + height / 2
    grid = torch.tensor(np.stack([2 * at_x / width - 1, 2 * at_y / height - 1], -1))[None]
    planes = torch.tensor(pixels.transpose(2, 0, 1)[None] / 255.0)
    fine = functional.grid_sample(planes, grid, align_corners=False)
    return functional.avg_pool2d(fine, n)[0].numpy(), n


def preview(folder: Path, cfg: str, count: int, seed: int = 7, **fields):
    """(inputs, rows of truth, files) of the first samples of a training."""
    source = {name: str(folder / name) for name in ("images.txt", "labels.txt")}
    keep = [ffi.new("char[]", text.encode()) for text in (*source.values(), str(folder / cfg))]
    data = ffi.new("dn_dataset **")
    check(lib.dn_dataset_load(
        ffi.new("dn_dataset_source *", {"path": keep[0], "labels": keep[1]}), data))  # fmt: skip
    options = {"cfg": keep[2], "dataset": data[0], "seed": seed, "count": count} | fields
    out = ffi.new("dn_preview **")
    check(lib.dn_preview_make(ffi.new("dn_preview_options *", options), out))
    p, files = out[0], lib.dn_dataset_get(data[0]).images
    size = (count, 3, p.height, p.width)
    inputs = np.frombuffer(ffi.buffer(p.input, 4 * int(np.prod(size))), np.float32).reshape(size)
    rows = np.array([[p.truth[i].values[k] for k in range(3)] for i in range(count)])
    names = [ffi.string(files[p.images[i]].file_name).decode() for i in range(count)]
    inputs = inputs.copy()
    lib.dn_preview_free(p)
    lib.dn_dataset_free(data[0])
    return inputs, rows, names


@needs_torch
@pytest.mark.parametrize(
    "crops, angle, aspect, flip, samples",
    [
        ((24, 24), 0, 1, 0, 1),  # nothing but the shift
        ((12, 20), 30, 0.7, 1, 2),  # smaller than the input: black around it
        ((24, 60), 10, 1.4, 1, 1),
        ((6, 7), 180, 0.8, 1, 5),  # shrunk by more than 8
    ],
)
def test_views_against_pytorch(folder, crops, angle, aspect, flip, samples):
    text = re.sub(r"min_crop(.|\n)*?learning_rate", "learning_rate", NET)
    keys = f"min_crop={crops[0]}\nmax_crop={crops[1]}\nangle={angle}\naspect={aspect}\nflip={flip}"
    (folder.path / "view.cfg").write_text(text.replace("channels=3", f"channels=3\n{keys}"))
    inputs, rows, names = preview(folder.path, "view.cfg", 12, seed=7)
    shrunk = set()
    for number, name in enumerate(names):
        pixels = cv2.imread(str(folder.path / name))[..., ::-1].copy()
        wanted, n = view_oracle(pixels, (24, 24), 7, number, crops, angle, aspect, flip)
        assert np.abs(inputs[number] - wanted).max() < 1e-4, (number, name)
        assert rows[number].tolist() == [name.startswith(label) for label in COLOURS]
        shrunk.add(n)
    assert sorted(names[:9]) == sorted(set(names)) and max(shrunk) == samples


def test_views_without_augmentation_are_those_of_valid(folder):
    inputs, _, names = preview(folder.path, "net.cfg", 9, plain=True)
    for planes, name in zip(inputs, names, strict=True):
        pixels = cv2.imread(str(folder.path / name))[..., ::-1].copy()
        assert np.array_equal(planes, centre_crop(pixels, (24, 24)))


def test_colours_change_within_the_ranges(folder):
    keys = "hue=.02\nsaturation=.8\nexposure=.8"
    still = NET.replace(keys, "hue=0\nsaturation=1\nexposure=1")
    (folder.path / "still.cfg").write_text(still)
    (folder.path / "dim.cfg").write_text(still.replace("exposure=1", "exposure=.8"))
    (folder.path / "bright.cfg").write_text(still.replace("exposure=1", "exposure=1.25"))
    before = preview(folder.path, "still.cfg", 40)[0]
    brightest = before.max(axis=1)
    for name in ("dim.cfg", "bright.cfg"):  # .8 means what 1.25 does
        after = preview(folder.path, name, 40)[0].max(axis=1)
        sure = (brightest > 0.2) & (after < 0.99)  # neither black nor cut at 1
        ratio = np.where(sure, after / np.maximum(brightest, 0.2), np.nan)
        factors = np.nanmedian(ratio, axis=(1, 2))
        assert factors.min() >= 0.8 - 1e-3 and factors.max() <= 1.25 + 1e-3
        assert factors.min() < 0.9 and factors.max() > 1.1


# ---- training ----


def train(folder: Folder, *arguments) -> str:
    words = ["classifier", "train", "net.data", "net.cfg", "-threads", 1, "-quiet"]
    return folder.run(*words, *arguments, *([] if "-valid_every" in arguments else ["-no_valid"]))[
        0
    ]


def test_training_learns_shapes_it_has_not_seen(folder):
    train(folder, "-iterations", 30)
    for i in range(9):
        name = list(COLOURS)[i % 3]
        cv2.imwrite(str(folder.path / name / f"{i}.png"), draw_shape(name, 100 + i)[..., ::-1])
    out, _ = folder.run("classifier", "valid", "net.data", "net.cfg",
                        "backup/net_final.weights", "-threads", 1)  # fmt: skip
    assert out.splitlines()[-1] == "9: top 1: 1.000000, top 2: 1.000000"


def test_validation_on_the_way_keeps_the_best(folder):
    out = train(folder, "-iterations", 6, "-valid_every", 2)
    found = re.findall(r"^validation: classifier (\d), top 1: ([0-9.]+), top 3: 1.0+, ", out, re.M)
    assert [int(iteration) for iteration, _ in found] == [2, 4, 6]
    shares = [float(share) for _, share in found]
    with open(folder.path / "backup/net/results.csv") as file:
        rows = [row for row in csv.DictReader(file) if not row["loss"]]
    assert [float(row["top_1"]) for row in rows] == pytest.approx(shares, abs=1e-5)
    assert [row["top_5"] for row in rows] == ["1"] * 3  # of three classes
    assert not any(row["box_ap"] or row["mask_ap50"] for row in rows)
    best = max(shares)
    assert out.count("New best top 1: ") == len({max(shares[: i + 1]) for i in range(3)})
    for name, share in (("final", shares[-1]), ("best", best)):
        weights = f"backup/net_{name}.weights"
        valid, _ = folder.run("classifier", "valid", "net.data", "net.cfg", weights, "-threads", 1)
        assert valid.splitlines()[-1].startswith(f"9: top 1: {share:f}, ")
    assert re.search(rf"^6: .*, top 1 {100 * shares[1]:.1f}, best ", out, re.M)


@needs_torch
@pytest.mark.parametrize("eps", [0, 0.2])
def test_training_steps_against_pytorch(folder, eps):
    """Four updates of two parts each, without augmentation, from random weights."""
    smooth = NET.replace("channels=3", f"channels=3\nlabel_smooth_eps={eps}")
    (folder.path / "net.cfg").write_text(smooth)
    arrays = write_weights(folder.path / "net.weights", seed=5)
    out = train(folder, "net.weights", "-no_augmentation", "-iterations", 4, "-seed", 3)
    inputs, rows, _ = preview(folder.path, "net.cfg", 48, seed=3, plain=True)
    a = {name: torch.tensor(values, dtype=torch.float64) for name, values in arrays.items()}
    learned = ["shift", "scale", "first", "biases", "second"]
    for name in learned:
        a[name].requires_grad_()
    speed = {name: torch.zeros_like(a[name]) for name in learned}
    for step in range(4):
        losses = []
        for part in range(2):
            at = slice(step * 12 + part * 6, step * 12 + part * 6 + 6)
            x = torch.tensor(inputs[at], dtype=torch.float64)
            x = functional.conv2d(x, a["first"], stride=2, padding=1)
            mean, variance = x.mean(dim=(0, 2, 3)), x.var(dim=(0, 2, 3))  # divided by N - 1
            for name, value in (("mean", mean), ("variance", variance)):
                a[name] = 0.99 * a[name] + 0.01 * value.detach()
            factor = (a["scale"] / torch.sqrt(variance + 1e-5))[None, :, None, None]
            x = (x - mean[None, :, None, None]) * factor + a["shift"][None, :, None, None]
            x = functional.max_pool2d(functional.leaky_relu(x, 0.1), 2, 2)
            x = functional.conv2d(x, a["second"], a["biases"]).mean(dim=(2, 3))
            classes = torch.tensor(rows[at].argmax(axis=1))
            loss = functional.cross_entropy(x, classes, reduction="sum", label_smoothing=eps)
            loss.backward()
            losses.append(loss.item() / 6)
        with torch.no_grad():
            for name in learned:
                decay = 0.0005 * a[name] if name in ("first", "second") else 0
                speed[name] = 0.9 * speed[name] + a[name].grad / 12 + decay
                a[name] -= 0.05 * speed[name]
                a[name].grad = None
        printed = re.search(rf"^{step + 1}: ([0-9.]+),", out, re.MULTILINE)
        assert abs(float(printed[1]) - np.mean(losses)) < 1e-5 * np.mean(losses) + 1e-6
    order = ["shift", "scale", "mean", "variance", "first", "biases", "second"]
    wanted = np.concatenate([a[name].detach().numpy().ravel() for name in order])
    start = np.concatenate([arrays[name].ravel() for name in order])
    error = floats(folder.path / "backup/net_final.weights") - wanted
    assert np.linalg.norm(error) < 1e-5 * np.linalg.norm(wanted - start)


def test_training_resumes_with_the_same_bytes(folder):
    train(folder, "-iterations", 8)
    whole = folder.bytes("backup/net_final.weights")
    train(folder, "-iterations", 8, "-workers", 3)
    assert folder.bytes("backup/net_final.weights") == whole
    train(folder, "-iterations", 3, "-save_every", 3)
    (folder.path / "backup/net_final.weights").unlink()
    train(folder, "backup/net_last.weights", "-iterations", 8)
    assert folder.bytes("backup/net_final.weights") == whole


def test_training_goes_on_from_a_trunk(folder):
    train(folder, "-iterations", 2)
    folder.run("partial", "net.cfg", "backup/net_final.weights", "trunk.conv.2", 2)
    trunk = floats(folder.path / "trunk.conv.2")
    assert np.array_equal(trunk, floats(folder.path / "backup/net_final.weights")[: trunk.size])
    assert trunk.size == 4 * 8 + 8 * 27
    train(folder, "trunk.conv.2", "-iterations", 1)


@pytest.mark.parametrize(
    "data, cfg, sentence",
    [
        ("net.data", "tiny.cfg", "tiny.cfg: is no classifier: it has heads"),
        ("net.data", "four.cfg", "four.cfg: has 4 classes, the data set 3"),
        ("tiny.data", "net.cfg", "tiny.data: has no labels=; give a file of labels"),
    ],
)
def test_trainings_that_cannot_be(folder, data, cfg, sentence):
    (folder.path / "four.cfg").write_text(NET.replace("filters=3", "filters=4"))
    _, error = folder.run("classifier", "train", data, cfg, "-quiet", code=1)
    assert error.splitlines()[-1].startswith(sentence)


def test_a_classifier_does_not_train_on_boxes(folder):
    _, error = folder.run("detector", "train", "tiny.data", "net.cfg", "-quiet", code=1)
    assert "net.cfg: is a classifier, but the images of the data set have objects" in error
