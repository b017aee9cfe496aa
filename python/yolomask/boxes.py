"""The boxes of a result, in the forms that users of Ultralytics and supervision know."""

from __future__ import annotations

import numpy as np

from .arrays import Array, wrap


class Boxes:
    """One row an object: x0, y0, x1, y1 (clipped to the image), score, class."""

    id = None  # no tracking

    def __init__(self, data: np.ndarray, shape: tuple[int, int]) -> None:
        self.data: Array = wrap(data)  # (objects, 6) float32
        self.orig_shape = shape  # (height, width)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index) -> Boxes:
        return Boxes(self.data[index], self.orig_shape)

    @property
    def xyxy(self) -> Array:
        """Corners in pixels."""
        return self.data[:, :4]

    @property
    def xywh(self) -> Array:
        """Centre and size in pixels."""
        low, high = self.data[:, :2], self.data[:, 2:4]
        return wrap(np.concatenate([(low + high) / 2, high - low], axis=1))

    @property
    def xyxyn(self) -> Array:
        """Corners as fractions of the image's width and height."""
        return self.xyxy / self._scale()

    @property
    def xywhn(self) -> Array:
        """Centre and size as fractions of the image's width and height."""
        return self.xywh / self._scale()

    @property
    def conf(self) -> Array:
        """Scores: objectness * class probability."""
        return self.data[:, 4]

    @property
    def cls(self) -> Array:
        """Class ids, as floats (.int() where integers are needed)."""
        return self.data[:, 5]

    def _scale(self) -> np.ndarray:
        height, width = self.orig_shape
        return np.array([width, height, width, height], np.float32)
