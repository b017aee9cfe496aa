"""yolomask.coco: the numbers are pycocotools', ours beside them; classes map as said; bad input is
said in words."""

from __future__ import annotations

import json
import sys

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from api_support import NAMES, make_result, noise, write_cfg
from yolomask import DataError, Network
from yolomask.coco import evaluate
from yolomask.commands import evaluate_main

# Images of (class, box): the truth, drawn as rectangles, which a full mask fills exactly.
TRUTH = [
    [(0, (4, 6, 30, 40)), (1, (35, 10, 75, 45))],
    [(2, (10, 10, 20, 20)), (0, (40, 5, 78, 48)), (0, (2, 25, 30, 44))],
    [],
]
IDS = {"owl": 3, "cat": 40, "dog": 7}  # neither in the network's order nor from 1


class Answers:
    """Stands in for a Network: gives the results it was told, image after image."""

    has_masks = True

    def __init__(self, results, names=NAMES):
        self.results = list(results)
        self.names = dict(enumerate(names))

    def predict(self, path, conf, iou, max_det):
        return self.results.pop(0)


def perfect(change=lambda objects: objects):
    return [
        make_result(change([(c, 0.9 - 0.1 * i, box) for i, (c, box) in enumerate(objects)]))
        for objects in TRUTH
    ]


@pytest.fixture
def data(tmp_path):
    """The JSON file and the images folder."""
    images, annotations = [], []
    for i, objects in enumerate(TRUTH):
        name = f"sub/image{i}.png"
        (tmp_path / "sub").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / name), noise(i))
        images.append({"id": i + 5, "file_name": name, "height": 50, "width": 80})
        for class_id, (x0, y0, x1, y1) in objects:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": i + 5,
                    "category_id": IDS[NAMES[class_id]],
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": (x1 - x0) * (y1 - y0),
                    "iscrowd": 0,
                    "segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]],
                }
            )
    categories = [{"id": i, "name": name} for name, i in IDS.items()]
    path = tmp_path / "truth.json"
    path.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    return path, tmp_path


def test_perfect_answers(data, capsys):
    summary = evaluate(Answers(perfect()), *data)
    for kind in ("bbox", "segm"):
        assert summary[kind]["AP"] == pytest.approx(1)
        assert summary[kind]["classes"] == {n: pytest.approx(1) for n in ("owl", "dog", "cat")}
    assert summary["images"] == 3
    out = capsys.readouterr().out
    assert "boxes:" in out
    assert "masks:" in out
    assert out.count("Average Precision") == 12


def test_numbers_are_those_of_pycocotools_on_the_written_files(data, tmp_path):
    rng = np.random.default_rng(3)

    def worse(objects):
        moved = [(c, s, np.array(box) + rng.integers(-3, 4, 4)) for c, s, box in objects]
        return moved + [(1, 0.05, (50, 20, 70, 40))]

    out = tmp_path / "out"
    summary = evaluate(Answers(perfect(worse)), *data, out=out, verbose=False)
    assert 0.1 < summary["bbox"]["AP"] < 0.9
    for kind in ("bbox", "segm"):
        truth = COCO(str(data[0]))
        judge = COCOeval(truth, truth.loadRes(str(out / f"{kind}.json")), kind)
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
        assert list(summary[kind].values())[:12] == judge.stats.tolist()
    assert "bbox" not in json.loads((out / "segm.json").read_text())[0]
    assert "segmentation" not in json.loads((out / "bbox.json").read_text())[0]


def test_both_evaluators_are_shown(data, capsys, monkeypatch, tmp_path):
    """pycocotools' own lines with our column behind; a difference is said; alone without it."""
    results = [
        make_result([(c, s, box) for (c, box), s in zip(objects, (0.9, 0.4, 0.2), strict=False)])
        for objects in TRUTH
    ]
    summary = evaluate(Answers(results), *data, out=tmp_path / "out")
    out, error = capsys.readouterr()
    for kind, title in (("bbox", "boxes"), ("segm", "masks")):
        truth = COCO(str(data[0]))
        judge = COCOeval(truth, truth.loadRes(str(tmp_path / f"out/{kind}.json")), kind)
        judge.evaluate()
        judge.accumulate()
        capsys.readouterr()
        judge.summarize()
        lines = capsys.readouterr().out.splitlines()
        table = out[out.index(f"{title}: pycocotools | own evaluator") :].splitlines()[1:13]
        assert [f"{line} | {line.split('= ')[-1]}" for line in lines] == table
        assert summary[kind]["difference"] <= 1e-12
    assert out.count("both agree to 1e-12") == 2 and error == ""
    figures = json.loads((tmp_path / "out/evaluation_metrics.json").read_text())
    assert abs(figures["masks"]["AP"] - summary["segm"]["AP"]) <= 1e-12

    real = COCOeval.summarize
    monkeypatch.setattr(COCOeval, "summarize", lambda self: (real(self), self.stats.__iadd__(1e-6)))
    evaluate(Answers(perfect()), *data, verbose=False)
    out, error = capsys.readouterr()
    assert error.count("differ from pycocotools' by up to 1e-06") == 2 and out == ""

    monkeypatch.setitem(sys.modules, "pycocotools.cocoeval", None)
    alone = evaluate(Answers(perfect()), *data)
    assert alone["bbox"]["AP"] == pytest.approx(1)
    assert set(alone["bbox"]["classes"]) == {"owl", "dog", "cat"}
    assert "boxes:\n Average Precision" in capsys.readouterr().out


def test_more_than_100_objects(data):
    """Another limit than pycocotools' own: 150 wrong boxes before the right one, in one image."""
    wrong = [(0, 0.9, (70, 40, 74, 44)) for _ in range(150)]
    results = [make_result(wrong + [(0, 0.5, TRUTH[0][0][1])]), make_result([]), make_result([])]
    by_limit = {
        most: evaluate(Answers(list(results)), *data, verbose=False, max_det=most)["bbox"]
        for most in (100, 200)
    }
    assert by_limit[100]["AR"] == 0
    assert by_limit[200]["AR"] > 0.1
    assert by_limit[200]["AP"] > 0
    assert by_limit[200]["difference"] <= 1e-12


def test_darknets_spelling_of_names(data):
    path, folder = data
    path.write_text(path.read_text().replace('"owl"', '"tv"').replace('"cat"', '"couch"'))
    names = {"cat": "sofa", "dog": "dog", "owl": "tvmonitor"}
    answers = Answers(perfect(), [names[name] for name in NAMES])
    summary = evaluate(answers, path, folder, verbose=False)
    assert summary["bbox"]["classes"] == dict.fromkeys(("tv", "dog", "couch"), pytest.approx(1))


def test_mask_score_ranks_masks_only(data):
    """A wrong object with the better box score and the worse mask score."""

    def add(objects):
        wrong = [(c, 0.95, (60, 0, 66, 6), 0.01) for c in range(3)]
        return wrong + [(c, s, box, 0.8) for c, s, box in objects]

    by_box = evaluate(Answers(perfect(add)), *data, verbose=False, score="box")
    by_mask = evaluate(Answers(perfect(add)), *data, verbose=False)
    assert by_box["bbox"] == by_mask["bbox"]
    assert by_box["segm"]["AP"] < 0.9
    assert by_mask["segm"]["AP"] == pytest.approx(1)


def test_limit_and_no_detections(data):
    answers = Answers([make_result([]) for _ in TRUTH])
    nothing = evaluate(answers, *data, verbose=False)
    assert nothing["bbox"]["AP"] == nothing["segm"]["AP"] == 0
    first = evaluate(Answers(perfect()), *data, verbose=False, limit=1)
    assert first["images"] == 1
    assert first["bbox"]["AP"] == pytest.approx(1)
    assert first["bbox"]["classes"]["owl"] == -1  # no truth of it


def test_class_agnostic(data):
    def rename(objects):
        return [((c + 1) % 3, s, box) for c, s, box in objects]

    assert evaluate(Answers(perfect(rename)), *data, verbose=False)["bbox"]["AP"] < 0.1
    other = Answers(perfect(rename), ["a", "b", "c"])
    summary = evaluate(other, *data, verbose=False, class_agnostic=True)
    assert summary["segm"]["AP"] == pytest.approx(1)
    assert "classes" not in summary["segm"]


def test_numbered_classes_map_by_ascending_id(data):
    order = {"owl": 0, "dog": 1, "cat": 2}

    def number(objects):
        return [(order[NAMES[c]], s, box) for c, s, box in objects]

    summary = evaluate(Answers(perfect(number), ["0", "1", "2"]), *data, verbose=False)
    assert summary["bbox"]["AP"] == pytest.approx(1)
    with pytest.raises(DataError, match="have 3 categories, the network 2 classes"):
        evaluate(Answers([], ["0", "1"]), *data, verbose=False)


def test_classes_that_the_annotations_lack_are_left_out(data):
    def extra(objects):
        return objects + [(3, 0.99, (0, 0, 9, 9))]

    results = perfect(extra)
    summary = evaluate(Answers(results, [*NAMES, "emu"]), *data, verbose=False)
    assert summary["bbox"]["AP"] == pytest.approx(1)


def test_boxes_only(data):
    path, folder = data
    content = json.loads(path.read_text())
    for row in content["annotations"]:
        del row["segmentation"]
    path.write_text(json.dumps(content))
    summary = evaluate(Answers(perfect()), path, folder, verbose=False)
    assert summary["segm"] is None
    assert summary["bbox"]["AP"] == pytest.approx(1)


def test_bad_input(data, tmp_path):
    path, folder = data
    with pytest.raises(DataError, match="no category of the annotations .* other names"):
        evaluate(Answers([], ["a", "b", "c"]), path, folder)
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(DataError, match="broken.json: not a COCO annotation file"):
        evaluate(Answers([]), tmp_path / "broken.json", folder)
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(DataError, match="list.json: not a COCO annotation file"):
        evaluate(Answers([]), tmp_path / "list.json", folder)
    (tmp_path / "none.json").write_text("{}")
    with pytest.raises(DataError, match='"images" is missing'):
        evaluate(Answers([]), tmp_path / "none.json", folder)
    content = json.loads(path.read_text())
    content["images"][0]["height"] = 51
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"image0.png: is 80 x 50, the annotations say 80 x 51"):
        evaluate(Answers(perfect()), path, folder)
    content["images"][0]["file_name"] = "../secret.png"
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="leads out of the images folder"):
        evaluate(Answers(perfect()), path, folder)


def test_command(data, tmp_path, capsys):
    path, folder = data
    cfg = write_cfg(tmp_path)
    (tmp_path / "three.names").write_text("\n".join(NAMES))
    (tmp_path / "w.weights").write_bytes(b"")
    arguments = ["--cfg", str(cfg), "--json", str(path), "--images", str(folder)]
    assert evaluate_main([*arguments, "--weights", str(tmp_path / "w.weights")]) == 1
    assert "w.weights" in capsys.readouterr().err
    with Network(cfg) as network:
        network.save_weights(tmp_path / "w.weights")
    arguments += [
        "--weights",
        str(tmp_path / "w.weights"),
        "--names",
        str(tmp_path / "three.names"),
    ]
    assert evaluate_main([*arguments, "--out", str(tmp_path / "out"), "--threads", "1"]) == 0
    captured = capsys.readouterr()
    assert captured.out.count("Average Precision") == 12
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert set(summary) == {"images", "seconds", "bbox", "segm"}
