"""What each setting of the mask branch is worth: short trainings on the tuning split, a seed each.

    python weights/ablate.py DATASETS YOLOV4_TINY_WEIGHTS OUT [--epochs 5] [--batch 8] [--rois 16]
        [--only NAME ...]

trains every variant for the same number of epochs on what make_training_set.py --holdout wrote to
OUT, measures it on the held-out fifth of coco125's train part (by class) and on animals' valid part
(without classes: its names are not COCO's), and writes OUT/ablation.md. What a variant has already,
its weights or its results, is not made again, and an interrupted training goes on. At the end all
variants predict the tuning split's photos in turn; the last column is the median time of a photo.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "python"))

from yolomask import Network  # noqa: E402
from yolomask.coco import evaluate  # noqa: E402

BASE = ROOT / "cfg/yolomask-v4-tiny.cfg"
BRANCH = "# 38: laterals"  # where the branch begins in BASE
# name: {key: value} for the whole cfg; "width" is the number of channels of the branch.
VARIANTS = {
    "base": {},
    "pool=max": {"pool": "max"},
    "expand=0": {"expand": "0"},
    "soft_targets=0": {"soft_targets": "0"},
    "levels=assign": {"levels": "assign"},
    "strides 8 to 32": {"roialign_layers": "-5,-3,-1"},
    "width 64": {"width": "64"},
    "loss=bce+dice": {"loss": "bce+dice"},
    "7 x 7 pooled, masks 14 x 14": {"roi_size": "7"},
    "28 x 28 pooled, masks 56 x 56": {"roi_size": "28"},
}


def make_cfg(changes, iterations, batch, rois):
    text = BASE.read_text(encoding="utf-8")
    at = text.index(BRANCH)
    detector, branch = text[:at], text[at:]
    for key, value in changes.items():
        if key == "width":
            branch, count = re.subn(r"^filters=96$", f"filters={value}", branch, flags=re.M)
        elif key == "roi_size":
            branch, count = re.subn(r"^size=14$", f"size={value}", branch, flags=re.M)
        elif key == "roialign_layers":
            branch, count = re.subn(r"^layers=-7,-5,-3,-1$", f"layers={value}", branch, flags=re.M)
        else:
            branch, count = re.subn(rf"^{key}=.*$", f"{key}={value}", branch, flags=re.M)
        if count == 0:
            raise SystemExit(f"{BASE}: no line to change for {key}={value}")
    for key, value in (("mask_max_batches", iterations), ("mask_batch", batch)):
        detector, count = re.subn(rf"^{key}=.*$", f"{key}={value}", detector, flags=re.M)
        assert count == 1
    branch, count = re.subn(r"^train_rois=.*$", f"train_rois={rois}", branch, flags=re.M)
    assert count == 1
    return detector + branch


def train(folder, cfg, detector, data):
    subprocess.run(
        [ROOT / "darknet", "segmenter", "train", data, cfg, detector]
        + ["-seed", "1", "-backup", folder, "-resume"],
        check=True,
        stdout=(folder / "train.log").open("w"),
    )


def measure(cfg, weights, datasets, out):
    """{"tune box": numbers, ...}: the split, and what ranks the masks."""
    animals = datasets / "animals"
    splits = {
        "tune": (out / "tune.json", datasets, False),
        "animals": (animals / "instances_valid.json", animals / "images/valid", True),
    }
    result = {}
    with Network(str(cfg), str(weights), names=str(ROOT / "cfg/coco.names")) as network:
        for split, (annotations, images, agnostic) in splits.items():
            for score in ("box", "mask"):
                result[f"{split} {score}"] = evaluate(
                    network,
                    annotations,
                    images,
                    score=score,
                    class_agnostic=agnostic,
                    verbose=False,
                )
    return result


def median_times(variants, datasets, out):
    """{name: ms} from file to masks of a photo, median over all; the variants take turns."""
    photos = [
        datasets / image["file_name"]
        for image in json.loads((out / "tune.json").read_text())["images"]
    ]
    times = {name: [] for name in variants}
    networks = {name: Network(str(cfg), str(weights)) for name, (cfg, weights) in variants.items()}
    for photo in photos:
        for name, network in networks.items():
            start = time.perf_counter()
            network.predict(str(photo), conf=0.05).masks.rle  # noqa: B018
            times[name].append(1e3 * (time.perf_counter() - start))
    for network in networks.values():
        network.close()
    return {name: statistics.median(values) for name, values in times.items()}


def row(name, result, milliseconds):
    cells = [name]
    for split in ("tune", "animals"):
        by_box, by_mask = result[f"{split} box"], result[f"{split} mask"]
        for numbers, key in (
            (by_box["bbox"], "AP"),
            (by_box["segm"], "AP"),
            (by_mask["segm"], "AP"),
            (by_mask["segm"], "AP50"),
        ):
            cells.append(f"{100 * numbers[key]:.1f}")
    cells.append(f"{milliseconds:.0f}")
    return "| " + " | ".join(cells) + " |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("datasets", type=Path)
    parser.add_argument("detector", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", type=float, default=5)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rois", type=int, default=16, help="boxes of an image in training")
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    arguments = parser.parse_args()
    out, datasets = arguments.out.resolve(), arguments.datasets.resolve()
    images = len(json.loads((out / "train.json").read_text())["images"])
    data = out / "tune.data"
    data.write_text(
        f"classes=80\ntrain={out}/train.json\ntrain_images={datasets}\n"
        f"names={ROOT}/cfg/coco.names\n"
    )
    results, variants = {}, {}
    for number, name in enumerate(VARIANTS):
        folder = out / f"variant{number}"
        folder.mkdir(parents=True, exist_ok=True)
        stored = folder / "result.json"
        if name in arguments.only and not stored.exists():
            cfg = folder / "net.cfg"
            weights = folder / "net_final.weights"
            if not weights.exists():
                iterations = int(arguments.epochs * images) // arguments.batch
                cfg.write_text(
                    make_cfg(VARIANTS[name], iterations, arguments.batch, arguments.rois)
                )
                train(folder, cfg, arguments.detector.resolve(), data)
            stored.write_text(json.dumps(measure(cfg, weights, datasets, out), indent=1))
        if stored.exists():
            results[name] = json.loads(stored.read_text())
            variants[name] = (folder / "net.cfg", folder / "net_final.weights")
    columns = ["box AP", "mask AP", "mask AP by mask score", "mask AP50 by mask score"]
    titles = ["variant", *columns, *(f"animals: {column}" for column in columns), "ms a photo"]
    times = median_times(variants, datasets, out)
    head = "| " + " | ".join(titles) + " |\n|" + "---|" * len(titles)
    lines = [head] + [row(name, result, times[name]) for name, result in results.items()]
    (out / "ablation.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
