"""Labels that are wrong: each one sentence with file, line and reason; nothing leaks or crashes."""

from __future__ import annotations

import json
import random
import re
from functools import partial

import numpy as np
import pytest

from dataset_tools import Dataset, write
from test_dataset import annotation, random_json, simple, write_png
from yolomask._native import ConfigError, DataError, check, ffi, lib

IMAGE = '"images": [{"id": 1, "file_name": "a.jpg", "width": 100, "height": 50}]'
MISSING = "No such file or directory"
CATEGORY = '"categories": [{"id": 2, "name": "cat"}]'
GOOD = '"image_id": 1, "category_id": 2, "bbox": [1, 2, 3, 4]'


def document(annotations: str, images=IMAGE, categories=CATEGORY) -> str:
    """A COCO JSON with its parts in lines 2, 3 and from 5 on."""
    return f'{{\n{images},\n{categories},\n"annotations": [\n{annotations}\n]}}\n'


def raises(error, sentence: str):
    """Expects this whole message; "..." stands for anything."""
    pattern = re.escape(sentence).replace(r"\.\.\.", ".*")
    return pytest.raises(error, match=f"^{pattern}$")


# ---- what is not a COCO JSON: always an error ----

BROKEN = {
    "not JSON: lexical error...": ("{\n\n\n\n  nope", 5),
    "not JSON: parse error: premature EOF": (document(f'{{"id": 1, {GOOD}')[:-4], 5),
    "not JSON: parse error: invalid object key (must be a string)": (
        '{"images": [],\n\n ]}',
        3,
    ),
    "not JSON: parse error: trailing garbage": ('{"images": []}\n{', 2),
    "not JSON: lexical error: invalid bytes...": (b'{"images":\n"\xff"}', 2),
    "lists and objects are nested more than 64 deep": ('{"info":\n' + "[" * 100, 2),
    "the number 1e999 is not finite or too long": (
        document(f'{{"area": 1e999, {GOOD}}}'),
        5,
    ),
    "the number 1111111111111111111111111111111111111111... is not finite or too long": (
        document("\n" + "1" * 500),
        6,
    ),
    "a list, as in a file of results; a COCO instances file is an object with "
    '"images", "annotations" and "categories"': ("\n[]", 2),
    '"images" must be a list': ('{\n"images": {}}', 2),
    '"annotations" must be a list': ('{"images": [],\n"annotations":\n 3}', 3),
    "images[0]: it must be an object": ('{"images":\n[3]}', 2),
    "images[1]: it has no id": (
        '{"images": [{"id":1,"file_name":"a"},\n{"file_name":"b"}]}',
        2,
    ),
    "image 1: it has no file_name": ('{"images": [\n{"id":1}]}', 2),
    "image 1: its width must be a whole number": (
        '{"images": [\n{"id":1,"width":"9"}]}',
        2,
    ),
    "image 1: its width or height is negative or too large": (
        '{"images": [\n{"id":1,"file_name":"a","width":99999999,"height":99999999}]}',
        2,
    ),
    "images[0]: its id must be a whole number": ('{"images": [{\n"id":1.5}]}', 2),
    "image 1: its file_name, name or counts must be a text, not empty and without zero bytes": (
        '{"images": [{"id":1,\n"file_name":"a\\u0000b"}]}',
        2,
    ),
    "annotation 7: its bbox must be a list of 4 numbers": (
        document('{"id": 7,\n"bbox": [1, 2, 3]}'),
        6,
    ),
    "annotations[1]: its bbox must be a list of 4 numbers": (
        document(f'{{{GOOD}}},\n{{"bbox": [1, 2, 3, 4, 5]}}'),
        6,
    ),
    "annotation 8: its bbox must be a list of 4 numbers": (
        document('{"id": 8, "bbox": "x"}'),
        5,
    ),
    "annotation 9: it has no image_id": (
        document('{"id": 9,\n\n"category_id": 2\n}'),
        5,
    ),
    "annotation 9: it has no category_id": (
        document('{"id": 9,\n\n"image_id": 2\n}'),
        5,
    ),
    "annotation 9: its iscrowd must be 0 or 1": (
        document('{"id": 9, "iscrowd": 2}'),
        5,
    ),
    "annotation 9: its area must be a number": (document('{"id": 9, "area": [2]}'), 5),
    "annotation 9: its segmentation must be a list of polygons or an RLE object": (
        document('{"id": 9, "segmentation": 2}'),
        5,
    ),
    "annotation 9: its segmentation must be a list of polygons, each a list of numbers": (
        document('{"id": 9, "segmentation": [1, 2, 3, 4, 5, 6]}'),
        5,
    ),
    "annotation 9: its segmentation holds something that is not a number": (
        document('{"id": 9, "segmentation": [[1, 2, 3, 4, 5, "6"]]}'),
        5,
    ),
    "annotation 10: its segmentation holds something that is not a number": (
        document('{"id": 10, "segmentation": [[[1, 2]]]}'),
        5,
    ),
    "annotation 9: its RLE has no size of [height, width]": (
        document(f'{{"id": 9, {GOOD}, "segmentation": {{"counts": [1]}}}}'),
        5,
    ),
    "annotation 9: its RLE size must be [height, width]": (
        document('{"id": 9, "segmentation": {"size": [1, 2, 3]}}'),
        5,
    ),
    "annotation 9: its RLE holds a number that is not a count of pixels": (
        document('{"id": 9, "segmentation": {"counts": [-1]}}'),
        5,
    ),
    "annotation 9: its RLE needs a size [height, width] and counts, a text or a list": (
        document('{"id": 9, "segmentation": {"counts": 7}}'),
        5,
    ),
    "image 1 is there twice (first in line 2)": (
        document("", IMAGE[:-1] + ',\n{"id": 1, "file_name": "b.jpg"}]'),
        3,
    ),
    "categories[0]: it has no id": ('{"categories": [\n{"name": "a"}]}', 2),
    "category 3: it has no name": ('{"categories": [\n{"id": 3}]}', 2),
}


@pytest.mark.parametrize("what", BROKEN)
@pytest.mark.parametrize("strict", [False, True])
def test_broken_json(tmp_path, what, strict):
    content, line = BROKEN[what]
    path = write(tmp_path / "a.json", content)
    with raises(DataError, f"{path}:{line}: {what}"):
        Dataset(path, strict=strict)


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../a.jpg",
        "b/../../a.jpg",
        "..",
        "c:\\a.jpg",
        "\\\\host\\a",
        "x\\..\\a.jpg",
    ],
)
def test_file_names_stay_in_their_folder(tmp_path, name):
    images = json.dumps([{"id": 5, "file_name": name}])
    path = write(tmp_path / "a.json", f'{{"images":\n\n{images}}}')
    place = f"{path}:3: image 5: its file_name is absolute or leaves its folder"
    with raises(DataError, place):
        Dataset(path)


def test_file_names_may_look_odd(tmp_path):
    names = ["a..jpg", "..a/b.jpg", "d/...jpg", "%s%n.jpg", "a b$(x).jpg"]
    images = [{"id": i, "file_name": name} for i, name in enumerate(names)]
    dataset = Dataset(write(tmp_path / "a.json", simple([], images)))
    assert [image.file_name for image in dataset.images] == names


@pytest.mark.parametrize("section", ["images", "annotations", "categories"])
def test_missing_sections(tmp_path, section):
    parts = {name: [] for name in ("images", "annotations", "categories") if name != section}
    path = write(tmp_path / "a.json", json.dumps(parts))
    with raises(DataError, f'{path}: has no "{section}": it is not a COCO instances file'):
        Dataset(path)


def test_categories(tmp_path):
    path = write(tmp_path / "a.json", simple([annotation(), annotation(category_id=2)]))
    names = write(tmp_path / "my.names", "cat\nbird\n")
    sentence = f'{path}: 1 categories with annotations are not named in {names}: "dog"'
    with raises(DataError, sentence):
        Dataset(path, names=names)
    with raises(ConfigError, f"{names}: holds 2 class names, but classes=3"):
        Dataset(path, names=names, classes=3)
    with raises(
        DataError,
        f"{path}: has 3 categories, but classes=80; give names= (a file of...",
    ):
        Dataset(path, classes=80)
    two = write(tmp_path / "b.json", simple([], None, [{"id": 7, "name": n} for n in "ab"]))
    with raises(DataError, f"{two}: category 7 is there twice"):
        Dataset(two)


def test_missing_images_of_a_json(tmp_path):
    path = write(tmp_path / "a.json", document(""))
    folder = tmp_path / "pictures"
    with raises(OSError, f"{folder}: there is no such folder of images"):
        Dataset(path, images_folder=folder)
    write(folder / "b.jpg", b"")
    with raises(DataError, f"{path}:2: image 1 is not there: {folder}/a.jpg"):
        Dataset(path, images_folder=folder)
    write(folder / "a.jpg", b"")
    assert Dataset(path, images_folder=folder).images[0].path == f"{folder}/a.jpg"


# ---- labels that cannot be used: an error when strict, else skipped and reported ----

FAULTS = {
    "annotation 4: a polygon has 2 points, at least 3 are needed": {"segmentation": [[1, 1, 9, 9]]},
    "annotation 4: a polygon has 0 points, at least 3 are needed": {"segmentation": [[]]},
    "annotation 4: a polygon has an odd number of coordinates, 7": {
        "segmentation": [[1, 2, 3, 4, 5, 6, 7]]
    },
    "annotation 4: a coordinate is beyond +-10000000": {"segmentation": [[1, 1, 1e8, 1, 1, 1e8]]},
    "annotation 4: it has neither bbox nor segmentation": {"bbox": []},
    "annotation 4: its category_id 77 is none of the categories": {"category_id": 77},
    "annotation 4: its image_id 77 is none of the images": {"image_id": 77},
    "annotation 4: its box has no area": {"bbox": [5, 5, 0, 3]},
    "annotation 4: its box has no area ": {"bbox": [5, 5, 3, -3]},
    "annotation 4: its box lies outside the image": {"bbox": [100, 5, 3, 3]},
    "annotation 4: its box lies outside the image ": {"bbox": [5, -4, 3, 3]},
    "annotation 4: its box is absurdly large": {"bbox": [5, 5, 1e300, 3]},
    "annotation 4: the size of its RLE is not that of its image": {
        "segmentation": {"size": [100, 50], "counts": [2500, 2500]}
    },
    "annotation 4: RLE: 2 runs cover 9 pixels, the image of 100 x 50 has 5000": {
        "segmentation": {"size": [50, 100], "counts": [4, 5]}
    },
    "annotation 4: RLE: run 1 of 5000 pixels begins at pixel 4 and leaves the image of ...": {
        "segmentation": {"size": [50, 100], "counts": [4, 5000]}
    },
    "annotation 4: RLE string: ...": {"segmentation": {"size": [50, 100], "counts": "~~"}},
    "annotation 4: RLE: a mask of 100 x 0 pixels ...": {
        "segmentation": {"size": [0, 100], "counts": []}
    },
}


@pytest.mark.parametrize("what", FAULTS)
def test_faults_of_a_json(tmp_path, what):
    good, bad = annotation(id=3), annotation(**FAULTS[what])
    content = json.dumps(json.loads(simple([good, bad, good])), indent=0)
    path = write(tmp_path / "a.json", content)
    lines = content.split("\n")
    start = lines.index('"id": 4,')  # the brace of the annotation, counted from 1
    pattern = re.escape(what.strip()).replace(r"\.\.\.", ".*")
    with pytest.raises(DataError, match=rf"^{re.escape(str(path))}:(\d+): {pattern}$") as error:
        Dataset(path, strict=True)
    line = int(re.search(r"a\.json:(\d+):", str(error.value)).group(1))
    assert start <= line < start + 25 and line < len(lines) - 25
    dataset = Dataset(path)
    assert dataset.faults == [str(error.value)] and dataset.fault_count == 1
    assert [found.id for found in dataset.images[0].objects] == [3, 3]


def test_a_bad_part_leaves_the_others(tmp_path):
    parts = [[1, 1, 9, 9], [2, 2, 8, 2, 8, 8], [1], [0, 0, 5, 0, 5, 5]]
    path = write(tmp_path / "a.json", simple([annotation(segmentation=parts)]))
    dataset = Dataset(path)
    assert dataset.fault_count == 2
    (found,) = dataset.images[0].objects
    assert dataset.polygons(found.number) == [parts[1], parts[3]]


def test_report_is_bounded(tmp_path):
    bad = annotation(bbox=[1, 1, 0, 0])
    dataset = Dataset(write(tmp_path / "a.json", simple([bad] * 1000)))
    assert dataset.fault_count == 1000
    assert len(dataset.faults) == lib.DN_FAULTS_KEPT == 100


ROWS = {
    "class 3 is out of range 0..2": "3 .5 .5 .1 .1",
    "class -1 is out of range 0..2": "-1 .5 .5 .1 .1",
    "class 99999999999999 is out of range 0..2": "99999999999999 .5 .5 .1 .1",
    "the class 'cat' is not a whole number": "cat .5 .5 .1 .1",
    "the class '1.5' is not a whole number": "1.5 .5 .5 .1 .1",
    "'nan' is not a number": "1 nan .5 .1 .1",
    "'0x1' is not a number": "1 0x1 .5 .1 .1",
    "'.5,' is not a number": "1 .5, .5, .1, .1",
    "320 is out of range 0..1: coordinates are fractions of the image's width and height": (
        "1 320 200 40 40"
    ),
    "1e999 is out of range 0..1: coordinates are fractions of the image's width and height": (
        "1 .5 1e999 .1 .1"
    ),
    "0 numbers follow the class; wanted are 4 (cx cy w h) or a polygon of at least 3 points "
    "(x y)": "1",
    "3 numbers follow the class; wanted are 4 (cx cy w h) or a polygon of at least 3 points "
    "(x y)": "1 .5 .5 .1",
    "7 numbers follow the class; wanted are 4 (cx cy w h) or a polygon of at least 3 points "
    "(x y)": "1 .5 .5 .1 .1 .3 .4 .5",
    "class 1: its box has no area": "1 .5 .5 0 .1",
    "class 0: its box has no area": "0 .1 .1 .2 .1 .3 .1",
}


@pytest.mark.parametrize("what", ROWS)
def test_faults_of_rows(tmp_path, what):
    write(tmp_path / "images/a.jpg", b"")
    content = f"0 .5 .5 .2 .2\r\n\r\n{ROWS[what]}\r\n2.0 .1 .1 .9 .1 .9 .9"
    labels = write(tmp_path / "labels/a.txt", content)
    with raises(DataError, f"{labels}:3: {what}"):
        Dataset(tmp_path / "images", strict=True, classes=3)
    dataset = Dataset(tmp_path / "images", classes=3)
    assert dataset.faults == [f"{labels}:3: {what}"]
    assert [(o.class_id, o.line) for o in dataset.images[0].objects] == [(0, 1), (2, 4)]


def test_images_without_labels(tmp_path):
    one, two = (write(tmp_path / f"images/{n}.jpg", b"") for n in "ab")
    first = tmp_path / "labels/a.txt"
    with raises(
        DataError,
        f"{tmp_path}/images: none of its 2 images has a label file; that of the first would be "
        f"{first}",
    ):
        Dataset(tmp_path / "images")
    images = Dataset(tmp_path / "images", images_only=True, classes=3)
    assert (images.view.image_count, images.view.object_count, images.faults) == (2, 0, [])
    write(first, "")
    sentence = (
        f"{two}: it has no label file ({tmp_path}/labels/b.txt or the like): taken as an image "
        "without objects"
    )
    assert Dataset(tmp_path / "images").faults == [sentence]
    with raises(DataError, sentence):
        Dataset(tmp_path / "images", strict=True)
    assert one.exists()


def test_image_lists(tmp_path):
    names = write(tmp_path / "a.txt", "\n\r\n")
    with raises(DataError, f"{names}: is empty"):
        Dataset(names)
    write(names, "\n\nx.jpg\r\n")
    with raises(
        DataError,
        f"{names}: none of its images exists, from the working directory or the list's folder; "
        "the first is x.jpg",
    ):
        Dataset(names)
    write(tmp_path / "y.jpg", b"")
    write(tmp_path / "y.txt", b"")
    write(names, "\n\nx.jpg\r\ny.jpg\n")
    sentence = (
        f"{names}:3: there is no image x.jpg (from the working directory or the list's folder); "
        "left out"
    )
    dataset = Dataset(names)
    assert dataset.faults == [sentence] and len(dataset.images) == 1
    with raises(DataError, sentence):
        Dataset(names, strict=True)
    write(names, b"x.jpg\0y.jpg\n")
    with raises(DataError, f"{names}: holds a zero byte: it is not a text file"):
        Dataset(names)
    with raises(OSError, f"{tmp_path}/none: cannot open: {MISSING}"):
        Dataset(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    sentence = "the folder holds no images (those in folders within it do not count)"
    with raises(DataError, f"{tmp_path}/empty: {sentence}"):
        Dataset(tmp_path / "empty")


def test_sources_that_do_not_go_together(tmp_path):
    path = write(tmp_path / "a.json", document(""))
    with raises(ConfigError, f"{path}: a COCO JSON brings its own masks; ..."):
        Dataset(path, masks_folder=tmp_path)
    with raises(
        ConfigError,
        f"{tmp_path}: an images folder ({tmp_path}) goes with a COCO JSON; ...",
    ):
        Dataset(tmp_path, images_folder=tmp_path)
    with raises(ConfigError, f"{path}: classes=-1 is out of range 0..65536"):
        Dataset(path, classes=-1)
    with raises(ValueError, "data set: no path was given"):
        source, out = ffi.new("dn_dataset_source *"), ffi.new("dn_dataset **")
        check(lib.dn_dataset_load(source, out))


def test_names_files(tmp_path):
    path = write(tmp_path / "a.json", document(""))
    names = write(tmp_path / "n", "a\n\n\nb\n")
    with raises(ConfigError, f"{names}:2: a blank line among the class names"):
        Dataset(path, names=names)
    write(names, "\n \n")
    with raises(ConfigError, f"{names}: holds no class names"):
        Dataset(path, names=names)
    with raises(OSError, f"{tmp_path}/x: cannot open: {MISSING}"):
        Dataset(path, names=tmp_path / "x")


def test_label_images(tmp_path):
    images, masks = tmp_path / "i", tmp_path / "m"
    for name in "abcd":
        write(images / f"{name}.jpg", b"")
    with raises(OSError, f"{masks}: there is no such folder of mask images"):
        Dataset(images, masks_folder=masks)
    write(masks / "d.png", b"\x89PNG\r\n\x1a\nrubbish that goes on")
    with raises(
        DataError,
        f"{masks}: none of the 4 images has a mask image there that can be ...",
    ):
        Dataset(images, masks_folder=masks)
    write_png(masks / "a.png", np.ones((4, 5), np.uint16), 16)
    write_png(masks / "b.png", np.ones((4, 5, 3), np.uint8), 8, 2)
    whole = (masks / "a.png").read_bytes()
    colour = f"{masks}/b.png: a label image has one channel (gray or palette), this one has 3"
    faults = [
        f"{images}/b.jpg: left out, because of {colour}",
        f"{images}/c.jpg: left out, because of {masks}/c.png: cannot open: {MISSING}",
    ]
    dataset = Dataset(images, masks_folder=masks)
    assert dataset.faults[:2] == faults and dataset.fault_count == 3
    assert f"{masks}/d.png: damaged PNG: " in dataset.faults[2]
    assert [image.file_name for image in dataset.images] == ["a.jpg"]
    with raises(DataError, colour):
        Dataset(images, masks_folder=masks, strict=True)
    for length in range(len(whole)):  # cut at every byte: left out or, without its end, read
        write(masks / "b.png", whole[:length])
        assert Dataset(images, masks_folder=masks).fault_count >= 2
    huge = bytearray(whole)
    huge[16:24] = b"\x00\x0f\x00\x00" * 2
    write(masks / "b.png", bytes(huge))
    assert Dataset(images, masks_folder=masks).fault_count == 3


def test_masks_need_the_size_of_the_labels(tmp_path):
    rle = {"size": [50, 100], "counts": [4, 4996]}
    content = simple(
        [annotation(), annotation(image_id=2, segmentation=rle)],
        [
            {"id": 1, "file_name": "a.jpg", "width": 100, "height": 50},
            {"id": 2, "file_name": "b.jpg"},
        ],
    )
    path = write(tmp_path / "a.json", content)
    dataset = Dataset(path)
    size = "is 50 x 100 (width x height), but"
    with raises(DataError, f"{tmp_path}/a.jpg: {size} {path} says 100 x 50"):
        dataset.mask(0, 0, 50, 100)
    with raises(DataError, f"{tmp_path}/b.jpg: {size} its runs in {path} are for 100 x 50"):
        dataset.mask(1, 1, 50, 100)
    assert dataset.mask(1, 1, 100, 50).sum() == 4996
    with raises(ValueError, "data set: image 2 of 2"):
        dataset.mask(2, 0, 1, 1)
    with raises(ValueError, "data set: object 1 is not one of image 0"):
        dataset.mask(0, 1, 1, 1)
    with raises(ValueError, "data set: object 1 is labelled by runs, not by polygons"):
        dataset.polygons(1)
    with raises(ValueError, "data set: object 2 of 2"):
        dataset.polygons(2)


# ---- anything at all ----


def test_truncated_and_damaged_json(tmp_path):
    """Every cut is an error; every damage is one or is read, and never crashes."""
    whole = random_json(tmp_path, 3, 4).read_bytes()
    path = tmp_path / "cut.json"
    chooser = random.Random(0)
    for length in sorted(chooser.sample(range(1, len(whole.rstrip())), 300)):
        write(path, whole[:length])
        with pytest.raises(DataError, match=re.escape(str(path)) + r":\d+: not JSON: "):
            Dataset(path)
    for _ in range(1000):
        damaged = bytearray(whole)
        for _ in range(chooser.randint(1, 3)):
            at = chooser.randrange(len(damaged))
            damaged[at : at + chooser.randint(0, 4)] = chooser.choice(
                [
                    b"",
                    b"0",
                    b'"',
                    b"[",
                    b"]",
                    b"{",
                    b"}",
                    b",",
                    b"9" * 9,
                    b"-",
                    b"e9",
                    b"null",
                ]
            )
        write(path, bytes(damaged))
        try:
            Dataset(path)
        except DataError as error:
            assert str(error).startswith(str(path))


def test_every_allocation_may_fail(tmp_path, fail_allocations):
    """Each load fails as MemoryError, frees all (sanitizers see that) and leaves nothing behind."""
    names = write(tmp_path / "n", 'minus\nq"\\\nz\n')
    path = random_json(tmp_path, 1, 3)
    bad = write(tmp_path / "bad.json", simple([annotation(bbox=[1, 1, 0, 0])]))
    write(tmp_path / "i/images/a.jpg", b"")
    write(tmp_path / "i/labels/a.txt", "0 .5 .5 .1 .1\n0 .1 .1 .9 .1 .9 .9\n")
    write(tmp_path / "list", "i/images/a.jpg\n")
    write_png(tmp_path / "m/a.png", np.arange(20, dtype=np.uint16).reshape(4, 5), 16)

    assert fail_allocations(lambda: Dataset(path, names=names)) > 10
    assert fail_allocations(lambda: Dataset(bad)) > 10
    assert fail_allocations(lambda: Dataset(tmp_path / "i/images")) > 5
    assert fail_allocations(lambda: Dataset(tmp_path / "list")) > 5
    assert fail_allocations(lambda: Dataset(tmp_path / "i/images", masks_folder=tmp_path / "m")) > 5
    dataset = Dataset(path)
    for index, image in enumerate(dataset.images):
        for found in image.objects:
            fail_allocations(partial(dataset.mask, index, found.number, image.width, image.height))
            if found.kind == lib.DN_OBJECT_POLYGONS:
                fail_allocations(partial(dataset.polygons, found.number))
