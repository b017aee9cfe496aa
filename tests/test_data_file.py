"""Darknet's .data files: keys, paths, and what is said when the data is not there."""

from __future__ import annotations

import pytest

from dataset_tools import text, write
from test_dataset_errors import raises
from yolomask._native import ConfigError, check, ffi, lib


class DataFile:
    """A dn_data_file that was read."""

    def __init__(self, path):
        self.warnings = []

        @ffi.callback("void(void *, const char *)")
        def warn(context, sentence):
            self.warnings.append(text(sentence))

        out = ffi.new("dn_data_file **")
        check(lib.dn_data_file_read(str(path).encode(), warn, ffi.NULL, out))
        self.handle = ffi.gc(out[0], lib.dn_data_file_free)

    def __getattr__(self, name):
        value = getattr(self.handle, name)
        if isinstance(value, int):
            return value
        return None if value == ffi.NULL else text(value)

    def source(self, part):
        """The dn_dataset_source of a part, as a dict."""
        source = ffi.new("dn_dataset_source *")
        check(lib.dn_data_file_source(self.handle, part, source))
        names = ("path", "images_folder", "masks_folder", "names")
        found = {name: getattr(source, name) for name in names}
        return {name: text(value) if value else None for name, value in found.items()} | {
            "classes": source.classes
        }


def test_keys_and_defaults(tmp_path):
    path = write(
        tmp_path / "a.data",
        "# comment\r\n; another\n\nclasses= 80\r\n train  =  my data/train 1.txt # really\n"
        "names=x.names\ntop=5\nsaveweights=7\nsavelast=9\neval = coco\ntrain = second\n"
        "colour = blue\n",
    )
    data = DataFile(path)
    assert (data.classes, data.top, data.save_weights, data.save_last) == (80, 5, 7, 9)
    assert (data.train, data.names, data.eval) == (
        "my data/train 1.txt",
        "x.names",
        "coco",
    )
    assert (data.valid, data.map, data.tree, data.train_masks) == (None,) * 4
    assert (data.backup, data.results, data.path) == ("backup", "results", str(path))
    assert data.warnings == [
        f"{path}:11: repeated key, ignored: 'train = second'",
        f"{path}:12: Unused field: 'colour = blue'",
    ]


def test_paths_from_the_working_directory_then_beside(tmp_path, monkeypatch):
    here, there = tmp_path / "here", tmp_path / "there"
    for path in (here / "a.txt", there / "a.txt", there / "b/c.json", there / "out/x"):
        write(path, "x")
    monkeypatch.chdir(here)
    path = write(
        there / "a.data",
        f"train=a.txt\nvalid=b/c.json\nnames=missing\nvalid_images={tmp_path}\nbackup=out\n",
    )
    data = DataFile(path)
    assert (data.train, data.valid, data.names) == (
        "a.txt",
        f"{there}/b/c.json",
        "missing",
    )
    assert (data.valid_images, data.backup) == (str(tmp_path), f"{there}/out")


def test_sources(tmp_path):
    for name in ("a.json", "b.txt", "n"):
        write(tmp_path / name, "x")
    content = "classes=3\nnames=n\ntrain=a.json\ntrain_images=.\nvalid=b.txt\nvalid_masks=.\n"
    data = DataFile(write(tmp_path / "a.data", content.replace("=.", f"={tmp_path}")))
    common = {"names": f"{tmp_path}/n", "classes": 3}
    assert data.source(lib.DN_DATA_TRAIN) == common | {
        "path": f"{tmp_path}/a.json",
        "images_folder": str(tmp_path),
        "masks_folder": None,
    }
    assert data.source(lib.DN_DATA_VALID) == common | {
        "path": f"{tmp_path}/b.txt",
        "images_folder": None,
        "masks_folder": str(tmp_path),
    }


def test_shipped_coco_data_says_how_to_get_coco(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = root / "cfg/coco.data"
    data = DataFile(path)
    assert data.warnings == [] and data.classes == 80
    assert data.names == str(root / "cfg/coco.names")
    json_path = "datasets/coco/annotations/instances_train2017.json"
    line = path.read_text().split("\n").index(f"train={json_path}") + 1
    with raises(
        OSError,
        f"{path}:{line}: train={json_path} is not there (from the working directory or beside "
        f"{path}); docs/coco.md says how to get COCO and where to put it; or give the path of a "
        "COCO JSON, of an image list or of a folder of images",
    ):
        data.source(lib.DN_DATA_TRAIN)


def test_missing_paths(tmp_path):
    path = write(tmp_path / "a.data", "names=my.names\n\ntrain=a.txt\ntrain_masks=masks\n")
    place = f"is not there (from the working directory or beside {path});"
    wanted = "the path of a COCO JSON, of an image list or of a folder of images"
    with raises(ConfigError, f"{path}: has no valid=; give {wanted}"):
        DataFile(path).source(lib.DN_DATA_VALID)
    with raises(OSError, f"{path}:3: train=a.txt {place} give {wanted}"):
        DataFile(path).source(lib.DN_DATA_TRAIN)
    write(tmp_path / "a.txt", "x")
    sentence = f"{path}:4: train_masks=masks {place} give the folder of the instance label PNGs"
    with raises(OSError, sentence):
        DataFile(path).source(lib.DN_DATA_TRAIN)
    (tmp_path / "masks").mkdir()
    sentence = f"{path}:1: names=my.names {place} give a file of class names, one a line"
    with raises(OSError, sentence):
        DataFile(path).source(lib.DN_DATA_TRAIN)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (
            "classes=80\nno equals sign\n",
            "2: 'noequalssign' is not of the form key=value",
        ),
        ("\nclasses=many\n", "2: ..."),
        ("classes=-1\n", "1: ..."),
        ("classes=2\n[net]\n", "2: a .data file has no [sections]; is it a .cfg?"),
    ],
)
def test_broken_data_files(tmp_path, content, what):
    path = write(tmp_path / "a.data", content)
    with raises(ConfigError, f"{path}:{what}"):
        DataFile(path)


def test_every_allocation_may_fail(tmp_path, fail_allocations):
    path = write(tmp_path / "a.data", "classes=3\nnames=n\ntrain=a.json\nx=y\n")
    assert fail_allocations(lambda: DataFile(path)) > 10
