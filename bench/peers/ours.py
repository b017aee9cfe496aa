"""Our engine, through the library. To time another way of running, change open_network alone."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from peers.case import ROOT, Case, Engine, Network, check, ffi, lib
from yolomask import calibrate

NAME = "YOLO-Mask"


def version() -> str:
    return ""


def calibration(case: Case) -> Path:
    """The ranges for int8, from the photos that the peers' int8 is calibrated on."""
    path = Path(case.folder, "calibration.txt")
    calibrate(
        *(case.cfg, case.weights, ROOT / "data", path),
        width=case.width,
        height=case.height,
        threads=case.threads,
    )
    return path


def open_network(case: Case) -> Network:
    """The network as a user opens it for this precision."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Network(
            case.cfg,
            case.weights,
            device="cpu",
            threads=case.threads,
            width=case.width,
            height=case.height,
            batch=case.batch,
            precision=case.precision,
            calibration=calibration(case) if case.precision == "int8" else None,
        )


def load(case: Case) -> Engine:
    network, images = open_network(case), case.images()
    data, handle = ffi.from_buffer("float[]", images), network._handle

    def run(_alive=(network, images)):
        check(lib.dn_network_forward(handle, data, case.batch, 0.25))

    def outputs():
        run()
        return heads(handle, case)

    return Engine(run, outputs)


def heads(network, case: Case) -> list[np.ndarray]:
    """What the heads read in the last pass."""
    layer, found = ffi.new("dn_layer_info *"), []
    for name in case.outputs:
        check(lib.dn_network_get_layer(network, int(name.split("_")[1]) - 1, layer))
        shape = (layer.live, layer.c, layer.h, layer.w)
        values = np.frombuffer(ffi.buffer(layer.out, 4 * int(np.prod(shape))), np.float32)
        found.append(values.reshape(shape).copy())
    return found


def reference(case: Case) -> list[np.ndarray]:
    """What the heads read, from a network of the plain path that keeps every layer's output."""
    images = case.images()
    options = ffi.new("dn_network_options *")
    options.batch, options.width, options.height = case.batch, case.width, case.height
    options.threads, options.keep_all = case.threads, True
    handle = ffi.new("dn_network **")
    check(lib.dn_network_create(case.cfg.encode(), options, handle))
    network = ffi.gc(handle[0], lib.dn_network_free)
    check(lib.dn_network_load_weights(network, case.weights.encode(), ffi.NULL))
    data = ffi.from_buffer("float[]", images)
    check(lib.dn_network_forward(network, data, case.batch, 0.25))
    return heads(network, case)
