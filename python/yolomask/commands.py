"""What python/detect.py and python/evaluate.py, also `python -m yolomask detect|evaluate|fetch`, do
with their arguments. The only part of the package that prints results."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Callable, Sequence

from ._native import DarknetError
from .coco import evaluate
from .network import DarknetWarning, Network


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
    group.add_argument("--threads", type=int, default=0, help="0: all cores")
    group.add_argument("--size", type=int, nargs="+", metavar="N", help="input: side, or w and h")


def open_network(arguments: argparse.Namespace) -> Network:
    """The network that the arguments name."""
    size = arguments.size or [0]
    if len(size) > 2:
        raise ValueError("--size takes one number or two")
    return Network(
        arguments.cfg,
        arguments.weights,
        arguments.names,
        threads=arguments.threads,
        width=size[0],
        height=size[-1],
    )


def evaluate_main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="evaluate.py",
        description="Box and mask AP on a COCO JSON, as pycocotools prints them.",
    )
    add_network_arguments(parser)
    parser.add_argument("--json", required=True, help="COCO annotations")
    parser.add_argument("--images", required=True, help="folder of their images")
    parser.add_argument("--out", help="folder for the results: bbox.json, segm.json, summary.json")
    parser.add_argument("--limit", type=int, default=0, help="only the first N images")
    parser.add_argument("--conf", type=float, default=0.001, help="smallest score (.001)")
    parser.add_argument("--iou", type=float, default=0.45, help="overlap that NMS allows (.45)")
    parser.add_argument("--max-det", type=int, default=100, help="objects an image (100)")
    parser.add_argument(
        "--score",
        choices=["box", "mask"],
        default="box",
        help="what ranks masks: the box's score, or that times the mask's mean probability",
    )
    parser.add_argument(
        "--class-agnostic", action="store_true", help="compare without classes (other class names)"
    )
    arguments = parser.parse_args(argv)
    return run(lambda: _evaluate(arguments))


def _evaluate(arguments: argparse.Namespace) -> int:
    if not arguments.cfg or not arguments.weights:
        raise ValueError("--cfg and --weights are needed")
    with open_network(arguments) as network:
        summary = evaluate(
            network,
            arguments.json,
            arguments.images,
            conf=arguments.conf,
            iou=arguments.iou,
            max_det=arguments.max_det,
            limit=arguments.limit,
            score=arguments.score,
            class_agnostic=arguments.class_agnostic,
            out=arguments.out,
        )
    if arguments.out:
        with open(f"{arguments.out}/summary.json", "w", encoding="utf-8") as file:
            json.dump(summary, file, indent=2)
    print(f"{summary['images']} images, {summary['seconds']:.1f} s")
    return 0
