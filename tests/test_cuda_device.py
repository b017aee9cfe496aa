"""What dn_device_get_info says of a GPU: with an NVML of the tests' own where there is no GPU."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

from conftest import ROOT
from test_cuda_layers import NO_CUDA
from yolomask._native import find_library

pytestmark = pytest.mark.skipif(bool(NO_CUDA), reason=NO_CUDA)

ASK = """
from yolomask._native import check, ffi, lib
info = ffi.new("dn_device_info *")
for device in (b"cuda", b"cuda:1"):
    check(lib.dn_device_get_info(device, info))
    print(ffi.string(info.name).decode(), info.cores, info.clock_mhz, info.memory_mhz,
          info.power_watts, info.power_limit_watts, sep="|")
"""


def ask(**variables) -> list[list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", ASK], env=os.environ | variables, cwd=ROOT, text=True,
        capture_output=True, check=True,
    )  # fmt: skip
    return [line.split("|") for line in done.stdout.splitlines()]


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(str(find_library()[0])), "dn_host_put"), reason="a real GPU"
)
def test_by_a_driver_of_the_tests(tmp_path):
    library, source = tmp_path / "libnvidia-ml.so.1", ROOT / "tests/host_cuda/nvml.c"
    paths = f"{tmp_path}:{os.environ.get('LD_LIBRARY_PATH', '')}"
    first, second = ask()
    assert first == ["the CPU as a GPU", "132", "0.0", "0.0", "0.0", "0.0"] == second
    subprocess.run(
        ["cc", "-Wall", "-Werror", "-shared", "-fPIC", "-o", library, source], check=True
    )
    first, second = ask(LD_LIBRARY_PATH=paths)
    assert first[2:] == ["1980.0", "2619.0", "412.345", "0.0"]
    assert second[2:] == ["0.0"] * 4  # one that NVML does not know


@pytest.mark.skipif(
    hasattr(ctypes.CDLL(str(find_library()[0])), "dn_host_put"), reason="no real GPU"
)
def test_by_the_driver():
    from yolomask._native import check, ffi, lib

    info = ffi.new("dn_device_info *")
    check(lib.dn_device_get_info(b"cuda", info))
    assert ffi.string(info.name) and info.cores > 0
    assert 0 <= info.clock_mhz < 10_000 and 0 <= info.power_watts < 10_000
