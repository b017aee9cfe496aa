"""Run-length masks and polygons against pycocotools, to the byte; bad input; no memory."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco

from mask_support import Rle, coco125, iou, ious
from yolomask._native import DataError, check, ffi, lib


def random_mask(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    """Noise of any density, blocks, full, empty: (h, w) of 0 and 1."""
    kind = rng.integers(0, 5)
    if kind == 0:
        return np.zeros((h, w), np.uint8)
    if kind == 1:
        return np.ones((h, w), np.uint8)
    if kind == 2:
        return (rng.random((h, w)) < rng.random()).astype(np.uint8)
    mask = np.zeros((h, w), np.uint8)
    for _ in range(rng.integers(1, 4)):
        y, x = rng.integers(0, h), rng.integers(0, w)
        mask[y : y + rng.integers(1, h + 1), x : x + rng.integers(1, w + 1)] ^= 1
    return mask


def random_masks(seed: int, count: int):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        h, w = (int(v) for v in rng.integers(1, 60, 2))
        yield random_mask(rng, h, w)


def encode(mask: np.ndarray) -> dict:
    return coco.encode(np.asfortranarray(mask))


def test_bytes_area_and_bounds_equal_pycocotools():
    for mask in random_masks(1, 500):
        reference = encode(mask)
        h, w = mask.shape
        for rle in (
            Rle.from_mask(mask),
            Rle.from_mask(np.ascontiguousarray(mask.T), lib.DN_COLUMN_MAJOR),
            Rle.from_string(reference["counts"], h, w),
        ):
            assert rle.text == reference["counts"]
            assert rle.area == coco.area(reference)
            assert rle.bounds == coco.toBbox(reference).tolist()
            assert np.array_equal(rle.mask, mask)
            assert np.array_equal(rle.mask_by_columns, mask.T)


def test_runs_of_a_worked_example():
    mask = np.array([[1, 0, 0], [1, 1, 0]])
    rle = Rle.from_mask(mask)
    assert rle.runs == [0, 2, 1, 1, 2]
    assert rle.text == coco.frPyObjects({"size": [2, 3], "counts": rle.runs}, 2, 3)["counts"]
    assert Rle.from_runs(rle.runs, 2, 3).runs == rle.runs


def test_every_byte_but_zero_is_inside():
    mask = np.array([[0, 255, 7], [1, 0, 128]], np.uint8)
    assert np.array_equal(Rle.from_mask(mask).mask, mask != 0)


def test_empty_runs_are_closed_up():
    assert Rle.from_runs([2, 0, 3, 1, 0, 2, 0], 2, 4).runs == [5, 3]
    assert Rle.from_runs([8, 0], 2, 4).runs == [8]


def test_large_numbers_in_strings():
    h, w = 50_000, 80_000
    runs = [3_999_999_990, 3, 2, 1, 1, 3]
    reference = coco.frPyObjects({"size": [h, w], "counts": runs}, h, w)
    rle = Rle.from_runs(runs, h, w)
    assert rle.text == reference["counts"]
    assert Rle.from_string(reference["counts"], h, w).runs == runs


def test_row_major_runs_with_a_rest():
    for mask in random_masks(2, 200):
        flat = mask.ravel()
        edges = np.flatnonzero(np.diff(flat)) + 1
        runs = np.diff(np.concatenate([[0], edges])).tolist()  # the last run is left out
        if flat[0] == 1:
            runs = [0, *runs]
        assert np.array_equal(Rle.from_row_runs(runs, *mask.shape).mask, mask)
    assert Rle.from_row_runs([], 2, 2).area == 0
    assert Rle.from_row_runs([0], 2, 2).area == 4


def test_label_images():
    rng = np.random.default_rng(3)
    for _ in range(20):
        h, w = (int(v) for v in rng.integers(1, 50, 2))
        labels = rng.choice(np.array([0, 1, 2, 300, 65535], np.uint16), (h, w))
        pixels = ffi.from_buffer("uint16_t[]", labels)
        for value in (0, 2, 9):
            rle = Rle(lib.dn_rle_from_labels, pixels, h, w, value)
            assert rle.text == encode((labels == value).astype(np.uint8))["counts"]
        masks, values = ffi.new("dn_rle **"), ffi.new("uint16_t **")
        count = ffi.new("int64_t *")
        check(lib.dn_rles_from_labels(masks, values, count, pixels, h, w))
        found = ffi.unpack(values[0], count[0])
        assert found == [v for v in np.unique(labels) if v > 0]
        for i, value in enumerate(found):
            text = ffi.new("char[]", lib.dn_rle_string(masks[0] + i, ffi.NULL) + 1)
            lib.dn_rle_string(masks[0] + i, text)
            assert ffi.string(text) == encode((labels == value).astype(np.uint8))["counts"]
        lib.dn_rles_free(masks[0], count[0])
        lib.dn_buffer_free(values[0])


def test_merges_equal_pycocotools():
    rng = np.random.default_rng(4)
    for _ in range(300):
        h, w = (int(v) for v in rng.integers(1, 40, 2))
        masks = [random_mask(rng, h, w) for _ in range(rng.integers(1, 6))]
        ours = [Rle.from_mask(mask) for mask in masks]
        theirs = [encode(mask) for mask in masks]
        for rule, intersect in ((lib.DN_MASK_UNION, 0), (lib.DN_MASK_INTERSECTION, 1)):
            assert Rle.merge(ours, rule).text == coco.merge(theirs, intersect)["counts"]
        rest = masks[0] & ~np.any([np.zeros((h, w), bool), *masks[1:]], axis=0)
        assert Rle.merge(ours, lib.DN_MASK_DIFFERENCE).text == encode(rest)["counts"]


def test_ious_equal_pycocotools():
    rng = np.random.default_rng(5)
    for _ in range(100):
        h, w = (int(v) for v in rng.integers(1, 40, 2))
        detections = [random_mask(rng, h, w) for _ in range(rng.integers(1, 6))]
        truths = [random_mask(rng, h, w) for _ in range(rng.integers(1, 6))]
        crowd = rng.integers(0, 2, len(truths)).tolist()
        wanted = coco.iou([encode(m) for m in detections], [encode(m) for m in truths], crowd)
        ours = (
            [Rle.from_mask(m) for m in detections],
            [Rle.from_mask(m) for m in truths],
        )
        assert np.array_equal(ious(*ours, crowd), wanted)
        for d, detection in enumerate(ours[0]):
            for t, truth in enumerate(ours[1]):
                assert iou(detection, truth, bool(crowd[t])) == wanted[d, t]
        plain = coco.iou(
            [encode(m) for m in detections],
            [encode(m) for m in truths],
            [0] * len(truths),
        )
        assert np.array_equal(ious(*ours), plain)
    assert ious([], [Rle.from_mask(np.ones((2, 2)))]).shape == (0, 1)


def raster(rings, h: int, w: int) -> bytes:
    flat = [np.asarray(ring, float).ravel().tolist() for ring in rings]
    return coco.merge(coco.frPyObjects(flat, h, w))["counts"]


def random_ring(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    """(n, 2): self-crossing more often than not; huge, tiny, collinear, on a grid, closed."""
    spread = rng.choice([0.01, 0.5, 0.5, 0.5, 5, 50])
    ring = rng.normal(size=(rng.integers(3, 14), 2)) * spread * max(h, w)
    ring += rng.random(2) * [w, h]
    kind = rng.integers(0, 8)
    if kind == 0:
        ring = np.round(ring)
    elif kind == 1:
        ring = np.round(ring * 10) / 10
    elif kind == 2:
        ring[:, 0] = ring[0, 0]
    elif kind == 3:
        ring[:, 1] = ring[0, 1]
    elif kind == 4:
        ring = ring[0] + np.outer(rng.random(len(ring)), ring[1] - ring[0])
    elif kind == 5:
        ring = np.vstack([ring, ring[:1], ring[:1]])
    elif kind == 6:
        ring = np.clip(ring, 0, [w, h])
    return ring


def test_polygons_equal_pycocotools():
    rng = np.random.default_rng(6)
    areas = []
    for _ in range(1500):
        h, w = (int(v) for v in rng.integers(1, 80, 2))
        rings = [random_ring(rng, h, w) for _ in range(rng.integers(1, 4))]
        rle = Rle.from_polygons(rings, h, w)
        assert rle.text == raster(rings, h, w), (h, w, rings)
        areas.append(rle.area / (h * w))
    assert 0.2 < np.mean(areas) < 0.8  # the test is not about nothing


def test_coco125_equals_pycocotools(datasets):
    annotations = coco125(datasets)
    assert len(annotations) > 1000
    for annotation, h, w in annotations:
        segmentation = annotation["segmentation"]
        if isinstance(segmentation, list):
            rle = Rle.from_polygons(segmentation, h, w)
            assert rle.text == raster(segmentation, h, w)
        else:
            reference = coco.frPyObjects(segmentation, h, w)
            assert Rle.from_runs(segmentation["counts"], h, w).text == reference["counts"]


def test_far_vertices_cost_no_time():
    """A walk along this outline would take 4e9 steps."""
    ring = [(-2e8, -2e8), (2e8, -2e8), (2e8, 2e8), (-2e8, 2e8)]
    assert Rle.from_polygons([ring], 30, 40).area == 30 * 40


SQUARE = [(1, 1), (3, 1), (3, 3)]
BAD = {
    "no height": (
        lambda: Rle.from_runs([0], 0, 4),
        "mask of 4 x 0 pixels .*at least 1",
    ),
    "too many pixels": (lambda: Rle.from_runs([0], 65536, 65536), "at most 4294967295"),
    "negative size": (
        lambda: Rle.from_polygons([SQUARE], -3, 4),
        "mask of 4 x -3 pixels",
    ),
    "run too long": (
        lambda: Rle.from_runs([3, 6], 2, 4),
        "run 1 of 6 .*at pixel 3 .*= 8 pixels",
    ),
    "sum wraps": (
        lambda: Rle.from_runs([7, 2**32 - 1, 2], 2, 4),
        "run 1 of 4294967295",
    ),
    "runs too short": (
        lambda: Rle.from_runs([3, 4], 2, 4),
        "2 runs cover 7 pixels.*has 8",
    ),
    "no runs": (lambda: Rle.from_runs([], 2, 4), "0 runs cover 0 pixels"),
    "row run too long": (
        lambda: Rle.from_row_runs([3, 6], 2, 4),
        "row-major RLE: run 1 of 6",
    ),
    "string: stray byte": (
        lambda: Rle.from_string(b"0 0", 2, 4),
        "byte 0x20 at character 1",
    ),
    "string: high byte": (
        lambda: Rle.from_string(b"\xf0", 2, 4),
        "byte 0xf0 at character 0",
    ),
    "string: cut": (
        lambda: Rle.from_string(b"1P", 2, 4),
        "ends inside the number at character 1",
    ),
    "string: endless": (
        lambda: Rle.from_string(b"Poooooooo", 2, 4),
        "at character 0 has more",
    ),
    "string: negative": (
        lambda: Rle.from_string(b"O", 2, 4),
        "run 0 is -1, allowed is 0..42949",
    ),
    "string: too long a run": (
        lambda: Rle.from_string(b"9", 2, 4),
        "run 0 of 9 pixels",
    ),
    "string: empty": (lambda: Rle.from_string(b"", 2, 4), "0 runs cover 0 pixels"),
    "two points": (
        lambda: Rle.from_polygons([SQUARE, SQUARE[:2]], 4, 4),
        "ring 1 has 2 points",
    ),
    "no ring": (lambda: Rle.from_polygons([], 4, 4), "no ring"),
    "not a number": (
        lambda: Rle.from_polygons([[*SQUARE, (np.nan, 1)]], 4, 4),
        "point 3 of ring 0 is .*nan, 1.*finite",
    ),
    "infinite": (
        lambda: Rle.from_polygons([[*SQUARE, (1, np.inf)]], 4, 4),
        "point 3 .*inf",
    ),
    "far away": (
        lambda: Rle.from_polygons([[*SQUARE, (1, 3e8)]], 4, 4),
        "within .*2e.08",
    ),
    "different sizes": (
        lambda: Rle.merge([Rle.from_runs([8], 2, 4), Rle.from_runs([8], 4, 2)], 0),
        "4 x 2 and 2 x 4 pixels do not go together",
    ),
    "IoU of different sizes": (
        lambda: ious([Rle.from_runs([8], 2, 4)], [Rle.from_runs([8], 4, 2)]),
        "do not go together",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    action, message = BAD[name]
    with pytest.raises(DataError, match=message):
        action()


def test_merging_nothing_is_the_callers_mistake():
    with pytest.raises(ValueError, match="no mask to merge"):
        Rle.merge([], lib.DN_MASK_UNION)


def test_failure_leaves_the_output_alone():
    rle = ffi.new("dn_rle *", {"height": 5, "width": 6, "run_count": 7})
    runs = ffi.new("uint32_t[]", [1, 2])
    assert lib.dn_rle_from_runs(rle, 2, 4, runs, 2) == lib.DN_ERROR_DATA
    assert (rle.height, rle.width, rle.run_count, rle.runs) == (5, 6, 7, ffi.NULL)
    lib.dn_rle_free(ffi.NULL)


def test_any_string_is_a_mask_or_an_error():
    rng = np.random.default_rng(7)
    fine = 0
    for _ in range(3000):
        text = bytes(rng.integers(44, 116, rng.integers(0, 12)).astype(np.uint8))
        try:
            rle = Rle.from_string(text, 3, 4)
        except DataError:
            continue
        assert sum(rle.runs) == 12
        assert all(run > 0 for run in rle.runs[1:])
        fine += 1
    masks = [encode(mask) for mask in random_masks(8, 100)]
    for reference in masks:  # one character changed
        text = bytearray(reference["counts"])
        text[rng.integers(len(text))] = rng.integers(48, 112)
        try:
            assert sum(Rle.from_string(bytes(text), *reference["size"]).runs) == np.prod(
                reference["size"]
            )
        except DataError:
            continue
        fine += 1
    assert fine > 0


def test_allocation_failures(fail_allocations):
    noise = (np.random.default_rng(9).random((40, 40)) < 0.5).astype(np.uint8)
    labels = ffi.new("uint16_t[]", [1, 2, 2, 3])
    masks, values, count = (
        ffi.new("dn_rle **"),
        ffi.new("uint16_t **"),
        ffi.new("int64_t *"),
    )

    def from_labels():
        check(lib.dn_rles_from_labels(masks, values, count, labels, 2, 2))
        lib.dn_rles_free(masks[0], count[0])
        lib.dn_buffer_free(values[0])

    rle = Rle.from_mask(noise)
    other = Rle.from_mask(1 - noise)
    text, runs = rle.text, rle.runs
    zigzag = [(x * 40 // 200, 40 * (x % 2)) for x in range(200)]
    for action in (
        lambda: Rle.from_mask(noise),
        lambda: Rle.from_string(text, 40, 40),
        lambda: Rle.from_runs(runs, 40, 40),
        lambda: Rle.from_row_runs(runs, 40, 40),
        lambda: Rle.from_polygons([zigzag, SQUARE], 40, 40),
        lambda: Rle.merge([rle, other, rle], lib.DN_MASK_UNION),
        lambda: ious([rle], [other]),
        from_labels,
    ):
        fail_allocations(action)
