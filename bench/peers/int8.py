"""The exported network in int8, for ONNX Runtime and OpenVINO: a scale a channel of the weights, a
scale a tensor of the activations, found on the photos of data/ and the case's own input, which is
good enough for timings. The last convolutions, which the heads read, stay in float32. Processors
without VNNI add pairs of products in 16 bits, so weights take 7 bits there, or sums would overflow.
"""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import onnx

from peers.case import ROOT, Case, letterboxed


class Photos:
    def __init__(self, case: Case):
        photos = sorted((ROOT / "data").glob("*.jpg"))[:4]
        self.feeds = [
            {"images": letterboxed(path, case.width, case.height, case.batch)} for path in photos
        ]

    def get_next(self):
        return self.feeds.pop() if self.feeds else None


def write_int8(case: Case) -> None:
    """Makes case.onnx of model.onnx, where it is missing or old."""
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    source = case.onnx.with_name("model.onnx")
    if case.onnx.is_file() and case.onnx.stat().st_mtime >= source.stat().st_mtime:
        return
    CalibrationDataReader.register(Photos)
    heads = [node.name for node in onnx.load(source).graph.node if node.output[0] in case.outputs]
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantize_static(
            source,
            case.onnx,
            Photos(case),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=heads,
            reduce_range="vnni" not in Path("/proc/cpuinfo").read_text(encoding="utf-8"),
            extra_options={"ActivationSymmetric": False, "WeightSymmetric": True},
        )
    logging.disable(logging.NOTSET)
