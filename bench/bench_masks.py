"""The mask branch beside other engines, and masks to runs beside OpenCV with pycocotools, in turns.

    python bench/bench_masks.py [--rois 10 100] [--threads 2] [--rounds 15]
        [--peers openvino,onnxruntime,ncnn,torch]

RoIAlign pools 14 x 14 bins of 2 x 2 points from a map of 256 channels, 52 x 52; the head is that of
cfg/yolomask.cfg: four convolutions 3x3 of 256 channels, a deconvolution to 28 x 28, a map a class
of 80, 1.06 GFLOP a box. RoIAlign's time is that of our plan's step in front of the head, and a
whole run of the others. For the head peers get the values that ONNX Runtime pooled; ours is a whole
pass, pooling and a small detector included, and computes the last layer for the boxes' classes
only. Averages are compared, since other engines' maxima are of other points; ours is also timed
with the maximum. Then the branches of shipped networks, their laterals included, on given boxes.
Post-processing, one thread: 100 boxes of 28 x 28 probabilities become run-length masks of a 640 x
480 image, cut at one half.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path[:0] = [str(Path(__file__).resolve().parent)]

from peers import find, how_to_install  # noqa: E402
from peers.case import FILES, ROOT, Case, Engine, Network, Unsupported, check, ffi, lib  # noqa: E402
from peers.measure import in_turns, relative_rms  # noqa: E402
from peers.table import number, show  # noqa: E402

sys.path[:0] = [str(ROOT / "tests")]

from yolomask.cfg_text import read_cfg  # noqa: E402
from yolomask.masks import Masks  # noqa: E402
from yolomask.onnx_export import export_onnx  # noqa: E402

CHANNELS, SIDE, BINS = 256, 52, 14
# The map itself, a small head, which [roialign] wants before it, and the pooling.
POOLING = f"""[net]
width={SIDE}
height={SIDE}
channels={CHANNELS}
[empty]
[maxpool]
size=26
stride=26
padding=0
[convolutional]
filters=85
activation=linear
[yolo]
mask=0
anchors=10,10
classes=80
[route]
layers=0
[roialign]
layers=-1
size={BINS}
samples=2
expand=0
pool=POOL
max_rois=ROIS
"""
GIGAFLOPS = 2e-9 * (4 * 256 * 256 * 9 * 14**2 + 256 * 256 * 4 * 14**2 + 256 * 80 * 28**2)


def head_text() -> str:
    """The sections of cfg/yolomask.cfg behind its [roialign]."""
    sections = read_cfg(ROOT / "cfg/yolomask.cfg")
    first = [s.name for s in sections].index("roialign") + 1
    texts = [
        f"[{s.name}]\n" + "".join(f"{key}={value}\n" for key, value in s.options.items())
        for s in sections[first:]
    ]
    return "".join(texts)


def boxes_of(count: int, width: int, height: int) -> np.ndarray:
    rng = np.random.default_rng(count)
    size = np.exp(rng.uniform(np.log(0.1), np.log(0.6), (count, 2))) * (width, height)
    corner = rng.uniform(0, 1, (count, 2)) * ((width, height) - size)
    return np.concatenate([corner, corner + size], axis=1).astype(np.float32)


def features() -> np.ndarray:
    return np.random.default_rng(0).random((1, CHANNELS, SIDE, SIDE), np.float32)


def open_ours(text: str, boxes: np.ndarray, threads: int, keep_all: bool = False):
    """Our engine on a cfg that pools these boxes of the features."""
    path = FILES / "masks" / "ours.cfg"
    path.write_text(text.replace("ROIS", str(len(boxes))))
    options, handle = ffi.new("dn_network_options *"), ffi.new("dn_network **")
    options.threads, options.batch, options.seed = threads, 1, 1
    options.keep_all = keep_all
    check(lib.dn_network_create(str(path).encode(), options, handle))
    network = ffi.gc(handle[0], lib.dn_network_free)
    rois = ffi.new("dn_roi[]", len(boxes))
    for roi, box in zip(rois, boxes, strict=True):
        roi.box, roi.truth, roi.score = box.tolist(), -1, 1.0
    check(lib.dn_test_set_rois(network, rois, len(boxes)))
    values = features()
    data = ffi.from_buffer("float[]", values)

    def run(_alive=(values, rois)):
        check(lib.dn_network_forward(network, data, 1, 2.0))

    return network, run


def output_of(network, index: int) -> np.ndarray:
    """Of layer `index`, counted from the end where negative."""
    info, layer = ffi.new("dn_network_info *"), ffi.new("dn_layer_info *")
    check(lib.dn_network_get_info(network, info))
    check(lib.dn_network_get_layer(network, index % info.layer_count, layer))
    shape = (layer.live, layer.c, layer.h, layer.w)
    return np.frombuffer(ffi.buffer(layer.out, 4 * int(np.prod(shape))), "f4").reshape(shape).copy()


def plain_output(text: str, boxes: np.ndarray, threads: int, layer: int) -> np.ndarray:
    """Of a layer, by the layers one by one."""
    kept, pass_once = open_ours(text, boxes, threads, keep_all=True)
    pass_once()
    return output_of(kept, layer)


def plan_output(text: str, boxes: np.ndarray, threads: int) -> np.ndarray:
    """Of the last layer, by the plan."""
    network, pass_once = open_ours(text, boxes, threads)
    pass_once()
    return output_of(network, -1)


def seconds_of(network, kind: str) -> float:
    """Of the plan's steps of a kind, in the last pass."""
    step, seconds = ffi.new("dn_step_info *"), 0.0
    for i in range(lib.dn_network_step_count(network)):
        check(lib.dn_network_get_step(network, i, step))
        seconds += step.seconds * (ffi.string(step.kind).decode() == kind)
    return seconds


def our_roialign(pooling: str, boxes: np.ndarray, threads: int) -> Engine:
    """The step in front of the head."""
    network, pass_once = open_ours(pooling + head_text(), boxes, threads)

    def run() -> float:
        pass_once()
        return seconds_of(network, "roialign")

    return Engine(run, lambda: [plan_output(pooling, boxes, threads)])


def write_roialign(folder: Path, boxes: np.ndarray) -> None:
    nodes = [helper.make_node("RoiAlign", ["images", "boxes", "which"], ["pooled"],
                              coordinate_transformation_mode="half_pixel", mode="avg",
                              output_height=BINS, output_width=BINS, sampling_ratio=2)]  # fmt: skip
    constants = [
        numpy_helper.from_array(boxes, "boxes"),
        numpy_helper.from_array(np.zeros(len(boxes), np.int64), "which"),
    ]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (
            ("images", features().shape),
            ("pooled", (len(boxes), CHANNELS, BINS, BINS)),
        )
    ]
    graph = helper.make_graph(nodes, "roialign", values[:1], values[1:], constants)
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), folder / "model.onnx")
    np.save(folder / "images.npy", features())


def write_head(folder: Path, text: str, pooled: np.ndarray) -> None:
    """The head by our exporter, with the number of boxes fixed."""
    cfg = folder / "head.cfg"
    cfg.write_text(text.replace("ROIS", str(len(pooled))))
    network, _ = open_ours(text, boxes_of(len(pooled), SIDE, SIDE), 1)
    check(lib.dn_network_save_weights(network, str(folder / "head.weights").encode(), 0, -1))
    with Network(cfg, folder / "head.weights", device="cpu") as opened:
        model = onnx.load(export_onnx(opened, folder / "head.onnx")[1])
    for value in [*model.graph.input, *model.graph.output]:
        value.type.tensor_type.shape.dim[0].dim_value = len(pooled)
    onnx.save(model, folder / "model.onnx")
    np.save(folder / "images.npy", pooled)


def engines_of(mine: dict[str, Engine], case: Case, peers: list[str]) -> dict[str, Engine]:
    found = dict(mine)
    for key in peers:
        try:
            module = find(key)
            found[f"{module.NAME} {module.version()}"] = module.load(case)
        except ImportError as error:
            print(f"{key} is left out: {error}. {how_to_install(key)}", file=sys.stderr)
        except Unsupported as error:
            print(f"{key} is left out: it {error}", file=sys.stderr)
    return found


def time_all(
    title: str,
    engines: dict[str, Engine],
    wanted: list[np.ndarray],
    rounds: int,
    threads: int,
    work: float,
) -> None:
    """One table; the first engine is ours. `wanted` is our plain path's, which all agree with, or
    it is said."""
    first = next(iter(engines))
    errors = {
        name: relative_rms(engine.outputs(), wanted)
        for name, engine in engines.items()
        if "(max)" not in name
    }
    runs = {name: engine.run for name, engine in engines.items()}
    times, peaks = in_turns(runs, rounds, threads)
    print(f"\n{title}, {threads} threads; peak {max(peaks):.0f} GFLOP/s "
          f"(median {statistics.median(peaks):.0f})\n")  # fmt: skip
    rows = []
    for name, found in sorted(times.items(), key=lambda item: statistics.median(item[1])):
        middle = statistics.median(found)
        ratio = statistics.median(a / b for a, b in zip(times[first], found, strict=True))
        error = f"{errors[name]:.1e}" + " > 1e-4" * (errors[name] > 1e-4) if name in errors else "-"
        speed = [number(1e3 * work / middle)] if work else []
        label = f"**{name}**" if name.startswith("YOLO-Mask") else name
        rows.append([label, number(middle), number(min(found)), number(ratio), *speed, error])
    header = ["engine", "ms", "min", "ours / peer", *(["GFLOP/s"] if work else []), "rel. RMS"]
    show(header, rows)


def bench_branch(count: int, arguments) -> None:
    boxes, folder = boxes_of(count, SIDE, SIDE), FILES / "masks"
    case = Case("masks", "", "", str(folder), 1, SIDE, SIDE, arguments.threads)
    average, maximum = (POOLING.replace("POOL", pool) for pool in ("average", "max"))
    threads = arguments.threads
    mine = {"YOLO-Mask": our_roialign(average, boxes, threads),
            "YOLO-Mask (max)": our_roialign(maximum, boxes, threads)}  # fmt: skip
    write_roialign(folder, boxes)
    case.outputs = ["pooled"]
    engines = engines_of(mine, case, arguments.peers)
    pooled = next((e.outputs()[0] for n, e in engines.items() if "ONNX" in n), None)
    if pooled is None:
        pooled = mine["YOLO-Mask"].outputs()[0]
    wanted = [plain_output(average, boxes, threads, -1)]
    time_all(f"RoIAlign, {count} boxes", engines, wanted, arguments.rounds, threads, 0)
    del engines

    text = average + head_text()
    logits, masks = (plain_output(text, boxes, threads, layer) for layer in (-2, -1))
    error = relative_rms([plan_output(text, boxes, threads)], [masks])
    print(f"\nOur masks by the plan and by the layers one by one: rel. RMS {error:.1e}")
    mine = {"YOLO-Mask": Engine(open_ours(text, boxes, threads)[1], lambda: [logits])}
    write_head(folder, average + head_text(), np.ascontiguousarray(pooled))
    case.outputs = ["masks"]
    engines = engines_of(mine, case, arguments.peers)
    title = f"Mask head, {count} boxes, {count * GIGAFLOPS:.1f} GFLOP"
    time_all(title, engines, [logits], arguments.rounds, threads, count * GIGAFLOPS)


def bench_shipped(rounds: int, threads: int) -> None:
    rows = []
    for name in ("yolomask-v4-tiny", "yolomask-fastest"):
        for count in (5, 20, 100):
            with Network(ROOT / f"cfg/{name}.cfg", device="cpu", threads=threads) as network:
                rows.append([name, str(count), *branch_times(network, count, rounds)])
    print(f"\nMask branches of shipped networks, laterals included, {threads} threads\n")
    show(["network", "boxes", "ms", "min"], rows)


def branch_times(network: Network, count: int, rounds: int) -> list[str]:
    rois = ffi.new("dn_roi[]", count)
    for roi, box in zip(rois, boxes_of(count, network.width, network.height), strict=True):
        roi.box, roi.truth, roi.score, roi.detection = box.tolist(), -1, 1.0, -1
    check(lib.dn_test_set_rois(network._handle, rois, count))
    pixels = np.random.default_rng(1).integers(0, 256, (network.height, network.width, 3), np.uint8)
    image, options = ffi.new("dn_image *"), ffi.new("dn_predict_options *")
    image.width, image.height = network.width, network.height
    image.data = ffi.from_buffer("uint8_t[]", pixels)
    options.threshold, times = 2.0, []
    for _ in range(rounds + 1):
        out = ffi.new("dn_result **")
        check(lib.dn_network_predict(network._handle, image, options, out))
        times.append(out[0].branch_ms)
        lib.dn_result_free(out[0])
    return [number(statistics.median(times[1:])), number(min(times[1:]))]


def blobs(count: int) -> np.ndarray:
    """Smooth probabilities with an outline inside the cells."""
    rng, (y, x) = np.random.default_rng(3), np.mgrid[0:28, 0:28] / 27 - 0.5
    radius = rng.uniform(0.3, 0.45, (count, 2, 1, 1))
    wave = 1 + 0.2 * np.sin(5 * np.arctan2(y, x) + rng.uniform(0, 6, (count, 1, 1)))
    distance = np.hypot(x / radius[:, 0], y / radius[:, 1]) / wave
    return (1 / (1 + np.exp(8 * (distance - 1)))).astype(np.float32)


def our_runs(cells: np.ndarray, boxes: np.ndarray, width: int, height: int) -> list[dict]:
    return Masks(cells, boxes, (height, width)).rle


def their_runs(cells: np.ndarray, boxes: np.ndarray, width: int, height: int) -> list[dict]:
    """OpenCV's resize into the box, pycocotools' encoder."""
    import cv2
    from pycocotools import mask as coco

    found = []
    for mask, (x0, y0, x1, y1) in zip(cells, boxes, strict=True):
        left, top = round(float(x0)), round(float(y0))
        right, bottom = max(round(float(x1)), left + 1), max(round(float(y1)), top + 1)
        dense = np.zeros((height, width), np.uint8, order="F")
        part = cv2.resize(mask, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR)
        dense[top:bottom, left:right] = (part >= 0.5)[: height - top, : width - left]
        found.append(coco.encode(dense))
    return found


def bench_post(rounds: int) -> None:
    import cv2
    from pycocotools import mask as coco

    cv2.setNumThreads(1)
    cells, boxes, size = blobs(100), boxes_of(100, 640, 480), (640, 480)
    overlaps = [
        float(coco.iou([a], [b], [0])[0, 0])
        for a, b in zip(our_runs(cells, boxes, *size), their_runs(cells, boxes, *size), strict=True)
    ]
    runs = {"YOLO-Mask": our_runs, "OpenCV + pycocotools": their_runs}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run(cells, boxes, *size)
            times[name].append(1e3 * (time.perf_counter() - start))
    print(f"\n100 masks to runs, 640 x 480, one thread; masks agree to a mean IoU of "
          f"{statistics.mean(overlaps):.4f} (smallest {min(overlaps):.3f})\n")  # fmt: skip
    show(["what", "ms", "min"], [
        [name, number(statistics.median(t)), number(min(t))] for name, t in times.items()
    ])  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="Times the mask branch beside other engines.")
    parser.add_argument("--rois", type=int, nargs="*", default=[10, 100], help="(10 100)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="(all cores)")
    parser.add_argument("--rounds", type=int, default=15, help="(15)")
    parser.add_argument("--peers", default="openvino,onnxruntime,ncnn,torch")
    arguments = parser.parse_args()
    arguments.peers = arguments.peers.split(",")
    (FILES / "masks").mkdir(parents=True, exist_ok=True)
    for count in arguments.rois:
        bench_branch(count, arguments)
    bench_shipped(arguments.rounds, arguments.threads)
    bench_post(arguments.rounds)


if __name__ == "__main__":
    main()
