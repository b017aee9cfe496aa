"""Arrays that lie on a GPU, as other packages hand them over: DLPack and __cuda_array_interface__.

Both are looked at, nothing is copied: address, shape, type, strides, device, and which stream's
work has to be waited for. PyTorch, CuPy, JAX, Numba and others speak one of them, or both; DLPack
goes first, since it says on which device an array lies.

DLPack (versions 0 and 1): the exporter is asked with stream=1, CUDA's legacy default stream, and
makes it wait for the array; the library then waits for that stream. The capsule is only read: it
stays the exporter's, unrenamed, and gives its tensor back when it is dropped.
__cuda_array_interface__ (versions 2 and 3): `stream`, where there is one, is waited for; version 2
says none, there the exporter's work must be done, or run on the legacy default stream, which is
waited for.
"""

from __future__ import annotations

import ctypes
from typing import NamedTuple

import numpy as np

from ._native import DataError

CPU_KINDS = {1, 3}  # DLPack's kDLCPU, kDLCUDAHost
CUDA_KINDS = {2, 13}  # kDLCUDA, kDLCUDAManaged
CODES = {0: "i", 1: "u", 2: "f", 4: "V", 5: "c", 6: "b"}  # DLDataTypeCode as NumPy's kinds
LEGACY_STREAM = 1


class _Device(ctypes.Structure):
    _fields_ = [("kind", ctypes.c_int32), ("number", ctypes.c_int32)]


class _Type(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16)]


class _Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("ndim", ctypes.c_int32),
        ("dtype", _Type),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),  # in elements; NULL: row-major
        ("byte_offset", ctypes.c_uint64),
    ]


class _Versioned(ctypes.Structure):
    _fields_ = [
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("manager", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    ]


class DeviceArray(NamedTuple):
    """An array in a GPU's memory."""

    address: int
    shape: tuple[int, ...]
    dtype: str  # NumPy's kind and bytes: "u1"
    strides: tuple[int, ...] | None  # in bytes; None: row-major
    device: int | None  # number of the GPU; None: not said
    stream: int  # to wait for; 0: none
    owner: object  # keeps it alive

    @property
    def contiguous(self) -> bool:
        if self.strides is None or 0 in self.shape:
            return True
        step = int(self.dtype[1:])
        for length, stride in zip(self.shape[::-1], self.strides[::-1], strict=True):
            if length > 1 and stride != step:
                return False
            step *= length
        return True


def _kind(source: object) -> int | None:
    """DLPack's kind of device; None: it does not speak DLPack."""
    kind = type(source)
    if not (hasattr(kind, "__dlpack_device__") and hasattr(kind, "__dlpack__")):
        return None
    return int(source.__dlpack_device__()[0])


def is_there(source: object) -> bool:
    """Whether it is an array on a GPU, as far as it says."""
    kind = _kind(source)
    return kind in CUDA_KINDS or (
        kind not in CPU_KINDS and hasattr(source, "__cuda_array_interface__")
    )


def find(source: object) -> DeviceArray | None:
    """The array, where it lies on a GPU; None: it is something else, or in host memory."""
    if not is_there(source):
        return None
    if _kind(source) in CUDA_KINDS:
        return _from_capsule(_ask(source), type(source).__name__)
    return _from_interface(source.__cuda_array_interface__, source)


def _ask(source: object) -> object:
    """A capsule; exporters of before DLPack 1.0 do not know max_version."""
    try:
        return source.__dlpack__(stream=LEGACY_STREAM, max_version=(1, 0))
    except TypeError:
        return source.__dlpack__(stream=LEGACY_STREAM)


def _pointer(capsule: object, name: bytes) -> int | None:
    """What a capsule of that name leads to."""
    api = ctypes.pythonapi
    api.PyCapsule_IsValid.argtypes = [ctypes.py_object, ctypes.c_char_p]
    api.PyCapsule_IsValid.restype = ctypes.c_int
    if not api.PyCapsule_IsValid(capsule, name):
        return None
    api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    return api.PyCapsule_GetPointer(capsule, name)


def _from_capsule(capsule: object, name: str) -> DeviceArray:
    if (address := _pointer(capsule, b"dltensor_versioned")) is not None:
        versioned = _Versioned.from_address(address)
        if versioned.major > 1:
            raise DataError(
                f"a {name} hands out DLPack {versioned.major}.{versioned.minor}; 0 and 1 are known"
            )
        tensor = versioned.tensor
    elif (address := _pointer(capsule, b"dltensor")) is not None:
        tensor = _Tensor.from_address(address)
    else:
        raise DataError(f"what __dlpack__ of a {name} returns is no capsule, or a used one")
    bits, lanes = tensor.dtype.bits, tensor.dtype.lanes
    size = bits // 8 * lanes
    code = CODES.get(tensor.dtype.code, "V") if bits % 8 == 0 and lanes == 1 else "V"
    shape = tuple(tensor.shape[: tensor.ndim]) if tensor.ndim else ()
    strides = tuple(n * size for n in tensor.strides[: tensor.ndim]) if tensor.strides else None
    return DeviceArray(
        (tensor.data or 0) + tensor.byte_offset,
        shape,
        f"{code}{size}",
        strides,
        tensor.device.number,
        LEGACY_STREAM,
        capsule,
    )


def _from_interface(described: dict, source: object) -> DeviceArray:
    name, version = type(source).__name__, described["version"]
    if version < 2:
        raise DataError(
            f"__cuda_array_interface__ of a {name} is version {version}; 2 is the first"
        )
    if described.get("mask") is not None:
        raise DataError(f"a {name} with a mask: arrays must be whole")
    stream = described.get("stream", LEGACY_STREAM if version < 3 else None)
    if stream == 0:
        raise DataError(f"__cuda_array_interface__ of a {name} says stream 0, which is ambiguous")
    return DeviceArray(
        described["data"][0] or 0,
        tuple(described["shape"]),
        described["typestr"][1:],
        tuple(described["strides"]) if described.get("strides") is not None else None,
        None,
        stream or 0,
        source,
    )


def type_name(dtype: str) -> str:
    """A type in NumPy's words, where it has them."""
    try:
        return str(np.dtype(dtype))
    except TypeError:
        return f"a type of {dtype[1:]} bytes that NumPy lacks"
