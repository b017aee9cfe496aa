"""`darknet segmenter check`: every kind of finding, planted once in a clean set."""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from program import ENVIRONMENT, PROGRAM

SQUARE = [10, 10, 30, 10, 30, 25, 10, 25]


def check(folder: Path, *arguments, code: int | None = None) -> tuple[list[dict], str]:
    """The findings and what was printed; both must say the same."""
    words = [PROGRAM, "segmenter", "check", *map(str, arguments), "-json", "out.json"]
    run = subprocess.run(words, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)
    findings = json.loads((folder / "out.json").read_text())
    wrong = [f for f in findings if not f["information"]]
    assert run.returncode == bool(wrong) and not run.stderr, (run.stdout, run.stderr)
    if code is not None:
        assert run.returncode == code
    lines, notes = iter(run.stdout.splitlines()), Counter()
    for f in findings:
        notes[f["kind"]] += f["information"]
        if notes[f["kind"]] > 20:  # no more are printed
            continue
        place = f["file"] + (f":{f['line']}" if f["line"] else "")
        assert next(lines) == f"{place}: {f['text']}"
    last = run.stdout.splitlines()[-1]
    count = f"{len(wrong)} finding{'s' * (len(wrong) != 1)}" if wrong else "clean"
    notes = f", {len(findings) - len(wrong)} for information" * (len(findings) > len(wrong))
    assert last == count + notes
    return findings, run.stdout


def picture(path: Path, seed: int, width: int = 60, height: int = 40) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    cv2.imwrite(str(path), pixels)


def annotation(number: int, image: int, polygon=None, **more) -> dict:
    polygon = SQUARE if polygon is None else polygon
    xs, ys = polygon[::2], polygon[1::2]
    bbox = [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
    row = {"id": number, "image_id": image, "category_id": 7, "bbox": bbox, "iscrowd": 0}
    return row | {"area": bbox[2] * bbox[3], "segmentation": [polygon]} | more


class Coco:
    """A clean COCO set of two images; `write` writes it, an annotation a line."""

    def __init__(self, folder: Path, name: str = "a", seed: int = 0):
        self.folder, self.path = folder, folder / f"{name}.json"
        self.images = []
        for i in (1, 2):
            picture(folder / f"{name}{i}.png", seed + i)
            self.images.append({"id": i, "file_name": f"{name}{i}.png", "width": 60, "height": 40})
        self.annotations = [annotation(1, 1), annotation(2, 2)]

    def write(self) -> Path:
        rows = ",\n".join(json.dumps(row) for row in self.annotations)
        images = json.dumps(self.images)
        categories = json.dumps([{"id": 7, "name": "cat"}])
        self.path.write_text(
            f'{{"images": {images}, "categories": {categories}, "annotations": [\n{rows}]}}'
        )
        return self.path


BOW = [10, 10, 30, 30, 30, 10, 10, 30]
# A square with a square hole, joined by a bridge there and back: no crossing.
BRIDGED = [5, 5, 35, 5, 35, 35, 5, 35, 5, 15, 15, 15, 15, 25, 25, 25, 25, 15, 15, 15, 5, 15]
FAR = {"segmentation": [[2e7, 1, 9, 9, 1, 9]], "bbox": [1, 1, 9, 9]}

PLANTED = {  # what is added to the annotations: kind, words of the finding
    "class": (annotation(9, 1, category_id=8), "class", "its category_id 8 is none"),
    "points": (annotation(9, 1, [1, 1, 5, 5]), "points", "a polygon has 2 points"),
    "odd": (
        annotation(9, 1, segmentation=[[*SQUARE, 3]]),
        "points",
        "odd number of coordinates, 9",
    ),
    "range": (
        annotation(9, 1, [40, 20, 63, 20, 50, 35]),
        "range",
        "annotation 9 (cat): its point (63, 20) lies outside the image of 60 x 40",
    ),
    "outside": (annotation(9, 1, [70, 1, 80, 1, 75, 9]), "range", "its box lies outside"),
    "far": (annotation(9, 1, **FAR), "range", "a coordinate is beyond"),
    "box": (
        annotation(9, 1, segmentation=[], bbox=[40, 20, 30, 10]),
        "range",
        "its box (40, 20)-(70, 30) leaves the image of 60 x 40",
    ),
    "area": (annotation(9, 1, segmentation=[], bbox=[5, 5, 0, 9]), "area", "its box has no area"),
    "mask": (annotation(9, 1, [1, 30, 5, 30, 9, 30.0001]), "area", "its mask covers no pixel"),
    "runs": (
        annotation(9, 1, segmentation={"size": [40, 60], "counts": [1, 2]}),
        "mask",
        "2 runs cover 3 pixels",
    ),
    "crossing": (
        annotation(9, 1, BOW),
        "crossing",
        "annotation 9 (cat): its outline crosses itself at (20.0, 20.0)",
    ),
    "duplicate": (
        annotation(9, 2, [10, 10, 30, 10, 30, 25.4, 10, 25]),
        "duplicate",
        "annotation 9 (cat): the same as annotation 2 (cat) in line 3",
    ),
    "orphan": (annotation(9, 5), "orphan", "its image_id 5 is none of the images"),
    "small": (annotation(9, 1, [40, 30, 42, 30, 42, 38, 40, 38]), "small", "is only 2 x 8 pixels"),
}


def test_clean(tmp_path):
    coco = Coco(tmp_path)
    crowd = {"size": [40, 60], "counts": [50, 300, 2050]}
    coco.annotations += [
        annotation(3, 1, BRIDGED),
        annotation(4, 1, iscrowd=1, segmentation=crowd, bbox=[1, 0, 9, 40], area=300),
        annotation(5, 2, [40, 30, 60.9, 30, 55, 39]),  # exporters round
    ]
    findings, printed = check(tmp_path, coco.write(), code=0)
    assert findings == []
    assert printed.splitlines() == [
        f"{coco.path}: 2 images, 5 objects: 4 polygons, 1 run-length masks, 0 boxes, "
        "1 of them crowds",
        "clean",
    ]


@pytest.mark.parametrize("what", PLANTED)
def test_annotations(tmp_path, what):
    added, kind, words = PLANTED[what]
    coco = Coco(tmp_path)
    coco.annotations.insert(2, added)
    findings, _ = check(tmp_path, coco.write())
    (finding,) = [f for f in findings if kind == "small" or not f["information"]]
    assert (finding["kind"], finding["file"], finding["line"]) == (kind, str(coco.path), 4)
    assert words in finding["text"], finding


def test_images(tmp_path):
    """An image of each kind, in one set."""
    coco = Coco(tmp_path)
    names = ["empty", "crowd", "other size", "cut", "gone", "copy"]
    for i, name in enumerate(names, 3):
        coco.images.append({"id": i, "file_name": f"{name}.png", "width": 60, "height": 40})
        picture(tmp_path / f"{name}.png", i, 60, 41 if name == "other size" else 40)
        if name != "empty":
            coco.annotations.append(annotation(i, i, iscrowd=int(name == "crowd")))
    cut = tmp_path / "cut.png"
    cut.write_bytes(cut.read_bytes()[:-300])
    (tmp_path / "gone.png").unlink()
    (tmp_path / "copy.png").write_bytes((tmp_path / "a1.png").read_bytes())
    findings, _ = check(tmp_path, coco.write(), code=1)
    found = [(f["kind"], Path(f["file"]).name, f["text"].split(" of ")[0]) for f in findings]
    assert found == [
        ("empty", "empty.png", f"has no objects in {coco.path}"),
        ("crowd", "crowd.png", "has crowds only (1): nothing to learn from"),
        ("size", "other size.png", f"is 60 x 41 (width x height), but {coco.path} says 60 x 40"),
        ("image", "cut.png", found[3][2]),
        ("image", "gone.png", "cannot open: No such file or directory"),
        ("repeated", "copy.png", f"is the same image as {tmp_path}/a1.png"),
    ]
    assert "ends early" in found[3][2] or "damaged" in found[3][2]


def test_much_information(tmp_path):
    """Twenty lines of a kind are enough; the table and the JSON have them all."""
    coco = Coco(tmp_path)
    for i in range(50):
        ring = [i, 30, i + 1, 30, i + 1, 39, i, 39]
        coco.annotations.append(annotation(10 + i, 1, ring))
    findings, printed = check(tmp_path, coco.write(), code=0)
    assert len(findings) == 50 and printed.count("is only 1 x 9 pixels") == 20
    assert "        50  small " in printed and printed.endswith("clean, 50 for information\n")


def test_images_elsewhere(tmp_path):
    coco = Coco(tmp_path)
    path = coco.write()
    (tmp_path / "elsewhere").mkdir()
    path = path.rename(tmp_path / "elsewhere/labels.json")
    printed = check(tmp_path, path, code=1)[1].splitlines()
    assert "no image can be read: is -images, their folder, right?" in printed
    check(tmp_path, path, "-images", tmp_path, code=0)


def test_two_sets(tmp_path):
    """The same bytes under any name, and the same name with other bytes, which is information."""
    one, two = Coco(tmp_path / "one", "a", 0), Coco(tmp_path / "two", "b", 50)
    findings, _ = check(tmp_path, one.write(), two.write(), code=0)
    assert findings == []
    (tmp_path / "two/b2.png").write_bytes((tmp_path / "one/a1.png").read_bytes())
    two.images[0]["file_name"] = "a2.png"
    picture(tmp_path / "two/a2.png", 99)
    names = tmp_path / "names"
    names.write_text("cat\n")
    (tmp_path / "x.data").write_text(
        f"train={one.write()}\nvalid={two.write()}\nnames={names}\nclasses=1\n"
    )
    for arguments in ([one.path, two.path], ["x.data"]):
        findings, _ = check(tmp_path, *arguments, code=1)
        assert [(f["kind"], f["file"], f["text"]) for f in findings] == [
            (
                "split",
                f"{tmp_path}/two/b2.png",
                f"is the same image as {tmp_path}/one/a1.png of another set",
            ),
            (
                "name",
                f"{tmp_path}/two/a2.png",
                f"has the name of {tmp_path}/one/a2.png of another set",
            ),
        ]


def test_rows(tmp_path):
    """Text files: lines, images without labels, labels without images; lists lie beside."""
    rows = {
        "a": "0 .5 .5 .2 .2\n0 .1 .1 .4 .1 .4 .4\n",
        "b": "0 .5 .5 .2 .2\n\n2 .5 .5 .2 .2\n0 .1 .1 .4\n0 .5 .5 .2 .2\n0 .2 .2 .2 1.2\n0 x\n",
        "c": "\n",
        "lonely": "0 .5 .5 .2 .2\n",
        "classes": "cat\ndog\n",
    }
    for i, name in enumerate("abcd"):
        picture(tmp_path / f"x/images/{name}.png", i)
    (tmp_path / "x/labels").mkdir()
    for name, text in rows.items():
        (tmp_path / f"x/labels/{name}.txt").write_text(text)
    (tmp_path / "x/labels/lonely.json").write_text('{"shapes": []}')
    (tmp_path / "x/labels/info.json").write_text('{"images": []}')
    findings, _ = check(tmp_path, tmp_path / "x/images", "-classes", 2, code=1)
    found = [(f["kind"], Path(f["file"]).name, f["line"]) for f in findings]
    assert sorted(found[-2:]) == [("orphan", "lonely.json", 0), ("orphan", "lonely.txt", 0)]
    assert found[:-2] == [
        ("class", "b.txt", 3),
        ("points", "b.txt", 4),
        ("range", "b.txt", 6),
        ("format", "b.txt", 7),
        ("unlabelled", "d.png", 0),
        ("duplicate", "b.txt", 5),
        ("negative", "c.txt", 0),
    ]
    listed = tmp_path / "list.txt"
    listed.write_text(f"{tmp_path}/x/images/a.png\n{tmp_path}/x/images/zzz.png\n")
    findings, _ = check(tmp_path, listed, code=1)
    first = findings[0]
    assert (first["kind"], first["file"], first["line"]) == ("image", str(listed), 2)


def test_labels_beside_images_and_lists(tmp_path):
    """train.txt among the images is no label."""
    for i, name in enumerate("ab"):
        picture(tmp_path / f"{name}.jpg", i)
        (tmp_path / f"{name}.txt").write_text("0 .5 .5 .2 .2\n")
    (tmp_path / "train.txt").write_text("a.jpg\n")
    (tmp_path / "notes.txt").write_text("12 images were taken\n")
    (tmp_path / "c.txt").write_text("0 .5 .5 .2 .2\n")
    findings, _ = check(tmp_path, "train.txt")
    assert [(f["kind"], f["file"]) for f in findings if f["file"] != "notes.txt"] == [
        ("orphan", "c.txt")
    ]


def test_masks_and_labelme(tmp_path):
    picture(tmp_path / "i/a.png", 0)
    picture(tmp_path / "i/b.png", 1)
    labels = np.zeros((40, 60), np.uint8)
    labels[3:20, 4:30] = 5
    labels[30, 2:20] = 9
    (tmp_path / "m").mkdir()
    for name, values in (("a", labels), ("b", labels[:30]), ("z", labels)):
        cv2.imwrite(str(tmp_path / f"m/{name}.png"), values)
    findings, _ = check(tmp_path, "i", "-masks", "m", code=1)
    assert [(f["kind"], f["file"], f["text"]) for f in findings] == [
        ("small", "m/a.png", "object (0) at (2, 30): is only 18 x 1 pixels"),
        ("size", "i/b.png", "is 60 x 40 (width x height), but m/b.png says 60 x 30"),
        ("orphan", "m/z.png", "has no image in i/"),
    ]
    points = [[10, 10], [30, 30], [30, 10], [10, 30]]
    for name, shapes in (("a", [{"label": "x", "points": points}]), ("b", [])):
        text = json.dumps({"shapes": shapes, "imagePath": f"{name}.png"}, indent=1)
        (tmp_path / f"i/{name}.json").write_text(text)
    findings, _ = check(tmp_path, "i", code=1)
    assert [(f["kind"], f["file"], f["line"]) for f in findings] == [
        ("crossing", "i/a.json", 3),
        ("empty", "i/b.png", 0),
    ]


def test_broken_files(tmp_path):
    """A set that cannot be loaded is a finding; the others are checked all the same."""
    coco = Coco(tmp_path)
    (tmp_path / "bad.json").write_text('{"images": [\n{"id": "x"}]}')
    findings, printed = check(tmp_path, "bad.json", coco.write(), code=1)
    assert [(f["kind"], f["file"], f["line"]) for f in findings] == [("format", "bad.json", 2)]
    assert f"{coco.path}: 2 images" in printed
    words = [PROGRAM, "segmenter", "check", "nothing.json"]
    run = subprocess.run(words, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    assert run.returncode == 1 and "nothing.json: cannot open" in run.stderr


def test_threads_change_nothing(tmp_path):
    coco = Coco(tmp_path)
    for i in range(3, 30):
        picture(tmp_path / f"p{i}.png", i)
        coco.images.append({"id": i, "file_name": f"p{i}.png", "width": 60, "height": 40})
        coco.annotations += [annotation(10 * i, i, BOW), annotation(10 * i + 1, i, SQUARE)]
    path = coco.write()
    outputs = [check(tmp_path, path, "-threads", n)[1] for n in (1, 3)]
    assert outputs[0] == outputs[1] and outputs[0].count("its outline crosses itself at") == 27


def crosses(ring: np.ndarray) -> bool:
    """Exact, with integers: do two edges cross inside both?"""

    def side(a, b, p):
        return np.sign((b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0]))

    edges = [(ring[i - 1], ring[i]) for i in range(len(ring))]
    return any(
        side(*s, t[0]) * side(*s, t[1]) < 0 and side(*t, s[0]) * side(*t, s[1]) < 0
        for i, s in enumerate(edges)
        for t in edges[:i]
    )


def strokes(count, slope):
    """A comb of that many points: long strokes side by side that do not cross, and the way back."""
    i = np.arange(count - 2)
    x = np.where(i % 4 // 2 == i % 2, 1, 50) + 1e-9 * i
    y = 1 + 30 * (i // 2) / count + slope * x
    ring = [*np.stack([x, y], 1).tolist(), [58, y[-1]], [58, 0.5]]
    return np.array(ring).reshape(-1).tolist()


def test_many_edges_side_by_side(tmp_path):
    """Swept along the axis on which they are short; where there is none, given up with a word."""
    coco = Coco(tmp_path)
    level, steep = strokes(30000, 0), strokes(30000, 0.6)
    coco.annotations = [annotation(1, 2), annotation(3, 1, level), annotation(4, 1, steep)]
    start = time.monotonic()
    findings, _ = check(tmp_path, coco.write())
    assert time.monotonic() - start < 30
    texts = [f["text"] for f in findings if f["kind"] == "crossing"]
    assert texts == [
        "annotation 4 (cat): its outline has 30000 points whose edges lie side by side: too many "
        "to tell whether it crosses itself"
    ]


def test_crossings_equal_a_brute_force_search(tmp_path):
    rng = np.random.default_rng(8)
    coco = Coco(tmp_path)
    coco.annotations, wanted = [annotation(1, 2)], set()
    for number in range(10, 130):
        ring = rng.integers(0, 12, (rng.integers(3, 6), 2)) * [4, 3]
        if np.ptp(ring, 0).min() < 6:
            continue
        coco.annotations.append(annotation(number, 1, ring.reshape(-1).tolist()))
        if crosses(ring):
            wanted.add(number)
    findings, _ = check(tmp_path, coco.write())
    found = {int(f["text"].split()[1]) for f in findings if f["kind"] == "crossing"}
    assert found == wanted and 20 < len(wanted) < 90
