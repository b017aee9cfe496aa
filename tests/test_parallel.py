"""Trainings of several processes under mpirun against those of one with as many parts a batch.

Needs a program built with MPI=1 (YOLOMASK_MPI_PROGRAM) and mpirun: `make mpi-check`.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from layer_harness import close
from program import ENVIRONMENT, write_weights
from training_support import Bench

PROGRAM = os.environ.get("YOLOMASK_MPI_PROGRAM")
pytestmark = pytest.mark.skipif(
    not PROGRAM or not shutil.which("mpirun"), reason="needs mpirun: make mpi-check"
)


class Several(Bench):
    """A folder in which several processes train."""

    def __init__(self, path: Path):
        super().__init__(path)
        self.cfg("four.cfg", subdivisions=4)
        write_weights(path / "tiny.weights")

    def cfg(self, name: str, **values) -> None:
        """two.cfg with other numbers."""
        text = (self.path / "two.cfg").read_text()
        for key, value in values.items():
            text, count = re.subn(rf"^{key}=.*$", f"{key}={value}", text, flags=re.M)
            assert count
        (self.path / name).write_text(text)

    def launch(self, processes: int, *words) -> subprocess.Popen:
        mpirun = ["mpirun", "--oversubscribe", "--allow-run-as-root", "--bind-to", "none"]
        command = [*mpirun, "-np", processes, PROGRAM, "segmenter", "train", "-threads", 1, *words]
        return subprocess.Popen(
            [str(word) for word in command], cwd=self.path, env=ENVIRONMENT, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def together(self, *words, processes: int = 2, code: int = 0) -> tuple[str, str]:
        out, error = (job := self.launch(processes, *words)).communicate(timeout=100)
        assert job.returncode == code, error
        return out, error


@pytest.fixture
def several(tmp_path) -> Several:
    return Several(tmp_path)


def losses(out: str) -> list[float]:
    return [float(x) for x in re.findall(r"^\d+: ([\d.]+), ", out, re.M)]


@pytest.mark.parametrize("stage", ["detector", "mask", "joint"])
def test_two_processes_equal_one_with_parts(several, stage):
    options = ["-stage", stage, "-iterations", 6, "-seed", 3]
    out, _ = several.together("two.cfg", "tiny.weights", "-no_valid", "-backup", "both", *options)
    alone, _ = several.train("one", "tiny.weights", *options, cfg="four.cfg")
    assert len(losses(out)) == 6  # each line once
    np.testing.assert_allclose(losses(out), losses(alone), rtol=1e-4)
    both, one = "both/two_final.weights", "one/four_final.weights"
    start, wanted = (several.params(name, False) for name in ("tiny.weights", one))
    for key, values in several.params(both, False).items():
        close(values, wanted[key], 1e-5)
    assert sum(not np.array_equal(start[key], wanted[key]) for key in wanted) >= 4
    wanted = several.params(one, True)  # averages of those of half as many parts
    for key, values in several.params(both, True).items():
        np.testing.assert_allclose(values, wanted[key], rtol=0.3, atol=0.1)


def test_stages_validation_and_resuming(several):
    options = ["two.cfg", "-valid_every", 3, "-seed", 3]
    out, error = several.together(*options, "-backup", "whole")
    assert len(losses(out)) == 12
    assert out.count("validation: detector 3,") == 1
    assert error.count("stage mask: 6 iterations") == 1
    assert "Done after 12 iterations" in out
    several.together(*options, "-backup", "halves", "-iterations", 4)
    out, error = several.together(*options, "-backup", "halves", "-resume")
    assert "stage detector, iteration 4" in error
    assert len(losses(out)) == 8
    for name in ("two_final.weights", "two_last.state"):
        assert several.bytes(f"halves/{name}") == several.bytes(f"whole/{name}")
    rows = several.rows("whole")
    assert [r["stage"] for r in rows if r["box_ap"]].count("detector") == 2


def children(pid: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [int(word) for word in found.stdout.split()]


def test_an_interrupt_of_one_stops_all(several):
    job = several.launch(2, "two.cfg", "-no_valid", "-stage", "detector", "-backup", "out")
    while not (line := job.stdout.readline()).startswith("2: "):
        assert line, job.stderr.read()
    os.kill(children(job.pid)[-1], signal.SIGINT)
    out, error = job.communicate(timeout=60)
    assert job.returncode == 0, error
    assert "Stopped after" in out
    done = int(re.search(r"Stopped after (\d+)", out)[1])
    out, error = several.together(
        "two.cfg", "-no_valid", "-stage", "detector", "-backup", "out", "-resume",
        "-iterations", done + 1,
    )  # fmt: skip
    assert f"iteration {done}\n" in error
    assert len(losses(out)) == 1


def test_the_program_alone_is_one_process(several):
    words = ["two.cfg", "-no_valid", "-stage", "detector", "-backup", "out", "-iterations", "2"]
    command = [PROGRAM, "segmenter", "train", *words]
    done = subprocess.run(command, cwd=several.path, env=ENVIRONMENT, capture_output=True,
                          text=True, timeout=60, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(losses(done.stdout)) == 2


def test_batches_that_cannot_be_dealt_out(several):
    words = ["two.cfg", "-no_valid", "-stage", "detector", "-backup", "out"]
    _, error = several.together(*words, processes=3, code=1)
    sentence = "batch=4 cannot be dealt out to 3 processes with subdivisions=2 each"
    assert error.count(sentence) == 1


def test_an_error_of_one_stops_all(several):
    (several.path / "photo_000004.png").write_bytes(b"no image")
    start = time.monotonic()
    words = ["two.cfg", "-no_valid", "-strict", "-stage", "detector", "-backup", "out"]
    out, error = several.together(*words, code=1)
    assert error.count("photo_000004.png: ") == 1
    assert "Done" not in out
    assert time.monotonic() - start < 60
