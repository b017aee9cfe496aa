"""dn_validate: what it says of a network's results is what pycocotools says of them."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from pycocotools import mask as coco_masks

from dataset_tools import Dataset
from eval_oracle import judge
from mask_support import Rle
from program import Segmenter
from yolomask._native import CancelledError, DataError, check, ffi, lib
from yolomask.evaluation import Evaluation


class Validation:
    """One run, and what its callbacks heard."""

    def __init__(self, bench, cfg="seg.cfg", weights="tiny.weights,mask.weights", batch=1):
        self.progress: list[tuple[int, int]] = []
        self.messages: list[str] = []
        self.rows: dict[str, list[dict]] = {"bbox": [], "segm": []}
        self.stop_after = None
        self.data = Dataset(bench.path / "labels.json")
        network = ffi.new("dn_network **")
        options = ffi.new("dn_network_options *", {"threads": 1, "seed": 1, "batch": batch})
        check(lib.dn_network_create(os.fsencode(bench.path / cfg), options, network))
        self.network = ffi.gc(network[0], lib.dn_network_free)
        files = ",".join(str(bench.path / name) for name in weights.split(","))
        check(lib.dn_network_load_weights(self.network, files.encode(), ffi.NULL))

    def compared(self, _, image, found):
        row = self.data.view.images[image]
        for kind, name in enumerate(("bbox", "segm")):
            for i in range(found.detection_count[kind]):
                one = found.detections[kind][i]
                entry = {
                    "image_id": row.id,
                    "category_id": self.data.view.category_ids[one.class_id],
                    "score": one.score,
                }
                if name == "bbox":
                    entry["bbox"] = list(one.bbox)
                else:
                    runs = ffi.unpack(one.mask.runs, one.mask.run_count)
                    entry["segmentation"] = Rle.from_runs(
                        runs, one.mask.height, one.mask.width
                    ).coco
                self.rows[name].append(entry)

    def run(self, **fields) -> Evaluation:
        for values in self.rows.values():
            values.clear()
        self.progress.clear()
        calls = {
            "progress": ffi.callback(
                "void(void *, int64_t, int64_t)", lambda _, *numbers: self.progress.append(numbers)
            ),
            "message": ffi.callback(
                "void(void *, const char *)",
                lambda _, text: self.messages.append(ffi.string(text).decode()),
            ),
            "cancelled": ffi.callback(
                "bool(void *)", lambda _: len(self.progress) == self.stop_after
            ),
            "compared": ffi.callback("void(void *, int64_t, const dn_eval_image *)", self.compared),
        }
        out = ffi.new("dn_evaluation **")
        options = ffi.new("dn_validate_options *", {**calls, **fields})
        try:
            check(lib.dn_validate(self.network, self.data.handle, options, out))
        except Exception:
            assert out[0] == ffi.NULL
            raise
        return Evaluation(out[0])


@pytest.fixture
def bench(tmp_path) -> Segmenter:
    """A network whose labels are like what it finds: every third result, shaken."""
    bench = Segmenter(tmp_path)
    bench.edit("seg.cfg", ("max_rois=10", "max_rois=100\nscore_thresh=.001"))  # a mask for each box
    validation = Validation(bench)
    validation.run()
    labels = json.loads((tmp_path / "labels.json").read_text())
    labels["annotations"] = []
    pairs = list(zip(validation.rows["bbox"], validation.rows["segm"], strict=True))
    for i, (box, mask) in enumerate(pairs[::3]):
        x, y, w, h = box["bbox"]
        rle = mask["segmentation"]
        if w * h == 0 or coco_masks.area(rle) == 0:
            continue  # the reader of labels leaves out what is empty
        labels["annotations"].append(
            {
                "id": i + 1,
                "image_id": box["image_id"],
                "category_id": box["category_id"],
                "bbox": [x, y, w * (1 - 0.1 * (i % 3)), h],
                "area": w * h,
                "iscrowd": 0,
                "segmentation": {**rle, "counts": rle["counts"].decode()},
            }
        )
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    return bench


def test_figures_are_those_of_pycocotools(bench):
    validation = Validation(bench)
    dataset = json.loads((bench.path / "labels.json").read_text())
    for fields in ({}, {"mask_score": True}, {"predict": {"max_objects": 3}}):
        found = validation.run(**fields)
        assert found.images == 6
        for kind, rows in validation.rows.items():
            assert 6 < len(rows) <= 6 * fields.get("predict", {}).get("max_objects", 100)
            coco, _ = judge(dataset, rows, kind)
            stats = np.array(list(found.numbers(kind).values()))
            assert np.abs(stats - coco.stats).max() <= 1e-12
            assert 0.01 < stats[0] < 1
    assert validation.progress == [(i + 1, 6) for i in range(6)]
    assert not validation.messages
    with pytest.raises(KeyError, match="segm"):
        validation.run(boxes_only=True).numbers("segm")


def test_classes_need_not_count(bench):
    validation = Validation(bench)
    found = validation.run(class_agnostic=True)
    assert found.names == ["object"]
    dataset = json.loads((bench.path / "labels.json").read_text())
    for row in dataset["annotations"]:
        row["category_id"] = 1
    coco, _ = judge(dataset, validation.rows["segm"], "segm")
    assert np.abs(np.array(list(found.numbers("segm").values())) - coco.stats).max() <= 1e-12


def test_batches_and_limit(bench):
    one, four = Validation(bench), Validation(bench, batch=4)
    wanted, found = one.run(limit=5), four.run(limit=5, threads=2)
    assert found.numbers("segm") == wanted.numbers("segm")
    assert found.images == 5
    assert four.progress == [(4, 5), (5, 5)]


def test_images_that_cannot_be_read(bench):
    (bench.path / "photo_000002.png").write_bytes(b"not a picture")
    validation = Validation(bench)
    found = validation.run()
    assert (found.images, found.skipped) == (5, 1)
    assert "photo_000002.png" in validation.messages[0]
    with pytest.raises(DataError, match=r"photo_000002.png"):
        validation.run(strict=True)


def test_labels_of_another_size(bench):
    labels = json.loads((bench.path / "labels.json").read_text())
    labels["images"][0]["width"] = 81
    for row in labels["annotations"]:
        del row["segmentation"]
    (bench.path / "labels.json").write_text(json.dumps(labels))
    with pytest.raises(DataError, match=r"is 80 x 48 \(width x height\), but .* says 81 x 48"):
        Validation(bench).run()


def test_cancel(bench):
    validation = Validation(bench)
    validation.stop_after = 2
    with pytest.raises(CancelledError, match="2 of 6 images"):
        validation.run()


def test_allocations(bench, fail_allocations):
    validation = Validation(bench)
    wanted = validation.run(limit=1).numbers("segm")

    def run():
        assert validation.run(limit=1, compared=ffi.NULL).numbers("segm") == wanted

    assert fail_allocations(run) > 50
