"""Training samples through dn_preview, as NumPy arrays, for the tests of augmentation."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from dataset_tools import Dataset
from mask_support import Rle
from yolomask._native import check, ffi, lib


@dataclass
class Object:
    """One object of a sample's truth."""

    box: np.ndarray  # x0, y0, x1, y1 in network pixels
    class_id: int
    crowd: bool
    affine: tuple[float, float, float, float]
    visible: tuple[float, float, float, float]
    native: object  # the dn_truth_object

    @property
    def has_mask(self) -> bool:
        return self.native.mask != ffi.NULL

    def target(self, roi, size: int, soft: bool = True) -> np.ndarray:
        """dn_mask_target of its mask, as the mask layer asks for it."""
        out = np.full((size, size), np.nan, np.float32)
        cells, one = ffi.from_buffer("float[]", out), self.native
        map_of = ffi.addressof(one, "net_to_image")
        roi = tuple(float(v) for v in roi)
        check(lib.dn_mask_target(one.mask, map_of, one.visible, roi, size, soft, cells))
        return out

    def drawn(self, height: int, width: int) -> np.ndarray:
        """Its mask at the input's size, (height, width) of 0 and 1."""
        one = self.native
        map_of = ffi.addressof(one, "net_to_image")
        return Rle(lib.dn_rle_sample, one.mask, map_of, one.visible, height, width).mask

    def in_image(self) -> np.ndarray:
        """Its mask in the pixels of the image that it belongs to."""
        mask = self.native.mask
        out = np.zeros((mask.height, mask.width), np.uint8)
        lib.dn_rle_decode(mask, ffi.from_buffer("uint8_t[]", out), lib.DN_ROW_MAJOR)
        return out


class Preview:
    """Samples first .. first + count - 1 of a training."""

    def __init__(self, cfg, dataset, first=0, count=1, stage=None, **fields):
        path = ffi.new("char[]", str(cfg).encode())
        stage = lib.DN_STAGE_MASK if stage is None else stage
        options = {"cfg": path, "dataset": dataset, "first": first, "count": count}
        out = ffi.new("dn_preview **")
        options = ffi.new("dn_preview_options *", options | {"stage": stage} | fields)
        check(lib.dn_preview_make(options, out))
        self.native = ffi.gc(out[0], lib.dn_preview_free)
        shape = (count, 3, self.native.height, self.native.width)
        values = ffi.buffer(self.native.input, 4 * int(np.prod(shape)))
        self.input = np.frombuffer(values, np.float32).reshape(shape)
        self.images = list(self.native.images[0:count])

    def objects(self, sample: int = 0) -> list[Object]:
        truth = self.native.truth[sample]
        found = []
        for i in range(truth.object_count):
            one = truth.objects[i]
            box, affine, seen = one.box, one.net_to_image, one.visible
            found.append(
                Object(
                    np.array([box.x0, box.y0, box.x1, box.y1]),
                    one.class_id,
                    one.crowd,
                    (affine.scale_x, affine.scale_y, affine.offset_x, affine.offset_y),
                    (seen.x0, seen.y0, seen.x1, seen.y1),
                    one,
                )
            )
        return found

    def pixels(self, sample: int = 0) -> np.ndarray:
        """(height, width, 3) float."""
        return self.input[sample].transpose(1, 2, 0)


NET_CFG = """[net]
batch=4
width={width}
height={height}
channels=3
{keys}
[convolutional]
filters=14
size=1
stride=8
activation=linear

[yolo]
mask=0,1
anchors=12,12, 40,30
classes=2
num=2
{head}
"""


def write_cfg(folder: Path, width=64, height=48, head="", **keys) -> Path:
    """A cfg with these keys in [net] and lines in its head; a preview looks at nothing else."""
    path = folder / "net.cfg"
    lines = "".join(f"{key}={value}\n" for key, value in keys.items())
    path.write_text(NET_CFG.format(width=width, height=height, keys=lines, head=head))
    return path


class ColouredSet:
    """Images of flat colours: object k of the set has class k and a colour that nothing else has.

    Objects are ellipses and boxes that may hide earlier ones of their image; the label of each is
    what shows of it.
    """

    def __init__(self, folder: Path, seed: int, sizes, objects=4, crowds=0, boxes=0):
        random = np.random.default_rng(seed)
        self.pictures, self.masks, self.owners, self.kinds = [], [], [], []
        images, annotations = [], []
        for i, (h, w) in enumerate(sizes):
            regions = np.full((h, w), -1)
            first = len(self.masks)
            for k in range(first, first + objects):
                regions[self._shape(random, h, w)] = k
            self.pictures.append(self.colour(regions, i))
            name = f"image_{i}.png"
            cv2.imwrite(str(folder / name), self.pictures[-1][..., ::-1])
            images.append({"id": i + 1, "file_name": name, "width": w, "height": h})
            for k in range(first, first + objects):
                self.masks.append(regions == k)
                self.owners.append(i)
                place = k - first
                kind = "crowd" if place < crowds else "box" if place < crowds + boxes else "mask"
                self.kinds.append(kind)
                if self.masks[k].any():
                    annotations.append(self._annotation(k, i, kind))
        categories = [{"id": k + 1, "name": f"object {k}"} for k in range(len(self.masks))]
        labels = {"images": images, "annotations": annotations, "categories": categories}
        (folder / "labels.json").write_text(json.dumps(labels))
        self.dataset = Dataset(folder / "labels.json", strict=True).handle

    @staticmethod
    def _shape(random, h, w):
        x, y = np.arange(w) + 0.5, np.arange(h)[:, None] + 0.5
        cx, cy = random.uniform(0.1, 0.9, 2) * (w, h)
        rx, ry = random.uniform(0.1, 0.3, 2) * (w, h)
        dx, dy = np.abs(x - cx) / rx, np.abs(y - cy) / ry
        return dx**2 + dy**2 < 1 if random.integers(2) else np.maximum(dx, dy) < 1

    @staticmethod
    def colours(regions):
        """(..., 3) bytes of objects: scattered, so that no mixture of two is a third one's."""
        return np.random.default_rng(0).integers(60, 256, (64, 3))[regions]

    def colour(self, regions, image):
        ground = np.array([10, 10 + image, 20])
        return np.where(regions[..., None] < 0, ground, self.colours(regions)).astype(np.uint8)

    def _annotation(self, k, image, kind):
        mask = self.masks[k]
        columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
        x, y = int(columns[0]), int(rows[0])
        box = [x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y]
        found = {"id": k + 1, "image_id": image + 1, "category_id": k + 1, "bbox": box}
        found |= {"area": int(mask.sum()), "iscrowd": int(kind == "crowd")}
        if kind != "box":
            runs = Rle.from_mask(mask).runs
            found["segmentation"] = {"size": list(mask.shape), "counts": runs}
        return found


def weights(source: int, size: int, scale: float, offset: float) -> np.ndarray:
    """(size, source): the shares of source pixels in output pixels; all 0: it lies outside."""
    centres = scale * (np.arange(size) + 0.5) + offset
    radius = max(1.0, abs(scale) / 2)
    shares = np.maximum(0, 1 - np.abs(np.arange(source) - centres[:, None] + 0.5) / radius)
    inside = (centres >= 0) & (centres < source)
    shares[~inside] = 0
    return shares / np.where(inside, shares.sum(1), 1)[:, None]


class Look:
    """What the pixels of one sample say, beside its labels."""

    def __init__(self, images: ColouredSet, preview: Preview, sample: int = 0):
        self.images, self.pixels = images, preview.pixels(sample)
        self.height, self.width = self.pixels.shape[:2]
        self.objects = preview.objects(sample)
        self.image = preview.images[sample]

    def coloured(self, class_id: int) -> np.ndarray:
        """Where the picture has exactly this object's colour."""
        colour = self.images.colours(np.array(class_id)) / 255
        return (np.abs(self.pixels - colour) < 1e-4).all(-1)

    def area(self, one: Object) -> np.ndarray:
        """The pixels of the rectangle in which the object's image shows."""
        inside = np.zeros((self.height, self.width), bool)
        x0, y0, x1, y1 = (round(v) for v in one.visible)
        assert (x0, y0, x1, y1) == one.visible
        inside[y0:y1, x0:x1] = True
        return inside

    def share(self, one: Object, mask: np.ndarray) -> np.ndarray:
        """How much of every pixel is made of the mask's pixels."""
        sx, sy, ox, oy = one.affine
        down = weights(mask.shape[0], self.height, sy, oy)
        across = weights(mask.shape[1], self.width, sx, ox)
        return down @ mask.astype(float) @ across.T * self.area(one)

    def window(self, one: Object, mask: np.ndarray) -> np.ndarray:
        """The mask's pixels that show, and the rectangle that cuts them, in image pixels."""
        sx, sy, ox, oy = one.affine
        x = np.clip(np.sort(sx * np.array(one.visible)[[0, 2]] + ox), 0, mask.shape[1])
        y = np.clip(np.sort(sy * np.array(one.visible)[[1, 3]] + oy), 0, mask.shape[0])
        shown = mask.astype(bool)
        pixel = np.arange(mask.shape[1])
        shown &= (pixel + 1 > x[0] + 1e-3) & (pixel < x[1] - 1e-3)
        pixel = np.arange(mask.shape[0])[:, None]
        shown &= (pixel + 1 > y[0] + 1e-3) & (pixel < y[1] - 1e-3)
        return shown, np.array([x[0], y[0], x[1], y[1]])

    def box_around(self, one: Object, mask: np.ndarray) -> np.ndarray:
        """The smallest box, in network pixels, around what shows of the mask."""
        shown, cut = self.window(one, mask)
        columns, rows = np.flatnonzero(shown.any(0)), np.flatnonzero(shown.any(1))
        low = np.maximum([columns[0], rows[0]], cut[:2])
        high = np.minimum([columns[-1] + 1, rows[-1] + 1], cut[2:])
        scale, offset = np.array(one.affine[:2]), np.array(one.affine[2:])
        corners = np.sort([(low - offset) / scale, (high - offset) / scale], axis=0)
        return corners.ravel()
