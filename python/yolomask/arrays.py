"""Arrays with the few tensor methods that code written for PyTorch results calls."""

from __future__ import annotations

import numpy as np


class Array(np.ndarray):
    """A NumPy array that may be asked .cpu().numpy(), .int(), .float() like a tensor."""

    def cpu(self) -> Array:
        return self

    def numpy(self) -> np.ndarray:
        return self.view(np.ndarray)

    def int(self) -> Array:
        return self.astype(np.int32)

    def float(self) -> Array:
        return self.astype(np.float32)


def wrap(array: np.ndarray) -> Array:
    return array.view(Array)
