"""Pictures of results: tinted masks with outlines, boxes, labels. Needs OpenCV.

Masks are pasted and drawn inside their boxes only, so that the time and memory of a picture grow
with the objects' areas, not with the image's times their number.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .result import Result

TINT = 0.42  # how much of a mask's pixels is the class's colour
LINE = 0.0023  # line width as a share of the mean side of the image
LABELS = 0.25  # labels that would cover more of the image lose those larger than their boxes

# Bright, and far from each other where classes often meet: person and bus, cat and dog.
PALETTE = (
    *("1f8fff", "ff8a1e", "2bd46f", "f23fa5", "ffd21f", "ff3b4e", "14cfcf", "9a5bff", "a6e22e"),
    *("ff7ab8", "00b894", "ffb07a", "5b6bff", "d4e157", "e056fd", "4dd0e1", "ff5e3a", "8bc34a"),
    *("c792ea", "ffc078"),
)


def require_cv2():
    """The cv2 module, or a sentence that says how to get it."""
    try:
        import cv2
    except ImportError as error:
        raise ImportError("drawing needs OpenCV: pip install opencv-python") from error
    return cv2


def class_colour(class_id: int) -> tuple[int, int, int]:
    """RGB of a class, the same in every picture."""
    red, green, blue = bytes.fromhex(PALETTE[class_id % len(PALETTE)])
    return red, green, blue


def _text_colour(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    """Black on light colours, white on dark ones."""
    red, green, blue = colour
    return (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else (255, 255, 255)


class _Painter:
    """A picture that is being drawn, RGB; sizes follow the image's."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.cv2 = require_cv2()
        self.pixels = pixels
        self.width = max(2, round(LINE * (pixels.shape[0] + pixels.shape[1]) / 2))
        self.taken: list[tuple[int, int, int, int]] = []  # labels drawn so far

    def mask(self, left: int, top: int, mask: np.ndarray, colour: tuple[int, int, int]) -> None:
        """Tints a mask and draws its outline along the inside of its edge."""
        if not mask.any():
            return
        area = self.pixels[top : top + mask.shape[0], left : left + mask.shape[1]]
        tint = np.asarray(colour, np.float32) * TINT
        area[mask] = (area[mask] * np.float32(1 - TINT) + tint).astype(np.uint8)
        cv2 = self.cv2
        rings, _ = cv2.findContours(
            mask.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=(left, top)
        )
        cv2.polylines(self.pixels, rings, True, colour, self.width, cv2.LINE_AA)

    def box(self, box: np.ndarray, colour: tuple[int, int, int], width: int) -> None:
        x0, y0, x1, y1 = self._corners(box)
        self.cv2.rectangle(self.pixels, (x0, y0), (x1, y1), colour, width, self.cv2.LINE_AA)

    def labels(self, boxes: np.ndarray, texts: Sequence[str], colours: Sequence) -> None:
        """All labels, or where they would hide the picture those that fit into their boxes."""
        plates = np.array([self._plate(text)[:2] if text else (0, 0) for text in texts])
        areas = plates.reshape(-1, 2).prod(1)
        boxes_areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        hide = areas.sum() > LABELS * self.pixels.shape[0] * self.pixels.shape[1]
        for i, text in enumerate(texts):
            if text and not (hide and areas[i] > boxes_areas[i]):
                self.label(boxes[i], text, colours[i])

    def _plate(self, text: str) -> tuple[int, int, int, int, float, int]:
        """Width and height of a label's plate, height and drop of its text, scale, thickness."""
        scale, thickness = max(0.38, self.width * 0.21), max(1, round(self.width * 0.5))
        font = self.cv2.FONT_HERSHEY_DUPLEX
        (text_w, text_h), drop = self.cv2.getTextSize(text, font, scale, thickness)
        margin = max(2, self.width)
        return text_w + 2 * margin, text_h + drop + 2 * margin, text_h, drop, scale, thickness

    def label(self, box: np.ndarray, text: str, colour: tuple[int, int, int]) -> None:
        """Text on a plate at the box, where no other label is if that is possible."""
        cv2, font, margin = self.cv2, self.cv2.FONT_HERSHEY_DUPLEX, max(2, self.width)
        *size, text_h, drop, scale, thickness = self._plate(text)
        left, top = self._place(self._corners(box), tuple(size))
        self.taken.append((left, top, left + size[0], top + size[1]))
        plate_end = (left + size[0] - 1, top + size[1] - 1)
        cv2.rectangle(self.pixels, (left, top), plate_end, colour, cv2.FILLED)
        at = (left + margin, top + margin + text_h + drop // 2)
        cv2.putText(
            self.pixels, text, at, font, scale, _text_colour(colour), thickness, cv2.LINE_AA
        )

    def _place(self, box: tuple[int, int, int, int], size: tuple[int, int]) -> tuple[int, int]:
        """The first free place: above the box, inside at its top or bottom, below it."""
        x0, y0, x1, y1 = box
        height, width = self.pixels.shape[:2]
        choices = []
        for x in (x0, x1 - size[0] + 1):
            choices += [(x, y0 - size[1]), (x, y0), (x, y1 - size[1] + 1), (x, y1)]
        inside = [
            (min(max(x, 0), max(0, width - size[0])), y)
            for x, y in choices
            if y >= 0 and y + size[1] <= height
        ] or [(min(max(x0, 0), max(0, width - size[0])), max(0, min(y0, height - size[1])))]
        return next((place for place in inside if self._is_free(place, size)), inside[0])

    def _is_free(self, place: tuple[int, int], size: tuple[int, int]) -> bool:
        left, top = place
        return all(
            left >= x1 or left + size[0] <= x0 or top >= y1 or top + size[1] <= y0
            for x0, y0, x1, y1 in self.taken
        )

    def _corners(self, box: np.ndarray) -> tuple[int, int, int, int]:
        """The outermost pixels of a box in the image."""
        height, width = self.pixels.shape[:2]
        x0, y0, x1, y1 = (round(v) for v in box.tolist())
        return x0, y0, min(max(x1 - 1, x0), width - 1), min(max(y1 - 1, y0), height - 1)


def paint(
    pixels: np.ndarray,
    boxes: np.ndarray,
    class_ids: Sequence[int],
    *,
    crop: Callable[[int], tuple[int, int, np.ndarray] | None] | None = None,
    boxes_too: bool = True,
    texts: Sequence[str] | None = None,
) -> np.ndarray:
    """Draws objects onto RGB pixels, which it returns: boxes (objects, 4) in pixels; crop(i) gives
    left, top and mask of object i, None where it has none."""
    painter = _Painter(pixels)
    colours = [class_colour(int(class_id)) for class_id in class_ids]
    sizes = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    order = np.argsort(-sizes, kind="stable").tolist()  # small objects over large ones
    for i in order if crop else ():
        part = crop(i)
        if part:
            painter.mask(*part, colours[i])
    if boxes_too:
        thin = max(1, painter.width // 2) if crop else painter.width
        for i in order:
            painter.box(boxes[i], colours[i], thin)
    if texts:
        painter.labels(boxes, texts, colours)
    return painter.pixels


def draw(
    result: Result,
    *,
    masks: bool = True,
    boxes: bool = True,
    labels: bool = True,
    conf: bool = True,
) -> np.ndarray:
    """A copy of the result's image with its objects, in the image's own channel order."""
    image = result.orig_img
    table = result.boxes.data
    names = [result.names[int(class_id)] for class_id in table[:, 5]]
    # Objects of a network's only class would all look alike: each has a colour of its own.
    colours = np.arange(len(table)) if len(result.names) == 1 else table[:, 5]
    texts = [f"{n} {s:.2f}" if conf else n for n, s in zip(names, table[:, 4], strict=True)]
    pixels = paint(
        np.ascontiguousarray(image[..., ::-1]) if result.bgr else image.copy(),
        table[:, :4],
        colours,
        crop=result.masks.crop if masks and result.masks is not None else None,
        boxes_too=boxes,
        texts=texts if labels else None,
    )
    return pixels[..., ::-1] if result.bgr else pixels


def write_picture(path: str | os.PathLike, pixels: np.ndarray) -> None:
    """Writes RGB or RGBA pixels in the format that the file's ending names."""
    cv2 = require_cv2()
    path = Path(path)
    order = cv2.COLOR_RGBA2BGRA if pixels.shape[2] == 4 else cv2.COLOR_RGB2BGR
    jpeg = path.suffix.lower() in (".jpg", ".jpeg")
    options = [cv2.IMWRITE_JPEG_QUALITY, 95] if jpeg else []
    try:
        done, encoded = cv2.imencode(path.suffix, cv2.cvtColor(pixels, order), options)
    except cv2.error:
        done = False
    if not done:
        raise ValueError(f"{path}: cannot write this format, use .jpg or .png")
    path.write_bytes(encoded.tobytes())
