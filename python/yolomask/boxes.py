"""The boxes of a result, in the forms that users of Ultralytics and supervision know."""

from __future__ import annotations

import numpy as np

from ._native import DeviceError
from .arrays import Array, wrap
from .gpu_arrays import GpuArray


class Boxes:
    """One row an object: x0, y0, x1, y1 (clipped to the image), score, class."""

    id = None  # no tracking

    def __init__(self, data: np.ndarray, shape: tuple[int, int], device: str = "cpu") -> None:
        self.data: Array = wrap(data)  # (objects, 6) float32
        self.orig_shape = shape  # (height, width)
        self.device = device  # of the network that found them

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index) -> Boxes:
        return Boxes(self.data[index], self.orig_shape, self.device)

    def on_device(self) -> GpuArray:
        """`data` in the memory of the network's GPU, for torch.from_dlpack or cupy.asarray."""
        if self.device == "cpu":
            raise DeviceError(
                "boxes.on_device() needs a network on a GPU; the one that found these is on the CPU"
            )
        return GpuArray.copy_of(self.data.numpy(), self.device)

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
