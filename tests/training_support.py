"""Trainings of a tiny segmenter, through the program and the library, for tests."""

from __future__ import annotations

import csv
import os

import numpy as np

from dataset_tools import Dataset
from networks import Net
from program import BRANCH, LAYERS, NET, Segmenter
from yolomask._native import check, ffi, lib

# Two stages of a few iterations each, several input sizes, batch norm, two parts an iteration.
SCHEDULE = "mask_from=6\nmask_max_batches=6\nmask_random=1\nmask_adam=1\nmask_learning_rate=.01\n"
TWO_STAGES = NET + SCHEDULE + LAYERS + "random=1\n" + BRANCH
FINAL = ("two_final.weights", "two_final.mask.weights", "two_last.state")


class Bench(Segmenter):
    """A folder with a two-stage cfg, `two.cfg`, and ways to train it."""

    def __init__(self, path):
        super().__init__(path)
        (path / "two.cfg").write_text(TWO_STAGES)
        self.data = None

    def train(self, backup, *arguments, code=0, cfg="two.cfg", valid=False):
        call = ["segmenter", "train", cfg, "-threads", 1, "-backup", backup, *arguments]
        return self.run(*call, *([] if valid else ["-no_valid"]), code=code)

    def finals(self, backup, names=FINAL) -> list[bytes]:
        return [self.bytes(f"{backup}/{name}") for name in names]

    def rows(self, backup, base="two") -> list[dict]:
        with open(self.path / backup / base / "results.csv") as file:
            return list(csv.DictReader(file))

    def call(self, cfg="two.cfg", backup="out", cancel=None, **fields):
        """dn_train: the history of iterations, messages; `cancel`: after so many questions."""
        if not self.data:
            self.data = Dataset(self.path / "labels.json")
        history, messages, asked = [], [], []

        @ffi.callback("void(void *, const dn_train_progress *)")
        def progress(_context, p):
            stage = ffi.string(p.stage).decode()
            history.append((stage, p.iteration, p.loss, (p.width, p.height)))

        @ffi.callback("void(void *, const char *)")
        def message(_context, sentence):
            messages.append(ffi.string(sentence).decode())

        @ffi.callback("bool(void *)")
        def cancelled(_context):
            asked.append(None)
            return cancel is not None and len(asked) >= cancel

        texts = {"cfg": cfg, "backup_folder": backup, "weights": None, "state": None}
        texts |= {name: fields.pop(name) for name in list(fields) if name in texts}
        keep = {
            name: ffi.new("char[]", os.fsencode(self.path / value))
            for name, value in texts.items()
            if value
        }
        keep["device"] = ffi.new("char[]", fields.pop("device", "cpu").encode())
        callbacks = {"progress": progress, "message": message, "cancelled": cancelled}
        defaults = {"dataset": self.data.handle, "schedule": True, "seed": 1, "threads": 1}
        options = ffi.new("dn_train_options *", defaults | keep | callbacks | fields)
        check(lib.dn_train(options, ffi.NULL))
        return history, messages

    def params(self, weights: str, statistics: bool) -> dict[tuple[int, str], np.ndarray]:
        """The learned parameters of a weights file, or its rolling statistics."""
        net = Net(self.path / "two.cfg", device=b"cpu")
        report = ffi.new("dn_weights_report *")
        check(lib.dn_network_load_weights(net.handle, str(self.path / weights).encode(), report))
        return {
            (i, name): values.copy()
            for i in range(net.info.layer_count)
            for name, values in net.params(i).items()
            if (name in ("mean", "variance")) == statistics
        }


def params_of(path, seen_bytes=8) -> np.ndarray:
    """The floats of a weights file."""
    return np.frombuffer(path.read_bytes()[12 + seen_bytes :], "<f4")
