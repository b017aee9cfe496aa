"""python/darknet.py against what scripts written for Darknet's own module expect."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

import darknet
from api_support import NAMES, noise, write_cfg
from yolomask import DataError, Network


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("darknet")
    cfg = write_cfg(folder)
    with Network(cfg) as network:
        network.save_weights(folder / "small.weights")
    (folder / "three.names").write_text("\n".join(NAMES))
    (folder / "small.data").write_text("classes=3\nnames=three.names\n")
    return str(cfg), str(folder / "small.data"), str(folder / "small.weights")


def test_the_usual_loop(files, capsys):
    """As AlexeyAB's examples do it: one image buffer, filled from resized frames."""
    network, names, colors = darknet.load_network(*files, batch_size=1)
    assert names == NAMES
    assert set(colors) == set(NAMES)
    width, height = darknet.network_width(network), darknet.network_height(network)
    assert (width, height) == (64, 64)
    image = darknet.make_image(width, height, 3)
    frame = cv2.resize(noise(1), (width, height))
    darknet.copy_image_from_bytes(image, frame.tobytes())
    detections = darknet.detect_image(network, names, image, thresh=0.1)
    darknet.free_image(image)

    expected = network.predict(frame, 0.1, 0.45, stretch=True, clip=False)[::-1]
    assert len(detections) == len(expected) > 1
    for (label, confidence, box), one in zip(detections, expected, strict=True):
        assert label == NAMES[int(one.boxes.cls[0])]
        assert isinstance(confidence, str)
        assert float(confidence) == pytest.approx(100 * float(one.boxes.conf[0]), abs=0.006)
        assert box == pytest.approx(tuple(one.boxes.xywh[0].tolist()))
    scores = [float(confidence) for _, confidence, _ in detections]
    assert scores == sorted(scores)

    drawn = darknet.draw_boxes(detections, frame.copy(), colors)
    assert not np.array_equal(drawn, frame)
    darknet.print_detections(detections, coordinates=True)
    printed = capsys.readouterr().out
    assert printed.startswith("\nObjects:\n")
    assert "left_x" in printed


def test_boxes_are_relative_to_the_image_that_is_given(files):
    network, names, _ = darknet.load_network(*files)
    small = darknet.make_image(64, 64, 3)
    large = darknet.make_image(128, 128, 3)
    frame = noise(2, 60, 60)[:50, :50].repeat(2, axis=0).repeat(2, axis=1)
    frame = cv2.resize(frame, (64, 64), interpolation=cv2.INTER_NEAREST)
    darknet.copy_image_from_bytes(small, frame.tobytes())
    twice = np.ascontiguousarray(frame.repeat(2, axis=0).repeat(2, axis=1))
    darknet.copy_image_from_bytes(large, twice.tobytes())
    in_small = darknet.detect_image(network, names, small, thresh=0.1)[-1]
    in_large = darknet.detect_image(network, names, large, thresh=0.1)[-1]
    assert in_large[2] == pytest.approx([2 * v for v in in_small[2]], abs=2)


def test_the_old_module(files, tmp_path):
    """As pjreddie's example does it: bytes for every path, names as bytes."""
    cfg, data, weights = (path.encode() for path in files)
    net, meta = darknet.load_net(cfg, weights, 0), darknet.load_meta(data)
    assert (meta.classes, meta.names) == (3, [b"cat", b"dog", b"owl"])
    cv2.imwrite(str(tmp_path / "a.png"), noise(1)[..., ::-1])
    path = str(tmp_path / "a.png").encode()
    found = darknet.detect(net, meta, path, thresh=0.1)
    expected = net.predict(noise(1), 0.1, 0.45, clip=False)
    assert [name.decode() for name, _, _ in found] == [NAMES[int(c)] for c in expected.boxes.cls]
    assert [p for _, p, _ in found] == [pytest.approx(float(p)) for p in expected.boxes.conf]
    assert found[0][2] == pytest.approx(tuple(expected.boxes.xywh[0].tolist()))
    image = darknet.load_image(path, 0, 0)
    assert (image.w, image.h, image.c) == (80, 50, 3)
    assert darknet.detect(net, meta, image, thresh=0.1) == found
    assert darknet.load_image(path, 40, 20).pixels.shape == (20, 40, 3)


def test_points_of_a_box():
    assert darknet.bbox2points((10, 20, 4, 6)) == (8, 17, 12, 23)


def test_wrong_sizes():
    with pytest.raises(DataError, match="11 bytes for an image of 2 x 2 x 3"):
        darknet.copy_image_from_bytes(darknet.make_image(2, 2, 3), b"x" * 11)
    with pytest.raises(DataError, match="channels must be 3, not 1"):
        darknet.make_image(2, 2, 1)
