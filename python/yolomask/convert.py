"""Labels from one format to another: whatever the library reads, to what label_formats writes."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from .datasets import Dataset
from .label_formats import WRITERS
from .label_writer import Item


@dataclass
class Report:
    """What a conversion did."""

    images: int = 0
    objects: int = 0
    lost: dict[str, int] = field(default_factory=dict)  # what the format does not hold: how many
    images_folder: Path | None = None  # where the file names of a COCO JSON begin


def convert(
    dataset: Dataset, out: str | os.PathLike, to: str, *, link: bool = False, report=None
) -> Report:
    """Writes the data set as `to` (coco: a JSON; yolo, labelme, png: a folder, which must be new or
    empty). Images are copied, or with `link` hard-linked, to where the format looks for them."""
    target = Path(out)
    if to not in WRITERS:
        raise ValueError(f"{to!r}: one of {', '.join(WRITERS)} is wanted")
    if len(dataset) == 0:
        raise ValueError("the data set has no images")
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise ValueError(f"{target}: is there already; nothing is overwritten")
    if to == "coco" and target.suffix.lower() != ".json":
        raise ValueError(f"{target}: a COCO file ends in .json")
    paths = [Path(os.path.abspath(dataset.path(i))) for i in range(len(dataset))]
    if to != "coco":
        target.mkdir(parents=True, exist_ok=True)
    writer = WRITERS[to](target, dataset, paths, link)
    done = Report(images=len(dataset), objects=dataset.view.object_count)
    for index in range(len(dataset)):
        one = dataset.view.images[index]
        shape = dataset.size(index)
        first = one.first_object
        writer.image(
            index, [Item(dataset, index, first + i, shape) for i in range(one.object_count)]
        )
        if report:
            report(index + 1, len(dataset))
    writer.finish()
    done.lost = dict(writer.lost)
    done.images_folder = getattr(writer, "root", None)
    return done
