"""Tuning: what is measured is kept, obeyed and of this machine; outputs stay what they are."""

from __future__ import annotations

import os
import random
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from conftest import ROOT
from networks import Net
from program import ENVIRONMENT, Segmenter
from yolomask import DarknetWarning, DataError, Network
from yolomask._native import check, ffi, lib

sys.path.insert(0, str(ROOT / "tests" / "fuzz"))
from mutations import mutate_text

# Layer 0 has one form that fits; 1 and 2 are the same problem, 4 is another, and 5 is one of 1 x 1.
CFG = """[net]
width=40
height=32
channels=3
[convolutional]
filters=32
size=3
stride=2
pad=1
activation=leaky
[convolutional]
filters=32
size=3
pad=1
activation=leaky
[convolutional]
filters=32
size=3
pad=1
activation=leaky
[maxpool]
size=2
stride=2
[convolutional]
filters=48
size=3
pad=1
activation=mish
[convolutional]
filters=18
size=1
activation=linear
[yolo]
mask=0,1,2
anchors=10,14, 23,27, 37,58
classes=1
num=3
"""
IMAGE = np.random.default_rng(3).integers(0, 256, (32, 40, 3)).astype(np.uint8)


class Tuned(Net):
    """A network with tune=path; `said` is what it warned of."""

    def __init__(self, path: Path | str | None, **options):
        self.said: list[str] = []
        self._hear = ffi.callback(
            "void(void *, const char *)",
            lambda _context, text: self.said.append(ffi.string(text).decode()),
        )
        if path is not None:
            options["tune"] = self._path = ffi.new("char[]", str(path).encode())
        given = {"keep_all": False, "seed": 7, "threads": 2, "warn": self._hear}
        super().__init__(CFG, **given | options)

    def answer(self) -> np.ndarray:
        self.predict([IMAGE])
        return self.output(5)

    def forms(self) -> dict[int, tuple[str, bool]]:
        """Of each convolution its form, and whether that was measured."""
        info, found = ffi.new("dn_step_info *"), {}
        for i in range(lib.dn_network_step_count(self.handle)):
            check(lib.dn_network_get_step(self.handle, i, info))
            if ffi.string(info.kind) == b"conv":
                assert info.expected > 0
                found[info.last_layer] = ffi.string(info.form).decode(), bool(info.tuned)
        return found


@pytest.fixture
def tuned(tmp_path) -> Path:
    path = tmp_path / "tuned.txt"
    net = Tuned(path)
    net.answer()
    assert net.said == []
    return path


def lines_of(path: Path) -> dict[str, tuple[str, float]]:
    """Problem -> form, microseconds."""
    title, _machine, *rest = path.read_text().splitlines()
    assert title == "tuning 1"
    pairs = [line.split(": ") for line in rest if not line.startswith("#")]
    words = {key: value.rsplit(maxsplit=1) for key, value in pairs}
    return {key: (form, float(time)) for key, (form, time) in words.items()}


def choose(path: Path, form: str, time: float = 1.5) -> None:
    """The file as if `form` had been the fastest of all."""
    head = path.read_text().splitlines()[:2]
    path.write_text("\n".join([*head, *(f"{key}: {form} {time}" for key in lines_of(path))]) + "\n")


def test_measured_once(tuned):
    lines = lines_of(tuned)
    three = [key for key in lines if "size 3" in key]
    assert len(three) == 2  # of three layers two are alike
    assert all(key.startswith("f32 threads 2 images 1 groups 1 in 32x") for key in three)
    assert all(micros > 0 for _, micros in lines.values())
    os.utime(tuned, ns=(1, 1))
    net = Tuned(tuned)
    net.answer()
    assert tuned.stat().st_mtime_ns == 1  # nothing was measured, nothing written
    used = net.forms()
    assert used[1] == used[2] == (lines[three[0]][0], True)
    assert used[4] == (lines[three[1]][0], True)
    assert not used[0][1] and net.said == []


@pytest.mark.parametrize("form", ["winograd2", "winograd6", "direct"])
def test_the_file_is_obeyed(tuned, form):
    plain = Tuned(None, precision=lib.DN_PRECISION_PLAIN).answer()
    choose(tuned, form)
    net = Tuned(tuned)
    found = net.answer()
    assert {net.forms()[i][0] for i in (1, 2, 4)} == {form}
    assert np.abs(found - plain).max() <= 1e-3 * np.abs(plain).max()
    assert lines_of(tuned)[next(key for key in lines_of(tuned) if "size 3" in key)][0] == form


def test_threads_change_no_bit(tuned):
    two = Tuned(tuned).answer()
    text = tuned.read_text()
    tuned.write_text(text + "".join(
        f"{line.replace('threads 2', 'threads 1')}\n" for line in text.splitlines()[2:]
    ))  # fmt: skip
    net = Tuned(tuned, threads=1)
    np.testing.assert_array_equal(net.answer(), two)
    assert net.forms() == (other := Tuned(tuned), other.answer())[0].forms()


def test_what_is_allowed_is_kept_apart(tuned, tmp_path):
    """Another precision has lines of its own; a form that it does not allow is not taken."""
    choose(tuned, "winograd4")
    text = tuned.read_text().replace("f32 threads", "exact threads")
    tuned.write_text(tuned.read_text() + "\n".join(text.splitlines()[2:]) + "\n")
    net = Tuned(tuned, precision=lib.DN_PRECISION_EXACT)
    net.answer()
    assert not any("winograd" in form for form, _ in net.forms().values())
    ranges = tmp_path / "ranges.txt"
    ranges.write_text("calibration 1\n0 3 0 1\n1 32 -9 9\n2 32 -9 9\n4 32 -9 9\n5 48 -9 9\n")
    options = {"calibration": ffi.new("char[]", str(ranges).encode())}
    net = Tuned(tuned, precision=lib.DN_PRECISION_INT8_EVERYWHERE, **options)
    net.answer()
    assert {net.forms()[i][0] for i in (1, 2, 4)} == {"int8"}
    net = Tuned(tuned, precision=lib.DN_PRECISION_INT8, **options)
    net.answer()
    assert any(key.startswith("int8 threads 2") for key in lines_of(tuned))


def test_another_size_is_added(tuned):
    before = lines_of(tuned)
    net = Tuned(tuned)
    check(lib.dn_network_resize(net.handle, 64, 64))
    net.predict([np.zeros((64, 64, 3), np.uint8)])
    assert before.items() < lines_of(tuned).items()


def test_another_machine_measures_anew(tuned):
    text = tuned.read_text()
    machine = text.splitlines()[1]
    for title, other in [("tuning 1", "1 avx9 Some Processor"), ("tuning 2", machine)]:
        choose(tuned, "direct")
        lines = tuned.read_text().splitlines()
        tuned.write_text("\n".join([title, other, *lines[2:]]))
        net = Tuned(tuned)
        net.answer()
        (said,) = net.said
        asked = other if title == "tuning 1" else title
        assert (
            said == f'{tuned}: was measured on "{asked}", this is "{machine}": it is measured anew'
        )
        assert tuned.read_text().splitlines()[:2] == text.splitlines()[:2]
        assert lines_of(tuned).keys() == lines_of_text(text)


def lines_of_text(text: str) -> set[str]:
    return {line.split(": ")[0] for line in text.splitlines()[3:]}


def test_damaged_lines(tuned):
    text = tuned.read_text().splitlines()
    endless = text[4].rsplit(" ", 1)[0] + " 1e300"
    tuned.write_text(
        "\n".join([*text[:3], text[3].split(":")[0], "nonsense: winograd9 1", endless])
    )
    net = Tuned(tuned)
    net.answer()
    (said,) = net.said
    assert said.startswith(f"{tuned}:4: a problem, a colon, a form and its microseconds are wanted")
    assert "of 3 such lines" in said
    assert lines_of(tuned).keys() == lines_of_text("\n".join(text))


def test_other_files_are_refused(tmp_path):
    for content in (b"", b"[net]\nwidth=4\n", b"\0\1\2"):
        path = tmp_path / "my.weights"
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"my\.weights: (is no tuning file|holds a zero byte)"):
            Tuned(path).answer()
        assert path.read_bytes() == content


def test_mutated_files(tuned):
    """Refused with a sentence or used; the answer is the plain path's."""
    text, plain = tuned.read_text(), Tuned(None, precision=lib.DN_PRECISION_PLAIN).answer()
    for seed in range(15):
        damaged = mutate_text(random.Random(f"tuning {seed}"), text)
        tuned.write_bytes(damaged.encode("utf-8", "surrogateescape"))
        try:
            found = Tuned(tuned).answer()
        except DataError as error:
            assert str(tuned) in str(error) and "\n" not in str(error)
            continue
        assert np.abs(found - plain).max() <= 1e-3 * np.abs(plain).max()


def test_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    Tuned("").answer()
    (found,) = (tmp_path / ".cache" / "yolomask").iterdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    Tuned("").answer()
    (other,) = (tmp_path / "own" / "yolomask").iterdir()
    assert found.name == other.name and found.name.startswith("tune-")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME")
    net = Tuned("")
    net.answer()
    assert net.said == [
        "neither XDG_CACHE_HOME nor HOME names a folder: what is measured is not kept"
    ]


def test_a_place_that_cannot_be_written(tmp_path):
    net = Tuned(tmp_path / "nowhere" / "tuned.txt")
    net.answer()
    (said,) = net.said
    assert said.startswith(f"{tmp_path}/nowhere/tuned.txt: cannot write: ")
    assert net.forms()[1][1]


def test_several_at_once(tmp_path):
    """The file is whole, whoever writes; no other file stays."""
    path = tmp_path / "tuned.txt"
    nets = [Tuned(path, width=32 + 8 * k, height=32) for k in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(Tuned.answer, nets))
    assert [net.said for net in nets] == [[]] * 4
    assert lines_of(path) and os.listdir(tmp_path) == ["tuned.txt"]
    again = Tuned(path)
    again.answer()
    assert again.said == []


def test_allocations_that_fail(tmp_path, fail_allocations):
    fail_allocations(lambda: Tuned(tmp_path / "tuned.txt").answer())


def test_python(tmp_path):
    cfg, path = tmp_path / "a.cfg", tmp_path / "tuned.txt"
    cfg.write_text(CFG)
    with Network(cfg, device="cpu", tune=path) as net:
        net.predict(IMAGE)
    assert lines_of(path)
    path.write_text("tuning 1\nanother\n")
    with Network(cfg, device="cpu", tune=path) as net, pytest.warns(DarknetWarning, match="anew"):
        net.predict(IMAGE)


def test_program(tmp_path, monkeypatch):
    monkeypatch.setitem(ENVIRONMENT, "XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(ENVIRONMENT, "DARKNET_VERBOSE", "1")
    program = Segmenter(tmp_path)
    (tmp_path / "a.cfg").write_text(CFG)
    _, said = program.run("speed", "a.cfg", "1", "-tune")
    assert said.count(" measured") == 4 and " estimated" in said
    assert len(list((tmp_path / "yolomask").iterdir())) == 1
    _, said = program.run("speed", "a.cfg", "1", "-tune_file", "own.txt")
    assert lines_of(tmp_path / "own.txt") and said.count(" measured") == 4
    _, said = program.run("speed", "a.cfg", "1")
    assert " measured" not in said
