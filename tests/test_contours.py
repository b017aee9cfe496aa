"""Outlines of masks: counts and nesting as OpenCV's, and drawn again the same mask."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco

from mask_support import Contours, Rle, coco125
from yolomask._native import lib


def random_blobs(rng: np.random.Generator) -> np.ndarray:
    """(h, w): noise, or blobs with holes and islands in them."""
    h, w = (int(v) for v in rng.integers(1, 50, 2))
    noise = rng.random((h, w))
    if rng.integers(0, 2):
        return (noise < rng.choice([0.0, 0.1, 0.5, 0.9, 1.1])).astype(np.uint8)
    return (cv2.GaussianBlur(noise, (0, 0), 1.5) > 0.5).astype(np.uint8)


def draw(rings, h: int, w: int) -> bytes:
    if not rings:
        return coco.encode(np.zeros((h, w), np.uint8, order="F"))["counts"]
    flat = [ring.astype(float).ravel().tolist() for ring in rings]
    return coco.merge(coco.frPyObjects(flat, h, w))["counts"]


def signed_area(ring: np.ndarray) -> float:
    """Positive where the ring runs clockwise on the screen."""
    x, y = ring.astype(float).T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def test_one_pixel():
    mask = np.zeros((4, 5), np.uint8)
    mask[1, 2] = 1
    contours = Contours(Rle.from_mask(mask), lib.DN_CONTOUR_RINGS)
    assert [ring.tolist() for ring in contours.rings] == [[[2, 1], [3, 1], [3, 2], [2, 2]]]
    assert contours.parents == [-1]


def test_empty_mask_has_no_ring():
    for mode in (lib.DN_CONTOUR_RINGS, lib.DN_CONTOUR_PARTS, lib.DN_CONTOUR_SINGLE):
        assert Contours(Rle.from_mask(np.zeros((3, 4))), mode).rings == []


def test_rings_and_nesting_equal_opencv():
    rng = np.random.default_rng(1)
    holes = 0
    for _ in range(400):
        mask = random_blobs(rng)
        found, tree = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        parents = [] if tree is None else tree[0][:, 3].tolist()
        ours = Contours(Rle.from_mask(mask), lib.DN_CONTOUR_RINGS)
        assert len(ours.rings) == len(parents)

        # OpenCV's points are pixel centres: an outer ring's box ends at its last pixel.
        def boxes(rings, rings_parents, children):
            return sorted(
                (*ring.min(0).tolist(), *ring.max(0).tolist(), children.count(i))
                for i, ring in enumerate(rings)
                if rings_parents[i] < 0
            )

        centres = [ring.reshape(-1, 2) for ring in found]
        pixels = [np.vstack([ring.min(0), ring.max(0) - 1]) for ring in ours.rings]
        assert boxes(pixels, ours.parents, ours.parents) == boxes(centres, parents, parents)
        for ring, parent in zip(ours.rings, ours.parents, strict=True):
            assert (signed_area(ring) > 0) == (parent < 0)
            holes += parent >= 0
            sides = np.abs(ring - np.roll(ring, -1, 0))
            assert np.all((sides == 0).sum(1) == 1)  # along pixel edges, no idle corner
            turns = np.sign(sides[:, 0]) != np.sign(np.roll(sides[:, 0], -1))
            assert turns.all()
        assert sum(signed_area(ring) for ring in ours.rings) == mask.sum()
    assert holes > 100


@pytest.mark.parametrize("mode", [lib.DN_CONTOUR_PARTS, lib.DN_CONTOUR_SINGLE])
def test_drawn_again_they_give_the_mask(mode):
    rng = np.random.default_rng(2)
    for _ in range(400):
        mask = random_blobs(rng)
        rle = Rle.from_mask(mask)
        rings = Contours(rle, mode).rings
        assert draw(rings, *mask.shape) == rle.text
        parts = cv2.connectedComponents(mask, connectivity=8)[0] - 1
        assert len(rings) == (parts if mode == lib.DN_CONTOUR_PARTS else min(parts, 1))


@pytest.mark.parametrize("mode", [lib.DN_CONTOUR_PARTS, lib.DN_CONTOUR_SINGLE])
def test_simplified_outlines_stay_close(datasets, mode):
    before = after = 0
    overlaps = []
    for annotation, h, w in coco125(datasets):
        if annotation["area"] < 32**2:
            continue
        rle = Rle.from_polygons(annotation["segmentation"], h, w)
        rings = Contours(rle, mode, 1.0).rings
        before += sum(len(ring) for ring in Contours(rle, mode).rings)
        after += sum(len(ring) for ring in rings)
        again = {"size": [h, w], "counts": draw(rings, h, w)}
        overlaps.append(coco.iou([again], [rle.coco], [0])[0, 0])
    assert after < before / 3
    assert np.mean(overlaps) > 0.96
    assert np.min(overlaps) > 0.8


def test_simplifying_keeps_within_the_tolerance():
    """Every corner that went lies within the tolerance of a side that stays."""
    rng = np.random.default_rng(3)
    for _ in range(60):
        rle = Rle.from_mask(random_blobs(rng))
        tolerance = float(rng.choice([0.5, 1.0, 3.0]))
        exact = Contours(rle, lib.DN_CONTOUR_RINGS).rings
        simple = Contours(rle, lib.DN_CONTOUR_RINGS, tolerance).rings
        for full, few in zip(exact, simple, strict=True):
            assert 3 <= len(few) <= len(full)
            a, b = few.astype(float), np.roll(few, -1, 0).astype(float)
            along = np.einsum("pse,se->ps", full[:, None] - a, b - a)
            share = np.clip(along / np.maximum(((b - a) ** 2).sum(1), 1e-9), 0, 1)
            nearest = a + share[..., None] * (b - a)
            distance = np.linalg.norm(full[:, None] - nearest, axis=2).min(1)
            assert distance.max() <= tolerance + 1e-9


def test_noise_takes_no_quadratic_time():
    noise = (np.random.default_rng(4).random((600, 600)) < 0.5).astype(np.uint8)
    rle = Rle.from_mask(noise)
    assert draw(Contours(rle, lib.DN_CONTOUR_SINGLE).rings, 600, 600) == rle.text


@pytest.mark.parametrize("tolerance", [-1.0, np.nan, np.inf])
def test_bad_tolerance(tolerance):
    with pytest.raises(ValueError, match="contours: tolerance .* is not a number of pixels >= 0"):
        Contours(Rle.from_mask(np.ones((2, 2))), lib.DN_CONTOUR_RINGS, tolerance)


def test_allocation_failures(fail_allocations):
    mask = np.ones((60, 60), np.uint8)
    mask[2:58:4, 2:58:4] = 0  # more rings and corners than the first allocations hold
    rle = Rle.from_mask(mask)
    for mode in (lib.DN_CONTOUR_RINGS, lib.DN_CONTOUR_PARTS, lib.DN_CONTOUR_SINGLE):
        fail_allocations(lambda mode=mode: Contours(rle, mode, 0.5))
