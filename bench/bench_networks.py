"""The forward pass of whole networks, `./darknet speed`, beside Debian's darknet in turns.

    python bench/bench_networks.py [--threads 2] [--rounds 5] [name ...]

Names are those of cfg/ (default: yolov3 yolov3-tiny yolov4-tiny). Programs take turns, so that a
busy minute meets all of them; the figure of a program is the median of its rounds. Weights are
random. Debian's darknet (apt install darknet) is left out where it is not installed, or where it
does not know the network. Its figure is from 2 passes a round: it is slow.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEBIAN = Path("/usr/bin/darknet")
DEBIAN_KNOWS = {"yolov3", "yolov3-tiny", "yolov3-spp", "yolov2"}


def ours(name: str, threads: int) -> float:
    """Milliseconds of a pass: the median of five."""
    command = [ROOT / "darknet", "speed", ROOT / f"cfg/{name}.cfg", "5", "-threads", str(threads)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return float(re.search(r"median ([\d.]+) ms", out)[1])


def debians(name: str, _threads: int) -> float:
    """Milliseconds of a pass, its own mean of two; it has one thread."""
    command = [DEBIAN, "speed", ROOT / f"cfg/{name}.cfg", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return 1e3 * float(re.search(r"Speed: ([\d.e+-]+) sec/eval", done.stdout + done.stderr)[1])


def main() -> None:
    parser = argparse.ArgumentParser(description="Times whole networks.")
    parser.add_argument("names", nargs="*", default=["yolov3", "yolov3-tiny", "yolov4-tiny"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    for name in arguments.names:
        programs = {f"./darknet, {arguments.threads} threads": ours}
        if DEBIAN.is_file() and name in DEBIAN_KNOWS:
            programs["Debian's darknet"] = debians
        times: dict[str, list[float]] = {program: [] for program in programs}
        for _ in range(arguments.rounds):
            for program, time in programs.items():
                times[program].append(time(name, arguments.threads))
        for program, found in times.items():
            low, high = min(found), max(found)
            median = statistics.median(found)
            print(f"{name}: {program}: {median:.1f} ms (rounds {low:.1f} to {high:.1f})")


if __name__ == "__main__":
    main()
