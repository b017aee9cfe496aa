"""Does a mask branch learn? Eight photos by heart, and what a whole training promises."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from conftest import published_file
from yolomask._native import check, ffi, lib


def first_images(datasets, folder, count):
    """A COCO JSON of the first images of coco125's train part that show two objects or more."""
    data = json.loads((datasets / "coco125/instances_train2017.json").read_text())
    counts = {image["id"]: 0 for image in data["images"]}
    for annotation in data["annotations"]:
        counts[annotation["image_id"]] += 1
    chosen = [image for image in data["images"] if 2 <= counts[image["id"]] <= 16][:count]
    ids = {image["id"] for image in chosen}
    path = folder / "eight.json"
    annotations = [a for a in data["annotations"] if a["image_id"] in ids]
    path.write_text(
        json.dumps({"images": chosen, "annotations": annotations, "categories": data["categories"]})
    )
    return path, datasets / "coco125/images/train2017"


def load_dataset(json_path, images):
    keep = [ffi.new("char[]", str(path).encode()) for path in (json_path, images)]
    source = ffi.new("dn_dataset_source *", {"path": keep[0], "images_folder": keep[1]})
    out = ffi.new("dn_dataset **")
    check(lib.dn_dataset_load(source, out))
    return ffi.gc(out[0], lib.dn_dataset_free)


def train(cfg, weights, dataset, folder, **fields):
    """Trains the mask stage; returns the progress of every iteration."""
    history = []

    @ffi.callback("void(void *, const dn_train_progress *)")
    def on_progress(_context, progress):
        history.append((progress.iteration, progress.loss, progress.mask_iou))

    keep = [ffi.new("char[]", str(path).encode()) for path in (cfg, weights, folder)]
    options = ffi.new(
        "dn_train_options *",
        {
            "cfg": keep[0],
            "weights": keep[1],
            "backup_folder": keep[2],
            "dataset": dataset,
            "stage": lib.DN_STAGE_MASK,
            "progress": on_progress,
            "seed": 1,
        }
        | fields,
    )
    check(lib.dn_train(options, ffi.NULL))
    return np.array(history)


def with_keys(text, **keys):
    """The cfg text with the values of these keys replaced; each must be there."""
    for key, value in keys.items():
        text, count = re.subn(rf"^{key}=.*$", f"{key}={value}", text, flags=re.MULTILINE)
        assert count, key
    return text


@pytest.mark.slow
def test_eight_photos_are_learned_by_heart(root, models, datasets, tmp_path):
    text = (root / "cfg/yolomask-v4-tiny.cfg").read_text()
    cfg = tmp_path / "eight.cfg"
    cfg.write_text(
        with_keys(
            text,
            mask_max_batches=400,
            mask_learning_rate=0.002,
            mask_burn_in=20,
            train_rois=32,
            box_jitter=0,
            score_thresh=2,  # truth boxes only
        )
    )
    dataset = load_dataset(*first_images(datasets, tmp_path, 8))
    weights = published_file(models, "yolov4-tiny.weights")
    history = train(cfg, weights, dataset, tmp_path, plain=True)
    assert history[-1, 2] >= 0.90, f"mean mask IoU {history[-1, 2]:.3f}"


def test_a_resumed_training_ends_with_the_same_bytes(root, models, datasets, tmp_path):
    text = (root / "cfg/yolomask-fastest.cfg").read_text()
    cfg = tmp_path / "net.cfg"
    cfg.write_text(with_keys(text, mask_batch=2, mask_max_batches=4, mask_burn_in=0))
    dataset = load_dataset(*first_images(datasets, tmp_path, 3))
    weights = published_file(models, "yolo-fastest-1.1.weights")
    through, halves = tmp_path / "through", tmp_path / "halves"
    whole = train(cfg, weights, dataset, through, threads=1)
    first = train(cfg, weights, dataset, halves, threads=2, max_iterations=2)
    state = ffi.new("char[]", str(halves / "net_last.state").encode())
    second = train(cfg, halves / "net_final.weights", dataset, halves, threads=2, state=state)
    np.testing.assert_array_equal(whole, np.concatenate([first, second]))
    for name in ("net_final.weights", "net_last.state", "net_final.mask.weights"):
        assert (through / name).read_bytes() == (halves / name).read_bytes(), name


def test_the_frozen_detector_does_not_change(root, models, datasets, tmp_path):
    weights = published_file(models, "yolo-fastest-1.1.weights")
    cfg = tmp_path / "net.cfg"
    text = (root / "cfg/yolomask-fastest.cfg").read_text()
    cfg.write_text(with_keys(text, mask_batch=2, mask_max_batches=2, mask_burn_in=0))
    dataset = load_dataset(*first_images(datasets, tmp_path, 2))
    train(cfg, weights, dataset, tmp_path)
    before, after = weights.read_bytes(), (tmp_path / "net_final.weights").read_bytes()
    assert after[20 : len(before)] == before[20:]
    branch = (tmp_path / "net_final.mask.weights").read_bytes()
    assert after[len(before) :] == branch[20:]
    assert np.isfinite(np.frombuffer(branch[20:], np.float32)).all()
