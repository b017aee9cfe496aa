"""What `detect` does with a list of image files: pictures, tables, JSON, label rows, cut-outs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ._native import DataError
from .images import SUFFIXES
from .network import Network
from .result import Result


@dataclass
class Outputs:
    """What is written, and where."""

    folder: Path
    pictures: bool = True
    masks: bool = True
    json: bool = False  # results.json
    txt: bool = False  # labels/<name>.txt
    crops: bool = False  # crops/<class>/<name>_<number>.png


class Namer:
    """A name for each input: its own without the ending, numbered where another input has it, so
    that two inputs never write the same file."""

    def __init__(self) -> None:
        self.taken: set[str] = set()

    def name(self, path: Path) -> str:
        name, number = path.stem, 1
        while name.lower() in self.taken:  # some file systems do not tell A from a
            number += 1
            name = f"{path.stem}_{number}"
        self.taken.add(name.lower())
        return name


def table(result: Result) -> str:
    """One line an object: class, score, box, and the mask's area in pixels."""
    width = max([5, *(len(result.names[int(c)]) for c in result.boxes.cls)])
    areas = result.masks.area.tolist() if result.masks else None
    head = f"  {'class':<{width}}  score  {'box (x0 y0 x1 y1)':<23}"
    lines = [head + ("  mask px" if areas else "")]
    for i, (*box, score, class_id) in enumerate(result.boxes.data.tolist()):
        corners = " ".join(f"{v:5.0f}" for v in box)
        line = f"  {result.names[int(class_id)]:<{width}}  {score:5.2f}  {corners:<23}"
        lines.append(line + (f"  {areas[i]:7d}" if areas else ""))
    return "\n".join(line.rstrip() for line in lines)


def picture_path(folder: Path, name: str, source: Path) -> Path:
    """Where an input's picture goes; never onto the input itself."""
    suffix = source.suffix.lower() if source.suffix.lower() in SUFFIXES - {".ppm"} else ".png"
    path = folder / f"{name}{suffix}"
    if path.exists() and path.samefile(source):
        path = folder / f"{name}_objects{suffix}"
    return path


def json_row(result: Result) -> dict:
    """A result for results.json: the objects' rows, with their runs beside the outlines."""
    objects = result.summary()
    if result.masks:
        for row, rle in zip(objects, result.masks.rle, strict=True):
            row["mask"] = rle
    height, width = result.orig_shape
    return {"file": result.path, "width": width, "height": height, "objects": objects}


def write(result: Result, name: str, outputs: Outputs) -> Path | None:
    """Writes what was asked for; the picture's path, if there is one."""
    folder, picture = outputs.folder, None
    if outputs.pictures:
        picture = picture_path(folder, name, Path(result.path))
        result.save(picture, masks=outputs.masks)
    if outputs.txt:
        (folder / "labels").mkdir(exist_ok=True)
        result.save_txt(folder / "labels" / f"{name}.txt")
    if outputs.crops:
        result.save_crop(folder / "crops", name)
    return picture


def detect(
    network: Network, paths: Iterable[Path], outputs: Outputs, conf: float, iou: float
) -> int:
    """Runs the network on the files and prints a table each; how many files could not be read."""
    outputs.folder.mkdir(parents=True, exist_ok=True)
    namer, rows, failed = Namer(), [], 0
    for path in paths:
        try:
            result = network.predict(path, conf, iou)
        except (DataError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            failed += 1
            continue
        if not outputs.masks:
            result.masks = None
        picture = write(result, namer.name(path), outputs)
        height, width = result.orig_shape
        took = f"{sum(result.speed.values()):.0f} ms"
        count = f"{len(result)} object{'' if len(result) == 1 else 's'}"
        print(
            f"{path}: {width} x {height}, {count}, {took}" + (f" -> {picture}" if picture else "")
        )
        if len(result):
            print(table(result))
        if outputs.json:
            rows.append(json_row(result))
    if outputs.json:
        text = json.dumps(rows, indent=1)
        (outputs.folder / "results.json").write_text(text, encoding="utf-8")
    return failed
