"""yolomask.train: the program's training from Python, with Ctrl-C.

Truth: the bytes that ./darknet writes for the same seed, and those of a training that nobody
interrupted.
"""

from __future__ import annotations

import contextlib
import signal

import pytest

from program import Segmenter
from yolomask import ConfigError, Network, train
from yolomask.training import Progress

COMMON = {"seed": 5, "threads": 1, "progress": False}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Segmenter:
    monkeypatch.chdir(tmp_path)
    made = Segmenter(tmp_path)
    made.edit("seg.cfg", ("mask_max_batches=4", "mask_from=3\nmask_max_batches=4"))
    return made


def weights(folder, backup):
    return folder.bytes(f"{backup}/seg_final.weights")


def test_as_the_program_trains(folder):
    seen: list[Progress] = []
    done = train("seg.cfg", "tiny.data", "tiny.weights", on_progress=seen.append, **COMMON)
    words = ["segmenter", "train", "tiny.data", "seg.cfg", "tiny.weights", "-backup", "theirs"]
    out, _ = folder.run(*words, "-seed", "5", "-threads", "1", "-quiet")
    assert weights(folder, "backup") == weights(folder, "theirs")
    assert [(one.stage, one.iteration) for one in seen] == [
        *(("detector", i) for i in (1, 2, 3)),
        *(("mask", i) for i in (1, 2, 3, 4)),
    ]
    lines = [line.split(",")[0] for line in out.splitlines() if " avg" in line]
    assert lines == [f"{one.iteration}: {one.loss:.6f}" for one in seen]
    assert seen[2].mask_iou is None
    assert 0 <= seen[6].mask_iou <= 1
    assert (done.iterations, done.average_loss) == (7, seen[-1].average_loss)
    assert (done.folder / "results.csv").is_file()
    assert done.weights.name == "seg_best.weights"
    assert done.weights.read_bytes() == folder.bytes("theirs/seg_best.weights")
    Network("seg.cfg", done.weights).close()


def test_without_validation(folder):
    done = train("seg.cfg", "tiny.data", "tiny.weights", validate=False, **COMMON)
    assert done.weights.name == "seg_final.weights"
    rows = (done.folder / "results.csv").read_text().splitlines()[1:]
    assert all(row.endswith(",,,,") for row in rows)


@pytest.fixture
def heard_control_c():
    """A shell's background jobs start with SIGINT ignored, and Python leaves it so."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard_control_c")
def test_control_c_saves(folder):
    """Sent while the library is at work; what was done is not lost, and the rest is the same."""

    def interrupt(progress: Progress) -> None:
        if (progress.stage, progress.iteration) == ("mask", 2):
            signal.raise_signal(signal.SIGINT)

    unbroken = train("seg.cfg", "tiny.data", "tiny.weights", backup="unbroken", **COMMON)
    arguments = ("seg.cfg", "tiny.data", "tiny.weights")
    with pytest.raises(KeyboardInterrupt):
        train(*arguments, on_progress=interrupt, **COMMON)
    assert not (folder.path / "backup/seg_final.weights").exists()
    seen: list[Progress] = []
    resumed = train("seg.cfg", "tiny.data", resume=True, on_progress=seen.append, **COMMON)
    assert [one.iteration for one in seen] == [3, 4]
    assert resumed.weights.read_bytes() == unbroken.weights.read_bytes()


def test_what_a_callback_raises(folder):
    def fail(progress: Progress) -> None:
        raise RuntimeError(f"at {progress.iteration}")

    with pytest.raises(RuntimeError, match="at 1"):
        train("seg.cfg", "tiny.data", "tiny.weights", on_progress=fail, **COMMON)
    assert (folder.path / "backup/seg_last.state").is_file()


def test_one_stage_and_its_bar(folder, capsys):
    """The bar goes to stderr, with as many steps as iterations."""
    options = COMMON | {"progress": True}
    done = train("seg.cfg", "tiny.data", "tiny.weights", stage="detector", iterations=2, **options)
    assert done.iterations == 2
    with contextlib.suppress(ImportError):
        import tqdm  # noqa: F401

        assert "2/2" in capsys.readouterr().err


@pytest.mark.parametrize(
    "changes, error, words",
    [
        ({"stage": "box"}, ValueError, "stage 'box': one of detector, mask, joint, or None"),
        ({"data": "no.data"}, OSError, "no.data: cannot open"),
        ({"cfg": "tiny.data"}, ConfigError, "tiny.data"),
        ({"mixed": "bf16"}, ValueError, "mixed must be tf32, fp16 or None, not 'bf16'"),
        ({"weights": []}, ValueError, "the list of files is empty"),
        ({"weights": None, "resume": True}, OSError, "seg_last.state: cannot open"),
    ],
)
def test_refusals(folder, changes, error, words):
    arguments = {"cfg": "seg.cfg", "data": "tiny.data", "weights": "tiny.weights"}
    with pytest.raises(error, match=words):
        train(**(arguments | COMMON | changes))
