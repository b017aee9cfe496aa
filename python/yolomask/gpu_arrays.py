"""Arrays in a GPU's memory that the library made, for packages that read such: DLPack and
__cuda_array_interface__. (The other way, arrays of other packages: device_arrays.py.)

What the library hands out is finished: no stream has to wait. Every array is the caller's own and
may be written. Its memory is freed with the last who holds it: this object, and each tensor that
was made of it by DLPack, whose deleter is the library's and needs no Python.
"""

from __future__ import annotations

import ctypes

import numpy as np

from ._native import check, ffi, lib

CUDA = 2  # DLPack's kDLCUDA
NAMES = {False: b"dltensor", True: b"dltensor_versioned"}

_api = ctypes.pythonapi
_api.PyCapsule_New.restype = ctypes.py_object
_api.PyCapsule_New.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]


def _function(name: str, kind: str) -> object:
    """A function of Python's own C interface."""
    return ffi.cast(kind, ctypes.cast(getattr(_api, name), ctypes.c_void_p).value)


lib.dn_capsule_use(
    _function("PyCapsule_IsValid", "int(*)(void *, const char *)"),
    _function("PyCapsule_GetPointer", "void *(*)(void *, const char *)"),
)
_end = int(ffi.cast("uintptr_t", ffi.addressof(lib, "dn_capsule_end")))


class GpuArray:
    """An array in the memory of a GPU, row-major: torch.from_dlpack(array), cupy.asarray(array)."""

    def __init__(self, handle: object) -> None:
        self._handle = ffi.gc(handle, lib.dn_device_array_release)
        info = ffi.new("dn_device_array_info *")
        lib.dn_device_array_get(self._handle, info)
        self.shape: tuple[int, ...] = tuple(info.shape[0 : info.axes])
        self.dtype = np.dtype(f"{info.kind.decode()}{info.item_size}")
        self.device: str = f"cuda:{info.device}"
        self._number: int = info.device
        self._address = int(ffi.cast("uintptr_t", info.data))

    @classmethod
    def copy_of(cls, values: np.ndarray, device: str) -> GpuArray:
        """A host array, copied there."""
        values = np.ascontiguousarray(values)
        info = ffi.new("dn_device_array_info *")
        info.kind, info.item_size = values.dtype.kind.encode(), values.dtype.itemsize
        info.axes = values.ndim
        info.shape[0 : values.ndim] = values.shape
        out = ffi.new("dn_device_array **")
        data = ffi.cast("void *", values.ctypes.data)
        check(lib.dn_device_array_create(device.encode(), info, data, out))
        return cls(out[0])

    def __repr__(self) -> str:
        return f"GpuArray(shape={self.shape}, dtype={self.dtype}, device={self.device!r})"

    @property
    def __cuda_array_interface__(self) -> dict:
        """Version 3. Who takes the address must hold this object."""
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (0 if 0 in self.shape else self._address, False),
            "version": 3,
            "strides": None,
            "stream": None,
        }

    def __dlpack_device__(self) -> tuple[int, int]:
        return CUDA, self._number

    def __dlpack__(
        self,
        *,
        stream: object = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> object:
        """A capsule of DLPack 1.0, or of before where the consumer does not ask for that much."""
        if dl_device is not None and tuple(dl_device) != self.__dlpack_device__():
            raise BufferError(f"the array lies on {self.device} and is not copied elsewhere")
        if copy:
            raise BufferError("an array on a GPU is handed over as it is, not copied")
        versioned = max_version is not None and max_version[0] >= 1
        out = ffi.new("void **")
        check(lib.dn_device_array_export(self._handle, versioned, out))
        return _api.PyCapsule_New(
            int(ffi.cast("uintptr_t", out[0])),
            NAMES[versioned],
            _end,
        )
