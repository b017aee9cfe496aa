"""Timing: engines in turns, each engine's start in a process of its own, the machine's peak.

Before each run there is a pause: thread pools of engines (OpenMP's, oneTBB's, ONNX Runtime's) spin
for some milliseconds behind a run before they sleep, and would take a core from the next engine.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from peers.case import FILES, ROOT, Case, Engine

PAUSE = 0.02  # seconds


def in_turns(
    runs: dict[str, Callable[[], object]], rounds: int, threads: int
) -> tuple[dict[str, list[float]], list[float]]:
    """Milliseconds of each by round, behind one that does not count, and each round's peak.

    A run that returns a number has measured the part that counts itself, in seconds.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    peaks = []
    for round_ in range(rounds + 1):
        peaks.append(fma_peak(threads))
        for name, run in runs.items():
            time.sleep(PAUSE)
            start = time.perf_counter()
            own = run()
            whole = time.perf_counter() - start
            if round_ > 0:
                times[name].append(1e3 * (own if isinstance(own, float) else whole))
    return times, peaks


def relative_rms(found: list[np.ndarray], wanted: list[np.ndarray]) -> float:
    """The worst output's root mean square of the difference, as a share of the wanted one's."""
    worst = 0.0
    for one, other in zip(found, wanted, strict=True):
        difference = one.astype(np.float64).reshape(other.shape) - other
        scale = np.sqrt(np.mean(np.square(other, dtype=np.float64)))
        worst = max(worst, float(np.sqrt(np.mean(np.square(difference))) / scale))
    return worst


def memory_mb(key: str) -> float:
    """VmHWM: the peak of this process; VmRSS: now."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return int(text.split(f"{key}:")[1].split()[0]) / 1024


def measure_start(module, case: Case) -> dict[str, float]:
    """Load, first image and memory, in a fresh process whose imports are done."""
    before, start = memory_mb("VmRSS"), time.perf_counter()
    engine: Engine = module.load(case)
    loaded = time.perf_counter()
    engine.run()
    first = time.perf_counter() - loaded
    peak = memory_mb("VmHWM")
    return {"load": loaded - start, "first": first, "peak": peak, "before": before}


def start_of(name: str, case_file: Path) -> dict[str, float]:
    command = [sys.executable, ROOT / "bench/bench_peers.py", "--start", name, case_file]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def fma_peak(threads: int) -> float:
    """GFLOP/s of fused multiply-adds in registers, now."""
    source, program = ROOT / "bench/fma_peak.c", FILES / "fma_peak"
    FILES.mkdir(parents=True, exist_ok=True)
    if not program.is_file() or program.stat().st_mtime < source.stat().st_mtime:
        flags = ["-O3", "-march=native", "-fopenmp"]
        subprocess.run(["cc", *flags, source, "-o", program], check=True)
    done = subprocess.run([program, str(threads)], capture_output=True, text=True, check=True)
    return float(done.stdout)
