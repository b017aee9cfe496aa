"""docs/train-your-own.md, word for word: its commands on ten photos, labelled as COCO JSON and
again as YOLO-seg rows.

The commands are taken from the page; only the number of iterations, N, is made smaller. What they
print and write is held against what the page promises; both kinds of labels must train alike.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys

import cv2
import pytest

from conftest import ROOT
from program import ENVIRONMENT, PROGRAM

PAGE = (ROOT / "docs/train-your-own.md").read_text(encoding="utf-8")
KINDS = ("ESP8266", "Raspberry")


def commands(heading: str) -> str:
    """The commands of a section: its indented lines."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return "".join(line[4:] + "\n" for line in section.splitlines() if line.startswith("    "))


def data_file(kind: str) -> str:
    """The commands of step 1 with the data file of one kind of labels."""
    names, json_labels, rows = re.split(
        r"(?=^cat > my.data)", commands("1. Photos and labels"), flags=re.M
    )
    return names + {"json": json_labels, "rows": rows}[kind]


def take_photos(boards, folder, kind):
    """Eight and two photos with one board each, and their labels."""
    for part, count in (("train", 8), ("valid", 2)):
        labels = json.loads((boards / f"instances_{part}.json").read_text())
        names = {one["id"]: one["name"] for one in labels["categories"]}
        objects = {one["image_id"]: [] for one in labels["annotations"]}
        for one in labels["annotations"]:
            objects[one["image_id"]].append(one)
        target = folder / "photos" / part
        target.mkdir(parents=True)
        chosen = []
        for name in KINDS:
            only = [
                i
                for i, found in objects.items()
                if [names[o["category_id"]] for o in found] == [name]
            ]
            chosen += only[: count // 2]
        images = [one for one in labels["images"] if one["id"] in chosen]
        for image in images:
            shutil.copy(boards / "images" / part / image["file_name"], target)
            (one,) = objects[image["id"]]
            if kind == "rows":
                (outline,) = one["segmentation"]
                size = (image["width"], image["height"])
                values = [f"{v / size[i % 2]:.6f}" for i, v in enumerate(outline)]
                row = " ".join([str(KINDS.index(names[one["category_id"]])), *values])
                (target / image["file_name"]).with_suffix(".txt").write_text(row + "\n")
        if kind == "json":
            kept = [one for i in chosen for one in objects[i]]
            kinds = [one for one in labels["categories"] if one["name"] in KINDS]
            whole = {"images": images, "annotations": kept, "categories": kinds}
            (folder / f"photos/{part}.json").write_text(json.dumps(whole))


@pytest.fixture
def checkout(tmp_path, models):
    """A folder that looks like the repository's root after `make demo`."""
    for name in ("cfg", "python", "src", "libdarknet.so"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "darknet").symlink_to(PROGRAM)
    (tmp_path / "models").symlink_to(models)
    return tmp_path


def shell(folder, script: str) -> str:
    """Runs it as a user would; what it prints."""
    path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    environment = ENVIRONMENT | {"PATH": path, "YOLOMASK_PYTHON": sys.executable}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (script, done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout


@pytest.mark.parametrize("kind", ["json", "rows"])
def test_up_to_the_network(datasets, checkout, kind):
    """Steps 1 to 3: clean labels, and a network whose heads have the page's classes."""
    take_photos(datasets / "boards", checkout, kind)
    shell(checkout, data_file(kind))
    assert shell(checkout, commands("2. Check")).splitlines()[-1] == "clean"
    shell(checkout, commands("3. A network"))
    table = subprocess.run(
        [PROGRAM, "layers", "my-masks.cfg"],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(re.findall(r"1 x 1 / 1 .* 21  ", table.stderr)) == 2, table.stderr
    assert "yolo" in table.stderr and "mask  1 class" in table.stderr


def losses(out: str) -> list[float]:
    return [float(text) for text in re.findall(r"^\d+: ([\d.]+), ", out, re.M)]


@pytest.mark.slow
def test_the_whole_page(datasets, checkout):
    """Both kinds of labels train alike, and everything that the page names is there in the end."""
    printed = {}
    for kind in ("json", "rows"):
        folder = checkout / kind
        folder.mkdir()
        for link in ("cfg", "python", "src", "libdarknet.so", "darknet", "models"):
            (folder / link).symlink_to(checkout / link)
        take_photos(datasets / "boards", folder, kind)
        network, count = re.subn(r"^N=\d+$", "N=4", commands("3. A network"), flags=re.M)
        assert count == 1
        shell(folder, data_file(kind) + commands("2. Check") + network)
        printed[kind] = shell(folder, commands("4. Train"))
        seen = shell(folder, commands("5. See what it finds"))
        assert "Average Precision" in seen
        assert len(losses(printed[kind])) == 5
        for photo in (folder / "photos/valid").glob("*.jpg"):
            found = cv2.imread(str(folder / "found" / photo.name))
            assert found.shape == cv2.imread(str(photo)).shape
        for name in ("final.weights", "last.weights", "last.state", "final.mask.weights"):
            assert (folder / f"backup/my-masks_{name}").is_file(), name
        for name in ("batch_1.jpg", "valid_1.jpg", "valid_2.jpg"):
            assert cv2.imread(str(folder / "backup/my-masks" / name)) is not None, name
    assert losses(printed["rows"]) == pytest.approx(losses(printed["json"]), rel=0.02)


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([\w./-]+)\)", PAGE))))
def test_links_lead_somewhere(link):
    assert (ROOT / "docs" / link).is_file()
