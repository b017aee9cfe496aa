"""From images to boxes and run-length masks on the host, one at a time and in a stream
(bench_gpu.py)."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

from gpu_measure import GRAPHED, HALF, Step, failed, find_weights, measure, open_network, report
from gpu_scene import look, set_scene
from steps import ROOT, check, ffi, lib

PHOTO = ROOT / "data/astronaut.jpg"
SOURCES = "image", "file", "file by nvJPEG"


def read_photo():
    image = ffi.gc(ffi.new("dn_image *"), lib.dn_image_free)
    check(lib.dn_image_load(str(PHOTO).encode(), image))
    return image


def encode(result) -> None:
    """Run-length masks of a result, as COCO's strings, where it does not have them."""
    if result.masks == ffi.NULL or result.rle != ffi.NULL:
        return
    found = [one.mask_box for one in result.instances[0 : result.instance_count] if one.mask]
    boxes, text, length = ffi.new("dn_box[]", found), ffi.new("char **"), ffi.new("size_t *")
    check(
        lib.dn_masks_encode(
            text, length, result.masks, result.mask_size, boxes, len(found), result.height,
            result.width, 0.5,
        )
    )  # fmt: skip
    lib.dn_buffer_free(text[0])


def segmenter(cfg: str, batch: int, options, who: str):
    """A network that finds objects in the photo: (network, dn_predict_options)."""
    weights = find_weights(options) if cfg == "yolomask-v4-tiny" else ""
    network = open_network(cfg, options, who, batch, weights)
    asked = ffi.new("dn_predict_options *", {"threshold": 0.25})
    if not weights:
        set_scene(network, read_photo(), asked)
    asked.masks = lib.DN_MASKS_RLE
    print(f"{cfg}: {who}: {look(network, read_photo(), asked)[0]} an image", flush=True)
    return network, asked


def photo(cfg: str, batch: int, options, who: str) -> Step:
    """From the decoded photo on the host to boxes and run-length masks on the host."""
    (network, asked), image = segmenter(cfg, batch, options, who), read_photo()
    images, results = ffi.new("dn_image[]", [image[0]] * batch), ffi.new("dn_result *[]", batch)

    def predict(_keep=image):
        check(lib.dn_network_predict_batch(network, images, batch, asked, results))
        for result in results:
            encode(result)
            lib.dn_result_free(result)

    for _ in range(GRAPHED):
        predict()
    return predict


def stream(network, asked, batch: int, options, source: str, masks: int) -> Callable[[], float]:
    """The seconds an image takes of many that follow each other, strings of its masks included."""
    image, asked.masks = read_photo(), masks
    given, out = ffi.new("dn_stream_options *"), ffi.new("dn_stream **")
    given.predict = asked[0]
    given.decoder = lib.DN_DECODE_DEVICE if source == SOURCES[2] else lib.DN_DECODE_CPU
    check(lib.dn_stream_create(network, given, out))
    handle = ffi.gc(out[0], lib.dn_stream_free)
    path = ffi.new("char[]", str(PHOTO).encode())
    one = {"image": image[0]} if source == SOURCES[0] else {"path": path}
    images, found = ffi.new("dn_stream_image[]", [one] * batch), ffi.new("dn_stream_result *")

    def run(count: int, _keep=(network, image, path)) -> float:
        start, submitted = time.perf_counter(), 0
        for _ in range(count):
            while submitted < count and lib.dn_stream_has_room(handle):
                check(lib.dn_stream_submit(handle, images, batch))
                submitted += batch
            check(lib.dn_stream_next(handle, found))
            encode(found.result)
            lib.dn_result_free(found.result)
            lib.dn_image_free(ffi.addressof(found, "image"))
        return (time.perf_counter() - start) / count

    run(2 * GRAPHED * batch)
    pace = run(2 * batch)
    return lambda: run(batch * max(1, round(options.seconds / 4 / pace / batch)))


def measure_images(options) -> None:
    for cfg in ("yolomask", "yolomask-v4-tiny"):
        for batch in (b for b in options.inference if b <= 8):
            makers = {
                who: lambda c=cfg, b=batch, w=who: photo(c, b, options, w) for who in ("ours", HALF)
            }
            what = f"{cfg}-{options.size}, image to boxes and RLE masks"
            measure(what, batch, makers, options.seconds)


ENCODERS = {"": lib.DN_MASKS_RLE, ", made by the host": lib.DN_MASKS_PROBABILITIES}


def measure_streams(options) -> None:
    batches = [batch for batch in options.inference if batch <= 8]
    for cfg, batch in itertools.product(("yolomask", "yolomask-v4-tiny"), batches):
        network, asked = segmenter(cfg, batch, options, HALF)
        for source, (where, masks) in itertools.product(SOURCES, ENCODERS.items()):
            what = f"{cfg}-{options.size}, stream from {source} to RLE masks{where}"
            try:
                step = stream(network, asked, batch, options, source, masks)
                report(what, HALF, batch, [batch * step() for _ in range(4)])
            except Exception as error:
                failed(what, HALF, batch, error)
