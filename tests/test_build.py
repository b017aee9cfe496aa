"""The build's own tools: where cuBLAS and cuDNN are looked for, what is said where they are not,
the prefix of `make deps`, and what the report of `make gpu-check` takes from its logs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import gpu_check  # noqa: E402


def run(*command, **variables):
    env = {k: v for k, v in os.environ.items() if k not in ("CUDNN_HOME", "DEPS", "NVCC")}
    return subprocess.run(
        [str(word) for word in command], env=env | {k: str(v) for k, v in variables.items()},
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")


@pytest.fixture
def nowhere(tmp_path) -> dict:
    """An nvcc of an empty toolkit of CUDA 13 and a Python whose packages lie in tmp_path/site."""
    toolkit, nvcc, python = tmp_path / "toolkit", tmp_path / "nvcc", tmp_path / "python"
    toolkit.mkdir()
    nvcc.write_text(f"""#!/bin/sh
        echo '#$ TOP={toolkit}'; echo '#$ gcc -D__CUDACC_VER_MAJOR__=13 none.cu'
        echo 'Cuda compilation tools, release 13.0, V13.0.88'""")
    python.write_text(f"#!/bin/sh\necho {tmp_path}/site\n")
    nvcc.chmod(0o755)
    python.chmod(0o755)
    return {"NVCC": nvcc, "PYTHON": python}


def find(name: str, nowhere: dict, **variables) -> list[str]:
    return run("tools/cuda_libraries.sh", name, **nowhere, **variables).stdout.split()


def test_cudnn_home_comes_first(tmp_path, nowhere):
    home, wheel = tmp_path / "home", tmp_path / "site/nvidia/cudnn"
    touch(home / "include/cudnn.h", home / "lib64/libcudnn.so.8")
    touch(wheel / "include/cudnn.h", wheel / "lib/libcudnn.so.9")
    assert find("cudnn", nowhere, CUDNN_HOME=home) == [
        f"-isystem={home}/include", f"{home}/lib64/libcudnn.so.8", f"-Wl,-rpath,{home}/lib64"
    ]  # fmt: skip


def test_libraries_of_the_toolkit_need_no_header_folder(tmp_path, nowhere):
    toolkit = tmp_path / "toolkit"
    touch(toolkit / "include/cublas_v2.h", toolkit / "lib64/libcublas.so")
    assert find("cublas", nowhere) == [
        f"{toolkit}/lib64/libcublas.so", f"-Wl,-rpath,{toolkit}/lib64"
    ]  # fmt: skip


def test_wheels_of_this_cuda_are_taken(tmp_path, nowhere):
    if Path("/usr/include/cublas_v2.h").exists():
        pytest.skip("this system has cuBLAS, which comes before wheels")
    old, new = tmp_path / "site/nvidia/cublas", tmp_path / "site/nvidia/cu13"
    touch(old / "include/cublas_v2.h", old / "lib/libcublas.so.12")
    assert find("cublas", nowhere) == []
    touch(new / "include/cublas_v2.h", new / "lib/libcublas.so.13")
    assert find("cublas", nowhere) == [
        f"-isystem={new}/include", f"{new}/lib/libcublas.so.13", f"-Wl,-rpath,{new}/lib"
    ]  # fmt: skip


def test_what_is_missing_and_how_it_is_installed(tmp_path, nowhere):
    if Path("/usr/include/cudnn.h").exists() or Path("/usr/include/cublas_v2.h").exists():
        pytest.skip("this system has them")
    done = run("tools/needs.sh", "nvcc", "cublas", "cudnn", **nowhere)
    assert done.returncode == 1
    first, second = done.stderr.splitlines()
    python = nowhere["PYTHON"]
    assert first.startswith("missing: GPU=1 needs cuBLAS")
    assert f"{python} -m pip install nvidia-cublas," in first
    assert second.startswith("missing: CUDNN=1 needs cuDNN 9 or 8")
    assert f"{python} -m pip install nvidia-cudnn-cu13," in second


@pytest.mark.parametrize(
    "name, folder, library, unit, words",
    [
        ("nccl", "nccl", "libnccl.so.2", "sums", ["NCCL=1 needs NCCL 2", "nvidia-nccl-cu13,"]),
        ("nvjpeg", "cu13", "libnvjpeg.so.13", "jpeg", ["NVJPEG=1 needs nvJPEG", "nvidia-nvjpeg,"]),
    ],
)
def test_what_is_opened_later_is_used_where_it_is(
    tmp_path, nowhere, name, folder, library, unit, words
):
    """Its wheel's place becomes a run path, and nothing is linked with it; without it sums are the
    host's, and decoding is; NAME=1 insists."""
    if Path(f"/usr/include/{name}.h").exists():
        pytest.skip("this system has it, which comes before wheels")
    wheel = tmp_path / "site/nvidia" / folder
    command = ("make", "-n", "GPU=1", "ARCH=", "all")
    without, there = f"{unit}_without", f"{unit}_{name}"

    def build(*words) -> str:
        given = {f"{key}={value}" for key, value in nowhere.items()}
        return run(*command, f"BUILD={tmp_path}/build", *given, *words).stdout

    made = build()
    assert without in made and there not in made
    touch(wheel / f"include/{name}.h", wheel / "lib" / library)
    assert find(name, nowhere) == [
        f"-isystem={wheel}/include", f"{wheel}/lib/{library}", f"-Wl,-rpath,{wheel}/lib"
    ]  # fmt: skip
    made = build()
    assert there in made and without not in made
    assert f"-Wl,-rpath,{wheel}/lib" in made and f"{wheel}/lib/{library}" not in made
    assert without in build(f"{name.upper()}=0")
    done = run("tools/needs.sh", name, **nowhere | {"PYTHON": "false"})
    assert done.returncode == 1
    assert all(one in done.stderr for one in words)


def test_cudnn_needs_the_gpu():
    done = run("make", "-n", "CUDNN=1", "GPU=0", "all")
    assert done.returncode != 0 and "CUDNN=1 and CUDNN_HALF=1 need GPU=1" in done.stderr


def test_deps_serve_a_shared_library(tmp_path):
    """What `make deps` copies links into a library that shows none of their names."""
    prefix = tmp_path / "deps"
    assert run("tools/make_deps.sh", prefix).returncode == 0
    assert sum(p.stat().st_size for p in prefix.rglob("*") if p.is_file()) < 4 << 20
    assert run("tools/needs.sh", "jpeg", "png", "yajl", DEPS=prefix).returncode == 0
    moved = prefix.rename(tmp_path / "moved")
    source, library = tmp_path / "one.c", tmp_path / "one.so"
    source.write_text("""#include <stdio.h>
        #include <jpeglib.h>
        #include <png.h>
        #include <yajl/yajl_parse.h>
        void *one(void);
        void *one(void)
        {
            static struct jpeg_error_mgr errors;
            if (!png_create_read_struct(PNG_LIBPNG_VER_STRING, 0, 0, 0)) return 0;
            return yajl_alloc(0, 0, 0) ? (void *)jpeg_std_error(&errors) : 0;
        }""")
    archives = [moved / f"lib/lib{name}.a" for name in ("yajl", "jpeg", "png", "z")]
    done = run(
        "cc", "-shared", "-fPIC", "-Wl,-z,defs", "-Wl,--exclude-libs,ALL", f"-I{moved}/include",
        "-o", library, source, *archives, "-lm",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    import ctypes

    loaded = ctypes.CDLL(str(library))
    loaded.one.restype = ctypes.c_void_p
    assert loaded.one()
    assert not hasattr(loaded, "png_create_read_struct")


def test_a_prefix_without_libraries_is_named(tmp_path):
    done = run("tools/needs.sh", "jpeg", DEPS=tmp_path)
    assert done.returncode == 1
    assert f"not in DEPS={tmp_path}, which make deps fills" in done.stderr


def test_words_of_the_report():
    failed = "..F\nFAILED tests/test_a.py::test_b - assert 1\n1 failed, 3 passed in 2.50s\n"
    assert gpu_check.tests_words(failed) == (
        "1 failed, 3 passed in 2.50s; tests/test_a.py::test_b"
    )  # fmt: skip
    stopped = (
        "[gw1] [  5%] FAILED tests/test_a.py::test_b[c: d] \n[gw0] [  6%] PASSED tests/test_a.py::e"
    )
    assert gpu_check.tests_words(stopped).endswith("; tests/test_a.py::test_b[c: d]")
    alone = "tests/test_a.py::test_b[c: d] FAILED      [ 5%]\ntests/test_a.py::e PASSED   [ 6%]\n"
    assert gpu_check.tests_words(alone).endswith("; tests/test_a.py::test_b[c: d]")
    checked = "..\n2 passed, 7 deselected in 8.40s\n========= ERROR SUMMARY: 0 errors\n"
    assert gpu_check.sanitizer_words(checked) == (
        "ERROR SUMMARY: 0 errors; 2 passed, 7 deselected in 8.40s"
    )  # fmt: skip
    raced = "========= Error: Race reported between a\n========= RACECHECK SUMMARY: 1 hazard\n"
    assert gpu_check.sanitizer_words(raced).startswith(
        "RACECHECK SUMMARY: 1 hazard; Error: Race reported between a; "
    )
