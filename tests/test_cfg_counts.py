"""The shipped networks have the layers, parameters and operations that were published.

Truth: the published tables (AlexeyAB's and pjreddie's model zoos, as counted from their files),
the sizes of the published .weights files, and where YOLOMASK_MODELS is set the published .cfg
files themselves. First cfg_oracle's counts, which know nothing of the engine, are held against
them; then the engine's, layer by layer, against cfg_oracle's.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import cfg_oracle
from conftest import published_file
from networks import Net
from yolomask._native import check, ffi, lib

CFG = Path(__file__).resolve().parent.parent / "cfg"

# name: layers, parameters (an int: exact; a float: millions, as published to two decimals),
#       side of the input, billions of operations (compared to the published decimals)
PUBLISHED = {
    # Table 6 of the YOLO9000 paper, by cfg_oracle; operations as Darknet's page gives them.
    "darknet19": (26, 20_856_776, 256, "7.29"),
    "darknet53": (78, 41_645_640, 256, "18.57"),
    "yolov2": (32, 50_983_561, 416, "29.5"),
    "yolov3": (107, 62_001_757, 608, "140.692"),
    "yolov3-spp": (114, 63_052_381, 608, "141.449"),
    "yolov3-tiny": (24, 8_858_734, 416, "5.565"),
    "yolov4": (162, 64_429_405, 608, "128.389"),
    "yolov4-csp": (175, 52.99, 512, "77"),
    "yolov4-tiny": (38, 6_062_814, 416, "6.908"),
    "yolov7": (143, 36.97, 640, "104.5"),
    "yolov7-tiny": (99, 6.24, 416, "5.79"),
    # Yolo-Fastest: parameters follow from the file sizes below; operations as its page gives them.
    "yolo-fastest": (126, 356_406, 320, "0.26"),
    "yolo-fastest-xl": (126, 912_686, 320, "0.72"),
    "yolo-fastest-1.1": (131, 346_062, 320, "0.25"),
    "yolo-fastest-1.1-xl": (131, 923_486, 320, "0.72"),
}

# Sizes in bytes of the published weights files and of their headers.
WEIGHTS = {
    "darknet53": (166_582_580, 20),
    "yolov2": (203_934_260, 16),
    "yolov3": (248_007_048, 20),
    "yolov3-spp": (252_209_544, 20),
    "yolov3-tiny": (35_434_956, 20),
    "yolov4": (257_717_640, 20),
    "yolov4-tiny": (24_251_276, 20),
    "yolo-fastest": (1_425_644, 20),
    "yolo-fastest-xl": (3_650_764, 20),
    "yolo-fastest-1.1": (1_384_268, 20),
    "yolo-fastest-1.1-xl": (3_693_964, 20),
}

# mask network: its detector, side of the mask, classes of the branch
MASK = {
    "yolomask": ("yolov3", 28, 80),
    "yolomask-7x7": ("yolov3", 7, 80),
    "yolomask-tiny": ("yolov3-tiny", 28, 80),
    "yolomask-spp": ("yolov3-spp", 28, 80),
    "yolomask-v4-tiny": ("yolov4-tiny", 28, 1),
    "yolomask-fastest": ("yolo-fastest-1.1", 28, 1),
}

# network of docs/results.md: its trunk, that network's layers that it begins with, side of the mask
RESULTS = {
    "boards": ("yolov4-tiny", 29, 28),
    "animals": ("yolov4-tiny", 29, 28),
    "nuclei": ("yolov4-tiny", 25, 28),
}

# classifier of docs/results.md: its classes
CLASSIFIERS = {"animal-crops": 7}

# YOLOv3 at 608, layer by layer where the shape changes, as index:channels x side.
YOLOV3_SHAPES = """
    0:32x608 1:64x304 4:64x304 5:128x152 11:128x152 12:256x76 36:256x76 37:512x38 61:512x38
    62:1024x19 74:1024x19 81:255x19 83:512x19 84:256x19 85:256x38 86:768x38 93:255x38 95:256x38
    96:128x38 97:128x76 98:384x76 103:128x76 105:255x76
"""


def count(name: str, side: int | None = None) -> cfg_oracle.Model:
    return cfg_oracle.count(CFG / f"{name}.cfg", side, side)


def same_to_published_digits(value: float, published: str) -> bool:
    decimals = len(published.partition(".")[2])
    return f"{value:.{decimals}f}" == published


def function(section: cfg_oracle.Section) -> dict[str, object]:
    """What a section means, whatever way it is written: numbers as numbers, padding as pixels."""
    meaning: dict[str, object] = {}
    for key, value in section.options.items():
        try:
            meaning[key] = [float(item) for item in value.split(",")]
        except ValueError:
            meaning[key] = value
    if section.name == "convolutional":
        pad = meaning.pop("pad", [0.0]) == [1.0]
        meaning["padding"] = section.number("size", 1) // 2 if pad else section.number("padding", 0)
        for key, default in (
            ("stride", 1.0),
            ("groups", 1.0),
            ("batch_normalize", 0.0),
        ):
            meaning.setdefault(key, [default])
    return meaning | {"": section.name}


def test_every_cfg_is_listed():
    assert {path.stem for path in CFG.glob("*.cfg")} == {
        *PUBLISHED,
        *MASK,
        *RESULTS,
        *CLASSIFIERS,
    }


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_counts(name):
    layers, parameters, side, billions = PUBLISHED[name]
    model = count(name, side)
    assert len(model.layers) == layers
    if isinstance(parameters, int):
        assert model.parameters == parameters
    else:
        assert round(model.parameters / 1e6, 2) == parameters
    assert same_to_published_digits(model.billions, billions), model.billions


def test_yolov3_at_416():
    assert same_to_published_digits(count("yolov3", 416).billions, "65.864")


def test_yolov3_shapes():
    layers = count("yolov3", 608).layers
    for row in YOLOV3_SHAPES.split():
        index, shape = row.split(":")
        channels, height, width = layers[int(index)].shape
        assert (f"{channels}x{height}", height) == (shape, width), row
    names = [layer.section.name for layer in layers]
    kinds = ("convolutional", "shortcut", "route", "upsample", "yolo")
    assert [names.count(kind) for kind in kinds] == [75, 23, 4, 2, 3]
    assert sum(layers[i].shape[1] ** 2 * 3 for i in (82, 94, 106)) == 22743


@pytest.mark.parametrize("name", WEIGHTS)
def test_published_weights_size(name):
    size, header = WEIGHTS[name]
    assert header + 4 * count(name).parameters == size


@pytest.mark.parametrize("name", MASK)
def test_mask_network_starts_with_the_stock_detector(name):
    """So that the detector's published weights load unchanged in front of a branch file."""
    detector_name, side, classes = MASK[name]
    detector, model = count(detector_name), count(name)
    first = model.first_branch_layer
    assert first == len(detector.layers)
    for mine, stock in zip(model.layers, detector.layers, strict=False):
        assert function(mine.section) == function(stock.section), mine.index
    for key in ("width", "height", "channels"):
        assert model.net.options[key] == detector.net.options[key]
    branch = [layer.section for layer in model.layers[first:]]
    assert [s.name for s in branch].count("roialign") == 1
    assert branch[-1].name == "mask" and branch[-1].number("classes", 80) == classes
    assert model.layers[-1].shape == (1, side, side)


@pytest.mark.parametrize("name", RESULTS)
def test_network_of_the_results_begins_with_the_trunk(name):
    """So that the trunk's file loads; the data file beside it has the classes of its heads."""
    trunk_name, shared, side = RESULTS[name]
    trunk, model = count(trunk_name), count(name)
    for mine, stock in zip(model.layers[:shared], trunk.layers[:shared], strict=True):
        theirs, ours = function(stock.section), function(mine.section)
        ours.pop("stopbackward", None)
        assert ours == theirs, mine.index
    assert model.layers[-1].shape == (1, side, side)
    data = (CFG / f"{name}.data").read_text(encoding="utf-8").splitlines()
    heads = [layer.section for layer in model.layers if layer.section.name == "yolo"]
    assert {f"classes={head.number('classes', 80)}" for head in heads} <= set(data)
    assert model.net.options["data"] == f"{name}.data"
    assert model.net.options["mask_from"] == model.net.options["max_batches"]


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifier_of_the_results_has_the_classes_of_its_data(name):
    model = count(name)
    assert model.layers[-1].shape[0] == CLASSIFIERS[name]
    data = (CFG / f"{name}.data").read_text(encoding="utf-8").splitlines()
    assert f"classes={CLASSIFIERS[name]}" in data


def test_the_shipped_branch_fits_three_mebibytes():
    model = count("yolomask-v4-tiny")
    bytes_on_disk = 20 + 4 * model.parameters_from(model.first_branch_layer)
    assert bytes_on_disk <= 3 * 2**20


def test_pooled_maps_of_the_shipped_branch_have_strides_4_to_32():
    model = count("yolomask-v4-tiny")
    (roialign,) = [layer for layer in model.layers if layer.section.name == "roialign"]
    maps = [model.layers[roialign.index + i] for i in roialign.section.numbers("layers")]
    assert [416 // layer.shape[1] for layer in maps] == [4, 8, 16, 32]


@pytest.mark.parametrize("name", [*MASK, *RESULTS])
def test_headers_state_the_branch(name):
    """The counts in the comment at the top of a mask cfg are the counts."""
    model = count(name)
    parameters = model.parameters_from(model.first_branch_layer)
    text = (CFG / f"{name}.cfg").read_text(encoding="utf-8")
    assert f"the branch: {parameters:,} parameters ({20 + 4 * parameters:,} bytes" in text


@pytest.mark.parametrize("name", [*PUBLISHED, *CLASSIFIERS])
def test_headers_state_the_counts(name):
    model = count(name)
    line = (
        f"# {len(model.layers)} layers, {model.parameters:,} parameters, "
        f"{model.billions:.3f} billion operations"
    )
    assert line in (CFG / f"{name}.cfg").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "name",
    [
        "yolov3-tiny",
        "yolov4-tiny",
        *(name for name in PUBLISHED if name.startswith("yolo-f")),
    ],
)
def test_same_function_as_the_published_cfg(models, name):
    theirs = cfg_oracle.count(published_file(models, f"{name}.cfg"))
    ours = count(name)
    assert len(ours.layers) == len(theirs.layers)
    for mine, other in zip(ours.layers, theirs.layers, strict=True):
        assert function(mine.section) == function(other.section), mine.index
        assert mine.shape == other.shape
    for key in (
        "width",
        "height",
        "channels",
        "momentum",
        "decay",
        "learning_rate",
        "steps",
    ):
        assert float(ours.net.options[key].split(",")[0]) == float(
            theirs.net.options[key].split(",")[0]
        )


def test_names_and_data():
    names = (CFG / "coco.names").read_text(encoding="utf-8").splitlines()
    assert len(names) == len(set(names)) == 80
    assert (names[0], names[11], names[79]) == ("person", "stop sign", "toothbrush")
    lines = (CFG / "coco.data").read_text(encoding="utf-8").splitlines()
    data = dict(line.split("=") for line in lines if line and not line.startswith("#"))
    assert data["classes"] == "80" and data["eval"] == "coco"
    assert (CFG / data["names"]).is_file()


@pytest.mark.parametrize("name", [*PUBLISHED, *MASK, *RESULTS, *CLASSIFIERS])
def test_engine_agrees(name):
    """Without a warning, so that every key of our own files means something to the engine."""
    model = count(name)
    net = Net(CFG / f"{name}.cfg", keep_all=False, strict=True)
    assert net.warnings == []
    assert net.info.layer_count == len(model.layers)
    for layer in model.layers:
        engine = net.layer(layer.index)
        assert ffi.string(engine.type).decode() == layer.section.name
        assert (engine.c, engine.h, engine.w) == layer.shape, layer.index
        if layer.section.name == "convolutional":
            assert engine.flops == layer.operations, layer.index
    assert net.info.parameters == model.parameters


@pytest.mark.parametrize("name", ["yolov3", "yolov3-spp", "yolov4-tiny"])
def test_engine_writes_files_of_the_published_size(tmp_path, name):
    path = tmp_path / f"{name}.weights"
    net = Net(CFG / f"{name}.cfg", keep_all=False)
    check(lib.dn_network_save_weights(net.handle, str(path).encode(), 0, -1))
    size = path.stat().st_size
    path.unlink()
    assert size == WEIGHTS[name][0]
