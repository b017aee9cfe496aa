"""Labels that are right: every source gives what other software reads from it.

Truth: pycocotools for COCO JSON, NumPy and OpenCV for label PNGs, the JSON of the same data for
label rows.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from dataset_tools import Dataset, write
from yolomask._native import lib

# pycocotools 2.0 with NumPy 2: its own affair.
pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")

COCO_FILES = [
    "coco125/instances_train2017.json",
    "coco125/instances_val2017.json",
    "animals/instances_train.json",
    "animals/instances_valid.json",
    "boards/instances_train.json",
]


def read_coco(path: Path) -> COCO:
    """pycocotools' view, without its prints."""
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


def check_against_coco(path: Path, **source) -> Dataset:
    """Compares images, objects, boxes, areas and masks with pycocotools' to the last bit."""
    dataset, coco = Dataset(path, strict=True, **source), read_coco(path)
    images = dataset.images
    assert [image.id for image in images] == list(coco.imgs)
    for index, image in enumerate(images):
        truth = coco.imgs[image.id]
        assert (image.file_name, image.width, image.height) == (
            truth["file_name"],
            truth["width"],
            truth["height"],
        )
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=[image.id]))
        assert [found.id for found in image.objects] == [a["id"] for a in annotations]
        for found, annotation in zip(image.objects, annotations, strict=True):
            assert found.bbox == annotation["bbox"]
            assert found.area == annotation["area"]
            assert found.crowd == bool(annotation.get("iscrowd", 0))
            assert dataset.category_ids[found.class_id] == annotation["category_id"]
            mask = dataset.mask(index, found.number, image.width, image.height)
            assert (mask == coco.annToMask(annotation)).all(), annotation["id"]
    return dataset


@pytest.mark.parametrize("name", COCO_FILES)
def test_real_json_equals_pycocotools(datasets, name):
    dataset = check_against_coco(datasets / name)
    path = datasets / name
    categories = json.loads(path.read_text())["categories"]
    assert dataset.names == [c["name"] for c in sorted(categories, key=lambda c: c["id"])]


def test_polygons_come_back_to_the_bit(datasets):
    path = datasets / "coco125/instances_val2017.json"
    dataset = Dataset(path)
    truth = {a["id"]: a["segmentation"] for a in json.loads(path.read_text())["annotations"]}
    for image in dataset.images:
        for found in image.objects:
            assert found.decimals <= 2  # which is why they are compact
            assert dataset.polygons(found.number) == truth[found.id]


def random_json(folder: Path, seed: int, image_count=12) -> Path:
    """Polygons, both kinds of RLE, crowds, box-only objects, ids with gaps, empty images."""
    rng = np.random.default_rng(seed)
    images, annotations = [], []
    categories = [{"id": i, "name": n} for i, n in ((90, "z"), (-3, "minus"), (7, 'q"\\'))]
    next_id = 1000
    for i in rng.permutation(image_count):
        width, height = (int(v) for v in rng.integers(1, 90, 2))
        image_id = int(i) * 7 - 20
        name = f"ordner/bild {i} \u00e4\u6f22\U0001f600.jpg"
        images.append({"id": image_id, "file_name": name, "width": width, "height": height})
        for _ in range(rng.integers(0, 5)):
            mask = np.asfortranarray(rng.random((height, width)) < rng.random(), np.uint8)
            mask[rng.integers(height), rng.integers(width)] = 1
            rle = coco_mask.encode(mask)
            kind = rng.integers(4)
            entry = {
                "id": next_id,
                "image_id": image_id,
                "category_id": categories[rng.integers(3)]["id"],
                "iscrowd": int(rng.integers(2)),
                "bbox": [float(v) for v in coco_mask.toBbox(rle)],
                "area": float(coco_mask.area(rle)),
            }
            if kind == 0:  # any float, also with 17 digits
                shape = (rng.integers(1, 4), 2 * rng.integers(3, 9))
                points = rng.uniform(-5, 95, shape)
                entry["segmentation"] = [[float(v) for v in part] for part in points]
            elif kind == 1:
                entry["segmentation"] = {
                    "size": [height, width],
                    "counts": rle["counts"].decode(),
                }
            elif kind == 2:
                flat = mask.T.reshape(-1)
                edges = np.flatnonzero(np.diff(np.concatenate([[0], flat, [2]])))
                counts = np.diff(np.concatenate([[0], edges, [flat.size]]))
                counts = [int(c) for c in counts]
                entry["segmentation"] = {
                    "counts": counts[:-1] or [0],
                    "size": [height, width],
                }
                assert sum(entry["segmentation"]["counts"]) == flat.size
            else:
                entry["segmentation"] = [[0, 0, width, 0, width, height, 0.5, height]]
            annotations.append(entry)
            next_id += int(rng.integers(1, 4))
    rng.shuffle(annotations)
    order = rng.permutation(4)
    parts = [
        ("images", images),
        ("annotations", annotations),
        ("categories", categories),
    ]
    parts.append(("info", {"images": [{"deep": [[[1]]]}], "annotations": 3}))
    ascii_only = bool(seed % 2)
    content = json.dumps(dict(parts[k] for k in order), ensure_ascii=ascii_only, indent=seed % 3)
    return write(folder / f"random{seed}.json", content)


@pytest.mark.parametrize("seed", range(12))
def test_random_json_equals_pycocotools(tmp_path, seed):
    dataset = check_against_coco(random_json(tmp_path, seed))
    assert dataset.category_ids == [-3, 7, 90]
    assert dataset.names == ["minus", 'q"\\', "z"]
    assert dataset.fault_count == 0


def test_byte_order_mark_and_order_of_keys(tmp_path):
    content = (
        '\ufeff{"annotations":[{"segmentation":{"counts":"06","size":[2,3]},"bbox":null,'
        '"category_id":1,"image_id":5}],"categories":[{"name":"a","id":1}],'
        '"images":[{"width":3,"height":2,"id":5,"file_name":"a.jpg"}]}'
    )
    (image,) = Dataset(write(tmp_path / "a.json", content)).images
    assert image.path == str(tmp_path / "a.jpg")
    (found,) = image.objects
    # Neither id nor bbox nor area is there: the position, and what the mask says.
    assert (found.id, found.bbox, found.area) == (1, [0, 0, 3, 2], 6)


def simple(annotations=(), images=None, categories=None) -> str:
    """A small COCO JSON: one image of 100 x 50 with id 1, the classes cat, dog, tv (2, 5, 9)."""
    return json.dumps(
        {
            "images": images or [{"id": 1, "file_name": "a.jpg", "width": 100, "height": 50}],
            "annotations": list(annotations),
            "categories": categories
            or [{"id": i, "name": n} for i, n in ((2, "cat"), (9, "tv"), (5, "dog"))],
        }
    )


def annotation(**changes) -> dict:
    """An annotation with a good box."""
    return {"id": 4, "image_id": 1, "category_id": 5, "bbox": [1, 2, 3, 4], **changes}


def test_missing_parts_of_annotations_are_computed(tmp_path):
    square = [[10, 10, 20, 10, 20, 30, 10, 30], [0, 0, 4, 0, 0, 4]]
    path = write(
        tmp_path / "a.json",
        simple(
            [
                annotation(),
                {"image_id": 1, "category_id": 2, "segmentation": square},
                annotation(segmentation=[]),
                annotation(segmentation=None, iscrowd=True),
            ]
        ),
    )
    box, polygon, empty, crowd = Dataset(path).images[0].objects
    assert (box.kind, box.area) == (lib.DN_OBJECT_BOX, 12)
    assert (polygon.bbox, polygon.area) == ([0, 0, 20, 30], 208)
    assert (polygon.id, polygon.kind) == (2, lib.DN_OBJECT_POLYGONS)
    assert (empty.kind, crowd.kind, crowd.crowd) == (
        lib.DN_OBJECT_BOX,
        lib.DN_OBJECT_BOX,
        True,
    )


def test_classes_map_by_name(tmp_path):
    path = write(tmp_path / "a.json", simple([annotation(), annotation(category_id=9)]))
    names = write(tmp_path / "my.names", "\ufefftvmonitor\r\nbird\r\n dog \r\n\r\n")
    dataset = Dataset(path, names=names)
    # "tv" is what COCO calls Darknet's tvmonitor; cat has no annotation, so it may be missing.
    assert [found.class_id for found in dataset.images[0].objects] == [2, 0]
    assert dataset.names == ["tvmonitor", "bird", "dog"]
    assert dataset.category_ids == [9, -1, 5]


@pytest.mark.parametrize(
    ("json_name", "darknet_name"),
    [
        ("motorcycle", "motorbike"),
        ("airplane", "aeroplane"),
        ("couch", "sofa"),
        ("potted plant", "pottedplant"),
        ("dining table", "diningtable"),
        ("tv", "tvmonitor"),
    ],
)
def test_both_spellings_of_coco_names(tmp_path, json_name, darknet_name):
    for one, other in ((json_name, darknet_name), (darknet_name, json_name)):
        categories = [{"id": 1, "name": one}]
        path = write(tmp_path / "a.json", simple([annotation(category_id=1)], None, categories))
        names = write(tmp_path / "n", f"x\n{other}\n")
        assert Dataset(path, names=names).images[0].objects[0].class_id == 1


def test_shipped_coco_names_fit_coco(datasets, root):
    path = datasets / "coco125/instances_val2017.json"
    dataset = Dataset(path, names=root / "cfg/coco.names", classes=80)
    assert dataset.category_ids == [category["id"] for category in read_coco(path).cats.values()]


# ---- rows ----


@pytest.mark.parametrize(
    ("folder", "file"),
    [
        ("boards", "train"),
        ("boards", "test"),
        ("animals", "valid"),
        ("coco125", "val2017"),
    ],
)
def test_rows_agree_with_json(datasets, folder, file):
    rows = Dataset(datasets / folder / "images" / file, names=datasets / folder / "names.txt")
    truth = Dataset(datasets / folder / f"instances_{file}.json", strict=True)
    by_name = {image.file_name: image for image in truth.images}
    assert rows.fault_count == 0
    assert [image.file_name for image in rows.images] == sorted(by_name)
    compared = 0
    for index, image in enumerate(rows.images):
        other = by_name[image.file_name]
        width, height = other.width, other.height
        assert image.width == 0  # unknown until the image is read
        assert [o.class_id for o in image.objects] == [o.class_id for o in other.objects]
        for ours, theirs in zip(image.objects, other.objects, strict=True):
            if len(truth.polygons(theirs.number)) > 1:
                continue  # rows keep the largest part only
            x0, y0, w, h = theirs.bbox
            box = rows.box(ours.number, width, height)
            # Five decimals of 416 pixels, and boxes in the JSON that are rounded to .1 or so.
            assert np.allclose(box, [x0, y0, x0 + w, y0 + h], atol=1.0)
            assert ours.kind == lib.DN_OBJECT_POLYGONS and ours.fractions and ours.decimals <= 5
            mask = rows.mask(index, ours.number, width, height)
            wanted = truth.mask(truth.images.index(other), theirs.number, width, height)
            if wanted.sum() > 400:
                assert (mask & wanted).sum() / (mask | wanted).sum() > 0.95
            compared += 1
    assert compared > 10


def test_row_masks_are_scaled_polygons(tmp_path):
    write(tmp_path / "a.jpg", b"")
    write(tmp_path / "a.txt", "0 .1 .2 .8 .25 .55 .9 .1 .2\n3 .5 .5 .2 .4\n")
    dataset = Dataset(tmp_path)
    polygon, box = dataset.images[0].objects
    xy = [
        0.1 * 60,
        0.2 * 40,
        0.8 * 60,
        0.25 * 40,
        0.55 * 60,
        0.9 * 40,
        0.1 * 60,
        0.2 * 40,
    ]
    wanted = coco_mask.decode(coco_mask.frPyObjects([xy], 40, 60))[:, :, 0]
    assert (dataset.mask(0, polygon.number, 60, 40) == wanted).all()
    assert (polygon.line, box.line, box.class_id, box.kind) == (
        1,
        2,
        3,
        lib.DN_OBJECT_BOX,
    )
    assert np.allclose(dataset.box(box.number, 60, 40), [24, 12, 36, 28])
    assert dataset.names == ["0", "1", "2", "3"]
    with pytest.raises(ValueError, match="object 1 is labelled by a box, not by runs"):
        dataset.mask(0, box.number, 60, 40)


def test_list_with_crlf_blank_lines_and_two_bases(tmp_path, monkeypatch):
    """Paths are looked up from the working directory, then from the list."""
    here, there = tmp_path / "here", tmp_path / "there"
    for path in (
        here / "images/a.jpg",
        there / "images/a.jpg",
        there / "images/b c.PNG",
    ):
        write(path, b"")
        write(path.parent.parent / "labels" / f"{path.stem}.txt", "1 .5 .5 .1 .1\r\n\r\n")
    absolute = write(tmp_path / "x/\u00fc.JPEG", b"")
    write(tmp_path / "x/\u00fc.txt", "")
    content = f"\ufeff\r\nimages/a.jpg\r\n   \r\n  images/b c.PNG \r\n\r\n{absolute}"
    names = write(there / "list.txt", content)
    monkeypatch.chdir(here)
    dataset = Dataset(names, strict=True, classes=4)
    assert [image.path for image in dataset.images] == [
        "images/a.jpg",
        f"{there}/images/b c.PNG",
        str(absolute),
    ]
    assert [len(image.objects) for image in dataset.images] == [1, 1, 0]
    assert [image.id for image in dataset.images] == [1, 2, 3]
    assert dataset.names == ["0", "1", "2", "3"]


def test_label_path_candidates(tmp_path):
    """Of whole folders named images or JPEGImages the last one first, then beside the image."""
    image = write(tmp_path / "images/JPEGImages/my.jpg_data/images2/a.b.jpg", b"")
    candidates = [
        tmp_path / "images/labels/my.jpg_data/images2/a.b.txt",
        tmp_path / "labels/JPEGImages/my.jpg_data/images2/a.b.txt",
        tmp_path / "images/JPEGImages/my.jpg_data/images2/a.b.txt",
    ]
    names = write(tmp_path / "list", str(image))
    for path in reversed(candidates):
        write(path, "0 .5 .5 .1 .1")
        (found,) = Dataset(names).images
        assert found.label_path == str(path)


# ---- label PNGs ----


def check_label_images(dataset: Dataset, read, step=1) -> int:
    """Compares the instances of every `step`-th image with NumPy's view of the PNG; returns how
    many there were."""
    count = 0
    for index, image in list(enumerate(dataset.images))[::step]:
        labels = read(image.label_path)
        assert (image.height, image.width) == labels.shape
        values = [v for v in np.unique(labels) if v != 0]
        assert len(values) == len(image.objects)
        for value, found in zip(values, image.objects, strict=True):
            ys, xs = np.nonzero(labels == value)
            box = [xs.min(), ys.min(), xs.max() + 1 - xs.min(), ys.max() + 1 - ys.min()]
            assert (found.bbox, found.area, found.class_id) == (box, len(xs), 0)
            mask = dataset.mask(index, found.number, image.width, image.height)
            assert (mask == (labels == value)).all()
            count += 1
    return count


def test_nuclei_label_images_equal_numpy(datasets):
    folder = datasets / "nuclei"
    dataset = Dataset(
        folder / "images/valid",
        masks_folder=folder / "masks/valid",
        strict=True,
        classes=1,
    )
    assert (dataset.view.image_count, dataset.view.object_count) == (143, 6423)
    assert check_label_images(dataset, lambda path: cv2.imread(path, -1), step=6) > 500


def write_png(path: Path, pixels: np.ndarray, depth: int, colour=0) -> None:
    """A PNG of 1 to 16 bits, grey (0), palette (3) or RGB (2), without help of a library."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    height, width = pixels.shape[:2]
    if depth == 16:
        rows = [row.astype(">u2").tobytes() for row in pixels]
    elif depth == 8:
        rows = [row.astype(np.uint8).tobytes() for row in pixels]
    else:
        bits = (pixels[..., None] >> np.arange(depth - 1, -1, -1)) & 1
        rows = [np.packbits(row.reshape(-1)).tobytes() for row in bits.astype(np.uint8)]
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    if colour == 3:
        content += chunk(b"PLTE", bytes(range(3 * 2**depth)) if depth < 8 else bytes(768))
    content += chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    write(path, content + chunk(b"IEND", b""))


@pytest.mark.parametrize(("depth", "colour"), [(d, 0) for d in (1, 2, 4, 8, 16)] + [(4, 3), (8, 3)])
def test_label_images_of_every_depth(tmp_path, depth, colour):
    rng = np.random.default_rng(depth)
    labels = rng.integers(0, 2**depth, (7, 13)).astype(np.uint16)
    write(tmp_path / "i/a.jpg", b"")
    write_png(tmp_path / "m/a.png", labels, depth, colour)
    dataset = Dataset(tmp_path / "i", masks_folder=tmp_path / "m", strict=True)
    assert check_label_images(dataset, lambda path: labels) > 0
    assert dataset.names == ["0"]


# ---- limits ----


def test_numbers_are_read_as_python_reads_them(tmp_path):
    """Every form of JSON number, at the edges of double precision, in the bits of bbox."""
    rng = np.random.default_rng(1)
    texts = [
        "0",
        "-0",
        "1e0",
        "12E+1",
        "1.5e-3",
        "9007199254740993",
        "0.1",
        "123.30000000000001",
    ]
    texts += [
        "4.35",
        "2.2250738585072011e-308",
        "5e-324",
        "1" * 18 + ".5",
        "0." + "0" * 30 + "7",
    ]
    texts += [repr(float(v)) for v in rng.uniform(0, 1000, 200)]
    texts += [f"{v:.{d}f}" for d in range(8) for v in rng.uniform(0, 1000, 20)]
    texts += [f"{v}e{e}" for v in (1, 8.5, 3.14159) for e in range(-30, 0)]
    items = [
        f'{{"id":1,"image_id":1,"category_id":2,"bbox":[{t},0,1,1],"area":{t}}}' for t in texts
    ]
    content = simple([], [{"id": 1, "file_name": "a.jpg"}])
    content = content.replace('"annotations": []', f'"annotations": [{",".join(items)}]')
    found = Dataset(write(tmp_path / "a.json", content), strict=False).images[0].objects
    kept = [t for t in texts if abs(float(t)) <= 1e7]
    assert [o.area for o in found] == [float(t) for t in kept]
    assert [o.bbox[0] for o in found] == [float(t) for t in kept]


def test_numbers_do_not_depend_on_the_locale(tmp_path):
    import locale

    old = locale.setlocale(locale.LC_NUMERIC)
    for name in ("de_DE.UTF-8", "fr_FR.UTF-8", "de_DE.utf8"):
        with contextlib.suppress(locale.Error):
            locale.setlocale(locale.LC_NUMERIC, name)
            break
    else:
        pytest.skip("no locale with a decimal comma is installed")
    try:
        path = write(tmp_path / "a.json", simple([annotation(area=123.30000000000001)]))
        assert Dataset(path).images[0].objects[0].area == 123.30000000000001
    finally:
        locale.setlocale(locale.LC_NUMERIC, old)


def write_large_json(path: Path, images: int, objects: int, points: int) -> None:
    """`images` of 640 x 480 with `objects` polygons each, coordinates with two decimals."""
    rng = np.random.default_rng(0)
    shapes = []
    for _ in range(997):
        x0, y0, w, h = rng.uniform([0, 0, 20, 20], [500, 400, 140, 80])
        xy = (rng.random((points, 2)) * [w, h] + [x0, y0]).round(2)
        bbox = json.dumps([round(float(v), 2) for v in (x0, y0, w, h)])
        flat = ", ".join(f"{v:.2f}" for v in xy.reshape(-1))
        shapes.append(f'"segmentation": [[{flat}]], "area": {w * h / 2:.4f}, "bbox": {bbox}')
    with open(path, "w") as file:
        file.write('{"categories": [{"id": 1, "name": "thing"}], "images": [')
        entry = '{{"file_name": "{0:012d}.jpg", "id": {0}, "width": 640, "height": 480}}'
        file.write(",\n".join(entry.format(i) for i in range(images)))
        file.write('], "annotations": [')
        for i in range(images):
            rows = [
                f'{{{shapes[(i * objects + k) % 997]}, "iscrowd": 0, "image_id": {i}, '
                f'"category_id": 1, "id": {i * objects + k + 1}}}'
                for k in range(objects)
            ]
            file.write((",\n" if i else "") + ",\n".join(rows))
        file.write("]}")


def test_ten_thousand_images_with_twenty_polygons(tmp_path):
    """Loads in 5 s with at most 200 MB at the peak (in a process of its own, to see the peak)."""
    import subprocess
    import sys

    if not os.path.exists("/proc/self/status"):
        pytest.skip("the peak is read from /proc")
    path = tmp_path / "large.json"
    write_large_json(path, 10_000, 20, 25)
    code = (
        "import sys, time; sys.path[:0] = sys.argv[2:]\n"
        "from dataset_tools import Dataset\n"
        "status = lambda: open('/proc/self/status').read()\n"
        "peak = lambda: int(status().split('VmHWM:')[1].split()[0]) / 1024\n"
        "base, start = peak(), time.process_time()\n"
        "dataset = Dataset(sys.argv[1], strict=True)\n"
        "print(time.process_time() - start, peak() - base, dataset.view.object_count)\n"
    )
    folders = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "python")]
    output = subprocess.run(
        [sys.executable, "-c", code, str(path), *folders],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ,
    ).stdout
    seconds, megabytes, objects = (float(v) for v in output.split())
    print(f"{path.stat().st_size / 1e6:.0f} MB JSON: {seconds:.2f} s, {megabytes:.0f} MB")
    assert objects == 200_000
    assert megabytes <= 200
    assert seconds <= 5


def test_time_does_not_grow_faster_than_the_file(tmp_path):
    """No step is quadratic in images, objects or lines."""
    seconds = []
    for images in (500, 2000):
        write_large_json(tmp_path / "a.json", images, 5, 5)
        times = []
        for _ in range(3):
            start = time.process_time()
            Dataset(tmp_path / "a.json")
            times.append(time.process_time() - start)
        seconds.append(min(times))
    assert seconds[1] < 12 * seconds[0] + 0.02
