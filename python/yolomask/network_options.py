"""What users say of a network, a prediction or a training, as the library takes it."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence

from ._native import encode_path, ffi, lib

Weights = str | os.PathLike | Sequence[str | os.PathLike] | None


def _choices(name_of: Callable, first: int, default: int) -> dict[str | None, int]:
    """The library's, from `first` on, by the names that it has for them."""
    choices: dict[str | None, int] = {None: default}
    for number in itertools.count(first):
        name = name_of(number)
        if not name:
            return choices
        choices[ffi.string(name).decode()] = number


PRECISIONS = _choices(lib.dn_precision_name, lib.DN_PRECISION_F32, lib.DN_PRECISION_DEFAULT)
PRODUCTS = _choices(lib.dn_products_name, lib.DN_PRODUCTS_TF32, lib.DN_PRODUCTS_F32)

MASK_FORMS = {
    "probabilities": lib.DN_MASKS_PROBABILITIES,
    "rle": lib.DN_MASKS_RLE,
    "device": lib.DN_MASKS_ON_DEVICE,
}


def predict_options(conf: float, iou: float, max_det: int, stretch: bool, masks: str) -> object:
    """dn_predict_options of what users say."""
    if masks not in MASK_FORMS:
        raise ValueError(f"masks must be one of {', '.join(MASK_FORMS)}, not {masks!r}")
    if not (0 <= conf <= 1 and 0 <= iou <= 1):
        raise ValueError(f"conf and iou must be 0 to 1, not {conf} and {iou}")
    if max_det < 0:
        raise ValueError(f"max_det must be 0 (all) or more, not {max_det}")
    options = ffi.new("dn_predict_options *")
    options.threshold = max(conf, 1e-30)  # 0 would mean the library's default
    options.nms = max(iou, 1e-30)
    options.fit = lib.DN_FIT_STRETCH if stretch else lib.DN_FIT_LETTERBOX
    options.max_objects = max_det
    options.masks = MASK_FORMS[masks]
    return options


def join_weights(weights: str | os.PathLike | Sequence[str | os.PathLike]) -> bytes:
    """A file or a list of files as the library takes them."""
    paths = [weights] if isinstance(weights, str | os.PathLike) else list(weights)
    if not paths:
        raise ValueError("weights: the list of files is empty")
    if len(paths) > 1 and any("," in os.fsdecode(path) for path in paths):
        raise ValueError("weights: a comma separates files, so no name in a list may hold one")
    return b",".join(encode_path(path) for path in paths)
