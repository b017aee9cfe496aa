"""Class names: from a list, a dictionary, a file with one name a line, or a .data file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ._native import ConfigError, DataError, check, encode_path, ffi, lib

# Darknet's coco.names spells six of COCO's names in VOC's way: they mean the same.
_PAIRS = {
    "motorcycle": "motorbike",
    "airplane": "aeroplane",
    "couch": "sofa",
    "potted plant": "pottedplant",
    "dining table": "diningtable",
    "tv": "tvmonitor",
}
OTHER_SPELLINGS = _PAIRS | {voc: coco for coco, voc in _PAIRS.items()}

Names = str | os.PathLike | Sequence[str] | Mapping[int, str] | None


def read_names(path: Path) -> list[str]:
    """The lines of a names file; empty lines at its end do not count."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise DataError(f"{path}: class names must be UTF-8 text, one a line") from None
    return [line.strip() for line in text.rstrip().splitlines()]


def names_file_of(data_path: str | os.PathLike) -> Path | None:
    """The names file that a .data file names (without one a classifier's labels), or None."""
    data = ffi.new("dn_data_file **")
    check(lib.dn_data_file_read(encode_path(data_path), ffi.NULL, ffi.NULL, data))
    try:
        names = data[0].names or data[0].labels
        return Path(os.fsdecode(ffi.string(names))) if names else None
    finally:
        lib.dn_data_file_free(data[0])


def find_data_file(written: str, cfg: Path) -> Path | None:
    """The .data file that a cfg names: from the working directory, beside the cfg, or above it."""
    for folder in (Path(), cfg.parent, cfg.parent.parent):
        if (folder / written).is_file():
            return folder / written
    return None


def resolve_names(
    names: Names, classes: int, cfg: Path, data: str | None, more: bool = False
) -> dict[int, str]:
    """{class id: name} of a network with that many classes.

    Without names, those of the .data file that the cfg names count if they fit, else the numbers.
    With `more`, further names may follow, as in Darknet's lists for ImageNet.
    """
    source = "names"

    def fits(listed: list[str]) -> bool:
        return len(listed) == classes or (more and len(listed) > classes)

    if names is None:
        found = find_data_file(data, cfg) if data else None
        file = names_file_of(found) if found else None
        listed = read_names(file) if file and file.is_file() else []
        if not fits(listed):
            listed = [str(i) for i in range(classes)]
    elif isinstance(names, str | os.PathLike):
        source = os.fspath(names)
        file = names_file_of(names) if source.endswith(".data") else Path(names)
        if file is None:
            raise ConfigError(f"{source}: names= is missing")
        listed = read_names(file)
    elif isinstance(names, Mapping):
        if sorted(names) != list(range(len(names))):
            raise ConfigError(f"names: the keys must be 0 to {len(names) - 1}, each once")
        listed = [names[i] for i in range(len(names))]
    else:
        listed = list(names)
    if not fits(listed):
        raise ConfigError(f"{source}: has {len(listed)} names, {cfg} has classes={classes}")
    return dict(enumerate(listed[:classes]))
