"""Pictures of what a training learns from and of what it has learned. Needs OpenCV.

batch_N.jpg: samples as the network gets them, augmented, with their boxes and masks.
valid_N.jpg: images of the valid set, what is labelled on the left, what is found on the right.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ._native import DataError, check, encode_path, ffi, lib
from .datasets import Dataset, Objects, corners, decode
from .drawing import paint, require_cv2, write_picture
from .network import Network
from .result import Result

SAMPLES = 4  # of a picture, two beside two
SIDE = 640  # of a picture's part
LABELS = 20  # objects that are named; more would hide one another
MARGIN = 4
STAGES = {
    "detector": lib.DN_STAGE_DETECTOR,
    "mask": lib.DN_STAGE_MASK,
    "joint": lib.DN_STAGE_ALL,
}


def _draw(pixels: np.ndarray, objects: Objects, texts: list[str]) -> np.ndarray:
    """The objects on an image that is scaled so that its longer side is SIDE, at most doubled."""
    cv2 = require_cv2()
    height, width = pixels.shape[:2]
    factor = min(2.0, SIDE / max(height, width))
    size = (max(1, round(factor * width)), max(1, round(factor * height)))
    kind = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR

    def crop(i: int) -> tuple[int, int, np.ndarray] | None:
        mask = objects.mask(i)
        if mask is None:
            return None
        return 0, 0, cv2.resize(mask.view(np.uint8), size, interpolation=kind).view(bool)

    scaled = np.ascontiguousarray(cv2.resize(pixels, size, interpolation=kind))
    texts = texts if len(texts) <= LABELS else None
    return paint(scaled, objects.boxes * factor, objects.class_ids, crop=crop, texts=texts)


def _titled(pixels: np.ndarray, title: str) -> np.ndarray:
    """A white strip with text above the picture."""
    cv2 = require_cv2()
    strip = np.full((26, pixels.shape[1], 3), 255, np.uint8)
    font, scale = cv2.FONT_HERSHEY_DUPLEX, 0.5
    while title and cv2.getTextSize(title, font, scale, 1)[0][0] > pixels.shape[1] - 8:
        title = title[:-1]
    cv2.putText(strip, title, (4, 18), font, scale, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([strip, pixels])


def _grid(pictures: list[np.ndarray], columns: int) -> np.ndarray:
    """Pictures of one size in rows, white between them."""
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // columns)
    shape = (rows * (height + MARGIN) - MARGIN, columns * (width + MARGIN) - MARGIN, 3)
    sheet = np.full(shape, 255, np.uint8)
    for i, picture in enumerate(pictures):
        top, left = (i // columns) * (height + MARGIN), (i % columns) * (width + MARGIN)
        sheet[top : top + height, left : left + width] = picture
    return sheet


def _truths(truth, height: int, width: int) -> Objects:
    """A dn_truth at the input's size."""
    natives = [ffi.addressof(truth.objects, i) for i in range(truth.object_count)]

    def mask(i: int) -> np.ndarray | None:
        one = natives[i]
        if not one.mask:
            return None
        rle = ffi.gc(ffi.new("dn_rle *"), lib.dn_rle_free)
        affine = ffi.addressof(one, "net_to_image")
        check(lib.dn_rle_sample(rle, one.mask, affine, one.visible, height, width))
        return decode(rle)

    return Objects(
        corners([native.box for native in natives]),
        [native.class_id for native in natives],
        [native.crowd for native in natives],
        mask,
    )


def _found(result: Result) -> Objects:
    def mask(i: int) -> np.ndarray | None:
        return result[i].masks.data[0].numpy() if result.masks else None

    class_ids = result.boxes.cls.astype(int).tolist()
    return Objects(result.boxes.xyxy.numpy(), class_ids, [False] * len(result), mask)


def _texts(objects: Objects, names: dict[int, str]) -> list[str]:
    """What each object is; nothing where all are of the one class there is."""
    return [
        (names.get(class_id, str(class_id)) if len(names) > 1 else "") + " (ignored)" * crowd
        for class_id, crowd in zip(objects.class_ids, objects.crowds, strict=True)
    ]


def draw_batches(
    cfg: str | os.PathLike,
    dataset: Dataset,
    folder: Path,
    *,
    stage: str = "mask",
    seed: int = 0,
    count: int = 3,
) -> list[Path]:
    """The first samples of a training's stage, with what their losses compare with."""
    options = ffi.new("dn_preview_options *")
    name = ffi.new("char[]", encode_path(cfg))
    options.cfg, options.dataset, options.stage = name, dataset.handle, STAGES[stage]
    options.seed, options.count = seed, SAMPLES
    paths = []
    for number in range(count):
        options.first = number * SAMPLES
        out = ffi.new("dn_preview **")
        check(lib.dn_preview_make(options, out))
        preview = ffi.gc(out[0], lib.dn_preview_free)
        pictures = [_sample(preview, i, dataset.names) for i in range(preview.count)]
        paths.append(folder / f"batch_{number + 1}.jpg")
        write_picture(paths[-1], _grid(pictures, 2))
    return paths


def _sample(preview, i: int, names: dict[int, str]) -> np.ndarray:
    height, width = preview.height, preview.width
    floats = ffi.buffer(preview.input + i * 3 * height * width, 4 * 3 * height * width)
    planes = np.frombuffer(floats, np.float32).reshape(3, height, width)
    pixels = np.round(planes.transpose(1, 2, 0) * 255).astype(np.uint8)
    objects = _truths(preview.truth[i], height, width)
    return _draw(pixels, objects, _texts(objects, names))


def draw_valid(
    network: Network, dataset: Dataset, folder: Path, *, count: int = 8, conf: float = 0.25
) -> list[Path]:
    """Images spread evenly over the valid set; those that cannot be read are passed over."""
    paths = []
    for image in np.linspace(0, len(dataset) - 1, min(count, len(dataset))).astype(int).tolist():
        try:
            result = network.predict(dataset.path(image), conf)
        except (DataError, OSError):  # the training has said so
            continue
        objects, found = dataset.objects(image, *result.orig_shape), _found(result)
        scores = [f"{score:.2f}" for score in result.boxes.conf.tolist()]
        texts = _texts(found, network.names)
        texts = [f"{n} {s}".strip() for n, s in zip(texts, scores, strict=True)]
        name = Path(dataset.path(image)).name
        pair = [
            _titled(_draw(result.orig_img, objects, _texts(objects, dataset.names)), name),
            _titled(_draw(result.orig_img, found, texts), f"found, score > {conf:g}"),
        ]
        paths.append(folder / f"valid_{len(paths) + 1}.jpg")
        write_picture(paths[-1], _grid(pair, 2))
    return paths
