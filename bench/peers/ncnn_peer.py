"""ncnn with Winograd, as by default; bf16 is how it stores values. It takes one image at a time."""

from __future__ import annotations

from pathlib import Path

import ncnn
import numpy as np

from peers.case import Case, Engine, Unsupported
from peers.ncnn_model import write_ncnn

NAME = "ncnn"


def version() -> str:
    return ncnn.__version__


def files(case: Case) -> Path:
    stem = Path(case.folder, "ncnn")
    param = stem.with_suffix(".param")
    if not param.is_file() or param.stat().st_mtime < case.onnx.stat().st_mtime:
        write_ncnn(case.onnx, stem, case.images().shape[1:])
    return stem


def prepare(case: Case) -> None:
    """Converts the model, which is no part of loading it."""
    if case.precision == "int8":
        raise Unsupported("has no int8 in this benchmark: its calibration is not in the wheel")
    files(case)


def load(case: Case) -> Engine:
    prepare(case)
    stem, net = files(case), ncnn.Net()
    net.opt.num_threads = case.threads
    net.opt.use_winograd_convolution = case.precision != "exact"
    net.opt.use_bf16_storage = case.precision == "bf16"
    net.load_param(str(stem.with_suffix(".param")))
    net.load_model(str(stem.with_suffix(".bin")))
    images = case.images()
    source = net.input_names()[0]

    def run():
        found = []
        for image in images:
            extractor = net.create_extractor()
            extractor.input(source, ncnn.Mat(image))
            found.append([extractor.extract(name)[1] for name in case.outputs])
        return found

    def outputs():
        return [np.stack([np.array(mat) for mat in one]) for one in zip(*run(), strict=True)]

    return Engine(run, outputs)
