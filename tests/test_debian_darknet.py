"""YOLOv3-tiny against the original Darknet, as Debian packages it (the CPU program of 2018).

Both programs run `detector valid` with eval=coco on the same copies of the package's photos; what
they report at score .25 and above must be the same objects.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from conftest import published_file

DARKNET = Path("/usr/bin/darknet")
PHOTOS = Path("/usr/share/darknet/data")
SCORE, SLACK = 0.25, 0.002


@pytest.fixture
def photos(tmp_path) -> list[Path]:
    """The package's photos under names that end with a number, from which both take the id."""
    if not DARKNET.is_file():
        pytest.skip(f"{DARKNET}: Debian's darknet is not installed")
    found = sorted(PHOTOS.glob("*.jpg"))
    if len(found) < 4:
        pytest.skip(f"{PHOTOS} holds {len(found)} photos; Darknet's valid needs at least four")
    copies = [tmp_path / f"photo_{number:06}.jpg" for number in range(1, len(found) + 1)]
    for photo, copy in zip(found, copies, strict=True):
        shutil.copyfile(photo, copy)
    return copies


def detect(program: Path, folder: Path, photos: list[Path], cfg: Path, weights: Path) -> list:
    folder.mkdir()
    (folder / "valid.txt").write_text("".join(f"{photo}\n" for photo in photos))
    (folder / "names.txt").write_text("".join(f"class{k}\n" for k in range(80)))
    (folder / "test.data").write_text(
        f"classes=80\nvalid={folder}/valid.txt\nnames={folder}/names.txt\n"
        f"results={folder}/results\neval=coco\n"
    )
    (folder / "results").mkdir()
    command = [program, "detector", "valid", "test.data", cfg, weights]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=300)
    return json.loads((folder / "results" / "coco_results.json").read_text())


def edges(row: dict) -> list[float]:
    x, y, w, h = row["bbox"]
    return [x, y, x + w, y + h]


def same(a: dict, b: dict) -> bool:
    return (
        (a["image_id"], a["category_id"]) == (b["image_id"], b["category_id"])
        and abs(a["score"] - b["score"]) <= SLACK
        and all(abs(p - q) <= 1 for p, q in zip(edges(a), edges(b), strict=True))
    )


def test_same_objects_as_the_original(root, models, photos, tmp_path):
    cfg = published_file(models, "yolov3-tiny.cfg")
    weights = published_file(models, "yolov3-tiny.weights")
    ours = detect(root / "darknet", tmp_path / "ours", photos, cfg, weights)
    theirs = detect(DARKNET, tmp_path / "theirs", photos, cfg, weights)
    assert sum(row["score"] >= SCORE for row in theirs) > 15
    for rows, others in ((ours, theirs), (theirs, ours)):
        for row in rows:
            if row["score"] >= SCORE:
                partners = [other for other in others if same(row, other)]
                assert len(partners) == 1, row
