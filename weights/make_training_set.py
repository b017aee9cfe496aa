"""Writes the COCO JSON files that the shipped mask branch is tuned and trained on.

The branch is class-agnostic: what counts is the outline, so pictures of two data sets are joined
under COCO's 80 names. coco125's train part is small but varied and is listed several times an
epoch; `animals` gives many large, clean outlines. Nothing named valid, val or test is read.

    python weights/make_training_set.py DATASETS OUT [--repeat 4] [--holdout]

writes OUT/train.json, file names relative to DATASETS; with --holdout every fifth image of the
coco125 train part is left out and goes to OUT/tune.json, the split on which settings are chosen.
"""

import argparse
import json
from pathlib import Path

COCO = "coco125/instances_train2017.json"
ANIMALS = "animals/instances_train.json"
# Where the class is not one of COCO's, the nearest one: only the outline is learned.
NEAREST = {
    "deer": "horse",
    "otter": "dog",
    "rhesus monkey": "person",
    "tiger": "cat",
    "turtle": "bird",
}


def load(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


class Collector:
    """A COCO data set that grows image by image."""

    def __init__(self, categories):
        self.data = {"images": [], "annotations": [], "categories": categories}

    def add(self, image, folder, annotations, category_of):
        copy = dict(image, id=len(self.data["images"]) + 1)
        copy["file_name"] = f"{folder}/{image['file_name']}"
        self.data["images"].append(copy)
        for annotation in annotations:
            number = len(self.data["annotations"]) + 1
            category = category_of(annotation["category_id"])
            self.data["annotations"].append(
                dict(annotation, id=number, image_id=copy["id"], category_id=category)
            )

    def write(self, path):
        path.write_text(json.dumps(self.data), encoding="utf-8")
        images, annotations = len(self.data["images"]), len(self.data["annotations"])
        print(f"{path}: {images} images, {annotations} objects")


def by_image(data):
    groups = {image["id"]: [] for image in data["images"]}
    for annotation in data["annotations"]:
        groups[annotation["image_id"]].append(annotation)
    return groups


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("datasets", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--repeat", type=int, default=4, help="coco125's images an epoch")
    parser.add_argument("--holdout", action="store_true")
    arguments = parser.parse_args()

    coco, animals = load(arguments.datasets / COCO), load(arguments.datasets / ANIMALS)
    ids = {category["name"]: category["id"] for category in coco["categories"]}
    animal_ids = {
        category["id"]: ids[NEAREST.get(category["name"].lower(), category["name"].lower())]
        for category in animals["categories"]
    }
    train, tune = Collector(coco["categories"]), Collector(coco["categories"])
    coco_groups, animal_groups = by_image(coco), by_image(animals)
    for position, image in enumerate(coco["images"]):
        held_out = arguments.holdout and position % 5 == 0
        target, times = (tune, 1) if held_out else (train, arguments.repeat)
        for _ in range(times):
            target.add(
                image, "coco125/images/train2017", coco_groups[image["id"]], lambda number: number
            )
    for image in animals["images"]:
        train.add(image, "animals/images/train", animal_groups[image["id"]], animal_ids.__getitem__)
    arguments.out.mkdir(parents=True, exist_ok=True)
    train.write(arguments.out / "train.json")
    if arguments.holdout:
        tune.write(arguments.out / "tune.json")


if __name__ == "__main__":
    main()
