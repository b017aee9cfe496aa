"""The evaluator (src/eval): pycocotools' numbers on random and real sets; hand-worked figures."""

from __future__ import annotations

import numpy as np
import pytest

from eval_oracle import RandomSet, judge
from yolomask.evaluation import evaluate_results

LIMIT = 1e-12


def same_as_pycocotools(dataset, results, *, ids=None, agnostic=False, max_detections=100) -> float:
    """Compares all numbers and all curves; returns the AP."""
    warnings: list[str] = []
    found = evaluate_results(
        dataset,
        results,
        ids,
        class_agnostic=agnostic,
        max_detections=max_detections,
        threads=1,
        on_warning=warnings.append,
    )
    for kind, rows in results.items():
        coco, _ = judge(
            dataset, rows, kind, ids=ids, agnostic=agnostic, max_detections=max_detections
        )
        precision, recall = coco.eval["precision"], coco.eval["recall"]
        numbers = found.numbers(kind)
        if max_detections == 100:  # summarize knows no other
            assert np.abs(np.array(list(numbers.values())) - coco.stats).max() <= LIMIT
        for i, area in enumerate(("", "_small", "_medium", "_large")):
            for name, values in (("AP", precision[..., i, 2]), ("AR", recall[..., i, 2])):
                wanted = values[values > -1].mean() if (values > -1).any() else -1
                assert abs(numbers[name + area] - wanted) <= LIMIT
        for c in range(len(found.names)):
            assert np.abs(found.precision(kind, c) - precision[:, :, c, 0, 2]).max() <= LIMIT
            values = precision[:, :, c, 0, 2]
            wanted = values[values > -1].mean() if (values > -1).any() else -1
            assert abs(found.numbers(kind, c)["AP"] - wanted) <= LIMIT
    read = [row for row in dataset["annotations"] if ids is None or row["image_id"] in ids]
    assert len(warnings) == any(row["id"] == 0 for row in read)
    return found.numbers("bbox")["AP"]


def check_random_sets(seeds):
    """Every fifth without classes, every seventh with another limit of detections."""
    aps = []
    for seed in seeds:
        made = RandomSet(seed)
        aps.append(
            same_as_pycocotools(
                made.dataset,
                {"bbox": made.boxes, "segm": made.masks},
                ids=made.images[1:] if seed % 11 == 0 else None,
                agnostic=seed % 5 == 0,
                max_detections=[100, 3, 400][seed % 3] if seed % 7 == 0 else 100,
            )
        )
    assert np.mean([0.05 < ap < 0.95 for ap in aps]) > 0.5  # the sets are worth comparing


def test_random_sets():
    check_random_sets(range(50))


@pytest.mark.slow
def test_many_random_sets():
    check_random_sets(range(50, 600))
