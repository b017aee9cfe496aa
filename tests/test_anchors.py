"""`darknet detector calc_anchors` against k-means in NumPy; its lines have Darknet's form."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from program import Folder

CLASSES = 2


def ious(boxes: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """(boxes, anchors)"""
    shared = np.minimum(boxes[:, None], anchors[None]).prod(2)
    return shared / (boxes.prod(1)[:, None] + anchors.prod(1)[None] - shared)


def average(boxes, anchors) -> float:
    return ious(boxes, anchors).max(1).mean()


def k_means(boxes: np.ndarray, count: int) -> float:
    """The best average IoU of many plain runs from random boxes."""
    best = 0.0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        anchors = boxes[rng.choice(len(boxes), count, replace=False)]
        for _ in range(60):
            nearest = ious(boxes, anchors).argmax(1)
            best = max(best, average(boxes, anchors))
            anchors = np.array(
                [
                    boxes[nearest == k].mean(0) if (nearest == k).any() else anchors[k]
                    for k in range(count)
                ]
            )
    return best


def data(folder: Folder, seed: int, shape=(416, 416), boxes_count=300) -> np.ndarray:
    """A train set of boxes in a few heaps; returns their sizes in pixels of the image."""
    rng = np.random.default_rng(seed)
    height, width = shape
    centres = rng.uniform(10, 200, (7, 2))
    sizes = centres[rng.integers(7, size=boxes_count)] * rng.lognormal(0, 0.25, (boxes_count, 2))
    sizes = np.clip(sizes, 2, [width - 1, height - 1]).round(2)
    annotations = [
        {"id": i, "image_id": 1, "category_id": 1 + (i % 3 == 0), "bbox": [0.5, 0.5, *size]}
        for i, size in enumerate(sizes.tolist(), 1)
    ]
    crowd = {"id": 9999, "image_id": 1, "category_id": 1, "bbox": [0, 0, 400, 9], "iscrowd": 1}
    images = [{"id": 1, "file_name": "none.png", "width": width, "height": height}]
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    content = {"images": images, "annotations": [*annotations, crowd], "categories": categories}
    (folder.path / "labels.json").write_text(json.dumps(content))
    return sizes


def parse(out: str) -> tuple[np.ndarray, float]:
    numbers = re.search(r"^anchors = (.*)$", out, re.MULTILINE).group(1)
    anchors = np.array([float(v) for v in numbers.split(",")]).reshape(-1, 2)
    return anchors, float(re.search(r"avg IoU = +([\d.]+) %", out).group(1)) / 100


@pytest.mark.parametrize(("seed", "count"), [(1, 9), (2, 6), (3, 3), (4, 1)])
def test_anchors_are_as_good_as_numpys(tmp_path, seed, count):
    folder = Folder(tmp_path)
    sizes = data(folder, seed)
    options = ("-num_of_clusters", count, "-width", 416, "-height", 416)
    out, _ = folder.run("detector", "calc_anchors", "tiny.data", *options)
    anchors, printed = parse(out)
    assert len(anchors) == count and (np.diff(anchors.prod(1)) > -500).all()
    assert abs(average(sizes, anchors) - printed) < 0.01  # anchors are printed as whole pixels
    assert printed > k_means(sizes, count) - 0.003
    again, _ = folder.run("detector", "calc_anchors", "tiny.data", *options)
    assert again == out


def test_lines_and_files(tmp_path):
    folder = Folder(tmp_path)
    data(folder, 5)
    out, _ = folder.run("detector", "calc_anchors", "tiny.data", "-num_of_clusters", 2, "-show")
    lines = [line.strip() for line in out.splitlines() if line.strip()]
    assert lines[:4] == [
        "num_of_clusters = 2, width = 416, height = 416",
        "read labels from 1 images",
        "loaded \t image: 1 \t box: 300",
        "all loaded.",
    ]
    assert lines[4] == "calculating k-means++ ..."
    assert lines[5] == "counters_per_class = 200, 100"
    assert lines[7] == "Saving anchors to the file: anchors.txt"
    assert lines[8] == "anchors = " + (tmp_path / "anchors.txt").read_text().strip("\n")
    counters = (tmp_path / "counters_per_class.txt").read_text()
    assert counters == "counters_per_class = 200, 100\n"
    # What it prints is what a cfg reads.
    cfg = (tmp_path / "tiny.cfg").read_text()
    (tmp_path / "new.cfg").write_text(re.sub(r"anchors=.*", lines[8], cfg))
    folder.run("layers", "new.cfg")


@pytest.mark.parametrize("stretch", [False, True])
def test_letterbox_and_stretch(tmp_path, stretch):
    """A wide image: letterboxed it is scaled evenly, stretched by sides of its own."""
    folder = Folder(tmp_path)
    sizes = data(folder, 6, (300, 600))
    scale = np.array([416 / 600, 416 / 300 if stretch else 416 / 600])
    flags = ["-stretch"] if stretch else []
    out, _ = folder.run("detector", "calc_anchors", "tiny.data", "-num_of_clusters", 4, *flags)
    anchors, printed = parse(out)
    assert abs(average(sizes * scale, anchors) - printed) < 0.01


def test_cells(tmp_path):
    """YOLOv2's anchors are in cells, with decimals."""
    folder = Folder(tmp_path)
    sizes = data(folder, 7)
    options = ("-width", 13, "-height", 13, "-num_of_clusters", 5)
    anchors, printed = parse(folder.run("detector", "calc_anchors", "tiny.data", *options)[0])
    assert abs(average(sizes / 32, anchors) - printed) < 1e-4


def test_too_few_boxes(tmp_path):
    folder = Folder(tmp_path)
    data(folder, 8, boxes_count=3)
    _, error = folder.run("detector", "calc_anchors", "tiny.data", code=1)
    assert error.splitlines()[-1] == "anchors: 5 are wanted of 3 boxes"
