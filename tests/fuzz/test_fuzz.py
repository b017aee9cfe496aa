"""Damaged input, by the thousand: every call ends with DN_OK or with a status and a sentence.

A case is a seed, named where one fails; FUZZ_CASES=20000 runs longer, FUZZ_SEED=7 elsewhere. A
crash ends pytest with the case's name above it (-v); under `make sanitize` so does a wrong access.
"""

from __future__ import annotations

import os
import random

import numpy as np
import pytest
from mutations import mutate_bytes, mutate_text

from dataset_tools import Dataset
from mask_support import Contours, Rle
from program import BRANCH, LAYERS, NET, Segmenter
from yolomask._native import DarknetError, check, ffi, lib

CASES = int(os.environ.get("FUZZ_CASES", "400"))
FIRST = int(os.environ.get("FUZZ_SEED", "1")) * 1_000_000_000


def run(name, case, share=1.0):
    """Calls `case` with a random.Random for each seed; counts what was accepted."""
    accepted = 0
    for seed in range(FIRST, FIRST + max(1, int(CASES * share))):
        try:
            case(random.Random(f"{name} {seed}"))
            accepted += 1
        except (DarknetError, OSError, ValueError) as error:
            text = str(error)
            assert text and "\n" not in text, f"{name} {seed}: {text!r}"
        except MemoryError:
            pass  # absurd sizes are refused so
        except Exception as error:
            raise AssertionError(f"{name} {seed}") from error
    return accepted


@pytest.fixture
def bench(tmp_path) -> Segmenter:
    return Segmenter(tmp_path)


# ---- networks -------------------------------------------------------------------------------

SECTIONS = """
[convolutional]
filters=8
size=3
pad=1
activation=relu6
[maxpool]
size=2
stride=2
[upsample]
stride=2
[shortcut]
from=-3
activation=leaky
weights_type=per_channel
weights_normalization=softmax
[route]
layers=-1,-2
groups=2
group_id=1
[reorg]
stride=2
[avgpool]
[connected]
output=6
activation=mish
[dropout]
probability=.3
[softmax]
groups=2
[cost]
"""
HEADS = """
[convolutional]
filters=9
groups=3
size=3
pad=1
dilation=2
activation=swish
batch_normalize=1
[convolutional]
filters=14
activation=linear
[region]
anchors=1,1, 2,2
num=2
classes=2
softmax=1
"""
SMALL = NET.replace("64", "24").replace("data=tiny.data\n", "")
CFGS = [SMALL + LAYERS + BRANCH, SMALL + SECTIONS, SMALL + HEADS]


def truths(count):
    """One object without a mask in each image."""
    objects = ffi.new("dn_truth_object *", {"box": (4, 4, 20, 18), "class_id": 1})
    truth = ffi.new("dn_truth[]", count)
    for i in range(count):
        truth[i].object_count, truth[i].objects = 1, objects
    return truth, objects


def build_and_run(path, training):
    options = {"threads": 1, "training": training, "input_grad": training}
    network = ffi.new("dn_network **")
    check(
        lib.dn_network_create(os.fsencode(path), ffi.new("dn_network_options *", options), network)
    )
    try:
        info, text = ffi.new("dn_network_info *"), ffi.new("char[200]")
        check(lib.dn_network_get_info(network[0], info))
        for i in range(info.layer_count):
            check(lib.dn_network_describe(network[0], i, text, 200))
        if info.arena_bytes > 1 << 26 or info.flops * info.batch > 1 << 27:
            return
        size = (info.batch, info.channels, info.height, info.width)
        values = np.random.default_rng(0).random(size, np.float32)
        data = ffi.from_buffer("float[]", values)
        if training:
            truth, keep = truths(info.batch)
            check(lib.dn_network_train_forward(network[0], data, info.batch, truth, 3))
            check(lib.dn_network_backward(network[0], ffi.NULL))
            del keep
            return
        check(lib.dn_network_forward(network[0], data, info.batch, 0.01))
        if lib.dn_network_classes(network[0]) == 0 or lib.dn_network_is_classifier(network[0]):
            return
        result = ffi.new("dn_result **")
        check(lib.dn_network_get_result(network[0], 0, 40, 30, ffi.NULL, result))
        lib.dn_result_free(result[0])
    finally:
        lib.dn_network_free(network[0])


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("which", range(len(CFGS)))
def test_cfg(tmp_path, which, training):
    path = tmp_path / "x.cfg"

    def case(random_):
        path.write_text(mutate_text(random_, CFGS[which]), errors="replace")
        build_and_run(path, training)

    path.write_text(CFGS[which])
    build_and_run(path, training)
    assert run(f"cfg {which} {training}", case, 0.5) > 0


def test_cfg_bytes(tmp_path):
    path = tmp_path / "x.cfg"

    def case(random_):
        path.write_bytes(mutate_bytes(random_, CFGS[0].encode()))
        build_and_run(path, False)

    run("cfg bytes", case)


def test_weights(bench):
    """Values may be anything; files that end elsewhere are refused."""
    content = bench.bytes("tiny.weights")
    network = ffi.new("dn_network **")
    options = ffi.new("dn_network_options *", {"threads": 1})
    check(lib.dn_network_create(os.fsencode(bench.path / "seg.cfg"), options, network))
    pixels = np.zeros((30, 40, 3), np.uint8)
    image = ffi.new("dn_image *", (40, 30, ffi.from_buffer("uint8_t[]", pixels)))
    path = bench.path / "x.weights"

    def case(random_):
        path.write_bytes(mutate_bytes(random_, content))
        files = os.fsencode(path)
        if random_.random() < 0.5:
            files += b"," + os.fsencode(bench.path / "mask.weights")
        check(lib.dn_network_load_weights(network[0], files, ffi.NULL))
        result = ffi.new("dn_result **")
        wanted = ffi.new("dn_predict_options *", {"threshold": 1e-6, "nms": 1})
        check(lib.dn_network_predict(network[0], image, wanted, result))
        for i in range(result[0].instance_count):
            found = result[0].instances[i]
            if found.mask != ffi.NULL:
                rle = ffi.new("dn_rle *")
                box = found.mask_box
                check(lib.dn_mask_paste(rle, found.mask, result[0].mask_size, box, 30, 40, 0.5))
                lib.dn_rle_free(rle)
        lib.dn_result_free(result[0])

    assert run("weights", case) > 0
    lib.dn_network_free(network[0])


# ---- data sets ------------------------------------------------------------------------------

COCO = """{"images": [{"id": 3, "file_name": "a.png", "width": 20, "height": 10},
 {"id": 4, "file_name": "b/c.png", "width": 9, "height": 9}],
 "annotations": [{"id": 1, "image_id": 3, "category_id": 7, "bbox": [1, 2, 8.5, 6], "area": 51,
  "iscrowd": 0, "segmentation": [[1, 2, 9.5, 2, 9.5, 8], [1.25, 2e0, 3, 3, 2, 4]]},
 {"id": 2, "image_id": 3, "category_id": 8, "iscrowd": 1,
  "segmentation": {"size": [10, 20], "counts": [3, 4, 193]}},
 {"id": 5, "image_id": 4, "category_id": 8, "segmentation": {"size": [9, 9], "counts": "d0n0o0"}}],
 "categories": [{"id": 7, "name": "cat"}, {"id": 8, "name": "dog"}]}"""
ROWS = "0 .5 .5 .25 .5\n1 .1 .1 .9 .1 .9 .9 .1 .9\n\n 1 0.2 0.3 0.4 0.5 0.6 0.7  \r\n"


def look_at(dataset):
    """Everything that a data set can be asked for."""
    for number, image in enumerate(dataset.images):
        for found in image.objects:
            width, height = image.width or 20, image.height or 10
            if width * height > 1 << 20:
                continue
            dataset.box(found.number, width, height)
            if found.kind != lib.DN_OBJECT_BOX:
                dataset.mask(number, found.number, width, height)
            if found.kind == lib.DN_OBJECT_POLYGONS:
                dataset.polygons(found.number)


@pytest.mark.parametrize("strict", [False, True])
def test_coco(tmp_path, strict):
    path, names = tmp_path / "x.json", tmp_path / "names"
    names.write_text("dog\ncat\n")

    def case(random_):
        if random_.random() < 0.7:
            path.write_text(mutate_text(random_, COCO), errors="replace")
        else:
            path.write_bytes(mutate_bytes(random_, COCO.encode()))
        look_at(Dataset(path, strict=strict, **({"names": names} if strict else {})))

    path.write_text(COCO)
    look_at(Dataset(path, strict=True, names=names))
    assert run(f"coco {strict}", case) > 0


def test_rows_and_lists(tmp_path):
    label, listed = tmp_path / "a.txt", tmp_path / "list"
    (tmp_path / "a.png").write_bytes(b"")
    texts = {label: ROWS, listed: f"{tmp_path}/a.png\n# no\n\na.png\n"}

    def case(random_):
        for path, text in texts.items():
            path.write_text(text)
        path = random_.choice(list(texts))
        path.write_bytes(mutate_bytes(random_, mutate_text(random_, texts[path]).encode()))
        look_at(Dataset(listed, classes=random_.choice((0, 2))))

    assert run("rows", case) > 0


LABELME = """{"version": "5.4.1", "flags": {}, "shapes": [
 {"label": "cat", "points": [[1, 2], [9.5, 2.25], [3, 8]], "group_id": 1, "shape_type": "polygon"},
 {"label": "cat", "points": [[2, 2], [4, 3]], "group_id": 1, "shape_type": "mask", "mask":
  "PNG"},
 {"label": "dog", "points": [[5, 5], [9, 5]], "shape_type": "circle", "flags": {"iscrowd": true}},
 {"label": "dog", "points": [[7, 9], [1, 2]], "group_id": null, "shape_type": "rectangle"}],
 "imagePath": "a.png", "imageData": null, "imageHeight": 10, "imageWidth": 20}"""


@pytest.mark.parametrize("named", [False, True])
def test_labelme(tmp_path, named):
    import cv2

    text = LABELME.replace("PNG", png_text())
    path, names = tmp_path / "a.json", tmp_path / "names"
    (tmp_path / "a.png").write_bytes(cv2.imencode(".png", np.zeros((10, 20)))[1].tobytes())
    names.write_text("dog\ncat\n")
    source = {"names": names} if named else {}

    def case(random_):
        if random_.random() < 0.7:
            path.write_text(mutate_text(random_, text), errors="replace")
        else:
            path.write_bytes(mutate_bytes(random_, text.encode()))
        look_at(Dataset(tmp_path, strict=random_.random() < 0.3, **source))

    path.write_text(text)
    dataset = Dataset(tmp_path, strict=True, **source)
    assert dataset.view.object_count == 3
    look_at(dataset)
    assert run(f"labelme {named}", case) > 0


def png_text():
    import base64

    import cv2

    return base64.b64encode(cv2.imencode(".png", np.eye(2, 3, dtype=np.uint8))[1]).decode()


def test_run_files(tmp_path):
    import cv2

    for folder in ("images", "mask"):
        (tmp_path / folder).mkdir()
    image, runs = tmp_path / "images/a.png", tmp_path / "mask/a.txt"
    picture = cv2.imencode(".png", np.zeros((10, 20)))[1].tobytes()
    text = "0 3,5,20,4,9\n1 0,200\r\n\n1 40, 3, 17, 3\n"

    def case(random_):
        image.write_bytes(picture if random_.random() < 0.9 else mutate_bytes(random_, picture))
        runs.write_bytes(mutate_bytes(random_, mutate_text(random_, text).encode()))
        look_at(Dataset(tmp_path / "images", classes=random_.choice((0, 2))))

    assert run("runs", case) > 0


def test_data_files_and_names(bench):
    data, names = bench.path / "x.data", bench.path / "x.names"
    text = "classes=2\nnames = x.names\ntrain=labels.json\ntrain_images=.\nbackup=b\neval=coco\n"

    def case(random_):
        data.write_text(mutate_text(random_, text), errors="replace")
        names.write_bytes(mutate_bytes(random_, b"cat\ndog\n"))
        out, source = ffi.new("dn_data_file **"), ffi.new("dn_dataset_source *")
        check(lib.dn_data_file_read(os.fsencode(data), ffi.NULL, ffi.NULL, out))
        try:
            check(lib.dn_data_file_source(out[0], lib.DN_DATA_TRAIN, source))
            dataset = ffi.new("dn_dataset **")
            check(lib.dn_dataset_load(source, dataset))
            lib.dn_dataset_free(dataset[0])
        finally:
            lib.dn_data_file_free(out[0])

    run("data", case)


def test_states_are_whole_or_refused(bench):
    """A training's state with any byte changed is never taken."""
    call = ("detector", "train", "tiny.cfg", "tiny.weights", "-iterations", 2, "-backup", "out")
    bench.run(*call, "-threads", 1)
    state = bench.path / "out/tiny_last.state"
    whole = state.read_bytes()
    data = Dataset(bench.path / "labels.json")
    paths = ("tiny.cfg", "out/tiny_final.weights", "out/tiny_last.state", "again")
    texts = [ffi.new("char[]", os.fsencode(bench.path / path)) for path in paths]
    fields = dict(zip(("cfg", "weights", "state", "backup_folder"), texts, strict=True))
    fields |= {"dataset": data.handle, "stage": lib.DN_STAGE_DETECTOR, "threads": 1}
    options = ffi.new("dn_train_options *", fields | {"max_iterations": 2})

    def case(random_):
        content = mutate_bytes(random_, whole)
        state.write_bytes(content)
        check(lib.dn_train(options, ffi.NULL))
        assert content == whole

    run("state", case, 0.5)
    state.write_bytes(whole)
    check(lib.dn_train(options, ffi.NULL))


# ---- images and masks -----------------------------------------------------------------------


def encoded():
    import cv2

    pixels = np.random.default_rng(1).integers(0, 256, (21, 34, 3), np.uint8)
    smooth = cv2.GaussianBlur(pixels, (9, 9), 3)
    progressive = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]
    files = [
        (".jpg", smooth, []),
        (".jpg", smooth, progressive),
        (".jpg", smooth[..., 0], []),
        (".png", smooth, []),
        (".png", (smooth[..., 0] // 17).astype(np.uint16) * 999, []),
        (".png", np.dstack([smooth, smooth[..., 0]]), []),
        (".ppm", smooth[:5, :6], []),
    ]
    return [cv2.imencode(ending, values, flags)[1].tobytes() for ending, values, flags in files]


def test_images(tmp_path):
    files, path = encoded(), tmp_path / "x.img"

    def case(random_):
        content = mutate_bytes(random_, random_.choice(files))
        image, size = ffi.new("dn_image *"), ffi.new("int32_t[2]")
        path.write_bytes(content)
        status = lib.dn_image_size(os.fsencode(path), size, size + 1)
        check(lib.dn_image_load_memory(content, len(content), b"x", image))
        assert status == lib.DN_OK and (image.width, image.height) == tuple(size)
        lib.dn_image_free(image)

    assert run("images", case, 3) > 0


def test_label_images(tmp_path):
    path, file = tmp_path / "x.png", encoded()[4]

    def case(random_):
        path.write_bytes(mutate_bytes(random_, file))
        labels, size = ffi.new("uint16_t **"), ffi.new("int32_t[2]")
        check(lib.dn_label_png_load(os.fsencode(path), labels, size, size + 1))
        lib.dn_buffer_free(labels[0])

    run("labels", case)


def ask(rle):
    """What is accepted must be a mask in every respect."""
    assert sum(rle.runs) == rle.c.height * rle.c.width
    assert all(run > 0 for run in rle.runs[1:])
    assert rle.mask.sum() == rle.area == Rle.from_string(rle.text, rle.c.height, rle.c.width).area
    for mode in (lib.DN_CONTOUR_RINGS, lib.DN_CONTOUR_PARTS, lib.DN_CONTOUR_SINGLE):
        Contours(rle, mode, 0.7)
    rle.target((3.2, 4.5, 17, 13), 5)


def test_rle_strings():
    seeds = [Rle.from_polygons([[(2, 1), (17, 3), (9, 11)]], 12, 20).text, b"0`7", b"02O0`00"]

    def case(random_):
        text = mutate_bytes(random_, random_.choice(seeds)).replace(b"\0", b"")
        height, width = random_.choice(((12, 20), (16, 15), (1, 240), (0, 1), (65536, 65535)))
        rle = Rle.from_string(text, height, width)
        if height * width < 1000:
            ask(rle)

    run("rle", case, 3)


EXTREMES = [0, -0.0, 0.5, 1e-30, 3, 7.5, 11.999, -5, 40, 1e5, 2e8, -2e8, 1e30, 3e38, np.inf, np.nan]


def test_polygons_boxes_and_targets():
    def case(random_):
        count = random_.choice((0, 1, 2, 3, 4, 9))
        points = [(random_.choice(EXTREMES), random_.choice(EXTREMES)) for _ in range(count)]
        box = [random_.choice(EXTREMES) for _ in range(4)]
        cells = np.array([[random_.choice(EXTREMES) for _ in range(5)] for _ in range(5)])
        kind = random_.randrange(3)
        if kind == 0:
            ask(Rle.from_polygons([points], 12, 20))
        elif kind == 1:
            ask(Rle.paste(cells, box, 12, 20, random_.choice((0.5, 1, 1e-6))))
        else:
            whole = Rle.from_mask(np.ones((12, 20)))
            affine = [random_.choice(EXTREMES) for _ in range(4)]
            whole.target(box, random_.choice((1, 5, 256, 257)), affine=affine)

    assert run("geometry", case, 5) > 0
