"""Images that lie on a GPU: DLPack of both kinds and __cuda_array_interface__, by exporters of our
own over memory that the host cannot read (of tests/host_cuda, on a real GPU of PyTorch), and by
PyTorch itself.

The same call gives the same bits; that another size of batch does, a GPU does not promise.
"""

from __future__ import annotations

import ctypes
import gc
from functools import partial

import numpy as np
import pytest

from api_support import NAMES, noise, write_cfg
from test_cuda_layers import NO_CUDA
from yolomask import DataError, DeviceError, Network
from yolomask._native import find_library
from yolomask.device_arrays import _Tensor, _Versioned

LOW = {"conf": 0.05, "iou": 0.5}
API = ctypes.pythonapi
API.PyCapsule_New.restype = ctypes.py_object
API.PyCapsule_New.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
API.PyCapsule_SetName.argtypes = [ctypes.py_object, ctypes.c_char_p]
LIBRARY = ctypes.CDLL(str(find_library()[0]))
if FAKE := hasattr(LIBRARY, "dn_host_put"):
    LIBRARY.dn_host_put.restype = ctypes.c_void_p
    LIBRARY.dn_host_put.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]
    LIBRARY.dn_host_take.argtypes = [ctypes.c_void_p]


def find_torch():
    """PyTorch where it has to lend memory of a GPU, and sees one."""
    if FAKE or NO_CUDA:
        return None
    try:
        import torch
    except ImportError:
        return None
    return torch if torch.cuda.is_available() else None


TORCH = find_torch()
pytestmark = pytest.mark.skipif(bool(NO_CUDA), reason=NO_CUDA)
with_memory = pytest.mark.skipif(not (FAKE or TORCH), reason="no PyTorch that lends memory")
on_fakes = pytest.mark.skipif(not FAKE, reason="needs the GPUs of tests/host_cuda")


class Memory:
    """An array in the memory of a device, freed with the last who holds it."""

    def __init__(self, array: np.ndarray, device: int = 0) -> None:
        array = np.ascontiguousarray(array)
        self.shape, self.dtype, self.device = array.shape, array.dtype, device
        if FAKE:
            self.address = LIBRARY.dn_host_put(device, array.ctypes.data, array.nbytes)
        else:
            self.tensor = TORCH.tensor(array, device=f"cuda:{device}")
            TORCH.cuda.synchronize()
            self.address = self.tensor.data_ptr()

    def __del__(self) -> None:
        if FAKE:
            LIBRARY.dn_host_take(self.address)


class Interface:
    """What Numba and older packages speak."""

    def __init__(self, array: np.ndarray, device: int = 0, **changes) -> None:
        self.memory = Memory(array, device)
        self.__cuda_array_interface__ = {
            "shape": array.shape,
            "typestr": array.dtype.str,
            "data": (self.memory.address, True),
            "version": 3,
            "strides": None,
            "stream": 1,
        } | changes


class Exporter:
    """DLPack: of version 1, or with version=0 as before; tells what it was asked for, and counts
    the tensors that it got back."""

    def __init__(self, array: np.ndarray, device: int = 0, version: int = 1, **changes) -> None:
        self.memory = Memory(array, device)
        self.version, self.changes = version, changes
        self.asked: list[tuple] = []
        self.returned = 0
        shape = (ctypes.c_int64 * array.ndim)(*array.shape)
        self.tensor = tensor = _Tensor(self.memory.address - 16)
        tensor.byte_offset, tensor.ndim = 16, array.ndim
        tensor.device.kind, tensor.device.number = 2, device
        tensor.dtype.code = {"u": 1, "f": 2}[array.dtype.kind]
        tensor.dtype.bits, tensor.dtype.lanes = 8 * array.dtype.itemsize, 1
        tensor.shape = shape
        if strides := changes.get("strides"):
            tensor.strides = (ctypes.c_int64 * array.ndim)(*strides)
        self.destructor = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self._back)

    def _back(self, _capsule: int) -> None:
        self.returned += 1

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self.memory.device

    def __dlpack__(self, *, stream=None, **more):
        if self.version == 0 and more:
            raise TypeError("unexpected keyword argument 'max_version'")
        self.asked.append((stream, more))
        if self.version == 0:
            held, name = self.tensor, b"dltensor"
        else:
            held, name = _Versioned(self.version, 0), b"dltensor_versioned"
            held.tensor = self.tensor
        self.held, self.name = held, self.changes.get("name", name)
        return API.PyCapsule_New(
            ctypes.addressof(held), self.name, ctypes.cast(self.destructor, ctypes.c_void_p)
        )


WAYS = {
    "interface": Interface,
    "interface 2": lambda a: Interface(a, version=2),
    "no stream": partial(Interface, stream=None),
    "strides": lambda a: Interface(a, strides=a.strides),
    "dlpack": Exporter,
    "dlpack 0": partial(Exporter, version=0),
    "dlpack strides": lambda a: Exporter(a, strides=a.strides),
}


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    cfg = write_cfg(tmp_path_factory.mktemp("cfg"))
    with Network(cfg, names=NAMES, device="cuda", batch=2) as opened:
        yield opened


def same(a, b) -> bool:
    cells = np.array_equal(a.masks.cells, b.masks.cells, equal_nan=True)
    return cells and np.array_equal(a.boxes.data, b.boxes.data) and len(a) > 0


@with_memory
@pytest.mark.parametrize("way", WAYS)
def test_images_are_read_where_they_are(network, way):
    """None of them has a way to the host."""
    pictures = [noise(seed, 50, 80) for seed in (1, 2, 3)]
    alone, wanted = network.predict(pictures[0], **LOW), network.predict(pictures, **LOW)
    one = network.predict(WAYS[way](pictures[0]), **LOW)
    assert same(one, alone) and one.orig_shape == (50, 80)
    flipped = network.predict(
        WAYS[way](np.ascontiguousarray(pictures[0][..., ::-1])), bgr=True, **LOW
    )
    assert same(flipped, alone)
    for given in ([WAYS[way](p) for p in pictures], WAYS[way](np.stack(pictures))):
        results = network.predict(given, **LOW)
        assert [same(*pair) for pair in zip(results, wanted, strict=True)] == [True] * 3
    assert network.predict(WAYS[way](np.stack(pictures)[:1]), **LOW)[0].orig_shape == (50, 80)
    with pytest.raises(DataError, match="has no way to the host"):
        assert one.orig_img is None


@with_memory
def test_large_images_stay_on_the_device(network):
    picture = noise(5, 400, 600)  # one that the host would scale
    assert same(network.predict(Interface(picture), **LOW), network.predict(picture, **LOW))


@with_memory
@pytest.mark.parametrize("version", [0, 1])
def test_capsules_are_asked_for_a_stream_and_go_back(network, version):
    exporter = Exporter(noise(1), version=version)
    network.predict([exporter, exporter], **LOW)
    gc.collect()
    more = {"max_version": (1, 0)} if version else {}
    assert exporter.asked == [(1, more)] * 2 and exporter.returned == 2


@with_memory
def test_pixels_come_to_the_host_when_somebody_looks(network):
    picture = noise(4)
    source = Interface(picture)
    source.get = lambda: picture
    result = network.predict(source, **LOW)
    assert np.array_equal(result[0].orig_img, picture)
    batch = Interface(np.stack([picture, picture[::-1]]))
    batch.get = lambda: np.stack([picture, picture[::-1]])
    assert np.array_equal(network.predict(batch, **LOW)[1].orig_img, picture[::-1])


@with_memory
def test_mixed_lists_go_through_the_host(network):
    picture = noise(6)
    source = Interface(picture)
    source.get = lambda: picture
    first, second = network.predict([source, picture], **LOW)
    assert same(first, second)


@on_fakes
def test_networks_and_arrays_on_other_devices(network, tmp_path):
    picture = noise(1)
    with pytest.raises(DeviceError, match=r"an array on cuda:1 for a network on cuda:0"):
        network.predict(Exporter(picture, device=1))
    with pytest.raises(DeviceError, match=r"an array on cuda:1 for a network on cuda:0"):
        network.predict(Interface(picture, device=1))
    with Network(write_cfg(tmp_path), names=NAMES, device="cuda:1") as other:
        assert same(
            other.predict(Exporter(picture, device=1), **LOW), network.predict(picture, **LOW)
        )
    with Network(write_cfg(tmp_path), names=NAMES, device="cpu") as plain:
        for source in (Interface(picture), Exporter(picture)):
            with pytest.raises(DataError, match=r"on a GPU that has no way to the host"):
                plain.predict(source)


BAD = {
    "type": (lambda a: Interface(a.astype(np.float32)), "of uint8, or a batch of such, .* float32"),
    "dlpack type": (lambda a: Exporter(a.astype(np.float32)), "float32"),
    "axes": (lambda a: Interface(a[..., 0].copy()), r"not \(50, 80\)"),
    "channels": (lambda a: Exporter(a[..., :2].copy()), r"not \(50, 80, 2\)"),
    "strides": (
        lambda a: Interface(a, strides=(3, 150, 1)),
        r"row-major without gaps, not with strides of \(3, 150, 1\)",
    ),
    "dlpack strides": (lambda a: Exporter(a, strides=(300, 3, 1)), r"strides of \(300, 3, 1\)"),
    "no pixels": (lambda a: Interface(a, shape=(0, 80, 3)), r"\(0, 80, 3\) has no pixels"),
    "mask": (lambda a: Interface(a, mask=a), "with a mask: arrays must be whole"),
    "version": (lambda a: Interface(a, version=1), "is version 1; 2 is the first"),
    "stream": (lambda a: Interface(a, stream=0), "stream 0, which is ambiguous"),
    "dlpack version": (lambda a: Exporter(a, version=2), r"hands out DLPack 2\.0; 0 and 1"),
    "used": (lambda a: Exporter(a, name=b"used_dltensor_versioned"), "no capsule, or a used one"),
    "address": (lambda a: Interface(a, data=(a.ctypes.data, False)), "is no memory of a GPU"),
    "length": (lambda a: Interface(a, shape=(60000, 60000, 3)), "is no memory of a GPU"),
}


@with_memory
@pytest.mark.parametrize("name", BAD)
def test_arrays_that_are_refused(network, name):
    if name == "length" and not FAKE:
        pytest.skip("what lies behind an array on a real GPU is not known")
    make, message = BAD[name]
    kind = DeviceError if name in ("address", "length") else DataError
    with pytest.raises(kind, match=message):
        network.predict(make(noise(1)))


def test_tensors_of_pytorch(network):
    """On a real GPU: the same results as of arrays, and another stream's work is awaited."""
    torch = pytest.importorskip("torch")
    if not TORCH:
        pytest.skip("PyTorch sees no GPU")
    pictures = np.stack([noise(seed, 300, 400) for seed in (1, 2)])
    alone, wanted = network.predict(pictures[0], **LOW), network.predict(list(pictures), **LOW)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(10**8)
        batch = torch.as_tensor(pictures).cuda(non_blocking=True)
        results = network.predict(batch, **LOW)
    assert [same(*pair) for pair in zip(results, wanted, strict=True)] == [True, True]
    assert same(network.predict(batch[0].flip(-1), bgr=True, **LOW), alone)
    assert np.array_equal(results[1].orig_img, pictures[1])
    with pytest.raises(DataError, match="row-major without gaps"):
        network.predict(batch[0, ::2], **LOW)
