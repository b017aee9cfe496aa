"""dn_validate and the commands valid and map: what they say of a network's results is what
pycocotools says of them, and what Darknet prints."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import re

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_masks

from dataset_tools import Dataset
from eval_oracle import judge
from mask_support import Rle
from program import Segmenter
from yolomask import Network
from yolomask._native import CancelledError, DataError, check, ffi, lib
from yolomask.coco import evaluate
from yolomask.evaluation import NUMBERS, Evaluation


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
    for fields in ({}, {"box_score": True}, {"predict": {"max_objects": 3}}):
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
    coco, _ = judge(dataset, validation.rows["segm"], "segm", agnostic=True)
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


@pytest.mark.parametrize("form", ["label PNGs", "rows"])
def test_labels_that_are_no_json(bench, form):
    """The same as pycocotools on a JSON with the same objects."""
    names = [f"photo_{i:06}.png" for i in range(1, 7)]
    (bench.path / "list.txt").write_text("\n".join(names))
    boxes = {}  # by image
    for row in json.loads((bench.path / "labels.json").read_text())["annotations"]:
        boxes.setdefault(row["image_id"], row["bbox"])
    dataset = {"images": [], "annotations": [], "categories": [{"id": 1}, {"id": 2}]}
    (bench.path / "masks").mkdir()
    for i, name in enumerate(names, 1):
        height, width = 44 + 4 * i, 80
        x, y, w, h = (round(v) for v in boxes[i])
        w, h = max(w, 4), max(h, 4)
        pixels = np.zeros((height, width), np.uint16)
        pixels[y : y + h, x : x + w] = 300
        ys, xs = np.nonzero(pixels)
        x, y, w, h = (int(v) for v in (xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1))
        corners = [x, y, x + w, y, x + w, y + h, x, y + h]
        cv2.imwrite(str(bench.path / "masks" / name), pixels)
        shares = [v / (height if k % 2 else width) for k, v in enumerate(corners)]
        row = " ".join(map(repr, [0, *shares]))
        (bench.path / name).with_suffix(".txt").write_text(row)
        dataset["images"].append({"id": i, "height": height, "width": width})
        size = {"bbox": [x, y, w, h], "area": w * h, "segmentation": [corners]}
        dataset["annotations"].append(
            {"id": i, "image_id": i, "category_id": 1, "iscrowd": 0, **size}
        )
    validation = Validation(bench)
    folder = {"masks_folder": bench.path / "masks"} if form == "label PNGs" else {}
    validation.data = Dataset(bench.path / "list.txt", classes=2, **folder)
    found = validation.run(class_agnostic=True)
    for kind, rows in validation.rows.items():
        coco, _ = judge(dataset, rows, kind, agnostic=True)
        assert np.abs(np.array(list(found.numbers(kind).values())) - coco.stats).max() <= 1e-12
        assert coco.stats[0] > 0.01


# ---- the commands ----

WEIGHTS = "tiny.weights,mask.weights"


def test_valid_prints_pycocotools_tables(bench):
    """Read back from the result files, to the last bit; the same lines, letter by letter."""
    words = ["segmenter", "valid", "seg.cfg", WEIGHTS, "-quiet", "-per_class", "-threads", "1"]
    out, error = bench.run(*words)
    dataset = json.loads((bench.path / "labels.json").read_text())
    figures = json.loads(bench.bytes("results/coco_results_metrics.json"))
    files = {"bbox": "coco_results.json", "segm": "coco_results_segm.json"}
    tables = dict(zip(files, out.split("masks:\n"), strict=True))
    for kind, name in files.items():
        rows = json.loads(bench.bytes(f"results/{name}"))
        coco, _ = judge(dataset, rows, kind)
        table = io.StringIO()
        with contextlib.redirect_stdout(table):
            coco.summarize()
        assert table.getvalue() in tables[kind]
        assert re.findall(r"^(cat|dog) ", tables[kind], re.MULTILINE) == ["cat", "dog"]
        found = figures[{"bbox": "boxes", "segm": "masks"}[kind]]
        assert np.abs(np.array([found[n] for n in NUMBERS]) - coco.stats).max() <= 1e-12
        best = found["best_F1_50"]
        assert f"best {best['F1']:.3f} @[ score>={best['threshold']:.4g} ]" in tables[kind]
    assert "Figures: results/coco_results_metrics.json" in error


def test_evaluate_py_says_the_same(bench):
    """Box and mask AP of the two tools, for the same weights, without options."""
    bench.run("segmenter", "valid", "seg.cfg", WEIGHTS, "-quiet")
    figures = json.loads(bench.bytes("results/coco_results_metrics.json"))
    files = [bench.path / name for name in WEIGHTS.split(",")]
    with Network(bench.path / "seg.cfg", files, names=bench.path / "tiny.names") as network:
        run = functools.partial(evaluate, network, bench.path / "labels.json", bench.path)
        found, by_box = run(verbose=False), run(verbose=False, score="box")
    for kind, name in (("bbox", "boxes"), ("segm", "masks")):
        differences = [abs(found[kind][n] - figures[name][n]) for n in NUMBERS]
        assert max(differences) <= 1e-12
    assert abs(by_box["segm"]["AP"] - found["segm"]["AP"]) > 1e-3  # the ranking is seen here


def test_valid_without_labels(bench):
    (bench.path / "list.txt").write_text("photo_000003.png\nphoto_000005.png\n")
    (bench.path / "list.data").write_text("classes=2\nnames=tiny.names\nvalid=list.txt\n")
    words = ["detector", "valid", "list.data", "tiny.cfg", "tiny.weights", "-quiet"]
    out, error = bench.run(*words)
    assert out == ""
    assert "none of its 2 images has a label file" in error
    assert "only results are written" in error
    assert os.listdir(bench.path / "results") == ["coco_results.json"]
    assert "label file" in bench.run(*words, "-strict", code=1)[1]
    error = bench.run("detector", "map", *words[2:], code=1)[1]
    assert error.splitlines()[-1] == "list.txt: has no labels to compare with"


def test_valid_with_label_rows(bench):
    (bench.path / "list.txt").write_text("photo_000003.png\n")
    (bench.path / "photo_000003.txt").write_text("1 .5 .5 .25 .25\n")
    (bench.path / "list.data").write_text("classes=2\nnames=tiny.names\nvalid=list.txt\n")
    out, error = bench.run("segmenter", "valid", "list.data", "seg.cfg", WEIGHTS)
    assert out.count("Average") == 12  # rows of five numbers have no masks
    assert "some labels have no mask: only boxes are compared" in error
    assert json.loads(bench.bytes("results/coco_results_segm.json"))  # they are written anyway
    assert json.loads(bench.bytes("results/coco_results.json"))[0]["image_id"] == 3


def test_map_prints_darknets_report(bench):
    words = ["tiny.cfg", "tiny.weights", "-quiet", "-thresh", ".3", "-iou_thresh", ".4"]
    out, _ = bench.run("detector", "map", *words)
    classes = re.findall(
        r"^class_id = (\d), name = (\w+), ap = ([\d.]+)%   \t \(TP = (\d+), FP = (\d+)\) $",
        out,
        re.MULTILINE,
    )
    assert [row[:2] for row in classes] == [("0", "cat"), ("1", "dog")]
    precision, recall, f1 = re.search(
        r"^ for conf_thresh = 0.30, precision = (\S+), recall = (\S+), F1-score = (\S+) $",
        out,
        re.MULTILINE,
    ).groups()
    hits, wrong, missed = re.search(
        r"^ for conf_thresh = 0.30, TP = (\d+), FP = (\d+), FN = (\d+), average IoU = \S+ % $",
        out,
        re.MULTILINE,
    ).groups()
    assert int(hits) == sum(int(row[3]) for row in classes) > 0
    assert int(wrong) == sum(int(row[4]) for row in classes)
    assert float(precision) == round(int(hits) / (int(hits) + int(wrong)), 2)
    assert float(recall) == round(int(hits) / (int(hits) + int(missed)), 2)
    assert 0 < float(f1) < 1
    ap, percent = re.search(
        r"^ mean average precision \(mAP@0.40\) = ([\d.]+), or ([\d.]+) % $", out, re.MULTILINE
    ).groups()
    assert float(percent) == round(100 * float(ap), 2)
    assert abs(float(percent) - np.mean([float(row[2]) for row in classes])) < 0.011
    assert "IoU threshold = 40 %, used Area-Under-Curve for each unique Recall" in out
    assert "used 11 Recall-points" in bench.run("detector", "map", *words, "-points", "11")[0]
    both = bench.run("segmenter", "map", "seg.cfg", WEIGHTS, "-quiet")[0]
    assert both.count("mean average precision (mAP@0.50)") == 2


def test_unreadable_image_is_told_by_the_commands(bench):
    (bench.path / "photo_000002.png").write_bytes(b"not a picture")
    _, error = bench.run("detector", "valid", "tiny.cfg", "tiny.weights", "-quiet", code=1)
    assert "photo_000002.png" in error
    assert json.loads(bench.bytes("results/coco_results_metrics.json"))["skipped"] == 1


def test_report_reads_the_curves_and_the_confusion(bench):
    from yolomask.validation_charts import read_confusion, read_pr

    bench.run("segmenter", "valid", "seg.cfg", WEIGHTS, "-quiet")
    stem = bench.path / "results/coco_results"
    curves = read_pr(stem.with_name("coco_results_pr.csv"))
    assert set(curves) == {"boxes", "masks"}
    figures = json.loads(bench.bytes("results/coco_results_metrics.json"))
    for kind, classes in curves.items():
        for row in figures[kind]["classes"]:
            mean = np.mean([curve[1].mean() for curve in classes[row["name"]].values()])
            assert abs(mean - row["AP"]) < 1e-12
    for names, counts in read_confusion(stem.with_name("coco_results_confusion.csv")).values():
        assert names == ["cat", "dog", "background"]
        assert counts[:2].sum() == figures["boxes"]["truths"]
