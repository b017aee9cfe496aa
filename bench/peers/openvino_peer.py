"""OpenVINO: one stream, as many threads as asked for, not pinned, since the cores are shared."""

from __future__ import annotations

import openvino

from peers.case import Case, Engine

NAME = "OpenVINO"


def version() -> str:
    return openvino.__version__.split("-")[0]


def load(case: Case) -> Engine:
    options = {
        "INFERENCE_NUM_THREADS": case.threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "bf16" if case.precision == "bf16" else "f32",
        "ENABLE_CPU_PINNING": False,
    }
    model = openvino.Core().compile_model(str(case.onnx), "CPU", options)
    request, images = model.create_infer_request(), case.images()

    def run():
        found = request.infer({0: images}, share_inputs=True, share_outputs=True)
        return [found[name] for name in case.outputs]

    return Engine(run, run)
