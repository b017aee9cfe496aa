"""How the program calls the Python package: which interpreter, with which words and paths.

Truth: a shell script in the interpreter's place that tells what it was called with, and what shlex
makes of the command that the program prints.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from program import ENVIRONMENT, PROGRAM, Folder

TELLING = """#!/bin/sh
printf '%s\\n' "$PYTHONPATH" "$@"
exit 3
"""


@pytest.fixture
def telling(tmp_path) -> Path:
    path = tmp_path / "python tells"
    path.write_text(TELLING)
    path.chmod(0o755)
    return path


def call(folder, *, code, **variables) -> subprocess.CompletedProcess:
    done = subprocess.run(
        [PROGRAM, "report", folder],
        env={**ENVIRONMENT, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done
    return done


def package_of(program: str) -> Path:
    folders = [Path(program).parent, Path(program).parents[2]]
    return next(folder / "python" for folder in folders if (folder / "python/yolomask").is_dir())


def test_the_program_becomes_python(telling):
    """Its words, its package before those of the user, its exit code."""
    variables = {"YOLOMASK_PYTHON": str(telling), "PYTHONPATH": "/their own"}
    done = call("backup/my run", code=3, **variables)
    path, *words = done.stdout.splitlines()
    first, second = path.split(":")
    assert os.path.samefile(first, package_of(PROGRAM))
    assert second == "/their own"
    assert words == ["-m", "yolomask", "report", "backup/my run"]
    assert done.stderr == ""


def test_python_of_the_path(telling, tmp_path, monkeypatch):
    """python3 of the PATH where the checkout has no environment of its own."""
    if (package_of(PROGRAM).parent / ".venv/bin/python").exists():
        pytest.skip("this checkout has its own environment")
    telling.rename(tmp_path / "python3")
    monkeypatch.delitem(ENVIRONMENT, "YOLOMASK_PYTHON")
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": ""}
    done = call("run", code=3, **environment)
    assert done.stdout.splitlines()[1:] == ["-m", "yolomask", "report", "run"]


def test_what_to_type_instead():
    """No Python is to be called: one line that a shell takes as the same command."""
    folder = "it's $HOME"
    done = call(folder, code=1, YOLOMASK_PYTHON="", PYTHONPATH="")
    assert done.stderr.count("\n") == 1
    refusal, _, command = done.stderr.partition("; type: ")
    assert refusal == "Python is not called from here"
    path, python, *words = shlex.split(command)
    assert os.path.samefile(path.removeprefix("PYTHONPATH="), package_of(PROGRAM))
    assert "python" in python
    assert words == ["-m", "yolomask", "report", folder]


# ---- the charts of a training ----


def train(folder, python) -> str:
    words = [PROGRAM, "detector", "train", "tiny.cfg", "tiny.weights", "-iterations", "2", "-quiet"]
    environment = ENVIRONMENT | {"YOLOMASK_PYTHON": str(python), "PYTHONPATH": ""}
    pipes = {"capture_output": True, "text": True, "check": True}
    return subprocess.run(words, cwd=folder.path, env=environment, **pipes).stdout


@pytest.mark.parametrize("code", [0, 1])
def test_a_training_draws_its_charts(tmp_path, code):
    """At the validation and at the end; where that fails the last line is the command to type."""
    folder = Folder(tmp_path)
    python = tmp_path / "python.sh"
    python.write_text(f'#!/bin/sh\necho noise; echo "$@" >> calls\nexit {code}\n')
    python.chmod(0o755)
    last = train(folder, python).splitlines()[-1]
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls == ["-m yolomask report backup/tiny"] * 2
    assert (tmp_path / "backup/tiny/results.csv").is_file()
    if code == 0:
        assert last == "Charts: backup/tiny"
    else:
        told, _, command = last.partition(": ")
        assert told == "Charts of this training"
        assert shlex.split(command)[1:] == [str(python), "-m", "yolomask", "report", "backup/tiny"]


def test_a_training_without_python(tmp_path):
    assert train(Folder(tmp_path), "").splitlines()[-1].startswith("Done after 2 iterations")
