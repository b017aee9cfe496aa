"""The program ./darknet: what it prints, writes and refuses.

Truth: json, hand-written weights files, pycocotools' decoding of masks, Darknet's line
formats as the reference gives them, and bytes: of files that tools take apart and put together,
and of trainings that were interrupted and resumed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from networks import Net
from program import (
    CONVOLUTIONS,
    LAYERS,
    NET,
    PROGRAM,
    ROOT,
    Folder,
    Segmenter,
    floats,
    write_weights,
)
from yolomask._native import lib

# A class-agnostic mask branch on the first map.
BRANCH = """
[route]
layers=0

[convolutional]
filters=5
size=1
activation=linear

[roialign]
layers=-1
size=6
samples=2
score_thresh=.05

[deconvolutional]
filters=4
size=2
stride=2
activation=relu

[convolutional]
filters=1
size=1
activation=linear

[mask]
classes=1
"""


@pytest.fixture
def folder(tmp_path) -> Folder:
    return Folder(tmp_path)


# ---- usage ----


@pytest.mark.parametrize(
    ("flags", "sentences"),
    [
        (["-nogpu"], []),
        (["-i", "1"], ["device cuda"]),
        (["-gpus", "0"], ["device cuda"]),
        (["-gpus", "0,1"], ["device cuda"]),
        (["-gpus", "0", "-nogpu"], []),
    ],
)
def test_devices(folder, flags, sentences):
    """A program without CUDA says so where a GPU is asked for, and runs on the CPU."""
    if lib.dn_device_check(b"cuda") == lib.DN_OK:
        pytest.skip("there is a GPU")
    _, said = folder.run("speed", "tiny.cfg", "1", "-quiet", *flags)
    lines = said.splitlines()
    assert len(lines) == len(sentences)
    for line, sentence in zip(lines, sentences, strict=True):
        assert sentence in line
        assert ("the CPU is used" in line) == ("device cuda" in sentence)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (
            ["-gpus", "x"],
            "-gpus x: numbers of GPUs, each once, with commas between them are wanted",
        ),
        (["-gpus", ",1"], "-gpus ,1: numbers of GPUs"),
        (["-gpus", "0,1,0"], "-gpus 0,1,0: numbers of GPUs"),
        (["-gpus", "cpu,cpu"], "-gpus cpu,cpu: numbers of GPUs"),
        (["-i", "x"], "-i x: a whole number is wanted"),
    ],
)
def test_senseless_devices(folder, flags, sentence):
    assert sentence in folder.run("speed", "tiny.cfg", *flags, code=1)[1]


def test_usage(folder):
    out, _ = folder.run()
    for word in ("test", "valid", "train", "partial", "tail", "speed", "version"):
        assert re.search(rf"^  {word} ", out, re.MULTILINE), word
    assert folder.run("help") == folder.run("--help") == (out, "")


def test_reference_is_fresh(folder):
    out, _ = folder.run("reference")
    committed = (ROOT / "docs/cfg-reference.md").read_text(encoding="utf-8")
    assert out == committed, "docs/cfg-reference.md is stale: run `make docs`"


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["bogus"], "Not an option: bogus (darknet help lists the commands)"),
        (["detector", "bogus"], "Not an option: bogus (darknet help lists the commands)"),
        (["ops", "nope.cfg"], "nope.cfg: cannot open: No such file or directory"),
        (["ops"], "a cfg file is missing"),
        (["ops", "tiny.cfg", "-nonsense"], "-nonsense: unknown option"),
        (["-width"], "Not an option: -width (darknet help lists the commands)"),
        (["ops", "tiny.cfg", "-width", "wide"], "-width wide: a whole number is wanted"),
        (["speed", "tiny.cfg", "often"], "often: how many times is it to run?"),
        (["partial", "tiny.cfg", "tiny.weights", "out", "x"], "x: a layer number is wanted"),
        (["partial", "tiny.cfg", "tiny.weights", "out"], "the layer number N is missing"),
        (["detector", "test", "tiny.cfg"], "a weights file is missing"),
        (
            ["detector", "test", "nope.data", "tiny.cfg", "tiny.weights"],
            "nope.data: cannot open: No such file or directory",
        ),
        (
            ["detector", "test", "tiny.cfg", "nope.weights", "photo_000001.png"],
            "nope.weights: cannot open: No such file or directory",
        ),
        (
            ["detector", "test", "tiny.cfg", "tiny.weights", "nope.png"],
            "nope.png: cannot open: No such file or directory",
        ),
    ],
)
def test_refusals(folder, arguments, sentence):
    assert folder.error(*arguments) == sentence


@pytest.mark.parametrize(
    "command",
    ["segmenter train", "detector valid", "detector map", "detector calc_anchors"],
)
@pytest.mark.parametrize("extra", ["trunk29", "second.weights"])
def test_files_that_nobody_asked_for(folder, command, extra):
    """A trunk that is misspelt is no reason to begin from random weights in silence."""
    sentence = folder.error(*command.split(), "x.data", "tiny.cfg", "tiny.weights", extra)
    assert sentence == (
        f"{extra}: is no .data, .cfg or weights file by its name (weights are called x.weights, "
        "x.backup, x.state or x.conv.N), or one more than is wanted"
    )


def test_an_option_without_its_value(folder):
    _, error = folder.run("ops", "tiny.cfg", "-width", code=1)
    assert error == "-width: a value is missing behind it\n"


def test_damaged_files(folder):
    weights = folder.bytes("tiny.weights")
    call = ("detector", "test", "tiny.cfg", "x.weights", "photo_000001.png")
    (folder.path / "x.weights").write_bytes(weights[:-4])
    assert "x.weights: " in folder.error(*call) and "layer 2 [convolutional]" in folder.error(*call)
    (folder.path / "x.weights").write_bytes(weights + b"1234")
    assert folder.error(*call).startswith("x.weights: ")
    (folder.path / "x.weights").write_bytes(b"")
    assert folder.error(*call).startswith("x.weights: ")
    (folder.path / "empty.png").write_bytes(b"")
    assert folder.error("detector", "test", "tiny.cfg", "tiny.weights", "empty.png").startswith(
        "empty.png: "
    )
    cfg = NET + LAYERS.replace("filters=14", "filters=13")
    (folder.path / "x.cfg").write_text(cfg)
    assert re.match(r"x\.cfg:\d+: layer 3 \[yolo\]", folder.error("ops", "x.cfg"))
    (folder.path / "x.cfg").write_text(NET + "[nonsense]\n")
    assert folder.error("ops", "x.cfg") == "x.cfg:10: unknown section [nonsense]"
    (folder.path / "x.cfg").write_text(NET + "widht=3\n" + LAYERS)
    assert "x.cfg:10: " in folder.run("ops", "x.cfg")[1]  # a warning
    assert folder.error("ops", "x.cfg", "-strict").startswith("x.cfg:10: ")


def test_wrong_number_of_names(folder):
    (folder.path / "tiny.names").write_text("cat\ndog\nbird\n")
    call = ("detector", "test", "tiny.cfg", "tiny.weights", "photo_000001.png")
    assert folder.error(*call) == "tiny.names: has 3 names, the cfg has classes=2"


def test_training_without_data_says_what_is_missing(folder):
    """The shipped cfg, from another folder: cfg -> its .data -> the path that is not there."""
    sentence = folder.error("segmenter", "train", ROOT / "cfg/yolomask.cfg")
    assert re.match(r".*cfg/coco\.data:\d+: train=datasets/coco/\S+ is not there", sentence)
    assert "docs/coco.md" in sentence


# ---- test ----


def test_prints_darknets_lines(folder):
    out, error = folder.run(
        "detector", "test", "tiny.cfg", "tiny.weights", "photo_000001.png", "-thresh", ".1"
    )
    assert re.search(r"^layer     filters    size", error)
    assert re.search(r"^ +0 conv +6 +3 x 3 / 4 +64 x +64 x +3 +-> +16 x +16 x +6 +[\d.]+ BFLOPs$",
                     error, re.MULTILINE)  # fmt: skip
    assert "Loading weights from tiny.weights...Done!" in error
    lines = out.splitlines()
    assert re.fullmatch(r"photo_000001.png: Predicted in [\d.]+ milli-seconds\.", lines[0])
    assert len(lines) > 1
    assert all(re.fullmatch(r"(cat|dog): \d+%", line) for line in lines[1:])
    assert folder.bytes("predictions.jpg")[:2] == b"\xff\xd8"


def test_files_in_any_order(folder):
    flags = ["-dont_draw", "-thresh", ".1", "-quiet"]
    names = ["photo_000001.png", "tiny.weights", "tiny.cfg", "tiny.data"]

    def found(words):
        return folder.run("detector", "test", *words)[0].splitlines()[1:]

    expected = found([*reversed(names), *flags])
    assert found([*flags, *names]) == expected and expected
    assert not (folder.path / "predictions.jpg").exists()


def test_json(folder):
    """-out is JSON whatever the names hold; boxes agree with the printed pixels."""
    (folder.path / "tiny.names").write_bytes(b'a "cat"\\\tor two\nch\xc3\xa2t \xff\xed\xa0\x80\n')
    pictures = ["photo_000001.png", "photo_000002.png", "photo_000003.png"]
    call = ["detector", "test", "tiny.cfg", "tiny.weights", *pictures, "-thresh", ".1"]
    out, _ = folder.run(*call, "-out", "result.json", "-ext_output", "-dont_draw")
    result = json.loads(folder.bytes("result.json").decode("utf-8"))
    assert [image["frame_id"] for image in result] == [1, 2, 3]
    assert [image["filename"] for image in result] == pictures
    objects = [o for image in result for o in image["objects"]]
    assert {o["name"] for o in objects} == {'a "cat"\\\tor two', "chât " + "�" * 4}
    for image in result:
        scores = [o["confidence"] for o in image["objects"]]
        assert scores == sorted(scores, reverse=True)
    printed = re.findall(r"left_x: +(-?\d+) +top_y: +(-?\d+) +width: +(\d+) +height: +(\d+)", out)
    assert len(printed) == len(objects)
    sizes = [(80, 48 + 4 * i) for i, image in enumerate(result) for _ in image["objects"]]
    for found, o, (width, height) in zip(printed, objects, sizes, strict=True):
        box = o["relative_coordinates"]
        w, h = box["width"] * width, box["height"] * height
        x, y = box["center_x"] * width - w / 2, box["center_y"] * height - h / 2
        assert np.allclose([x, y, w, h], [float(v) for v in found], atol=0.51)
        assert "mask" not in o


def test_masks_in_json(folder):
    """Masks are COCO's runs at the photo's size, inside the area that the branch looked at."""
    from pycocotools import mask as coco

    (folder.path / "masks.cfg").write_text(NET + LAYERS + BRANCH)
    call = ["segmenter", "test", "masks.cfg", "photo_000002.png", "-thresh", ".1", "-dont_draw"]
    random = np.random.default_rng(3).normal(0.3, 1, 5 + 5 * 6 + 4 + 5 * 4 * 4 + 1 + 4)
    branch = np.array([0, 2, 5, 0, 0], "<i4").tobytes() + random.astype("<f4").tobytes()
    (folder.path / "branch.weights").write_bytes(branch)
    folder.run(*call, "tiny.weights,branch.weights", "-out", "result.json")
    objects = json.loads(folder.bytes("result.json"))[0]["objects"]
    assert objects
    drawn = 0
    for o in objects:
        pixels = coco.decode(o["mask"])
        assert pixels.shape == (52, 80)
        drawn += int(pixels.sum())
        box, rows = o["relative_coordinates"], np.argwhere(pixels)
        if len(rows):  # nothing outside the enlarged box
            y, x = rows.T + 0.5
            assert (abs(x / 80 - box["center_x"]) <= 0.6 * box["width"] + 1e-3).all()
            assert (abs(y / 52 - box["center_y"]) <= 0.6 * box["height"] + 1e-3).all()
    assert drawn > 0
    # A trunk file before a branch file, and a branch without its detector, are refused.
    folder.run("partial", "tiny.cfg", "tiny.weights", "trunk.weights", 2)
    for weights in ("trunk.weights,branch.weights", "branch.weights"):
        assert "branch.weights: " in folder.error(*call, weights)


def test_json_of_a_strange_file_name(folder):
    name = os.fsencode(str(folder.path)) + b'/\xe9 "1"\n.png'
    Path(os.fsdecode(name)).write_bytes(folder.bytes("photo_000001.png"))
    call = [PROGRAM, "detector", "test", "tiny.cfg", "tiny.weights", name, "-out", "result.json"]
    subprocess.run([*call, "-dont_draw"], cwd=folder.path, check=True, capture_output=True)
    result = json.loads(folder.bytes("result.json").decode("utf-8"))
    assert result[0]["filename"].endswith('/� "1"\n.png')


def test_pictures_never_overwrite_each_other(folder):
    for name in ("a", "b"):
        (folder.path / name).mkdir()
        number = 1 if name == "a" else 2
        (folder.path / name / "x.png").write_bytes(folder.bytes(f"photo_00000{number}.png"))
    call = ["detector", "test", "tiny.cfg", "tiny.weights", "-thresh", ".1"]
    folder.run(*call, "a/x.png", "b/x.png", "-out", "both")
    assert folder.bytes("both_1.jpg") != folder.bytes("both_2.jpg")
    folder.run(*call, "-out", "typed", given="a/x.png\nb/x.png\n")
    assert folder.bytes("typed.jpg") == folder.bytes("both_1.jpg")
    assert folder.bytes("typed_2.jpg") == folder.bytes("both_2.jpg")


def test_an_unreadable_image_does_not_stop_the_others(folder):
    call = ["detector", "test", "tiny.cfg", "tiny.weights", "-quiet", "-dont_draw"]
    out, error = folder.run(*call, "nope.png", "photo_000001.png", code=1)
    assert error == "nope.png: cannot open: No such file or directory\n"
    assert out.startswith("photo_000001.png: Predicted in ")


def test_save_labels(folder):
    call = ["detector", "test", "tiny.cfg", "tiny.weights", "photo_000001.png", "-thresh", ".1"]
    folder.run(*call, "-save_labels", "-out", "result.json", "-dont_draw")
    rows = [line.split() for line in folder.bytes("photo_000001.txt").decode().splitlines()]
    objects = json.loads(folder.bytes("result.json"))[0]["objects"]
    keys = ("center_x", "center_y", "width", "height")
    expected = [[o["class_id"], *(o["relative_coordinates"][k] for k in keys)] for o in objects]
    assert np.allclose(np.array(rows, float), expected, atol=1e-4)


def test_images_of_one_stem_get_label_files_of_their_own(folder):
    """a.jpg and a.png do not share a.txt, and one image twice does not get two files."""
    import shutil

    for name in ("a.jpg", "a.png", "a.ppm"):  # the content says what it is
        shutil.copy(folder.path / f"photo_00000{1 + len(name) % 3}.png", folder.path / name)
    shutil.copy(folder.path / "photo_000005.png", folder.path / "a.png")
    call = ["detector", "test", "tiny.cfg", "tiny.weights", "-thresh", ".1", "-dont_draw"]
    folder.run(*call, "-save_labels", "a.jpg", "a.png", "a.ppm", "a.jpg")
    assert sorted(path.name for path in folder.path.glob("a*.txt")) == [
        "a.txt", "a_2.txt", "a_3.txt",
    ]  # fmt: skip
    both = folder.bytes("a.txt"), folder.bytes("a_2.txt")
    folder.run(*call, "-save_labels", "a.png")
    assert folder.bytes("a.txt") == both[1] != both[0]


def test_an_old_result_stays_until_the_new_one_is_whole(folder):
    (folder.path / "result.json").write_text("old")
    call = ["detector", "test", "tiny.cfg", "tiny.weights", "-dont_draw", "-quiet", "-out"]
    folder.run(*call, "result.json", "photo_000001.png", "-names", "nope.names", code=1)
    assert folder.bytes("result.json") == b"old"
    (folder.path / "photo_000001.txt").mkdir()  # the run dies behind its first image
    folder.run(*call, "result.json", "photo_000001.png", "-save_labels", code=1)
    assert folder.bytes("result.json") == b"old"
    assert not list(folder.path.glob("*.tmp"))
    process = folder.start(*call, "result.json", stdin=subprocess.PIPE)
    process.stdin.write("photo_000001.png\n")
    process.stdin.flush()
    for _ in range(2):
        process.stdout.readline()
    process.kill()
    process.communicate()
    assert folder.bytes("result.json") == b"old"
    folder.run(*call, "result.json", "photo_000001.png")
    assert json.loads(folder.bytes("result.json"))[0]["filename"] == "photo_000001.png"


def test_values_with_one_allowed_number(folder):
    (folder.path / "two.cfg").write_text(NET + "time_steps=2\n" + LAYERS)
    error = folder.error("ops", "two.cfg")
    assert error == "two.cfg:10: [net] time_steps=2 is out of range 1..1"


def test_a_network_larger_than_the_machine():
    """Each layer alone is 6 GiB; training holds all of them."""
    layer = "[convolutional]\nfilters=4\nsize=1\nactivation=linear\n"
    net = "[net]\nwidth=20000\nheight=20000\nchannels=1\n"
    sentence = (
        r"test\.cfg: 1 images of 20000 x 20000 at a time need [0-9.]+ GiB of memory, this machine "
        r"has [0-9.]+$"
    )
    with pytest.raises(MemoryError, match=sentence):
        Net(net + 1000 * layer, training=True)


def test_a_network_that_takes_minutes_is_told(folder):
    layer = "[convolutional]\nfilters=256\nsize=3\npad=1\nactivation=linear\n"
    net = "[net]\nwidth=256\nheight=256\nchannels=256\n"
    (folder.path / "few.cfg").write_text(net + 25 * layer)  # 77.3 billion each
    (folder.path / "many.cfg").write_text(net + 26 * layer)
    assert folder.run("ops", "few.cfg", "-quiet")[1] == ""
    assert folder.run("ops", "many.cfg", "-quiet")[1] == (
        "many.cfg: an image of 256 x 256 takes 2.0 trillion operations, which may take minutes\n"
    )


# ---- valid ----


def test_valid_writes_coco_results(folder):
    _, error = folder.run("detector", "valid", "tiny.cfg", "tiny.weights", "-thresh", ".1")
    assert "Total Detection Time: " in error
    rows = json.loads(folder.bytes("results/coco_results.json"))
    assert {row["image_id"] for row in rows} <= set(range(1, 7))
    assert {row["category_id"] for row in rows} <= {1, 2} and rows
    for row in rows:
        x, y, w, h = row["bbox"]
        assert 0 <= x <= x + w <= 80.001 and 0 <= y <= y + h <= 68.001
        assert 0.1 <= row["score"] <= 1


def test_valid_takes_image_ids_from_file_names(folder):
    """From an image list: the number behind the last underscore, Darknet's category table."""
    (folder.path / "list.txt").write_text("photo_000003.png\nphoto_000005.png\n")
    (folder.path / "list.data").write_text("classes=2\nnames=tiny.names\nvalid=list.txt\n")
    folder.run("detector", "valid", "list.data", "tiny.cfg", "tiny.weights", "-out", "listed")
    rows = json.loads(folder.bytes("results/listed.json"))
    assert {row["image_id"] for row in rows} == {3, 5}


# ---- tools ----


def test_partial_and_tail_are_the_file_in_two(folder):
    whole = folder.bytes("tiny.weights")
    folder.run("partial", "tiny.cfg", "tiny.weights", "head.weights", 1)
    folder.run("tail", "tiny.cfg", "tiny.weights", "tail.weights", 1)
    head, tail = folder.bytes("head.weights"), folder.bytes("tail.weights")
    assert head[12:20] == bytes(8)  # seen
    assert head[20:] + tail[20:] == whole[20:]
    assert len(head) == 20 + 4 * (4 * 6 + 6 * 3 * 9)
    # Both as a list are the whole network again.
    folder.run("reset", "tiny.cfg", "head.weights,tail.weights", "joined.weights")
    assert folder.bytes("joined.weights")[20:] == whole[20:]


def test_reset(folder):
    folder.run("reset", "tiny.cfg", "tiny.weights", "out.weights")
    whole = folder.bytes("tiny.weights")
    assert folder.bytes("out.weights") == whole[:12] + bytes(8) + whole[20:]


def test_rgbgr_swaps_channels(folder):
    folder.run("rgbgr", "tiny.cfg", "tiny.weights", "out.weights")
    expected = floats(folder.path / "tiny.weights").copy()
    first = expected[24 : 24 + 6 * 3 * 9].reshape(6, 3, 9)
    first[:] = first[:, ::-1].copy()
    assert np.array_equal(floats(folder.path / "out.weights"), expected)


def test_average(folder):
    for seed in (1, 2, 3):
        write_weights(folder.path / f"{seed}.weights", seed)
    folder.run("average", "tiny.cfg", "out.weights", "1.weights", "2.weights", "3.weights")
    expected = np.mean([floats(folder.path / f"{i}.weights") for i in (1, 2, 3)], axis=0)
    assert np.allclose(floats(folder.path / "out.weights"), expected, atol=1e-6)


def test_denormalize_keeps_the_answers(folder):
    folder.run("denormalize", "tiny.cfg", "tiny.weights", "out.weights")
    folded = floats(folder.path / "out.weights")
    assert np.array_equal(folded[6:12], np.ones(6)) and np.array_equal(folded[12:18], np.zeros(6))
    results = []
    for weights in ("tiny.weights", "out.weights"):
        call = ["detector", "test", "tiny.cfg", weights, "photo_000001.png", "-thresh", ".1"]
        folder.run(*call, "-out", "result.json", "-dont_draw")
        results.append(json.loads(folder.bytes("result.json"))[0]["objects"])
    assert len(results[0]) == len(results[1]) > 0
    for a, b in zip(*results, strict=True):
        assert a["class_id"] == b["class_id"]
        assert abs(a["confidence"] - b["confidence"]) < 1e-5


def test_statistics(folder):
    out, _ = folder.run("statistics", "tiny.cfg", "tiny.weights")
    lines = out.splitlines()
    assert len(lines) == 2 * len(CONVOLUTIONS) + 3
    weights = floats(folder.path / "tiny.weights")[-14 * 8 :].astype(float)
    numbers = [float(x) for x in re.findall(r"(?:min|mean|max|std) +(-?[\d.]+)", lines[-1])]
    expected = [weights.min(), weights.mean(), weights.max(), weights.std()]
    assert np.allclose(numbers, expected, atol=1e-5)


def test_ops(folder):
    out, _ = folder.run("ops", "tiny.cfg")
    expected = 2 * (16 * 16 * 6 * 27 + 4 * 4 * 8 * 6 * 9 + 4 * 4 * 14 * 8)
    assert out.splitlines()[0] == f"Floating Point Operations: {expected}"


def test_speed_and_version(folder):
    out, _ = folder.run("speed", "tiny.cfg", 3)
    assert out.startswith("3 runs of 64x64: median ")
    assert folder.run("version")[0].startswith("YOLO-Mask darknet, ABI version ")


STEPS = ["decode", "pre-processing", "network", "mask branch", "post-processing", "masks to RLE"]


def test_benchmark(tmp_path):
    segmenter = Segmenter(tmp_path)
    arguments = [
        "seg.cfg",
        "tiny.weights,mask.weights",
        "photo_000001.png",
        "-times",
        5,
        "-threads",
        1,
    ]
    out, error = segmenter.run("segmenter", "benchmark", *arguments, "-out", "x.json", "-nogpu")
    assert error == ""
    head, device, titles, *rows, stream = out.splitlines()
    assert head.startswith("seg.cfg, 64 x 64, cpu, 1 thread, f32, batch 1: 1 image, 5 rounds, ")
    assert titles.split() == ["ms", "an", "image", "median", "95", "%"]
    told = json.loads((segmenter.path / "x.json").read_text())
    assert (told["threads"], told["rounds"], told["images"], told["width"]) == (1, 5, 1, 64)
    assert list(told["ms"]) == [*STEPS, "whole"]
    for row, (name, times) in zip(rows, told["ms"].items(), strict=True):
        assert row.split() == [*name.split(), f"{times['median']:.3f}", f"{times['p95']:.3f}"]
        assert 0 < times["median"] <= times["p95"]
    # the steps are parts of the whole, and nearly all of it
    medians = [told["ms"][name]["median"] for name in STEPS]
    assert 0.5 * told["ms"]["whole"]["median"] < sum(medians) < told["ms"]["whole"]["p95"]
    name, clock = told["device_name"], told["clock_mhz"]
    assert device == (name or "device without a name") + (f", clock {clock} MHz" if clock else "")
    assert (told["power_watts"], told["memory_mhz"]) == (0, 0)
    run = told["stream"]
    assert run["images_per_second"] == pytest.approx(run["images"] / run["seconds"], rel=1e-2)
    rate = f"{run['images_per_second']:.1f} images/s"
    assert stream == f"stream, batch 1: 5 images in {run['seconds']:.3f} s, {rate}"
    out, _ = segmenter.run("segmenter", "benchmark", *arguments, "-batch", 3)
    assert out.splitlines()[-1].startswith("stream, batch 3: 6 images in ")  # whole batches
    segmenter.run("segmenter", "benchmark", *arguments[:2], code=1)
    assert run["decoder"] == "cpu"
    told = segmenter.run("segmenter", "benchmark", *arguments, "-nogpu", "-nvjpeg", code=1)[1]
    assert "nvJPEG decodes files for networks on a GPU, this one is on the CPU" in told


# ---- train ----

TRAIN = ("detector", "train", "tiny.cfg", "tiny.weights", "-threads", "1")


def test_train_prints_darknets_lines(folder):
    out, _ = folder.run(*TRAIN, "-iterations", 2, "-backup", "out")
    line = r"^2: [\d.]+, [\d.]+ avg, [\d.]+ rate, [\d.]+ seconds, 8 images"
    assert re.search(line, out, re.MULTILINE)
    assert out.splitlines()[-1].startswith("Done after 2 iterations, average loss ")
    whole = folder.bytes("out/tiny_final.weights")
    assert np.frombuffer(whole[12:20], "<u8")[0] == 640 + 8
    assert (
        len(whole) == len(folder.bytes("tiny.weights"))
        and np.isfinite(floats(folder.path / "out/tiny_final.weights")).all()
    )


def test_twice_n_is_n_resumed(folder):
    """Another number of threads and workers included: the same bytes, optimizer state too."""
    folder.run(*TRAIN, "-iterations", 12, "-backup", "once")
    folder.run(*TRAIN, "-iterations", 6, "-backup", "first", "-save_every", 6)
    resume = ("detector", "train", "tiny.cfg", "first/tiny_last.weights", "-threads", "2")
    _, error = folder.run(*resume, "-workers", 2, "-iterations", 12, "-backup", "second")
    assert "Resuming from first/tiny_last.state" in error
    for name in ("tiny_final.weights", "tiny_last.state"):
        assert folder.bytes(f"once/{name}") == folder.bytes(f"second/{name}"), name


def test_on_a_terminal(folder):
    """The line of progress, and how to go on behind Ctrl-C: in another backup folder than that of
    the state that the command names, whose own state must not be taken again."""
    folder.run(*TRAIN, "-iterations", 6, "-backup", "first")
    command = ["detector", "train", "tiny.data", "tiny.cfg", "first/tiny_last.weights", "-threads"]
    screen, terminal = os.openpty()
    process = folder.start(*command, 1, "-backup", "cut", "-valid_every", 2, stdout=terminal)
    os.close(terminal)
    shown = ""
    while "detector 12/" not in shown:
        shown += os.read(screen, 4096).decode()
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(OSError):  # Linux: EIO at the end
        while more := os.read(screen, 4096).decode():
            shown += more
    os.close(screen)
    assert process.wait(60) == 0, process.stderr.read()
    line = re.escape("\r\x1b[K\x1b[?7ldetector 12/1000: ")
    line += r"loss [\d.]+, avg [\d.]+, [\d.]+ images/s, ETA \d+:\d\d, AP [\d.]+, best [\d.]+, rate "
    assert re.search(line, shown), shown
    stopped = int(re.search(r"Stopped after (\d+) iterations", shown)[1])
    again = re.search(r"Go on with: \./darknet (.*)\r", shown)[1].split()
    assert again[-1] == "-resume"
    _, error = folder.run(*again, "-iterations", stopped + 1)
    assert f"Resuming from cut/tiny_last.state: stage detector, iteration {stopped}\n" in error


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_saves_and_resumes_exactly(folder, number):
    process = folder.start(*TRAIN, "-backup", "cut")
    for line in process.stdout:
        if line.startswith("3:"):
            process.send_signal(number)
            break
    out, error = process.communicate(timeout=60)
    assert process.returncode == 0, error
    stopped = int(re.search(r"Stopped after (\d+) iterations", out)[1])
    assert 3 <= stopped < 1000
    end = stopped + 4
    resume = ("detector", "train", "tiny.cfg", "cut/tiny_last.weights", "-threads", "1")
    folder.run(*resume, "-iterations", end, "-backup", "resumed")
    folder.run(*TRAIN, "-iterations", end, "-backup", "whole")
    for name in ("tiny_final.weights", "tiny_last.state"):
        assert folder.bytes(f"resumed/{name}") == folder.bytes(f"whole/{name}"), name
