"""Stages of a training, what they freeze, their files, and resuming with the same bytes."""

from __future__ import annotations

import re
import struct

import numpy as np
import pytest

from networks import Net
from program import BRANCH, BRANCH_FLOATS, LAYERS, NET, write_weights
from training_support import FINAL, TWO_STAGES, Bench, params_of


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


# ---- stages ----


def test_the_schedule_runs_both_stages(bench):
    out, error = bench.train("out")
    lines = re.findall(r"^(\d+): .*, (\w+) (\d+) of (\d+), ETA", out, re.MULTILINE)
    expected = [(str(i), stage, str(i), "6") for stage in ("detector", "mask") for i in range(1, 7)]
    assert lines == expected
    assert out.splitlines()[-1].startswith("Done after 12 iterations")
    assert "stage mask: 6 iterations\n" in error
    border, final = (params_of(bench.path / f"out/two_{x}.weights") for x in ("detector", "final"))
    # The branch waited as it was drawn, undecayed; then it alone changed.
    start = Net(TWO_STAGES, seed=1)
    branch = np.concatenate([x for i in (4, 5, 6, 7, 8, 9) for x in start.params(i).values()])
    np.testing.assert_array_equal(border[-BRANCH_FLOATS:], branch)
    np.testing.assert_array_equal(border[:-BRANCH_FLOATS], final[:-BRANCH_FLOATS])
    assert (border[-BRANCH_FLOATS:] != final[-BRANCH_FLOATS:]).mean() > 0.5
    alone = params_of(bench.path / "out/two_final.mask.weights")
    np.testing.assert_array_equal(alone, final[-BRANCH_FLOATS:])


@pytest.mark.parametrize("stage", ["detector", "mask", "joint"])
def test_one_stage_by_force(bench, stage):
    out, _ = bench.train("out", "tiny.weights", "-stage", stage, "-iterations", 2)
    assert set(re.findall(r", (\w+) \d+ of 2, ETA", out)) == {stage}


def test_mask_from_says_which_stages(bench):
    bench.edit("masks.cfg", ("mask_from=6\n", "mask_from=0\n"), source="two.cfg")
    sentence = "masks.cfg: a mask branch trains on a detector: name its weights file"
    assert bench.last("segmenter", "train", "masks.cfg") == sentence
    out, _ = bench.train("masks", "tiny.weights", cfg="masks.cfg")
    assert re.findall(r", (\w+) 6 of 6, ETA", out) == ["mask"]
    joint = ("mask_from=6\n", "mask_from=-1\n"), ("max_batches=1000", "max_batches=3")
    bench.edit("joint.cfg", *joint, source="two.cfg")
    out, _ = bench.train("joint", cfg="joint.cfg")
    assert re.findall(r", (\w+) 3 of 3, ETA", out) == ["joint"]


def test_what_the_second_stage_lacks_is_said_before_the_first(bench):
    bench.edit("x.cfg", ("mask_max_batches=6\n", ""), source="two.cfg")
    sentence = "x.cfg: [net] mask_max_batches is missing: how many iterations are to be trained?"
    assert bench.last("segmenter", "train", "x.cfg") == sentence
    bench.edit("x.cfg", ("mask_from", "mask_batch=3\nmask_from"), source="two.cfg")
    assert "mask_batch=3 is no multiple of mask_subdivisions=2" in bench.last(
        "segmenter", "train", "x.cfg"
    )
    bench.edit("x.cfg", ("[net]", "[net]\nmask_from=5"), source="tiny.cfg")
    sentence = "x.cfg: has no [roialign]: there is no mask branch to train"
    assert bench.last("segmenter", "train", "x.cfg") == sentence


def test_masks_come_in_slowly_in_the_joint_stage(bench):
    """Without decay the branch stays as it is in the first iteration, whose masks count nothing; in
    the second they count 1 / mask_warmup: the update is that much smaller than without a ramp."""
    keys = "mask_from=-1\ndecay=0\nmomentum=0\nlearning_rate=.1\n"
    text = NET.replace("learning_rate=.01\n", keys) + LAYERS + BRANCH
    moved = {}
    for warmup in (0, 4):
        cfg = bench.path / f"joint{warmup}.cfg"
        cfg.write_text(text.replace("mask_from", f"mask_warmup={warmup}\nmask_from"))
        before = None
        for count in (0, 1, 2):
            options = {"max_iterations": count, "plain": True} if count else {"cancel": 1}
            bench.call(cfg.name, f"w{warmup}-{count}", **options)
            name = "last" if count == 0 else "final"
            after = params_of(bench.path / f"w{warmup}-{count}/joint{warmup}_{name}.weights")
            if count:
                moved[warmup, count] = after[-BRANCH_FLOATS:] - before
            before = after[-BRANCH_FLOATS:]
    assert np.abs(moved[0, 1]).max() > 0
    assert np.abs(moved[4, 1]).max() == 0
    assert 0 < np.abs(moved[4, 2]).max() < np.abs(moved[0, 1]).max()


# ---- what is frozen ----


def trained(bench, text, iterations) -> Net:
    (bench.path / "x.cfg").write_text(text)
    bench.call(
        "x.cfg", "out", weights="tiny.weights", schedule=False, stage=1, max_iterations=iterations
    )
    net = Net(text)
    net.load(bench.path / "out/x_final.weights")
    return net


def changes(bench, text, iterations) -> dict[tuple, bool]:
    """Which parameters of which convolution are not those of tiny.weights any more."""
    start, end = Net(text), trained(bench, text, iterations)
    start.load(bench.path / "tiny.weights")
    return {
        (i, name): not np.array_equal(values, end.params(i)[name])
        for i in range(3)
        for name, values in start.params(i).items()
    }


def with_key(key, layer=1):
    """The detector's cfg with a key in its first, second ... section."""
    parts = (NET + LAYERS).split("[convolutional]\n")
    parts[layer] = key + "\n" + parts[layer]
    return "[convolutional]\n".join(parts)


def test_stopbackward_1_freezes_all_before(bench):
    changed = changes(bench, with_key("stopbackward=1", 2), 2)
    assert {key for key, value in changed.items() if value} == {(2, "biases"), (2, "weights")}


def test_stopbackward_n_thaws_at_iteration_n(bench):
    text = with_key("stopbackward=3", 1)
    first = changes(bench, text, 2)
    assert not any(value for key, value in first.items() if key[0] == 0)
    assert all(value for key, value in first.items() if key[0] > 0)
    assert all(changes(bench, text, 3).values())


def test_stopbackward_n_resumes(bench):
    (bench.path / "x.cfg").write_text(with_key("stopbackward=3", 2))
    options = {"cfg": "x.cfg", "weights": "tiny.weights", "schedule": False, "stage": 1}
    bench.call(**options, backup="whole", max_iterations=6)
    for stop in (2, 4):
        bench.call(**options, backup="half", max_iterations=stop)
        options["state"] = "half/x_last.state"
        bench.call(**options, backup="half", max_iterations=6)
        names = ("x_final.weights", "x_last.state")
        assert bench.finals("whole", names) == bench.finals("half", names)
        del options["state"]


def test_keys_of_one_layer(bench):
    """dont_update keeps learned parameters, train_only_bn the weights; learning_rate=0 both."""
    changed = changes(bench, with_key("dont_update=1", 1), 2)
    frozen = {(0, "biases"), (0, "scales"), (0, "weights")}
    assert {key for key, value in changed.items() if not value} == frozen
    changed = changes(bench, with_key("train_only_bn=1", 1), 2)
    assert {key for key, value in changed.items() if not value} == {(0, "weights")}
    changed = changes(bench, with_key("learning_rate=0", 1), 2)
    assert {key for key, value in changed.items() if not value} == frozen


def test_the_learning_rate_of_a_layer(bench):
    """After one iteration a layer with learning_rate=2 has moved twice as far."""
    start = Net(NET + LAYERS)
    start.load(bench.path / "tiny.weights")
    once, twice = (trained(bench, with_key(f"learning_rate={x}", 2), 1) for x in (1, 2))
    for name, values in start.params(1).items():
        moved = once.params(1)[name] - values
        assert np.abs(moved).max() > 1e-5
        np.testing.assert_allclose(twice.params(1)[name] - values, 2 * moved, rtol=1e-2, atol=1e-7)


# ---- sizes ----


def test_sizes_of_multi_scale_training(bench):
    """Darknet's range and step; a new size every ten iterations, by the seed alone."""
    text = TWO_STAGES.replace("mask_from=6", "mask_from=60").replace("width=64", "width=96")
    text = text.replace("subdivisions=2", "subdivisions=4").replace(
        "mask_random=1", "mask_random=0"
    )
    (bench.path / "two.cfg").write_text(text)
    sizes = {}
    for run, seed in (("a", 1), ("b", 1), ("c", 2)):
        history, _ = bench.call(backup=run, seed=seed)
        sizes[run] = [size for stage, _, _, size in history if stage == "detector"]
        assert {size for stage, _, _, size in history if stage == "mask"} == {(96, 64)}
    assert sizes["a"] == sizes["b"] != sizes["c"]
    tens = [sizes["a"][i : i + 10] for i in range(0, 60, 10)]
    assert all(len(set(ten)) == 1 for ten in tens) and len({ten[0] for ten in tens}) > 1
    for width, height in sizes["a"] + sizes["c"]:
        assert width % 32 == height % 32 == 0
        assert round(96 / 1.4 / 32 + 1) * 32 <= width <= round(96 * 1.4 / 32 + 1) * 32
        assert round(64 / 1.4 / 32 + 1) * 32 <= height <= round(64 * 1.4 / 32 + 1) * 32
    plain, _ = bench.call(backup="p", plain=True, max_iterations=2)
    assert {size for *_, size in plain} == {(96, 64)}


# ---- the state file ----


def checksum(*parts: bytes) -> int:
    value = 0xCBF29CE484222325
    for part in parts:
        for word in np.frombuffer(part + b"\0" * (-len(part) % 8), "<u8").tolist():
            value = (value ^ word) * 0x100000001B3 % 2**64
            value ^= value >> 29
    return value


def test_the_state_file_is_as_documented(bench):
    """Read by the rules of docs/formats.md."""
    bench.train("out", "-iterations", 8)
    state = bench.bytes("out/two_last.state")
    assert state[:8] == b"DNSTATE2"
    length, _ = struct.unpack_from("<QQ", state, 8)
    assert length == len(state)
    place = struct.unpack_from("<7q3q", state, 24)
    assert place == (2, 2, 6, 2, 6, 1, 32, 0, 2, 5)
    average, validated, stale, last, best = struct.unpack_from("<dqqdd", state, 104)
    assert average > 0 and (validated, stale, last, best) == (0, 0, -1, -1)
    loss, iou, iterations, rois = struct.unpack_from("<ddqq", state, 152)
    assert loss > 0 and 0 <= iou <= rois and (iterations, rois > 0) == (2, True)
    (count,) = struct.unpack_from("<q", state, 184)
    entries = [struct.unpack_from("<24sq", state, 192 + 32 * k) for k in range(count)]
    names = [name.rstrip(b"\0").decode() for name, _ in entries]
    assert names == ["parameters", "first moment", "second moment"]
    floats = params_of(bench.path / "out/two_last.weights")
    assert [n for _, n in entries] == [len(floats), BRANCH_FLOATS, BRANCH_FLOATS]
    parts, at = [state[:192]], 192 + 32 * count
    parts += [state[192 + 32 * k : 224 + 32 * k] for k in range(count)]
    for _, n in entries:
        parts.append(state[at : at + 4 * n])
        at += 4 * n
    assert parts[1 + count] == floats.tobytes()
    assert struct.unpack_from("<Q", state, at) == (checksum(*parts),) and at + 8 == length


# ---- resuming ----


def test_a_training_in_pieces_ends_with_the_same_bytes(bench):
    """Stops in the first stage, at the border, in the second; sizes, parts and Adam included."""
    whole, _ = bench.call(backup="whole")
    pieces, state = [], None
    for stop in (4, 6, 7, 11, 0):
        history, _ = bench.call(backup="pieces", state=state, max_iterations=stop, threads=2)
        pieces += history
        state = "pieces/two_last.state"
    assert pieces == whole
    assert bench.finals("pieces") == bench.finals("whole")
    again, _ = bench.call(backup="pieces", state=state)
    assert again == [] and bench.finals("pieces") == bench.finals("whole")


def test_cancelled_between_the_parts_of_an_iteration(bench):
    """The callback is asked between the two parts of an iteration, then behind it. An odd question
    ends in the middle of one: nothing of that half is left, batch norm's statistics included."""
    bench.call(backup="whole", max_iterations=8)
    state = None
    for question in (1, 5, 3, 4):
        bench.call(backup="cut", state=state, cancel=question, max_iterations=8)
        state = "cut/two_last.state"
    history, _ = bench.call(backup="cut", state=state, max_iterations=8)
    assert [(stage, i) for stage, i, *_ in history] == [("detector", 6), ("mask", 1), ("mask", 2)]
    assert bench.finals("cut") == bench.finals("whole")


def test_ways_to_name_what_is_resumed(bench):
    bench.train("out", "-iterations", 2)
    for words in (["-resume"], ["out/two_last.weights"], ["out/two_last.state"]):
        _, error = bench.train("out", *words, "-iterations", 3)
        assert re.search(r"Resuming from out/two_last.state: stage detector, iteration [23]", error)
    _, error = bench.train("new", "-resume", "-iterations", 1)
    assert "new/two_last.state is not there: nothing to resume, training begins" in error
    out, error = bench.train("out", "out/two_last.weights", "-clear", "-iterations", 1)
    assert "Resuming" not in error and out.startswith("1: ")


def test_a_new_training_keeps_the_state_of_the_one_before(bench):
    bench.train("out", "-iterations", 2)
    state = bench.bytes("out/two_last.state")
    bench.train("out", "-iterations", 1)
    assert bench.bytes("out/two_previous.state") == state != bench.bytes("out/two_last.state")


def test_weights_beside_a_state_do_not_count(bench):
    """A kill between both leaves older weights there."""
    bench.train("out", "-iterations", 2)
    bench.train("whole", "-iterations", 4)
    write_weights(bench.path / "out/two_last.weights", seed=9)
    bench.train("out", "out/two_last.weights", "-iterations", 4)
    assert bench.bytes("out/two_last.state") == bench.bytes("whole/two_last.state")


def test_states_that_do_not_fit(bench):
    def refused(*words, cfg="two.cfg"):
        _, error = bench.train("out", "-resume", *words, code=1, cfg=cfg)
        return error.splitlines()[-1]

    bench.train("out", "-iterations", 2)
    path = bench.path / "out/two_last.state"
    whole = path.read_bytes()
    stem = "out/two_last.state: "
    assert (
        refused("-stage", "mask") == stem + "is of stage detector, which is not to be trained now"
    )
    path.write_bytes(whole[:-9])
    size = len(whole)
    assert refused() == stem + f"is cut or damaged: {size - 9} bytes, its header says {size}"
    path.write_bytes(whole[:20])
    assert refused() == stem + "is cut: 20 bytes"
    path.write_bytes(whole[:700] + bytes([whole[700] ^ 1]) + whole[701:])
    assert refused() == stem + "is damaged: its checksum is wrong"
    path.write_bytes(b"DNSTATE1" + whole[8:])
    assert refused().startswith(stem + "is of version 1, this program reads version 2; start from")
    path.write_bytes(b"\0" * 400)
    assert refused() == stem + "is not a training state"
    path.write_bytes(whole)
    bench.edit("two.cfg", ("stride=4", "stride=2"), source="two.cfg")
    assert refused().startswith(stem + "was written for another cfg than two.cfg is now")


def test_a_longer_training_goes_on(bench):
    """How long a training lasts may change between the pieces."""
    bench.train("out")
    bench.edit("two.cfg", ("mask_max_batches=6", "mask_max_batches=8"), source="two.cfg")
    out, _ = bench.train("out", "-resume")
    assert re.findall(r"^(\d+): .*, mask", out, re.MULTILINE) == ["7", "8"]
    bench.train("whole")
    assert bench.finals("out") == bench.finals("whole")


def test_another_data_set_is_said(bench):
    bench.train("out", "-iterations", 1)
    (bench.path / "list.txt").write_text("photo_000001.png\nphoto_000002.png\n")
    (bench.path / "photo_000001.txt").write_text("0 .5 .5 .2 .2\n")
    (bench.path / "x.data").write_text("classes=2\ntrain=list.txt\n")
    words = ("-resume", "x.data", "-iterations", 2, "-stage", "detector")
    _, error = bench.train("out", *words)
    assert "the data set had 6 images, now it has 2: the training goes on" in error


# ---- the run's folder ----


def test_the_folder_of_a_run(bench):
    bench.edit("two.cfg", ("mask_from=6", "mask_from=20"), source="two.cfg")
    bench.edit("two.cfg", ("mask_max_batches=6", "mask_max_batches=20"), source="two.cfg")
    bench.train("out", "-no_augmentation")
    header = (bench.path / "out/two/results.csv").read_text().splitlines()[0]
    assert header == (
        "iteration,stage,images,loss,average_loss,rate,seconds,mask_iou,"
        "box_ap,box_ap50,mask_ap,mask_ap50,top_1,top_5"
    )
    rows = bench.rows("out")
    place = [(row["iteration"], row["stage"], row["images"]) for row in rows]
    assert place == [(i, s, str(4 * int(i))) for s in ("detector", "mask") for i in ("10", "20")]
    assert [bool(row["mask_iou"]) for row in rows] == [False, False, True, True]
    assert not any(row["box_ap"] or row["mask_ap50"] for row in rows)
    history, _ = bench.call(backup="lib", plain=True)
    for k, row in enumerate(rows):
        losses = [loss for *_, loss, _ in history[10 * k : 10 * k + 10]]
        assert float(row["loss"]) == pytest.approx(np.mean(losses), rel=1e-5)
    args = (bench.path / "out/two/args.txt").read_text()
    assert args.startswith("command: ./darknet segmenter train two.cfg -threads 1 -backup out -no_")
    for line in ("cfg: two.cfg", "data: tiny.data", "seed: 1", "threads: 1", "images: 6"):
        assert f"\n{line}\n" in args
    assert re.search(r"^device: (cpu|cuda:\d+)$", args, re.MULTILINE)
    facts, _, cfg = args.partition("\n\n")
    assert "\nstages: detector mask\n" in facts
    assert cfg.strip() == (bench.path / "two.cfg").read_text().strip()


def test_results_of_a_resumed_run_have_no_iteration_twice(bench):
    for old, new in (
        ("mask_from=6", "mask_from=20"),
        ("mask_max_batches=6", "mask_max_batches=25"),
    ):
        bench.edit("two.cfg", (old, new), source="two.cfg")
    bench.train("whole")
    bench.train("out", "-iterations", 33)
    path = bench.path / "out/two/results.csv"
    # What a killed run may leave: lines beyond its last checkpoint, the last of them cut.
    path.write_text(
        path.read_text() + "20,mask,80,1,1,1,1,,,,,\n20,mask,80,,,,,,.5,.5,.5,.5\n30,ma"
    )
    bench.train("out", "-resume")

    def places(backup):
        rows = bench.rows(backup)
        return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]

    assert places("out") == places("whole") and len(places("whole")) == 4
    args = (bench.path / "out/two/args.txt").read_text()
    assert "\nresumed: mask, iteration 13\n" in args and args.count("command: ") == 2


def test_weights_that_are_kept(bench):
    with open(bench.path / "tiny.data", "a") as file:
        file.write("saveweights=2\nsavelast=3\n")
    out, _ = bench.train("out", "-iterations", 6)
    kept = {path.name for path in (bench.path / "out").glob("two_*.weights")}
    assert kept == {f"two_{x}.weights" for x in ("2", "4", "6", "last", "final")}
    assert out.count("Saving weights to out/two_last.weights") == 2
    assert FINAL[1] not in kept
