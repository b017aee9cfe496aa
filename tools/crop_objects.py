"""Cuts the objects of a COCO JSON out of its images: photos for a classifier.

    python tools/crop_objects.py OUT IN.json IMAGES

OUT/<class>_<number>.jpg is an object's box with a tenth of its size around it; crowds and boxes
below 16 pixels are left out. A classifier's labels are then the lines of a file of class names.
"""

import argparse
import json
from pathlib import Path

import cv2

MARGIN = 0.1  # of the box's width and height, on each side
SMALLEST = 16  # pixels


def cut(picture, box):
    """The part of a picture in a box (x, y, width, height) and around it."""
    x, y, width, height = box
    left, top = max(0, round(x - MARGIN * width)), max(0, round(y - MARGIN * height))
    right, bottom = round(x + (1 + MARGIN) * width), round(y + (1 + MARGIN) * height)
    return picture[top:bottom, left:right]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("json", type=Path)
    parser.add_argument("images", type=Path)
    arguments = parser.parse_args()
    labels = json.loads(arguments.json.read_text(encoding="utf-8"))
    names = {one["id"]: one["name"] for one in labels["categories"]}
    files = {one["id"]: arguments.images / one["file_name"] for one in labels["images"]}
    arguments.out.mkdir(parents=True, exist_ok=True)
    counts = dict.fromkeys(names.values(), 0)
    path, picture = None, None
    for one in sorted(labels["annotations"], key=lambda one: (one["image_id"], one["id"])):
        if one.get("iscrowd") or min(one["bbox"][2:]) < SMALLEST:
            continue
        if files[one["image_id"]] != path:
            path = files[one["image_id"]]
            picture = cv2.imread(str(path))
            if picture is None:
                raise SystemExit(f"{path}: cannot be read")
        name = names[one["category_id"]]
        counts[name] += 1
        target = arguments.out / f"{name}_{counts[name]}.jpg"
        if not cv2.imwrite(str(target), cut(picture, one["bbox"])):
            raise SystemExit(f"{target}: cannot be written")
    print(", ".join(f"{count} {name}" for name, count in counts.items() if count))


if __name__ == "__main__":
    main()
