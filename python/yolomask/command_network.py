"""What the commands share: how they end, and the network that their arguments name."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable

from . import models
from ._native import DarknetError, DarknetWarning
from .network import Network
from .network_options import PRECISIONS


def run(command: Callable[[], int]) -> int:
    """The command's exit code; what it refuses is one line, not a traceback."""
    warnings.showwarning = _show_warning
    try:
        return command()
    except KeyboardInterrupt:
        return 130
    except (DarknetError, OSError, ValueError, ImportError, MemoryError) as error:
        print(f"error: {error or type(error).__name__}", file=sys.stderr)
        return 1


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    where = "" if issubclass(category, DarknetWarning) else f"{filename}:{lineno}: "
    print(f"warning: {where}{message}", file=sys.stderr)


def add_network_arguments(parser: argparse.ArgumentParser) -> None:
    """Which network, and how it runs."""
    group = parser.add_argument_group("network")
    group.add_argument("--cfg", help="the network")
    group.add_argument("--weights", nargs="+", metavar="FILE", help="weights files, in order")
    group.add_argument("--names", help="class names: a file, one a line, or a .data file")
    group.add_argument("--device", default="auto", help="cpu, cuda, cuda:1; auto: a GPU if it can")
    group.add_argument("--threads", type=int, default=0, help="0: all cores")
    group.add_argument("--size", type=int, nargs="+", metavar="N", help="input: side, or w and h")
    precisions = [name for name in PRECISIONS if name]
    group.add_argument("--precision", choices=precisions, help="how it computes (f32)")
    group.add_argument("--calibration", metavar="FILE", help="ranges for int8: calibrate's file")
    group.add_argument(
        "--tune", action="store_true", help="measure which way of each convolution is fastest here"
    )
    group.add_argument("--tune-file", metavar="FILE", help="so, and keep it there")


def input_size(arguments: argparse.Namespace) -> tuple[int, int]:
    """Width and height of --size; 0: as the cfg says."""
    size = arguments.size or [0]
    if len(size) > 2:
        raise ValueError("--size takes one number or two")
    return size[0], size[-1]


def open_network(arguments: argparse.Namespace) -> Network:
    """The network that the arguments name; the default model where they name none."""
    cfg, weights, names = arguments.cfg, arguments.weights, arguments.names
    if cfg is None and weights is None:
        model = models.default_model()
        cfg, weights, names = model.cfg, model.weights, names or model.names
    elif cfg is None or weights is None:
        raise ValueError("--cfg and --weights go together; without both the default model runs")
    width, height = input_size(arguments)
    return Network(
        cfg,
        weights,
        names,
        device=arguments.device,
        threads=arguments.threads,
        width=width,
        height=height,
        precision=arguments.precision,
        calibration=arguments.calibration,
        tune=arguments.tune_file or arguments.tune,
    )
