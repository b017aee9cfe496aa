"""`yolomask export`: ONNX Runtime runs the file and finds what our plain path finds.

Parameters are random, batch norm's statistics among them, so that folding them wrongly shows.
"""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from conftest import ROOT
from networks import Net
from roi_support import set_rois
from yolomask import ConfigError, Network
from yolomask._native import check, ffi, lib
from yolomask.onnx_export import export_onnx

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

RANGES = {"scales": (0.7, 1.3), "biases": (-0.3, 0.3), "mean": (-0.3, 0.3), "variance": (0.5, 2)}
ACTIVATIONS = ["linear", "leaky", "logistic", "relu", "relu6", "mish", "swish", "hard_mish",
               "tanh", "elu", "selu", "gelu"]  # fmt: skip
SHIPPED = ["yolov3-tiny", "yolov4-tiny", "yolov7-tiny", "yolo-fastest-1.1", "darknet19"]
LARGE = ["yolov2", "yolov3", "yolov3-spp", "yolov4", "yolov4-csp", "yolov7", "darknet53"]

NET = "[net]\nwidth=20\nheight=12\nchannels=3\n"
CONV = "[convolutional]\nfilters=8\nsize=3\npad=1\nbatch_normalize=1\nactivation={}\n"
# A classifier with the sections and keys that shipped networks use seldom or never.
SELDOM = (
    NET
    + "".join(CONV.format(name) for name in ACTIVATIONS)
    + "[convolutional]\nfilters=8\nsize=3\npadding=1\nstride_x=2\ngroups=4\nactivation=linear\n"
    + "[convolutional]\nfilters=8\nsize=3\npad=1\ndilation=2\nactivation=leaky\n"
    + "[shortcut]\nfrom=-2\nalpha=.5\nbeta=-2\nactivation=mish\n"
    + "[avgpool]\n"
    + "[scale_channels]\nfrom=-2\nactivation=tanh\n"
    + "[convolutional]\nfilters=8\nactivation=logistic\n"
    + "[sam]\nfrom=-2\n"
    + "[maxpool]\nsize=3\nstride=2\n"
    + "[maxpool]\nsize=2\nstride=1\n"
    + "[local_avgpool]\nsize=3\nstride=1\n"
    + "[deconvolutional]\nfilters=6\nsize=3\nstride=2\npadding=1\noutput_padding=1\n"
    + "batch_normalize=1\nactivation=relu\n"
    + "[upsample]\nstride=2\nscale=.5\n"
    + "[batchnorm]\n"
    + "[activation]\nactivation=swish\n"
    + "[route]\nlayers=-1,-2\ngroups=3\ngroup_id=1\n"
    + "[reorg]\nstride=2\n"
    + "[dropout]\nprobability=.3\n"
    + "[connected]\noutput=12\nbatch_normalize=1\nactivation=elu\n"
    + "[softmax]\ngroups=3\ntemperature=2\n"
)


def shuffle(net: Net) -> None:
    rng = np.random.default_rng(5)
    for index in range(net.info.layer_count):
        for name, values in net.params(index).items():
            if name in RANGES:
                values[:] = rng.uniform(*RANGES[name], len(values))
    lib.dn_network_touch(net.handle)


def exported(cfg, folder, batch: int, side: int = 0, fixed: int = 0):
    """Our network with all its layers and the files that were written of the same weights."""
    net = Net(cfg, width=side, height=side, batch=batch, seed=3, device=b"cpu")
    shuffle(net)
    check(lib.dn_network_save_weights(net.handle, str(folder / "w").encode(), 0, -1))
    with Network(cfg, folder / "w", width=side, height=side, device="cpu") as network:
        return net, export_onnx(network, folder / "net.onnx", fixed)


def relative(found: np.ndarray, wanted: np.ndarray) -> float:
    difference = np.sqrt(np.mean(np.square(found.reshape(wanted.shape) - wanted, dtype=float)))
    return difference / np.sqrt(np.mean(np.square(wanted, dtype=float)))


def compare(net: Net, path, batch: int) -> list[str]:
    """Every output against the layer it belongs to."""
    session = onnxruntime.InferenceSession(path)
    shape = (batch, net.info.channels, net.info.height, net.info.width)
    images = np.random.default_rng(1).random(shape, np.float32)
    net.forward(images, threshold=2.0)
    names = [value.name for value in session.get_outputs()]
    for name, found in zip(names, session.run(None, {"images": images}), strict=True):
        kind, _, index = name.partition("_")
        layer = -1 if kind == "classes" else int(index) - (kind != "map")
        wanted = net.output(layer)
        assert np.isfinite(wanted).all()
        assert wanted.std() > 1e-6
        assert relative(found, wanted) < 1e-5, name
    return names


def agree(name: str, folder, side: int, batch: int) -> None:
    net, files = exported(ROOT / f"cfg/{name}.cfg", folder, batch, side)
    compare(net, files[0], batch)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_networks_agree(name, tmp_path):
    agree(name, tmp_path, 64, 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_large_networks_agree(name, tmp_path):
    agree(name, tmp_path, 64, 1)


def test_seldom_layers_agree(tmp_path):
    cfg = tmp_path / "seldom.cfg"
    cfg.write_text(SELDOM)
    net, files = exported(cfg, tmp_path, 3)
    assert compare(net, files[0], 3) == ["classes"]


def test_a_fixed_batch_is_in_the_file(tmp_path):
    _, files = exported(ROOT / "cfg/yolo-fastest-1.1.cfg", tmp_path, 1, 64, fixed=4)
    graph = onnx.load(files[0]).graph
    shapes = [[d.dim_value for d in v.type.tensor_type.shape.dim] for v in graph.input]
    assert shapes == [[4, 3, 64, 64]]


def test_mask_branch_is_a_file_of_its_own(tmp_path):
    net, files = exported(ROOT / "cfg/yolomask-fastest.cfg", tmp_path, 2, 64)
    boxes = [(0, (3, 5, 40, 44)), (0, (20, 1, 60, 33)), (1, (0, 0, 64, 64))]
    set_rois(net, [{"image": image, "box": np.float32(box)} for image, box in boxes])
    names = compare(net, files[0], 2)
    types = [ffi.string(net.layer(k).type) for k in range(net.info.layer_count)]
    pooling, mask = types.index(b"roialign"), types.index(b"mask")
    session = onnxruntime.InferenceSession(files[1])
    found = session.run(None, {"rois": net.output(pooling)})[0]
    wanted = net.output(mask - 1)
    assert len(wanted) == 3
    assert relative(found, wanted) < 1e-5
    told = {p.key: json.loads(p.value) for p in onnx.load(files[1]).metadata_props}
    assert [head["output"] for head in told["heads"]] == [n for n in names if n[:4] == "yolo"]
    assert told["roialign"]["maps"] == [n for n in names if n[:3] == "map"]
    assert len(told["names"]) == lib.dn_network_classes(net.handle)


def test_what_has_no_form_is_refused_by_its_line(tmp_path):
    cfg = tmp_path / "learned.cfg"
    cfg.write_text(
        NET + CONV.format("relu") * 2 + "[shortcut]\nfrom=-2\nweights_type=per_channel\n[softmax]\n"
    )
    with (
        Network(cfg, device="cpu") as network,
        pytest.raises(ConfigError, match=rf"{cfg}:17: \[shortcut\] with weights_type"),
    ):
        export_onnx(network, tmp_path / "out.onnx")
    assert not list(tmp_path.glob("*.onnx*"))


def test_the_command_writes_both_files(tmp_path):
    cfg = ROOT / "cfg/yolomask-fastest.cfg"
    exported(cfg, tmp_path, 1, 64)
    out = tmp_path / "new.onnx"
    command = [sys.executable, "-m", "yolomask", "export", cfg, tmp_path / "w", out, "--size", "96"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(out), str(tmp_path / "new.mask.onnx")]
    onnx.checker.check_model(onnx.load(out))
