"""YOLO-Mask on Darknet: instance segmentation with a YOLO detector and a RoI mask branch."""

from ._native import (
    CancelledError,
    ConfigError,
    DarknetError,
    DarknetWarning,
    DataError,
    DeviceError,
    WeightsError,
)
from .calibration import calibrate
from .network import Network
from .result import Result
from .training import train

__all__ = [
    "CancelledError",
    "ConfigError",
    "DarknetError",
    "DarknetWarning",
    "DataError",
    "DeviceError",
    "Network",
    "Result",
    "WeightsError",
    "calibrate",
    "train",
]
