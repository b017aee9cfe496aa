"""Classifiers: predict, valid, their data sets.

Truth: PyTorch for the network, the published resize and a cut in NumPy for the crop, the colours
and names that this file gives to its images.
"""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional

from program import Folder
from test_image import noise, published_input, view
from yolomask import DarknetError, DataError, Network
from yolomask._native import check, ffi, lib

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
    assert "apple/0.png: " in error


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
        ("valid", ("classes=3", "classes=2"), "net.cfg: has 3 classes, the labels of net.data are"),
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
