"""yolomask.Network: what it accepts, that every way to ask agrees, errors, threads, forks."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import weakref

import cv2
import numpy as np
import pytest

from api_support import MASK_CFG, NAMES, noise, write_cfg
from conftest import ROOT, published_file
from yolomask import ConfigError, DarknetWarning, DataError, DeviceError, Network, WeightsError
from yolomask._native import check, ffi, lib

LOW = {"conf": 0.05, "iou": 0.5}


@pytest.fixture(scope="module")
def cfg(tmp_path_factory):
    return write_cfg(tmp_path_factory.mktemp("cfg"))


@pytest.fixture
def network(cfg):
    with Network(cfg, names=NAMES, threads=1) as opened:
        yield opened


def same(a, b) -> bool:
    return np.array_equal(a.boxes.data, b.boxes.data) and np.array_equal(
        a.masks.cells, b.masks.cells, equal_nan=True
    )


def test_path_array_and_bgr_give_the_same(network, tmp_path):
    image = noise(1)
    cv2.imwrite(str(tmp_path / "a.png"), image[..., ::-1])
    of_array = network.predict(image, **LOW)
    of_path = network.predict(tmp_path / "a.png", **LOW)
    of_bgr = network.predict(image[..., ::-1], bgr=True, **LOW)
    assert len(of_array) > 3
    assert same(of_array, of_path)
    assert same(of_array, of_bgr)
    assert of_path.path == str(tmp_path / "a.png")
    assert of_array.path is None
    assert np.array_equal(of_path.orig_img, image)
    assert np.array_equal(of_bgr.orig_img, image[..., ::-1])
    assert of_array.orig_shape == (50, 80)
    assert of_array.names == dict(enumerate(NAMES))
    assert not same(of_array, network.predict(np.ascontiguousarray(image[..., ::-1]), **LOW))


def test_views_that_are_not_contiguous(network):
    wide = noise(2, 100, 160)
    assert same(
        network.predict(wide[::2, ::2], **LOW), network.predict(wide[::2, ::2].copy(), **LOW)
    )


def test_read_only_array(network):
    image = noise(3)
    image.flags.writeable = False
    assert len(network.predict(image, **LOW)) > 0


@pytest.mark.parametrize("way", ["cpu", "get", "copy_to_host", "away"])
def test_arrays_on_a_gpu(cfg, way):
    """PyTorch's, CuPy's and Numba's arrays come to a network on the CPU by a method of theirs."""
    pixels = noise(3)
    network = Network(cfg, names=NAMES, device="cpu")

    class OnGpu:
        __cuda_array_interface__ = {}  # noqa: RUF012

        def __array__(self, *_):
            raise TypeError("not without being asked")

    setattr(OnGpu, way, lambda self: pixels)
    if way == "away":
        with pytest.raises(DataError, match="a OnGpu on a GPU that has no way to the host"):
            network.predict(OnGpu())
        return
    assert same(network.predict(OnGpu(), **LOW), network.predict(pixels, **LOW))


def test_a_network_on_the_cpu_reads_no_memory_of_a_gpu(cfg):
    image, out = ffi.new("dn_image *", {"width": 4, "height": 4}), ffi.new("dn_result **")
    image.data = pixels = ffi.new("uint8_t[]", 48)
    options = ffi.new("dn_predict_options *", {"on_device": True})
    with Network(cfg, names=NAMES, device="cpu") as network, network._using() as handle:
        with pytest.raises(DeviceError, match="images on a GPU for a network on the CPU"):
            check(lib.dn_network_predict(handle, image, options, out))
        with pytest.raises(DeviceError, match="an array on a GPU for a network on the CPU"):
            check(lib.dn_network_accept(handle, pixels, 48, 1))


def test_lists_and_batches(network, cfg):
    images = [noise(seed, 50 + 10 * seed, 80) for seed in range(5)]
    singles = [network.predict(image, **LOW) for image in images]
    listed = network.predict(images, **LOW)
    with Network(cfg, names=NAMES, threads=1, batch=2) as pairs:
        batched = pairs.predict(images, **LOW)
        streamed = list(pairs.stream(images, **LOW))
    assert len(listed) == len(batched) == len(streamed) == 5
    for single, *others in zip(singles, listed, batched, streamed, strict=True):
        assert all(np.allclose(single.boxes.data, o.boxes.data, atol=1e-4) for o in others)
    assert network.predict([]) == []


def test_thresholds(network):
    image = noise(4)
    low = network.predict(image, conf=0.05, iou=1.0)
    scores = low.boxes.conf
    middle = float(np.median(scores))
    assert np.all(np.diff(scores) <= 0)
    high = network.predict(image, conf=middle, iou=1.0)
    assert len(high) == np.count_nonzero(scores > np.float32(middle))
    assert len(network.predict(image, conf=0.05, iou=0.1)) < len(low)
    assert same(network.predict(image, conf=0.05, iou=1.0, max_det=3), low[:3])
    for wrong in ({"conf": -0.1}, {"conf": 2}, {"iou": 1.5}):
        with pytest.raises(ValueError, match="must be 0 to 1"):
            network.predict(image, **wrong)


def test_boxes_are_clipped_unless_asked_otherwise(network):
    image = noise(4)
    free = network.predict(image, clip=False, **LOW).boxes.data
    clipped = network.predict(image, **LOW).boxes.data
    limits = np.array([80, 50, 80, 50], np.float32)
    assert (free[:, :4] < 0).any() or (free[:, :4] > limits).any()
    assert np.array_equal(clipped[:, :4], np.clip(free[:, :4], 0, limits))


def test_masks_as_strings(network):
    """Everything that a result makes of them is as of probabilities, but for these."""
    plain = network.predict(noise(1), **LOW)
    text = network.predict(noise(1), **LOW, masks="rle")
    assert text.masks.rle == plain.masks.rle and len(text) == len(text.masks) > 3
    assert np.array_equal(text.mask_scores, plain.mask_scores)
    assert np.array_equal(text.masks.data, plain.masks.data)
    assert np.array_equal(text.masks.area, plain.masks.area)
    assert text.to_coco(7) == plain.to_coco(7) and text.to_json() == plain.to_json()
    assert np.array_equal(text.plot(), plain.plot())
    for i in range(len(text)):
        for found, wanted in zip(text.masks.crop(i), plain.masks.crop(i), strict=True):
            assert np.array_equal(found, wanted)
    some = plain.boxes.cls == plain.boxes.cls[0]
    assert text[some].masks.rle == plain[some].masks.rle and text[1].masks.rle == [
        plain.masks.rle[1]
    ]
    assert len(text[[]].masks.rle) == len(text[[]].masks.data) == 0
    batch = network.predict([noise(1), noise(2)], **LOW, masks="rle")
    assert batch[0].masks.rle == plain.masks.rle
    (streamed,) = network.stream([noise(1)], **LOW, masks="rle")
    assert streamed.masks.rle == plain.masks.rle
    assert np.array_equal(streamed.mask_scores, plain.mask_scores)
    with pytest.raises(ValueError, match="masks must be one of probabilities, rle, device"):
        network.predict(noise(1), masks="runs")


def test_stretch_is_what_a_square_image_gives(network):
    image = noise(5)
    square = cv2.resize(image, (64, 64))
    of_square = network.predict(square, clip=False, **LOW).boxes
    stretched = network.predict(image, clip=False, stretch=True, **LOW).boxes
    scale = np.array([80 / 64, 50 / 64, 80 / 64, 50 / 64])
    assert len(stretched) == pytest.approx(len(of_square), abs=3)
    assert np.allclose(of_square.xyxy[0] * scale, stretched.xyxy[0], atol=2)


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3)), 7],
    ids=["gray", "alpha", "float", "number"],
)
def test_wrong_arrays(network, wrong):
    with pytest.raises(DataError, match="must be .height, width, 3. of uint8"):
        network.predict(wrong)


def test_empty_image(network):
    with pytest.raises(ValueError, match="has no pixels"):
        network.predict(np.zeros((0, 5, 3), np.uint8))


def test_missing_files(network, cfg, tmp_path):
    with pytest.raises(OSError, match="no.jpg"):
        network.predict(tmp_path / "no.jpg")
    with pytest.raises(OSError, match="no.cfg"):
        Network(tmp_path / "no.cfg")
    with pytest.raises(OSError, match="no.weights"):
        Network(cfg, tmp_path / "no.weights")
    (tmp_path / "cut.weights").write_bytes(b"\0" * 7)
    with pytest.raises(WeightsError, match="cut.weights"):
        Network(cfg, tmp_path / "cut.weights")


def test_arguments_without_sense(network, cfg):
    """Also those that C would read otherwise: a zero byte ends a path there, a comma splits it."""
    for call, words in [
        (lambda: Network(f"{cfg}\0x"), "a path cannot hold a zero byte"),
        (lambda: network.predict("photo\0.png"), "a path cannot hold a zero byte"),
        (lambda: network.load_weights([]), "the list of files is empty"),
        (lambda: network.load_weights(["a,b.weights", "c.weights"]), "a comma separates files"),
        (lambda: network.predict(noise(1), conf=float("nan")), "must be 0 to 1, not nan"),
        (lambda: network.predict(noise(1), max_det=-1), r"must be 0 \(all\) or more, not -1"),
        (lambda: Network(cfg, batch=-1), "batch=-1 is out of range"),
        (lambda: Network(cfg, threads=5000), "threads=5000 is out of range"),
    ]:
        with pytest.raises(ValueError, match=words):
            call()
    assert Network(cfg, batch=0).predict([noise(1)] * 3)  # the library's default


def test_names(cfg, tmp_path):
    (tmp_path / "three.names").write_text("cat\ndog\nowl\n\n")
    (tmp_path / "small.data").write_text("classes=3\nnames=three.names\n")
    expected = dict(enumerate(NAMES))
    forms = [NAMES, tuple(NAMES), expected, tmp_path / "three.names", str(tmp_path / "small.data")]
    for names in forms:
        with Network(cfg, names=names) as network:
            assert network.names == expected
    with Network(cfg) as network:
        assert network.names == {0: "0", 1: "1", 2: "2"}
    with pytest.raises(ConfigError, match="names: has 2 names, .*small.cfg has classes=3"):
        Network(cfg, names=["cat", "dog"])
    (tmp_path / "one.names").write_text("cat\n")
    with pytest.raises(ConfigError, match="one.names: has 1 names"):
        Network(cfg, names=tmp_path / "one.names")
    with pytest.raises(ConfigError, match="keys must be 0 to 2"):
        Network(cfg, names={1: "cat", 2: "dog", 3: "owl"})
    with pytest.raises(OSError, match="nowhere"):
        Network(cfg, names=tmp_path / "nowhere.names")


def test_names_of_the_data_file_that_the_cfg_names(tmp_path):
    cfg = write_cfg(tmp_path, MASK_CFG.replace("[net]", "[net]\ndata=small.data"))
    (tmp_path / "three.names").write_text("cat\ndog\nowl\n")
    (tmp_path / "small.data").write_text("names=three.names\n")
    with Network(cfg) as network:
        assert list(network.names.values()) == NAMES


def test_unknown_keys_warn_or_fail(tmp_path):
    cfg = write_cfg(tmp_path, MASK_CFG.replace("[net]", "[net]\nbogus=1"))
    with pytest.warns(DarknetWarning, match="bogus"):
        Network(cfg).close()
    with pytest.raises(ConfigError, match="bogus"):
        Network(cfg, strict=True)


def test_partial_weights_warn(tmp_path, models):
    detector = published_file(models, "yolov4-tiny.weights")
    with pytest.warns(DarknetWarning, match="21 of the .* keep their initial values"):
        Network(ROOT / "cfg/yolomask-v4-tiny.cfg", detector).close()


def test_size_of_the_input(cfg):
    with Network(cfg, width=96, height=32) as network:
        assert (network.width, network.height) == (96, 32)
        assert network.has_masks


def test_device(network, cfg):
    there = lib.dn_device_check(b"cuda") == lib.DN_OK
    assert network.device == ("cuda:0" if there else "cpu")
    assert Network(cfg, device="cpu").device == "cpu"
    with pytest.raises(DeviceError, match="device tpu: devices are cpu, cuda, cuda:N and auto"):
        Network(cfg, device="tpu")


def test_closed(cfg):
    network = Network(cfg)
    network.close()
    network.close()
    with pytest.raises(ValueError, match="is closed"):
        network.predict(noise(1))


def test_dropped_networks_are_freed_at_once(cfg):
    gc.disable()
    try:
        network = Network(cfg)
        gone = weakref.ref(network)
        del network
        assert gone() is None
    finally:
        gc.enable()


def test_threads_share_a_network(network):
    images = [noise(seed) for seed in range(8)]
    expected = [network.predict(image, **LOW) for image in images]
    found: list = [None] * len(images)

    def work(i):
        for _ in range(3):
            found[i] = network.predict(images[i], **LOW)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(images))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(same(a, b) for a, b in zip(found, expected, strict=True))


FORK = """
import os, sys
from yolomask import DarknetError, Network
first = sys.argv[2] == "used"
if first:
    network = Network(sys.argv[1])
child = os.fork()
if child == 0:
    try:
        Network(sys.argv[1]).close()
    except DarknetError as error:
        print(error)
        os._exit(3)
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("state, code", [("used", 3), ("fresh", 0)])
def test_fork(cfg, state, code):
    command = [sys.executable, "-c", FORK, str(cfg), state]
    environment = {"PYTHONPATH": str(ROOT / "python"), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == code, done.stderr


def test_stream_of_a_video(network, tmp_path):
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (80, 50))
    for seed in range(4):
        writer.write(noise(seed))
    writer.release()
    results = list(network.stream(path, **LOW))
    assert len(results) == 4
    assert all(result.bgr and result.path == str(path) for result in results)
    capture = cv2.VideoCapture(str(path))
    for result in results:
        frame = capture.read()[1]
        assert np.array_equal(result.orig_img, frame)
        assert same(result, network.predict(frame, bgr=True, **LOW))
    with pytest.raises(DataError, match="no.mp4: no such file"):
        next(network.stream(tmp_path / "no.mp4"))


def test_stream_of_folders_patterns_and_lists(network, tmp_path):
    for name in ("b.png", "a.jpg", "c.PNG"):
        cv2.imwrite(str(tmp_path / name.lower()), noise(1))
    (tmp_path / "notes.txt").write_text("no image")
    expected = [str(tmp_path / name) for name in ("a.jpg", "b.png", "c.png")]
    assert [r.path for r in network.stream(tmp_path)] == expected
    assert [r.path for r in network.stream(str(tmp_path / "*.png"))] == expected[1:]
    assert [r.path for r in network.stream(expected[::-1])] == expected[::-1]
    with pytest.raises(DataError, match="no file, folder or pattern"):
        list(network.stream(str(tmp_path / "*.gif")))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has no image"):
        list(network.stream(tmp_path / "empty"))


def test_real_detector_sees_what_is_there(models):
    weights = published_file(models, "yolov4-tiny.weights")
    with Network(ROOT / "cfg/yolov4-tiny.cfg", weights, ROOT / "cfg/coco.names") as network:
        assert not network.has_masks
        found = network.predict(ROOT / "data/astronaut.jpg")
        cat = network.predict(ROOT / "data/chelsea.jpg")
    assert found.masks is None
    assert found.names[int(found.boxes.cls[0])] == "person"
    assert cat.names[int(cat.boxes.cls[0])] == "cat"
