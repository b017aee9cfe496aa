"""LabelMe files and Darknet's run-length mask files.

Truth: pycocotools for polygons, NumPy for rectangles, circles, masks and runs.
"""

from __future__ import annotations

import base64
import json
import time

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from dataset_tools import Dataset, write
from yolomask._native import DarknetError, DataError, lib

# pycocotools 2.0 with NumPy 2: its own affair.
pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")

WIDTH, HEIGHT = 60, 40


def png(mask: np.ndarray) -> str:
    return base64.b64encode(cv2.imencode(".png", mask.astype(np.uint8))[1].tobytes()).decode()


def shape(label, points, kind="polygon", **more) -> dict:
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, **more}


def file(shapes, name="a.jpg", **more) -> str:
    head = {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": name}
    size = {"imageHeight": HEIGHT, "imageWidth": WIDTH}
    return json.dumps(head | {"imageData": "aGVsbG8="} | size | more, indent=2)


def load(tmp_path, shapes, **source) -> Dataset:
    """The data set of one image with these shapes."""
    write(tmp_path / "a.jpg", b"")
    write(tmp_path / "a.json", file(shapes))
    return Dataset(tmp_path, **source)


def drawn(*polygons) -> np.ndarray:
    """What pycocotools makes of the polygons of one object."""
    parts = [[float(v) for point in polygon for v in point] for polygon in polygons]
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(parts, HEIGHT, WIDTH)))


def masks(dataset) -> list[np.ndarray]:
    found = dataset.images[0].objects
    return [dataset.mask(0, o.number, WIDTH, HEIGHT) for o in found]


TRIANGLE = [[1.25, 2], [30.7, 5], [9, 33.333333333333336]]
SQUARE = [[40, 10], [50, 10], [50, 20], [40, 20]]


def test_polygons_and_groups(tmp_path):
    """Shapes of one label and group are one object; no group, or another label: another object."""
    shapes = [
        shape("dog", TRIANGLE, group_id=4),
        shape("cat", SQUARE),
        shape("cat", TRIANGLE, group_id=4),
        shape("dog", SQUARE, group_id=4),
        shape("cat", SQUARE, flags={"other": True, "iscrowd": True}),
        {"label": "cat", "points": TRIANGLE},  # of LabelMe 3
    ]
    dataset = load(tmp_path, shapes, strict=True)
    (image,) = dataset.images
    assert dataset.names == ["cat", "dog"]  # by the alphabet
    assert (image.width, image.height) == (WIDTH, HEIGHT)
    assert [o.class_id for o in image.objects] == [1, 0, 0, 0, 0]
    assert [o.crowd for o in image.objects] == [False, False, False, True, False]
    wanted = [[TRIANGLE, SQUARE], [SQUARE], [TRIANGLE], [SQUARE], [TRIANGLE]]
    for mask, polygons in zip(masks(dataset), wanted, strict=True):
        assert (mask == drawn(*polygons)).all()
    assert dataset.polygons(2)[0] == [v for point in TRIANGLE for v in point]
    lines = (tmp_path / "a.json").read_text().splitlines()
    starts = [i for i, line in enumerate(lines, 1) if line == "    {"]
    assert [o.line for o in image.objects] == [starts[i] for i in (0, 1, 2, 4, 5)]


def test_classes_map_by_name(tmp_path):
    names = write(tmp_path / "names", "owl\ndog\ncat\n")
    shapes = [shape("dog", TRIANGLE), shape("emu", SQUARE), shape("cat", SQUARE)]
    dataset = load(tmp_path, shapes, names=names)
    assert [o.class_id for o in dataset.images[0].objects] == [1, 2]
    place = f"{tmp_path}/a.json:{_line(shapes, 1)}"
    assert dataset.faults == [f'{place}: class "emu" is none of the 3 names']
    with pytest.raises(DataError, match='"emu" is none of the 3 names'):
        load(tmp_path, shapes, names=names, strict=True)
    dataset = load(tmp_path, shapes, classes=2)
    place = f"{tmp_path}/a.json:{_line(shapes, 2)}"
    assert dataset.faults == [f'{place}: class "cat" is one more than the 2 allowed']


def test_rectangles(tmp_path):
    """Alone a box; as a part of an object a polygon."""
    corners = [[50.5, 20.25], [40, 10]]  # drawn from the lower right
    shapes = [
        shape("a", corners, "rectangle"),
        shape("a", corners, "rectangle", group_id=1),
        shape("a", TRIANGLE, group_id=1),
    ]
    dataset = load(tmp_path, shapes, strict=True)
    box, joined = dataset.images[0].objects
    assert box.kind == lib.DN_OBJECT_BOX and box.bbox == [40, 10, 10.5, 10.25]
    assert joined.kind == lib.DN_OBJECT_POLYGONS
    ring = [[40, 10], [50.5, 10], [50.5, 20.25], [40, 20.25]]
    mask = dataset.mask(0, joined.number, WIDTH, HEIGHT)
    assert (mask == drawn(ring, TRIANGLE)).all()


@pytest.mark.parametrize("radius", [0.5, 3, 11.5, 400])
def test_circles(tmp_path, radius):
    """Every pixel centre that is not within .15 of the circle is on its side."""
    centre = (20.5, 18.25)
    dataset = load(tmp_path, [shape("a", [centre, [centre[0], centre[1] - radius]], "circle")])
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    distance = np.hypot(x - centre[0], y - centre[1])
    # pycocotools' own raster moves an edge by up to half a pixel and a fifth of one.
    clear = np.abs(distance - radius) > 0.85
    assert (masks(dataset)[0] == (distance < radius))[clear].all()
    ring = np.array(dataset.polygons(0)[0]).reshape(-1, 2)
    assert np.abs(np.hypot(*(ring - centre).T) - radius).max() < 0.01
    middles = (ring + np.roll(ring, 1, 0)) / 2
    assert radius - np.hypot(*(middles - centre).T).min() < 0.11


@pytest.mark.parametrize("corner", [(0, 0), (7, 5), (41, 30), (-6, -3)])
def test_masks(tmp_path, corner):
    """A PNG at its place, cut at the image's edge; united with the other parts."""
    rng = np.random.default_rng(3)
    small = rng.random((13, 22)) < 0.6
    points = [list(corner), [corner[0] + 21, corner[1] + 12]]
    whole = np.zeros((HEIGHT + 60, WIDTH + 60), np.uint8)
    x, y = corner[0] + 30, corner[1] + 30
    whole[y : y + 13, x : x + 22] = small
    placed = whole[30 : 30 + HEIGHT, 30 : 30 + WIDTH]
    shapes = [
        shape("a", points, "mask", mask=png(small)),
        shape("a", points, "mask", mask=png(small * 255), group_id=2),
        shape("a", TRIANGLE, group_id=2),
    ]
    dataset = load(tmp_path, shapes, strict=True)
    alone, joined = masks(dataset)
    assert (alone == placed).all()
    assert (joined == placed | drawn(TRIANGLE)).all()
    assert dataset.images[0].objects[0].area == placed.sum()


FAULTS = {
    "few": (shape("a", TRIANGLE[:2]), "a polygon has 2 points, 3 or more are needed"),
    "line": (
        shape("a", TRIANGLE[:2], "line"),
        'shape_type "line" is not known; polygon, rectangle, circle and mask are',
    ),
    "circle": (shape("a", TRIANGLE, "circle"), "a circle has 3 points, 2 are needed"),
    "flat": (shape("a", [[1, 1], [5, 1]], "rectangle"), "class 0: its box has no area"),
    "outside": (shape("a", [[70, 1], [80, 1], [75, 9]]), "class 0: its box lies outside the image"),
    "far": (shape("a", [[1, 1], [2e7, 2], [3, 3]]), "a coordinate is beyond +-10000000"),
    "no mask": (shape("a", TRIANGLE[:2], "mask"), "a mask shape has no mask"),
    "base64": (shape("a", TRIANGLE[:2], "mask", mask="&&"), "its mask is not base64"),
    "no png": (
        shape("a", TRIANGLE[:2], "mask", mask="aGVsbG8="),
        "its mask: the content is no PNG label image",
    ),
    "empty": (
        shape("a", TRIANGLE[:2], "mask", mask=png(np.zeros((3, 3)))),
        "class 0: its mask is empty",
    ),
}


@pytest.mark.parametrize("what", FAULTS)
def test_faults(tmp_path, what):
    """The shape is left out, the others stay; strict: an error."""
    bad, sentence = FAULTS[what]
    shapes = [shape("a", SQUARE), bad]
    wanted = f"{tmp_path}/a.json:{_line(shapes, 1)}: {sentence}"
    dataset = load(tmp_path, shapes)
    assert dataset.faults == [wanted] and len(dataset.images[0].objects) == 1
    with pytest.raises(DataError) as error:
        load(tmp_path, shapes, strict=True)
    assert str(error.value) == wanted


def _line(shapes, index) -> int:
    """The line on which this shape begins."""
    lines = file(shapes).splitlines()
    return [i for i, line in enumerate(lines, 1) if line == "    {"][index]


BROKEN = {
    "list": ("[]", ':1: a LabelMe file is an object with "shapes"'),
    "no shapes": ('{"version": 1}', ': has no "shapes": it is not a LabelMe file'),
    "shapes": ('{"shapes": {}}', ':1: "shapes" must be a list'),
    "shape": ('{"shapes": [3]}', ":1: a shape must be an object"),
    "label": ('{"shapes": [{"points": []}]}', ":1: a shape has no label"),
    "point": (
        '{"shapes": [{"label": "a", "points": [[1, 2],\n [3]]}]}',
        ":2: a point must be two numbers [x, y]",
    ),
    "points": (
        '{"shapes": [{"label": "a", "points": [1, 2]}]}',
        ":1: points must be a list of points [x, y]",
    ),
    "group": (
        '{"shapes": [{"label": "a", "group_id": "x"}]}',
        ":1: a group_id must be a whole number or null",
    ),
    "size": ('{"imageWidth": -3}', ":1: imageWidth and imageHeight must be whole numbers above 0"),
    "cut": ('{"shapes": [', ":1: not JSON: parse error: premature EOF"),
    "deep": ('{"x": ' + "[" * 70, ":1: lists and objects are nested more than 64 deep"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_files(tmp_path, what):
    """An image whose labels are lost is left out: without objects it would teach background."""
    content, sentence = BROKEN[what]
    write(tmp_path / "b.jpg", b"")
    write(tmp_path / "b.json", content)
    dataset = load(tmp_path, [shape("a", SQUARE)])
    assert [image.path for image in dataset.images] == [f"{tmp_path}/a.jpg"]
    assert dataset.faults == [f"{tmp_path}/b.jpg: left out, because of {tmp_path}/b.json{sentence}"]
    with pytest.raises(DataError) as error:
        load(tmp_path, [shape("a", SQUARE)], strict=True)
    assert str(error.value) == f"{tmp_path}/b.json{sentence}"


def test_folder_of_labels_only(tmp_path):
    """Images are found by imagePath, relative to the JSON, in Windows' spelling too."""
    write(tmp_path / "photos/a.jpg", b"")
    write(tmp_path / "photos/sub/b.png", b"")
    write(tmp_path / "labels/a.json", file([shape("x", SQUARE)], "../photos/a.jpg"))
    write(tmp_path / "labels/b.json", file([shape("y", SQUARE)], "..\\photos\\sub\\b.png"))
    write(tmp_path / "labels/c.json", file([shape("z", SQUARE)], "C:\\gone\\c.png"))
    dataset = Dataset(tmp_path / "labels")
    assert [i.path for i in dataset.images] == [
        f"{tmp_path}/labels/../photos/a.jpg",
        f"{tmp_path}/labels/../photos/sub/b.png",
    ]
    assert [i.file_name for i in dataset.images] == ["a.jpg", "b.png"]
    assert dataset.fault_count == 1 and "its image is not there" in dataset.faults[0]


def test_one_file_as_a_source(tmp_path):
    write(tmp_path / "a.json", file([shape("x", SQUARE)]))
    with pytest.raises(DataError, match="not a COCO instances file; of LabelMe files name the fo"):
        Dataset(tmp_path / "a.json")


def test_image_path_of_another_image(tmp_path):
    write(tmp_path / "a.jpg", b"")
    write(tmp_path / "a.json", file([shape("x", SQUARE)], "b.jpg"))
    dataset = Dataset(tmp_path)
    assert dataset.faults == [
        f"{tmp_path}/a.json: its imagePath is b.jpg, not a.jpg; taken for that all the same"
    ]
    assert len(dataset.images[0].objects) == 1
    write(tmp_path / "a.json", file([shape("x", SQUARE)], "a.bmp"))  # converted since
    assert Dataset(tmp_path, strict=True).fault_count == 0


def test_places(tmp_path):
    """mask/x.txt, then labels/x.txt, then the JSON in labels/; beside it only without `images`."""
    image = write(tmp_path / "images/a.png", cv2.imencode(".png", np.zeros((4, 6)))[1].tobytes())
    listed = write(tmp_path / "list", f"{image}\n")
    files = [
        ("images/a.json", file([shape("0", SQUARE)] * 2, "a.png")),
        ("labels/a.json", file([shape("0", SQUARE)], "a.png")),
        ("labels/a.txt", "0 .5 .5 .1 .1\n"),
        ("mask/a.txt", "0 5,3\n"),
    ]
    found = []
    for name, content in files:
        write(tmp_path / name, content)
        (read,) = Dataset(listed).images
        found.append((read.label_path.removeprefix(f"{tmp_path}/"), len(read.objects)))
    assert found == [("images/a.json", 2), *((name, 1) for name, _ in files[1:])]


def test_names_and_numbers_need_a_list(tmp_path):
    write(tmp_path / "a.jpg", b"")
    write(tmp_path / "b.jpg", b"")
    write(tmp_path / "a.json", file([shape("x", SQUARE)]))
    write(tmp_path / "b.txt", "0 .5 .5 .1 .1\n")
    with pytest.raises(DarknetError, match="a file of class names is needed to join them"):
        Dataset(tmp_path)
    names = write(tmp_path / "names", "y\nx\n")
    classes = [[o.class_id for o in i.objects] for i in Dataset(tmp_path, names=names).images]
    assert classes == [[1], [0]]


def test_many_images(tmp_path):
    """Files are small: the time is linear, and far below five seconds for ten thousand."""
    rng = np.random.default_rng(0)
    shapes = [shape("a", (rng.random((25, 2)) * [60, 40]).round(2).tolist()) for _ in range(20)]
    for i in range(500):
        write(tmp_path / f"{i}.jpg", b"")
        write(tmp_path / f"{i}.json", file(shapes, f"{i}.jpg"))
    start = time.process_time()
    dataset = Dataset(tmp_path, strict=True)
    seconds = time.process_time() - start
    assert dataset.view.object_count == 500 * 20
    assert seconds < 5 * 500 / 10_000 * 3  # three times the pace: the machine is shared


# ---- Darknet's run-length mask files ----


def row_runs(mask: np.ndarray) -> list[int]:
    """Runs of a mask row by row, zeros first, the last one left out where it may be."""
    flat = mask.reshape(-1)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat]))).tolist()
    return np.diff([0, *edges]).tolist()


@pytest.mark.parametrize("separator", [",", ", ", " "])
def test_run_files(tmp_path, separator):
    rng = np.random.default_rng(5)
    truth = []
    for name in "ab":
        height, width = (int(v) for v in rng.integers(5, 40, 2))
        pixels = np.zeros((height, width, 3), np.uint8)
        write(tmp_path / f"x/images/{name}.png", cv2.imencode(".png", pixels)[1].tobytes())
        found = [(int(rng.integers(3)), rng.random((height, width)) < 0.5) for _ in range(4)]
        rows = [f"{c} {separator.join(map(str, row_runs(m.astype(np.int8))))}" for c, m in found]
        write(tmp_path / f"x/mask/{name}.txt", "\n".join(rows) + "\n\n")
        truth.append(found)
    for source in ({}, {"masks_folder": tmp_path / "x/mask"}):
        dataset = Dataset(tmp_path / "x/images", strict=True, classes=3, **source)
        for index, (image, found) in enumerate(zip(dataset.images, truth, strict=True)):
            assert [o.class_id for o in image.objects] == [c for c, _ in found]
            for item, (_, mask) in zip(image.objects, found, strict=True):
                assert (dataset.mask(index, item.number, image.width, image.height) == mask).all()
                assert item.area == mask.sum()
                columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
                box = [columns[0], rows[0], np.ptp(columns) + 1, np.ptp(rows) + 1]
                assert item.bbox == box
        assert [o.line for o in dataset.images[0].objects] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ("7 3,2", "class 7 is out of range 0..1"),
        ("x 3,2", "the class 'x' is not a whole number"),
        ("1", "no runs (run,run,...) follow the class"),
        ("1 3,-2", "'-2' is not a number of pixels"),
        ("1 3,2,99", None),
        ("1 24", "class 1: its mask is empty"),
    ],
)
def test_faults_of_run_files(tmp_path, row, sentence):
    pixels = np.zeros((4, 6), np.uint8)
    write(tmp_path / "images/a.png", cv2.imencode(".png", pixels)[1].tobytes())
    write(tmp_path / "mask/a.txt", f"0 3,2\n{row}\n")
    dataset = Dataset(tmp_path / "images", classes=2)
    assert len(dataset.images[0].objects) == 1 and dataset.fault_count == 1
    place, found = dataset.faults[0].split(": ", 1)
    assert place == f"{tmp_path}/mask/a.txt:2"
    if sentence is None:
        assert "99" in found and "24" in found
    else:
        assert found == sentence


def test_images_without_size_are_left_out(tmp_path):
    """Runs need the image's size; the objects of a lost file go nowhere."""
    write(tmp_path / "images/a.png", b"damaged")
    pixels = np.zeros((4, 6), np.uint8)
    write(tmp_path / "images/b.png", cv2.imencode(".png", pixels)[1].tobytes())
    for name in "ab":
        write(tmp_path / f"mask/{name}.txt", "0 3,2\n")
    dataset = Dataset(tmp_path / "images")
    assert [i.path for i in dataset.images] == [f"{tmp_path}/images/b.png"]
    assert dataset.view.object_count == 1 and "left out" in dataset.faults[0]


def test_every_allocation_may_fail(tmp_path, fail_allocations):
    shapes = [
        shape("a", TRIANGLE, group_id=1),
        shape("b", [[1, 2], [3, 3]], "mask", mask=png(np.ones((2, 3))), group_id=1),
        shape("a", [[1, 2], [3, 3]], "mask", mask=png(np.ones((2, 3))), group_id=1),
        shape("a", [[9, 9], [12, 9]], "circle"),
    ]
    write(tmp_path / "l/images/a.jpg", b"")
    write(tmp_path / "l/labels/a.json", file(shapes))
    pixels = np.zeros((4, 6), np.uint8)
    write(tmp_path / "m/images/a.png", cv2.imencode(".png", pixels)[1].tobytes())
    write(tmp_path / "m/mask/a.txt", "0 3,2\n")
    assert fail_allocations(lambda: Dataset(tmp_path / "l/images")) > 10
    # The size of an image is looked for in two ways, so that one failure may pass.
    failed = 0
    for n in range(40):
        lib.dn_test_fail_allocation(n)
        try:
            Dataset(tmp_path / "m/images")
        except MemoryError:
            failed += 1
        finally:
            lib.dn_test_fail_allocation(-1)
    assert failed > 10
