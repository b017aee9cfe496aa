"""`pip install .` in a new environment, in another folder: the package works there by itself."""

from __future__ import annotations

import subprocess
import sys

import pytest

from api_support import write_cfg
from conftest import ROOT

PREDICT = """
import sys, yolomask
from yolomask import models
assert not models.CHECKOUT
assert (models.SHARE / "cfg/yolomask-v4-tiny.cfg").is_file()
with yolomask.Network(sys.argv[1], names=["cat", "dog", "owl"]) as network:
    result = network.predict(models.default_photo(), 0.05)
print(yolomask.__file__, len(result), int(result.masks.area.sum()))
"""


@pytest.mark.slow
def test_pip_install(tmp_path):
    def run(*command) -> str:
        done = subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path, ROOT)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.startswith("yolomask-")
    assert "-py3-none-" in wheel.name
    assert wheel.stat().st_size < 5_000_000
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv/bin/python"
    run(python, "-m", "pip", "install", "-q", wheel)
    installed = run(python, "-m", "pip", "list", "--format=freeze").lower()
    names = {line.split("==")[0] for line in installed.split()} - {"pip", "setuptools", "wheel"}
    assert names == {"yolomask", "numpy", "cffi", "pycparser"}
    where, objects, pixels = run(python, "-c", PREDICT, write_cfg(tmp_path)).split()
    assert where.startswith(str(tmp_path / "venv"))
    assert int(objects) > 0
    assert int(pixels) > 0
    assert "evaluate" in run(tmp_path / "venv/bin/yolomask", "-h")
