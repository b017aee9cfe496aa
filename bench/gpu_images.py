"""From images to boxes and run-length masks on the host, one at a time and in a stream
(bench_gpu.py)."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

from gpu_measure import GRAPHED, Step, failed, find_weights, measure, open_network, report
from steps import ROOT, check, ffi, lib, quiet_heads

PHOTO = ROOT / "data/astronaut.jpg"
CARRIED = 20  # objects of an image with random weights


def read_photo():
    image = ffi.gc(ffi.new("dn_image *"), lib.dn_image_free)
    check(lib.dn_image_load(str(PHOTO).encode(), image))
    return image


def few_scores(network, image, options) -> None:
    """Biases of random heads by which only the best boxes of the image are found, each for one
    class, and options.threshold that leaves CARRIED of them."""
    quiet_heads(network, one_class=True)
    options.threshold, options.max_objects = 1e-30, CARRIED + 1
    result = ffi.new("dn_result **")
    check(lib.dn_network_predict(network, image, options, result))
    count = result[0].instance_count
    if count > CARRIED:
        options.threshold = result[0].instances[CARRIED].score
    options.max_objects = 0
    lib.dn_result_free(result[0])


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
    network, asked = (
        open_network(cfg, options, who, batch, weights),
        ffi.new("dn_predict_options *"),
    )
    if not weights:
        few_scores(network, read_photo(), asked)
    asked.masks = lib.DN_MASKS_RLE
    return network, asked


def photo(cfg: str, batch: int, options, who: str) -> Step:
    """From the decoded photo on the host to boxes and run-length masks on the host."""
    (network, asked), image = segmenter(cfg, batch, options, who), read_photo()
    images, results = ffi.new("dn_image[]", [image[0]] * batch), ffi.new("dn_result *[]", batch)

    def predict(_keep=image):
        check(lib.dn_network_predict_batch(network, images, batch, asked, results))
        predict.objects = results[0].instance_count
        for result in results:
            encode(result)
            lib.dn_result_free(result)

    for _ in range(GRAPHED):
        predict()
    print(f"{cfg}: {who}: {predict.objects} objects an image")
    return predict


def stream(
    cfg: str, batch: int, options, who: str, decode: bool, masks: int
) -> Callable[[], float]:
    """The seconds an image takes of many that follow each other, strings of its masks included."""
    (network, asked), image = segmenter(cfg, batch, options, who), read_photo()
    asked.masks = masks
    given, out = ffi.new("dn_stream_options *"), ffi.new("dn_stream **")
    given.predict = asked[0]
    check(lib.dn_stream_create(network, given, out))
    handle = ffi.gc(out[0], lib.dn_stream_free)
    path = ffi.new("char[]", str(PHOTO).encode())
    one = {"path": path} if decode else {"image": image[0]}
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
                who: lambda c=cfg, b=batch, w=who: photo(c, b, options, w)
                for who in ("ours", "ours, fp16")
            }
            what = f"{cfg}-{options.size}, image to boxes and RLE masks"
            measure(what, batch, makers, options.seconds)


ENCODERS = {"": lib.DN_MASKS_RLE, ", made by the host": lib.DN_MASKS_PROBABILITIES}


def measure_streams(options) -> None:
    who, batches = "ours, fp16", [batch for batch in options.inference if batch <= 8]
    for cfg, batch in itertools.product(("yolomask", "yolomask-v4-tiny"), batches):
        for source, (where, masks) in itertools.product(("image", "file"), ENCODERS.items()):
            what = f"{cfg}-{options.size}, stream from {source} to RLE masks{where}"
            try:
                step = stream(cfg, batch, options, who, source == "file", masks)
                report(what, who, batch, [batch * step() for _ in range(4)])
            except Exception as error:
                failed(what, who, batch, error)
