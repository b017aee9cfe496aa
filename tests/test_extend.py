"""`segmenter extend`: a mask branch behind any detector's cfg, by C API and command line."""

from __future__ import annotations

import re
import subprocess

import numpy as np
import pytest

from networks import Net
from yolomask._native import ConfigError, check, ffi, lib


def extend(path, **options) -> str:
    text = ffi.new("char **")
    given = ffi.new("dn_extend_options *", options) if options else ffi.NULL
    check(lib.dn_extend_cfg(str(path).encode(), given, text))
    try:
        return ffi.string(text[0]).decode()
    finally:
        lib.dn_buffer_free(text[0])


def sections(text: str) -> list[tuple[str, dict[str, str]]]:
    found = []
    for line in text.splitlines():
        line = re.sub(r"\s", "", line.split("#")[0])
        if line.startswith("["):
            found.append((line.strip("[]"), {}))
        elif line:
            key, value = line.split("=", 1)
            assert key not in found[-1][1], f"{key} twice"
            found[-1][1][key] = value
    return found


def pooled_maps(text: str) -> list[int]:
    """The detector's layers that the branch reads, finest first."""
    layers = [name for name, _ in sections(text)][1:]
    last_head = max(i for i, name in enumerate(layers) if name in ("yolo", "region"))
    routes = sections(text)[last_head + 2 :]
    return [int(keys["layers"]) for name, keys in routes if name == "route"]


@pytest.mark.parametrize(
    ("name", "maps"),
    [  # read off the published cfgs by hand
        ("yolov3", [11, 104, 96, 84]),  # 96 and 84: the paper's "before upsampling"
        ("yolov3-tiny", [4, 6, 21, 18]),
        ("yolov4-tiny", [8, 16, 35, 32]),
        ("yolov7-tiny", [8, 88, 92, 96]),
    ],
)
def test_maps_of_published_detectors(root, name, maps):
    assert pooled_maps(extend(root / f"cfg/{name}.cfg")) == maps


def test_detector_stays_as_it_was(root, tmp_path):
    path = root / "cfg/yolov3-tiny.cfg"
    text = extend(path, channels=24, convolutions=2)
    before, after = sections(path.read_text()), sections(text)
    assert after[1 : len(before)] == before[1:]
    assert before[0][1].items() <= after[0][1].items()
    assert int(after[0][1]["mask_max_batches"]) > 0
    names = [name for name, _ in after[len(before) :]]
    assert names == ["route", "convolutional"] * 4 + ["roialign"] + ["convolutional"] * 2 + [
        "deconvolutional",
        "convolutional",
        "mask",
    ]
    for line in path.read_text().splitlines():
        assert line in text  # comments too

    detector, net = Net(path), Net(text, training=True, stage=lib.DN_STAGE_MASK)
    assert not net.warnings
    count = detector.info.layer_count
    for i in range(count):
        old, new = detector.layer(i), net.layer(i)
        assert (old.type, old.c, old.h, old.w) == (new.type, new.c, new.h, new.w)
        assert not new.trains
    assert all(net.layer(i).trains for i in range(count, net.info.layer_count))
    assert [net.layer(i).w for i in (count + 1, count + 3, count + 5, count + 7)] == [
        104,
        52,
        26,
        13,
    ]
    assert (net.layer(-1).c, net.layer(-1).h, net.layer(-1).w) == (1, 28, 28)

    weights = tmp_path / "detector.weights"
    check(lib.dn_network_save_weights(detector.handle, str(weights).encode(), 0, -1))
    report = net.load(weights)
    assert 0 < report.layers_loaded < report.layers_total
    assert (net.params(0)["weights"] == detector.params(0)["weights"]).all()


def test_per_class_branch(root):
    keys = sections(extend(root / "cfg/yolov3-tiny.cfg", per_class=True))
    assert keys[-1] == ("mask", keys[-1][1] | {"classes": "80"})
    assert keys[-2][1]["filters"] == "80"
    assert sections(extend(root / "cfg/yolov3-tiny.cfg"))[-2][1]["filters"] == "1"


@pytest.mark.parametrize(
    ("given", "iterations", "warm_up"),
    [("", 6000, 100), ("mask_max_batches=300", 300, 5), ("mask_max_batches=88000", 88000, 1000)],
)
def test_warm_up_is_in_proportion(tmp_path, given, iterations, warm_up):
    path = tmp_path / "small.cfg"
    path.write_text(SMALL.replace("[net]", f"[net]\n{given}") + HEAD)
    net = sections(extend(path))[0][1]
    assert (int(net["mask_max_batches"]), int(net["mask_burn_in"])) == (iterations, warm_up)
    path.write_text(SMALL.replace("[net]", f"[net]\nmask_burn_in=7\n{given}") + HEAD)
    assert sections(extend(path))[0][1]["mask_burn_in"] == "7"


HEAD = "[convolutional]\nfilters=6\n[yolo]\nmask=0\nanchors=9,9\nclasses=1\nnum=1"
SMALL = (
    "[net]\nchannels=3\nheight=36\nwidth=40\nmask_batch=3\n[convolutional]\nfilters=4\nstride=8\n"
)


def test_runs_from_a_file_without_final_newline_and_with_a_mark(tmp_path):
    path = tmp_path / "small.cfg"
    path.write_bytes(b"\xef\xbb\xbf" + (SMALL + HEAD).encode())
    text = extend(path, channels=5, convolutions=1)
    assert sections(text)[0][1]["mask_batch"] == "3"
    net = Net(text, threads=1)  # 36 rows: a map of 5, stride 7.2, still is the one of stride 8
    assert not net.warnings
    assert pooled_maps(text) == [0]
    net.params(1)["biases"][:] = 5
    masks = net.forward(np.random.default_rng(0).random((1, 3, 36, 40)))
    assert len(masks) > 0
    assert ((masks > 0) & (masks < 1)).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[net]\nchannels=3\nheight=8\nwidth=8\n[convolutional]\n",
            r"has no \[yolo\] or \[region\]",
        ),
        (SMALL + HEAD + "\n[roialign]\nlayers=0\n", r"already has a \[roialign\]"),
        (SMALL.replace("stride=8", "stride=1") + HEAD, "no map of stride 4, 8, 16 or 32"),
        (SMALL + "[unknown]\n", r"small.cfg:9: unknown section \[unknown\]"),
    ],
)
def test_errors(tmp_path, text, message):
    path = tmp_path / "small.cfg"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        extend(path)


def test_bad_arguments(tmp_path):
    with pytest.raises(OSError, match="none.cfg: cannot open"):
        extend(tmp_path / "none.cfg")
    with pytest.raises(ValueError, match="4 convolutions of -1 channels: 1..64 and 1..4096"):
        extend(tmp_path / "none.cfg", channels=-1)


def test_allocation_failures(tmp_path, fail_allocations):
    path = tmp_path / "small.cfg"
    path.write_text(SMALL + HEAD)
    fail_allocations(lambda: extend(path))


def test_command_line(root, tmp_path):
    def run(*arguments):
        command = [str(root / "darknet"), "segmenter", "extend", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    path, out = tmp_path / "small.cfg", tmp_path / "out.cfg"
    path.write_text(SMALL + HEAD)
    assert run(path).stdout == extend(path)
    assert run(path, out, "-channels", 7, "-convolutions", 2, "-per_class").returncode == 0
    assert out.read_text() == extend(path, channels=7, convolutions=2, per_class=True)
    same = run(path, path)
    assert same.returncode != 0
    assert "another name" in same.stderr
    assert path.read_text() == SMALL + HEAD
    missing = run(tmp_path / "none.cfg", out)
    assert missing.returncode != 0
    assert "none.cfg: cannot open" in missing.stderr
