"""Data sets through the C API, as plain Python values, for the tests of labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from yolomask._native import check, ffi, lib


@dataclass
class Object:
    """One labelled object; `number` is its index in the data set."""

    number: int
    class_id: int
    id: int
    line: int
    bbox: list[float]
    area: float
    crowd: bool
    kind: int
    fractions: bool
    decimals: int


@dataclass
class Image:
    """One image with its objects."""

    path: str
    file_name: str
    label_path: str
    width: int
    height: int
    id: int
    objects: list[Object] = field(default_factory=list)


def text(pointer) -> str:
    """The text of a C string."""
    return ffi.string(pointer).decode("utf-8")


class Dataset:
    """A loaded dn_dataset."""

    def __init__(self, path, strict=False, classes=0, images_only=False, **paths):
        flags = {"strict": strict, "classes": classes, "images_only": images_only}
        source = ffi.new("dn_dataset_source *", flags)
        keep = [ffi.new("char[]", str(value).encode()) for value in (path, *paths.values())]
        for name, value in zip(("path", *paths), keep, strict=True):
            setattr(source, name, value)
        out = ffi.new("dn_dataset **")
        check(lib.dn_dataset_load(source, out))
        self.handle = ffi.gc(out[0], lib.dn_dataset_free)
        view = self.view = lib.dn_dataset_get(self.handle)
        self.names = [text(view.names[i]) for i in range(view.class_count)]
        self.category_ids = list(view.category_ids[0 : view.class_count])
        self.fault_count = view.fault_count
        kept = min(view.fault_count, lib.DN_FAULTS_KEPT)
        self.faults = [text(view.faults[i]) for i in range(kept)]

    @property
    def images(self) -> list[Image]:
        """All images with all objects."""
        result = []
        for i in range(self.view.image_count):
            image = self.view.images[i]
            texts = [text(t) for t in (image.path, image.file_name, image.label_path)]
            first = image.first_object
            objects = [self.object(first + k) for k in range(image.object_count)]
            result.append(Image(*texts, image.width, image.height, image.id, objects))
        return result

    def object(self, number: int) -> Object:
        """The object of this index."""
        found = self.view.objects[number]
        return Object(
            number,
            found.class_id,
            found.id,
            found.line,
            list(found.bbox),
            found.area,
            found.crowd,
            found.kind,
            found.fractions,
            found.decimals,
        )

    def mask(self, image: int, number: int, width: int, height: int) -> np.ndarray:
        """The mask of an object, (height, width) of 0 and 1."""
        rle = ffi.new("dn_rle *")
        check(lib.dn_dataset_mask(self.handle, image, number, width, height, rle))
        mask = np.zeros((height, width), np.uint8)
        lib.dn_rle_decode(rle, ffi.from_buffer("uint8_t[]", mask), lib.DN_ROW_MAJOR)
        lib.dn_rle_free(rle)
        return mask

    def polygons(self, number: int) -> list[list[float]]:
        """The points of an object's parts, as they were labelled."""
        xy, counts = ffi.new("double **"), ffi.new("int64_t **")
        check(lib.dn_dataset_polygons(self.handle, number, xy, counts))
        parts, start = [], 0
        for i in range(self.view.objects[number].parts):
            end = start + 2 * counts[0][i]
            parts.append(list(xy[0][start:end]))
            start = end
        lib.dn_buffer_free(xy[0])
        lib.dn_buffer_free(counts[0])
        return parts

    def box(self, number: int, width: int, height: int) -> list[float]:
        """x0, y0, x1, y1 in pixels of an image of this size."""
        box = lib.dn_dataset_box(self.view.objects + number, width, height)
        return [box.x0, box.y0, box.x1, box.y1]


def write(path: Path, content: str | bytes) -> Path:
    """Writes a file and its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path
