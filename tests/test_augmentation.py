"""Training samples, pixel by pixel: what augmentation does to images, boxes and masks.

The images are synthetic: every object is a region of one colour of its own, so that what a label
should say can be read off the pixels that come out. Masks are compared with an oracle that cuts the
labelled raster into cells by integration, and with the colours.
"""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from dataset_tools import Dataset
from mask_support import Rle
from preview_support import ColouredSet, Look, Preview, write_cfg
from test_mask_geometry import overlaps, random_box
from yolomask._native import ConfigError, DataError, check, ffi, lib


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


# ---- Whole samples ---------------------------------------------------------------------------

SIZES = [(48, 64), (60, 44), (90, 130), (40, 40), (33, 71)]
DETECTOR, MASK = lib.DN_STAGE_DETECTOR, lib.DN_STAGE_MASK
FORMS = {
    "jitter": (DETECTOR, "jitter=.3", {}),
    "resize": (DETECTOR, "jitter=.2\nresize=1.5", {}),
    "stretched": (DETECTOR, "jitter=.3", {"letter_box": 0}),
    "mask stage": (MASK, "", {"mask_jitter": 0.3}),
    "large scale": (DETECTOR, "", {"scale_jitter": ".1,2"}),
    "large scale of masks": (MASK, "", {"mask_scale_jitter": ".5,2"}),
    "mosaic": (DETECTOR, "jitter=.3\nresize=1.5", {"mosaic": 1}),
    "mosaic of masks": (MASK, "", {"mask_mosaic": 1, "mask_jitter": 0.3}),
    "mixup": (DETECTOR, "jitter=.2", {"mixup": 1}),
    "copy-paste": (MASK, "", {"mask_copy_paste": 1, "mask_jitter": 0.3}),
    "all": (DETECTOR, "jitter=.2", {"mosaic": 1, "copy_paste": 0.7, "mixup": 1}),
}


def check_pixels(look: Look, one, image_mask: np.ndarray) -> None:
    """The picture has the object's colour where the mask says, and nowhere else."""
    share = look.share(one, image_mask)
    coloured = look.coloured(one.class_id) & look.area(one)
    assert coloured[share > 0.9999].all()
    assert (share[coloured] > 0.99).all()
    drawn = one.drawn(look.height, look.width)
    assert drawn[share > 0.9999].all() and not drawn[share < 0.0001].any()


def check_object(look: Look, one, image_mask: np.ndarray, random, share=0.1) -> None:
    """Its box and its mask's targets against what the raster of it says."""
    wanted = look.box_around(one, image_mask)
    assert np.abs(one.box - wanted).max() < 0.02
    x0, y0, x1, y1 = one.box
    dx, dy = 0.1 * (x1 - x0), 0.1 * (y1 - y0)
    shifted = one.box + random.uniform(-10, 10, 4) * [1, 1, 0, 0] + [-9, -9, 9, 9]
    for roi, size in ((one.box, 28), (one.box + [-dx, -dy, dx, dy], 14), (shifted, 7)):
        oracle = target_oracle(image_mask, roi, size, one.affine, one.visible)
        assert np.abs(one.target(roi, size) - oracle).max() < 2e-5
    shown, _ = look.window(one, image_mask)
    assert shown.sum() >= share * look.images.masks[one.class_id].sum() or one.crowd


def check_left_out(look: Look) -> int:
    """Objects that show but have no label must be small rests; returns how many were seen."""
    count = 0
    for k, mask in enumerate(look.images.masks):
        alike = [o for o in look.objects if look.images.owners[o.class_id] == look.images.owners[k]]
        rest = look.coloured(k)
        for one in alike:
            if one.class_id == k:
                rest &= ~look.area(one)
        if not rest.any() or not alike:
            continue
        count += 1
        scale = abs(alike[0].affine[0] * alike[0].affine[1])
        columns, rows = np.flatnonzero(rest.any(0)), np.flatnonzero(rest.any(1))
        is_thin = min(np.ptp(columns), np.ptp(rows)) <= 1
        assert is_thin or rest.sum() * scale < 0.11 * mask.sum()
    return count


@pytest.mark.parametrize("form", [f for f in FORMS if f not in ("mixup", "copy-paste", "all")])
def test_labels_say_what_the_pixels_show(tmp_path, form):
    stage, head, keys = FORMS[form]
    images = ColouredSet(tmp_path, 5, SIZES, crowds=1)
    cfg = write_cfg(tmp_path, 64, 48, head, **keys)
    random = np.random.default_rng(1)
    count = 24
    preview = Preview(cfg, images.dataset, count=count, stage=stage)
    seen = cut = mirrored = left_out = crowds = mosaics = 0
    for sample in range(count):
        look = Look(images, preview, sample)
        mosaics += any(look.area(one).sum() < 64 * 48 for one in look.objects)
        for one in look.objects:
            mask = images.masks[one.class_id]
            assert images.kinds[one.class_id] == ("crowd" if one.crowd else "mask")
            np.testing.assert_array_equal(one.in_image(), mask)
            check_pixels(look, one, mask)
            check_object(look, one, mask, random)
            seen += 1
            cut += look.window(one, mask)[0].sum() < mask.sum()
            mirrored += one.affine[0] < 0
            crowds += one.crowd
        left_out += check_left_out(look)
    assert seen > 2 * count and 0.3 * seen < mirrored < 0.7 * seen and crowds > 3
    assert cut > 0.1 * seen and (left_out > 0 or form not in ("mosaic", "large scale"))
    assert 0.3 * count < mosaics < 0.7 * count if "mosaic" in form else mosaics == 0


def check_hidden_boxes(look: Look, own: list, above: np.ndarray) -> int:
    """Boxes without masks stay unless pasted objects cover nearly all of them; the number gone."""
    found = {one.class_id for one in own}
    gone = 0
    for k, (kind, owner) in enumerate(zip(look.images.kinds, look.images.owners, strict=True)):
        if kind != "box" or owner != look.image or not own:
            continue
        mask = look.images.masks[k]
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        shown, _ = look.window(own[0], np.ones_like(mask))
        share = shown[box].mean() * (1 - above[box].mean())
        assert k in found if share > 0.15 else k not in found or share > 0.05
        gone += k not in found
    return gone


def test_pasted_objects_hide_what_is_below_them(tmp_path):
    stage, head, keys = FORMS["copy-paste"]
    images = ColouredSet(tmp_path, 7, [(60, 70), (70, 60), (50, 90)], objects=6, crowds=1, boxes=1)
    cfg = write_cfg(tmp_path, 72, 64, head, **keys)
    random = np.random.default_rng(2)
    pasted = covered = count = crowds = hidden = 0
    preview = Preview(cfg, images.dataset, count=18, stage=stage, seed=3)
    for sample in range(18):
        look = Look(images, preview, sample)
        above = np.zeros(images.pictures[look.image].shape[:2], bool)
        for one in look.objects:
            if not one.has_mask:
                continue
            mask = one.in_image()
            assert mask.shape == above.shape
            coloured = look.coloured(one.class_id) & look.area(one)
            if images.owners[one.class_id] == look.image:
                # what shows is labelled, to the pixel, and nothing else has this colour
                before = images.masks[one.class_id]
                assert not (mask > before).any()
                check_pixels(look, one, mask)
                check_object(look, one, mask, random)
                covered += (mask < before).any()
                continue
            assert images.kinds[one.class_id] == "mask"
            pasted += 1
            above |= mask > 0
            # an edge is a mixture of neighbours, one pixel of the other image wide
            assert (look.share(one, mask)[coloured] > 0.99).all()
            inner = cv2.erode(mask, np.ones((7, 7), np.uint8), borderValue=0)
            assert coloured[look.share(one, inner) > 0.9999].all()
            check_object(look, one, mask, random, share=0)
        own = [one for one in look.objects if images.owners[one.class_id] == look.image]
        for one in own:
            crowds += one.crowd
            assert not one.has_mask or not (one.in_image() & above).any()
            count += 1
        hidden += check_hidden_boxes(look, own, above)
        check_left_out(look)
    assert crowds > 3 and hidden > 0
    assert pasted > 12 and covered > 8 and count > 40


def test_a_mixup_is_the_mean_of_two_samples(tmp_path):
    images = ColouredSet(tmp_path, 8, SIZES)
    plain = write_cfg(tmp_path, 64, 48, "jitter=.2")
    alone = Preview(plain, images.dataset, count=16, stage=DETECTOR)
    cfg = write_cfg(tmp_path, 64, 48, "jitter=.2", mixup=1)
    mixed = Preview(cfg, images.dataset, count=16, stage=DETECTOR)
    random = np.random.default_rng(3)
    count = 0
    for sample in range(16):
        if np.array_equal(alone.input[sample], mixed.input[sample]):
            continue
        count += 1
        look = Look(images, mixed, sample)
        first = [one for one in look.objects if images.owners[one.class_id] == look.image]
        for one, same in zip(first, alone.objects(sample), strict=True):
            assert one.class_id == same.class_id and (one.box == same.box).all()
        look.pixels = 2 * look.pixels - alone.pixels(sample)
        others = [one for one in look.objects if images.owners[one.class_id] != look.image]
        for one in others:
            check_pixels(look, one, images.masks[one.class_id])
            check_object(look, one, images.masks[one.class_id], random)
        assert others
    assert 4 < count < 13


@pytest.mark.parametrize("bound", [0, 1])
def test_boxes_without_masks(tmp_path, bound):
    images = ColouredSet(tmp_path, 9, SIZES, crowds=1, boxes=3)
    cfg = write_cfg(tmp_path, 64, 48, "jitter=.2", mosaic=1, mosaic_bound=bound)
    preview = Preview(cfg, images.dataset, count=24, stage=DETECTOR)
    beyond = cut = 0
    for sample in range(24):
        look = Look(images, preview, sample)
        for one in look.objects:
            if one.crowd:
                assert one.has_mask
                continue
            assert not one.has_mask
            mask = images.masks[one.class_id]
            columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
            corners = np.array([[columns[0], rows[0]], [columns[-1] + 1, rows[-1] + 1]])
            whole = np.sort((corners - one.affine[2:]) / one.affine[:2], axis=0).ravel()
            tile = np.array(one.visible)
            limit = tile if bound else np.array([0, 0, 64, 48])
            wanted = np.clip(whole, limit[[0, 1, 0, 1]], limit[[2, 3, 2, 3]])
            np.testing.assert_allclose(one.box, wanted, atol=2e-3)
            shown = np.clip(whole, tile[[0, 1, 0, 1]], tile[[2, 3, 2, 3]])
            area = np.prod(shown[2:] - shown[:2]) / np.prod(whole[2:] - whole[:2])
            assert area >= 0.0999
            beyond += (np.abs(wanted - shown) > 1).any()
            cut += area < 0.95
    assert cut > 10 and (beyond == 0 if bound else beyond > 3)


def crop_of(one, size, place):
    """The crop's sides in shares of the image: what lies at the place of the whole image."""
    sx, sy, ox, oy = one.affine
    sides = np.sort([[sx * x + ox, sy * y + oy] for x, y in place], axis=0) / size
    return np.array([sides[0, 0], sides[0, 1], 1 - sides[1, 0], 1 - sides[1, 1]])


@pytest.mark.parametrize("stretch", [False, True])
@pytest.mark.parametrize(("jitter", "resize"), [(0.2, 1), (0.1, 1.5), (0, 0.5), (0, 2)])
def test_the_heads_jitter_crops_as_in_darknet(tmp_path, jitter, resize, stretch):
    images = ColouredSet(tmp_path, 10, [(48, 64), (60, 30)])
    head = f"jitter={jitter}\nresize={resize}"
    cfg = write_cfg(tmp_path, 64, 48, head, flip=0, letter_box=int(not stretch))
    preview = Preview(cfg, images.dataset, count=100, stage=DETECTOR)
    sides = []
    for sample, image in enumerate(preview.images):
        h, w = images.pictures[image].shape[:2]
        box = lib.dn_letterbox_make(w, h, 64, 48, stretch)
        low = np.array([box.pad_x, box.pad_y])
        place = [low, low + [box.new_w, box.new_h]]
        sides += [crop_of(one, (w, h), place) for one in preview.objects(sample)[:1]]
    sides = np.array(sides)
    down, up = min(resize, 1 / resize), max(resize, 1 / resize)
    least = -jitter + (1 - 1 / down) / 2
    most = jitter + ((1 - 1 / up) / 2 if resize > 1 else 0)
    assert (sides >= least - 1e-5).all() and (sides <= most + 1e-5).all()
    assert (sides.min(0) < least + 0.25 * (most - least)).all()
    assert (sides.max(0) > most - 0.25 * (most - least)).all()
    if jitter == 0:  # one number for left and top, another for right and bottom
        np.testing.assert_allclose(sides[:, 0], sides[:, 1], atol=1e-5)
        np.testing.assert_allclose(sides[:, 2], sides[:, 3], atol=1e-5)
        assert np.abs(sides[:, 0] - sides[:, 2]).max() > 0.1


def test_large_scale_jitter_zooms_and_places(tmp_path):
    images = ColouredSet(tmp_path, 11, [(48, 64)])
    cfg = write_cfg(tmp_path, 64, 48, scale_jitter=".2,2", flip=0)
    preview = Preview(cfg, images.dataset, count=100, stage=DETECTOR)
    zooms, places = [], []
    for sample in range(100):
        for one in preview.objects(sample)[:1]:
            sx, sy, ox, oy = one.affine
            assert abs(sx - sy) < 1e-5
            zooms.append(1 / sx)
            corner = np.array([-ox / sx, -oy / sy])  # of the image, in network pixels
            room = np.array([64, 48]) * (1 - zooms[-1])
            places.append(corner / room)
    assert 0.2 <= min(zooms) < 0.5 and 1.7 < max(zooms) <= 2
    places = np.array(places)
    assert (places > -1e-3).all() and (places < 1.001).all()
    assert (places.min(0) < 0.1).all() and (places.max(0) > 0.9).all()


def test_samples_depend_on_their_number_alone(tmp_path):
    images = ColouredSet(tmp_path, 12, SIZES)
    stage, head, keys = FORMS["all"]
    colours = {"hue": 0.1, "saturation": 1.5, "exposure": 1.5}
    cfg = write_cfg(tmp_path, 64, 48, head, **keys, **colours)
    together = Preview(cfg, images.dataset, count=12, stage=stage, seed=5)
    for sample in (0, 3, 7, 11):
        alone = Preview(cfg, images.dataset, first=sample, stage=stage, seed=5)
        np.testing.assert_array_equal(alone.input[0], together.input[sample])
        for one, same in zip(alone.objects(), together.objects(sample), strict=True):
            assert (one.class_id, one.affine, one.visible) == (
                same.class_id,
                same.affine,
                same.visible,
            )
            np.testing.assert_array_equal(one.box, same.box)
            np.testing.assert_array_equal(one.in_image(), same.in_image())
    other = Preview(cfg, images.dataset, count=12, stage=stage, seed=6)
    assert all((a != b).any() for a, b in zip(other.input, together.input, strict=True))
    # colours change nothing but colours
    cfg = write_cfg(tmp_path, 64, 48, head, **keys)
    plain = Preview(cfg, images.dataset, count=12, stage=stage, seed=5)
    for sample in range(12):
        assert (plain.input[sample] != together.input[sample]).any()
        for one, same in zip(plain.objects(sample), together.objects(sample), strict=True):
            assert (one.class_id, one.affine) == (same.class_id, same.affine)


def test_unusable_images_give_their_place_to_the_next(tmp_path):
    images = ColouredSet(tmp_path, 13, SIZES)
    (tmp_path / "image_1.png").write_bytes(b"no image")
    stage, head, keys = FORMS["mosaic"]
    cfg = write_cfg(tmp_path, 64, 48, head, **keys)
    preview = Preview(cfg, images.dataset, count=20, stage=stage)
    assert set(preview.images) == {0, 2, 3, 4}
    owners = {images.owners[one.class_id] for s in range(20) for one in preview.objects(s)}
    assert owners == {0, 2, 3, 4}


@pytest.mark.parametrize("value", [".5", "2,1", ".1,.2,.3"])
def test_large_scale_jitter_needs_two_numbers(tmp_path, value):
    images = ColouredSet(tmp_path, 14, SIZES[:1])
    cfg = write_cfg(tmp_path, scale_jitter=value)
    with pytest.raises(ConfigError, match=r"net\.cfg:1: \[net\] scale_jitter needs two numbers"):
        Preview(cfg, images.dataset, stage=DETECTOR)
    Preview(cfg, images.dataset, stage=MASK)


def test_the_loaders_threads_change_nothing(tmp_path):
    images = ColouredSet(tmp_path, 15, SIZES)
    stage, head, keys = FORMS["all"]
    cfg = write_cfg(tmp_path, 64, 48, head, **keys, hue=0.1, max_batches=3, subdivisions=2)
    cfg.write_text(cfg.read_text().replace("classes=2", "classes=20").replace("=14", "=50"))
    for workers in (1, 3):
        options = {"dataset": images.dataset, "stage": stage, "workers": workers, "threads": 1}
        options["cfg"] = keep = ffi.new("char[]", str(cfg).encode())
        options["backup_folder"] = folder = ffi.new("char[]", f"{tmp_path}/{workers}".encode())
        check(lib.dn_train(ffi.new("dn_train_options *", options), ffi.NULL))
        assert keep and folder
    for name in ("net_final.weights", "net_last.state"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "3" / name).read_bytes()


def test_out_of_memory(tmp_path):
    images = ColouredSet(tmp_path, 16, SIZES)
    cfg = write_cfg(tmp_path, 32, 32, mosaic=1, mixup=1, copy_paste=1)
    failures = 0
    for n in range(0, 200, 3):  # the loader works ahead: the last ones hit what nobody waits for
        lib.dn_test_fail_allocation(n)
        try:
            Preview(cfg, images.dataset, count=2, stage=DETECTOR)
        except MemoryError:
            failures += 1
        finally:
            lib.dn_test_fail_allocation(-1)
    assert failures > 40


def smooth_set(folder, name, height, width):
    """One photo-like image with a coloured square, as JPEG and, decoded, as PNG."""
    folder.mkdir()
    y, x = np.mgrid[:height, :width] / 97
    waves = [128 + 60 * np.sin(f * x + g * y) for f, g in ((1, 0.3), (0.4, 1.2), (1.5, 1.1))]
    cv2.imwrite(
        str(folder / "a.jpg"), np.uint8(np.stack(waves, -1)), [cv2.IMWRITE_JPEG_QUALITY, 98]
    )
    cv2.imwrite(str(folder / "a.png"), cv2.imread(str(folder / "a.jpg")))
    square = [[100, 80, 300, 80, 300, 200, 100, 200]]
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [100, 80, 200, 120]}
    annotation |= {"segmentation": square, "area": 24000, "iscrowd": 0}
    image = {"id": 1, "file_name": name, "width": width, "height": height}
    categories = [{"id": 1, "name": "square"}]
    labels = {"images": [image], "annotations": [annotation], "categories": categories}
    (folder / "labels.json").write_text(json.dumps(labels))
    return Dataset(folder / "labels.json", strict=True).handle


@pytest.mark.parametrize("size", [(480, 640), (968, 648), (482, 642), (481, 641)])
def test_large_jpegs_are_decoded_small_in_the_same_place(tmp_path, size):
    """Shrinking by 8, 8, 2, and not at all: the pixels of all samples agree with the PNG's."""
    jpeg = smooth_set(tmp_path / "jpeg", "a.jpg", *size)
    png = smooth_set(tmp_path / "png", "a.png", *size)
    cfg = write_cfg(tmp_path, 64, 48, mask_jitter=0.3)
    ours = Preview(cfg, jpeg, count=10, plain=False)
    whole = Preview(cfg, png, count=10, plain=False)
    differences = np.abs(ours.input - whole.input)
    for sample in range(10):
        (one,), (same,) = ours.objects(sample), whole.objects(sample)
        assert one.affine == same.affine and (one.box == same.box).all()
    if size[0] % 2:
        assert differences.max() == 0
        return
    assert 0 < differences.max() < 0.02 and differences.mean() < 0.002
    for axis in (2, 3):  # the shift that explains the differences best, in network pixels
        slope = np.gradient(whole.input, axis=axis)
        slope[np.abs(slope) > 0.04] = 0  # the border of the image
        shift = ((ours.input - whole.input) * slope).sum() / (slope**2).sum()
        assert abs(shift) < 0.01


def test_damage_that_shows_late_is_skipped_too(tmp_path):
    images = ColouredSet(tmp_path, 17, SIZES[:3])
    path = tmp_path / "image_1.png"
    path.write_bytes(path.read_bytes()[:120])  # the size can be read, the picture cannot
    preview = Preview(write_cfg(tmp_path, mask_mosaic=1), images.dataset, count=12)
    assert set(preview.images) == {0, 2}
