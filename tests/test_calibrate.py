"""Calibration and int8: ranges against NumPy, int8 against a NumPy model of it, the file's errors.

The model quantises as docs/formats.md says and sums integers; the library must agree to rounding.
"""

from __future__ import annotations

import os
import random
import re
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from conftest import ROOT
from networks import Net
from program import Segmenter, write_png
from yolomask import CancelledError, DarknetWarning, DataError, Network, calibrate
from yolomask._native import check, ffi, lib

sys.path.insert(0, str(ROOT / "tests" / "fuzz"))
from mutations import mutate_text

# A detector and a mask branch. Layer 0 reads the image, 2 has groups, 4 is the head's and 8 the
# mask's: the others, 1, 3 and 7, can compute in int8; in bf16 Winograd keeps 1 and 7, not 4.
NETWORK = """[net]
width=48
height=32
channels=3
[convolutional]
filters=32
size=3
stride=2
pad=1
activation=leaky
batch_normalize=1
[convolutional]
filters=48
size=3
pad=1
activation=leaky
batch_normalize=1
[convolutional]
filters=48
groups=48
size=3
pad=1
activation=relu
[convolutional]
filters=64
size=1
activation=mish
[convolutional]
filters=18
size=1
activation=linear
[yolo]
mask=0,1,2
anchors=10,14, 23,27, 37,58
classes=1
num=3
[roialign]
layers=3
size=7
max_rois=6
[convolutional]
filters=32
size=3
pad=1
activation=relu
[convolutional]
filters=1
size=1
activation=linear
[mask]
classes=1
"""
CONVOLUTIONS = {0: 3, 1: 32, 2: 48, 3: 48, 4: 64, 7: 64, 8: 32}  # their inputs' channels
LEVELS = 255
INT8 = lib.DN_PRECISION_INT8_EVERYWHERE  # what to compute in 8 bits does not depend on the machine
BF16 = lib.DN_PRECISION_BF16_EVERYWHERE


def scatter(net: Net) -> None:
    """Biases and statistics as after a training."""
    rng = np.random.default_rng(5)
    for i in CONVOLUTIONS:
        for name, values in net.params(i).items():
            if name in ("biases", "mean"):
                values[:] = rng.normal(0, 0.2, values.size)
            elif name in ("scales", "variance"):
                values[:] = rng.uniform(0.5, 1.5, values.size)
    for i in (4, 8):  # what a head and a mask read differs from pixel to pixel
        weights = net.params(i)["weights"]
        weights[:] = rng.normal(0, 1, weights.size)
    lib.dn_network_touch(net.handle)


def make(precision: int = lib.DN_PRECISION_PLAIN, cfg: str | Path = NETWORK, **options) -> Net:
    calibration = options.pop("calibration", None)
    if calibration is not None:
        options["calibration"] = text = ffi.new("char[]", str(calibration).encode())
    net = Net(cfg, **({"keep_all": False, "precision": precision, "seed": 7} | options))
    if calibration is not None:
        del text
    if cfg == NETWORK:
        scatter(net)
    return net


def run_calibration(net: Net, paths, out, **options):
    """dn_calibrate; what it says about images, and its report."""
    said = []
    message = ffi.callback(
        "void(void *, const char *)", lambda _context, text: said.append(ffi.string(text).decode())
    )
    texts = [ffi.new("char[]", str(path).encode()) for path in paths]
    given = ffi.new("dn_calibrate_options *", {"message": message, **options})
    report = ffi.new("dn_calibration *")
    check(
        lib.dn_calibrate(
            net.handle, ffi.new("char *[]", texts), len(texts), given, str(out).encode(), report
        )
    )
    return report, said


def ranges_of(path: Path) -> dict[int, tuple[float, float]]:
    lines = path.read_text().splitlines()
    assert lines[0] == "calibration 1"
    rows = [line.split() for line in lines[1:] if not line.startswith("#")]
    assert {int(row[0]): int(row[1]) for row in rows} == CONVOLUTIONS
    return {int(row[0]): (float(row[2]), float(row[3])) for row in rows}


def place_boxes(net: Net, count: int = 4) -> None:
    rois = ffi.new("dn_roi[]", count)
    for k, roi in enumerate(rois):
        roi.detection, roi.truth, roi.level = k, -1, -1
        roi.box = roi.expanded = (4.0 + 3 * k, 5.0, 20.0 + 5 * k, 27.0)
    check(lib.dn_test_set_rois(net.handle, rois, count))


@pytest.fixture
def photos(tmp_path) -> list[Path]:
    """Three images of the network's size, of one brightness each and some noise."""
    rng, paths = np.random.default_rng(1), []
    for i in range(3):
        pixels = rng.normal(60 + 60 * i, 40, (32, 48, 3)).clip(0, 255).astype(np.uint8)
        paths.append(tmp_path / f"{i}.png")
        write_png(paths[-1], pixels)
    return paths


@pytest.fixture
def calibrated(photos, tmp_path) -> Path:
    out = tmp_path / "ranges.txt"
    net = make()
    place_boxes(net)
    report, said = run_calibration(net, photos, out)
    assert (report.images, report.skipped, report.layers, said) == (3, 0, 7, [])
    return out


def pixels_of(path: Path) -> np.ndarray:
    from yolomask import images

    return np.asarray(images.load(path, False).rgb)


# ---- the file ---------------------------------------------------------------------------------


def quantise(x: np.ndarray, low: float, high: float) -> tuple[np.ndarray, float, float]:
    scale = np.float32(np.float32(high) - np.float32(low)) / np.float32(LEVELS)
    zero = np.rint(-np.float32(low) / scale)
    q = np.clip(np.rint(x / scale) + zero, 0, LEVELS)
    return q, float(scale), float(zero)


def loss(x: np.ndarray, low: float, high: float) -> float:
    q, scale, zero = quantise(x.astype(np.float64), low, high)
    return float((((q - zero) * scale - x) ** 2).sum())


def test_ranges_lose_least(calibrated, photos):
    net = make(keep_all=True)
    place_boxes(net)
    inputs: dict[int, list[np.ndarray]] = {i: [] for i in CONVOLUTIONS}
    for photo in photos:
        net.predict([pixels_of(photo)])
        for i in CONVOLUTIONS:
            inputs[i].append(net._input if i == 0 else net.output(i - 1))
    inputs.pop(0)  # the image itself
    ranges = ranges_of(calibrated)
    assert ranges[0][0] == 0 and 0.9 < ranges[0][1] <= 1
    for i, tensors in inputs.items():
        x = np.concatenate([tensor.ravel() for tensor in tensors])
        smallest, largest = min(0.0, float(x.min())), float(x.max())
        low, high = ranges[i]
        assert smallest - 1e-6 <= low <= 0 < high <= largest + 1e-6
        shares = np.linspace(1 / 16, 1, 16)
        best = min(
            loss(x, smallest * a, largest * b)
            for a in (shares if smallest < 0 else [1.0])
            for b in shares
        )
        assert loss(x, low, high) <= 1.03 * best
        assert loss(x, low, high) <= loss(x, smallest, largest)


def test_only_live_boxes_count(photos, tmp_path):
    """Two boxes of six: what the rest of the branch's tensors holds must not be measured."""
    texts = []
    for _ in range(2):
        net = make()
        place_boxes(net, 2)
        run_calibration(net, photos, tmp_path / "two.txt")
        texts.append((tmp_path / "two.txt").read_text())
        place_boxes(net, 6)  # leaves other values behind
        run_calibration(net, photos, tmp_path / "six.txt")
        place_boxes(net, 2)
        run_calibration(net, photos, tmp_path / "two.txt")
        texts.append((tmp_path / "two.txt").read_text())
    assert len(set(texts)) == 1
    assert (tmp_path / "six.txt").read_text() != texts[0]


def test_order_and_threads_change_nothing(photos, tmp_path, calibrated):
    net = make(threads=1)
    place_boxes(net)
    run_calibration(net, photos[::-1], tmp_path / "other.txt")
    assert (tmp_path / "other.txt").read_bytes() == calibrated.read_bytes()


def test_limit_spreads(photos, tmp_path):
    net = make()
    place_boxes(net)
    report, _ = run_calibration(net, photos, tmp_path / "a.txt", limit=1)
    assert report.images == 1
    run_calibration(net, photos[:1], tmp_path / "b.txt")
    assert (tmp_path / "a.txt").read_bytes() == (tmp_path / "b.txt").read_bytes()


def changed(line: str) -> str:
    """The line of layer 3 replaced."""
    return (
        "calibration 1\n0 3 0 1\n1 32 -1 1\n2 48 -1 1\n" + line + "\n4 64 0 1\n7 64 0 1\n8 32 0 1\n"
    )


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", r"is no calibration file: its first line is to be \"calibration 1\""),
        ("# only this\n", r"is no calibration file"),
        ("[net]\nwidth=4\n", r"is no calibration file"),
        ("calibration\n", r"ranges.txt:1: calibration of version none: 1 is known"),
        ("\n\ncalibration 2\n", r"ranges.txt:3: calibration of version 2: 1 is known"),
        ("calibration 1\n0 3 0 1\n", r"ranges.txt: ends before layer 1, a convolution of"),
        (changed("3 48 0 1") + "9 1 0 1\n", r"ranges.txt:9: more layers than .* has convolutions"),
        (changed("3 48 0"), r"ranges.txt:5: a layer, its input's channels, low and high"),
        (changed("3 48 0 1 2"), r"ranges.txt:5: a layer, its input's channels, low and high"),
        (changed("3 48 0 nan"), r"ranges.txt:5: a layer, its input's channels, low and high"),
        (changed("3 48 0 1e999"), r"ranges.txt:5: a layer, its input's channels, low and high"),
        (changed("3.5 48 0 1"), r"ranges.txt:5: a layer, its input's channels, low and high"),
        (changed("4 48 0 1"), r"ranges.txt:5: layer 4 with 48 channels: the next convolution of "),
        (changed("3 32 0 1"), r"ranges.txt:5: layer 3 with 32 channels: .* is layer 3 with 48; "),
        (changed("3 48 1 2"), r"ranges.txt:5: a range of 1 to 2: it is to hold 0"),
        (changed("3 48 -2 -1"), r"ranges.txt:5: a range of -2 to -1: it is to hold 0"),
        (changed("3 48 0 0"), r"ranges.txt:5: a range of 0 to 0: it is to hold 0, and more"),
        (changed("3 48 0 1e31"), r"ranges.txt:5: a range of 0 to 1e\+31"),
        ("calibration 1\n0 3 0\0 1\n", r"ranges.txt: holds a zero byte"),
    ],
)
def test_errors_name_file_and_line(tmp_path, content, says):
    path = tmp_path / "ranges.txt"
    path.write_text(content)
    with pytest.raises(DataError, match=says):
        make(lib.DN_PRECISION_INT8, calibration=path)


def test_comments_and_blank_lines(tmp_path):
    path = tmp_path / "ranges.txt"
    path.write_text(changed("\n# a comment\r\n\t3  48 0 1.5 \r\n"))
    make(lib.DN_PRECISION_INT8, calibration=path)


def test_file_that_is_not_there(tmp_path):
    with pytest.raises(OSError, match=r"none.txt: cannot open"):
        make(lib.DN_PRECISION_INT8, calibration=tmp_path / "none.txt")


def test_damaged_files(calibrated, tmp_path):
    """Cut anywhere or mutated: refused with a sentence, or read as a whole."""
    whole, path = calibrated.read_bytes(), tmp_path / "damaged.txt"
    cases = [whole[:n] for n in range(0, len(whole) - 1, 7)]
    for seed in range(150):
        text = mutate_text(random.Random(f"calibration {seed}"), whole.decode())
        cases.append(text.encode("utf-8", "surrogateescape"))
    refused = 0
    for content in cases:
        path.write_bytes(content)
        try:
            make(lib.DN_PRECISION_INT8, calibration=path)
        except DataError as error:
            refused += 1
            assert str(path) in str(error) and "\n" not in str(error)
    assert len(cases) // 2 < refused < len(cases)


# ---- who may ----------------------------------------------------------------------------------


def test_int8_needs_a_calibration(calibrated):
    with pytest.raises(ValueError, match="int8 needs a calibration file, which .darknet calibrate"):
        make(lib.DN_PRECISION_INT8)
    with pytest.raises(ValueError, match="int8 needs a calibration file"):
        make(INT8)
    for precision in (lib.DN_PRECISION_DEFAULT, lib.DN_PRECISION_BF16, lib.DN_PRECISION_PLAIN):
        with pytest.raises(ValueError, match=r"ranges.txt: a calibration file is for precision in"):
            make(precision, calibration=calibrated)


def test_who_may_be_calibrated(photos, tmp_path):
    out = tmp_path / "out.txt"
    for net in (
        make(lib.DN_PRECISION_F32),
        make(training=True),
        make(stage=lib.DN_STAGE_DETECTOR),
    ):
        with pytest.raises(ValueError, match="needs a whole network for inference on the CPU"):
            run_calibration(net, photos, out)
    with pytest.raises(ValueError, match="calibration needs images"):
        run_calibration(make(), [], out)
    assert not out.exists()


def test_branch_without_boxes(photos, tmp_path):
    net = make()
    place_boxes(net, 0)
    with pytest.raises(DataError, match=r":\d+: layer 7 .* saw no RoI: .* a score above 0.05"):
        run_calibration(net, photos, tmp_path / "out.txt")
    assert not (tmp_path / "out.txt").exists()


def test_values_that_are_no_numbers(photos, tmp_path):
    net = make()
    place_boxes(net)
    net.params(1)["biases"][3] = np.nan
    lib.dn_network_touch(net.handle)
    with pytest.raises(DataError, match=r"layer 2 .* reads values that are no numbers"):
        run_calibration(net, photos, tmp_path / "out.txt")


def test_images_that_cannot_be_read(photos, tmp_path, calibrated):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    net = make()
    place_boxes(net)
    mixed = [tmp_path / "broken.png", *photos, tmp_path / "missing.png"]
    report, said = run_calibration(net, mixed, tmp_path / "out.txt")
    assert (report.images, report.skipped) == (3, 2)
    assert len(said) == 2 and said[0].startswith("skipped: ") and "broken.png" in said[0]
    assert (tmp_path / "out.txt").read_bytes() == calibrated.read_bytes()
    with pytest.raises(DataError, match=r"broken.png"):
        run_calibration(net, mixed, tmp_path / "strict.txt", strict=True)
    with pytest.raises(DataError, match="none of the 1 images can be read"):
        run_calibration(net, mixed[:1], tmp_path / "strict.txt")
    assert not (tmp_path / "strict.txt").exists()


def test_interrupted(photos, tmp_path):
    calls = []

    def cancelled(_context) -> bool:
        calls.append(1)
        return len(calls) > 2

    net = make()
    place_boxes(net)
    stop = ffi.callback("bool(void *)", cancelled)
    with pytest.raises(CancelledError):
        run_calibration(net, photos, tmp_path / "out.txt", cancelled=stop)
    assert len(calls) == 3
    assert not list(tmp_path.glob("out.txt*"))


def test_allocations_that_fail(photos, tmp_path, fail_allocations, calibrated):
    net = make()
    place_boxes(net)

    fail_allocations(lambda: run_calibration(net, photos[:1], tmp_path / "out.txt"))
    fail_allocations(lambda: make(lib.DN_PRECISION_INT8, calibration=calibrated))


# ---- what comes out ---------------------------------------------------------------------------


def forms(net: Net) -> dict[int, str]:
    info, found = ffi.new("dn_step_info *"), {}
    for i in range(lib.dn_network_step_count(net.handle)):
        check(lib.dn_network_get_step(net.handle, i, info))
        if ffi.string(info.kind) == b"conv":
            found[info.first_layer] = ffi.string(info.form).decode()
    return found


def outputs(net: Net, photo: Path) -> list[np.ndarray]:
    place_boxes(net)
    net.predict([pixels_of(photo)])
    return [net.output(5), net.output(9)]


def error(found: list[np.ndarray], wanted: list[np.ndarray]) -> float:
    """The largest relative root mean square."""
    return max(
        float(np.sqrt(((a - b) ** 2).mean() / (b**2).mean()))
        for a, b in zip(found, wanted, strict=True)
    )


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_close_to_f32(isa, precision, calibrated, photos):
    del isa
    low = {"precision": INT8 if precision == "int8" else BF16}
    if precision == "int8":
        low["calibration"] = calibrated
    net = make(**low)
    wanted = outputs(make(), photos[1])
    far = error(outputs(net, photos[1]), wanted)
    assert (0.001 < far < 0.03) if precision == "int8" else (0.0001 < far < 0.006)
    used = forms(net)
    low_layers = {layer for layer, form in used.items() if precision in form}
    assert low_layers == ({1, 3, 7} if precision == "int8" else {3, 4})


def test_low_precision_is_allowed_not_forced(calibrated, photos):
    """Without instructions for it nothing is lost: bit for bit what float32 gives."""
    lib.dn_test_isa(b"plain")
    try:
        wanted = outputs(make(lib.DN_PRECISION_F32), photos[1])
        low = make(lib.DN_PRECISION_INT8, calibration=calibrated), make(lib.DN_PRECISION_BF16)
        for net in low:
            for found, truth in zip(outputs(net, photos[1]), wanted, strict=True):
                np.testing.assert_array_equal(found, truth)
            assert not any("int8" in form or "bf16" in form for form in forms(net).values())
    finally:
        lib.dn_test_isa(os.environ.get("DARKNET_ISA", "").encode())


def test_threads_change_no_bit(calibrated, photos):
    found = [
        outputs(make(INT8, calibration=calibrated, threads=threads), photos[0])
        for threads in (1, 2)
    ]
    for one, two in zip(*found, strict=True):
        np.testing.assert_array_equal(one, two)


def test_another_size_keeps_the_ranges(calibrated, photos):
    nets = make(), make(INT8, calibration=calibrated)
    for net in nets:
        check(lib.dn_network_resize(net.handle, 64, 64))
    assert 0.001 < error(*(outputs(net, photos[1]) for net in nets[::-1])) < 0.03


CHAIN = """[net]
width=21
height=17
channels=3
[convolutional]
filters=32
size=1
activation=leaky
[convolutional]
filters=40
size=3
stride={stride}
pad=1
activation=linear
batch_normalize=1
[empty]
"""


@pytest.mark.parametrize("stride", [1, 2])
def test_int8_against_numpy(isa, stride, photos, tmp_path):
    """The second convolution by a model of int8; its input is the library's own."""
    del isa
    cfg, out = CHAIN.format(stride=stride), tmp_path / "chain.txt"
    plain = make(cfg=cfg, keep_all=True)
    rng = np.random.default_rng(2)
    chosen = {
        (i, name): rng.normal(0.5, 0.3, values.size) if name != "weights" else values.copy()
        for i in (0, 1)
        for name, values in plain.params(i).items()
    }
    chosen[1, "variance"] = np.abs(chosen[1, "variance"]) + 0.2

    def prepare(net: Net) -> Net:
        for (i, name), values in chosen.items():
            net.params(i)[name][:] = values
        lib.dn_network_touch(net.handle)
        return net

    run_calibration(prepare(make(cfg=cfg)), photos, out)
    rows = [line.split() for line in out.read_text().splitlines()[1:] if line[0] != "#"]
    low, high = (float(word) for word in rows[1][2:])
    image = rng.random((1, 3, 17, 21), np.float32)
    prepare(plain).forward(image)
    x, f32 = plain.output(0)[0], plain.output(1)[0]
    net = prepare(make(INT8, cfg=cfg, calibration=out))
    found = net.forward(image)[0]
    assert "int8" in forms(net)[1]

    q, scale, zero = quantise(x, low, high)
    parameters = plain.params(1)
    factor = parameters["scales"] / np.sqrt(parameters["variance"] + 1e-5)
    weights = (parameters["weights"].reshape(40, -1) * factor[:, None]).reshape(40, 32, 3, 3)
    step = np.abs(weights).max((1, 2, 3)) / 127
    w = np.rint(weights / step[:, None, None, None])
    padded = np.pad(q - zero, ((0, 0), (1, 1), (1, 1)))
    sums = np.zeros((40, *f32.shape[1:]))
    for y in range(3):
        for k in range(3):
            window = padded[:, y : y + 17 : stride, k : k + 21 : stride]
            sums += np.einsum("fc,cyx->fyx", w[:, :, y, k], window)
    bias = parameters["biases"] - factor * parameters["mean"]
    wanted = sums * (scale * step)[:, None, None] + bias[:, None, None]
    # A value on the border between two levels may fall on either side.
    difference, spread = np.abs(found - wanted), np.sqrt((f32**2).mean())
    assert np.sqrt((difference**2).mean()) <= 2e-4 * spread
    assert np.sqrt(((found - f32) ** 2).mean()) >= 1e-3 * spread


# ---- Python and the program -------------------------------------------------------------------


@pytest.fixture
def segmenter(tmp_path) -> Segmenter:
    return Segmenter(tmp_path)


def test_from_python(segmenter):
    folder, seen = segmenter.path, []
    cfg, weights = folder / "seg.cfg", [folder / "tiny.weights", folder / "mask.weights"]
    (folder / "broken.png").write_bytes(b"no image")
    with pytest.warns(DarknetWarning, match="broken.png"):
        done = calibrate(
            *(cfg, weights, folder, folder / "ranges.txt"),
            on_progress=lambda done, count: seen.append((done, count)),
        )
    assert (done.images, done.skipped, done.layers) == (6, 1, 5)
    assert seen[-1] == (7, 7)
    with pytest.raises(DataError, match="broken.png"):
        calibrate(cfg, weights, folder, folder / "strict.txt", strict=True)

    def stop(done, _count):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        calibrate(cfg, weights, folder / "*_00*.png", folder / "stopped.txt", on_progress=stop)
    assert not list(folder.glob("stopped*")) and not list(folder.glob("strict*"))
    photo = folder / "photo_000001.png"
    with Network(cfg, weights, device="cpu", precision="int8", calibration=done.path) as net:
        found = net.predict(photo, 0.2)
    with Network(cfg, weights, device="cpu") as net:
        wanted = net.predict(photo, 0.2)
    assert abs(len(found.boxes) - len(wanted.boxes)) <= 1 + len(wanted.boxes) // 4
    with pytest.raises(ValueError, match="int8 needs a calibration"):
        Network(cfg, weights, device="cpu", precision="int8")


def test_program(segmenter):
    weights = "tiny.weights,mask.weights"
    out, _ = segmenter.run("calibrate", "seg.cfg", weights, ".", "-out", "a.txt", "-quiet")
    assert out == "Ranges of 5 convolutions on 6 images: a.txt\n"
    # The data file's train set; single images; a list. All are the same six.
    segmenter.run("calibrate", "tiny.data", "seg.cfg", weights, "-out", "b.txt")
    names = sorted(path.name for path in segmenter.path.glob("photo_*.png"))
    segmenter.run("calibrate", "seg.cfg", weights, *names, "-out", "c.txt")
    (segmenter.path / "list.txt").write_text("\n".join(names))
    segmenter.run("calibrate", "seg.cfg", weights, "list.txt", "-out", "d.txt")
    assert len({segmenter.bytes(f"{name}.txt") for name in "abcd"}) == 1
    segmenter.run("calibrate", "seg.cfg", weights, ".", "-limit", "2", "-out", "e.txt")
    assert b"2 images" in segmenter.bytes("e.txt")

    low = ("-precision", "int8", "-calibration", "a.txt")
    out, _ = segmenter.run("segmenter", "valid", "tiny.data", "seg.cfg", weights, *low)
    assert "Average Precision" in out
    out, _ = segmenter.run(
        "segmenter", "benchmark", "seg.cfg", weights, names[0], "-times", "1", *low
    )
    assert ", int8, batch 1" in out

    def refused(*words):
        return segmenter.error(*words)

    assert refused("calibrate", "seg.cfg", weights, ".") == "calibrate: -out FILE is missing"
    assert refused("calibrate", "seg.cfg", ".", "-out", "x") == "a weights file is missing"
    assert "nowhere" in refused("calibrate", "seg.cfg", weights, "nowhere", "-out", "x")
    test = ("segmenter", "test", "tiny.data", "seg.cfg", weights, names[0], "-precision", "int8")
    assert "darknet calibrate CFG WEIGHTS IMAGES -out FILE" in refused(*test)
    assert refused(*test, "-calibration", "tiny.names").startswith("tiny.names: is no calibration")
    (segmenter.path / "broken.png").write_bytes(b"no image")
    _, said = segmenter.run("calibrate", "seg.cfg", weights, ".", "-out", "f.txt", code=1)
    assert "skipped: " in said and segmenter.bytes("f.txt") == segmenter.bytes("a.txt")


def test_ctrl_c(segmenter):
    """A run over very many images ends at once and writes nothing."""
    names = ["photo_000001.png"] * 20000
    (segmenter.path / "long.txt").write_text("\n".join(names))
    words = ("calibrate", "seg.cfg", "tiny.weights,mask.weights", "long.txt")
    process = segmenter.start(*words, "-limit", "0", "-out", "x.txt")
    time.sleep(0.7)
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=30)
    assert process.returncode == 1 and out == "" and re.search("cancelled", said)
    assert not list(segmenter.path.glob("x.txt*"))
