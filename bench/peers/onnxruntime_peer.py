"""ONNX Runtime: its threads spin during a run, as by default, and stop behind it."""

from __future__ import annotations

import onnxruntime

from peers.case import Case, Engine, Unsupported

NAME = "ONNX Runtime"


def version() -> str:
    return onnxruntime.__version__


def load(case: Case) -> Engine:
    if case.precision == "bf16":
        raise Unsupported("has no bf16 on a CPU")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = case.threads, 1
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(case.onnx, options, ["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: case.images()}

    def run():
        return session.run(case.outputs, feed)

    return Engine(run, run)
