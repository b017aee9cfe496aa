"""The C library: found, loaded through cffi, its ABI checked, its statuses turned into exceptions.

The definitions are cut from darknet.h, which lies beside the library in a wheel and in src/ in a
checkout, so there is no second list of functions to keep in step.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import cffi

PACKAGE = Path(__file__).resolve().parent
ROOT = PACKAGE.parent.parent  # the repository, when this is a checkout
NAME = {"darwin": "libdarknet.dylib", "win32": "darknet.dll"}.get(sys.platform, "libdarknet.so")
MARKS = re.compile(r"/\* cffi: begin \*/(.*?)/\* cffi: end \*/", re.DOTALL)


class DarknetError(Exception):
    """What the library refused; the message says where, what was found and what is allowed."""


class ConfigError(DarknetError):
    """A .cfg or .data file, or an option, that makes no sense."""


class WeightsError(DarknetError):
    """A weights file that is damaged or does not fit the network."""


class DataError(DarknetError):
    """An image, label, list or JSON file that cannot be used."""


class DeviceError(DarknetError):
    """A GPU or its libraries."""


class CancelledError(DarknetError):
    """The caller's cancel callback asked to stop."""


class DarknetWarning(UserWarning):
    """What the library accepted but did not like, in a sentence."""


def find_library() -> tuple[Path, Path]:
    """The paths of the library and of its header: $YOLOMASK_LIBRARY, the package, the checkout."""
    chosen = os.environ.get("YOLOMASK_LIBRARY")
    libraries = [Path(chosen)] if chosen else [PACKAGE / NAME, ROOT / NAME]
    for library in libraries:
        if not library.is_file():
            continue
        folder = library.resolve().parent
        for header in (folder / "darknet.h", folder / "src" / "darknet.h", ROOT / "src/darknet.h"):
            if header.is_file():
                return library, header
        raise ImportError(f"{library}: darknet.h is missing beside it")
    places = " or ".join(str(path) for path in libraries)
    raise ImportError(f"{NAME} was not found at {places}: run `make` in the repository root")


def read_definitions(header: Path) -> str:
    """The part of darknet.h between the cffi marks, as cffi's parser takes it."""
    found = MARKS.search(header.read_text(encoding="utf-8"))
    if not found:
        raise ImportError(f"{header}: the cffi marks are missing")
    return re.sub(r"\bDN_API\b", "", found.group(1))


def load() -> tuple[cffi.FFI, object]:
    """The cffi object and the library, after the check that both mean the same ABI."""
    library_path, header = find_library()
    definitions = cffi.FFI()
    definitions.cdef(read_definitions(header))
    library = definitions.dlopen(str(library_path.resolve()))
    wanted, found = library.DN_ABI_VERSION, library.dn_abi_version()
    if wanted != found:
        raise ImportError(f"{library_path} has ABI version {found}, {header} has {wanted}")
    # cffi looks a function up at its first use, under a lock: a destructor that the garbage
    # collector runs inside another look-up would wait for itself.
    for name in dir(library):
        try:
            getattr(library, name)
        except AttributeError:
            raise ImportError(f"{library_path} has no {name}: it is older than {header}") from None
    return definitions, library


ffi, lib = load()

EXCEPTIONS = {
    lib.DN_ERROR_CONFIG: ConfigError,
    lib.DN_ERROR_WEIGHTS: WeightsError,
    lib.DN_ERROR_DATA: DataError,
    lib.DN_ERROR_IO: OSError,
    lib.DN_ERROR_MEMORY: MemoryError,
    lib.DN_ERROR_DEVICE: DeviceError,
    lib.DN_ERROR_ARGUMENT: ValueError,
    lib.DN_ERROR_CANCELLED: CancelledError,
}


def error_message() -> str:
    """This thread's last failure in one sentence."""
    return ffi.string(lib.dn_error_message()).decode("utf-8", "replace")


def encode_path(path: str | os.PathLike) -> bytes:
    """A path as the library takes it, which would silently stop reading at a zero byte."""
    encoded = os.fsencode(path)
    if b"\0" in encoded:
        raise ValueError(f"{path!r}: a path cannot hold a zero byte")
    return encoded


def check(status: int) -> None:
    """Raises the exception that belongs to a dn_status; does nothing for DN_OK."""
    if status != lib.DN_OK:
        raise EXCEPTIONS.get(status, DarknetError)(error_message())


class Process:
    """Whether this process was forked from one whose library threads it does not have."""

    used = False
    forked = False

    @classmethod
    def after_fork(cls) -> None:
        cls.forked = cls.used

    @classmethod
    def enter(cls) -> None:
        if cls.forked:
            raise DarknetError(
                "this process was forked after its parent used a Network, whose threads a fork "
                "does not copy: start it with multiprocessing's 'spawn' method, or fork first"
            )
        cls.used = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=Process.after_fork)
