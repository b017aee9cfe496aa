"""Validation on the way: its figures, the best weights, patience, and that it may be interrupted.

The figures themselves are compared with pycocotools in test_evaluator.py; here they must be those
that `segmenter valid` gives for the same weights.
"""

from __future__ import annotations

import json
import re

import pytest

from dataset_tools import Dataset
from program import BRANCH_FLOATS
from training_support import Bench, params_of

LEARNS = ("learning_rate=.01", "learning_rate=.003\nburn_in=10"), ("\nrandom=1", "")
FIGURES = ("box_ap", "box_ap50", "mask_ap", "mask_ap50")


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    stages = [(f"{key}=6", f"{key}=60") for key in ("mask_from", "mask_max_batches")]
    bench.edit("two.cfg", *LEARNS, *stages, source="two.cfg")
    return bench


def train(bench, backup, *words, **options):
    return bench.train(
        backup, "-no_augmentation", "-valid_every", 20, *words, valid=True, **options
    )


def validations(bench, backup):
    return [row for row in bench.rows(backup) if not row["loss"]]


def figures_of(bench, weights) -> list[float]:
    """AP and AP50 of boxes and masks, by the program's own command."""
    bench.run("segmenter", "valid", "two.cfg", weights, "-threads", 1)
    found = json.loads((bench.path / "results/coco_results_metrics.json").read_text())
    return [found[kind][number] for kind in ("boxes", "masks") for number in ("AP", "AP50")]


def test_figures_and_best_weights(bench):
    out, _ = train(bench, "out", "-map")
    rows = validations(bench, "out")
    place = [(row["iteration"], row["stage"]) for row in rows]
    assert place == [(i, stage) for stage in ("detector", "mask") for i in ("20", "40", "60")]
    for row in rows:
        assert all(row[name] for name in FIGURES[:2])
        assert all(bool(row[name]) == (row["stage"] == "mask") for name in FIGURES[2:])
    best = max(rows[3:], key=lambda row: float(row["mask_ap"]))
    assert float(best["mask_ap"]) > 0
    given = figures_of(bench, "out/two_best.weights")
    assert [float(best[name]) for name in FIGURES] == pytest.approx(given, rel=1e-5)
    given = figures_of(bench, "out/two_final.weights")
    assert [float(rows[-1][name]) for name in FIGURES] == pytest.approx(given, rel=1e-5)
    for which, row in (("last", rows[-1]), ("best", best)):
        found = json.loads((bench.path / f"out/two/{which}_metrics.json").read_text())
        assert found["masks"]["AP"] == pytest.approx(float(row["mask_ap"]), rel=1e-5)
        for kind in ("pr", "confusion"):
            assert (bench.path / f"out/two/{which}_{kind}.csv").stat().st_size > 20
    assert out.count("mean average precision (mAP@0.50) = ") == 6
    assert "Saving weights to out/two_best.weights" in out
    assert re.search(r"^41: .*ETA 0:\d\d, AP \d+\.\d, best \d+\.\d$", out, re.MULTILINE)


def test_masks_train_on_the_best_detector(bench):
    train(bench, "out")
    best, final = (
        params_of(bench.path / f"out/two_{x}.weights") for x in ("detector_best", "final")
    )
    assert (best[:-BRANCH_FLOATS] == final[:-BRANCH_FLOATS]).all()


def test_an_average_is_what_is_judged_and_exported(bench):
    bench.edit("two.cfg", ("mask_from", "ema_alpha=.95\nmask_from"), source="two.cfg")
    train(bench, "out", "-stage", "detector", "-iterations", 60)
    row = validations(bench, "out")[-1]
    bench.run("detector", "valid", "two.cfg", "out/two_final.weights", "-threads", 1)
    found = json.loads((bench.path / "results/coco_results_metrics.json").read_text())["boxes"]
    assert float(row["box_ap50"]) == pytest.approx(found["AP50"], rel=1e-5)
    plain = params_of(bench.path / "out/two_final.weights")
    bench.edit("two.cfg", ("ema_alpha=.95\n", ""), source="two.cfg")
    train(bench, "plain", "-stage", "detector", "-iterations", 60)
    assert (plain != params_of(bench.path / "plain/two_final.weights")).any()


def test_of_equal_ones_the_higher_box_ap_is_best(bench):
    """AP50 is soon all it can be."""
    train(bench, "out", "-stage", "detector", "-iterations", 240)
    rows = [(float(row["box_ap50"]), float(row["box_ap"])) for row in validations(bench, "out")]
    assert [ap50 for ap50, _ in rows].count(1) >= 2
    found = json.loads((bench.path / "out/two/best_metrics.json").read_text())["boxes"]
    assert (found["AP50"], found["AP"]) == pytest.approx(max(rows), rel=1e-5)


def test_a_joint_training_converges(bench):
    """Boxes and masks of six images, by heart, from nothing."""
    joint = (
        ("mask_from=60", "mask_from=-1\nmask_warmup=100"),
        ("max_batches=1000", "max_batches=240"),
    )
    bench.edit("two.cfg", *joint, source="two.cfg")
    bench.train("out", "-no_augmentation", "-valid_every", 240, valid=True)
    (row,) = validations(bench, "out")
    assert row["stage"] == "joint"
    assert float(row["box_ap50"]) > 0.9 and float(row["mask_ap50"]) > 0.9


def test_patience_ends_a_stage(bench):
    """Nothing becomes better at a rate of 0: the second and third validation are not."""
    bench.edit("two.cfg", ("learning_rate=.003", "learning_rate=0"), source="two.cfg")
    bench.edit("two.cfg", ("[net]", "[net]\npatience=2"), source="two.cfg")
    words = ("-no_augmentation", "-valid_every", 5)
    out, error = bench.train("out", *words, valid=True)
    assert "stage detector ends: no better validation in the last 2" in error
    assert re.findall(r"^validation: detector (\d+)", out, re.MULTILINE) == ["5", "10", "15"]
    assert re.search(r"^5: .* mask 5 of 60", out, re.MULTILINE)
    out, error = bench.train("four", *words, "-patience", 4, "-stage", "detector", valid=True)
    assert "Done after 25 iterations" in out


def test_an_interrupted_validation_is_done_again(bench):
    """Cancelled while images of the second validation are looked at; the rest is as if not."""
    valid = Dataset(bench.path / "labels.json")
    options = {"valid": valid.handle, "valid_every": 20, "max_iterations": 50, "plain": True}
    whole, _ = bench.call(backup="whole", **options)
    # Two questions an iteration, six a validation: the 90th falls into the second one.
    first, _ = bench.call(backup="cut", cancel=2 * 40 + 6 + 4, **options)
    assert first[-1][1] == 40
    assert [row["iteration"] for row in validations(bench, "cut")] == ["20"]
    state = "cut/two_last.state"
    rest, _ = bench.call(backup="cut", state=state, **options)
    assert first + rest == whole
    names = ("two_last.state", "two_final.weights", "two_detector_best.weights")
    assert bench.finals("cut", names) == bench.finals("whole", names)
    rows = [[{**row, "seconds": ""} for row in bench.rows(run)] for run in ("cut", "whole")]
    assert rows[0] == rows[1]


def test_the_end_between_two_validations_chooses_no_best_weights(bench):
    """It is better than what was due before; the whole training will never have looked at it."""
    words = ("-stage", "detector", "-iterations")
    train(bench, "first", *words, 40)
    train(bench, "parts", *words, 50)
    rows = validations(bench, "parts")
    assert [row["iteration"] for row in rows] == ["20", "40", "50"]
    assert float(rows[2]["box_ap50"]) > max(float(row["box_ap50"]) for row in rows[:2])
    assert bench.bytes("parts/two_best.weights") == bench.bytes("first/two_best.weights")
    train(bench, "parts", "-resume", *words, 60)
    train(bench, "whole", *words, 60)
    names = ("two_best.weights", "two_final.weights")
    assert bench.finals("parts", names) == bench.finals("whole", names)
    train(bench, "short", *words, 7)
    assert bench.bytes("short/two_best.weights") == bench.bytes("short/two_final.weights")


@pytest.mark.parametrize("max_rois, most", [(10, 100), (250, 250)])
def test_as_many_objects_as_there_are_masks_for(bench, max_rois, most):
    bench.edit("two.cfg", ("max_rois=10", f"max_rois={max_rois}"), source="two.cfg")
    train(bench, "out", "-iterations", 2)
    figures = json.loads((bench.path / "out/two/last_metrics.json").read_text())
    assert figures["max_detections"] == most


def test_where_nothing_is_validated(bench):
    out, _ = bench.train("out", "-iterations", 2)
    assert "validation" not in out
    bench.edit("tiny.data", ("valid=labels.json\n", ""), source="tiny.data")
    out, error = bench.train("out", "-iterations", 2, valid=True)
    assert "tiny.data: has no valid=: no validation on the way" in error
    assert "validation" not in out
