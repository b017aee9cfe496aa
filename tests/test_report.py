"""The charts and pictures of a training: what is read, what is drawn, that text can be read.

Truth: results written by hand, the artists that matplotlib holds, pixels of pictures whose labels
are rectangles.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

from program import ENVIRONMENT, PROGRAM, Segmenter
from yolomask import DataError, charts, validation_charts
from yolomask.commands import report_main
from yolomask.datasets import Dataset
from yolomask.drawing import class_colour
from yolomask.report import Training, find_weights, read_args
from yolomask.results_csv import COLUMNS, read_results
from yolomask.samples import draw_batches

ROWS = """\
10,detector,80,8,8,.0001,.5,,,,,,,
20,detector,160,4,7.6,.001,.5,,,,,,,
20,detector,160,,,,,,.25,.5,,,,
30,detector,240,3,7,.001,.5,,,,,,,
30,detector,240,,,,,,.5,.75,,,,
10,mask,80,.5,.5,.001,.5,.4,,,,,,
20,mask,160,.4,.49,.001,.5,.6,,,,,,
20,mask,160,,,,,,.5,.75,.25,.5,,
30,mask,240,.3,.47,.001,.5,.7,,,,,,
30,mask,240,,,,,,.5,.75,.125,.375,,
"""
NAN = float("nan")


def write_results(path, rows=ROWS):
    path.write_text(",".join(COLUMNS) + "\n" + rows)
    return path


@pytest.fixture
def figures(monkeypatch):
    """Keeps the figures that are written, as they were."""
    kept, save = [], charts.save_chart

    def keep(plt, figure, path):
        save(plt, figure, path)
        kept.append(figure)

    monkeypatch.setattr(charts, "save_chart", keep)
    monkeypatch.setattr(validation_charts, "save_chart", keep)
    return kept


def labels_outside(figure):
    """Labels of ticks that lie outside their axis: matplotlib has them but does not draw them."""
    found = set()
    for axis in itertools.chain.from_iterable((axes.xaxis, axes.yaxis) for axes in figure.axes):
        low, high = sorted(axis.get_view_interval())
        ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
        found |= {tick.label1 for tick in ticks if not low <= tick.get_loc() <= high}
    return found


def visible_texts(figure):
    """(text, bounds) of everything written in a figure, in its pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()  # at the figure's own resolution
    texts = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
    outside = labels_outside(figure)
    texts = [text for text in texts if text not in outside]
    bounds = [t.get_window_extent(renderer) for t in texts]
    return list(zip((t.get_text() for t in texts), bounds, strict=True))


def assert_readable(figure):
    """No text covers another one."""
    for (a, one), (b, two) in itertools.combinations(visible_texts(figure), 2):
        apart = one.x1 <= two.x0 or two.x1 <= one.x0 or one.y1 <= two.y0 or two.y1 <= one.y0
        assert apart, (a, b)


# ---- results.csv ----


def test_rows_of_one_iteration_are_one(tmp_path):
    run = read_results(write_results(tmp_path / "results.csv"))
    assert run.stages == [("detector", 0), ("mask", 3)]
    np.testing.assert_array_equal(run.x, [10, 20, 30, 40, 50, 60])
    np.testing.assert_array_equal(run["box_ap"], [NAN, 0.25, 0.5, NAN, 0.5, 0.5])
    np.testing.assert_array_equal(run["loss"], [8, 4, 3, 0.5, 0.4, 0.3])
    assert run.best() == ("mask_ap", 4)


def test_a_resumed_training_replaces_what_it_did_again(tmp_path):
    again = ROWS + "20,mask,160,.45,.4,.001,.5,.65,,,,,,\n30,mask,240,.35,.41,.001,.5,.7,,,,,,\n"
    run = read_results(write_results(tmp_path / "results.csv", again))
    np.testing.assert_array_equal(run["iteration"], [10, 20, 30, 10, 20, 30])
    np.testing.assert_array_equal(run["loss"][3:], [0.5, 0.45, 0.35])
    np.testing.assert_array_equal(run["mask_ap"][3:], [NAN, 0.25, NAN])


def test_results_without_a_classifiers_columns(tmp_path):
    """Of a training that began before there were such; resumed, its old rows have none."""
    rows = "".join(f"{row[:-2]}\n" for row in ROWS.splitlines())
    wanted = read_results(write_results(tmp_path / "results.csv"))
    for columns in (COLUMNS, COLUMNS[:-2]):
        (tmp_path / "results.csv").write_text(",".join(columns) + "\n" + rows)
        run = read_results(tmp_path / "results.csv")
        for name in COLUMNS:
            if name != "stage":
                np.testing.assert_array_equal(run[name], wanted[name])


def test_a_line_that_was_cut_is_passed_over(tmp_path):
    run = read_results(write_results(tmp_path / "results.csv", ROWS + "40,mask,3"))
    assert len(run) == 6


@pytest.mark.parametrize(
    "text, words",
    [
        ("iteration,loss\n1,2\n", r":1: the first line must be iteration,stage,images"),
        (",".join(COLUMNS) + "\n10,mask,8,abc,,,,,,,,,,\n", r":2: loss is 'abc', a number"),
    ],
)
def test_what_is_no_results_file(tmp_path, text, words):
    path = tmp_path / "results.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=words):
        read_results(path)


# ---- charts ----


def test_the_chart_shows_the_numbers(tmp_path, figures):
    run = read_results(write_results(tmp_path / "results.csv"))
    charts.draw_run(run, "animals", tmp_path / "chart.png")
    assert cv2.imread(str(tmp_path / "chart.png")).shape[1] > 800
    (figure,) = figures
    losses, quality, rates = figure.axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in quality.get_lines()}
    assert lines["mask AP"] == [[50, 25], [60, 12.5]]
    assert lines["box AP"] == [[20, 25], [30, 50]]  # the mask stage's line has no second label
    assert lines["best mask AP: 25.0"] == [[50, 25]]
    assert lines["mask IoU in training"] == [[40, 40], [50, 60], [60, 70]]
    border = [line for line in losses.get_lines() if list(line.get_xdata()) == [30, 30]]
    assert len(border) == 1
    assert {text for text, _ in visible_texts(figure)} >= {"detector", "mask", "animals"}
    assert rates.get_xlabel() == "iteration, stages one behind the other"
    assert_readable(figure)


def test_the_chart_of_a_classifier(tmp_path, figures):
    rows = "".join(f"{i}0,classifier,80,{9 - i},8,.001,.5,,,,,,,\n" for i in range(1, 4))
    rows += "30,classifier,240,,,,,,,,,,.5,.75\n40,classifier,320,,,,,,,,,,.25,1\n"
    run = read_results(write_results(tmp_path / "results.csv", rows))
    assert run.best() == ("top_1", 2)
    charts.draw_run(run, "shapes", tmp_path / "chart.png")
    quality = figures[0].axes[1]
    lines = {line.get_label(): line.get_xydata().tolist() for line in quality.get_lines()}
    assert lines == {
        "top 1": [[30, 50], [40, 25]],
        "top 5": [[30, 75], [40, 100]],
        "best top 1: 50.0": [[30, 50]],
    }
    assert quality.get_ylabel() == "right (%)"
    assert_readable(figures[0])


def test_a_chart_without_validation(tmp_path, figures):
    rows = "".join(f"{i}0,detector,80,{9 - i},{9 - i},.001,.5,,,,,,,\n" for i in range(1, 6))
    run = read_results(write_results(tmp_path / "results.csv", rows))
    charts.draw_run(run, "run", tmp_path / "chart.png")
    assert [axis.get_ylabel() for axis in figures[0].axes] == ["loss", "learning\nrate"]
    assert_readable(figures[0])


def write_validation(folder, names, stem="last"):
    """As dn_evaluation_save writes: zeros and classes without truths are left out."""
    with (folder / f"{stem}_pr.csv").open("w") as file:
        file.write("kind,class,iou,recall,precision\n")
        for k, name in enumerate(names[1:], 1):
            for iou, step in itertools.product((0.5, 0.75, 0.9), range(5)):
                precision = 1 - step / 4 * (k + 1) / len(names)
                file.write(f"masks,{name},{iou:.2f},{step / 4},{precision}\n")
    with (folder / f"{stem}_confusion.csv").open("w") as file:
        file.write("kind,truth,detection,count\n")
        every = [*names, "background"]
        for (i, a), (j, b) in itertools.product(enumerate(every), repeat=2):
            if i > 0 and (i + j) % 2 == 0:
                file.write(f"masks,{a},{b},{100 * i + j}\n")
    classes = {"classes": [{"name": name} for name in names]}
    (folder / f"{stem}_metrics.json").write_text(json.dumps({"masks": classes}))


@pytest.mark.parametrize("count", [3, 20])
def test_precision_and_recall(tmp_path, figures, count):
    """Means leave out classes without truths; names are told apart whatever their number."""
    names = [f"class number {i}" for i in range(count)]
    write_validation(tmp_path, names)
    curves = validation_charts.read_pr(tmp_path / "last_pr.csv")["masks"]
    assert list(curves) == names[1:]
    validation_charts.draw_pr(curves, "masks", tmp_path / "pr.png")
    left, right = figures[0].axes
    line = left.get_lines()[0]
    slopes = np.mean([(k + 1) / count for k in range(1, count)])
    np.testing.assert_allclose(line.get_ydata(), 1 - np.linspace(0, 1, 5) * slopes)
    assert line.get_label() == f"IoU 0.50: AP {100 * np.mean(line.get_ydata()):.1f}"
    assert len(right.get_legend().get_texts()) == min(count - 1, 8)
    assert len(right.get_lines()) == count - 1
    assert_readable(figures[0])


@pytest.mark.parametrize("count", [1, 26])
def test_the_confusion_matrix(tmp_path, figures, count):
    write_validation(tmp_path, [f"class number {i}" for i in range(count)])
    names, counts = validation_charts.read_confusion(tmp_path / "last")["masks"]
    assert counts.shape == (count + 1, count + 1)
    assert counts[-1, 0] == (0 if count % 2 else 100 * count)
    assert not counts[0].any()
    validation_charts.draw_confusion(names, counts, "masks", tmp_path / "confusion.png")
    axis = figures[0].axes[0]
    rows = [label.get_text() for label in axis.get_yticklabels()]
    assert rows[-1] == "no object"
    assert len(rows) == min(count, 24) + 1
    for text in axis.texts:
        column, row = text.get_position()
        truth = names.index(rows[row]) if row < len(rows) - 1 else count
        found = names.index(rows[column]) if column < len(rows) - 1 else count
        assert int(text.get_text()) == counts[truth, found]
    if count == 1:  # slanted labels' bounds overlap though their letters do not
        assert_readable_but_slanted(figures[0], axis)


def assert_readable_but_slanted(figure, axis):
    for label in axis.get_xticklabels():
        label.set_visible(False)
    assert_readable(figure)


# ---- pictures and the command ----


@pytest.fixture
def run(tmp_path):
    """A run of the small segmenter with weights, results and an args file."""
    folder = Segmenter(tmp_path)
    data = (tmp_path / "tiny.data").read_text()
    (tmp_path / "tiny.data").write_text(data.replace("tiny.names", str(tmp_path / "tiny.names")))
    backup = tmp_path / "backup/seg"
    backup.mkdir(parents=True)
    write_results(backup / "results.csv")
    (backup / "args.txt").write_text(
        f"command: ./darknet segmenter train\ncfg: {tmp_path}/seg.cfg\n"
        f"data: {tmp_path}/tiny.data\nweights: \nseed: 3\n\n[net]\nseed: 9\n"
    )
    detector, branch = (tmp_path / name for name in ("tiny.weights", "mask.weights"))
    whole = detector.read_bytes() + branch.read_bytes()[20:]
    (tmp_path / "backup/seg_last.weights").write_bytes(whole)
    return folder


def test_the_report_of_a_run(run, capsys):
    folder = run.path / "backup/seg"
    write_validation(folder, ["cat", "dog"])
    assert report_main([str(folder)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[:2] == [
        "iterations: detector 30, mask 30; average loss 0.4700",
        "best mask AP: 25.0 at iteration 20 of stage mask",
    ]
    names = ["chart.png", "pr_mask.png", "confusion.png"]
    names += [f"batch_{i}.jpg" for i in (1, 2, 3)] + [f"valid_{i}.jpg" for i in range(1, 7)]
    assert printed[2:] == [str(folder / name) for name in names]
    for name in names:
        assert cv2.imread(str(folder / name)) is not None
    given = ["results.csv", "args.txt", "last_pr.csv", "last_confusion.csv", "last_metrics.json"]
    assert {path.name for path in folder.iterdir()} == {*names, *given}


def test_the_program_draws_the_report(run):
    folder = run.path / "backup/seg"
    environment = ENVIRONMENT | {"YOLOMASK_PYTHON": sys.executable}
    command = [PROGRAM, "report", folder]
    out = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert out.stdout.splitlines()[2] == str(folder / "chart.png")


def test_only_what_there_is_is_drawn(run, tmp_path, capsys):
    folder = run.path / "backup/seg"
    (folder / "args.txt").unlink()
    assert report_main([str(folder)]) == 0
    assert capsys.readouterr().out.splitlines()[2:] == [str(folder / "chart.png")]
    (folder / "results.csv").unlink()
    assert report_main([str(folder)]) == 1
    assert "results.csv: is missing" in capsys.readouterr().err


def test_the_best_weights_are_shown(run):
    folder = run.path / "backup/seg"
    assert find_weights(folder).name == "seg_last.weights"
    (run.path / "backup/seg_best.weights").write_bytes(b"")
    assert find_weights(folder).name == "seg_best.weights"
    assert read_args(folder) == Training(f"{run.path}/seg.cfg", f"{run.path}/tiny.data", None, 3)


def test_a_training_that_has_just_begun(run, capsys):
    folder = run.path / "backup/seg"
    write_results(folder / "results.csv", "")
    args = (folder / "args.txt").read_text()
    (folder / "args.txt").write_text(args.replace("seed: 3", "stages: detector\nseed: 3"))
    (run.path / "backup/seg_last.weights").unlink()
    assert read_args(folder).stage == "detector"
    assert report_main([str(folder)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed == ["no ten iterations yet", *(f"{folder}/batch_{i}.jpg" for i in (1, 2, 3))]


def test_samples_are_drawn_where_they_are(run):
    """The labels are rectangles: their colour stands along their borders, moved as the image is."""
    dataset = Dataset(run.path / "tiny.data", "train")
    objects = dataset.objects(0, 48, 80)
    np.testing.assert_array_equal(objects.boxes, [[10, 8, 30, 32]])
    mask = objects.mask(0)
    assert mask.sum() == 480
    assert mask[8:32, 10:30].all()
    (path,) = draw_batches(run.path / "seg.cfg", dataset, run.path, seed=3, count=1)
    sheet = cv2.imread(str(path))[..., ::-1].astype(int)
    assert sheet.shape == (260, 260, 3)  # two beside two samples of 64 pixels, doubled
    quarters = [sheet[y : y + 128, x : x + 128] for y in (0, 132) for x in (0, 132)]
    colours = [class_colour(0), class_colour(1)]
    for quarter in quarters:
        near = [np.abs(quarter - colour).max(axis=2) < 60 for colour in colours]
        assert max(part.sum() for part in near) > 60
    assert (sheet[128:132] > 200).all()
