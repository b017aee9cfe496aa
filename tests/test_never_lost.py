"""What a training survives: kill -9 at any moment, a full disk, images that vanish, numbers that
are none."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import sys
import time

import pytest

from training_support import FINAL, Bench

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def start(bench, backup, *words, cfg="two.cfg", valid="-no_valid", **options):
    call = ("segmenter", "train", cfg, "-threads", "1", "-backup", backup, *words, *valid.split())
    return bench.start(*call, **options)


# ---- kill -9 ----


def lengthen(bench, iterations):
    for key in ("mask_from", "mask_max_batches"):
        bench.edit("two.cfg", (f"{key}=6", f"{key}={iterations}"), source="two.cfg")
    bench.edit("two.cfg", ("mask_from", "ema_alpha=.9\nmask_from"), source="two.cfg")


def kill_often(bench, kills, seed):
    """Kills a training at random moments, resumes it each time; returns how often it had begun
    anew, since no first checkpoint was there."""
    moments, early = random.Random(seed), 0
    begin = time.monotonic()
    valid = "-valid_every 8"
    process = start(bench, "whole", valid=valid)
    assert process.communicate(timeout=120) and process.returncode == 0
    length = time.monotonic() - begin
    for _ in range(kills):
        process = start(bench, "killed", "-resume", "-save_every", "1", valid=valid)
        time.sleep(moments.uniform(0, 1.2 * length / kills + 0.1))
        process.kill()
        _, error = process.communicate(timeout=60)
        early += "nothing to resume" in error
        assert process.returncode in (-signal.SIGKILL, 0), error
    process = start(bench, "killed", "-resume", valid=valid)
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    assert "Done after" in out
    names = (*FINAL, "two_detector_best.weights", "two_best.weights", "two_best.mask.weights")
    assert bench.finals("killed", names) == bench.finals("whole", names)
    assert not list((bench.path / "killed").glob("*.tmp"))
    rows = [[{**row, "seconds": ""} for row in bench.rows(run)] for run in ("killed", "whole")]
    assert rows[0] == rows[1]
    return early


@POSIX
def test_three_kills(bench):
    lengthen(bench, 20)
    kill_often(bench, 3, seed=1)


@POSIX
@pytest.mark.slow
def test_twenty_kills(bench):
    lengthen(bench, 150)
    assert kill_often(bench, 20, seed=2) < 10


# ---- a full disk ----


def until(process, pattern):
    """Reads the program's lines up to the first that has the pattern."""
    for line in process.stdout:
        if re.search(pattern, line):
            return
    raise AssertionError(process.communicate())


limited = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs prlimit")


@limited
def test_a_disk_that_is_full_for_a_while(bench):
    """No file may grow beyond 1000 bytes from iteration 10 on: one line each time, the checkpoint
    of iteration 10 stays. Then there is room again, and nothing was lost."""
    import resource

    lengthen(bench, 60)
    process = start(bench, "out", "-save_every", "5")
    until(process, r"^Saving weights")
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
    until(process, r"^2\d: .* mask")
    state = bench.path / "out/two_last.state"
    shutil.copy(state, bench.path / "kept.state")
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (-1, resource.RLIM_INFINITY))
    _, error = process.communicate(timeout=60)
    assert process.returncode == 0, error
    assert error.count("two_last.state: cannot write: File too large; training goes on") >= 1
    bench.train("whole")
    assert bench.finals("out") == bench.finals("whole")
    shutil.copy(bench.path / "kept.state", state)
    bench.train("out", "-resume")
    assert bench.finals("out") == bench.finals("whole")


@limited
def test_a_full_disk_stops_a_strict_training(bench):
    import resource

    lengthen(bench, 60)
    process = start(bench, "out", "-save_every", "5", "-strict")
    until(process, r"^Saving weights")
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
    _, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert error.rstrip().endswith("cannot write: File too large")
    bench.train("whole")
    bench.train("out", "-resume")
    assert bench.finals("out") == bench.finals("whole")


@limited
def test_what_cannot_be_written_shows_at_once(bench):
    import resource

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    process = start(bench, "out", preexec_fn=limit)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 1 and not re.search(r"^1: ", out, re.MULTILINE)
    assert error.rstrip().endswith("out/two_last.state: cannot write: File too large")


# ---- images ----


def test_images_that_vanish_are_skipped_and_listed(bench):
    lengthen(bench, 60)
    process = start(bench, "out")
    until(process, "^2: ")
    (bench.path / "photo_000003.png").unlink()
    (bench.path / "photo_000005.png").write_bytes(b"")
    _, error = process.communicate(timeout=60)
    assert process.returncode == 0, error
    reasons = {
        "photo_000003.png: cannot open: No such file or directory",
        "photo_000005.png: the file is empty",
    }
    lines = error.splitlines()
    at = lines.index("2 images could not be used:")
    assert {line.strip() for line in lines[at + 1 :]} == reasons
    for reason in reasons:
        assert lines[:at].count(f"skipped: {reason}") == 1


def test_an_image_that_vanishes_stops_a_strict_training(bench):
    lengthen(bench, 60)
    process = start(bench, "out", "-strict", "-save_every", "1")
    until(process, "^2: ")
    (bench.path / "photo_000003.png").unlink()
    _, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert error.rstrip().endswith("photo_000003.png: cannot open: No such file or directory")
    bench.train("out", "-resume", "-iterations", 5)


# ---- not a number ----


def test_a_training_that_explodes(bench):
    """Where it began and all files of the iteration are told; the checkpoint stays as it was."""
    bench.edit("wild.cfg", ("learning_rate=.01", "learning_rate=1e6"), source="two.cfg")
    _, error = bench.train("wild", cfg="wild.cfg", code=1)
    first = bench.bytes("wild/wild_last.state")
    *told, last = error.splitlines()
    assert re.search(
        r"^wild.cfg: iteration \d of stage detector: (layer \d \[\w+\] \(line \d+\) is the first "
        r"whose values are not numbers|a gradient of layer \d).*; the last checkpoint is untouched",
        last,
    )
    at = next(k for k, line in enumerate(told) if line.startswith("images of iteration "))
    assert len(told[at + 1 :]) in (2, 4) and all("photo_" in line for line in told[at + 1 :])
    assert bench.bytes("wild/wild_last.state") == first
    bench.train("wild", "-resume", cfg="wild.cfg", code=1)


def test_weights_that_are_no_numbers(bench):
    """Known to be the second convolution's."""
    values = bytearray(bench.bytes("tiny.weights"))
    at = 20 + 4 * (4 * 6 + 6 * 27)  # its first bias
    values[at : at + 4] = b"\xff\xff\xff\x7f"
    (bench.path / "nan.weights").write_bytes(values)
    _, error = bench.train("out", "nan.weights", code=1)
    *told, last = error.splitlines()
    lines = (bench.path / "two.cfg").read_text().splitlines()
    line = [k for k, text in enumerate(lines, 1) if text == "[convolutional]"][1]
    assert f"stage detector: layer 1 [convolutional] (line {line}) is the first whose" in last
    assert len([line for line in told if line.startswith("  photo_")]) == 2
