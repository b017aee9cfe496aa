"""Drop-in for the ctypes module `darknet.py` of AlexeyAB's and pjreddie's Darknet."""

from yolomask.darknet import *  # noqa: F403
