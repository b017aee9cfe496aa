"""`python -m yolomask convert`: masks are the same to the pixel in every format that holds them.

Truth: the random masks themselves, and pycocotools for polygons and areas.
"""

from __future__ import annotations

import contextlib
import io
import json

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from yolomask.commands import convert_main
from yolomask.convert import convert
from yolomask.datasets import Dataset

# pycocotools 2.0 with NumPy 2: its own affair.
pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")

NAMES = ["cat", 'dog "x"', "\u6f22"]


def blob(rng, height: int, width: int) -> np.ndarray:
    """A random mask, often of several parts and with holes."""
    coarse = rng.random((height // 6 + 2, width // 6 + 2)).astype(np.float32)
    mask = cv2.resize(coarse, (width, height)) > rng.uniform(0.4, 0.8)
    if rng.random() < 0.3:
        mask |= rng.random((height, width)) < 0.02  # pixels that touch at corners only
    mask[rng.integers(height), rng.integers(width)] = True
    return mask


def random_set(folder, seed: int, overlap=True, crowds=True, boxes=True):
    """A COCO JSON in folder/x, and what it says: {image name: [(class, mask or box, crowd)]}."""
    rng = np.random.default_rng(seed)
    images, annotations, truth = [], [], {}
    (folder / "x/sub").mkdir(parents=True)
    for i in range(5):
        height, width = (int(v) for v in rng.integers(9, 70, 2))
        name = f"{'sub/' * (i % 2)}{i} \u00e4.png"
        cv2.imwrite(str(folder / "x" / f"{i}.png"), np.zeros((height, width), np.uint8))
        (folder / "x" / f"{i}.png").rename(folder / "x" / name)
        images.append({"id": 10 + i, "file_name": name, "width": width, "height": height})
        objects = truth[name.split("/")[-1]] = []
        free = np.ones((height, width), bool)
        for _ in range(rng.integers(0, 6)):
            class_id, crowd = int(rng.integers(3)), bool(crowds and rng.random() < 0.2)
            row = {"id": len(annotations) + 1, "image_id": 10 + i, "category_id": 5 + class_id * 2}
            row["iscrowd"] = int(crowd)
            kind = rng.integers(4 if boxes else 3)
            if kind == 0 and overlap:  # polygons with one decimal: on the edges of rounding
                parts = rng.uniform(0, [width, height], (rng.integers(1, 4), 5, 2)).round(1)
                row["segmentation"] = [part.reshape(-1).tolist() for part in parts]
                rles = coco_mask.frPyObjects(row["segmentation"], height, width)
                mask = coco_mask.decode(coco_mask.merge(rles)).astype(bool)
                if not mask.any():
                    continue
            elif kind == 3:
                box = [1.5, 2.25, float(rng.integers(1, width - 2)), 5.125]
                annotations.append(row | {"bbox": box, "area": box[2] * box[3]})
                objects.append((class_id, box, crowd))
                continue
            else:
                mask = blob(rng, height, width)
                if not overlap:
                    mask &= free
                    free &= ~mask
                if not mask.any():
                    continue
                rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
                row["segmentation"] = {"size": [height, width], "counts": rle["counts"].decode()}
            ys, xs = np.nonzero(mask)
            row["bbox"] = [int(v) for v in (xs.min(), ys.min(), np.ptp(xs), np.ptp(ys))]
            row["bbox"] = [*row["bbox"][:2], row["bbox"][2] + 1, row["bbox"][3] + 1]
            annotations.append(row | {"area": int(mask.sum())})
            objects.append((class_id, mask, crowd))
    categories = [{"id": 5 + 2 * i, "name": name} for i, name in enumerate(NAMES)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    path = folder / "x/labels.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path, truth


def read(dataset: Dataset) -> dict[str, list]:
    """The data set in the form of the truth."""
    found = {}
    for index in range(len(dataset)):
        height, width = dataset.size(index)
        objects = dataset.objects(index, height, width)
        rows = found[dataset.path(index).split("/")[-1]] = []
        for i, class_id in enumerate(objects.class_ids):
            x0, y0, x1, y1 = objects.boxes[i]
            mask = objects.mask(i)
            box = [x0, y0, x1 - x0, y1 - y0]
            rows.append((class_id, box if mask is None else mask, objects.crowds[i]))
    return found


def assert_same(found: dict, truth: dict, tolerance: float = 0.0) -> None:
    assert found.keys() == truth.keys()
    for name, objects in truth.items():
        assert [(c, k) for c, _, k in found[name]] == [(c, k) for c, _, k in objects], name
        for (_, got, _), (_, wanted, _) in zip(found[name], objects, strict=True):
            if isinstance(wanted, list):
                assert np.allclose(got, wanted, rtol=0, atol=max(tolerance, 1e-4)), name
            else:
                assert (got == wanted).all(), name


SEEDS = range(6)


def reopen(out, to: str) -> Dataset:
    if to == "coco":
        return Dataset.from_labels(out, images=out.parent / "x", strict=True)
    if to == "png":
        return Dataset.from_labels(out / "images", masks=out / "masks", strict=True)
    folder = out / "images" if to == "yolo" else out
    return Dataset.from_labels(folder, names=out / "names.txt", strict=True)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("to", ["coco", "labelme"])
def test_all_objects_come_back(tmp_path, to, seed):
    path, truth = random_set(tmp_path, seed)
    out = tmp_path / ("out.json" if to == "coco" else "out")
    done = convert(Dataset.from_labels(path), out, to)
    back = reopen(out, to)
    assert list(back.names.values()) == NAMES
    assert_same(read(back), truth)
    rows = json.loads(path.read_text())["annotations"]
    runs = [r["segmentation"] for r in rows if isinstance(r.get("segmentation"), dict)]
    holes = sum(has_hole(coco_mask.decode(rle).astype(bool)) for rle in runs)
    wanted = {"objects with holes, which no polygon holds: written as masks": holes}
    assert done.lost == ({k: v for k, v in wanted.items() if v} if to == "labelme" else {})


def has_hole(mask: np.ndarray) -> bool:
    """Is there background that does not reach the border (4-connected)?"""
    padded = np.pad(~mask, 1, constant_values=True).astype(np.uint8)
    return cv2.connectedComponents(padded, connectivity=4)[0] > 2


@pytest.mark.parametrize("seed", SEEDS)
def test_yolo_rows(tmp_path, seed):
    """One polygon an object, holes and parts bridged; crowds are left out and counted."""
    path, truth = random_set(tmp_path, seed)
    done = convert(Dataset.from_labels(path), tmp_path / "out", "yolo")
    crowds = sum(k for objects in truth.values() for _, _, k in objects)
    assert done.lost == ({"crowds, left out": crowds} if crowds else {})
    held = {name: [o for o in objects if not o[2]] for name, objects in truth.items()}
    assert_same(read(reopen(tmp_path / "out", "yolo")), held)


@pytest.mark.parametrize("seed", SEEDS)
def test_label_pngs(tmp_path, seed):
    """Without overlaps all masks come back; the classes do not."""
    path, truth = random_set(tmp_path, seed, overlap=False)
    done = convert(Dataset.from_labels(path), tmp_path / "out", "png")
    crowds = sum(k for objects in truth.values() for _, _, k in objects)
    boxes = sum(isinstance(m, list) and not k for o in truth.values() for _, m, k in o)
    held = {
        name: [(0, m, k) for _, m, k in objects if not k and not isinstance(m, list)]
        for name, objects in truth.items()
    }
    count = sum(map(len, held.values()))
    wanted = {"crowds, left out": crowds, "boxes without a mask, left out": boxes}
    wanted["classes of objects"] = count
    assert {k: v for k, v in done.lost.items() if v} == {k: v for k, v in wanted.items() if v}
    if count:
        assert_same(read(reopen(tmp_path / "out", "png")), held)
    for name in held:  # as OpenCV reads them
        labels = cv2.imread(str(tmp_path / "out/masks" / name), cv2.IMREAD_UNCHANGED)
        assert labels.dtype == np.uint16 and len(np.unique(labels[labels > 0])) == len(held[name])


def test_overlaps_in_pngs(tmp_path):
    """The smaller one lies above; what is lost is counted."""
    path, _ = random_set(tmp_path, 0)
    content = json.loads(path.read_text())
    image = content["images"][0]
    image["width"], image["height"] = 40, 30
    cv2.imwrite(str(tmp_path / "x" / "big.png"), np.zeros((30, 40), np.uint8))
    image["file_name"] = "big.png"

    def square(number, x, y, side):
        ring = [x, y, x + side, y, x + side, y + side, x, y + side]
        return {"id": number, "image_id": image["id"], "category_id": 5, "segmentation": [ring]}

    content |= {"images": [image]}
    content["annotations"] = [square(1, 5, 5, 4), square(2, 0, 0, 20), square(3, 5, 5, 4)]
    path.write_text(json.dumps(content))
    done = convert(Dataset.from_labels(path), tmp_path / "out", "png")
    assert done.lost == {
        "objects that lie under others, left out": 1,
        "objects that lost pixels to others above them": 1,
        "classes of objects": 3,
    }
    labels = cv2.imread(str(tmp_path / "out/masks/big.png"), cv2.IMREAD_UNCHANGED)
    assert (labels[5:9, 5:9] == 3).all() and (labels == 2).sum() == 400 - 16


@pytest.mark.parametrize("seed", [1, 2])
def test_there_and_back_through_all(tmp_path, seed):
    """COCO to LabelMe to COCO to YOLO to COCO: pycocotools reads the same masks and areas."""
    path, truth = random_set(tmp_path, seed, crowds=False)
    steps = [("a", "labelme"), ("b.json", "coco"), ("c", "yolo"), ("d.json", "coco")]
    dataset = Dataset.from_labels(path)
    for name, to in steps:
        convert(dataset, tmp_path / name, to)
        if to == "coco":
            root = tmp_path / ("a" if name == "b.json" else "c/images")
            dataset = Dataset.from_labels(tmp_path / name, images=root, strict=True)
        else:
            dataset = reopen(tmp_path / name, to)
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(tmp_path / "d.json"))
    assert [c["name"] for c in coco.loadCats(sorted(coco.cats))] == NAMES
    for image in coco.imgs.values():
        rows = coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]]))
        wanted = truth[image["file_name"]]
        assert len(rows) == len(wanted)
        for row, (_, mask, _) in zip(rows, wanted, strict=True):
            if isinstance(mask, list):
                assert np.allclose(row["bbox"], mask, atol=1e-4)
                continue
            assert (coco.annToMask(row) == mask).all()
            assert row["area"] == mask.sum()


def test_simple_polygons_keep_their_points(tmp_path):
    """What YOLO can hold as it is stays as it was drawn."""
    path, _ = random_set(tmp_path, 0)
    content = json.loads(path.read_text())
    image = content["images"][0]
    ring = [1.5, 2.25, 7.75, 2.5, 6.125, 7.5]
    row = {"id": 1, "image_id": image["id"], "category_id": 5, "segmentation": [ring]}
    path.write_text(json.dumps(content | {"annotations": [row], "images": [image]}))
    convert(Dataset.from_labels(path), tmp_path / "out", "yolo")
    (label,) = (tmp_path / "out/labels").iterdir()
    numbers = [float(v) for v in label.read_text().split()]
    size = np.array([image["width"], image["height"]] * 3)
    assert numbers[0] == 0 and np.allclose(numbers[1:] * size, ring, rtol=1e-15)


def test_real_set(tmp_path, datasets):
    """coco125's second part: every mask of several parts and many points, as YOLO rows."""
    folder = datasets / "coco125"
    source = Dataset.from_labels(
        folder / "instances_val2017.json", images=folder / "images/val2017", strict=True
    )
    done = convert(source, tmp_path / "out", "yolo", link=False)
    assert done.lost == {} and done.objects == 511
    assert_same(read(reopen(tmp_path / "out", "yolo")), read(source))


def test_command(tmp_path, capsys):
    path, truth = random_set(tmp_path, 3)
    out = tmp_path / "new/out"
    assert convert_main([str(path), str(out), "--to", "yolo", "--link"]) == 0
    printed = capsys.readouterr().out.splitlines()
    objects = sum(map(len, truth.values()))
    crowds = sum(k for rows in truth.values() for _, _, k in rows)
    assert printed == [
        f"5 images, {objects} objects: {out}",
        *[f"not held by yolo: {crowds} crowds, left out"] * (crowds > 0),
    ]
    assert (out / "images/0 \u00e4.png").stat().st_nlink == 2
    assert convert_main([str(path), str(out), "--to", "yolo"]) == 1
    assert "is there already; nothing is overwritten" in capsys.readouterr().err
    assert convert_main([str(path), str(tmp_path / "x.txt"), "--to", "coco"]) == 1
    assert "a COCO file ends in .json" in capsys.readouterr().err
    assert convert_main([str(tmp_path / "none.json"), str(tmp_path / "o"), "--to", "png"]) == 1
    assert "none.json: cannot open" in capsys.readouterr().err
    again = tmp_path / "again.json"
    labels = [str(out / "images"), str(again), "--to", "coco", "--names", str(out / "names.txt")]
    assert convert_main(labels) == 0
    assert capsys.readouterr().out.splitlines()[1] == f"images: {out / 'images'}"


def test_names_that_meet(tmp_path):
    """a/1.png, b/1.png and a/1.jpg get labels of their own."""
    for name in ("a/1.png", "b/1.png", "a/1.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / name), np.zeros((20, 20), np.uint8))
    (tmp_path / "list").write_text("a/1.png\nb/1.png\na/1.jpg\n")
    (tmp_path / "a/1.txt").write_text("0 .5 .5 .2 .2\n")
    (tmp_path / "b/1.txt").write_text("0 .5 .5 .4 .4\n")
    convert(Dataset.from_labels(tmp_path / "list"), tmp_path / "out", "yolo")
    found = sorted(p.name for p in (tmp_path / "out/labels").iterdir())
    assert found == ["a_1.txt", "a_1_2.txt", "b_1.txt"]
    assert (tmp_path / "out/images/a_1_2.jpg").is_file()
