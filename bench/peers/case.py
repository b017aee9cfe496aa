"""What all engines run: a network with its weights, as files, and one input.

The files lie in build/bench/<network>-<size>-b<batch> and are made anew with the cfg, the weights
or the exporter. Networks without published weights at hand get random ones that keep the size of
signals (He et al. 2015; damped in front of a shortcut, so that sums do not grow from block to
block), and heads that find few objects.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
FILES = ROOT / "build" / "bench"
sys.path[:0] = [str(ROOT / "python")]

from yolomask import Network  # noqa: E402
from yolomask._native import check, ffi, lib  # noqa: E402
from yolomask.cfg_text import read_cfg  # noqa: E402
from yolomask.images import load_image, point_at  # noqa: E402
from yolomask.models import models_folder  # noqa: E402
from yolomask.onnx_export import export_onnx  # noqa: E402


class Unsupported(Exception):
    """Why an engine does not run a case."""


@dataclass
class Engine:
    """run: one pass over the case's input; outputs: what the heads read in it, or its equal."""

    run: Callable[[], object]
    outputs: Callable[[], list[np.ndarray]]


@dataclass
class Case:
    net: str
    cfg: str
    weights: str
    folder: str
    batch: int
    width: int
    height: int
    threads: int
    precision: str = "f32"
    gigaflops: float = 0.0  # of the batch, as direct convolution
    outputs: list[str] = field(default_factory=list)  # yolo_82, ...

    @property
    def float32(self) -> bool:
        return self.precision in ("f32", "exact")

    @property
    def onnx(self) -> Path:
        return Path(self.folder, "int8.onnx" if self.precision == "int8" else "model.onnx")

    def images(self) -> np.ndarray:
        return np.load(Path(self.folder, "images.npy"))

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, path: str) -> Case:
        return cls(**json.loads(Path(path).read_text(encoding="utf-8")))


def published(net: str) -> Path | None:
    """Weights that are at hand: downloaded models, or those of Yolo-Fastest."""
    folder = Path(os.environ.get("YOLOMASK_MODELS", models_folder()))
    found = [folder / f"{net}.weights", folder / "yolo-fastest" / f"{net}.weights"]
    return next((path for path in found if path.is_file()), None)


def params(handle, index: int) -> dict[str, np.ndarray]:
    """Writable views of a layer's parameters."""
    layer, one, views = ffi.new("dn_layer_info *"), ffi.new("dn_param_info *"), {}
    check(lib.dn_network_get_layer(handle, index, layer))
    for k in range(layer.param_count):
        check(lib.dn_network_get_param(handle, index, k, one))
        data = np.frombuffer(ffi.buffer(one.data, 4 * one.count), np.float32)
        views[ffi.string(one.name).decode()] = data
    return views


def randomise(network: Network) -> None:
    """Sensible random weights in the place of the initial ones: signals keep their size."""
    rng = np.random.default_rng(0)
    sections = read_cfg(network.cfg)[1:]
    with network._using() as handle:
        for index, section in enumerate(sections):
            found = params(handle, index)
            if section.name == "shortcut":
                behind = sections[index - 1].name == "dropout"  # which has no parameters
                params(handle, index - 1 - behind)["scales"][:] *= 0.3
            elif section.name in ("yolo", "region"):
                head = params(handle, index - 1)
                head["weights"][:] *= 0.1
                head["biases"].reshape(-1, 5 + section.int("classes", 20))[:, 4] -= 7
            elif "weights" in found:
                rows = found["weights"].reshape(len(found["biases"]), -1)
                rows *= np.sqrt(2 / rows.shape[1]) / rows.std()
            for name, low, high in (("scales", 0.8, 1.2), ("biases", -0.1, 0.1),
                                    ("mean", -0.1, 0.1), ("variance", 0.8, 1.2)):  # fmt: skip
                if name in found:
                    found[name][:] = rng.uniform(low, high, len(found[name]))
        lib.dn_network_touch(handle)


def letterboxed(path: Path, width: int, height: int, count: int) -> np.ndarray:
    """The photo as the network sees it, and shifted copies of it, (count, 3, height, width)."""
    pixels, image = load_image(path), ffi.new("dn_image *")
    alive = point_at(image, pixels)
    box = ffi.new("dn_letterbox *")
    box[0] = lib.dn_letterbox_make(pixels.shape[1], pixels.shape[0], width, height, False)
    out = np.empty((3, height, width), np.float32)
    check(lib.dn_image_to_input(image, box, 1, ffi.from_buffer("float[]", out)))
    del alive
    return np.stack([np.roll(out, 16 * k, axis=2) for k in range(count)])


def make_case(net: str, size: list[int], batch: int, threads: int, precision: str) -> Case:
    """Writes the files that are missing or old."""
    cfg = next(p for p in (ROOT / f"cfg/{net}.cfg", Path(net)) if p.is_file())
    weights = published(cfg.stem)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = Network(cfg, weights, width=size[0], height=size[-1], batch=batch, device="cpu")
    with network:
        width, height = network.width, network.height
        folder = FILES / f"{cfg.stem}-{width}x{height}-b{batch}"
        model, file = folder / "model.onnx", folder / "random.weights"
        sources = [cfg, Path(__file__), *(ROOT / "python" / "yolomask").glob("onnx_*.py")]
        newest = max(p.stat().st_mtime for p in sources + [weights or cfg])
        if not model.is_file() or model.stat().st_mtime < newest:
            folder.mkdir(parents=True, exist_ok=True)
            if not weights:
                randomise(network)
                network.save_weights(file)
            np.save(folder / "images.npy", letterboxed(photo(), width, height, batch))
            export_onnx(network, model, batch)
        info = ffi.new("dn_network_info *")
        with network._using() as handle:
            check(lib.dn_network_get_info(handle, info))
    outputs = head_names(cfg)
    return Case(cfg.stem, str(cfg), str(weights or file), str(folder), batch, width, height,
                threads, precision, info.flops * batch / 1e9, outputs)  # fmt: skip


def head_names(cfg: Path) -> list[str]:
    sections = read_cfg(cfg)[1:]
    return [f"{s.name}_{i}" for i, s in enumerate(sections) if s.name in ("yolo", "region")]


def photo() -> Path:
    return sorted((ROOT / "data").glob("*.jpg"))[0]
