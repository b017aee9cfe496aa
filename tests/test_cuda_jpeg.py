"""JPEG files of a stream decoded on the device (DN_DECODE_DEVICE, decoder="nvjpeg").

Under host-cuda nvJPEG is libjpeg behind the device's memory (tests/host_cuda/nvjpeg.h), so that
results are the bits of files that the CPU decodes; the stand-in counts what it decodes, which says
who did it. On a GPU, where nvJPEG's pixels are its own, these are compared within some levels, and
else only what does not depend on them. Run as tests/test_cuda_stream.py is.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from api_support import MASK_CFG, NAMES, noise, write_cfg
from networks import Net
from stream_support import Stream, predict
from test_cuda_layers import NO_CUDA
from yolomask import DeviceError, Network
from yolomask._native import check, ffi, lib

pytestmark = pytest.mark.skipif(bool(NO_CUDA), reason=NO_CUDA)

LIBRARY = os.environ.get("YOLOMASK_LIBRARY", "")
on_host = pytest.mark.skipif("host-cuda" not in LIBRARY, reason="needs an nvJPEG that counts")
BAD_JPEG, NOT_SUPPORTED, INTERNAL_ERROR = 3, 4, 8


@pytest.fixture(scope="module")
def net() -> Net:
    return Net(MASK_CFG, device=b"cuda", batch=2, keep_all=False, seed=3)


@pytest.fixture
def stream(net):
    try:
        made = Stream(net, decoder=lib.DN_DECODE_DEVICE, workers=3)
    except DeviceError as error:
        pytest.skip(str(error))
    yield made
    made.close()


def load(path) -> np.ndarray:
    image = ffi.new("dn_image *")
    check(lib.dn_image_load(os.fsencode(path), image))
    size = image.height, image.width, 3
    pixels = np.frombuffer(ffi.buffer(image.data, 3 * size[0] * size[1]), np.uint8).copy()
    lib.dn_image_free(image)
    return pixels.reshape(size)


def write(path, picture, *options) -> str:
    assert cv2.imwrite(str(path), picture[..., ::-1], list(options))
    return str(path)


def photos(folder, count: int) -> list[str]:
    """Of several sizes, one much larger than the input, with all kinds of chroma."""
    kinds = [
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    ]
    sizes = [(50, 80), (61, 33), (300, 203)]
    return [
        write(
            folder / f"{i}.jpg",
            noise(i, 300, 210)[: sizes[i % 3][0], : sizes[i % 3][1]],
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
            kinds[i // 3 % 3],
        )
        for i in range(count)
    ]


def turned(path: str, orientation: int) -> str:
    """The file with an EXIF block that says so."""
    tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0" + bytes([orientation]) + bytes(7)
    block = b"Exif\0\0" + tiff
    with open(path, "rb") as file:
        bytes_ = file.read()
    with open(path, "wb") as file:
        size = (len(block) + 2).to_bytes(2, "big")
        file.write(bytes_[:2] + b"\xff\xe1" + size + block + bytes_[2:])
    return path


def counted() -> int:
    return ctypes.CDLL(LIBRARY).dn_host_nvjpeg_files()


@on_host
def test_bits_are_those_of_the_cpu(net, stream, tmp_path):
    paths, before = photos(tmp_path, 10), counted()
    for i in range(0, 10, 2):
        stream.submit(*paths[i : i + 2])
        for number, path in enumerate(paths[i : i + 2], i):
            assert stream.next() == (number, predict(net, load(path))[0], None)
    assert counted() == before + 10


# Its first output is the input.
ECHO = """
[net]
width=96
height=64
channels=3
[empty]
[convolutional]
filters=8
size=1
activation=linear
[yolo]
mask=0
anchors=10,10
classes=3
num=1
"""
CHROMA = {
    "444": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    "422": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    "420": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
}


def waves() -> np.ndarray:
    """Colours that change so slowly that it hardly matters how chroma is scaled up."""
    y, x = np.mgrid[0:64, 0:96]
    red, green = 120 + 40 * np.sin(x / 15), 128 + 40 * np.cos(y / 10)
    return np.stack([red, green, 60 + 2 * x], -1).astype(np.uint8)


@pytest.mark.parametrize(
    ("chroma", "picture", "most"),
    [("444", waves(), 5), ("422", waves(), 8), ("420", waves(), 8), ("444", noise(3, 60, 90), 5)],
    ids=["444", "422", "420", "444 blocks"],
)
def test_pixels_are_nearly_those_of_the_cpu(tmp_path, chroma, picture, most):
    """Where neither the cosine transform nor the colours are rounded alike, three planes may differ
    by a level each, of which 1.8 of blue's come to a pixel; a step of chroma may lie between."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, CHROMA[chroma]]
    picture = np.pad(picture, [(0, 64 - len(picture)), (0, 96 - len(picture[0])), (0, 0)])
    path = write(tmp_path / "a.jpg", picture, *quality)
    echo = Net(ECHO, device=b"cuda", batch=1)
    try:
        made = Stream(echo, decoder=lib.DN_DECODE_DEVICE)
    except DeviceError as error:
        pytest.skip(str(error))
    made.submit(path)
    assert made.next()[2] is None  # no pixels on the host: the CPU did not decode it
    made.close()
    far = np.abs(255 * echo.output(0)[0].transpose(1, 2, 0) - load(path))
    assert far.max() <= (most if "host-cuda" not in LIBRARY else 1e-4) and far.mean() <= 1.5


@on_host
def test_what_it_does_not_know_the_cpu_decodes(net, stream, tmp_path):
    picture = noise(4, 60, 90)
    others = [
        write(tmp_path / "a.png", picture),
        write(tmp_path / "progressive.jpg", picture, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        turned(write(tmp_path / "turned.jpg", picture), 6),
        str(tmp_path / "gray.jpg"),
    ]
    cv2.imwrite(others[-1], picture[..., 0])
    plain = turned(write(tmp_path / "plain.jpg", picture), 1)
    before = counted()
    for path in others:
        wanted = load(path)
        stream.submit(path, plain)
        assert stream.next()[1:] == (predict(net, wanted)[0], wanted.tobytes())
        assert stream.next()[1:] == (predict(net, load(plain))[0], None)
    assert load(others[2]).shape == (90, 60, 3)
    assert counted() == before + len(others)


@on_host
@pytest.mark.parametrize("status", [BAD_JPEG, NOT_SUPPORTED, 9, 10])
def test_what_it_refuses_the_cpu_decodes(net, stream, tmp_path, status):
    path = photos(tmp_path, 1)[0]
    host = ctypes.CDLL(LIBRARY)
    host.dn_host_nvjpeg_fail(status)
    try:
        stream.submit(path)
        found = stream.next()
    finally:
        host.dn_host_nvjpeg_fail(0)
    assert found[1:] == (predict(net, load(path))[0], load(path).tobytes())


@on_host
def test_a_failure_is_told_and_the_next_goes_on(net, stream, tmp_path):
    path, host = photos(tmp_path, 1)[0], ctypes.CDLL(LIBRARY)
    host.dn_host_nvjpeg_fail(INTERNAL_ERROR)
    try:
        stream.submit(path)
        with pytest.raises(DeviceError, match="nvJPEG: nvjpegDecode: status 8"):
            stream.next()
    finally:
        host.dn_host_nvjpeg_fail(0)
    stream.submit(path)
    assert stream.next()[1] == predict(net, load(path))[0]


def test_damaged_files_give_the_cpus_errors(net, stream, tmp_path):
    path = photos(tmp_path, 1)[0]
    with open(path, "rb") as file:
        whole = file.read()
    damaged = [("head", whole[:40]), ("none", b"")]
    if "host-cuda" in LIBRARY:  # what nvJPEG makes of it is its own affair
        damaged.append(("cut", whole[: len(whole) // 2]))
    for name, bytes_ in damaged:
        (tmp_path / name).write_bytes(bytes_)
        with pytest.raises(Exception, match=name) as wanted:
            load(tmp_path / name)
        stream.submit(str(tmp_path / name))
        with pytest.raises(type(wanted.value)) as found:
            stream.next()
        assert str(found.value) == str(wanted.value)
    stream.submit(str(tmp_path / "missing.jpg"))
    with pytest.raises(OSError, match=r"missing\.jpg"):
        stream.next()


@on_host
def test_decoders_end_with_their_streams(net, tmp_path):
    host = ctypes.CDLL(LIBRARY)
    before = host.dn_host_nvjpeg_states()
    made = Stream(net, decoder=lib.DN_DECODE_DEVICE, workers=3)
    made.submit(*photos(tmp_path, 2))
    made.close()
    assert host.dn_host_nvjpeg_states() == before


@pytest.mark.parametrize("bgr", [False, True])
def test_from_python(tmp_path, bgr):
    paths = photos(tmp_path, 5)
    with Network(write_cfg(tmp_path), names=NAMES, device="cuda", batch=2) as network:
        wanted = list(network.stream(paths, 0.05, 0.5, bgr=bgr))
        try:
            found = list(network.stream(paths, 0.05, 0.5, bgr=bgr, decoder="nvjpeg"))
        except DeviceError as error:
            pytest.skip(str(error))
        for one, other in zip(found, wanted, strict=True):
            assert one.orig_shape == other.orig_shape and one.path == other.path
            assert np.array_equal(one.orig_img, other.orig_img)
            if "host-cuda" in LIBRARY:
                assert np.array_equal(one.boxes.data, other.boxes.data)
                assert np.array_equal(one.masks.cells, other.masks.cells, equal_nan=True)
        found[0].save(tmp_path / "drawn.png")
        assert (tmp_path / "drawn.png").exists()
        with pytest.raises(ValueError, match="decoder must be one of cpu, nvjpeg, not 'gpu'"):
            next(network.stream(paths, decoder="gpu"))


@on_host
def test_where_there_is_no_nvjpeg(tmp_path):
    code = """if True:
        import sys
        from yolomask import DeviceError, Network
        with Network(sys.argv[1], device="cuda") as network:
            try:
                next(network.stream(["a.jpg"], decoder="nvjpeg"))
            except DeviceError as error:
                print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", code, write_cfg(tmp_path)], capture_output=True, text=True,
        env=os.environ | {"DN_HOST_NVJPEG_MISSING": "1"},
    )  # fmt: skip
    assert done.stdout == "there is no nvJPEG (libnvjpeg.so.13) to decode files\n", done.stderr
