"""Videos and cameras: `demo` reads frames, draws what is found, shows and writes. Needs OpenCV.

A written video appears whole or not at all: it is made as <name>.part.<ending> and renamed when the
last frame is in it, also after Ctrl-C. Its pace is that of the file, or that which a camera says.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .drawing import require_cv2
from .images import frames_of, open_video
from .network import Network

CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}
PACE = 25.0  # frames a second, where a source does not say
REPORTS = 5.0  # seconds between two lines of progress that are not redrawn
SCREEN = (1280, 720)  # a window begins no larger


@dataclass
class Summary:
    """What a run did."""

    frames: int = 0
    seconds: float = 0.0
    stopped: bool = False  # by Ctrl-C, or in the window


class Source:
    """A video file, a stream's address or a camera's number, and what it says of itself."""

    def __init__(self, source: str | os.PathLike | int) -> None:
        cv2 = require_cv2()
        self.capture, self.name = open_video(source)
        pace = self.capture.get(cv2.CAP_PROP_FPS)
        count = self.capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.pace = pace if 1 <= pace <= 1000 else PACE
        self.count = int(count) if 0 < count < 1e9 else 0  # 0: nobody knows


class Writer:
    """A video file; `close` gives it its name."""

    def __init__(self, path: Path, pace: float) -> None:
        if path.suffix.lower() not in CODECS:
            raise ValueError(f"{path}: a video's name ends with {' '.join(CODECS)}")
        self.path, self.pace = path, pace
        self.part = path.with_name(f"{path.stem}.part{path.suffix}")
        self.writer = None
        self.frames = 0

    def add(self, frame: np.ndarray) -> None:
        cv2 = require_cv2()
        if self.writer is None:
            codec = cv2.VideoWriter_fourcc(*CODECS[self.path.suffix.lower()])
            size = (frame.shape[1], frame.shape[0])
            self.writer = cv2.VideoWriter(str(self.part), codec, self.pace, size)
            if not self.writer.isOpened():
                raise OSError(f"{self.path}: cannot be written as a video")
        self.writer.write(frame)
        self.frames += 1

    def close(self) -> None:
        """OpenCV does not tell of a full disk, so that the file is asked for its frames."""
        if self.writer is None:
            return
        cv2 = require_cv2()
        self.writer.release()
        check = cv2.VideoCapture(str(self.part))
        found = int(check.get(cv2.CAP_PROP_FRAME_COUNT))
        check.release()
        if self.frames > 0 and found != self.frames:
            self.part.unlink(missing_ok=True)
            raise OSError(f"{self.path}: got {found} of {self.frames} frames; is the disk full?")
        if self.frames > 0:
            os.replace(self.part, self.path)


class Window:
    """A window that shows frames until it is closed, or q or Esc is pressed."""

    def __init__(self, title: str) -> None:
        self.cv2, self.title = require_cv2(), title
        screens = ("DISPLAY", "WAYLAND_DISPLAY")
        there = not sys.platform.startswith("linux") or any(os.environ.get(s) for s in screens)
        try:
            if there:
                plain = self.cv2.WINDOW_GUI_NORMAL  # without the bar of buttons that Qt has
                self.cv2.namedWindow(title, self.cv2.WINDOW_KEEPRATIO | plain)
        except self.cv2.error:  # opencv-python-headless
            there = False
        if not there:
            raise OSError(
                "no window can be opened here: there is no screen, or OpenCV is the headless one "
                "(opencv-python in its place has windows); -dont_show (--no-show) goes without, "
                "-out FILE (--out) writes a video"
            )
        self.sized = False

    def show(self, frame: np.ndarray) -> bool:
        """False: the user has seen enough."""
        if not self.sized:  # OpenCV begins with 400 x 300
            height, width = frame.shape[:2]
            scale = min(1, SCREEN[0] / width, SCREEN[1] / height)
            self.cv2.resizeWindow(self.title, round(scale * width), round(scale * height))
            self.sized = True
        self.cv2.imshow(self.title, frame)
        if self.cv2.waitKey(1) & 0xFF in (ord("q"), 27):
            return False
        return self.cv2.getWindowProperty(self.title, self.cv2.WND_PROP_VISIBLE) >= 1

    def close(self) -> None:
        self.cv2.destroyWindow(self.title)


class Interrupt:
    """Notes Ctrl-C and SIGTERM instead of breaking off in the middle of a frame; a second one
    ends the process."""

    def __init__(self) -> None:
        self.asked = False
        self.before: dict[int, object] = {}

    def _note(self, number: int, _frame: object) -> None:
        self.asked = True
        signal.signal(number, signal.SIG_DFL)

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self.before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_exception: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)


class Progress:
    """One line that is redrawn on a terminal, else one every few seconds."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.terminal = sys.stderr.isatty()
        self.start = self.last = time.monotonic()

    def update(self, done: int, objects: int) -> None:
        now = time.monotonic()
        if not self.terminal and now - self.last < REPORTS and done != self.count:
            return
        self.last = now
        rate = done / max(now - self.start, 1e-9)
        line = f"frame {done}" + (f" of {self.count}" if self.count else "")
        line += f", FPS:{rate:.1f}, {objects} object{'' if objects == 1 else 's'}"
        if self.count > done:
            left = round((self.count - done) / rate)
            line += f", ETA {left // 60}:{left % 60:02}"
        print(f"\r\033[K{line}" if self.terminal else line, end="", file=sys.stderr)
        if not self.terminal:
            print(file=sys.stderr)
        sys.stderr.flush()

    def end(self) -> float:
        """Seconds since the start."""
        if self.terminal:
            print(file=sys.stderr)
        return time.monotonic() - self.start


def demo(
    network: Network,
    source: str | os.PathLike | int,
    *,
    conf: float = 0.25,
    iou: float = 0.45,
    out: str | os.PathLike | None = None,
    show: bool = True,
    masks: bool = True,
) -> Summary:
    """Runs a network on a video file, a stream's address or a camera's number."""
    frames = Source(source)
    window = Window(frames.name) if show else None
    writer = Writer(Path(out), frames.pace) if out is not None else None
    progress, summary = Progress(frames.count), Summary()
    try:
        found = network.stream(frames_of(frames.capture), conf, iou, bgr=True)
        with Interrupt() as interrupt, contextlib.closing(found):
            for result in found:
                picture = result.plot(masks=masks)
                if writer:
                    writer.add(picture)
                summary.frames += 1
                progress.update(summary.frames, len(result))
                summary.stopped = interrupt.asked or bool(window and not window.show(picture))
                if summary.stopped:
                    break
    finally:
        frames.capture.release()
        summary.seconds = progress.end()
        if window:
            window.close()
        if writer:
            writer.close()
    if summary.frames == 0:
        raise ValueError(f"{frames.name}: holds no frames")
    return summary
