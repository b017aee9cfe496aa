"""bench/bench_gpu.py on networks of a few layers: every part runs and gives its figures, and what
was measured stays when time is up. What PyTorch does on a GPU it does here on the CPU.
"""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys

import pytest

from api_support import MASK_CFG
from conftest import ROOT
from test_cuda_layers import NO_CUDA
from test_stream_native import PLAIN_CFG

pytestmark = [
    pytest.mark.skipif(bool(NO_CUDA), reason=NO_CUDA),
    pytest.mark.skipif(not (ROOT / "bench").is_dir(), reason="a source package without bench/"),
]

TORCH = importlib.util.find_spec("torch") is not None


@pytest.fixture
def cfgs(tmp_path):
    folder = tmp_path / "cfg"
    folder.mkdir()
    for name in ("yolov3", "yolov4-tiny"):
        (folder / f"{name}.cfg").write_text(PLAIN_CFG)
    for name, rois in (("yolomask", 100), ("yolomask-v4-tiny", 3)):
        cfg = MASK_CFG.replace("max_rois=40", f"max_rois={rois}")
        (folder / f"{name}.cfg").write_text(cfg)
    return folder


def run(cfgs, out, *words: str, torch: bool = True) -> tuple[list[dict], str]:
    command = [sys.executable, ROOT / "bench/bench_gpu.py", "--json", out, "--cfgs", cfgs]
    command += ["--size", "64", "--seconds", "0.01", "--batches", "2"]
    command += ["--inference", "1,2", "--limit", "300", *words]
    if TORCH and torch:
        command += ["--torch", "--torch-device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(out.read_text()), done.stdout + done.stderr


def test_the_branch_gives_its_figures(cfgs, tmp_path):
    rows, text = run(cfgs, tmp_path / "rows.json", "--parts", "branch", torch=False)
    assert [(row["who"], row["rounds"] > 0) for row in rows] == [
        ("ours, fp16", True), ("ours, bf16", True),
    ] * 2, text  # fmt: skip


@pytest.mark.slow  # a dozen processes, with PyTorch in each: half a minute
def test_every_part_gives_its_figures(cfgs, tmp_path):
    parts = "forward,branch,images,streams,steps,masks,training"
    rows, text = run(cfgs, tmp_path / "rows.json", "--parts", parts)
    assert [row for row in rows if "error" in row] == [], text
    assert all(row["ms"] > 0 and row["rounds"] > 0 for row in rows)
    seen = {(row["what"], row["who"], row["batch"]) for row in rows}
    half = "ours, fp16"
    for wanted in (
        ("yolov3-64 forward", half, 1),
        ("yolov3-64 forward", half, 2),
        ("yolov3-64 forward from host memory", half, 2),
        ("yolov4-tiny-64 forward", "ours", 1),
        ("yolomask-v4-tiny-64 forward", "ours, bf16", 1),
        ("yolomask-64 mask branch, 20 boxes", half, 1),
        ("yolomask-64 mask branch, 100 boxes", half, 1),
        ("yolomask-64, image to boxes and RLE masks", half, 1),
        ("yolomask-v4-tiny-64, image to boxes and RLE masks", "ours", 2),
        ("yolomask-64, stream from image to RLE masks", half, 1),
        ("yolomask-64, stream from file to RLE masks", half, 2),
        ("yolomask-64, stream from file by nvJPEG to RLE masks", half, 1),
        ("yolov3-64 steps alone, their sum", half, 1),
        ("yolov4-tiny-64 steps alone, their sum", half, 2),
        ("yolomask-64 branch, 20 boxes steps alone, their sum", half, 1),
        ("yolov3-64 training", "ours fp16", 2),
    ):
        assert wanted in seen
    assert re.search(r"\d+ candidates, \d+ objects, \d+ B of RLE an image", text), text
    assert "TB/s" in text and "ratio: PyTorch's time / ours" in text
    if TORCH:
        for what in ("forward", "training"):
            assert any(who.startswith("PyTorch") for w, who, _ in seen if w == f"yolov3-64 {what}")
        assert ("yolov3-64 steps, the card's limit", "the limit", 1) in seen
        assert ("yolomask-64 mask branch, 20 boxes", "PyTorch float16", 1) in seen
        assert "% of the limit" in text


@pytest.mark.slow
def test_figures_stay_when_time_is_up(cfgs, tmp_path):
    words = ["--parts", "forward,masks", "--limit", "25", "--seconds", "5"]
    rows, text = run(cfgs, tmp_path / "rows.json", *words)
    assert rows[0]["what"] == "yolov3-64 forward" and rows[0]["ms"] > 0, text
    stopped = [row for row in rows if "stopped after" in row.get("error", "")]
    assert stopped[0]["what"] == "forward"
