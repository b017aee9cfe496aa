#!/usr/bin/env python3
"""Box and mask AP of a network on any COCO JSON, by pycocotools and by our own evaluator.

python python/evaluate.py --cfg NET.cfg --weights DETECTOR.weights MASK.weights \\
    --json instances_val2017.json --images val2017
"""

import sys

from yolomask.commands import evaluate_main

if __name__ == "__main__":
    sys.exit(evaluate_main())
