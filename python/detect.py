#!/usr/bin/env python3
"""Finds and outlines the objects of images.

python python/detect.py                          # the default model on the default photo
python python/detect.py photo.jpg folder '*.png' -o out --json --txt --crops
"""

import sys

from yolomask.commands import detect_main

if __name__ == "__main__":
    sys.exit(detect_main())
