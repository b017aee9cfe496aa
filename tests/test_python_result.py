"""yolomask.Result: boxes, masks, indexing, files and pictures, against NumPy and pycocotools."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from api_support import NAMES, make_result, noise, write_cfg
from yolomask import Network
from yolomask.drawing import class_colour
from yolomask.result import COCO_IDS

OBJECTS = [
    (1, 0.9, (10, 5, 40, 45), 0.7),
    (0, 0.8, (30, 20, 90, 60), 0.2),  # leaves the image
    (2, 0.3, (-10, -5, 6, 4), 0.25),
]


@pytest.fixture
def result():
    return make_result(OBJECTS)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What a network with initial weights finds: masks of any shape, holes and parts."""
    cfg = write_cfg(tmp_path_factory.mktemp("cfg"))
    with Network(cfg, names=NAMES, threads=1) as network:
        result = network.predict(noise(7, 120, 200), 0.05, 1.0)
    rng = np.random.default_rng(1)
    soft = rng.random((len(result), 28, 28), np.float32)
    result.masks.cells = np.stack([cv2.GaussianBlur(cells, (0, 0), 1.5) for cells in soft])
    return result


def test_boxes(result):
    corners = np.array([[10, 5, 40, 45], [30, 20, 80, 50], [0, 0, 6, 4]], np.float32)
    size = np.array([80, 50, 80, 50], np.float32)
    centres = np.array([[25, 25, 30, 40], [55, 35, 50, 30], [3, 2, 6, 4]], np.float32)
    boxes = result.boxes
    assert np.array_equal(boxes.xyxy, corners)
    assert np.array_equal(boxes.xywh, centres)
    assert np.allclose(boxes.xyxyn, corners / size)
    assert np.allclose(boxes.xywhn, centres / size)
    assert np.allclose(boxes.conf, [0.9, 0.8, 0.3])
    assert boxes.cls.int().tolist() == [1, 0, 2]
    assert boxes.id is None
    assert boxes.data.shape == (3, 6)
    assert boxes.orig_shape == (50, 80)


def test_arrays_answer_like_tensors(result):
    conf = result.boxes.conf
    assert type(conf.cpu().numpy()) is np.ndarray
    assert conf.int().dtype == np.int32
    assert conf.float().dtype == np.float32
    assert conf.tolist() == [pytest.approx(v) for v in (0.9, 0.8, 0.3)]
    assert result.boxes.cls.int().cpu().numpy()[0] == 1


def test_masks_of_whole_boxes(result):
    data = result.masks.data
    assert data.shape == (3, 50, 80)
    assert data.dtype == bool
    expected = np.zeros((3, 50, 80), bool)
    expected[0, 5:45, 10:40] = True
    expected[1, 20:50, 30:80] = True
    expected[2, 0:4, 0:6] = True
    assert np.array_equal(data, expected)
    assert result.masks.area.tolist() == [1200, 1500, 24]
    assert sorted(map(tuple, result.masks.xy[0])) == [(10, 5), (10, 45), (40, 5), (40, 45)]
    assert np.allclose(result.masks.xyn[0] * [80, 50], result.masks.xy[0])


def test_runs_and_polygons_say_the_same_as_dense_masks(found):
    data = found.masks.data
    assert len(found) > 5
    assert 0 < data.mean() < 1
    height, width = found.orig_shape
    for dense, rle, ring, area in zip(
        data, found.masks.rle, found.masks.xy, found.masks.area, strict=True
    ):
        assert rle["size"] == [height, width]
        assert np.array_equal(coco_mask.decode(rle), dense)
        assert area == dense.sum()
        if area:
            drawn = coco_mask.frPyObjects([ring.astype(float).ravel().tolist()], height, width)
            assert np.array_equal(coco_mask.decode(drawn)[..., 0], dense)
        else:
            assert ring.shape == (0, 2)


def test_crops_are_the_dense_masks(found):
    for i, dense in enumerate(found.masks.data):
        left, top, crop = found.masks.crop(i)
        canvas = np.zeros_like(dense)
        canvas[top : top + crop.shape[0], left : left + crop.shape[1]] = crop
        assert np.array_equal(canvas, dense)


def test_crop_of_a_mask_outside_the_image():
    result = make_result([(0, 0.9, (100, 10, 120, 30))])
    assert result.masks.crop(0)[2].size == 0
    assert result.masks.area.tolist() == [0]


def test_simplified_outlines_stay_close(found):
    height, width = found.orig_shape
    simple, exact = found.masks.outlines(1.0), found.masks.xy
    assert sum(map(len, simple)) < 0.7 * sum(map(len, exact))
    kernel = np.ones((5, 5), np.uint8)
    for ring, dense in zip(simple, found.masks.data.numpy().view(np.uint8), strict=True):
        if len(ring) < 3:
            continue
        drawn = coco_mask.frPyObjects([ring.astype(float).ravel().tolist()], height, width)
        drawn = coco_mask.decode(drawn)[..., 0]
        assert (drawn <= cv2.dilate(dense, kernel)).all()
        core = cv2.erode(dense, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        assert (core <= drawn).all()


def test_an_object_without_a_mask_has_an_empty_one(result):
    result.masks.cells[1] = np.nan
    assert result.masks.area.tolist() == [1200, 0, 24]
    assert not result.masks.data[1].any()
    assert len(result.masks.xy[1]) == 0


def test_300_objects_of_a_4k_image_take_less_than_a_megabyte():
    objects = [(0, 0.5, (i, i, i + 100, i + 100)) for i in range(300)]
    result = make_result(objects, (2160, 3840))
    arrays = (result.boxes.data, result.masks.cells, result.masks.mask_boxes, result.mask_scores)
    assert sum(array.nbytes for array in arrays) < 1_000_000
    assert all(array.base is None or array.base.nbytes == array.nbytes for array in arrays)


def test_indexing(result):
    assert len(result) == 3
    assert result[0].boxes.cls.tolist() == [1]
    assert result[-1].boxes.cls.tolist() == [2]
    assert result[1:].masks.area.tolist() == [1500, 24]
    sure = result[result.boxes.conf > 0.5]
    assert sure.boxes.cls.tolist() == [1, 0]
    assert sure.mask_scores.tolist() == [pytest.approx(0.7), pytest.approx(0.2)]
    assert result[[2, 0]].boxes.cls.tolist() == [2, 1]
    assert [len(one) for one in result] == [1, 1, 1]
    assert len(result[:0]) == 0
    assert result[:0].masks.data.shape == (0, 50, 80)
    with pytest.raises(IndexError, match="object 3 of 3"):
        result[3]


def test_no_objects(tmp_path):
    result = make_result([])
    assert result.summary() == []
    assert result.to_coco(1) == []
    assert result.masks.rle == []
    assert np.array_equal(result.plot(), result.orig_img)
    result.save_txt(tmp_path / "none.txt")
    assert (tmp_path / "none.txt").read_text() == ""
    assert result.save_crop(tmp_path) == []


def test_summary_and_json(result):
    rows = json.loads(result.to_json())
    assert rows == result.summary()
    assert [row["name"] for row in rows] == ["dog", "cat", "owl"]
    assert rows[0]["class"] == 1
    assert rows[0]["confidence"] == pytest.approx(0.9)
    assert rows[0]["box"] == {"x1": 10, "y1": 5, "x2": 40, "y2": 45}
    assert sorted(rows[0]["segments"]["x"]) == [10, 10, 40, 40]
    assert rows[0]["area"] == 1200
    assert "segments" not in make_result(OBJECTS, masks=False).summary()[0]


def test_to_coco(result):
    rows = result.to_coco(17, {0: 5, 1: 9})
    assert [row["category_id"] for row in rows] == [9, 5]  # no id for class 2
    assert rows[0]["bbox"] == [10, 5, 30, 40]
    assert rows[0]["image_id"] == 17
    assert rows[0]["score"] == pytest.approx(0.9)
    assert rows[0]["mask_score"] == pytest.approx(0.7)
    assert coco_mask.area(rows[1]["segmentation"]) == 1500
    assert [row["category_id"] for row in result.to_coco(17)] == [2, 1, 3]
    assert [row["category_id"] for row in result.to_coco(17, [4, 5, 6])] == [5, 4, 6]
    assert set(make_result(OBJECTS, masks=False).to_coco(1)[0]) == {
        *("image_id", "category_id", "bbox", "score")
    }
    assert (len(COCO_IDS), COCO_IDS[0], COCO_IDS[11], COCO_IDS[79]) == (80, 1, 13, 90)
    json.dumps(rows)


def test_save_txt_rows_draw_the_masks_again(result, tmp_path):
    result.save_txt(tmp_path / "a.txt", save_conf=True)
    rows = [line.split() for line in (tmp_path / "a.txt").read_text().splitlines()]
    assert [row[0] for row in rows] == ["1", "0", "2"]
    assert [float(row[-1]) for row in rows] == [pytest.approx(v) for v in (0.9, 0.8, 0.3)]
    for row, dense in zip(rows, result.masks.data, strict=True):
        ring = (np.array(row[1:-1], float).reshape(-1, 2) * [80, 50]).ravel().tolist()
        drawn = coco_mask.decode(coco_mask.frPyObjects([ring], 50, 80))[..., 0]
        assert np.array_equal(drawn, dense)
    boxes = make_result(OBJECTS, masks=False)
    boxes.save_txt(tmp_path / "b.txt")
    first = [float(v) for v in (tmp_path / "b.txt").read_text().splitlines()[0].split()]
    assert first == [1, pytest.approx(25 / 80), pytest.approx(0.5), 30 / 80, pytest.approx(0.8)]


def test_save_crop(tmp_path):
    result = make_result(OBJECTS)
    result.orig_img[:] = noise(3)
    result.names[1] = "a/b"
    paths = result.save_crop(tmp_path, "photo")
    names = [str(path.relative_to(tmp_path)) for path in paths]
    assert names == ["a_b/photo_1.png", "cat/photo_2.png", "owl/photo_3.png"]
    cut = cv2.imread(str(paths[0]), cv2.IMREAD_UNCHANGED)
    assert cut.shape == (40, 30, 4)
    assert np.array_equal(cut[..., 2::-1], result.orig_img[5:45, 10:40])
    assert (cut[..., 3] == 255).all()
    result.masks.cells[0, :, 14:] = 0  # only the left half stays
    half = cv2.imread(str(result.save_crop(tmp_path, "half")[0]), cv2.IMREAD_UNCHANGED)
    assert half.shape == (40, 15, 4)
    plain = make_result(OBJECTS, masks=False).save_crop(tmp_path, "plain")
    assert cv2.imread(str(plain[0]), cv2.IMREAD_UNCHANGED).shape == (40, 30, 3)


def test_plot_tints_masks_and_leaves_the_rest():
    shape = (300, 400)
    result = make_result([(1, 0.9, (50, 100, 250, 280))], shape)
    picture = result.plot()
    assert picture.shape == (*shape, 3)
    assert (result.orig_img == 90).all()
    colour = np.array(class_colour(1))
    inside = picture[120:260, 70:230]
    assert np.ptp(inside.reshape(-1, 3), axis=0).max() == 0
    towards = (inside[0, 0].astype(float) - 90) * (colour - 90)
    assert (towards > 0).all()
    assert (picture[100, 150] == colour).all()  # the outline
    assert (picture[:, 300:] == 90).all()
    assert (result.plot(labels=False)[:95] == 90).all()
    assert not (picture[:95] == 90).all()  # the label above the box
    assert (result.plot(masks=False, labels=False)[120:260, 70:230] == 90).all()
    bare = result.plot(masks=False, labels=False, boxes=False)
    assert np.array_equal(bare, result.orig_img)


def test_objects_of_an_only_class_have_a_colour_each():
    def tint(number):
        return 90 * 0.58 + 0.42 * np.array(class_colour(number))

    result = make_result([(0, 0.9, (10, 5, 70, 75)), (0, 0.8, (90, 20, 150, 80))], (100, 200))
    picture = result.plot(labels=False)
    assert np.allclose([picture[40, 40], picture[50, 120]], [tint(0), tint(0)], atol=1)
    result.names = {0: "nucleus"}
    picture = result.plot(labels=False)
    assert np.allclose([picture[40, 40], picture[50, 120]], [tint(0), tint(1)], atol=1)


def test_labels_that_would_hide_the_picture_are_left_out():
    def boxes(count):
        return [(0, 0.9, (20 * k + 2, 40, 20 * k + 14, 52)) for k in range(count)]

    few, many = make_result(boxes(3), (100, 400)), make_result(boxes(19), (100, 400))
    for result, hidden in ((few, False), (many, True)):
        assert np.array_equal(result.plot(), result.plot(labels=False)) == hidden
    many = make_result([*boxes(19), (1, 0.9, (0, 55, 399, 99))], (100, 400))
    difference = (many.plot() != many.plot(labels=False)).any(axis=2)
    assert difference.any(), "the large object keeps its label"
    assert not difference[:30].any()


def test_pictures_keep_their_channel_order(tmp_path):
    rgb, bgr = make_result(OBJECTS), make_result(OBJECTS, bgr=True)
    rgb.orig_img[:] = noise(3)
    bgr.orig_img[:] = noise(3)[..., ::-1]
    assert np.array_equal(rgb.plot(), bgr.plot()[..., ::-1])
    rgb.save(tmp_path / "rgb.png")
    bgr.save(tmp_path / "bgr.png")
    assert np.array_equal(cv2.imread(str(tmp_path / "rgb.png")), rgb.plot()[..., ::-1])
    assert (tmp_path / "rgb.png").read_bytes() == (tmp_path / "bgr.png").read_bytes()
    with pytest.raises(ValueError, match="cannot write this format"):
        rgb.save(tmp_path / "rgb.xyz")


def test_labels_avoid_each_other():
    from yolomask.drawing import _Painter

    painter = _Painter(np.zeros((300, 400, 3), np.uint8))
    for _ in range(4):
        painter.label(np.array([50.0, 100, 250, 280]), "dog 0.90", (255, 0, 0))
    taken = painter.taken
    for i, (x0, y0, x1, y1) in enumerate(taken):
        assert 0 <= x0 < x1 <= 400
        assert 0 <= y0 < y1 <= 300
        for a0, b0, a1, b1 in taken[:i]:
            assert x1 <= a0 or a1 <= x0 or y1 <= b0 or b1 <= y0


def test_supervision_reads_results(result):
    supervision = pytest.importorskip("supervision")
    for detections in (
        supervision.Detections.from_ultralytics(result),
        result.to_supervision(),
    ):
        assert np.array_equal(detections.xyxy, result.boxes.xyxy)
        assert np.allclose(detections.confidence, result.boxes.conf)
        assert detections.class_id.tolist() == [1, 0, 2]
        assert detections.data["class_name"].tolist() == ["dog", "cat", "owl"]
        assert np.array_equal(np.asarray(detections.mask).astype(bool), result.masks.data)
    boxes = make_result(OBJECTS, masks=False)
    assert supervision.Detections.from_ultralytics(boxes).mask is None
    assert boxes.to_supervision().mask is None
