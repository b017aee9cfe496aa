"""Masks pasted on the device "cuda", as strings and as arrays that stay there, against the host's.

The host's pasting is compared with NumPy and pycocotools by tests/test_mask_strings.py, whose masks
and boxes these are; the device's bits must be the same. Arrays are taken by consumers of our own,
which do with a capsule what DLPack's specification says, and by PyTorch and CuPy on a real GPU,
where PyTorch also reads for the consumers.
"""

from __future__ import annotations

import ctypes
import gc
import threading

import numpy as np
import pytest

from api_support import MASK_CFG, NAMES, noise, write_cfg
from test_cuda_arrays import API, FAKE, LIBRARY, TORCH, on_fakes, with_memory
from test_cuda_detect import copies  # noqa: F401
from test_cuda_layers import NO_CUDA
from test_mask_strings import KINDS, blob, boxes
from yolomask import DataError, DeviceError, Network
from yolomask._native import check, ffi, lib
from yolomask.device_arrays import _pointer, _Tensor, _Versioned, find

pytestmark = pytest.mark.skipif(bool(NO_CUDA), reason=NO_CUDA)

if FAKE:
    LIBRARY.dn_host_get.argtypes = [ctypes.c_int, *[ctypes.c_void_p] * 2, ctypes.c_size_t]
    LIBRARY.dn_host_blocks.restype = ctypes.c_long


def put(cells: np.ndarray, places: np.ndarray, height: int, width: int, device: bytes = b"cuda"):
    """A dn_device_masks that frees itself."""
    out = ffi.new("dn_device_masks **")
    cells, places = np.ascontiguousarray(cells, np.float32), np.ascontiguousarray(places)
    data, where = ffi.from_buffer("float[]", cells), ffi.from_buffer("dn_box[]", places)
    side, count = cells.shape[-1], len(cells)
    check(lib.dn_device_masks_create(device, data, side, where, count, height, width, out))
    return ffi.gc(out[0], lib.dn_device_masks_free)


def encode(masks, threshold: float = 0.5) -> bytes:
    text, length = ffi.new("char **"), ffi.new("size_t *")
    check(lib.dn_device_masks_encode(masks, threshold, text, length))
    found = bytes(ffi.buffer(text[0], length[0]))
    lib.dn_buffer_free(text[0])
    return found


def on_host(cells, places, height, width, threshold=0.5) -> bytes:
    text, length = ffi.new("char **"), ffi.new("size_t *")
    cells, places = np.ascontiguousarray(cells, np.float32), np.ascontiguousarray(places)
    data, where = ffi.from_buffer("float[]", cells), ffi.from_buffer("dn_box[]", places)
    side, count = cells.shape[-1], len(cells)
    check(lib.dn_masks_encode(text, length, data, side, where, count, height, width, threshold))
    found = bytes(ffi.buffer(text[0], length[0]))
    lib.dn_buffer_free(text[0])
    return found


SIZES = [(48, 64), (37, 90), (1, 50), (300, 1)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("side", [1, 7, 28])
def test_strings_are_the_hosts(kind, side):
    rng = np.random.default_rng(side)
    for height, width in SIZES:
        cells = np.stack([KINDS[kind](rng, side) for _ in range(12)]).astype(np.float32)
        places = boxes(rng, len(cells), height, width)
        masks = put(cells, places, height, width)
        wanted = on_host(cells, places, height, width)
        assert encode(masks) == wanted
        assert encode(masks) == wanted  # with the room that the first call made


@pytest.mark.parametrize("side", [28, 65, 256])
def test_pasting_large_images(side):
    rng = np.random.default_rng(side)
    height, width = 500, 700
    cells = np.stack([blob(rng, side) for _ in range(5)]).astype(np.float32)
    places = boxes(rng, 5, height, width)
    places[0] = [10.3, 20.7, 680.1, 490.9]
    places[1] = [-3, -3, 800, 600]  # over all borders: runs go on in the next column
    assert encode(put(cells, places, height, width)) == on_host(cells, places, height, width)


@pytest.mark.parametrize("threshold", [1e-30, 0.05, 0.9, 1.0])
def test_pasting_thresholds(threshold):
    rng = np.random.default_rng(1)
    cells = np.stack([kind(rng, 14) for kind in KINDS.values()]).astype(np.float32)
    places = boxes(rng, len(cells), 60, 50)
    found = encode(put(cells, places, 60, 50), threshold)
    assert found == on_host(cells, places, 60, 50, threshold)


def test_pasting_none_and_far_more_than_usual():
    cells, places = np.zeros((0, 28, 28)), np.zeros((0, 4), np.float32)
    assert encode(put(cells, places, 9, 9)) == b""
    rng = np.random.default_rng(0)
    noise = rng.random((40, 28, 28))  # far more turns than there is room for at first
    assert encode(put(noise, np.tile(np.float32([0, 0, 90, 400]), (40, 1)), 400, 90)) == on_host(
        noise, np.tile(np.float32([0, 0, 90, 400]), (40, 1)), 400, 90
    )


def test_what_is_refused():
    cells, places = np.ones((1, 28, 28)), np.float32([[0, 0, 9, 9]])
    with pytest.raises(DeviceError, match="the device is cpu"):
        put(cells, places, 9, 9, b"cpu")
    with pytest.raises(DeviceError, match="cuda:999"):
        put(cells, places, 9, 9, b"cuda:999")
    with pytest.raises(ValueError, match="must be finite"):
        put(cells, np.float32([[0, 0, np.nan, 9]]), 9, 9)
    with pytest.raises(ValueError, match="mask side 257 is out of range"):
        put(np.ones((1, 257, 257)), places, 9, 9)
    with pytest.raises(DataError, match="9 x 0"):
        put(cells, places, 0, 9)
    with pytest.raises(ValueError, match="threshold 0 is not in"):
        encode(put(cells, places, 9, 9), 0)


def test_allocation_failures(fail_allocations):
    cells, places = np.ones((2, 7, 7)), np.float32([[0, 0, 9, 9]] * 2)
    fail_allocations(lambda: encode(put(cells, places, 9, 9)))


# ---- results ---------------------------------------------------------------------------------


def opened(folder, device: str, **options) -> Network:
    return Network(write_cfg(folder, PER_CLASS), names=NAMES, device=device, batch=3, **options)


# A mask a class, so that boxes of several classes need answers that [mask] does not give.
PER_CLASS = MASK_CFG.replace("filters=1\n", "filters=3\n").replace("classes=1", "classes=3")
LOW = {"conf": 0.02, "iou": 0.5}
FORMS = ("probabilities", "rle", "device")


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cfg")
    with opened(folder, "cuda") as there, opened(folder, "cpu") as here:
        yield there, here


def shots() -> list[np.ndarray]:
    return [noise(1), noise(2, 90, 40), noise(4, 200, 310)]


def test_forms_of_a_results_masks(networks):
    """All give the same masks: made on the device, on the host of its answers, on the CPU."""
    there, here = networks
    plain, strings, kept = (there.predict(shots(), **LOW, masks=form) for form in FORMS)
    for one, text, device in zip(plain, strings, kept, strict=True):
        assert len(one) > 30
        for other in (text, device):
            assert other.masks.rle == one.masks.rle
            assert np.array_equal(other.boxes.data, one.boxes.data)
            assert np.array_equal(other.masks.mask_boxes, one.masks.mask_boxes)
            assert np.array_equal(other.mask_scores, one.mask_scores)
            assert np.array_equal(other.masks.data, one.masks.data)
            assert np.array_equal(other.masks.area, one.masks.area)
        assert np.array_equal(device.masks.cells, one.masks.cells, equal_nan=True)
    if FAKE:  # the same exp and sums
        for one, other in zip(strings, here.predict(shots(), **LOW, masks="rle"), strict=True):
            assert other.masks.rle == one.masks.rle


def test_results_of_other_threads_and_dead_networks(tmp_path):
    with opened(tmp_path, "cuda") as net:
        result = net.predict(noise(1), **LOW, masks="device")
        wanted = net.predict(noise(1), **LOW).masks
    found = []
    threads = [
        threading.Thread(target=lambda: found.append((result.masks.rle, result.masks.cells)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for rle, cells in found:
        assert rle == wanted.rle and np.array_equal(cells, wanted.cells, equal_nan=True)


def test_the_plan_in_half_precision(tmp_path, copies):  # noqa: F811
    with opened(tmp_path, "cuda", precision="fp16") as net:
        for _ in range(3):  # by steps, then by graphs
            plain, strings, kept = (net.predict(noise(1), **LOW, masks=form) for form in FORMS)
            assert len(plain) > 30 and strings.masks.rle == plain.masks.rle == kept.masks.rle
        copies()  # of boxes' other classes, too, nothing but the strings comes to the host
        net.predict(noise(1), **LOW, masks="rle")
        assert copies()[0] <= 5


def test_streams(networks):
    """Batches that overlap, in every form."""
    wanted = networks[0].predict(shots(), **LOW)
    for form in FORMS:
        found = list(networks[0].stream(shots() * 2, **LOW, masks=form))
        for one, other in zip(found, wanted * 2, strict=True):
            assert one.masks.rle == other.masks.rle
            assert np.array_equal(one.mask_scores, other.mask_scores)
    assert found[0].masks.on_device().shape == wanted[0].masks.data.shape


def test_networks_without_masks(tmp_path):
    text = MASK_CFG.split("[route]")[0]
    with Network(write_cfg(tmp_path, text), names=NAMES, device="cuda") as net:
        for form in FORMS:
            result = net.predict(noise(1), **LOW, masks=form)
            assert result.masks is None and len(result) > 0


@pytest.mark.parametrize("layer", ["mask", "roialign"])
def test_a_mask_layer_that_runs_on_the_cpu(tmp_path, layer):
    check(lib.dn_test_without_form(layer.encode()))
    try:
        with opened(tmp_path, "cuda") as net:
            plain, strings, kept = (net.predict(noise(1), **LOW, masks=form) for form in FORMS)
            assert strings.masks.rle == plain.masks.rle == kept.masks.rle
    finally:
        check(lib.dn_test_without_form(ffi.NULL))


def test_what_strings_bring_to_the_host(networks, copies):  # noqa: F811
    """One copy for the masks of all images, and what did not fit into it, beside those of boxes
    (test_cuda_detect.py)."""
    counts, sizes = [], []
    for form in ("probabilities", "rle", "rle"):  # the first strings make room
        copies()
        results = networks[0].predict(shots(), **LOW, masks=form)
        count, size = copies()
        counts.append(count)
        sizes.append(size)
    masks = sum(map(len, results))
    strings = sum(len(row["counts"]) + 1 for result in results for row in result.masks.rle)
    assert masks > 100 and counts[0] == 6 and counts[2] <= 5, (masks, counts, sizes, strings)
    boxes = 64 * masks + 64 * 32 * 3  # RoIs, instances, and room for some
    assert strings < sizes[2] < 1.5 * strings + 20 * masks + boxes < sizes[0]


# ---- arrays that stay there ------------------------------------------------------------------


class Consumer:
    """What a package does with a capsule: takes the tensor, renames the capsule, and calls the
    deleter when it is done, in whatever thread."""

    def __init__(self, exporter, max_version=None) -> None:
        more = {} if max_version is None else {"max_version": max_version}
        self.capsule = exporter.__dlpack__(stream=1, **more)
        versioned = max_version is not None and max_version[0] >= 1
        name = b"dltensor_versioned" if versioned else b"dltensor"
        address = _pointer(self.capsule, name)
        self.managed = (_Versioned if versioned else _Managed).from_address(address)
        if versioned:
            assert (self.managed.major, self.managed.flags) == (1, 0)
        self.address = address
        self.used = b"used_" + name
        API.PyCapsule_SetName(self.capsule, self.used)

    def read(self) -> np.ndarray:
        tensor = self.managed.tensor
        shape = tuple(tensor.shape[: tensor.ndim])
        strides = tuple(tensor.strides[: tensor.ndim])
        assert strides == tuple(int(np.prod(shape[i + 1 :])) for i in range(len(shape)))
        assert tensor.device.kind == 2 and tensor.dtype.lanes == 1 and tensor.byte_offset == 0
        kind = {6: "b", 2: "f"}[tensor.dtype.code]
        return bring(tensor.data, shape, f"{kind}{tensor.dtype.bits // 8}", tensor.device.number)

    def done(self) -> None:
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self.managed.deleter)(self.address)


class _Managed(ctypes.Structure):
    _fields_ = [("tensor", _Tensor), ("manager", ctypes.c_void_p), ("deleter", ctypes.c_void_p)]


class Described:
    def __init__(self, address: int, shape: tuple[int, ...], dtype: str) -> None:
        self.__cuda_array_interface__ = {
            "shape": shape,
            "typestr": np.dtype(dtype).str,
            "data": (address, False),
            "version": 3,
        }


def bring(address: int, shape: tuple[int, ...], dtype: str, device: int = 0) -> np.ndarray:
    if not FAKE:
        there = TORCH.as_tensor(Described(address, shape, dtype), device=f"cuda:{device}")
        return there.cpu().numpy()
    out = np.empty(shape, dtype)
    LIBRARY.dn_host_get(device, out.ctypes.data, address, out.nbytes)
    return out


def blocks() -> int:
    """How many the device has given out, where somebody counts."""
    gc.collect()  # other tests' networks may wait for it
    return LIBRARY.dn_host_blocks() if FAKE else 0


@with_memory
@pytest.mark.parametrize("version", [None, (0, 8), (1, 0), (1, 3)])
@pytest.mark.parametrize("form", ["probabilities", "device"])
def test_consumers_of_dlpack(networks, form, version):
    assert networks[0].predict(noise(4, 60, 90), **LOW, masks=form).masks.data.any()
    before = blocks()  # the network keeps what held the masks of a result for the next one
    result = networks[0].predict(noise(4, 60, 90), **LOW, masks=form)
    array = result.masks.on_device()
    wanted = result.masks.data
    assert array.shape == wanted.shape and array.dtype == bool and array.device == "cuda:0"
    assert array.__dlpack_device__() == (2, 0) and wanted.any()
    first, second = Consumer(array, version), Consumer(array, version)
    del array, result
    gc.collect()
    assert np.array_equal(first.read(), wanted)
    first.done()
    assert np.array_equal(second.read(), wanted)  # still held
    thread = threading.Thread(target=second.done)
    thread.start()
    thread.join()
    del first, second  # capsules that were taken: their destructor leaves them alone
    assert blocks() == before


@with_memory
def test_capsules_that_nobody_takes(networks):
    before = blocks()
    array = networks[0].predict(noise(4), **LOW).masks.on_device()
    for version in (None, (1, 0)):
        array.__dlpack__(max_version=version)
        with pytest.raises(ValueError, match="is not in list"):  # dies while an error is on its way
            [1].index(array.__dlpack__(max_version=version))
    del array
    assert blocks() == before


@with_memory
def test_cuda_array_interface(networks):
    result = networks[0].predict(noise(5), **LOW, masks="device")
    masks, table = result.masks.on_device(), result.boxes.on_device()
    for array, wanted in ((masks, result.masks.data), (table, result.boxes.data)):
        described = array.__cuda_array_interface__
        assert described["version"] == 3 and described["strides"] is None
        assert described["stream"] is None and described["data"][1] is False
        kind = described["typestr"]
        found = bring(described["data"][0], described["shape"], kind)
        assert found.dtype == wanted.dtype and np.array_equal(found, wanted)
    assert Consumer(table, (1, 0)).read().shape == (len(result), 6)
    picked = result[result.boxes.conf > result.boxes.conf[3]]
    held = picked.masks.on_device()
    found = held.__cuda_array_interface__
    shown = bring(found["data"][0], found["shape"], found["typestr"])
    assert len(picked) == 3 and np.array_equal(shown, result.masks.data[:3])
    empty = result[[]].masks.on_device()
    assert empty.shape == (0, 50, 80) and empty.__cuda_array_interface__["data"][0] == 0


@with_memory
def test_our_own_reader_takes_them(networks):
    """device_arrays.py, which reads arrays of other packages."""
    result = networks[0].predict(noise(5), **LOW, masks="device")
    found = find(result.masks.on_device())
    assert (found.shape, found.dtype, found.device) == ((len(result), 50, 80), "b1", 0)
    assert found.contiguous


@on_fakes
def test_another_device(tmp_path):
    with opened(tmp_path, "cuda:1") as net:
        result = net.predict(noise(5), **LOW)
        array = result.masks.on_device()
        assert array.device == "cuda:1" and array.__dlpack_device__() == (2, 1)
        consumer = Consumer(array)
        assert np.array_equal(consumer.read(), result.masks.data)
        consumer.done()


def test_what_arrays_refuse(networks):
    there, here = networks
    array = there.predict(noise(1), **LOW).masks.on_device()
    with pytest.raises(BufferError, match="lies on cuda:0 and is not copied"):
        array.__dlpack__(dl_device=(1, 0))
    with pytest.raises(BufferError, match="not copied"):
        array.__dlpack__(copy=True)
    assert array.__dlpack__(dl_device=(2, 0), copy=False) is not None
    for one in (here.predict(noise(1), **LOW).masks, here.predict(noise(1), **LOW).boxes):
        with pytest.raises(DeviceError, match="needs a network on a GPU"):
            one.on_device()
    with pytest.raises(DeviceError, match=r"predict\(\.\.\., masks='device'\)"):
        there.predict(noise(1), **LOW, masks="rle").masks.on_device()
    with pytest.raises(DeviceError, match="where the network runs on one; this one is on cpu"):
        here.predict(noise(1), **LOW, masks="device")


def test_tensors_of_pytorch(networks):
    """On a real GPU: the same pixels, and memory that outlives the result."""
    torch = TORCH or pytest.skip("PyTorch sees no GPU")
    for form in ("probabilities", "device"):
        result = networks[0].predict(noise(4, 300, 400), **LOW, masks=form)
        wanted = result.masks.data
        tensor = torch.from_dlpack(result.masks.on_device())
        other = torch.as_tensor(result.masks.on_device(), device="cuda")
        table = torch.from_dlpack(result.boxes.on_device())
        assert np.array_equal(table.cpu().numpy(), result.boxes.data)
        del result
        gc.collect()
        assert tensor.is_cuda and np.array_equal(tensor.cpu().numpy().astype(bool), wanted)
        assert np.array_equal(other.cpu().numpy().astype(bool), wanted)


def test_arrays_of_cupy(networks):
    """On a real GPU."""
    if FAKE:
        pytest.skip("CuPy needs a GPU")
    cupy = pytest.importorskip("cupy")
    result = networks[0].predict(noise(4, 300, 400), **LOW, masks="device")
    for found in (cupy.asarray(result.masks.on_device()),
                  cupy.from_dlpack(result.masks.on_device())):  # fmt: skip
        assert np.array_equal(cupy.asnumpy(found), result.masks.data)
