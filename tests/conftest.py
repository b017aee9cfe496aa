"""What the tests share: the package of this checkout on sys.path, and the folders of real data."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "python"))
sys.path.insert(0, str(ROOT / "tests"))


def folder_from(variable: str) -> Path:
    """The folder that an environment variable names, or a skip that says which one is unset."""
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is not set")
    path = Path(value)
    if not path.is_dir():
        pytest.skip(f"{variable}={value} is not a folder")
    return path


def published_file(models: Path, name: str) -> Path:
    """A file of a published model, wherever it lies below the folder of models."""
    for folder, _, files in os.walk(models, followlinks=True):
        if name in files:
            return Path(folder) / name
    pytest.skip(f"no {name} below {models}")


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository root."""
    return ROOT


@pytest.fixture(scope="session")
def datasets() -> Path:
    """The folder of the real data sets (coco125, animals, boards, nuclei)."""
    return folder_from("YOLOMASK_DATASETS")


@pytest.fixture(scope="session")
def models() -> Path:
    """The folder of published Darknet models."""
    return folder_from("YOLOMASK_MODELS")


@pytest.fixture
def fail_allocations():
    """Calls `action` with the 0th, 1st, ... allocation failing, until it succeeds.

    `action` returns normally or raises; every failing round must raise MemoryError, and there must
    be at least one. Returns the number of allocations seen.
    """
    from yolomask._native import lib

    def run(action, limit: int = 10_000) -> int:
        for n in range(limit):
            lib.dn_test_fail_allocation(n)
            try:
                action()
            except MemoryError:
                continue
            finally:
                lib.dn_test_fail_allocation(-1)
            assert n > 0, "nothing was allocated"
            return n
        raise AssertionError(f"still failing after {limit} allocations")

    yield run
    lib.dn_test_fail_allocation(-1)


def with_isa(request):
    from yolomask._native import lib

    if not lib.dn_test_isa(request.param.encode()):
        pytest.skip(f"no {request.param} here")
    yield request.param
    lib.dn_test_isa(os.environ.get("DARKNET_ISA", "").encode())


@pytest.fixture(params=["plain", "avx2", "avx512"])
def isa(request):
    """Runs the test once with each instruction set of this machine; skips the others."""
    yield from with_isa(request)


@pytest.fixture(params=["plain", "avx2", "avx512", "avx512vnni", "avx512bf16"])
def low_isa(request):
    """The same with those that differ in int8 and bfloat16 alone, too."""
    yield from with_isa(request)
