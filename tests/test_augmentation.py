"""Training samples, pixel by pixel: what augmentation does to images, boxes and masks.

The images are synthetic: every object is a region of one colour of its own, so that what a label
should say can be read off the pixels that come out. Masks are compared with an oracle that cuts the
labelled raster into cells by integration, and with the colours.
"""

from __future__ import annotations

import numpy as np
import pytest

from mask_support import Rle
from preview_support import ColouredSet, Preview, write_cfg
from test_mask_geometry import overlaps, random_box
from yolomask._native import DataError, ffi, lib


def target_oracle(mask, roi, size, affine, visible):
    """The integral of the visible part of the mask over every cell, as a product of matrices."""
    sx, sy, ox, oy = (float(np.float32(v)) for v in affine)
    x0, y0, x1, y1 = (float(np.float32(v)) for v in roi)
    steps = np.linspace(0, 1, size + 1)
    x, y = x0 + (x1 - x0) * steps, y0 + (y1 - y0) * steps
    area = abs((x[-1] - x[0]) * (y[-1] - y[0]) * sx * sy) / size**2
    x, y = np.clip(x, visible[0], visible[2]), np.clip(y, visible[1], visible[3])
    across = overlaps(np.sort(sx * x + ox), mask.shape[1])[:: 1 if sx > 0 else -1]
    down = overlaps(np.sort(sy * y + oy), mask.shape[0])[:: 1 if sy > 0 else -1]
    return down @ mask.astype(float) @ across.T / area


def random_affine(rng):
    scale = np.exp(rng.uniform(-1.5, 1.5, 2)) * rng.choice([-1, 1], 2)
    return [*np.float32(scale), *np.float32(rng.uniform(-20, 20, 2))]


def test_targets_are_cut_where_the_mask_is_not_visible():
    rng = np.random.default_rng(1)
    cut = 0
    for _ in range(300):
        h, w = (int(v) for v in rng.integers(2, 50, 2))
        mask = (rng.random((h, w)) < rng.choice([0.3, 0.9, 1])).astype(np.uint8)
        size = int(rng.choice([1, 2, 7, 14, 28]))
        affine = random_affine(rng)
        corners = (np.array(random_box(rng, h, w)).reshape(2, 2) - affine[2:]) / affine[:2]
        roi = np.sort(corners, axis=0).ravel()
        if np.any(np.float32(roi[:2]) == np.float32(roi[2:])):
            continue
        seen = np.sort(roi[:2] + rng.uniform(-0.2, 1.2, (2, 2)) * (roi[2:] - roi[:2]), axis=0)
        seen = np.float32(seen.ravel())
        rle = Rle.from_mask(mask)
        found = rle.target(roi, size, True, affine, seen)
        wanted = target_oracle(mask, roi, size, affine, seen)
        assert np.abs(found - wanted).max() < 5e-6
        cut += np.abs(found - rle.target(roi, size, True, affine)).max() > 0.01
    assert cut > 100


@pytest.mark.parametrize("seen", [(0, 0, 0, 0), (3, 4.5, 15, 30)])
def test_masks_are_sampled_at_pixel_centres(seen):
    rng = np.random.default_rng(2)
    for _ in range(200):
        h, w, height, width = (int(v) for v in rng.integers(1, 40, 4))
        mask = (rng.random((h, w)) < rng.choice([0.2, 0.7, 1])).astype(np.uint8)
        affine = random_affine(rng)
        if rng.integers(2):  # whole pixels moved or mirrored
            affine = [*rng.choice([-1.0, 1.0], 2), *rng.integers(-5, 40, 2)]
        sx, sy, ox, oy = (float(v) for v in affine)
        x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
        column, row = np.floor(sx * x + ox).astype(int), np.floor(sy * y + oy).astype(int)
        inside = ((row >= 0) & (row < h))[:, None] & ((column >= 0) & (column < w))
        wanted = inside & (mask[np.clip(row, 0, h - 1)][:, np.clip(column, 0, w - 1)] > 0)
        if seen[2] > 0:
            wanted &= ((y >= seen[1]) & (y < seen[3]))[:, None] & (x >= seen[0]) & (x < seen[2])
        found = Rle.sample(Rle.from_mask(mask), affine, height, width, seen)
        np.testing.assert_array_equal(found.mask, wanted)
        np.testing.assert_array_equal(found.runs, Rle.from_mask(wanted).runs)


def test_a_plain_sample_is_what_inference_sees(tmp_path):
    images = ColouredSet(tmp_path, 3, [(40, 70), (60, 30), (48, 64)])
    cfg = write_cfg(tmp_path, 64, 48)
    preview = Preview(cfg, images.dataset, count=3, plain=True)
    assert sorted(preview.images) == [0, 1, 2]
    for sample, image in enumerate(preview.images):
        h, w = images.masks[4 * image].shape
        box = lib.dn_letterbox_make(w, h, 64, 48, False)
        found = preview.objects(sample)
        for one in found:
            mask = images.masks[one.class_id]
            np.testing.assert_array_equal(one.in_image(), mask)
            columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
            x0, y0, x1, y1 = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
            wanted = [
                x0 * box.new_w / w + box.pad_x,
                y0 * box.new_h / h + box.pad_y,
                x1 * box.new_w / w + box.pad_x,
                y1 * box.new_h / h + box.pad_y,
            ]
            np.testing.assert_allclose(one.box, wanted, atol=1e-4)
        assert len(found) == sum(m.any() for m in images.masks[4 * image : 4 * image + 4])
        gray = preview.pixels(sample)
        outside = np.ones((48, 64), bool)
        outside[box.pad_y : box.pad_y + box.new_h, box.pad_x : box.pad_x + box.new_w] = False
        assert (gray[outside] == 0.5).all()
        assert (gray[~outside] != 0.5).all()


def test_previews_say_what_is_wrong(tmp_path):
    images = ColouredSet(tmp_path, 3, [(40, 70)])
    cfg = write_cfg(tmp_path)
    with pytest.raises(ValueError, match=r"1\.\.65536 samples from 0 on are allowed"):
        Preview(cfg, images.dataset, first=-1)
    with pytest.raises(ValueError, match=r"a preview needs a cfg and a data set"):
        Preview(cfg, ffi.NULL)
    with pytest.raises(OSError, match=r"nowhere\.cfg"):
        Preview(tmp_path / "nowhere.cfg", images.dataset)
    (tmp_path / "image_0.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"1 images .* cannot be used: .*image_0\.png"):
        Preview(cfg, images.dataset)
