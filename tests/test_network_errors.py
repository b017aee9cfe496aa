"""What a cfg or a weights file may get wrong: each time one sentence with place and reason."""

from __future__ import annotations

import re
import struct

import numpy as np
import pytest

from layer_harness import Net, net_section, write_cfg
from yolomask._native import ConfigError, DataError, WeightsError, check, ffi, lib

NET = "[net]\nwidth=8\nheight=8\nchannels=3\n"  # lines 1 to 4: sections below begin at line 5
CONV = "[convolutional]\nfilters=4\nsize=3\npad=1\nactivation=linear\n"


def create(path, **fields):
    out = ffi.new("dn_network **")
    check(lib.dn_network_create(str(path).encode(), ffi.new("dn_network_options *", fields), out))
    return ffi.gc(out[0], lib.dn_network_free)


def message_of(tmp_path, text: str, kind=ConfigError, **fields) -> str:
    """The error's sentence, with the file's path as FILE."""
    path = write_cfg(tmp_path, text)
    with pytest.raises(kind) as error:
        create(path, **fields)
    return str(error.value).replace(str(path), "FILE")


FILES = {
    "nothing": ("", "FILE: has no sections; [net] must come first"),
    "only [net]": (NET, "FILE: has no layers behind [net]"),
    "another first section": (
        "# a comment\n[convolutional]\n",
        "FILE:2: the first section is [convolutional]; [net] must come first",
    ),
    "a key before any section": (
        "width=8\n[net]\n",
        "FILE:1: 'width=8' stands before the first [section]",
    ),
    "no equals sign": (NET + "[route]\nlayers\n", "FILE:6: 'layers' is not of the form key=value"),
    "no value": (NET + "[route]\nlayers=\n", "FILE:6: 'layers=' is not of the form key=value"),
    "no bracket": (NET + "[route\n", "FILE:5: '[route' is not of the form [section]"),
    "a zero byte": (NET + "[ro\0ute]\n", "FILE: holds a zero byte: it is not a text file"),
    "an unknown section": (NET + CONV + "\n[warp]\n", "FILE:11: unknown section [warp]"),
    "a section that another fork has": (
        NET + "[lstm]\noutput=3\n",
        "FILE:5: unknown section [lstm]",
    ),
    "no size": ("[net]\nwidth=8\n[avgpool]\n", "FILE:1: [net] needs width, height and channels"),
    "a huge input": (
        "[net]\nwidth=65536\nheight=65536\nchannels=3\n[avgpool]\n",
        "FILE:1: [net] input: size 1 x 3 x 65536 x 65536 is too large",
    ),
    "no number": (
        "[net]\nwidth=8px\n[avgpool]\n",
        "FILE:2: [net] width=8px: a whole number is wanted",
    ),
    "no whole number": (
        "[net]\nwidth=8.5\n[avgpool]\n",
        "FILE:2: [net] width=8.5: a whole number is wanted",
    ),
    "infinity": (
        "[net]\nmomentum=inf\n[avgpool]\n",
        "FILE:2: [net] momentum=inf: a number is wanted",
    ),
    "out of range": (
        "[net]\nsubdivisions=0\n[avgpool]\n",
        "FILE:2: [net] subdivisions=0 is out of range 1..65536",
    ),
    "an unknown policy": ("[net]\npolicy=warm\n[avgpool]\n", "FILE:2: [net] policy=warm: one of"),
}


@pytest.mark.parametrize("case", FILES)
def test_files(tmp_path, case):
    text, wanted = FILES[case]
    assert message_of(tmp_path, text).startswith(wanted)


# section text (its header is line 5 of the file): what the sentence begins with behind "FILE:"
SECTIONS = {
    "[route]\n": "5: layer 0 [route]: layers= is missing",
    "[shortcut]\nactivation=linear\n": "5: layer 0 [shortcut]: from= is missing",
    "[sam]\n": "5: layer 0 [sam]: from= is missing",
    "[scale_channels]\n": "5: layer 0 [scale_channels]: from= is missing",
    "[route]\nlayers=-2\n": "5: layer 0 [route]: reads layer -2, which is layer -2: only",
    "[route]\nlayers=0\n": "5: layer 0 [route]: reads layer 0, which is layer 0: only",
    "[avgpool]\n[route]\nlayers=0,7\n": (
        "6: layer 1 [route]: reads layer 7, which is layer 7: only 0..0 come before it"
    ),
    "[avgpool]\n[shortcut]\nfrom=-3\n": (
        "6: layer 1 [shortcut]: reads layer -3, which is layer -2: only 0..0 come before it"
    ),
    "[route]\nlayers=1,,2\n": "6: [route] layers=: a whole number is wanted",
    "[route]\nlayers=-1x\n": "6: [route] layers=-1x: a whole number is wanted",
    "[avgpool]\n[upsample]\n[route]\nlayers=0,1\n": (
        "7: layer 2 [route]: layer 0 is 1 x 1, layer 1 is 2 x 2"
    ),
    "[avgpool]\n[route]\nlayers=0\ngroups=2\n": (
        "6: layer 1 [route]: groups=2 does not divide layer 0's 3 channels"
    ),
    "[avgpool]\n[route]\nlayers=0\ngroups=3\ngroup_id=3\n": (
        "6: layer 1 [route]: group_id=3: there are groups 0..2"
    ),
    "[convolutional]\nfilters=0\n": "6: [convolutional] filters=0 is out of range 1..",
    "[convolutional]\nstride=0\n": "6: [convolutional] stride=0 is out of range 1..",
    "[convolutional]\nsize=-3\n": "6: [convolutional] size=-3 is out of range 1..",
    "[convolutional]\nsize=9\n": (
        "5: layer 0 [convolutional]: a filter of 9 pixels does not fit into 8 x 8"
    ),
    "[convolutional]\ngroups=2\n": (
        "5: layer 0 [convolutional]: groups=2 must divide the 3 input channels and filters=1"
    ),
    "[convolutional]\nactivation=snake\n": (
        "6: [convolutional] activation=snake: one of linear leaky"
    ),
    "[convolutional]\nflipped=1\n": "5: layer 0 [convolutional]: flipped=1 is not supported",
    "[convolutional]\nfilters=16000000\nsize=1000\npadding=600\n": "5: layer 0 [convolutional]:",
    "[convolutional]\nfilters=16000000\nsize=8\n": "5: layer 0 [convolutional]: 3072000000 ",
    "[deconvolutional]\nstride=2\noutput_padding=2\n": (
        "5: layer 0 [deconvolutional]: output_padding=2 must be less than stride=2"
    ),
    "[deconvolutional]\nsize=2\npadding=600\n": "5: layer 0 [deconvolutional]: its output would be",
    "[deconvolutional]\nfilters=16000000\nsize=1000\nstride=1000\n": (
        "5: layer 0 [deconvolutional]: its output 8000 x 8000 x 16000000 of 1 is too large"
    ),
    "[connected]\noutput=4000000\n[connected]\noutput=4000000\n": (
        "7: layer 1 [connected]: 4000000 x 4000000 weights are too many"
    ),
    "[maxpool]\nsize=9\npadding=0\n": (
        "5: layer 0 [maxpool]: a window of 9 does not fit into 8 x 8"
    ),
    "[upsample]\nstride=0\n": "5: layer 0 [upsample]: stride=0",
    "[upsample]\nstride=-3\n": "5: layer 0 [upsample]: stride=-3 does not divide 8 x 8",
    "[upsample]\nstride=1024\n[upsample]\nstride=1024\n": (
        "7: layer 1 [upsample]: its output 8388608 x 8388608 x 3 of 1 is too large"
    ),
    "[reorg]\nstride=2\n": "5: layer 0 [reorg]: stride=2: 3 channels are no multiple of 4",
    "[reorg3d]\nstride=3\n": "5: layer 0 [reorg3d]: stride=3 does not divide 8 x 8",
    "[reorg3d]\nstride=2\nreverse=1\n": (
        "5: layer 0 [reorg3d]: stride=2: 3 channels are no multiple of 4"
    ),
    "[dropout]\nprobability=1\n": "6: [dropout] probability=1 is out of range 0..0.9999",
    "[dropout]\ndropblock=1\n": "5: layer 0 [dropout]: dropblock=1 is not supported",
    "[softmax]\ngroups=5\n": "5: layer 0 [softmax]: groups=5 does not divide 192 values",
    "[softmax]\ntree=a.tree\n": "5: layer 0 [softmax]: tree=a.tree is not supported",
    "[softmax]\ntemperature=0\n": "6: [softmax] temperature=0 is out of range",
    "[cost]\ntype=wgan\n": "6: [cost] type=wgan: one of sse masked smooth L1",
    "[cost]\nratio=.5\n": "5: layer 0 [cost]: ratio and thresh are not supported",
    "[crop]\ncrop_height=9\n": "5: layer 0 [crop]: crop_width=1 x crop_height=9 of a 8 x 8 image",
    "[avgpool]\n[maxpool]\n[scale_channels]\nfrom=-3\n": "7: layer 2 [scale_channels]: reads",
    "[maxpool]\n[maxpool]\n[scale_channels]\nfrom=-2\n": (
        "7: layer 2 [scale_channels]: layer 0 is 8 x 8 x 3: the layer before must be 1 x 1 x 3, "
        "not 8 x 8 x 3 (w x h x c)"
    ),
    "[maxpool]\n[avgpool]\n[sam]\nfrom=-2\n": (
        "7: layer 2 [sam]: layer 0 is 8 x 8 x 3: the layer before must be 8 x 8 x 3"
    ),
    "[crop]\ncrop_height=4\ncrop_width=8\n[shortcut]\nfrom=0\n[convolutional]\nsize=3\npad=1\n"
    "stride_x=2\n[shortcut]\nfrom=0\n": (
        "14: layer 3 [shortcut]: layer 0 is 8 x 4: no common step to 4 x 4"
    ),
    "[shortcut]\nfrom=-1\nweights_type=per_pixel\n": (
        "7: [shortcut] weights_type=per_pixel: one of none per_feature per_layer per_channel"
    ),
}


@pytest.mark.parametrize("section", SECTIONS, ids=lambda s: repr(s)[:60])
def test_sections(tmp_path, section):
    assert message_of(tmp_path, NET + section).startswith("FILE:" + SECTIONS[section])


LIMITS = {
    "bytes": (NET + "#" * (1 << 20), "FILE: has 1048610 bytes, at most 1048576 are allowed"),
    "sections": (NET + "[avgpool]\n" * 4096, "FILE:4100: more than 4096 sections"),
    "keys": (
        NET + "[avgpool]\n" + "".join(f"k{i}=1\n" for i in range(1025)),
        "FILE:1030: [avgpool] has more than 1024 keys",
    ),
    "items of a list": (
        NET + "[route]\nlayers=" + "0," * 65537,
        "FILE:6: [route] layers has more than 65536 items",
    ),
    "layers that one reads": (
        NET + CONV + "[route]\nlayers=" + "0," * 1025,
        "FILE:10: layer 1 [route]: reads more than 1024 layers",
    ),
}


@pytest.mark.parametrize("case", LIMITS)
def test_limits(tmp_path, case):
    """What would take minutes or all memory to read is refused at once."""
    text, wanted = LIMITS[case]
    assert message_of(tmp_path, text, (ConfigError, DataError)) == wanted


def test_missing_file(tmp_path):
    with pytest.raises(OSError, match=r"none\.cfg: cannot open: No such file"):
        create(tmp_path / "none.cfg")
    with pytest.raises(OSError, match="is a directory"):
        create(tmp_path)


def test_batch_and_subdivisions(tmp_path):
    text = "[net]\nbatch=10\nsubdivisions=3\n" + NET[6:] + "[avgpool]\n"
    assert message_of(tmp_path, text, training=True) == (
        "FILE:1: [net] batch=10 is no multiple of subdivisions=3"
    )
    create(write_cfg(tmp_path, text))  # inference does not mind


def test_keys_that_no_table_knows(tmp_path):
    """A warning each with file and line; an error when strict. The first of two keys counts."""
    sections = "[convolutional]\nfilters=4\nfilter=5\nactivation=relu\nfilters=6\n"
    net = Net(tmp_path, sections, (1, 3, 8, 8), strict=False)
    assert net.layer(0).c == 4
    header = net_section((1, 3, 8, 8)).count("\n")
    unknown, repeated = net.warnings
    assert unknown == f"{net.path}:{header + 3}: [convolutional] Unused field: 'filter = 5'"
    assert repeated == (
        f"{net.path}:{header + 5}: [convolutional] repeated field, the first one counts: "
        "'filters = 6'"
    )
    assert message_of(tmp_path, NET + sections, strict=True) == (
        "FILE:7: [convolutional] Unused field: 'filter = 5'"
    )
    assert message_of(tmp_path, "[net]\nwidht=8\n" + CONV, strict=True) == (
        "FILE:2: [net] Unused field: 'widht = 8'"
    )


def test_what_darknet_forgives(tmp_path):
    """White space anywhere, CRLF, comments behind values, a trailing comma, 5. as a number."""
    text = (
        "\ufeff[net]\r\nwi dth = 8 # pixels\r\n\theight=8.\r\n; old style\r\nchannels=3\r\n\r\n"
        "[ convolutional ]\r\nfilters = 0004\r\n[route]\r\nlayers = -1 , 0,\r\n"
    )
    network = create(write_cfg(tmp_path, text), strict=True)
    info = ffi.new("dn_layer_info *")
    check(lib.dn_network_get_layer(network, 1, info))
    assert (info.c, info.h, info.w) == (8, 8, 8)


def test_arguments(tmp_path):
    net = Net(tmp_path, CONV, (2, 3, 8, 8))
    with pytest.raises(ValueError, match="batch 3: this network was made for 1..2"):
        net.forward(np.zeros((3, 3, 8, 8)))
    with pytest.raises(ValueError, match="backward needs a network made with training"):
        net.backward()
    with pytest.raises(ValueError, match="layer 1: the network has layers 0..0"):
        check(lib.dn_network_get_layer(net.handle, 1, ffi.new("dn_layer_info *")))
    with pytest.raises(ValueError, match=r"parameter 2: layer 0 \[convolutional\] has 2"):
        check(lib.dn_network_get_param(net.handle, 0, 2, ffi.new("dn_param_info *")))
    with pytest.raises(ValueError, match="image 0: the last pass had 0"):
        fresh = create(net.path)
        out = ffi.new("dn_result **")
        check(lib.dn_network_get_result(fresh, 0, 8, 8, ffi.NULL, out))
    with pytest.raises(ValueError, match="backward needs a forward pass before it"):
        Net(tmp_path, CONV, (2, 3, 8, 8), training=True).backward()


@pytest.mark.parametrize("name", ["batch", "width", "height", "threads"])
@pytest.mark.parametrize("value", [-1, 65537, 2**31 - 1])
def test_options_out_of_range(tmp_path, name, value):
    limit = 1024 if name == "threads" else 65536
    assert message_of(tmp_path, NET + CONV, ValueError, **{name: value}) == (
        f"{name}={value} is out of range 0..{limit}"
    )


# ---- weights files --------------------------------------------------------------------------

TWO = (
    CONV
    + "[convolutional]\nfilters=2\nbatch_normalize=1\nactivation=linear\n[connected]\noutput=3\n"
)
COUNTS = [4 + 4 * 27, 4 * 2 + 2 * 4, 3 + 3 * 2 * 64]  # floats of TWO's layers
TOTAL = sum(COUNTS)


def weights_file(tmp_path, floats: int, name="w.weights", version=(0, 2, 5), seen=640, tail=b""):
    path = tmp_path / name
    header = struct.pack("<3i", *version)
    wide = version[0] * 10 + version[1] >= 2 and version[1] < 1000
    header += struct.pack("<Q" if wide else "<I", seen)
    values = np.arange(1, floats + 1, dtype="<f4")
    path.write_bytes(header + values.tobytes() + tail)
    return path


def two(tmp_path):
    return Net(tmp_path, TWO, (1, 3, 8, 8))


def load(net, *paths):
    report = ffi.new("dn_weights_report *")
    check(lib.dn_network_load_weights(net.handle, ",".join(map(str, paths)).encode(), report))
    return report.layers_loaded, report.layers_total, report.seen


def all_values(net):
    return np.concatenate([v for i in range(3) for v in net.params(i).values()])


@pytest.mark.parametrize("version", [(0, 1, 0), (0, 2, 0), (0, 2, 5), (1, 0, 0)])
def test_weights_round_trip(tmp_path, version):
    path = weights_file(tmp_path, TOTAL, version=version)
    net = two(tmp_path)
    assert load(net, path) == (3, 3, 640)
    assert np.array_equal(all_values(net), np.arange(1, TOTAL + 1))
    assert list(net.params(1)) == ["biases", "scales", "mean", "variance", "weights"]
    saved = tmp_path / "saved.weights"
    check(lib.dn_network_save_weights(net.handle, str(saved).encode(), 0, -1))
    assert saved.read_bytes() == path.read_bytes()
    assert [p.name for p in tmp_path.iterdir() if p.suffix not in (".cfg", ".weights")] == []


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_partial_weights(tmp_path, layers):
    net = two(tmp_path)
    before = all_values(net)
    assert load(net, weights_file(tmp_path, sum(COUNTS[:layers]))) == (layers, 3, 640)
    held = sum(COUNTS[:layers])
    after = all_values(net)
    assert np.array_equal(after[:held], np.arange(1, held + 1))
    assert np.array_equal(after[held:], before[held:])


@pytest.mark.parametrize(
    "floats, wanted",
    [
        (1, r"ends inside layer 0 \[convolutional\] of .*: 1 of its 112 floats are there"),
        (COUNTS[0] + 5, r"ends inside layer 1 \[convolutional\] of .*: 5 of its 16 floats"),
        (TOTAL - 1, r"ends inside layer 2 \[connected\] of .*: 386 of its 387 floats"),
        (TOTAL + 9, r"holds 9 floats more than layers 0\.\.2 of .* take: cfg and weights do not"),
    ],
)
def test_weights_of_wrong_length(tmp_path, floats, wanted):
    net = two(tmp_path)
    before = all_values(net)
    with pytest.raises(WeightsError, match=r"w\.weights: " + wanted):
        load(net, weights_file(tmp_path, floats))
    assert np.array_equal(all_values(net), before), "a failed call changed the network"


def test_weights_that_are_none(tmp_path):
    net = two(tmp_path)
    path = tmp_path / "w.weights"
    for content, wanted in [
        (b"", "too short for a weights file's header"),
        (b"\0" * 13, "too short for a weights file's header"),
        (b"<html><body>not found", r"version \d+.\d+ is not a weights file's"),
        (
            struct.pack("<3iQ", 0, 2, 5, 0) + b"\0\0",
            "2 bytes behind the header are no whole floats",
        ),
    ]:
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=wanted):
            load(net, path)
    with pytest.raises(OSError, match=r"none\.weights: cannot open"):
        load(net, tmp_path / "none.weights")


def test_weights_list(tmp_path):
    net = two(tmp_path)
    first = weights_file(tmp_path, COUNTS[0], "a.weights", seen=7)
    rest = weights_file(tmp_path, COUNTS[1] + COUNTS[2], "b.weights", seen=9)
    middle = weights_file(tmp_path, COUNTS[1], "c.weights")
    assert load(net, first, rest) == (3, 3, 7)
    assert all_values(net)[COUNTS[0]] == 1
    before = all_values(net)
    for paths, wanted in [
        ((first, middle), "the list ends before the network does: 2 of the 3 layers"),
        ((rest, first), "a.weights|b.weights"),
        ((first, rest, middle), r"c\.weights: holds 16 floats more"),
        ((first, tmp_path / "none.weights"), "none.weights: cannot open"),
    ]:
        with pytest.raises((WeightsError, OSError), match=wanted):
            load(net, *paths)
        assert np.array_equal(all_values(net), before), "a failed call changed the network"


def test_keys_that_change_the_file(tmp_path):
    """dontload, dontloadscales and numload, as Darknet means them."""
    cfg = (
        "[convolutional]\nfilters=4\nactivation=linear\nnumload=3\n"
        "[convolutional]\nfilters=2\nactivation=linear\ndontload=1\n"
        "[convolutional]\nfilters=2\nbatch_normalize=1\nactivation=linear\ndontloadscales=1\n"
    )
    net = Net(tmp_path, cfg, (1, 3, 2, 2))
    before = [{k: v.copy() for k, v in net.params(i).items()} for i in range(3)]
    path = weights_file(tmp_path, 3 + 9 + 2 + 4)
    assert load(net, path)[0] == 2
    assert net.params(0)["biases"].tolist() == [1, 2, 3, before[0]["biases"][3]]
    assert net.params(0)["weights"][:9].tolist() == list(range(4, 13))
    assert np.array_equal(net.params(0)["weights"][9:], before[0]["weights"][9:])
    assert np.array_equal(net.params(1)["weights"], before[1]["weights"])
    assert net.params(2)["biases"].tolist() == [13, 14]
    assert net.params(2)["scales"].tolist() == [1, 1]
    assert net.params(2)["weights"].tolist() == [15, 16, 17, 18]


def test_very_old_files_hold_connected_weights_by_column(tmp_path):
    net = Net(tmp_path, "[connected]\noutput=2\n", (1, 3))
    assert load(net, weights_file(tmp_path, 8, version=(0, 1001, 0))) == (1, 1, 640)
    assert net.params(0)["weights"].reshape(2, 3).tolist() == [[3, 5, 7], [4, 6, 8]]


def test_saving_where_nothing_can_be_written(tmp_path):
    net = two(tmp_path)
    path = tmp_path / "no_folder" / "w.weights"
    with pytest.raises(OSError, match=re.escape(str(path)) + ": cannot write"):
        check(lib.dn_network_save_weights(net.handle, str(path).encode(), 0, -1))
    with pytest.raises(ValueError, match=r"layers 4\.\.2: the network has 0\.\.2"):
        check(lib.dn_network_save_weights(net.handle, str(tmp_path / "w").encode(), 4, -1))


def test_a_part_is_saved(tmp_path):
    net = two(tmp_path)
    load(net, weights_file(tmp_path, TOTAL))
    tail = tmp_path / "tail.weights"
    check(lib.dn_network_save_weights(net.handle, str(tail).encode(), 1, -1))
    values = np.frombuffer(tail.read_bytes()[20:], "<f4")
    assert np.array_equal(values, np.arange(COUNTS[0] + 1, TOTAL + 1))
