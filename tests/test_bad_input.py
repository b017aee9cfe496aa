"""Bad input through the program: each time one sentence with place and reason, exit code 1.

What single files may get wrong in detail is in test_network_errors, test_dataset_errors,
test_image and test_cli; here are the cases that cross several parts, or hurt a whole run.
"""

from __future__ import annotations

import json
import os
import re
import sys

import numpy as np
import pytest

from program import LAYERS, NET, Segmenter, write_weights
from yolomask._native import check, ffi, lib

TEST = ("detector", "test", "tiny.cfg", "tiny.weights", "photo_000001.png")
SEGMENT = ("segmenter", "test", "seg.cfg")
TRAIN = ("segmenter", "train", "seg.cfg", "tiny.weights")


@pytest.fixture
def bench(tmp_path) -> Segmenter:
    return Segmenter(tmp_path)


def test_the_bench_itself_works(bench):
    out, _ = bench.run(*SEGMENT, "tiny.weights,mask.weights", "photo_000001.png", "-thresh", "0")
    assert "cat: " in out
    bench.run(*TRAIN, "-iterations", 1)


# ---- weights that do not belong together ----


def test_a_trunk_file_before_a_branch_file(bench):
    bench.run("partial", "tiny.cfg", "tiny.weights", "trunk.weights", 2)
    sentence = bench.error(*SEGMENT, "trunk.weights,mask.weights", "photo_000001.png")
    assert re.match(r"mask\.weights: ends inside layer 2 \[convolutional\] of seg\.cfg: ", sentence)
    assert bench.last(*TRAIN[:-1], "trunk.weights", "-iterations", 1) == (
        "trunk.weights: fills 2 layers, but the detector of seg.cfg, which stays as it is, has 3"
    )


def test_weights_in_the_wrong_order(bench):
    sentence = bench.error(*SEGMENT, "mask.weights,tiny.weights", "photo_000001.png")
    assert sentence.startswith("mask.weights: ends inside layer 0 [convolutional] of seg.cfg")
    sentence = bench.error(*SEGMENT, "tiny.weights,,mask.weights", "photo_000001.png")
    assert sentence == "tiny.weights,,mask.weights: a name in the list is empty"


def test_weights_that_end_early_are_told(bench):
    """Darknet's partial weights are allowed; that random layers answer is said even with -quiet."""
    _, error = bench.run(*SEGMENT, "tiny.weights", "photo_000001.png", "-quiet", "-dont_draw")
    assert error == (
        "tiny.weights: ends early: 3 layers of seg.cfg keep their initial, random values\n"
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, 3e38])
def test_senseless_weights(bench, value):
    """Weights without sense give results without sense, but whole ones."""
    write_weights(bench.path / "x.weights")
    content = np.frombuffer(bench.bytes("x.weights")[20:], "<f4").copy()
    for part in (slice(0, 6), slice(-14 * 8, None), slice(None)):
        senseless = content.copy()
        senseless[part] = value
        bench.write_floats("x.weights", senseless)
        call = (*SEGMENT, "x.weights,mask.weights", "photo_000001.png", "-thresh", "0")
        bench.run(*call, "-out", "result.json")
        found = json.loads((bench.path / "result.json").read_text())
        numbers = [v for o in found[0]["objects"] for v in o["relative_coordinates"].values()]
        assert np.isfinite(numbers).all()


@pytest.mark.parametrize("logit", [20, 60, 86, 88])
def test_boxes_without_bounds(bench, logit):
    """e^86 is a number, that box in pixels is none: it is left out instead of ending the run."""
    content = np.frombuffer(bench.bytes("tiny.weights")[20:], "<f4").copy()
    content[-14 * 9 : -14 * 8][[2, 3]] = logit  # biases of the first anchor's width and height
    bench.write_floats("x.weights", content)
    call = (*SEGMENT, "x.weights,mask.weights", "photo_000001.png", "-thresh", ".01")
    bench.run(*call, "-out", "result.json")
    found = json.loads((bench.path / "result.json").read_text())[0]["objects"]
    sizes = [o["relative_coordinates"]["width"] for o in found]
    assert sizes and max(sizes) < 100  # those of the other anchor


# ---- sizes ----


@pytest.mark.parametrize(
    "changes, wanted",
    [
        (
            [("width=64", "width=65536"), ("height=64", "height=65536")],
            r"x\.cfg:1: \[net\] input: size 1 x 3 x 65536 x 65536 is too large",
        ),
        ([("width=64", "width=65537")], r"x\.cfg:4: \[net\] width=65537 is out of range 0..65536"),
        (
            [("filters=6", "filters=1e9")],
            r"x\.cfg:14: \[convolutional\] filters=1e9 is out of range",
        ),
        (
            [("filters=6", "filters=16777216")],
            r"x\.cfg:\d+: layer 1 \[convolutional\]: 1207959552 weights are too many",
        ),
        (
            [("width=64", "width=40000"), ("height=64", "height=17000"), ("stride=4", "stride=1")],
            r"x\.cfg:\d+: layer 0 \[convolutional\]: .* too large",
        ),
        (
            [("filters=8", "filters=100000"), ("filters=6", "filters=10000")],
            r"x\.cfg:\d+: layer 1 \[convolutional\]: 100000 filters of .* are too large",
        ),
        (
            [("size=2\nstride=2", "size=1000\nstride=1000")],
            r"x\.cfg:\d+: layer 9 \[mask\]: masks are square with sides up to 256",
        ),
        (
            [("max_rois=10", "max_rois=1e6")],
            r"x\.cfg:\d+: \[roialign\] max_rois=1e6 is out of range",
        ),
    ],
)
def test_absurd_sizes(bench, changes, wanted):
    """Refused at once, and not by filling the memory."""
    sentence = bench.error("layers", bench.edit("x.cfg", *changes))
    assert re.match(wanted, sentence), sentence


def test_numbers_of_the_command_line(bench):
    for option, value, limits in [
        ("-threads", "-1", "0..1024"),
        ("-threads", "4294967297", "0..1024"),
        ("-width", "4294967296", "0..65536"),
        ("-height", "-3", "0..65536"),
        ("-thresh", "1.5", "0..1"),
        ("-nms", "-.1", "0..1"),
    ]:
        assert bench.error(*TEST, option, value) == f"{option} {value} is out of range {limits}"
    assert bench.error(*TEST, "-thresh", "nan") == "-thresh nan: a number is wanted"
    assert bench.error(*TRAIN, "-workers", "1000") == "-workers 1000 is out of range 1..256"
    assert bench.error(*TRAIN, "-mixed", "bf16") == "-mixed bf16: tf32 or fp16 is wanted"


# ---- files that are none, names that are strange ----


@pytest.mark.parametrize("name", ["x.cfg", "x.weights", "x.data", "x.png", "x.names"])
def test_folders_in_the_place_of_files(bench, name):
    (bench.path / name).mkdir()
    call = list(TEST) + ["tiny.data"]
    ending = name[1:]
    for i, word in enumerate(call):
        if word.endswith(ending):
            call[i] = name
    if ending == ".names":
        call += ["-names", name]
    sentence = bench.error(*call)
    assert re.match(rf"{re.escape(name)}: (is a directory|cannot read: Is a directory)", sentence)


def test_names_with_a_zero_byte_or_a_gap(bench):
    (bench.path / "tiny.names").write_bytes(b"cat\0\ndog\n")
    assert bench.error(*TEST) == "tiny.names: holds a zero byte: it is not a text file"
    (bench.path / "tiny.names").write_bytes(b"cat\n\ndog\n")
    assert bench.error(*TEST) == "tiny.names:2: a blank line among the class names"
    (bench.path / "tiny.names").write_bytes(b"\xef\xbb\xbfcat\r\ndog\r\n\r\n")
    out, _ = bench.run(*TEST, "-dont_draw", "-thresh", "0")
    assert "\ncat: " in out and "\r" not in out


def test_strange_names(bench):
    """Conversions of printf, quotes, spaces, a leading dash behind ./: they are only names."""
    for stem in ("%s%n%d", "a \"b\" 'c'", "-dash"):
        for kind in ("cfg", "weights"):
            (bench.path / f"{stem}.{kind}").write_bytes(bench.bytes(f"tiny.{kind}"))
        (bench.path / f"{stem}.png").write_bytes(bench.bytes("photo_000001.png"))
        call = [f"./{stem}.{kind}" for kind in ("cfg", "weights", "png")]
        bench.run("detector", "test", "tiny.data", *call, "-out", "result.json", "-dont_draw")
        found = json.loads((bench.path / "result.json").read_text())
        assert found[0]["filename"] == f"./{stem}.png"
        assert bench.error("ops", f"./{stem}.no.cfg") == (
            f"./{stem}.no.cfg: cannot open: No such file or directory"
        )


def test_lines_ends_and_long_lines(bench):
    for name in ("tiny.cfg", "tiny.data", "tiny.names"):
        path = bench.path / name
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    bench.run(*TEST, "-dont_draw")
    path = bench.path / "x.cfg"
    path.write_text(NET + LAYERS + "[route]\nlayers=0\n" + "k" * 500_000 + "=1\n")
    sentence = bench.error("ops", "x.cfg", "-strict")
    assert sentence.startswith("x.cfg:") and len(sentence) < 1100
    assert bench.error(*TEST[:-1], "x" * 300 + ".png").endswith(": cannot open: File name too long")


# ---- images ----


def test_images_that_are_none(bench):
    import cv2

    photo = cv2.imread(str(bench.path / "photo_000001.png"))
    jpeg = cv2.imencode(".jpg", photo)[1].tobytes()
    at = jpeg.index(b"\xff\xc0") + 5
    cases = {
        "empty": (b"", "the file is empty"),
        "cut": (jpeg[: len(jpeg) // 2], "the JPEG file ends early"),
        "header": (jpeg[:3], "the JPEG file ends early"),
        "huge": (jpeg[:at] + b"\x3f\xff\x3f\xff" + jpeg[at + 4 :], "the JPEG file ends early"),
        "larger": (jpeg[:at] + b"\xff\xdc\xff\xdc" + jpeg[at + 4 :], "the image is 65500 x 65500"),
        "largest": (jpeg[:at] + b"\xff\xff\xff\xff" + jpeg[at + 4 :], "damaged JPEG: "),
        "noise": (bytes(range(256)) * 9, "the content is no JPEG, PNG or PPM"),
    }
    for name, (content, reason) in cases.items():
        (bench.path / f"{name}.jpg").write_bytes(content)
        assert bench.error(*TEST[:-1], f"{name}.jpg").startswith(f"{name}.jpg: {reason}")


def test_valid_tells_of_images_it_skipped(bench):
    (bench.path / "photo_000003.png").write_bytes(b"")
    call = ("detector", "valid", "tiny.data", "tiny.cfg", "tiny.weights", "-quiet")
    _, error = bench.run(*call, code=1)
    assert "skipped: photo_000003.png: the file is empty\n" in error
    json.loads((bench.path / "results/coco_results.json").read_text())


def test_training_on_unusable_images(bench):
    for i in range(6):
        (bench.path / f"photo_{i + 1:06}.png").write_bytes(b"")
    _, error = bench.run(*TRAIN, "-quiet", "-iterations", 1, code=1)
    *reports, last = error.splitlines()
    at_once, listed = reports[-13:-7], reports[-6:]
    assert all(line.startswith("skipped: ") and "the file is empty" in line for line in at_once)
    assert reports[-7] == "6 images could not be used:"
    assert [line[len("skipped: ") :] for line in at_once] == [line.strip() for line in listed]
    assert re.match(r"6 images one after the other cannot be used: photo_\d+\.png: ", last)


def test_labels_that_teach_nothing_or_too_much(bench):
    labels = json.loads((bench.path / "labels.json").read_text())
    labels["categories"].append({"id": 3, "name": "cow"})
    (bench.path / "x.json").write_text(json.dumps(labels))
    (bench.path / "x.data").write_text("train=x.json\n")
    call = ("detector", "train", "x.data", "tiny.cfg", "tiny.weights", "-iterations", 1)
    assert bench.last(*call) == (
        'tiny.cfg: has classes=2, but the data set has 3 (the last one is "cow")'
    )
    for annotation in labels["annotations"]:
        annotation["segmentation"] = []
    (bench.path / "x.json").write_text(json.dumps(labels))
    assert bench.last("segmenter", "train", "x.data", *TRAIN[2:], "-iterations", 1) == (
        "none of the 6 objects of the data set has a mask: a mask branch learns nothing from boxes"
    )


# ---- what cannot be written ----

FULL = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")


@FULL
def test_full_disks(bench):
    full = "cannot write: No space left on device"
    os.symlink("/dev/full", bench.path / "full.json")
    assert bench.error(*TEST, "-dont_draw", "-out", "full.json") == f"full.json: {full}"
    assert bench.last("segmenter", "extend", "tiny.cfg", "full.json") == f"full.json: {full}"
    os.symlink("/dev/full", bench.path / "photo_000001.txt")
    assert bench.error(*TEST, "-dont_draw", "-save_labels") == f"photo_000001.txt: {full}"
    os.makedirs(bench.path / "results")
    os.symlink("/dev/full", bench.path / "results/coco_results.json")
    call = ("detector", "valid", "tiny.data", "tiny.cfg", "tiny.weights")
    assert bench.last(*call) == f"results/coco_results.json: {full}"
    for call in (("reference",), ("statistics", "tiny.cfg", "tiny.weights"), TEST):
        with open("/dev/full", "w") as sink:
            process = bench.start(*call, stdout=sink)
            _, error = process.communicate(timeout=60)
        assert process.returncode == 1
        assert error.splitlines()[-1] == f"standard output: {full}"


@FULL
def test_a_full_disk_while_training(bench):
    """The checkpoint that could not be written leaves nothing behind."""
    (bench.path / "backup").mkdir()
    os.symlink("/dev/full", bench.path / "backup/seg_last.state.tmp")
    sentence = bench.last(*TRAIN, "-iterations", 1)
    assert sentence.endswith("seg_last.state: cannot write: No space left on device")
    assert os.listdir(bench.path / "backup") == []


def test_folders_that_cannot_be_made(bench):
    for folder, reason in [("tiny.cfg", "File exists"), ("no/where", "No such file or directory")]:
        sentence = f"{folder}: cannot make the backup folder: {reason}"
        assert bench.last(*TRAIN, "-backup", folder) == sentence
    for folder, reason in [
        ("tiny.cfg", "tiny.cfg/coco_results.json: cannot write: Not a directory"),
        ("no/where", "no/where: cannot make the results folder: No such file or directory"),
    ]:
        text = (bench.path / "tiny.data").read_text()
        (bench.path / "x.data").write_text(text + f"results={folder}\n")
        assert bench.last("detector", "valid", "x.data", "tiny.cfg", "tiny.weights") == reason


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write anywhere")
def test_folders_without_permission(bench):
    (bench.path / "backup").mkdir(mode=0o555)
    assert bench.last(*TRAIN, "-iterations", 1).endswith("cannot write: Permission denied")


def test_average_never_overwrites_what_it_reads(bench):
    """The second operand is the file to write, whatever its name."""
    before = bench.bytes("tiny.weights")
    bench.run("average", "tiny.cfg", "mean.bin", "tiny.weights", "tiny.weights")
    assert bench.bytes("tiny.weights") == before == bench.bytes("mean.bin")


def test_a_network_without_heads(bench):
    (bench.path / "x.cfg").write_text(NET + LAYERS[: LAYERS.index("[yolo]")])
    call = ("detector", "test", "x.cfg", "tiny.weights", "photo_000001.png")
    assert bench.error(*call) == "x.cfg: has no [yolo] or [region]: it finds no boxes"


# ---- the library's callers ----


def test_training_needs_its_arguments(tmp_path):
    with pytest.raises(ValueError, match="training needs a cfg, a backup folder and a data set"):
        check(lib.dn_train(ffi.new("dn_train_options *"), ffi.NULL))
