"""The headers that CUDA includes stay C and C++ at once; layers.def says which layers CUDA has."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from conftest import ROOT

STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wdouble-promotion", "-Werror"]
BODIES = sorted(
    path.relative_to(ROOT / "src").as_posix()
    for path in (ROOT / "src/math").glob("*.h")
    if "DN_HD" in path.read_text()
)


def included_by_cuda() -> list[str]:
    """Headers of src/ that a file in cuda/ includes, and those that they include."""
    found: list[str] = []
    files = [path for path in (ROOT / "cuda").iterdir() if path.suffix in (".cu", ".h")]
    while files:
        for name in re.findall(r'^#include "(\w+(?:/\w+)?\.h)"', files.pop().read_text(), re.M):
            path = ROOT / "src" / name
            if path.is_file() and name not in found:
                found.append(name)
                files.append(path)
    return sorted(found)


def compiles(tmp_path, command: list[str], suffix: str, header: str) -> None:
    """Compiles a file that includes the header twice and nothing else."""
    if not shutil.which(command[0]):
        pytest.skip(f"{command[0]} is not installed")
    source = tmp_path / f"probe.{suffix}"
    source.write_text(f'#include "{header}"\n#include "{header}"\n')
    run = [*command, "-fsyntax-only", f"-I{ROOT / 'src'}", str(source)]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("header", sorted({*BODIES, *included_by_cuda()}))
def test_header_is_cpp(tmp_path, header):
    compiles(tmp_path, ["g++", "-std=c++17", *STRICT], "cpp", header)


@pytest.mark.parametrize("header", sorted({*BODIES, *included_by_cuda()}))
def test_header_is_c_that_cpp_understands(tmp_path, header):
    compiles(tmp_path, ["gcc", "-std=c11", "-Wc++-compat", "-Wconversion", *STRICT], "c", header)


def test_a_header_that_is_not_cpp_is_found(tmp_path):
    """The check can fail: an implicit conversion from void * is C only."""
    (tmp_path / "bad.h").write_text("static inline int *f(void *p)\n{\n    return p;\n}\n")
    with pytest.raises(AssertionError, match="invalid conversion"):
        compiles(tmp_path, ["g++", "-std=c++17", f"-I{tmp_path}", *STRICT], "cpp", "bad.h")
    with pytest.raises(AssertionError, match="implicit conversion|not permitted"):
        compiles(tmp_path, ["gcc", "-Wc++-compat", f"-I{tmp_path}", *STRICT], "c", "bad.h")


def test_layers_def_says_which_layers_cuda_has():
    """DN_LAYER(name) where cuda/<name>.cu defines dn_<name>_cuda, DN_LAYER_CPU(name) elsewhere."""
    lines = re.findall(
        r"^DN_LAYER(_CPU)?\((\w+)\)$", (ROOT / "src/core/layers.def").read_text(), re.M
    )
    said = {name for cpu_only, name in lines if not cpu_only}
    defined = {
        name
        for path in (ROOT / "cuda").glob("*.cu")
        for name in re.findall(r"^const dn_layer_kernels dn_(\w+)_cuda =", path.read_text(), re.M)
        if name == path.stem
    }
    assert len(lines) == len({name for _, name in lines}), "a layer is listed twice"
    assert said == defined
