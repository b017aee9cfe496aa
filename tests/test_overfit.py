"""Eight photos of `boards`, learned by heart: the detector and its masks from a COCO trunk.

    YOLOMASK_DATASETS=... YOLOMASK_MODELS=... python -m pytest -q -s tests/test_overfit.py

What comes out is measured by pycocotools from the boxes and RLE masks that `valid` writes.
"""

from __future__ import annotations

import json
import subprocess
import time

import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from conftest import published_file
from program import ENVIRONMENT, PROGRAM
from test_learning import with_keys

ITERATIONS, MASK_ITERATIONS = 240, 140


def run(folder, *arguments):
    words = [PROGRAM, *map(str, arguments)]
    done = subprocess.run(words, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def write_eight(datasets, folder):
    """The first two photos of each class that has two, as a data set of its own."""
    data = json.loads((datasets / "boards/instances_train.json").read_text())
    chosen: dict[int, list[int]] = {}
    for a in data["annotations"]:
        ids = chosen.setdefault(a["category_id"], [])
        if len(ids) < 2 and all(a["image_id"] not in others for others in chosen.values()):
            ids.append(a["image_id"])
    kept = {i for ids in chosen.values() if len(ids) == 2 for i in ids}
    assert len(kept) == 8
    data["images"] = [image for image in data["images"] if image["id"] in kept]
    data["annotations"] = [a for a in data["annotations"] if a["image_id"] in kept]
    (folder / "eight.json").write_text(json.dumps(data))
    images = datasets / "boards/images/train"
    (folder / "eight.data").write_text(
        f"classes=5\nnames={datasets}/boards/names.txt\ntrain=eight.json\ntrain_images={images}\n"
        f"valid=eight.json\nvalid_images={images}\neval=coco\n"
    )


def write_cfg(root, folder):
    text = with_keys(
        (root / "cfg/boards.cfg").read_text(),
        data="eight.data",
        width=256,
        height=256,
        max_batches=ITERATIONS,
        mask_from=ITERATIONS,
        mask_max_batches=MASK_ITERATIONS,
        burn_in=20,
        mask_burn_in=20,
        saturation=1,
        exposure=1,
        hue=0,
        jitter=0,
        iou_normalizer=0.3,
    )
    (folder / "eight.cfg").write_text(text.replace("[net]", "[net]\nflip=0\nmask_jitter=0", 1))


def ap50(folder, found, kind) -> float:
    truth = COCO(str(folder / "eight.json"))
    evaluation = COCOeval(truth, truth.loadRes(str(found)), kind)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation.stats[1]


@pytest.mark.slow
def test_eight_boards_are_learned_by_heart(root, datasets, models, tmp_path):
    write_eight(datasets, tmp_path)
    write_cfg(root, tmp_path)
    weights = published_file(models, "yolov4-tiny.weights")
    run(tmp_path, "partial", root / "cfg/yolov4-tiny.cfg", weights, "trunk.weights", 29)
    start = time.monotonic()
    call = ("segmenter", "train", "eight.cfg", "trunk.weights", "-seed", 1, "-no_valid")
    run(tmp_path, *call, "-backup", "backup")
    minutes = (time.monotonic() - start) / 60
    call = ("segmenter", "valid", "eight.cfg", "backup/eight_final.weights")
    run(tmp_path, *call)
    boxes = ap50(tmp_path, tmp_path / "results/coco_results.json", "bbox")
    masks = ap50(tmp_path, tmp_path / "results/coco_results_segm.json", "segm")
    print(f"mask AP50 {masks:.3f}, box AP50 {boxes:.3f}, trained in {minutes:.1f} minutes")
    assert masks >= 0.95
