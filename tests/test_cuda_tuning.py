"""Tuning on the device "cuda": what half precision measures is kept, obeyed, and of this GPU, in a
file as tests/test_tuning.py looks at for the CPU.

Forms and outputs are compared with what the file says and with float32 on the CPU. That nothing was
measured shows in the times: a step's is the file's to the digit, and the file was not written.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from conftest import ROOT

sys.path.insert(0, str(ROOT / "tests" / "fuzz"))
from mutations import mutate_text

from test_cuda_layers import NO_CUDA
from test_cuda_plan import FP16, TOLERANCE, is_hopper
from test_tuning import CFG, IMAGE, Tuned, choose, lines_of
from yolomask import DataError, Network
from yolomask._native import check, ffi, lib

pytestmark = pytest.mark.skipif(bool(NO_CUDA), reason=NO_CUDA)

CONVOLUTIONS = (0, 1, 2, 4, 5)
NEVER = 98765.43  # microseconds that none of them takes


class Half(Tuned):
    """In half precision on the device; without a path it measures for itself."""

    def __init__(self, path: Path | str | None, size: int | None = None, **options):
        if size:
            options |= {"width": size, "height": size}
        super().__init__(path, **{"device": b"cuda", "precision": FP16} | options)

    def answer(self, images: int = 1) -> np.ndarray:
        self.predict([IMAGE] * images)
        return self.output(-1)

    def forms(self) -> dict[int, tuple[str, float]]:
        """Of each convolution its form, and the microseconds that were measured."""
        info, found = ffi.new("dn_step_info *"), {}
        for i in range(lib.dn_network_step_count(self.handle)):
            check(lib.dn_network_get_step(self.handle, i, info))
            if ffi.string(info.kind) == b"conv":
                form = ffi.string(info.form).decode()
                found[info.first_layer] = form, int(1e8 * info.seconds + 0.5) / 100
        return found


@pytest.fixture
def tuned(tmp_path) -> Path:
    path = tmp_path / "tuned.txt"
    net = Half(path)
    net.answer()
    assert net.said == []
    return path


@pytest.fixture(scope="module")
def plain() -> np.ndarray:
    net = Tuned(None, precision=lib.DN_PRECISION_PLAIN)
    net.answer()
    return net.output(-1)


def agrees(found: np.ndarray, plain: np.ndarray) -> bool:
    scale = np.sqrt((plain.astype(np.float64) ** 2).mean())
    return bool(np.abs(found - plain).max() <= TOLERANCE[FP16] * scale)


def child(path: str, sizes: list[int]) -> None:
    """What a process of its own does: other things first, so that it would choose otherwise where
    time is what a sequence of random numbers says (tests/host_cuda)."""
    Half(None, size=96).answer()
    found = []
    for size in sizes:
        net = Half(path, size=size)
        net.answer()
        found.append([net.forms(), net.said])
    print(json.dumps(found))


def start(path: Path, sizes: list[int]) -> subprocess.Popen:
    words = "import sys; sys.path[:0] = ['tests', 'python', 'tests/fuzz']; import test_cuda_tuning"
    call = f"test_cuda_tuning.child({str(path)!r}, {sizes})"
    return subprocess.Popen(
        [sys.executable, "-c", f"{words}; {call}"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def answer_of(process: subprocess.Popen) -> list:
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return json.loads(out)


def test_measured_once(tuned):
    known = lines_of(tuned)
    assert len(known) == 4  # of five layers two are alike
    assert all(key.startswith("fp16 images 1 groups 1 in ") for key in known)
    assert sum(" pixels-in" in key for key in known) == 1
    net = Half(tuned)
    net.answer()
    first = net.forms()
    assert sorted(first) == list(CONVOLUTIONS) and set(first.values()) == set(known.values())
    os.utime(tuned, ns=(1, 1))
    ((second, said),) = answer_of(start(tuned, [0]))
    assert {int(layer): tuple(form) for layer, form in second.items()} == first
    assert said == [] and tuned.stat().st_mtime_ns == 1  # nothing was measured, nothing written


def test_what_the_process_knows_is_written(tmp_path):
    before = Half(None, size=64)
    before.answer()
    net = Half(tmp_path / "tuned.txt", size=64)
    net.answer()
    assert net.forms() == before.forms()
    assert set(lines_of(tmp_path / "tuned.txt").values()) == set(before.forms().values())


@pytest.mark.parametrize("form", ["64x64", "128x32 / 2", "w64x128", "w64x32 [1,2] / 2"])
def test_the_file_is_obeyed(tuned, plain, form):
    """Where the form can run: not for the image's pixels, not in parts for a short sum."""
    if form.startswith("w") and not is_hopper():
        pytest.skip("needs compute capability 9.0")
    choose(tuned, form, NEVER)
    net = Half(tuned)
    for _ in range(4):  # the last ones by a graph
        assert agrees(net.answer(), plain)
    found = net.forms()
    assert found[1] == found[2] == (form, NEVER)
    assert found[0][0] != form and found[0][1] != NEVER
    assert (form, NEVER) in lines_of(tuned).values()


def test_cudnn_is_a_form_too(tuned, plain):
    if " cuDNN 0 " in tuned.read_text():
        pytest.skip("this build has no cuDNN")
    choose(tuned, "cudnn", NEVER)
    net = Half(tuned)
    assert agrees(net.answer(), plain)
    assert net.forms()[1] == ("cudnn", NEVER) and net.forms()[0][0] != "cudnn"


def test_names_that_are_no_more(tuned, plain):
    known = lines_of(tuned)
    choose(tuned, "w999x8 x7 / 3", NEVER)
    net = Half(tuned)
    assert agrees(net.answer(), plain)
    assert net.said == [] and lines_of(tuned).keys() == known.keys()
    assert not any("w999" in form for form, _ in lines_of(tuned).values())


def test_other_numbers_of_images_are_added(tuned):
    """To what is known, and to what others have written in the meantime."""
    before = lines_of(tuned)
    net = Half(tuned, batch=3)
    net.answer(2)
    both = lines_of(tuned)
    assert sum("images 2" in key for key in both) == 4 and before.items() <= both.items()
    Half(tuned, size=80).answer()
    net.answer(3)
    all_of_them = lines_of(tuned)
    assert sum("images 3" in key for key in all_of_them) == 4
    assert sum("80x80" in key for key in all_of_them) == 1 and both.items() <= all_of_them.items()
    assert net.said == []


def test_another_gpu_or_version_measures_anew(tuned, plain):
    text = tuned.read_text()
    machine = text.splitlines()[1]
    words = machine.split()
    assert words[1] == "cuda" and words[-6] == "CUDA" and words[-4] == "cuDNN"
    assert words[-2] == "forms"
    others = [f"{words[0]} cuda GPU 7.5 CUDA 12000 cuDNN 0 forms 12345678"]
    for place in (0, -7, -5, -3, -1):  # library, compute capability, CUDA, cuDNN, forms
        others.append(" ".join([*words[:place], "9", *words[place:][1:]]))
    for other in others:
        choose(tuned, "64x64", NEVER)
        lines = tuned.read_text().splitlines()
        tuned.write_text("\n".join([lines[0], other, *lines[2:]]))
        net = Half(tuned)
        assert agrees(net.answer(), plain)
        said = f'{tuned}: was measured on "{other}", this is "{machine}": it is measured anew'
        assert net.said == [said]
        assert lines_of(tuned) == {k: v for k, v in lines_of(tuned).items() if v[1] != NEVER}
        assert tuned.read_text().splitlines()[:3] == text.splitlines()[:3]


def test_damaged_lines(tuned, plain):
    text, known = tuned.read_text().splitlines(), lines_of(tuned)
    long = "x" * 300
    tuned.write_text("\n".join([*text[:3], text[3].split(":")[0], *text[4:], "a: b", f"{long}: 1 1",
                                f"a: {long} 1", "a: 64x64 / 2", "a: 64x64 -1", ": 3"]))  # fmt: skip
    net = Half(tuned)
    assert agrees(net.answer(), plain)
    (said,) = net.said
    assert said.startswith(f"{tuned}:4: a problem, a colon, a form and its microseconds are wanted")
    assert "of 6 such lines" in said  # "64x64 /" may be a form that takes 2 us
    assert lines_of(tuned).keys() - {"a"} == known.keys()


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "my.weights"
    path.write_bytes(b"[net]\nwidth=4\n")
    with pytest.raises(DataError, match=r"my\.weights: is no tuning file"):
        Half(path).answer()
    assert path.read_bytes() == b"[net]\nwidth=4\n"


def test_mutated_files(tuned, plain):
    text = tuned.read_text()
    for seed in range(15):
        damaged = mutate_text(random.Random(f"tuning {seed}"), text)
        tuned.write_bytes(damaged.encode("utf-8", "surrogateescape"))
        try:
            assert agrees(Half(tuned).answer(), plain)
        except DataError as error:
            assert str(tuned) in str(error) and "\n" not in str(error)


def test_places_that_cannot_be_written(tuned, tmp_path, plain):
    """Said once, however often something is measured; what can be read is used."""
    net = Half(tmp_path / "nowhere" / "tuned.txt", batch=3)
    for images in (1, 2, 3, 1):
        net.answer(images)
    (said,) = net.said
    assert said.startswith(f"{tmp_path}/nowhere/tuned.txt: cannot write: ")
    choose(tuned, "64x64", NEVER)
    with tuned.open() as file:  # beside which nothing can be made, even by root
        net = Half(f"/proc/self/fd/{file.fileno()}")
        assert agrees(net.answer(), plain)
    assert net.forms()[1] == ("64x64", NEVER)  # layer 0 was measured
    (said,) = net.said
    assert ": cannot write: " in said


def test_processes_at_once(tmp_path):
    """The file is whole, whoever writes; who comes later measures nothing that is in it."""
    path, sizes = tmp_path / "tuned.txt", [32, 64, 96]
    running = [start(path, sizes[k:] + sizes[:k]) for k in range(3)]
    for process in running:
        assert [said for _, said in answer_of(process)] == [[], [], []]
    assert os.listdir(tmp_path) == ["tuned.txt"]
    known = lines_of(path)
    assert len(known) >= 4
    net = Half(path, size=64)
    net.answer()
    assert net.said == [] and known.items() <= lines_of(path).items()


@pytest.mark.parametrize("asked", ["rules", "64x64 / 2"])
def test_the_environment_comes_first(monkeypatch, tuned, asked):
    choose(tuned, "128x64", NEVER)
    before = tuned.read_text()
    monkeypatch.setenv("DARKNET_CUDNN", asked)
    net, free = Half(tuned), Half(None)
    net.answer(), free.answer()
    forms = {layer: form for layer, (form, _) in net.forms().items()}
    assert forms == {layer: form for layer, (form, _) in free.forms().items()}
    assert forms[1] == asked or asked == "rules"
    assert tuned.read_text() == before


def test_allocations_that_fail(tmp_path, fail_allocations):
    fail_allocations(lambda: Half(tmp_path / "tuned.txt").answer())


def test_python_and_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "a.cfg").write_text(CFG)
    with Network(tmp_path / "a.cfg", device="cuda", precision="fp16", tune=True) as net:
        net.predict(IMAGE)
    (found,) = (tmp_path / "yolomask").iterdir()
    assert found.name.startswith("tune-cuda-") and len(lines_of(found)) == 4
