"""Debian's `darknet`, the original program: one thread, no vector instructions, its own timing.

It prints no outputs of heads, so it is not compared with ours, and each run is a process: two
passes of its command `speed`, which reads the weights as well.
"""

from __future__ import annotations

import re
import shutil
import subprocess

from peers.case import Case, Unsupported

NAME = "Debian's darknet"
KNOWS = {"yolov3", "yolov3-tiny", "yolov3-spp", "yolov2"}

if not shutil.which("darknet", path="/usr/bin"):
    raise ImportError("/usr/bin/darknet is missing")


def version() -> str:
    done = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", "darknet"], capture_output=True)
    return done.stdout.decode()


def milliseconds(case: Case) -> float:
    if case.net not in KNOWS or not case.float32 or case.batch > 1:
        raise Unsupported("does not know the network, the precision or the batch")
    command = ["/usr/bin/darknet", "speed", case.cfg, "1", case.weights]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return 1e3 * float(re.search(r"Speed: ([\d.e+-]+) sec/eval", done.stdout + done.stderr)[1])
