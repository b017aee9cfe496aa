"""tools/crop_objects.py: photos for a classifier, of the objects of a COCO JSON. Truth: the pixels
of pictures that this file paints, one colour an object."""

from __future__ import annotations

import json
import subprocess
import sys

import cv2
import numpy as np

from conftest import ROOT

COLOURS = {"cat": (200, 40, 40), "big dog": (40, 200, 40)}


def run(*arguments):
    command = [sys.executable, ROOT / "tools/crop_objects.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def write(folder, objects):
    """Two gray pictures of 200 x 100 with `objects`: image, class, box, crowd."""
    pictures = {i: np.full((100, 200, 3), 128, np.uint8) for i in (1, 2)}
    kinds, rows = list(COLOURS), []
    for image, name, box, crowd in objects:
        x, y, w, h = box
        pictures[image][y : y + h, x : x + w] = COLOURS[name]
        row = {"id": len(rows) + 1, "image_id": image, "category_id": 5 + kinds.index(name)}
        rows.append(row | {"bbox": box, "iscrowd": crowd})
    for i, picture in pictures.items():
        cv2.imwrite(str(folder / f"{i}.png"), picture)
    images = [{"id": i, "file_name": f"{i}.png"} for i in pictures]
    categories = [{"id": 5 + i, "name": name} for i, name in enumerate(kinds)]
    text = json.dumps({"images": images, "annotations": rows, "categories": categories})
    (folder / "in.json").write_text(text)


def test_objects_are_cut_out(tmp_path):
    objects = [
        (2, "cat", (50, 20, 60, 40), 0),
        (1, "big dog", (0, 0, 50, 50), 0),
        (2, "big dog", (120, 10, 40, 80), 0),
        (1, "cat", (100, 10, 30, 30), 1),  # a crowd
        (1, "cat", (150, 10, 15, 30), 0),  # small
    ]
    write(tmp_path, objects)
    done = run(tmp_path / "crops", tmp_path / "in.json", tmp_path)
    assert done.stdout == "1 cat, 2 big dog\n", done
    # a tenth around the box; the first dog stands at the picture's corner
    wanted = {"cat_1": (48, 72), "big dog_1": (55, 55), "big dog_2": (96, 48)}
    assert {path.stem for path in (tmp_path / "crops").iterdir()} == set(wanted)
    for name, size in wanted.items():
        crop = cv2.imread(str(tmp_path / f"crops/{name}.jpg"))
        assert crop.shape[:2] == size
        colour = COLOURS[name.split("_")[0]]
        middle = crop[size[0] // 2 - 5 : size[0] // 2 + 5, size[1] // 2 - 5 : size[1] // 2 + 5]
        assert np.abs(middle.reshape(-1, 3).mean(axis=0) - colour).max() < 4


def test_a_picture_that_is_missing(tmp_path):
    write(tmp_path, [(1, "cat", (10, 10, 40, 40), 0)])
    (tmp_path / "1.png").unlink()
    done = run(tmp_path / "crops", tmp_path / "in.json", tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"{tmp_path}/1.png: cannot be read"
