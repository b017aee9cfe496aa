"""The sections of a .cfg that the library has accepted, for code that needs an option's value."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

COMMENT = re.compile(r"\s#.*")
ALIASES = {
    "conv": "convolutional",
    "deconv": "deconvolutional",
    "conn": "connected",
    "max": "maxpool",
    "avg": "avgpool",
    "local_avg": "local_avgpool",
    "soft": "softmax",
    "silence": "empty",
}


@dataclass
class Section:
    """A section by its canonical name, its options as text and the line that it begins at."""

    name: str
    line: int
    options: dict[str, str] = field(default_factory=dict)

    def text(self, key: str, default: str) -> str:
        return self.options.get(key, default)

    def int(self, key: str, default: int) -> int:
        return int(float(self.options.get(key, default)))

    def float(self, key: str, default: float) -> float:
        return float(self.options.get(key, default))

    def ints(self, key: str) -> list[int]:
        return [int(item) for item in self.options.get(key, "").split(",") if item]


def read_cfg(path: str | os.PathLike) -> list[Section]:
    """[net] and the layers. Of a key that is there twice the first counts, as in the library."""
    sections: list[Section] = []
    for number, raw in enumerate(Path(path).read_text("utf-8", "replace").splitlines(), 1):
        line = re.sub(r"\s", "", COMMENT.sub("", raw))
        if not line or line[0] in "#;":
            continue
        if line[0] == "[":
            name = line.strip("[]")
            sections.append(Section(ALIASES.get(name, name), number))
        else:
            key, _, value = line.partition("=")
            sections[-1].options.setdefault(key, value)
    return sections
