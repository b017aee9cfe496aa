"""What training detector and branch together is worth: joint against two steps, on animals.

    python weights/ablate_stages.py DATASETS DETECTOR OUT [--epochs 1.5] [--only NAME ...]

begins each time with the same detector of cfg/animals.cfg (its weights end in front of the branch)
and trains for the same number of epochs: the branch on the frozen detector, which is the second of
two steps; jointly, the branch and what the cfg lets learn of the detector, layers 17 to 37; jointly
with a tenth of the rate for the detector; and, as the control of the joint ones, the detector
alone for as long, and then the branch on it, frozen, for as long. Each is measured on animals'
valid part, and OUT/stages.md says how. What has its weights or its results already is not made
again; a training that was interrupted goes on.
"""

import argparse
import json
import re
from pathlib import Path

from ablate import ROOT, train

from yolomask import Network
from yolomask.coco import evaluate

BASE = ROOT / "cfg/animals.cfg"
BATCH = 8
BRANCH = "# 38: laterals"  # where the branch begins in BASE
JOINT = {"mask_from": "-1", "max_batches": "N", "burn_in": "B", "mask_warmup": "B"}
# name: {key of [net]: value}; N is the number of iterations, B that of the burn-in;
# "detector_rate" is what the detector's convolutions multiply the rate by
VARIANTS = {
    "two steps": {"mask_from": "0", "mask_max_batches": "N", "mask_burn_in": "B"},
    "joint": JOINT,
    "detector alone, then the branch": {
        "mask_from": "N",
        "max_batches": "N",
        "burn_in": "B",
        "mask_max_batches": "N",
        "mask_burn_in": "B",
    },
    "joint, detector at a tenth of the rate": JOINT | {"detector_rate": ".1"},
}


def make_cfg(changes, iterations):
    """The cfg with a shorter training; burn-in and mask_warmup are its first fifth."""
    text = BASE.read_text(encoding="utf-8").replace("mask_from=", "mask_warmup=0\nmask_from=")
    for key, value in changes.items():
        if key == "detector_rate":
            at = text.index(BRANCH)
            section = f"[convolutional]\nlearning_rate={value}"
            text = text[:at].replace("[convolutional]", section) + text[at:]
            continue
        value = {"N": str(iterations), "B": str(iterations // 5)}.get(value, value)
        text, count = re.subn(rf"^{key}=.*$", f"{key}={value}", text, flags=re.M)
        if count != 1:
            raise SystemExit(f"{BASE}: no line to change for {key}={value}")
    return text


def measure(cfg, weights, animals):
    with Network(str(cfg), str(weights), names=str(animals / "names.txt")) as network:
        return evaluate(
            network, animals / "instances_valid.json", animals / "images/valid", verbose=False
        )


def row(name, result):
    figures = [result[kind][number] for kind in ("bbox", "segm") for number in ("AP", "AP50")]
    return f"| {name} | " + " | ".join(f"{100 * figure:.1f}" for figure in figures) + " |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("datasets", type=Path)
    parser.add_argument("detector", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", type=float, default=1.5)
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    arguments = parser.parse_args()
    out, animals = arguments.out.resolve(), arguments.datasets.resolve() / "animals"
    out.mkdir(parents=True, exist_ok=True)
    data = out / "animals.data"
    data.write_text(
        f"classes=7\ntrain={animals}/instances_train.json\ntrain_images={animals}/images/train\n"
        f"names={animals}/names.txt\n"
    )
    images = len(json.loads((animals / "instances_train.json").read_text())["images"])
    lines = ["| variant | box AP | box AP50 | mask AP | mask AP50 |\n|---|---|---|---|---|"]
    for number, (name, changes) in enumerate(VARIANTS.items()):
        folder = out / f"stages{number}"
        folder.mkdir(exist_ok=True)
        stored, cfg = folder / "result.json", folder / "net.cfg"
        if name in arguments.only and not stored.exists():
            weights = folder / "net_final.weights"
            if not weights.exists():
                cfg.write_text(make_cfg(changes, int(arguments.epochs * images) // BATCH))
                train(folder, cfg, arguments.detector.resolve(), data)
            stored.write_text(json.dumps(measure(cfg, weights, animals), indent=1))
        if stored.exists():
            lines.append(row(name, json.loads(stored.read_text())))
    (out / "stages.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
