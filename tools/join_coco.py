"""Joins COCO JSON files of one set of categories, or takes images out of one.

    python tools/join_coco.py OUT.json IN.json[:FOLDER] ... [--without PATTERN]

FOLDER goes in front of a file's image names; images whose names match the regular expression
PATTERN are left out. Ids of images and annotations are numbered anew.
"""

import argparse
import json
import re
from pathlib import Path


def read(argument):
    path, _, folder = argument.partition(":")
    return json.loads(Path(path).read_text(encoding="utf-8")), folder


def add(joined, data, folder, without):
    """Puts the images of `data`, and what is labelled in them, behind what is there."""
    if joined.setdefault("categories", data["categories"]) != data["categories"]:
        raise SystemExit("the files have different categories")
    ids = {}
    for image in data["images"]:
        if without and re.search(without, image["file_name"]):
            continue
        ids[image["id"]] = len(joined["images"]) + 1
        name = f"{folder}/{image['file_name']}" if folder else image["file_name"]
        joined["images"].append(image | {"id": ids[image["id"]], "file_name": name})
    for annotation in data["annotations"]:
        if annotation["image_id"] in ids:
            numbers = {"id": len(joined["annotations"]) + 1}
            numbers["image_id"] = ids[annotation["image_id"]]
            joined["annotations"].append(annotation | numbers)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("files", nargs="+", metavar="IN.json[:FOLDER]")
    parser.add_argument("--without", metavar="PATTERN")
    arguments = parser.parse_args()
    joined = {"images": [], "annotations": []}
    for argument in arguments.files:
        add(joined, *read(argument), arguments.without)
    arguments.out.write_text(json.dumps(joined), encoding="utf-8")
    print(f"{arguments.out}: {len(joined['images'])} images, {len(joined['annotations'])} objects")


if __name__ == "__main__":
    main()
