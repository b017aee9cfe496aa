"""OpenCV's dnn, which reads cfg and weights itself; releases from 5 on do not."""

from __future__ import annotations

import cv2

from peers.case import Case, Engine, Unsupported

NAME = "OpenCV"


def version() -> str:
    return cv2.__version__


def load(case: Case) -> Engine:
    if not case.float32:
        raise Unsupported(f"reads no {case.precision} from a cfg")
    if not hasattr(cv2.dnn, "readNetFromDarknet"):
        raise Unsupported("reads no cfg from version 5 on")
    cv2.setNumThreads(case.threads)
    try:
        net = cv2.dnn.readNetFromDarknet(case.cfg, case.weights)
    except cv2.error as error:
        raise Unsupported(f"does not read the cfg: {error.err}") from error
    net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
    names = [f"conv_{int(name.split('_')[1]) - 1}" for name in case.outputs]
    images = case.images()

    def run():
        net.setInput(images)
        return net.forward(names)

    return Engine(run, run)
