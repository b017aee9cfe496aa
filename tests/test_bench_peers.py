"""bench/bench_peers.py on a small network: ONNX Runtime agrees with ours, and the table says so."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from conftest import ROOT

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.mark.skipif(not (ROOT / "bench").is_dir(), reason="a source package without bench/")
def test_a_peer_agrees_and_is_timed(tmp_path):
    out = tmp_path / "figures.json"
    command = [sys.executable, ROOT / "bench/bench_peers.py", "--net", "yolo-fastest-1.1"]
    command += ["--size", "64", "96", "--peers", "onnxruntime", "--rounds", "1", "--json", out]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result = json.loads(out.read_text())[0]
    assert (result["case"]["width"], result["case"]["height"]) == (64, 96)
    ours, peer = sorted(result["rows"], key=lambda row: row["key"] != "ours")
    assert peer["key"] == "onnxruntime"
    assert 0 < peer["error"] < 1e-5
    for row in (ours, peer):
        assert row["ms"] > 0
        assert row["peak"] > row["before"] > 10
        assert row["engine"] in done.stdout
