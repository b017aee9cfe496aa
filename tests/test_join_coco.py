"""tools/join_coco.py: joins and thins COCO JSON files; pycocotools reads what comes out."""

from __future__ import annotations

import json
import subprocess
import sys

from pycocotools.coco import COCO

from conftest import ROOT


def write(path, names, first=1, categories=("cat", "dog")):
    """An image of each name, with a box of as many pixels as its place."""
    images = [{"id": first + i, "file_name": name} for i, name in enumerate(names)]
    boxes = [
        {"id": first + i, "image_id": first + i, "category_id": 1, "bbox": [0, 0, i + 1, 1]}
        for i in range(len(names))
    ]
    kinds = [{"id": i, "name": name} for i, name in enumerate(categories, 1)]
    path.write_text(json.dumps({"images": images, "annotations": boxes, "categories": kinds}))
    return path


def run(*arguments):
    command = [sys.executable, ROOT / "tools/join_coco.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def boxes_of(path):
    joined = COCO(str(path))
    rows = {joined.imgs[i]["file_name"]: joined.imgToAnns[i] for i in joined.imgs}
    return {name: [row["bbox"][2] for row in found] for name, found in rows.items()}


def test_joining(tmp_path):
    one = write(tmp_path / "one.json", ["a.jpg", "b.jpg"])
    two = write(tmp_path / "two.json", ["a.jpg"])
    done = run(tmp_path / "out.json", f"{one}:valid", f"{two}:test")
    assert done.stdout == f"{tmp_path}/out.json: 3 images, 3 objects\n", done
    wanted = {"valid/a.jpg": [1], "valid/b.jpg": [2], "test/a.jpg": [1]}
    assert boxes_of(tmp_path / "out.json") == wanted


def test_leaving_out(tmp_path):
    one = write(tmp_path / "one.json", ["000000000123_x.jpg", "b.jpg"], first=7)
    done = run(tmp_path / "out.json", one, "--without", "^[0-9]{12}_")
    assert done.returncode == 0, done
    assert boxes_of(tmp_path / "out.json") == {"b.jpg": [2]}


def test_other_categories(tmp_path):
    one = write(tmp_path / "one.json", ["a.jpg"])
    two = write(tmp_path / "two.json", ["a.jpg"], categories=("dog", "cat"))
    done = run(tmp_path / "out.json", one, two)
    assert (done.returncode, done.stderr) == (1, "the files have different categories\n")
