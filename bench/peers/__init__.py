"""The engines that bench_peers.py runs in turns, one file each.

A peer's file has NAME, version(), and load(case), which gives an Engine or raises Unsupported with
the reason; ImportError says that the peer is not there.
"""

from __future__ import annotations

import importlib
from types import ModuleType

PEERS = {
    "ours": "ours",
    "openvino": "openvino_peer",
    "onnxruntime": "onnxruntime_peer",
    "ncnn": "ncnn_peer",
    "opencv": "opencv_peer",
    "torch": "torch_peer",
    "darknet": "darknet_peer",
}


def find(name: str) -> ModuleType:
    return importlib.import_module(f"peers.{PEERS[name]}")


def how_to_install(name: str) -> str:
    """A sentence, behind an ImportError."""
    ways = {"torch": "make env TORCH=1", "darknet": "apt install darknet"}
    return f"{ways.get(name, 'make bench-peers')} installs it"
