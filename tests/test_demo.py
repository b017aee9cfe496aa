"""`demo`: videos and cameras. Truth: the frames of a clip that this file makes from a photo, and
what Result.plot draws into each; a shell script in Python's place that tells its words."""

from __future__ import annotations

import os
import signal
import sys

import cv2
import numpy as np
import pytest

import program
from program import ROOT, Segmenter
from yolomask import DataError, Network, video

FRAMES, SIZE = 8, (160, 120)
CONF = 0.52  # finds a few objects a frame


@pytest.fixture
def folder(tmp_path) -> Segmenter:
    """A segmenter and a clip: a window that moves over a photo."""
    made = Segmenter(tmp_path)
    photo = cv2.imread(str(ROOT / "data/chelsea.jpg"))
    clip = cv2.VideoWriter(str(tmp_path / "clip.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, SIZE)
    for i in range(FRAMES):
        clip.write(cv2.resize(photo[10 * i : 10 * i + 200, 12 * i : 12 * i + 260], SIZE))
    clip.release()
    return made


def open_network(folder: Segmenter) -> Network:
    weights = [folder.path / "tiny.weights", folder.path / "mask.weights"]
    return Network(folder.path / "seg.cfg", weights, ["cat", "dog"], threads=1)


def frames_of(path) -> list[np.ndarray]:
    capture, frames = cv2.VideoCapture(str(path)), []
    while (got := capture.read())[0]:
        frames.append(got[1])
    return frames


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """Mean over 4 x 4 pixels each, since codecs keep colours coarsely."""
    small = [cv2.resize(x, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA) for x in (a, b)]
    return np.abs(small[0].astype(float) - small[1]).mean()


def assert_drawn(
    folder: Segmenter, network: Network, written: list[np.ndarray], masks: bool
) -> None:
    """Every frame is what plot draws, up to the codec's loss, and not the frame of the clip."""
    given = frames_of(folder.path / "clip.avi")
    for frame, seen in zip(given, written, strict=False):
        result = network.predict(frame, CONF, bgr=True)
        assert len(result) > 0
        wanted, other = result.plot(masks=masks), result.plot(masks=not masks)
        loss = difference(seen, wanted)
        assert loss < 6
        assert loss < 0.5 * difference(seen, other)
        assert loss < 0.3 * difference(seen, frame)


@pytest.mark.parametrize("masks", [True, False])
@pytest.mark.parametrize("name", ["out.avi", "out.mp4"])
def test_every_frame_is_drawn_and_written(folder, name, masks, capsys):
    with open_network(folder) as network:
        done = video.demo(
            network,
            folder.path / "clip.avi",
            conf=CONF,
            out=folder.path / name,
            show=False,
            masks=masks,
        )
        assert (done.frames, done.stopped) == (FRAMES, False)
        written = frames_of(folder.path / name)
        assert len(written) == FRAMES
        assert_drawn(folder, network, written, masks)
    assert cv2.VideoCapture(str(folder.path / name)).get(cv2.CAP_PROP_FPS) == 10
    assert not list(folder.path.glob("*.part.*"))
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"frame {FRAMES} of {FRAMES}, FPS:") and "object" in last


class Interrupting:
    """A network for whose third frame Ctrl-C is pressed."""

    def __init__(self, network: Network, number: int):
        self.network, self.number, self.calls = network, number, 0

    def stream(self, frames, *arguments, **options):
        return self.network.stream(map(self.see, frames), *arguments, **options)

    def see(self, frame):
        self.calls += 1
        if self.calls == 3:
            signal.raise_signal(self.number)
        return frame


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_finishes_the_file(folder, number):
    before = signal.getsignal(number)
    with open_network(folder) as network:
        done = video.demo(
            Interrupting(network, number),
            folder.path / "clip.avi",
            out=folder.path / "out.mp4",
            show=False,
        )
    assert done.stopped and 1 <= done.frames <= 3  # the network is ahead of the drawing
    assert len(frames_of(folder.path / "out.mp4")) == done.frames
    assert signal.getsignal(number) is before


class Failing(Interrupting):
    def see(self, frame):
        self.calls += 1
        if self.calls == 4:
            raise DataError("a fault")
        return frame


def test_what_was_drawn_before_a_fault_is_kept(folder):
    with open_network(folder) as network, pytest.raises(DataError, match="a fault"):
        video.demo(
            Failing(network, 0), folder.path / "clip.avi", out=folder.path / "out.mp4", show=False
        )
    assert len(frames_of(folder.path / "out.mp4")) == 3


def test_the_window_shows_the_frames_until_q(folder, monkeypatch):
    shown, sizes = [], []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(cv2, "namedWindow", lambda *_: None)
    monkeypatch.setattr(cv2, "resizeWindow", lambda _, *size: sizes.append(size))
    monkeypatch.setattr(cv2, "destroyWindow", lambda *_: shown.append("closed"))
    monkeypatch.setattr(cv2, "imshow", lambda _, frame: shown.append(frame.copy()))
    monkeypatch.setattr(cv2, "waitKey", lambda _: ord("q") if len(shown) == 5 else -1)
    monkeypatch.setattr(cv2, "getWindowProperty", lambda *_: 1.0)
    with open_network(folder) as network:
        done = video.demo(network, folder.path / "clip.avi")
        assert (done.frames, done.stopped) == (5, True)
        assert shown.pop() == "closed"
        assert sizes == [SIZE]
        given = frames_of(folder.path / "clip.avi")
        for frame, seen in zip(given, shown, strict=False):
            assert np.array_equal(seen, network.predict(frame, bgr=True).plot())


def test_a_closed_window_ends_it(folder, monkeypatch):
    monkeypatch.setenv("DISPLAY", ":0")
    for name in ("namedWindow", "destroyWindow", "imshow", "resizeWindow"):
        monkeypatch.setattr(cv2, name, lambda *_: None)
    monkeypatch.setattr(cv2, "waitKey", lambda _: -1)
    monkeypatch.setattr(cv2, "getWindowProperty", lambda *_: 0.0)
    with open_network(folder) as network:
        assert video.demo(network, folder.path / "clip.avi").frames == 1


def test_without_a_screen(folder, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with open_network(folder) as network, pytest.raises(OSError, match="no window can be opened"):
        video.demo(network, folder.path / "clip.avi")


def test_a_window_fits_the_screen(monkeypatch):
    """A frame of 4K begins at a third of its size."""
    sizes = []
    monkeypatch.setenv("DISPLAY", ":0")
    for name in ("namedWindow", "imshow"):
        monkeypatch.setattr(cv2, name, lambda *_: None)
    monkeypatch.setattr(cv2, "resizeWindow", lambda _, *size: sizes.append(size))
    monkeypatch.setattr(cv2, "waitKey", lambda _: -1)
    monkeypatch.setattr(cv2, "getWindowProperty", lambda *_: 1.0)
    window = video.Window("camera 0")
    for _ in range(2):
        assert window.show(np.zeros((2160, 3840, 3), np.uint8))
    assert sizes == [(1280, 720)]


NO_CAMERA = 917  # nobody has so many


@pytest.mark.parametrize("source", [NO_CAMERA, str(NO_CAMERA)])
def test_a_camera_that_is_not_there(source):
    with pytest.raises(DataError, match=rf"^camera {NO_CAMERA}: there is none, it is in use"):
        video.Source(source)


def test_refusals(folder):
    with open_network(folder) as network:
        with pytest.raises(DataError, match=r"tiny\.cfg: cannot be opened as a video"):
            video.demo(network, folder.path / "tiny.cfg", show=False)
        with pytest.raises(DataError, match=r"none\.mp4: no such file"):
            video.demo(network, folder.path / "none.mp4", show=False)
        with pytest.raises(ValueError, match=r"out\.gif: a video's name ends with \.mp4"):
            video.demo(network, folder.path / "clip.avi", out=folder.path / "out.gif", show=False)
        with pytest.raises(OSError, match=r"none/out\.mp4: cannot be written as a video"):
            video.demo(
                network, folder.path / "clip.avi", out=folder.path / "none/out.mp4", show=False
            )


def test_a_full_disk_is_told(folder):
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full")
    os.symlink("/dev/full", folder.path / "out.part.avi")
    with open_network(folder) as network, pytest.raises(OSError, match=r"out\.avi: "):
        video.demo(network, folder.path / "clip.avi", out=folder.path / "out.avi", show=False)
    assert not (folder.path / "out.avi").exists()


# ---- the program ----


def test_the_program_runs_it(folder, monkeypatch):
    if "LD_PRELOAD" in os.environ:
        pytest.skip("the sanitizer's library is not for another Python")
    monkeypatch.setitem(program.ENVIRONMENT, "YOLOMASK_PYTHON", sys.executable)
    out, error = folder.run(
        "segmenter", "demo", "seg.cfg", "tiny.weights,mask.weights", "clip.avi", "-out", "out.avi",
        "-dont_show", "-thresh", CONF, "-threads", 1,
    )  # fmt: skip
    assert out.startswith(f"{FRAMES} frames, ") and out.endswith(" -> out.avi\n")
    assert f"frame {FRAMES} of {FRAMES}, FPS:" in error
    with open_network(folder) as network:
        assert_drawn(folder, network, frames_of(folder.path / "out.avi"), True)


def test_the_program_and_a_camera_that_is_not_there(folder, monkeypatch):
    if "LD_PRELOAD" in os.environ:
        pytest.skip("the sanitizer's library is not for another Python")
    monkeypatch.setitem(program.ENVIRONMENT, "YOLOMASK_PYTHON", sys.executable)
    words = ["segmenter", "demo", "seg.cfg", "tiny.weights,mask.weights", "-c", NO_CAMERA]
    error = folder.error(*words, "-dont_show")
    assert (
        error == f"error: camera {NO_CAMERA}: there is none, it is in use, or it may not be opened"
    )


def use_script(folder: Segmenter, monkeypatch, imports: int) -> None:
    script = folder.path / "python tells"
    script.write_text(f'#!/bin/sh\n[ "$1" = -c ] && exit {imports}\nshift 2\nprintf "%s " "$@"\n')
    script.chmod(0o755)
    monkeypatch.setitem(program.ENVIRONMENT, "YOLOMASK_PYTHON", str(script))


def test_the_words_of_the_program(folder, monkeypatch):
    use_script(folder, monkeypatch, imports=0)
    out, _ = folder.run("detector", "demo", "tiny.data", "tiny.cfg", "tiny.weights", "-c", 2,
                        "-thresh", ".3", "-out_filename", "o.mp4", "-width", 96)  # fmt: skip
    assert out == (
        "demo 2 --cfg tiny.cfg --weights tiny.weights --names tiny.names --conf 0.3 --iou 0.45 "
        "--out o.mp4 --no-masks --threads 0 --size 96 0 "
    )
    out, _ = folder.run("segmenter", "demo", "seg.cfg", "a.weights,b.weights", "a b.mp4",
                        "-names", "x.names", "-dont_show")  # fmt: skip
    assert out == (
        "demo a b.mp4 --cfg seg.cfg --weights a.weights b.weights --names x.names --conf 0.25 "
        "--iou 0.45 --no-show --threads 0 --size 0 0 "
    )


def test_the_program_without_python_or_opencv(folder, monkeypatch):
    words = ["segmenter", "demo", "seg.cfg", "tiny.weights,mask.weights", "clip.avi"]
    use_script(folder, monkeypatch, imports=1)
    error = folder.error(*words)
    assert error.startswith("demo: videos need a Python (here ")
    assert error.endswith("numpy, cffi and opencv-python; YOLOMASK_PYTHON names another one")
    monkeypatch.setitem(program.ENVIRONMENT, "YOLOMASK_PYTHON", "")
    assert folder.error(*words).startswith("Python is not called from here; type: PYTHONPATH=")
    assert folder.error(*words, "b.avi") == "b.avi: one video at a time"
    assert folder.error(*words[:3]) == "a weights file is missing"
