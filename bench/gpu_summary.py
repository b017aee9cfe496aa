"""What bench_gpu.py has measured, in one table: ours, PyTorch's, and what is aimed at."""

from __future__ import annotations

from gpu_measure import HALF

# Milliseconds a batch on an H200.
AIMS = {
    ("yolov3-416 forward", 1): 0.71,
    ("yolov3-416 forward", 32): 8.0,
    ("yolomask-416 mask branch, 20 boxes", 1): 0.4,
    ("yolomask-416 mask branch, 100 boxes", 1): 1.2,
    ("yolomask-416, image to boxes and RLE masks", 1): 2.5,
    ("yolomask-v4-tiny-416, image to boxes and RLE masks", 1): 0.8,
}
LIMIT = "the limit"
OURS = HALF, "ours fp16"  # of inference, of trainings


def lines_of(rows: list[dict]) -> list[str]:
    found: dict[tuple[str, int], dict[str, float]] = {}
    for row in rows:
        if "ms" in row:
            found.setdefault((row["what"], row["batch"]), {})[row["who"]] = row["ms"]
    lines = [f"{'what':78} {'batch':>5} {'ours':>9} {'PyTorch':>9} {'ratio':>6} {'aim':>6}"]
    for (what, batch), times in found.items():
        ours = next((times[who] for who in (*OURS, "ours", LIMIT) if who in times), None)
        theirs = min((ms for who, ms in times.items() if who.startswith("PyTorch")), default=None)
        cells = " ".join(9 * " " if ms is None else f"{ms:9.3f}" for ms in (ours, theirs))
        ratio = f"{theirs / ours:6.2f}" if ours and theirs else 6 * " "
        aim = AIMS.get((what, batch), "")
        lines.append(f"{what:78} {batch:5} {cells} {ratio} {aim:>6}".rstrip())
    return lines


def print_summary(rows: list[dict]) -> None:
    """Milliseconds a batch; ratio: how many times as fast as PyTorch."""
    print("\nms a batch, ours in fp16 where that was measured; ratio: PyTorch's time / ours")
    print("\n".join(lines_of(rows)))
    if failures := [row for row in rows if "error" in row]:
        print(f"failed: {len(failures)}")
        for row in failures:
            print(f"  {row['what']}, batch {row['batch']}: {row['who']}: {row['error']}")
